//! `DIR/dev.json`: the description of a running `doorward dev`, for programs. An interface: later versions add keys and
//! rename none (`docs/reference/dev-json.md`).

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::names::Addressing;

/// The name of the description in the state directory.
pub const FILE_NAME: &str = "dev.json";

/// The whole description.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// Always 1.
    pub version: u32,
    /// Google's own names lead here, and every address of Google's in this description and in its files is Google's own.
    #[serde(default)]
    pub names: bool,
    /// The one project.
    pub project: ProjectDescription,
    /// Our own origin, without a trailing slash; a Google host's surface is at `api_url/HOST/…`.
    pub api_url: String,
    /// The same over TLS; `null` without `--tls`.
    #[serde(default)]
    pub api_https_url: Option<String>,
    /// The certificate authority to trust, in PEM; `null` without `--tls`.
    pub ca_file: Option<PathBuf>,
    /// The application of `--to`, or the built-in one.
    pub app: AppDescription,
    /// A second application, which admits nobody.
    pub other_app: AppDescription,
    /// By name: `robot`, `stranger`, `caller`, `target`.
    pub service_accounts: BTreeMap<String, ServiceAccountDescription>,
    /// By e-mail address.
    pub users: BTreeMap<String, UserDescription>,
    /// The bearer token of our own API and of Google's administration methods.
    pub admin_token: String,
    /// The metadata server.
    #[serde(default)]
    pub metadata: Option<MetadataDescription>,
    /// By kind: `desktop`, `web`, `android`.
    #[serde(default)]
    pub oauth_clients: BTreeMap<String, OAuthClientDescription>,
    /// Files for application default credentials.
    #[serde(default)]
    pub credential_files: CredentialFiles,
}

impl Description {
    /// The base URL of a Google host, without a trailing slash.
    pub fn base(&self, host: &str) -> String {
        let addressing = if self.names { Addressing::GoogleNames } else { Addressing::OwnOrigin };
        addressing.base(&self.api_url, host)
    }
}

/// The metadata server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetadataDescription {
    /// `HOST:PORT`, for `GCE_METADATA_HOST`.
    pub host: String,
    /// The address of its account.
    pub service_account: String,
}

/// A client for which people sign in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OAuthClientDescription {
    /// `NUMBER-x.apps.googleusercontent.com`.
    pub client_id: String,
    /// `null` for a public client.
    pub client_secret: Option<String>,
}

/// Files for application default credentials, absolute.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CredentialFiles {
    /// Of type `impersonated_service_account`: `caller` makes tokens for `target`.
    #[serde(default)]
    pub impersonated_service_account: Option<PathBuf>,
}

/// The project in both its spellings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectDescription {
    /// For people.
    pub id: String,
    /// For programs, decimal digits.
    pub number: String,
}

/// A protected application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppDescription {
    /// Where it is, without a trailing slash.
    pub url: String,
    /// The same over TLS; `null` without `--tls`.
    #[serde(default)]
    pub https_url: Option<String>,
    /// The value of `Host` under which it is served.
    pub host: String,
    /// The audience that an ID token for it must carry.
    pub client_id: String,
    /// The secret of that client.
    pub client_secret: String,
    /// The name that gcloud takes.
    pub backend_service: String,
    /// `projects/NUMBER/iap_web/compute/services/ID`, for policies.
    pub resource: String,
    /// `/projects/NUMBER/global/backendServices/ID`, `aud` of the signed header.
    pub audience: String,
}

/// An identity for programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceAccountDescription {
    /// Its address.
    pub email: String,
    /// Its number for life.
    pub unique_id: String,
    /// Its key file, absolute; `null` if it has none.
    pub key_file: Option<PathBuf>,
    /// Whether `app` admits it when it starts.
    pub allowed: bool,
}

/// A person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserDescription {
    /// For the sign-in page.
    pub password: String,
    /// Whether `app` admits them when it starts.
    pub allowed: bool,
    /// The value of a `Cookie` field of this person, signed in at our sign-in pages. Taken from this machine only.
    #[serde(default)]
    pub sign_in_cookie: String,
    /// A file for application default credentials, of type `authorized_user`, absolute.
    #[serde(default)]
    pub authorized_user_file: PathBuf,
    /// A refresh token of gcloud's own client, for `gcloud auth activate-refresh-token`.
    #[serde(default)]
    pub gcloud_refresh_token: String,
}
