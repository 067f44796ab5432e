//! The token endpoint: form in, JSON out.

use serde::{Deserialize, Serialize};

use super::client::ClientCredentials;
use super::parameters::{ParameterError, Parameters};

/// `grant_type` of RFC 7523 section 2.1.
pub const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// `grant_type` of RFC 8628 section 3.4.
pub const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// `grant_type` of RFC 6749 section 4.1.3.
pub const AUTHORIZATION_CODE: &str = "authorization_code";
/// `grant_type` of RFC 6749 section 6.
pub const REFRESH_TOKEN: &str = "refresh_token";

/// A token request, one variant per grant. `Debug` shows no secret.
#[derive(Debug)]
pub enum TokenRequest {
    /// RFC 7523: a signed statement of a service account.
    JwtBearer(JwtBearerRequest),
    /// RFC 6749 section 4.1.3: the code that a person's sign-in gave.
    AuthorizationCode(AuthorizationCodeRequest),
    /// RFC 6749 section 6.
    RefreshToken(RefreshTokenRequest),
    /// RFC 8628 section 3.4.
    DeviceCode(DeviceCodeRequest),
}

/// Parameters of the grant of RFC 7523.
pub struct JwtBearerRequest {
    /// The assertion exactly as it was sent: its signature covers these bytes.
    pub assertion: String,
}

/// Parameters of the grant of RFC 6749 section 4.1.3.
pub struct AuthorizationCodeRequest {
    /// Who redeems.
    pub client: ClientCredentials,
    /// The code.
    pub code: String,
    /// The same as at the authorization endpoint.
    pub redirect_uri: Option<String>,
    /// RFC 7636 section 4.5.
    pub code_verifier: Option<String>,
    /// The client that the ID token is to be for; the client itself if absent.
    pub audience: Option<String>,
}

/// Parameters of the grant of RFC 6749 section 6.
pub struct RefreshTokenRequest {
    /// Who redeems.
    pub client: ClientCredentials,
    /// The token.
    pub refresh_token: String,
    /// Fewer scopes than were granted, or the same.
    pub scope: Option<String>,
    /// The client that the ID token is to be for; the client itself if absent.
    pub audience: Option<String>,
}

/// Parameters of the grant of RFC 8628 section 3.4.
pub struct DeviceCodeRequest {
    /// Who redeems.
    pub client: ClientCredentials,
    /// The code that the device holds.
    pub device_code: String,
    /// The client that the ID token is to be for; the client itself if absent.
    pub audience: Option<String>,
}

macro_rules! debug_without_secrets {
    ($($name:ident),*) => {$(
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    )*};
}
debug_without_secrets!(JwtBearerRequest, AuthorizationCodeRequest, RefreshTokenRequest, DeviceCodeRequest);

/// Why a form is not a token request.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenFormError {
    /// The form cannot be read, or a parameter that the grant needs is missing.
    #[error(transparent)]
    Parameter(#[from] ParameterError),
    /// `grant_type` is one that is not served.
    #[error("the grant_type is not served")]
    UnsupportedGrant(String),
}

impl TokenRequest {
    /// Reads a form. `basic` are the client's credentials in the header, if it sent any there.
    pub fn read(mut form: Parameters, basic: Option<ClientCredentials>) -> Result<Self, TokenFormError> {
        let grant_type = form.require("grant_type")?;
        Ok(match grant_type.as_str() {
            JWT_BEARER => TokenRequest::JwtBearer(JwtBearerRequest { assertion: form.require("assertion")? }),
            AUTHORIZATION_CODE => TokenRequest::AuthorizationCode(AuthorizationCodeRequest {
                code: form.require("code")?,
                redirect_uri: form.take("redirect_uri"),
                code_verifier: form.take("code_verifier"),
                audience: form.take("audience"),
                client: ClientCredentials::take(&mut form, basic)?,
            }),
            REFRESH_TOKEN => TokenRequest::RefreshToken(RefreshTokenRequest {
                refresh_token: form.require("refresh_token")?,
                scope: form.take("scope"),
                audience: form.take("audience"),
                client: ClientCredentials::take(&mut form, basic)?,
            }),
            DEVICE_CODE => TokenRequest::DeviceCode(DeviceCodeRequest {
                device_code: form.require("device_code")?,
                audience: form.take("audience"),
                client: ClientCredentials::take(&mut form, basic)?,
            }),
            _ => return Err(TokenFormError::UnsupportedGrant(grant_type)),
        })
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
    /// For everything that a person allowed a client.
    Person {
        /// An opaque token for APIs.
        access_token: String,
        /// Whole seconds until it expires.
        expires_in: i64,
        /// Only if a new one was made: gcloud and others keep the one that they have.
        #[serde(skip_serializing_if = "Option::is_none")]
        refresh_token: Option<String>,
        /// The scopes as they were asked for, in full: Node's client splits them, and gcloud refuses another set.
        scope: String,
        /// Always `Bearer`.
        token_type: &'static str,
        /// If a scope tells of the person.
        #[serde(skip_serializing_if = "Option::is_none")]
        id_token: Option<String>,
    },
}

/// The codes of RFC 6749 sections 5.2 and 4.1.2.1, RFC 8628 section 3.5, RFC 8693 section 2.2.2, OpenID Connect Core 1.0 section 3.1.2.6, and Google's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
    /// The client is unknown, or its secret is wrong or missing.
    InvalidClient,
    /// Google's: the audience is no client, or one of another project.
    InvalidAudience,
    /// The provider that a token exchange names is not there, or is disabled (RFC 8693 section 2.2.2).
    InvalidTarget,
    /// Google's: the redirect URI is not one of the client's, or not the one of the code.
    RedirectUriMismatch,
    /// The person has not decided yet.
    AuthorizationPending,
    /// The client asks too often.
    SlowDown,
    /// The device code has ended.
    ExpiredToken,
    /// The person, or we, said no.
    AccessDenied,
    /// `prompt=none`, and nobody is signed in.
    LoginRequired,
    /// `prompt=none`, and the person would have to choose.
    AccountSelectionRequired,
    /// The response type is not served.
    UnsupportedResponseType,
    /// Request objects are not served.
    RequestNotSupported,
    /// Addresses of request objects are not served.
    RequestUriNotSupported,
    /// The token that was to be looked at is not one, or has ended.
    InvalidToken,
    /// We cannot answer now; try again.
    TemporarilyUnavailable,
    /// The failure is ours.
    ServerError,
}

