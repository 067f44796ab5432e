use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use doorward_core::grant::{CodeGrant, GrantId, PersonGrant, Subject, TokenHash};
use doorward_core::resource::ClientId;
use doorward_wire::oauth::{AuthorizationCodeRequest, AuthorizeRequest, Scopes};

use crate::people::{CHALLENGE, LOOPBACK, TestClient, VERIFIER, kinds};
use crate::{Stack, cause};

#[tokio::test]
async fn a_code_gives_what_was_asked_for_and_an_installed_client_may_stay() {
    let stack = Stack::new().await;
    let alice = stack.alice().await;
    let (web, desktop, android) = (stack.web().await, stack.desktop().await, stack.android().await);
    let cloud = crate::robots::CLOUD;
    let scope = |scope: &str| Some(scope.to_owned());
    let offline = || Some("offline".to_owned());
    let mixed = format!("{cloud} openid");
    // (client, access_type, scope) => what is issued
    #[rustfmt::skip]
    let cases = [
        (&web,     None,      "openid email", "access id"),
        (&web,     offline(), "openid email", "access refresh id"),
        (&desktop, None,      "openid email", "access refresh id"),
        (&android, None,      "openid email", "access refresh id"),
        (&desktop, offline(), cloud,          "access refresh"),
        (&web,     None,      cloud,          "access"),
        (&web,     None,      "profile",      "access id"),
        (&web,     None,      &mixed,         "access id"),
    ];
    for (row, (client, access_type, scopes, expected)) in cases.into_iter().enumerate() {
        let request = AuthorizeRequest { access_type, scope: scope(scopes), ..client.asks() };
        let code = stack.code_for(&request, &alice).await;
        let tokens = stack.redeem_code(client.redeems(&code)).await.unwrap();
        assert_eq!((tokens.kinds().as_str(), tokens.scopes.as_str()), (expected, scopes), "row {row}");
        let access = stack.store.access_token(&TokenHash::of(&tokens.access), stack.now()).await.unwrap().unwrap();
        assert_eq!(
            (&access.subject, access.scopes.as_str()),
            (&Subject::Account(alice.subject().clone()), scopes),
            "row {row}"
        );
        let event = stack.last_event();
        let names = expected.replace("access", "access_token").replace("refresh", "refresh_token");
        assert_eq!(event.issued, Some(names.replace(" id", " id_token")), "row {row}");
        assert_eq!(event.account.as_deref(), Some("alice@example.com"));
        let recorded = serde_json::to_string(&stack.audit.events()).unwrap();
        for secret in [Some(&code), Some(&tokens.access), tokens.refresh.as_ref(), tokens.id.as_ref()] {
            assert!(secret.is_none_or(|secret| !recorded.contains(secret)), "row {row}");
        }
    }
}

#[tokio::test]
async fn a_code_is_good_for_its_client_its_address_and_ten_minutes() {
    let stack = Stack::new().await;
    let alice = stack.alice().await;
    let (desktop, other) = (stack.desktop().await, stack.web().await);
    type Change = fn(AuthorizationCodeRequest, &TestClient) -> AuthorizationCodeRequest;
    // (change, age in seconds) => outcome, and whether the code is still there
    #[rustfmt::skip]
    let cases: [(Change, u64, &str, &str, bool); 9] = [
        (|it, _| it,                                                                0,   "access refresh id", "",             false),
        (|it, _| it,                                                                599, "access refresh id", "",             false),
        (|it, _| it,                                                                600, "CodeUnknown",  "unknown_grant",     false),
        (|it, other| AuthorizationCodeRequest { client: other.credentials(), ..it }, 0,  "CodeUnknown",  "unknown_grant",     true),
        (|it, _| AuthorizationCodeRequest { code: format!("{}x", it.code), ..it },  0,   "CodeUnknown",  "unknown_grant",     true),
        (|it, _| AuthorizationCodeRequest { code: "4/0AX4".to_owned(), ..it },      0,   "CodeMalformed", "invalid_request",  true),
        (|it, _| AuthorizationCodeRequest { redirect_uri: None, ..it },             0,   "RedirectMismatch", "redirect_mismatch", false),
        (|it, _| AuthorizationCodeRequest { redirect_uri: Some("http://127.0.0.1:4712/".to_owned()), ..it }, 0, "RedirectMismatch", "redirect_mismatch", false),
        (|it, _| AuthorizationCodeRequest { redirect_uri: Some("http://127.0.0.1:4711".to_owned()), ..it }, 0, "RedirectMismatch", "redirect_mismatch", false),
    ];
    for (row, (change, age, expected, reason, remains)) in cases.into_iter().enumerate() {
        let code = stack.code_for(&desktop.asks(), &alice).await;
        stack.clock.advance(Duration::from_secs(age));
        let outcome = stack.redeem_code(change(desktop.redeems(&code), &other)).await;
        assert_eq!(kinds(&outcome), expected, "row {row}");
        assert_eq!(stack.last_reason(), reason, "row {row}");
        let again = stack.redeem_code(desktop.redeems(&code)).await;
        assert_eq!(again.is_ok(), remains, "row {row}");
    }
}

