//! Applications: what backend services and the like are, as `doorward app` shows them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What an application is to Google's APIs. Its resource's name, the signed header's `aud` and gcloud's
/// `--resource-type` follow from it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApplicationKind {
    /// `compute`, global or of a region.
    #[default]
    BackendService,
    /// `appengine-PROJECT`.
    AppEngine,
    /// `cloud_run-REGION`.
    CloudRun,
}

/// An application as the API shows it, and, less what is ours to say, as it is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ApplicationResource {
    /// `wiki`: 1 to 63 characters, `[a-z]([-a-z0-9]*[a-z0-9])?`.
    pub name: String,
    /// What it is.
    pub kind: ApplicationKind,
    /// The region of a backend service or of Cloud Run; absent of a global one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The App Engine service; `default` if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The App Engine version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The digits of a backend service's id; ours to say, but for a creation that brings one along.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Free text.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// What is set on it by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Hosts or origins at which it is reached.
    pub hosts: Vec<String>,
    /// Paths that are its own on these hosts; without any, all of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub path_prefixes: Vec<String>,
    /// URLs to one of which each request is forwarded.
    pub upstreams: Vec<String>,
    /// Whether anybody is let in at all; `true` if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iap_enabled: Option<bool>,
    /// Its OAuth client; one of ours is made if it is absent at the creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// The canonical name of its resource, on which policies and settings stand; ours to say.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resource: String,
    /// `aud` of the signed header; ours to say.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub assertion_audience: String,
    /// The state that was read, to be sent back with a change.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub etag: String,
}

/// Answer of `GET /v1/applications`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ListApplicationsResponse {
    /// All of them, by name.
    pub applications: Vec<ApplicationResource>,
    /// Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<String>,
}
