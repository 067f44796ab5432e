//! Why, who, what, and what if; and what somebody reads who was refused.

use std::fs;
use std::process::Command;

use doorward_tests::{Dev, Finished, Request, Response, now_seconds, run};
use serde_json::{Value, json};

const ROLE: &str = "roles/iap.httpsResourceAccessor";
const ALICE: &str = "alice@example.com";
const BOB: &str = "bob@example.com";

/// What is done in a world before a request is refused.
type Before = fn(&Dev);

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("{pointer} in {value}"))
}

fn member(dev: &Dev, account: &str) -> String {
    format!("serviceAccount:{}", dev.text(&format!("/service_accounts/{account}/email")))
}

/// Waits until so many decisions are recorded: they are written shortly after they are made.
fn recorded(dev: &Dev, count: usize) {
    let start = now_seconds();
    while dev.ran(&["decisions", "--json", "--limit", "100"]).matches("\"type\":\"decision\"").count() < count {
        let waited = now_seconds() - start;
        assert!(waited < 60, "{count} decisions are not recorded");
    }
}

/// The line `doorward ...` that was printed, as a shell would run it.
fn printed_command(dev: &Dev, line: &str) -> Command {
    let binary = doorward_tests::doorward().get_program().to_str().expect("text").to_owned();
    let line = line.strip_prefix("doorward ").unwrap_or_else(|| panic!("{line} is no command of ours"));
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("'{binary}' {line} --dir '{}'", dev.dir().display())]).env("DOORWARD_KEYRING", "off");
    shell
}

#[test]
fn an_explanation_names_every_rule_and_binding_with_what_became_of_it_and_every_setting_with_its_origin() {
    let dev = Dev::start(&[]);
    let admin = r#"expression=request.path == "/reports",title=Reports"#;
    dev.ran(&["group", "create", "staff@example.com", "--member", "user:bob@example.com"]);
    dev.ran(&["policy", "add", "--app", "app", "--member", "group:staff@example.com", "--condition", admin]);
    dev.ran(&["policy", "add", "--web", "--member", "domain:elsewhere.test"]);
    dev.ran(&["deny", "create", "no-eve", "--principal", "user:eve@example.com"]);
    dev.ran(&["settings", "set", "--web", "--programmatic-client", "desktop"]);
    let (url, app) = (dev.app("/admin"), dev.text("/app/resource"));
    let number = dev.text("/project/number");
    let shown = dev.ran(&["explain", "--as", BOB, "GET", &url]);
    for line in [
        format!(
            "REFUSED: no binding grants it: user:{BOB}, iap.webServiceVersions.accessViaIAP on the application app"
        ),
        format!("resource: {app}/versions/bs_0"),
        format!("    in projects/{number}/iap_web"),
        "in groups: staff@example.com".to_owned(),
        format!("    {ROLE} on {app}: member no"),
        format!(
            "    {ROLE} on {app}: group:staff@example.com, but the condition is false because request.path was \"/admin\""
        ),
        "        if request.path == \"/reports\"".to_owned(),
        format!("    {ROLE} on projects/{number}/iap_web: member no"),
        format!(
            "    accessSettings.oauthSettings.programmaticClients = [\"{}\"] from projects/{number}/iap_web",
            dev.client("desktop").id
        ),
        "    doorwardSettings.emailClaim = \"optional\" by default".to_owned(),
    ] {
        assert!(shown.lines().any(|it| it == line), "{line} is not in\n{shown}");
    }
    assert!(shown.contains("denypolicies/no-eve rule 0: member no"), "{shown}");
    assert!(shown.contains("what would allow it: "), "{shown}");

    // What is about other permissions is counted, and named to programs alone.
    assert!(shown.lines().any(|it| it.ends_with("about this permission")), "{shown}");
    assert!(!shown.contains(": not about this permission"), "{shown}");
    // Who is asked about may be named as in dev.json: nothing is granted.
    let stranger = dev.printed(&["explain", "--as", "stranger", &url]);
    assert_eq!(text(&stranger, "/principal/member"), member(&dev, "stranger"));

    // By a program, and over the API: the same.
    let question = json!({"principal": format!("user:{BOB}"), "question": {"method": "GET", "url": url}});
    let answer = dev.admin("POST", "doorward/v1:explain", Some(&question)).send().expect(200).json();
    assert_eq!(dev.printed(&["explain", "--as", BOB, "GET", &url]), answer);
    assert_eq!(answer["verdict"], "NOT_GRANTED");
    let allowed = dev.printed(&["explain", "--as", BOB, "GET", &dev.app("/reports")]);
    assert_eq!((&allowed["verdict"], allowed.get("smallestChange")), (&json!("ALLOWED"), None));
    assert!(dev.ran(&["explain", "--as", "user:eve@example.com", &url]).starts_with("DENIED by a deny rule: "));
    assert!(dev.ran(&["explain", &url]).starts_with("REFUSED: no binding grants it: nobody, "));

    #[rustfmt::skip]
    let wrong: [(&[&str], &str); 5] = [
        (&["explain", "--as", BOB],                                  "write METHOD URL"),
        (&["explain", "--as", "bob", &url],                          "bob is not a member"),
        (&["explain", "--as", BOB, "admin"],                         "write METHOD URL"),
        (&["explain", "--decision", "nothing"],                      "`doorward decisions` shows"),
        (&["explain", "--as", BOB, &url, "--permission", "no.no.no"], "no.no.no"),
    ];
    for (line, remedy) in wrong {
        let said = dev.refused(line);
        assert!(said.contains(remedy), "{line:?}: {said}");
    }
    let nowhere = dev.ran(&["explain", "--as", BOB, "GET", "http://nowhere.test/"]);
    assert!(nowhere.contains("`doorward app list`"), "{nowhere}");
}

