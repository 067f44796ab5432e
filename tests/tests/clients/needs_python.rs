//! google-auth for Python: getting tokens, and verifying what we sign.

use std::process::Command;

use doorward_tests::{Dev, Request, Side, client_script, python, tampered};
use serde_json::{Value, json};

use super::{Answer, add_binding, ask, offline, service_account, succeed, verified_email, wrong_audience};

fn parsed(printed: &str) -> Value {
    serde_json::from_str(printed).unwrap_or_else(|error| panic!("{error} in {printed}"))
}

/// A script that knows of nothing but this side of this server.
fn script(name: &str, side: Side<'_>, nowhere: &std::path::Path) -> Command {
    let mut command = python();
    offline(&mut command).arg(client_script(name)).env("CLOUDSDK_CONFIG", nowhere);
    if let Some(ca_file) = side.ca_file {
        command.env("REQUESTS_CA_BUNDLE", ca_file);
    }
    command
}

/// `service_account.IDTokenCredentials.from_service_account_file`, with nothing overridden.
fn call(dev: &Dev, account: &str, client_id: &str) -> (u64, String) {
    let key_file = dev.text(&format!("/service_accounts/{account}/key_file"));
    let arguments = [key_file, client_id, &dev.app("/")];
    let answer = parsed(&succeed(python().arg(client_script("call_application.py")).args(arguments)));
    (answer["status"].as_u64().expect("a status"), answer["body"].as_str().expect("a body").to_owned())
}

#[test]
fn the_python_library_gets_in() {
    let dev = Dev::start(&[]);
    let (status, echo) = call(&dev, "robot", dev.text("/app/client_id"));
    assert_eq!((status, verified_email(&echo).as_str()), (200, dev.text("/service_accounts/robot/email")));
}

#[test]
fn the_python_library_is_refused_until_a_binding_is_added() {
    let dev = Dev::start(&[]);
    let email = dev.text("/service_accounts/stranger/email");
    let (status, body) = call(&dev, "stranger", dev.text("/app/client_id"));
    assert!(status == 403 && body.ends_with(&format!(": Access denied. For user {email}.")), "{status} {body}");
    add_binding(&dev, "stranger");
    let (status, echo) = call(&dev, "stranger", dev.text("/app/client_id"));
    assert_eq!((status, verified_email(&echo).as_str()), (200, email));
}

#[test]
fn the_python_library_is_told_which_audience_is_wanted() {
    let dev = Dev::start(&[]);
    let refused = call(&dev, "robot", dev.text("/other_app/client_id"));
    let (sent, expected) = (dev.text("/other_app/client_id"), dev.text("/app/client_id"));
    assert_eq!(refused, (401, wrong_audience(sent, expected)));
}

#[test]
fn a_python_backend_accepts_our_signed_header_and_refuses_every_other() {
    let (dev, other) = (Dev::start(&[]), Dev::start(&[]));
    let assertion = |dev: &Dev| {
        let echo = Request::get(&dev.app("/")).bearer(&dev.id_token("robot")).send().expect(200).json();
        echo["headers"]["x-goog-iap-jwt-assertion"].as_str().expect("an assertion").to_owned()
    };
    let (good, foreign) = (assertion(&dev), assertion(&other));
    let (audience, wrong_audience) = (dev.text("/app/audience"), dev.text("/other_app/audience"));
    // token, audience, seconds later => accepted, or what each of the two libraries says
    #[rustfmt::skip]
    let rows = [
        (good.clone(),    audience,       0,    None),
        (good.clone(),    audience,       500,  None),
        (good.clone(),    audience,       900,  Some(["Token expired",                    "Signature has expired"])),
        (good.clone(),    wrong_audience, 0,    Some(["Token has wrong audience",         "Audience doesn't match"])),
        (tampered(&good), audience,       0,    Some(["Could not verify token signature", "Signature verification failed"])),
        (foreign,         audience,       0,    Some(["Certificate for key id",           "Unable to find a signing key"])),
    ];
    let documents =
        ["public_key", "public_key-jwk"].map(|name| dev.google(&format!("www.gstatic.com/iap/verify/{name}")));
    let rows = || documents.iter().enumerate().flat_map(|(index, url)| rows.iter().map(move |row| (index, url, row)));
    let cases: Vec<Value> = rows()
        .map(|(_, url, (token, audience, later, _))| {
            json!({"token": token, "audience": audience, "keys_url": url, "seconds_later": later})
        })
        .collect();
    let outcomes = ask(python().arg(client_script("verify_assertion.py")), &Value::from(cases));
    for (at, (index, url, (_, audience, later, refused))) in rows().enumerate() {
        let outcome = &outcomes[at];
        let what = format!("{url} {audience} {later}: {outcome}");
        match refused {
            None => {
                assert_eq!(outcome["claims"]["email"], dev.text("/service_accounts/robot/email"), "{what}");
                assert_eq!(outcome["claims"]["iss"], "https://cloud.google.com/iap", "{what}");
            }
            Some(messages) => {
                let message = outcome["message"].as_str().unwrap_or_else(|| panic!("accepted: {what}"));
                assert!(message.starts_with(messages[index]), "{what}");
            }
        }
    }
}

