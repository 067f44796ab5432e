//! Clients that nobody here wrote, and what the application saw of each.
//!
//! A module names what it needs of the system: `cargo xtask test` leaves it out, and says so, where that is missing.

mod needs_curl;
mod needs_gcloud;
mod needs_jq_openssl_curl;
mod needs_keyring;
mod needs_namespaces;
mod needs_node;
mod needs_python;

use std::process::Command;

use doorward_tests::{Dev, Finished, Process, run};
use serde_json::Value;

/// What the application answered: status and body.
#[derive(Debug)]
struct Answer {
    status: u64,
    body: String,
}

impl Answer {
    /// From `{"status", "body"}`, as the client scripts print it.
    fn of(printed: &Value) -> Self {
        let status = printed["status"].as_u64().unwrap_or_else(|| panic!("no status in {printed}"));
        Answer { status, body: printed["body"].as_str().unwrap_or_else(|| panic!("no body in {printed}")).to_owned() }
    }

    /// Let in, as this account.
    fn is_of(&self, email: &str) {
        assert_eq!(self.status, 200, "{}", self.body);
        assert_eq!(verified_email(&self.body), email);
    }

    /// Known as this account, and refused: by Google's sentence, or for whoever asks for JSON by a document with it.
    fn is_refused_to(&self, email: &str) {
        assert_eq!(self.status, 403, "{}", self.body);
        let document: Value = serde_json::from_str(&self.body).unwrap_or_default();
        let sentence = document["error"]["message"].as_str().unwrap_or(&self.body);
        assert!(sentence.ends_with(&format!(": Access denied. For user {email}.")), "{}", self.body);
    }
}

/// What a caller is told whose token is for another client. Clients parse it.
fn wrong_audience(sent: &str, expected: &str) -> String {
    format!(
        "Invalid IAP credentials: JWT audience doesn't match this application \
         ('aud' claim ({sent}) doesn't match expected value ({expected}))"
    )
}

/// The e-mail address that the application verified in a successful answer of the echo application.
fn verified_email(body: &str) -> String {
    let echo: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error} in {body}"));
    echo["identity"]["email"].as_str().unwrap_or_else(|| panic!("no identity in {body}")).to_owned()
}

fn service_account<'a>(dev: &'a Dev, name: &str) -> &'a str {
    dev.text(&format!("/service_accounts/{name}/email"))
}

fn add_binding(dev: &Dev, account: &str) {
    let member = format!("serviceAccount:{}", service_account(dev, account));
    succeed(&mut dev.command(&["policy", "add", "--app", "app", "--member", &member]));
}

/// Google's own names lead to a closed port: a client that asks there instead of asking us must fail, and nothing of ours is to
/// leave this machine.
fn offline(command: &mut Command) -> &mut Command {
    for variable in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "GOOGLE_APPLICATION_CREDENTIALS"] {
        command.env_remove(variable);
    }
    for variable in ["https_proxy", "HTTPS_PROXY"] {
        command.env(variable, "http://127.0.0.1:1");
    }
    command.env("no_proxy", "127.0.0.1,localhost").env("NO_PROXY", "127.0.0.1,localhost")
}

/// Standard output of a command that succeeds.
fn succeed(command: &mut Command) -> String {
    let Finished { code, stdout, stderr } = run(command);
    assert_eq!(code, Some(0), "{command:?}: {stdout}{stderr}");
    stdout
}

/// What a program makes of JSON on its standard input.
fn ask(command: &mut Command, input: &Value) -> Value {
    let Finished { code, stdout, stderr } = Process::start_with_input(command, &input.to_string()).finish();
    assert_eq!(code, Some(0), "{command:?}: {stdout}{stderr}");
    serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error} in {stdout}"))
}