#[test]
fn the_smallest_change_that_is_named_lets_in_when_it_is_made() {
    let path = r#"expression=request.path == "/reports",title=Reports"#;
    // What was done before => what keeps the stranger out.
    let cases: [(&str, Before); 3] = [
        ("nothing", |_| {}),
        ("a group", |dev| {
            dev.ran(&["group", "create", "staff@example.com"]);
            dev.ran(&["policy", "add", "--app", "app", "--member", "group:staff@example.com"]);
        }),
        ("a disabled application", |dev| {
            dev.ran(&["policy", "add", "--app", "app", "--member", &member(dev, "stranger")]);
            dev.ran(&["app", "disable", "app"]);
        }),
    ];
    for (name, before) in cases {
        let dev = Dev::start(&[]);
        before(&dev);
        let token = dev.id_token("stranger");
        let ask = || Request::get(&dev.app("/admin")).bearer(&token).send();
        let refused = ask();
        assert_ne!(refused.status, 200, "{name}");
        let id = refused.header("x-doorward-decision-id").expect("an id");
        recorded(&dev, 1);
        let change = dev.printed(&["explain", "--decision", id])["smallestChange"].clone();
        let Finished { code, stderr, .. } = run(&mut printed_command(&dev, text(&change, "/command")));
        assert_eq!(code, Some(0), "{name}: {change} {stderr}");
        ask().expect(200);
    }
    // A condition is met by another request, which is said.
    let dev = Dev::start(&[]);
    let stranger = member(&dev, "stranger");
    dev.ran(&["policy", "add", "--app", "app", "--member", &stranger, "--condition", path]);
    let change = dev.printed(&["explain", "--as", &stranger, &dev.app("/admin")])["smallestChange"].clone();
    assert!(text(&change, "/description").starts_with("Ask so that `request.path == \"/reports\"` holds"), "{change}");
    Request::get(&dev.app("/reports")).bearer(&dev.id_token("stranger")).send().expect(200);
    // An exception of a deny rule is described: no one line writes it.
    let dev = Dev::start(&[]);
    let robot = member(&dev, "robot");
    dev.ran(&[
        "deny",
        "create",
        "nobody",
        "--principal",
        "principalSet://goog/public:all",
        "--condition",
        &path.replace("/reports", "/admin"),
    ]);
    let change = dev.printed(&["explain", "--as", &robot, &dev.app("/admin")])["smallestChange"].clone();
    assert!(text(&change, "/description").contains(&format!("Add {robot} to the exceptions of rule 0")), "{change}");
    let everybody = ["--principal", "principalSet://goog/public:all", "--exception-principal", &robot];
    dev.ran(&[&["deny", "update", "nobody"][..], &everybody].concat());
    Request::get(&dev.app("/admin")).bearer(&dev.id_token("robot")).send().expect(200);
}

