//! curl, with the commands of Google's documentation as they are printed: hosts and placeholders are replaced, and nothing else.

use std::process::Command;

use doorward_tests::{Dev, LISTENERS, PLAIN_LISTENERS, Process, Side, Upstream, doorward, now_seconds, query_of, run};
use serde_json::{Value, json};

use super::{Answer, add_binding, service_account, succeed, verified_email, wrong_audience};

pub(super) const SIGN_IN_URL: &str = "https://accounts.google.com/o/oauth2/v2/auth?client_id=DESKTOP_CLIENT_ID&response_type=code&scope=openid%20email&access_type=offline&redirect_uri=http://localhost:4444&cred_ref=true";
pub(super) const REDEEM_CODE: &str = "curl --verbose \
      --data client_id=DESKTOP_CLIENT_ID \
      --data client_secret=DESKTOP_CLIENT_SECRET \
      --data code=AUTH_CODE \
      --data audience=IAP_CLIENT_ID \
      --data redirect_uri=http://localhost:4444 \
      --data grant_type=authorization_code \
      https://oauth2.googleapis.com/token";
pub(super) const REDEEM_REFRESH_TOKEN: &str = "curl --verbose \
      --data client_id=DESKTOP_CLIENT_ID \
      --data client_secret=DESKTOP_CLIENT_SECRET \
      --data refresh_token=REFRESH_TOKEN \
      --data grant_type=refresh_token \
      --data audience=IAP_CLIENT_ID \
      https://oauth2.googleapis.com/token";
pub(super) const ASK: &str = "curl --verbose --header 'Authorization: Bearer ID_TOKEN' URL";
pub(super) const ASK_BY_PROXY_AUTHORIZATION: &str =
    "curl --verbose --header 'Proxy-Authorization: Bearer ID_TOKEN' --header 'Authorization: Basic b3du' URL";
/// <https://cloud.google.com/iam/docs/create-short-lived-credentials-direct>
pub(super) const IMPERSONATE: &str = r#"curl -X POST \
    -H "Authorization: Bearer ACCESS_TOKEN" \
    -H "Content-Type: application/json; charset=utf-8" \
    -d 'REQUEST' \
    "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/ACCOUNT:METHOD""#;
/// <https://cloud.google.com/compute/docs/instances/verifying-instance-identity>
pub(super) const METADATA: &str = "curl -H 'Metadata-Flavor: Google' 'http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/identity?audience=AUDIENCE&format=FORMAT'";

/// For a shell: a printed command with its placeholders replaced, that shows the status of the answer besides.
pub(super) fn filled(command: &str, replaced: &[(&str, &str)]) -> String {
    let mut line = command.to_owned();
    // In two steps: a token is a text in which another placeholder, such as `URL`, may well occur.
    let mark = |number: usize| format!("\0{number}\0");
    for (number, (placeholder, _)) in replaced.iter().enumerate() {
        assert!(line.contains(placeholder), "{placeholder} in {command}");
        line = line.replace(placeholder, &mark(number));
    }
    for (number, (_, value)) in replaced.iter().enumerate() {
        line = line.replace(&mark(number), value);
    }
    format!("{line} --write-out '\\n%{{http_code}}'")
}

/// A printed command with placeholders and hosts replaced, run by a shell.
fn shell(side: Side<'_>, command: &str, replaced: &[(&str, &str)]) -> Answer {
    let mut line = filled(command, replaced);
    for host in ["oauth2.googleapis.com", "iamcredentials.googleapis.com"] {
        line = line.replace(&format!("https://{host}"), &side.google(host));
    }
    let mut shell = Command::new("sh");
    shell.args(["-c", &line]);
    if let Some(ca_file) = side.ca_file {
        shell.env("CURL_CA_BUNDLE", ca_file);
    }
    answer(&succeed(&mut shell))
}

/// What such a command prints.
pub(super) fn answer(printed: &str) -> Answer {
    let (body, status) = printed.rsplit_once('\n').expect("the status is on the last line");
    Answer { status: status.parse().expect("a status"), body: body.to_owned() }
}

/// The status and the body, as curl shows them.
fn curl(arguments: &[&str]) -> Answer {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--write-out", "\n%{http_code}"]).args(arguments);
    answer(&succeed(&mut command))
}

pub(super) fn json_of(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.body);
    serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error} in {}", answer.body))
}

