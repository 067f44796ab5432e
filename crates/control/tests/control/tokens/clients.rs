use std::net::IpAddr;
use std::time::Duration;

use doorward_control::tokens::RedeemError;
use doorward_core::audit::TokenMethod;
use doorward_wire::oauth::{
    AuthorizationCodeRequest, ClientCredentials, DeviceCodeRequest, ParameterError, RefreshTokenRequest,
    TokenFormError, TokenRequest,
};

use crate::people::TestClient;
use crate::{APP_CLIENT, PEER, Stack, cause};

fn credentials(id: &str, secret: Option<&str>) -> ClientCredentials {
    ClientCredentials { client_id: id.to_owned(), client_secret: secret.map(str::to_owned) }
}

/// A refresh with a token of nobody: whoever gets as far as that is authenticated.
fn probe(client: ClientCredentials) -> TokenRequest {
    let refresh_token = "doorward_rt_none".to_owned();
    TokenRequest::RefreshToken(RefreshTokenRequest { client, refresh_token, scope: None, audience: None })
}

impl Stack {
    async fn try_secret(&self, id: &str, secret: Option<&str>, peer: IpAddr) -> String {
        cause(&self.tokens.redeem(Ok(probe(credentials(id, secret))), peer).await.unwrap_err())
    }
}

#[tokio::test]
async fn a_client_proves_itself_by_its_secret_at_every_grant_or_has_none() {
    let stack = Stack::new().await;
    let (web, desktop, android) = (stack.web().await, stack.desktop().await, stack.android().await);
    let secret = |client: &TestClient| client.secret.clone().unwrap();
    let (of_web, of_desktop) = (secret(&web), secret(&desktop));
    let lower = of_web.to_lowercase();
    // (client, secret) => known
    #[rustfmt::skip]
    let cases = [
        (web.id.as_str(), Some(of_web.as_str()),     "known"),
        (&desktop.id,     Some(&of_desktop),         "known"),
        (&android.id,     None,                      "known"),
        (&android.id,     Some(""),                  "known"),
        (&web.id,         None,                      "ClientSecret"),
        (&web.id,         Some(""),                  "ClientSecret"),
        (&web.id,         Some(&of_desktop),         "ClientSecret"),
        (&web.id,         Some(&lower),              "ClientSecret"),
        (&desktop.id,     None,                      "ClientSecret"),
        (&android.id,     Some("anything"),          "ClientSecret"),
        (APP_CLIENT,      None,                      "ClientUnknown"),
        ("nobody",        Some(&of_web),             "ClientUnknown"),
    ];
    for (row, (id, secret, expected)) in cases.into_iter().enumerate() {
        let client = || credentials(id, secret);
        let code = AuthorizationCodeRequest {
            client: client(),
            code: "doorward_ac_none".to_owned(),
            redirect_uri: None,
            code_verifier: None,
            audience: None,
        };
        let device = DeviceCodeRequest { client: client(), device_code: "none".to_owned(), audience: None };
        let requests = [
            (TokenRequest::AuthorizationCode(code), TokenMethod::AuthorizationCode, "CodeUnknown"),
            (probe(client()), TokenMethod::RefreshToken, "TokenUnknown"),
            (TokenRequest::DeviceCode(device), TokenMethod::DeviceCode, "DeviceUnknown"),
        ];
        for (request, method, unknown) in requests {
            // So many failures would be slowed.
            stack.clock.advance(Duration::from_secs(3600));
            let error = stack.tokens.redeem(Ok(request), PEER).await.unwrap_err();
            let expected = if expected == "known" { unknown } else { expected };
            assert_eq!(cause(&error), expected, "row {row} {method:?}");
            let event = stack.last_event();
            // What has not the form of an id may be a secret, in the wrong field.
            let recorded = if id == "nobody" { "(not a client id)" } else { id };
            assert_eq!((event.method, event.client.as_deref()), (method, Some(recorded)), "row {row}");
            let reason = if expected == unknown { "unknown_grant" } else { "invalid_client" };
            assert_eq!(stack.last_reason(), reason, "row {row}");
            assert_eq!(event.refused, Some(error.to_string()));
        }
    }
}

#[tokio::test]
async fn guesses_at_a_secret_are_slowed_and_others_are_not_locked_out() {
    let stack = Stack::new().await;
    let client = stack.web().await;
    let right = client.secret.as_deref();
    for _ in 0..5 {
        assert_eq!(stack.try_secret(&client.id, Some("guess"), PEER).await, "ClientSecret");
    }
    assert_eq!(stack.try_secret(&client.id, Some("guess"), PEER).await, "Throttled");
    assert_eq!(stack.last_reason(), "throttled");
    assert_eq!(stack.try_secret(&client.id, right, PEER).await, "TokenUnknown", "nobody guessed the right one");
    assert_eq!(stack.try_secret(&client.id, right, "192.0.2.8".parse().unwrap()).await, "TokenUnknown");
    let other = stack.desktop().await;
    assert_eq!(stack.try_secret(&other.id, other.secret.as_deref(), PEER).await, "TokenUnknown");
    stack.clock.advance(Duration::from_secs(1));
    assert_eq!(stack.try_secret(&client.id, Some("guess"), PEER).await, "ClientSecret", "one more, after the wait");
    assert_eq!(stack.try_secret(&client.id, Some("guess"), PEER).await, "Throttled");
}

