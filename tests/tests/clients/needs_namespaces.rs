//! Every client at Google's own names, in `doorward run`: no address is given to any of them.
//!
//! A module below names what else it needs of the system. A program prints what each of its ways to a token led to; a table
//! says what that must be.

mod needs_curl;
mod needs_gcloud;
mod needs_go;
mod needs_java;
mod needs_jq_openssl_curl;
mod needs_node;
mod needs_python;
mod needs_ruby;

use std::process::Command;

use doorward_tests::{Finished, Names};
use serde_json::Value;

use super::{Answer, wrong_audience};

/// What a way led to.
#[derive(Debug, Clone, Copy)]
enum Led<'a> {
    /// The application let this caller in.
    In(&'a str),
    /// The application knew this caller and refused: 403.
    Denied(&'a str),
    /// The application refused a token that is for the other one: 401.
    ForTheOther,
    /// Google's user information says that the access token is this caller's.
    Of(&'a str),
    /// The library failed and said this, among other words.
    Failed(&'a str),
}

/// Whoever must not act as the target is told which permission that takes.
const NO_OPEN_ID_TOKEN: Led<'_> =
    Led::Failed("Permission 'iam.serviceAccounts.getOpenIdToken' denied on resource (or it may not exist).");

/// Whether every way of a program led where the table says, and the program has no other.
fn assert_led(world: &Names, led: &Value, table: &[(&str, Led<'_>)]) {
    let ways: Vec<&String> = led.as_object().unwrap_or_else(|| panic!("no ways in {led}")).keys().collect();
    let mut listed: Vec<&str> = table.iter().map(|(way, _)| *way).collect();
    listed.sort_unstable();
    assert_eq!(ways, listed);
    for (way, expected) in table {
        let got = &led[way];
        println!("{way}: {expected:?}");
        match *expected {
            Led::In(caller) => Answer::of(got).is_of(address(world, caller)),
            Led::Denied(caller) => Answer::of(got).is_refused_to(address(world, caller)),
            Led::ForTheOther => {
                let Answer { status, body } = Answer::of(got);
                let [sent, expected] = ["/other_app/client_id", "/app/client_id"].map(|pointer| world.text(pointer));
                assert_eq!((status, body), (401, wrong_audience(sent, expected)), "{way}");
            }
            Led::Of(caller) => {
                let Answer { status, body } = Answer::of(got);
                let info: Value = serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error} in {body}"));
                assert_eq!((status, &info["email"]), (200, &Value::from(address(world, caller))), "{way}: {info}");
            }
            Led::Failed(words) => {
                let said = got.get("message").unwrap_or(&got["refused"]).as_str();
                assert!(said.is_some_and(|said| said.contains(words)), "{way}: {got}");
            }
        }
    }
}

/// A service account by its name in the description; a person by their address.
fn address<'a>(world: &'a Names, caller: &'a str) -> &'a str {
    if caller.contains('@') { caller } else { world.service_account(caller) }
}

/// The application's address, over https.
fn app(world: &Names) -> String {
    format!("{}/path", world.text("/app/https_url"))
}

/// Standard output of a command that succeeds inside.
fn succeed(world: &Names, command: &Command) -> String {
    let Finished { code, stdout, stderr } = world.run(command);
    assert_eq!(code, Some(0), "{command:?}: {stdout}{stderr}");
    stdout
}

/// What a program prints as JSON.
fn printed(world: &Names, command: &Command) -> Value {
    let stdout = succeed(world, command);
    serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error} in {stdout}"))
}

/// Takes a way's result out of those that the table is about.
fn take(led: &mut Value, way: &str) -> Value {
    let ways = led.as_object_mut().expect("ways");
    ways.remove(way).unwrap_or_else(|| panic!("no {way} among {:?}", ways.keys().collect::<Vec<_>>()))
}
