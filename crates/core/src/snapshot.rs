//! The immutable view of everything that the data plane needs. Writers build a new one and swap it in; a request reads
//! one and only one.
//!
//! A new one is made from the one before and what changed since: all else is shared between them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use doorward_wire::jose::VerifyingKey;

use crate::access_level::AccessLevels;
use crate::account::{ServiceAccount, UniqueId, User};
use crate::federation::{AttributeMapping, FederatedIdentity, FederationId, Pool, Provider};
use crate::group::Groups;
use crate::issuer::TrustedIssuers;
use crate::keys::KeyRing;
use crate::member::{Email, Member};
use crate::policy::condition::Schema;
use crate::policy::path::{is_plain, lenient_readings};
use crate::policy::request::{RequestContext, ResourceAttributes};
use crate::policy::{
    AllowNode, ConditionTable, CustomRole, DenyNode, DenyPolicy, DenyPolicyName, Explanation, Holder, Lineage,
    Permission, Policy, Question, RoleName, Roles, Verdict, decide, explain, stands, who_can,
};
use crate::resource::{Application, Host, Origin, PathPrefix, Project, Resource, ResourceError};
use crate::settings::{Defaults, EffectiveSettings, Settings};
use crate::sharded::Sharded;

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
    pub application: Arc<Application>,
    /// The canonical name of its service.
    pub name: Arc<str>,
    /// The canonical name of its version: where requests are decided.
    pub version_name: Arc<str>,
    /// `aud` of the signed header.
    pub audience: Arc<str>,
    /// Every policy that reaches it.
    pub lineage: Lineage,
    /// Its service: where policies are usually set.
    pub service: Resource,
    /// The settings in force.
    pub settings: Arc<EffectiveSettings>,
}

impl ProtectedResource {
    /// What conditions read of it.
    pub fn attributes(&self) -> ResourceAttributes<'_> {
        let version = &self.lineage.resource;
        ResourceAttributes { name: &self.version_name, kind: version.type_name(), service: version.service() }
    }
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

/// Why nothing is served at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotServed {
    /// No application is there.
    #[error("no application is served there")]
    NoSuchPlace,
    /// As it was sent, the path lies in one application; as others may read it, in another.
    #[error("two readers would find two applications at this path")]
    AmbiguousPath,
}

/// One place at which an application is served.
#[derive(Debug, Clone)]
struct Place {
    prefix: PathPrefix,
    origin: Origin,
    service_id: String,
}

/// What does not change while the process runs.
pub struct Fixed {
    /// The one project.
    pub project: Project,
    /// The attributes that conditions may read.
    pub schema: Arc<Schema>,
    /// What holds where no setting says otherwise.
    pub defaults: Defaults,
    /// Our keys at the start.
    pub keys: Arc<KeyRing>,
    /// Issuers whose ID tokens are callers.
    pub trusted_issuers: Arc<TrustedIssuers>,
}

/// Something that is otherwise than in the snapshot before. Each says what is there now, so that it can be told twice.
pub enum Update {
    /// Our keys.
    Keys(Arc<KeyRing>),
    /// The policy of a resource. One without bindings is as none.
    Policy(Resource, Policy),
    /// A deny policy, or that it is no more.
    DenyPolicy(DenyPolicyName, Option<DenyPolicy>),
    /// A custom role, or that it is no more.
    Role(RoleName, Option<CustomRole>),
    /// Whether there is a group. One that is no more loses its members and its places in others.
    Group(Email, bool),
    /// Whether a member is in a group, itself.
    GroupMember {
        /// The group.
        group: Email,
        /// The member.
        member: Member,
        /// Whether it is in it.
        present: bool,
    },
    /// All access levels.
    AccessLevels(Arc<AccessLevels>),
    /// The settings of a resource. `None` is as if nothing were set.
    Settings(Resource, Option<Settings>),
    /// The application of this number, or that it is no more.
    Application(String, Option<Application>),
    /// A program, or that it is no more.
    ServiceAccount(UniqueId, Option<ServiceAccount>),
    /// A person, or that they are no more.
    User(UniqueId, Option<User>),
    /// The key of this id of a service account, or that it is not to be used.
    AccountKey(String, Option<Arc<KnownKey>>),
    /// All pools of identities from elsewhere, and who vouches for them.
    Federation(Vec<Pool>, Vec<KnownProvider>),
    /// Whom somebody asks who was refused: the brand's address, if there is a brand.
    SupportEmail(Option<Email>),
}

