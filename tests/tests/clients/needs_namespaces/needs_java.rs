//! google-auth-library for Java.

use doorward_tests::{Names, java};

use super::Led::{Denied, ForTheOther, In, Of};
use super::{NO_OPEN_ID_TOKEN, assert_led, printed};

#[test]
fn every_way_of_the_java_library_leads_where_googles_own_names_lead() {
    let world = Names::start(&[]);
    let led = printed(&world, java().arg("metadata"));
    assert_led(&world, &led, &[("metadata", In("robot"))]);

    let led = printed(&world, java().arg("key_file").env("GOOGLE_APPLICATION_CREDENTIALS", world.key_file("robot")));
    #[rustfmt::skip]
    let table = [
        ("default_key_file",        In("robot")),
        ("key_file",                In("robot")),
        ("key_file_stranger",       Denied("stranger")),
        // Eleven requests to the application, and a new token for each.
        ("key_file_other_audience", ForTheOther),
        ("impersonated",            In("target")),
        ("impersonated_denied",     NO_OPEN_ID_TOKEN),
        ("impersonated_access",     Of("target")),
        ("authorized_user",         Of("alice@example.com")),
    ];
    assert_led(&world, &led, &table);
}
