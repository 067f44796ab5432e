use doorward_control::sign_in::{AuthorizeStep, Visitor};
use doorward_core::audit::TokenMethod;
use doorward_core::grant::{TakenCode, TokenHash};
use doorward_core::resource::ClientId;
use doorward_wire::oauth::AuthorizeRequest;

use crate::people::{CHALLENGE, LOOPBACK, TestClient, parameter};
use crate::robots::CLOUD;
use crate::{APP_CLIENT, ISSUER, PEER, Stack, cause};

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

impl Stack {
    /// `code`, the `error` of the redirect, `sign in EMAIL`, `choose NAMES`, or the cause of the page.
    async fn step(&self, request: &AuthorizeRequest, cookie: Option<&str>) -> String {
        match self.sign_in.authorize(request, ISSUER, Visitor { cookie, peer: PEER.into() }).await {
            Ok(AuthorizeStep::Redirect(url)) => {
                parameter(&url, "error").unwrap_or_else(|| parameter(&url, "code").map(|_| "code".to_owned()).unwrap())
            }
            Ok(AuthorizeStep::SignIn { email, .. }) => format!("sign in {}", email.unwrap_or_default()),
            Ok(AuthorizeStep::Choose { people, .. }) => {
                let names = people.iter().map(|person| person.email().as_str().split('@').next().unwrap().to_owned());
                format!("choose {}", names.collect::<Vec<_>>().join(" "))
            }
            Err(error) => cause(&error),
        }
    }
}

#[tokio::test]
async fn nothing_is_sent_to_an_address_that_is_not_the_clients() {
    let stack = Stack::new().await;
    let alice = stack.alice().await;
    let cookie = stack.signed_in(&[alice.subject()], false).await;
    let (web, desktop, android) = (stack.web().await, stack.desktop().await, stack.android().await);
    let to = |client: &TestClient, uri: &str| AuthorizeRequest { redirect_uri: text(uri), ..client.asks() };
    let unknown = |id: &str| AuthorizeRequest { client_id: id.to_owned(), ..web.asks() };
    #[rustfmt::skip]
    let cases = [
        (unknown("nobody"),                                   "UnknownClient",     "invalid_client"),
        (unknown(APP_CLIENT),                                 "ApplicationClient", "invalid_client"),
        (AuthorizeRequest { redirect_uri: None, ..web.asks() }, "RedirectMismatch", "redirect_mismatch"),
        (to(&web, "https://web.example.com/callback/"),       "RedirectMismatch",  "redirect_mismatch"),
        (to(&web, "https://web.example.com/callback?x=1"),    "RedirectMismatch",  "redirect_mismatch"),
        (to(&web, "https://web.example.com.evil.test/callback"), "RedirectMismatch", "redirect_mismatch"),
        (to(&web, "https://web.example.com/callback\r\nx:y"), "RedirectMismatch",  "redirect_mismatch"),
        (to(&web, LOOPBACK),                                  "RedirectMismatch",  "redirect_mismatch"),
        (to(&desktop, "https://evil.test/"),                  "RedirectMismatch",  "redirect_mismatch"),
        (to(&desktop, "http://127.0.0.1.evil.test/"),         "RedirectMismatch",  "redirect_mismatch"),
        (to(&desktop, "http://127.0.0.1@evil.test/"),         "RedirectMismatch",  "redirect_mismatch"),
        (to(&desktop, "https://127.0.0.1/"),                  "RedirectMismatch",  "redirect_mismatch"),
        (to(&desktop, "javascript:alert(1)"),                 "RedirectMismatch",  "redirect_mismatch"),
        (to(&android, "com.other.app:/cb"),                   "RedirectMismatch",  "redirect_mismatch"),
        (to(&android, LOOPBACK),                              "RedirectMismatch",  "redirect_mismatch"),
        (to(&desktop, "http://localhost:9/x?y=1"),            "code",              ""),
        (to(&desktop, "http://[::1]:9/"),                     "code",              ""),
    ];
    for (row, (request, expected, reason)) in cases.into_iter().enumerate() {
        assert_eq!(stack.step(&request, Some(&cookie)).await, expected, "row {row}");
        assert_eq!((stack.last_event().method, stack.last_reason()), (TokenMethod::Authorize, reason), "row {row}");
        // Also when the page was shown before, and with errors that would be told by redirect.
        let answered = stack.sign_in.answer(&request, ISSUER, &alice, PEER).await;
        assert_eq!(answered.err().as_ref().map_or("code".to_owned(), cause), expected, "row {row}");
        let worse = AuthorizeRequest { response_type: None, scope: None, prompt: text("none"), ..request };
        let told = stack.step(&worse, None).await;
        assert_eq!(told, if expected == "code" { "invalid_request" } else { expected }, "row {row}");
    }
}

