//! Which application a request is for: hosts and paths in every spelling, and clients that applications share.

use super::*;

#[tokio::test]
async fn the_longest_prefix_decides_and_a_path_in_two_applications_is_in_none() {
    let (root, admin) = (Upstream::start().await, Upstream::start().await);
    let mut routes = application().routes;
    routes.truncate(1);
    routes[0].prefix = "/admin".parse().unwrap();
    let below = Application {
        name: "admin".parse().unwrap(),
        service_id: "778".into(),
        kind: ServiceKind::BackendService { region: None },
        routes,
        ..running_at(&[&admin.url])
    };
    let stage =
        Stage::new(running_at(&[&root.url]), [granting(&[ALICE]), Update::Application("778".to_owned(), Some(below))]);
    let denied = (403, Some("permission_denied"));
    let ambiguous = (400, Some("bad_path"));
    #[rustfmt::skip]
    let cases = [
        ("/",               (200, None), Some("777")),
        ("/administer",     (200, None), Some("777")),
        ("/admin",          denied,      Some("778")),
        ("/admin/x",        denied,      Some("778")),
        ("/x/../admin",     ambiguous,   None),
        ("/admin/../x",     ambiguous,   None),
        ("/%61dmin/x",      ambiguous,   None),
        ("//admin/x",       ambiguous,   None),
        ("/admin;x/y",      ambiguous,   None),
    ];
    for (path, expected, number) in cases {
        assert_eq!(stage.get(path, "").await.outcome(), expected, "{path}");
        let resource = number.map(|number| format!("projects/123/iap_web/compute/services/{number}"));
        let decision = stage.decision();
        assert_eq!(decision.resource, resource, "{path}");
        assert_eq!(decision.version, resource.map(|it| format!("{it}/versions/bs_0")), "{path}");
    }
    assert_eq!((root.seen().len(), admin.seen().len()), (2, 0));
}

#[tokio::test]
async fn a_host_is_one_in_every_spelling_and_no_other_name_is_it() {
    let upstream = Upstream::start().await;
    let mut it = running_at(&[&upstream.url]);
    let route = |host: &str| {
        let mut route = application().routes[0].clone();
        route.origin = Origin::new(Scheme::Http, &Host::parse(host).unwrap());
        route
    };
    it.routes = ["app.test", "app.test:8080", "xn--caf-dma.fr"].map(route).to_vec();
    let mut stage = Stage::new(it, []);
    const APP: &str = "request.host == 'app.test'";
    const CAFE: &str = "request.host == 'xn--caf-dma.fr'";
    type Case = (&'static str, &'static [u8], Result<&'static str, (u16, &'static str)>);
    let (unknown, malformed) = (Err((421, "no_such_resource")), Err((400, "bad_host")));
    // (target, fields) => the one condition that holds, or the refusal
    #[rustfmt::skip]
    let cases: [Case; 27] = [
        ("/",                       b"Host: app.test\r\n",                         Ok(APP)),
        ("/",                       b"Host: APP.Test\r\n",                         Ok(APP)),
        ("/",                       b"Host: app.test.\r\n",                        Ok(APP)),
        ("/",                       b"Host: aPP.tEST.\r\n",                        Ok(APP)),
        ("/",                       b"Host: app.test:8080\r\n",                    Ok(APP)),
        ("/",                       b"Host: APP.TEST.:8080\r\n",                   Ok(APP)),
        ("/",                       b"Host: xn--caf-dma.fr\r\n",                   Ok(CAFE)),
        ("/",                       b"Host: XN--CAF-DMA.FR.\r\n",                  Ok(CAFE)),
        ("http://app.test/",        b"Host: app.test\r\n",                         Ok(APP)),
        ("http://APP.test./",       b"Host: app.Test\r\n",                         Ok(APP)),
        ("https://app.test:8080/",  b"Host: app.test:8080\r\n",                    Ok(APP)),
        ("/",                       b"Host: app.test:81\r\n",                      unknown),
        ("/",                       b"Host: xapp.test\r\n",                        unknown),
        ("/",                       b"Host: app.test.evil.test\r\n",               unknown),
        ("/",                       b"Host: cafe.fr\r\n",                          unknown),
        // The same letters in another alphabet are another name.
        ("/",                       b"Host: xn--pp-7kc.test\r\n",                  unknown),
        ("/",                       b"Host: caf\xc3\xa9.fr\r\n",                   malformed),
        ("/",                       b"Host: app.test..\r\n",                       malformed),
        ("/",                       b"Host: .app.test\r\n",                        malformed),
        ("/",                       b"Host: app.test:0\r\n",                       malformed),
        ("/",                       b"Host: app.test:8080:1\r\n",                  malformed),
        ("/",                       b"Host: user@app.test\r\n",                    malformed),
        ("/",                       b"Host: app.test, evil.test\r\n",              malformed),
        ("/",                       b"Host: evil.test\r\nHost: app.test\r\n",      malformed),
        ("/",                       b"Host:\r\n",                                  malformed),
        ("/",                       b"",                                           malformed),
        ("http://evil.test/",       b"Host: app.test\r\n",                         malformed),
    ];
    for (target, fields, expected) in cases {
        for condition in [APP, CAFE] {
            let shown = format!("{target} {} {condition}", String::from_utf8_lossy(fields));
            let line = format!("GET {target} HTTP/1.1\r\n");
            let head = [line.as_bytes(), fields, stage.alice().as_bytes(), b"\r\n"].concat();
            stage.change([policy(vec![binding(&[ALICE], Some(condition))]), deny(vec![])]);
            let granted = stage.send(&head).await;
            stage.change([granting(&[ALICE]), deny(vec![rule(&[ALICE], Some(condition))])]);
            let denied = stage.send(&head).await;
            let outcomes = match expected {
                Err((status, reason)) => [(status, Some(reason)), (status, Some(reason))],
                Ok(holding) if holding == condition => [(200, None), (403, Some("denied_by_rule"))],
                Ok(_) => [(403, Some("permission_denied")), (200, None)],
            };
            assert_eq!([granted.outcome(), denied.outcome()], outcomes, "{shown}");
        }
    }
}

