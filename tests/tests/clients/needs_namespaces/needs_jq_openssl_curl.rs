//! The Bash script of Google's documentation, byte for byte.

use std::process::Command;

use doorward_tests::Names;

use super::super::{needs_jq_openssl_curl::published_script, verified_email, wrong_audience};
use super::{app, succeed};

/// Runs the published script with its three variables replaced, as it asks for, and not one other byte.
fn call(world: &Names, account: &str, client_id: &str) -> String {
    let script = published_script(world.key_file(account), client_id, &app(world));
    let file = world.folder().join("service-account.sh");
    std::fs::write(&file, script).expect("the script is written");
    succeed(world, Command::new("bash").arg(&file))
}

#[test]
fn the_published_bash_script_runs_byte_for_byte() {
    let world = Names::start(&[]);
    let [client_id, other] = ["/app/client_id", "/other_app/client_id"].map(|pointer| world.text(pointer));
    assert_eq!(verified_email(&call(&world, "robot", client_id)), world.service_account("robot"));
    let refused = call(&world, "stranger", client_id);
    let words = format!(": Access denied. For user {}.", world.service_account("stranger"));
    assert!(refused.ends_with(&words), "{refused}");
    assert_eq!(call(&world, "robot", other), wrong_audience(other, client_id));
}
