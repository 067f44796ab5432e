//! What `doorward dev` says to a person, and where its link to the decisions leads.

use std::fs;
use std::path::Path;

use doorward_tests::{Finished, LISTENERS, PLAIN_LISTENERS, Process, Request, authority, doorward};
use serde_json::Value;

const FREE_PORTS: [&str; PLAIN_LISTENERS] = ["127.0.0.1:0"; PLAIN_LISTENERS];

/// `doorward dev` as a person starts it, without `--json`: the application, the other one, the API and the metadata server at these
/// addresses.
fn start_for_a_person(dir: &Path, addresses: &[impl AsRef<str>; PLAIN_LISTENERS]) -> Process {
    let mut command = doorward();
    command.args(["dev", "--dir"]).arg(dir);
    for (flag, address) in LISTENERS.iter().zip(addresses) {
        command.args([*flag, address.as_ref()]);
    }
    Process::start(&mut command)
}

/// The link to the decisions that it prints.
fn console_link(server: &Process) -> String {
    loop {
        let line = server.next_line().expect("a link before the end");
        if let Some(at) = line.find("http://").filter(|_| line.contains("/decisions")) {
            return line[at..].trim_end().to_owned();
        }
    }
}

#[test]
fn what_a_person_reads_holds_no_secret() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = start_for_a_person(dir.path(), &FREE_PORTS);
    let mut output = String::new();
    while !output.contains("curl -H") {
        output += &server.next_line().expect("a curl line before the end");
        output.push('\n');
    }
    let file = fs::read(dir.path().join("dev.json")).expect("dev.json");
    server.signal("TERM");
    let Finished { code, stdout, stderr } = server.finish();
    assert_eq!((code, stderr.as_str()), (Some(0), "stopped\n"));
    output += &stdout;
    output += &stderr;
    let description: Value = serde_json::from_slice(&file).expect("JSON");
    let secrets = [
        "/admin_token",
        "/app/client_secret",
        "/other_app/client_secret",
        "/oauth_clients/desktop/client_secret",
        "/users/alice@example.com/sign_in_cookie",
        "/users/alice@example.com/gcloud_refresh_token",
    ];
    for pointer in secrets {
        let secret = description.pointer(pointer).and_then(Value::as_str).expect("a secret");
        assert!(!secret.is_empty() && !output.contains(secret), "{pointer} in {output}");
    }
    assert!(!output.contains("eyJ") && !output.contains("PRIVATE KEY"), "{output}");
    // What a person needs next is there.
    let url = description["app"]["url"].as_str().expect("text");
    for wanted in [url, "robot", "alice@example.com", "stranger", "bob@example.com", "/decisions"] {
        assert!(output.contains(wanted), "{wanted} in {output}");
    }
}

#[test]
fn the_printed_link_opens_the_decisions_once() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = start_for_a_person(dir.path(), &FREE_PORTS);
    let link = console_link(&server);
    // A program that previews links does not spend the key.
    let previewed = Request::new("HEAD", &link).send().expect(401);
    assert_eq!(previewed.header("set-cookie"), None);
    let opened = Request::get(&link).send();
    let cookie = opened.header("set-cookie").unwrap_or_else(|| panic!("{} {:?}", opened.status, opened.headers));
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite="), "{cookie}");
    let cookie = cookie.split(';').next().expect("name and value").to_owned();
    let page = format!("http://{}/decisions", authority(&link));
    Request::get(&page).header("Cookie", &cookie).send().expect(200);
    // The key was for one use, and the cookie is no key of another's.
    let again = Request::get(&link).send();
    assert!(again.status == 401 && again.header("set-cookie").is_none(), "{} {:?}", again.status, again.headers);
    Request::get(&page).header("Cookie", &format!("{cookie}x")).send().expect(401);
}

#[test]
fn starting_again_signs_everybody_off_the_decisions() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = start_for_a_person(dir.path(), &FREE_PORTS);
    let opened = Request::get(&console_link(&server)).send().expect(303);
    let cookie = opened.header("set-cookie").and_then(|cookie| cookie.split(';').next()).expect("a cookie").to_owned();
    let description = fs::read(dir.path().join("dev.json")).expect("dev.json");
    let description: Value = serde_json::from_slice(&description).expect("JSON");
    let text = |pointer: &str| description.pointer(pointer).and_then(Value::as_str).expect("text");
    let [app, other_app, api] = ["/app/url", "/other_app/url", "/api_url"].map(|url| authority(text(url)).to_owned());
    let addresses = [app, other_app, api, text("/metadata/host").to_owned()];
    let page = format!("http://{}/decisions", addresses[2]);
    Request::get(&page).header("Cookie", &cookie).send().expect(200);
    server.signal("TERM");
    assert_eq!(server.finish().code, Some(0));

    let server = start_for_a_person(dir.path(), &addresses);
    let link = console_link(&server);
    assert_eq!(authority(&link), addresses[2]);
    Request::get(&page).header("Cookie", &cookie).send().expect(401);
    Request::get(&link).send().expect(303);
}
