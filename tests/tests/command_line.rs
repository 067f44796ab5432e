//! Our own command line, as a person or a script uses it against a running server.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use doorward_tests::{Browser, Dev, Finished, Process, Request, doorward, now_seconds, run, tampered};
use serde_json::{Value, json};
use tempfile::TempDir;

const ALICE: &str = "alice@example.com";
const BOB: &str = "bob@example.com";

/// A person's configuration folder, and a server.
struct Desk<'a> {
    dev: &'a Dev,
    folder: TempDir,
}

impl<'a> Desk<'a> {
    fn new(dev: &'a Dev) -> Self {
        Desk { dev, folder: tempfile::tempdir().expect("a temporary directory") }
    }

    /// Made by the program, so that it decides who may read it.
    fn config(&self) -> PathBuf {
        self.folder.path().join("config")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let (subcommand, arguments) = arguments.split_first().expect("a subcommand");
        let mut command = doorward();
        // What stands last is curl's, where curl is run.
        command.args([subcommand, "--dir"]).arg(self.dev.dir()).args(arguments);
        command.env("DOORWARD_CONFIG", self.config()).env_remove("GCE_METADATA_HOST");
        command
    }

    fn run(&self, arguments: &[&str]) -> String {
        let Finished { code, stdout, stderr } = run(&mut self.command(arguments));
        assert_eq!(code, Some(0), "{arguments:?}: {stderr}");
        stdout.trim().to_owned()
    }

    fn fail(&self, arguments: &[&str]) -> String {
        let Finished { code, stdout, stderr } = run(&mut self.command(arguments));
        assert_eq!((code, stdout.as_str()), (Some(1), ""), "{arguments:?}: {stderr}");
        stderr
    }

    /// A command whose standard error is read line by line, with its output.
    fn shell(&self, arguments: &[&str]) -> Command {
        let plain = self.command(arguments);
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "exec \"$@\" 2>&1", "sh"]).arg(plain.get_program()).args(plain.get_args());
        shell.env("DOORWARD_CONFIG", self.config()).env("DOORWARD_KEYRING", "off");
        shell
    }

    fn start(&self, arguments: &[&str]) -> Process {
        Process::start(&mut self.shell(arguments))
    }

    fn sign_in(&self, email: &str) {
        let login = self.start(&["login", "--no-browser"]);
        let address = rest_of_line(&login, "sign in at ");
        let mut browser = Browser::with_cookies(self.dev.person(email).cookie());
        let back = browser.open(&address);
        Request::get(back.location()).send().expect(200);
        let Finished { code, stdout, .. } = login.finish();
        assert_eq!(code, Some(0), "{stdout}");
        assert!(stdout.contains(&format!("signed in as {email} at {}", self.dev.text("/api_url"))), "{stdout}");
    }
}

/// Reads lines up to the one that begins so.
fn rest_of_line(process: &Process, start: &str) -> String {
    loop {
        let line = process.next_line().unwrap_or_else(|| panic!("no line begins with {start:?}"));
        if let Some(rest) = line.strip_prefix(start) {
            return rest.to_owned();
        }
    }
}

/// The application's status for the bearer of a token, and whom it saw.
fn enter(dev: &Dev, token: &str) -> (u16, String) {
    let answer = Request::get(&dev.app("/")).bearer(token).send();
    let email =
        if answer.status == 200 { answer.json()["identity"]["email"].as_str().map(str::to_owned) } else { None };
    (answer.status, email.unwrap_or_default())
}

fn files(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect()
}

