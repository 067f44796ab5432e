//! Signing in as a browser does it, and as an attacker would like it.

use super::*;

const SESSION: &str = "doorward_sign_in";
const FLOW: &str = "doorward_flow";

#[tokio::test]
async fn a_person_signs_in_once_and_the_answer_goes_to_the_address_that_the_client_may_use() {
    let world = World::new().await;
    let mut visit = Visit::to(&world);
    let page = visit.get(&authorize_path(&[("login_hint", "alice@example.com")])).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.body.contains("Desk &#60;b&#62;top&#60;/b&#62;"), "{}", page.body);
    assert!(page.body.contains("value=\"alice@example.com\""));
    assert!(!page.body.contains("<script"));
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("form-action 'self' http://localhost:4444;"), "{policy}");
    assert_eq!(page.headers["referrer-policy"], "same-origin", "or browsers hide the form's origin");
    assert_eq!(page.headers["cache-control"], "no-store");
    let [cookie] = page.set_cookies()[..] else { panic!("{:?}", page.set_cookies()) };
    assert!(cookie.starts_with("doorward_flow=") && cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax"), "{cookie}");

    let answer = visit.sign_in(&page, "Alice@Example.com").await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert!(answer.location().starts_with("http://localhost:4444?state=s&code=doorward_ac_"), "{}", answer.location());
    assert_eq!(query(answer.location())["iss"], "https://accounts.google.com");
    assert_eq!(answer.headers["cache-control"], "no-store");
    let [cookie] = answer.set_cookies()[..] else { panic!("{:?}", answer.set_cookies()) };
    assert!(cookie.ends_with("; Path=/; Max-Age=1209600; HttpOnly; SameSite=Lax"), "{cookie}");

    let again = visit.get(&authorize_path(&[])).await;
    assert_eq!(again.status, StatusCode::FOUND, "signed in already");
    assert_ne!(query(again.location())["code"], query(answer.location())["code"]);
}

#[tokio::test]
async fn a_request_may_come_as_a_form_whose_answer_is_fetched_and_whose_query_is_not_read() {
    let world = World::new().await;
    let mut visit = Visit::to(&world);
    let address = authorize_path(&[]);
    let (path, parameters) = address.split_once('?').unwrap();
    let page = visit.send(Method::POST, path, parameters).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.body);
    visit.sign_in(&page, "alice@example.com").await;
    let answer = visit.send(Method::POST, path, parameters).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "the form is not sent on");
    assert_eq!(query(answer.location())["state"], "s");
    let refused = visit.send(Method::POST, &address, "").await;
    assert_eq!((refused.status, refused.location()), (StatusCode::UNAUTHORIZED, ""));
    let cookies = visit.cookie_header();
    let other =
        world.post(&address.replace("localhost%3A4444", "localhost%3A1"), &[("cookie", &cookies)], parameters).await;
    assert!(other.location().starts_with("http://localhost:4444?"), "{}", other.location());
}

#[tokio::test]
async fn the_answer_names_the_issuer_under_which_the_endpoint_was_reached() {
    let world = World::new().await;
    let own = authorize_path(&[]).replace("/accounts.google.com/", "/");
    for (tls, path, issuer) in [
        (false, authorize_path(&[]), "https://accounts.google.com"),
        (false, own.clone(), "http://127.0.0.1:8081"),
        (true, own, "https://127.0.0.1:8444"),
    ] {
        let mut visit = Visit { tls, ..Visit::to(&world) };
        let page = visit.get(&path).await;
        let answer = visit.sign_in(&page, "alice@example.com").await;
        assert_eq!(query(answer.location())["iss"], issuer, "{path}");
    }
}

