//! What the data plane sees: read from the store once, then kept up with what changes in it, by whichever instance.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use doorward_core::access_level::{AccessLevelError, AccessLevels, MAX_LEVELS};
use doorward_core::clock::Clock;
use doorward_core::federation::{MappingError, Provider};
use doorward_core::freshness::Freshness;
use doorward_core::issuer::TrustedIssuers;
use doorward_core::keys::{KeyError, KeyRing};
use doorward_core::member::{Email, Member};
use doorward_core::policy::condition::Schema;
use doorward_core::resource::{Project, Resource};
use doorward_core::settings::{Defaults, Settings};
use doorward_core::snapshot::{Fixed, KnownKey, KnownProvider, Snapshot, SnapshotCell, Update};
use doorward_core::store::{Change, Changed, Revision, Store, StoreError};
use doorward_wire::jose::VerifyingKey;
use tokio::sync::Mutex;

use crate::tasks::{Stopping, join};

/// Changes that are read at once.
const CHANGES: u32 = 1000;
/// After so many looks, at each of which there was something new, what was read is put in force: each thing is as it was at the last
/// look or later, and what was written together may be there in part until the next one.
const LOOKS: u32 = 16;
/// Accounts, keys and groups that are read at once.
const PAGE: u32 = 1000;
/// Memberships that are read at once.
const MEMBERS_PAGE: u32 = 10_000;
/// How long a watcher waits after a failure: a store that is down is not asked without a pause.
const PAUSE: Duration = Duration::from_millis(250);

/// What does not change while the process runs.
#[derive(Clone)]
pub struct Setting {
    /// The one project.
    pub project: Project,
    /// The attributes that conditions may read.
    pub schema: Arc<Schema>,
    /// What holds where no setting says otherwise.
    pub defaults: Defaults,
    /// Issuers whose ID tokens are callers.
    pub trusted_issuers: Arc<TrustedIssuers>,
    /// After this long without a successful look at the store the data plane refuses.
    pub staleness_limit: Duration,
}

/// Reads the store and puts a new snapshot in place.
pub struct SnapshotPublisher {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    setting: Setting,
    cell: Arc<SnapshotCell>,
    freshness: Arc<Freshness>,
    /// The point up to which the store was read. Held while it is read further, so that snapshots follow each other.
    seen: Mutex<Revision>,
}

