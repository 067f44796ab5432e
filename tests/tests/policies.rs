//! Policies through the methods of `iap.googleapis.com`, and what the next request sees of them.

use doorward_tests::{Connection, Dev, Request, Response, run};
use serde_json::{Value, json};

const ROLE: &str = "roles/iap.httpsResourceAccessor";

fn get(dev: &Dev, resource: &str) -> Value {
    dev.policy(resource, "getIamPolicy", &json!({"options": {"requestedPolicyVersion": 3}})).expect(200).json()
}

fn set(dev: &Dev, resource: &str, policy: Value) -> Response {
    dev.policy(resource, "setIamPolicy", &json!({"policy": policy}))
}

/// Replaces the policy of a resource by one binding, or none.
fn bind(dev: &Dev, resource: &str, members: &[&str]) {
    let etag = &get(dev, resource)["etag"];
    let bindings = if members.is_empty() { json!([]) } else { json!([{"role": ROLE, "members": members}]) };
    set(dev, resource, json!({"bindings": bindings, "etag": etag, "version": 3})).expect(200);
}

fn web(dev: &Dev) -> String {
    format!("projects/{}/iap_web", dev.text("/project/number"))
}

#[test]
fn a_policy_is_replaced_by_whoever_saw_the_newest_state_and_by_nobody_else() {
    let dev = Dev::start(&[]);
    let resource = dev.text("/app/resource");
    let first = get(&dev, resource);
    assert_eq!(first["bindings"].as_array().map(Vec::len), Some(1), "{first}");
    assert_eq!(first["bindings"][0]["role"], ROLE);
    let changed = json!({"bindings": [{"role": ROLE, "members": ["user:alice@example.com"]}], "etag": first["etag"]});
    let second = set(&dev, resource, changed.clone()).expect(200).json();
    assert_eq!(second["bindings"], changed["bindings"]);
    assert_ne!(second["etag"], first["etag"]);
    assert_eq!(get(&dev, resource), second);

    let stale = set(&dev, resource, changed).expect(409).json();
    assert_eq!((&stale["error"]["code"], &stale["error"]["status"]), (&json!(409), &json!("ABORTED")));
    assert_eq!(get(&dev, resource), second);

    // gcloud sends the same bytes in the other alphabet.
    let respelled = second["etag"].as_str().expect("an etag").replace('+', "-").replace('/', "_");
    set(&dev, resource, json!({"bindings": second["bindings"], "etag": respelled, "version": 3})).expect(200);
    // The same resource by the project's id and by the service's name.
    let by_name =
        format!("projects/{}/iap_web/compute/services/{}", dev.text("/project/id"), dev.text("/app/backend_service"));
    assert_eq!(get(&dev, &by_name), get(&dev, resource));
}

#[test]
fn of_many_writers_with_one_etag_one_wins() {
    let dev = Dev::start(&[]);
    let resource = dev.text("/app/resource");
    let etag = get(&dev, resource)["etag"].clone();
    let method = format!("iap.googleapis.com/v1/{resource}:setIamPolicy");
    let writers: Vec<_> = (0..20)
        .map(|number| {
            let bindings = json!([{"role": ROLE, "members": [format!("user:writer{number}@example.com")]}]);
            let request = dev.admin("POST", &method, Some(&json!({"policy": {"bindings": bindings, "etag": etag}})));
            std::thread::spawn(move || request.send().status)
        })
        .collect();
    let statuses: Vec<u16> = writers.into_iter().map(|writer| writer.join().expect("a writer ends")).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 409).count(), 19, "{statuses:?}");
}

#[test]
fn a_change_decides_the_next_request_wherever_in_the_tree_it_is_made() {
    let dev = Dev::start(&[]);
    let token = dev.id_token("stranger");
    let member = format!("serviceAccount:{}", dev.text("/service_accounts/stranger/email"));
    let status = || Request::get(&dev.app("/")).bearer(&token).send().status;
    let number = dev.text("/project/number");
    let app = dev.text("/app/resource").to_owned();
    let places = [app, format!("projects/{number}/iap_web/compute"), web(&dev)];
    for resource in &places {
        let mut members: Vec<String> = Vec::new();
        if let Some(bindings) = get(&dev, resource)["bindings"].as_array() {
            members.extend(
                bindings[0]["members"].as_array().expect("members").iter().map(|m| m.as_str().expect("text").into()),
            );
        }
        let before: Vec<&str> = members.iter().map(String::as_str).collect();
        let after: Vec<&str> = before.iter().copied().chain([member.as_str()]).collect();
        assert_eq!(status(), 403, "{resource}");
        bind(&dev, resource, &after);
        assert_eq!(status(), 200, "{resource}");
        bind(&dev, resource, &before);
        assert_eq!(status(), 403, "{resource}");
    }
    // A grant on the project reaches the second application too.
    bind(&dev, &web(&dev), &[&member]);
    let other = dev.account("stranger").id_token(dev.text("/other_app/client_id"));
    Request::get(dev.text("/other_app/url")).bearer(&other).send().expect(200);
}

