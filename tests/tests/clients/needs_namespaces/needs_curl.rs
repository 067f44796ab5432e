//! curl, with the commands of Google's documentation as they are printed: placeholders are replaced, hosts are not.

use std::process::Command;

use doorward_tests::{Names, query_of};
use serde_json::{Value, json};

use super::super::needs_curl::{
    ASK, ASK_BY_PROXY_AUTHORIZATION, IMPERSONATE, METADATA, REDEEM_CODE, REDEEM_REFRESH_TOKEN, SIGN_IN_URL, answer,
    filled, json_of,
};
use super::super::{Answer, wrong_audience};
use super::{app, succeed};

const CLOUD: &str = "https://www.googleapis.com/auth/cloud-platform";

/// A printed command, run by a shell inside.
fn shell(world: &Names, command: &str, replaced: &[(&str, &str)]) -> Answer {
    answer(&succeed(world, Command::new("sh").args(["-c", &filled(command, replaced)])))
}

fn ask(world: &Names, id_token: &str) -> Answer {
    shell(world, ASK, &[("ID_TOKEN", id_token), ("URL", &app(world))])
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}"))
}

/// The recipe for desktop applications: what the token endpoint answers to a code, and to the refresh token.
fn sign_in(world: &Names, email: &str) -> [Value; 2] {
    let [client_id, secret] =
        ["client_id", "client_secret"].map(|name| world.text(&format!("/oauth_clients/desktop/{name}")));
    let url = SIGN_IN_URL.replace("DESKTOP_CLIENT_ID", client_id);
    let cookie = format!("Cookie: {}", world.text(&format!("/users/{email}/sign_in_cookie")));
    // In the place of a browser, and of `nc -k -l 4444` that shows where the browser was sent.
    let mut browser = Command::new("curl");
    browser.args(["--silent", "--output", "/dev/null", "--write-out", "%{redirect_url}", "--header", &cookie, &url]);
    let location = succeed(world, &browser);
    assert!(location.starts_with("http://localhost:4444/?"), "{location}");
    let code = query_of(&location).into_iter().find(|(name, _)| name == "code").expect("a code").1;

    let known = [("DESKTOP_CLIENT_ID", client_id), ("DESKTOP_CLIENT_SECRET", secret)];
    let audience = ("IAP_CLIENT_ID", world.text("/app/client_id"));
    let first = json_of(&shell(world, REDEEM_CODE, &[&known[..], &[("AUTH_CODE", &code), audience]].concat()));
    let refresh_token = ("REFRESH_TOKEN", text(&first, "refresh_token"));
    let second = json_of(&shell(world, REDEEM_REFRESH_TOKEN, &[&known[..], &[refresh_token, audience]].concat()));
    [first, second]
}

#[test]
fn the_recipe_for_desktop_applications_works_to_the_letter() {
    let world = Names::start(&[]);
    for answer in sign_in(&world, "alice@example.com") {
        let id_token = text(&answer, "id_token");
        ask(&world, id_token).is_of("alice@example.com");
        let by_proxy = shell(&world, ASK_BY_PROXY_AUTHORIZATION, &[("ID_TOKEN", id_token), ("URL", &app(&world))]);
        by_proxy.is_of("alice@example.com");
    }
    for answer in sign_in(&world, "bob@example.com") {
        ask(&world, text(&answer, "id_token")).is_refused_to("bob@example.com");
    }
}

#[test]
fn one_account_acts_as_another_by_the_printed_command() {
    let world = Names::start(&[]);
    let target = world.service_account("target");
    let access_token = |email: &str| {
        let refresh_token = world.text(&format!("/users/{email}/gcloud_refresh_token"));
        let gcloud =
            [("DESKTOP_CLIENT_ID", "32555940559.apps.googleusercontent.com"), ("REFRESH_TOKEN", refresh_token)];
        let more = [("DESKTOP_CLIENT_SECRET", "ZmssLNjJy2998hD4CTg2ejr2"), ("--data audience=IAP_CLIENT_ID", "")];
        let answer = json_of(&shell(&world, REDEEM_REFRESH_TOKEN, &[gcloud, more].concat()));
        assert!(text(&answer, "scope").contains(CLOUD), "{answer}");
        text(&answer, "access_token").to_owned()
    };
    let request = json!({"audience": world.text("/app/client_id"), "includeEmail": "true"}).to_string();
    let impersonate = |access_token: &str| {
        let account = [("REQUEST", request.as_str()), ("ACCOUNT", target), ("METHOD", "generateIdToken")];
        shell(&world, IMPERSONATE, &[&[("ACCESS_TOKEN", access_token)], &account[..]].concat())
    };
    let made = json_of(&impersonate(&access_token("alice@example.com")));
    ask(&world, text(&made, "token")).is_of(target);
    let refused = impersonate(&access_token("bob@example.com"));
    assert!(refused.status == 403 && refused.body.contains("iam.serviceAccounts.getOpenIdToken"), "{}", refused.body);
}

#[test]
fn the_metadata_server_answers_at_its_own_name() {
    let world = Names::start(&[]);
    let identity = |audience: &str, format: &str| {
        let given = shell(&world, METADATA, &[("AUDIENCE", audience), ("FORMAT", format)]);
        assert_eq!(given.status, 200, "{}", given.body);
        given.body
    };
    let [client_id, other] = ["/app/client_id", "/other_app/client_id"].map(|pointer| world.text(pointer));
    for format in ["full", "standard"] {
        ask(&world, &identity(client_id, format)).is_of(world.service_account("robot"));
    }
    let refused = ask(&world, &identity(other, "full"));
    assert_eq!((refused.status, refused.body), (401, wrong_audience(other, client_id)));
}