#[tokio::test]
async fn no_spelling_of_a_path_leads_from_one_application_into_another() {
    let (app, second) = (Upstream::start().await, Upstream::start().await);
    let at = |number: &str, name: &str, prefix: &str, url: &str| {
        let mut routes = application().routes;
        routes.truncate(1);
        routes[0].prefix = prefix.parse().unwrap();
        let it =
            Application { name: name.parse().unwrap(), service_id: number.to_owned(), routes, ..running_at(&[url]) };
        Update::Application(number.to_owned(), Some(it))
    };
    // Alice may enter `/app`, and nobody `/app2`.
    let world = TestWorld::new(&[]).changed([
        at("777", "app", "/app", &app.url),
        at("779", "second", "/app2", &second.url),
        granting(&[ALICE]),
    ]);
    let stage = Stage::of(world);
    let (own, other) = ((200, None), (403, Some("permission_denied")));
    let (nothing, refused) = ((421, Some("no_such_resource")), (400, Some("bad_path")));
    #[rustfmt::skip]
    let cases = [
        ("/app",                    own),
        ("/app?x=/app2",            own),
        ("/app/",                   own),
        ("/app/app2",               own),
        ("/app/./x",                own),
        ("/app/x/../y",             own),
        ("/app/x;p=1/y",            own),
        ("/app//x",                 own),
        ("/app/%61pp2",             own),
        ("/app2",                   other),
        ("/app2/x",                 other),
        ("/",                       nothing),
        ("/apple",                  nothing),
        ("/app2x",                  nothing),
        ("/APP",                    nothing),
        ("/app;p",                  nothing),
        ("//app",                   nothing),
        ("/./app",                  nothing),
        ("/x/../app",               nothing),
        ("/%61pp",                  nothing),
        ("/app.",                   nothing),
        ("/app/../other",           refused),
        ("/app/../app2",            refused),
        ("/app/../app2/../app",     own),
        ("/app/x/../../app2",       refused),
        ("/app/..",                 refused),
        ("/app//../../app2",        refused),
        ("/app/;p/../../app2",      refused),
        ("/app/..;/app2",           refused),
        ("/app/%2e%2e/app2",        refused),
        ("/app/.%2E/app2",          refused),
        ("/app/%2e%2e%2fapp2",      refused),
        ("/app/..%2fapp2",          refused),
        ("/app%2f..%2fapp2",        refused),
        ("/app/..%5capp2",          refused),
        ("/app/..\\app2",           refused),
        ("/app/%252e%252e/app2",    refused),
        ("/app/%c0%ae%c0%ae/app2",  refused),
        ("/app/..%00/app2",         refused),
    ];
    for (path, expected) in cases {
        assert_eq!(stage.get(path, "").await.outcome(), expected, "{path}");
        let line = format!("GET {path} HTTP/1.1\r\n");
        let seen = app.seen();
        assert_eq!(seen.len(), usize::from(expected == own), "{path}");
        assert!(seen.iter().all(|head| head.starts_with(&line)), "{path}: {seen:?}");
        assert!(second.seen().is_empty(), "{path}");
    }
}

#[tokio::test]
async fn a_token_for_a_client_is_good_at_each_application_of_that_client_where_policies_admit() {
    let upstream = Upstream::start().await;
    let served = |number: &str, host: &str, client: &str| {
        let mut it = running_at(&[&upstream.url]);
        it.routes.truncate(1);
        it.routes[0].origin = Origin::new(Scheme::Http, &Host::parse(host).unwrap());
        let name = host.split('.').next().unwrap().parse().unwrap();
        let it = Application { name, service_id: number.to_owned(), client_id: ClientId(client.into()), ..it };
        Update::Application(number.to_owned(), Some(it))
    };
    let on = |number: &str, members: &[&str]| {
        let service = Resource::WebService(application().service_type(), number.to_owned());
        Update::Policy(service, Policy { bindings: vec![binding(members, None)], etag: Etag(1) })
    };
    let stage = Stage::of(TestWorld::new(&[]).changed([
        served("777", "app.test", CLIENT_ID),
        served("780", "wiki.test", CLIENT_ID),
        served("781", "blog.test", CLIENT_ID),
        served("782", "shop.test", "another-client"),
        on("777", &[ALICE]),
        on("780", &[ALICE]),
        on("781", &["user:bob@example.com"]),
        on("782", &[ALICE]),
    ]));
    #[rustfmt::skip]
    let cases = [
        ("app.test",  (200, None)),
        ("wiki.test", (200, None)),
        ("blog.test", (403, Some("permission_denied"))),
        ("shop.test", (401, Some("wrong_audience"))),
    ];
    // Twice: what was remembered of a token is of one application.
    for (host, expected) in cases.into_iter().chain(cases) {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n{}\r\n", stage.alice());
        assert_eq!(stage.send(request.as_bytes()).await.outcome(), expected, "{host}");
    }
    let audiences: Vec<Value> = upstream.seen().iter().map(|head| assertion(&stage, head)["aud"].clone()).collect();
    let of = |number: u32| json!(format!("/projects/123/global/backendServices/{number}"));
    assert_eq!(audiences, [of(777), of(780), of(777), of(780)]);
}