#[test]
fn a_person_signs_in_is_known_gets_tokens_and_signs_out() {
    let dev = Dev::start(&[]);
    let desk = Desk::new(&dev);
    let hint = desk.fail(&["whoami"]);
    assert!(hint.contains("doorward login"), "{hint}");
    assert!(desk.fail(&["token", "--app", "app", "--as", "me"]).contains("doorward login"));
    for (email, status) in [(BOB, 403), (ALICE, 200)] {
        desk.sign_in(email);
        let known: Value = serde_json::from_str(&desk.run(&["whoami", "--json"])).expect("JSON");
        assert_eq!(known, json!({"email": email, "api_url": dev.text("/api_url"), "since": known["since"]}));
        let token = desk.run(&["token", "--app", "app", "--as", "me", "--no-cache"]);
        assert_eq!(enter(&dev, &token).0, status, "{email}");
        let claims = dev.claims(&token);
        let parties = [&claims["aud"], &claims["azp"], &claims["email"]];
        assert_eq!(parties, [dev.text("/app/client_id"), dev.client("desktop").id, email]);
    }
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(&desk.config()), 0o700);
    for file in files(&desk.config()).iter().filter(|file| file.is_file()) {
        assert_eq!(mode(file), 0o600, "{}", file.display());
    }
    fs::set_permissions(desk.config(), PermissionsExt::from_mode(0o755)).expect("our own folder");
    assert!(desk.fail(&["whoami"]).contains("chmod go-rwx"));
    fs::set_permissions(desk.config(), PermissionsExt::from_mode(0o700)).expect("our own folder");
    let kept: String = files(&desk.config())
        .iter()
        .filter(|file| file.is_file())
        .map(|file| fs::read_to_string(file).expect("text"))
        .collect();
    let start = kept.find("doorward_rt_").expect("a refresh token");
    let refresh_token: String =
        kept[start..].chars().take_while(|letter| letter.is_ascii_alphanumeric() || "-_".contains(*letter)).collect();
    let grant = [("grant_type", "refresh_token"), ("refresh_token", refresh_token.as_str())];
    let form = dev.client("desktop").form(&grant);
    dev.token(&form).expect(200);
    assert!(desk.run(&["logout"]).contains(ALICE));
    desk.fail(&["whoami"]);
    // At the server too, so that a copy of the file is worth nothing.
    dev.token(&form).expect(400);
}

#[test]
fn a_browser_that_comes_back_with_somebody_elses_answer_signs_nobody_in() {
    let dev = Dev::start(&[]);
    let desk = Desk::new(&dev);
    let login = desk.start(&["login", "--no-browser"]);
    let address = rest_of_line(&login, "sign in at ");
    let mut bob = Browser::with_cookies(dev.person(BOB).cookie());
    let back = bob.open(&address);
    let (redirect, query) = back.location().split_once('?').expect("a query");
    let forged = query.replace("state=", "state=x");
    let refused = Request::get(&format!("{redirect}?{forged}")).send();
    assert!((400..500).contains(&refused.status), "{}", refused.status);
    // It still waits for its own.
    Request::get(back.location()).send().expect(200);
    let Finished { code, stdout, .. } = login.finish();
    assert_eq!(code, Some(0), "{stdout}");
    assert!(stdout.contains(&format!("signed in as {BOB}")), "{stdout}");
}

/// A command in the world of a directory, whether a server runs there or not.
fn command_in(home: &Path, arguments: &[&str]) -> Command {
    let (subcommand, arguments) = arguments.split_first().expect("a subcommand");
    let mut command = doorward();
    command.args([subcommand, "--dir"]).arg(home.join("state")).args(arguments);
    command.env("DOORWARD_CONFIG", home.join("config"));
    command
}

#[test]
fn nobody_is_asked_to_sign_in_at_a_server_that_has_stopped() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let dev = Dev::start_in(&home.path().join("state"), &[]);
    assert_eq!(dev.stop("TERM").code, Some(0));
    for how in ["--no-browser", "--device"] {
        let Finished { code, stdout, stderr } = run(&mut command_in(home.path(), &["login", how]));
        assert_eq!((code, stdout.as_str()), (Some(1), ""), "{stderr}");
        assert!(stderr.starts_with("doorward: cannot connect to ") && stderr.lines().count() == 1, "{stderr}");
        assert!(stderr.ends_with("is Doorward still running there?\n"), "{stderr}");
    }
}

#[test]
fn whoever_sees_no_browser_open_is_told_what_else_there_is() {
    let dev = Dev::start(&[]);
    let desk = Desk::new(&dev);
    for browser in ["/bin/false", "no-such-program", "/bin/true"] {
        let mut login = desk.shell(&["login"]);
        // No browser of whoever runs this, and no screen on which one could open.
        login.env("BROWSER", browser).env("PATH", "/nowhere").env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY");
        let login = Process::start(&mut login);
        rest_of_line(&login, "sign in at ");
        let hint = login.next_line().expect("a hint");
        assert!(hint.contains("open the address yourself") && hint.contains("--device"), "{browser}: {hint}");
    }
}

