//! `iam.googleapis.com/v2` deny policies. A change is answered with a
//! [`LongRunningOperation`](super::operation::LongRunningOperation) whose response is the [`Policy`], of the kind
//! [`Policy::MESSAGE_KIND`].
//!
//! Spec: <https://cloud.google.com/iam/docs/reference/rest/v2/policies>

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::iam_policy::Expr;
use super::proto_json::or_default;

/// A deny policy.
///
/// Names that we do not know are refused, here and in what it holds: a rule that is half read denies less than was
/// meant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Policy {
    /// `policies/ATTACHMENT/denypolicies/ID`, where the attachment is a resource name such as
    /// `cloudresourcemanager.googleapis.com/projects/P` with its slashes as `%2F`.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Ours to say.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// [`Policy::KIND`]; ours to say.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// A name for people, at most 63 characters.
    #[serde(alias = "display_name", deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub display_name: String,
    /// What is set on it by name.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The state that was read, to be sent back with a change. A text in this version, and not bytes.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub etag: String,
    /// RFC 3339; ours to say.
    #[serde(alias = "create_time", deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub create_time: String,
    /// RFC 3339; ours to say.
    #[serde(alias = "update_time", deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub update_time: String,
    /// RFC 3339, in the answer to a deletion; ours to say.
    #[serde(alias = "delete_time", deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub delete_time: String,
    /// Whom it denies what. A list leaves them out.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<PolicyRule>,
}

impl Policy {
    /// What [`Policy::kind`] says.
    pub const KIND: &str = "DenyPolicy";
    /// The message.
    pub const MESSAGE_KIND: &str = "google.iam.v2.Policy";
}

/// One rule, and what it is for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct PolicyRule {
    /// Free text, at most 256 characters.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The rule: there is one kind.
    #[serde(alias = "deny_rule", skip_serializing_if = "Option::is_none")]
    pub deny_rule: Option<DenyRule>,
}

/// Whom what is denied, and when.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct DenyRule {
    /// Whom: `principal://goog/subject/EMAIL`, `principalSet://goog/public:all` and the other forms of version 2.
    #[serde(alias = "denied_principals", deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub denied_principals: Vec<String>,
    /// Of them, whom not.
    #[serde(alias = "exception_principals", deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub exception_principals: Vec<String>,
    /// What: `SERVICE.googleapis.com/RESOURCE.VERB`, with `*` for a resource or a verb.
    #[serde(alias = "denied_permissions", deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub denied_permissions: Vec<String>,
    /// Of that, what not.
    #[serde(alias = "exception_permissions", deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub exception_permissions: Vec<String>,
    /// When; always, without one.
    #[serde(alias = "denial_condition", skip_serializing_if = "Option::is_none")]
    pub denial_condition: Option<Expr>,
}

/// Query of `POST /v2/policies/ATTACHMENT/denypolicies`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CreatePolicyQuery {
    /// The new id: 3 to 63 characters of `[a-z0-9.-]`, first a letter.
    #[serde(alias = "policy_id")]
    pub policy_id: String,
}

/// Query of `DELETE …/denypolicies/ID`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct DeletePolicyQuery {
    /// The state that was read.
    pub etag: Option<String>,
}

/// Answer of `GET …/denypolicies`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ListPoliciesResponse {
    /// One page, without rules.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<Policy>,
    /// Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_deny_policy_is_read_in_either_case_and_refused_if_it_is_not_understood_whole() {
        // The example of Google's documentation, with an IAP permission.
        let whole = json!({
            "name": "policies/cloudresourcemanager.googleapis.com%2Fprojects%2F1/denypolicies/d", "uid": "6665c437",
            "kind": "DenyPolicy", "displayName": "D", "annotations": {"a": "b"}, "etag": "MTc3NDU4MjM4OTY0MzU5MjQ5OTI=",
            "createTime": "2026-01-01T00:00:00Z", "updateTime": "2026-01-01T00:00:00Z",
            "rules": [{"description": "r", "denyRule": {
                "deniedPrincipals": ["principalSet://goog/public:all"],
                "exceptionPrincipals": ["principalSet://goog/group/admins@example.com"],
                "deniedPermissions": ["iap.googleapis.com/webServiceVersions.accessViaIAP"],
                "exceptionPermissions": ["iap.googleapis.com/*.getSettings"],
                "denialCondition": {"expression": "request.path.startsWith('/admin')", "title": "t"},
            }}],
        });
        let rule = |rule| json!({"rules": [rule]});
        #[rustfmt::skip]
        let cases = [
            (whole.clone(), Some(whole)),
            (json!({"display_name": "D", "rules": [{"deny_rule": {"denied_principals": ["p"], "denied_permissions": null}}]}),
             Some(json!({"displayName": "D", "rules": [{"denyRule": {"deniedPrincipals": ["p"]}}]}))),
            (json!({}),                                                    Some(json!({}))),
            (rule(json!({"denyRule": {"deniedPrincipal": ["p"]}})),        None),
            (rule(json!({"allowRule": {}})),                               None),
            (rule(json!({"denyRule": {"denialCondition": "true"}})),       None),
        ];
        for (sent, expected) in cases {
            let read = serde_json::from_value::<Policy>(sent.clone()).ok();
            assert_eq!(read.map(|policy| serde_json::to_value(policy).unwrap()), expected, "{sent}");
        }
        let query: CreatePolicyQuery = serde_json::from_value(json!({"policy_id": "d"})).unwrap();
        assert_eq!(query.policy_id, "d");
    }
}
