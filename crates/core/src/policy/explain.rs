//! Why an answer is what it is: everything that was considered, and the smallest change that would make it a yes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::compiled::{AllowNode, BoundCondition, DenyNode};
use super::condition::EvaluationError;
use super::decide::{
    BindingOutcome, ConditionOutcome, Lineage, Observer, Principal, Question, RuleOutcome, Verdict, decide,
};
use super::request::RequestContext;
use super::{ConditionText, Permission, PredefinedRole, Role, RoleName};
use crate::group::Groups;
use crate::member::{Email, Member};
use crate::resource::{Project, Resource};

/// What a condition saw: the attributes that it reads, each with its value, or `None` where it has none here.
pub type Read = Vec<(String, Option<String>)>;

/// Why a binding lets the caller in, or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WhyNot {
    /// It lets the caller in.
    Matched,
    /// It does not name the caller.
    MemberNo,
    /// Its role does not give what is asked for.
    RoleLacksPermission,
    /// Its condition does not hold.
    ConditionFalse(Read),
    /// Its condition could not be evaluated.
    ConditionFailed(EvaluationError, Read),
}

/// A binding, as it was considered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsideredBinding {
    /// The canonical name of the resource on which it stands.
    pub resource: Arc<str>,
    /// Its place in that policy.
    pub binding: usize,
    /// Its role.
    pub role: RoleName,
    /// Its condition.
    pub condition: Option<ConditionText>,
    /// The member of it that names the caller.
    pub member: Option<Member>,
    /// The groups through which it does, from the one that the caller is in to the one that the binding names.
    pub through: Vec<Email>,
    /// What became of it.
    pub outcome: WhyNot,
}

/// A deny rule that forbids what is asked for, as it was considered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsideredRule {
    /// The canonical name of the deny policy.
    pub policy: Arc<str>,
    /// Its place in that policy.
    pub rule: usize,
    /// Its condition.
    pub condition: Option<ConditionText>,
    /// The member of it that names the caller; `None` if none does, and it has no force.
    pub member: Option<Member>,
    /// What became of it; `None` where it does not name the caller.
    pub outcome: Option<RuleOutcome>,
    /// What its condition saw.
    pub read: Read,
}

/// A change that is needed for a yes. Of several, all are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remedy {
    /// Nobody was proven: sign in.
    SignIn,
    /// Except the caller from a deny rule.
    Except {
        /// The canonical name of the deny policy.
        policy: Arc<str>,
        /// The place of the rule in it.
        rule: usize,
        /// Who.
        member: Member,
    },
    /// Ask so that the condition of a binding holds, or change the condition.
    Condition {
        /// The canonical name of the resource on which the binding stands.
        resource: Arc<str>,
        /// Its place in that policy.
        binding: usize,
        /// Its role.
        role: RoleName,
        /// Its condition.
        condition: ConditionText,
        /// What the condition saw.
        read: Read,
    },
    /// Give a role to the caller.
    AddMember {
        /// The canonical name of a resource.
        resource: String,
        /// The role.
        role: RoleName,
        /// Who.
        member: Member,
        /// The place of a binding to which to add it, if there is one.
        binding: Option<usize>,
    },
}

/// An answer with its reasons.
#[derive(Debug)]
pub struct Explanation<'a> {
    /// The answer: the one that [`decide`] gives.
    pub verdict: Verdict<'a>,
    /// Every deny rule that forbids what is asked for, in the order in which they are asked.
    pub rules: Vec<ConsideredRule>,
    /// Every binding of every node, nearest first.
    pub bindings: Vec<ConsideredBinding>,
    /// What to change, all of it; empty for a yes, or if no change of policies helps.
    pub remedies: Vec<Remedy>,
}

/// Keeps what is told.
#[derive(Default)]
struct Collected {
    /// By address of the node and place: no two nodes of a lineage are at one address.
    bindings: BTreeMap<(*const AllowNode, usize), (Member, BindingOutcome)>,
    rules: BTreeMap<(*const DenyNode, usize), (Member, RuleOutcome)>,
}

impl Observer for Collected {
    const WANTS_ALL: bool = true;

    fn rule(&mut self, node: &Arc<DenyNode>, rule: usize, member: &Member, outcome: RuleOutcome) {
        self.rules.insert((Arc::as_ptr(node), rule), (member.clone(), outcome));
    }

    fn binding(&mut self, node: &Arc<AllowNode>, binding: usize, member: &Member, outcome: BindingOutcome) {
        // The most specific member is told first, and the outcome of one binding is the same for all.
        self.bindings.entry((Arc::as_ptr(node), binding)).or_insert_with(|| (member.clone(), outcome));
    }
}

