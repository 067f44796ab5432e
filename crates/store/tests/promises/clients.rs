//! OAuth clients, and sessions at the sign-in pages.

use doorward_core::client::{ClientKind, OAuthClient};
use doorward_core::grant::{DevicePoll, TakenCode};
use doorward_core::resource::{Application, Project};
use doorward_core::store::ClientRemoval;

use super::{AnyStore, at_once};
use crate::samples::*;

pub(crate) async fn a_client_is_found_by_its_id_as_it_was_registered(store: AnyStore) {
    let kinds = [
        ClientKind::Web { redirect_uris: vec!["https://a.example.com/".into(), "http://localhost/".into()] },
        ClientKind::Desktop { redirect_uris: vec![] },
        ClientKind::Android { package: "com.example.app".into(), sha1: "DA:39".into() },
        ClientKind::Ios { bundle_id: "com.example.App".into() },
    ];
    let clients: Vec<OAuthClient> = kinds
        .into_iter()
        .map(|kind| {
            let secret = kind.has_secret().then(|| hash(kind.name()));
            OAuthClient { secret, kind: kind.clone(), ..client(kind.name()) }
        })
        .collect();
    for client in &clients {
        assert!(store.add_oauth_client(client).await.unwrap());
        assert_eq!(store.oauth_client(&client.id).await.unwrap().as_ref(), Some(client));
    }
    assert_eq!(store.oauth_client(&client_id("unknown")).await.unwrap(), None);
    let [web, desktop, android, ios] = <[OAuthClient; 4]>::try_from(clients).unwrap();
    assert_eq!(store.oauth_clients().await.unwrap(), [android, desktop, ios, web]);
}

pub(crate) async fn a_client_id_is_given_to_one_client(store: AnyStore) {
    assert!(store.add_oauth_client(&client("c")).await.unwrap());
    let other = OAuthClient { display_name: "Other".into(), secret: None, ..client("c") };
    assert!(!store.add_oauth_client(&other).await.unwrap());
    assert_eq!(store.oauth_clients().await.unwrap(), [client("c")]);
    let added = at_once(20, |_| {
        let store = store.clone();
        async move { store.add_oauth_client(&client("wanted")).await.unwrap() }
    });
    assert_eq!(added.await.iter().filter(|added| **added).count(), 1);
}

pub(crate) async fn a_secret_is_replaced_and_nothing_else(store: AnyStore) {
    assert!(!store.replace_client_secret(&client_id("c"), &hash("new")).await.unwrap(), "there is no such client");
    for id in ["c", "other"] {
        assert!(store.add_oauth_client(&client(id)).await.unwrap());
    }
    assert!(store.replace_client_secret(&client_id("c"), &hash("new")).await.unwrap());
    let replaced = OAuthClient { secret: Some(hash("new")), ..client("c") };
    assert_eq!(store.oauth_clients().await.unwrap(), [replaced, client("other")]);
}

pub(crate) async fn a_client_goes_with_everything_that_was_granted_to_it_and_takes_no_others(store: AnyStore) {
    for id in ["c", "other"] {
        assert!(store.add_oauth_client(&client(id)).await.unwrap());
        let name = |what: &str| hash(&format!("{what} of {id}"));
        let grant = person_grant(&format!("grant of {id}"), id);
        store.add_code(&name("code"), &code_grant(&grant, 600), at(1)).await.unwrap();
        assert!(store.add_refresh_token(&name("refresh"), &grant.id).await.unwrap());
        assert!(store.add_access_token(&name("access"), &access(&grant, 600), at(1)).await.unwrap());
        for what in ["undecided", "decided"] {
            let device = device_grant(id, 600);
            assert!(store.add_device_code(&name(what), &name(&format!("user {what}")), &device, at(1)).await.unwrap());
        }
        let allowed = person_grant(&format!("device of {id}"), id);
        assert!(store.decide_device(&name("user decided"), Some(&allowed), at(1)).await.unwrap());
    }
    assert_eq!(store.remove_oauth_client(&client_id("c")).await.unwrap(), ClientRemoval::Removed);
    assert_eq!(store.remove_oauth_client(&client_id("c")).await.unwrap(), ClientRemoval::Missing);
    for (id, there) in [("c", false), ("other", true)] {
        let name = |what: &str| hash(&format!("{what} of {id}"));
        let client = client_id(id);
        assert_eq!(store.oauth_client(&client).await.unwrap().is_some(), there);
        assert_eq!(store.refresh_token(&name("refresh")).await.unwrap().is_some(), there);
        assert_eq!(store.access_token(&name("access"), at(1)).await.unwrap().is_some(), there);
        let code = store.take_code(&name("code"), &client, at(1)).await.unwrap();
        assert_eq!(matches!(code, TakenCode::Taken(_)), there, "{code:?}");
        assert_eq!(store.device_grant(&name("user undecided"), at(1)).await.unwrap().is_some(), there);
        let poll = store.poll_device(&name("decided"), &client, at(1)).await.unwrap();
        assert_eq!(matches!(poll, DevicePoll::Allowed(_)), there, "{poll:?}");
        for grant in ["grant", "device"] {
            let grant = person_grant(&format!("{grant} of {id}"), id);
            assert_eq!(store.revoke_grant(&grant.id).await.unwrap(), there);
        }
    }
}