#[test]
fn the_page_that_a_person_gets_at_an_application_names_the_command_that_calls_as_them() {
    let dev = Dev::start(&[]);
    let sent = Request::get(&dev.app("/")).header("Accept", "text/html").send().expect(302);
    let page = Request::get(sent.header("location").expect("a page")).send().expect(501).text();
    for command in ["doorward login", "doorward curl --as me URL", "doorward login --api-url API_URL"] {
        assert!(page.contains(&format!("<code>{command}</code>")), "{command}: {page}");
    }
    let token = format!("$(doorward token --api-url API_URL --audience {})", dev.text("/app/client_id"));
    assert!(page.contains(&token), "{token}: {page}");
}

#[test]
fn what_lets_nobody_in_is_done_and_said() {
    let dev = Dev::start(&[]);
    let manage = |arguments: &[&str]| {
        let (command, rest) = arguments.split_at(2);
        run(doorward().args(command).arg("--dir").arg(dev.dir()).args(rest))
    };
    let unknown = "999-x.apps.googleusercontent.com";
    let gcloud = "32555940559.apps.googleusercontent.com";
    // arguments => a note on standard error, and whether there is one
    #[rustfmt::skip]
    let rows: [(&[&str], &str, bool); 5] = [
        (&["settings", "set", "--app", "app", "--programmatic-client", unknown],   unknown,          true),
        (&["settings", "set", "--app", "app", "--programmatic-client", gcloud],    gcloud,           false),
        (&["settings", "set", "--app", "app", "--programmatic-client", "desktop"], "desktop",        false),
        (&["policy", "add", "--app", "app", "--member", "user:a@nowhere.org"],     "a@nowhere.org",  true),
        (&["policy", "add", "--app", "app", "--member", "user:bob@example.com"],   "bob",            false),
    ];
    for (arguments, about, noted) in rows {
        let Finished { code, stdout, stderr } = manage(arguments);
        assert!(code == Some(0) && !stdout.is_empty(), "{arguments:?}: {stderr}");
        assert_eq!(stderr.starts_with("note: ") && stderr.contains(about), noted, "{arguments:?}: {stderr}");
        assert_eq!(stderr.is_empty(), !noted, "{arguments:?}: {stderr}");
    }
    let stranger = manage(&["policy", "add", "--app", "app", "--member", "stranger"]);
    let email = dev.text("/service_accounts/stranger/email");
    let expected = format!("doorward: stranger is not a member: use --member serviceAccount:{email}\n");
    assert_eq!((stranger.code, stranger.stderr), (Some(1), expected));
}

#[test]
fn where_there_is_no_browser_a_code_signs_in() {
    let dev = Dev::start(&[]);
    let desk = Desk::new(&dev);
    let login = desk.start(&["login", "--device"]);
    let address = rest_of_line(&login, "open ");
    let code = rest_of_line(&login, "and see that it shows the code ");
    let mut browser = Browser::with_cookies(dev.person(ALICE).cookie());
    let page = browser.open(&address).asks_for("user_code");
    let page = browser.send(&page, &[("user_code", &code)]).asks_for("decision");
    assert_eq!(browser.send(&page, &[("decision", "allow")]).response.status, 200);
    let Finished { code, stdout, .. } = login.finish();
    assert_eq!(code, Some(0), "{stdout}");
    assert_eq!(enter(&dev, &desk.run(&["token", "--app", "app", "--as", "me"])), (200, ALICE.to_owned()));
}

