//! The token endpoint: form in, JSON out.

use std::collections::HashMap;

use serde::Serialize;

/// `grant_type` of RFC 7523 section 2.1.
pub const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// A token request, one variant per grant.
#[derive(Debug)]
pub enum TokenRequest {
    /// RFC 7523: a signed statement of a service account.
    JwtBearer {
        /// The assertion exactly as it was sent: its signature covers these bytes.
        assertion: String,
    },
}

/// The parameters of a request body, each at most once.
#[derive(Debug, Default)]
pub struct TokenForm(HashMap<String, String>);

/// Why a form is not a token request.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenFormError {
    /// The body is not UTF-8 text, or a parameter occurs twice (RFC 6749 section 3.2 forbids that).
    #[error("form is not text, or a parameter occurs twice")]
    Malformed,
    /// `grant_type` is missing.
    #[error("grant_type is missing")]
    GrantTypeMissing,
    /// `grant_type` is one that is not served.
    #[error("grant_type {0:?} is not served")]
    UnsupportedGrant(String),
    /// A parameter that the grant needs is missing or empty.
    #[error("parameter {0:?} is missing")]
    ParameterMissing(&'static str),
}

impl TokenForm {
    /// Parses `application/x-www-form-urlencoded`. Values are decoded and not trimmed.
    pub fn parse(body: &[u8]) -> Result<Self, TokenFormError> {
        let text = std::str::from_utf8(body).map_err(|_| TokenFormError::Malformed)?;
        let mut parameters = HashMap::new();
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            if value.contains('\u{fffd}') || parameters.insert(name.into_owned(), value.into_owned()).is_some() {
                return Err(TokenFormError::Malformed);
            }
        }
        Ok(TokenForm(parameters))
    }
}

impl TryFrom<TokenForm> for TokenRequest {
    type Error = TokenFormError;

    fn try_from(TokenForm(mut parameters): TokenForm) -> Result<Self, TokenFormError> {
        let grant_type = parameters.remove("grant_type").filter(|value| !value.is_empty());
        match grant_type.ok_or(TokenFormError::GrantTypeMissing)? {
            grant if grant == JWT_BEARER => {
                let assertion = parameters.remove("assertion").filter(|value| !value.is_empty());
                Ok(TokenRequest::JwtBearer {
                    assertion: assertion.ok_or(TokenFormError::ParameterMissing("assertion"))?,
                })
            }
            other => Err(TokenFormError::UnsupportedGrant(other)),
        }
    }
}

/// What the token endpoint answers on success.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum TokenResponse {
    /// For an assertion with `target_audience`: the ID token alone, as Google answers.
    IdToken {
        /// The signed token.
        id_token: String,
    },
    /// For an assertion with `scope`.
    AccessToken {
        /// An opaque token for APIs.
        access_token: String,
        /// Whole seconds until it expires, a JSON number (Go's client refuses a string).
        expires_in: i64,
        /// Always `Bearer`.
        token_type: &'static str,
    },
}

/// The codes of RFC 6749 section 5.2, and `server_error` of section 4.1.2.1 for our own failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OAuthCode {
    /// The request is missing a parameter, repeats one, or is otherwise malformed.
    InvalidRequest,
    /// The assertion is invalid, expired, or was issued to somebody else.
    InvalidGrant,
    /// The scope or audience is unknown or malformed.
    InvalidScope,
    /// The client may not use this grant in this way.
    UnauthorizedClient,
    /// The grant type is not served.
    UnsupportedGrantType,
    /// The failure is ours.
    ServerError,
}

/// The body of a refusal (RFC 6749 section 5.2).
#[derive(Debug, Serialize)]
pub struct OAuthError {
    /// The code that programs read.
    pub error: OAuthCode,
    /// One sentence for people. Clients parse several of Google's, so those are exact.
    pub error_description: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_a_request_only_if_every_parameter_is_there_once() {
        use TokenFormError::{GrantTypeMissing, Malformed, ParameterMissing, UnsupportedGrant};
        let jwt = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer";
        #[rustfmt::skip]
        let cases = [
            (String::new(),                                  GrantTypeMissing),
            ("grant_type=".into(),                           GrantTypeMissing),
            ("grant_type=password&username=a".into(),        UnsupportedGrant("password".into())),
            (jwt.into(),                                     ParameterMissing("assertion")),
            (format!("{jwt}&assertion="),                    ParameterMissing("assertion")),
            (format!("{jwt}&assertion=a&assertion=b"),       Malformed),
            (format!("{jwt}&{jwt}&assertion=a"),             Malformed),
            (format!("{jwt}&assertion=%ff"),                 Malformed),
        ];
        for (body, expected) in cases {
            let refused = TokenForm::parse(body.as_bytes()).and_then(TokenRequest::try_from).unwrap_err();
            assert_eq!(refused, expected, "{body}");
        }
        assert_eq!(TokenForm::parse(b"a=\xff").unwrap_err(), Malformed);
    }

    #[test]
    fn the_assertion_is_decoded_and_otherwise_left_as_it_came() {
        let body = b"assertion=a%0Ab%3D%2B+c&grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer";
        let TokenRequest::JwtBearer { assertion } = TokenForm::parse(body).and_then(TokenRequest::try_from).unwrap();
        assert_eq!(assertion, "a\nb=+ c");
    }
}