/// Everything that decides requests, at one moment. Cheap to clone.
#[derive(Clone)]
pub struct Snapshot {
    /// Grows with every swap: part of every cache key.
    pub version: u64,
    /// The one project.
    pub project: Arc<Project>,
    /// Our keys.
    pub keys: Arc<KeyRing>,
    /// Issuers whose ID tokens are callers.
    pub trusted_issuers: Arc<TrustedIssuers>,
    /// The access levels.
    pub access_levels: Arc<AccessLevels>,
    /// The groups of ours.
    pub groups: Groups,
    /// The custom roles.
    pub roles: Roles,
    /// Whom somebody asks who was refused.
    pub support_email: Option<Arc<Email>>,
    defaults: Defaults,
    conditions: ConditionTable,
    allow: Sharded<Resource, Arc<AllowNode>>,
    deny: Arc<[Arc<DenyNode>]>,
    settings: Sharded<Resource, Arc<Settings>>,
    applications: Sharded<String, Arc<ProtectedResource>>,
    hosts: Sharded<Host, Arc<[Place]>>,
    accounts: Sharded<UniqueId, KnownAccount>,
    addresses: Sharded<Email, UniqueId>,
    account_keys: Sharded<String, Arc<KnownKey>>,
    keys_of_accounts: Sharded<UniqueId, Vec<Arc<KnownKey>>>,
    pools: Arc<HashMap<FederationId, Pool>>,
    providers: Arc<HashMap<(FederationId, FederationId), Arc<KnownProvider>>>,
}

/// What must be made anew after some updates.
#[derive(Default)]
struct Stale {
    /// Nodes of which the allow policy changed.
    policies: HashSet<Resource>,
    /// Nodes of which the settings changed.
    settings: HashSet<Resource>,
    /// A deny policy changed: every lineage has it.
    deny: bool,
    /// Applications that came, went or changed, by number.
    applications: HashMap<String, Option<Application>>,
}

/// The part that is the same in the lineages of all applications: found once, and not ten thousand times.
struct Above {
    nodes: Vec<Resource>,
    allow: Arc<[Arc<AllowNode>]>,
    deny: Arc<[Arc<DenyNode>]>,
}

impl Above {
    /// The lineage of an application of which nothing changed but this part.
    fn reaching(&self, old: &Lineage) -> Lineage {
        // Nearest first: what is its own comes before what it shares.
        let own = old.allow.iter().take_while(|node| !self.nodes.contains(&node.resource)).count();
        let allow = match own {
            0 => self.allow.clone(),
            _ => old.allow[..own].iter().chain(&*self.allow).cloned().collect(),
        };
        Lineage { resource: old.resource.clone(), allow, deny: self.deny.clone() }
    }
}

/// Settings in force by the settings that they come from: most applications have the same. They hold a compiled expression.
type InForce = HashMap<Vec<*const Settings>, Arc<EffectiveSettings>>;

impl Snapshot {
    /// A view of nothing, with version 0.
    pub fn empty(fixed: Fixed) -> Self {
        Snapshot {
            version: 0,
            project: Arc::new(fixed.project),
            keys: fixed.keys,
            trusted_issuers: fixed.trusted_issuers,
            access_levels: Arc::default(),
            groups: Groups::default(),
            roles: Roles::default(),
            support_email: None,
            defaults: fixed.defaults,
            conditions: ConditionTable::new(fixed.schema),
            allow: Sharded::default(),
            deny: Arc::default(),
            settings: Sharded::default(),
            applications: Sharded::default(),
            hosts: Sharded::default(),
            accounts: Sharded::default(),
            addresses: Sharded::default(),
            account_keys: Sharded::default(),
            keys_of_accounts: Sharded::default(),
            pools: Arc::default(),
            providers: Arc::default(),
        }
    }

