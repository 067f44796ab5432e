//! gcloud, with a configuration of its own for each world and no property set.

use std::path::PathBuf;
use std::process::Command;

use doorward_tests::{Finished, Names, client_script};

use super::super::Answer;
use super::super::needs_curl::answer;
use super::super::needs_gcloud::administration::{self, Place};
use super::{app, succeed};

fn gcloud(arguments: &[&str]) -> Command {
    let mut command = Command::new("gcloud");
    command
        .args(arguments)
        .env("CLOUDSDK_CORE_DISABLE_PROMPTS", "1")
        .env("CLOUDSDK_CORE_DISABLE_USAGE_REPORTING", "1")
        .env("CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK", "1");
    command
}

/// Standard output without the end of the line.
fn output(world: &Names, arguments: &[&str]) -> String {
    succeed(world, &gcloud(arguments)).trim().to_owned()
}

/// `curl -H "Authorization: Bearer ${TOKEN}" URL`
fn ask(world: &Names, token: &str) -> Answer {
    let mut curl = Command::new("curl");
    curl.args(["-s", "-w", "\n%{http_code}", "-H", &format!("Authorization: Bearer {token}"), &app(world)]);
    answer(&succeed(world, &curl))
}

#[test]
fn a_machine_with_a_metadata_server_needs_no_key_and_no_property() {
    let world = Names::start(&[]);
    let audiences = format!("--audiences={}", world.text("/app/client_id"));
    for format in ["standard", "full"] {
        let token = output(&world, &["auth", "print-identity-token", &audiences, &format!("--token-format={format}")]);
        ask(&world, &token).is_of(world.service_account("robot"));
    }
}

#[test]
fn service_accounts_and_people_get_in_with_no_property_set() {
    let world = Names::start(&[]);
    let target = world.service_account("target");
    let audiences = format!("--audiences={}", world.text("/app/client_id"));
    let token = ["auth", "print-identity-token", &audiences];
    let impersonate = format!("--impersonate-service-account={target}");
    let as_target = [&token[..], &[&impersonate, "--include-email"]].concat();

    output(&world, &["auth", "activate-service-account", "--key-file", world.key_file("robot")]);
    ask(&world, &output(&world, &token)).is_of(world.service_account("robot"));

    output(&world, &["auth", "login", &format!("--cred-file={}", world.key_file("stranger"))]);
    ask(&world, &output(&world, &token)).is_refused_to(world.service_account("stranger"));
    let Finished { code, stderr, .. } = world.run(&gcloud(&as_target));
    assert!(code == Some(1) && stderr.contains("PERMISSION_DENIED"), "{stderr}");

    output(&world, &["auth", "activate-service-account", "--key-file", world.key_file("caller")]);
    ask(&world, &output(&world, &as_target)).is_of(target);

    // A person, in a browser.
    let browser = world.folder().join("browser.sh");
    std::fs::copy(client_script("browser.sh"), &browser).expect("the script is copied");
    succeed(&world, Command::new("chmod").arg("700").arg(&browser));
    let mut login = gcloud(&["auth", "login", "--launch-browser"]);
    let cookie = world.text("/users/alice@example.com/sign_in_cookie");
    login.env("BROWSER", &browser).env("DISPLAY", ":0").env("BROWSER_COOKIE", cookie);
    succeed(&world, &login);
    assert_eq!(output(&world, &["config", "get", "account"]), "alice@example.com");
    ask(&world, &output(&world, &as_target)).is_of(target);
}

#[test]
fn a_code_is_shown_at_googles_own_page_and_pasted() {
    let world = Names::start(&[]);
    let plain = gcloud(&["auth", "login", "--no-launch-browser"]);
    let mut login = Command::new("sh");
    login.arg(client_script("paste-code.sh")).arg(plain.get_program()).args(plain.get_args());
    for (name, value) in plain.get_envs() {
        login.env(name, value.expect("variables that are set"));
    }
    let cookie = world.text("/users/bob@example.com/sign_in_cookie");
    succeed(&world, login.env("BROWSER_COOKIE", cookie).env("CLOUDSDK_CORE_DISABLE_PROMPTS", "0"));
    assert_eq!(output(&world, &["config", "get", "account"]), "bob@example.com");
}

impl Place for Names {
    fn gcloud(&self, arguments: &[&str]) -> Command {
        gcloud(arguments)
    }

    fn operator(&self, arguments: &[&str]) -> Command {
        administration::inside(arguments)
    }

    fn run(&self, command: &mut Command) -> Finished {
        Names::run(self, command)
    }

    fn text(&self, pointer: &str) -> &str {
        Names::text(self, pointer)
    }

    fn folder(&self) -> PathBuf {
        Names::folder(self)
    }
}

#[test]
fn policies_of_web_resources_let_in_and_out() {
    administration::policies(&Names::start(&[]));
}

#[test]
fn settings_brands_and_clients_are_set_and_read() {
    administration::settings_brands_and_clients(&Names::start(&[]));
}

#[test]
fn destination_groups_are_made_changed_and_opened() {
    administration::destination_groups(&Names::start(&[]));
}

#[test]
fn iap_is_switched_at_backend_services_and_at_the_app_engine_application() {
    administration::applications(&Names::start(&[]));
}

#[test]
fn service_accounts_live_from_their_creation_to_their_end() {
    administration::service_accounts(&Names::start(&[]));
}

#[test]
fn roles_deny_policies_and_the_project_are_administered() {
    administration::roles_deny_policies_and_the_project(&Names::start(&[]));
}
