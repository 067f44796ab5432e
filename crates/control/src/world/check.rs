//! What things of a file name, and neither the file nor the store has. Found before anything is changed: a file with such a mistake
//! would be put in force by half.

use std::collections::{HashMap, HashSet};

use doorward_core::access_level::Definition;
use doorward_core::member::{Email, Member};
use doorward_core::policy::{Binding, Role, RoleName};
use doorward_core::resource::{Application, Resource};
use doorward_core::snapshot::Snapshot;
use doorward_core::store::{Named, Store, StoreError};

use super::read::{Mistakes, Stated};
use super::{Mistake, Names};
use crate::applications::{ApplicationError, Applications};
use crate::policies::named_by;

/// Writes down, beside what was `found`, every role, group, account, pool and access level that something of `wanted` names and that will not be there. What
/// stands in `current` may stay, as it may where a single policy is written.
pub(super) async fn check_names(
    wanted: &Stated,
    current: &Stated,
    names: &Names,
    snapshot: &Snapshot,
    (store, found): (&dyn Store, Mistakes),
) -> Result<Mistakes, StoreError> {
    let mut check = Check { wanted, names, snapshot, store, groups: HashSet::new(), found };
    check.groups.extend(wanted.groups.iter().flatten().map(|(group, _)| group.email.clone()));
    for (group, members) in wanted.groups.iter().flatten() {
        let old = current.groups.iter().flatten().find(|(old, _)| old.email == group.email);
        let old: HashSet<&Member> = old.iter().flat_map(|(_, members)| members).collect();
        for member in members.iter().filter(|member| !old.contains(member)) {
            check.member(&format!("group {}", group.email), member).await?;
        }
    }
    for (resource, bindings) in wanted.policies.iter().flatten() {
        let old = current.policies.iter().flatten().find(|(old, _)| old == resource);
        let old = old.map(|(_, bindings)| bindings.as_slice()).unwrap_or_default();
        check.policy(resource, bindings, old).await?;
    }
    check.levels();
    Ok(check.found)
}

/// Writes down every application of the file that would be served where another one of those is that will be there. What is not in the
/// file makes room if it is pruned.
pub(super) fn check_places(wanted: &Stated, names: &Names, prune: bool, found: &mut Mistakes) {
    let Some(of_file) = &wanted.applications else { return };
    let is_of_file = |it: &Application| of_file.iter().any(|new| new.name == it.name);
    let beside = names.applications.iter().filter(|it| !prune && !is_of_file(it));
    let mut taken = HashMap::new();
    for application in beside.chain(of_file) {
        let clash = application.routes.iter().find(|route| {
            // A request says the host and not the scheme.
            let places = route.origin.hosts().map(|host| (host, &route.prefix));
            let mut owners = places.map(|place| *taken.entry(place).or_insert(&application.service_id));
            owners.any(|owner| *owner != application.service_id)
        });
        if let Some(route) = clash {
            let mistake = ApplicationError::PlaceTaken(Box::new(route.clone()));
            found.add(&format!("app {}", application.name), mistake.into());
        }
    }
}

/// Writes down every application of the file that would be at a host that is reserved.
pub(super) fn check_hosts(wanted: &Stated, applications: &Applications, found: &mut Mistakes) {
    for application in wanted.applications.iter().flatten() {
        if let Err(reserved) = applications.check_hosts(&application.routes) {
            found.add(&format!("app {}", application.name), ApplicationError::from(reserved).into());
        }
    }
}

struct Check<'a> {
    wanted: &'a Stated,
    names: &'a Names,
    snapshot: &'a Snapshot,
    store: &'a dyn Store,
    /// Those that are known to be there, or will be.
    groups: HashSet<Email>,
    found: Mistakes,
}

impl Check<'_> {
    async fn policy(&mut self, resource: &Resource, bindings: &[Binding], old: &[Binding]) -> Result<(), StoreError> {
        let place = format!("the policy of {}", self.names.written(resource));
        let mut roles: HashSet<&RoleName> = old.iter().map(|binding| &binding.role).collect();
        for binding in bindings {
            if roles.insert(&binding.role) {
                match self.is_grantable(&binding.role, resource) {
                    None => self.found.add(&place, Mistake::NoRole(binding.role.to_string())),
                    Some(false) => self.found.add(&place, Mistake::RoleElsewhere(binding.role.to_string())),
                    Some(true) => {}
                }
            }
            let same = |it: &&Binding| it.role == binding.role && it.condition == binding.condition;
            let held: HashSet<&Member> = old.iter().filter(same).flat_map(|binding| &binding.members).collect();
            for member in binding.members.iter().filter(|member| !held.contains(member)) {
                self.member(&place, member).await?;
            }
        }
        Ok(())
    }

    /// Whether a policy of the resource may name the role; `None` if there will be no such role.
    fn is_grantable(&self, name: &RoleName, resource: &Resource) -> Option<bool> {
        if let Some(role) = self.wanted.roles.iter().flatten().find(|role| role.name == *name) {
            return Some(Role::Custom(role).is_grantable_on(resource));
        }
        let role = self.snapshot.roles.find(name)?;
        let gone = matches!(&role, Role::Custom(role) if role.deleted);
        (!gone && name.is_of(&self.snapshot.project)).then(|| role.is_grantable_on(resource))
    }

    async fn member(&mut self, place: &str, member: &Member) -> Result<(), StoreError> {
        let is_there = match named_by(member, self.snapshot) {
            Err(_) => false,
            Ok(Some(Named::Group(email))) => {
                let known = self.groups.contains(&email) || self.store.group(&email).await?.is_some();
                if known {
                    self.groups.insert(email);
                }
                known
            }
            Ok(Some(Named::ServiceAccount(email))) => self.names.accounts.iter().any(|it| it.email == email),
            // Pools are in no file: the store looks for them when the policy is written.
            Ok(Some(Named::Pool(_) | Named::ServiceAccountId(_) | Named::Application(_)) | None) => true,
        };
        if !is_there {
            self.found.add(place, Mistake::NoSuchMember(member.clone()));
        }
        Ok(())
    }

    fn levels(&mut self) {
        let wanted = self.wanted.access_levels.as_deref().unwrap_or_default();
        for level in wanted {
            let Definition::Simple(simple) = level.definition() else { continue };
            for required in &simple.required_access_levels {
                let is_there = wanted.iter().any(|it| it.name() == required)
                    || self.snapshot.access_levels.get(required.as_str()).is_some();
                if !is_there {
                    let place = format!("access level {}", level.name().id());
                    self.found.add(&place, Mistake::NoLevel(required.to_string()));
                }
            }
        }
    }
}