    /// The view after some changes. Costs as much as they are, and not as much as there is; a policy of the project or above it
    /// costs some milliseconds for ten thousand applications.
    #[must_use]
    pub fn with(&self, version: u64, updates: impl IntoIterator<Item = Update>) -> Self {
        let mut next = self.clone();
        next.version = version;
        let mut stale = Stale::default();
        for update in updates {
            next.apply(update, &mut stale);
        }
        next.refresh(stale);
        next
    }

    fn apply(&mut self, update: Update, stale: &mut Stale) {
        match update {
            Update::Keys(keys) => self.keys = keys,
            Update::Policy(resource, policy) => {
                if policy.bindings.is_empty() {
                    self.allow.remove(&resource);
                } else {
                    let name = resource.name(&self.project).into();
                    let node = AllowNode::new(resource.clone(), name, policy, &self.roles, &mut self.conditions);
                    self.allow.insert(resource.clone(), Arc::new(node));
                }
                stale.policies.insert(resource);
            }
            Update::DenyPolicy(name, policy) => {
                self.deny = self.denying(&name, policy);
                stale.deny = true;
            }
            Update::Role(name, role) => {
                self.roles.set(&name, role.map(Arc::new));
                let naming = self.allow.values().filter(|node| node.names(&name)).cloned().collect::<Vec<_>>();
                for node in naming {
                    stale.policies.insert(node.resource.clone());
                    let now = AllowNode::clone(&node).with_roles(&self.roles);
                    self.allow.insert(node.resource.clone(), Arc::new(now));
                }
            }
            Update::Group(group, true) => self.groups.add(&group),
            Update::Group(group, false) => self.groups.remove(&group),
            Update::GroupMember { group, member, present: true } => self.groups.add_member(&group, &member),
            Update::GroupMember { group, member, present: false } => self.groups.remove_member(&group, &member),
            Update::AccessLevels(levels) => self.access_levels = levels,
            Update::Settings(resource, settings) => {
                match settings {
                    Some(settings) => drop(self.settings.insert(resource.clone(), Arc::new(settings))),
                    None => drop(self.settings.remove(&resource)),
                }
                stale.settings.insert(resource);
            }
            Update::Application(service_id, application) => drop(stale.applications.insert(service_id, application)),
            Update::ServiceAccount(id, account) => {
                let kind = AccountKind::ServiceAccount;
                let known = account.map(|it| KnownAccount { email: it.email, kind, disabled: it.disabled });
                self.set_account(id, known);
            }
            Update::User(id, user) => {
                let kind = AccountKind::User;
                let known = user.map(|it| KnownAccount { email: it.email, kind, disabled: it.disabled });
                self.set_account(id, known);
            }
            Update::AccountKey(id, key) => self.set_key(id, key),
            Update::Federation(pools, providers) => {
                self.pools = Arc::new(pools.into_iter().map(|pool| (pool.id.clone(), pool)).collect());
                let named = |it: KnownProvider| ((it.provider.pool.clone(), it.provider.id.clone()), Arc::new(it));
                self.providers = Arc::new(providers.into_iter().map(named).collect());
            }
            Update::SupportEmail(email) => self.support_email = email.map(Arc::new),
        }
    }

    /// The deny policies with this one in its place: the organization's first, each node's in the order of their ids.
    fn denying(&mut self, name: &DenyPolicyName, policy: Option<DenyPolicy>) -> Arc<[Arc<DenyNode>]> {
        let mut nodes: Vec<_> = self.deny.iter().filter(|node| node.policy.name != *name).cloned().collect();
        if let Some(policy) = policy {
            let text = name.name(&self.project).into();
            nodes.push(Arc::new(DenyNode::new(policy, text, &mut self.conditions)));
        }
        let lineage = Resource::Project.lineage(&self.project);
        nodes.sort_by_cached_key(|node| {
            let name = &node.policy.name;
            // What is further up has a greater place.
            let height = lineage.iter().position(|above| *above == name.attachment);
            (std::cmp::Reverse(height), name.id.clone())
        });
        nodes.into()
    }