#[test]
fn every_form_of_member_admits_whom_it_names() {
    let dev = Dev::start(&[]);
    let token = dev.id_token("stranger");
    let email = dev.text("/service_accounts/stranger/email");
    let (_, domain) = email.split_once('@').expect("an address");
    #[rustfmt::skip]
    let cases = [
        (format!("serviceAccount:{email}"),                       200),
        (format!("serviceAccount:{}", email.to_ascii_uppercase()), 200),
        (format!("user:{email}"),                                 403),
        (format!("domain:{domain}"),                              403),
        ("user:alice@example.com".into(),                         403),
        ("domain:example.com".into(),                             403),
        ("allAuthenticatedUsers".into(),                          200),
        ("allUsers".into(),                                       200),
    ];
    for (member, status) in cases {
        bind(&dev, dev.text("/app/resource"), &[&member]);
        assert_eq!(Request::get(&dev.app("/")).bearer(&token).send().status, status, "{member}");
    }
}

#[test]
fn all_users_are_admitted_without_a_credential_and_without_an_identity() {
    let dev = Dev::start(&[]);
    bind(&dev, dev.text("/app/resource"), &["allUsers"]);
    let echo =
        Request::get(&dev.app("/")).header("X-Goog-Authenticated-User-Email", "forged").send().expect(200).json();
    let identity = echo["identity"].as_object().expect("a verified header");
    assert!(!identity.contains_key("sub") && !identity.contains_key("email"), "{echo}");
    assert_eq!(identity["aud"], dev.text("/app/audience"));
    for header in ["x-goog-authenticated-user-email", "x-goog-authenticated-user-id"] {
        assert_eq!(echo["headers"].get(header), None, "{echo}");
    }
    // Who has proven an identity keeps it.
    let echo = Request::get(&dev.app("/")).bearer(&dev.id_token("robot")).send().expect(200).json();
    assert_eq!(echo["identity"]["email"], dev.text("/service_accounts/robot/email"));
    bind(&dev, dev.text("/app/resource"), &["allAuthenticatedUsers"]);
    Request::get(&dev.app("/")).send().expect(302);
}

#[test]
fn a_condition_is_stored_as_it_was_written_and_holds_for_the_requests_that_it_speaks_of() {
    let dev = Dev::start(&[]);
    let resource = dev.text("/app/resource");
    let member = format!("serviceAccount:{}", dev.text("/service_accounts/stranger/email"));
    let condition =
        json!({"title": "docs", "description": "the books", "expression": "request.path.startsWith('/docs/')"});
    let binding = json!({"role": ROLE, "members": [member], "condition": condition});
    let etag = &get(&dev, resource)["etag"];
    set(&dev, resource, json!({"bindings": [binding], "etag": etag, "version": 3})).expect(200);
    let stored = get(&dev, resource);
    assert_eq!((&stored["bindings"], &stored["version"]), (&json!([binding]), &json!(3)));
    // Whoever knows no conditions is told that there is one, and is not shown what it says.
    let blind = dev.policy(resource, "getIamPolicy", &json!({})).expect(200).json();
    assert_eq!(blind["version"], 1);
    let shown = blind["bindings"][0].as_object().expect("a binding");
    assert!(shown["role"].as_str().is_some_and(|role| role.contains("_withcond_")) && !shown.contains_key("condition"));

    let token = dev.id_token("stranger");
    // A path must be in it as it was sent and as it is without dot segments.
    for (path, status) in [("/docs/a", 200), ("/docs/../a", 403), ("/a/../docs/b", 403), ("/a", 403)] {
        let mut connection = Connection::open(dev.app_authority());
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n",
            dev.app_authority()
        );
        connection.send(head.as_bytes());
        assert_eq!(connection.response().status, status, "{path}");
    }
}

