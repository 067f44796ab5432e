//! The metadata server: what a workload is told, and who is told nothing.

use doorward_tests::{Connection, Dev, Request, Response};
use serde_json::{Value, json};

const FLAVOR: (&str, &str) = ("Metadata-Flavor", "Google");

fn url(dev: &Dev, path: &str) -> String {
    format!("http://{}{path}", dev.text("/metadata/host"))
}

fn get(dev: &Dev, path: &str) -> Response {
    let answer = Request::get(&url(dev, &format!("/computeMetadata/v1/{path}"))).header(FLAVOR.0, FLAVOR.1).send();
    assert_eq!(answer.header("metadata-flavor"), Some("Google"), "{path}");
    answer
}

#[test]
fn every_path_is_answered_as_text_and_as_json() {
    let dev = Dev::start(&[]);
    let email = dev.text("/metadata/service_account");
    let (id, number) = (dev.text("/project/id"), dev.text("/project/number"));
    let scopes = "https://www.googleapis.com/auth/cloud-platform\nhttps://www.googleapis.com/auth/userinfo.email\n";
    let account = "aliases\nemail\nidentity\nscopes\ntoken\n".to_owned();
    // path => text, JSON
    #[rustfmt::skip]
    let rows = [
        ("",                                              "instance/\nproject/\nuniverse/\n".to_owned(),   json!(["instance/", "project/", "universe/"])),
        ("project/project-id",                            id.to_owned(),                                   json!(id)),
        ("project/numeric-project-id",                    number.to_owned(),                               json!(number.parse::<u64>().expect("digits"))),
        ("universe/universe-domain",                      "googleapis.com".into(),                         json!("googleapis.com")),
        ("instance/zone",                                 format!("projects/{number}/zones/us-central1-a"), json!(format!("projects/{number}/zones/us-central1-a"))),
        ("instance/service-accounts/",                    format!("{email}/\ndefault/\n"),                 json!([format!("{email}/"), "default/"])),
        ("instance/service-accounts/default/",            account.clone(),                                 json!(["aliases", "email", "identity", "scopes", "token"])),
        ("instance/service-accounts/default/email",       email.to_owned(),                                json!(email)),
        ("instance/service-accounts/default/aliases",     "default\n".into(),                              json!(["default"])),
        ("instance/service-accounts/default/scopes",      scopes.into(),                                   json!(scopes.lines().collect::<Vec<_>>())),
    ];
    for (path, text, document) in rows {
        let answer = get(&dev, path).expect(200);
        assert_eq!(answer.text(), text, "{path}");
        assert_eq!(answer.header("content-type"), Some("application/text"), "{path}");
        let answer = get(&dev, &format!("{path}?alt=json")).expect(200);
        assert_eq!(answer.json(), document, "{path}");
        assert_eq!(answer.header("content-type"), Some("application/json"), "{path}");
    }
    let by_email = format!("instance/service-accounts/{email}/");
    assert_eq!(get(&dev, &by_email).expect(200).text(), account);
    let expected = json!({"aliases": ["default"], "email": email, "scopes": scopes.lines().collect::<Vec<_>>()});
    for directory in ["instance/service-accounts/default/", &by_email] {
        assert_eq!(get(&dev, &format!("{directory}?recursive=true")).expect(200).json(), expected);
    }
    let whole = get(&dev, "?recursive=true").expect(200).json();
    assert_eq!(whole["instance"]["serviceAccounts"][email], expected, "{whole}");
    assert_eq!(whole["project"]["numericProjectId"].to_string(), number);
    assert!(!whole.to_string().contains("token"), "{whole}");
    for (path, location) in [
        ("instance", "/computeMetadata/v1/instance/"),
        ("instance/service-accounts", "/computeMetadata/v1/instance/service-accounts/"),
        ("instance?recursive=true", "/computeMetadata/v1/instance/?recursive=true"),
    ] {
        assert_eq!(get(&dev, path).expect(301).header("location"), Some(location), "{path}");
    }
    for path in
        ["instance/nothing", "instance/zone/", "instance/service-accounts/other@example.com/token", "../v1/instance/"]
    {
        get(&dev, path).expect(404);
    }
    // The ping of every library.
    let ping = Request::get(&url(&dev, "/")).send().expect(200);
    assert_eq!(ping.header("metadata-flavor"), Some("Google"));
}