#[tokio::test]
async fn a_challenge_and_a_verifier_belong_together() {
    let stack = Stack::new().await;
    let alice = stack.alice().await;
    let (desktop, android) = (stack.desktop().await, stack.android().await);
    let (short, long) = ("x".repeat(42), "x".repeat(129));
    let strange = VERIFIER.replace('-', "+");
    let longest = format!("{}~.-_", "x".repeat(124));
    // (client, challenge, method, verifier) => outcome
    #[rustfmt::skip]
    let cases = [
        (&desktop, None,                   None,          None,                   "ok"),
        (&desktop, Some(CHALLENGE),        Some("S256"),  Some(VERIFIER),         "ok"),
        (&android, Some(CHALLENGE),        Some("S256"),  Some(VERIFIER),         "ok"),
        (&android, Some(VERIFIER),         Some("plain"), Some(VERIFIER),         "ok"),
        (&android, Some(VERIFIER),         None,          Some(VERIFIER),         "ok"),
        (&android, Some(longest.as_str()), None,          Some(longest.as_str()), "ok"),
        // Taken out on the way, in either direction.
        (&desktop, Some(CHALLENGE),        Some("S256"),  None,                   "Verifier"),
        (&desktop, None,                   None,          Some(VERIFIER),         "Verifier"),
        (&android, Some(CHALLENGE),        Some("S256"),  None,                   "Verifier"),
        // The challenge itself, for what it stands for.
        (&desktop, Some(CHALLENGE),        Some("S256"),  Some(CHALLENGE),        "Verifier"),
        (&desktop, Some(CHALLENGE),        None,          Some(VERIFIER),         "Verifier"),
        (&desktop, Some(CHALLENGE),        Some("S256"),  Some(&short),           "Verifier"),
        (&desktop, Some(CHALLENGE),        Some("S256"),  Some(&long),            "Verifier"),
        (&desktop, Some(CHALLENGE),        Some("S256"),  Some(&strange),         "Verifier"),
        (&desktop, Some(CHALLENGE),        Some("S256"),  Some(""),               "Verifier"),
    ];
    for (row, (client, challenge, method, verifier, expected)) in cases.into_iter().enumerate() {
        let text = |text: Option<&str>| text.map(str::to_owned);
        let request =
            AuthorizeRequest { code_challenge: text(challenge), code_challenge_method: text(method), ..client.asks() };
        let code = stack.code_for(&request, &alice).await;
        let redeem = async |verifier| {
            stack.redeem_code(AuthorizationCodeRequest { code_verifier: text(verifier), ..client.redeems(&code) }).await
        };
        let outcome = redeem(verifier).await;
        let expected_outcome = if expected == "ok" { "access refresh id" } else { expected };
        assert_eq!(kinds(&outcome), expected_outcome, "row {row}");
        assert_eq!(stack.last_reason(), if expected == "ok" { "" } else { "pkce_mismatch" }, "row {row}");
        if expected != "ok" {
            assert_eq!(kinds(&redeem(Some(VERIFIER)).await), "CodeReused", "one guess is all, row {row}");
        }
    }
}

