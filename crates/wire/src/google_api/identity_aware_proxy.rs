//! Whether a backend is protected, and by which OAuth client: the member `iap` of a backend service and of an App
//! Engine application.
//!
//! Spec: <https://cloud.google.com/compute/docs/reference/rest/v1/backendServices>,
//! <https://cloud.google.com/appengine/docs/admin-api/reference/rest/v1/apps#IdentityAwareProxy>

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::proto_json::{InputSecret, boolean, text};

/// Whether a backend is protected, and by which OAuth client.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct IdentityAwareProxy {
    /// Whether it is.
    #[serde(deserialize_with = "boolean", skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// The client; empty or absent for one of ours, which is made.
    #[serde(alias = "oauth2_client_id", deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub oauth2_client_id: Option<String>,
    /// The client's secret: only in requests. See [`Self::hide_secret`].
    #[serde(alias = "oauth2_client_secret", deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub oauth2_client_secret: Option<InputSecret>,
    /// SHA-256 of the secret in hexadecimal: only in answers, and passed over in requests.
    #[serde(alias = "oauth2_client_secret_sha256", deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub oauth2_client_secret_sha256: Option<String>,
}

impl IdentityAwareProxy {
    /// Takes the secret out and puts its SHA-256 in its place, as an answer has it.
    pub fn hide_secret(&mut self) {
        if let Some(secret) = self.oauth2_client_secret.take() {
            self.oauth2_client_secret_sha256 = Some(secret_sha256(&secret));
        }
    }
}

/// SHA-256 of a secret in lower-case hexadecimal, as Google shows one.
pub fn secret_sha256(secret: &InputSecret) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, secret.0.as_bytes());
    digest.as_ref().iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_secret_goes_in_and_only_its_digest_comes_out() {
        let sent = json!({"enabled": "true", "oauth2_client_id": "c", "oauth2ClientSecret": "abc"});
        let mut iap: IdentityAwareProxy = serde_json::from_value(sent).unwrap();
        assert!(!format!("{iap:?}").contains("abc"));
        iap.hide_secret();
        let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let expected = json!({"enabled": true, "oauth2ClientId": "c", "oauth2ClientSecretSha256": digest});
        assert_eq!(serde_json::to_value(&iap).unwrap(), expected);
        assert!(serde_json::from_value::<IdentityAwareProxy>(json!({"enable": true})).is_err());
    }
}
