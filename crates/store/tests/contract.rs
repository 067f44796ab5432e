//! The promises of `doorward_core::store`, kept by every backend. A new backend is one more module at the end.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod samples;

use std::future::Future;
use std::sync::Arc;

use doorward_core::keys::KeyPurpose;
use doorward_core::policy::{Policy, PolicyEtag};
use doorward_core::store::Store;
use samples::*;
use tokio::task::JoinSet;

type AnyStore = Arc<dyn Store>;

/// What `count` calls answer that run at the same time.
async fn at_once<F, T>(count: usize, call: impl Fn(usize) -> F) -> Vec<T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    (0..count).map(call).collect::<JoinSet<T>>().join_all().await
}

async fn an_account_is_found_by_its_address_and_by_its_number(store: AnyStore) {
    let robot = account("1", "robot");
    let off = doorward_core::account::ServiceAccount { disabled: true, ..account("2", "off") };
    assert!(store.add_service_account(&robot).await.unwrap());
    assert!(store.add_service_account(&off).await.unwrap());
    for known in [&robot, &off] {
        assert_eq!(store.service_account_by_email(&known.email).await.unwrap().as_ref(), Some(known));
        assert_eq!(store.service_account_by_id(&known.unique_id).await.unwrap().as_ref(), Some(known));
    }
    assert_eq!(store.service_account_by_email(&account("3", "nobody").email).await.unwrap(), None);
    assert_eq!(store.service_account_by_id(&id("3")).await.unwrap(), None);
}

async fn an_address_and_a_number_are_given_to_one_account(store: AnyStore) {
    let robot = account("1", "robot");
    assert!(store.add_service_account(&robot).await.unwrap());
    assert!(!store.add_service_account(&account("1", "other")).await.unwrap(), "its number is taken");
    assert!(!store.add_service_account(&account("2", "robot")).await.unwrap(), "its address is taken");
    assert_eq!(store.service_accounts(None, 10).await.unwrap(), [robot]);
    let added = at_once(20, |n| {
        let store = store.clone();
        async move { store.add_service_account(&account(&format!("3{n}"), "wanted")).await.unwrap() }
    });
    assert_eq!(added.await.iter().filter(|added| **added).count(), 1);
}

async fn accounts_are_listed_in_pages_in_the_order_of_their_addresses(store: AnyStore) {
    for (number, name) in [("1", "delta-1"), ("2", "alpha"), ("3", "delta"), ("4", "charlie"), ("5", "delta0")] {
        assert!(store.add_service_account(&account(number, name)).await.unwrap());
    }
    let mut names = Vec::new();
    let mut after = None;
    loop {
        let page = store.service_accounts(after.as_ref(), 2).await.unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 2 && names.len() < 5, "{names:?}");
        after = Some(last.email.clone());
        names.extend(page.into_iter().map(|account| account.email));
    }
    assert_eq!(names.len(), 5);
    assert!(names.is_sorted(), "{names:?}");
    assert!(store.service_accounts(None, 0).await.unwrap().is_empty());
    let beyond = "zzz@example.com".parse().unwrap();
    assert!(store.service_accounts(Some(&beyond), 10).await.unwrap().is_empty());
}

async fn an_account_goes_with_its_keys_and_tokens_and_takes_no_others(store: AnyStore) {
    for (number, name, key_id) in [("1", "robot", "aa"), ("2", "other", "bb")] {
        assert!(store.add_service_account(&account(number, name)).await.unwrap());
        assert!(store.add_service_account_key(&account_key(key_id, number, 5)).await.unwrap());
        store.add_access_token(&hash(name), &grant(number, 100), at(1)).await.unwrap();
    }
    assert!(store.remove_service_account(&id("1")).await.unwrap());
    assert!(!store.remove_service_account(&id("1")).await.unwrap());
    assert_eq!(store.service_account_by_id(&id("1")).await.unwrap(), None);
    assert_eq!(store.service_account_key("aa").await.unwrap(), None);
    assert_eq!(store.access_token(&hash("robot"), at(1)).await.unwrap(), None);
    assert_eq!(store.service_account_by_id(&id("2")).await.unwrap(), Some(account("2", "other")));
    assert_eq!(store.service_account_key("bb").await.unwrap(), Some(account_key("bb", "2", 5)));
    assert_eq!(store.access_token(&hash("other"), at(1)).await.unwrap(), Some(grant("2", 100)));
}