#[test]
fn the_python_sample_gets_in_with_nothing_but_the_metadata_server() {
    let dev = Dev::start(&["--tls"]);
    let nowhere = tempfile::tempdir().expect("a temporary directory");
    let (host, client_id) = (dev.text("/metadata/host"), dev.text("/app/client_id"));
    for side in dev.sides() {
        let mut sample = script("default_credentials.py", side, nowhere.path());
        // The library asks the second one whether there is a metadata server at all.
        sample.env("GCE_METADATA_HOST", host).env("GCE_METADATA_IP", host).args([client_id, side.app]);
        Answer::of(&parsed(&succeed(&mut sample))).is_of(dev.text("/metadata/service_account"));
    }
}

#[test]
fn every_way_of_the_python_library_whose_addresses_can_be_given_leads_in() {
    let dev = Dev::start(&["--tls"]);
    let nowhere = tempfile::tempdir().expect("a temporary directory");
    let (client_id, target) = (dev.text("/app/client_id"), service_account(&dev, "target"));
    let key_file = |name: &str| dev.text(&format!("/service_accounts/{name}/key_file"));
    for side in dev.sides() {
        let mut ways = script("google_auth_ways.py", side, nowhere.path());
        let led = ask(
            ways.env("NO_GCE_CHECK", "true"),
            &json!({
                "app": side.app, "api": side.api, "client_id": client_id, "target": target,
                "other_client_id": dev.text("/other_app/client_id"), "key_file": key_file("robot"),
                "stranger_key_file": key_file("stranger"), "caller_key_file": key_file("caller"),
                "authorized_user_file": dev.person("alice@example.com").text("authorized_user_file"),
                "impersonated_file": dev.text("/credential_files/impersonated_service_account"),
            }),
        );
        let (robot, stranger) = (service_account(&dev, "robot"), service_account(&dev, "stranger"));
        let user = "alice@example.com";
        // way => whom the application saw
        #[rustfmt::skip]
        let admitted = [
            ("key_file",                        robot),
            ("self_signed",                     robot),
            ("impersonated_with_email",         target),
            ("impersonated_without_email",      target),
            ("impersonated_with_email_by_user", target),
        ];
        for (way, email) in admitted {
            Answer::of(&led[way]).is_of(email);
        }
        for way in ["key_file_stranger", "self_signed_stranger"] {
            Answer::of(&led[way]).is_refused_to(stranger);
        }
        // An access token is for APIs; whose it is, they say.
        #[rustfmt::skip]
        let informed = [
            ("impersonated",         "target"),
            ("impersonated_by_user", "target"),
            ("impersonated_by_file", "target"),
        ];
        for (way, name) in informed {
            let Answer { status, body } = Answer::of(&led[way]);
            let unique_id = dev.text(&format!("/service_accounts/{name}/unique_id"));
            let expected = json!({"sub": unique_id, "email": target, "email_verified": true});
            assert_eq!((status, parsed(&body)), (200, expected), "{way}");
        }
        let Answer { status, body } = Answer::of(&led["authorized_user"]);
        let info = parsed(&body);
        assert_eq!((status, &info["email"], &info["hd"]), (200, &json!(user), &json!("example.com")), "{info}");
        // The client of application default credentials is of another project: its ID tokens are for itself.
        let refused = Answer::of(&led["authorized_user_id_token"]);
        let own = "764086051850-6qr4p6gpi6hn506pt8ejuq83di341hur.apps.googleusercontent.com";
        assert_eq!((refused.status, refused.body), (401, wrong_audience(own, client_id)));
        let denied = led["impersonated_denied"]["message"].as_str().expect("a message");
        assert!(denied.contains("Permission 'iam.serviceAccounts.getAccessToken' denied on resource"), "{denied}");
        for way in ["verified_v1", "verified_v3"] {
            assert_eq!((&led[way]["email"], &led[way]["aud"]), (&json!(robot), &json!(client_id)), "{}", led[way]);
        }
        let other = led["verified_other"]["message"].as_str().expect("a message");
        assert!(other.starts_with("Token has wrong audience"), "{other}");
    }
}