#[test]
fn an_identity_says_as_much_as_its_format_does() {
    let dev = Dev::start(&[]);
    let (email, client_id) = (dev.text("/metadata/service_account"), dev.text("/app/client_id"));
    let unique_id = dev.text("/service_accounts/robot/unique_id");
    let identity = |query: &str| get(&dev, &format!("instance/service-accounts/default/identity?{query}"));
    let told = |query: &str| {
        let answer = identity(query).expect(200);
        // Whoever decodes by the content type must take it for text.
        assert_eq!(answer.header("content-type"), Some("text/html"), "{query}");
        (answer.text(), dev.claims(&answer.text()))
    };
    let standard = |claims: &Value| {
        let iat = claims["iat"].as_i64().expect("iat");
        json!({
            "iss": "https://accounts.google.com", "aud": client_id, "azp": unique_id, "sub": unique_id, "iat": iat,
            "exp": iat + 3600,
        })
    };
    // As gcloud asks, as Python asks, and with the audience as it is.
    for query in ["", "&format=standard", "&format=standard&licenses=FALSE"] {
        let (token, claims) = told(&format!("audience={client_id}{query}"));
        assert_eq!(claims, standard(&claims), "{query}");
        let echo = Request::get(&dev.app("/")).bearer(&token).send().expect(200).json();
        assert_eq!(echo["identity"]["email"], email);
    }
    for (query, licensed) in [("", false), ("&licenses=FALSE", false), ("&licenses=TRUE", true)] {
        let (token, claims) = told(&format!("format=full&audience={client_id}{query}"));
        let mut expected = standard(&claims);
        expected["email"] = email.into();
        expected["email_verified"] = true.into();
        let engine = &claims["google"]["compute_engine"];
        expected["google"] = json!({"compute_engine": {
            "project_id": dev.text("/project/id"), "project_number": dev.text("/project/number").parse::<u64>().expect("digits"),
            "zone": "us-central1-a", "instance_id": engine["instance_id"], "instance_name": "doorward-dev",
            "instance_creation_timestamp": engine["instance_creation_timestamp"], "instance_confidentiality": 0,
        }});
        if licensed {
            expected["google"]["compute_engine"]["license_id"] = engine["license_id"].clone();
            assert!(engine["license_id"].is_array(), "{claims}");
        }
        assert_eq!(claims, expected, "{query}");
        Request::get(&dev.app("/")).bearer(&token).send().expect(200);
    }
    for query in ["", "audience=", "format=full"] {
        assert_eq!(identity(query).expect(400).text(), "non-empty audience parameter required", "{query}");
    }
    for query in ["audience=a&format=whole", "audience=a&licenses=maybe", "audience=a&audience=b"] {
        identity(query).expect(400);
    }
}

#[test]
fn an_access_token_is_one_for_the_scopes_that_are_asked_for() {
    let dev = Dev::start(&[]);
    let token = |query: &str| get(&dev, &format!("instance/service-accounts/default/token{query}"));
    let usual = "https://www.googleapis.com/auth/cloud-platform https://www.googleapis.com/auth/userinfo.email";
    for (query, scope) in [("", usual), ("?scopes=openid%2Cemail", "openid email"), ("?scopes=email", "email")] {
        let answer = token(query).expect(200).json();
        let expires_in = answer["expires_in"].as_u64().expect("a number");
        assert!((3590..=3600).contains(&expires_in), "{answer}");
        let access_token = answer["access_token"].as_str().expect("text");
        let expected = json!({"access_token": access_token, "expires_in": expires_in, "token_type": "Bearer"});
        assert_eq!(answer, expected);
        let info = Request::get(&dev.google("oauth2.googleapis.com/tokeninfo")).bearer(access_token).send();
        assert_eq!(info.expect(200).json()["scope"], scope, "{query}");
    }
    token("?scopes=nonsense").expect(400);
}