#[tokio::test]
async fn over_tls_only_cookies_that_no_neighbour_can_set_count() {
    let world = World::new().await;
    let mut visit = Visit { tls: true, ..Visit::to(&world) };
    let page = visit.get(&authorize_path(&[])).await;
    let answer = visit.sign_in(&page, "alice@example.com").await;
    for (answer, name) in [(&page, "__Host-doorward_flow="), (&answer, "__Host-doorward_sign_in=")] {
        let [cookie] = answer.set_cookies()[..] else { panic!("{:?}", answer.set_cookies()) };
        assert!(cookie.starts_with(name) && cookie.ends_with("; Secure") && !cookie.contains("Domain"), "{cookie}");
    }
    let session = visit.cookies.remove("__Host-doorward_sign_in").unwrap();
    visit.cookies.insert(SESSION.to_owned(), session);
    assert_eq!(visit.get(&authorize_path(&[])).await.status, StatusCode::OK, "asked to sign in");
}

#[tokio::test]
async fn a_form_of_another_site_or_browser_is_refused_recorded_and_changes_nothing() {
    let world = World::new().await;
    let mut victim = Visit::to(&world);
    let mut attacker = Visit::to(&world);
    let page = victim.get(&authorize_path(&[])).await;
    let form_of_victim = Form::on(&page);
    let form_of_attacker = Form::on(&attacker.get(&authorize_path(&[])).await);
    let device = Form::on(&victim.get("/accounts.google.com/device").await);
    let cookie = format!("{FLOW}={}", victim.cookies[FLOW]);
    let others = format!("{FLOW}={}", attacker.cookies[FLOW]);
    let twice = format!("{cookie}; {others}");
    let own = ("origin", "http://localhost:8081");
    let body = |flow: &str| form(&[("flow", flow), ("email", "alice@example.com"), ("password", PASSWORD)]);
    let good = body(&form_of_victim.flow);
    let mut tampered = form_of_victim.flow.clone();
    tampered.replace_range(20..21, if &tampered[20..21] == "A" { "B" } else { "A" });
    #[rustfmt::skip]
    let cases: [(&str, Fields<'_>, String, u16); 15] = [
        ("another site",             vec![("cookie", &cookie), ("origin", "https://evil.test")],              good.clone(), 403),
        ("another port",             vec![("cookie", &cookie), ("origin", "http://localhost:8080")],          good.clone(), 403),
        ("another scheme",           vec![("cookie", &cookie), ("origin", "https://localhost:8081")],         good.clone(), 403),
        ("a hidden origin",          vec![("cookie", &cookie), ("origin", "null")],                           good.clone(), 403),
        ("two origins",              vec![("cookie", &cookie), own, ("origin", "https://evil.test")],         good.clone(), 403),
        ("told by the browser",      vec![("cookie", &cookie), own, ("sec-fetch-site", "cross-site")],        good.clone(), 403),
        ("a sibling",                vec![("cookie", &cookie), own, ("sec-fetch-site", "same-site")],         good.clone(), 403),
        ("no cookie",                vec![own],                                                               good.clone(), 400),
        ("another browser's cookie", vec![("cookie", &others), own],                                          good.clone(), 400),
        ("another browser's form",   vec![("cookie", &cookie), own],                  body(&form_of_attacker.flow), 400),
        ("a cookie twice",           vec![("cookie", &twice), own],                                           good.clone(), 400),
        ("a changed flow",           vec![("cookie", &cookie), own],                               body(&tampered), 400),
        ("the flow of another form", vec![("cookie", &cookie), own],                            body(&device.flow), 400),
        ("no flow",                  vec![("cookie", &cookie), own],              form(&[("email", "alice@example.com")]), 400),
        ("a parameter twice",        vec![("cookie", &cookie), own],                format!("{good}&email=x%40y.test"), 400),
    ];
    for (name, fields, body, status) in cases {
        let answer = world.post(&form_of_victim.action, &fields, &body).await;
        assert_eq!(answer.status.as_u16(), status, "{name}");
        assert_eq!((answer.location(), answer.set_cookies()), ("", vec![]), "{name}");
        assert_eq!(world.last_reason().await, Some(TokenReason::InvalidRequest), "{name}");
    }
    let answer = world.post(&form_of_victim.action, &[("cookie", &cookie), own], &good).await;
    assert_eq!(answer.status.as_u16(), 303, "the form itself is good");
    world.clock.advance(std::time::Duration::from_secs(3600));
    let answer = world.post(&form_of_victim.action, &[("cookie", &cookie), own], &good).await;
    assert_eq!((answer.status.as_u16(), answer.set_cookies()), (400, vec![]), "after an hour");
}

#[tokio::test]
async fn a_form_takes_no_flow_of_another_form() {
    let world = World::new().await;
    let asked = form(&[("client_id", DESKTOP), ("client_secret", SECRET), ("scope", "openid")]);
    let asked = world.post("/oauth2.googleapis.com/device/code", &[], &asked).await.json();
    let mut visit = Visit::to(&world);
    let client = visit.get(&authorize_path(&[])).await;
    visit.sign_in(&client, "alice@example.com").await;
    let entry = visit.get("/accounts.google.com/device").await;
    let decision = visit.submit(&entry, &[("user_code", asked["user_code"].as_str().unwrap())]).await;
    let sign_out = visit.get("/accounts.google.com/signout").await;
    let forms = [&client, &entry, &decision, &sign_out].map(Form::on);
    // action => the form whose flow it takes
    let actions = [("/signin", 0), ("/signin/account", 0), ("/device", 1), ("/device/decision", 2), ("/signout", 3)];
    for (action, own) in actions {
        for (at, Form { flow, .. }) in forms.iter().enumerate().filter(|(at, _)| *at != own) {
            let fields = [
                ("flow", flow.as_str()),
                ("email", "alice@example.com"),
                ("password", PASSWORD),
                ("account", "1001"),
                ("user_code", "BBBB-BBBB"),
                ("decision", "allow"),
            ];
            let answer = visit.send(Method::POST, &format!("/accounts.google.com{action}"), &form(&fields)).await;
            assert_eq!((answer.status.as_u16(), answer.location()), (400, ""), "{action} {at}");
            assert!(answer.body.contains("This page cannot be used any more"), "{action} {at}");
            assert_eq!(answer.set_cookies(), Vec::<&str>::new(), "{action} {at}");
        }
    }
    assert_eq!(visit.get(&authorize_path(&[])).await.status, StatusCode::FOUND, "still signed in");
}

#[tokio::test]
async fn a_session_is_new_at_every_sign_in_and_one_that_was_planted_is_worth_nothing() {
    let world = World::new().await;
    let mut visit = Visit::to(&world);
    visit.cookies.insert(SESSION.to_owned(), "planted".to_owned());
    let page = visit.get(&authorize_path(&[("prompt", "login")])).await;
    visit.sign_in(&page, "alice@example.com").await;
    let first = visit.cookies[SESSION].clone();
    assert_ne!(first, "planted");
    let page = visit.get(&authorize_path(&[("prompt", "login")])).await;
    visit.sign_in(&page, "alice@example.com").await;
    assert_ne!(visit.cookies[SESSION], first);
    for cookie in [
        "doorward_sign_in=planted".to_owned(),
        format!("doorward_sign_in={first}"),
        format!("doorward_sign_in={0}; doorward_sign_in={0}", visit.cookies[SESSION]),
        format!("doorward_sign_in={}; doorward_sign_in=x", visit.cookies[SESSION]),
        format!("doorward_sign_in=x; doorward_sign_in={}", visit.cookies[SESSION]),
    ] {
        let answer = world.call(Method::GET, &authorize_path(&[]), &[("cookie", &cookie)], "").await;
        assert_eq!(answer.status, StatusCode::OK, "{cookie}: asked to sign in");
    }
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_person_look_the_same_and_guessing_is_slowed() {
    let world = World::new().await;
    let mut visit = Visit::to(&world);
    let page = visit.get(&authorize_path(&[])).await;
    let mut seen = Vec::new();
    for email in ["alice@example.com", "nobody@example.com", "\"><script>alert(1)</script>"] {
        let answer = visit.submit(&page, &[("email", email), ("password", "wrong")]).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{email}");
        assert!(!answer.body.contains("<script") && answer.body.contains("role=\"alert\""), "{email}");
        assert_eq!(world.last_reason().await, Some(TokenReason::WrongPassword));
        let flow = Form::on(&answer).flow;
        seen.push(answer.body.replace(email, "EMAIL").replace(&flow, "FLOW"));
        assert!(answer.set_cookies().is_empty());
    }
    assert_eq!(seen[0], seen[1]);
    let mut last = StatusCode::OK;
    for _ in 0..5 {
        let answer = visit.submit(&page, &[("email", "ALICE@example.com"), ("password", "wrong")]).await;
        last = answer.status;
        if last == StatusCode::TOO_MANY_REQUESTS {
            assert_eq!(answer.headers["retry-after"], "1");
            assert!(answer.body.contains("Too many attempts"));
        }
    }
    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS, "whatever the spelling");
    let bob = visit.sign_in(&page, "bob@example.com").await;
    assert_eq!(bob.status, StatusCode::SEE_OTHER, "others are not locked out");
}

#[tokio::test]
async fn a_request_that_may_not_be_answered_is_a_page_and_leads_nowhere() {
    let world = World::new().await;
    let mut visit = Visit::to(&world);
    let page = visit.get(&authorize_path(&[])).await;
    visit.sign_in(&page, "alice@example.com").await;
    let to = |uri: &str| authorize_path(&[("redirect_uri", uri)]);
    let mismatch = "Error 400: redirect_uri_mismatch";
    #[rustfmt::skip]
    let cases = [
        (to("https://evil.test/"),                               400, mismatch),
        (to("http://localhost:4444@evil.test/"),                 400, mismatch),
        (to("http://localhost.evil.test:4444"),                  400, mismatch),
        (to("//evil.test"),                                      400, mismatch),
        (to("/\\evil.test"),                                     400, mismatch),
        (to("http://localhost\\@evil.test"),                     400, mismatch),
        (to("http://localhost:4444/\r\nSet-Cookie: a=b"),        400, mismatch),
        (to("javascript:alert(1)"),                              400, mismatch),
        (to("data:text/html,<script>alert(1)</script>"),         400, mismatch),
        (to("https://sdk.cloud.google.com/authcode.html"),       400, mismatch),
        (to(""),                                                 400, mismatch),
        (format!("{}&redirect_uri=http://localhost:4444", to("https://evil.test")), 400, "Error 400: invalid_request"),
        (authorize_path(&[("client_id", "a\0b")]),               400, "Error 400: invalid_request"),
        (authorize_path(&[("client_id", "nobody <b>")]),         401, "Error 401: invalid_client"),
        (authorize_path(&[("client_id", "")]),                   401, "Error 401: invalid_client"),
        (authorize_path(&[("client_id", APPLICATION)]),          501, "People cannot sign in yet"),
    ];
    for (path, status, title) in cases {
        for path in [path.clone(), path.replace("/v2/", "/"), path.replace("/accounts.google.com", "")] {
            if path.starts_with("/o/oauth2/auth") {
                continue;
            }
            let answer = visit.get(&path).await;
            assert_eq!((answer.status.as_u16(), answer.location()), (status, ""), "{path}");
            assert!(answer.body.contains(&format!("<h1>{title}</h1>")), "{path} {}", answer.body);
            assert!(!answer.body.contains("<script") && !answer.body.contains("nobody <b>"), "{path}");
            assert_eq!(answer.set_cookies(), Vec::<&str>::new(), "{path}");
            let policy = answer.headers["content-security-policy"].to_str().unwrap();
            assert!(policy.contains("form-action 'none'"), "{policy}");
            assert!(world.last_reason().await.is_some(), "{path}");
        }
    }
}

#[tokio::test]
async fn whatever_state_holds_comes_back_as_one_parameter_of_the_clients_address() {
    let world = World::new().await;
    let mut visit = Visit::to(&world);
    let page = visit.get(&authorize_path(&[])).await;
    visit.sign_in(&page, "alice@example.com").await;
    for state in ["\r\nSet-Cookie: a=b", "x&code=forged&iss=evil", "#/..//evil.test", "\u{e9}\u{1}\"<>"] {
        let answer = visit.get(&authorize_path(&[("state", state)])).await;
        assert_eq!(answer.status, StatusCode::FOUND, "{state:?}");
        assert!(answer.location().starts_with("http://localhost:4444?"), "{}", answer.location());
        let back = query(answer.location());
        assert_eq!(back["state"], state);
        assert!(back["code"].starts_with("doorward_ac_"));
        assert_eq!(answer.set_cookies(), Vec::<&str>::new());
    }
    let denied = visit.get(&authorize_path(&[("response_type", "token"), ("state", "a b")])).await;
    let back = query(denied.location());
    assert_eq!((back["error"].as_str(), back["state"].as_str()), ("unsupported_response_type", "a b"));
}

#[tokio::test]
async fn a_person_chooses_among_those_who_are_signed_in_and_nobody_else() {
    let world = World::new().await;
    let mut visit = Visit::to(&world);
    let page = visit.get(&authorize_path(&[])).await;
    visit.sign_in(&page, "alice@example.com").await;
    let choice = visit.get(&authorize_path(&[("prompt", "select_account")])).await;
    assert!(choice.body.contains("alice@example.com") && !choice.body.contains("bob@example.com"));
    let bob = visit.submit(&choice, &[("account", "1002")]).await;
    assert_eq!((bob.status, bob.location()), (StatusCode::OK, ""), "bob is not signed in here");
    assert!(bob.body.contains("type=\"password\""));
    let another = visit.submit(&choice, &[]).await;
    visit.sign_in(&another, "bob@example.com").await;
    let choice = visit.get(&authorize_path(&[])).await;
    assert!(choice.body.contains("alice@example.com") && choice.body.contains("bob@example.com"));
    let answer = visit.submit(&choice, &[("account", "1002")]).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert_eq!(world.last_event().await.account.as_deref(), Some("bob@example.com"));
    let wrong = visit.get(&authorize_path(&[("hd", "other.test")])).await;
    let wrong = visit.sign_in(&wrong, "bob@example.com").await;
    assert_eq!((wrong.status, wrong.location()), (StatusCode::FORBIDDEN, ""));
    assert!(wrong.body.contains("accounts of other.test only"), "{}", wrong.body);
}

#[tokio::test]
async fn only_our_own_page_signs_a_person_out() {
    let world = World::new().await;
    let mut visit = Visit::to(&world);
    let page = visit.get(&authorize_path(&[])).await;
    visit.sign_in(&page, "alice@example.com").await;
    let page = visit.get("/accounts.google.com/signout").await;
    let cookies = visit.cookie_header();
    let body = form(&[("flow", &Form::on(&page).flow)]);
    let fields = [("cookie", cookies.as_str()), ("origin", "https://evil.test")];
    let refused = world.post("/accounts.google.com/signout", &fields, &body).await;
    assert_eq!((refused.status, refused.set_cookies()), (StatusCode::FORBIDDEN, vec![]));
    assert_eq!(visit.get(&authorize_path(&[])).await.status, StatusCode::FOUND, "still signed in");

    let session = visit.cookies[SESSION].clone();
    let answer = visit.submit(&page, &[]).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.set_cookies().iter().any(|cookie| cookie.starts_with("doorward_sign_in=; Path=/; Max-Age=0")));
    let cookie = format!("{SESSION}={session}");
    let answer = world.call(Method::GET, &authorize_path(&[]), &[("cookie", &cookie)], "").await;
    assert_eq!(answer.status, StatusCode::OK, "the session itself has ended");
}

