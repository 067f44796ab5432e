//! Policies as decisions read them: roles looked up, conditions compiled, members in a table.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use super::condition::{CompileError, Condition, Schema};
use super::{
    Binding, ConditionText, CustomRole, DenyPolicy, DenyRule, Permission, PermissionSet, Policy, PredefinedRole, Role,
    RoleName,
};
use crate::group::{FewOrMany, MemberHash, MemberProbe};
use crate::member::Member;
use crate::resource::Resource;

/// The custom roles. What is not among these and not predefined gives nothing.
#[derive(Debug, Clone, Default)]
pub struct Roles(Arc<HashMap<RoleName, Arc<CustomRole>>>);

impl Roles {
    /// The role of this name.
    pub fn find(&self, name: &RoleName) -> Option<Role<'_>> {
        match PredefinedRole::find(name.as_str()) {
            Some(role) => Some(Role::Predefined(role)),
            None => self.0.get(name).map(|role| Role::Custom(role)),
        }
    }

    /// Every custom role, in no order.
    pub fn custom(&self) -> impl Iterator<Item = &Arc<CustomRole>> {
        self.0.values()
    }

    /// Puts a custom role in place of the one of its name, or forgets it.
    pub(crate) fn set(&mut self, name: &RoleName, role: Option<Arc<CustomRole>>) {
        let roles = Arc::make_mut(&mut self.0);
        match role {
            Some(role) => drop(roles.insert(name.clone(), role)),
            None => drop(roles.remove(name)),
        }
    }

    fn permissions(&self, name: &RoleName) -> PermissionSet {
        self.find(name).map_or(PermissionSet::EMPTY, |role| role.permissions())
    }
}

/// A condition with what became of its text. One that no longer compiles grants nothing, and denies.
#[derive(Debug, PartialEq, Eq)]
pub struct BoundCondition {
    /// As it was written.
    pub text: ConditionText,
    /// What is evaluated. Shared by all conditions of one expression.
    pub condition: Arc<Condition>,
}

/// Every expression that is in use, compiled once. A compiled one is larger than its text by far, and many bindings have the same.
#[derive(Debug, Clone)]
pub struct ConditionTable {
    schema: Arc<Schema>,
    compiled: Arc<HashMap<String, Weak<Condition>>>,
}

impl ConditionTable {
    /// A table for conditions over these attributes.
    pub fn new(schema: Arc<Schema>) -> Self {
        ConditionTable { schema, compiled: Arc::default() }
    }

    /// The attributes.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    fn bind(&mut self, text: &ConditionText) -> Arc<BoundCondition> {
        let known = self.compiled.get(&text.expression).and_then(Weak::upgrade);
        let condition = known.unwrap_or_else(|| {
            let condition = compile(&text.expression, &self.schema);
            let condition = Arc::new(condition.unwrap_or_else(|_| Condition::failing(&text.expression)));
            let compiled = Arc::make_mut(&mut self.compiled);
            // What nobody uses any more goes when the table would grow.
            if compiled.len() == compiled.capacity() {
                compiled.retain(|_, condition| condition.strong_count() > 0);
            }
            compiled.insert(text.expression.clone(), Arc::downgrade(&condition));
            condition
        });
        Arc::new(BoundCondition { text: text.clone(), condition })
    }
}

/// Compiles the condition of a binding or of a deny rule.
pub(super) fn compile(expression: &str, schema: &Schema) -> Result<Condition, CompileError> {
    Condition::compile(expression, schema)
}

/// A binding as decisions read it.
#[derive(Debug, Clone)]
pub struct NodeBinding {
    /// As it was written.
    pub binding: Arc<Binding>,
    /// What its role gives at this moment.
    pub permissions: PermissionSet,
    /// Its condition.
    pub condition: Option<Arc<BoundCondition>>,
}

/// Which members lead where: probed with hashes that were computed before. Those of a usual policy lie in one or two cache lines,
/// and are searched without a look at any name; of a name that is found, all that an answer needs is in one place.
#[derive(Debug, Clone)]
struct MemberTable {
    /// One for each of the entries, ascending. Those of a usual policy stand in the node itself, which a decision has at hand.
    hashes: FewOrMany<16>,
    entries: Arc<[Entry]>,
}

