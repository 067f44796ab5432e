//! Our own keys: made when they are missing or due, forgotten when they are spent.

use std::sync::Arc;

use doorward_core::clock::Timestamp;
use doorward_core::entropy::{Entropy, EntropyError};
use doorward_core::keys::{KeyError, KeyPurpose, KeyRing, StoredKey};
use doorward_core::store::{KeyStore, StoreError};

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
            tokio::task::spawn_blocking(move || StoredKey::generate(purpose, &*entropy, now))
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