#[test]
fn a_recorded_decision_is_explained_by_what_is_in_force_now() {
    let dev = Dev::start(&[]);
    let token = dev.id_token("stranger");
    let refused = Request::get(&dev.app("/admin?secret=1")).bearer(&token).send().expect(403);
    let id = refused.header("x-doorward-decision-id").expect("an id");
    recorded(&dev, 1);
    let explained = dev.printed(&["explain", "--decision", id]);
    assert_eq!(explained["verdict"], "NOT_GRANTED");
    assert_eq!(text(&explained, "/principal/member"), member(&dev, "stranger"));
    assert_eq!(
        (&explained["recorded"]["allowed"], &explained["recorded"]["reason"]),
        (&json!(false), &json!("permission_denied"))
    );
    dev.ran(&["policy", "add", "--app", "app", "--member", &member(&dev, "stranger")]);
    let shown = dev.ran(&["explain", "--decision", id]);
    assert!(shown.starts_with("ALLOWED: ") && shown.contains(": refused (permission_denied)"), "{shown}");
}

#[test]
fn a_recorded_refusal_that_is_not_of_policies_says_what_was_found_wrong_and_whether_they_had_let_it_in() {
    let dev = Dev::start(&["--to", "http://127.0.0.1:9"]);
    let ask = |token: &str, status: u16| {
        let response = Request::get(&dev.app("/x")).bearer(token).send().expect(status);
        response.header("x-doorward-decision-id").expect("an id").to_owned()
    };
    let failed = ask(&dev.id_token("robot"), 502);
    recorded(&dev, 1);
    let explained = dev.printed(&["explain", "--decision", &failed]);
    assert_eq!((text(&explained, "/verdict"), text(&explained, "/recorded/reason")), ("ALLOWED", "upstream_failed"));
    assert!(text(&explained, "/recorded/detail").contains("127.0.0.1:9"), "{explained}");
    let shown = dev.ran(&["explain", "--decision", &failed]);
    assert!(shown.contains("\n    policies had let them in: ") && shown.contains("127.0.0.1:9"), "{shown}");

    let spoilt = ask("no-token", 401);
    recorded(&dev, 2);
    let explained = dev.printed(&["explain", "--decision", &spoilt]);
    assert_eq!((text(&explained, "/verdict"), explained["recorded"].get("passedPolicies")), ("REFUSED", None));
    let shown = dev.ran(&["explain", "--decision", &spoilt]);
    assert!(shown.contains(text(&explained, "/recorded/detail")) && !shown.contains("bindings"), "{shown}");

    // The newest refusal of an application is found among all that is recorded since.
    dev.ran(&["policy", "add", "--web", "--member", "domain:elsewhere.test"]);
    let newest = ["decisions", "--type", "decision", "--refused", "--limit", "1", "--json"];
    let newest: Value = serde_json::from_str(&dev.ran(&newest)).expect("one record");
    assert_eq!((text(&newest, "/id"), text(&newest, "/type")), (spoilt.as_str(), "decision"));
    assert_eq!(dev.ran(&["decisions", "--type", "admin", "--refused"]), "");
}

