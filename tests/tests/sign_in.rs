//! People at our sign-in pages, as their browsers and the clients that sent them there see it.

use doorward_core::grant::CODE_PREFIX;
use doorward_tests::{Browser, Client, Dev, Page, Person, Request, Response, Upstream, authorize_url, query_of};
use serde_json::json;

const LOOPBACK: &str = "http://localhost:4444";
const ALICE: &str = "alice@example.com";
const BOB: &str = "bob@example.com";

/// What every request of a desktop client has, less what a case replaces or adds.
fn request<'a>(client: Client<'a>, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let every =
        [("client_id", client.id), ("response_type", "code"), ("scope", "openid email"), ("redirect_uri", LOOPBACK)];
    let replaced = |name: &str| more.iter().any(|(have, _)| *have == name);
    every.into_iter().filter(|(name, _)| !replaced(name)).chain(more.iter().copied()).collect()
}

/// What the client is told: the parameters of the redirect, a code by its name alone.
fn told(location: &str) -> Vec<(String, String)> {
    assert!(location.starts_with(&format!("{LOOPBACK}?")), "{location}");
    let placeholder = |name: &str, value: String| if name == "code" { "CODE".to_owned() } else { value };
    query_of(location).into_iter().map(|(name, value)| (name.clone(), placeholder(&name, value))).collect()
}

/// The application's answer to whoever signed in with this code.
fn enter(dev: &Dev, client: Client<'_>, code: &str) -> Response {
    let audience = dev.text("/app/client_id");
    let more =
        [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", LOOPBACK), ("audience", audience)];
    let answer = dev.token(&client.form(&more)).expect(200).json();
    Request::get(&dev.app("/")).bearer(answer["id_token"].as_str().expect("an id_token")).send()
}

fn code_of(page: &Page) -> String {
    let query = query_of(page.location());
    query.into_iter().find(|(name, _)| name == "code").unwrap_or_else(|| panic!("{}", page.location())).1
}

#[test]
fn the_cookie_of_the_description_says_who_is_signed_in_and_a_forged_one_says_nothing() {
    let (dev, other) = (Dev::start(&[]), Dev::start(&[]));
    let client = dev.client("desktop");
    for (email, status) in [(ALICE, 200), (BOB, 403)] {
        let code = dev.person(email).code(client, LOOPBACK, &[]);
        let answer = enter(&dev, client, &code).expect(status);
        match status {
            200 => assert_eq!(answer.json()["identity"]["email"], email),
            _ => assert!(answer.text().ends_with(&format!(": Access denied. For user {email}.")), "{}", answer.text()),
        }
    }
    let (alice, bob) = (dev.person(ALICE).cookie(), dev.person(BOB).cookie());
    let url = authorize_url(&dev, &request(client, &[]));
    let changed = alice.replace("doorward_sign_in=", "doorward_sign_in=A");
    for forged in ["", "doorward_sign_in=", &changed, other.person(ALICE).cookie(), &format!("{alice}; {bob}")] {
        let page = Request::get(&url).header("Cookie", forged).send().expect(200);
        assert_eq!(page.header("location"), None, "{forged}");
        assert!(page.text().contains("name=\"password\""), "{forged}: {}", page.text());
    }
}

#[test]
fn a_person_signs_in_with_a_password_and_stays_signed_in_until_they_sign_out() {
    let dev = Dev::start(&[]);
    let client = dev.client("desktop");
    let url = authorize_url(&dev, &request(client, &[]));
    let mut browser = Browser::new();
    let page = browser.open(&url).asks_for("password");
    assert!(page.response.text().contains("Doorward dev: desktop"), "the client is not named");
    for (email, password) in [(ALICE, "wrong"), ("nobody@example.com", "password"), ("", "")] {
        let again = browser.send(&page, &[("email", email), ("password", password)]);
        assert_eq!(again.response.status, 401, "{email}");
        assert!(again.asks_for("password").response.text().contains("The address or the password is wrong."));
    }
    let before = browser.cookies();
    // An address is the same in any case.
    let password = dev.person(ALICE).text("password");
    let signed_in = browser.send(&page, &[("email", "Alice@Example.COM"), ("password", password)]);
    assert_eq!(signed_in.response.status, 303);
    assert_ne!(browser.cookies(), before, "a new session has a new cookie");
    let answer = enter(&dev, client, &code_of(&signed_in)).expect(200);
    assert_eq!(answer.json()["identity"]["email"], ALICE);
    // Known from now on.
    let known = browser.open(&url);
    assert_eq!(known.response.status, 302);
    enter(&dev, client, &code_of(&known)).expect(200);

    // A second person in the same browser, and the choice between the two.
    let page = browser.open(&authorize_url(&dev, &request(client, &[("prompt", "login")]))).asks_for("password");
    let second = browser.send(&page, &[("email", BOB), ("password", dev.person(BOB).text("password"))]);
    enter(&dev, client, &code_of(&second)).expect(403);
    let choice = browser.open(&url).asks_for("account");
    let text = choice.response.text();
    for (email, status) in [(ALICE, 200), (BOB, 403)] {
        let (button, _) = text.split_once(&format!(">{email}<")).expect("a button");
        let (_, value) = button.rsplit_once("value=\"").expect("a value");
        let (number, _) = value.split_once('"').expect("a number");
        let chosen = browser.send(&choice, &[("account", number)]);
        enter(&dev, client, &code_of(&chosen)).expect(status);
    }

    let cookies = browser.cookies();
    let page = browser.open(&dev.google("accounts.google.com/signout"));
    assert_eq!(browser.send(&page, &[]).response.status, 200);
    browser.open(&url).asks_for("password");
    // Whoever copied the cookie has nothing either.
    Browser::with_cookies(&cookies).open(&url).asks_for("password");
}

#[test]
fn a_form_of_another_site_or_of_another_browser_does_nothing() {
    let dev = Dev::start(&[]);
    let url = authorize_url(&dev, &request(dev.client("desktop"), &[]));
    let fields = [("email", ALICE), ("password", "password")];
    let page = Browser::new().open(&url).asks_for("password");
    let mut another = Browser::new();
    another.open(&url);
    let refused = another.send(&page, &fields);
    assert_eq!((refused.response.status, refused.response.header("location")), (400, None));
    let action = dev.google("accounts.google.com/signin");
    for (header, value) in [("Origin", "https://evil.example"), ("Origin", "null"), ("Sec-Fetch-Site", "cross-site")] {
        let refused = Request::post_form(&action, &fields).header(header, value).send().expect(403);
        assert_eq!(refused.header("location"), None, "{header}: {value}");
        assert_eq!(refused.header("set-cookie"), None, "{header}: {value}");
    }
    // A page is not to be framed, kept, or to run a script.
    let policy = page.response.header("content-security-policy").expect("a policy");
    assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("script-src *"), "{policy}");
    assert_eq!(page.response.header("cache-control"), Some("no-store"));
}

