//! Policies as decisions read them: roles looked up, conditions compiled, members in a table.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use hashbrown::HashTable;

use super::condition::{CompileError, Condition, Schema};
use super::{
    Binding, ConditionText, CustomRole, DenyPolicy, DenyRule, Permission, PermissionSet, Policy, PredefinedRole, Role,
    RoleName,
};
use crate::group::MemberProbe;
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

/// Which members lead where: probed with hashes that were computed before.
#[derive(Debug, Clone, Default)]
struct MemberTable {
    entries: HashTable<Entry>,
    /// (list, place in the list) of each appearance of a member, those of one member together.
    appearances: Box<[(u32, u32)]>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    hash: u64,
    start: u32,
    end: u32,
}

impl MemberTable {
    fn new<'m>(lists: impl Iterator<Item = &'m [Member]> + Clone) -> Self {
        let number = |place: usize| u32::try_from(place).unwrap_or(u32::MAX);
        let mut found: Vec<(u64, &Member, u32, u32)> = lists
            .enumerate()
            .flat_map(|(list, members)| members.iter().enumerate().map(move |(place, member)| (list, place, member)))
            .map(|(list, place, member)| (MemberProbe::of(member).hash, member, number(list), number(place)))
            .collect();
        found.sort_unstable();
        let mut entries = HashTable::with_capacity(found.len());
        let mut start = 0;
        for same in found.chunk_by(|a, b| a.1 == b.1) {
            let entry = Entry { hash: same[0].0, start, end: start + number(same.len()) };
            entries.insert_unique(entry.hash, entry, |entry| entry.hash);
            start = entry.end;
        }
        MemberTable { entries, appearances: found.iter().map(|(_, _, list, place)| (*list, *place)).collect() }
    }

    /// Every appearance of a member, in the order of the lists.
    fn find<'m>(&self, probe: &MemberProbe<'_>, member: impl Fn((u32, u32)) -> &'m Member) -> &[(u32, u32)] {
        let same = |entry: &Entry| entry.hash == probe.hash && probe.is(member(self.appearances[entry.start as usize]));
        let entry = self.entries.find(probe.hash, same);
        entry.map_or(&[], |entry| &self.appearances[entry.start as usize..entry.end as usize])
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
    table: Arc<MemberTable>,
    /// What bindings without and with a condition give together: most nodes are passed over by this.
    unconditional: PermissionSet,
    conditional: PermissionSet,
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
        let table = MemberTable::new(bindings.iter().map(|it| it.binding.members.as_slice()));
        let sets = PermissionSet::EMPTY;
        let node =
            AllowNode { resource, name, bindings, table: Arc::new(table), unconditional: sets, conditional: sets };
        node.with_roles(roles)
    }

    /// The same policy with what its roles give now.
    pub(crate) fn with_roles(mut self, roles: &Roles) -> Self {
        (self.unconditional, self.conditional) = Default::default();
        for it in &mut self.bindings {
            it.permissions = roles.permissions(&it.binding.role);
            let set = if it.condition.is_some() { &mut self.conditional } else { &mut self.unconditional };
            *set = set.union(it.permissions);
        }
        self
    }

    /// Whether a binding names the role.
    pub(crate) fn names(&self, role: &RoleName) -> bool {
        self.bindings.iter().any(|it| it.binding.role == *role)
    }

    /// Whether some binding, with or without a condition, gives this.
    pub(super) fn gives(&self, permission: Permission, conditional: bool) -> bool {
        if conditional { self.conditional.contains(permission) } else { self.unconditional.contains(permission) }
    }

    /// The bindings that name a member, each with the member as the policy has it.
    pub(super) fn naming(&self, probe: &MemberProbe<'_>) -> impl Iterator<Item = (usize, &Member)> {
        let member = |(binding, place): (u32, u32)| &self.bindings[binding as usize].binding.members[place as usize];
        self.table.find(probe, member).iter().map(move |it| (it.0 as usize, member(*it)))
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
            denied: MemberTable::new(std::iter::once(rule.denied_principals.as_slice())),
            exceptions: MemberTable::new(std::iter::once(rule.exception_principals.as_slice())),
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
        find_first(&self.denied, &self.rule.denied_principals, probes)
    }

    /// The member by which one of these is excepted.
    pub(super) fn excepted(&self, probes: &[MemberProbe<'_>]) -> Option<&Member> {
        find_first(&self.exceptions, &self.rule.exception_principals, probes)
    }
}

fn find_first<'m>(table: &MemberTable, list: &'m [Member], probes: &[MemberProbe<'_>]) -> Option<&'m Member> {
    let member = |(_, place): (u32, u32)| &list[place as usize];
    probes.iter().find_map(|probe| table.find(probe, member).first().map(|it| member(*it)))
}
