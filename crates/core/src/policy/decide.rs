//! The one function that decides. What answers requests and what explains answers are the same code with another observer.

use std::sync::Arc;

use super::compiled::{AllowNode, BoundCondition, DenyNode, NodeBinding, NodeRule};
use super::condition::EvaluationError;
use super::request::RequestContext;
use super::{ConditionText, Permission};
use crate::group::{GroupNumber, Groups, MemberProbe};
use crate::member::{Email, Member, MemberKind};
use crate::resource::Resource;

/// Who asks, as policies see them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Principal<'a> {
    /// A person.
    User(&'a Email),
    /// A program.
    ServiceAccount(&'a Email),
    /// Somebody from elsewhere: the members that they match, the most specific first. Never one of
    /// `allAuthenticatedUsers`, which means accounts of ours. (Or whoever a member of a policy stands for, where it is asked what
    /// that member may do: the member itself.)
    ///
    /// Spec: <https://cloud.google.com/iam/docs/principals-overview#all-authenticated-users>
    Foreign(&'a [Member]),
    /// Nobody was proven.
    Anonymous,
}

/// May somebody do something?
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// Who.
    pub principal: Principal<'a>,
    /// What.
    pub permission: Permission,
    /// Under which circumstances: what conditions read.
    pub context: &'a RequestContext<'a>,
}

/// A node with every policy that reaches it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Lineage {
    /// The node.
    pub resource: Arc<Resource>,
    /// The allow policies of it and of everything above it, nearest first; without those that are empty.
    pub(crate) allow: Arc<[Arc<AllowNode>]>,
    /// The deny policies above it: the organization's first, then in the order of their names.
    pub(crate) deny: Arc<[Arc<DenyNode>]>,
}

impl Lineage {
    /// The allow policies, nearest first.
    pub fn allow(&self) -> &[Arc<AllowNode>] {
        &self.allow
    }

    /// The deny policies, in the order in which they are asked.
    pub fn deny(&self) -> &[Arc<DenyNode>] {
        &self.deny
    }
}

/// The answer.
#[derive(Debug, Clone, Copy)]
pub enum Verdict<'a> {
    /// A binding gives it.
    Allowed(Granted<'a>),
    /// A deny rule forbids it, whatever bindings give.
    Denied(DeniedBy<'a>),
    /// Nothing gives it.
    NotGranted,
}

impl<'a> Verdict<'a> {
    /// The binding that gives it, if it is given.
    pub fn granted(&self) -> Option<Granted<'a>> {
        match self {
            Verdict::Allowed(granted) => Some(*granted),
            Verdict::Denied(_) | Verdict::NotGranted => None,
        }
    }

    /// Whether it is given.
    pub fn is_allowed(&self) -> bool {
        self.granted().is_some()
    }
}

/// The binding that let somebody in.
#[derive(Debug, Clone, Copy)]
pub struct Granted<'a> {
    /// Where the binding stands.
    pub node: &'a AllowNode,
    /// Its place in that policy.
    pub binding: usize,
    /// The member of it that matched.
    pub member: &'a Member,
}

impl<'a> Granted<'a> {
    /// The binding.
    pub fn found(&self) -> &'a NodeBinding {
        &self.node.bindings[self.binding]
    }
}

/// The rule that kept somebody out.
#[derive(Debug, Clone, Copy)]
pub struct DeniedBy<'a> {
    /// The policy.
    pub node: &'a DenyNode,
    /// The place of the rule in it.
    pub rule: usize,
    /// The member of it that matched.
    pub member: &'a Member,
    /// Its condition could not be evaluated, and so it denies.
    pub unevaluated: bool,
}

/// What became of a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConditionOutcome {
    /// There is none, or it holds.
    Holds,
    /// It does not hold.
    False,
    /// It could not be evaluated.
    Failed(EvaluationError),
}

/// What became of a binding that names the caller and gives what is asked for.
pub type BindingOutcome = ConditionOutcome;

/// What became of a deny rule that forbids what is asked for and names the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleOutcome {
    /// The caller is an exception, by this member.
    Excepted(Member),
    /// It has or has not force, by its condition.
    Condition(ConditionOutcome),
}

/// Sees what is considered on the way to an answer, and cannot change the answer.
pub trait Observer {
    /// Whether everything is to be considered, also after the answer is known.
    const WANTS_ALL: bool;