#[test]
fn what_would_not_be_enforced_as_written_is_refused() {
    let dev = Dev::start(&[]);
    let resource = dev.text("/app/resource");
    let before = get(&dev, resource);
    let when = |expression: &str| json!({"title": "t", "expression": expression});
    let untitled = json!({"expression": "request.path.startsWith('/a')"});
    let conditional =
        |members: &str, condition: Value| json!({"role": ROLE, "members": [members], "condition": condition});
    let bindings = |binding: Value| json!({"policy": {"bindings": [binding], "etag": before["etag"], "version": 3}});
    let member = "user:alice@example.com";
    let mut old = bindings(conditional(member, when("request.path == '/a'")));
    old["policy"]["version"] = json!(1);
    #[rustfmt::skip]
    let cases = [
        ("no expression",  bindings(conditional(member, when("request.path =")))),
        ("another type",   bindings(conditional(member, when("request.path.startsWith(1)")))),
        ("no attribute",   bindings(conditional(member, when("request.colour == 'red'")))),
        ("no title",       bindings(conditional(member, untitled))),
        ("old version",    old),
        ("for everybody",  bindings(conditional("allUsers", when("request.path == '/a'")))),
        ("another role",   bindings(json!({"role": "roles/owner", "members": [member]}))),
        ("no role",        bindings(json!({"members": [member]}))),
        ("no such group",  bindings(json!({"role": ROLE, "members": ["group:g@example.com"]}))),
        ("no prefix",      bindings(json!({"role": ROLE, "members": ["alice@example.com"]}))),
        ("no list",        bindings(json!({"role": ROLE, "members": member}))),
        ("bindings as map", json!({"policy": {"bindings": {"role": ROLE}, "etag": before["etag"]}})),
        ("a bad version",  json!({"policy": {"bindings": [], "etag": before["etag"], "version": 2}})),
        ("a bad etag",     json!({"policy": {"bindings": [], "etag": "!"}})),
        ("no policy",      json!({})),
    ];
    for (name, body) in cases {
        let refused = dev.policy(resource, "setIamPolicy", &body);
        assert_eq!(refused.status, 400, "{name}: {}", refused.text());
        assert_eq!(refused.json()["error"]["status"], "INVALID_ARGUMENT", "{name}");
        assert_eq!(get(&dev, resource), before, "{name}");
    }
    let url = dev.google(&format!("iap.googleapis.com/v1/{resource}:setIamPolicy"));
    for body in ["", "{", "[]", "null", "{\"policy\":"] {
        let refused = Request::post(&url, "application/json", body.as_bytes()).bearer(dev.text("/admin_token")).send();
        assert_eq!(refused.status, 400, "{body:?}: {}", refused.text());
    }
    let deep = format!("{{\"policy\":{}}}", "[".repeat(100_000));
    let refused = Request::post(&url, "application/json", deep.as_bytes()).bearer(dev.text("/admin_token")).send();
    assert!((400..500).contains(&refused.status), "{}", refused.status);
    let missing = dev.policy("projects/999/iap_web", "getIamPolicy", &json!({}));
    assert!([403, 404].contains(&missing.status), "{}", missing.text());
    assert_eq!(
        Request::post(&url, "application/json", b"{}").send().expect(401).json()["error"]["status"],
        "UNAUTHENTICATED"
    );
    assert_eq!(get(&dev, resource), before);
}

#[test]
fn the_command_line_adds_shows_and_removes_a_member() {
    let dev = Dev::start(&[]);
    let token = dev.id_token("stranger");
    let member = format!("serviceAccount:{}", dev.text("/service_accounts/stranger/email"));
    let status = || Request::get(&dev.app("/")).bearer(&token).send().status;
    let policy = |arguments: &[&str]| {
        let finished = run(&mut dev.command(&[&["policy"], arguments].concat()));
        assert_eq!(finished.code, Some(0), "{arguments:?}: {}", finished.stderr);
        finished.stdout
    };
    assert!(!policy(&["get", "--app", "app"]).contains(&member));
    policy(&["add", "--app", "app", "--member", &member]);
    assert!(policy(&["get", "--app", "app"]).contains(&member));
    assert_eq!(status(), 200);
    policy(&["remove", "--app", "app", "--member", &member]);
    assert_eq!(status(), 403);
    policy(&["add", "--project", "--member", &member]);
    assert_eq!(status(), 200);
    let refused = run(&mut dev.command(&["policy", "add", "--app", "app", "--member", "group:g@example.com"]));
    assert_ne!(refused.code, Some(0), "{}", refused.stdout);
}