async fn keys_of_an_account_are_listed_oldest_first_and_removed_by_their_owner_only(store: AnyStore) {
    for (number, name) in [("1", "robot"), ("2", "other")] {
        assert!(store.add_service_account(&account(number, name)).await.unwrap());
    }
    let (newer, older, foreign) = (account_key("aa", "1", 9), account_key("bb", "1", 5), account_key("cc", "2", 1));
    for key in [&newer, &older, &foreign] {
        assert!(store.add_service_account_key(key).await.unwrap());
    }
    assert_eq!(store.service_account_keys(&id("1")).await.unwrap(), [older.clone(), newer.clone()]);
    assert_eq!(store.service_account_key("cc").await.unwrap(), Some(foreign.clone()));
    assert!(!store.remove_service_account_key(&id("1"), "cc").await.unwrap(), "it is not this account's key");
    assert!(store.remove_service_account_key(&id("1"), "bb").await.unwrap());
    assert!(!store.remove_service_account_key(&id("1"), "bb").await.unwrap());
    assert_eq!(store.service_account_keys(&id("1")).await.unwrap(), [newer]);
    assert_eq!(store.service_account_keys(&id("2")).await.unwrap(), [foreign]);
}

async fn an_account_has_ten_keys_at_most_whoever_adds_them_at_once(store: AnyStore) {
    assert!(!store.add_service_account_key(&account_key("aa", "1", 5)).await.unwrap(), "there is no such account");
    assert!(store.add_service_account(&account("1", "robot")).await.unwrap());
    let added = at_once(20, |n| {
        let store = store.clone();
        async move { store.add_service_account_key(&account_key(&format!("k{n}"), "1", 5)).await.unwrap() }
    });
    assert_eq!(added.await.iter().filter(|added| **added).count(), 10);
    let keys = store.service_account_keys(&id("1")).await.unwrap();
    assert_eq!(keys.len(), 10);
    assert!(store.remove_service_account_key(&id("1"), &keys[3].id).await.unwrap());
    assert!(store.add_service_account_key(&account_key("aa", "1", 5)).await.unwrap(), "one place is free again");
    assert!(!store.add_service_account_key(&account_key("bb", "1", 5)).await.unwrap());
}

async fn a_user_has_an_address_and_a_number_of_their_own(store: AnyStore) {
    let (bob, alice) = (user("2", "bob@example.com"), user("1", "alice@example.com"));
    assert!(store.add_user(&bob).await.unwrap());
    assert!(store.add_user(&alice).await.unwrap());
    assert!(!store.add_user(&user("1", "carol@example.com")).await.unwrap());
    assert!(!store.add_user(&user("3", "bob@example.com")).await.unwrap());
    assert_eq!(store.users().await.unwrap(), [alice, bob]);
}

async fn an_application_has_a_name_a_number_and_a_client_id_of_its_own(store: AnyStore) {
    let (app, other) = (application("app", "777", "c1"), application("an-app", "778", "c2"));
    assert!(store.add_application(&app).await.unwrap());
    assert!(store.add_application(&other).await.unwrap());
    for taken in [application("app", "1", "c"), application("x", "777", "c"), application("x", "1", "c1")] {
        assert!(!store.add_application(&taken).await.unwrap(), "{taken:?}");
    }
    assert_eq!(store.applications().await.unwrap(), [other, app]);
}

async fn a_policy_is_replaced_only_in_the_state_that_the_writer_saw(store: AnyStore) {
    let (alice, all) = (bindings(&["user:alice@example.com", "domain:example.com"]), bindings(&["allUsers"]));
    assert_eq!(store.policy("projects/1").await.unwrap(), Policy::default());
    assert_eq!(store.replace_policy("projects/1", &alice, Some(PolicyEtag(1))).await.unwrap(), None);
    assert_eq!(store.policies().await.unwrap(), [], "nothing was written");

    let first = store.replace_policy("projects/1", &alice, Some(PolicyEtag::UNWRITTEN)).await.unwrap().unwrap();
    assert_ne!(first, PolicyEtag::UNWRITTEN);
    let written = Policy { bindings: alice.clone(), etag: first };
    for stale in [PolicyEtag::UNWRITTEN, PolicyEtag(first.0 + 1)] {
        assert_eq!(store.replace_policy("projects/1", &all, Some(stale)).await.unwrap(), None);
        assert_eq!(store.policy("projects/1").await.unwrap(), written);
    }
    let second = store.replace_policy("projects/1", &all, Some(first)).await.unwrap().unwrap();
    let third = store.replace_policy("projects/1", &[], None).await.unwrap().unwrap();
    assert!(first.0 < second.0 && second.0 < third.0);
    assert_eq!(store.policy("projects/1").await.unwrap(), Policy { bindings: vec![], etag: third });

    let other = store.replace_policy("projects/2", &all, None).await.unwrap().unwrap();
    let mut policies = store.policies().await.unwrap();
    policies.sort_by(|(a, _), (b, _)| a.cmp(b));
    let expected = [
        ("projects/1".to_owned(), Policy { bindings: vec![], etag: third }),
        ("projects/2".to_owned(), Policy { bindings: all, etag: other }),
    ];
    assert_eq!(policies, expected);
}