#[tokio::test]
async fn a_code_that_is_used_again_ends_what_it_gave() {
    let stack = Stack::new().await;
    let alice = stack.alice().await;
    let (desktop, other) = (stack.desktop().await, stack.web().await);
    let code = stack.code_for(&desktop.asks(), &alice).await;
    let tokens = stack.redeem_code(desktop.redeems(&code)).await.unwrap();
    let untouched = stack.tokens_for(&desktop, &alice).await;

    let stranger = AuthorizationCodeRequest { client: other.credentials(), ..desktop.redeems(&code) };
    assert_eq!(kinds(&stack.redeem_code(stranger).await), "CodeUnknown", "another client can end nothing");
    assert!(stack.is_live(&tokens.access).await);

    assert_eq!(kinds(&stack.redeem_code(desktop.redeems(&code)).await), "CodeReused");
    assert_eq!(stack.last_reason(), "code_reuse");
    assert!(!stack.is_live(&tokens.access).await);
    let refresh = tokens.refresh.unwrap();
    assert_eq!(kinds(&stack.refresh(desktop.refreshes(&refresh)).await), "TokenUnknown");
    assert!(stack.is_live(&untouched.access).await, "what another sign-in gave stays");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_bring_one_code_at_once_at_most_one_gets_tokens_and_they_end() {
    let stack = Arc::new(Stack::new().await);
    let alice = stack.alice().await;
    let desktop = stack.desktop().await;
    for _ in 0..8 {
        let code = stack.code_for(&desktop.asks(), &alice).await;
        let calls: Vec<_> = (0..4)
            .map(|_| {
                let (stack, request) = (stack.clone(), desktop.redeems(&code));
                tokio::spawn(async move { stack.redeem_code(request).await })
            })
            .collect();
        let mut outcomes = BTreeMap::new();
        let mut given = Vec::new();
        for call in calls {
            let outcome = call.await.unwrap();
            *outcomes.entry(kinds(&outcome)).or_insert(0) += 1;
            given.extend(outcome.ok().map(|tokens| tokens.access));
        }
        let of = |name: &str| outcomes.get(name).copied().unwrap_or(0);
        assert_eq!(of("access refresh id") + of("TokenUnknown"), 1, "{outcomes:?}");
        assert!(of("CodeReused") >= 1, "{outcomes:?}");
        assert_eq!(of("CodeReused") + of("CodeUnknown"), 3, "{outcomes:?}");
        for access in given {
            assert!(!stack.is_live(&access).await);
        }
    }
}

#[tokio::test]
async fn a_person_who_is_disabled_or_no_more_gets_nothing() {
    let stack = Stack::new().await;
    let desktop = stack.desktop().await;
    let disabled = stack.add_user("gone@example.com", true).await;
    let robot = stack.create_account("robot1").await.unique_id;
    let nobody = doorward_core::account::UniqueId("999".to_owned());
    for (number, subject) in [disabled, nobody, robot].into_iter().enumerate() {
        let code = format!("doorward_ac_{number}");
        let grant = PersonGrant {
            id: GrantId(format!("grant{number}")),
            client: ClientId(desktop.id.clone()),
            subject: subject.clone(),
            scopes: Scopes::parse("openid").unwrap(),
            audience: None,
            nonce: None,
            offline: true,
            cred_ref: false,
            auth_time: stack.now(),
            created: stack.now(),
        };
        let expires = stack.now() + Duration::from_secs(600);
        let redirect_uri = LOOPBACK.to_owned();
        let id = grant.id.clone();
        let code_grant = CodeGrant { grant, redirect_uri, challenge: None, expires };
        stack.store.add_code(&TokenHash::of(&code), &code_grant, stack.now()).await.unwrap();
        let refresh = format!("doorward_rt_{number}");
        assert!(stack.store.add_refresh_token(&TokenHash::of(&refresh), &id).await.unwrap());
        for outcome in
            [stack.redeem_code(desktop.redeems(&code)).await, stack.refresh(desktop.refreshes(&refresh)).await]
        {
            assert_eq!(cause(&outcome.err().unwrap()), "TokenUnknown", "{subject:?}");
            assert_eq!(stack.last_reason(), "unknown_grant");
            assert!(stack.last_event().account.is_some());
        }
    }
}
