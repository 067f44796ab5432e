//! The binary `doorward serve`, with a file and a state directory of its own.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use doorward_wire::jose::decode_base64url;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Account, Finished, Process, Request, Response, doorward, run};

/// How often others may take a port that was free a moment ago.
const ATTEMPTS: u32 = 5;

/// A folder with a `doorward.toml` in it.
#[derive(Debug)]
pub struct Place {
    folder: TempDir,
    /// The file, with `{api}` and `{apps}` where an address and a port stand.
    text: String,
    /// Where the API listens.
    pub api: SocketAddr,
    /// Where the applications listen.
    pub apps: SocketAddr,
    environment: Vec<(String, String)>,
}

/// A file of ten lines. `{to}` is the address of the application.
pub const TEN_LINES: &str = r#"[server]
api_url = "http://{api}"
api  = { listen = "{api}" }
apps = { listen = "{apps}" }

[[app]]
name = "wiki"
host = "wiki.example.com"
to = "{to}"
allow = ["user:ann@example.com", "serviceAccount:wiki-robot@doorward.iam.gserviceaccount.com"]
"#;

impl Place {
    /// A new one. In its text, `{api}` and `{apps}` stand for free ports of this machine.
    pub fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let [api, apps] = free_addresses();
        let place = Place { folder, text: text.to_owned(), api, apps, environment: Vec::new() };
        place.write();
        place
    }

    /// The same with a variable in the environment of what is run.
    #[must_use]
    pub fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Another text of the file.
    pub fn rewrite(&mut self, text: &str) {
        text.clone_into(&mut self.text);
        self.write();
    }

    fn write(&self) {
        let text = self.text.replace("{api}", &self.api.to_string()).replace("{apps}", &self.apps.to_string());
        fs::write(self.file(), text).expect("the file is written");
    }

    /// The text of the file, as it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The file.
    pub fn file(&self) -> PathBuf {
        self.path("doorward.toml")
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A command of the binary that is run in the folder.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = doorward();
        command.args(arguments).current_dir(&self.folder).env("DOORWARD_CONFIG", self.path("config"));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// A command that is told with `--config` which file is meant, to its end.
    pub fn run(&self, arguments: &[&str]) -> Finished {
        let file = self.file();
        let file = file.to_str().expect("text");
        run(&mut self.command(&[arguments, &["--config", file]].concat()))
    }

    /// What such a command prints as JSON; panics with what it says if it fails.
    pub fn printed(&self, arguments: &[&str]) -> Value {
        let Finished { code, stdout, stderr } = self.run(&[arguments, &["--json"]].concat());
        assert_eq!(code, Some(0), "{arguments:?}: {stderr}");
        serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error} in {stdout}"))
    }

    /// Makes the token of the operator, and all that is needed before the first start.
    pub fn init(&mut self) -> &mut Self {
        self.printed(&["init"]);
        self
    }

    /// Starts a server.
    pub fn start(&mut self) -> Serve {
        for _ in 0..ATTEMPTS {
            match Serve::launch(self) {
                Ok(serve) => return serve,
                Err(Finished { stderr, .. }) if stderr.contains("cannot listen at") => {
                    [self.api, self.apps] = free_addresses();
                    self.write();
                }
                Err(ended) => panic!("doorward serve ended: {ended:?}"),
            }
        }
        panic!("others take every free port");
    }

    /// Starts a server that does not start. Gives what it says.
    pub fn refused(&self) -> String {
        let Finished { code, stdout, stderr } = self.run(&["serve", "--json"]);
        assert!(code == Some(1) && stdout.is_empty(), "{code:?} {stdout} {stderr}");
        stderr
    }
}

fn free_addresses() -> [SocketAddr; 2] {
    // Both are held until both are known.
    let listeners = [0, 1].map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port"));
    listeners.map(|listener| listener.local_addr().expect("a bound listener has an address"))
}

/// A running `doorward serve`. Killed when dropped.
#[derive(Debug)]
pub struct Serve {
    process: Process,
    api_url: String,
    apps: SocketAddr,
    folder: PathBuf,
    early: Vec<String>,
}

