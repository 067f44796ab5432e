//! `cloudresourcemanager.googleapis.com`: the project in its two spellings, and its ancestors. Policies are those of
//! [`iam_policy`](super::iam_policy).
//!
//! Spec: <https://cloud.google.com/resource-manager/reference/rest/v1/projects>,
//! <https://cloud.google.com/resource-manager/reference/rest/v3/projects>

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::iam_policy::Etag;

/// A resource and its kind: `organization`, `folder` or `project`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceId {
    /// The kind.
    #[serde(rename = "type")]
    pub kind: String,
    /// The number of an organisation or a folder, the id of a project.
    pub id: String,
}

/// A project in version 1, with which every IAP command of gcloud starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProjectV1 {
    /// The digits of a 64-bit number.
    pub project_number: String,
    /// The id.
    pub project_id: String,
    /// `ACTIVE`.
    pub lifecycle_state: String,
    /// A name for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// RFC 3339.
    pub create_time: String,
    /// What is set on it by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The folder or organisation above it, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ResourceId>,
}

/// Answer of `GET /v1/projects`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ListProjectsResponse {
    /// One page.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub projects: Vec<ProjectV1>,
    /// Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<String>,
}

/// Answer of `POST /v1/projects/P:getAncestry`.
///
/// Spec: <https://cloud.google.com/resource-manager/reference/rest/v1/projects/getAncestry>
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GetAncestryResponse {
    /// The project first, the organisation last.
    pub ancestor: Vec<Ancestor>,
}

/// One entry of [`GetAncestryResponse`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ancestor {
    /// Which.
    pub resource_id: ResourceId,
}

/// A project in version 3.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProjectV3 {
    /// `projects/NUMBER`.
    pub name: String,
    /// `folders/NUMBER` or `organizations/NUMBER`, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// The id.
    pub project_id: String,
    /// `ACTIVE`.
    pub state: String,
    /// A name for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub display_name: String,
    /// RFC 3339.
    pub create_time: String,
    /// RFC 3339.
    pub update_time: String,
    /// The state that was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<Etag>,
    /// What is set on it by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// Answer of `GET /v3/projects:search` and of `GET /v3/projects`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SearchProjectsResponse {
    /// One page.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub projects: Vec<ProjectV3>,
    /// Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<String>,
}

/// The query of the lists, and of the search.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProjectsQuery {
    /// How many at most.
    #[serde(alias = "page_size")]
    pub page_size: Option<i64>,
    /// `nextPageToken` of the page before.
    #[serde(alias = "page_token")]
    pub page_token: Option<String>,
    /// What version 1 calls it: `id:NAME`, `name:NAME`, `lifecycleState:ACTIVE`.
    pub filter: Option<String>,
    /// What the search of version 3 calls it.
    pub query: Option<String>,
    /// Of the list of version 3: whose projects.
    pub parent: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    fn round<T: DeserializeOwned + Serialize>(value: &Value) -> Value {
        serde_json::to_value(serde_json::from_value::<T>(value.clone()).unwrap()).unwrap()
    }

    #[test]
    fn a_project_has_the_names_that_clients_of_each_version_read() {
        let first = json!({
            "projectNumber": "123", "projectId": "p", "lifecycleState": "ACTIVE", "name": "P",
            "createTime": "2026-01-01T00:00:00Z", "parent": {"type": "folder", "id": "7"},
        });
        let third = json!({
            "name": "projects/123", "parent": "folders/7", "projectId": "p", "state": "ACTIVE", "displayName": "P",
            "createTime": "2026-01-01T00:00:00Z", "updateTime": "2026-01-01T00:00:00Z", "etag": "BwXseec=",
            "labels": {"a": "b"},
        });
        let ancestry = json!({"ancestor": [
            {"resourceId": {"type": "project", "id": "p"}},
            {"resourceId": {"type": "folder", "id": "7"}},
            {"resourceId": {"type": "organization", "id": "9"}},
        ]});
        let (list, search) = (json!({"projects": [first], "nextPageToken": "t"}), json!({"projects": [third]}));
        assert_eq!(round::<ListProjectsResponse>(&list), list);
        assert_eq!(round::<SearchProjectsResponse>(&search), search);
        assert_eq!(round::<GetAncestryResponse>(&ancestry), ancestry);
    }
}
