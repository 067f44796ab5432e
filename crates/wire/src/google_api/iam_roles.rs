//! `iam.googleapis.com/v1` roles: predefined ones and those that a project or an organisation makes.
//!
//! Spec: <https://cloud.google.com/iam/docs/reference/rest/v1/projects.roles>

use serde::{Deserialize, Serialize};

use super::iam_policy::Etag;
use super::proto_json::{boolean, flag, integer, or_default};

/// A role.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Role {
    /// `roles/NAME`, `projects/P/roles/ID` or `organizations/O/roles/ID`. Not read when one is made.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// A name for people, at most 100 UTF-8 bytes.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// Free text, at most 300 UTF-8 bytes.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// `SERVICE.RESOURCE.VERB`. Not shown by a list in the basic view.
    #[serde(alias = "included_permissions", deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub included_permissions: Vec<String>,
    /// How far along it is; [`RoleLaunchStage::Alpha`] if it is not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<RoleLaunchStage>,
    /// The state that was read, to be sent back with a change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<Etag>,
    /// `true` of one that was deleted and can still be brought back. Not read.
    #[serde(deserialize_with = "boolean", skip_serializing_if = "Option::is_none")]
    pub deleted: Option<bool>,
}

impl Role {
    /// The message's name in masks.
    pub const MESSAGE: &str = "role";
    /// What a mask may name.
    pub const PATHS: [&str; 5] = ["title", "description", "includedPermissions", "stage", "etag"];
}

/// How far along a role is. It changes nothing of what the role gives, except that a disabled one gives nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RoleLaunchStage {
    /// The default of Google's.
    #[default]
    Alpha,
    /// Nearly there.
    Beta,
    /// Generally available.
    Ga,
    /// To be used no longer.
    Deprecated,
    /// It gives nothing.
    Disabled,
    /// Early access.
    Eap,
}

/// What is shown of roles.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RoleView {
    /// Without their permissions.
    #[default]
    Basic,
    /// All.
    Full,
}

/// Body of `POST …/roles`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CreateRoleRequest {
    /// 3 to 64 characters of `[a-zA-Z0-9_.]`.
    #[serde(alias = "role_id", deserialize_with = "or_default")]
    pub role_id: String,
    /// The role; its name is not read.
    #[serde(deserialize_with = "or_default")]
    pub role: Role,
}

/// Query of `GET …/roles`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ListRolesQuery {
    /// 1 to 1000; 300 if absent.
    #[serde(alias = "page_size")]
    pub page_size: Option<i64>,
    /// `nextPageToken` of the page before.
    #[serde(alias = "page_token")]
    pub page_token: Option<String>,
    /// With or without permissions.
    pub view: RoleView,
    /// Whether deleted ones are shown too.
    #[serde(alias = "show_deleted", deserialize_with = "flag")]
    pub show_deleted: bool,
}

/// Answer of `GET …/roles` and of `POST /v1/roles:queryGrantableRoles`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ListRolesResponse {
    /// One page.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<Role>,
    /// Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<String>,
}

/// Query of `DELETE …/roles/ID`. The answer is the role, with `deleted`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct DeleteRoleQuery {
    /// The state that was read.
    pub etag: Option<Etag>,
}

/// Body of `POST …/roles/ID:undelete`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UndeleteRoleRequest {
    /// The state that was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<Etag>,
}

/// Body of `POST /v1/roles:queryGrantableRoles`.
///
/// Spec: <https://cloud.google.com/iam/docs/reference/rest/v1/roles/queryGrantableRoles>
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueryGrantableRolesRequest {
    /// `//SERVICE.googleapis.com/NAME`.
    #[serde(alias = "full_resource_name", deserialize_with = "or_default")]
    pub full_resource_name: String,
    /// With or without permissions.
    #[serde(deserialize_with = "or_default")]
    pub view: RoleView,
    /// 1 to 2000; 300 if absent.
    #[serde(alias = "page_size", deserialize_with = "integer", skip_serializing_if = "Option::is_none")]
    pub page_size: Option<i32>,
    /// `nextPageToken` of the page before.
    #[serde(alias = "page_token", skip_serializing_if = "Option::is_none")]
    pub page_token: Option<String>,
}

