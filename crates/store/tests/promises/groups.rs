//! Groups, and people who are in them.

use doorward_core::account::User;
use doorward_core::group::Group;
use doorward_core::member::{Email, Member};
use doorward_core::policy::Etag;
use doorward_core::store::{Named, PolicyWrite, Replaced};

use super::{AnyStore, at_once};
use crate::samples::*;

fn email(name: &str) -> Email {
    format!("{name}@example.com").parse().unwrap()
}

fn group(name: &str) -> Group {
    Group {
        email: email(name),
        display_name: format!("The \"{name}\"'; --"),
        description: "For tests".into(),
        etag: Etag::UNWRITTEN,
    }
}

fn member(text: &str) -> Member {
    text.parse().unwrap()
}

async fn members(store: &AnyStore, name: &str) -> Vec<String> {
    let members = store.group_members(&email(name), None, 100).await.unwrap();
    members.iter().map(ToString::to_string).collect()
}

pub(crate) async fn a_group_is_read_as_it_was_written_and_replaced_in_the_state_that_the_writer_saw(store: AnyStore) {
    let mut written = Vec::new();
    for name in ["c", "a", "b"] {
        let etag = store.add_group(&group(name)).await.unwrap().unwrap();
        assert_eq!(store.add_group(&group(name)).await.unwrap(), None, "its address is taken");
        written.push(Group { etag, ..group(name) });
    }
    assert_eq!(store.group(&email("c")).await.unwrap(), Some(written[0].clone()));
    assert_eq!(store.group(&email("d")).await.unwrap(), None);
    let page = store.groups(None, 2).await.unwrap();
    assert_eq!(page, [written[1].clone(), written[2].clone()]);
    assert_eq!(store.groups(Some(&page[1].email), 2).await.unwrap(), [written[0].clone()]);

    let seen = written[0].etag;
    let changed = |n: usize| Group { display_name: n.to_string(), ..group("c") };
    assert_eq!(store.replace_group(&changed(0), Some(Etag(seen.0 + 1))).await.unwrap(), Replaced::Stale);
    assert_eq!(store.replace_group(&group("d"), None).await.unwrap(), Replaced::NotFound);
    let answers = at_once(12, |n| {
        let store = store.clone();
        async move { (n, store.replace_group(&changed(n), Some(seen)).await.unwrap()) }
    });
    let winners: Vec<Group> = answers
        .await
        .into_iter()
        .filter_map(|(n, replaced)| match replaced {
            Replaced::Done(etag) => Some(Group { etag, ..changed(n) }),
            Replaced::Stale | Replaced::NotFound => None,
        })
        .collect();
    assert_eq!(winners.len(), 1);
    assert_eq!(store.group(&email("c")).await.unwrap().as_ref(), winners.first());
}

pub(crate) async fn members_come_and_go_one_at_a_time_and_are_read_in_pages(store: AnyStore) {
    let texts =
        ["domain:x.test", "group:b@example.com", "serviceAccount:r@p.test", "user:ann@x.test", "user:bob@x.test"];
    assert!(!store.add_group_member(&email("a"), &member(texts[0])).await.unwrap(), "there is no such group");
    for name in ["a", "b"] {
        store.add_group(&group(name)).await.unwrap().unwrap();
    }
    for text in texts.iter().rev() {
        assert!(store.add_group_member(&email("a"), &member(text)).await.unwrap());
        assert!(!store.add_group_member(&email("a"), &member(text)).await.unwrap(), "it is there");
    }
    assert!(store.add_group_member(&email("b"), &member(texts[3])).await.unwrap());
    assert_eq!(members(&store, "a").await, texts);
    assert_eq!(store.groups_of_member(&member(texts[3])).await.unwrap(), [email("a"), email("b")]);
    assert_eq!(store.groups_of_member(&member(texts[4])).await.unwrap(), [email("a")]);

    let (mut pages, mut after) = (Vec::new(), None);
    loop {
        let page = store.group_members(&email("a"), after.as_ref(), 2).await.unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 2 && pages.len() < 5);
        after = Some(last.clone());
        pages.extend(page.iter().map(ToString::to_string));
    }
    assert_eq!(pages, texts);
    let (mut all, mut after): (Vec<(Email, Member)>, _) = (Vec::new(), None::<(Email, Member)>);
    loop {
        let from = after.as_ref().map(|(group, member)| (group, member));
        let page = store.every_group_member(from, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 2 && all.len() < 6);
        after = Some(last.clone());
        all.extend(page);
    }
    assert_eq!(all.len(), 6);
    assert!(all.is_sorted_by_key(|(group, member)| (group.clone(), member.to_string())));

    assert!(store.is_group_member(&email("a"), &member(texts[0])).await.unwrap());
    assert!(!store.is_group_member(&email("b"), &member(texts[0])).await.unwrap());
    assert!(store.remove_group_member(&email("a"), &member(texts[0])).await.unwrap());
    assert!(!store.remove_group_member(&email("a"), &member(texts[0])).await.unwrap());
    assert_eq!(members(&store, "a").await, texts[1..]);
    let added = at_once(12, |_| {
        let store = store.clone();
        async move { store.add_group_member(&email("a"), &member("user:new@x.test")).await.unwrap() }
    });
    assert_eq!(added.await.into_iter().filter(|added| *added).count(), 1);
}

