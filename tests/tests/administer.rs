//! Applications, policies, settings, groups, access levels, roles and deny policies by the command line, and what the next request
//! sees of each.

use std::fs;

use doorward_tests::{Dev, Finished, Request, Response, Upstream, run};
use serde_json::{Value, json};

const WIKI: &str = "wiki.test";

/// A service account of the description, as a policy names it.
fn member(dev: &Dev, account: &str) -> String {
    format!("serviceAccount:{}", dev.text(&format!("/service_accounts/{account}/email")))
}

/// Asks an application of the same listener by its host.
fn ask(dev: &Dev, host: &str, path: &str, token: &str) -> Response {
    Request::get(&dev.app(path)).header("Host", host).bearer(token).send()
}

/// How a request of the stranger to the application ends.
fn stranger(dev: &Dev, path: &str, token: &str) -> (u16, Option<String>) {
    let response = Request::get(&dev.app(path)).bearer(token).send();
    (response.status, response.reason().map(str::to_owned))
}

fn refused(reason: &str) -> (u16, Option<String>) {
    (403, Some(reason.to_owned()))
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("{pointer} in {value}"))
}

#[test]
fn an_application_is_registered_entered_changed_and_taken_away() {
    let dev = Dev::start(&[]);
    let (first, second) = (Upstream::start(), Upstream::start());
    let created = dev.printed(&["app", "create", "wiki", "--host", &format!("http://{WIKI}"), "--to", first.url()]);
    let number = text(&created, "/id");
    let project = dev.text("/project/number");
    assert_eq!(text(&created, "/resource"), format!("projects/{project}/iap_web/compute/services/{number}"));
    assert_eq!(text(&created, "/assertionAudience"), format!("/projects/{project}/global/backendServices/{number}"));
    assert_eq!(dev.printed(&["app", "describe", "wiki"]), created);
    let listed = dev.printed(&["app", "list"]);
    assert!(listed["applications"].as_array().expect("applications").contains(&created), "{listed}");
    // The same thing as gcloud sees it.
    let id = dev.text("/project/id");
    let service = format!("compute.googleapis.com/compute/v1/projects/{id}/global/backendServices/wiki");
    let service = dev.admin("GET", &service, None).send().expect(200).json();
    assert_eq!((text(&service, "/id"), &service["iap"]["enabled"]), (number, &json!(true)));
    assert_eq!(service["iap"]["oauth2ClientId"], created["clientId"]);

    let token = dev.account("robot").id_token(text(&created, "/clientId"));
    let enters = || ask(&dev, WIKI, "/x", &token);
    assert_eq!(enters().expect(403).reason(), Some("permission_denied"));
    dev.ran(&["policy", "add", "--app", "wiki", "--member", &member(&dev, "robot")]);
    enters().expect(200);
    assert_eq!(first.take().len(), 1);
    dev.ran(&["app", "update", "wiki", "--to", second.url(), "--description", "The wiki"]);
    enters().expect(200);
    assert_eq!((first.take().len(), second.take().len()), (0, 1));
    dev.ran(&["app", "disable", "wiki"]);
    assert_eq!(enters().expect(503).reason(), Some("iap_disabled"));
    dev.ran(&["app", "enable", "wiki"]);
    enters().expect(200);
    dev.ran(&["app", "delete", "wiki"]);
    assert_eq!(enters().expect(421).reason(), Some("no_such_resource"));
    assert!(dev.refused(&["app", "describe", "wiki"]).contains("`doorward app list` shows the applications"));
    // What stood on it went along.
    let again = dev.printed(&["app", "create", "wiki", "--host", WIKI, "--to", first.url(), "--id", number]);
    assert_eq!(text(&again, "/id"), number);
    assert_eq!(dev.printed(&["policy", "get", "--app", "wiki"]).get("bindings"), None);
}

