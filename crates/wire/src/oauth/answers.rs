//! Answers of the smaller endpoints: device authorization, token information and user information.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Answer of `POST /device/code` (RFC 8628 section 3.2). Google names the address twice.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeviceAuthorization {
    /// For the device: given to the token endpoint.
    pub device_code: String,
    /// For the person: `XXXX-XXXX`.
    pub user_code: String,
    /// Where the person enters it.
    pub verification_uri: String,
    /// The same, under the name that Google gives it.
    pub verification_url: String,
    /// The same, with the code in it.
    pub verification_uri_complete: String,
    /// Whole seconds until both codes end.
    pub expires_in: i64,
    /// Whole seconds that the device waits between two questions.
    pub interval: i64,
}

/// Answer of `/tokeninfo` for an access token. Numbers are strings, as Google writes them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessTokenInfo {
    /// The client that holds the token; of a service account its number.
    pub azp: String,
    /// The same.
    pub aud: String,
    /// The account's number.
    pub sub: String,
    /// Scopes, separated by spaces.
    pub scope: String,
    /// When it ends: seconds since the Unix epoch.
    pub exp: String,
    /// Whole seconds until then.
    pub expires_in: String,
    /// If a scope tells of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// `true`, beside `email`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email_verified: Option<String>,
    /// `offline` or `online`.
    pub access_type: String,
}

/// The claims of an ID token as `/tokeninfo` shows them: every value is a string, and the header's parameters stand beside them.
pub fn id_token_info(header: &Map<String, Value>, claims: &Map<String, Value>) -> Map<String, Value> {
    let text = |value: &Value| match value {
        Value::String(text) => Value::String(text.clone()),
        other => Value::String(other.to_string()),
    };
    claims.iter().chain(header).map(|(name, value)| (name.clone(), text(value))).collect()
}

/// Answer of `/v1/userinfo` (OpenID Connect Core 1.0 section 5.3.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserInfo {
    /// The account's number.
    pub sub: String,
    /// If a scope tells of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// `true`, beside `email`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email_verified: Option<bool>,
    /// The domain of a person's organisation, beside `email`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hd: Option<String>,
}
