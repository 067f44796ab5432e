//! Policies of resources, and their settings.

use doorward_core::policy::{Etag, Policy};
use doorward_core::settings::Settings;
use doorward_core::store::PolicyWrite;

use super::{AnyStore, at_once};
use crate::samples::*;

pub(crate) async fn a_policy_is_replaced_only_in_the_state_that_the_writer_saw(store: AnyStore) {
    let (alice, all) = (bindings(&["user:alice@example.com", "domain:example.com"]), bindings(&["allUsers"]));
    assert_eq!(store.policy("projects/1").await.unwrap(), Policy::default());
    let stale = store.replace_policy("projects/1", &alice, Some(Etag(1)), &[]).await.unwrap();
    assert_eq!(stale, PolicyWrite::Conflict);
    assert_eq!(store.policies().await.unwrap(), [], "nothing was written");

    let first = store.replace_policy("projects/1", &alice, Some(Etag::UNWRITTEN), &[]).await.unwrap();
    let first = written(first);
    assert_ne!(first, Etag::UNWRITTEN);
    let stored = Policy { bindings: alice.clone(), etag: first };
    for stale in [Etag::UNWRITTEN, Etag(first.0 + 1)] {
        let stale = store.replace_policy("projects/1", &all, Some(stale), &[]).await.unwrap();
        assert_eq!(stale, PolicyWrite::Conflict);
        assert_eq!(store.policy("projects/1").await.unwrap(), stored);
    }
    let second = written(store.replace_policy("projects/1", &all, Some(first), &[]).await.unwrap());
    let third = written(store.replace_policy("projects/1", &[], None, &[]).await.unwrap());
    assert!(first.0 < second.0 && second.0 < third.0);
    assert_eq!(store.policy("projects/1").await.unwrap(), Policy { bindings: vec![], etag: third });

    let other = written(store.replace_policy("projects/2", &all, None, &[]).await.unwrap());
    let mut policies = store.policies().await.unwrap();
    policies.sort_by(|(a, _), (b, _)| a.cmp(b));
    let expected = [
        ("projects/1".to_owned(), Policy { bindings: vec![], etag: third }),
        ("projects/2".to_owned(), Policy { bindings: all, etag: other }),
    ];
    assert_eq!(policies, expected);
}

pub(crate) async fn of_writers_who_saw_one_state_of_a_policy_one_wins(store: AnyStore) {
    let mut state = Etag::UNWRITTEN;
    for round in 0..3 {
        let answers = at_once(20, |n| {
            let store = store.clone();
            let member = format!("user:u{n}@example.com");
            async move {
                match store.replace_policy("projects/1", &bindings(&[&member]), Some(state), &[]).await.unwrap() {
                    PolicyWrite::Written(etag) => Some(Policy { bindings: bindings(&[&member]), etag }),
                    PolicyWrite::Conflict => None,
                    PolicyWrite::Missing(named) => panic!("{named:?}"),
                }
            }
        });
        let winners: Vec<Policy> = answers.await.into_iter().flatten().collect();
        assert_eq!(winners.len(), 1, "round {round}");
        assert_eq!(store.policy("projects/1").await.unwrap(), winners[0]);
        state = winners[0].etag;
    }
}

pub(crate) async fn writers_who_expect_nothing_all_win_and_each_gets_a_state_of_its_own(store: AnyStore) {
    let states = at_once(20, |_| {
        let store = store.clone();
        async move { written(store.replace_policy("projects/1", &bindings(&["allUsers"]), None, &[]).await.unwrap()).0 }
    });
    let mut states = states.await;
    states.sort_unstable();
    states.dedup();
    assert_eq!(states.len(), 20);
    assert_eq!(store.policy("projects/1").await.unwrap().etag.0, states[19]);
}

pub(crate) async fn settings_are_replaced_as_a_whole(store: AnyStore) {
    assert_eq!(store.settings("projects/1").await.unwrap(), Settings::default());
    assert_eq!(store.every_settings().await.unwrap(), []);
    let mut seen = Settings::default();
    for written in [settings(&["a", "b"]), settings(&[]), Settings::default(), settings(&["c"])] {
        assert!(!store.replace_settings("projects/1", &settings(&["other"]), &written).await.unwrap());
        assert!(store.replace_settings("projects/1", &seen, &written).await.unwrap());
        assert_eq!(store.settings("projects/1").await.unwrap(), written);
        seen = written;
    }
    assert!(store.replace_settings("projects/1/iap_web", &Settings::default(), &settings(&["d"])).await.unwrap());
    let mut all = store.every_settings().await.unwrap();
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    let expected = [("projects/1", settings(&["c"])), ("projects/1/iap_web", settings(&["d"]))];
    assert_eq!(all, expected.map(|(resource, settings)| (resource.to_owned(), settings)));
    assert!(store.replace_settings("projects/1", &seen, &Settings::default()).await.unwrap());
    let all = store.every_settings().await.unwrap();
    assert_eq!(all, [("projects/1/iap_web".to_owned(), settings(&["d"]))], "nothing is set: as never written");
}

pub(crate) async fn of_writers_who_saw_one_state_of_settings_one_wins(store: AnyStore) {
    for seen in [Settings::default(), settings(&["first"])] {
        let answers = at_once(20, |n| {
            let (store, seen) = (store.clone(), seen.clone());
            let new = if seen == Settings::default() { settings(&["first"]) } else { settings(&[&format!("c{n}")]) };
            async move { store.replace_settings("projects/1", &seen, &new).await.unwrap().then_some(new) }
        });
        let winners: Vec<Settings> = answers.await.into_iter().flatten().collect();
        assert_eq!(winners.len(), 1, "{seen:?}");
        assert_eq!(store.settings("projects/1").await.unwrap(), winners[0]);
    }
}