/// Body of `POST /v1/permissions:queryTestablePermissions`.
///
/// Spec: <https://cloud.google.com/iam/docs/reference/rest/v1/permissions/queryTestablePermissions>
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueryTestablePermissionsRequest {
    /// `//SERVICE.googleapis.com/NAME`.
    #[serde(alias = "full_resource_name", deserialize_with = "or_default")]
    pub full_resource_name: String,
    /// 1 to 1000; 100 if absent.
    #[serde(alias = "page_size", deserialize_with = "integer", skip_serializing_if = "Option::is_none")]
    pub page_size: Option<i32>,
    /// `nextPageToken` of the page before.
    #[serde(alias = "page_token", skip_serializing_if = "Option::is_none")]
    pub page_token: Option<String>,
}

/// Answer of `POST /v1/permissions:queryTestablePermissions`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueryTestablePermissionsResponse {
    /// One page.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub permissions: Vec<Permission>,
    /// Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<String>,
}

/// A permission.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Permission {
    /// `SERVICE.RESOURCE.VERB`.
    pub name: String,
    /// A name for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// Free text.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// `GA`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stage: String,
    /// `NOT_SUPPORTED` of one that no custom role may hold; absent for the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom_roles_support_level: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_role_is_read_in_either_case_and_written_in_one() {
        let whole = json!({
            "name": "projects/p/roles/reader", "title": "T", "description": "D", "includedPermissions": ["iap.web.getIamPolicy"],
            "stage": "GA", "etag": "BwXseec=", "deleted": true,
        });
        #[rustfmt::skip]
        let cases = [
            (whole.clone(),                                                   Some(whole)),
            (json!({"title": "T", "included_permissions": ["a.b.c"]}),        Some(json!({"title": "T", "includedPermissions": ["a.b.c"]}))),
            (json!({"title": null, "includedPermissions": null}),             Some(json!({}))),
            (json!({"stage": "GREAT"}),                                       None),
            (json!({"permissions": ["a.b.c"]}),                               None),
            (json!({"etag": "!"}),                                            None),
        ];
        for (sent, expected) in cases {
            let read = serde_json::from_value::<Role>(sent.clone()).ok();
            assert_eq!(read.map(|role| serde_json::to_value(role).unwrap()), expected, "{sent}");
        }
    }

    #[test]
    fn requests_about_roles_are_read_as_gcloud_sends_them() {
        let create: CreateRoleRequest =
            serde_json::from_value(json!({"roleId": "reader", "role": {"title": "T", "stage": "EAP"}})).unwrap();
        assert_eq!((create.role_id.as_str(), create.role.stage), ("reader", Some(RoleLaunchStage::Eap)));
        let list: ListRolesQuery = serde_json::from_value(json!({"view": "FULL", "showDeleted": true})).unwrap();
        assert_eq!((list.view, list.show_deleted), (RoleView::Full, true));
        let query = json!({"full_resource_name": "//iap.googleapis.com/projects/1/iap_web", "pageSize": "5"});
        let grantable: QueryGrantableRolesRequest = serde_json::from_value(query.clone()).unwrap();
        let testable: QueryTestablePermissionsRequest = serde_json::from_value(query).unwrap();
        assert_eq!((grantable.page_size, grantable.view), (Some(5), RoleView::Basic));
        assert_eq!(testable.full_resource_name, grantable.full_resource_name);
        let etag = json!({"etag": "23g-loXd"});
        let delete: DeleteRoleQuery = serde_json::from_value(etag.clone()).unwrap();
        let undelete: UndeleteRoleRequest = serde_json::from_value(etag).unwrap();
        assert!(delete.etag.is_some() && delete.etag == undelete.etag);
    }

    #[test]
    fn lists_of_roles_and_of_permissions_leave_out_what_is_empty() {
        assert_eq!(serde_json::to_value(ListRolesResponse::default()).unwrap(), json!({}));
        let permission = Permission { name: "a.b.c".into(), stage: "GA".into(), ..Permission::default() };
        let answer = QueryTestablePermissionsResponse { permissions: vec![permission], next_page_token: None };
        assert_eq!(serde_json::to_value(answer).unwrap(), json!({"permissions": [{"name": "a.b.c", "stage": "GA"}]}));
    }
}
