//! `iam.googleapis.com/v1` service accounts, their keys, and the key file.

use serde::{Deserialize, Serialize};

/// A service account as the API shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccount {
    /// `projects/PROJECT_ID/serviceAccounts/EMAIL`.
    pub name: String,
    /// The project's id.
    pub project_id: String,
    /// Its number for life, 21 digits: `sub` in its tokens.
    pub unique_id: String,
    /// `ACCOUNT_ID@PROJECT_ID.iam.gserviceaccount.com`.
    pub email: String,
    /// A name for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub display_name: String,
    /// Free text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The unique id again, as OAuth client id.
    pub oauth2_client_id: String,
    /// `true` if it may neither get nor use tokens.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
}

/// Body of `POST …/serviceAccounts`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateServiceAccountRequest {
    /// 6 to 30 characters, `[a-z]([-a-z0-9]*[a-z0-9])`.
    pub account_id: String,
    /// What may be said about it at once.
    #[serde(default)]
    pub service_account: NewServiceAccount,
}

/// The part of a service account that its creator chooses.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NewServiceAccount {
    /// A name for people, at most 100 bytes of UTF-8.
    pub display_name: String,
    /// Free text, at most 256 bytes of UTF-8.
    pub description: String,
}

impl NewServiceAccount {
    /// The message's name in masks.
    pub const MESSAGE: &str = "serviceAccount";
    /// What a mask may name.
    pub const PATHS: [&str; 2] = ["displayName", "description"];
}

/// Body of `PATCH …/serviceAccounts/EMAIL`. The mask is in the body, and not in the query.
///
/// Spec: <https://cloud.google.com/iam/docs/reference/rest/v1/projects.serviceAccounts/patch>
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PatchServiceAccountRequest {
    /// What it is to be called from now on.
    #[serde(alias = "service_account")]
    pub service_account: NewServiceAccount,
    /// See [`super::field_mask::FieldMask`].
    #[serde(alias = "update_mask")]
    pub update_mask: String,
}

/// Query of `GET …/keys/KEY_ID`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GetKeyQuery {
    /// In which form the public half is shown.
    #[serde(alias = "public_key_type")]
    pub public_key_type: PublicKeyType,
}

/// A form of a public key.
///
/// Spec: <https://cloud.google.com/iam/docs/reference/rest/v1/projects.serviceAccounts.keys#ServiceAccountPublicKeyType>
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum PublicKeyType {
    /// It is not shown.
    #[default]
    #[serde(rename = "TYPE_NONE")]
    None,
    /// As a certificate.
    #[serde(rename = "TYPE_X509_PEM_FILE")]
    X509PemFile,
    /// As SubjectPublicKeyInfo.
    #[serde(rename = "TYPE_RAW_PUBLIC_KEY")]
    RawPublicKey,
}

/// Answer of `GET …/serviceAccounts`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ListServiceAccountsResponse {
    /// One page.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub accounts: Vec<ServiceAccount>,
    /// Given back as `pageToken` to get the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<String>,
}

/// Body of `POST …/serviceAccounts/EMAIL/keys`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CreateKeyRequest {
    /// `TYPE_GOOGLE_CREDENTIALS_FILE`, or absent.
    pub private_key_type: Option<String>,
    /// `KEY_ALG_RSA_2048`, or absent.
    pub key_algorithm: Option<String>,
}

/// A key as the API shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccountKey {
    /// `projects/PROJECT_ID/serviceAccounts/EMAIL/keys/KEY_ID`.
    pub name: String,
    /// Base64 of the [`KeyFile`]'s JSON; only in the answer to the creation, never again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_key_data: Option<String>,
    /// `TYPE_GOOGLE_CREDENTIALS_FILE`, beside `privateKeyData` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_key_type: Option<String>,
    /// Base64 of the public half in PEM, in the form that `GET …/keys/KEY_ID` asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key_data: Option<String>,
    /// `KEY_ALG_RSA_2048`.
    pub key_algorithm: String,
    /// RFC 3339, whole seconds, `Z`.
    pub valid_after_time: String,
    /// RFC 3339, whole seconds, `Z`.
    pub valid_before_time: String,
    /// `GOOGLE_PROVIDED`: the pair was made by the service.
    pub key_origin: String,
    /// `USER_MANAGED`, or `SYSTEM_MANAGED` of those that we sign with.
    pub key_type: String,
    /// `true` if nothing that it signed is accepted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
}

/// Answer of `GET …/keys`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ListKeysResponse {
    /// All keys of the account.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<ServiceAccountKey>,
}

/// A service account key file, field for field and in Google's order.
///
/// Spec: <https://cloud.google.com/iam/docs/keys-create-delete>
#[derive(Clone, Serialize, Deserialize)]
pub struct KeyFile {
    /// `service_account`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The project's id.
    pub project_id: String,
    /// The key's id: `kid` in assertions.
    pub private_key_id: String,
    /// PKCS#8 in PEM, RSA 2048.
    pub private_key: String,
    /// The account.
    pub client_email: String,
    /// The account's unique id.
    pub client_id: String,
    /// Where people would sign in.
    pub auth_uri: String,
    /// Where assertions are exchanged.
    pub token_uri: String,
    /// Where the issuer's certificates are.
    pub auth_provider_x509_cert_url: String,
    /// Where this account's certificates are.
    pub client_x509_cert_url: String,
    /// `googleapis.com`: anything else makes Google's clients change protocol.
    pub universe_domain: String,
}

impl std::fmt::Debug for KeyFile {
    /// Without the private key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyFile({} {})", self.client_email, self.private_key_id)
    }
}