/// Why the data plane may not see what the store holds. Whoever made a change must not answer with success.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// The store could not be read.
    #[error("could not read what is to be put in force")]
    Store(#[from] StoreError),
    /// One of our keys cannot be used.
    #[error("could not use a stored key")]
    Key(#[from] KeyError),
    /// The process is stopping.
    #[error(transparent)]
    Stopping(#[from] Stopping),
}

impl SnapshotPublisher {
    /// Reads the store for the first time.
    pub async fn open(store: Arc<dyn Store>, clock: Arc<dyn Clock>, setting: Setting) -> Result<Self, RefreshError> {
        let began = clock.now();
        let (revision, snapshot) = read_all(&*store, &setting, 1).await?;
        let publisher = SnapshotPublisher {
            cell: Arc::new(SnapshotCell::new(snapshot)),
            freshness: Arc::new(Freshness::new(began, setting.staleness_limit)),
            seen: Mutex::new(revision),
            store,
            clock,
            setting,
        };
        // What was written while it was read.
        publisher.refresh().await?;
        Ok(publisher)
    }

    /// Where the current snapshot is.
    pub fn cell(&self) -> Arc<SnapshotCell> {
        self.cell.clone()
    }

    /// When the store was last read.
    pub fn freshness(&self) -> Arc<Freshness> {
        self.freshness.clone()
    }

    /// The one project.
    pub fn project(&self) -> &Project {
        &self.setting.project
    }

    /// The point up to which the store was read: what was written before it is in force.
    pub async fn revision(&self) -> Revision {
        *self.seen.lock().await
    }

    /// Puts in force everything that was stored before this call. Costs one look at the store if that is nothing.
    ///
    /// # Errors
    /// [`RefreshError`]: what was in force before still is. The caller must not answer with success; the next use of
    /// the control plane tries again before it does anything else.
    pub async fn refresh(&self) -> Result<(), RefreshError> {
        let mut seen = self.seen.lock().await;
        let current = self.cell.current();
        let version = current.version + 1;
        let (mut read, mut snapshot, mut looks) = (*seen, current, 0);
        let began = loop {
            let began = self.clock.now();
            looks += 1;
            let Some(changes) = self.store.changes_after(read, CHANGES).await? else {
                let whole = read_all(&*self.store, &self.setting, version).await?;
                (read, snapshot) = (whole.0, Arc::new(whole.1));
                continue;
            };
            // Nothing was written since it was read: all that was read is of this one moment.
            let Some(last) = changes.last().map(|change| change.revision) else { break began };
            let updates = read_changes(&*self.store, &snapshot, &changes).await?;
            // One that is of no interest to requests, such as a client, leaves every cache as it is.
            if !updates.is_empty() {
                snapshot = Arc::new(build(snapshot, version, updates).await?);
            }
            read = last;
            // Whoever writes without a pause must not keep a revocation from being in force.
            if looks >= LOOKS && changes.len() < CHANGES as usize {
                break began;
            }
        };
        if snapshot.version == version {
            self.cell.publish(snapshot);
        }
        *seen = read;
        self.freshness.note(began);
        Ok(())
    }

    /// Brings in force what other instances wrote: what is read from here on is in force.
    pub(crate) async fn catch_up(&self) -> Result<(), RefreshError> {
        self.refresh().await
    }

    /// Follows the store for ever: what any instance writes is in force here when `wait_for_change` tells of it, and at the latest
    /// after `patience`. Failures are told to `failed`, and tried again.
    pub async fn watch(&self, patience: Duration, failed: impl Fn(&RefreshError)) {
        loop {
            let seen = self.revision().await;
            let outcome = match self.store.wait_for_change(seen, patience).await {
                Ok(()) => self.refresh().await,
                Err(error) => Err(error.into()),
            };
            if let Err(error) = outcome {
                failed(&error);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Runs a write and puts it in force. Both are done even if the caller goes away: a client that hangs up between
    /// them must not leave a revocation stored and not in force.
    ///
    /// # Errors
    /// What `write` failed with, or [`RefreshError`].
    pub(crate) async fn change<T, E>(
        self: &Arc<Self>,
        write: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<RefreshError> + Send + 'static,
    {
        let publisher = self.clone();
        let task = tokio::spawn(async move {
            let written = write.await;
            // Also after a failure: the store may have written before it failed.
            let refreshed = publisher.refresh().await;
            let value = written?;
            refreshed?;
            Ok(value)
        });
        join(task).await.unwrap_or_else(|stopping| Err(RefreshError::from(stopping).into()))
    }
}

/// Makes a snapshot where nothing else waits: much may have changed.
async fn build(before: Arc<Snapshot>, version: u64, updates: Vec<Update>) -> Result<Snapshot, RefreshError> {
    Ok(join(tokio::task::spawn_blocking(move || before.with(version, updates))).await?)
}

/// Reads everything, and gives the point up to which it was read: what was written meanwhile comes again as a change.
async fn read_all(store: &dyn Store, setting: &Setting, version: u64) -> Result<(Revision, Snapshot), RefreshError> {
    let revision = store.revision().await?;
    let project = &setting.project;
    let fixed = Fixed {
        project: project.clone(),
        schema: setting.schema.clone(),
        defaults: setting.defaults,
        keys: Arc::new(KeyRing::new(&store.keys().await?)?),
        trusted_issuers: setting.trusted_issuers.clone(),
    };
    let empty = Arc::new(Snapshot::empty(fixed));
    let mut updates = Vec::new();
    updates.extend(store.roles().await?.into_iter().map(|role| Update::Role(role.name.clone(), Some(role))));
    for (name, policy) in store.policies().await? {
        updates.extend(at(&name, project).map(|resource| Update::Policy(resource, policy)));
    }
    for policy in store.deny_policies().await? {
        updates.push(Update::DenyPolicy(policy.name.clone(), Some(policy)));
    }
    for (name, settings) in store.every_settings().await? {
        updates.extend(at(&name, project).map(|resource| Update::Settings(resource, Some(settings))));
    }
    let applications = store.applications().await?.into_iter();
    updates.extend(applications.map(|it| Update::Application(it.service_id.clone(), Some(it))));
    updates.extend(store.users().await?.into_iter().map(|user| Update::User(user.unique_id.clone(), Some(user))));
    read_accounts(store, &mut updates).await?;
    read_groups(store, &mut updates).await?;
    updates.push(access_levels(store).await?);
    updates.push(support_email(store).await?);
    updates.push(federation(store, &empty).await?);
    Ok((revision, build(empty, version, updates).await?))
}

/// The resource of a canonical name. One that is not in our tree, because the project lay elsewhere once, reaches nothing.
fn at(name: &str, project: &Project) -> Option<Resource> {
    Resource::from_canonical(name, project).ok()
}

async fn read_accounts(store: &dyn Store, updates: &mut Vec<Update>) -> Result<(), RefreshError> {
    let mut after: Option<Email> = None;
    loop {
        let page = store.service_accounts(after.as_ref(), PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.email.clone());
        updates.extend(page.into_iter().map(|it| Update::ServiceAccount(it.unique_id.clone(), Some(it))));
    }
    let mut after: Option<String> = None;
    loop {
        let page = store.every_service_account_key(after.as_deref(), PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.id.clone());
        for stored in page.into_iter().filter(|key| !key.disabled) {
            let key = VerifyingKey::from_jwk(&stored.public).map_err(KeyError::from)?;
            updates.push(Update::AccountKey(stored.id, Some(Arc::new(KnownKey { account: stored.account, key }))));
        }
    }
}

async fn read_groups(store: &dyn Store, updates: &mut Vec<Update>) -> Result<(), RefreshError> {
    let mut after: Option<Email> = None;
    loop {
        let page = store.groups(after.as_ref(), PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.email.clone());
        updates.extend(page.into_iter().map(|group| Update::Group(group.email, true)));
    }
    let mut after: Option<(Email, Member)> = None;
    loop {
        let exclusive = after.as_ref().map(|(group, member)| (group, member));
        let page = store.every_group_member(exclusive, MEMBERS_PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.clone());
        updates.extend(page.into_iter().map(|(group, member)| Update::GroupMember { group, member, present: true }));
    }
}

/// Levels may be there that do not fit together, written by an older version or by hand. One that requires what is not there is met by nobody, so it is as if
/// it were not there either; and all others go on.
async fn access_levels(store: &dyn Store) -> Result<Update, RefreshError> {
    let mut levels = store.access_levels().await?;
    levels.truncate(MAX_LEVELS);
    loop {
        let unfit = match AccessLevels::new(levels.clone()) {
            Ok(levels) => return Ok(Update::AccessLevels(Arc::new(levels))),
            Err(AccessLevelError::Missing { level, .. } | AccessLevelError::Cycle(level)) => level,
            Err(_) => return Err(StoreError::Damaged { what: "access levels" }.into()),
        };
        levels.retain(|level| *level.name() != unfit);
    }
}

async fn support_email(store: &dyn Store) -> Result<Update, RefreshError> {
    Ok(Update::SupportEmail(store.brand().await?.map(|brand| brand.support_email)))
}

/// A mapping that does not compile any more spoils all: without it nobody could say whom the provider lets in. One that was
/// compiled before is taken from there.
async fn federation(store: &dyn Store, before: &Snapshot) -> Result<Update, RefreshError> {
    let (mut known, mut changed) = (Vec::new(), Vec::new());
    let pools = store.pools().await?;
    for provider in store.providers().await? {
        match before.compiled(&provider).cloned() {
            Some(mapping) => known.push(KnownProvider { provider, mapping }),
            None => changed.push(provider),
        }
    }
    if !changed.is_empty() {
        let compile = |provider: Provider| {
            let mapping = Arc::new(provider.mapping.compile()?);
            Ok::<_, MappingError>(KnownProvider { provider, mapping })
        };
        let compiling = tokio::task::spawn_blocking(move || changed.into_iter().map(compile).collect());
        let compiled: Result<Vec<_>, _> = join(compiling).await?;
        known.extend(compiled.map_err(|_| StoreError::Damaged { what: "mapping or condition of a provider" })?);
    }
    Ok(Update::Federation(pools, known))
}

/// Looks at what changed, each thing once.
async fn read_changes(store: &dyn Store, before: &Snapshot, changes: &[Change]) -> Result<Vec<Update>, RefreshError> {
    let mut looked: HashSet<&Changed> = HashSet::new();
    let (mut levels, mut updates) = (false, Vec::new());
    for change in changes.iter().map(|change| &change.what).filter(|what| looked.insert(what)) {
        match change {
            Changed::Keys => updates.push(Update::Keys(Arc::new(KeyRing::new(&store.keys().await?)?))),
            Changed::Policy(name) => {
                if let Some(resource) = at(name, &before.project) {
                    updates.push(Update::Policy(resource, store.policy(name).await?));
                }
            }
            Changed::DenyPolicy(name) => {
                updates.push(Update::DenyPolicy(name.clone(), store.deny_policy(name).await?));
            }
            Changed::Role(name) => updates.push(Update::Role(name.clone(), store.role(name).await?)),
            Changed::Group(group) => read_group(store, before, group, &mut updates).await?,
            Changed::GroupMember(group, member) => {
                let present = store.is_group_member(group, member).await?;
                updates.push(Update::GroupMember { group: group.clone(), member: member.clone(), present });
            }
            Changed::AccessLevel(_) => levels = true,
            Changed::Settings(name) => {
                if let Some(resource) = at(name, &before.project) {
                    let settings = store.settings(name).await?;
                    updates.push(Update::Settings(resource, (settings != Settings::default()).then_some(settings)));
                }
            }
            Changed::Application(id) => {
                updates.push(Update::Application(id.clone(), store.application(id).await?));
            }
            // Requests do not read it: clients are looked up when tokens are asked for.
            Changed::OAuthClient(_) => {}
            Changed::Brand => updates.push(support_email(store).await?),
            Changed::ServiceAccount(id) => {
                updates.push(Update::ServiceAccount(id.clone(), store.service_account_by_id(id).await?));
            }
            Changed::ServiceAccountKey(id) => {
                let stored = store.service_account_key(id).await?.filter(|key| !key.disabled);
                let known = |key: doorward_core::account::ServiceAccountKey| {
                    let verifying = VerifyingKey::from_jwk(&key.public).map_err(KeyError::from)?;
                    Ok::<_, KeyError>(Arc::new(KnownKey { account: key.account, key: verifying }))
                };
                updates.push(Update::AccountKey(id.clone(), stored.map(known).transpose()?));
            }
            Changed::User(id) => updates.push(Update::User(id.clone(), store.user_by_id(id).await?)),
            Changed::Federation => updates.push(federation(store, before).await?),
        }
    }
    if levels {
        updates.push(access_levels(store).await?);
    }
    Ok(updates)
}

/// Looks at a group that came or went. One that was known and is there went and came again: who was in the old one is not in the
/// new one.
async fn read_group(
    store: &dyn Store,
    before: &Snapshot,
    group: &Email,
    updates: &mut Vec<Update>,
) -> Result<(), RefreshError> {
    updates.push(Update::Group(group.clone(), false));
    if store.group(group).await?.is_none() {
        return Ok(());
    }
    updates.push(Update::Group(group.clone(), true));
    if !before.groups.contains(group) {
        // What is in it by now comes as changes of its own.
        return Ok(());
    }
    let mut after: Option<Member> = None;
    loop {
        let page = store.group_members(group, after.as_ref(), MEMBERS_PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.clone());
        let inside = |member| Update::GroupMember { group: group.clone(), member, present: true };
        updates.extend(page.into_iter().map(inside));
    }
    let member = Member::Group(group.clone());
    for outer in store.groups_of_member(&member).await? {
        updates.push(Update::GroupMember { group: outer, member: member.clone(), present: true });
    }
    Ok(())
}
