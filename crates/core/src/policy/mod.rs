//! Who may reach what: bindings, deny rules, roles, and the one function that decides.

mod compiled;
pub mod condition;
mod decide;
mod deny;
mod explain;
pub mod path;
mod permission;
pub mod request;
mod role;

pub use compiled::{AllowNode, BoundCondition, ConditionTable, DenyNode, NodeBinding, NodeRule, Roles};
pub use decide::{
    BindingOutcome, ConditionOutcome, DeniedBy, Granted, Lineage, Observer, Principal, Question, RuleOutcome, Verdict,
    decide,
};
pub use deny::{
    DENY_PRINCIPALS_LIMIT, DenyPolicy, DenyPolicyError, DenyPolicyName, DenyRule, RULES_LIMIT, principal_v2,
    read_principal_v2,
};
pub use explain::{
    ConsideredBinding, ConsideredRule, Explanation, Holder, Read, Remedy, Standing, WhyNot, explain, principal_of,
    stands, who_can,
};
pub use permission::{Permission, PermissionError, PermissionPattern, PermissionPatternError, PermissionSet};
pub use role::{CustomRole, CustomRoleError, LaunchStage, PredefinedRole, Role, RoleName, RoleNameError};

use crate::member::Member;
use condition::{CompileError, Schema};

/// The most principals that one policy names, each appearance counted; and how many of them may be groups and domains.
///
/// Spec: <https://cloud.google.com/iam/quotas#limits>
pub const PRINCIPALS_LIMIT: usize = 1500;
/// See [`PRINCIPALS_LIMIT`].
pub const GROUPS_LIMIT: usize = 250;
/// The most conditional bindings of one allow policy; and, ours, the most conditions of one deny policy.
///
/// Spec: <https://cloud.google.com/iam/quotas#limits>
pub const CONDITIONS_LIMIT: usize = 100;
/// The longest title of a condition, in characters.
pub const TITLE_LIMIT: usize = 100;
/// The longest description of a condition, in characters.
pub const DESCRIPTION_LIMIT: usize = 256;

/// A condition as it was written (`google.type.Expr`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct ConditionText {
    /// CEL.
    pub expression: String,
    /// A name for people.
    pub title: String,
    /// Free text.
    pub description: String,
    /// Where it was written.
    pub location: String,
}

/// One role and those who hold it, always or under a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// What they hold.
    pub role: RoleName,
    /// Who, each once.
    pub members: Vec<Member>,
    /// When; always without one.
    pub condition: Option<ConditionText>,
}

/// The state of something that a writer saw. Grows with every write of that thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Etag(pub i64);

impl Etag {
    /// The state of what was never written.
    pub const UNWRITTEN: Etag = Etag(0);
}

/// A stored policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Its bindings, in the order in which they were written.
    pub bindings: Vec<Binding>,
    /// Its state.
    pub etag: Etag,
}

impl Default for Policy {
    /// A policy that was never written: it grants nothing.
    fn default() -> Self {
        Policy { bindings: Vec::new(), etag: Etag::UNWRITTEN }
    }
}

/// Why bindings are refused as a policy. Roles are looked up, and conditions compiled, by whoever writes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Not 0, 1 or 3.
    #[error("{0} is no version of a policy: it is 0, 1 or 3")]
    Version(i32),
    /// A condition in a policy of an older version.
    #[error("a policy with conditional bindings must be written with version 3")]
    ConditionNeedsVersion,
    /// A condition on everybody.
    #[error("a binding of {0} cannot have a condition")]
    PublicCondition(Member),
    /// A condition without a title, or with one that is too long.
    #[error(
        "a condition has a title of 1 to {TITLE_LIMIT} characters and a description of at most {DESCRIPTION_LIMIT}"
    )]
    ConditionTitle,
    /// A condition that does not compile.
    #[error("condition {title:?} of {role}: {error}")]
    Condition {
        /// The binding's role.
        role: RoleName,
        /// The condition's title.
        title: String,
        /// Why, and where.
        error: CompileError,
    },
    /// Too many.
    #[error("a policy names at most {PRINCIPALS_LIMIT} principals, {GROUPS_LIMIT} of them groups and domains")]
    TooMany,
    /// Too many conditions: each may be evaluated in a request.
    #[error("a policy has at most {CONDITIONS_LIMIT} bindings with a condition")]
    TooManyConditions,
}

impl Policy {
    /// The version that it is shown with, if the reader knows conditions.
    pub fn version(&self) -> i32 {
        if self.bindings.iter().any(|binding| binding.condition.is_some()) { 3 } else { 1 }
    }

