//! Deny policies: what nobody may do, whatever they hold.
//!
//! Spec: <https://cloud.google.com/iam/docs/deny-overview>

use std::fmt;

use super::condition::{CompileError, Schema};
use super::{CONDITIONS_LIMIT, ConditionText, Etag, PermissionPattern, PermissionSet, compiled};
use crate::clock::Timestamp;
use crate::member::{DELETED, Member, MemberError};
use crate::resource::{Branch, Project, Resource};

/// Rules of one policy, at most.
pub const RULES_LIMIT: usize = 500;
/// Principals of one policy, at most, exceptions included.
pub const DENY_PRINCIPALS_LIMIT: usize = 2500;

/// Where a deny policy is attached, and its id there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DenyPolicyName {
    /// A project, a folder or an organization.
    pub attachment: Resource,
    /// 3 to 63 of `a-z`, `0-9`, `-` and `.`, beginning with a letter.
    pub id: String,
}

/// A set of rules, attached to the project, a folder or the organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DenyPolicy {
    /// Its name.
    pub name: DenyPolicyName,
    /// Its number for life.
    pub uid: String,
    /// A name for people.
    pub display_name: String,
    /// Its rules, in the order in which they were written.
    pub rules: Vec<DenyRule>,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last written.
    pub updated: Timestamp,
    /// Its state.
    pub etag: Etag,
}

/// Who may not do what.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DenyRule {
    /// Free text.
    pub description: String,
    /// Who.
    pub denied_principals: Vec<Member>,
    /// Who may all the same.
    pub exception_principals: Vec<Member>,
    /// What.
    pub denied_permissions: Vec<PermissionPattern>,
    /// What is not meant.
    pub exception_permissions: Vec<PermissionPattern>,
    /// When; always without one. What cannot be evaluated denies.
    pub condition: Option<ConditionText>,
}

/// Why a deny policy is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DenyPolicyError {
    /// Not `policies/ATTACHMENT/denypolicies/ID`.
    #[error(
        "not the name of a deny policy: policies/cloudresourcemanager.googleapis.com%2Fprojects%2FNUMBER/denypolicies/ID"
    )]
    Name,
    /// Attached to something that takes none.
    #[error("a deny policy is attached to a project, a folder or an organization")]
    Attachment,
    /// A rule without principals or without permissions.
    #[error("a rule names at least one denied principal and one denied permission")]
    EmptyRule,
    /// Too many rules or principals.
    #[error("a deny policy has at most {RULES_LIMIT} rules and {DENY_PRINCIPALS_LIMIT} principals")]
    TooMany,
    /// Too many conditions: each may be evaluated in a request.
    #[error("a deny policy has at most {CONDITIONS_LIMIT} rules with a condition")]
    TooManyConditions,
    /// A condition that does not compile.
    #[error("the condition of rule {rule}: {error}")]
    Condition {
        /// The first rule is 0.
        rule: usize,
        /// Why, and where.
        error: CompileError,
    },
}

impl DenyRule {
    /// What it forbids.
    pub fn permissions(&self) -> PermissionSet {
        let all = |patterns: &[PermissionPattern]| {
            patterns.iter().fold(PermissionSet::EMPTY, |set, pattern| set.union(pattern.permissions()))
        };
        all(&self.denied_permissions).without(all(&self.exception_permissions))
    }
}

impl DenyPolicy {
    /// Checks a policy that is to be written. Conditions are compiled.
    ///
    /// # Errors
    /// [`DenyPolicyError`]: the first thing that is wrong.
    pub fn check(rules: &[DenyRule], schema: &Schema) -> Result<(), DenyPolicyError> {
        let principals = |rule: &DenyRule| rule.denied_principals.len() + rule.exception_principals.len();
        if rules.len() > RULES_LIMIT || rules.iter().map(principals).sum::<usize>() > DENY_PRINCIPALS_LIMIT {
            return Err(DenyPolicyError::TooMany);
        }
        if rules.iter().filter(|rule| rule.condition.is_some()).count() > CONDITIONS_LIMIT {
            return Err(DenyPolicyError::TooManyConditions);
        }
        for (number, rule) in rules.iter().enumerate() {
            if rule.denied_principals.is_empty() || rule.denied_permissions.is_empty() {
                return Err(DenyPolicyError::EmptyRule);
            }
            if let Some(text) = &rule.condition {
                compiled::compile(&text.expression, schema)
                    .map_err(|error| DenyPolicyError::Condition { rule: number, error })?;
            }
        }
        Ok(())
    }
}

const ATTACHMENT: &str = "cloudresourcemanager.googleapis.com/";

