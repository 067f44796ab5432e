use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use doorward_control::keys::ensure_keys;
use doorward_core::clock::Timestamp;
use doorward_core::entropy::{Entropy, SeededEntropy};
use doorward_core::keys::KeyPurpose;
use doorward_core::store::KeyStore as _;
use doorward_store::SqliteStore;

use crate::START;

const DAY: Duration = Duration::from_secs(24 * 3600);

#[tokio::test]
async fn keys_are_made_once_replaced_when_due_and_forgotten_when_spent() {
    let store = SqliteStore::in_memory().await.unwrap();
    let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::default());
    let start = Timestamp::from_seconds(START);
    let ids = async |now: Timestamp| {
        let ring = ensure_keys(&store, &entropy, now).await.unwrap();
        for purpose in KeyPurpose::ALL {
            assert!(!ring.is_due(purpose, now), "{purpose:?} at {now:?}");
        }
        assert!(ring.spent(now).is_empty());
        store.keys().await.unwrap().into_iter().map(|key| (key.purpose, key.id)).collect::<HashSet<_>>()
    };
    let first = ids(start).await;
    assert_eq!(first.len(), KeyPurpose::ALL.len());
    assert_eq!(ids(start + DAY * 89).await, first, "kept over a restart");

    let rotated = ids(start + DAY * 90).await;
    assert!(rotated.is_superset(&first), "what the old keys made is still good");
    assert_eq!(rotated.len(), first.len() + 4, "all but the fixture key have a successor");

    let later = ids(start + DAY * 91).await;
    let fixture = |keys: &HashSet<(KeyPurpose, String)>| {
        keys.iter().filter(|(purpose, _)| *purpose == KeyPurpose::Fixture).cloned().collect::<Vec<_>>()
    };
    assert_eq!(later.len(), first.len());
    assert_eq!(later.intersection(&first).cloned().collect::<Vec<_>>(), fixture(&first));
}