#[test]
fn enabling_iap_without_a_client_makes_one_whose_id_is_an_accepted_audience() {
    let (dev, upstream) = (Dev::start(&[]), Upstream::start());
    let services =
        format!("compute.googleapis.com/compute/v1/projects/{}/global/backendServices", dev.text("/project/id"));
    let (wiki, place) =
        (format!("{services}/wiki"), json!({"hosts": [format!("http://{WIKI}")], "upstreams": [upstream.url()]}));
    // As gcloud sends it: --iap=enabled, and empty where no client is named.
    let iap = |enabled: bool| json!({"enabled": enabled, "oauth2ClientId": "", "oauth2ClientSecret": ""});
    let off = json!({"name": "wiki", "iap": iap(false), "doorward": place});
    dev.admin("POST", &services, Some(&off)).send().expect(200);
    dev.ran(&["policy", "add", "--app", "wiki", "--member", &member(&dev, "robot")]);
    dev.admin("PATCH", &wiki, Some(&json!({"iap": iap(true)}))).send().expect(200);
    let shown = dev.admin("GET", &wiki, None).send().expect(200).json();
    let client = text(&shown, "/iap/oauth2ClientId");
    assert!(client.ends_with(".apps.googleusercontent.com"), "{shown}");
    assert_ne!(client, dev.text("/app/client_id"));
    let ask_for = |audience: &str| ask(&dev, WIKI, "/", &dev.account("robot").id_token(audience));
    ask_for(client).expect(200);
    assert_eq!(ask_for(dev.text("/app/client_id")).expect(401).reason(), Some("wrong_audience"));
}

#[test]
fn the_names_of_an_application_follow_from_its_kind() {
    let dev = Dev::start(&[]);
    let project = dev.text("/project/number");
    // (options) => the resource, the audience of the signed header; NUMBER is the application's.
    #[rustfmt::skip]
    let cases: [(&[&str], &str, &str); 4] = [
        (&[],                                                                       "compute/services/NUMBER",              "global/backendServices/NUMBER"),
        (&["--region", "europe-west1"],                                             "compute-europe-west1/services/NUMBER", "europe-west1/backendServices/NUMBER"),
        (&["--kind", "app-engine", "--service", "shop", "--service-version", "v1"], "appengine-ID/services/shop",           "apps/ID"),
        (&["--kind", "cloud-run", "--region", "europe-west1"],                      "cloud_run-europe-west1/services/name", "locations/europe-west1/services/name"),
    ];
    for (place, (options, resource, audience)) in cases.into_iter().enumerate() {
        let host = format!("kind{place}.test");
        let create = [&["app", "create", "name", "--host", &host, "--to", "http://127.0.0.1:9"], options].concat();
        let created = dev.printed(&create);
        let number = created["id"].as_str().unwrap_or_default();
        let of = |template: &str| template.replace("NUMBER", number).replace("ID", dev.text("/project/id"));
        assert_eq!(text(&created, "/resource"), format!("projects/{project}/iap_web/{}", of(resource)), "{options:?}");
        assert_eq!(
            text(&created, "/assertionAudience"),
            format!("/projects/{project}/{}", of(audience)),
            "{options:?}"
        );
        dev.ran(&["app", "delete", "name"]);
    }
}

#[test]
fn a_policy_lets_in_from_every_place_above_an_application_and_no_longer_when_it_is_taken_back() {
    let dev = Dev::start(&[]);
    let (member, token) = (member(&dev, "stranger"), dev.id_token("stranger"));
    let app = dev.text("/app/resource").to_owned();
    let explained = dev.printed(&["explain", "GET", &dev.app("/")]);
    let ancestors = explained["resource"]["ancestors"].as_array().expect("ancestors").clone();
    let mut places: Vec<Vec<String>> =
        ["--app app", "--web", "--project"].iter().map(|place| place.split(' ').map(str::to_owned).collect()).collect();
    places.push(vec!["--resource".to_owned(), app]);
    let names = ancestors.iter().map(|it| it.as_str().expect("a name").to_owned());
    places.extend(names.map(|name| vec!["--resource".to_owned(), name]));
    assert!(places.iter().any(|place| place[1..].iter().any(|it| it.starts_with("organizations/"))), "{places:?}");
    for place in places {
        let line = |verb: &'static str| {
            let place = place.iter().map(String::as_str);
            ["policy", verb].into_iter().chain(place).chain(["--member", &member]).collect::<Vec<&str>>()
        };
        assert_eq!(stranger(&dev, "/", &token), refused("permission_denied"), "{place:?}");
        dev.ran(&line("add"));
        assert_eq!(stranger(&dev, "/", &token).0, 200, "{place:?}");
        dev.ran(&line("remove"));
        assert_eq!(stranger(&dev, "/", &token), refused("permission_denied"), "{place:?}");
    }
}