    fn set_account(&mut self, id: UniqueId, known: Option<KnownAccount>) {
        if let Some(old) = self.accounts.get(&id).cloned()
            && self.addresses.get(&old.email) == Some(&id)
        {
            self.addresses.remove(&old.email);
        }
        match known {
            Some(known) => {
                self.addresses.insert(known.email.clone(), id.clone());
                self.accounts.insert(id, known);
            }
            None => drop(self.accounts.remove(&id)),
        }
    }

    fn set_key(&mut self, id: String, key: Option<Arc<KnownKey>>) {
        if let Some(old) = self.account_keys.remove(&id) {
            let mut left = self.keys_of(&old.account).to_vec();
            left.retain(|other| !Arc::ptr_eq(other, &old));
            match left.is_empty() {
                true => drop(self.keys_of_accounts.remove(&old.account)),
                false => drop(self.keys_of_accounts.insert(old.account.clone(), left)),
            }
        }
        if let Some(key) = key {
            let mut all = self.keys_of(&key.account).to_vec();
            all.push(key.clone());
            self.keys_of_accounts.insert(key.account.clone(), all);
            self.account_keys.insert(id, key);
        }
    }

    /// Puts an application in the place of the one of its number.
    fn register(&mut self, service_id: String, application: Option<Application>, in_force: &mut InForce) {
        let old = self.applications.remove(&service_id);
        let hosts = |it: &Application| it.routes.iter().flat_map(|route| route.origin.hosts()).collect::<HashSet<_>>();
        for host in old.iter().flat_map(|old| hosts(&old.application)) {
            self.change_host(&host, |places| places.retain(|place| place.service_id != service_id));
        }
        let Some(application) = application else { return };
        for route in &application.routes {
            for host in route.origin.hosts() {
                let (prefix, origin) = (route.prefix.clone(), route.origin.clone());
                let place = Place { prefix, origin, service_id: service_id.clone() };
                self.change_host(&host, |places| places.push(place));
            }
        }
        let (service, version) = (application.service(), application.version());
        let protected = ProtectedResource {
            name: service.name(&self.project).into(),
            version_name: version.name(&self.project).into(),
            audience: application.audience(&self.project).into(),
            settings: self.effective_settings(&version, in_force),
            lineage: self.lineage(&version),
            service,
            application: Arc::new(application),
        };
        self.applications.insert(service_id, Arc::new(protected));
    }

    fn change_host(&mut self, host: &Host, change: impl FnOnce(&mut Vec<Place>)) {
        let mut places = self.hosts.get(host).map_or_else(Vec::new, |places| places.to_vec());
        change(&mut places);
        // The longest prefix first. Two applications at one place are refused when they are written; the older one has it here.
        places.sort_by_cached_key(|place| {
            let id = (place.service_id.len(), place.service_id.clone());
            (std::cmp::Reverse(place.prefix.as_str().len()), place.prefix.clone(), id, place.origin.to_string())
        });
        match places.is_empty() {
            true => drop(self.hosts.remove(host)),
            false => drop(self.hosts.insert(host.clone(), places.into())),
        }
    }

    /// Makes anew whatever lies at or below something that changed.
    fn refresh(&mut self, stale: Stale) {
        let mut in_force = InForce::new();
        let everything = Resource::Web.lineage(&self.project);
        let below = |changed: &HashSet<Resource>, it: &ProtectedResource| {
            !changed.is_empty()
                && (changed.contains(&it.service)
                    || changed.contains(&*it.lineage.resource)
                    || changed.contains(&Resource::WebType(it.application.service_type())))
        };
        let reaches_all = |changed: &HashSet<Resource>| changed.iter().any(|node| everything.contains(node));
        let all_policies = stale.deny || reaches_all(&stale.policies);
        let all_settings = reaches_all(&stale.settings);
        let above = all_policies.then(|| self.above(everything.clone())).flatten();
        let touched: Vec<(Arc<ProtectedResource>, bool, bool)> = self
            .applications
            .values()
            .filter(|it| !stale.applications.contains_key(&it.application.service_id))
            .map(|it| {
                let policies = all_policies || below(&stale.policies, it);
                (it, policies, all_settings || below(&stale.settings, it))
            })
            .filter(|(_, policies, settings)| *policies || *settings)
            .map(|(it, policies, settings)| (it.clone(), policies, settings))
            .collect();
        for (old, policies, settings) in touched {
            let version = &old.lineage.resource;
            let lineage = match (&above, policies) {
                (_, false) => old.lineage.clone(),
                (Some(above), true) if !below(&stale.policies, &old) => above.reaching(&old.lineage),
                (Some(_) | None, true) => self.lineage(version),
            };
            let fresh = ProtectedResource {
                application: old.application.clone(),
                name: old.name.clone(),
                version_name: old.version_name.clone(),
                audience: old.audience.clone(),
                lineage,
                settings: match settings {
                    true => self.effective_settings(version, &mut in_force),
                    false => old.settings.clone(),
                },
                service: old.service.clone(),
            };
            self.applications.insert(old.application.service_id.clone(), Arc::new(fresh));
        }
        for (service_id, application) in stale.applications {
            self.register(service_id, application, &mut in_force);
        }
    }