fn ask(side: Side<'_>, id_token: &str) -> Answer {
    shell(side, ASK, &[("ID_TOKEN", id_token), ("URL", &format!("{}/path", side.app))])
}

#[test]
fn the_printed_line_works_when_it_is_pasted() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut command = doorward();
    command.args(["dev", "--dir"]).arg(dir.path());
    for listener in &LISTENERS[..PLAIN_LISTENERS] {
        command.args([listener, "127.0.0.1:0"]);
    }
    let server = Process::start(&mut command);
    let line = loop {
        let line = server.next_line().expect("a curl line before the end");
        if let Some(at) = line.find("curl -H") {
            break line[at..].to_owned();
        }
    };
    // Pasted anywhere: in a directory that knows nothing of the server's, without a PATH to it.
    let elsewhere = tempfile::tempdir().expect("a temporary directory");
    let pasted = run(Command::new("sh").args(["-c", &line]).current_dir(&elsewhere));
    assert_eq!(pasted.code, Some(0), "{line}: {}", pasted.stderr);
    let description = std::fs::read(dir.path().join("dev.json")).expect("dev.json");
    let description: Value = serde_json::from_slice(&description).expect("JSON");
    assert_eq!(verified_email(&pasted.stdout), description["service_accounts"]["robot"]["email"]);
}

#[test]
fn a_caller_without_a_credential_is_sent_to_the_sign_in_page_or_told_401() {
    let dev = Dev::start(&[]);
    let url = dev.app("/path?q=1");
    let status = |arguments: &[&str]| {
        let answer = curl(arguments);
        (answer.status, answer.body)
    };
    assert_eq!(status(&[&url]), (302, "Invalid IAP credentials: empty token".into()));
    let json = status(&["--header", "Accept: application/json", &url]);
    assert_eq!(json, (401, "Invalid IAP credentials: empty token".into()));
    let garbage = status(&["--header", "Authorization: Bearer null", &url]);
    assert_eq!(garbage, (401, "Invalid IAP credentials: Unable to parse JWT".into()));
}

#[test]
fn a_stranger_is_refused_until_a_binding_is_added() {
    let dev = Dev::start(&[]);
    let token = succeed(&mut dev.command(&["token", "--app", "app", "--as", "stranger"]));
    let email = service_account(&dev, "stranger");
    let [side] = dev.sides()[..] else { panic!("one side without --tls") };
    ask(side, token.trim()).is_refused_to(email);
    add_binding(&dev, "stranger");
    ask(side, token.trim()).is_of(email);
}

/// What the recipe for desktop applications gives: an answer of the token endpoint to a code, and to the refresh token.
fn sign_in(dev: &Dev, side: Side<'_>, email: &str) -> [Value; 2] {
    // In the place of `nc -k -l 4444`.
    let listener = Upstream::start();
    let port = listener.url().rsplit_once(':').expect("a port").1;
    let localhost = format!("http://localhost:{port}");
    let client = dev.client("desktop");
    let secret = client.secret.expect("a secret");
    let url = SIGN_IN_URL.replace("https://", &format!("{}/", side.api));
    let url = url.replace("DESKTOP_CLIENT_ID", client.id).replace("http://localhost:4444", &localhost);
    let cookie = format!("Cookie: {}", dev.person(email).cookie());
    let trust = side.ca_file.map_or(vec![], |ca_file| vec!["--cacert", ca_file]);
    let browser = curl(&[&["--location", "--header", &cookie, &url], &trust[..]].concat());
    assert_eq!((browser.status, browser.body.as_str()), (200, "seen"));
    let [seen] = &listener.take()[..] else { panic!("one request at {localhost}") };
    let query: Vec<(String, String)> = query_of(&seen.target());
    let names: Vec<&str> = query.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["code", "scope", "authuser", "hd", "prompt", "iss"], "{}", seen.text());
    let value = |name: &str| &query.iter().find(|(have, _)| have == name).expect("a parameter").1;
    assert_eq!(value("scope"), "email openid https://www.googleapis.com/auth/userinfo.email");
    assert_eq!((value("hd").as_str(), value("iss").as_str()), ("example.com", "https://accounts.google.com"));

    let known = [("DESKTOP_CLIENT_ID", client.id), ("DESKTOP_CLIENT_SECRET", secret)];
    let audience = ("IAP_CLIENT_ID", dev.text("/app/client_id"));
    let this = [("AUTH_CODE", value("code").as_str()), ("http://localhost:4444", &localhost), audience];
    let first = json_of(&shell(side, REDEEM_CODE, &[&known[..], &this].concat()));
    let refresh_token = first["refresh_token"].as_str().expect("a refresh_token");
    let this = [("REFRESH_TOKEN", refresh_token), audience];
    let second = json_of(&shell(side, REDEEM_REFRESH_TOKEN, &[&known[..], &this].concat()));
    [first, second]
}