#[test]
fn a_condition_lets_in_where_it_holds_and_is_named_when_it_is_taken_back() {
    let dev = Dev::start(&[]);
    let (member, token) = (member(&dev, "stranger"), dev.id_token("stranger"));
    let condition = r#"expression=request.path.startsWith("/open"),title=Open"#;
    dev.ran(&["policy", "add", "--app", "app", "--member", &member, "--condition", condition]);
    let cases = [("/open", 200), ("/open/x", 200), ("/", 403), ("/closed", 403), ("/open/../closed", 403)];
    for (path, status) in cases {
        assert_eq!(stranger(&dev, path, &token).0, status, "{path}");
    }
    assert!(dev.ran(&["policy", "show", "--app", "app"]).contains(r#"request.path.startsWith("/open") (Open)"#));
    let other = dev.refused(&["policy", "remove", "--app", "app", "--member", &member]);
    assert!(other.contains("`doorward policy show --app app` shows its bindings"), "{other}");
    dev.ran(&["policy", "remove", "--app", "app", "--member", &member, "--condition", condition]);
    assert_eq!(stranger(&dev, "/open", &token), refused("permission_denied"));
}

#[test]
fn a_whole_policy_is_replaced_by_whoever_read_it_last() {
    let dev = Dev::start(&[]);
    let (member, token) = (member(&dev, "stranger"), dev.id_token("stranger"));
    let file = dev.dir().join("policy.json");
    let path = file.to_str().expect("text");
    let mut policy = dev.printed(&["policy", "show", "--app", "app"]);
    policy["bindings"][0]["members"].as_array_mut().expect("members").push(member.as_str().into());
    fs::write(&file, policy.to_string()).expect("the file is written");
    dev.ran(&["policy", "set", "--app", "app", "-f", path]);
    assert_eq!(stranger(&dev, "/", &token).0, 200);
    let stale = dev.refused(&["policy", "set", "--app", "app", "-f", path]);
    assert!(stale.contains("ABORTED"), "{stale}");
    let held = dev.ran(&[
        "policy",
        "test",
        "--app",
        "app",
        "--permission",
        "iap.webServices.setIamPolicy",
        "--permission",
        "iap.webServiceVersions.accessViaIAP",
    ]);
    assert_eq!(held, "iap.webServices.setIamPolicy\n", "the operator administers, and enters nothing");
}

#[test]
fn a_setting_works_from_the_next_request_on() {
    let dev = Dev::start(&[]);
    let token = dev.id_token("stranger");
    let browser = || Request::get(&dev.app("/")).bearer(&token).header("Accept", "text/html").send();
    browser().expect(403);
    let uri = "application_settings.access_denied_page_settings.access_denied_page_uri";
    let page = "https://help.example.com/denied";
    dev.ran(&["settings", "set", "--web", "--set", &format!("{uri}={page}")]);
    assert_eq!(browser().expect(302).header("location"), Some(page));
    let set = dev.printed(&["settings", "get", "--web"]);
    assert_eq!(text(&set, "/applicationSettings/accessDeniedPageSettings/accessDeniedPageUri"), page);
    dev.ran(&["settings", "set", "--web", "--unset", uri]);
    browser().expect(403);
}

#[test]
fn a_group_lets_in_who_is_in_it_and_in_the_groups_in_it() {
    let dev = Dev::start(&[]);
    let (member, token) = (member(&dev, "stranger"), dev.id_token("stranger"));
    let enters = || stranger(&dev, "/", &token).0;
    dev.ran(&["group", "create", "inner@example.com", "--member", &member]);
    dev.ran(&["group", "create", "staff@example.com", "--display-name", "The staff"]);
    dev.ran(&["policy", "add", "--app", "app", "--member", "group:staff@example.com"]);
    assert_eq!(enters(), 403);
    dev.ran(&["group", "add", "staff@example.com", "--member", "group:inner@example.com"]);
    assert_eq!(enters(), 200);
    let shown = dev.printed(&["group", "describe", "staff@example.com"]);
    assert_eq!(shown["members"], json!(["group:inner@example.com"]));
    dev.ran(&["group", "remove", "staff@example.com", "--member", "group:inner@example.com"]);
    assert_eq!(enters(), 403);
    dev.ran(&["group", "add", "staff@example.com", "--member", &member]);
    assert_eq!(enters(), 200);
    dev.ran(&["group", "delete", "staff@example.com"]);
    assert_eq!(enters(), 403);
    // A new group of its address is let in nowhere by what was given to the old one.
    dev.ran(&["group", "create", "staff@example.com", "--member", &member]);
    assert_eq!(enters(), 403);
}

#[test]
fn an_access_level_counts_while_it_is_met() {
    let dev = Dev::start(&[]);
    let (member, token) = (member(&dev, "stranger"), dev.id_token("stranger"));
    let enters = || stranger(&dev, "/", &token).0;
    let created = dev.printed(&["access-level", "create", "office", "--ip-subnetwork", "127.0.0.0/8"]);
    let condition = format!("expression='{}' in request.auth.access_levels,title=Office", text(&created, "/name"));
    dev.ran(&["policy", "add", "--app", "app", "--member", &member, "--condition", &condition]);
    assert_eq!(enters(), 200);
    dev.ran(&["access-level", "update", "office", "--ip-subnetwork", "192.0.2.0/24"]);
    assert_eq!(enters(), 403);
    dev.ran(&["access-level", "update", "office", "--expression", "source.ip == '127.0.0.1'"]);
    assert_eq!(enters(), 200);
    dev.ran(&["access-level", "delete", "office"]);
    assert_eq!(enters(), 403);
}

#[test]
fn a_role_of_our_own_gives_what_it_has_at_the_time() {
    let dev = Dev::start(&[]);
    let (member, token) = (member(&dev, "stranger"), dev.id_token("stranger"));
    let enters = || stranger(&dev, "/", &token).0;
    let access = "iap.webServiceVersions.accessViaIAP";
    let created = dev.printed(&["role", "create", "wikiDoor", "--permission", access]);
    dev.ran(&["policy", "add", "--app", "app", "--member", &member, "--role", text(&created, "/name")]);
    assert_eq!(enters(), 200);
    dev.ran(&["role", "update", "wikiDoor", "--remove-permission", access]);
    assert_eq!(enters(), 403);
    dev.ran(&["role", "update", "wikiDoor", "--add-permission", access]);
    assert_eq!(enters(), 200);
    dev.ran(&["role", "delete", "wikiDoor"]);
    assert_eq!(enters(), 403);
    dev.ran(&["role", "undelete", "wikiDoor"]);
    assert_eq!(enters(), 200);
}

#[test]
fn a_deny_policy_keeps_out_whom_another_policy_lets_in() {
    let dev = Dev::start(&[]);
    let (member, token) = (member(&dev, "robot"), dev.id_token("robot"));
    let enters = || stranger(&dev, "/", &token);
    assert_eq!(enters().0, 200);
    dev.ran(&["deny", "create", "nobody", "--principal", "principalSet://goog/public:all"]);
    assert_eq!(enters(), refused("denied_by_rule"));
    let exception = ["--principal", "principalSet://goog/public:all", "--exception-principal", &member];
    dev.ran(&[&["deny", "update", "nobody"][..], &exception].concat());
    assert_eq!(enters().0, 200);
    let condition = r#"expression=request.path == "/admin",title=Admin"#;
    dev.ran(&["deny", "update", "nobody", "--principal", &member, "--condition", condition]);
    assert_eq!((enters().0, stranger(&dev, "/admin", &token)), (200, refused("denied_by_rule")));
    dev.ran(&["deny", "delete", "nobody"]);
    assert_eq!(stranger(&dev, "/admin", &token).0, 200);
}

#[test]
fn a_line_that_is_wrong_says_what_to_do_and_changes_nothing() {
    let dev = Dev::start(&[]);
    dev.ran(&["group", "create", "staff@example.com"]);
    dev.ran(&["access-level", "create", "office", "--ip-subnetwork", "127.0.0.0/8"]);
    dev.ran(&["deny", "create", "no-bob", "--principal", "user:bob@example.com"]);
    let before = dev.ran(&["export"]);
    let bob = "user:bob@example.com";
    let condition = |expression: &str| format!("expression={expression},title=t");
    let (unknown, broken, fine) = (condition("request.pth == '/'"), condition("request.path == "), condition("true"));
    // (line) => a word of what is wrong, and a word of what to do.
    #[rustfmt::skip]
    let cases: [(&[&str], &str, &str); 27] = [
        (&["app", "create", "app", "--host", "x.test", "--to", "http://127.0.0.1:9"],   "already exists",      "`doorward app list`"),
        (&["app", "create", "App", "--host", "x.test", "--to", "http://127.0.0.1:9"],   "a name has 1 to 63",  "begins with a letter"),
        (&["app", "create", "x", "--host", "a b", "--to", "http://127.0.0.1:9"],        "is no host",          "write wiki.example.com"),
        (&["app", "create", "x", "--host", "x.test", "--to", "ftp://127.0.0.1:9"],      "is no upstream",      "of the form http://HOST:PORT"),
        (&["app", "update", "x", "--to", "http://127.0.0.1:9"],                         "was not found",       "`doorward app list`"),
        (&["app", "delete", "x"],                                                       "was not found",       "`doorward app list`"),
        (&["policy", "add", "--app", "x", "--member", bob],                             "was not found",       "`doorward app list`"),
        (&["policy", "add", "--app", "app", "--member", "bob@example.com"],             "not a member",        "use user:bob@example.com"),
        (&["policy", "add", "--app", "app", "--member", "group:no@example.com"],        "does not exist",      "doorward group create no@example.com"),
        (&["policy", "add", "--app", "app", "--member", bob, "--role", "roles/no"],     "there is no such role", "`doorward role list --predefined`"),
        (&["policy", "add", "--app", "app", "--member", bob, "--condition", &unknown],  "no attribute request.pth", "(at column 8)"),
        (&["policy", "add", "--app", "app", "--member", bob, "--condition", &broken],   "Syntax error",        "(at column 17)"),
        (&["policy", "add", "--app", "app", "--member", "allUsers", "--condition", &fine], "cannot have a condition", "Name somebody"),
        (&["policy", "remove", "--app", "app", "--member", bob],                        "does not hold",       "`doorward policy show --app app`"),
        (&["policy", "add", "--resource", "organizations/1", "--member", bob],          "was not found",       "`doorward explain METHOD URL`"),
        (&["settings", "set", "--web", "--set", "access_settings.cors_settings.allow_http_options=true"], "has no effect here", "Nothing was changed"),
        (&["settings", "set", "--web", "--set", "access_settings.nope=true"],           "there is no setting", "--help"),
        (&["group", "create", "staff@example.com"],                                     "already",             "`doorward group list`"),
        (&["group", "add", "no@example.com", "--member", bob],                          "no such group",       "`doorward group list`"),
        (&["access-level", "create", "office", "--ip-subnetwork", "10.0.0.0/8"],        "already exists",      "`doorward access-level list`"),
        (&["access-level", "create", "home", "--ip-subnetwork", "10.0.0.0/99"],         "is no range",         "such as 10.0.0.0/8"),
        (&["access-level", "create", "home", "--expression", "source.no == 1"],         "no attribute source.no", "there is source.ip"),
        (&["role", "create", "door", "--permission", "iap.no.no"],                      "is not valid",        "iap.no.no"),
        (&["role", "update", "door", "--title", "x"],                                   "",                    "`doorward role list`"),
        (&["deny", "create", "no-bob", "--principal", bob],                             "already exists",      "`doorward deny update`"),
        (&["deny", "create", "no-ann", "--principal", "ann"],                           "Invalid principal",   "Use principal://goog/subject/EMAIL"),
        (&["deny", "delete", "no-ann"],                                                 "no such deny policy", "`doorward deny list`"),
    ];
    for (line, wrong, remedy) in cases {
        let said = dev.refused(line);
        assert!(said.contains(wrong) && said.contains(remedy), "{line:?}: {said}");
    }
    assert_eq!(dev.ran(&["export"]), before);
}

#[test]
fn what_names_something_that_nobody_here_is_or_meets_is_done_and_said() {
    let dev = Dev::start(&[]);
    let level = |name: &str| {
        let name = format!("accessPolicies/{}/accessLevels/{name}", dev.text("/project/number"));
        format!("expression='{name}' in request.auth.access_levels,title=t")
    };
    dev.ran(&["access-level", "create", "office", "--ip-subnetwork", "127.0.0.0/8"]);
    let (there, gone) = (level("office"), level("nosuch"));
    let (alice, eve) = ("user:alice@example.com", "user:eve@example.com");
    // (line) => what is noted; nothing, if nothing is missing
    #[rustfmt::skip]
    let cases: [(&[&str], &str); 9] = [
        (&["policy", "add", "--app", "app", "--member", alice, "--condition", &there],   ""),
        (&["policy", "add", "--app", "app", "--member", alice, "--condition", &gone],    "accessLevels/nosuch, so nobody meets it"),
        (&["deny", "create", "no-alice", "--principal", alice, "--condition", &gone],    "accessLevels/nosuch, so nobody meets it"),
        (&["deny", "create", "no-eve", "--principal", eve],                              "eve@example.com, so it keeps nobody out"),
        (&["deny", "update", "no-eve", "--principal", eve],                              "eve@example.com, so it keeps nobody out"),
        (&["deny", "update", "no-eve", "--principal", alice],                            ""),
        (&["group", "create", "staff@example.com", "--member", eve, "--member", alice],  "eve@example.com, so it lets nobody in"),
        (&["group", "add", "staff@example.com", "--member", alice],                      ""),
        (&["group", "remove", "staff@example.com", "--member", eve],                     ""),
    ];
    for (line, note) in cases {
        let Finished { code, stderr, .. } = run(&mut dev.command(line));
        assert_eq!(code, Some(0), "{line:?}: {stderr}");
        assert_eq!(stderr.is_empty(), note.is_empty(), "{line:?}: {stderr}");
        assert!(stderr.contains(note) && stderr.lines().count() < 2, "{line:?}: {stderr}");
    }
}

#[test]
fn an_administrative_change_is_recorded_with_who_from_where_before_and_after() {
    let dev = Dev::start(&[]);
    let bob = "user:bob@example.com";
    dev.ran(&["policy", "add", "--app", "app", "--member", bob]);
    let entries = dev.ran(&["audit", "tail", "--limit", "1", "--json"]);
    let entry: Value = serde_json::from_str(&entries).expect("one entry");
    let payload = &entry["protoPayload"];
    assert!(text(payload, "/methodName").ends_with("SetIamPolicy"), "{entry}");
    assert_eq!(text(payload, "/resourceName"), dev.text("/app/resource"));
    assert_eq!(text(payload, "/requestMetadata/callerIp"), "127.0.0.1");
    assert!(text(payload, "/requestMetadata/callerSuppliedUserAgent").starts_with("doorward/"), "{entry}");
    assert!(text(payload, "/authenticationInfo/principalSubject").contains("operator"), "{entry}");
    let whole = entry.to_string();
    assert!(whole.contains(bob) && whole.contains("setIamPolicy"), "{entry}");
    let change = dev.ran(&["decisions", "--limit", "1", "--json"]);
    let change: Value = serde_json::from_str(&change).expect("one record");
    assert!(!change["before"].to_string().contains(bob) && change["after"].to_string().contains(bob), "{change}");

    // A refused change is recorded with its reason, and read back as such.
    dev.refused(&["policy", "add", "--app", "app", "--member", bob, "--role", "roles/no"]);
    assert!(dev.ran(&["audit", "tail", "--limit", "1"]).contains("roles/no"));
    let verified = dev.printed(&["audit", "verify"]);
    assert!(
        verified["sequence"].as_u64().or_else(|| verified["sequence"].as_str()?.parse().ok()) > Some(0),
        "{verified}"
    );
}
