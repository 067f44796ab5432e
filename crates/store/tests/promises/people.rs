//! What people allowed to clients: grants, their codes, their refresh tokens and their access tokens.

use doorward_core::grant::{Challenge, CodeGrant, PersonGrant, RefreshGrant, TakenCode};

use super::{AnyStore, at_once};
use crate::samples::*;

/// A store with the clients `c` and `other`.
async fn with_clients(store: &AnyStore) {
    for id in ["c", "other"] {
        assert!(store.add_oauth_client(&client(id)).await.unwrap());
    }
}

/// A grant of a client that is there, kept with the code `code of ID` until `expires`.
async fn granted(store: &AnyStore, id: &str, expires: i64) -> PersonGrant {
    let grant = person_grant(id, "c");
    store.add_code(&hash(&format!("code of {id}")), &code_grant(&grant, expires), at(1)).await.unwrap();
    grant
}

pub(crate) async fn a_code_gives_what_was_granted_whatever_that_was(store: AnyStore) {
    with_clients(&store).await;
    let full = code_grant(&person_grant("full", "c"), 600);
    let bare = PersonGrant { audience: None, nonce: None, offline: false, cred_ref: true, ..person_grant("bare", "c") };
    let bare = CodeGrant { challenge: None, ..code_grant(&bare, 600) };
    let plain = code_grant(&person_grant("plain", "other"), 600);
    let plain = CodeGrant { challenge: Some(Challenge::Plain("verifier".into())), ..plain };
    for code in [full, bare, plain] {
        let name = hash(&code.grant.id.0);
        store.add_code(&name, &code, at(1)).await.unwrap();
        let taken = store.take_code(&name, &code.grant.client, at(2)).await.unwrap();
        assert_eq!(taken, TakenCode::Taken(Box::new(code)));
    }
}

pub(crate) async fn a_code_is_taken_by_its_client_once_and_not_at_its_end(store: AnyStore) {
    with_clients(&store).await;
    let grant = granted(&store, "g", 600).await;
    granted(&store, "late", 600).await;
    let taken = TakenCode::Taken(Box::new(code_grant(&grant, 600)));
    let reused = TakenCode::Reused(grant.id.clone());
    // (code, client, now) => what comes of it
    #[rustfmt::skip]
    let calls = [
        ("unknown",      "c",     100, &TakenCode::Unknown),
        ("code of g",    "other", 100, &TakenCode::Unknown),
        ("code of g",    "c",     599, &taken),
        ("code of g",    "other", 599, &TakenCode::Unknown),
        ("code of g",    "c",     599, &reused),
        ("code of g",    "c",     599, &reused),
        ("code of g",    "c",     600, &TakenCode::Unknown),
        ("code of late", "c",     600, &TakenCode::Unknown),
    ];
    for (call, (code, client, now, expected)) in calls.into_iter().enumerate() {
        let answer = store.take_code(&hash(code), &client_id(client), at(now)).await.unwrap();
        assert_eq!(&answer, expected, "call {call}");
    }
}

pub(crate) async fn of_those_who_take_a_code_at_once_one_gets_it_and_all_others_are_told_of_reuse(store: AnyStore) {
    with_clients(&store).await;
    let grant = granted(&store, "g", 600).await;
    let answers = at_once(30, |n| {
        let store = store.clone();
        let client = client_id(if n % 3 == 0 { "other" } else { "c" });
        async move { store.take_code(&hash("code of g"), &client, at(2)).await.unwrap() }
    });
    let answers = answers.await;
    let count = |expected: &TakenCode| answers.iter().filter(|answer| *answer == expected).count();
    assert_eq!(count(&TakenCode::Taken(Box::new(code_grant(&grant, 600)))), 1);
    assert_eq!(count(&TakenCode::Reused(grant.id)), 19);
    assert_eq!(count(&TakenCode::Unknown), 10);
}

pub(crate) async fn a_refresh_token_stands_for_its_grant_until_that_is_revoked(store: AnyStore) {
    with_clients(&store).await;
    let (grant, other) = (granted(&store, "g", 600).await, granted(&store, "o", 600).await);
    assert!(store.add_refresh_token(&hash("rt"), &grant.id).await.unwrap());
    assert!(store.add_refresh_token(&hash("rt of o"), &other.id).await.unwrap());
    let good = RefreshGrant { grant: grant.clone(), rotated: false };
    assert_eq!(store.refresh_token(&hash("rt")).await.unwrap(), Some(good));
    assert_eq!(store.refresh_token(&hash("unknown")).await.unwrap(), None);
    assert!(store.revoke_grant(&grant.id).await.unwrap());
    assert!(!store.revoke_grant(&grant.id).await.unwrap());
    assert_eq!(store.refresh_token(&hash("rt")).await.unwrap(), None);
    assert_eq!(store.refresh_token(&hash("rt of o")).await.unwrap().unwrap().grant, other);
    assert!(!store.add_refresh_token(&hash("more"), &grant.id).await.unwrap(), "the grant is no more");
    assert_eq!(store.refresh_token(&hash("more")).await.unwrap(), None);
}