#[tokio::test]
async fn a_person_lets_a_device_in_after_comparing_its_code() {
    let world = World::new().await;
    let asked = world
        .post(
            "/oauth2.googleapis.com/device/code",
            &[],
            &form(&[("client_id", DESKTOP), ("client_secret", SECRET), ("scope", "openid email")]),
        )
        .await;
    let asked = asked.json();
    let user_code = asked["user_code"].as_str().unwrap();
    let device_code = asked["device_code"].as_str().unwrap();
    assert_eq!(asked["verification_url"], "http://127.0.0.1:8081/accounts.google.com/device");
    let mut visit = Visit::to(&world);
    let path = format!("/accounts.google.com/device?user_code={}", user_code.to_lowercase());
    let entry = visit.get(&path).await;
    let unknown = visit.submit(&entry, &[("user_code", "BBBB-BBBB")]).await;
    assert!(unknown.body.contains("type=\"password\""), "whether a device waits is told to those who are signed in");
    let sign_in = visit.submit(&entry, &[("user_code", &user_code.to_lowercase())]).await;
    let question = visit.sign_in(&sign_in, "alice@example.com").await;
    assert_eq!(question.status, StatusCode::OK);
    assert!(question.body.contains(user_code) && question.body.contains("Desk &#60;b&#62;"), "{}", question.body);
    let flow = Form::on(&question);
    let cookies = visit.cookie_header();
    let body = form(&[("flow", &flow.flow), ("decision", "allow")]);
    let fields = [("cookie", cookies.as_str()), ("origin", "https://evil.test")];
    assert_eq!(world.post(&flow.action, &fields, &body).await.status, StatusCode::FORBIDDEN);

    let poll = form(&[
        ("client_id", DESKTOP),
        ("client_secret", SECRET),
        ("device_code", device_code),
        ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
    ]);
    let pending = world.post("/oauth2.googleapis.com/token", &[], &poll).await;
    assert_eq!((pending.status.as_u16(), &pending.json()["error"]), (428, &"authorization_pending".into()));
    let too_soon = world.post("/oauth2.googleapis.com/token", &[], &poll).await;
    assert_eq!((too_soon.status.as_u16(), &too_soon.json()["error"]), (403, &"slow_down".into()));
    let done = visit.submit(&question, &[("decision", "allow")]).await;
    assert!(done.body.contains("The device is let in"), "{}", done.body);
    world.clock.advance(std::time::Duration::from_secs(30));
    let tokens = world.post("/oauth2.googleapis.com/token", &[], &poll).await;
    assert_eq!(tokens.status, StatusCode::OK, "{}", tokens.body);
    let wrong = visit.submit(&entry, &[("user_code", user_code)]).await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
    assert!(wrong.body.contains("No device waits with this code"));
}