    fn effective_settings(&self, resource: &Resource, in_force: &mut InForce) -> Arc<EffectiveSettings> {
        let nodes = resource.lineage(&self.project).into_iter();
        let set: Vec<(Resource, &Arc<Settings>)> =
            nodes.filter_map(|node| self.settings.get(&node).map(|settings| (node, settings))).collect();
        let key = set.iter().map(|(_, settings)| Arc::as_ptr(settings)).collect();
        let known = in_force.entry(key).or_insert_with(|| {
            let set: Vec<(Resource, &Settings)> = set.into_iter().map(|(node, settings)| (node, &**settings)).collect();
            Arc::new(EffectiveSettings::of(&set, self.defaults))
        });
        known.clone()
    }

    /// The settings that are in force at a resource: of the data plane's, at hand in [`ProtectedResource::settings`].
    pub fn settings_at(&self, resource: &Resource) -> Arc<EffectiveSettings> {
        self.effective_settings(resource, &mut InForce::new())
    }

    /// A resource with every policy that reaches it. Costs some look-ups; an application's is at hand in
    /// [`ProtectedResource::lineage`].
    pub fn lineage(&self, resource: &Resource) -> Lineage {
        let nodes = resource.lineage(&self.project);
        let above = |node: &&Arc<DenyNode>| nodes.contains(&node.policy.name.attachment);
        let deny = match self.deny.iter().all(|node| above(&node)) {
            true => self.deny.clone(),
            false => self.deny.iter().filter(above).cloned().collect(),
        };
        let allow = nodes.iter().filter_map(|node| self.allow.get(node)).cloned().collect();
        Lineage { resource: Arc::new(resource.clone()), allow, deny }
    }

    /// What these nodes, which are above every application, have; `None` if a deny policy is elsewhere.
    fn above(&self, nodes: Vec<Resource>) -> Option<Above> {
        let shared = self.deny.iter().all(|node| nodes.contains(&node.policy.name.attachment));
        let allow = nodes.iter().filter_map(|node| self.allow.get(node)).cloned().collect();
        shared.then(|| Above { nodes, allow, deny: self.deny.clone() })
    }