    /// Checks bindings that are to be written with this version. Conditions are compiled.
    ///
    /// # Errors
    /// [`PolicyError`]: the first thing that is wrong.
    pub fn check(bindings: &[Binding], version: i32, schema: &Schema) -> Result<(), PolicyError> {
        if !matches!(version, 0 | 1 | 3) {
            return Err(PolicyError::Version(version));
        }
        let members = || bindings.iter().flat_map(|binding| &binding.members);
        let groups = members().filter(|member| matches!(member, Member::Group(_) | Member::Domain(_))).count();
        if members().count() > PRINCIPALS_LIMIT || groups > GROUPS_LIMIT {
            return Err(PolicyError::TooMany);
        }
        if bindings.iter().filter(|binding| binding.condition.is_some()).count() > CONDITIONS_LIMIT {
            return Err(PolicyError::TooManyConditions);
        }
        for binding in bindings {
            let Some(text) = &binding.condition else { continue };
            if version != 3 {
                return Err(PolicyError::ConditionNeedsVersion);
            }
            if let Some(public) = binding.members.iter().find(|member| member.is_public()) {
                return Err(PolicyError::PublicCondition(public.clone()));
            }
            let title = text.title.chars().count();
            if title == 0 || title > TITLE_LIMIT || text.description.chars().count() > DESCRIPTION_LIMIT {
                return Err(PolicyError::ConditionTitle);
            }
            compiled::compile(&text.expression, schema).map_err(|error| PolicyError::Condition {
                role: binding.role.clone(),
                title: text.title.clone(),
                error,
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use condition::HeaderAllowList;

    #[test]
    fn a_policy_that_cannot_be_meant_is_refused_when_it_is_written() {
        use PolicyError as E;
        let schema = Schema::policy(HeaderAllowList::default());
        let text = |expression: &str, title: &str| {
            Some(ConditionText { expression: expression.into(), title: title.into(), ..ConditionText::default() })
        };
        let bind = |members: &str, condition: Option<ConditionText>| Binding {
            role: "roles/iap.httpsResourceAccessor".parse().unwrap(),
            members: members.split(' ').map(|member| member.parse().unwrap()).collect(),
            condition,
        };
        let many = |kind: &str, count: usize| {
            let members: Vec<String> = (0..count).map(|number| format!("{kind}:m{number}@x.com")).collect();
            bind(&members.join(" "), None)
        };
        let good = || text("request.path == '/'", "t");
        #[rustfmt::skip]
        let cases = [
            (vec![bind("user:a@x.com", None)],                     1, "ok"),
            (vec![bind("user:a@x.com", good())],                   3, "ok"),
            (vec![bind("allUsers", None)],                         0, "ok"),
            (vec![bind("user:a@x.com", None)],                     2, "version"),
            (vec![bind("user:a@x.com", good())],                   1, "needs version"),
            (vec![bind("user:a@x.com allUsers", good())],          3, "public"),
            (vec![bind("allAuthenticatedUsers", good())],          3, "public"),
            (vec![bind("user:a@x.com", text("true", ""))],         3, "title"),
            (vec![bind("user:a@x.com", text("request.nothing == 'a'", "t"))], 3, "condition"),
            (vec![bind("user:a@x.com", text("'yes'", "t"))],       3, "condition"),
            (vec![many("user", 1500)],                             1, "ok"),
            (vec![many("user", 1500), bind("user:a@x.com", None)], 1, "too many"),
            (vec![many("group", 250)],                             1, "ok"),
            (vec![many("group", 251)],                             1, "too many"),
            (vec![many("group", 250), bind("domain:x.com", None)], 1, "too many"),
            (vec![bind("user:a@x.com", text("true", "t")); 100],   3, "ok"),
            (vec![bind("user:a@x.com", text("true", "t")); 101],   3, "too many conditions"),
        ];
        for (number, (bindings, version, expected)) in cases.into_iter().enumerate() {
            let outcome = match Policy::check(&bindings, version, &schema) {
                Ok(()) => "ok",
                Err(E::Version(_)) => "version",
                Err(E::ConditionNeedsVersion) => "needs version",
                Err(E::PublicCondition(_)) => "public",
                Err(E::ConditionTitle) => "title",
                Err(E::Condition { .. }) => "condition",
                Err(E::TooMany) => "too many",
                Err(E::TooManyConditions) => "too many conditions",
            };
            assert_eq!(outcome, expected, "case {number}");
        }
    }
}
