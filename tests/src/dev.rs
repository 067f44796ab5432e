//! The binary `doorward dev` in a directory of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use doorward_wire::jose::{Algorithm, JwkSet, Unverified, VerifyingKeys};
use serde_json::Value;
use tempfile::TempDir;

use crate::{Account, Client, Finished, Person, Process, Request, Response, authority, run};

/// A command of the binary under test: `DOORWARD_BIN`, or the debug build beside the tests' own. It leaves the keyring of whoever runs
/// the tests alone.
pub fn doorward() -> Command {
    let path = std::env::var_os("DOORWARD_BIN").map_or_else(|| build_dir().join("debug/doorward"), PathBuf::from);
    assert!(path.is_file(), "{} is not there: run `cargo build`, or `cargo xtask test`", path.display());
    let mut command = Command::new(path);
    command.env("DOORWARD_KEYRING", "off");
    command
}

/// The Python of the real-client scenarios.
pub fn python() -> Command {
    let path = build_dir().join("python/bin/python");
    assert!(path.is_file(), "{} is not there: `cargo xtask test` makes it", path.display());
    Command::new(path)
}

/// Node, with the packages of the real-client scenarios.
pub fn node() -> Command {
    let packages = build_dir().join("node/node_modules");
    assert!(packages.is_dir(), "{} is not there: `cargo xtask test` makes it", packages.display());
    let mut command = Command::new("node");
    command.env("NODE_PATH", packages);
    command
}

/// The program in Go of the real-client scenarios.
pub fn go_program() -> Command {
    let path = build_dir().join("go/idtoken_impersonate");
    assert!(path.is_file(), "{} is not there: `cargo xtask test` makes it", path.display());
    Command::new(path)
}

/// Java, with the class of the real-client scenarios and the libraries of the system's packages.
pub fn java() -> Command {
    let classes = build_dir().join("java");
    assert!(classes.is_dir(), "{} is not there: `cargo xtask test` makes it", classes.display());
    let mut command = Command::new("java");
    command.args(["-cp", &format!("{}:/usr/share/java/*", classes.display()), "GoogleAuthLibrary"]);
    command
}

/// Ruby, with the libraries of the system's packages.
pub fn ruby() -> Command {
    Command::new("ruby")
}

/// A program for one of the clients, in `tests/clients/`.
pub fn client_script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(name)
}

/// `target/`: a test's executable is `target/PROFILE/deps/NAME`.
fn build_dir() -> PathBuf {
    let this = std::env::current_exe().expect("a test knows its executable");
    this.ancestors().nth(3).expect("a test's executable lies in target/PROFILE/deps").to_owned()
}

/// Every listener by its flag; those over TLS come last.
pub const LISTENERS: [&str; 7] = [
    "--app-listen",
    "--other-app-listen",
    "--api-listen",
    "--metadata-listen",
    "--app-tls-listen",
    "--other-app-tls-listen",
    "--api-tls-listen",
];
/// How many of them are there without `--tls`.
pub const PLAIN_LISTENERS: usize = 4;

/// One way to reach everything: over http, or over https.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    /// The URL of the protected application, without a trailing slash.
    pub app: &'a str,
    /// Our own origin, under which the Google hosts are.
    pub api: &'a str,
    /// The certificate authority to trust; `None` over http.
    pub ca_file: Option<&'a str>,
}

impl Side<'_> {
    /// Where a Google host's method is: `google("oauth2.googleapis.com/token")`.
    pub fn google(&self, host_and_path: &str) -> String {
        format!("{}/{host_and_path}", self.api)
    }
}

/// A running `doorward dev` on free ports. Killed when dropped.
#[derive(Debug)]
pub struct Dev {
    process: Process,
    dir: PathBuf,
    owned: Option<TempDir>,
    description: Value,
}

impl Dev {
    /// Starts one in a new directory, with these flags besides.
    pub fn start(flags: &[&str]) -> Self {
        let owned = tempfile::tempdir().expect("a temporary directory");
        // Not created yet, because what `dev` creates is looked at too.
        let dir = owned.path().join("state");
        Dev { owned: Some(owned), ..Self::start_in(&dir, flags) }
    }

    /// Starts one in `dir`.
    pub fn start_in(dir: &Path, flags: &[&str]) -> Self {
        Self::start_under(&[], dir, flags)
    }