impl OAuthCode {
    /// The code on the wire.
    pub fn name(self) -> &'static str {
        match self {
            OAuthCode::InvalidRequest => "invalid_request",
            OAuthCode::InvalidGrant => "invalid_grant",
            OAuthCode::InvalidScope => "invalid_scope",
            OAuthCode::UnauthorizedClient => "unauthorized_client",
            OAuthCode::UnsupportedGrantType => "unsupported_grant_type",
            OAuthCode::InvalidClient => "invalid_client",
            OAuthCode::InvalidAudience => "invalid_audience",
            OAuthCode::InvalidTarget => "invalid_target",
            OAuthCode::RedirectUriMismatch => "redirect_uri_mismatch",
            OAuthCode::AuthorizationPending => "authorization_pending",
            OAuthCode::SlowDown => "slow_down",
            OAuthCode::ExpiredToken => "expired_token",
            OAuthCode::AccessDenied => "access_denied",
            OAuthCode::LoginRequired => "login_required",
            OAuthCode::AccountSelectionRequired => "account_selection_required",
            OAuthCode::UnsupportedResponseType => "unsupported_response_type",
            OAuthCode::RequestNotSupported => "request_not_supported",
            OAuthCode::RequestUriNotSupported => "request_uri_not_supported",
            OAuthCode::InvalidToken => "invalid_token",
            OAuthCode::TemporarilyUnavailable => "temporarily_unavailable",
            OAuthCode::ServerError => "server_error",
        }
    }
}

/// The body of a refusal (RFC 6749 section 5.2).
#[derive(Debug, Serialize, Deserialize)]
pub struct OAuthError {
    /// The code that programs read.
    pub error: OAuthCode,
    /// One sentence for people. Clients parse several of Google's, so those are exact.
    pub error_description: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<TokenRequest, TokenFormError> {
        TokenRequest::read(Parameters::parse(body.as_bytes())?, None)
    }

    #[test]
    fn a_form_is_a_request_only_if_every_parameter_is_there_once() {
        use ParameterError::{Malformed, Missing};
        let jwt = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer";
        #[rustfmt::skip]
        let cases = [
            (String::new(),                                            Missing("grant_type").into()),
            ("grant_type=".into(),                                     Missing("grant_type").into()),
            ("grant_type=password&username=a".into(),                  TokenFormError::UnsupportedGrant("password".into())),
            (jwt.into(),                                               Missing("assertion").into()),
            (format!("{jwt}&assertion="),                              Missing("assertion").into()),
            (format!("{jwt}&assertion=a&assertion=b"),                 Malformed.into()),
            (format!("{jwt}&{jwt}&assertion=a"),                       Malformed.into()),
            (format!("{jwt}&assertion=%ff"),                           Malformed.into()),
            (format!("{jwt}&assertion=a%00"),                          Malformed.into()),
            ("grant_type=authorization_code&client_id=c".into(),       Missing("code").into()),
            ("grant_type=authorization_code&code=c".into(),            Missing("client_id").into()),
            ("grant_type=refresh_token&client_id=c".into(),            Missing("refresh_token").into()),
            ("grant_type=refresh_token&refresh_token=r".into(),        Missing("client_id").into()),
            (format!("grant_type={DEVICE_CODE}&client_id=c"),          Missing("device_code").into()),
        ];
        for (body, expected) in cases {
            assert_eq!(read(&body).unwrap_err(), expected, "{body}");
        }
        assert_eq!(Parameters::parse(b"a=\xff").unwrap_err(), Malformed);
    }

    #[test]
    fn the_assertion_is_decoded_and_otherwise_left_as_it_came() {
        let body = "assertion=a%0Ab%3D%2B+c&grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer";
        let Ok(TokenRequest::JwtBearer(request)) = read(body) else { panic!("an assertion") };
        assert_eq!(request.assertion, "a\nb=+ c");
    }

    #[test]
    fn a_code_is_written_as_it_is_named() {
        for code in [OAuthCode::InvalidRequest, OAuthCode::RedirectUriMismatch, OAuthCode::AccountSelectionRequired] {
            assert_eq!(serde_json::to_value(code).unwrap(), code.name());
        }
    }
}