#[test]
fn who_can_and_what_can_list_the_bindings_that_lead_there() {
    let dev = Dev::start(&[]);
    let path = r#"expression=request.path == "/reports",title=Reports"#;
    dev.ran(&["policy", "add", "--app", "app", "--member", "user:bob@example.com", "--condition", path]);
    dev.ran(&["policy", "add", "--web", "--member", "domain:elsewhere.test"]);
    dev.ran(&["deny", "create", "no-eve", "--principal", "user:eve@example.com"]);
    let who = dev.ran(&["who-can", "GET", &dev.app("/reports")]);
    for part in [
        "user:alice@example.com",
        "user:bob@example.com",
        "domain:elsewhere.test",
        "request.path == \"/reports\"",
        "no-eve",
    ] {
        assert!(who.contains(part), "{part} is not in\n{who}");
    }
    let members = dev.printed(&["who-can", "GET", &dev.app("/")]);
    let members: Vec<&str> =
        members["grants"].as_array().expect("grants").iter().map(|grant| text(grant, "/member")).collect();
    assert!(members.contains(&"user:bob@example.com") && members.contains(&"domain:elsewhere.test"), "{members:?}");
    let what = dev.ran(&["what-can", BOB]);
    assert!(what.contains("app") && what.contains("request.path == \"/reports\""), "{what}");
    assert!(
        dev.ran(&["what-can", "user:zoe@example.com"]).starts_with("user:zoe@example.com may enter no application")
    );
    let caller = dev.printed(&["what-can", &member(&dev, "caller")]);
    assert!(caller["applications"].as_array().is_none_or(Vec::is_empty), "who administers enters nothing: {caller}");
    assert!(caller.to_string().contains("roles/iap.admin"), "{caller}");
    assert!(dev.refused(&["who-can"]).contains("write METHOD URL"));
    assert!(dev.refused(&["what-can", "x@"]).contains("user:EMAIL"));
}

fn simulate(dev: &Dev, proposed: &str, flags: &[&str]) -> Finished {
    let file = dev.dir().join("proposed.toml");
    fs::write(&file, proposed).expect("the file is written");
    run(&mut dev.command(&[&["simulate", "-f", file.to_str().expect("text")], flags].concat()))
}

#[test]
fn a_proposed_file_is_tried_on_what_was_decided_and_changes_nothing() {
    let dev = Dev::start(&[]);
    let (robot, stranger) = (dev.id_token("robot"), dev.id_token("stranger"));
    let ask = |path: &str, token: &str| Request::get(&dev.app(path)).bearer(token).send().status;
    let asked = [ask("/", &robot), ask("/a", &robot), ask("/", &stranger), ask("/b", &stranger), ask("/b", &stranger)];
    assert_eq!(asked, [200, 200, 403, 403, 403]);
    recorded(&dev, 5);
    let before = dev.ran(&["export"]);
    let binding = |member: &str, condition: &str| format!("{{ role = '{ROLE}', members = ['{member}']{condition} }}");
    let policy =
        |bindings: &[String]| format!("[[policies]]\nresource = 'app app'\nbindings = [{}]\n", bindings.join(", "));
    let (robot_member, stranger_member) = (member(&dev, "robot"), member(&dev, "stranger"));
    let same = policy(&[binding(&robot_member, "")]);
    let finished = simulate(&dev, &same, &["--since", "1h"]);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert_eq!(finished.stdout, "nobody would newly be let in or refused\n5 decisions were decided again\n");

    let changed = policy(&[
        binding(&robot_member, ", condition = \"request.path == '/'\""),
        binding(&stranger_member, ", condition = \"request.path == '/b'\""),
    ]);
    let finished = simulate(&dev, &changed, &["--since", "7d"]);
    assert_eq!(finished.code, Some(3), "{}", finished.stderr);
    let app = dev.text("/app/resource");
    for line in [
        "newly let in:".to_owned(),
        format!("    {stranger_member} on {app}, 2 times"),
        "newly refused:".to_owned(),
        format!("    {robot_member} on {app}, once"),
        "5 decisions were decided again".to_owned(),
    ] {
        assert!(finished.stdout.lines().any(|it| it == line), "{line} is not in\n{}", finished.stdout);
    }
    assert!(finished.stdout.contains(&format!("GET {} [", dev.app("/a"))), "an example: {}", finished.stdout);
    let finished = simulate(&dev, &changed, &["--json"]);
    let answer: Value = serde_json::from_str(&finished.stdout).expect("JSON");
    assert_eq!((finished.code, &answer["newlyAllowed"][0]["count"]), (Some(3), &json!(2)));
    assert_eq!((dev.ran(&["export"]), ask("/b", &stranger)), (before, 403));

    let wrong = simulate(&dev, "[[policies]]\nresource = 'app gone'\nbindings = []\n", &[]);
    assert_eq!((wrong.code, wrong.stdout.as_str()), (Some(1), ""));
    assert!(wrong.stderr.contains("the policy of app gone: there is no app gone"), "{}", wrong.stderr);
    assert_eq!(simulate(&dev, &same, &["--since", "yesterday"]).code, Some(2));
}

