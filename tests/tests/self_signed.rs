//! JWTs that a service account signed itself, or had signed, straight to the application.

use doorward_tests::{Account, Dev, Request, Response, now_seconds, run, tampered};
use serde_json::{Value, json};

/// The claims of a good one for a URL.
fn claims(account: &Account, aud: &str) -> Value {
    let now = now_seconds();
    json!({"iss": account.email, "sub": account.email, "aud": aud, "iat": now, "exp": now + 3600})
}

fn with(mut claims: Value, changes: Value) -> Value {
    for (name, value) in changes.as_object().expect("an object") {
        match value {
            Value::Null => claims.as_object_mut().expect("an object").remove(name),
            value => claims.as_object_mut().expect("an object").insert(name.clone(), value.clone()),
        };
    }
    claims
}

fn ask(dev: &Dev, token: &str, target: &str) -> Response {
    Request::get(&dev.app(target)).bearer(token).send()
}

fn refused(answer: &Response, reason: &str, sentence: &str, what: &str) {
    let told = (answer.status, answer.reason(), answer.text());
    assert_eq!(told, (401, Some(reason), format!("Invalid IAP credentials: {sentence}")), "{what}");
}

#[test]
fn an_audience_is_a_url_of_the_application_or_a_prefix_of_some() {
    let dev = Dev::start(&[]);
    let robot = dev.account("robot");
    let origin = dev.text("/app/url").to_owned();
    let (_, port) = origin.rsplit_once(':').expect("a port");
    let other = dev.text("/other_app/url").to_owned();
    // aud, target => whether it is let in
    #[rustfmt::skip]
    let rows = [
        (format!("{origin}/*"),                       "/",                 true),
        (format!("{origin}/*"),                       "/a/b?c=d",          true),
        (format!("{origin}/path"),                    "/path",             true),
        (format!("{origin}/path"),                    "/path?query=1",     true),
        (format!("{origin}/a/*"),                     "/a/b/c",            true),
        (format!("{origin}/a/*"),                     "/a/",               true),
        (format!("{origin}/path"),                    "/path/",            false),
        (format!("{origin}/path"),                    "/other",            false),
        (format!("{origin}/path?query=1"),            "/path?query=1",     false),
        (format!("{origin}/a/*"),                     "/a",                false),
        (format!("{origin}/a/*"),                     "/ab",               false),
        (format!("{origin}/a/*"),                     "/a/../b",           false),
        (format!("{origin}/a/*"),                     "/a/b/../../b",      false),
        (format!("{origin}/a*"),                      "/ab",               false),
        (format!("{origin}/*/b"),                     "/a/b",              false),
        (origin.clone(),                              "/",                 false),
        (format!("{origin}/"),                        "/path",             false),
        (format!("https://127.0.0.1:{port}/*"),       "/",                 false),
        (format!("HTTP://127.0.0.1:{port}/*"),        "/",                 false),
        ("http://127.0.0.1/*".into(),                  "/",                 false),
        (format!("{other}/*"),                        "/",                 false),
        ("*".into(),                                  "/",                 false),
        ("http://*/*".into(),                         "/",                 false),
        (dev.text("/app/client_id").into(),           "/",                 false),
        (dev.text("/app/audience").into(),            "/",                 false),
    ];
    for (aud, target, good) in rows {
        let answer = ask(&dev, &robot.sign(&claims(&robot, &aud)), target);
        if good {
            let echo = answer.expect(200).json();
            assert_eq!(echo["identity"]["email"], robot.email, "{aud} {target}");
        } else {
            let sentence = "Audience specified does not match requested endpoint";
            refused(&answer, "wrong_audience", sentence, &format!("{aud} at {target}"));
        }
    }
}

#[test]
fn where_the_application_is_is_what_is_configured_and_not_what_a_proxy_says() {
    let dev = Dev::start(&[]);
    let robot = dev.account("robot");
    let token = robot.sign(&claims(&robot, "https://app.example/*"));
    for (header, value) in [
        ("X-Forwarded-Host", "app.example"),
        ("X-Forwarded-Proto", "https"),
        ("Forwarded", "host=app.example;proto=https"),
        ("X-Original-URL", "https://app.example/"),
    ] {
        let answer = Request::get(&dev.app("/")).bearer(&token).header(header, value).send();
        assert_eq!((answer.status, answer.reason()), (401, Some("wrong_audience")), "{header}");
    }
    // One that was good for a path a moment ago is judged again for the next.
    let token = robot.sign(&claims(&robot, &dev.app("/path")));
    for _ in 0..2 {
        ask(&dev, &token, "/path").expect(200);
        assert_eq!(ask(&dev, &token, "/other").expect(401).reason(), Some("wrong_audience"));
    }
}