#[tokio::test]
async fn what_the_client_did_wrong_is_told_to_it_by_redirect_and_recorded() {
    let stack = Stack::new().await;
    let alice = stack.alice().await;
    let cookie = stack.signed_in(&[alice.subject()], false).await;
    let (desktop, android) = (stack.desktop().await, stack.android().await);
    type Change = fn(AuthorizeRequest) -> AuthorizeRequest;
    #[rustfmt::skip]
    let cases: [(&TestClient, Change, &str, &str); 19] = [
        (&desktop, |it| AuthorizeRequest { response_type: None, ..it },                  "invalid_request",           "invalid_request"),
        (&desktop, |it| AuthorizeRequest { response_type: text("token"), ..it },         "unsupported_response_type", "invalid_request"),
        (&desktop, |it| AuthorizeRequest { response_type: text("code id_token"), ..it }, "unsupported_response_type", "invalid_request"),
        (&desktop, |it| AuthorizeRequest { scope: None, ..it },                          "invalid_scope",             "invalid_scope"),
        (&desktop, |it| AuthorizeRequest { scope: text("openid nonsense"), ..it },       "invalid_scope",             "invalid_scope"),
        (&desktop, |it| AuthorizeRequest { prompt: text("none login"), ..it },           "invalid_request",           "invalid_request"),
        (&desktop, |it| AuthorizeRequest { prompt: text("maybe"), ..it },                "invalid_request",           "invalid_request"),
        (&desktop, |it| AuthorizeRequest { access_type: text("always"), ..it },          "invalid_request",           "invalid_request"),
        (&desktop, |it| AuthorizeRequest { audience: text("nobody"), ..it },             "invalid_request",           "invalid_audience"),
        (&android, |it| AuthorizeRequest { code_challenge: None, code_challenge_method: None, ..it }, "invalid_request", "pkce_required"),
        (&android, |it| AuthorizeRequest { code_challenge: None, ..it },                 "invalid_request",           "pkce_required"),
        (&desktop, |it| AuthorizeRequest { code_challenge_method: text("S256"), ..it },  "invalid_request",           "pkce_required"),
        (&desktop, |it| AuthorizeRequest { code_challenge: text("short"), ..it },        "invalid_request",           "pkce_required"),
        (&desktop, |it| AuthorizeRequest { code_challenge: Some("x".repeat(129)), ..it }, "invalid_request",          "pkce_required"),
        (&desktop, |it| AuthorizeRequest { code_challenge: Some(CHALLENGE.replace('-', "+")), ..it }, "invalid_request", "pkce_required"),
        (&desktop, |it| AuthorizeRequest { code_challenge: text(CHALLENGE), code_challenge_method: text("s256"), ..it }, "invalid_request", "pkce_required"),
        (&desktop, |it| AuthorizeRequest { code_challenge: text(CHALLENGE), code_challenge_method: text("S512"), ..it }, "invalid_request", "pkce_required"),
        (&android, |it| AuthorizeRequest { code_challenge_method: text("none"), ..it },  "invalid_request",           "pkce_required"),
        (&android, |it| it,                                                              "code",                      ""),
    ];
    for (row, (client, change, expected, reason)) in cases.into_iter().enumerate() {
        let request = change(AuthorizeRequest { state: text("a&b=\u{e9}"), ..client.asks() });
        assert_eq!(stack.step(&request, Some(&cookie)).await, expected, "row {row}");
        let event = stack.last_event();
        assert_eq!((event.method, stack.last_reason()), (TokenMethod::Authorize, reason), "row {row}");
        assert_eq!(event.client.as_deref(), Some(client.id.as_str()), "row {row}");
        assert_eq!(event.issued.is_none(), event.refused.is_some(), "row {row}");
        let url = stack.sign_in.answer(&request, ISSUER, &alice, PEER).await.unwrap();
        assert!(url.starts_with(request.redirect_uri.as_deref().unwrap()), "{url}");
        assert_eq!(parameter(&url, "state"), request.state, "row {row}");
        assert_eq!(parameter(&url, "iss").as_deref(), Some(ISSUER), "row {row}");
        assert_eq!(parameter(&url, "error").as_deref(), (expected != "code").then_some(expected), "row {row}");
        assert_eq!(parameter(&url, "code").is_some(), expected == "code", "row {row}");
        assert_eq!(stack.last_reason(), reason, "row {row}");
    }
}

