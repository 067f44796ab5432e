//! Go's `idtoken` and `impersonate`.

use doorward_tests::{Names, go_program};

use super::Led::{Denied, Failed, ForTheOther, In, Of};
use super::{NO_OPEN_ID_TOKEN, assert_led, printed, take};

#[test]
fn every_way_of_the_go_packages_leads_where_googles_own_names_lead() {
    let world = Names::start(&[]);
    let mut led = printed(&world, &go_program());

    let claims = take(&mut led, "validated");
    let [app, robot] = ["/app/client_id", "/service_accounts/robot/email"].map(|pointer| world.text(pointer));
    let id_token = &claims["id_token"];
    assert_eq!([&id_token["aud"], &id_token["email"], &id_token["iss"]], [app, robot, "https://accounts.google.com"]);
    let assertion = &claims["assertion"];
    let expected = [world.text("/app/audience"), robot, "https://cloud.google.com/iap"];
    assert_eq!([&assertion["aud"], &assertion["email"], &assertion["iss"]], expected, "{claims}");

    let access = Failed("Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).");
    #[rustfmt::skip]
    let table = [
        ("key_file",                   In("robot")),
        ("key_file_stranger",          Denied("stranger")),
        ("key_file_other_audience",    ForTheOther),
        ("metadata",                   In("robot")),
        ("metadata_other_audience",    ForTheOther),
        ("impersonated",               In("target")),
        ("impersonated_access",        Of("target")),
        ("impersonated_denied",        NO_OPEN_ID_TOKEN),
        ("impersonated_denied_access", access),
        ("validated_other_audience",   Failed("audience provided does not match aud claim in the JWT")),
    ];
    assert_led(&world, &led, &table);
}