#[tokio::test]
async fn names_of_no_client_count_against_the_address_that_tries_them() {
    let stack = Stack::new().await;
    let client = stack.web().await;
    for _ in 0..5 {
        assert_eq!(stack.try_secret(&"x".repeat(5000), None, PEER).await, "ClientUnknown");
    }
    assert!(stack.last_event().client.unwrap().len() <= 256);
    assert_eq!(stack.try_secret("nobody", None, PEER).await, "Throttled", "all names of nobody are one");
    assert_eq!(stack.try_secret(&client.id, client.secret.as_deref(), PEER).await, "TokenUnknown");
    let elsewhere = "192.0.2.8".parse().unwrap();
    assert_eq!(stack.try_secret("nobody", None, elsewhere).await, "ClientUnknown");
}

#[tokio::test]
async fn a_form_that_is_no_request_is_in_the_record() {
    let stack = Stack::new().await;
    for form in [
        TokenFormError::UnsupportedGrant("password".to_owned()),
        TokenFormError::Parameter(ParameterError::Missing("grant_type")),
    ] {
        let text = form.to_string();
        let error = stack.tokens.redeem(Err(form), PEER).await.unwrap_err();
        assert!(matches!(error, RedeemError::Form(_)));
        let event = stack.last_event();
        assert_eq!((event.method, event.refused), (TokenMethod::Token, Some(text)));
        assert_eq!((stack.last_reason(), event.peer), ("invalid_request", Some(PEER.to_string())));
    }
}

#[tokio::test]
async fn an_audience_is_a_client_of_the_asking_clients_project() {
    let stack = Stack::new().await;
    let alice = stack.alice().await;
    let (desktop, web, google) = (stack.desktop().await, stack.web().await, stack.client_of_google().await);
    #[rustfmt::skip]
    let cases = [
        (&desktop, None,                   Ok(desktop.id.as_str())),
        (&desktop, Some(desktop.id.as_str()), Ok(&desktop.id)),
        (&desktop, Some(APP_CLIENT),       Ok(APP_CLIENT)),
        (&desktop, Some(&web.id),          Ok(&web.id)),
        (&desktop, Some(&google.id),       Err("AudienceOfAnotherProject")),
        (&desktop, Some("nobody"),         Err("AudienceUnknown")),
        (&desktop, Some("https://app.test"), Err("AudienceUnknown")),
        (&google,  None,                   Ok(&google.id)),
        (&google,  Some(&google.id),       Ok(&google.id)),
        (&google,  Some(APP_CLIENT),       Err("AudienceOfAnotherProject")),
        (&google,  Some(&desktop.id),      Err("AudienceOfAnotherProject")),
        (&google,  Some("nobody"),         Err("AudienceUnknown")),
    ];
    for (row, (client, audience, expected)) in cases.into_iter().enumerate() {
        let code = stack.code_for(&client.asks(), &alice).await;
        let redeem = async |audience: Option<&str>| {
            let audience = audience.map(str::to_owned);
            stack.redeem_code(AuthorizationCodeRequest { audience, ..client.redeems(&code) }).await
        };
        let by_code = redeem(audience).await;
        // Asked at sign-in, as mobile SDKs do.
        let asked = doorward_wire::oauth::AuthorizeRequest { audience: audience.map(str::to_owned), ..client.asks() };
        match expected {
            Ok(expected) => {
                let claims = stack.id_token_claims(&by_code.as_ref().unwrap().id.clone().unwrap());
                assert_eq!(
                    (&claims["aud"], &claims["azp"]),
                    (&expected.into(), &client.id.as_str().into()),
                    "row {row}"
                );
                assert_eq!(stack.last_event().audience.as_deref(), Some(expected));
                let early = stack.code_for(&asked, &alice).await;
                let tokens = stack.redeem_code(client.redeems(&early)).await.unwrap();
                assert_eq!(stack.id_token_claims(&tokens.id.unwrap())["aud"], expected, "row {row}");
                let refresh = tokens.refresh.unwrap();
                let again = stack.refresh(client.refreshes(&refresh)).await.unwrap();
                assert_eq!(stack.id_token_claims(&again.id.unwrap())["aud"], expected, "as granted, row {row}");
                let refreshed = by_code.unwrap().refresh.unwrap();
                let request =
                    RefreshTokenRequest { audience: audience.map(str::to_owned), ..client.refreshes(&refreshed) };
                let again = stack.refresh(request).await.unwrap();
                assert_eq!(stack.id_token_claims(&again.id.unwrap())["aud"], expected, "row {row}");
            }
            Err(expected) => {
                assert_eq!(cause(&by_code.err().unwrap()), expected, "row {row}");
                assert_eq!(stack.last_reason(), "invalid_audience", "row {row}");
                let url = stack.sign_in.answer(&asked, crate::ISSUER, &alice, PEER).await.unwrap();
                assert_eq!(crate::people::parameter(&url, "error").as_deref(), Some("invalid_request"), "row {row}");
                assert_eq!(stack.last_reason(), "invalid_audience", "row {row}");
                assert!(redeem(None).await.is_ok(), "a refused audience uses no code up, row {row}");
            }
        }
    }
}
