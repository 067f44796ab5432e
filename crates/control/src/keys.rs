//! Our own keys: made when they are missing or due, replaced when somebody asks, forgotten when they are spent.

use std::sync::Arc;
use std::time::Duration;

use doorward_core::clock::Timestamp;
use doorward_core::entropy::{Entropy, EntropyError};
use doorward_core::keys::ListedKey;
use doorward_core::keys::{KeyError, KeyPurpose, KeyRing, StoredKey};
use doorward_core::policy::Permission;
use doorward_core::resource::Resource;
use doorward_core::store::{KeyStore, Store, StoreError};
use doorward_wire::google_api::Status;
use serde_json::json;

use crate::admin::{Admin, AdminError, Changes, Failure, Method};
use crate::snapshots::{RefreshError, SnapshotPublisher};
use crate::tasks::{Stopping, join};

/// Why the keys are not in order. Nothing can be served without them.
#[derive(Debug, thiserror::Error)]
pub enum EnsureKeysError {
    /// The store failed.
    #[error("could not read or write our keys")]
    Store(#[from] StoreError),
    /// A stored key cannot be used.
    #[error("could not use a stored key")]
    Key(#[from] KeyError),
    /// No key could be made.
    #[error("could not make a key")]
    Entropy(#[from] EntropyError),
    /// The process is stopping.
    #[error(transparent)]
    Stopping(#[from] Stopping),
}

/// Makes a key for every purpose that has none or whose newest is due, forgets those that are spent, and gives the ring of
/// all that remain. To be called at start, before the first snapshot is read.
pub async fn ensure_keys(
    store: &dyn KeyStore,
    entropy: &Arc<dyn Entropy>,
    now: Timestamp,
) -> Result<KeyRing, EnsureKeysError> {
    let mut keys = store.keys().await?;
    let ring = KeyRing::new(&keys)?;
    // All are begun before the first is awaited, so that they are made side by side.
    let due: Vec<_> = KeyPurpose::ALL
        .into_iter()
        .filter(|purpose| ring.is_due(*purpose, now))
        .map(|purpose| {
            let entropy = entropy.clone();
            // One that takes over is published before it signs, so that verifiers know it when it does.
            let ahead = if ring.has(purpose) { purpose.published_ahead() } else { Duration::ZERO };
            tokio::task::spawn_blocking(move || {
                let key = StoredKey::generate(purpose, &*entropy, now)?;
                Ok::<_, EntropyError>(StoredKey { signs_from: now + ahead, ..key })
            })
        })
        .collect();
    let mut made = Vec::with_capacity(due.len());
    for key in due {
        made.push(join(key).await??);
    }
    if !made.is_empty() {
        store.add_keys(&made).await?;
        keys.extend(made);
    }
    let spent = KeyRing::new(&keys)?.spent(now);
    if !spent.is_empty() {
        store.remove_keys(&spent).await?;
        keys.retain(|key| !spent.contains(&key.id));
    }
    Ok(KeyRing::new(&keys)?)
}

/// Why keys were not shown or replaced.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The caller may not.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// No such purpose.
    #[error("there is no key purpose {0:?}")]
    UnknownPurpose(String),
    /// Keys of this purpose are never replaced.
    #[error("keys of purpose {} are never replaced", .0.name())]
    NotReplaceable(KeyPurpose),
    /// The newest key signs nothing yet: another one would only wait behind it.
    #[error("the newest key of purpose {} signs nothing before {until}", purpose.name(), until = until.seconds())]
    AlreadyWaiting {
        /// The purpose.
        purpose: KeyPurpose,
        /// When it begins to sign.
        until: Timestamp,
    },
    /// The store failed.
    #[error("could not write our keys")]
    Store(#[from] StoreError),
    /// No key could be made.
    #[error("could not make a key")]
    Entropy(#[from] EntropyError),
    /// The keys are stored, and it is not known whether they are in force.
    #[error("could not put the keys in force")]
    Refresh(#[from] RefreshError),
    /// The process is stopping.
    #[error(transparent)]
    Stopping(#[from] Stopping),
}

impl Failure for KeysError {
    fn status(&self) -> Status {
        match self {
            KeysError::Admin(error) => error.status(),
            KeysError::UnknownPurpose(_) => Status::InvalidArgument,
            KeysError::NotReplaceable(_) | KeysError::AlreadyWaiting { .. } => Status::FailedPrecondition,
            KeysError::Store(_) | KeysError::Entropy(_) | KeysError::Refresh(_) | KeysError::Stopping(_) => {
                Status::Internal
            }
        }
    }
}

const LIST: Method = Method::look("doorward", "doorward.v1.Keys.ListKeys");
const ROTATE: Method = Method::write("doorward", "doorward.v1.Keys.RotateKeys");

/// Our keys, for those who administer them.
pub struct Keys {
    store: Arc<dyn Store>,
    publisher: Arc<SnapshotPublisher>,
    changes: Changes,
    entropy: Arc<dyn Entropy>,
}

impl Keys {
    /// Keys in `store`, put in force by `publisher`, as `changes` lets and records.
    pub fn new(
        store: Arc<dyn Store>,
        publisher: Arc<SnapshotPublisher>,
        changes: Changes,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Keys { store, publisher, changes, entropy }
    }

    /// Every key that is not forgotten, newest first within a purpose, and the time at which that is so.
    pub async fn list(&self, admin: &Admin) -> Result<(Vec<ListedKey>, Timestamp), KeysError> {
        let mut call = self.changes.begin(admin, LIST, "keys")?;
        let outcome = async {
            self.publisher.catch_up().await?;
            call.demand(Permission::ListKeys, &Resource::Project)?;
            Ok((self.listed(call.time()), call.time()))
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    fn listed(&self, now: Timestamp) -> Vec<ListedKey> {
        self.publisher.cell().current().keys.list(now)
    }

    /// Replaces the key of one purpose, or of every purpose if none is named.
    ///
    /// Public keys are published [`KeyPurpose::published_ahead`] before they sign. `immediately` is for a key that got out: the
    /// new one signs at once, and the old ones are forgotten, so that nothing that they made is accepted any more.
    pub async fn rotate(
        &self,
        admin: &Admin,
        purpose: Option<&str>,
        immediately: bool,
    ) -> Result<(Vec<ListedKey>, Timestamp), KeysError> {
        let mut call = self.changes.begin(admin, ROTATE, "keys")?;
        let outcome = async {
            self.publisher.catch_up().await?;
            call.demand(Permission::RotateKeys, &Resource::Project)?;
            let purposes = purposes(purpose)?;
            let now = call.time();
            let listed = self.listed(now);
            let waiting = listed.iter().find(|key| purposes.contains(&key.purpose) && key.signs_from > now);
            if let Some(key) = waiting.filter(|_| !immediately) {
                return Err(KeysError::AlreadyWaiting { purpose: key.purpose, until: key.signs_from });
            }
            let mut made = Vec::with_capacity(purposes.len());
            for purpose in &purposes {
                let (purpose, entropy) = (*purpose, self.entropy.clone());
                let generated = tokio::task::spawn_blocking(move || StoredKey::generate(purpose, &*entropy, now));
                let key = join(generated).await??;
                let ahead = if immediately { Duration::ZERO } else { purpose.published_ahead() };
                made.push(StoredKey { signs_from: now + ahead, ..key });
            }
            let old = listed.iter().filter(|key| immediately && purposes.contains(&key.purpose));
            let old: Vec<String> = old.map(|key| key.id.clone()).collect();
            let ids: Vec<&str> = made.iter().map(|key| key.id.as_str()).collect();
            call.changes(Some(&json!({ "forgotten": old })), Some(&json!({ "made": ids })));
            let store = self.store.clone();
            let write = async move {
                // First the new ones: between the two there is never none.
                store.add_keys(&made).await?;
                store.remove_keys(&old).await?;
                Ok::<_, KeysError>(())
            };
            self.publisher.change(write).await?;
            Ok((self.listed(now), now))
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }
}

fn purposes(named: Option<&str>) -> Result<Vec<KeyPurpose>, KeysError> {
    let Some(name) = named else {
        return Ok(KeyPurpose::ALL.into_iter().filter(|purpose| purpose.is_replaceable()).collect());
    };
    let purpose = KeyPurpose::from_name(name).ok_or_else(|| KeysError::UnknownPurpose(name.to_owned()))?;
    if !purpose.is_replaceable() {
        return Err(KeysError::NotReplaceable(purpose));
    }
    Ok(vec![purpose])
}
