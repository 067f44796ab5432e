//! gcloud, with a configuration of its own for each test.
//!
//! It takes more than a second to start, so that few commands are run and each is used for several assertions.

pub(crate) mod administration;
mod federation;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use doorward_tests::{Dev, Finished, Person, Side, client_script, now_seconds, run};
use serde_json::json;
use tempfile::TempDir;

use super::{Answer, offline, service_account, succeed, wrong_audience};

/// gcloud's own client; its ID tokens for people are for it.
const CLIENT: &str = "32555940559.apps.googleusercontent.com";
/// Where nothing listens: there is no metadata server.
const NOWHERE: &str = "127.0.0.1:1";

/// A configuration, on one side of a server.
struct Gcloud<'a> {
    side: Side<'a>,
    folder: TempDir,
    metadata: &'a str,
}

impl<'a> Gcloud<'a> {
    fn new(side: Side<'a>, metadata: &'a str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let browser = folder.path().join("browser.sh");
        std::fs::copy(client_script("browser.sh"), &browser).expect("the script is copied");
        std::fs::set_permissions(&browser, PermissionsExt::from_mode(0o700)).expect("our own file");
        Gcloud { side, folder, metadata }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        command(self.side, self.folder.path(), self.metadata, arguments)
    }

    /// Standard output without the end of the line.
    fn run(&self, arguments: &[&str]) -> String {
        succeed(&mut self.command(arguments)).trim().to_owned()
    }

    /// Standard error of a command that fails.
    fn fail(&self, arguments: &[&str]) -> String {
        let Finished { code, stdout, stderr } = run(&mut self.command(arguments));
        assert_eq!((code, stdout.as_str()), (Some(1), ""), "{stderr}");
        stderr
    }

    /// Runs a command that prints an address and waits for the code that this person's browser shows there.
    fn sign_in_elsewhere(&self, person: Person<'_>, arguments: &[&str]) {
        let plain = self.command(arguments);
        let mut command = Command::new("sh");
        command.arg(client_script("paste-code.sh")).arg(plain.get_program()).args(plain.get_args());
        for (name, value) in plain.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        self.run_with_browser(person, command.env("CLOUDSDK_CORE_DISABLE_PROMPTS", "0"));
    }

    /// Runs a command that opens a browser, which is this person's.
    fn sign_in(&self, person: Person<'_>, arguments: &[&str]) {
        let mut command = self.command(arguments);
        let browser = self.folder.path().join("browser.sh");
        self.run_with_browser(person, command.env("BROWSER", browser).env("DISPLAY", ":0"));
    }

    fn run_with_browser(&self, person: Person<'_>, command: &mut Command) {
        if let Some(ca_file) = self.side.ca_file {
            command.env("CURL_CA_BUNDLE", ca_file);
        }
        succeed(command.env("BROWSER_COOKIE", person.cookie()));
    }

    /// `curl -H "Authorization: Bearer ${TOKEN}" URL`
    fn ask(&self, token: &str) -> Answer {
        let mut curl = Command::new("curl");
        curl.args(["-s", "-w", "\n%{http_code}", "-H", &format!("Authorization: Bearer {token}")]);
        if let Some(ca_file) = self.side.ca_file {
            curl.args(["--cacert", ca_file]);
        }
        let printed = succeed(curl.arg(format!("{}/api/data", self.side.app)));
        let (body, status) = printed.rsplit_once('\n').expect("the status is on the last line");
        Answer { status: status.parse().expect("a status"), body: body.to_owned() }
    }
}

/// gcloud with a configuration in `folder`, and with the addresses of this side.
fn command(side: Side<'_>, folder: &Path, metadata: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("gcloud");
    offline(&mut command)
        .args(arguments)
        .env("CLOUDSDK_CONFIG", folder.join("config"))
        .env("CLOUDSDK_CORE_DISABLE_PROMPTS", "1")
        .env("CLOUDSDK_CORE_DISABLE_USAGE_REPORTING", "1")
        .env("CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK", "1")
        .env("CLOUDSDK_AUTH_AUTH_HOST", side.google("accounts.google.com/o/oauth2/auth"))
        .env("CLOUDSDK_AUTH_TOKEN_HOST", side.google("oauth2.googleapis.com/token"))
        .env("CLOUDSDK_API_ENDPOINT_OVERRIDES_IAMCREDENTIALS", side.google("iamcredentials.googleapis.com/"))
        .env("GCE_METADATA_ROOT", metadata);
    match side.ca_file {
        Some(ca_file) => command.env("CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE", ca_file).env("REQUESTS_CA_BUNDLE", ca_file),
        None => command.env("OAUTHLIB_INSECURE_TRANSPORT", "1"),
    };
    command
}

