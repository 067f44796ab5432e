use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use doorward_control::keys::ensure_keys;
use doorward_core::clock::Timestamp;
use doorward_core::entropy::{Entropy, SeededEntropy};
use doorward_core::keys::{KeyPurpose, ListedKey};
use doorward_core::store::KeyStore as _;
use doorward_store::SqliteStore;
use doorward_wire::jose::{Algorithm, Unverified};
use serde_json::Map;

use crate::{START, Stack, cause};

const DAY: Duration = Duration::from_secs(24 * 3600);
const AHEAD: Duration = Duration::from_secs(900);

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
    let replaceable = KeyPurpose::ALL.into_iter().filter(|purpose| purpose.is_replaceable()).count();
    assert_eq!(rotated.len(), first.len() + replaceable);

    let later = ids(start + DAY * 91).await;
    // Certificates are good for longer, and the keys of the others stay for good.
    let kept: HashSet<_> = later.intersection(&first).map(|(purpose, _)| *purpose).collect();
    assert_eq!(kept, HashSet::from([KeyPurpose::KeyCertificate, KeyPurpose::TlsAuthority, KeyPurpose::Fixture]));
}

#[tokio::test]
async fn a_key_that_takes_over_by_age_is_published_before_it_signs() {
    let stack = Stack::new().await;
    stack.clock.advance(DAY * 90);
    ensure_keys(&*stack.store, &stack.entropy, stack.now()).await.unwrap();
    stack.publisher.refresh().await.unwrap();
    let listed = stack.listed(KeyPurpose::IdToken);
    let times: Vec<_> = listed.iter().map(|key| key.signs_from).collect();
    assert_eq!(times, [stack.now() + AHEAD, Timestamp::from_seconds(START)]);
}

impl Stack {
    fn listed(&self, purpose: KeyPurpose) -> Vec<ListedKey> {
        self.publisher.cell().current().keys.list(self.now()).into_iter().filter(|key| key.purpose == purpose).collect()
    }

    fn published(&self, purpose: KeyPurpose) -> Vec<String> {
        let snapshot = self.publisher.cell().current();
        snapshot.keys.published(purpose, self.now()).into_iter().map(|key| key.kid.clone()).collect()
    }

    /// The id of the key that signs now.
    fn signer(&self, purpose: KeyPurpose) -> String {
        let token = self.publisher.cell().current().keys.sign(purpose, &Map::new(), self.now()).unwrap();
        let allowed = [Algorithm::Rs256, Algorithm::Es256];
        Unverified::parse(&token, 4096, &allowed).unwrap().kid().unwrap().to_owned()
    }
}

#[tokio::test]
async fn a_rotated_key_is_published_first_then_signs_and_the_old_one_is_forgotten_last() {
    let stack = Stack::new().await;
    for (purpose, life) in [(KeyPurpose::IdToken, 3600), (KeyPurpose::Assertion, 600)] {
        let old = stack.signer(purpose);
        let (listed, now) = stack.keys.rotate(&stack.admin, Some(purpose.name()), false).await.unwrap();
        let listed: Vec<_> = listed.into_iter().filter(|key| key.purpose == purpose).collect();
        let new = listed[0].id.clone();
        assert_eq!((listed.len(), &listed[1].id, now), (2, &old, stack.now()), "{purpose:?}");
        assert_eq!((listed[0].signs_from, listed[1].replaced), (now + AHEAD, Some(now + AHEAD)));
        assert_eq!(stack.published(purpose), [new.clone(), old.clone()], "at once, {purpose:?}");
        assert_eq!(stack.signer(purpose), old);
        let again = stack.keys.rotate(&stack.admin, Some(purpose.name()), false).await.unwrap_err();
        assert_eq!(cause(&again), "AlreadyWaiting");
        stack.clock.advance(AHEAD);
        assert_eq!(stack.signer(purpose), new);
        stack.clock.advance(Duration::from_secs(life + 29));
        assert_eq!(stack.published(purpose).len(), 2, "what it signed last is good until now");
        stack.clock.advance(Duration::from_secs(2));
        assert_eq!(stack.published(purpose), [new]);
        assert_eq!(stack.listed(purpose).len(), 1);
    }
}

#[tokio::test]
async fn a_key_that_got_out_is_replaced_at_once_and_nothing_that_it_signed_is_good() {
    let stack = Stack::new().await;
    let alice = stack.alice().await;
    let desktop = stack.desktop().await;
    let id_token = stack.tokens_for(&desktop, &alice).await.id.unwrap();
    let assertion = stack.signer(KeyPurpose::Assertion);
    let old = stack.signer(KeyPurpose::IdToken);
    // Also over one that waits: it may have got out with it.
    stack.keys.rotate(&stack.admin, Some("id-token"), false).await.unwrap();
    stack.keys.rotate(&stack.admin, Some("id-token"), true).await.unwrap();
    let new = stack.signer(KeyPurpose::IdToken);
    assert_ne!(new, old);
    assert_eq!(stack.published(KeyPurpose::IdToken), [new]);
    let seen =
        stack.tokens.token_info(Some(doorward_control::tokens::Inspected::IdToken(&id_token)), crate::PEER).await;
    assert_eq!(cause(&seen.unwrap_err()), "Invalid");
    assert_eq!(stack.signer(KeyPurpose::Assertion), assertion, "other purposes keep theirs");
}

#[tokio::test]
async fn all_replaceable_keys_are_rotated_together_and_the_others_never() {
    let stack = Stack::new().await;
    let before: HashSet<_> = stack.keys.list(&stack.admin).await.unwrap().0.into_iter().map(|key| key.id).collect();
    let (listed, _) = stack.keys.rotate(&stack.admin, None, true).await.unwrap();
    assert_eq!(listed.len(), KeyPurpose::ALL.len());
    for key in &listed {
        assert_eq!(before.contains(&key.id), !key.purpose.is_replaceable(), "{key:?}");
    }
    for (purpose, expected) in [
        ("fixture", "NotReplaceable"),
        ("tls-authority", "NotReplaceable"),
        ("id_token", "UnknownPurpose"),
        ("", "UnknownPurpose"),
    ] {
        let error = stack.keys.rotate(&stack.admin, Some(purpose), true).await.unwrap_err();
        assert_eq!(cause(&error), expected, "{purpose}");
    }
}
