//! What the data plane sees: built from the store, put in place after each change.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use doorward_core::account::ServiceAccount;
use doorward_core::federation::{MappingError, Provider};
use doorward_core::issuer::TrustedIssuers;
use doorward_core::keys::{KeyError, KeyRing};
use doorward_core::member::Email;
use doorward_core::resource::{Origin, Project};
use doorward_core::snapshot::{KnownKey, KnownProvider, Snapshot, SnapshotCell, SnapshotSource};
use doorward_core::store::{FederationStore, ServiceAccountStore, Store, StoreError};
use doorward_wire::jose::VerifyingKey;

use crate::tasks::{Stopping, join};

/// Reads the store and puts a new snapshot in place.
pub struct SnapshotPublisher {
    store: Arc<dyn Store>,
    project: Project,
    origins: HashMap<String, Vec<Origin>>,
    trusted_issuers: Arc<TrustedIssuers>,
    cell: Arc<SnapshotCell>,
    /// The version of the newest refresh that began.
    begun: AtomicU64,
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
    /// Reads the store for the first time. `origins` says by the name of an application at which origins it is served; an
    /// application without any is registered and not served. `trusted_issuers` are those whose ID tokens are callers.
    pub async fn open(
        store: Arc<dyn Store>,
        project: Project,
        origins: HashMap<String, Vec<Origin>>,
        trusted_issuers: Arc<TrustedIssuers>,
    ) -> Result<Self, RefreshError> {
        let first = Snapshot::new(1, read(&*store, &project, &origins, &trusted_issuers, None).await?);
        Ok(SnapshotPublisher {
            store,
            project,
            origins,
            trusted_issuers,
            cell: Arc::new(SnapshotCell::new(first)),
            begun: AtomicU64::new(1),
        })
    }

    /// Where the current snapshot is.
    pub fn cell(&self) -> Arc<SnapshotCell> {
        self.cell.clone()
    }

    /// The one project.
    pub fn project(&self) -> &Project {
        &self.project
    }

    /// Puts in force everything that was stored before this call.
    ///
    /// # Errors
    /// [`RefreshError`]: what was in force before still is. The caller must not answer with success; the next use of
    /// the control plane tries again before it does anything else.
    pub async fn refresh(&self) -> Result<(), RefreshError> {
        // The version is taken before the store is read. Of two refreshes, the one with the higher version read later, or
        // at the same time, so the one that the cell keeps holds every change whose writer has been told of success.
        let version = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let before = self.cell.current();
        let world = read(&*self.store, &self.project, &self.origins, &self.trusted_issuers, Some(&before)).await?;
        self.cell.publish(Snapshot::new(version, world));
        Ok(())
    }

    /// Tries again if a refresh failed: what is read from here on is in force.
    pub(crate) async fn catch_up(&self) -> Result<(), RefreshError> {
        if self.cell.current().version < self.begun.load(Ordering::SeqCst) {
            self.refresh().await?;
        }
        Ok(())
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

/// Reads everything. What takes long to make is taken from the snapshot before, where it was made of the same.
async fn read(
    store: &dyn Store,
    project: &Project,
    origins: &HashMap<String, Vec<Origin>>,
    trusted_issuers: &Arc<TrustedIssuers>,
    before: Option<&Snapshot>,
) -> Result<SnapshotSource, RefreshError> {
    let at = |name: &str| origins.get(name).cloned().unwrap_or_default();
    let applications = store.applications().await?;
    Ok(SnapshotSource {
        project: project.clone(),
        keys: Arc::new(KeyRing::new(&store.keys().await?)?),
        applications: applications
            .into_iter()
            .map(|application| (application.clone(), at(&application.name)))
            .collect(),
        policies: store.policies().await?.into_iter().collect(),
        settings: store.every_settings().await?.into_iter().collect(),
        service_accounts: every_service_account(store).await?,
        account_keys: every_account_key(store, before.map(Snapshot::account_keys)).await?,
        users: store.users().await?,
        pools: store.pools().await?,
        providers: every_provider(store, before).await?,
        trusted_issuers: trusted_issuers.clone(),
    })
}

async fn every_service_account(store: &dyn ServiceAccountStore) -> Result<Vec<ServiceAccount>, StoreError> {
    const PAGE: u32 = 1000;
    let mut all = Vec::new();
    let mut after: Option<Email> = None;
    loop {
        let page = store.service_accounts(after.as_ref(), PAGE).await?;
        let Some(last) = page.last() else { return Ok(all) };
        after = Some(last.email.clone());
        all.extend(page);
    }
}

/// A mapping that does not compile any more spoils all: without it nobody could say whom the provider lets in.
async fn every_provider(
    store: &dyn FederationStore,
    before: Option<&Snapshot>,
) -> Result<Vec<KnownProvider>, RefreshError> {
    let (mut known, mut changed) = (Vec::new(), Vec::new());
    for provider in store.providers().await? {
        match before.and_then(|before| before.compiled(&provider)).cloned() {
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
    Ok(known)
}

/// Keys that were read before are not read again: a key never changes under its id.
async fn every_account_key(
    store: &dyn ServiceAccountStore,
    known: Option<&HashMap<String, Arc<KnownKey>>>,
) -> Result<HashMap<String, Arc<KnownKey>>, RefreshError> {
    const PAGE: u32 = 1000;
    let mut all = HashMap::new();
    let mut after: Option<String> = None;
    loop {
        let page = store.every_service_account_key(after.as_deref(), PAGE).await?;
        let Some(last) = page.last() else { return Ok(all) };
        after = Some(last.id.clone());
        for stored in page.into_iter().filter(|key| !key.disabled) {
            let known =
                known.and_then(|known| known.get(&stored.id)).filter(|known| known.account == stored.account).cloned();
            let key = match known {
                Some(key) => key,
                None => Arc::new(KnownKey {
                    key: VerifyingKey::from_jwk(&stored.public).map_err(KeyError::from)?,
                    account: stored.account,
                }),
            };
            all.insert(stored.id, key);
        }
    }
}