impl DenyPolicyName {
    /// Reads `policies/ATTACHMENT/denypolicies/ID`, with the slashes of the attachment as they are or encoded (`%2F`).
    pub fn parse(name: &str, project: &Project) -> Result<Self, DenyPolicyError> {
        let name = name.replace("%2F", "/").replace("%2f", "/");
        let rest = name.strip_prefix("policies/").ok_or(DenyPolicyError::Name)?;
        let (attachment, id) = rest.split_once("/denypolicies/").ok_or(DenyPolicyError::Name)?;
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.');
        let good = (3..=63).contains(&id.len()) && id.bytes().all(plain) && id.as_bytes()[0].is_ascii_lowercase();
        if !good {
            return Err(DenyPolicyError::Name);
        }
        Ok(DenyPolicyName { attachment: Self::attachment(attachment, project)?, id: id.to_owned() })
    }

    /// Reads an attachment: `cloudresourcemanager.googleapis.com/projects/NUMBER` and the like.
    pub fn attachment(text: &str, project: &Project) -> Result<Resource, DenyPolicyError> {
        let text = text.replace("%2F", "/").replace("%2f", "/");
        let name = text.strip_prefix(ATTACHMENT).ok_or(DenyPolicyError::Name)?;
        let resource = Resource::parse(name, project, &[]).map_err(|_| DenyPolicyError::Attachment)?;
        if resource.branch() == Branch::Above { Ok(resource) } else { Err(DenyPolicyError::Attachment) }
    }

    /// `policies/cloudresourcemanager.googleapis.com%2Fprojects%2FNUMBER/denypolicies/ID`
    pub fn name(&self, project: &Project) -> String {
        let attachment = format!("{ATTACHMENT}{}", self.attachment.name(project)).replace('/', "%2F");
        format!("policies/{attachment}/denypolicies/{}", self.id)
    }
}

const USER: &str = "principal://goog/subject/";
const GROUP: &str = "principalSet://goog/group/";
const PUBLIC: &str = "principalSet://goog/public:all";
const ACCOUNT: &str = "principal://iam.googleapis.com/projects/-/serviceAccounts/";

/// Reads a principal of a deny rule: in the spelling of version 2, or as a member.
///
/// Spec: <https://cloud.google.com/iam/docs/principal-identifiers#v2>
///
/// # Errors
/// As a member's.
pub fn read_principal_v2(text: &str) -> Result<Member, MemberError> {
    let email = |text: &str| text.parse().map_err(|_| MemberError::Malformed);
    if text == PUBLIC {
        Ok(Member::AllUsers)
    } else if let Some(name) = text.strip_prefix(USER) {
        email(name).map(Member::User)
    } else if let Some(name) = text.strip_prefix(GROUP) {
        email(name).map(Member::Group)
    } else if let Some(name) = text.strip_prefix(ACCOUNT) {
        email(name).map(Member::ServiceAccount)
    } else if let Some(deleted) = text.strip_prefix(DELETED) {
        match deleted.rsplit_once("?uid=") {
            // One in the other, without end, would exhaust the stack.
            Some((name, _)) if name.starts_with(DELETED) => Err(MemberError::Malformed),
            Some((name, uid)) => format!("deleted:{}?uid={uid}", read_principal_v2(name)?).parse(),
            None => Err(MemberError::Malformed),
        }
    } else {
        text.parse()
    }
}

