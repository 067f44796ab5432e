//! google-auth for Python.

use std::process::Command;

use doorward_tests::{Finished, Names, client_script, python};

use super::super::Answer;
use super::super::needs_python::google_cloud_iap;
use super::Led::{Denied, Failed, ForTheOther, In, Of};
use super::{NO_OPEN_ID_TOKEN, app, assert_led, printed, take};

fn script(name: &str, arguments: &[&str]) -> Command {
    let mut command = python();
    command.arg(client_script(name)).args(arguments);
    command
}

#[test]
fn the_published_python_samples_get_in_as_they_are() {
    let world = Names::start(&[]);
    let (client_id, app) = (world.text("/app/client_id"), app(&world));
    // With nothing but the metadata server.
    let sample = script("default_credentials.py", &[client_id, &app]);
    Answer::of(&printed(&world, &sample)).is_of(world.service_account("robot"));
    // With a key file.
    let sample = |account: &str| script("call_application.py", &[world.key_file(account), client_id, &app]);
    Answer::of(&printed(&world, &sample("robot"))).is_of(world.service_account("robot"));
    Answer::of(&printed(&world, &sample("stranger"))).is_refused_to(world.service_account("stranger"));
}

#[test]
fn everything_of_the_python_library_whose_address_is_a_constant_leads_to_us() {
    let world = Names::start(&[]);
    let mut led = printed(&world, &script("google_auth_constants.py", &[]));
    let [robot, client_id, audience] =
        ["/service_accounts/robot/email", "/app/client_id", "/app/audience"].map(|pointer| world.text(pointer));
    for (way, expected) in [("verified", [client_id, robot]), ("backend", [audience, robot])] {
        let claims = take(&mut led, way);
        assert_eq!([&claims["aud"], &claims["email"]], expected, "{claims}");
    }
    #[rustfmt::skip]
    let table = [
        ("fetched_key_file",                  In("robot")),
        ("fetched_key_file_stranger",         Denied("stranger")),
        ("fetched_metadata",                  In("robot")),
        ("fetched_other_audience",            ForTheOther),
        ("metadata",                          Of("robot")),
        ("authorized_user",                   Of("alice@example.com")),
        ("impersonated_file",                 Of("target")),
        ("impersonated",                      Of("target")),
        ("impersonated_by_user",              In("target")),
        ("impersonated_with_email",           In("target")),
        ("impersonated_without_email",        In("target")),
        ("impersonated_denied",               NO_OPEN_ID_TOKEN),
        ("impersonated_denied_to_user",       NO_OPEN_ID_TOKEN),
        ("verified_other_audience",           Failed("Token has wrong audience")),
        ("backend_other_audience",            Failed("Token has wrong audience")),
    ];
    assert_led(&world, &led, &table);
}

#[test]
fn a_workload_from_elsewhere_gets_in_without_any_secret_of_ours() {
    let world = Names::start(&[]);
    let led = printed(&world, &script("external_account.py", &[]));
    #[rustfmt::skip]
    let table = [
        ("good",             In("target")),
        ("impersonating",    Of("target")),
        ("other_subject",    NO_OPEN_ID_TOKEN),
        ("other_repository", Failed("unauthorized_client")),
        ("other_audience",   Failed("invalid_grant")),
        ("other_issuer",     Failed("invalid_grant")),
        ("expired",          Failed("invalid_grant")),
    ];
    assert_led(&world, &led, &table);
}

#[test]
fn googles_library_for_iap_administers_over_rest() {
    let world = Names::start(&[]);
    let (given, check) = google_cloud_iap(|pointer| world.text(pointer), None);
    let Finished { code, stdout, stderr } =
        world.run_with_input(&script("google_cloud_iap.py", &[]), &given.to_string());
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    check(&serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error} in {stdout}")));
}
