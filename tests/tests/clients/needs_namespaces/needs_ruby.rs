//! googleauth for Ruby.

use doorward_tests::{Names, client_script, ruby};

use super::Led::{Denied, ForTheOther, In, Of};
use super::{assert_led, printed};

#[test]
fn every_way_of_the_ruby_library_leads_where_googles_own_names_lead() {
    let world = Names::start(&[]);
    let led = printed(&world, ruby().arg(client_script("googleauth.rb")));
    #[rustfmt::skip]
    let table = [
        ("key_file",                In("robot")),
        ("key_file_stranger",       Denied("stranger")),
        ("key_file_other_audience", ForTheOther),
        ("key_file_access",         Of("robot")),
        ("default_key_file",        In("robot")),
        ("metadata",                In("robot")),
        ("metadata_access",         Of("robot")),
        ("authorized_user",         Of("alice@example.com")),
    ];
    assert_led(&world, &led, &table);
}
