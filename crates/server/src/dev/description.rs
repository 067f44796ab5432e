//! `DIR/dev.json`: the description of a running `doorward dev`, for programs. An interface: later versions add keys and
//! rename none (`docs/reference/dev-json.md`).

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The name of the description in the state directory.
pub const FILE_NAME: &str = "dev.json";

/// The whole description.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// Always 1.
    pub version: u32,
    /// The one project.
    pub project: ProjectDescription,
    /// Our own origin, without a trailing slash; a Google host's surface is at `api_url/HOST/…`.
    pub api_url: String,
    /// The certificate authority to trust; `null` on http.
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
    /// `null` until that server is built.
    pub metadata: Option<serde_json::Value>,
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
}