#[test]
fn a_token_comes_from_wherever_it_is_asked_for() {
    let dev = Dev::start(&[]);
    let desk = Desk::new(&dev);
    desk.sign_in(ALICE);
    let email = |name: &str| dev.text(&format!("/service_accounts/{name}/email")).to_owned();
    let key_file = |name: &str| dev.text(&format!("/service_accounts/{name}/key_file")).to_owned();
    let (stranger_key, caller_key) = (key_file("stranger"), key_file("caller"));
    let (client_id, host, target) = (dev.text("/app/client_id"), dev.text("/metadata/host"), email("target"));
    // arguments => status at the application, whom it saw
    #[rustfmt::skip]
    let rows: [(&[&str], u16, String); 11] = [
        (&["--app", "app"],                                                             200, email("robot")),
        (&["--audience", client_id],                                                    200, email("robot")),
        (&["--audience", client_id, "--as", "stranger"],                                403, String::new()),
        (&["--app", "app", "--key-file", &stranger_key],                                403, String::new()),
        (&["--app", "app", "--as", "caller", "--impersonate", "target"],                200, target.clone()),
        (&["--app", "app", "--key-file", &caller_key, "--impersonate", &target],        200, target.clone()),
        (&["--app", "app", "--as", "me", "--impersonate", "target"],                    200, target.clone()),
        (&["--app", "app", "--as", "me"],                                               200, ALICE.to_owned()),
        (&["--app", "app", "--metadata"],                                               200, email("robot")),
        (&["--app", "app", "--metadata", host],                                         200, email("robot")),
        (&["--app", "other_app"],                                                       401, String::new()),
    ];
    for (arguments, status, email) in rows {
        let token = desk.run(&[&["token"], arguments].concat());
        assert_eq!(enter(&dev, &token), (status, email), "{arguments:?}");
    }
    let denied = desk.fail(&["token", "--app", "app", "--as", "stranger", "--impersonate", "target"]);
    assert!(denied.contains("iam.serviceAccounts.getOpenIdToken"), "{denied}");
    assert!(denied.contains(&format!("--member serviceAccount:{}", email("stranger"))), "{denied}");
    let nowhere = desk.fail(&["token", "--app", "app", "--metadata", "127.0.0.1:1"]);
    assert!(
        nowhere.contains("the metadata server at 127.0.0.1:1") && nowhere.contains("--metadata HOST:PORT"),
        "{nowhere}"
    );
    // One that was got before is printed again, and one that is new is asked for.
    let token = |more: &[&str]| desk.run(&[&["token", "--app", "app", "--as", "caller"], more].concat());
    let first = token(&[]);
    let asked = || dev.token_events().len();
    let before = asked();
    assert_eq!((token(&[]), asked()), (first, before));
    token(&["--no-cache"]);
    assert_eq!(asked(), before + 1);
}

#[test]
fn a_world_over_tls_is_called_if_its_authority_is_trusted() {
    let dev = Dev::start(&["--tls"]);
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = folder.path().join("world.json");
    let mut described = dev.description().clone();
    described["api_url"] = described["api_https_url"].clone();
    fs::write(&file, described.to_string()).expect("a file");
    let command = |arguments: &[&str]| {
        let mut command = doorward();
        command.args(arguments).env("DOORWARD_DEV_JSON", &file).env("DOORWARD_CONFIG", folder.path().join("config"));
        command.env_remove("SSL_CERT_FILE").env_remove("SSL_CERT_DIR");
        command
    };
    // Our own transport, and that of the SDK.
    let impersonate = ["token", "--app", "app", "--as", "caller", "--impersonate", "target", "--no-cache"];
    for arguments in [&["service-account", "list"][..], &impersonate] {
        let Finished { code, stdout, stderr } = run(&mut command(arguments));
        assert_eq!((code, stdout.as_str()), (Some(1), ""), "{arguments:?}: {stderr}");
        assert!(stderr.contains("do not agree on TLS (") && stderr.lines().count() == 1, "{stderr}");
        assert!(stderr.ends_with("add that to the system's, or name it with SSL_CERT_FILE\n"), "{stderr}");
        let trusting = run(command(arguments).env("SSL_CERT_FILE", dev.text("/ca_file")));
        assert_eq!(trusting.code, Some(0), "{arguments:?}: {}", trusting.stderr);
    }
}

