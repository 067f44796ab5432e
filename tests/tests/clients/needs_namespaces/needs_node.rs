//! google-auth-library for Node.

use doorward_tests::{Finished, Names, client_script, node};
use serde_json::{Value, json};

use super::super::{Answer, wrong_audience};
use super::Led::{Denied, In};
use super::{NO_OPEN_ID_TOKEN, app, assert_led, take};

#[test]
fn every_way_of_the_node_library_leads_where_googles_own_names_lead() {
    let world = Names::start(&[]);
    let (client_id, target) = (world.text("/app/client_id"), world.service_account("target"));
    let alice = "/users/alice@example.com";
    let desktop = &world.description()["oauth_clients"]["desktop"];
    let given = json!({
        "app": app(&world).trim_end_matches("/path"), "client_id": client_id, "audience": world.text("/app/audience"),
        "desktop": desktop, "cookie": world.text(&format!("{alice}/sign_in_cookie")), "target": target,
        "files": {
            "robot": world.key_file("robot"), "stranger": world.key_file("stranger"), "caller": world.key_file("caller"),
            "authorized_user": world.text(&format!("{alice}/authorized_user_file")),
            "impersonated": world.text("/credential_files/impersonated_service_account"),
        },
    });
    let mut ways = node();
    ways.arg(client_script("google_auth_library.cjs"));
    let Finished { code, stdout, stderr } = world.run_with_input(&ways, &given.to_string());
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    let mut led: Value = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error} in {stdout}"));

    let impersonated = take(&mut led, "impersonated");
    for way in ["id_token", "id_token_client"] {
        Answer::of(&impersonated[way]).is_of(target);
    }
    assert_eq!((&impersonated["email"], &impersonated["signed"]), (&json!(target), &json!(true)));

    let signed_in = take(&mut led, "signIn");
    assert_eq!((&signed_in["state"], &signed_in["revoked"]), (&json!(true), &json!(200)), "{signed_in}");
    assert_eq!(signed_in["claims"]["email"], "alice@example.com");
    let refused = Answer::of(&signed_in["id_token"]);
    let desktop = desktop["client_id"].as_str().expect("a client id");
    assert_eq!((refused.status, refused.body), (401, wrong_audience(desktop, client_id)));

    let assertion = take(&mut led, "assertion");
    assert_eq!(assertion["claims"]["email"], world.service_account("robot"));
    let other = assertion["other"]["refused"].as_str().unwrap_or_else(|| panic!("accepted: {assertion}"));
    assert!(other.starts_with("Wrong recipient"), "{other}");

    // An access token, and what it is said to be: way => whose
    let informed = [
        ("key_file_access", world.service_account("robot")),
        ("authorized_user", "alice@example.com"),
        ("impersonated_file", target),
    ];
    for (way, email) in informed {
        assert_eq!(take(&mut led, way)["email"], email, "{way}");
    }
    #[rustfmt::skip]
    let table = [
        ("metadata",            In("robot")),
        ("key_file",            In("robot")),
        ("key_file_stranger",   Denied("stranger")),
        ("impersonated_by_key", In("target")),
        ("impersonated_denied", NO_OPEN_ID_TOKEN),
    ];
    assert_led(&world, &led, &table);
}
