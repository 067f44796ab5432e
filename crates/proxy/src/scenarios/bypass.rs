//! Requests that try to get round a condition: by another spelling, by too much work, by what nobody knows.

use super::*;
use crate::record::FromIntermediary;

/// Alice's binding under a condition.
fn allowing(expression: &str) -> Update {
    policy(vec![binding(&[ALICE], Some(expression))])
}

#[tokio::test]
async fn no_spelling_of_a_path_gets_round_a_condition() {
    let upstream = Upstream::start().await;
    let mut stage = Stage::new(running_at(&[&upstream.url]), []);
    let (ok, denied, bad) = ((200, None), (403, Some("permission_denied")), (400, Some("bad_path")));
    let by_rule = (403, Some("denied_by_rule"));
    // What is allowed below a path; what is allowed elsewhere than below it; and what a rule denies below it.
    const PUBLIC: &str = "request.path.startsWith('/public/')";
    const NOT_ADMIN: &str = "!request.path.startsWith('/admin')";
    const ADMIN: &str = "request.path.startsWith('/admin')";
    #[rustfmt::skip]
    let cases = [
        // path                     allowed, allowed elsewhere, denied
        ("/public/x",               [ok,     ok,     ok]),
        ("/public/x/../y",          [ok,     ok,     ok]),
        ("/public//x",              [ok,     ok,     ok]),
        ("/public/caf%C3%A9",       [ok,     ok,     ok]),
        ("/%70ublic/x",             [denied, ok,     ok]),
        ("//public/x",              [denied, ok,     ok]),
        ("/admin",                  [denied, denied, by_rule]),
        ("//admin",                 [denied, denied, by_rule]),
        ("///admin",                [denied, denied, by_rule]),
        ("/%61dmin",                [denied, denied, by_rule]),
        ("/%61%64%6D%69%6e/x",      [denied, denied, by_rule]),
        ("/public/../admin",        [denied, denied, by_rule]),
        ("/public/..//admin",       [denied, denied, by_rule]),
        ("/;x/admin",               [denied, denied, by_rule]),
        ("/%3Bx/admin",             [denied, denied, by_rule]),
        ("/public//../admin",       [bad,    bad,    bad]),
        ("/public///.././admin",    [bad,    bad,    bad]),
        ("/x//../admin",            [bad,    bad,    bad]),
        ("/public/;x/../admin",     [bad,    bad,    bad]),
    ];
    let worlds = [
        [allowing(PUBLIC), deny(vec![])],
        [allowing(NOT_ADMIN), deny(vec![])],
        [granting(&[ALICE]), deny(vec![rule(&[ALICE], Some(ADMIN))])],
    ];
    for (nth, world) in worlds.into_iter().enumerate() {
        stage.change(world);
        for (path, expected) in cases {
            assert_eq!(stage.get(path, "").await.outcome(), expected[nth], "{nth}: {path}");
            let seen: Vec<String> = upstream.seen();
            assert_eq!(seen.len(), usize::from(expected[nth] == ok), "{nth}: {path}");
            // What passes goes on byte for byte.
            assert!(seen.iter().all(|head| head.starts_with(&format!("GET {path} HTTP/1.1\r\n"))), "{seen:?}");
        }
    }
}

#[tokio::test]
async fn a_path_that_two_readers_take_for_two_applications_is_in_none() {
    let (root, public) = (Upstream::start().await, Upstream::start().await);
    let mut routes = application().routes;
    routes.truncate(1);
    routes[0].prefix = "/pub".parse().unwrap();
    let below = Application {
        name: "public".parse().unwrap(),
        service_id: "778".into(),
        kind: ServiceKind::BackendService { region: None },
        routes,
        ..running_at(&[&public.url])
    };
    let stage =
        Stage::new(running_at(&[&root.url]), [granting(&[ALICE]), Update::Application("778".to_owned(), Some(below))]);
    for path in ["/pub/../adm", "/pub//../adm", "/pub/;/../adm", "/x//../pub"] {
        assert_eq!(stage.get(path, "").await.outcome(), (400, Some("bad_path")), "{path}");
    }
    assert_eq!((root.seen().len(), public.seen().len()), (0, 0));
}

