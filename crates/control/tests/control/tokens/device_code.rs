use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use doorward_control::sign_in::{DeviceError, DeviceQuestion};
use doorward_control::tokens::DeviceCodes;
use doorward_core::audit::TokenMethod;
use doorward_wire::oauth::{ClientCredentials, DeviceCodeRequest, TokenRequest};

use crate::people::{TestClient, kinds};
use crate::{APP_CLIENT, PEER, Stack, cause};

const INTERVAL: Duration = Duration::from_secs(5);

impl Stack {
    async fn device(&self, client: &TestClient) -> DeviceCodes {
        self.tokens.authorize_device(client.credentials(), Some("openid email"), PEER).await.unwrap()
    }

    async fn poll(&self, client: &TestClient, device_code: &str, audience: Option<&str>) -> String {
        let audience = audience.map(str::to_owned);
        let device_code = device_code.to_owned();
        let request = DeviceCodeRequest { client: client.credentials(), device_code, audience };
        kinds(&self.redeem_for_person(TokenRequest::DeviceCode(request)).await)
    }

    async fn ask(&self, user_code: &str, peer: IpAddr) -> Result<DeviceQuestion, DeviceError> {
        self.sign_in.device_question(user_code, peer).await
    }
}

#[tokio::test]
async fn a_device_gets_codes_for_known_scopes_and_a_known_client() {
    let stack = Stack::new().await;
    let (desktop, android, web) = (stack.desktop().await, stack.android().await, stack.web().await);
    let bare = |client: &TestClient| ClientCredentials { client_secret: None, ..client.credentials() };
    let wrong = |client: &TestClient| ClientCredentials { client_secret: Some("x".to_owned()), ..client.credentials() };
    let nobody = ClientCredentials { client_id: APP_CLIENT.to_owned(), client_secret: None };
    #[rustfmt::skip]
    let cases = [
        (desktop.credentials(), Some("openid"),   "",              ""),
        (bare(&desktop),        Some("openid"),   "",              ""),
        (bare(&android),        Some("openid"),   "DeviceClient",  "invalid_client"),
        (web.credentials(),     Some("openid"),   "DeviceClient",  "invalid_client"),
        (wrong(&desktop),       Some("openid"),   "ClientSecret",  "invalid_client"),
        (wrong(&android),       Some("openid"),   "ClientSecret",  "invalid_client"),
        (nobody,                Some("openid"),   "ClientUnknown", "invalid_client"),
        (bare(&desktop),        Some("nonsense"), "Scope",         "invalid_scope"),
        (bare(&desktop),        None,             "Scope",         "invalid_scope"),
    ];
    for (row, (client, scope, expected, reason)) in cases.into_iter().enumerate() {
        let outcome = stack.tokens.authorize_device(client.clone(), scope, PEER).await;
        assert_eq!(outcome.as_ref().err().map(cause).unwrap_or_default(), expected, "row {row}");
        let event = stack.last_event();
        assert_eq!((event.method, stack.last_reason()), (TokenMethod::DeviceAuthorization, reason), "row {row}");
        assert_eq!(event.client, Some(client.client_id), "row {row}");
        if let Ok(codes) = outcome {
            assert_eq!((codes.expires_in, codes.interval), (Duration::from_secs(1800), INTERVAL));
            assert!(codes.device_code.starts_with("doorward_dc_") && codes.device_code.len() == 55);
            let letters = codes.user_code.chars().filter(|letter| "BCDFGHJKLMNPQRSTVWXZ".contains(*letter)).count();
            assert_eq!((letters, codes.user_code.len(), codes.user_code.find('-')), (8, 9, Some(4)));
            let recorded = serde_json::to_string(&stack.audit.events()).unwrap();
            assert!(!recorded.contains(&codes.device_code) && !recorded.contains(&codes.user_code));
        }
    }
}

