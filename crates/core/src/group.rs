//! Groups of ours: who is in them, directly and through groups in groups.
//!
//! A group may hold groups; how deep is limited when it is written. A circle is refused then too, and harmless if two writers made
//! one at the same time: everybody in it is in all of its groups.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::{Arc, LazyLock};

use hashbrown::HashTable;

use crate::member::{Email, Member, MemberKind};
use crate::policy::Etag;

/// Groups in groups in groups: how many edges a chain has at most.
pub const NESTING_LIMIT: usize = 10;
/// Groups that one group is in, directly and through others, at most: what a decision may have to look at.
pub const MEMBERSHIPS_LIMIT: usize = 1000;

/// A group, without its members: there may be very many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its address, by which policies name it.
    pub email: Email,
    /// A name for people.
    pub display_name: String,
    /// Free text.
    pub description: String,
    /// Its state, members not counted.
    pub etag: Etag,
}

impl Group {
    /// Whether a group may have such a member. Everybody, and somebody who is no more, are no members.
    pub fn takes(member: &Member) -> bool {
        match member {
            Member::User(_)
            | Member::ServiceAccount(_)
            | Member::Group(_)
            | Member::Domain(_)
            | Member::Principal(_)
            | Member::PrincipalSet(_) => true,
            Member::Deleted(_) | Member::AllAuthenticatedUsers | Member::AllUsers => false,
        }
    }
}

/// Why a group cannot be put into another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NestingError {
    /// It would be in itself.
    #[error("the group would be in itself")]
    Circle,
    /// The chain would be too long.
    #[error("groups may be nested {NESTING_LIMIT} deep")]
    TooDeep,
    /// It would be in too many.
    #[error("a group may be in {MEMBERSHIPS_LIMIT} groups, directly and through others")]
    TooMany,
}

/// A number for a group within one line of snapshots. Never used again for another one.
pub(crate) type GroupNumber = u32;

/// What members are found by. Short, so that many lie together; where two are the same, names are compared.
pub(crate) type MemberHash = u32;

/// A key with which tables of members are probed: hashed once, compared only where the hash is the same.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MemberProbe<'a> {
    pub(crate) hash: MemberHash,
    name: Name<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Name<'a> {
    Of(MemberKind, &'a str),
    /// Not looked at before it is compared: its text is far away.
    Group(&'a Email),
}

impl<'a> MemberProbe<'a> {
    /// What nothing is equal to: a policy's member has a text of its own, or is of a kind without one.
    pub(crate) const NOBODY: MemberProbe<'static> = MemberProbe { hash: 0, name: Name::Of(MemberKind::User, "") };

    pub(crate) fn new(kind: MemberKind, text: &'a str) -> Self {
        MemberProbe { hash: hash(kind, text), name: Name::Of(kind, text) }
    }

    /// `allUsers`. Hashed once and for all, as every decision asks for it.
    pub(crate) fn all_users() -> MemberProbe<'static> {
        static PROBE: LazyLock<MemberProbe<'static>> = LazyLock::new(|| MemberProbe::of(&Member::AllUsers));
        *PROBE
    }

    /// `allAuthenticatedUsers`, likewise.
    pub(crate) fn all_authenticated_users() -> MemberProbe<'static> {
        static PROBE: LazyLock<MemberProbe<'static>> =
            LazyLock::new(|| MemberProbe::of(&Member::AllAuthenticatedUsers));
        *PROBE
    }

    pub(crate) fn of(member: &'a Member) -> Self {
        let (kind, text) = member.key();
        MemberProbe::new(kind, text)
    }

    pub(crate) fn is(&self, member: &Member) -> bool {
        self.is_key(member.key())
    }

    fn is_key(&self, key: (MemberKind, &str)) -> bool {
        match self.name {
            Name::Of(kind, text) => key == (kind, text),
            Name::Group(email) => key == (MemberKind::Group, email.as_str()),
        }
    }

    /// The address, if it is a group.
    fn group(&self) -> Option<&'a str> {
        match self.name {
            Name::Of(MemberKind::Group, text) => Some(text),
            Name::Of(_, _) => None,
            Name::Group(email) => Some(email.as_str()),
        }
    }
}

/// Keyed anew in each process, so that nobody can choose names that fall together.
#[expect(clippy::cast_possible_truncation, reason = "any of its bits are as good as the others")]
fn hash(kind: MemberKind, text: &str) -> MemberHash {
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    let mut hasher = KEY.build_hasher();
    hasher.write_u8(kind as u8);
    hasher.write(text.as_bytes());
    hasher.finish() as MemberHash
}

