//! How often the store was written, and what each write touched.

use std::time::Duration;

use doorward_core::group::Group;
use doorward_core::keys::KeyPurpose;
use doorward_core::member::{Email, Member};
use doorward_core::policy::{CustomRole, Etag, LaunchStage, PermissionSet};
use doorward_core::resource::Project;
use doorward_core::store::{Change, Changed, Revision};

use super::{AnyStore, at_once};
use crate::samples::*;

/// What the writes after a point touched. Each revision comes once, and none is missing.
async fn touched(store: &AnyStore, after: Revision) -> Vec<Changed> {
    let changes = store.changes_after(after, 1000).await.unwrap().unwrap();
    let mut last = after;
    for change in &changes {
        assert!(change.revision == last || change.revision.number == last.number + 1, "{changes:?}");
        last = change.revision;
    }
    assert_eq!(store.revision().await.unwrap(), last, "{changes:?}");
    changes.into_iter().map(|change| change.what).collect()
}

pub(crate) async fn every_write_says_what_it_touched_and_a_write_that_changes_nothing_says_nothing(store: AnyStore) {
    let eng: Email = "eng@example.com".parse().unwrap();
    let group = Group { email: eng.clone(), display_name: String::new(), description: String::new(), etag: Etag(0) };
    let member = |text: &str| text.parse::<Member>().unwrap();
    let robot = account("1", "robot");
    let as_member = Member::ServiceAccount(robot.email.clone());
    let role = CustomRole {
        name: "projects/1/roles/abc".parse().unwrap(),
        title: String::new(),
        description: String::new(),
        stage: LaunchStage::Ga,
        permissions: PermissionSet::EMPTY,
        deleted: false,
        etag: Etag(0),
    };
    let deny = deny_policy("deny", &[rule(&["allUsers"], &["group:eng@example.com"])]);
    let project = Project { id: "p".into(), number: "1".into(), ancestors: vec![] };
    let app = application("app", "777", "c");
    let on_app = "projects/1/iap_web/compute/services/777";
    let on_robot = "projects/1/serviceAccounts/1";

    let mut seen = store.revision().await.unwrap();
    /// What is done, and what it touches: the second time nothing, but where a write is one whatever was there.
    macro_rules! touches {
        ($($what:expr => [$($changed:expr),*];)*) => {
            $(
                let _ = $what.await.unwrap();
                let mut expected: Vec<Changed> = vec![$($changed),*];
                let mut found = touched(&store, seen).await;
                let key = |changed: &Changed| format!("{changed:?}");
                expected.sort_by_key(key);
                found.sort_by_key(key);
                assert_eq!(found, expected, stringify!($what));
                seen = store.revision().await.unwrap();
            )*
            assert_ne!(seen, Revision::default());
        };
    }
    let key_of = |id: &str| Changed::ServiceAccountKey(id.into());
    let policy = |name: &str| Changed::Policy(name.into());
    let in_eng = |member: &Member| Changed::GroupMember(eng.clone(), member.clone());
    touches! {
        store.add_keys(&[key("k", KeyPurpose::Assertion, 7)]) => [Changed::Keys];
        store.remove_keys(&["none".into()]) => [];
        store.remove_keys(&["k".into()]) => [Changed::Keys];
        store.add_user(&user("2", "ann@example.com")) => [Changed::User(id("2"))];
        store.add_user(&user("2", "ann@example.com")) => [];
        store.disable_user(&id("2"), true) => [Changed::User(id("2"))];
        store.set_first_password(&id("2"), &password("w")) => [Changed::User(id("2"))];
        store.set_first_password(&id("2"), &password("x")) => [];
        store.set_password(&id("2"), &password("x")) => [Changed::User(id("2"))];
        store.add_service_account(&robot) => [Changed::ServiceAccount(id("1"))];
        store.add_service_account(&robot) => [];
        store.describe_service_account(&id("1"), "Robot", "Walks") => [Changed::ServiceAccount(id("1"))];
        store.describe_service_account(&id("9"), "Robot", "Walks") => [];
        store.disable_service_account(&id("1"), true) => [Changed::ServiceAccount(id("1"))];
        store.add_service_account_key(&account_key("aa", "1", 1)) => [key_of("aa")];
        store.disable_service_account_key(&id("1"), "aa", true) => [key_of("aa")];
        store.add_managed_key(&managed_key("m1", "1", 1), None) => [key_of("m1")];
        store.add_managed_key(&managed_key("m2", "1", 2), Some(managed_key("m1", "1", 1).key.created)) => [key_of("m2")];
        store.add_managed_key(&managed_key("m3", "1", 3), Some(managed_key("m2", "1", 2).key.created)) => [key_of("m3"), key_of("m1")];
        store.remove_service_account_key(&id("1"), "aa") => [key_of("aa")];
        store.remove_service_account_key(&id("1"), "aa") => [];
        store.add_oauth_client(&client("c")) => [Changed::OAuthClient(client_id("c"))];
        store.replace_client_secret(&client_id("c"), &hash("s")) => [Changed::OAuthClient(client_id("c"))];
        store.remove_oauth_client(&client_id("c")) => [Changed::OAuthClient(client_id("c"))];
        store.add_group(&group) => [Changed::Group(eng.clone())];
        store.add_group_member(&eng, &as_member) => [in_eng(&as_member)];
        store.add_group_member(&eng, &as_member) => [];
        store.add_group_member(&eng, &member("user:ann@example.com")) => [in_eng(&member("user:ann@example.com"))];
        store.replace_group(&group, None) => [];
        store.replace_policy("projects/1", &bindings(&["group:eng@example.com", &as_member.to_string()]), None, &[]) => [policy("projects/1")];
        store.replace_policy("projects/1", &[], Some(Etag(99)), &[]) => [];
        store.replace_policy(on_robot, &bindings(&["allUsers"]), None, &[]) => [policy(on_robot)];
        store.remove_service_account(&id("1")) => [Changed::ServiceAccount(id("1")), key_of("m2"), key_of("m3"), policy("projects/1"), policy(on_robot), in_eng(&as_member)];
        store.replace_policy("projects/2", &bindings(&["user:ann@example.com"]), None, &[]) => [policy("projects/2")];
        store.remove_user(&id("2")) => [Changed::User(id("2")), policy("projects/2"), in_eng(&member("user:ann@example.com"))];
        store.add_deny_policy(&deny) => [Changed::DenyPolicy(deny.name.clone())];
        store.replace_deny_policy(&deny, Some(Etag(99))) => [];
        store.remove_group(&eng) => [Changed::Group(eng.clone()), policy("projects/1"), Changed::DenyPolicy(deny.name.clone())];
        store.remove_deny_policy(&deny.name, None) => [Changed::DenyPolicy(deny.name.clone())];
        store.add_role(&role) => [Changed::Role(role.name.clone())];
        store.replace_role(&role, None) => [Changed::Role(role.name.clone())];
        store.add_application(&app) => [Changed::Application("777".into())];
        store.add_application(&app) => [];
        store.replace_application(&app, None) => [Changed::Application("777".into())];
        store.replace_applications(std::slice::from_ref(&app)) => [];
        store.replace_policy(on_app, &bindings(&["allUsers"]), None, &[]) => [policy(on_app)];
        store.replace_settings(on_app, &Default::default(), &settings(&["c"])) => [Changed::Settings(on_app.into())];
        store.remove_application("777", &project) => [Changed::Application("777".into()), policy(on_app), Changed::Settings(on_app.into())];
        store.replace_settings(on_app, &Default::default(), &settings(&[])) => [Changed::Settings(on_app.into())];
        store.replace_settings(on_app, &settings(&["other"]), &settings(&["c"])) => [];
        store.replace_settings(on_app, &settings(&[]), &Default::default()) => [Changed::Settings(on_app.into())];
        store.replace_settings(on_app, &Default::default(), &Default::default()) => [];
        store.add_access_token(&hash("at"), &grant("1", 100), at(1)) => [];
        store.append(&[allowed("a")], 10) => [];
    }
}