pub(crate) async fn a_client_that_an_application_has_stays(store: AnyStore) {
    for id in ["c", "other"] {
        assert!(store.add_oauth_client(&client(id)).await.unwrap());
    }
    let apps = [application("b", "1", "c"), application("a", "2", "c")];
    for app in &apps {
        store.add_application(app).await.unwrap().unwrap();
    }
    let seen = store.revision().await.unwrap();
    let removed = async || store.remove_oauth_client(&client_id("c")).await.unwrap();
    assert_eq!(removed().await, ClientRemoval::InUse("a".parse().unwrap()));
    assert_eq!(store.revision().await.unwrap(), seen, "nothing was written");
    assert_eq!(store.remove_oauth_client(&client_id("other")).await.unwrap(), ClientRemoval::Removed);
    let project = Project { id: "p".into(), number: "1".into(), ancestors: vec![] };
    assert!(store.remove_application("2", &project).await.unwrap());
    assert_eq!(removed().await, ClientRemoval::InUse("b".parse().unwrap()));
    let moved = Application { client_id: client_id("elsewhere"), ..apps[0].clone() };
    store.replace_application(&moved, None).await.unwrap().unwrap();
    assert_eq!(removed().await, ClientRemoval::Removed);
    assert_eq!(store.oauth_client(&client_id("c")).await.unwrap(), None);
}

pub(crate) async fn nothing_is_granted_to_a_client_that_is_no_more(store: AnyStore) {
    let grant = person_grant("g", "gone");
    assert!(store.add_code(&hash("code"), &code_grant(&grant, 600), at(1)).await.is_err());
    assert!(store.add_device_code(&hash("d"), &hash("u"), &device_grant("gone", 600), at(1)).await.is_err());
    assert!(store.add_oauth_client(&client("gone")).await.unwrap());
    assert_eq!(store.take_code(&hash("code"), &grant.client, at(1)).await.unwrap(), TakenCode::Unknown);
    assert!(!store.revoke_grant(&grant.id).await.unwrap());
}

pub(crate) async fn a_session_is_good_until_it_ends_and_not_at_its_end(store: AnyStore) {
    store.put_session(None, &hash("a"), &session(&["1", "2"], 100), at(1)).await.unwrap();
    store.put_session(None, &hash("b"), &session(&[], 200), at(1)).await.unwrap();
    assert_eq!(store.session(&hash("a"), at(99)).await.unwrap(), Some(session(&["1", "2"], 100)));
    assert_eq!(store.session(&hash("a"), at(100)).await.unwrap(), None);
    assert_eq!(store.session(&hash("unknown"), at(1)).await.unwrap(), None);
    // Forgets the first, keeps the second.
    store.put_session(None, &hash("c"), &session(&["3"], 300), at(150)).await.unwrap();
    assert_eq!(store.session(&hash("a"), at(100)).await.unwrap(), None);
    assert_eq!(store.session(&hash("b"), at(150)).await.unwrap(), Some(session(&[], 200)));
}

pub(crate) async fn a_session_takes_the_place_of_an_old_one_and_is_ended_alone(store: AnyStore) {
    store.put_session(None, &hash("other"), &session(&["9"], 100), at(1)).await.unwrap();
    store.put_session(Some(&hash("unknown")), &hash("a"), &session(&["1"], 100), at(1)).await.unwrap();
    store.put_session(Some(&hash("a")), &hash("b"), &session(&["2", "1"], 200), at(1)).await.unwrap();
    assert_eq!(store.session(&hash("a"), at(1)).await.unwrap(), None);
    assert_eq!(store.session(&hash("b"), at(1)).await.unwrap(), Some(session(&["2", "1"], 200)));
    for old in [Some(hash("b")), None] {
        store.put_session(old.as_ref(), &hash("b"), &session(&["3"], 300), at(1)).await.unwrap();
        assert_eq!(store.session(&hash("b"), at(1)).await.unwrap(), Some(session(&["3"], 300)));
    }
    assert!(store.remove_session(&hash("b")).await.unwrap());
    assert!(!store.remove_session(&hash("b")).await.unwrap());
    assert_eq!(store.session(&hash("b"), at(1)).await.unwrap(), None);
    assert_eq!(store.session(&hash("other"), at(1)).await.unwrap(), Some(session(&["9"], 100)));
}