/// All bits of it depend on the hash: tables use the lowest and the highest, the choice of a shard those between.
fn spread(hash: MemberHash) -> u64 {
    u64::from(hash).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

fn shard_of(hash: MemberHash) -> usize {
    (spread(hash) >> 32) as usize % SHARDS
}

/// What every decision reads of a group. Small: those of tens of thousands of groups stay near the processor.
#[derive(Debug, Clone, Copy)]
struct Head {
    hash: MemberHash,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It is in no other group.
    Alone,
    /// It is in others: its node says in which.
    Nested,
    /// It was removed, and its number is in some lists still.
    Gone,
}

/// One group, with its ways to others.
#[derive(Debug, Clone)]
struct Node {
    email: Email,
    /// The groups that it is in.
    parents: Vec<GroupNumber>,
    /// The groups that are in it.
    children: Vec<GroupNumber>,
    /// Itself and every group that it is in, directly and through others; `None` if it is in none, or was removed.
    closure: Option<Arc<[GroupNumber]>>,
}

/// The groups that name a member. In one cache line: with a list elsewhere, each decision would wait twice.
#[derive(Debug, Clone)]
#[repr(align(64))]
struct Membership {
    text: Arc<str>,
    groups: FewOrMany<6>,
    hash: MemberHash,
    kind: MemberKind,
}

impl Membership {
    fn is(&self, probe: &MemberProbe<'_>) -> bool {
        self.hash == probe.hash && probe.is_key((self.kind, &self.text))
    }
}

/// A list that is in place as long as it is short, so that what holds it is all that has to be read.
#[derive(Debug, Clone)]
pub(crate) enum FewOrMany<const FEW: usize> {
    /// The length, and the list with something behind it.
    Few(u8, [u32; FEW]),
    Many(Arc<[u32]>),
}

impl<const FEW: usize> FewOrMany<FEW> {
    pub(crate) fn new(list: &[u32]) -> Self {
        let mut few = [0; FEW];
        match (few.get_mut(..list.len()), u8::try_from(list.len())) {
            (Some(place), Ok(length)) => {
                place.copy_from_slice(list);
                FewOrMany::Few(length, few)
            }
            (None, _) | (_, Err(_)) => FewOrMany::Many(list.into()),
        }
    }

    pub(crate) fn as_slice(&self) -> &[u32] {
        match self {
            FewOrMany::Few(length, few) => &few[..usize::from(*length)],
            FewOrMany::Many(many) => many,
        }
    }
}

type Shard = HashTable<Membership>;

/// A change copies one of these: some hundred entries of a million.
const SHARDS: usize = 1024;

/// All groups, as decisions see them. Cheap to clone; a clone shares everything but what is changed in it.
#[derive(Debug, Clone)]
pub struct Groups {
    /// By number, each in one piece: a decision looks at one place for each group.
    heads: Arc<Vec<Head>>,
    nodes: Arc<Vec<Node>>,
    numbers: Arc<HashMap<Email, GroupNumber>>,
    shards: Arc<[Arc<Shard>]>,
}

impl Default for Groups {
    fn default() -> Self {
        let empty = Arc::new(Shard::new());
        let shards = vec![empty; SHARDS].into();
        Groups { heads: Arc::default(), nodes: Arc::default(), numbers: Arc::default(), shards }
    }
}

impl Groups {
    /// Whether there is a group of this address.
    pub fn contains(&self, group: &Email) -> bool {
        self.numbers.contains_key(group)
    }

    /// Makes a group known. Does nothing if it is.
    pub fn add(&mut self, group: &Email) {
        self.number(group);
    }

    /// Forgets a group: nobody is in it, and it is in no other.
    pub fn remove(&mut self, group: &Email) {
        let Some(number) = self.numbers.get(group).copied() else { return };
        Arc::make_mut(&mut self.numbers).remove(group);
        let (parents, children) = (self.node(number).parents.clone(), self.node(number).children.clone());
        for parent in parents {
            self.node_mut(parent).children.retain(|child| *child != number);
        }
        for child in &children {
            self.node_mut(*child).parents.retain(|parent| *parent != number);
        }
        let node = self.node_mut(number);
        (node.parents, node.children) = (Vec::new(), Vec::new());
        self.set_closure(number, None, State::Gone);
        children.into_iter().for_each(|child| self.refresh(child));
    }

    /// Puts a member into a group, which becomes known. Does nothing if it is there.
    pub fn add_member(&mut self, group: &Email, member: &Member) {
        let number = self.number(group);
        if let Member::Group(inner) = member {
            let child = self.number(inner);
            if !self.node(number).children.contains(&child) {
                self.node_mut(number).children.push(child);
                self.node_mut(child).parents.push(number);
                self.refresh(child);
            }
            return;
        }
        self.change(member, |groups| {
            if !groups.contains(&number) {
                groups.push(number);
            }
        });
    }

    /// Takes a member out of a group. Does nothing if it is not there.
    pub fn remove_member(&mut self, group: &Email, member: &Member) {
        let Some(number) = self.numbers.get(group).copied() else { return };
        if let Member::Group(inner) = member {
            let Some(child) = self.numbers.get(inner).copied() else { return };
            self.node_mut(number).children.retain(|it| *it != child);
            self.node_mut(child).parents.retain(|it| *it != number);
            self.refresh(child);
            return;
        }
        self.change(member, |groups| groups.retain(|it| *it != number));
    }

    /// Whether `inner` may be put into `outer`.
    ///
    /// # Errors
    /// [`NestingError`]: a limit would be passed.
    pub fn check_nesting(&self, outer: &Email, inner: &Email) -> Result<(), NestingError> {
        if outer == inner {
            return Err(NestingError::Circle);
        }
        let known = |group: &Email| self.numbers.get(group).copied();
        let (Some(outer), inner) = (known(outer), known(inner)) else { return Ok(()) };
        if let Some(inner) = inner
            && self.closure(outer).any(|it| it == inner)
        {
            return Err(NestingError::Circle);
        }
        let above = self.longest(outer, |node| &node.parents);
        let below = inner.map_or(0, |inner| self.longest(inner, |node| &node.children));
        if above + 1 + below > NESTING_LIMIT {
            return Err(NestingError::TooDeep);
        }
        let inside = inner.map_or(1, |inner| self.closure(inner).count());
        if self.closure(outer).count() + inside > MEMBERSHIPS_LIMIT {
            return Err(NestingError::TooMany);
        }
        Ok(())
    }

    /// How a member comes to be in a group: the groups from the one that names it to this one. Empty if it is not in it.
    pub fn path(&self, members: &[Member], group: &Email) -> Vec<Email> {
        let Some(target) = self.numbers.get(group).copied() else { return Vec::new() };
        let direct = members.iter().flat_map(|member| self.direct(MemberProbe::of(member)));
        let mut from: HashMap<GroupNumber, Option<GroupNumber>> = direct.map(|number| (number, None)).collect();
        let mut next: Vec<GroupNumber> = from.keys().copied().collect();
        // In the order of addresses, so that the same question gets the same answer.
        next.sort_by(|a, b| self.node(*a).email.cmp(&self.node(*b).email));
        let mut place = 0;
        while let Some(number) = next.get(place).copied() {
            place += 1;
            for parent in &self.node(number).parents {
                from.entry(*parent).or_insert_with(|| {
                    next.push(*parent);
                    Some(number)
                });
            }
        }
        let mut path = Vec::new();
        let mut here = from.contains_key(&target).then_some(target);
        while let Some(number) = here {
            path.insert(0, self.node(number).email.clone());
            here = from.get(&number).copied().flatten();
        }
        path
    }

    /// Every group that one of these members is in, directly and through others.
    pub fn of_members(&self, members: &[Member]) -> BTreeSet<Email> {
        let direct = members.iter().flat_map(|member| self.direct(MemberProbe::of(member)));
        direct.flat_map(|number| self.closure(number)).map(|number| self.node(number).email.clone()).collect()
    }

    /// The groups that name a member themselves.
    fn direct<'a, 'p>(&'a self, probe: MemberProbe<'p>) -> impl Iterator<Item = GroupNumber> + use<'a, 'p> {
        let number = probe.group().and_then(|group| self.numbers.get(group));
        let as_group = number.map_or(&[][..], |number| &self.node(*number).parents);
        let listed = self.shards[shard_of(probe.hash)].find(spread(probe.hash), |it| it.is(&probe));
        let listed = listed.map_or(&[][..], |membership| membership.groups.as_slice());
        as_group.iter().chain(listed).copied().filter(|number| self.head(*number).state != State::Gone)
    }

    /// Every group that a member is in, once for each way; of each the number and its probe.
    pub(crate) fn of<'a, 'p>(
        &'a self,
        probe: MemberProbe<'p>,
    ) -> impl Iterator<Item = (GroupNumber, MemberProbe<'a>)> + use<'a, 'p> {
        self.direct(probe).flat_map(|number| self.closure(number)).map(|number| {
            let name = Name::Group(&self.node(number).email);
            (number, MemberProbe { hash: self.head(number).hash, name })
        })
    }

    /// A group and every group that it is in.
    fn closure(&self, number: GroupNumber) -> impl Iterator<Item = GroupNumber> + use<'_> {
        let (alone, all) = match self.head(number).state {
            State::Alone => (Some(number), None),
            State::Nested => (None, self.node(number).closure.as_deref()),
            State::Gone => (None, None),
        };
        alone.into_iter().chain(all.into_iter().flatten().copied())
    }

    fn set_closure(&mut self, number: GroupNumber, closure: Option<Arc<[GroupNumber]>>, state: State) {
        self.node_mut(number).closure = closure;
        if self.head(number).state != state {
            Arc::make_mut(&mut self.heads)[number as usize].state = state;
        }
    }

    fn head(&self, number: GroupNumber) -> Head {
        self.heads[number as usize]
    }

    fn node(&self, number: GroupNumber) -> &Node {
        &self.nodes[number as usize]
    }

    fn node_mut(&mut self, number: GroupNumber) -> &mut Node {
        &mut Arc::make_mut(&mut self.nodes)[number as usize]
    }

    fn number(&mut self, group: &Email) -> GroupNumber {
        if let Some(number) = self.numbers.get(group) {
            return *number;
        }
        // Four thousand million groups of one line of snapshots do not fit into memory.
        let number = GroupNumber::try_from(self.nodes.len()).unwrap_or(GroupNumber::MAX);
        let node = Node { email: group.clone(), parents: Vec::new(), children: Vec::new(), closure: None };
        Arc::make_mut(&mut self.nodes).push(node);
        let head = Head { hash: hash(MemberKind::Group, group.as_str()), state: State::Alone };
        Arc::make_mut(&mut self.heads).push(head);
        Arc::make_mut(&mut self.numbers).insert(group.clone(), number);
        number
    }

    /// Changes the list of a member's groups, and drops what is gone from it.
    fn change(&mut self, member: &Member, change: impl FnOnce(&mut Vec<GroupNumber>)) {
        let probe = MemberProbe::of(member);
        let (hash, place) = (spread(probe.hash), shard_of(probe.hash));
        let same = |it: &Membership| it.is(&probe);
        let listed = self.shards[place].find(hash, same);
        let old = listed.map_or(&[][..], |membership| membership.groups.as_slice());
        let there = |number: &GroupNumber| self.head(*number).state != State::Gone;
        let mut groups: Vec<GroupNumber> = old.iter().copied().filter(there).collect();
        change(&mut groups);
        if *groups == *old {
            return;
        }
        let shard = Arc::make_mut(&mut Arc::make_mut(&mut self.shards)[place]);
        match shard.find_entry(hash, same) {
            Ok(entry) if groups.is_empty() => drop(entry.remove()),
            Ok(mut entry) => entry.get_mut().groups = FewOrMany::new(&groups),
            Err(_) if groups.is_empty() => {}
            Err(_) => {
                let (kind, text) = member.key();
                let new = Membership { text: text.into(), groups: FewOrMany::new(&groups), hash: probe.hash, kind };
                shard.insert_unique(hash, new, |it| spread(it.hash));
            }
        }
    }

    /// Computes anew which groups this one, and those in it, are in.
    fn refresh(&mut self, changed: GroupNumber) {
        for number in self.reached(changed, |node| &node.children) {
            let closure = self.reached(number, |node| &node.parents);
            match closure.len() {
                0 | 1 => self.set_closure(number, None, State::Alone),
                _ => self.set_closure(number, Some(closure.into()), State::Nested),
            }
        }
    }

    /// A group and all that are reached from it, each once.
    fn reached(&self, start: GroupNumber, edges: impl Fn(&Node) -> &Vec<GroupNumber>) -> Vec<GroupNumber> {
        let mut reached = vec![start];
        let mut seen = HashSet::from([start]);
        let mut place = 0;
        while let Some(number) = reached.get(place).copied() {
            place += 1;
            reached.extend(edges(self.node(number)).iter().filter(|next| seen.insert(**next)));
        }
        reached
    }

    /// How many edges the longest chain from here has; what is longer than the limit counts as one more than it.
    fn longest(&self, start: GroupNumber, edges: impl Fn(&Node) -> &Vec<GroupNumber>) -> usize {
        let mut level = HashSet::from([start]);
        for length in 0..=NESTING_LIMIT {
            level = level.iter().flat_map(|number| edges(self.node(*number)).iter().copied()).collect();
            if level.is_empty() {
                return length;
            }
        }
        NESTING_LIMIT + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn email(text: &str) -> Email {
        format!("{text}@x.com").parse().unwrap()
    }

    fn member(text: &str) -> Member {
        match text.split_once(':') {
            Some((kind, name)) => format!("{kind}:{name}@x.com").parse().unwrap(),
            None => Member::User(email(text)),
        }
    }

    /// The groups that a member is in, by name.
    fn groups_of(groups: &Groups, name: &str) -> String {
        let member = member(name);
        let mut names: Vec<String> = groups
            .of(MemberProbe::of(&member))
            .map(|(number, _)| groups.node(number).email.as_str().trim_end_matches("@x.com").to_owned())
            .collect();
        names.sort();
        names.dedup();
        names.join(" ")
    }

    #[test]
    fn membership_reaches_up_through_groups_and_ends_with_what_it_came_through() {
        let mut groups = Groups::default();
        let steps: [(&str, &str, &str, &str); 11] = [
            // (what is done, group, member, the groups of ann then)
            ("add", "eng", "ann", "eng"),
            ("add", "eng", "ann", "eng"),
            ("add", "staff", "group:eng", "eng staff"),
            ("add", "all", "group:staff", "all eng staff"),
            ("add", "eng", "group:all", "all eng staff"),
            ("add", "ops", "ann", "all eng ops staff"),
            ("take", "eng", "group:all", "all eng ops staff"),
            ("take", "staff", "group:eng", "eng ops"),
            ("remove", "ops", "", "eng"),
            ("add", "ops", "bob", "eng"),
            ("take", "eng", "ann", ""),
        ];
        for (what, group, who, expected) in steps {
            let before = groups.clone();
            let old = groups_of(&before, "ann");
            match what {
                "add" => groups.add_member(&email(group), &member(who)),
                "take" => groups.remove_member(&email(group), &member(who)),
                _ => groups.remove(&email(group)),
            }
            assert_eq!(groups_of(&groups, "ann"), expected, "{what} {group} {who}");
            assert_eq!(groups_of(&before, "ann"), old, "the snapshot before changed: {what} {group} {who}");
        }
    }

    #[test]
    fn somebody_may_be_in_few_groups_and_in_many() {
        let mut groups = Groups::default();
        let name = |number: usize| format!("g{number:02}");
        let expected = |count: usize| (0..count).map(name).collect::<Vec<_>>().join(" ");
        for count in 1..=20 {
            groups.add_member(&email(&name(count - 1)), &member("ann"));
            assert_eq!(groups_of(&groups, "ann"), expected(count));
        }
        for count in (0..20).rev() {
            groups.remove_member(&email(&name(count)), &member("ann"));
            assert_eq!(groups_of(&groups, "ann"), expected(count));
        }
    }

    #[test]
    fn what_a_decision_reads_of_a_caller_and_of_a_group_stays_small() {
        assert_eq!(size_of::<Membership>(), 64);
        assert_eq!(size_of::<Head>(), 8);
    }

    #[test]
    fn the_way_into_a_group_is_told() {
        let mut groups = Groups::default();
        for (group, who) in [("eng", "ann"), ("staff", "group:eng"), ("all", "group:staff"), ("other", "bob")] {
            groups.add_member(&email(group), &member(who));
        }
        let path = |who: &str, group: &str| {
            let path = groups.path(&[member(who)], &email(group));
            path.iter().map(|it| it.as_str().trim_end_matches("@x.com")).collect::<Vec<_>>().join(" > ")
        };
        assert_eq!(path("ann", "all"), "eng > staff > all");
        assert_eq!(path("group:eng", "all"), "staff > all");
        assert_eq!(path("bob", "all"), "");
        assert_eq!(path("ann", "unknown"), "");
    }

    #[test]
    fn a_circle_and_a_chain_that_is_too_long_are_refused() {
        let mut groups = Groups::default();
        let name = |number: usize| email(&format!("g{number}"));
        for number in 0..NESTING_LIMIT {
            assert_eq!(groups.check_nesting(&name(number + 1), &name(number)), Ok(()), "{number}");
            groups.add_member(&name(number + 1), &Member::Group(name(number)));
        }
        let last = NESTING_LIMIT;
        #[rustfmt::skip]
        let cases = [
            (last + 1, last, Err(NestingError::TooDeep)),
            (0, last + 1,    Err(NestingError::TooDeep)),
            (0, last,        Err(NestingError::Circle)),
            (3, 3,           Err(NestingError::Circle)),
            (1, last + 1,    Ok(())),
        ];
        for (outer, inner, expected) in cases {
            groups.add(&name(outer));
            assert_eq!(groups.check_nesting(&name(outer), &name(inner)), expected, "g{inner} into g{outer}");
        }
    }
}