pub(crate) async fn a_group_goes_with_its_members_and_every_mention_of_it(store: AnyStore) {
    let named = Named::Group(email("a"));
    let both = ["group:a@example.com", "group:ba@example.com"];
    let write =
        async |named: &[Named]| store.replace_policy("projects/1", &bindings(&both), None, named).await.unwrap();
    assert_eq!(write(std::slice::from_ref(&named)).await, PolicyWrite::Missing(named.clone()));
    for name in ["a", "ba", "outer"] {
        store.add_group(&group(name)).await.unwrap().unwrap();
    }
    written(write(std::slice::from_ref(&named)).await);
    let rules = [rule(&["group:a@example.com"], &both)];
    store.add_deny_policy(&deny_policy("deny", &rules)).await.unwrap().unwrap();
    for (outer, inside) in [("outer", both[0]), ("outer", both[1]), ("a", "user:ann@x.test"), ("ba", "user:ann@x.test")]
    {
        assert!(store.add_group_member(&email(outer), &member(inside)).await.unwrap());
    }
    let last = store.group(&email("a")).await.unwrap().unwrap().etag;
    assert!(store.remove_group(&email("a")).await.unwrap());
    assert!(!store.remove_group(&email("a")).await.unwrap());
    let gone = async || {
        assert_eq!(store.policy("projects/1").await.unwrap().bindings, bindings(&both[1..]));
        let deny = store.deny_policies().await.unwrap();
        assert_eq!(deny[0].rules, [rule(&["group:a@example.com"], &both[1..])], "what is denied stays denied");
        assert_eq!(members(&store, "outer").await, both[1..]);
        assert_eq!(members(&store, "a").await, [""; 0]);
        assert_eq!(store.groups_of_member(&member("user:ann@x.test")).await.unwrap(), [email("ba")]);
    };
    gone().await;
    // What came by another way is not for the next group of the address.
    written(write(&[]).await);
    assert!(store.add_group_member(&email("outer"), &member(both[0])).await.unwrap());
    let again = store.add_group(&group("a")).await.unwrap().unwrap();
    assert!(again > last, "whoever saw the old one does not take the new one for it");
    gone().await;
}

pub(crate) async fn no_policy_outlives_a_group_that_it_names_whoever_writes_at_once(store: AnyStore) {
    for round in 0..10 {
        store.add_group(&group("a")).await.unwrap().unwrap();
        at_once(12, |n| {
            let store = store.clone();
            async move {
                if n == 6 {
                    assert!(store.remove_group(&email("a")).await.unwrap());
                    return;
                }
                store.add_group_member(&email("a"), &member(&format!("user:u{n}@x.test"))).await.unwrap();
                let named = [Named::Group(email("a"))];
                let bindings = bindings(&["group:a@example.com"]);
                store.replace_policy(&format!("projects/{}", n % 3), &bindings, None, &named).await.unwrap();
            }
        })
        .await;
        for (resource, policy) in store.policies().await.unwrap() {
            assert_eq!(policy.bindings, [], "round {round}: {resource}");
        }
        assert_eq!(store.every_group_member(None, 100).await.unwrap(), [], "round {round}");
    }
}