#[test]
fn whoever_does_not_know_whom_they_ask_or_asks_for_another_is_turned_away() {
    let dev = Dev::start(&[]);
    let host = dev.text("/metadata/host");
    let (_, port) = host.rsplit_once(':').expect("a port");
    let path = "/computeMetadata/v1/instance/service-accounts/default/token";
    let good = format!("Host: {host}");
    let flavor = "Metadata-Flavor: Google";
    let missing = "Missing Metadata-Flavor:Google header.\n";
    let forwarded =
        "Requests through a proxy or by a web page are refused: ask directly, without X-Forwarded-For and Origin.\n";
    let foreign = "This Host is not the metadata server. Use the host of dev.json, or metadata.google.internal.\n";
    // target, fields => status, sentence
    #[rustfmt::skip]
    let rows: Vec<(String, Vec<&str>, u16, &str)> = vec![
        (path.into(), vec![&good, flavor],                                          200, ""),
        (path.into(), vec!["Host: metadata.google.internal", flavor],               200, ""),
        (path.into(), vec!["Host: metadata.google.internal.", flavor],              200, ""),
        (path.into(), vec!["Host: 169.254.169.254", flavor],                        200, ""),
        (path.into(), vec![&good],                                                  403, missing),
        (path.into(), vec![&good, "Metadata-Flavor: google"],                       403, missing),
        (path.into(), vec![&good, flavor, flavor],                                  403, missing),
        (path.into(), vec![&good, flavor, "X-Forwarded-For: 127.0.0.1"],            403, forwarded),
        (path.into(), vec![&good, flavor, "X-Forwarded-For;: 127.0.0.1"],           400, ""),
        (path.into(), vec![&good, flavor, "X_Forwarded_For: 127.0.0.1"],            403, forwarded),
        (path.into(), vec![&good, flavor, "Forwarded: for=127.0.0.1"],              403, forwarded),
        (path.into(), vec![&good, flavor, "Via: 1.1 proxy"],                        403, forwarded),
        (format!("http://{host}{path}"), vec![&good, flavor],                       403, forwarded),
        (path.into(), vec!["Host: evil.example", flavor],                           403, foreign),
        (path.into(), vec!["Host: evil.example"],                                   403, foreign),
    ];
    let refusals = rows.iter().filter(|(_, _, status, _)| *status == 403).count();
    for (target, fields, status, sentence) in rows {
        let mut connection = Connection::open(&format!("127.0.0.1:{port}"));
        let fields = fields.join("\r\n");
        connection.send(format!("GET {target} HTTP/1.1\r\n{fields}\r\nConnection: close\r\n\r\n").as_bytes());
        let answer = connection.response();
        assert_eq!(answer.status, status, "{target} {fields}: {}", answer.text());
        if status == 403 {
            assert_eq!(answer.text(), sentence, "{target} {fields}");
            assert_eq!(answer.header("metadata-flavor"), Some("Google"));
        }
    }
    for method in ["POST", "PUT", "DELETE"] {
        let answer = Request::new(method, &url(&dev, path)).header(FLAVOR.0, FLAVOR.1).send();
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{method}");
    }
    let events = dev.token_events();
    let turned_away: Vec<&Value> = events.iter().filter(|event| event["reason"] == "metadata_refused").collect();
    assert_eq!(turned_away.len(), refusals, "{events:?}");
    assert!(turned_away.iter().all(|event| event["method"] == "metadata" && event["peer"] == "127.0.0.1"));
}

#[test]
fn a_wait_for_a_change_is_over_at_once_if_the_client_knows_an_older_value() {
    let dev = Dev::start(&[]);
    let path = "instance/service-accounts/default/email";
    let answer = get(&dev, path).expect(200);
    let etag = answer.header("etag").expect("an etag").to_owned();
    let changed = get(&dev, &format!("{path}?wait_for_change=true&last_etag=0&timeout_sec=50")).expect(200);
    assert_eq!((changed.text(), changed.header("etag")), (answer.text(), Some(etag.as_str())));
    // Nothing changes, so a client that knows the newest value waits as long as it said: here not at all.
    get(&dev, &format!("{path}?wait_for_change=true&last_etag={etag}&timeout_sec=0")).expect(200);
    get(&dev, &format!("{path}?wait_for_change=true&timeout_sec=soon")).expect(400);
}
