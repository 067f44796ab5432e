//! The Bash script of Google's documentation, byte for byte.

use std::process::Command;

use doorward_tests::{Dev, Finished, Process, run};
use serde_json::Value;

use super::{add_binding, verified_email, wrong_audience};

const SCRIPT: &str = include_str!("../../clients/service-account.sh");
const TOKEN_URL: &str = "https://www.googleapis.com/oauth2/v4/token";

/// Replaces one text that must occur `times`.
fn replace(script: &str, times: usize, from: &str, to: &str) -> String {
    assert_eq!(script.matches(from).count(), times, "{from}");
    script.replace(from, to)
}

/// The published script with its three variables replaced, as it asks for, and not one other byte.
pub(super) fn published_script(key_file: &str, client_id: &str, url: &str) -> String {
    let script = replace(SCRIPT, 1, "\"service_account_key_file_path\"", &format!("\"{key_file}\""));
    let script = replace(&script, 1, "\"iap_client_id\"", &format!("\"{client_id}\""));
    replace(&script, 1, "\"application_url\"", &format!("\"{url}\""))
}

/// Runs the published script with its three variables and its URLs replaced and not one other byte.
fn call(dev: &Dev, account: &str, client_id: &str, own_audience: bool) -> Finished {
    let key_file = dev.text(&format!("/service_accounts/{account}/key_file"));
    let script = published_script(key_file, client_id, &dev.app("/"));
    let own = dev.google("www.googleapis.com/oauth2/v4/token");
    let script = if own_audience {
        replace(&script, 2, TOKEN_URL, &own)
    } else {
        replace(&script, 1, &format!("\n{TOKEN_URL}"), &format!("\n{own}"))
    };
    let file = dev.dir().join("service-account.sh");
    std::fs::write(&file, script).expect("the script is written");
    let finished = run(Command::new("bash").arg(&file));
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    finished
}

#[test]
fn the_published_bash_script_gets_in() {
    let dev = Dev::start(&[]);
    for own_audience in [false, true] {
        let echo = call(&dev, "robot", dev.text("/app/client_id"), own_audience).stdout;
        assert_eq!(verified_email(&echo), dev.text("/service_accounts/robot/email"));
    }
}

#[test]
fn the_published_bash_script_is_refused_until_a_binding_is_added() {
    let dev = Dev::start(&[]);
    let email = dev.text("/service_accounts/stranger/email");
    let refused = call(&dev, "stranger", dev.text("/app/client_id"), false).stdout;
    assert!(refused.ends_with(&format!(": Access denied. For user {email}.")), "{refused}");
    add_binding(&dev, "stranger");
    assert_eq!(verified_email(&call(&dev, "stranger", dev.text("/app/client_id"), false).stdout), email);
}

#[test]
fn the_published_bash_script_is_told_which_audience_is_wanted() {
    let dev = Dev::start(&[]);
    let following = Process::start(&mut dev.command(&["decisions", "--json", "--follow"]));
    let refused = call(&dev, "robot", dev.text("/other_app/client_id"), false).stdout;
    assert_eq!(refused, wrong_audience(dev.text("/other_app/client_id"), dev.text("/app/client_id")));
    // The script shows no status.
    let decision = loop {
        let record: Value = serde_json::from_str(&following.next_line().expect("a decision")).expect("JSON");
        if record["type"] == "decision" {
            break record;
        }
    };
    assert_eq!((&decision["status"], &decision["reason"]), (&401.into(), &"wrong_audience".into()), "{decision}");
}