pub(crate) async fn changes_are_read_in_pages_that_do_not_part_a_write(store: AnyStore) {
    // One write with many changes, after some with one.
    for n in 0..7 {
        let resource = format!("projects/{n}");
        let robot = format!("serviceAccount:{}", account("1", "robot").email);
        written(store.replace_policy(&resource, &bindings(&[&robot]), None, &[]).await.unwrap());
    }
    assert!(store.add_service_account(&account("1", "robot")).await.unwrap());
    let newest = store.revision().await.unwrap();
    assert_eq!(newest.number, 8);
    let all = store.changes_after(Revision::default(), 1000).await.unwrap().unwrap();
    assert_eq!(all.len(), 7 + 8);
    let point = |number: i64| {
        let found = all.iter().map(|change| change.revision).find(|revision| revision.number == number);
        found.unwrap_or_default()
    };
    assert_eq!(point(8), newest);
    // (after, limit) => the revisions of what comes
    let cases: [(i64, u32, Vec<i64>); 6] = [
        (0, 0, vec![1]),
        (0, 3, vec![1, 2, 3]),
        (5, 2, vec![6, 7]),
        (5, 3, [vec![6, 7], vec![8; 8]].concat()),
        (7, 1, vec![8; 8]),
        (8, 5, vec![]),
    ];
    for (after, limit, expected) in cases {
        let changes = store.changes_after(point(after), limit).await.unwrap().unwrap();
        let revisions: Vec<i64> = changes.iter().map(|change: &Change| change.revision.number).collect();
        assert_eq!(revisions, expected, "{after} {limit}");
    }
    assert_eq!(
        store.changes_after(Revision { number: 9, mark: newest.mark }, 5).await.unwrap(),
        None,
        "of another store"
    );
    for number in 0..=8 {
        let of_another = Revision { number, mark: point(number).mark ^ 1 };
        assert_eq!(store.changes_after(of_another, 5).await.unwrap(), None, "{number} of another store");
    }
}