#[test]
fn an_explanation_says_who_would_accept_a_token_and_is_none_itself() {
    let dev = Dev::start(&[]);
    let desk = Desk::new(&dev);
    let explain = |arguments: &[&str]| {
        let text = desk.run(&[&["token", "--explain", "--json"], arguments].concat());
        serde_json::from_str::<Value>(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
    };
    let robot = dev.account("robot");
    let file = desk.folder.path().join("a-token");
    let path = file.to_str().expect("text");
    let explain_token = |token: &str| {
        fs::write(&file, token).expect("the token is written");
        let explanation = explain(&["--token-file", path]);
        let (_, signature) = token.rsplit_once('.').unwrap_or(("", token));
        assert!(!explanation.to_string().contains(signature), "{explanation}");
        explanation["accepted_by"].clone()
    };
    assert_eq!(explain(&["--app", "app"])["accepted_by"], json!(["app"]));
    let now = now_seconds();
    let self_signed =
        json!({"iss": robot.email, "sub": robot.email, "aud": dev.app("/*"), "iat": now, "exp": now + 3600});
    #[rustfmt::skip]
    let rows = [
        (robot.id_token(dev.text("/app/client_id")),               json!(["app"])),
        (robot.id_token(dev.text("/other_app/client_id")),         json!(["other_app"])),
        (robot.id_token("another"),                                json!([])),
        (robot.sign(&self_signed),                                 json!(["app"])),
        (tampered(&robot.id_token(dev.text("/app/client_id"))), json!([])),
        (robot.access_token("openid"),                             json!([])),
    ];
    for (token, accepted_by) in rows {
        assert_eq!(explain_token(&token), accepted_by, "{token}");
    }
}

#[test]
fn a_sidecar_gives_tokens_of_an_account_and_has_no_key_but_its() {
    let dev = Dev::start(&[]);
    let desk = Desk::new(&dev);
    let (client_id, email) = (dev.text("/app/client_id"), dev.text("/service_accounts/robot/email"));
    // With the state directory of nobody: the key file is all that it reads.
    let elsewhere = tempfile::tempdir().expect("a temporary directory");
    let plain = {
        let mut command = doorward();
        let key_file = dev.text("/service_accounts/robot/key_file");
        command.args(["metadata", "--key-file", key_file, "--listen", "127.0.0.1:0", "--dir"]).arg(elsewhere.path());
        command
    };
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$@\" 2>&1", "sh"]).arg(plain.get_program()).args(plain.get_args());
    let sidecar = Process::start(&mut shell);
    let line = rest_of_line(&sidecar, &format!("metadata of {email} at "));
    let (_, host) = line.split_once("GCE_METADATA_HOST=").expect("the host");
    let get = |path: &str| {
        let url = format!("http://{host}/computeMetadata/v1/{path}");
        Request::get(&url).header("Metadata-Flavor", "Google").send()
    };
    assert_eq!(get("instance/service-accounts/default/email").expect(200).text(), email);
    for format in ["standard", "full"] {
        let identity = format!("instance/service-accounts/default/identity?audience={client_id}&format={format}");
        let token = get(&identity).expect(200).text();
        assert_eq!(enter(&dev, &token), (200, email.to_owned()), "{format}");
    }
    let access_token = get("instance/service-accounts/default/token?scopes=openid,email").expect(200).json();
    let info = dev.google("openidconnect.googleapis.com/v1/userinfo");
    let info = Request::get(&info).bearer(access_token["access_token"].as_str().expect("a token")).send();
    assert_eq!(info.expect(200).json()["email"], email);
    let url = format!("http://{host}/computeMetadata/v1/instance/service-accounts/default/token");
    Request::get(&url).send().expect(403);
    assert_eq!(desk.run(&["token", "--audience", client_id, "--metadata", host]).split('.').count(), 3);
    sidecar.signal("TERM");
    assert_eq!(sidecar.finish().code, Some(0));
    let refused = desk.fail(&["metadata", "--service-account", "robot", "--listen", "0.0.0.0:0"]);
    assert!(refused.contains("loopback"), "{refused}");
}