/// What `google_cloud_iap.py` is given, and what it must have told.
pub(super) fn google_cloud_iap<'a>(
    text: impl Fn(&str) -> &'a str,
    endpoint: Option<&str>,
) -> (Value, impl FnOnce(&Value)) {
    let [resource, number, stranger] = ["/app/resource", "/project/number", "/service_accounts/stranger/email"]
        .map(|pointer| text(pointer).to_owned());
    let member = format!("serviceAccount:{stranger}");
    let given = json!({
        "endpoint": endpoint, "key_file": text("/service_accounts/caller/key_file"),
        "stranger_key_file": text("/service_accounts/stranger/key_file"),
        "number": number, "resource": resource, "member": member,
    });
    let check = move |told: &Value| {
        let refused = |name: &str, kind: &str, words: &str| {
            let refused = &told[name];
            let said = refused["message"].as_str().unwrap_or_else(|| panic!("{name} was not refused: {refused}"));
            assert!(refused["kind"] == kind && said.contains(words), "{name}: {refused}");
        };
        let conditional = json!({
            "role": "roles/iap.httpsResourceAccessor", "members": [member],
            "condition": {"title": "open", "expression": "request.path.startsWith(\"/open/\")"},
        });
        let policy = &told["policy"];
        assert!(policy["bindings"].as_array().is_some_and(|all| all.contains(&conditional)), "{policy}");
        assert_eq!((&policy["version"], &told["new_etag"]), (&json!(3), &json!(true)));
        refused("stale", "Conflict", "There were concurrent policy changes.");
        assert_eq!(told["held"], json!(["iap.webServices.getIamPolicy"]));
        refused("denied", "Forbidden", "Permission 'iap.webServices.getIamPolicy' denied on resource");
        let nothing = json!({"name": resource});
        let set = json!({
            "name": resource,
            "accessSettings": {"oauthSettings": {"programmaticClients": ["c.apps.googleusercontent.com"]}},
        });
        assert_eq!([&told["settings_before"], &told["settings_set"], &told["settings"]], [&nothing, &set, &set]);
        refused("settings_denied", "Forbidden", "Permission 'iap.webServices.getSettings' denied on resource");
        refused("wrong_expression", "BadRequest", "(at column");
        let brand = format!("projects/{number}/brands/{number}");
        let expected = json!({
            "name": brand, "applicationTitle": "Ours", "supportEmail": "alice@example.com", "orgInternalOnly": true,
        });
        assert_eq!((&told["no_brands"], &told["brand"], &told["brands"]), (&json!([]), &expected, &json!([brand])));
        let clients = [&told["another_secret"], &told["client"], &told["clients"], &told["clients_after"]];
        assert_eq!(clients, [&json!(true), &json!("one"), &json!(["one"]), &json!([])]);
        refused("gone", "NotFound", "there is no such client");
    };
    (given, check)
}

#[test]
fn googles_library_for_iap_administers_over_rest() {
    let dev = Dev::start(&["--tls"]);
    let nowhere = tempfile::tempdir().expect("a temporary directory");
    // The library speaks https only.
    let side = *dev.sides().iter().find(|side| side.ca_file.is_some()).expect("a side over TLS");
    let endpoint = side.google("iap.googleapis.com");
    let (given, check) = google_cloud_iap(|pointer| dev.text(pointer), endpoint.strip_prefix("https://"));
    check(&ask(&mut script("google_cloud_iap.py", side, nowhere.path()), &given));
}
