//! `iamcredentials.googleapis.com/v1`: bodies of its four methods.
//!
//! Names are read in camelCase and in snake_case, booleans also as texts, and `null` as absent, as Google's front end reads
//! them and its own clients write them.
//!
//! Spec: <https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts>

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// Body of `:generateIdToken`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GenerateIdTokenRequest {
    /// The audience of the token: demanded.
    #[serde(deserialize_with = "or_default")]
    pub audience: String,
    /// `projects/-/serviceAccounts/EMAIL_OR_ID`, each holding a role on the next.
    #[serde(deserialize_with = "or_default")]
    pub delegates: Vec<String>,
    /// Whether the token carries `email`, which IAP demands.
    #[serde(alias = "include_email", deserialize_with = "boolean")]
    pub include_email: bool,
    /// Whether `azp` is the address instead of the number: a field that Google's libraries send.
    #[serde(alias = "use_email_azp", deserialize_with = "boolean")]
    pub use_email_azp: bool,
    /// Whether the token tells the organisation; there is none here.
    #[serde(alias = "organization_number_included", deserialize_with = "boolean")]
    pub organization_number_included: bool,
}

/// Body of `:generateAccessToken`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GenerateAccessTokenRequest {
    /// Scopes: demanded.
    #[serde(deserialize_with = "or_default")]
    pub scope: Vec<String>,
    /// As in [`GenerateIdTokenRequest`].
    #[serde(deserialize_with = "or_default")]
    pub delegates: Vec<String>,
    /// `3600s`; an hour if absent, and at most.
    pub lifetime: Option<String>,
}

/// Body of `:signJwt`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SignJwtRequest {
    /// A JSON object as text.
    #[serde(deserialize_with = "or_default")]
    pub payload: String,
    /// As in [`GenerateIdTokenRequest`].
    #[serde(deserialize_with = "or_default")]
    pub delegates: Vec<String>,
}

/// Body of `:signBlob`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SignBlobRequest {
    /// Base64.
    #[serde(deserialize_with = "or_default")]
    pub payload: String,
    /// As in [`GenerateIdTokenRequest`].
    #[serde(deserialize_with = "or_default")]
    pub delegates: Vec<String>,
}

/// Answer of `:generateIdToken`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GenerateIdTokenResponse {
    /// The signed token.
    pub token: String,
}

/// Answer of `:generateAccessToken`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GenerateAccessTokenResponse {
    /// The opaque token.
    pub access_token: String,
    /// `YYYY-MM-DDTHH:MM:SSZ`: a fraction of a second fails Python and gcloud.
    pub expire_time: String,
}

/// Answer of `:signJwt`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SignJwtResponse {
    /// `kid` of the header.
    pub key_id: String,
    /// The compact JWS.
    pub signed_jwt: String,
}

/// Answer of `:signBlob`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SignBlobResponse {
    /// The key that signed.
    pub key_id: String,
    /// RSASSA-PKCS1-v1_5 with SHA-256, in base64.
    pub signed_blob: String,
}

/// Answer of `GET …/allowedLocations`: everywhere.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AllowedLocations {
    /// No region is named.
    pub locations: Vec<String>,
    /// `0x0`.
    pub encoded_locations: String,
}

impl Default for AllowedLocations {
    fn default() -> Self {
        AllowedLocations { locations: Vec::new(), encoded_locations: "0x0".to_owned() }
    }
}

fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn boolean<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Bool(value) => Ok(value),
        Value::Null => Ok(false),
        Value::String(text) if text == "true" => Ok(true),
        Value::String(text) if text == "false" => Ok(false),
        other => Err(serde::de::Error::custom(format_args!("includeEmail and its kin are true or false, not {other}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_googles_clients_write_is_read() {
        let read = |body: Value| serde_json::from_value::<GenerateIdTokenRequest>(body);
        #[rustfmt::skip]
        let cases = [
            (json!({"audience": "a", "delegates": null, "includeEmail": true}),                       Some(true)),
            (json!({"audience": "a", "delegates": [], "include_email": "true", "useEmailAzp": "true"}), Some(true)),
            (json!({"audience": "a", "includeEmail": "false"}),                                       Some(false)),
            (json!({"audience": "a", "includeEmail": null}),                                          Some(false)),
            (json!({"audience": "a"}),                                                                Some(false)),
            (json!({"audience": "a", "includeEmail": "yes"}),                                         None),
            (json!({"audience": "a", "includeEmail": 1}),                                             None),
        ];
        for (body, expected) in cases {
            assert_eq!(read(body.clone()).ok().map(|request| request.include_email), expected, "{body}");
        }
        let scopes: GenerateAccessTokenRequest = serde_json::from_value(json!({"scope": null})).unwrap();
        assert!(scopes.scope.is_empty());
    }
}
