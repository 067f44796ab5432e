//! Our own keys.

use doorward_core::keys::KeyPurpose;

use super::AnyStore;
use crate::samples::*;

pub(crate) async fn keys_are_added_all_or_none_and_forgotten_by_id(store: AnyStore) {
    let all: Vec<_> = KeyPurpose::ALL.into_iter().map(|purpose| key(purpose.name(), purpose, 7)).collect();
    store.add_keys(&all).await.unwrap();
    let fresh = key("fresh", KeyPurpose::IdToken, 8);
    assert!(store.add_keys(&[fresh, all[0].clone()]).await.is_err(), "an id is taken");
    let mut kept = store.keys().await.unwrap();
    kept.sort_by_key(|key| all.iter().position(|known| known.id == key.id));
    assert_eq!(kept, all);
    store.remove_keys(&["assertion".into(), "unknown".into(), "fixture".into()]).await.unwrap();
    let mut left = store.keys().await.unwrap();
    left.sort_by_key(|key| all.iter().position(|known| known.id == key.id));
    let gone = [KeyPurpose::Assertion, KeyPurpose::Fixture];
    assert_eq!(left, all.into_iter().filter(|key| !gone.contains(&key.purpose)).collect::<Vec<_>>());
}