/// Decides as [`decide`] does, by the same code, and says why.
pub fn explain<'a>(
    lineage: &'a Lineage,
    groups: &'a Groups,
    project: &Project,
    question: &Question<'_>,
) -> Explanation<'a> {
    let mut seen = Collected::default();
    let verdict = decide(lineage, groups, question, &mut seen);
    let members = members_of(question.principal);
    let read = |condition: &Option<Arc<BoundCondition>>| {
        condition.as_ref().map_or_else(Vec::new, |condition| condition.read(question.context))
    };
    let mut bindings = Vec::new();
    for node in lineage.allow() {
        for (place, it) in node.bindings.iter().enumerate() {
            let found = seen.bindings.remove(&(Arc::as_ptr(node), place));
            let (member, outcome) = match found {
                Some((member, ConditionOutcome::Holds)) => (Some(member), WhyNot::Matched),
                Some((member, ConditionOutcome::False)) => (Some(member), WhyNot::ConditionFalse(read(&it.condition))),
                Some((member, ConditionOutcome::Failed(error))) => {
                    (Some(member), WhyNot::ConditionFailed(error, read(&it.condition)))
                }
                None if it.permissions.contains(question.permission) => (None, WhyNot::MemberNo),
                None => (None, WhyNot::RoleLacksPermission),
            };
            let through = match &member {
                Some(Member::Group(group)) => groups.path(&members, group),
                Some(_) | None => Vec::new(),
            };
            bindings.push(ConsideredBinding {
                resource: node.name.clone(),
                binding: place,
                role: it.binding.role.clone(),
                condition: it.binding.condition.clone(),
                member,
                through,
                outcome,
            });
        }
    }
    let mut rules = Vec::new();
    for node in lineage.deny() {
        for (place, rule) in node.rules.iter().enumerate() {
            if !rule.permissions.contains(question.permission) {
                continue;
            }
            let (member, outcome) = seen.rules.remove(&(Arc::as_ptr(node), place)).unzip();
            rules.push(ConsideredRule {
                policy: node.name.clone(),
                rule: place,
                condition: rule.rule.condition.clone(),
                read: if member.is_some() { read(&rule.condition) } else { Vec::new() },
                member,
                outcome,
            });
        }
    }
    let remedies = if verdict.is_allowed() {
        Vec::new()
    } else {
        let excepted = excepted(&rules, &members);
        excepted.into_iter().chain(granted(lineage, project, question, &bindings, &members)).collect()
    };
    Explanation { verdict, rules, bindings, remedies }
}

fn excepted(rules: &[ConsideredRule], members: &[Member]) -> Vec<Remedy> {
    let has_force = |rule: &&ConsideredRule| {
        matches!(rule.outcome, Some(RuleOutcome::Condition(ConditionOutcome::Holds | ConditionOutcome::Failed(_))))
    };
    let except = |rule: &ConsideredRule| {
        let (policy, rule) = (rule.policy.clone(), rule.rule);
        members.first().map_or(Remedy::SignIn, |member| Remedy::Except { policy, rule, member: member.clone() })
    };
    rules.iter().filter(has_force).map(except).collect()
}

/// The one change that makes some binding give it, if none does.
fn granted(
    lineage: &Lineage,
    project: &Project,
    question: &Question<'_>,
    bindings: &[ConsideredBinding],
    members: &[Member],
) -> Option<Remedy> {
    if bindings.iter().any(|it| it.outcome == WhyNot::Matched) {
        return None;
    }
    let member = match members.first() {
        Some(member) => member.clone(),
        None => return Some(Remedy::SignIn),
    };
    let conditional = bindings.iter().find_map(|it| match (&it.outcome, &it.condition) {
        (WhyNot::ConditionFalse(read) | WhyNot::ConditionFailed(_, read), Some(condition)) => Some(Remedy::Condition {
            resource: it.resource.clone(),
            binding: it.binding,
            role: it.role.clone(),
            condition: condition.clone(),
            read: read.clone(),
        }),
        _ => None,
    });
    if conditional.is_some() {
        return conditional;
    }
    // The version is Google's own; people give roles on the service. Nothing further up: that would give more than was asked for.
    let own = (*lineage.resource).clone();
    let target = match &own {
        Resource::WebServiceVersion(kind, service, _) => Resource::WebService(kind.clone(), service.clone()),
        other => other.clone(),
    };
    let near = lineage.allow().iter().filter(|node| node.resource == own || node.resource == target);
    let existing = near
        .flat_map(|node| node.bindings.iter().enumerate().map(move |it| (node, it)))
        .filter(|(_, (_, it))| it.condition.is_none() && it.permissions.contains(question.permission))
        .min_by_key(|(_, (_, it))| it.permissions.len());
    if let Some((node, (place, it))) = existing {
        let (resource, role) = (node.name.to_string(), it.binding.role.clone());
        return Some(Remedy::AddMember { resource, role, member, binding: Some(place) });
    }
    let role = smallest_role(question.permission, &target)?;
    Some(Remedy::AddMember { resource: target.name(project), role, member, binding: None })
}