#[test]
fn our_cookies_do_not_reach_the_application() {
    // A cookie is for every port of its host, and an application must not learn who is signed in at our pages.
    let application = Upstream::start();
    let dev = Dev::start(&["--to", application.url()]);
    let alice = dev.person(ALICE).cookie();
    for (sent, forwarded) in [(format!("mine=1; {alice}; x=2"), vec!["mine=1; x=2"]), (alice.to_owned(), vec![])] {
        let request = Request::get(&dev.app("/")).bearer(&dev.id_token("robot"));
        request.header("Cookie", &sent).send().expect(200);
        let [seen] = &application.take()[..] else { panic!("one request") };
        assert_eq!(seen.values("cookie"), forwarded, "{}", seen.text());
    }
    // And signing in there is no credential for the application.
    let answer = Request::get(&dev.app("/")).header("Cookie", alice).header("Accept", "application/json").send();
    assert_eq!((answer.status, answer.reason()), (401, Some("no_credential")));
}

#[test]
fn what_the_client_asks_for_decides_who_is_asked_and_what_it_is_told() {
    enum Outcome {
        Code(&'static str),
        Page(&'static str),
        Error(&'static str),
    }
    use Outcome::{Code, Error, Page};
    let dev = Dev::start(&[]);
    let client = dev.client("desktop");
    let (nobody, alice) = ("", dev.person(ALICE).cookie());
    // cookie, parameters => a code with `prompt`, a page with a field, or an error
    #[rustfmt::skip]
    let rows = [
        (alice,  vec![],                                                        Code("none")),
        (alice,  vec![("prompt", "none")],                                      Code("none")),
        (alice,  vec![("prompt", "none"), ("login_hint", ALICE)],               Code("none")),
        (alice,  vec![("hd", "example.com")],                                   Code("none")),
        (alice,  vec![("hd", "*")],                                             Code("none")),
        (alice,  vec![("login_hint", "ALICE@example.com")],                     Code("none")),
        (alice,  vec![("unknown", "1"), ("include_granted_scopes", "true")],    Code("none")),
        (alice,  vec![("prompt", "select_account")],                            Page("account")),
        (alice,  vec![("prompt", "login")],                                     Page("password")),
        (alice,  vec![("login_hint", BOB)],                                     Page("password")),
        (alice,  vec![("hd", "other.example")],                                 Page("password")),
        (nobody, vec![],                                                        Page("password")),
        (nobody, vec![("prompt", "select_account")],                            Page("password")),
        (nobody, vec![("prompt", "none")],                                      Error("login_required")),
        (alice,  vec![("prompt", "none"), ("login_hint", BOB)],                 Error("login_required")),
        (alice,  vec![("prompt", "none"), ("hd", "other.example")],             Error("login_required")),
        (alice,  vec![("prompt", "none login")],                                Error("invalid_request")),
        (alice,  vec![("prompt", "nonsense")],                                  Error("invalid_request")),
        (alice,  vec![("response_type", "token")],                              Error("unsupported_response_type")),
        (alice,  vec![("response_type", "code id_token")],                      Error("unsupported_response_type")),
        (alice,  vec![("scope", "openid nonsense")],                            Error("invalid_scope")),
        (alice,  vec![("scope", "")],                                           Error("invalid_scope")),
        (alice,  vec![("code_challenge", "short")],                             Error("invalid_request")),
        (alice,  vec![("code_challenge_method", "S256")],                       Error("invalid_request")),
        (alice,  vec![("audience", "nonsense")],                                Error("invalid_request")),
        (alice,  vec![("audience", "32555940559.apps.googleusercontent.com")],  Error("invalid_request")),
    ];
    for (cookie, parameters, expected) in rows {
        let parameters = [&parameters[..], &[("state", "a b&c")]].concat();
        let url = authorize_url(&dev, &request(client, &parameters));
        let page = Browser::with_cookies(cookie).open(&url);
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        match expected {
            Page(field) => {
                assert_eq!((page.response.status, page.response.header("location")), (200, None), "{parameters:?}");
                page.asks_for(field);
            }
            Code(prompt) => {
                assert_eq!(page.response.status, 302, "{parameters:?}");
                let expected = [
                    pair("state", "a b&c"),
                    pair("code", "CODE"),
                    pair("scope", "email openid https://www.googleapis.com/auth/userinfo.email"),
                    pair("authuser", "0"),
                    pair("hd", "example.com"),
                    pair("prompt", prompt),
                    pair("iss", "https://accounts.google.com"),
                ];
                assert_eq!(told(page.location()), expected, "{parameters:?}");
            }
            Error(code) => {
                assert_eq!(page.response.status, 302, "{parameters:?}: {}", page.response.text());
                let mut told = told(page.location());
                told.retain(|(name, value)| name != "error_description" || value.is_empty());
                let expected =
                    [pair("state", "a b&c"), pair("error", code), pair("iss", "https://accounts.google.com")];
                assert_eq!(told, expected, "{parameters:?}");
            }
        }
    }
}

#[test]
fn an_account_of_another_domain_than_the_client_wants_is_told_so_on_the_page() {
    let dev = Dev::start(&[]);
    let url = authorize_url(&dev, &request(dev.client("desktop"), &[("hd", "other.example")]));
    let mut browser = Browser::new();
    let page = browser.open(&url).asks_for("password");
    let refused = browser.send(&page, &[("email", ALICE), ("password", dev.person(ALICE).text("password"))]);
    assert_eq!((refused.response.status, refused.response.header("location")), (403, None));
    assert!(refused.response.text().contains("other.example"), "{}", refused.response.text());
}

#[test]
fn an_answer_goes_to_an_address_of_the_client_or_nowhere() {
    let dev = Dev::start(&[]);
    let (desktop, web, android) = (dev.client("desktop"), dev.client("web"), dev.client("android"));
    let gcloud = Client { id: "32555940559.apps.googleusercontent.com", secret: None };
    let challenge = ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    #[rustfmt::skip]
    let rows = [
        (desktop, "http://localhost:1",                             true),
        (desktop, "http://localhost:8085/",                         true),
        (desktop, "http://127.0.0.1:50000/any/path?x=1",            true),
        (desktop, "http://[::1]:4444/",                             true),
        (desktop, "http://localhost",                               true),
        (desktop, "https://localhost:4444",                         false),
        (desktop, "http://localhost.evil.example:4444",             false),
        (desktop, "http://127.0.0.1.evil.example/",                 false),
        (desktop, "http://127.0.0.1:1@evil.example/",               false),
        (desktop, "http://127.0.0.2:4444",                          false),
        (desktop, "http://evil.example/?localhost",                 false),
        (desktop, "http://localhost:4444#fragment",                 false),
        (desktop, "http://localhost:4444\\@evil.example",           false),
        (desktop, "com.example.app:/back",                          false),
        (desktop, "javascript:alert(1)",                            false),
        (desktop, "",                                               false),
        (gcloud,  "https://sdk.cloud.google.com/authcode.html",     true),
        (gcloud,  "https://sdk.cloud.google.com/authcode.html?x=1", false),
        (web,     "http://localhost:3000/callback",                 true),
        (web,     "http://localhost:3000/callback/",                false),
        (web,     "http://localhost:3000/callback?x=1",             false),
        (web,     "http://localhost:3001/callback",                 false),
        (web,     "http://LOCALHOST:3000/callback",                 false),
        (android, "com.example.app:/back",                          true),
        (android, "com.example.application:/back",                  false),
        (android, "http://localhost:4444",                          false),
    ];
    let alice = dev.person(ALICE);
    for (client, uri, good) in rows {
        let answer =
            alice.authorize(&request(client, &[("redirect_uri", uri), challenge, ("code_challenge_method", "S256")]));
        if good {
            let answer = answer.expect(302);
            let location = answer.header("location").expect("an address").to_owned();
            let shown = dev.google("sdk.cloud.google.com/authcode.html");
            assert!(location.starts_with(uri) || location.starts_with(&shown), "{uri}: {location}");
        } else {
            refused_on_a_page(&answer, uri, 400, "Error 400: redirect_uri_mismatch");
        }
    }
    let unknown = Client { id: "1-nobody.apps.googleusercontent.com", secret: None };
    refused_on_a_page(&alice.authorize(&request(unknown, &[])), "unknown", 401, "Error 401: invalid_client");
    let missing = alice.authorize(&[("response_type", "code"), ("redirect_uri", LOOPBACK)]);
    refused_on_a_page(&missing, "no client", 401, "Error 401: invalid_client");
    let twice = alice.authorize(&[&request(desktop, &[])[..], &[("redirect_uri", "http://localhost:1")]].concat());
    refused_on_a_page(&twice, "twice", 400, "Error 400: invalid_request");
}

fn refused_on_a_page(answer: &Response, what: &str, status: u16, title: &str) {
    assert_eq!((answer.status, answer.header("location")), (status, None), "{what}: {}", answer.text());
    assert!(answer.text().contains(title), "{what}: {}", answer.text());
    assert!(answer.header("content-type").is_some_and(|kind| kind.starts_with("text/html")), "{what}");
}

/// What gcloud's page shows, for a person to copy.
fn shown_code(dev: &Dev, person: Person<'_>, client: Client<'_>, page: &str) -> String {
    let uri = format!("https://sdk.cloud.google.com/{page}");
    let more = [("redirect_uri", uri.as_str()), ("prompt", "consent"), ("token_usage", "remote")];
    let answer = person.authorize(&request(client, &more)).expect(302);
    let location = answer.header("location").expect("an address").to_owned();
    assert!(location.starts_with(&dev.google(&format!("sdk.cloud.google.com/{page}?"))), "{location}");
    let shown = Request::get(&location).send().expect(200);
    assert_eq!(shown.header("referrer-policy"), Some("no-referrer"), "the address holds the code");
    let text = shown.text();
    let start = text.find(CODE_PREFIX).unwrap_or_else(|| panic!("no code in {text}"));
    text[start..].chars().take_while(|letter| letter.is_ascii_alphanumeric() || "-_".contains(*letter)).collect()
}

#[test]
fn the_page_of_gcloud_shows_a_code_that_its_terminal_redeems() {
    let dev = Dev::start(&[]);
    let alice = dev.person(ALICE);
    #[rustfmt::skip]
    let tools = [
        ("32555940559.apps.googleusercontent.com", "ZmssLNjJy2998hD4CTg2ejr2", "authcode.html"),
        ("764086051850-6qr4p6gpi6hn506pt8ejuq83di341hur.apps.googleusercontent.com", "d-FL95Q19q7MQmFpd7hHD0Ty", "applicationdefaultauthcode.html"),
    ];
    for (id, secret, page) in tools {
        let client = Client { id, secret: Some(secret) };
        let code = shown_code(&dev, alice, client, page);
        let uri = format!("https://sdk.cloud.google.com/{page}");
        let more = [("grant_type", "authorization_code"), ("code", code.as_str()), ("redirect_uri", &uri)];
        let answer = dev.token(&client.form(&more)).expect(200).json();
        assert_eq!(answer["scope"], json!("openid email"), "{answer}");
        let claims = dev.claims(answer["id_token"].as_str().expect("an id_token"));
        assert_eq!([&claims["aud"], &claims["email"]], [id, ALICE]);
    }
    Request::get(&dev.google("sdk.cloud.google.com/authcode.html?error=access_denied")).send().expect(400);
}