fn members(value: &Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[test]
fn the_recipe_for_desktop_applications_works_as_it_is_printed() {
    let dev = Dev::start(&["--tls"]);
    for side in dev.sides() {
        for email in ["alice@example.com", "bob@example.com"] {
            let [first, second] = sign_in(&dev, side, email);
            let all = ["access_token", "expires_in", "id_token", "refresh_token", "scope", "token_type"];
            assert_eq!(members(&first), all);
            let all = ["access_token", "expires_in", "id_token", "scope", "token_type"];
            assert_eq!(members(&second), all, "a client with a secret keeps its refresh token");
            for answer in [first, second] {
                let id_token = answer["id_token"].as_str().expect("an id_token");
                let asked = ask(side, id_token);
                match email {
                    "alice@example.com" => asked.is_of(email),
                    _ => asked.is_refused_to(email),
                }
                let claims = dev.claims(id_token);
                let parties = [&claims["aud"], &claims["azp"]];
                assert_eq!(parties, [dev.text("/app/client_id"), dev.client("desktop").id], "{claims}");
            }
        }
    }
}

#[test]
fn a_token_in_proxy_authorization_leaves_the_applications_own_authorization_alone() {
    let dev = Dev::start(&["--tls"]);
    for side in dev.sides() {
        let [answer, _] = sign_in(&dev, side, "alice@example.com");
        let id_token = answer["id_token"].as_str().expect("an id_token");
        let replaced = [("ID_TOKEN", id_token), ("URL", side.app)];
        let admitted = shell(side, ASK_BY_PROXY_AUTHORIZATION, &replaced);
        admitted.is_of("alice@example.com");
        let echo: Value = serde_json::from_str(&admitted.body).expect("JSON");
        assert_eq!(echo["headers"]["authorization"], "Basic b3du", "{echo}");
        assert_eq!(echo["headers"].get("proxy-authorization"), None, "{echo}");
    }
}

#[test]
fn an_access_token_is_not_what_the_application_wants() {
    let dev = Dev::start(&[]);
    let [side] = dev.sides()[..] else { panic!("one side without --tls") };
    let [answer, _] = sign_in(&dev, side, "alice@example.com");
    assert_eq!(ask(side, answer["access_token"].as_str().expect("an access_token")).status, 401);
}

/// A method of `iamcredentials.googleapis.com` on `target`.
fn impersonate(dev: &Dev, side: Side<'_>, access_token: &str, method: &str, request: &Value) -> Answer {
    let request = request.to_string();
    let account = service_account(dev, "target");
    let replaced = [("ACCESS_TOKEN", access_token), ("REQUEST", &request), ("ACCOUNT", account), ("METHOD", method)];
    shell(side, IMPERSONATE, &replaced)
}

#[test]
fn whoever_may_act_as_an_account_gets_in_as_it_and_others_are_told_which_permission_they_lack() {
    let dev = Dev::start(&["--tls"]);
    let target = service_account(&dev, "target");
    let cloud = "https://www.googleapis.com/auth/cloud-platform";
    let refresh_token = dev.person("alice@example.com").text("gcloud_refresh_token");
    let gcloud =
        [("client_id", "32555940559.apps.googleusercontent.com"), ("client_secret", "ZmssLNjJy2998hD4CTg2ejr2")];
    let more = [("grant_type", "refresh_token"), ("refresh_token", refresh_token)];
    let alice = dev.token(&[gcloud, more].concat()).expect(200).json();
    let alice = alice["access_token"].as_str().expect("an access_token").to_owned();
    let (caller, stranger) = (dev.account("caller").access_token(cloud), dev.account("stranger").access_token(cloud));
    for side in dev.sides() {
        let request = json!({"audience": dev.text("/app/client_id"), "includeEmail": "true"});
        for who in [&caller, &alice] {
            let token = json_of(&impersonate(&dev, side, who, "generateIdToken", &request));
            ask(side, token["token"].as_str().expect("a token")).is_of(target);
        }
        let refused = impersonate(&dev, side, &stranger, "generateIdToken", &request);
        let permission = "iam.serviceAccounts.getOpenIdToken";
        let expected = json!({"error": {
            "code": 403,
            "message": format!("Permission '{permission}' denied on resource (or it may not exist)."),
            "status": "PERMISSION_DENIED",
            "details": [{
                "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "IAM_PERMISSION_DENIED",
                "domain": "iam.googleapis.com", "metadata": {"permission": permission},
            }],
        }});
        let body: Value = serde_json::from_str(&refused.body).expect("JSON");
        assert_eq!((refused.status, body), (403, expected));
    }
}

#[test]
fn a_jwt_that_the_account_signed_goes_straight_to_the_application() {
    let dev = Dev::start(&["--tls"]);
    let target = service_account(&dev, "target");
    let caller = dev.account("caller").access_token("https://www.googleapis.com/auth/iam");
    for side in dev.sides() {
        let now = now_seconds();
        let claims = |aud: &str| json!({"iss": target, "sub": target, "aud": aud, "iat": now, "exp": now + 3600});
        for aud in [format!("{}/*", side.app), format!("{}/path", side.app)] {
            let request = json!({"payload": claims(&aud).to_string()});
            let signed = json_of(&impersonate(&dev, side, &caller, "signJwt", &request));
            assert_eq!(members(&signed), ["keyId", "signedJwt"]);
            ask(side, signed["signedJwt"].as_str().expect("a JWT")).is_of(target);
        }
        // With the key of its own file, and without any call to us.
        for (name, allowed) in [("robot", true), ("stranger", false)] {
            let account = dev.account(name);
            let mut claims = claims(&format!("{}/*", side.app));
            claims["iss"] = account.email.as_str().into();
            claims["sub"] = account.email.as_str().into();
            let asked = ask(side, &account.sign(&claims));
            if allowed { asked.is_of(&account.email) } else { asked.is_refused_to(&account.email) }
        }
    }
}

#[test]
fn the_metadata_server_gives_an_identity_to_whoever_is_on_the_machine() {
    let dev = Dev::start(&[]);
    let [side] = dev.sides()[..] else { panic!("one side without --tls") };
    let identity = |audience: &str, format: &str| {
        let host = ("metadata.google.internal", dev.text("/metadata/host"));
        let given = shell(side, METADATA, &[host, ("AUDIENCE", audience), ("FORMAT", format)]);
        assert_eq!(given.status, 200, "{}", given.body);
        given.body
    };
    let (client_id, other) = (dev.text("/app/client_id"), dev.text("/other_app/client_id"));
    for format in ["full", "standard"] {
        ask(side, &identity(client_id, format)).is_of(dev.text("/metadata/service_account"));
    }
    let refused = ask(side, &identity(other, "full"));
    assert_eq!((refused.status, refused.body), (401, wrong_audience(other, client_id)));
}

#[test]
fn a_request_for_another_host_than_the_handshake_named_is_misdirected() {
    let dev = Dev::start(&["--tls"]);
    let token = format!("Authorization: Bearer {}", dev.id_token("robot"));
    // Only a name is told in a handshake, never an address.
    let by_name = |pointer: &str| dev.text(pointer).replace("127.0.0.1", "localhost");
    let (app, api) = (by_name("/app/https_url"), by_name("/api_https_url"));
    let port = |url: &str| url.rsplit(':').next().expect("a port").to_owned();
    let metadata = "/.well-known/oauth-authorization-server";
    #[rustfmt::skip]
    let rows = [
        (format!("{app}/"),         format!("localhost:{}", port(&app)), 200),
        (format!("{app}/"),         format!("127.0.0.1:{}", port(&app)), 421),
        (format!("{app}/"),         "evil.test".to_owned(),              421),
        (format!("{api}{metadata}"), format!("LOCALHOST:{}", port(&api)), 200),
        (format!("{api}{metadata}"), format!("127.0.0.1:{}", port(&api)), 421),
        (format!("{api}{metadata}"), "oauth2.googleapis.com".to_owned(), 421),
    ];
    for (url, host, status) in rows {
        let host_field = format!("Host: {host}");
        let answer = curl(&["--cacert", dev.text("/ca_file"), "--header", &token, "--header", &host_field, &url]);
        assert_eq!(answer.status, status, "{url} {host}");
    }
}
