//! Accounts of programs and of people.

use doorward_core::policy::Etag;
use doorward_core::store::{Named, PolicyWrite};

use super::{AnyStore, at_once};
use crate::samples::*;

pub(crate) async fn an_account_is_found_by_its_address_and_by_its_number(store: AnyStore) {
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

pub(crate) async fn an_address_and_a_number_are_given_to_one_account(store: AnyStore) {
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

pub(crate) async fn accounts_are_listed_in_pages_in_the_order_of_their_addresses(store: AnyStore) {
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

pub(crate) async fn an_account_goes_with_its_keys_and_tokens_and_takes_no_others(store: AnyStore) {
    for (number, name, key_id) in [("1", "robot", "aa"), ("2", "other", "bb")] {
        assert!(store.add_service_account(&account(number, name)).await.unwrap());
        assert!(store.add_service_account_key(&account_key(key_id, number, 5)).await.unwrap());
        assert!(store.add_managed_key(&managed_key(&format!("managed-{key_id}"), number, 5), None).await.unwrap());
        assert!(store.add_access_token(&hash(name), &grant(number, 100), at(1)).await.unwrap());
    }
    assert!(store.remove_service_account(&id("1")).await.unwrap());
    assert!(!store.remove_service_account(&id("1")).await.unwrap());
    assert_eq!(store.service_account_by_id(&id("1")).await.unwrap(), None);
    assert_eq!(store.service_account_key("aa").await.unwrap(), None);
    assert_eq!(store.managed_key(&id("1")).await.unwrap(), None);
    assert_eq!(store.service_account_keys(&id("1")).await.unwrap(), []);
    assert_eq!(store.access_token(&hash("robot"), at(1)).await.unwrap(), None);
    assert_eq!(store.service_account_by_id(&id("2")).await.unwrap(), Some(account("2", "other")));
    assert_eq!(store.service_account_key("bb").await.unwrap(), Some(account_key("bb", "2", 5)));
    assert_eq!(store.access_token(&hash("other"), at(1)).await.unwrap(), Some(grant("2", 100)));
}

pub(crate) async fn an_account_goes_with_the_policy_on_it_and_takes_no_others(store: AnyStore) {
    assert!(store.add_service_account(&account("21", "robot")).await.unwrap());
    let kept = [
        "projects/1",
        "projects/1/serviceAccounts/121",
        "projects/1/serviceAccounts/2",
        "projects/1/serviceAccounts/21/x",
        "projects/1/x21",
    ];
    for resource in kept.into_iter().chain(["projects/1/serviceAccounts/21"]) {
        written(store.replace_policy(resource, &bindings(&["user:alice@example.com"]), None, &[]).await.unwrap());
    }
    assert!(!store.remove_service_account(&id("2")).await.unwrap(), "there is no such account");
    assert_eq!(store.policies().await.unwrap().len(), 6);
    assert!(store.remove_service_account(&id("21")).await.unwrap());
    let mut left: Vec<String> = store.policies().await.unwrap().into_iter().map(|(resource, _)| resource).collect();
    left.sort();
    assert_eq!(left, kept);
}

pub(crate) async fn a_policy_names_no_account_that_is_not_there(store: AnyStore) {
    let robot = account("1", "robot");
    let [member, other] = [&robot, &account("2", "r_bot")].map(|it| format!("serviceAccount:{}", it.email));
    let on_it = "projects/1/serviceAccounts/1";
    let write = async |resource: &str, named: Named| {
        let bindings = bindings(&[&member, &other, "user:alice@example.com"]);
        store.replace_policy(resource, &bindings, None, &[named]).await.unwrap()
    };
    let by_email = Named::ServiceAccount(robot.email.clone());
    let by_number = Named::ServiceAccountId(robot.unique_id.clone());
    for named in [&by_email, &by_number] {
        assert_eq!(write(on_it, named.clone()).await, PolicyWrite::Missing(named.clone()));
    }
    assert_eq!(store.policies().await.unwrap(), [], "nothing was written");

    assert!(store.add_service_account(&robot).await.unwrap());
    let first_on_it = written(write(on_it, by_number.clone()).await);
    let before = written(write("projects/1", by_email.clone()).await);
    assert!(store.remove_service_account(&robot.unique_id).await.unwrap());
    let left = bindings(&[&other, "user:alice@example.com"]);
    let policies = store.policies().await.unwrap();
    assert_eq!(policies.len(), 1, "the policy on it went with it");
    assert_eq!(
        (&policies[0].1.bindings, policies[0].1.etag),
        (&left, Etag(before.0 + 1)),
        "others lose it, and it alone"
    );

    // No state of the next policy there is one of the policy that went.
    assert!(store.add_service_account(&robot).await.unwrap());
    assert!(written(write(on_it, by_number).await) > first_on_it);
    assert!(store.remove_service_account(&robot.unique_id).await.unwrap());

    // What an older version left behind is not for the next account of the address.
    written(store.replace_policy("projects/1", &bindings(&[&member]), None, &[]).await.unwrap());
    assert!(store.add_service_account(&account("3", "robot")).await.unwrap());
    assert_eq!(store.policy("projects/1").await.unwrap().bindings, []);
}

pub(crate) async fn no_policy_outlives_an_account_that_it_names_whoever_writes_at_once(store: AnyStore) {
    for round in 0..10 {
        let robot = account(&format!("1{round}"), "robot");
        assert!(store.add_service_account(&robot).await.unwrap());
        at_once(12, |n| {
            let (store, robot) = (store.clone(), robot.clone());
            async move {
                if n == 6 {
                    assert!(store.remove_service_account(&robot.unique_id).await.unwrap());
                    return;
                }
                let named = [Named::ServiceAccount(robot.email.clone())];
                let bindings = bindings(&[&format!("serviceAccount:{}", robot.email)]);
                store.replace_policy(&format!("projects/{}", n % 3), &bindings, None, &named).await.unwrap();
            }
        })
        .await;
        for (resource, policy) in store.policies().await.unwrap() {
            assert_eq!(policy.bindings, [], "round {round}: {resource}");
        }
    }
}

pub(crate) async fn keys_of_an_account_are_listed_oldest_first_and_removed_by_their_owner_only(store: AnyStore) {
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

pub(crate) async fn an_account_has_ten_keys_at_most_whoever_adds_them_at_once(store: AnyStore) {
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

pub(crate) async fn managed_keys_do_not_count_among_the_ten(store: AnyStore) {
    assert!(store.add_service_account(&account("1", "robot")).await.unwrap());
    assert!(store.add_managed_key(&managed_key("m1", "1", 5), None).await.unwrap());
    for n in 0..10 {
        assert!(store.add_service_account_key(&account_key(&format!("k{n}"), "1", 6)).await.unwrap());
    }
    assert!(!store.add_service_account_key(&account_key("k10", "1", 6)).await.unwrap());
    let newest = Some(managed_key("m1", "1", 5).key.created);
    assert!(store.add_managed_key(&managed_key("m2", "1", 7), newest).await.unwrap());
    assert_eq!(store.service_account_keys(&id("1")).await.unwrap().len(), 12);
}

pub(crate) async fn keys_of_all_accounts_are_listed_in_pages_in_the_order_of_their_ids(store: AnyStore) {
    for (number, name) in [("1", "robot"), ("2", "other")] {
        assert!(store.add_service_account(&account(number, name)).await.unwrap());
    }
    let users = [account_key("bb", "2", 1), account_key("dd", "1", 5), account_key("ee", "2", 3)];
    for key in &users {
        assert!(store.add_service_account_key(key).await.unwrap());
    }
    let managed = [managed_key("aa", "1", 2), managed_key("cc", "2", 9)];
    for key in &managed {
        assert!(store.add_managed_key(key, None).await.unwrap());
    }
    let mut keys = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = store.every_service_account_key(after.as_deref(), 2).await.unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 2 && keys.len() < 5, "{keys:?}");
        after = Some(last.id.clone());
        keys.extend(page);
    }
    let [aa, cc] = managed.map(|managed| managed.key);
    let [bb, dd, ee] = users;
    assert_eq!(keys, [aa, bb, cc, dd, ee]);
}

pub(crate) async fn the_two_newest_managed_keys_of_an_account_are_known(store: AnyStore) {
    assert!(!store.add_managed_key(&managed_key("aa", "1", 5), None).await.unwrap(), "there is no such account");
    for (number, name) in [("1", "robot"), ("2", "other")] {
        assert!(store.add_service_account(&account(number, name)).await.unwrap());
        assert_eq!(store.managed_key(&id(number)).await.unwrap(), None);
    }
    let own = account_key("own", "1", 1);
    assert!(store.add_service_account_key(&own).await.unwrap());
    let foreign = managed_key("foreign", "2", 1);
    assert!(store.add_managed_key(&foreign, None).await.unwrap());
    let mut newest = None;
    let keys = [managed_key("cc", "1", 5), managed_key("bb", "1", 6), managed_key("aa", "1", 7)];
    for key in &keys {
        assert!(store.add_managed_key(key, newest).await.unwrap());
        assert_eq!(store.managed_key(&id("1")).await.unwrap().as_ref(), Some(key));
        newest = Some(key.key.created);
    }
    let [oldest, before, last] = keys;
    assert_eq!(store.service_account_keys(&id("1")).await.unwrap(), [own, before.key.clone(), last.key.clone()]);
    assert_eq!(store.service_account_key("cc").await.unwrap(), None);
    assert_eq!(store.managed_key(&id("2")).await.unwrap(), Some(foreign));
    for seen in [None, Some(oldest.key.created), Some(before.key.created)] {
        let late = managed_key("late", "1", 8);
        assert!(!store.add_managed_key(&late, seen).await.unwrap(), "{seen:?} is not the newest");
    }
    assert_eq!(store.managed_key(&id("1")).await.unwrap(), Some(last));
    assert_eq!(store.service_account_key("late").await.unwrap(), None);
}

pub(crate) async fn of_those_who_make_a_managed_key_at_once_one_wins(store: AnyStore) {
    assert!(store.add_service_account(&account("1", "robot")).await.unwrap());
    let mut newest = None;
    for round in 1..=3 {
        let added = at_once(20, |n| {
            let store = store.clone();
            let key = managed_key(&format!("{round}-{n}"), "1", round);
            async move { store.add_managed_key(&key, newest).await.unwrap().then_some(key) }
        });
        let winners: Vec<_> = added.await.into_iter().flatten().collect();
        assert_eq!(winners.len(), 1, "round {round}");
        assert_eq!(store.managed_key(&id("1")).await.unwrap().as_ref(), winners.first());
        newest = Some(winners[0].key.created);
    }
}

pub(crate) async fn a_user_has_an_address_and_a_number_of_their_own(store: AnyStore) {
    let (bob, alice) = (user("2", "bob@example.com"), user("1", "alice@example.com"));
    assert!(store.add_user(&bob).await.unwrap());
    assert!(store.add_user(&alice).await.unwrap());
    assert!(!store.add_user(&user("1", "carol@example.com")).await.unwrap());
    assert!(!store.add_user(&user("3", "bob@example.com")).await.unwrap());
    assert_eq!(store.users().await.unwrap(), [alice, bob]);
}

pub(crate) async fn a_first_password_is_set_once(store: AnyStore) {
    let alice = user("1", "alice@example.com");
    assert!(!store.set_first_password(&alice.unique_id, &password("a")).await.unwrap(), "there is no such user");
    assert!(store.add_user(&alice).await.unwrap());
    let answers = at_once(20, |n| {
        let (store, id) = (store.clone(), alice.unique_id.clone());
        async move { store.set_first_password(&id, &password(&format!("p{n}"))).await.unwrap().then_some(n) }
    });
    let winners: Vec<usize> = answers.await.into_iter().flatten().collect();
    assert_eq!(winners.len(), 1);
    let (_, set) = store.user_by_email(&alice.email).await.unwrap().unwrap();
    assert_eq!(set, Some(password(&format!("p{}", winners[0]))));
}

pub(crate) async fn a_user_is_found_by_their_address_with_their_password(store: AnyStore) {
    let (alice, bob) = (user("1", "alice@example.com"), user("2", "bob@example.com"));
    assert!(!store.set_password(&alice.unique_id, &password("a")).await.unwrap(), "there is no such user");
    for user in [&alice, &bob] {
        assert!(store.add_user(user).await.unwrap());
        assert_eq!(store.user_by_email(&user.email).await.unwrap(), Some((user.clone(), None)));
    }
    for text in ["first", "second"] {
        assert!(store.set_password(&alice.unique_id, &password(text)).await.unwrap());
        let found = store.user_by_email(&alice.email).await.unwrap();
        assert_eq!(found, Some((alice.clone(), Some(password(text)))));
    }
    assert_eq!(store.user_by_email(&bob.email).await.unwrap(), Some((bob, None)));
    assert_eq!(store.user_by_email(&user("3", "carol@example.com").email).await.unwrap(), None);
}

pub(crate) async fn an_account_and_a_users_key_are_disabled_and_enabled_and_a_managed_key_is_not(store: AnyStore) {
    for (number, name) in [("1", "robot"), ("2", "other")] {
        assert!(store.add_service_account(&account(number, name)).await.unwrap());
    }
    assert!(store.add_service_account_key(&account_key("k", "1", 1)).await.unwrap());
    assert!(store.add_managed_key(&managed_key("m", "1", 1), None).await.unwrap());
    for disabled in [true, true, false] {
        assert!(store.disable_service_account(&id("1"), disabled).await.unwrap());
        assert_eq!(store.service_account_by_id(&id("1")).await.unwrap().unwrap().disabled, disabled);
        assert!(store.disable_service_account_key(&id("1"), "k", disabled).await.unwrap());
        assert_eq!(store.service_account_key("k").await.unwrap().unwrap().disabled, disabled);
    }
    assert!(!store.service_account_by_id(&id("2")).await.unwrap().unwrap().disabled);
    assert!(!store.disable_service_account(&id("3"), true).await.unwrap());
    assert!(store.describe_service_account(&id("1"), "Robot", "Walks").await.unwrap());
    let described = store.service_account_by_id(&id("1")).await.unwrap().unwrap();
    assert_eq!((described.display_name.as_str(), described.description.as_str()), ("Robot", "Walks"));
    assert_eq!(store.service_account_by_id(&id("2")).await.unwrap().unwrap(), account("2", "other"));
    assert!(!store.describe_service_account(&id("3"), "Robot", "Walks").await.unwrap());
    for (owner, key) in [("2", "k"), ("1", "unknown"), ("1", "m")] {
        assert!(!store.disable_service_account_key(&id(owner), key, true).await.unwrap(), "{owner} {key}");
    }
    assert!(!store.managed_key(&id("1")).await.unwrap().unwrap().key.disabled);
}