#[tokio::test]
async fn the_page_for_a_code_is_ours_where_we_were_reached_by_a_path_and_shows_the_code_alone() {
    let world = World::new().await;
    let gcloud = [("client_id", GCLOUD), ("redirect_uri", "https://sdk.cloud.google.com/authcode.html")];
    let mut visit = Visit::to(&world);
    let page = visit.get(&authorize_path(&gcloud)).await;
    let answer = visit.sign_in(&page, "alice@example.com").await;
    let here = "http://localhost:8081/sdk.cloud.google.com/authcode.html?";
    assert!(answer.location().starts_with(here), "{}", answer.location());
    let shown = world.get(&answer.location()["http://localhost:8081".len()..]).await;
    assert!(shown.body.contains(&query(answer.location())["code"]), "{}", shown.body);
    assert!(!shown.body.contains("state") && !shown.body.contains("iss="));

    let path = authorize_path(&gcloud).replace("/accounts.google.com/", "/");
    let cookies = visit.cookie_header();
    let by_name = world.call(Method::GET, &path, &[("host", "accounts.google.com"), ("cookie", &cookies)], "").await;
    let there = "https://sdk.cloud.google.com/authcode.html?";
    assert!(by_name.location().starts_with(there), "{}", by_name.location());

    for page in ["/sdk.cloud.google.com/authcode.html", "/sdk.cloud.google.com/applicationdefaultauthcode.html"] {
        for (query, status) in [
            ("?code=abc-_.~/", 200),
            ("?code=%3Cscript%3E", 200),
            ("?code=a&code=b", 400),
            ("?code=a%0d%0ab", 400),
            ("?error=%3Cscript%3E", 400),
            ("", 400),
        ] {
            let answer = world.get(&format!("{page}{query}")).await;
            assert_eq!(answer.status.as_u16(), status, "{page}{query}");
            assert!(!answer.body.contains("<script"), "{page}{query}");
            assert_eq!(answer.headers["cache-control"], "no-store");
        }
    }
}