#[tokio::test]
async fn who_is_asked_follows_from_who_is_signed_in_and_what_the_client_wants() {
    let stack = Stack::new().await;
    let alice = stack.add_person("alice").await;
    let bob = stack.add_person("bob").await;
    let carol = stack.add_user("carol@other.test", false).await;
    let gone = stack.add_user("gone@example.com", true).await;
    let desktop = stack.desktop().await;
    let nobody = stack.signed_in(&[&gone], false).await;
    let one = stack.signed_in(&[&alice], false).await;
    let all = stack.signed_in(&[&carol, &bob, &alice], false).await;
    let bob_id = bob.0.as_str();
    // (browser, prompt, hd, login_hint) => step
    #[rustfmt::skip]
    let cases = [
        (&nobody, "",               "",            "",                  "sign in "),
        (&nobody, "none",           "",            "",                  "login_required"),
        (&nobody, "select_account", "",            "",                  "sign in "),
        (&nobody, "",               "",            "Bob@example.com",   "sign in bob@example.com"),
        (&nobody, "",               "",            bob_id,              "sign in "),
        (&nobody, "",               "",            "gone@example.com",  "sign in gone@example.com"),
        (&one,    "",               "",            "",                  "code"),
        (&one,    "consent",        "",            "",                  "code"),
        (&one,    "none",           "",            "",                  "code"),
        (&one,    "login",          "",            "",                  "sign in "),
        (&one,    "login consent",  "",            "",                  "sign in "),
        (&one,    "select_account", "",            "",                  "choose alice"),
        (&one,    "",               "example.com", "",                  "code"),
        (&one,    "",               "EXAMPLE.com", "",                  "code"),
        (&one,    "",               "*",           "",                  "code"),
        (&one,    "",               "other.test",  "",                  "sign in "),
        (&one,    "",               "ple.com",     "",                  "sign in "),
        (&one,    "none",           "other.test",  "",                  "login_required"),
        (&one,    "",               "",            "bob@example.com",   "sign in bob@example.com"),
        (&one,    "none",           "",            "bob@example.com",   "login_required"),
        (&all,    "",               "",            "",                  "choose carol bob alice"),
        (&all,    "none",           "",            "",                  "account_selection_required"),
        (&all,    "",               "example.com", "",                  "choose bob alice"),
        (&all,    "",               "other.test",  "",                  "code"),
        (&all,    "",               "",            "BOB@example.com",   "code"),
        (&all,    "none",           "",            bob_id,              "code"),
        (&all,    "",               "other.test",  bob_id,              "sign in "),
        (&all,    "select_account", "",            "bob@example.com",   "choose carol bob alice"),
    ];
    for (row, (cookie, prompt, hd, hint, expected)) in cases.into_iter().enumerate() {
        let some = |value: &str| Some(value.to_owned()).filter(|value| !value.is_empty());
        let request = AuthorizeRequest { prompt: some(prompt), hd: some(hd), login_hint: some(hint), ..desktop.asks() };
        let before = stack.audit.events().len();
        assert_eq!(stack.step(&request, Some(cookie)).await, expected, "row {row}");
        let page = expected.starts_with("sign in") || expected.starts_with("choose");
        assert_eq!(stack.audit.events().len() - before, usize::from(!page), "row {row}");
        if !page && expected != "code" {
            assert_eq!(stack.last_reason(), "login_required", "row {row}");
        }
    }
    assert_eq!(stack.step(&desktop.asks(), None).await, "sign in ");
}

