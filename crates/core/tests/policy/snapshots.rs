//! Where an application is found.

use doorward_core::resource::Host;
use doorward_core::snapshot::{NotServed, Update};

use crate::world::{application, empty, number};

#[test]
fn the_longest_prefix_decides_and_a_path_of_two_readings_is_refused() {
    let snapshot = empty().with(
        1,
        [
            application("root", &["a.example/"]),
            application("api", &["a.example/api", "b.example/api"]),
            application("admin", &["a.example/api/admin"]),
            application("alone", &["c.example/"]),
        ],
    );
    #[rustfmt::skip]
    let cases = [
        ("a.example",     "/",                   "root"),
        ("a.example",     "/apis",               "root"),
        ("a.example:443", "/api",                "api"),
        ("a.example",     "/api/x",              "api"),
        ("a.example",     "/api/admin",          "admin"),
        ("a.example",     "/api/administrator",  "api"),
        ("a.example",     "/api/x/../y",         "api"),
        ("a.example",     "/api/../x",           "ambiguous"),
        ("a.example",     "/x/../api",           "ambiguous"),
        ("a.example",     "/api;x/admin",        "ambiguous"),
        ("a.example",     "/%61pi",              "ambiguous"),
        ("a.example",     "//api",               "ambiguous"),
        ("a.example",     "/api//admin",         "ambiguous"),
        ("a.example",     "/api//../x",          "ambiguous"),
        ("a.example",     "/x//../api",          "ambiguous"),
        ("b.example",     "/api/../x",           "api"),
        ("b.example",     "/",                   "nothing"),
        ("c.example",     "/x/../%61//y",        "alone"),
        ("a.example:80",  "/",                   "nothing"),
        ("d.example",     "/",                   "nothing"),
    ];
    for (host, path, expected) in cases {
        let found = match snapshot.served_at(&Host::parse(host).unwrap(), path) {
            Ok((_, it)) => it.application.name.to_string(),
            Err(NotServed::AmbiguousPath) => "ambiguous".to_owned(),
            Err(NotServed::NoSuchPlace) => "nothing".to_owned(),
        };
        assert_eq!(found, expected, "{host}{path}");
    }
    let without = snapshot.with(2, [Update::Application(number("admin"), None)]);
    let host = Host::parse("a.example").unwrap();
    assert_eq!(without.served_at(&host, "/api/admin").unwrap().1.application.name.as_str(), "api");
    assert_eq!(snapshot.served_at(&host, "/api/admin").unwrap().1.application.name.as_str(), "admin");
}
