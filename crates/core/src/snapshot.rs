//! The immutable view of everything that the data plane needs. Writers build a new one and swap it in; a request reads
//! one and only one.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::account::{ServiceAccount, UniqueId, User};
use crate::keys::KeyRing;
use crate::member::Email;
use crate::policy::{Grants, Policy};
use crate::resource::{Application, Host, Project, Resource};

/// An account that tokens may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownAccount {
    /// Its address.
    pub email: Email,
    /// A person or a program.
    pub kind: AccountKind,
    /// It may not use tokens.
    pub disabled: bool,
}

/// A person or a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountKind {
    /// A person.
    User,
    /// A program.
    ServiceAccount,
}

/// An application as the data plane sees it.
#[derive(Debug)]
pub struct ProtectedResource {
    /// What is registered.
    pub application: Application,
    /// Its canonical resource name.
    pub name: String,
    /// `aud` of the signed header.
    pub audience: String,
    /// Who may reach it.
    pub grants: Grants,
}

/// Everything that decides requests, at one moment.
pub struct Snapshot {
    /// Grows with every swap: part of every cache key.
    pub version: u64,
    /// The one project.
    pub project: Project,
    /// Our keys.
    pub keys: Arc<KeyRing>,
    resources: HashMap<Host, Arc<ProtectedResource>>,
    accounts: HashMap<UniqueId, KnownAccount>,
}

/// What a snapshot is built from.
pub struct SnapshotSource {
    /// The one project.
    pub project: Project,
    /// Our keys.
    pub keys: Arc<KeyRing>,
    /// Registered applications, each with the hosts at which it is served.
    pub applications: Vec<(Application, Vec<Host>)>,
    /// Policies by canonical resource name.
    pub policies: HashMap<String, Policy>,
    /// Programs.
    pub service_accounts: Vec<ServiceAccount>,
    /// People.
    pub users: Vec<User>,
}

impl Snapshot {
    /// Builds the view.
    pub fn new(version: u64, world: SnapshotSource) -> Self {
        let SnapshotSource { project, keys, applications, policies, service_accounts, users } = world;
        let policy = |resource: &Resource| policies.get(&resource.name(&project));
        let mut resources = HashMap::new();
        for (application, hosts) in applications {
            let resource = application.resource();
            let protected = Arc::new(ProtectedResource {
                name: resource.name(&project),
                audience: application.audience(&project),
                grants: Grants::merge(&resource, policy),
                application,
            });
            resources.extend(hosts.into_iter().map(|host| (host, protected.clone())));
        }
        let programs = service_accounts.into_iter().map(|account| {
            let kind = AccountKind::ServiceAccount;
            (account.unique_id, KnownAccount { email: account.email, kind, disabled: account.disabled })
        });
        let people = users.into_iter().map(|user| {
            (user.unique_id, KnownAccount { email: user.email, kind: AccountKind::User, disabled: user.disabled })
        });
        let accounts = programs.chain(people).collect();
        Snapshot { version, project, keys, resources, accounts }
    }

    /// The application served at this host, port included.
    pub fn resource_at(&self, host: &Host) -> Option<&Arc<ProtectedResource>> {
        self.resources.get(host)
    }

    /// The account of this number.
    pub fn account(&self, id: &UniqueId) -> Option<&KnownAccount> {
        self.accounts.get(id)
    }
}

/// The place where the current snapshot is. Reading takes no lock.
pub struct SnapshotCell(ArcSwap<Snapshot>);

impl SnapshotCell {
    /// A cell that holds `snapshot`.
    pub fn new(snapshot: Snapshot) -> Self {
        SnapshotCell(ArcSwap::from_pointee(snapshot))
    }

    /// The current snapshot. Keep it for the whole request, so that one request sees one world.
    pub fn current(&self) -> Arc<Snapshot> {
        self.0.load_full()
    }

    /// Puts a newer snapshot in place: requests that begin from now on see it. An older one is passed over, so that
    /// writers that finish out of order cannot bring back what was replaced.
    pub fn publish(&self, snapshot: Snapshot) {
        let snapshot = Arc::new(snapshot);
        self.0.rcu(|current| if current.version < snapshot.version { snapshot.clone() } else { current.clone() });
    }
}
