//! The proxied hot path makes no storage call, counted at a store that wraps the real one; and whoever cannot see for a while what
//! changed there serves nobody.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use doorward_core::account::{ServiceAccountKey, UniqueId};
use doorward_core::clock::{Clock, ManualClock, SystemClock, Timestamp};
use doorward_core::entropy::generate_private_key;
use doorward_core::store::{ServiceAccountStore as _, Store};
use doorward_proxy::Proxy;
use doorward_wire::jose::{Algorithm, SigningKey};
use support::counting::CountingStore;
use support::{HOST, ROBOT, ROBOT_ID, admit, ask, id_token, register, stack};

#[tokio::test]
async fn requests_of_known_and_of_new_tokens_reach_the_application_without_a_storage_call() {
    let counting = Arc::new(CountingStore::in_memory().await);
    let store: Arc<dyn Store> = counting.clone();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let keys = register(&*store, &*clock).await;
    let own = SigningKey::from_pkcs8("1f", Algorithm::Rs256, &generate_private_key(Algorithm::Rs256).unwrap()).unwrap();
    let key = ServiceAccountKey {
        id: "1f".into(),
        account: UniqueId(ROBOT_ID.into()),
        public: own.public_jwk(),
        created: clock.now(),
        managed: false,
        disabled: false,
    };
    assert!(counting.add_service_account_key(&key).await.unwrap());
    admit(&*store, &[&format!("serviceAccount:{ROBOT}")]).await;
    let stack = stack(store, clock.clone()).await;
    let proxy = Proxy::new(stack.proxy.clone());
    let before = counting.calls();
    assert!(before > 0, "the count counts");
    let now = clock.now().seconds();
    for number in 0..20 {
        let self_signed = serde_json::json!({
            "iss": ROBOT, "sub": ROBOT, "aud": format!("http://{HOST}/*"), "iat": now - number, "exp": now + 3000 - number,
        });
        let id_token = id_token(&keys, &*clock, number);
        let self_signed = own.sign(self_signed.as_object().unwrap()).unwrap();
        // Each token is sent twice: first seen, then remembered.
        for token in [&id_token, &id_token, &self_signed, &self_signed] {
            assert_eq!(ask(&proxy, token).await, (200, None));
        }
    }
    assert_eq!(counting.calls(), before, "eighty requests, no storage call");
}

#[tokio::test]
async fn an_instance_that_cannot_see_changes_for_the_staleness_limit_refuses_until_it_can() {
    let counting = Arc::new(CountingStore::in_memory().await);
    let store: Arc<dyn Store> = counting.clone();
    let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(1_800_000_000)));
    let keys = register(&*store, &*clock).await;
    admit(&*store, &[&format!("serviceAccount:{ROBOT}")]).await;
    let stack = stack(store, clock.clone()).await;
    let proxy = Proxy::new(stack.proxy.clone());
    let token = id_token(&keys, &*clock, 0);
    assert_eq!(ask(&proxy, &token).await, (200, None));
    counting.set_unreadable(true);
    clock.advance(Duration::from_secs(30));
    assert_eq!(ask(&proxy, &token).await, (200, None), "what was read this long ago is still served");
    clock.advance(Duration::from_secs(1));
    assert_eq!(ask(&proxy, &token).await, (503, Some("stale_grants".to_owned())));
    counting.set_unreadable(false);
    let served = async { while ask(&proxy, &token).await != (200, None) {} };
    tokio::time::timeout(Duration::from_secs(10), served).await.unwrap();
}