/// The application's answer to a person, as their browser is told which forms it takes.
fn refused(dev: &Dev, email: &str, accept: &str, path: &str) -> Response {
    let client = dev.client("desktop");
    let loopback = "http://localhost:4444";
    let code = dev.person(email).code(client, loopback, &[]);
    let audience = dev.text("/app/client_id");
    let form =
        [("grant_type", "authorization_code"), ("code", &code), ("redirect_uri", loopback), ("audience", audience)];
    let tokens = dev.token(&client.form(&form)).expect(200).json();
    Request::get(&dev.app(path)).bearer(text(&tokens, "/id_token")).header("Accept", accept).send().expect(403)
}

#[test]
fn who_is_refused_reads_who_they_are_what_they_tried_and_whom_to_ask_and_nothing_of_others() {
    let dev = Dev::start(&[]);
    let path = "/admin/%3Cb%3E?token=secret";
    let page = refused(&dev, BOB, "text/html,application/xhtml+xml,*/*;q=0.8", path);
    let id = page.header("x-doorward-decision-id").expect("an id").to_owned();
    assert_eq!(page.header("cache-control"), Some("no-store"));
    let policy = page.header("content-security-policy").expect("a policy").to_owned();
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    let html = page.text();
    for part in [
        "Signed in as",
        BOB,
        "You tried",
        "GET ",
        "/admin/",
        "Decision id",
        &id,
        "Ask ",
        "lang=\"en\"",
        "name=\"viewport\"",
    ] {
        assert!(html.contains(part), "{part} is not in\n{html}");
    }
    let json = refused(&dev, BOB, "application/json", path);
    let error = json.json()["error"].clone();
    assert_eq!(
        (&error["code"], &error["status"], &error["caller"]),
        (&json!(403), &json!("PERMISSION_DENIED"), &json!(BOB))
    );
    assert_eq!((text(&error, "/method"), text(&error, "/reason")), ("GET", "permission_denied"));
    assert_eq!(Some(text(&error, "/decision_id")), json.header("x-doorward-decision-id"));
    for told in [&html, &json.text()] {
        for kept in [ALICE, "dev-robot", "secret", "<b>", "policies"] {
            assert!(!told.contains(kept), "{kept} is in\n{told}");
        }
    }
}

