use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use doorward_core::grant::TokenHash;
use doorward_wire::oauth::{AuthorizeRequest, RefreshTokenRequest};

use crate::Stack;
use crate::people::kinds;
use crate::robots::CLOUD;

#[tokio::test]
async fn a_client_with_a_secret_keeps_its_refresh_token() {
    let stack = Stack::new().await;
    let alice = stack.alice().await;
    let desktop = stack.desktop().await;
    let request = AuthorizeRequest { nonce: Some("n".to_owned()), ..desktop.asks() };
    let code = stack.code_for(&request, &alice).await;
    let first = stack.redeem_code(desktop.redeems(&code)).await.unwrap();
    assert_eq!(stack.id_token_claims(&first.id.unwrap())["nonce"], "n");
    let refresh = first.refresh.unwrap();
    // A year later, too.
    for days in [0, 1, 365] {
        stack.clock.advance(Duration::from_secs(days * 24 * 3600));
        stack.keys.rotate(&stack.admin, Some("id-token"), true).await.unwrap();
        let tokens = stack.refresh(desktop.refreshes(&refresh)).await.unwrap();
        assert_eq!((tokens.kinds().as_str(), tokens.scopes.as_str()), ("access id", "openid email"));
        assert!(stack.is_live(&tokens.access).await);
        let claims = stack.id_token_claims(&tokens.id.unwrap());
        assert_eq!((claims.get("nonce"), &claims["email"]), (None, &"alice@example.com".into()));
        assert_eq!(stack.last_event().issued.as_deref(), Some("access_token id_token"));
    }
}

#[tokio::test]
async fn a_public_client_gets_another_token_each_time_and_one_that_comes_back_ends_all() {
    let stack = Stack::new().await;
    let alice = stack.alice().await;
    let android = stack.android().await;
    let first = stack.tokens_for(&android, &alice).await;
    let old = first.refresh.unwrap();
    let second = stack.refresh(android.refreshes(&old)).await.unwrap();
    assert_eq!(second.kinds(), "access refresh id");
    let new = second.refresh.unwrap();
    assert_ne!(new, old);
    let third = stack.refresh(android.refreshes(&new)).await.unwrap();
    let newest = third.refresh.unwrap();

    assert_eq!(kinds(&stack.refresh(android.refreshes(&old)).await), "RefreshTokenReused");
    assert_eq!(stack.last_reason(), "refresh_token_reuse");
    assert_eq!(stack.last_event().client.as_deref(), Some(android.id.as_str()));
    for access in [first.access, second.access, third.access] {
        assert!(!stack.is_live(&access).await);
    }
    assert_eq!(kinds(&stack.refresh(android.refreshes(&newest)).await), "TokenUnknown");
    assert_eq!(kinds(&stack.refresh(android.refreshes(&old)).await), "TokenUnknown");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_who_bring_one_refresh_token_at_once_the_loser_ends_the_family() {
    let stack = Arc::new(Stack::new().await);
    let alice = stack.alice().await;
    let android = stack.android().await;
    for _ in 0..8 {
        let refresh = stack.tokens_for(&android, &alice).await.refresh.unwrap();
        let calls: Vec<_> = (0..2)
            .map(|_| {
                let (stack, request) = (stack.clone(), android.refreshes(&refresh));
                tokio::spawn(async move { stack.refresh(request).await })
            })
            .collect();
        let mut outcomes = BTreeMap::new();
        let mut given = Vec::new();
        for call in calls {
            let outcome = call.await.unwrap();
            *outcomes.entry(kinds(&outcome)).or_insert(0) += 1;
            given.extend(outcome.ok());
        }
        let of = |name: &str| outcomes.get(name).copied().unwrap_or(0);
        assert_eq!(of("RefreshTokenReused"), 1, "{outcomes:?}");
        // The winner was before the loser, or found that the family had ended.
        assert_eq!(of("access refresh id") + of("TokenUnknown"), 1, "{outcomes:?}");
        for tokens in given {
            assert!(!stack.is_live(&tokens.access).await);
            let new = tokens.refresh.unwrap();
            assert_eq!(kinds(&stack.refresh(android.refreshes(&new)).await), "TokenUnknown");
        }
    }
}

#[tokio::test]
async fn a_refresh_token_is_good_for_its_client_and_its_scopes_only() {
    let stack = Stack::new().await;
    let alice = stack.alice().await;
    let (desktop, web) = (stack.desktop().await, stack.web().await);
    let scope = Some(format!("openid email {CLOUD}"));
    let code = stack.code_for(&AuthorizeRequest { scope, ..desktop.asks() }, &alice).await;
    let refresh = stack.redeem_code(desktop.redeems(&code)).await.unwrap().refresh.unwrap();
    let long = "https://www.googleapis.com/auth/userinfo.email";
    let more = format!("openid {CLOUD} profile");
    // (client, token, scope) => outcome
    #[rustfmt::skip]
    let cases = [
        (&desktop, refresh.as_str(),   None,              "access id",            ""),
        (&desktop, &refresh,           Some("openid"),    "access id",            ""),
        (&desktop, &refresh,           Some(CLOUD),       "access id",            ""),
        (&desktop, &refresh,           Some(long),        "access id",            ""),
        (&desktop, &refresh,           Some("profile"),   "Scope",                "invalid_scope"),
        (&desktop, &refresh,           Some(&more),       "Scope",                "invalid_scope"),
        (&desktop, &refresh,           Some("nonsense"),  "Scope",                "invalid_scope"),
        (&web,     &refresh,           None,              "TokenOfAnotherClient", "unknown_grant"),
        (&desktop, "doorward_rt_none", None,              "TokenUnknown",         "unknown_grant"),
        (&desktop, "1//0abc",          None,              "TokenUnknown",         "unknown_grant"),
        (&desktop, "",                 None,              "TokenUnknown",         "unknown_grant"),
    ];
    for (row, (client, token, scope, expected, reason)) in cases.into_iter().enumerate() {
        let request = RefreshTokenRequest { scope: scope.map(str::to_owned), ..client.refreshes(token) };
        let outcome = stack.refresh(request).await;
        assert_eq!((kinds(&outcome).as_str(), stack.last_reason()), (expected, reason), "row {row}");
        if let Ok(tokens) = outcome {
            let full = format!("openid email {CLOUD}");
            let expected = scope.unwrap_or(&full);
            assert_eq!(tokens.scopes, expected, "row {row}");
            let access = stack.store.access_token(&TokenHash::of(&tokens.access), stack.now()).await.unwrap();
            assert_eq!(access.unwrap().scopes.as_str(), expected, "row {row}");
        }
    }
}

#[tokio::test]
async fn an_access_token_is_no_refresh_token_and_a_deleted_client_has_neither() {
    let stack = Stack::new().await;
    let alice = stack.alice().await;
    let desktop = stack.desktop().await;
    let tokens = stack.tokens_for(&desktop, &alice).await;
    assert_eq!(kinds(&stack.refresh(desktop.refreshes(&tokens.access)).await), "TokenUnknown");
    stack.clients.delete(&stack.admin, &desktop.id).await.unwrap();
    assert!(!stack.is_live(&tokens.access).await);
    let refresh = tokens.refresh.unwrap();
    assert_eq!(kinds(&stack.refresh(desktop.refreshes(&refresh)).await), "ClientUnknown");
}