#[tokio::test]
async fn a_device_waits_for_its_person_and_is_told_yes_once() {
    let stack = Stack::new().await;
    let alice = stack.alice().await;
    let (desktop, other) = (stack.desktop().await, stack.web().await);
    let codes = stack.device(&desktop).await;
    let device = codes.device_code.as_str();
    assert_eq!(stack.poll(&desktop, device, None).await, "DevicePending");
    assert_eq!(stack.last_reason(), "authorization_pending");
    assert_eq!(stack.poll(&desktop, device, None).await, "DeviceTooSoon");
    assert_eq!(stack.last_reason(), "slow_down");
    stack.clock.advance(INTERVAL);
    assert_eq!(stack.poll(&other, device, None).await, "DeviceUnknown", "another client");
    assert_eq!(stack.poll(&desktop, "doorward_dc_none", None).await, "DeviceUnknown");
    assert_eq!(stack.last_reason(), "unknown_grant");

    let typed = codes.user_code.to_lowercase().replace('-', " ");
    let question = stack.ask(&typed, PEER).await.unwrap();
    let expected = DeviceQuestion {
        client_name: "A desktop client".to_owned(),
        scopes: "openid email".to_owned(),
        user_code: codes.user_code.clone(),
    };
    assert_eq!(question, expected);
    stack.sign_in.decide_device(&typed, &alice, true, PEER).await.unwrap();
    let event = stack.last_event();
    assert_eq!(event.method, TokenMethod::DeviceAuthorization);
    assert_eq!(
        (event.account.as_deref(), event.issued.as_deref()),
        (Some("alice@example.com"), Some("device_permission"))
    );
    assert_eq!(event.client.as_deref(), Some(desktop.id.as_str()));
    for allow in [true, false] {
        let again = stack.sign_in.decide_device(&typed, &alice, allow, PEER).await.unwrap_err();
        assert_eq!(cause(&again), "UnknownCode", "it is decided");
    }

    assert_eq!(stack.poll(&desktop, device, Some("nobody")).await, "AudienceUnknown", "which uses nothing up");
    assert_eq!(stack.poll(&desktop, device, Some(APP_CLIENT)).await, "access refresh id");
    let event = stack.last_event();
    assert_eq!((event.method, event.audience.as_deref()), (TokenMethod::DeviceCode, Some(APP_CLIENT)));
    stack.clock.advance(INTERVAL);
    assert_eq!(stack.poll(&desktop, device, None).await, "DeviceUnknown");
}

#[tokio::test]
async fn a_person_may_say_no_and_codes_end_after_half_an_hour() {
    let stack = Stack::new().await;
    let alice = stack.alice().await;
    let desktop = stack.desktop().await;
    let denied = stack.device(&desktop).await;
    stack.sign_in.decide_device(&denied.user_code, &alice, false, PEER).await.unwrap();
    assert_eq!(stack.last_event().issued.as_deref(), Some("device_denial"));
    assert_eq!(stack.poll(&desktop, &denied.device_code, None).await, "DeviceDenied");
    assert_eq!(stack.last_reason(), "access_denied");

    let late = stack.device(&desktop).await;
    stack.clock.advance(Duration::from_secs(1799));
    assert!(stack.ask(&late.user_code, PEER).await.is_ok());
    stack.clock.advance(Duration::from_secs(1));
    assert_eq!(cause(&stack.ask(&late.user_code, PEER).await.unwrap_err()), "UnknownCode");
    let decided = stack.sign_in.decide_device(&late.user_code, &alice, true, PEER).await;
    assert_eq!(cause(&decided.unwrap_err()), "UnknownCode");
    assert_eq!(stack.poll(&desktop, &late.device_code, None).await, "DeviceExpired");
}

#[tokio::test]
async fn guesses_at_user_codes_are_slowed_and_an_own_code_is_no_way_round() {
    let stack = Stack::new().await;
    let alice = stack.alice().await;
    let desktop = stack.desktop().await;
    let own = stack.device(&desktop).await.user_code;
    for guess in ["BBBB-BBBB", "nonsense", "", "CCCC-CCCC", "DDDD-DDDD"] {
        assert_eq!(cause(&stack.ask(guess, PEER).await.unwrap_err()), "UnknownCode");
        assert_eq!(stack.last_reason(), "unknown_grant");
        stack.clock.advance(Duration::from_secs(1));
        let _ = stack.ask(&own, PEER).await;
    }
    assert_eq!(cause(&stack.ask("BBBB-BBBB", PEER).await.unwrap_err()), "UnknownCode");
    assert_eq!(cause(&stack.ask(&own, PEER).await.unwrap_err()), "Throttled");
    assert_eq!(stack.last_reason(), "throttled");
    let decided = stack.sign_in.decide_device(&own, &alice, true, PEER).await;
    assert_eq!(cause(&decided.unwrap_err()), "Throttled");
    assert!(stack.ask(&own, "192.0.2.8".parse().unwrap()).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_polls_and_many_decisions_one_counts() {
    let stack = Arc::new(Stack::new().await);
    let alice = stack.alice().await;
    let desktop = stack.desktop().await;
    let codes = stack.device(&desktop).await;
    let decisions: Vec<_> = (0..8)
        .map(|_| {
            let (stack, alice, code) = (stack.clone(), alice.clone(), codes.user_code.clone());
            tokio::spawn(async move { stack.sign_in.decide_device(&code, &alice, true, PEER).await.is_ok() })
        })
        .collect();
    let mut decided = 0;
    for decision in decisions {
        decided += u32::from(decision.await.unwrap());
    }
    assert_eq!(decided, 1);
    let polls: Vec<_> = (0..8)
        .map(|_| {
            let (stack, desktop, code) = (stack.clone(), desktop.clone(), codes.device_code.clone());
            tokio::spawn(async move { stack.poll(&desktop, &code, None).await })
        })
        .collect();
    let mut outcomes = BTreeMap::new();
    for poll in polls {
        *outcomes.entry(poll.await.unwrap()).or_insert(0) += 1;
    }
    assert_eq!(outcomes, BTreeMap::from([("access refresh id".to_owned(), 1), ("DeviceUnknown".to_owned(), 7)]));
}