#[tokio::test]
async fn a_method_is_spelled_in_one_way_only() {
    let upstream = Upstream::start().await;
    let stage = Stage::new(running_at(&[&upstream.url]), [allowing("!(request.method in ['POST', 'DELETE'])")]);
    #[rustfmt::skip]
    let cases = [
        ("GET", 200), ("PROPFIND", 200), ("M-SEARCH", 200), ("POST", 403), ("DELETE", 403),
        ("post", 400), ("Post", 400), ("POSt", 400), ("delete", 400), ("get", 400),
    ];
    for (method, status) in cases {
        let head = format!("{method} / HTTP/1.1\r\nHost: app.test\r\n{}\r\n", stage.alice());
        assert_eq!(stage.send(head.as_bytes()).await.status(), status, "{method}");
        assert_eq!(stage.decision().method, method);
    }
    assert_eq!(upstream.seen().len(), 3);
}

#[tokio::test]
async fn conditions_that_take_too_much_work_together_let_nobody_in() {
    const HEAVY: &str = "request.path.split('').all(a, request.path.split('').all(b, a + b != request.host + 'x'))";
    const SPENT: &str = "the conditions take too much work: what was left of them is not known";
    let upstream = Upstream::start().await;
    let heavy = || (0..400).map(|n| binding(&[ALICE], Some(&format!("{HEAVY} && {n} < 0"))));
    let last = binding(&[ALICE], Some("request.path.startsWith('/')"));
    let rules = |heavy: usize| {
        let heavy = (0..heavy).map(|n| rule(&[ALICE], Some(&format!("{HEAVY} && {n} < 0"))));
        deny(heavy.chain([rule(&[ALICE], Some("request.path == '/nothing'"))]).collect())
    };
    let path = format!("/{}", "p".repeat(60));
    // An allow policy: the last condition would let Alice in.
    let mut stage = Stage::new(running_at(&[&upstream.url]), [policy(vec![last.clone()])]);
    assert_eq!(stage.get(&path, "").await.status(), 200);
    assert_eq!(stage.decision().note, None);
    stage.change([policy(heavy().chain([last.clone()]).collect())]);
    assert_eq!(stage.get(&path, "").await.outcome(), (403, Some("permission_denied")));
    assert_eq!(stage.decision().note.as_deref(), Some(SPENT));
    // A deny policy: no condition of it holds.
    stage.change([granting(&[ALICE]), rules(0)]);
    assert_eq!(stage.get(&path, "").await.status(), 200);
    stage.change([rules(400)]);
    assert_eq!(stage.get(&path, "").await.outcome(), (403, Some("denied_by_rule")));
    assert_eq!(stage.decision().note.as_deref(), Some(SPENT));
    // A filter of attributes, after levels that took all: nothing is told, and the request goes on.
    let level = |n: usize| {
        let name: AccessLevelName = format!("accessPolicies/123/accessLevels/l{n}").parse().unwrap();
        let letters = format!("'{}'.split('')", "a".repeat(40));
        let heavy = format!("{letters}.all(a, {letters}.all(b, (a + b + request.auth.principal).split('') != []))");
        AccessLevel::new(name, "t".into(), String::new(), Definition::Expression(heavy)).unwrap()
    };
    let levels = AccessLevels::new((0..50).map(level).collect()).unwrap();
    let told = propagating("attributes.iap_attributes.filter(x, x.name == 'user_email')", &[PropagationOutput::Header]);
    stage.change([deny(vec![]), settings(told)]);
    assert_eq!(stage.get("/", "").await.status(), 200);
    let mail = "x-goog-iap-attr-user_email";
    assert_eq!(header(&upstream.seen().pop().unwrap(), mail), Some("alice@example.com"));
    stage.change([Update::AccessLevels(Arc::new(levels))]);
    assert_eq!(stage.get("/", "").await.status(), 200);
    assert_eq!(header(&upstream.seen().pop().unwrap(), mail), None);
    let note = stage.decision().note.unwrap();
    assert!(note.starts_with(SPENT) && note.contains("nothing of the caller was propagated"), "{note}");
}

