//! Shapes of our own API, for what Google's has no public method: OAuth clients and our keys, applications, groups,
//! access levels, answers to *why*, and the record.

mod applications;
mod audit;
mod explain;
mod groups;
mod users;
mod world;

pub use applications::{ApplicationKind, ApplicationResource, ListApplicationsResponse};
pub use audit::{
    AuditPoint, AuditSinkStatus, BrokenChain, ListAuditEntriesResponse, ListAuditSinksResponse, VerifyAuditResponse,
};
pub use explain::{
    ChangedDecision, Circumstances, Considered, ConsideredAccessLevel, ConsideredBinding, ConsideredDenyRule,
    DecisionExample, EffectiveSetting, ExplainRequest, ExplainResponse, ExplainedPrincipal, ExplainedResource, Grant,
    Question, ReachableApplication, ReadAttribute, RecordedDecision, SimulateRequest, SimulateResponse, SmallestChange,
    Verdict, WhatCanRequest, WhatCanResponse, WhoCanRequest, WhoCanResponse,
};
pub use groups::{
    AccessLevelResource, BasicLevel, ChangeMembersRequest, CustomLevel, GroupResource, ListAccessLevelsResponse,
    ListGroupsResponse, ListMembersResponse,
};
pub use users::{CreateUserRequest, ListUsersResponse, SetPasswordResponse, UserResource};
pub use world::{ApplyFailure, ApplyRequest, ApplyResponse, WorldAction, WorldChange, WorldList};

use serde::{Deserialize, Serialize};

/// An OAuth client as the API shows it, and, less what is ours to say, as it is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct OAuthClientResource {
    /// `NUMBER-x.apps.googleusercontent.com`; ours to say.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub client_id: String,
    /// Only in the answers to the creation and to a reset, never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<String>,
    /// A name for people, at most 100 bytes of UTF-8.
    pub display_name: String,
    /// `web`, `desktop`, `android` or `ios`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where a web client's answers may go.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub redirect_uris: Vec<String>,
    /// The package of an Android client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package_name: Option<String>,
    /// The SHA-1 fingerprint of an Android client's certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha1: Option<String>,
    /// The bundle id of an iOS client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bundle_id: Option<String>,
    /// The number of its project; ours to say.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub project_number: String,
    /// RFC 3339; ours to say.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub create_time: String,
}

/// Answer of `GET /v1/oauthClients`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ListOAuthClientsResponse {
    /// All of them, in the order of their ids.
    pub oauth_clients: Vec<OAuthClientResource>,
}

/// One of our keys. Its secret is never shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyResource {
    /// Published as `kid`.
    pub key_id: String,
    /// `id-token`, `assertion` and so on.
    pub purpose: String,
    /// `next` (published, signs nothing yet), `active`, or `replaced` (published for what it signed).
    pub state: String,
    /// RFC 3339.
    pub create_time: String,
    /// RFC 3339: since when, or from when, it is in use.
    pub signs_from: String,
    /// RFC 3339: when it is forgotten; absent of the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forgotten_at: Option<String>,
}

/// Answer of `GET /v1/keys` and of `POST /v1/keys:rotate`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ListKeysResponse {
    /// By purpose, newest first.
    pub keys: Vec<KeyResource>,
}

/// Body of `POST /v1/keys:rotate`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RotateKeysRequest {
    /// Which purpose; every replaceable one if it is empty.
    pub purpose: String,
    /// Sign with the new key at once and forget the old ones: for a key that got out. What they signed is refused from
    /// then on, and verifiers that keep key documents refuse what the new one signs until they look again.
    pub immediately: bool,
}
