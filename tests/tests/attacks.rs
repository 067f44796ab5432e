//! Bytes that an attacker would send to a protected application, and what the application saw of them.
//!
//! "Not forwarded" is looked up at a recording application, never assumed from the answer.

use doorward_tests::{Connection, Dev, Request, Response, Seen, Upstream, tampered};

/// A server in front of a recording application, with tokens of two accounts.
struct Scene {
    upstream: Upstream,
    dev: Dev,
    robot: String,
    stranger: String,
}

/// What must come back.
#[derive(Debug, Clone, Copy)]
enum Expected {
    /// Forwarded for the robot, with our identity headers once and nothing forged.
    Forwarded,
    /// One of these statuses; not forwarded.
    Refused(&'static [u16]),
    /// This status with this reason code; not forwarded.
    Because(u16, &'static str),
    /// Either is safe.
    ForwardedOrRefused,
}
use Expected::{Because, Forwarded, ForwardedOrRefused, Refused};

impl Scene {
    fn new() -> Self {
        let upstream = Upstream::start();
        let dev = Dev::start(&["--to", upstream.url()]);
        let (robot, stranger) = (dev.id_token("robot"), dev.id_token("stranger"));
        Scene { upstream, dev, robot, stranger }
    }

    /// The lines as a request head. `{host}`, `{port}`, `{robot}`, `{stranger}` and `{bad}` are filled in; a character up to
    /// U+00FF stands for the byte of its number.
    fn head(&self, lines: &[&str]) -> Vec<u8> {
        self.bytes(&format!("{}\r\n\r\n", lines.join("\r\n")))
    }

    fn bytes(&self, text: &str) -> Vec<u8> {
        let host = self.dev.app_authority();
        let (_, port) = host.split_once(':').expect("an address has a port");
        let text = text.replace("{host}", host).replace("{port}", port).replace("{bad}", &tampered(&self.robot));
        let text = text.replace("{robot}", &self.robot).replace("{stranger}", &self.stranger);
        text.chars().map(|c| u8::try_from(u32::from(c)).expect("a byte")).collect()
    }

    /// Sends bytes on a connection of their own and gives the first answer, with what the application saw.
    fn ask(&self, bytes: &[u8]) -> (Response, Vec<Seen>) {
        let mut connection = Connection::open(self.dev.app_authority());
        connection.send(bytes);
        (connection.response(), self.upstream.take())
    }

    /// Sends bytes and reads every answer until the server closes.
    fn converse(&self, bytes: &[u8]) -> (Vec<Response>, Vec<Seen>) {
        let mut connection = Connection::open(self.dev.app_authority());
        connection.send(bytes);
        (connection.responses_until_close(), self.upstream.take())
    }

    fn check(&self, name: &str, bytes: &[u8], expected: Expected) -> Vec<Seen> {
        let (response, seen) = self.ask(bytes);
        let got = format!("{name}: {} {:?} {:?}", response.status, response.reason(), response.text());
        let forwarded = response.status == 200;
        let allowed = match expected {
            Forwarded => forwarded,
            Refused(statuses) => statuses.contains(&response.status),
            Because(status, reason) => response.status == status && response.reason() == Some(reason),
            ForwardedOrRefused => forwarded || (400..500).contains(&response.status),
        };
        assert!(allowed, "{got}\nexpected {expected:?}");
        assert_eq!(seen.len(), usize::from(forwarded), "{got}\n{seen:?}");
        for request in &seen {
            self.assert_identity(name, request);
        }
        seen
    }

    /// Our three headers once each, with the robot's values; under no spelling that a backend folds is there another.
    fn assert_identity(&self, name: &str, seen: &Seen) {
        let text = seen.text();
        assert!(!text.to_ascii_lowercase().contains("forged"), "{name}: {text}");
        let folded = |line: &str| {
            line.split(':')
                .next()
                .unwrap_or("")
                .trim()
                .to_ascii_lowercase()
                .replace(|c: char| !c.is_ascii_alphanumeric(), "-")
        };
        let reserved = ["x-goog-", "x-appengine-", "ingress-authorization", "x-serverless-authorization"];
        let mut ours: Vec<String> = text.split("\r\n").skip(1).map(folded).collect();
        ours.retain(|field| reserved.iter().any(|prefix| field.starts_with(prefix)));
        ours.sort();
        let expected = ["x-goog-authenticated-user-email", "x-goog-authenticated-user-id", "x-goog-iap-jwt-assertion"];
        assert_eq!(ours, expected, "{name}: {text}");
        let prefixed = |pointer| vec![format!("accounts.google.com:{}", self.dev.text(pointer))];
        assert_eq!(seen.values(expected[0]), prefixed("/service_accounts/robot/email"), "{name}");
        assert_eq!(seen.values(expected[1]), prefixed("/service_accounts/robot/unique_id"), "{name}");
    }

    /// Nothing was forwarded behind our back: the next good request is the next that the application sees.
    fn assert_quiet(&self) {
        let seen = self.check("sentinel", &self.head(&["GET /sentinel HTTP/1.1", "Host: {host}", GOOD]), Forwarded);
        assert_eq!(seen[0].target(), "/sentinel");
    }
}

const GOOD: &str = "Authorization: Bearer {robot}";
const NAMES: [&str; 10] = [
    "x-goog-iap-jwt-assertion",
    "x-goog-authenticated-user-email",
    "x-goog-authenticated-user-id",
    "x-goog-iap-attr-role",
    "x-goog-authenticated-user-device",
    "x-goog-anything",
    "x-appengine-user-email",
    "x-appengine-user-is-admin",
    "ingress-authorization",
    "x-serverless-authorization",
];

/// The spellings of names that a backend may take for the same.
fn spellings(names: &str) -> [String; 8] {
    let flip = |(at, c): (usize, char)| if at % 2 == 0 { c.to_ascii_uppercase() } else { c };
    let underscores = names.replace('-', "_");
    let one_underscore = names.split(' ').map(|name| name.replacen('-', "_", 1)).collect::<Vec<_>>().join(" ");
    [
        names.to_owned(),
        names.to_ascii_uppercase(),
        names.chars().enumerate().map(flip).collect(),
        underscores.to_ascii_uppercase(),
        underscores,
        one_underscore,
        // CGI turns every byte that is no letter and no digit into an underscore.
        names.replace('-', "."),
        names.replace('-', "~"),
    ]
}

#[test]
fn a_forged_identity_header_never_reaches_the_application_in_any_spelling() {
    let scene = Scene::new();
    for spelling in spellings(&NAMES.join(" ")) {
        for times in [1, 3] {
            let forged: Vec<String> = spelling.split(' ').map(|name| format!("{name}: forged")).collect();
            let mut lines = vec!["GET /headers HTTP/1.1", "Host: {host}", GOOD];
            for _ in 0..times {
                lines.extend(forged.iter().map(String::as_str));
            }
            scene.check(&spelling, &scene.head(&lines), Forwarded);
        }
    }
    // Without a credential the same headers let nobody in.
    let forged: Vec<String> = NAMES.iter().map(|name| format!("{name}: forged")).collect();
    let lines: Vec<&str> =
        ["GET / HTTP/1.1", "Host: {host}"].into_iter().chain(forged.iter().map(String::as_str)).collect();
    scene.check("no credential", &scene.head(&lines), Because(302, "no_credential"));
    scene.assert_quiet();
}

#[test]
fn a_broken_header_field_is_refused_or_loses_what_it_hides() {
    let scene = Scene::new();
    let assertion = "x-goog-iap-jwt-assertion";
    #[rustfmt::skip]
    let cases: [(&str, String, Expected); 12] = [
        ("space before colon",     format!("{assertion} : forged"),                   Refused(&[400])),
        ("tab before colon",       format!("{assertion}\t: forged"),                  Refused(&[400])),
        ("space in name",          "x-goog iap: forged".into(),                       Refused(&[400])),
        ("no name",                ": forged".into(),                                 Refused(&[400])),
        ("no colon",               format!("{assertion} forged"),                     Refused(&[400])),
        ("NUL in value",           format!("X-A: a\0\r\n{assertion}: forged"),        Refused(&[400])),
        ("CR in value",            format!("X-A: a\r{assertion}: forged"),            Refused(&[400])),
        ("LF before a field",      format!("X-A: a\n{assertion}: forged"),            ForwardedOrRefused),
        ("folded line",            format!("X-A: a\r\n {assertion}: b"),              Refused(&[400])),
        ("field folded first",     format!(" {assertion}: forged"),                   Refused(&[400])),
        ("byte beyond ASCII name", format!("{assertion}\u{ff}: forged"),              Refused(&[400])),
        ("nominated for removal",  format!("Connection: close, {assertion}, x-goog-authenticated-user-email, X-Goog-Authenticated-User-Id"), ForwardedOrRefused),
    ];
    for (name, field, expected) in cases {
        let bytes = scene.head(&["GET /headers HTTP/1.1", "Host: {host}", GOOD, &field]);
        scene.check(name, &bytes, expected);
    }
    scene.assert_quiet();
}

#[test]
fn a_trailer_is_dropped() {
    let scene = Scene::new();
    let head = [
        "POST /trailers HTTP/1.1",
        "Host: {host}",
        GOOD,
        "Transfer-Encoding: chunked",
        "Trailer: x-goog-iap-jwt-assertion",
    ];
    let body = "5\r\nhello\r\n0\r\nx-goog-iap-jwt-assertion: forged\r\nX-Mine: forged\r\n\r\n";
    let seen = scene.check("trailers", &[scene.head(&head), scene.bytes(body)].concat(), Forwarded);
    for request in seen {
        assert!(request.complete, "{request:?}");
        assert_eq!(request.body, b"hello");
    }
    scene.assert_quiet();
}

#[test]
fn the_credential_is_chosen_as_google_chooses_it() {
    let scene = Scene::new();
    const BASIC: &str = "Basic dXNlcjpwYXNz";
    const ROBOT: &str = "Bearer {robot}";
    const BAD: &str = "Bearer {bad}";
    const NONE: &[&str] = &[];
    let denied = Because(403, "permission_denied");
    let invalid = Because(401, "invalid_token");
    let ambiguous = Because(400, "ambiguous_credential");
    let nothing = Because(302, "no_credential");
    // Proxy-Authorization, Authorization => outcome; an Authorization that was not the credential arrives as it was sent.
    #[rustfmt::skip]
    let cases: [(&[&str], &[&str], Expected); 21] = [
        (NONE,                   &[ROBOT],                      Forwarded),
        (&[ROBOT],               NONE,                          Forwarded),
        (&[ROBOT],               &[BASIC],                      Forwarded),
        (&[ROBOT],               &["garbage  \u{e9}, as it is"], Forwarded),
        (&[ROBOT],               &["Bearer {stranger}"],        Forwarded),
        (&["Bearer {stranger}"], &[ROBOT],                      denied),
        (&["garbage"],           &[ROBOT],                      Forwarded),
        (&[BASIC],               &[ROBOT],                      Forwarded),
        (&[BAD],                 &[ROBOT],                      Forwarded),
        (&[BAD],                 &[BAD],                        invalid),
        (&["Bearer a"],          &["Bearer b"],                 invalid),
        (NONE,                   &["Bearer {stranger}"],        denied),
        (NONE,                   &["bEARER   {robot}"],         Forwarded),
        (NONE,                   &["Bearer {robot}, Bearer {robot}"], Refused(&[400, 401])),
        (NONE,                   &["Bearer {robot} {robot}"],   Refused(&[400, 401])),
        (NONE,                   &[ROBOT, ROBOT],               ambiguous),
        (NONE,                   &[ROBOT, BASIC],               ambiguous),
        (NONE,                   &[BASIC, ROBOT],               ambiguous),
        (NONE,                   &["Token {robot}"],            nothing),
        (NONE,                   &["Bearer"],                   Refused(&[302, 401])),
        (NONE,                   NONE,                          nothing),
    ];
    for (proxy, authorization, expected) in cases {
        let name = format!("Proxy-Authorization {proxy:?}, Authorization {authorization:?}");
        let proxy = proxy.iter().map(|value| format!("Proxy-Authorization: {value}"));
        let fields = authorization.iter().map(|value| format!("Authorization: {value}"));
        let fields: Vec<String> = proxy.chain(fields).collect();
        let lines = ["GET /credentials HTTP/1.1", "Host: {host}"].into_iter().chain(fields.iter().map(String::as_str));
        for request in scene.check(&name, &scene.head(&lines.collect::<Vec<_>>()), expected) {
            assert_eq!(request.values("proxy-authorization"), [""; 0], "{name}");
            for value in authorization {
                let sent = scene.bytes(&format!(": {value}\r\n"));
                assert!(request.head.windows(sent.len()).any(|part| part == sent), "{name}: {}", request.text());
            }
        }
    }
    scene.assert_quiet();
}

#[test]
fn several_credentials_of_one_name_are_never_first_wins_or_last_wins() {
    let scene = Scene::new();
    for fields in [
        ["Proxy-Authorization: Bearer {robot}", "Proxy-Authorization: Bearer {stranger}"],
        ["Proxy-Authorization: Bearer {stranger}", "Proxy-Authorization: Bearer {robot}"],
        ["Proxy-Authorization: Bearer {robot}", "Proxy-Authorization: Bearer {robot}"],
        ["Authorization: Bearer {robot}", "authorization: Bearer {stranger}"],
        ["Authorization: Bearer {stranger}", "AUTHORIZATION: Bearer {robot}"],
    ] {
        let head = scene.head(&["GET / HTTP/1.1", "Host: {host}", fields[0], fields[1]]);
        scene.check(fields[1], &head, Refused(&[400, 401]));
    }
    // Three, as a proxy in between may have added one.
    let lines = ["GET / HTTP/1.1", "Host: {host}", GOOD, GOOD, GOOD];
    scene.check("three", &scene.head(&lines), Refused(&[400, 401]));
    scene.assert_quiet();
}

#[test]
fn a_token_in_any_other_place_is_no_credential() {
    let scene = Scene::new();
    #[rustfmt::skip]
    let cases = [
        ["GET /?access_token={robot}&id_token={robot} HTTP/1.1", "X-Nothing: 1"],
        ["GET / HTTP/1.1",                                       "Proxy_Authorization: Bearer {robot}"],
        ["GET / HTTP/1.1",                                       "Cookie: authorization={robot}; token={robot}"],
        ["GET / HTTP/1.1",                                       "X-Authorization: Bearer {robot}"],
    ];
    for [request_line, field] in cases {
        let head = scene.head(&[request_line, "Host: {host}", field]);
        scene.check(field, &head, Because(302, "no_credential"));
    }
    scene.assert_quiet();
}

#[test]
fn identity_belongs_to_the_request_and_not_to_the_connection() {
    let scene = Scene::new();
    let requests = [
        scene.head(&["GET /1 HTTP/1.1", "Host: {host}", GOOD]),
        scene.head(&["GET /2 HTTP/1.1", "Host: {host}"]),
        scene.head(&["GET /3 HTTP/1.1", "Host: {host}", "Authorization: Bearer {stranger}"]),
        scene.head(&["GET /4 HTTP/1.1", "Host: {host}", GOOD, "Connection: close"]),
    ];
    let (responses, seen) = scene.converse(&requests.concat());
    assert_eq!(responses.iter().map(|response| response.status).collect::<Vec<_>>(), [200, 302, 403, 200]);
    assert_eq!(seen.iter().map(Seen::target).collect::<Vec<_>>(), ["/1", "/4"]);
    for request in &seen {
        scene.assert_identity("pipelined", request);
    }
}

#[test]
fn a_path_is_forwarded_byte_for_byte_or_refused() {
    let scene = Scene::new();
    #[rustfmt::skip]
    let forwarded = [
        "/", "/a", "/a/", "//a", "/a//b", "/a/./b", "/a/../b", "/..", "/../../etc", "/a;b=c", "/a;b=c/d;e", "/denied;p=1/../../ok",
        "/A/a", "/%61", "/%41bc", "/a%20b", "/a%2Db", "/%C3%A9", "/%EF%BC%8F", "/a%3Bb", "/a%3Fb", "/a%23b", "/a.b/...", "/...;/x",
        "/.%61", "/a?b=%2f..%5c%00", "/a?x=/../..;/", "/a?", "/?", "/a?b?c", "/a:b@c", "/a,b'c(d)*!$&+=~_-", "/a%2b+b",
    ];
    #[rustfmt::skip]
    let refused = [
        "/..;/a", "/x/..;/y", "/x/..;p=1/y", "/x/..;", "/%2e%2e;/a", "/..%3b/a", "/.%2e;/a",
        "/%2e/a", "/%2e%2e/a", "/%2E%2E/a", "/.%2e/a", "/%2e./a", "/a/%2e%2e", "/a/.%2E",
        "/a\\b", "/a\\..\\b", "/a%5cb", "/a%5Cb", "/..%5ca", "/a%2fb", "/a%2Fb", "/..%2fa", "/%2f%2fa",
        "/%252e%252e/a", "/%252fa", "/a%255cb", "/%25%32%65", "/%2561", "/%c0%ae%c0%ae/a", "/%c0%af", "/%e0%80%af", "/%f0%80%80%af",
        "/%c1%9c", "/a%00b", "/%00", "/a%0ab", "/a%0d%0aX-A:b", "/a%09b", "/a%1fb", "/a%7fb", "/a%", "/a%4", "/a%zz", "/a%u002f",
    ];
    for path in forwarded {
        let head = scene.head(&[&format!("GET {path} HTTP/1.1"), "Host: {host}", GOOD]);
        let seen = scene.check(path, &head, Forwarded);
        assert_eq!(seen[0].target(), path);
    }
    for path in refused {
        let head = scene.head(&[&format!("GET {path} HTTP/1.1"), "Host: {host}", GOOD]);
        scene.check(path, &head, Because(400, "bad_path"));
    }
    // What is not even a target of HTTP.
    for target in ["a", "*", "/a b", "/a\u{1}", "/\u{ff}", "/a\0b", "", "{host}", "?a"] {
        let head = scene.head(&[&format!("GET {target} HTTP/1.1"), "Host: {host}", GOOD]);
        scene.check(target, &head, Refused(&[400, 404]));
    }
    scene.assert_quiet();
}

#[test]
fn a_header_that_speaks_of_another_target_changes_nothing() {
    let scene = Scene::new();
    for field in [
        "X-Original-URL: /public",
        "X-Rewrite-URL: /public",
        "X-HTTP-Method-Override: GET",
        "X-Forwarded-Host: trusted.example",
        "Forwarded: host=trusted.example",
        "X-Forwarded-For: 127.0.0.1",
    ] {
        let lines = ["GET /private HTTP/1.1", "Host: {host}", "Authorization: Bearer {stranger}", field];
        scene.check(field, &scene.head(&lines), Because(403, "permission_denied"));
    }
    // To the application they are what we say, and in the address of the sign-in page they are nothing.
    let fields = [
        "X-Forwarded-Host: forged.example",
        "X-Forwarded-Proto: javascript",
        "X-Forwarded-For: 6.6.6.6",
        "Via: 1.1 forged",
    ];
    let lines = [&["GET /x HTTP/1.1", "Host: {host}", GOOD][..], &fields].concat();
    let seen = scene.check("X-Forwarded", &scene.head(&lines), Forwarded);
    let text = seen[0].text();
    assert_eq!(seen[0].values("x-forwarded-host"), [scene.dev.app_authority()]);
    assert_eq!(seen[0].values("x-forwarded-proto"), ["http"]);
    assert!(!text.contains("6.6.6.6") && !text.contains("javascript"), "{text}");
    let lines = [&["GET /x HTTP/1.1", "Host: {host}"][..], &fields].concat();
    let (response, seen) = scene.ask(&scene.head(&lines));
    let location = response.header("location").expect("the sign-in page").to_owned();
    assert!(seen.is_empty() && !location.contains("forged") && !location.contains("javascript"), "{location}");
    assert!(location.starts_with(&scene.dev.google("accounts.google.com/o/oauth2/v2/auth?client_id=")), "{location}");
    scene.assert_quiet();
}

#[test]
fn one_host_is_named_or_the_request_is_refused() {
    let scene = Scene::new();
    let bad = Because(400, "bad_host");
    #[rustfmt::skip]
    let cases: [(&str, &[&str], Expected); 17] = [
        ("/",               &["Host: {host}"],                     Forwarded),
        ("/",               &["Host: 127.0.0.1.:{port}"],          Forwarded),
        ("http://{host}/",  &["Host: {host}"],                     Forwarded),
        ("/",               &[],                                   bad),
        ("/",               &["Host: {host}", "Host: {host}"],     bad),
        ("/",               &["Host: {host}", "Host: other.test"], bad),
        ("/",               &["Host: other.test", "Host: {host}"], bad),
        ("/",               &["Host: {host}, {host}"],             bad),
        ("/",               &["Host: user@{host}"],                bad),
        ("/",               &["Host: {host}/path"],                bad),
        ("/",               &["Host: 127.0.0.1 :{port}"],          bad),
        ("/",               &["Host: 127.0.0.1:99999"],            bad),
        ("/",               &["Host: 127.0.0.1:"],                 bad),
        ("/",               &["Host: \u{e9}.test"],                bad),
        ("http://other.test/", &["Host: {host}"],                  bad),
        ("http://{host}/",  &["Host: other.test"],                 bad),
        ("/",               &["Host: other.test"],                 Refused(&[404, 421])),
    ];
    for (target, hosts, expected) in cases {
        let line = format!("GET {target} HTTP/1.1");
        let lines = [&[line.as_str()], hosts, &[GOOD]].concat();
        for request in scene.check(&format!("{target} {hosts:?}"), &scene.head(&lines), expected) {
            assert_eq!(request.target(), "/", "{hosts:?}");
            assert_eq!(request.values("host").len(), 1, "{hosts:?}");
        }
    }
    scene.assert_quiet();
}

#[test]
fn a_request_that_two_readers_would_cut_in_two_places_brings_no_second_one_to_the_application() {
    let scene = Scene::new();
    let hidden = "GET /smuggled HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {robot}\r\n\r\n";
    let length = scene.bytes(hidden).len();
    let chunked = format!("{:x}\r\n{hidden}\r\n0\r\n\r\n", length);
    let content = |value: &str| format!("Content-Length: {value}");
    let te = |value: &str| format!("Transfer-Encoding: {value}");
    let (exact, zero) = (content(&length.to_string()), content("0"));
    let end = format!("0\r\n\r\n{hidden}");
    // What the two ways of framing say, and the bytes that follow. `true`: it must be 400.
    #[rustfmt::skip]
    let cases: Vec<(&str, Vec<String>, String, bool)> = vec![
        ("CL.TE",                        vec![exact.clone(), te("chunked")],                   end.clone(), false),
        ("TE.CL",                        vec![te("chunked"), content("4")],                    chunked.clone(), false),
        ("TE.CL, zero",                  vec![te("chunked"), zero.clone()],                    chunked.clone(), false),
        ("two lengths",                  vec![zero.clone(), exact.clone()],                    hidden.into(), true),
        ("two lengths, other order",     vec![exact.clone(), zero.clone()],                    hidden.into(), true),
        ("list of lengths",              vec![content(&format!("0, {length}"))],               hidden.into(), true),
        ("length with a sign",           vec![content(&format!("+{length}"))],                 hidden.into(), true),
        ("negative length",              vec![content("-1")],                                  hidden.into(), true),
        ("length in hex",                vec![content("0x10")],                                hidden.into(), true),
        ("length with text",             vec![content("0 a")],                                 hidden.into(), true),
        ("empty length",                 vec![content("")],                                    hidden.into(), true),
        ("length too large",             vec![content("18446744073709551616")],                hidden.into(), true),
        ("length in underscores",        vec![format!("Content_Length: {length}"), zero.clone()], String::new(), false),
        ("unknown coding",               vec![te("xchunked")],                                 end.clone(), true),
        ("identity",                     vec![te("identity"), exact.clone()],                  hidden.into(), true),
        ("identity after chunked",       vec![te("chunked, identity")],                        end.clone(), true),
        ("identity before chunked",      vec![te("identity, chunked")],                        end.clone(), true),
        ("chunked twice",                vec![te("chunked, chunked")],                         end.clone(), true),
        ("chunked in two fields",        vec![te("chunked"), te("chunked")],                   end.clone(), true),
        ("chunked and another field",    vec![te("chunked"), te("cow")],                       end.clone(), true),
        ("another field and chunked",    vec![te("cow"), te("chunked")],                       end.clone(), true),
        ("gzip before chunked",          vec![te("gzip, chunked")],                            end.clone(), true),
        ("quoted coding",                vec![te("\"chunked\"")],                              end.clone(), true),
        ("coding with a parameter",      vec![te("chunked;q=1")],                              end.clone(), true),
        ("vertical tab",                 vec![te("\u{b}chunked"), exact.clone()],              hidden.into(), true),
        ("space before colon",           vec!["Transfer-Encoding : chunked".into(), exact.clone()], hidden.into(), true),
        ("folded coding",                vec!["Transfer-Encoding:\r\n chunked".into(), exact.clone()], hidden.into(), true),
        ("coding behind a bare CR",      vec!["X-A: b\rTransfer-Encoding: chunked".into(), exact.clone()], hidden.into(), true),
        ("chunk size with a sign",       vec![te("chunked")],                                  format!("+0\r\n\r\n{hidden}"), false),
        ("negative chunk size",          vec![te("chunked")],                                  format!("-1\r\n\r\n{hidden}"), false),
        ("chunk size with 0x",           vec![te("chunked")],                                  format!("0x0\r\n\r\n{hidden}"), false),
        ("chunk size too large",         vec![te("chunked")],                                  format!("fffffffffffffffff\r\n{hidden}"), false),
        ("chunk size with underscores",  vec![te("chunked")],                                  format!("0_0\r\n\r\n{hidden}"), false),
        ("no chunk size",                vec![te("chunked")],                                  format!("\r\n\r\n{hidden}"), false),
        ("chunk without its end",        vec![te("chunked")],                                  format!("1\r\nZZ0\r\n\r\n{hidden}"), false),
        ("chunk ended by LF",            vec![te("chunked")],                                  format!("0\n\n{hidden}"), false),
        ("chunk extension with LF",      vec![te("chunked")],                                  format!("1;a\nb\r\nZ\r\n0\r\n\r\n{hidden}"), false),
        ("chunk extension with CR",      vec![te("chunked")],                                  format!("1;a\rb\r\nZ\r\n0\r\n\r\n{hidden}"), false),
        ("chunk extension",              vec![te("chunked")],                                  format!("1;a=\"b\"\r\nZ\r\n0\r\n\r\n{hidden}"), false),
        ("request in the trailers",      vec![te("chunked")],                                  format!("0\r\n{hidden}"), false),
        ("all in the chunk",             vec![te("chunked")],                                  chunked.clone(), false),
        ("all in the length",            vec![exact.clone(), "Connection: close".into()],      hidden.into(), false),
    ];
    // What the application wrote down of each row. An upload that was cut off may be written down late, in the turn of a
    // later row: its target says whose it is.
    let mut written: Vec<usize> = vec![0; cases.len()];
    let mut write_down = |turn: usize, seen: Vec<Seen>| {
        for request in seen {
            let row = request.target().strip_prefix("/outer-").and_then(|row| row.parse::<usize>().ok());
            let row = row.filter(|row| *row <= turn && *row < cases.len());
            let row = row.unwrap_or_else(|| panic!("in turn {turn}: {}", request.text()));
            let (name, .., must_refuse) = &cases[row];
            assert!(row == turn || !request.complete, "{name} comes in turn {turn}: {}", request.text());
            written[row] += 1;
            assert!(written[row] <= usize::from(!must_refuse), "{name}: {}", request.text());
            let (codings, lengths) = (request.values("transfer-encoding"), request.values("content-length"));
            assert!(codings.len() + lengths.len() <= 1, "{name}: {}", request.text());
        }
    };
    for (turn, (name, fields, rest, must_refuse)) in cases.iter().enumerate() {
        let request_line = format!("POST /outer-{turn} HTTP/1.1");
        let mut lines = vec![request_line.as_str(), "Host: {host}", GOOD];
        lines.extend(fields.iter().map(String::as_str));
        let close = ["Connection: close"];
        if !rest.contains("smuggled") {
            lines.extend(close);
        }
        let (responses, seen) = scene.converse(&[scene.head(&lines), scene.bytes(rest)].concat());
        let statuses: Vec<u16> = responses.iter().map(|response| response.status).collect();
        assert!(statuses.len() <= 1, "{name}: {statuses:?}, {seen:?}");
        assert!(!must_refuse || statuses == [400], "{name}: {statuses:?}, {seen:?}");
        assert!(statuses.iter().all(|status| [200, 400, 502].contains(status)), "{name}: {statuses:?}");
        write_down(turn, seen);
    }
    // Nothing was forwarded behind our back: what is whole now is the sentinel.
    let (response, mut seen) = scene.ask(&scene.head(&["GET /sentinel HTTP/1.1", "Host: {host}", GOOD]));
    let sentinel = seen.pop_if(|request| request.target() == "/sentinel");
    assert!(response.status == 200 && sentinel.is_some(), "{} {seen:?}", response.status);
    write_down(cases.len(), seen);
}

#[test]
fn an_old_or_forbidden_kind_of_request_is_not_forwarded() {
    let scene = Scene::new();
    let long_method = format!("{} / HTTP/1.1", "A".repeat(33));
    #[rustfmt::skip]
    let cases: [(&[&str], &[u16]); 8] = [
        (&["POST / HTTP/1.0", "Host: {host}", GOOD, "Transfer-Encoding: chunked", "", "0"], &[400]),
        (&["GET / HTTP/0.9"], &[400]),
        (&["GET / HTTP/2.0", "Host: {host}", GOOD], &[400]),
        (&["GET / HTTP/1.1 ", "Host: {host}", GOOD], &[400]),
        (&["CONNECT {host} HTTP/1.1", "Host: {host}", GOOD], &[400]),
        (&["TRACE / HTTP/1.1", "Host: {host}", GOOD], &[400]),
        (&[&long_method, "Host: {host}", GOOD], &[400]),
        (&["PRI * HTTP/2.0", "", "SM"], &[400]),
    ];
    for (lines, expected) in cases {
        let (responses, seen) = scene.converse(&scene.head(&[lines, &["Connection: close"]].concat()));
        let statuses: Vec<u16> = responses.iter().map(|response| response.status).collect();
        assert_eq!(statuses, expected, "{lines:?}");
        assert_eq!(seen, [], "{lines:?}");
    }
    scene.assert_quiet();
}

#[test]
fn what_is_too_large_is_refused_and_others_are_served() {
    let scene = Scene::new();
    let many: Vec<String> = (0..1000).map(|number| format!("X-{number}: 1")).collect();
    let head = |extra: &[&str]| scene.head(&[&["GET / HTTP/1.1", "Host: {host}", GOOD], extra].concat());
    let (megabyte, token) = ("a".repeat(1 << 20), "a".repeat(20_000));
    #[rustfmt::skip]
    let cases = [
        ("a thousand fields", head(&many.iter().map(String::as_str).collect::<Vec<_>>()),                        &[400, 431][..]),
        ("a long field",      head(&[&format!("X-Long: {megabyte}")]),                                           &[400, 431]),
        ("a long name",       head(&[&format!("{megabyte}: a")]),                                                &[400, 431]),
        ("a long cookie",     head(&[&format!("Cookie: a={megabyte}")]),                                         &[400, 431]),
        ("a long target",     scene.head(&[&format!("GET /{megabyte} HTTP/1.1"), "Host: {host}", GOOD]),         &[400, 414, 431]),
        ("a long token",      scene.head(&["GET / HTTP/1.1", "Host: {host}", &format!("Authorization: Bearer {token}"), "Connection: close"]), &[401]),
    ];
    for (name, bytes, statuses) in cases {
        let mut connection = Connection::open(scene.dev.app_authority());
        connection.send(&bytes);
        let responses = connection.responses_until_close();
        match responses.first() {
            Some(response) => assert!(statuses.contains(&response.status), "{name}: {}", response.status),
            // A server that closes on a client that is still sending may lose its answer. A token is sent whole.
            None => assert_ne!(name, "a long token"),
        }
        assert_eq!(scene.upstream.take(), [], "{name}");
        scene.assert_quiet();
    }
}

#[test]
fn a_client_that_stops_half_way_takes_nothing_with_it() {
    let scene = Scene::new();
    for (name, bytes) in [
        ("in the request line", scene.bytes("GET /ha")),
        ("in the head", scene.bytes("GET /half HTTP/1.1\r\nHost: {host}\r\nAuthor")),
        (
            "in the body",
            [scene.head(&["POST /half HTTP/1.1", "Host: {host}", GOOD, "Content-Length: 100"]), b"half".into()]
                .concat(),
        ),
        (
            "in a chunk",
            [
                scene.head(&["POST /half HTTP/1.1", "Host: {host}", GOOD, "Transfer-Encoding: chunked"]),
                b"64\r\nhalf".into(),
            ]
            .concat(),
        ),
    ] {
        let mut connection = Connection::open(scene.dev.app_authority());
        connection.send(&bytes);
        drop(connection);
        let answer = Request::get(&scene.dev.app("/after")).bearer(&scene.robot).send();
        assert_eq!(answer.status, 200, "{name}");
        // The half request may arrive, and then as a half one.
        for request in scene.upstream.take() {
            assert!(request.target() == "/after" || !request.complete, "{name}: {request:?}");
        }
    }
}

#[test]
fn what_is_streamed_arrives_whole_and_in_order() {
    let scene = Scene::new();
    let body: Vec<u8> = (0..3_000_000_u32).map(|number| u8::try_from(number % 251).expect("below 251")).collect();
    let answer =
        Request::post(&scene.dev.app("/upload"), "application/octet-stream", &body).bearer(&scene.robot).send();
    assert_eq!((answer.status, answer.text().as_str()), (200, "seen"));
    let seen = scene.upstream.take();
    assert!(seen[0].body == body, "{} bytes of {}", seen[0].body.len(), body.len());
}