pub(crate) async fn whoever_follows_the_revision_misses_nothing_however_many_write(store: AnyStore) {
    let follower = tokio::spawn({
        let store = store.clone();
        async move {
            let (mut seen, mut policies) = (Revision::default(), std::collections::BTreeSet::new());
            while policies.len() < 60 {
                store.wait_for_change(seen, Duration::from_secs(60)).await.unwrap();
                for change in store.changes_after(seen, 7).await.unwrap().unwrap() {
                    let in_order = change.revision.number == seen.number + 1;
                    assert!(in_order, "{change:?} after {seen:?}");
                    seen = change.revision;
                    let Changed::Policy(name) = change.what else { panic!() };
                    // Whoever sees the revision sees what was written.
                    assert_eq!(store.policy(&name).await.unwrap().bindings, bindings(&["allUsers"]));
                    policies.insert(name);
                }
            }
            seen
        }
    });
    at_once(60, |n| {
        let store = store.clone();
        async move {
            written(store.replace_policy(&format!("projects/{n}"), &bindings(&["allUsers"]), None, &[]).await.unwrap())
        }
    })
    .await;
    let seen = follower.await.unwrap();
    assert_eq!(seen.number, 60);
    assert_eq!(seen, store.revision().await.unwrap());
}

pub(crate) async fn whoever_waits_is_told_of_a_change_and_of_nothing_when_patience_is_over(store: AnyStore) {
    store.wait_for_change(Revision::default(), Duration::from_millis(1)).await.unwrap();
    assert!(store.add_user(&user("1", "a@example.com")).await.unwrap());
    let long = Duration::from_secs(3600);
    let limit = Duration::from_secs(30);
    let newest = store.revision().await.unwrap();
    // Also of a store that went back: fewer writes, or as many that were others.
    for seen in [Revision::default(), Revision { number: 9, ..newest }, Revision { mark: newest.mark ^ 1, ..newest }] {
        let before = tokio::time::timeout(limit, store.wait_for_change(seen, long)).await;
        before.expect("what was before counts").unwrap();
    }
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { store.wait_for_change(newest, long).await }
    });
    tokio::task::yield_now().await;
    assert!(store.add_user(&user("2", "b@example.com")).await.unwrap());
    tokio::time::timeout(limit, waiting).await.expect("it is told").unwrap().unwrap();
}