/// One appearance of a member.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    member: Member,
    /// The list in which it appears.
    list: usize,
}

impl MemberTable {
    /// A table of lists, each with its number.
    fn new<'m>(lists: impl Iterator<Item = (usize, &'m [Member])>) -> Self {
        let mut found: Vec<(MemberHash, Entry)> = lists
            .flat_map(|(list, members)| members.iter().map(move |member| Entry { member: member.clone(), list }))
            .map(|entry| (MemberProbe::of(&entry.member).hash, entry))
            .collect();
        found.sort_unstable();
        let (hashes, entries): (Vec<_>, Vec<_>) = found.into_iter().unzip();
        MemberTable { hashes: FewOrMany::new(&hashes), entries: entries.into() }
    }

    /// Every appearance of a member, in the order of the lists.
    fn find<'t>(&'t self, probe: &MemberProbe<'_>) -> impl Iterator<Item = &'t Entry> {
        let hashes = self.hashes.as_slice();
        let start = hashes.partition_point(|hash| *hash < probe.hash);
        let same = hashes[start..].iter().take_while(|hash| **hash == probe.hash);
        same.zip(start..).map(|(_, place)| &self.entries[place]).filter(|entry| probe.is(&entry.member))
    }
}

/// The allow policy of one node.
#[derive(Debug, Clone)]
pub struct AllowNode {
    /// The node.
    pub resource: Resource,
    /// Its canonical name.
    pub name: Arc<str>,
    /// Its bindings, in the order in which they were written.
    pub bindings: Box<[NodeBinding]>,
    /// The bindings without a condition.
    unconditional: Side,
    /// Those with one.
    conditional: Side,
}

/// What decisions read of some of the bindings of a node: two cache lines.
#[derive(Debug, Clone)]
#[repr(align(64))]
struct Side {
    /// What they give together: most nodes are passed over by this.
    gives: PermissionSet,
    members: MemberTable,
}

impl AllowNode {
    pub(crate) fn new(
        resource: Resource,
        name: Arc<str>,
        policy: Policy,
        roles: &Roles,
        conditions: &mut ConditionTable,
    ) -> Self {
        let bindings: Box<[NodeBinding]> = policy
            .bindings
            .into_iter()
            .map(|binding| NodeBinding {
                permissions: PermissionSet::EMPTY,
                condition: binding.condition.as_ref().map(|text| conditions.bind(text)),
                binding: Arc::new(binding),
            })
            .collect();
        let side = |conditional: bool| {
            let lists = bindings.iter().enumerate().filter(|(_, it)| it.condition.is_some() == conditional);
            let members = MemberTable::new(lists.map(|(place, it)| (place, it.binding.members.as_slice())));
            Side { gives: PermissionSet::EMPTY, members }
        };
        let (unconditional, conditional) = (side(false), side(true));
        AllowNode { resource, name, bindings, unconditional, conditional }.with_roles(roles)
    }

    /// The same policy with what its roles give now.
    pub(crate) fn with_roles(mut self, roles: &Roles) -> Self {
        (self.unconditional.gives, self.conditional.gives) = Default::default();
        for it in &mut self.bindings {
            it.permissions = roles.permissions(&it.binding.role);
            let side = if it.condition.is_some() { &mut self.conditional } else { &mut self.unconditional };
            side.gives = side.gives.union(it.permissions);
        }
        self
    }

    /// Whether a binding names the role.
    pub(crate) fn names(&self, role: &RoleName) -> bool {
        self.bindings.iter().any(|it| it.binding.role == *role)
    }

    /// Whether some binding, with or without a condition, gives this.
    pub(super) fn gives(&self, permission: Permission, conditional: bool) -> bool {
        self.side(conditional).gives.contains(permission)
    }