/// The predefined role that gives a permission, can be bound at this resource, and gives least besides.
fn smallest_role(permission: Permission, resource: &Resource) -> Option<RoleName> {
    let fits = |role: &&'static PredefinedRole| {
        role.permissions.contains(permission) && Role::Predefined(role).is_grantable_on(resource)
    };
    let smallest = PredefinedRole::all().iter().filter(fits).min_by_key(|role| role.permissions.len())?;
    smallest.name.parse().ok()
}

/// The members that stand for a principal itself, groups not counted; the first is the most specific.
fn members_of(principal: Principal<'_>) -> Vec<Member> {
    match principal {
        Principal::User(email) => vec![Member::User(email.clone()), Member::Domain(email.domain().to_owned())],
        Principal::ServiceAccount(email) => vec![Member::ServiceAccount(email.clone())],
        Principal::Foreign(members) => members.to_vec(),
        Principal::Anonymous => Vec::new(),
    }
}

/// How a member that a policy names stands to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Whoever it stands for may, as far as is known.
    Allowed,
    /// It may if a condition of a binding holds, which does not, or cannot be evaluated with what is known; or if one of a deny rule
    /// does not hold, of which that is not known.
    Depends,
    /// A deny rule is against it.
    Denied,
}

/// A member that may do something.
#[derive(Debug, Clone)]
pub struct Holder {
    /// As policies name it.
    pub member: Member,
    /// Whether it may.
    pub standing: Standing,
    /// The bindings by which, nearest first: the resource's name, the role, the condition.
    pub by: Vec<(Arc<str>, RoleName, Option<ConditionText>)>,
}

/// Every member that bindings of a lineage name for a permission, in the order of members, each decided by [`decide`]. Somebody whom
/// such a member stands for may stand otherwise: a deny rule may name them alone.
pub fn who_can(
    lineage: &Lineage,
    groups: &Groups,
    permission: Permission,
    context: &RequestContext<'_>,
) -> Vec<Holder> {
    let giving = |node: &'_ Arc<AllowNode>| {
        let giving = node.bindings.iter().filter(|it| it.permissions.contains(permission));
        giving.flat_map(|it| it.binding.members.clone()).collect::<Vec<_>>()
    };
    let members: BTreeSet<Member> = lineage.allow().iter().flat_map(giving).collect();
    let members = members.into_iter().filter(|member| !matches!(member, Member::Deleted(_)));
    members.filter_map(|member| stands(lineage, groups, member, permission, context)).collect()
}

/// How one member stands to a permission; `None` if nothing gives it that, under any condition.
pub fn stands(
    lineage: &Lineage,
    groups: &Groups,
    member: Member,
    permission: Permission,
    context: &RequestContext<'_>,
) -> Option<Holder> {
    let principal = principal_of(&member);
    let mut seen = Collected::default();
    let verdict = decide(lineage, groups, &Question { principal, permission, context }, &mut seen);
    if seen.bindings.is_empty() {
        return None;
    }
    // A rule whose condition cannot be evaluated denies a request. Of circumstances that are not known it says nothing yet.
    let holds = |(_, outcome): &(Member, RuleOutcome)| *outcome == RuleOutcome::Condition(ConditionOutcome::Holds);
    let standing = match verdict {
        Verdict::Allowed(_) => Standing::Allowed,
        Verdict::Denied(_) if seen.rules.values().any(holds) => Standing::Denied,
        Verdict::Denied(_) | Verdict::NotGranted => Standing::Depends,
    };
    let mut by = Vec::new();
    for node in lineage.allow() {
        for (place, it) in node.bindings.iter().enumerate() {
            if seen.bindings.contains_key(&(Arc::as_ptr(node), place)) {
                by.push((node.name.clone(), it.binding.role.clone(), it.binding.condition.clone()));
            }
        }
    }
    Some(Holder { member, standing, by })
}

/// Whoever a member stands for, as the one who asks.
pub fn principal_of(member: &Member) -> Principal<'_> {
    match member {
        Member::User(email) => Principal::User(email),
        Member::ServiceAccount(email) => Principal::ServiceAccount(email),
        Member::AllUsers | Member::Deleted(_) => Principal::Anonymous,
        Member::Group(_)
        | Member::Domain(_)
        | Member::Principal(_)
        | Member::PrincipalSet(_)
        | Member::AllAuthenticatedUsers => Principal::Foreign(std::slice::from_ref(member)),
    }
}