    /// Starts one in `dir`, under another program such as `valgrind`.
    pub fn start_under(wrapper: &[&str], dir: &Path, flags: &[&str]) -> Self {
        let process = Process::start(&mut command_line(wrapper, dir, flags));
        let Some(line) = process.next_line() else {
            let Finished { code, stderr, .. } = process.finish();
            panic!("doorward dev ended with {code:?}: {stderr}");
        };
        let description = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line}"));
        Dev { process, dir: dir.to_owned(), owned: None, description }
    }

    /// Starts one in `dir` and waits for nothing: for cases that are refused.
    pub fn launch(dir: &Path, flags: &[&str]) -> Process {
        Process::start(&mut command_line(&[], dir, flags))
    }

    /// Ends it as `kill -9` does, and starts it again on the same directory.
    pub fn restart(self, flags: &[&str]) -> Self {
        let Dev { process, dir, owned, .. } = self;
        process.kill();
        Dev { owned, ..Self::start_in(&dir, flags) }
    }

    /// Sends a signal by its name and waits for the end.
    pub fn stop(self, signal: &str) -> Finished {
        self.process.signal(signal);
        self.process.finish()
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// The process id of the server.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The state directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The line that it printed.
    pub fn description(&self) -> &Value {
        &self.description
    }

    /// A string of the description, by JSON pointer.
    pub fn text(&self, pointer: &str) -> &str {
        let value = self.description.pointer(pointer).and_then(Value::as_str);
        value.unwrap_or_else(|| panic!("{pointer} in {}", self.description))
    }

    /// The URL of the protected application and a path.
    pub fn app(&self, path: &str) -> String {
        format!("{}{path}", self.text("/app/url"))
    }

    /// Every way to reach it: over http, and over https if it was started with `--tls`.
    pub fn sides(&self) -> Vec<Side<'_>> {
        let mut sides = vec![Side { app: self.text("/app/url"), api: self.text("/api_url"), ca_file: None }];
        if self.description["ca_file"].is_string() {
            let ca_file = Some(self.text("/ca_file"));
            sides.push(Side { app: self.text("/app/https_url"), api: self.text("/api_https_url"), ca_file });
        }
        sides
    }

    /// `ADDRESS:PORT` of the protected application.
    pub fn app_authority(&self) -> &str {
        authority(self.text("/app/url"))
    }

    /// Where a Google host's method is: `google("oauth2.googleapis.com/token")`.
    pub fn google(&self, host_and_path: &str) -> String {
        format!("{}/{host_and_path}", self.text("/api_url"))
    }

    /// A method of a Google API, as the administrator.
    pub fn admin(&self, method: &str, host_and_path: &str, body: Option<&Value>) -> Request {
        let url = self.google(host_and_path);
        let request = Request::new(method, &url);
        let request = match body {
            Some(body) => request.body("application/json", body.to_string().as_bytes()),
            None => request,
        };
        request.bearer(self.text("/admin_token"))
    }

    /// `iap.googleapis.com/v1/RESOURCE:VERB`, as the administrator.
    pub fn policy(&self, resource: &str, verb: &str, body: &Value) -> Response {
        self.admin("POST", &format!("iap.googleapis.com/v1/{resource}:{verb}"), Some(body)).send()
    }

    /// A service account of the description, with its key.
    pub fn account(&self, name: &str) -> Account {
        let key_file = self.text(&format!("/service_accounts/{name}/key_file"));
        Account::from_key_file(&std::fs::read(key_file).expect("the key file can be read"))
    }

    /// An ID token of a service account, for the application.
    pub fn id_token(&self, account: &str) -> String {
        self.account(account).id_token(self.text("/app/client_id"))
    }

    /// A person of the description, in a browser that is signed in.
    pub fn person(&self, email: &str) -> Person<'_> {
        Person::new(self, email)
    }

    /// An OAuth client of the description: `desktop`, `web` or `android`.
    pub fn client(&self, name: &str) -> Client<'_> {
        let secret = self.description.pointer(&format!("/oauth_clients/{name}/client_secret")).and_then(Value::as_str);
        Client { id: self.text(&format!("/oauth_clients/{name}/client_id")), secret }
    }

    /// What the token endpoint answers to a form.
    pub fn token(&self, form: &[(&str, &str)]) -> Response {
        Request::post_form(&self.google("oauth2.googleapis.com/token"), form).send()
    }

    /// A method of `iamcredentials.googleapis.com` on an account, for the holder of a bearer token.
    pub fn iam_credentials(&self, bearer: &str, account: &str, method: &str, body: &Value) -> Response {
        let name = format!("iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{account}:{method}");
        Request::post(&self.google(&name), "application/json", body.to_string().as_bytes()).bearer(bearer).send()
    }

    /// The claims of an ID token, if a published key verifies it.
    pub fn claims(&self, id_token: &str) -> Value {
        let jwks = Request::get(&self.google("www.googleapis.com/oauth2/v3/certs")).send().expect(200);
        let jwks: JwkSet = serde_json::from_slice(&jwks.body).expect("a JWK set");
        let keys = VerifyingKeys::from_jwks(&jwks.keys).expect("good keys");
        let unverified = Unverified::parse(id_token, 16 * 1024, &[Algorithm::Rs256]).expect("a JWS");
        let key = unverified.kid().and_then(|kid| keys.find(kid)).expect("a published key");
        Value::Object(unverified.verify(key).expect("a good signature").as_object().clone())
    }

    /// Everything that was recorded of endpoints that give, take or show tokens, oldest first.
    pub fn token_events(&self) -> Vec<Value> {
        let listed = run(&mut self.command(&["decisions", "--json", "--limit", "1000"]));
        assert_eq!(listed.code, Some(0), "{}", listed.stderr);
        let records = listed.stdout.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        records.filter(|record| record["type"] == "token").collect()
    }

    /// A subcommand that is told where this server's state is.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = doorward();
        command.args(arguments).arg("--dir").arg(&self.dir);
        command
    }

    /// Whether it still answers.
    pub fn serves(&self) -> bool {
        let discovery = self.google("accounts.google.com/.well-known/openid-configuration");
        Request::get(&discovery).try_send().is_ok_and(|response| response.status == 200)
    }
}

/// `doorward dev --json` on free ports, except where `flags` say otherwise.
fn command_line(wrapper: &[&str], dir: &Path, flags: &[&str]) -> Command {
    let mut command = doorward();
    if let Some((program, arguments)) = wrapper.split_first() {
        let binary = command.get_program().to_owned();
        command = Command::new(program);
        command.args(arguments).arg(binary);
    }
    command.args(["dev", "--json", "--dir"]).arg(dir).args(flags);
    let listeners = if flags.contains(&"--tls") { &LISTENERS[..] } else { &LISTENERS[..PLAIN_LISTENERS] };
    for listen in listeners.iter().filter(|flag| !flags.contains(flag)) {
        command.args([listen, "127.0.0.1:0"]);
    }
    command
}