async fn of_writers_who_saw_one_state_of_a_policy_one_wins(store: AnyStore) {
    let mut state = PolicyEtag::UNWRITTEN;
    for round in 0..3 {
        let answers = at_once(20, |n| {
            let store = store.clone();
            let member = format!("user:u{n}@example.com");
            async move {
                let etag = store.replace_policy("projects/1", &bindings(&[&member]), Some(state)).await.unwrap();
                etag.map(|etag| Policy { bindings: bindings(&[&member]), etag })
            }
        });
        let winners: Vec<Policy> = answers.await.into_iter().flatten().collect();
        assert_eq!(winners.len(), 1, "round {round}");
        assert_eq!(store.policy("projects/1").await.unwrap(), winners[0]);
        state = winners[0].etag;
    }
}

async fn writers_who_expect_nothing_all_win_and_each_gets_a_state_of_its_own(store: AnyStore) {
    let states = at_once(20, |_| {
        let store = store.clone();
        async move { store.replace_policy("projects/1", &bindings(&["allUsers"]), None).await.unwrap().unwrap().0 }
    });
    let mut states = states.await;
    states.sort_unstable();
    states.dedup();
    assert_eq!(states.len(), 20);
    assert_eq!(store.policy("projects/1").await.unwrap().etag.0, states[19]);
}

async fn keys_are_added_all_or_none_and_forgotten_by_id(store: AnyStore) {
    let all: Vec<_> = KeyPurpose::ALL.into_iter().map(|purpose| key(purpose.name(), purpose, 7)).collect();
    store.add_keys(&all).await.unwrap();
    let fresh = key("fresh", KeyPurpose::IdToken, 8);
    assert!(store.add_keys(&[fresh, all[0].clone()]).await.is_err(), "an id is taken");
    let mut kept = store.keys().await.unwrap();
    kept.sort_by_key(|key| all.iter().position(|known| known.id == key.id));
    assert_eq!(kept, all);
    store.remove_keys(&["assertion".into(), "unknown".into(), "fixture".into()]).await.unwrap();
    let mut left: Vec<String> = store.keys().await.unwrap().into_iter().map(|key| key.id).collect();
    left.sort();
    assert_eq!(left, ["console-session", "id-token", "sign-in-state"]);
}

async fn an_access_token_is_good_until_it_ends_and_not_at_its_end(store: AnyStore) {
    store.add_access_token(&hash("a"), &grant("1", 100), at(1)).await.unwrap();
    store.add_access_token(&hash("b"), &grant("2", 200), at(1)).await.unwrap();
    assert_eq!(store.access_token(&hash("a"), at(99)).await.unwrap(), Some(grant("1", 100)));
    assert_eq!(store.access_token(&hash("a"), at(100)).await.unwrap(), None);
    assert_eq!(store.access_token(&hash("unknown"), at(1)).await.unwrap(), None);
    // Forgets the first, keeps the second.
    store.add_access_token(&hash("c"), &grant("3", 300), at(150)).await.unwrap();
    assert_eq!(store.access_token(&hash("a"), at(100)).await.unwrap(), None);
    assert_eq!(store.access_token(&hash("b"), at(150)).await.unwrap(), Some(grant("2", 200)));
}