#[tokio::test]
async fn a_level_that_cannot_be_evaluated_keeps_out_whoever_it_would_keep_out() {
    let upstream = Upstream::start().await;
    const RISKY: &str = "'accessPolicies/123/accessLevels/risky' in request.auth.access_levels";
    let name: AccessLevelName = "accessPolicies/123/accessLevels/risky".parse().unwrap();
    let definition = Definition::Expression("request.auth.claims.risk == 'high'".to_owned());
    let level = AccessLevel::new(name, "risky".to_owned(), String::new(), definition).unwrap();
    let levels = || Update::AccessLevels(Arc::new(AccessLevels::new(vec![level.clone()]).unwrap()));
    let mut stage = Stage::new(running_at(&[&upstream.url]), [granting(&[ALICE]), levels()]);
    // Alice's token says nothing of a risk.
    assert_eq!(stage.get("/", "").await.status(), 200);
    stage.change([deny(vec![rule(&[ALICE], Some(RISKY))])]);
    assert_eq!(stage.get("/", "").await.outcome(), (403, Some("denied_by_rule")));
    stage.change([deny(vec![]), allowing(&format!("!({RISKY})"))]);
    assert_eq!(stage.get("/", "").await.outcome(), (403, Some("permission_denied")));
    stage.change([allowing(&format!("{RISKY} || request.path == '/'"))]);
    assert_eq!(stage.get("/", "").await.status(), 200);
}

#[tokio::test]
async fn the_address_of_somebody_before_us_is_nobody_s_in_a_condition() {
    const NEAR: &str = "inIpRange(source.ip, '192.0.2.0/24')";
    const FAR: &str = "!inIpRange(source.ip, '192.0.2.0/24')";
    let upstream = Upstream::start().await;
    let mut stage = Stage::new(running_at(&[&upstream.url]), []);
    // (allow, deny) => the status from a client, and over somebody before us
    #[rustfmt::skip]
    let cases = [
        (allowing(NEAR),      vec![],                           (200, 403)),
        (allowing(FAR),       vec![],                           (403, 403)),
        (granting(&[ALICE]),  vec![],                           (200, 200)),
        (granting(&[ALICE]),  vec![rule(&[ALICE], Some(NEAR))], (403, 403)),
        (granting(&[ALICE]),  vec![rule(&[ALICE], Some(FAR))],  (200, 403)),
    ];
    for (nth, (allow, rules, expected)) in cases.into_iter().enumerate() {
        stage.change([allow, deny(rules)]);
        let head = format!("GET / HTTP/1.1\r\nHost: app.test\r\n{}\r\n", stage.alice());
        let direct = stage.send(head.as_bytes()).await.status();
        let through = stage.send_with(head.as_bytes(), |request| {
            request.extensions_mut().insert(FromIntermediary);
        });
        assert_eq!((direct, through.await.status()), expected, "case {nth}");
        assert_eq!(stage.decision().client, "192.0.2.7", "the peer is recorded");
    }
}

#[tokio::test]
async fn nothing_is_sent_to_a_metadata_server_and_no_field_is_a_variable_of_a_program() {
    let upstream = Upstream::start().await;
    for url in ["http://169.254.169.254", "http://metadata.google.internal", "http://[fd00:ec2::254]"] {
        // As an older version stored it.
        let stage = Stage::new(running_at(&[url]), [granting(&[ALICE])]);
        assert_eq!(stage.get("/", "").await.outcome(), (502, Some("upstream_failed")), "{url}");
    }
    let stage = Stage::new(running_at(&[&upstream.url]), [granting(&[ALICE])]);
    assert_eq!(stage.get("/", "Proxy: http://evil.test\r\nPROXY: evil\r\nX-Proxy: mine\r\n").await.status(), 200);
    let seen = upstream.seen().pop().unwrap();
    assert!(!seen.contains("evil") && header(&seen, "x-proxy") == Some("mine"), "{seen}");
}
