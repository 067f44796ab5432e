//! Devices without a browser (RFC 8628): the device asks, a person decides in a browser elsewhere.

use doorward_tests::{Browser, Client, Dev, Page, Request, Response};
use serde_json::{Value, json};

const ALICE: &str = "alice@example.com";
const BOB: &str = "bob@example.com";

fn ask(dev: &Dev, client: Client<'_>) -> Value {
    let url = dev.google("oauth2.googleapis.com/device/code");
    // As Google's own clients ask: without the secret.
    let answer = Request::post_form(&url, &[("client_id", client.id), ("scope", "openid email")]).send();
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    answer.expect(200).json()
}

fn text<'a>(answer: &'a Value, member: &str) -> &'a str {
    answer[member].as_str().unwrap_or_else(|| panic!("{member} in {answer}"))
}

fn poll(dev: &Dev, client: Client<'_>, device_code: &str, more: &[(&str, &str)]) -> Response {
    let grant = [("grant_type", "urn:ietf:params:oauth:grant-type:device_code"), ("device_code", device_code)];
    dev.token(&client.form(&[&grant, more].concat()))
}

fn refused(answer: Response, status: u16, code: &str, sentence: &str) {
    assert_eq!(answer.expect(status).json(), json!({"error": code, "error_description": sentence}));
}

/// The page on which the person decides about this code.
fn question(dev: &Dev, browser: &mut Browser, user_code: &str) -> Page {
    let page = browser.open(&dev.google("accounts.google.com/device")).asks_for("user_code");
    browser.send(&page, &[("user_code", user_code)])
}

fn decide(dev: &Dev, email: &str, user_code: &str, decision: &str) -> Page {
    let mut browser = Browser::with_cookies(dev.person(email).cookie());
    let page = question(dev, &mut browser, user_code).asks_for("decision");
    browser.send(&page, &[("decision", decision)])
}

#[test]
fn a_device_gets_in_as_the_person_who_lets_it_in() {
    let dev = Dev::start(&[]);
    let (desktop, iap) = (dev.client("desktop"), dev.text("/app/client_id"));
    for (email, status) in [(ALICE, 200), (BOB, 403)] {
        let codes = ask(&dev, desktop);
        let page = dev.google("accounts.google.com/device");
        let user_code = text(&codes, "user_code");
        let expected = json!({
            "device_code": codes["device_code"], "user_code": user_code, "verification_uri": page,
            "verification_url": page, "verification_uri_complete": format!("{page}?user_code={user_code}"),
            "expires_in": 1800, "interval": 5,
        });
        assert_eq!(codes, expected);
        // The address only fills the code in: whoever was sent there is to compare it.
        let mut browser = Browser::with_cookies(dev.person(email).cookie());
        let filled = browser.open(text(&codes, "verification_uri_complete")).asks_for("user_code");
        assert!(filled.response.text().contains(&format!("value=\"{user_code}\"")), "{}", filled.response.text());
        // People type it as they like.
        let typed = user_code.to_ascii_lowercase().replace('-', " ");
        let asked = question(&dev, &mut browser, &typed).asks_for("decision");
        let shown = asked.response.text();
        for part in [user_code, email, "Doorward dev: desktop", "See your e-mail address"] {
            assert!(shown.contains(part), "{part} in {shown}");
        }
        assert_eq!(browser.send(&asked, &[("decision", "allow")]).response.status, 200);
        let answer = poll(&dev, desktop, text(&codes, "device_code"), &[("audience", iap)]).expect(200).json();
        let members: Vec<&String> = answer.as_object().expect("an object").keys().collect();
        assert_eq!(members, ["access_token", "expires_in", "id_token", "refresh_token", "scope", "token_type"]);
        let id_token = text(&answer, "id_token");
        let claims = dev.claims(id_token);
        assert_eq!([&claims["aud"], &claims["azp"], &claims["email"]], [iap, desktop.id, email]);
        Request::get(&dev.app("/")).bearer(id_token).send().expect(status);
    }
}

#[test]
fn a_person_who_is_not_signed_in_signs_in_on_the_way() {
    let dev = Dev::start(&[]);
    let desktop = dev.client("desktop");
    let codes = ask(&dev, desktop);
    let mut browser = Browser::new();
    let page = question(&dev, &mut browser, text(&codes, "user_code")).asks_for("password");
    let page = browser.send(&page, &[("email", ALICE), ("password", dev.person(ALICE).text("password"))]);
    let decided = browser.send(&page.asks_for("decision"), &[("decision", "allow")]);
    assert_eq!(decided.response.status, 200);
    let answer = poll(&dev, desktop, text(&codes, "device_code"), &[]).expect(200).json();
    assert_eq!(dev.claims(text(&answer, "id_token"))["email"], ALICE);
}

#[test]
fn a_device_that_asks_is_told_in_googles_codes_how_things_stand() {
    let dev = Dev::start(&[]);
    let (desktop, web) = (dev.client("desktop"), dev.client("web"));
    let codes = ask(&dev, desktop);
    let device_code = text(&codes, "device_code");
    let poll = |client, device_code: &str| poll(&dev, client, device_code, &[]);
    refused(poll(web, device_code), 400, "invalid_grant", "Bad Request");
    refused(poll(Client { secret: None, ..desktop }, device_code), 401, "invalid_client", "Unauthorized");
    refused(poll(desktop, "doorward_dc_unknown"), 400, "invalid_grant", "Bad Request");
    refused(poll(desktop, device_code), 428, "authorization_pending", "Precondition Required");
    refused(poll(desktop, device_code), 403, "slow_down", "Forbidden");

    let codes = ask(&dev, desktop);
    assert_eq!(decide(&dev, ALICE, text(&codes, "user_code"), "deny").response.status, 200);
    refused(poll(desktop, text(&codes, "device_code")), 403, "access_denied", "Forbidden");
    let denied = dev.token_events().into_iter().rfind(|event| event["method"] == "device_code");
    assert_eq!(denied.expect("an event")["reason"], "access_denied");

    // A yes is told once, and what was decided is not decided again.
    let codes = ask(&dev, desktop);
    decide(&dev, ALICE, text(&codes, "user_code"), "allow");
    let mut browser = Browser::with_cookies(dev.person(BOB).cookie());
    let again = question(&dev, &mut browser, text(&codes, "user_code"));
    assert!(again.response.status == 400 && again.response.text().contains("No device waits with this code"));
    poll(desktop, text(&codes, "device_code")).expect(200);
    refused(poll(desktop, text(&codes, "device_code")), 400, "invalid_grant", "Bad Request");
}

#[test]
fn whoever_guesses_codes_is_slowed_and_a_decision_is_the_browsers_own() {
    let dev = Dev::start(&[]);
    let codes = ask(&dev, dev.client("desktop"));
    let mut browser = Browser::with_cookies(dev.person(ALICE).cookie());
    let asked = question(&dev, &mut browser, text(&codes, "user_code")).asks_for("decision");
    // Another person's browser cannot send what this one was shown.
    let mut another = Browser::with_cookies(dev.person(BOB).cookie());
    another.open(&dev.google("accounts.google.com/device"));
    assert_eq!(another.send(&asked, &[("decision", "allow")]).response.status, 400);
    let statuses: Vec<u16> = (0..8).map(|_| question(&dev, &mut another, "BBBB-BBBB").response.status).collect();
    assert_eq!(statuses[..5], [400; 5], "people mistype");
    assert!(statuses.contains(&429), "{statuses:?}");
}
