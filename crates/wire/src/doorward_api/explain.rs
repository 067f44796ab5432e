//! Answers to *why*: one decision explained, who can, what can, and what a proposed policy would change.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::world_file::WorldFile;

/// What is asked about: a request to an application, or a permission on a resource.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Question {
    /// The method of a request; `GET` if it is empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub method: String,
    /// The URL of a request. Either this, or `resource`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub url: String,
    /// The name of a resource.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resource: String,
    /// The permission; `iap.webServiceVersions.accessViaIAP` if it is empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub permission: String,
    /// What conditions may read.
    #[serde(skip_serializing_if = "Circumstances::is_empty")]
    pub circumstances: Circumstances,
}

/// What conditions may read of a request, as far as it is supposed. What is absent is unknown, and a condition that
/// reads it fails to evaluate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Circumstances {
    /// RFC 3339; now, if it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// The caller's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_ip: Option<String>,
    /// Header fields, by lower-case name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Claims of the caller's token.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub claims: BTreeMap<String, Value>,
}

impl Circumstances {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Body of `POST /v1:explain`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ExplainRequest {
    /// The id of a recorded decision; then nothing else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision_id: Option<String>,
    /// Who: a member such as `user:EMAIL`; nobody, if it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// What is asked about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub question: Option<Question>,
}

/// Answer of `POST /v1:explain`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExplainResponse {
    /// What the engine decides now.
    pub verdict: Verdict,
    /// The recorded decision, if it was asked about: it may have been decided by an older policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded: Option<RecordedDecision>,
    /// The resource on which it was decided.
    pub resource: ExplainedResource,
    /// Who.
    pub principal: ExplainedPrincipal,
    /// The permission that was demanded.
    pub permission: String,
    /// Every deny rule of the lineage, the farthest first.
    #[serde(default)]
    pub deny_rules: Vec<ConsideredDenyRule>,
    /// Every binding of the lineage, the nearest first.
    #[serde(default)]
    pub bindings: Vec<ConsideredBinding>,
    /// The access levels that a condition read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub access_levels: Vec<ConsideredAccessLevel>,
    /// The settings that played a part.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<EffectiveSetting>,
    /// What would allow it; absent if it is allowed, or if no change of a policy would.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smallest_change: Option<SmallestChange>,
}

/// Let in or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Verdict {
    /// A binding lets them in, and no rule denies it.
    Allowed,
    /// A deny rule applies.
    Denied,
    /// No binding lets them in.
    NotGranted,
    /// It was refused before any policy was asked: `recorded` or the resource says why.
    Refused,
}

/// A decision as it is in the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordedDecision {
    /// Its id.
    pub id: String,
    /// RFC 3339.
    pub time: String,
    /// Whether it let the request in.
    pub allowed: bool,
    /// The code of the reason if not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What was found wrong, for whoever operates it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// It was refused although policies had let it in: something failed after them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub passed_policies: bool,
}

/// The resource on which it was decided.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExplainedResource {
    /// Its canonical name; empty if the request leads to none.
    pub name: String,
    /// The application, if it is one's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub application: Option<String>,
    /// The names of what is above it, nearest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ancestors: Vec<String>,
}

/// Who was decided about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExplainedPrincipal {
    /// The member; empty of nobody.
    pub member: String,
    /// The groups that they are in, directly or not, in alphabetical order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
}

/// What came of considering a rule or a binding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "SCREAMING_SNAKE_CASE", rename_all_fields = "camelCase")]
pub enum Considered {
    /// It applies.
    Matched {
        /// Its member that is, or holds, the principal.
        member: String,
    },
    /// It names neither the principal nor anything that holds them.
    MemberNo,
    /// It names them, and they are an exception.
    Excepted {
        /// The exception that is, or holds, the principal.
        member: String,
    },
    /// It is not about the permission that was demanded.
    LacksPermission,
    /// Its role does not exist any more, or is disabled.
    RoleGone,
    /// It names them, and its condition is false.
    ConditionFalse {
        /// The member.
        member: String,
        /// What the condition read.
        read: Vec<ReadAttribute>,
    },
    /// It names them, and its condition could not be evaluated: a binding then grants nothing, and a rule denies.
    ConditionFailed {
        /// The member.
        member: String,
        /// Why.
        error: String,
        /// What the condition read before.
        read: Vec<ReadAttribute>,
    },
}