    /// A rule that forbids what is asked for, and names the caller by `member`.
    fn rule(&mut self, node: &Arc<DenyNode>, rule: usize, member: &Member, outcome: RuleOutcome);

    /// A binding that gives what is asked for, and names the caller by `member`. May come twice, by two members.
    fn binding(&mut self, node: &Arc<AllowNode>, binding: usize, member: &Member, outcome: BindingOutcome);
}

/// Nobody looks: the first binding that gives it is the answer.
impl Observer for () {
    const WANTS_ALL: bool = false;

    fn rule(&mut self, _: &Arc<DenyNode>, _: usize, _: &Member, _: RuleOutcome) {}

    fn binding(&mut self, _: &Arc<AllowNode>, _: usize, _: &Member, _: BindingOutcome) {}
}

/// Decides.
///
/// Deny rules come first, from the organization down; one whose condition cannot be evaluated denies. Then the bindings without a
/// condition of all nodes, nearest first; then those with one, of which one that cannot be evaluated grants nothing. Of several
/// that give it, the nearest is the answer, and in it the one that names the caller most specifically.
///
/// Allocates nothing unless a condition is evaluated, or the caller is in more than some twenty groups.
///
/// Spec: <https://cloud.google.com/iam/docs/policy-types#evaluation>
pub fn decide<'a, O: Observer>(
    lineage: &'a Lineage,
    groups: &'a Groups,
    question: &Question<'_>,
    observer: &mut O,
) -> Verdict<'a> {
    // Most of what reaches a node is about something else. The look at it also makes its way to the processor while the caller's
    // groups are looked up.
    let concerns = |node: &Arc<AllowNode>| [false, true].iter().any(|it| node.gives(question.permission, *it));
    if !lineage.allow.iter().any(concerns) && !lineage.deny.iter().any(|node| node.forbids(question.permission)) {
        return Verdict::NotGranted;
    }
    let mut probes = Probes::new();
    probes.fill(question.principal, groups);
    let probes = probes.as_slice();
    let denied = first_denied(&lineage.deny, probes, question, observer);
    if let Some(denied) = denied
        && !O::WANTS_ALL
    {
        return Verdict::Denied(denied);
    }
    let mut granted = None;
    for conditional in [false, true] {
        for node in lineage.allow.iter().filter(|node| node.gives(question.permission, conditional)) {
            for probe in probes {
                for (place, member) in node.naming(probe, conditional) {
                    let found = &node.bindings[place];
                    if !found.permissions.contains(question.permission) {
                        continue;
                    }
                    let outcome = found.condition.as_ref().map_or(ConditionOutcome::Holds, |it| it.grants(question));
                    let holds = outcome == ConditionOutcome::Holds;
                    observer.binding(node, place, member, outcome);
                    if holds {
                        granted.get_or_insert(Granted { node, binding: place, member });
                        if !O::WANTS_ALL {
                            return granted.map_or(Verdict::NotGranted, Verdict::Allowed);
                        }
                    }
                }
            }
        }
    }
    match (denied, granted) {
        (Some(denied), _) => Verdict::Denied(denied),
        (None, Some(granted)) => Verdict::Allowed(granted),
        (None, None) => Verdict::NotGranted,
    }
}

fn first_denied<'a, O: Observer>(
    deny: &'a [Arc<DenyNode>],
    probes: &[MemberProbe<'_>],
    question: &Question<'_>,
    observer: &mut O,
) -> Option<DeniedBy<'a>> {
    let mut denied = None;
    for node in deny.iter().filter(|node| node.forbids(question.permission)) {
        for (place, rule) in node.rules.iter().enumerate() {
            if !rule.permissions.contains(question.permission) {
                continue;
            }
            let Some(member) = rule.denied(probes) else { continue };
            if let Some(excepted) = rule.excepted(probes) {
                if O::WANTS_ALL {
                    observer.rule(node, place, member, RuleOutcome::Excepted(excepted.clone()));
                }
                continue;
            }
            let outcome = rule.outcome(question);
            let unevaluated = matches!(outcome, ConditionOutcome::Failed(_));
            let denies = outcome != ConditionOutcome::False;
            observer.rule(node, place, member, RuleOutcome::Condition(outcome));
            if denies {
                denied.get_or_insert(DeniedBy { node, rule: place, member, unevaluated });
                if !O::WANTS_ALL {
                    return denied;
                }
            }
        }
    }
    denied
}

