//! Who may send a file at all: before anything of it is read, which takes long and tells what is there, its caller holds what seeing each
//! thing of it demands.

use std::collections::HashMap;

use doorward_core::account::AccountId;
use doorward_core::policy::Permission;
use doorward_core::resource::Resource;
use doorward_core::snapshot::Snapshot;
use doorward_wire::world_file::{WorldFile, WrittenResource};

use super::{needed, stated_lists};
use crate::admin::{Admin, AdminError, Forbidden, Gate};
use crate::{policies, settings};

/// The longest file of somebody who holds something on single resources alone, in bytes.
const FEW_RESOURCES: usize = 1024 * 1024;
/// The longest file, in bytes: room for some ten thousand applications.
pub(crate) const WHOLE_WORLD: usize = 16 * 1024 * 1024;

/// How long a file somebody may send, in bytes.
pub(super) fn longest_file(gate: &Gate, admin: &Admin) -> usize {
    use doorward_wire::doorward_api::WorldList as L;
    let lists = [L::Roles, L::AccessLevels, L::ServiceAccounts, L::Groups, L::Applications, L::DenyPolicies];
    let mut seen: Vec<Permission> = lists.into_iter().filter_map(needed).collect();
    seen.extend([Permission::GetWebServiceIamPolicy, Permission::GetWebServiceSettings]);
    if gate.held(admin, &seen, &Resource::Project).is_empty() { FEW_RESOURCES } else { WHOLE_WORLD }
}

/// The first thing that somebody lacks for the lists of a file, or for a policy or settings in it.
pub(super) fn lacking(gate: &Gate, admin: &Admin, file: &WorldFile) -> Result<(), Forbidden> {
    for permission in stated_lists(file).into_iter().filter_map(needed) {
        gate.demand(admin, permission, &Resource::Project)?;
    }
    let snapshot = gate.snapshot();
    let mut seen = Seen { gate, admin, snapshot: &snapshot, applications: HashMap::new() };
    for protected in snapshot.applications() {
        let entry = seen.applications.entry(protected.application.name.as_str());
        entry.and_modify(|found| *found = None).or_insert_with(|| Some(&protected.service));
    }
    if let Some(list) = &file.policies {
        let permission = |resource: &Resource| policies::permissions(resource).0;
        seen.each(list.iter().map(|it| &it.resource), &permission)?;
    }
    if let Some(list) = &file.settings {
        // What can have none is said when the file is read.
        let permission = |resource: &Resource| {
            settings::permissions(resource).map_or(Permission::GetProjectSettings, |(get, _)| get)
        };
        seen.each(list.iter().map(|it| &it.resource), &permission)?;
    }
    Ok(())
}

struct Seen<'a> {
    gate: &'a Gate,
    admin: &'a Admin,
    snapshot: &'a Snapshot,
    /// By name; `None` if several have it.
    applications: HashMap<&'a str, Option<&'a Resource>>,
}

impl Seen<'_> {
    fn each<'a>(
        &self,
        mut list: impl ExactSizeIterator<Item = &'a WrittenResource>,
        permission: &dyn Fn(&Resource) -> Permission,
    ) -> Result<(), Forbidden> {
        if list.len() == 0 {
            // With nothing to ask about, who sees the project's may see that nothing is changed.
            return self.gate.demand(self.admin, permission(&Resource::Project), &Resource::Project).map(drop);
        }
        list.try_for_each(|written| self.one(written, permission))
    }

    /// A name that leads nowhere is answered as one of something that is there and may not be seen.
    fn one(&self, written: &WrittenResource, permission: &dyn Fn(&Resource) -> Permission) -> Result<(), Forbidden> {
        let (gate, admin) = (self.gate, self.admin);
        let as_written = |it: Forbidden| Forbidden { resource: written.to_string(), ..it };
        let above = || gate.demand(admin, permission(&Resource::Project), &Resource::Project).map(drop);
        let reached = |name: &str| match gate.reach(admin, name, permission) {
            // That it is not there is said when the file is read: they would see it if it were.
            Ok(_) | Err(AdminError::NotFound(_)) => Ok(()),
            Err(AdminError::Forbidden(forbidden)) => Err(as_written(forbidden)),
            Err(AdminError::Malformed(_) | AdminError::AuditClosed(_) | AdminError::Entropy(_)) => {
                above().map_err(as_written)
            }
        };
        match written {
            WrittenResource::Project => above(),
            WrittenResource::Web => gate.demand(admin, permission(&Resource::Web), &Resource::Web).map(drop),
            WrittenResource::Application(name) => {
                let found = self.applications.get(name.as_str()).copied().flatten();
                // In the place of one that is not there: a service of the project that has no policy.
                let nobody = Resource::from_canonical(&self.unused(), &self.snapshot.project);
                let resource = found.cloned().or(nobody.ok()).unwrap_or(Resource::Project);
                gate.demand(admin, permission(&resource), &resource).map(drop).map_err(as_written)
            }
            WrittenResource::ServiceAccount(id) => {
                let email = if id.contains('@') { Some(id.clone()) } else { self.email(id) };
                reached(&format!("projects/-/serviceAccounts/{}", email.as_deref().unwrap_or("none")))
            }
            WrittenResource::Named(name) => reached(name),
        }
    }

    fn unused(&self) -> String {
        format!("projects/{}/iap_web/compute/services/0", self.snapshot.project.number)
    }

    fn email(&self, id: &str) -> Option<String> {
        let email = id.parse::<AccountId>().ok()?.email(&self.snapshot.project.id).ok()?;
        Some(email.to_string())
    }
}