/// What a condition read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReadAttribute {
    /// `request.path` and so on.
    pub attribute: String,
    /// What it was; absent of one that is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
}

/// A deny rule, and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConsideredDenyRule {
    /// The name of the policy.
    pub policy: String,
    /// Which rule of it: 0 is the first.
    pub rule: usize,
    /// What it is for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The condition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// What came of it.
    pub considered: Considered,
}

/// A binding, and what came of it. Its other members are not shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConsideredBinding {
    /// The resource on which it stands.
    pub resource: String,
    /// The role.
    pub role: String,
    /// The condition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// What came of it.
    pub considered: Considered,
}

/// An access level, and whether it is met.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConsideredAccessLevel {
    /// Its name.
    pub name: String,
    /// Whether it is met.
    pub met: bool,
    /// Why it could not be evaluated: then it is not met.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What it read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub read: Vec<ReadAttribute>,
}

/// A setting in force, and where it comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EffectiveSetting {
    /// Its path, such as `accessSettings.oauthSettings.programmaticClients`.
    pub path: String,
    /// What it is.
    pub value: Value,
    /// The resource on which it is set; absent of a default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

/// The least that would allow what was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SmallestChange {
    /// One sentence.
    pub description: String,
    /// The command that makes it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub command: String,
}

/// Body of `POST /v1:whoCan`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct WhoCanRequest {
    /// What is asked about.
    pub question: Question,
}

/// Answer of `POST /v1:whoCan`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WhoCanResponse {
    /// The canonical name of the resource.
    pub resource: String,
    /// Who may, by member as the policies have them; groups are not taken apart.
    pub grants: Vec<Grant>,
    /// The deny rules that may take it from some of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deny_rules: Vec<String>,
}

/// Body of `POST /v1:whatCan`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct WhatCanRequest {
    /// Who.
    pub member: String,
}

/// Answer of `POST /v1:whatCan`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WhatCanResponse {
    /// Who.
    pub member: String,
    /// The applications that they may enter, and by which grant.
    pub applications: Vec<ReachableApplication>,
    /// Everything else that they hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<Grant>,
    /// The deny rules that may take some of it from them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deny_rules: Vec<String>,
}

/// An application that somebody may enter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReachableApplication {
    /// Its name.
    pub application: String,
    /// Where it is reached.
    pub hosts: Vec<String>,
    /// By which grants.
    pub grants: Vec<Grant>,
}

/// That a member holds a role on a resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Grant {
    /// The member, as the policy has it.
    pub member: String,
    /// The role.
    pub role: String,
    /// The resource on which the binding stands.
    pub resource: String,
    /// When; always, without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
}

/// Body of `POST /v1:simulate`: recorded decisions, decided again by what is proposed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct SimulateRequest {
    /// What is proposed, in the form of the file. What it does not name stays as it is.
    pub proposed: WorldFile,
    /// RFC 3339: only decisions since then; all that are kept, if it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
}

/// Answer of `POST /v1:simulate`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SimulateResponse {
    /// Decisions that were decided again.
    pub replayed: u64,
    /// Decisions that cannot be: refused before any policy was asked, or on an application that is gone.
    pub skipped: u64,
    /// Decisions that hang on claims of a credential or on header fields, which are not recorded: it is not known what would become of
    /// them.
    pub unknown: u64,
    /// Who would newly be let in, the most frequent first.
    pub newly_allowed: Vec<ChangedDecision>,
    /// Who would newly be refused, the most frequent first.
    pub newly_refused: Vec<ChangedDecision>,
}

impl SimulateResponse {
    /// Whether anything would change: the exit code of the command says so.
    pub fn changes_anything(&self) -> bool {
        !self.newly_allowed.is_empty() || !self.newly_refused.is_empty()
    }
}

/// Decisions of one caller at one resource that would be decided otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChangedDecision {
    /// Who.
    pub member: String,
    /// Where.
    pub resource: String,
    /// How many decisions.
    pub count: u64,
    /// Some of them.
    pub examples: Vec<DecisionExample>,
}

