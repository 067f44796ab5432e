//! The immutable view of everything that the data plane needs. Writers build a new one and swap it in; a request reads
//! one and only one.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use doorward_wire::jose::VerifyingKey;

use crate::account::{ServiceAccount, UniqueId, User};
use crate::federation::{AttributeMapping, FederatedIdentity, FederationId, Pool, Provider};
use crate::issuer::TrustedIssuers;
use crate::keys::KeyRing;
use crate::member::{Email, Member};
use crate::policy::{Granted, Grants, Permission, Policy, Principal};
use crate::resource::{Application, ClientId, Host, Origin, Project, Resource};
use crate::settings::{Settings, programmatic_clients};

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
    /// Clients whose own ID tokens are accepted, beside those for the application's client.
    pub programmatic_clients: Vec<ClientId>,
}

/// A key by which a service account signs for itself.
#[derive(Debug)]
pub struct KnownKey {
    /// Whose it is.
    pub account: UniqueId,
    /// The key.
    pub key: VerifyingKey,
}

/// A provider, ready to be used.
#[derive(Debug, PartialEq, Eq)]
pub struct KnownProvider {
    /// What is stored.
    pub provider: Provider,
    /// Its mapping, compiled.
    pub mapping: Arc<AttributeMapping>,
}

/// Everything that decides requests, at one moment.
pub struct Snapshot {
    /// Grows with every swap: part of every cache key.
    pub version: u64,
    /// The one project.
    pub project: Project,
    /// Our keys.
    pub keys: Arc<KeyRing>,
    resources: HashMap<Host, (Origin, Arc<ProtectedResource>)>,
    accounts: HashMap<UniqueId, KnownAccount>,
    addresses: HashMap<Email, UniqueId>,
    pools: HashMap<FederationId, Pool>,
    providers: HashMap<(FederationId, FederationId), Arc<KnownProvider>>,
    /// Issuers whose ID tokens are callers.
    pub trusted_issuers: Arc<TrustedIssuers>,
    account_keys: HashMap<String, Arc<KnownKey>>,
    keys_of_accounts: HashMap<UniqueId, Vec<Arc<KnownKey>>>,
    policies: HashMap<String, Policy>,
}

/// What a snapshot is built from.
pub struct SnapshotSource {
    /// The one project.
    pub project: Project,
    /// Our keys.
    pub keys: Arc<KeyRing>,
    /// Registered applications, each with the origins at which it is served.
    pub applications: Vec<(Application, Vec<Origin>)>,
    /// Policies by canonical resource name.
    pub policies: HashMap<String, Policy>,
    /// Settings by canonical resource name.
    pub settings: HashMap<String, Settings>,
    /// Programs.
    pub service_accounts: Vec<ServiceAccount>,
    /// Their keys by key id, read once and kept from one snapshot to the next: reading ten thousand costs some tenths of a
    /// second.
    pub account_keys: HashMap<String, Arc<KnownKey>>,
    /// People.
    pub users: Vec<User>,
    /// Pools of identities from elsewhere.
    pub pools: Vec<Pool>,
    /// Who vouches for them.
    pub providers: Vec<KnownProvider>,
    /// Issuers whose ID tokens are callers.
    pub trusted_issuers: Arc<TrustedIssuers>,
}

impl Snapshot {
    /// Builds the view.
    pub fn new(version: u64, world: SnapshotSource) -> Self {
        let SnapshotSource { project, keys, applications, policies, settings, service_accounts, account_keys, .. } =
            world;
        let SnapshotSource { users, pools, providers, trusted_issuers, .. } = world;
        let policy = |resource: &Resource| policies.get(&resource.name(&project));
        let mut resources = HashMap::new();
        for (application, origins) in applications {
            let resource = application.resource();
            let protected = Arc::new(ProtectedResource {
                name: resource.name(&project),
                audience: application.audience(&project),
                grants: Grants::merge(&resource, Permission::AccessViaIap, policy),
                programmatic_clients: programmatic_clients(&resource, |node| settings.get(&node.name(&project))),
                application,
            });
            for origin in origins {
                // A client may name the scheme's own port, or leave it out.
                resources.extend(origin.hosts().map(|host| (host, (origin.clone(), protected.clone()))));
            }
        }
        let programs = service_accounts.into_iter().map(|account| {
            let kind = AccountKind::ServiceAccount;
            (account.unique_id, KnownAccount { email: account.email, kind, disabled: account.disabled })
        });
        let people = users.into_iter().map(|user| {
            (user.unique_id, KnownAccount { email: user.email, kind: AccountKind::User, disabled: user.disabled })
        });
        let accounts: HashMap<UniqueId, KnownAccount> = programs.chain(people).collect();
        let addresses = accounts.iter().map(|(id, account)| (account.email.clone(), id.clone())).collect();
        let pools = pools.into_iter().map(|pool| (pool.id.clone(), pool)).collect();
        let named = |known: KnownProvider| ((known.provider.pool.clone(), known.provider.id.clone()), Arc::new(known));
        let providers = providers.into_iter().map(named).collect();
        let mut keys_of_accounts: HashMap<UniqueId, Vec<Arc<KnownKey>>> = HashMap::new();
        for known in account_keys.values() {
            keys_of_accounts.entry(known.account.clone()).or_default().push(known.clone());
        }
        Snapshot {
            version,
            project,
            keys,
            resources,
            accounts,
            addresses,
            pools,
            providers,
            trusted_issuers,
            account_keys,
            keys_of_accounts,
            policies,
        }
    }