async fn an_assertion_is_taken_once_until_it_ends(store: AnyStore) {
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

async fn of_those_who_present_one_assertion_at_once_one_gets_it(store: AnyStore) {
    // The second round presents it again after its end, when it may still be remembered.
    for (expires, now) in [(100, 50), (200, 150)] {
        let taken = at_once(20, |_| {
            let store = store.clone();
            async move { store.take_assertion_id(&id("1"), "j", at(expires), at(now)).await.unwrap() }
        });
        assert_eq!(taken.await.iter().filter(|taken| **taken).count(), 1, "at {now}");
    }
}

async fn the_record_keeps_its_order_and_is_read_from_both_ends(store: AnyStore) {
    let kinds = [allowed, refused, token_event];
    let events: Vec<_> = (0..200).map(|n| kinds[n % 3](&format!("{n}"))).collect();
    store.append(&events[..2], 1000).await.unwrap();
    store.append(&[], 1000).await.unwrap();
    store.append(&events[2..], 1000).await.unwrap();
    let all = store.events_after(0, 1000).await.unwrap();
    assert_eq!(all.iter().map(|stored| stored.event.clone()).collect::<Vec<_>>(), events);
    assert!(all.windows(2).all(|pair| pair[1].sequence == pair[0].sequence + 1), "{all:?}");
    assert_eq!(store.events_after(all[1].sequence, 2).await.unwrap(), all[2..4]);
    assert_eq!(store.events_after(all[199].sequence, 2).await.unwrap(), []);
    assert_eq!(store.latest_events(2).await.unwrap(), all[198..]);
    assert_eq!(store.latest_events(1000).await.unwrap(), all);
}

async fn the_record_keeps_the_newest_and_never_gives_a_number_again(store: AnyStore) {
    let append = async |names: &[&str], keep| {
        let events: Vec<_> = names.iter().map(|name| allowed(name)).collect();
        store.append(&events, keep).await.unwrap();
        store.events_after(0, 100).await.unwrap()
    };
    let ids = |events: &[doorward_core::audit::StoredEvent]| -> Vec<String> {
        let id = |event: &doorward_core::audit::AuditEvent| serde_json::to_value(event).unwrap()["id"].clone();
        events.iter().map(|stored| id(&stored.event).as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&append(&["a", "b", "c", "d"], 3).await), ["b", "c", "d"]);
    let kept = append(&["e"], 3).await;
    assert_eq!(ids(&kept), ["c", "d", "e"]);
    assert_eq!(append(&["f"], 0).await, []);
    let last = append(&["g"], u64::MAX).await;
    assert_eq!(ids(&last), ["g"]);
    assert_eq!(last[0].sequence, kept[2].sequence + 2, "f had a number of its own");
}

async fn batches_that_are_appended_at_once_stay_whole_and_are_all_there(store: AnyStore) {
    at_once(20, |n| {
        let store = store.clone();
        let batch: Vec<_> = (0..5).map(|m| allowed(&format!("{n}-{m}"))).collect();
        async move {
            store.append(&batch, 1000).await.unwrap();
            store.add_user(&user(&format!("{n}"), &format!("u{n}@example.com"))).await.unwrap()
        }
    })
    .await;
    let stored = store.events_after(0, 1000).await.unwrap();
    let mut batches: Vec<Vec<_>> =
        stored.chunks(5).map(|batch| batch.iter().map(|s| s.event.clone()).collect()).collect();
    batches.sort_by_key(|batch| serde_json::to_string(&batch[0]).unwrap());
    let mut expected: Vec<Vec<_>> = (0..20).map(|n| (0..5).map(|m| allowed(&format!("{n}-{m}"))).collect()).collect();
    expected.sort_by_key(|batch: &Vec<_>| serde_json::to_string(&batch[0]).unwrap());
    assert_eq!(batches, expected);
    assert_eq!(store.users().await.unwrap().len(), 20);
}

macro_rules! every_backend_keeps {
    ($($promise:ident)*) => {
        mod in_memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $promise() {
                let store = doorward_store::SqliteStore::in_memory().await.unwrap();
                super::$promise(std::sync::Arc::new(store)).await;
            })*
        }
        mod in_a_file {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $promise() {
                let directory = tempfile::tempdir().unwrap();
                let store = doorward_store::SqliteStore::open(&directory.path().join("store.db")).await.unwrap();
                super::$promise(std::sync::Arc::new(store)).await;
            })*
        }
    };
}

every_backend_keeps! {
    an_account_is_found_by_its_address_and_by_its_number
    an_address_and_a_number_are_given_to_one_account
    accounts_are_listed_in_pages_in_the_order_of_their_addresses
    an_account_goes_with_its_keys_and_tokens_and_takes_no_others
    keys_of_an_account_are_listed_oldest_first_and_removed_by_their_owner_only
    an_account_has_ten_keys_at_most_whoever_adds_them_at_once
    a_user_has_an_address_and_a_number_of_their_own
    an_application_has_a_name_a_number_and_a_client_id_of_its_own
    a_policy_is_replaced_only_in_the_state_that_the_writer_saw
    of_writers_who_saw_one_state_of_a_policy_one_wins
    writers_who_expect_nothing_all_win_and_each_gets_a_state_of_its_own
    keys_are_added_all_or_none_and_forgotten_by_id
    an_access_token_is_good_until_it_ends_and_not_at_its_end
    an_assertion_is_taken_once_until_it_ends
    of_those_who_present_one_assertion_at_once_one_gets_it
    the_record_keeps_its_order_and_is_read_from_both_ends
    the_record_keeps_the_newest_and_never_gives_a_number_again
    batches_that_are_appended_at_once_stay_whole_and_are_all_there
}