    /// The bindings with or without a condition that name a member, each with the member as the policy has it.
    pub(super) fn naming(&self, probe: &MemberProbe<'_>, conditional: bool) -> impl Iterator<Item = (usize, &Member)> {
        self.side(conditional).members.find(probe).map(|entry| (entry.list, &entry.member))
    }

    fn side(&self, conditional: bool) -> &Side {
        if conditional { &self.conditional } else { &self.unconditional }
    }
}

/// A deny rule as decisions read it.
#[derive(Debug)]
pub struct NodeRule {
    /// As it was written.
    pub rule: DenyRule,
    /// What it forbids.
    pub permissions: PermissionSet,
    /// Its condition.
    pub condition: Option<Arc<BoundCondition>>,
    denied: MemberTable,
    exceptions: MemberTable,
}

/// One deny policy.
#[derive(Debug)]
pub struct DenyNode {
    /// As it was written.
    pub policy: DenyPolicy,
    /// Its canonical name.
    pub name: Arc<str>,
    /// Its rules, in the order in which they were written.
    pub rules: Box<[NodeRule]>,
    permissions: PermissionSet,
}

impl DenyNode {
    pub(crate) fn new(policy: DenyPolicy, name: Arc<str>, conditions: &mut ConditionTable) -> Self {
        let rule = |rule: &DenyRule| NodeRule {
            permissions: rule.permissions(),
            condition: rule.condition.as_ref().map(|text| conditions.bind(text)),
            denied: MemberTable::new(std::iter::once((0, rule.denied_principals.as_slice()))),
            exceptions: MemberTable::new(std::iter::once((0, rule.exception_principals.as_slice()))),
            rule: rule.clone(),
        };
        let rules: Box<[NodeRule]> = policy.rules.iter().map(rule).collect();
        let permissions = rules.iter().fold(PermissionSet::EMPTY, |set, rule| set.union(rule.permissions));
        DenyNode { policy, name, rules, permissions }
    }

    pub(super) fn forbids(&self, permission: Permission) -> bool {
        self.permissions.contains(permission)
    }
}

impl NodeRule {
    /// The member by which one of these is denied.
    pub(super) fn denied(&self, probes: &[MemberProbe<'_>]) -> Option<&Member> {
        find_first(&self.denied, probes)
    }

    /// The member by which one of these is excepted.
    pub(super) fn excepted(&self, probes: &[MemberProbe<'_>]) -> Option<&Member> {
        find_first(&self.exceptions, probes)
    }
}

fn find_first<'m>(table: &'m MemberTable, probes: &[MemberProbe<'_>]) -> Option<&'m Member> {
    probes.iter().find_map(|probe| table.find(probe).next()).map(|entry| &entry.member)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_any_length_finds_each_appearance_of_a_member_in_the_order_of_the_lists() {
        for length in [0, 1, 15, 16, 17, 300] {
            let member = |number: usize| Member::Domain(format!("d{number}.test"));
            let all: Vec<Member> = (0..length).map(member).collect();
            // The second list has every third member of the first.
            let third: Vec<Member> = (0..length).step_by(3).map(member).collect();
            let table = MemberTable::new([(4, &all[..]), (7, &third[..])].into_iter());
            for number in 0..length + 3 {
                let asked = member(number);
                let found: Vec<_> = table.find(&MemberProbe::of(&asked)).map(|it| (&it.member, it.list)).collect();
                let expected = [(&asked, 4), (&asked, 7)];
                let count = if number >= length {
                    0
                } else if number % 3 == 0 {
                    2
                } else {
                    1
                };
                assert_eq!(found, expected[..count], "{number} of {length}");
            }
        }
    }

    #[test]
    fn two_members_of_one_hash_are_told_apart() {
        let (ann, bob) = (Member::Domain("ann.test".into()), Member::Domain("bob.test".into()));
        let probe = MemberProbe::of(&bob);
        let entries = [ann, bob.clone()].map(|member| Entry { member, list: 0 });
        let table = MemberTable { hashes: FewOrMany::new(&[probe.hash; 2]), entries: entries.into() };
        let found: Vec<_> = table.find(&probe).map(|it| &it.member).collect();
        assert_eq!(found, [&bob]);
    }
}