pub(crate) async fn accounts_and_pools_lose_their_places_in_groups_with_what_policies_give_them(store: AnyStore) {
    let robot = account("1", "robot");
    let pool = "principalSet://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool-a/*";
    let other = pool.replace("pool-a", "pool-b");
    let tricky =
        format!("{}/subject/x/workloadIdentityPools/pool-a/y", other.trim_end_matches("/*").replace("Set", ""));
    let going = [format!("serviceAccount:{}", robot.email), pool.to_owned()];
    let staying = [other, tricky, "user:ann@x.test".to_owned()];
    store.add_group(&group("a")).await.unwrap().unwrap();
    let put = async |text: &String| store.add_group_member(&email("a"), &member(text)).await.unwrap();
    for text in going.iter().chain(&staying) {
        assert!(put(text).await, "{text}");
    }
    let mut left = staying.to_vec();
    left.sort();
    let sample = doorward_core::federation::Pool {
        id: "pool-a".parse().unwrap(),
        display_name: String::new(),
        description: String::new(),
        disabled: false,
    };
    for round in 0..2 {
        assert!(store.add_service_account(&robot).await.unwrap());
        assert_eq!(store.add_pool(&sample).await.unwrap(), doorward_core::store::Added::Yes);
        assert_eq!(members(&store, "a").await, left, "round {round}: it was not meant for the new one");
        for text in &going {
            assert!(put(text).await);
        }
        assert!(store.remove_service_account(&robot.unique_id).await.unwrap());
        assert!(store.remove_pool(&sample.id).await.unwrap());
        assert_eq!(members(&store, "a").await, left, "round {round}");
    }
}

pub(crate) async fn a_user_is_disabled_and_removed_with_what_they_allowed_and_their_places_in_groups(store: AnyStore) {
    for (number, name) in [("2", "alice@example.com"), ("3", "bob@example.com")] {
        assert!(store.add_user(&user(number, name)).await.unwrap());
    }
    assert!(!store.disable_user(&id("4"), true).await.unwrap());
    for disabled in [true, true, false] {
        assert!(store.disable_user(&id("2"), disabled).await.unwrap());
        let expected = User { disabled, ..user("2", "alice@example.com") };
        assert_eq!(store.user_by_id(&id("2")).await.unwrap(), Some(expected));
    }
    assert_eq!(store.user_by_id(&id("4")).await.unwrap(), None);

    store.add_group(&group("a")).await.unwrap().unwrap();
    for text in ["user:alice@example.com", "user:bob@example.com"] {
        assert!(store.add_group_member(&email("a"), &member(text)).await.unwrap());
    }
    for client_id in ["c", "d"] {
        assert!(store.add_oauth_client(&client(client_id)).await.unwrap());
        let grant = person_grant(client_id, client_id);
        store.add_code(&hash(client_id), &code_grant(&grant, 100), at(1)).await.unwrap();
        assert!(store.add_refresh_token(&hash(&format!("rt {client_id}")), &grant.id).await.unwrap());
        assert!(store.add_access_token(&hash(&format!("at {client_id}")), &access(&grant, 100), at(1)).await.unwrap());
    }
    assert!(store.add_access_token(&hash("own"), &grant("2", 100), at(1)).await.unwrap());
    assert!(store.add_access_token(&hash("bob"), &grant("3", 100), at(1)).await.unwrap());
    assert!(store.access_token(&hash("own"), at(1)).await.unwrap().is_some());

    let both = bindings(&["user:alice@example.com", "user:bob@example.com"]);
    assert!(matches!(store.replace_policy("p", &both, None, &[]).await.unwrap(), PolicyWrite::Written(_)));

    assert!(store.remove_user(&id("2")).await.unwrap());
    assert!(!store.remove_user(&id("2")).await.unwrap());
    assert_eq!(store.policy("p").await.unwrap().bindings, bindings(&["user:bob@example.com"]));
    assert_eq!(store.users().await.unwrap(), [user("3", "bob@example.com")]);
    assert_eq!(members(&store, "a").await, ["user:bob@example.com"]);
    for name in ["c", "d"] {
        assert_eq!(store.refresh_token(&hash(&format!("rt {name}"))).await.unwrap(), None);
        assert_eq!(store.access_token(&hash(&format!("at {name}")), at(1)).await.unwrap(), None);
    }
    assert_eq!(store.access_token(&hash("own"), at(1)).await.unwrap(), None);
    assert!(store.access_token(&hash("bob"), at(1)).await.unwrap().is_some());
}