#[tokio::test]
async fn a_code_goes_back_with_googles_parameters_and_is_stored_as_a_hash() {
    let stack = Stack::new().await;
    let alice = stack.alice().await;
    let cookie = stack.signed_in(&[alice.subject()], false).await;
    let desktop = stack.desktop().await;
    let request = AuthorizeRequest {
        state: text("xyz"),
        nonce: text("n"),
        cred_ref: text("true"),
        audience: text(APP_CLIENT),
        redirect_uri: text("http://localhost:4444"),
        ..desktop.asks()
    };
    let own = "http://127.0.0.1:8081";
    let visitor = Visitor { cookie: Some(&cookie), peer: PEER.into() };
    let Ok(AuthorizeStep::Redirect(silent)) = stack.sign_in.authorize(&request, own, visitor).await else { panic!() };
    let answered = stack.sign_in.answer(&request, own, &alice, PEER).await.unwrap();
    let email = "https%3A%2F%2Fwww.googleapis.com%2Fauth%2Fuserinfo.email";
    for (url, prompt) in [(silent, "none"), (answered, "consent")] {
        let code = parameter(&url, "code").unwrap();
        assert_eq!(code.strip_prefix("doorward_ac_").unwrap().len(), 43);
        let expected = format!(
            "http://localhost:4444?state=xyz&code={code}&scope=email%20openid%20{email}&authuser=0&hd=example.com\
             &prompt={prompt}&iss=http%3A%2F%2F127.0.0.1%3A8081"
        );
        assert_eq!(url, expected);
        let client = ClientId(desktop.id.clone());
        let taken = stack.store.take_code(&TokenHash::of(&code), &client, stack.now()).await.unwrap();
        let TakenCode::Taken(stored) = taken else { panic!("{taken:?}") };
        let grant = stored.grant;
        assert_eq!((&grant.subject, &grant.client), (alice.subject(), &client));
        assert_eq!((grant.nonce.as_deref(), grant.cred_ref, grant.offline), (Some("n"), true, true));
        assert_eq!((grant.audience, grant.auth_time), (Some(ClientId(APP_CLIENT.to_owned())), alice.auth_time()));
        assert_eq!((stored.redirect_uri.as_str(), stored.challenge), ("http://localhost:4444", None));
        let event = stack.last_event();
        assert_eq!((event.issued.as_deref(), event.account.as_deref()), (Some("code"), Some("alice@example.com")));
        assert_eq!(event.audience.as_deref(), Some("openid email"));
        assert!(!serde_json::to_string(&stack.audit.events()).unwrap().contains(&code));
    }
    let cloud = AuthorizeRequest { scope: text(CLOUD), ..desktop.asks() };
    let url = stack.sign_in.answer(&cloud, ISSUER, &alice, PEER).await.unwrap();
    assert_eq!((parameter(&url, "hd"), parameter(&url, "state")), (None, None), "nothing that was not asked for");
}

#[tokio::test]
async fn whoever_was_chosen_must_still_fit() {
    let stack = Stack::new().await;
    let alice = stack.alice().await;
    let desktop = stack.desktop().await;
    let elsewhere = AuthorizeRequest { hd: text("other.test"), ..desktop.asks() };
    let error = stack.sign_in.answer(&elsewhere, ISSUER, &alice, PEER).await.unwrap_err();
    assert_eq!((cause(&error).as_str(), stack.last_reason()), ("WrongDomain", "access_denied"));
    assert_eq!(stack.last_event().account.as_deref(), Some("alice@example.com"));

    // Another account than was hinted at is a person's right.
    let hinted = AuthorizeRequest { login_hint: text("bob@example.com"), ..desktop.asks() };
    assert!(parameter(&stack.sign_in.answer(&hinted, ISSUER, &alice, PEER).await.unwrap(), "code").is_some());

    let anew = AuthorizeRequest { prompt: text("login"), ..desktop.asks() };
    assert!(parameter(&stack.sign_in.answer(&anew, ISSUER, &alice, PEER).await.unwrap(), "code").is_some());
    stack.clock.advance(std::time::Duration::from_secs(301));
    let url = stack.sign_in.answer(&anew, ISSUER, &alice, PEER).await.unwrap();
    assert_eq!(parameter(&url, "error").as_deref(), Some("login_required"), "an old sign-in is not a new one");
}