impl Serve {
    fn launch(place: &Place) -> Result<Self, Finished> {
        let file = place.file();
        let process =
            Process::start(&mut place.command(&["serve", "--json", "--config", file.to_str().expect("text")]));
        let mut early = Vec::new();
        let ready = loop {
            let Some(line) = process.next_line() else { return Err(process.finish()) };
            let read: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line}"));
            if read["api_url"].is_string() {
                break read;
            }
            early.push(line);
        };
        assert_eq!(ready["apps"], place.apps.to_string());
        let api_url = format!("http://{}", place.api);
        Ok(Serve { process, api_url, apps: place.apps, folder: place.folder.path().to_owned(), early })
    }

    /// Our own origin over plain HTTP, as this machine reaches it.
    pub fn api_url(&self) -> &str {
        &self.api_url
    }

    /// What a sink wrote to standard output up to the last line that was looked for.
    pub fn early(&self) -> &[String] {
        &self.early
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// Has it read its file again. Gives what it says of that.
    pub fn reload(&mut self) -> Value {
        self.process.signal("HUP");
        loop {
            let line = self.process.next_line().expect("it says what came of it");
            let read: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line}"));
            if read["reloaded"].is_boolean() {
                return read;
            }
            self.early.push(line);
        }
    }

    /// Sends SIGTERM and waits for the end.
    pub fn stop(self) -> Finished {
        self.process.signal("TERM");
        self.process.finish()
    }

    /// Ends it as `kill -9` does.
    pub fn kill(self) -> Finished {
        self.process.kill()
    }

    /// Waits for its end.
    pub fn finish(self) -> Finished {
        self.process.finish()
    }

    /// The bearer token of the operator.
    pub fn admin_token(&self) -> String {
        let token = fs::read_to_string(self.folder.join("state/admin-token")).expect("`init` made it");
        token.trim_end().to_owned()
    }

    /// Where a Google host's method is.
    pub fn google(&self, host_and_path: &str) -> String {
        format!("{}/{host_and_path}", self.api_url)
    }

    /// A method of an API, as the operator.
    pub fn admin(&self, method: &str, host_and_path: &str, body: Option<&Value>) -> Response {
        let url = self.google(host_and_path);
        let request = match body {
            Some(body) => Request::post(&url, "application/json", body.to_string().as_bytes()),
            None => Request::new(method, &url),
        };
        request.bearer(&self.admin_token()).send()
    }

    /// A request to an application.
    pub fn app(&self, host: &str, path: &str) -> Request {
        Request::get(&format!("http://{}{path}", self.apps)).header("Host", host)
    }

    /// A command that administers it, as the operator.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = doorward();
        command
            .args(arguments)
            .env("DOORWARD_API_URL", &self.api_url)
            .env("DOORWARD_CONFIG", self.folder.join("config"));
        command.env("DOORWARD_ADMIN_TOKEN_FILE", self.folder.join("state/admin-token"));
        command
    }

    /// What such a command prints as JSON; panics with what it says if it fails.
    pub fn printed(&self, arguments: &[&str]) -> Value {
        let Finished { code, stdout, stderr } = run(&mut self.command(&[arguments, &["--json"]].concat()));
        assert_eq!(code, Some(0), "{arguments:?}: {stderr}");
        serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error} in {stdout}"))
    }

    /// A new service account of the project `doorward`, with a key.
    pub fn new_account(&self, id: &str) -> Account {
        let accounts = "iam.googleapis.com/v1/projects/doorward/serviceAccounts";
        let made = self.admin("POST", accounts, Some(&json!({"accountId": id}))).expect(200).json();
        let email = made["email"].as_str().expect("an email");
        let key = self.admin("POST", &format!("{accounts}/{email}/keys"), Some(&json!({}))).expect(200).json();
        let file = key["privateKeyData"].as_str().expect("a key file").replace('+', "-").replace('/', "_");
        Account::from_key_file(&decode_base64url(file.trim_end_matches('=')).expect("base64"))
    }

    /// An application, as `doorward app` shows it.
    pub fn application(&self, name: &str) -> Value {
        self.printed(&["app", "describe", name])
    }

    /// Every entry of the record, oldest first, up to a thousand.
    pub fn entries(&self) -> Vec<Value> {
        let Finished { code, stdout, stderr } = run(&mut self.command(&["audit", "tail", "--json", "--limit", "1000"]));
        assert_eq!(code, Some(0), "{stderr}");
        stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }
}