/// Writes a principal of a deny rule in the spelling of version 2, where it has one.
pub fn principal_v2(member: &Member) -> impl fmt::Display {
    match member {
        Member::User(email) => format!("{USER}{email}"),
        Member::Group(email) => format!("{GROUP}{email}"),
        Member::ServiceAccount(email) => format!("{ACCOUNT}{email}"),
        Member::AllUsers => PUBLIC.to_owned(),
        Member::Deleted(name) => match name.rsplit_once("?uid=") {
            Some((name, uid)) => {
                let inside = name.parse::<Member>().map(|member| principal_v2(&member).to_string());
                format!("deleted:{}?uid={uid}", inside.unwrap_or_else(|_| name.to_owned()))
            }
            None => member.to_string(),
        },
        Member::Domain(_) | Member::Principal(_) | Member::PrincipalSet(_) | Member::AllAuthenticatedUsers => {
            member.to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Ancestor;

    #[test]
    fn a_principal_that_is_gone_many_times_over_is_refused_and_exhausts_no_stack() {
        let text = format!("{}user:a@b.cc{}", "deleted:".repeat(100_000), "?uid=1".repeat(100_000));
        assert_eq!(read_principal_v2(&text), Err(MemberError::Malformed));
    }

    #[test]
    fn a_principal_is_read_in_both_spellings_and_written_in_the_second() {
        #[rustfmt::skip]
        let cases = [
            ("principal://goog/subject/Ann@x.com",     Some("principal://goog/subject/ann@x.com")),
            ("user:ann@x.com",                         Some("principal://goog/subject/ann@x.com")),
            ("principalSet://goog/group/eng@x.com",    Some("principalSet://goog/group/eng@x.com")),
            ("principalSet://goog/public:all",         Some("principalSet://goog/public:all")),
            ("allUsers",                               Some("principalSet://goog/public:all")),
            ("principal://iam.googleapis.com/projects/-/serviceAccounts/r@p.co", Some("principal://iam.googleapis.com/projects/-/serviceAccounts/r@p.co")),
            ("principalSet://doorward/trustedIssuers/corp/*", Some("principalSet://doorward/trustedIssuers/corp/*")),
            ("domain:x.com",                           Some("domain:x.com")),
            ("deleted:principal://goog/subject/ann@x.com?uid=7", Some("deleted:principal://goog/subject/ann@x.com?uid=7")),
            ("principalSet://goog/cloudIdentityCustomerId/C01", None),
            ("principal://goog/subject/",              None),
            ("principal://goog/group/eng@x.com",       None),
            ("deleted:principal://goog/subject/ann@x.com", None),
        ];
        for (text, expected) in cases {
            let written = read_principal_v2(text).ok().map(|member| principal_v2(&member).to_string());
            assert_eq!(written.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_deny_policy_is_named_by_where_it_is_attached() {
        let project =
            Project { id: "dev-project".into(), number: "123".into(), ancestors: vec![Ancestor::Folder("7".into())] };
        let crm = "cloudresourcemanager.googleapis.com";
        #[rustfmt::skip]
        let cases = [
            (format!("policies/{crm}%2Fprojects%2F123/denypolicies/no-one"),        Some("%2Fprojects%2F123/denypolicies/no-one")),
            (format!("policies/{crm}/projects/dev-project/denypolicies/no-one"),    Some("%2Fprojects%2F123/denypolicies/no-one")),
            (format!("policies/{crm}%2ffolders%2f7/denypolicies/no-one"),           Some("%2Ffolders%2F7/denypolicies/no-one")),
            (format!("policies/{crm}%2Ffolders%2F8/denypolicies/no-one"),           None),
            (format!("policies/{crm}%2Fprojects%2F123%2Fiap_web/denypolicies/abc"), None),
            (format!("policies/{crm}%2Fprojects%2F123/denypolicies/No"),            None),
            (format!("policies/{crm}%2Fprojects%2F123/denypolicies/"),              None),
            ("policies/projects%2F123/denypolicies/abc".to_owned(),                 None),
        ];
        for (text, expected) in cases {
            let read = DenyPolicyName::parse(&text, &project).ok().map(|name| name.name(&project));
            assert_eq!(read, expected.map(|rest| format!("policies/{crm}{rest}")), "{text}");
        }
    }

    #[test]
    fn a_rule_that_could_not_be_meant_is_refused_when_it_is_written() {
        use DenyPolicyError as E;
        let schema = Schema::policy(crate::policy::condition::HeaderAllowList::default());
        let rule = |principals: usize, permissions: &[&str], condition: Option<&str>| DenyRule {
            denied_principals: (0..principals).map(|it| format!("user:u{it}@x.com").parse().unwrap()).collect(),
            denied_permissions: permissions.iter().map(|text| text.parse().unwrap()).collect(),
            condition: condition.map(|text| ConditionText { expression: text.into(), ..ConditionText::default() }),
            ..DenyRule::default()
        };
        let all = &["iap.googleapis.com/*.*"];
        #[rustfmt::skip]
        let cases = [
            (vec![rule(1, all, None)],                             "ok"),
            (vec![],                                               "ok"),
            (vec![rule(1, all, Some("request.path == '/'"))],      "ok"),
            (vec![rule(0, all, None)],                             "empty"),
            (vec![rule(1, &[], None)],                             "empty"),
            (vec![rule(1, all, Some("request.nothing == 1"))],     "condition"),
            (vec![rule(2500, all, None)],                          "ok"),
            (vec![rule(2500, all, None), rule(1, all, None)],      "too many"),
            (vec![rule(1, all, Some("true")); 100],                "ok"),
            (vec![rule(1, all, Some("true")); 101],                "too many conditions"),
        ];
        for (number, (rules, expected)) in cases.into_iter().enumerate() {
            let outcome = match DenyPolicy::check(&rules, &schema) {
                Ok(()) => "ok",
                Err(E::EmptyRule) => "empty",
                Err(E::Condition { .. }) => "condition",
                Err(E::TooMany) => "too many",
                Err(E::TooManyConditions) => "too many conditions",
                Err(E::Name | E::Attachment) => "name",
            };
            assert_eq!(outcome, expected, "case {number}");
        }
    }
}