    /// The application served at this host, port included, and the configured origin to which the host belongs.
    pub fn served_at(&self, host: &Host) -> Option<(&Origin, &Arc<ProtectedResource>)> {
        self.resources.get(host).map(|(origin, resource)| (origin, resource))
    }

    /// The service account of this address.
    pub fn service_account(&self, email: &Email) -> Option<(&UniqueId, &KnownAccount)> {
        let id = self.addresses.get(email)?;
        Some((id, self.accounts.get(id).filter(|account| account.kind == AccountKind::ServiceAccount)?))
    }

    /// Whether an address is that of an account here, or could be that of a service account of this project: nobody else may
    /// vouch for it.
    pub fn is_ours(&self, email: &Email) -> bool {
        let own = email.domain().strip_suffix(".iam.gserviceaccount.com").is_some_and(|id| id == self.project.id);
        own || self.addresses.contains_key(email)
    }

    /// The provider with this resource name, if identities of it may get tokens: neither it nor its pool is disabled.
    pub fn provider(&self, name: &str) -> Option<&Arc<KnownProvider>> {
        let rest = name.strip_prefix("projects/")?;
        let (project, rest) = rest.split_once("/locations/global/workloadIdentityPools/")?;
        let (pool, provider) = rest.split_once("/providers/")?;
        let known = project == self.project.number || project == self.project.id;
        if !known {
            return None;
        }
        self.enabled_provider(&pool.parse().ok()?, &provider.parse().ok()?)
    }

    fn enabled_provider(&self, pool: &FederationId, provider: &FederationId) -> Option<&Arc<KnownProvider>> {
        self.pools.get(pool).filter(|pool| !pool.disabled)?;
        self.providers.get(&(pool.clone(), provider.clone())).filter(|known| !known.provider.disabled)
    }

    /// The members that stand for an identity of a pool, if its pool is there, its provider is the one that vouched and was not
    /// changed since, and neither is disabled.
    pub fn federated_members(&self, identity: &FederatedIdentity) -> Option<Vec<Member>> {
        let known = self.enabled_provider(&identity.pool, &identity.provider)?;
        (known.provider.generation == identity.generation).then(|| identity.members(&self.project))
    }

    /// The compiled mapping of the provider of this name, if it was compiled from the same text.
    pub fn compiled(&self, provider: &Provider) -> Option<&Arc<AttributeMapping>> {
        let known = self.providers.get(&(provider.pool.clone(), provider.id.clone()))?;
        (known.provider.mapping == provider.mapping).then_some(&known.mapping)
    }

    /// The account of this number, with the snapshot's own copy of the number.
    pub fn account_entry(&self, id: &UniqueId) -> Option<(&UniqueId, &KnownAccount)> {
        self.accounts.get_key_value(id)
    }

    /// The service account's key of this id, whosever it is.
    pub fn account_key(&self, key_id: &str) -> Option<&Arc<KnownKey>> {
        self.account_keys.get(key_id)
    }

    /// The keys of one service account, in no order.
    pub fn keys_of(&self, account: &UniqueId) -> &[Arc<KnownKey>] {
        self.keys_of_accounts.get(account).map_or(&[], Vec::as_slice)
    }

    /// Every service account's key, by id.
    pub fn account_keys(&self) -> &HashMap<String, Arc<KnownKey>> {
        &self.account_keys
    }

    /// The binding by which `principal` holds `permission` on `resource`, if there is one.
    pub fn admits(&self, resource: &Resource, permission: Permission, principal: Principal<'_>) -> Option<Granted> {
        let grants = Grants::merge(resource, permission, |node| self.policies.get(&node.name(&self.project)));
        grants.admits(principal).cloned()
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
