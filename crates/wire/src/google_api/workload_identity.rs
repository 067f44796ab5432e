//! `iam.googleapis.com/v1` workload identity pools and their providers.
//!
//! Spec: <https://cloud.google.com/iam/docs/reference/rest/v1/projects.locations.workloadIdentityPools>

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A pool as the API shows it and takes it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadIdentityPool {
    /// `projects/NUMBER/locations/global/workloadIdentityPools/POOL`. Not read.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// A name for people, at most 32 characters.
    #[serde(alias = "display_name", skip_serializing_if = "String::is_empty")]
    pub display_name: String,
    /// Free text, at most 256 characters.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// `ACTIVE`. Not read.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub state: String,
    /// Nobody of it gets or uses tokens.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
}

/// A provider as the API shows it and takes it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadIdentityPoolProvider {
    /// `projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER`. Not read.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// A name for people, at most 32 characters.
    #[serde(alias = "display_name", skip_serializing_if = "String::is_empty")]
    pub display_name: String,
    /// Free text, at most 256 characters.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// `ACTIVE`. Not read.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub state: String,
    /// Its tokens are not accepted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
    /// `google.subject`, `google.groups` and `attribute.NAME`, each with an expression over `assertion`.
    #[serde(alias = "attribute_mapping", skip_serializing_if = "BTreeMap::is_empty")]
    pub attribute_mapping: BTreeMap<String, String>,
    /// An expression over `assertion`, `google` and `attribute` that must be true.
    #[serde(alias = "attribute_condition", skip_serializing_if = "Option::is_none")]
    pub attribute_condition: Option<String>,
    /// The one kind that is served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oidc: Option<Oidc>,
    /// The kinds that are not, so that a request for one is told so instead of misread.
    #[serde(skip_serializing)]
    pub aws: Option<Value>,
    /// See `aws`.
    #[serde(skip_serializing)]
    pub saml: Option<Value>,
    /// See `aws`.
    #[serde(skip_serializing)]
    pub x509: Option<Value>,
}

/// An OpenID Connect issuer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Oidc {
    /// `iss` of its tokens: an `https` URL.
    #[serde(alias = "issuer_uri")]
    pub issuer_uri: String,
    /// `aud` of its tokens; without any, the provider's name.
    #[serde(alias = "allowed_audiences", skip_serializing_if = "Vec::is_empty")]
    pub allowed_audiences: Vec<String>,
    /// Its key document, as text, if it is not to be fetched.
    #[serde(alias = "jwks_json", skip_serializing_if = "Option::is_none")]
    pub jwks_json: Option<String>,
    /// Ours: it may be on this machine, and speak plain HTTP.
    #[serde(alias = "insecure_loopback", skip_serializing_if = "std::ops::Not::not")]
    pub insecure_loopback: bool,
}

/// Answer of `GET …/workloadIdentityPools`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ListPoolsResponse {
    /// All pools.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub workload_identity_pools: Vec<WorkloadIdentityPool>,
}

/// Answer of `GET …/workloadIdentityPools/POOL/providers`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ListProvidersResponse {
    /// All providers of the pool.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub workload_identity_pool_providers: Vec<WorkloadIdentityPoolProvider>,
}

/// A change that is done when it is answered, in the shape of a long-running operation.
///
/// Spec: <https://google.aip.dev/151>
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Operation {
    /// `RESOURCE/operations/ID`.
    pub name: String,
    /// `true`.
    pub done: bool,
    /// What was made or changed, with `@type`.
    pub response: Value,
}