    /// Answers a question about a resource.
    pub fn decide<'a>(&'a self, lineage: &'a Lineage, question: &Question<'_>) -> Verdict<'a> {
        decide(lineage, &self.groups, question, &mut ())
    }

    /// Answers a question as [`Snapshot::decide`] does, and says why.
    pub fn explain<'a>(&'a self, lineage: &'a Lineage, question: &Question<'_>) -> Explanation<'a> {
        explain(lineage, &self.groups, &self.project, question)
    }

    /// Every member that bindings name for a permission on a resource, each decided by the same function.
    pub fn who_can(&self, lineage: &Lineage, permission: Permission, context: &RequestContext<'_>) -> Vec<Holder> {
        who_can(lineage, &self.groups, permission, context)
    }

    /// Every application on which something gives a permission to a member, in the order of names, with how the member stands there.
    /// Takes some tens of milliseconds for ten thousand applications.
    pub fn what_can(
        &self,
        member: &Member,
        permission: Permission,
        context: &RequestContext<'_>,
    ) -> Vec<(&Arc<ProtectedResource>, Holder)> {
        let stands =
            |it: &Arc<ProtectedResource>| stands(&it.lineage, &self.groups, member.clone(), permission, context);
        let mut found: Vec<_> = self.applications().filter_map(|it| stands(it).map(|holder| (it, holder))).collect();
        found.sort_by(|(a, _), (b, _)| a.application.name.cmp(&b.application.name));
        found
    }

    /// The attributes that conditions may read.
    pub fn schema(&self) -> &Schema {
        self.conditions.schema()
    }

    /// The resource of this name, in any spelling: see [`Resource::parse`].
    pub fn resource(&self, name: &str) -> Result<Resource, ResourceError> {
        Resource::parse(name, &self.project, self.applications.values().map(|it| &*it.application))
    }

    /// The application served at this host, port included, and path, and the configured origin to which the host belongs. The
    /// longest prefix decides. The path is without the query.
    ///
    /// # Errors
    /// [`NotServed::AmbiguousPath`] if the path, decoded and without dot segments, parameters and empty segments in either order, lies in
    /// another application: the two may share an upstream that reads it so, and each has its own policy.
    pub fn served_at(&self, host: &Host, path: &str) -> Result<(&Origin, &Arc<ProtectedResource>), NotServed> {
        let places = self.hosts.get(host).ok_or(NotServed::NoSuchPlace)?;
        let at = |path: &str| places.iter().find(|place| place.prefix.holds(path));
        let place = at(path).ok_or(NotServed::NoSuchPlace)?;
        let elsewhere = |path: &str| at(path).is_none_or(|other| other.service_id != place.service_id);
        if !is_plain(path)
            && places.iter().any(|other| other.service_id != place.service_id)
            && lenient_readings(path).iter().any(|path| elsewhere(path))
        {
            return Err(NotServed::AmbiguousPath);
        }
        let protected = self.applications.get(&place.service_id).ok_or(NotServed::NoSuchPlace)?;
        Ok((&place.origin, protected))
    }

    /// The application of this number.
    pub fn application(&self, service_id: &str) -> Option<&Arc<ProtectedResource>> {
        self.applications.get(service_id)
    }

    /// Every application, in no order.
    pub fn applications(&self) -> impl Iterator<Item = &Arc<ProtectedResource>> {
        self.applications.values()
    }

    /// The account of this address.
    pub fn account_by_email(&self, email: &Email) -> Option<(&UniqueId, &KnownAccount)> {
        self.accounts.get_key_value(self.addresses.get(email)?)
    }

    /// The service account of this address.
    pub fn service_account(&self, email: &Email) -> Option<(&UniqueId, &KnownAccount)> {
        self.account_by_email(email).filter(|(_, account)| account.kind == AccountKind::ServiceAccount)
    }

    /// Whether an address is that of an account here, or could be that of a service account of this project: nobody else may
    /// vouch for it.
    pub fn is_ours(&self, email: &Email) -> bool {
        let own = email.domain().strip_suffix(".iam.gserviceaccount.com").is_some_and(|id| id == self.project.id);
        own || self.addresses.get(email).is_some()
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

    /// Whether there is a pool of this id, disabled or not.
    pub fn has_pool(&self, pool: &FederationId) -> bool {
        self.pools.contains_key(pool)
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

    /// The account of this number.
    pub fn account(&self, id: &UniqueId) -> Option<&KnownAccount> {
        self.accounts.get(id)
    }

    /// The service account's key of this id, whosever it is.
    pub fn account_key(&self, key_id: &str) -> Option<&Arc<KnownKey>> {
        self.account_keys.get(key_id)
    }

    /// The keys of one service account, in no order.
    pub fn keys_of(&self, account: &UniqueId) -> &[Arc<KnownKey>] {
        self.keys_of_accounts.get(account).map_or(&[], Vec::as_slice)
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
    pub fn publish(&self, snapshot: impl Into<Arc<Snapshot>>) {
        let snapshot: Arc<Snapshot> = snapshot.into();
        self.0.rcu(|current| if current.version < snapshot.version { snapshot.clone() } else { current.clone() });
    }
}
