//! Devices that ask for a person's permission.

use doorward_core::grant::{DevicePoll, PersonGrant};

use super::{AnyStore, at_once};
use crate::samples::*;

/// A store with the clients `c` and `other`, and a question of `c` with the device code `d` and the user code `u`, which ends
/// at 1000 s.
async fn asked(store: &AnyStore) {
    for id in ["c", "other"] {
        assert!(store.add_oauth_client(&client(id)).await.unwrap());
    }
    assert!(store.add_device_code(&hash("d"), &hash("u"), &device_grant("c", 1000), at(0)).await.unwrap());
}

async fn poll(store: &AnyStore, device: &str, client: &str, now: i64) -> DevicePoll {
    store.poll_device(&hash(device), &client_id(client), at(now)).await.unwrap()
}

fn allowed(grant: &PersonGrant) -> DevicePoll {
    DevicePoll::Allowed(Box::new(grant.clone()))
}

pub(crate) async fn a_question_is_found_until_it_is_decided_or_ends(store: AnyStore) {
    asked(&store).await;
    for (user_code, now, expected) in
        [("u", 999, Some(device_grant("c", 1000))), ("u", 1000, None), ("d", 1, None), ("unknown", 1, None)]
    {
        assert_eq!(store.device_grant(&hash(user_code), at(now)).await.unwrap(), expected, "{user_code} at {now}");
    }
    assert!(!store.decide_device(&hash("u"), None, at(1000)).await.unwrap(), "it has ended");
    assert!(!store.decide_device(&hash("unknown"), None, at(1)).await.unwrap());
    assert!(store.device_grant(&hash("u"), at(1)).await.unwrap().is_some(), "nothing was decided");
    assert!(store.decide_device(&hash("u"), None, at(999)).await.unwrap());
    assert_eq!(store.device_grant(&hash("u"), at(1)).await.unwrap(), None);
}

pub(crate) async fn a_user_code_belongs_to_one_question_at_a_time(store: AnyStore) {
    asked(&store).await;
    let other = device_grant("other", 2000);
    assert!(!store.add_device_code(&hash("d2"), &hash("u"), &other, at(999)).await.unwrap());
    assert_eq!(poll(&store, "d2", "other", 999).await, DevicePoll::Unknown);
    assert!(store.decide_device(&hash("u"), None, at(999)).await.unwrap());
    assert!(!store.add_device_code(&hash("d2"), &hash("u"), &other, at(999)).await.unwrap(), "decided, not ended");
    assert!(store.add_device_code(&hash("d2"), &hash("u"), &other, at(1000)).await.unwrap());
    assert_eq!(store.device_grant(&hash("u"), at(1000)).await.unwrap(), Some(other));
    let added = at_once(20, |n| {
        let store = store.clone();
        let device = hash(&format!("device {n}"));
        async move { store.add_device_code(&device, &hash("wanted"), &device_grant("c", 2000), at(1000)).await.unwrap() }
    });
    assert_eq!(added.await.iter().filter(|added| **added).count(), 1);
}

pub(crate) async fn a_device_is_told_what_was_decided_when_it_asks_slowly_enough(store: AnyStore) {
    asked(&store).await;
    let grant = person_grant("g", "c");
    // (device, client, now) => answer, before the decision
    #[rustfmt::skip]
    let before = [
        ("unknown", "c",     0,  DevicePoll::Unknown),
        ("u",       "c",     0,  DevicePoll::Unknown),
        ("d",       "other", 0,  DevicePoll::Unknown),
        ("d",       "c",     0,  DevicePoll::Pending),
        ("d",       "other", 5,  DevicePoll::Unknown),
        ("d",       "c",     5,  DevicePoll::Pending),
        ("d",       "c",     9,  DevicePoll::TooSoon),
        ("d",       "c",     13, DevicePoll::TooSoon),  // counted from the last question, not from the last answer
        ("d",       "c",     18, DevicePoll::Pending),
        ("d",       "c",     10, DevicePoll::TooSoon),  // the clock was set back
        ("d",       "c",     15, DevicePoll::Pending),
    ];
    for (device, client, now, expected) in before {
        assert_eq!(poll(&store, device, client, now).await, expected, "{device} {client} at {now}");
    }
    assert!(store.decide_device(&hash("u"), Some(&grant), at(16)).await.unwrap());
    // The same after it.
    #[rustfmt::skip]
    let after = [
        ("d", "c",     17,   DevicePoll::TooSoon),
        ("d", "other", 22,   DevicePoll::Unknown),
        ("d", "c",     22,   allowed(&grant)),
        ("d", "c",     27,   DevicePoll::Unknown),
        ("d", "c",     1000, DevicePoll::Unknown),
    ];
    for (device, client, now, expected) in after {
        assert_eq!(poll(&store, device, client, now).await, expected, "{device} {client} at {now}");
    }
}