/// A recorded decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DecisionExample {
    /// Its id.
    pub id: String,
    /// RFC 3339.
    pub time: String,
    /// The method.
    pub method: String,
    /// The URL, without its query.
    pub url: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_explanation_is_written_as_it_is_read() {
        let whole = json!({
            "verdict": "NOT_GRANTED",
            "recorded": {"id": "d", "time": "2026-11-25T20:51:17Z", "allowed": false, "reason": "permission_denied"},
            "resource": {"name": "projects/1/iap_web/compute/services/7/versions/bs_0", "application": "wiki", "ancestors": ["projects/1"]},
            "principal": {"member": "user:alice@example.com", "groups": ["staff@example.com"]},
            "permission": "iap.webServiceVersions.accessViaIAP",
            "denyRules": [
                {"policy": "policies/p/denypolicies/d", "rule": 0, "description": "r", "condition": "true",
                 "considered": {"outcome": "EXCEPTED", "member": "principalSet://goog/group/staff@example.com"}},
                {"policy": "policies/p/denypolicies/d", "rule": 1, "considered": {"outcome": "LACKS_PERMISSION"}},
            ],
            "bindings": [
                {"resource": "projects/1", "role": "roles/owner", "considered": {"outcome": "LACKS_PERMISSION"}},
                {"resource": "projects/1", "role": "projects/1/roles/gone", "considered": {"outcome": "ROLE_GONE"}},
                {"resource": "projects/1", "role": "roles/iap.httpsResourceAccessor", "considered": {"outcome": "MEMBER_NO"}},
                {"resource": "projects/1/iap_web", "role": "roles/iap.httpsResourceAccessor", "condition": "request.path == '/a'",
                 "considered": {"outcome": "CONDITION_FALSE", "member": "group:staff@example.com", "read": [{"attribute": "request.path", "value": "/admin"}]}},
                {"resource": "projects/1/iap_web", "role": "roles/iap.httpsResourceAccessor", "condition": "source.ip == 'x'",
                 "considered": {"outcome": "CONDITION_FAILED", "member": "allUsers", "error": "no source.ip", "read": [{"attribute": "source.ip"}]}},
            ],
            "accessLevels": [{"name": "accessPolicies/1/accessLevels/office", "met": false}],
            "settings": [{"path": "doorwardSettings.emailClaim", "value": "REQUIRED", "from": "projects/1"}, {"path": "accessSettings.oauthSettings.programmaticClients", "value": []}],
            "smallestChange": {"description": "Give her the role.", "command": "doorward policy add"},
        });
        let read: ExplainResponse = serde_json::from_value(whole.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), whole);
    }

    #[test]
    fn a_question_leaves_out_what_is_not_supposed_and_knows_its_names() {
        #[rustfmt::skip]
        let cases = [
            (json!({"decisionId": "d"}),                                                           true),
            (json!({"principal": "user:a@example.com", "question": {"method": "GET", "url": "https://x/"}}), true),
            (json!({"question": {"resource": "projects/1", "permission": "iap.web.getIamPolicy", "circumstances": {"sourceIp": "192.0.2.1", "claims": {"a": [1]}}}}), true),
            (json!({"as": "user:a@example.com"}),                                                  false),
            (json!({"question": {"uri": "https://x/"}}),                                           false),
        ];
        for (sent, good) in cases {
            let read = serde_json::from_value::<ExplainRequest>(sent.clone()).ok();
            assert_eq!(read.map(|read| serde_json::to_value(read).unwrap()), good.then(|| sent.clone()), "{sent}");
        }
    }

    #[test]
    fn a_simulation_changes_something_if_anybody_is_newly_let_in_or_refused() {
        let changed = || {
            let examples = vec![];
            vec![ChangedDecision { member: "user:a@example.com".into(), resource: "r".into(), count: 1, examples }]
        };
        let none = SimulateResponse { replayed: 5, ..SimulateResponse::default() };
        assert!(!none.changes_anything());
        assert!(SimulateResponse { newly_allowed: changed(), ..none.clone() }.changes_anything());
        assert!(SimulateResponse { newly_refused: changed(), ..none }.changes_anything());
    }
}