pub(crate) async fn a_rotated_refresh_token_stays_known_and_is_rotated_once(store: AnyStore) {
    with_clients(&store).await;
    let grant = granted(&store, "g", 600).await;
    assert!(store.add_refresh_token(&hash("first"), &grant.id).await.unwrap());
    assert!(!store.rotate_refresh_token(&hash("unknown"), &hash("new")).await.unwrap());
    assert!(store.rotate_refresh_token(&hash("first"), &hash("second")).await.unwrap());
    assert!(!store.rotate_refresh_token(&hash("first"), &hash("new")).await.unwrap());
    assert!(store.rotate_refresh_token(&hash("second"), &hash("third")).await.unwrap());
    for (token, rotated) in [("first", true), ("second", true), ("third", false)] {
        let expected = RefreshGrant { grant: grant.clone(), rotated };
        assert_eq!(store.refresh_token(&hash(token)).await.unwrap(), Some(expected), "{token}");
    }
    assert_eq!(store.refresh_token(&hash("new")).await.unwrap(), None);
    assert!(store.revoke_grant(&grant.id).await.unwrap());
    for token in ["first", "second", "third"] {
        assert_eq!(store.refresh_token(&hash(token)).await.unwrap(), None, "{token}");
    }
    assert!(!store.rotate_refresh_token(&hash("third"), &hash("new")).await.unwrap());
}

pub(crate) async fn of_those_who_rotate_a_refresh_token_at_once_one_wins(store: AnyStore) {
    with_clients(&store).await;
    let grant = granted(&store, "g", 600).await;
    assert!(store.add_refresh_token(&hash("old"), &grant.id).await.unwrap());
    let rotated = at_once(20, |n| {
        let store = store.clone();
        async move { store.rotate_refresh_token(&hash("old"), &hash(&format!("new {n}"))).await.unwrap().then_some(n) }
    });
    let winners: Vec<usize> = rotated.await.into_iter().flatten().collect();
    assert_eq!(winners.len(), 1);
    for n in 0..20 {
        let known = store.refresh_token(&hash(&format!("new {n}"))).await.unwrap();
        assert_eq!(known.is_some(), winners == [n], "{n}");
    }
}

pub(crate) async fn a_revoked_grant_ends_with_everything_that_was_issued_from_it_and_nothing_else(store: AnyStore) {
    with_clients(&store).await;
    let (grant, other) = (granted(&store, "g", 600).await, granted(&store, "o", 600).await);
    for grant in [&grant, &other] {
        let name = hash(&format!("at of {}", grant.id.0));
        assert!(store.add_access_token(&name, &access(grant, 600), at(1)).await.unwrap());
    }
    assert!(store.add_access_token(&hash("program"), &crate::samples::grant("2", 600), at(1)).await.unwrap());
    assert_eq!(store.access_token(&hash("at of g"), at(2)).await.unwrap(), Some(access(&grant, 600)));
    assert!(store.revoke_grant(&grant.id).await.unwrap());
    assert_eq!(store.access_token(&hash("at of g"), at(2)).await.unwrap(), None);
    assert_eq!(store.access_token(&hash("at of o"), at(2)).await.unwrap(), Some(access(&other, 600)));
    assert!(store.access_token(&hash("program"), at(2)).await.unwrap().is_some());
    let taken = store.take_code(&hash("code of g"), &grant.client, at(2)).await.unwrap();
    assert_eq!(taken, TakenCode::Unknown, "it was not used before");
    let taken = store.take_code(&hash("code of o"), &grant.client, at(2)).await.unwrap();
    assert!(matches!(taken, TakenCode::Taken(_)));
    assert!(!store.add_access_token(&hash("more"), &access(&grant, 600), at(2)).await.unwrap());
    assert_eq!(store.access_token(&hash("more"), at(2)).await.unwrap(), None);
}

