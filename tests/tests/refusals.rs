//! Every refusal of an endpoint that gives, takes or shows tokens is recorded with its reason and without what was sent; and
//! whoever guesses is slowed.

use std::cell::RefCell;

use doorward_core::audit::TokenReason;
use doorward_tests::{Browser, Client, Dev, Request, Response, authorize_url, now_seconds};
use serde_json::{Value, json};

const LOOPBACK: &str = "http://localhost:4444";
const ALICE: &str = "alice@example.com";

type Attempt<'a> = Box<dyn Fn() -> Response + 'a>;

fn form<'a>(dev: &'a Dev, parameters: Vec<(&'static str, String)>) -> Attempt<'a> {
    Box::new(move || {
        let parameters: Vec<(&str, &str)> = parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
        dev.token(&parameters)
    })
}

#[test]
fn each_refusal_is_recorded_with_its_reason_and_without_any_secret() {
    let world = Dev::start(&[]);
    let dev = &world;
    let (desktop, android, web) = (dev.client("desktop"), dev.client("android"), dev.client("web"));
    let (robot, alice) = (dev.account("robot"), dev.person(ALICE));
    let secret = desktop.secret.expect("a secret");
    let target = dev.text("/service_accounts/target/email");
    let code = |client: Client<'_>, uri: &str, more: &[(&str, &str)]| alice.code(client, uri, more);
    let own = |grant: &str, more: &[(&'static str, String)]| {
        let client = [("client_id", desktop.id.to_owned()), ("client_secret", secret.to_owned())];
        let grant = [("grant_type", grant.to_owned())];
        [&client[..], &grant, more].concat()
    };
    let redeem = |code: String, more: &[(&'static str, String)]| {
        let this = [("code", code), ("redirect_uri", LOOPBACK.to_owned())];
        own("authorization_code", &[&this[..], more].concat())
    };
    let used = code(desktop, LOOPBACK, &[]);
    let first = form(dev, redeem(used.clone(), &[]))().expect(200).json();
    let refresh_token = first["refresh_token"].as_str().expect("a refresh token").to_owned();
    let phone = {
        let code = code(android, "com.example.app:/x", &[("code_challenge", &"v".repeat(43))]);
        let more = [
            ("grant_type", "authorization_code"),
            ("code", code.as_str()),
            ("redirect_uri", "com.example.app:/x"),
            ("code_verifier", &"v".repeat(43)),
        ];
        let first = dev.token(&android.form(&more)).expect(200).json();
        let token = first["refresh_token"].as_str().expect("a refresh token").to_owned();
        let more = [("grant_type", "refresh_token"), ("refresh_token", token.as_str())];
        dev.token(&android.form(&more)).expect(200);
        let android = ("client_id", android.id.to_owned());
        vec![android, ("grant_type", "refresh_token".to_owned()), ("refresh_token", token)]
    };
    let refresh = |more: &[(&'static str, String)]| {
        own("refresh_token", &[&[("refresh_token", refresh_token.clone())], more].concat())
    };
    let assertion = |claims: Value| {
        let grant = ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer".to_owned());
        vec![grant, ("assertion", robot.sign(&claims))]
    };
    let good = robot.claims("target_audience", "a");
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        claims
    };
    let wrong_secret = |mut parameters: Vec<(&'static str, String)>| {
        parameters[1].1 = "doorward_cs_wrong".to_owned();
        parameters
    };
    let authorize = |more: Vec<(&'static str, String)>| -> Attempt<'_> {
        Box::new(move || {
            let every = [("response_type", "code".to_owned()), ("scope", "openid".to_owned())];
            let all = [&every[..], &more].concat();
            let parameters: Vec<(&str, &str)> = all.iter().map(|(name, value)| (*name, value.as_str())).collect();
            alice.authorize(&parameters)
        })
    };
    let client = |client: Client<'_>, uri: &str, more: (&'static str, &str)| {
        authorize(vec![
            ("client_id", client.id.to_owned()),
            ("redirect_uri", uri.to_owned()),
            (more.0, more.1.to_owned()),
        ])
    };
    let post = |path: &str, bearer: Option<&str>| -> Attempt<'_> {
        let request = Request::post_form(&dev.google(path), &[("x", "y")]);
        let request = match bearer {
            Some(bearer) => request.bearer(bearer),
            None => request,
        };
        Box::new(move || request.clone().send())
    };
    let iam = |bearer: &str, method: &'static str, body: Value| -> Attempt<'_> {
        let bearer = bearer.to_owned();
        Box::new(move || dev.iam_credentials(&bearer, target, method, &body))
    };
    let (cloud, narrow) = (robot.access_token("https://www.googleapis.com/auth/iam"), robot.access_token("openid"));
    let caller = dev.account("caller").access_token("https://www.googleapis.com/auth/iam");
    let foreign = "909320924072.apps.googleusercontent.com".to_owned();
    let device = |code: String| own("urn:ietf:params:oauth:grant-type:device_code", &[("device_code", code)]);
    let codes = [("client_id", desktop.id), ("scope", "openid")];
    let codes = Request::post_form(&dev.google("oauth2.googleapis.com/device/code"), &codes).send().expect(200).json();
    let device_code = codes["device_code"].as_str().expect("a device code").to_owned();
    let nobody: Vec<(&'static str, String)> =
        [("client_id", desktop.id), ("redirect_uri", LOOPBACK), ("prompt", "none"), ("login_hint", "bob@example.com")]
            .map(|(name, value)| (name, value.to_owned()))
            .into();
    let once = with("jti", json!("once"));
    form(dev, assertion(once.clone()))().expect(200);
    let now = now_seconds();
    let mut disabled = with("iss", json!("nobody@doorward-dev.iam.gserviceaccount.com"));
    disabled["exp"] = json!(now + 60);
    // what is asked => method, reason
    #[rustfmt::skip]
    let rows: Vec<(Attempt<'_>, &str, &str)> = vec![
        (form(dev, vec![("grant_type", "password".into())]),                               "token",              "invalid_request"),
        (form(dev, redeem("doorward_ac_x".into(), &[])),                                   "authorization_code", "unknown_grant"),
        (form(dev, wrong_secret(redeem(code(desktop, LOOPBACK, &[]), &[]))),               "authorization_code", "invalid_client"),
        (form(dev, redeem(code(web, "http://localhost:3000/callback", &[]), &[])),         "authorization_code", "unknown_grant"),
        (form(dev, redeem(code(desktop, "http://localhost:1", &[]), &[])),                 "authorization_code", "redirect_mismatch"),
        (form(dev, redeem(code(desktop, LOOPBACK, &[]), &[("code_verifier", "v".repeat(43))])), "authorization_code", "pkce_mismatch"),
        (form(dev, redeem(code(desktop, LOOPBACK, &[]), &[("audience", foreign)])),        "authorization_code", "invalid_audience"),
        (form(dev, refresh(&[("scope", "profile".into())])),                               "refresh_token",      "invalid_scope"),
        (form(dev, redeem(used, &[])),                                                     "authorization_code", "code_reuse"),
        (form(dev, refresh(&[])),                                                          "refresh_token",      "unknown_grant"),
        (form(dev, phone),                                                                 "refresh_token",      "refresh_token_reuse"),
        (form(dev, device("x".into())),                                                     "device_code",        "unknown_grant"),
        (form(dev, device(device_code.clone())),                                            "device_code",        "authorization_pending"),
        (form(dev, device(device_code)),                                                    "device_code",        "slow_down"),
        (form(dev, assertion(with("exp", json!(now + 7200)))),                             "jwt_bearer",         "invalid_assertion"),
        (form(dev, assertion(once)),                                                        "jwt_bearer",         "replayed_assertion"),
        (form(dev, assertion(disabled)),                                                   "jwt_bearer",         "account_not_found"),
        (form(dev, assertion(robot.claims("scope", "nonsense"))),                          "jwt_bearer",         "invalid_scope"),
        (client(Client { id: "nobody", secret: None }, LOOPBACK, ("x", "")),                "authorize",          "invalid_client"),
        (client(desktop, "https://evil.example", ("x", "")),                                "authorize",          "redirect_mismatch"),
        (client(android, "com.example.app:/x", ("x", "")),                                  "authorize",          "pkce_required"),
        (client(desktop, LOOPBACK, ("audience", "x")),                                      "authorize",          "invalid_audience"),
        (authorize(nobody),                                                                 "authorize",          "login_required"),
        (client(desktop, LOOPBACK, ("prompt", "x")),                                        "authorize",          "invalid_request"),
        (authorize(vec![]),                                                                 "authorize",          "invalid_client"),
        (post("oauth2.googleapis.com/device/code", None),                                   "device_authorization", "invalid_request"),
        (post("oauth2.googleapis.com/revoke", None),                                        "revoke",             "invalid_request"),
        (post("oauth2.googleapis.com/tokeninfo", None),                                     "token_info",         "invalid_request"),
        (post("oauth2.googleapis.com/tokeninfo", Some("x")),                                "token_info",         "invalid_bearer"),
        (post("openidconnect.googleapis.com/v1/userinfo", Some("x")),                       "user_info",          "invalid_bearer"),
        (iam(&cloud, "generateIdToken", json!({"audience": "a"})),                          "generate_id_token",  "permission_denied"),
        (iam(&narrow, "signJwt", json!({"payload": "{}"})),                                 "sign_jwt",           "insufficient_scope"),
        (iam(&caller, "generateIdToken", json!({"audience": ""})),                          "generate_id_token",  "invalid_audience"),
        (iam(&caller, "generateAccessToken", json!({"scope": ["x"]})),                      "generate_access_token", "invalid_scope"),
        (iam(&caller, "signBlob", json!({"payload": "!"})),                                 "sign_blob",          "invalid_request"),
        (iam("garbage", "signBlob", json!({"payload": "AAEC"})),                            "api",                "invalid_bearer"),
    ];
    let before = dev.token_events().len();
    let mut expected = Vec::new();
    for (number, (attempt, method, reason)) in rows.iter().enumerate() {
        let answer = attempt();
        let redirected = answer.header("location").is_some_and(|location| location.contains("error="));
        assert!((400..500).contains(&answer.status) || redirected, "{number}: {} {}", answer.status, answer.text());
        expected.push((method.to_string(), reason.to_string()));
    }
    let events = dev.token_events();
    // Codes are made on the way, while the rows are written down: those are in the record as well, before.
    let refused: Vec<(String, String)> = events[before..]
        .iter()
        .filter(|event| event["reason"].is_string())
        .map(|event| (event["method"].as_str().unwrap_or("").into(), event["reason"].as_str().unwrap_or("").into()))
        .collect();
    assert_eq!(refused, expected);
    // The pages of people, the metadata server, guessing, and tokens of other issuers have tests of their own; `internal` is ours.
    #[rustfmt::skip]
    let elsewhere = [
        "wrong_password", "throttled", "access_denied", "metadata_refused", "unknown_provider", "invalid_subject_token",
        "attribute_mapping", "attribute_condition", "keys_unavailable", "internal",
    ];
    for reason in TokenReason::ALL.map(TokenReason::code) {
        let here = expected.iter().any(|(_, expected)| expected == reason);
        assert!(here != elsewhere.contains(&reason), "{reason}");
    }
    for event in &events[before..] {
        assert!(event["refused"].as_str().is_some_and(|cause| !cause.is_empty()), "{event}");
        assert_eq!((&event["issued"], &event["peer"]), (&Value::Null, &json!("127.0.0.1")), "{event}");
    }
    let record = Value::from(events).to_string();
    for hidden in
        ["doorward_ac_", "doorward_rt_", "doorward_at_", "doorward_cs_", "eyJ", "garbage", dev.text("/admin_token")]
    {
        assert!(!record.contains(hidden), "{hidden} is in the record");
    }
}

/// Whether the right secret is turned away while wrong ones are. The wait is a second at first, which a machine that stalls may
/// spend between the two, so it is tried again.
fn is_refused_while_waiting(wrong: impl Fn() -> u16, right: impl Fn() -> u16) -> bool {
    (0..5).any(|_| (0..20).any(|_| wrong() == 429) && right() == 429)
}

#[test]
fn whoever_guesses_a_secret_is_slowed_and_nobody_else_is() {
    let dev = Dev::start(&[]);
    let (desktop, web) = (dev.client("desktop"), dev.client("web"));
    let wrong = Client { secret: Some("doorward_cs_guess"), ..desktop };
    let refresh = |client: Client<'_>| {
        dev.token(&client.form(&[("grant_type", "refresh_token"), ("refresh_token", "doorward_rt_x")]))
    };
    let answers: Vec<Response> = (0..8).map(|_| refresh(wrong)).collect();
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses[..5], [401; 5], "people mistype");
    let slowed = answers.iter().find(|answer| answer.status == 429).unwrap_or_else(|| panic!("{statuses:?}"));
    assert_eq!(slowed.json()["error"], "slow_down");
    let wait = slowed.header("retry-after").and_then(|wait| wait.parse::<u64>().ok());
    assert!(wait.is_some_and(|wait| (1..=60).contains(&wait)), "{:?}", slowed.headers);
    // The right secret has 256 bits: whoever sends it has not guessed it, and is served; as is another client.
    refresh(desktop).expect(400);
    refresh(web).expect(400);
    let events = dev.token_events();
    let throttled = events.iter().filter(|event| event["reason"] == "throttled");
    assert!(
        throttled.clone().count() >= 1 && throttled.clone().all(|event| event["client"] == desktop.id),
        "{events:?}"
    );
}

#[test]
fn whoever_guesses_a_password_is_slowed_however_the_address_is_spelled_and_nobody_else_is() {
    let dev = Dev::start(&[]);
    let parameters = [
        ("client_id", dev.client("desktop").id),
        ("response_type", "code"),
        ("scope", "openid"),
        ("redirect_uri", LOOPBACK),
    ];
    let url = authorize_url(&dev, &parameters);
    let mut browser = Browser::new();
    let page = browser.open(&url);
    let spellings = ["alice@example.com", "ALICE@example.com", "alice@EXAMPLE.COM", "Alice@Example.Com"];
    let mut guess =
        |email: &str, password: &str| browser.send(&page, &[("email", email), ("password", password)]).response;
    let answers: Vec<Response> = spellings.iter().cycle().take(8).map(|email| guess(email, "guess")).collect();
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses[..5], [401; 5], "people mistype");
    let slowed = answers.iter().find(|answer| answer.status == 429).unwrap_or_else(|| panic!("{statuses:?}"));
    assert!(
        slowed.header("retry-after").is_some() && slowed.text().contains("Too many attempts."),
        "{}",
        slowed.text()
    );
    let guess = RefCell::new(guess);
    let status = |email: &str, password: &str| guess.borrow_mut()(email, password).status;
    let password = dev.person(ALICE).text("password");
    assert!(is_refused_while_waiting(|| status(ALICE, "guess"), || status(ALICE, password)));
    // Somebody who is not there is answered in the same way.
    let nobody: Vec<u16> = (0..8).map(|_| status("nobody@example.com", "guess")).collect();
    assert!(nobody[..5] == [401; 5] && nobody.contains(&429), "{nobody:?}");
    // Another person of the same machine signs in.
    let bob = "bob@example.com";
    assert_eq!(status(bob, dev.person(bob).text("password")), 303);
    let events = dev.token_events();
    let reasons = |wanted: &str| events.iter().filter(|event| event["reason"] == wanted).count();
    assert!(reasons("wrong_password") >= 10 && reasons("throttled") >= 3, "{events:?}");
}
