//! Groups of our own, and access levels.

use serde::{Deserialize, Serialize};

use crate::google_api::Expr;

/// A group of ours: what `group:EMAIL` in a policy means.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct GroupResource {
    /// Its address.
    pub email: String,
    /// A name for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub display_name: String,
    /// Free text.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// `user:`, `serviceAccount:`, `group:`, `principal://` and `principalSet://`. Groups in groups are at most 10
    /// deep.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<String>,
    /// The state that was read, to be sent back with a change.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub etag: String,
}

/// Answer of `GET /v1/groups`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ListGroupsResponse {
    /// One page, by address. Without their members.
    pub groups: Vec<GroupResource>,
    /// Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<String>,
}

/// Answer of the list of a group's members.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ListMembersResponse {
    /// In the order of their texts.
    pub members: Vec<String>,
    /// Gives the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<String>,
}

/// Body of `POST /v1/groups/EMAIL:addMembers` and `:removeMembers`. Adding one who is there, and removing one who is
/// not, changes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ChangeMembersRequest {
    /// Whom.
    pub members: Vec<String>,
}

/// A named condition on where a caller comes from, when, and how: either an expression, or the simple form.
///
/// Spec: <https://cloud.google.com/access-context-manager/docs/reference/rest/v1/accessPolicies.accessLevels>
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct AccessLevelResource {
    /// `accessPolicies/PROJECT_NUMBER/accessLevels/NAME`.
    pub name: String,
    /// A name for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// Free text.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The condition in CEL; then nothing of the simple form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom: Option<CustomLevel>,
    /// The simple form; then no `custom`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basic: Option<BasicLevel>,
    /// The state that was read, to be sent back with a change.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub etag: String,
}

/// A level as an expression.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CustomLevel {
    /// Over `source.ip`, `request.time`, `request.auth.claims`, `request.auth.strength` and `device.*`.
    pub expr: Expr,
}

/// A level in the simple form: every list that is not empty must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct BasicLevel {
    /// The caller's address is in one of these ranges.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ip_subnetworks: Vec<String>,
    /// All of these levels are met.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub required_access_levels: Vec<String>,
    /// The caller is one of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<String>,
}

/// Answer of `GET /v1/accessLevels`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ListAccessLevelsResponse {
    /// All of them, by name.
    pub access_levels: Vec<AccessLevelResource>,
    /// Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<String>,
}