#[test]
fn service_accounts_get_in_with_their_keys_and_as_each_other() {
    let dev = Dev::start(&["--tls"]);
    let (client_id, target) = (dev.text("/app/client_id"), service_account(&dev, "target"));
    let audiences = format!("--audiences={client_id}");
    let key_file = |name: &str| dev.text(&format!("/service_accounts/{name}/key_file"));
    let impersonate = format!("--impersonate-service-account={target}");
    for side in dev.sides() {
        let gcloud = Gcloud::new(side, NOWHERE);
        let token = ["auth", "print-identity-token", &audiences];
        gcloud.run(&["auth", "activate-service-account", "--key-file", key_file("robot")]);
        gcloud.ask(&gcloud.run(&token)).is_of(service_account(&dev, "robot"));

        gcloud.run(&["auth", "login", &format!("--cred-file={}", key_file("stranger"))]);
        gcloud.ask(&gcloud.run(&token)).is_refused_to(service_account(&dev, "stranger"));
        let as_target = [&token[..], &[&impersonate]].concat();
        let denied = gcloud.fail(&as_target);
        let permission = "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).";
        for part in ["PERMISSION_DENIED", &format!("Failed to impersonate [{target}]"), permission] {
            assert!(denied.contains(part), "{denied}");
        }

        gcloud.run(&["auth", "activate-service-account", "--key-file", key_file("caller")]);
        let without_email = gcloud.run(&as_target);
        assert_eq!(dev.claims(&without_email).get("email"), None);
        gcloud.ask(&without_email).is_of(target);
        let with_email = gcloud.run(&[&as_target[..], &["--include-email"]].concat());
        assert_eq!(dev.claims(&with_email)["email"], target);
        gcloud.ask(&with_email).is_of(target);

        let now = now_seconds();
        let aud = format!("{}/*", side.app);
        let claims = json!({"iss": target, "sub": target, "aud": aud, "iat": now, "exp": now + 3600});
        let files = ["claims.json", "signed.jwt"].map(|name| gcloud.folder.path().join(name).display().to_string());
        std::fs::write(&files[0], claims.to_string()).expect("the claims are written");
        let account = format!("--iam-account={target}");
        gcloud.run(&["iam", "service-accounts", "sign-jwt", &files[0], &files[1], &account]);
        gcloud.ask(&std::fs::read_to_string(&files[1]).expect("a JWT")).is_of(target);
    }
}

#[test]
fn people_sign_in_in_a_browser_and_act_as_accounts() {
    let dev = Dev::start(&["--tls"]);
    let (client_id, target) = (dev.text("/app/client_id"), service_account(&dev, "target"));
    let (alice, bob) = (dev.person("alice@example.com"), dev.person("bob@example.com"));
    for side in dev.sides() {
        let gcloud = Gcloud::new(side, NOWHERE);
        gcloud.sign_in(alice, &["auth", "login", "--launch-browser"]);
        assert_eq!(gcloud.run(&["config", "get", "account"]), alice.email);
        let own = gcloud.run(&["auth", "print-identity-token"]);
        let claims = dev.claims(&own);
        let expected = [&json!(CLIENT), &json!(CLIENT), &json!(alice.email)];
        assert_eq!([&claims["aud"], &claims["azp"], &claims["email"]], expected, "{claims}");
        let refused = gcloud.ask(&own);
        assert_eq!((refused.status, refused.body), (401, wrong_audience(CLIENT, client_id)));
        let impersonate = format!("--impersonate-service-account={target}");
        let as_target =
            ["auth", "print-identity-token", "--include-email", &impersonate, &format!("--audiences={client_id}")];
        gcloud.ask(&gcloud.run(&as_target)).is_of(target);
        // An application may take gcloud's own tokens.
        let settings = ["settings", "set", "--app", "app"];
        succeed(&mut dev.command(&[&settings[..], &["--programmatic-client", CLIENT]].concat()));
        gcloud.ask(&own).is_of(alice.email);
        succeed(&mut dev.command(&[&settings[..], &["--no-programmatic-clients"]].concat()));

        gcloud.run(&["auth", "activate-refresh-token", bob.email, bob.text("gcloud_refresh_token")]);
        let claims = dev.claims(&gcloud.run(&["auth", "print-identity-token"]));
        assert_eq!([&claims["aud"], &claims["email"]], [CLIENT, bob.email], "{claims}");
        let denied = gcloud.fail(&as_target);
        assert!(denied.contains("PERMISSION_DENIED"), "{denied}");

        let login = ["auth", "application-default", "login", "--launch-browser", "--disable-quota-project"];
        gcloud.sign_in(alice, &login);
        let access_token = gcloud.run(&["auth", "application-default", "print-access-token"]);
        let body = json!({"audience": client_id, "includeEmail": true});
        let made = dev.iam_credentials(&access_token, target, "generateIdToken", &body).expect(200).json();
        gcloud.ask(made["token"].as_str().expect("a token")).is_of(target);
    }
}

#[test]
fn a_code_is_pasted_where_there_is_no_display() {
    let dev = Dev::start(&[]);
    let [side] = dev.sides()[..] else { panic!("one side without --tls") };
    let gcloud = Gcloud::new(side, NOWHERE);
    let bob = dev.person("bob@example.com");
    gcloud.sign_in_elsewhere(bob, &["auth", "login", "--no-launch-browser"]);
    let claims = dev.claims(&gcloud.run(&["auth", "print-identity-token"]));
    assert_eq!([&claims["aud"], &claims["email"]], [CLIENT, bob.email], "{claims}");
}

#[test]
fn a_machine_with_a_metadata_server_needs_no_key() {
    let dev = Dev::start(&[]);
    let [side] = dev.sides()[..] else { panic!("one side without --tls") };
    let gcloud = Gcloud::new(side, dev.text("/metadata/host"));
    let robot = dev.text("/metadata/service_account");
    let audiences = format!("--audiences={}", dev.text("/app/client_id"));
    for (format, email) in [("standard", None), ("full", Some(robot))] {
        let token_format = format!("--token-format={format}");
        let token = gcloud.run(&["auth", "print-identity-token", &audiences, &token_format]);
        assert_eq!(dev.claims(&token).get("email").and_then(|email| email.as_str()), email);
        gcloud.ask(&token).is_of(robot);
    }
}