#[test]
fn a_key_file_that_gives_no_token_is_answered_with_why_and_what_to_do() {
    let dev = Dev::start(&[]);
    let desk = Desk::new(&dev);
    let email = dev.text("/service_accounts/robot/email");
    let file = desk.folder.path().join("key.json");
    let path = file.to_str().expect("text");
    let manage = |line: &[&str]| {
        let mut command = doorward();
        command.arg("service-account").args(line).arg("--dir").arg(dev.dir());
        assert_eq!(run(&mut command).code, Some(0), "{line:?}");
    };
    manage(&["keys", "create", path, "--account", "robot"]);
    let made: Value = serde_json::from_slice(&fs::read(&file).expect("a key file")).expect("JSON");
    manage(&["keys", "delete", made["private_key_id"].as_str().expect("a key id"), "--account", "robot"]);
    let alice = dev.person(ALICE).text("authorized_user_file");
    let again = format!("`doorward service-account keys create FILE --account {email}`");
    // A sidecar that could give no token would announce itself all the same.
    for command in [["token", "--app", "app", "--key-file"], ["metadata", "--listen", "127.0.0.1:0", "--key-file"]] {
        let deleted = desk.fail(&[&command[..], &[path]].concat());
        assert!(deleted.contains("was deleted or disabled") && deleted.contains(&again), "{deleted}");
        let other = desk.fail(&[&command[..], &[alice]].concat());
        assert!(other.contains("a file of type authorized_user, and no service account's key"), "{other}");
    }
}

mod needs_curl {
    use super::*;

    #[test]
    fn curl_is_run_with_a_token_for_the_application_of_the_address() {
        let dev = Dev::start(&["--tls"]);
        let desk = Desk::new(&dev);
        desk.sign_in(ALICE);
        for side in dev.sides() {
            let url = format!("{}/path", side.app);
            for (account, email) in [("robot", dev.text("/service_accounts/robot/email")), ("me", ALICE)] {
                let echo = desk.run(&["curl", "--as", account, &url, "--silent", "--header", "X-Mine: 1"]);
                let echo: Value = serde_json::from_str(&echo).unwrap_or_else(|error| panic!("{error} in {echo}"));
                assert_eq!((&echo["identity"]["email"], &echo["headers"]["x-mine"]), (&json!(email), &json!("1")));
            }
        }
        let foreign = desk.fail(&["curl", "http://127.0.0.1:1/", "--silent"]);
        assert!(foreign.contains("is at no application of dev.json"), "{foreign}");
        // The exit code is curl's: 22 of --fail.
        let refused = run(&mut desk.command(&["curl", "--as", "stranger", &dev.app("/"), "--silent", "--fail"]));
        assert_eq!(refused.code, Some(22), "{}", refused.stderr);
    }

    #[test]
    fn a_server_that_has_stopped_is_named_also_where_curl_is_silent() {
        let home = tempfile::tempdir().expect("a temporary directory");
        let dev = Dev::start_in(&home.path().join("state"), &[]);
        let url = dev.app("/");
        // The token is in the cache from now on.
        assert_eq!(run(&mut command_in(home.path(), &["token", "--app", "app"])).code, Some(0));
        assert_eq!(dev.stop("TERM").code, Some(0));
        let Finished { code, stdout, stderr } = run(&mut command_in(home.path(), &["curl", &url, "--silent"]));
        assert_eq!((code, stdout.as_str()), (Some(7), ""), "{stderr}");
        assert!(stderr.starts_with("doorward: curl cannot connect to "), "{stderr}");
    }

    #[test]
    fn the_token_is_in_no_argument_and_in_no_variable_of_curl() {
        let dev = Dev::start(&[]);
        let desk = Desk::new(&dev);
        let programs = desk.folder.path().join("programs");
        fs::create_dir(&programs).expect("a folder");
        let fake = programs.join("curl");
        let script = "#!/bin/sh\ncase \"$1\" in --version) echo 'curl 8.0.0 (x)'; exit;; esac\n\
                      printf 'ARGUMENT %s\\n' \"$@\"\nenv | sed 's/^/VARIABLE /'\nsed 's/^/INPUT /'\n";
        fs::write(&fake, script).expect("the program is written");
        fs::set_permissions(&fake, PermissionsExt::from_mode(0o700)).expect("our own file");
        let path = format!("{}:{}", programs.display(), std::env::var("PATH").expect("a PATH"));
        let mut command = desk.command(&["curl", &dev.app("/")]);
        let Finished { code, stdout, stderr } = run(command.env("PATH", path));
        assert_eq!(code, Some(0), "{stderr}");
        let token = desk.run(&["token", "--app", "app"]);
        let with_token: Vec<&str> = stdout.lines().filter(|line| line.contains(&token)).collect();
        assert_eq!(with_token, [format!("INPUT oauth2-bearer = \"{token}\"")], "{stdout}");
    }
}