pub(crate) async fn nothing_outlives_a_grant_that_is_revoked_while_more_is_issued(store: AnyStore) {
    with_clients(&store).await;
    let grant = granted(&store, "g", 600).await;
    assert!(store.add_refresh_token(&hash("rt 0"), &grant.id).await.unwrap());
    at_once(30, |n| {
        let (store, grant) = (store.clone(), grant.clone());
        async move {
            let name = hash(&format!("{n}"));
            let rotated = hash(&format!("rt {n}"));
            match n % 4 {
                0 if n == 8 => store.revoke_grant(&grant.id).await.unwrap(),
                0 | 1 => store.add_access_token(&name, &access(&grant, 600), at(1)).await.unwrap(),
                2 => store.add_refresh_token(&name, &grant.id).await.unwrap(),
                _ => store.rotate_refresh_token(&hash("rt 0"), &rotated).await.unwrap(),
            }
        }
    })
    .await;
    for n in 0..30 {
        assert_eq!(store.access_token(&hash(&format!("{n}")), at(1)).await.unwrap(), None);
        assert_eq!(store.refresh_token(&hash(&format!("{n}"))).await.unwrap(), None);
        assert_eq!(store.refresh_token(&hash(&format!("rt {n}"))).await.unwrap(), None);
    }
}

pub(crate) async fn a_grant_lives_as_long_as_something_that_was_issued_from_it(store: AnyStore) {
    with_clients(&store).await;
    let refreshed = granted(&store, "refreshed", 600).await;
    assert!(store.add_refresh_token(&hash("rt"), &refreshed.id).await.unwrap());
    // An access token that ends sooner takes nothing away.
    assert!(store.add_access_token(&hash("short"), &access(&refreshed, 700), at(2)).await.unwrap());
    let accessed = granted(&store, "accessed", 600).await;
    assert!(store.add_access_token(&hash("at"), &access(&accessed, 9000), at(2)).await.unwrap());
    assert!(store.add_access_token(&hash("sooner"), &access(&accessed, 700), at(2)).await.unwrap());
    let coded = granted(&store, "coded", 9000).await;
    // Each new code may forget grants of which nothing is left.
    for n in 0..5 {
        let fresh = code_grant(&person_grant(&format!("fresh {n}"), "other"), 9999);
        store.add_code(&hash(&format!("fresh {n}")), &fresh, at(8999)).await.unwrap();
    }
    assert_eq!(store.refresh_token(&hash("rt")).await.unwrap().unwrap().grant, refreshed);
    assert_eq!(store.access_token(&hash("at"), at(8999)).await.unwrap(), Some(access(&accessed, 9000)));
    let taken = store.take_code(&hash("code of coded"), &coded.client, at(8999)).await.unwrap();
    assert_eq!(taken, TakenCode::Taken(Box::new(code_grant(&coded, 9000))));
    for grant in [refreshed, accessed, coded] {
        assert!(store.revoke_grant(&grant.id).await.unwrap(), "{grant:?}");
    }
}

pub(crate) async fn what_was_taken_in_its_last_moment_is_still_issued(store: AnyStore) {
    with_clients(&store).await;
    let grant = granted(&store, "g", 600).await;
    let taken = store.take_code(&hash("code of g"), &grant.client, at(599)).await.unwrap();
    assert!(matches!(taken, TakenCode::Taken(_)));
    let fresh = code_grant(&person_grant("fresh", "other"), 9999);
    store.add_code(&hash("fresh"), &fresh, at(610)).await.unwrap();
    assert!(store.add_access_token(&hash("at"), &access(&grant, 4000), at(610)).await.unwrap());
    assert!(store.add_refresh_token(&hash("rt"), &grant.id).await.unwrap());
}

pub(crate) async fn of_one_person_for_one_client_the_newest_hundred_grants_with_a_refresh_token_stay(store: AnyStore) {
    with_clients(&store).await;
    let of = |name: &str, client: &str, subject: &str, created: i64| PersonGrant {
        subject: id(subject),
        created: at(created),
        ..person_grant(name, client)
    };
    let keep = async |grant: &PersonGrant| {
        let code = code_grant(grant, 5_000);
        store.add_code(&hash(&format!("code of {}", grant.id.0)), &code, at(1)).await.unwrap();
        assert!(store.add_refresh_token(&hash(&grant.id.0), &grant.id).await.unwrap());
    };
    keep(&of("hers", "c", "3", 1)).await;
    keep(&of("for another", "other", "2", 1)).await;
    for number in 0..100 {
        keep(&of(&format!("g{number}"), "c", "2", 10 + number)).await;
    }
    let token = access(&of("g0", "c", "2", 10), 5_000);
    assert!(store.add_access_token(&hash("at"), &token, at(1)).await.unwrap());
    assert!(store.access_token(&hash("at"), at(2)).await.unwrap().is_some());
    keep(&of("newest", "c", "2", 1_000)).await;
    let mut known = Vec::new();
    for name in ["hers", "for another", "g0", "g1", "g99", "newest"] {
        known.push(store.refresh_token(&hash(name)).await.unwrap().is_some());
    }
    assert_eq!(known, [true, true, false, true, true, true]);
    assert_eq!(store.access_token(&hash("at"), at(2)).await.unwrap(), None, "it ended with its grant");
}
