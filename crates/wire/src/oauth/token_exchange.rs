//! Token exchange (RFC 8693), as `sts.googleapis.com/v1/token` speaks it: a form in snake_case or JSON in camelCase in, JSON out.
//!
//! Spec: <https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token>

use std::fmt;

use serde::{Deserialize, Serialize};

use super::parameters::{ParameterError, Parameters, is_text};
use super::token::TokenFormError;

/// `grant_type` of RFC 8693 section 2.1.
pub const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// `requested_token_type` and `issued_token_type`: the one type that Google issues here.
pub const ACCESS_TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:access_token";
/// `subject_token_type` of a JWT.
pub const JWT_TYPE: &str = "urn:ietf:params:oauth:token-type:jwt";
/// `subject_token_type` of an ID token of OpenID Connect.
pub const ID_TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:id_token";
/// `subject_token_type` of a SAML 2.0 assertion.
pub const SAML2_TYPE: &str = "urn:ietf:params:oauth:token-type:saml2";
/// `subject_token_type` of a signed `GetCallerIdentity` request of AWS.
pub const AWS4_REQUEST_TYPE: &str = "urn:ietf:params:aws:token-type:aws4_request";

/// A token of one issuer that is to be exchanged for one of ours. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenExchangeRequest {
    /// [`TOKEN_EXCHANGE`].
    #[serde(alias = "grant_type")]
    pub grant_type: String,
    /// `//iam.googleapis.com/projects/N/locations/global/workloadIdentityPools/POOL/providers/PROVIDER`.
    pub audience: String,
    /// Scopes, separated by spaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// [`ACCESS_TOKEN_TYPE`].
    #[serde(default, alias = "requested_token_type", skip_serializing_if = "Option::is_none")]
    pub requested_token_type: Option<String>,
    /// The token of the other issuer.
    #[serde(alias = "subject_token")]
    pub subject_token: String,
    /// [`JWT_TYPE`] and its like.
    #[serde(alias = "subject_token_type")]
    pub subject_token_type: String,
    /// JSON as text, such as `{"userProject": "…"}` for workforce pools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<String>,
}

impl fmt::Debug for TokenExchangeRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenExchangeRequest({} for {:?})", self.subject_token_type, self.audience)
    }
}

impl TokenExchangeRequest {
    /// Reads `application/x-www-form-urlencoded`.
    ///
    /// # Errors
    /// [`TokenFormError`] if a parameter is missing or empty, occurs twice, or the grant is another.
    pub fn read_form(mut form: Parameters) -> Result<Self, TokenFormError> {
        let request = TokenExchangeRequest {
            grant_type: form.require("grant_type")?,
            audience: form.take("audience").unwrap_or_default(),
            scope: form.take("scope"),
            requested_token_type: form.take("requested_token_type"),
            subject_token: form.take("subject_token").unwrap_or_default(),
            subject_token_type: form.take("subject_token_type").unwrap_or_default(),
            options: form.take("options"),
        };
        request.checked()
    }

    /// Reads `application/json`. Names are camelCase; snake_case is read as well, as Google's front end does.
    ///
    /// # Errors
    /// As [`read_form`](Self::read_form). Which name is wrong is not told: the parser's own message quotes values.
    pub fn read_json(body: &[u8]) -> Result<Self, TokenFormError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Lenient {
            #[serde(default, alias = "grant_type")]
            grant_type: Option<String>,
            audience: Option<String>,
            scope: Option<String>,
            #[serde(default, alias = "requested_token_type")]
            requested_token_type: Option<String>,
            #[serde(default, alias = "subject_token")]
            subject_token: Option<String>,
            #[serde(default, alias = "subject_token_type")]
            subject_token_type: Option<String>,
            options: Option<String>,
        }
        let read: Lenient = serde_json::from_slice(body).map_err(|_| ParameterError::Malformed)?;
        let texts = [
            &read.grant_type,
            &read.audience,
            &read.scope,
            &read.requested_token_type,
            &read.subject_token,
            &read.subject_token_type,
            &read.options,
        ];
        if !texts.into_iter().flatten().all(|text| is_text(text)) {
            return Err(ParameterError::Malformed.into());
        }
        // A parameter without a value is as good as absent, as in a form.
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        let request = TokenExchangeRequest {
            grant_type: given(read.grant_type).ok_or(ParameterError::Missing("grant_type"))?,
            audience: read.audience.unwrap_or_default(),
            scope: given(read.scope),
            requested_token_type: given(read.requested_token_type),
            subject_token: read.subject_token.unwrap_or_default(),
            subject_token_type: read.subject_token_type.unwrap_or_default(),
            options: given(read.options),
        };
        request.checked()
    }

    /// As `application/x-www-form-urlencoded`, in the order in which Google's clients write it.
    pub fn to_form(&self) -> String {
        let optional = |name, value: &Option<String>| value.clone().map(|value| (name, value));
        let pairs = [
            Some(("grant_type", self.grant_type.clone())),
            Some(("audience", self.audience.clone())),
            optional("scope", &self.scope),
            optional("requested_token_type", &self.requested_token_type),
            Some(("subject_token", self.subject_token.clone())),
            Some(("subject_token_type", self.subject_token_type.clone())),
            optional("options", &self.options),
        ];
        form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs.into_iter().flatten()).finish()
    }

    /// The grant first: what is missing is told in the words of the grant that was asked for.
    fn checked(self) -> Result<Self, TokenFormError> {
        if self.grant_type != TOKEN_EXCHANGE {
            return Err(TokenFormError::UnsupportedGrant(self.grant_type));
        }
        let demanded = [
            ("audience", &self.audience),
            ("subject_token", &self.subject_token),
            ("subject_token_type", &self.subject_token_type),
        ];
        if let Some((name, _)) = demanded.into_iter().find(|(_, value)| value.is_empty()) {
            return Err(ParameterError::Missing(name).into());
        }
        Ok(self)
    }
}