impl NodeRule {
    fn outcome(&self, question: &Question<'_>) -> ConditionOutcome {
        match self.condition.as_ref().map(|it| it.condition.may_hold(question.context)) {
            None | Some(Ok(true)) => ConditionOutcome::Holds,
            Some(Ok(false)) => ConditionOutcome::False,
            Some(Err(error)) => ConditionOutcome::Failed(error),
        }
    }
}

impl BoundCondition {
    fn grants(&self, question: &Question<'_>) -> ConditionOutcome {
        match self.condition.holds(question.context) {
            Ok(true) => ConditionOutcome::Holds,
            Ok(false) => ConditionOutcome::False,
            Err(error) => ConditionOutcome::Failed(error),
        }
    }

    /// Every attribute that it reads, with the value that it has here.
    pub fn read(&self, context: &RequestContext<'_>) -> Vec<(String, Option<String>)> {
        self.condition.reads().iter().map(|it| (it.to_string(), it.value(context))).collect()
    }

    /// As it was written.
    pub fn text(&self) -> &ConditionText {
        &self.text
    }
}

/// Everything that stands for a caller, the most specific first, hashed once. Without allocation for most callers.
struct Probes<'a> {
    few: [MemberProbe<'a>; FEW],
    length: usize,
    many: Vec<MemberProbe<'a>>,
}

const FEW: usize = 24;

impl<'a> Probes<'a> {
    fn new() -> Self {
        Probes { few: [MemberProbe::NOBODY; FEW], length: 0, many: Vec::new() }
    }

    fn as_slice(&self) -> &[MemberProbe<'a>] {
        if self.many.is_empty() { &self.few[..self.length] } else { &self.many }
    }

    fn push(&mut self, probe: MemberProbe<'a>) {
        if self.many.is_empty() && self.length < FEW {
            self.few[self.length] = probe;
            self.length += 1;
            return;
        }
        if self.many.is_empty() {
            self.many.extend_from_slice(&self.few);
        }
        self.many.push(probe);
    }

    fn fill(&mut self, principal: Principal<'a>, groups: &'a Groups) {
        let mut own: [Option<MemberProbe<'a>>; 2] = [None; 2];
        match principal {
            Principal::User(email) => {
                own[0] = Some(MemberProbe::new(MemberKind::User, email.as_str()));
                own[1] = Some(MemberProbe::new(MemberKind::Domain, email.domain()));
            }
            Principal::ServiceAccount(email) => {
                own[0] = Some(MemberProbe::new(MemberKind::ServiceAccount, email.as_str()));
            }
            Principal::Foreign(members) => {
                members.iter().for_each(|member| self.push(MemberProbe::of(member)));
                self.push_groups(members.iter().map(MemberProbe::of), groups);
            }
            Principal::Anonymous => {}
        }
        let [named, domain] = own;
        named.into_iter().for_each(|probe| self.push(probe));
        self.push_groups(named.into_iter().chain(domain), groups);
        domain.into_iter().for_each(|probe| self.push(probe));
        match principal {
            Principal::User(_) | Principal::ServiceAccount(_) => {
                self.push(MemberProbe::all_authenticated_users());
            }
            Principal::Foreign(_) | Principal::Anonymous => {}
        }
        self.push(MemberProbe::all_users());
    }

    /// The groups that these are in, each once.
    fn push_groups(&mut self, probes: impl Iterator<Item = MemberProbe<'a>>, groups: &'a Groups) {
        let mut seen = Seen::default();
        for probe in probes {
            for (number, group) in groups.of(probe) {
                if seen.insert(number) {
                    self.push(group);
                }
            }
        }
    }
}

/// Numbers of groups, each once: in a list as long as there are few.
#[derive(Default)]
struct Seen {
    few: [GroupNumber; FEW],
    length: usize,
    many: std::collections::HashSet<GroupNumber>,
}

impl Seen {
    fn insert(&mut self, number: GroupNumber) -> bool {
        if self.few[..self.length].contains(&number) {
            return false;
        }
        if self.length < FEW {
            self.few[self.length] = number;
            self.length += 1;
            return true;
        }
        self.many.insert(number)
    }
}