#[test]
fn the_page_of_a_decision_says_why_to_who_may_read_policies_and_to_nobody_else() {
    let dev = Dev::start(&[]);
    let answer = refused(&dev, BOB, "text/html", "/admin");
    let page = format!("decisions/{}", answer.header("x-doorward-decision-id").expect("an id"));
    recorded(&dev, 1);
    let url = dev.google(&page);
    let html = |request: Request| request.header("Accept", "text/html").send();
    let why = html(dev.admin("GET", &page, None)).expect(200).text();
    for part in
        ["not granted", "user:bob@example.com", ROLE, "names somebody else", "The smallest change that would allow it"]
    {
        assert!(why.contains(part), "{part} is not in\n{why}");
    }
    let stranger = dev.account("stranger").access_token("https://www.googleapis.com/auth/cloud-platform");
    // Of one that is not there they are told the same.
    let (id, nothing) = (page.trim_start_matches("decisions/"), "A".repeat(22));
    let none = dev.google(&format!("decisions/{nothing}"));
    // Who is nobody yet is shown where to sign in, and a stranger a refusal.
    for (token, status) in [(None, 401), (Some(&stranger), 403)] {
        let ask = |url: &str| {
            let request = Request::get(url);
            html(token.map_or(Request::get(url), |token| request.bearer(token))).expect(status).text()
        };
        let (refused, unknown) = (ask(&url), ask(&none));
        assert!(!refused.contains(ROLE) && !refused.contains(ALICE) && !refused.contains(BOB), "{refused}");
        if token.is_some() {
            assert_eq!(refused, unknown);
        }
    }
    // Whom it is about sees what they know, and another person nothing.
    let as_person = |email: &str, url: &str| html(Request::get(url).header("Cookie", dev.person(email).cookie()));
    let own = as_person(BOB, &url).expect(200).text();
    for part in ["Your request was", "refused", BOB, "GET ", "/admin", id, "Ask "] {
        assert!(own.contains(part), "{part} is not in\n{own}");
    }
    assert!(!own.contains(ROLE) && !own.contains(ALICE) && !own.contains("projects/"), "{own}");
    let missing = as_person(BOB, &none).expect(403).text();
    assert!(!missing.contains(BOB), "{missing}");
    assert_eq!(as_person(ALICE, &url).expect(403).text(), missing);
}

#[test]
fn the_id_of_a_refusal_leads_to_its_explanation_at_once() {
    let dev = Dev::start(&[]);
    let token = dev.id_token("stranger");
    for _ in 0..5 {
        let refused = Request::get(&dev.app("/admin")).bearer(&token).send().expect(403);
        let page = format!("decisions/{}", refused.header("x-doorward-decision-id").expect("an id"));
        let why = dev.admin("GET", &page, None).header("Accept", "text/html").send().expect(200).text();
        assert!(why.contains("not granted"), "{why}");
    }
}

mod needs_chromium {
    use super::*;

    /// What a browser made of a page in a window of this width: its text in order, and how wide it is.
    fn rendered(dev: &Dev, html: &str, width: u32) -> String {
        let file = dev.dir().join("page.html");
        let measure = "<script>addEventListener('load', () => { document.title = 'width ' + document.documentElement.scrollWidth })</script>";
        fs::write(&file, html.replace("</body>", &format!("{measure}</body>"))).expect("the page is written");
        let frame = dev.dir().join("frame.html");
        let script =
            "f.onload = () => setTimeout(() => document.title = f.contentDocument ? f.contentDocument.title : 'none')";
        let page = format!(
            "<iframe id=f src=page.html width={width} height=900 style=border:0></iframe><script>{script}</script>"
        );
        fs::write(&frame, page).expect("the frame is written");
        let mut chromium = Command::new("chromium");
        chromium.args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--allow-file-access-from-files",
            "--dump-dom",
        ]);
        chromium.arg(format!("--user-data-dir={}", dev.dir().join("chromium").display()));
        let finished = run(chromium.arg(format!("file://{}", frame.display())));
        assert_eq!(finished.code, Some(0), "{}", finished.stderr);
        finished.stdout
    }

    #[test]
    fn the_page_of_a_refusal_fits_a_telephone() {
        let dev = Dev::start(&[]);
        let path = format!("/{}", "a-long-path-without-an-end-".repeat(12));
        let html = refused(&dev, BOB, "text/html", &path).text();
        for width in [390, 1200] {
            let dom = rendered(&dev, &html, width);
            assert!(dom.contains(&format!("<title>width {width}</title>")), "wider than {width}: {dom}");
        }
    }
}
