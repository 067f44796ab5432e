//! Access tokens and used assertions.

use super::{AnyStore, at_once};
use crate::samples::*;

pub(crate) async fn an_access_token_is_good_until_it_ends_and_not_at_its_end(store: AnyStore) {
    assert!(store.add_access_token(&hash("a"), &grant("1", 100), at(1)).await.unwrap());
    assert!(store.add_access_token(&hash("b"), &grant("2", 200), at(1)).await.unwrap());
    assert_eq!(store.access_token(&hash("a"), at(99)).await.unwrap(), Some(grant("1", 100)));
    assert_eq!(store.access_token(&hash("a"), at(100)).await.unwrap(), None);
    assert_eq!(store.access_token(&hash("unknown"), at(1)).await.unwrap(), None);
    // Forgets the first, keeps the second.
    assert!(store.add_access_token(&hash("c"), &grant("3", 300), at(150)).await.unwrap());
    assert_eq!(store.access_token(&hash("a"), at(100)).await.unwrap(), None);
    assert_eq!(store.access_token(&hash("b"), at(150)).await.unwrap(), Some(grant("2", 200)));
}

pub(crate) async fn an_access_token_is_forgotten_alone(store: AnyStore) {
    for name in ["a", "b"] {
        assert!(store.add_access_token(&hash(name), &grant("1", 100), at(1)).await.unwrap());
    }
    assert!(store.remove_access_token(&hash("a")).await.unwrap());
    assert!(!store.remove_access_token(&hash("a")).await.unwrap());
    assert_eq!(store.access_token(&hash("a"), at(1)).await.unwrap(), None);
    assert_eq!(store.access_token(&hash("b"), at(1)).await.unwrap(), Some(grant("1", 100)));
}

pub(crate) async fn an_assertion_is_taken_once_until_it_ends(store: AnyStore) {
    // (issuer, jti, expires, now) => taken
    #[rustfmt::skip]
    let calls = [
        ("1", "j", 100, 50,  true),
        ("1", "j", 100, 50,  false),
        ("1", "j", 900, 60,  false),  // another end does not make it another assertion
        ("2", "j", 100, 50,  true),   // another issuer does
        ("1", "J", 100, 50,  true),
        ("1", "",  100, 50,  true),
        ("1", "",  100, 50,  false),
        ("1", "j", 100, 99,  false),
        ("1", "j", 200, 100, true),
        ("1", "j", 200, 199, false),
    ];
    for (call, (issuer, jti, expires, now, taken)) in calls.into_iter().enumerate() {
        let answer = store.take_assertion_id(&id(issuer), jti, at(expires), at(now)).await.unwrap();
        assert_eq!(answer, taken, "call {call}");
    }
}

pub(crate) async fn of_those_who_present_one_assertion_at_once_one_gets_it(store: AnyStore) {
    // The second round presents it again after its end, when it may still be remembered.
    for (expires, now) in [(100, 50), (200, 150)] {
        let taken = at_once(20, |_| {
            let store = store.clone();
            async move { store.take_assertion_id(&id("1"), "j", at(expires), at(now)).await.unwrap() }
        });
        assert_eq!(taken.await.iter().filter(|taken| **taken).count(), 1, "at {now}");
    }
}

pub(crate) async fn an_assertion_that_ended_is_taken_again_however_many_ended_with_it(store: AnyStore) {
    for n in 0..300 {
        assert!(store.take_assertion_id(&id("1"), &format!("j{n}"), at(100), at(50)).await.unwrap());
    }
    for jti in ["j299", "j0", "j150"] {
        assert!(store.take_assertion_id(&id("1"), jti, at(300), at(100)).await.unwrap(), "{jti}");
        assert!(!store.take_assertion_id(&id("1"), jti, at(300), at(100)).await.unwrap(), "{jti}");
    }
}