pub(crate) async fn a_device_is_told_of_a_no_until_the_codes_end(store: AnyStore) {
    asked(&store).await;
    assert!(store.decide_device(&hash("u"), None, at(1)).await.unwrap());
    assert!(!store.decide_device(&hash("u"), Some(&person_grant("g", "c")), at(2)).await.unwrap());
    assert!(!store.revoke_grant(&person_grant("g", "c").id).await.unwrap(), "nothing was kept");
    for (now, expected) in [(10, DevicePoll::Denied), (999, DevicePoll::Denied), (1000, DevicePoll::Expired)] {
        assert_eq!(poll(&store, "d", "c", now).await, expected, "at {now}");
    }
}

pub(crate) async fn a_yes_is_worth_nothing_after_the_codes_end(store: AnyStore) {
    asked(&store).await;
    assert!(store.decide_device(&hash("u"), Some(&person_grant("g", "c")), at(999)).await.unwrap());
    assert_eq!(poll(&store, "d", "c", 1000).await, DevicePoll::Expired);
    assert_eq!(poll(&store, "d", "c", 1010).await, DevicePoll::Expired);
}

pub(crate) async fn of_decisions_made_at_once_one_counts(store: AnyStore) {
    asked(&store).await;
    let decided = at_once(20, |n| {
        let store = store.clone();
        // Every second one says no.
        let grant = (n % 2 == 0).then(|| person_grant(&format!("g{n}"), "c"));
        async move { store.decide_device(&hash("u"), grant.as_ref(), at(1)).await.unwrap().then_some(grant) }
    });
    let decided: Vec<_> = decided.await.into_iter().flatten().collect();
    assert_eq!(decided.len(), 1);
    let expected = decided[0].as_ref().map_or(DevicePoll::Denied, allowed);
    assert_eq!(poll(&store, "d", "c", 2).await, expected);
    for n in 0..20 {
        let id = person_grant(&format!("g{n}"), "c").id;
        let is_kept = decided[0].as_ref().is_some_and(|grant| grant.id == id);
        assert_eq!(store.revoke_grant(&id).await.unwrap(), is_kept, "{n}");
    }
}

pub(crate) async fn of_polls_made_at_once_one_is_told_the_yes(store: AnyStore) {
    asked(&store).await;
    let grant = person_grant("g", "c");
    assert!(store.decide_device(&hash("u"), Some(&grant), at(1)).await.unwrap());
    let answers = at_once(20, |n| {
        let store = store.clone();
        // Not all at one time, so that some are late enough for each other.
        let now = at(10 + 10 * i64::try_from(n).unwrap());
        async move { store.poll_device(&hash("d"), &client_id("c"), now).await.unwrap() }
    });
    let answers = answers.await;
    assert_eq!(answers.iter().filter(|answer| **answer == allowed(&grant)).count(), 1);
    assert_eq!(answers.iter().filter(|answer| **answer == DevicePoll::Unknown).count(), 19);
}

pub(crate) async fn of_polls_made_at_once_one_is_not_too_soon(store: AnyStore) {
    asked(&store).await;
    let answers = at_once(20, |_| {
        let store = store.clone();
        async move { store.poll_device(&hash("d"), &client_id("c"), at(10)).await.unwrap() }
    });
    let answers = answers.await;
    assert_eq!(answers.iter().filter(|answer| **answer == DevicePoll::Pending).count(), 1);
    assert_eq!(answers.iter().filter(|answer| **answer == DevicePoll::TooSoon).count(), 19);
}

pub(crate) async fn the_grant_of_a_device_is_kept_from_the_yes_that_was_told(store: AnyStore) {
    asked(&store).await;
    let grant = person_grant("g", "c");
    assert!(store.decide_device(&hash("u"), Some(&grant), at(998)).await.unwrap());
    assert_eq!(poll(&store, "d", "c", 999).await, allowed(&grant));
    // May forget what ended.
    assert!(store.add_device_code(&hash("d2"), &hash("u2"), &device_grant("c", 3000), at(1010)).await.unwrap());
    assert!(store.decide_device(&hash("u2"), Some(&person_grant("g2", "c")), at(1010)).await.unwrap());
    assert!(store.add_access_token(&hash("at"), &access(&grant, 5000), at(1010)).await.unwrap());
    assert!(store.add_refresh_token(&hash("rt"), &grant.id).await.unwrap());
    assert_eq!(store.refresh_token(&hash("rt")).await.unwrap().unwrap().grant, grant);
    assert!(store.revoke_grant(&grant.id).await.unwrap());
    assert_eq!(store.access_token(&hash("at"), at(1010)).await.unwrap(), None);
}

pub(crate) async fn a_revoked_grant_is_not_told_to_a_device(store: AnyStore) {
    asked(&store).await;
    let grant = person_grant("g", "c");
    assert!(store.decide_device(&hash("u"), Some(&grant), at(1)).await.unwrap());
    assert!(store.revoke_grant(&grant.id).await.unwrap());
    assert_eq!(poll(&store, "d", "c", 2).await, DevicePoll::Unknown);
}