#[test]
fn what_is_wrong_with_one_is_said_in_a_code() {
    let dev = Dev::start(&[]);
    let (robot, stranger) = (dev.account("robot"), dev.account("stranger"));
    let now = now_seconds();
    let good = claims(&robot, &dev.app("/*"));
    let but = |changes: Value| robot.sign(&with(good.clone(), changes));
    let under = |header: Value| robot.sign_under(&header, &good);
    let foreign = Dev::start(&[]).account("robot").sign(&good);
    let (claims, unsigned) = ("JWT claims are not valid", "JWT signature is invalid");
    #[rustfmt::skip]
    let rows = [
        ("tampered",             tampered(&robot.sign(&good)),                                  "invalid_token",       unsigned),
        ("another's key",        stranger.sign(&good),                                          "invalid_token",       claims),
        ("another world's",      foreign,                                                       "invalid_token",       unsigned),
        ("no kid",               under(json!({"alg": "RS256"})),                                "invalid_token",       unsigned),
        ("alg none",             under(json!({"alg": "none", "kid": robot.key_id})),            "jwt_alg",             unsigned),
        ("iss alone",            but(json!({"sub": "alice@example.com"})),                      "invalid_token",       claims),
        ("no sub",               but(json!({"sub": null})),                                     "invalid_token",       claims),
        ("no aud",               but(json!({"aud": null})),                                     "invalid_token",       claims),
        ("no exp",               but(json!({"exp": null})),                                     "invalid_token",       claims),
        ("longer than an hour",  but(json!({"exp": now + 3700})),                               "invalid_token",       claims),
        ("target_audience",      but(json!({"target_audience": "x"})),                          "wrong_token_kind",    claims),
        ("scope",                but(json!({"scope": "openid"})),                               "wrong_token_kind",    claims),
        ("for the token endpoint", but(json!({"aud": robot.token_uri})),                        "wrong_token_kind",    claims),
    ];
    for (name, token, reason, sentence) in rows {
        refused(&ask(&dev, &token, "/"), reason, sentence, name);
    }
    for (name, changes, reason) in [
        ("expired", json!({"iat": now - 7200, "exp": now - 3600}), "expired_token"),
        ("from the future", json!({"iat": now + 600, "exp": now + 1200}), "token_not_yet_valid"),
    ] {
        assert_eq!(ask(&dev, &but(changes), "/").expect(401).reason(), Some(reason), "{name}");
    }
    ask(&dev, &robot.sign(&good), "/").expect(200);
}

#[test]
fn one_lives_no_longer_than_its_key_and_its_account() {
    let dev = Dev::start(&[]);
    let robot = dev.account("robot");
    let token = robot.sign(&claims(&robot, &dev.app("/*")));
    let keys = format!("iam.googleapis.com/v1/projects/-/serviceAccounts/{}/keys", robot.email);
    let created = dev.admin("POST", &keys, Some(&json!({}))).send().expect(200).json();
    ask(&dev, &token, "/").expect(200);
    dev.admin("DELETE", &format!("{keys}/{}", robot.key_id), None).send().expect(200);
    assert_eq!(ask(&dev, &token, "/").expect(401).reason(), Some("invalid_token"));
    assert!(created["name"].is_string());

    // What we sign for an account ends with it too.
    let target = dev.text("/service_accounts/target/email");
    let caller = dev.account("caller").access_token("https://www.googleapis.com/auth/iam");
    let now = now_seconds();
    let payload = json!({"iss": target, "sub": target, "aud": dev.app("/*"), "iat": now, "exp": now + 600});
    let signed = dev.iam_credentials(&caller, target, "signJwt", &json!({"payload": payload.to_string()}));
    let signed = signed.expect(200).json();
    let signed = signed["signedJwt"].as_str().expect("a JWT");
    ask(&dev, signed, "/").expect(200);
    let deleted = run(&mut dev.command(&["service-account", "delete", target]));
    assert_eq!(deleted.code, Some(0), "{}", deleted.stderr);
    ask(&dev, signed, "/").expect(401);
}