/// What the exchange gives. `Debug` does not show the token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenExchangeResponse {
    /// The opaque federated token: for `iamcredentials`, never for an application.
    pub access_token: String,
    /// [`ACCESS_TOKEN_TYPE`]. Google's clients do without it.
    #[serde(default)]
    pub issued_token_type: String,
    /// `Bearer`. Google's clients do without it.
    #[serde(default)]
    pub token_type: String,
    /// Whole seconds, a JSON number: Python fails without it.
    pub expires_in: i64,
}

impl fmt::Debug for TokenExchangeResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenExchangeResponse(expires in {} s)", self.expires_in)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn request() -> TokenExchangeRequest {
        TokenExchangeRequest {
            grant_type: TOKEN_EXCHANGE.into(),
            audience: "//iam.googleapis.com/x".into(),
            scope: Some("a b".into()),
            requested_token_type: Some(ACCESS_TOKEN_TYPE.into()),
            subject_token: "s.t.u".into(),
            subject_token_type: JWT_TYPE.into(),
            options: None,
        }
    }

    #[test]
    fn a_form_and_json_in_either_case_are_the_same_request() {
        let camel = serde_json::to_value(request()).unwrap();
        assert_eq!(
            camel,
            json!({
                "grantType": TOKEN_EXCHANGE, "audience": "//iam.googleapis.com/x", "scope": "a b",
                "requestedTokenType": ACCESS_TOKEN_TYPE, "subjectToken": "s.t.u", "subjectTokenType": JWT_TYPE,
            })
        );
        let snake = json!({
            "grant_type": TOKEN_EXCHANGE, "audience": "//iam.googleapis.com/x", "scope": "a b", "options": "",
            "requested_token_type": ACCESS_TOKEN_TYPE, "subject_token": "s.t.u", "subject_token_type": JWT_TYPE,
        });
        let form = Parameters::parse(request().to_form().as_bytes()).unwrap();
        assert_eq!(TokenExchangeRequest::read_form(form).unwrap(), request());
        for body in [camel, snake] {
            assert_eq!(TokenExchangeRequest::read_json(body.to_string().as_bytes()).unwrap(), request());
        }
        assert!(!format!("{:?}", request()).contains("s.t.u"));
    }

    #[test]
    fn what_is_missing_is_named_in_a_form_and_in_json_alike() {
        use ParameterError::{Malformed, Missing};
        #[rustfmt::skip]
        let cases = [
            (json!({"grantType": ""}),               Missing("grant_type").into()),
            (json!({"audience": "a"}),               Missing("grant_type").into()),
            (json!({"grantType": "refresh_token"}),  TokenFormError::UnsupportedGrant("refresh_token".into())),
            (json!({"audience": ""}),                Missing("audience").into()),
            (json!({"subjectToken": null}),          Missing("subject_token").into()),
            (json!({"subjectTokenType": ""}),        Missing("subject_token_type").into()),
            (json!({"subjectToken": 1}),             Malformed.into()),
            (json!({"subject_token": "twice"}),      Malformed.into()),
            (json!({"audience": "a\0"}),             Malformed.into()),
        ];
        for (change, expected) in cases {
            let mut body = serde_json::to_value(request()).unwrap();
            if change == json!({"audience": "a"}) {
                body.as_object_mut().unwrap().remove("grantType");
            }
            body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            let refused = TokenExchangeRequest::read_json(body.to_string().as_bytes()).unwrap_err();
            assert_eq!(refused, expected, "{change}");
        }
        let form = Parameters::parse(format!("grant_type={TOKEN_EXCHANGE}&audience=a").as_bytes()).unwrap();
        assert_eq!(TokenExchangeRequest::read_form(form).unwrap_err(), Missing("subject_token").into());
    }
}
