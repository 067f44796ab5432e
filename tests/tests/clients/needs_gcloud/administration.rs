//! gcloud administers: policies, settings, brands and clients, destination groups, backend services, the App Engine application, service accounts, roles,
//! deny policies and the project.
//!
//! Each scenario runs in both worlds: here, where gcloud is told the address of every API, and in `needs_namespaces`, where it is told
//! nothing. Whoever administers is `caller`; `stranger` holds nothing, and is refused by the name of the permission.

use std::path::PathBuf;
use std::process::Command;

use doorward_tests::{Dev, Finished, doorward, run};
use serde_json::{Value, json};

use super::super::Answer;
use super::super::needs_curl::answer;
use super::NOWHERE;

const DOOR: &str = "--role=roles/iap.httpsResourceAccessor";
const ON_APP: [&str; 2] = ["--resource-type=backend-services", "--service=app"];

/// A world with gcloud in it.
pub(crate) trait Place {
    /// gcloud, which finds this world's APIs.
    fn gcloud(&self, arguments: &[&str]) -> Command;
    /// Our own command line, as the operator.
    fn operator(&self, arguments: &[&str]) -> Command;
    /// Runs one of them, or another program, in this world.
    fn run(&self, command: &mut Command) -> Finished;
    /// A string of the world's description, by JSON pointer.
    fn text(&self, pointer: &str) -> &str;
    /// A folder for files.
    fn folder(&self) -> PathBuf;
}

/// `doorward dev`, with every address that gcloud has to be told.
struct Told {
    dev: Dev,
    folder: tempfile::TempDir,
}

impl Told {
    fn start() -> Self {
        Told { dev: Dev::start(&[]), folder: tempfile::tempdir().expect("a temporary directory") }
    }
}

impl Place for Told {
    fn gcloud(&self, arguments: &[&str]) -> Command {
        let [side] = self.dev.sides()[..] else { panic!("one side without --tls") };
        let mut command = super::command(side, self.folder.path(), NOWHERE, arguments);
        for (variable, address) in [
            ("IAP", "iap.googleapis.com/"),
            ("IAM", "iam.googleapis.com/"),
            ("CLOUDRESOURCEMANAGER", "cloudresourcemanager.googleapis.com/"),
            ("COMPUTE", "compute.googleapis.com/compute/v1/"),
            ("APPENGINE", "appengine.googleapis.com/"),
        ] {
            command.env(format!("CLOUDSDK_API_ENDPOINT_OVERRIDES_{variable}"), side.google(address));
        }
        command
    }

    fn operator(&self, arguments: &[&str]) -> Command {
        self.dev.command(arguments)
    }

    fn run(&self, command: &mut Command) -> Finished {
        run(command)
    }

    fn text(&self, pointer: &str) -> &str {
        self.dev.text(pointer)
    }

    fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }
}

#[test]
fn policies_of_web_resources_let_in_and_out() {
    policies(&Told::start());
}

#[test]
fn settings_brands_and_clients_are_set_and_read() {
    settings_brands_and_clients(&Told::start());
}

#[test]
fn destination_groups_are_made_changed_and_opened() {
    destination_groups(&Told::start());
}

#[test]
fn iap_is_switched_at_backend_services_and_at_the_app_engine_application() {
    applications(&Told::start());
}

#[test]
fn service_accounts_live_from_their_creation_to_their_end() {
    service_accounts(&Told::start());
}

#[test]
fn roles_deny_policies_and_the_project_are_administered() {
    roles_deny_policies_and_the_project(&Told::start());
}

/// gcloud of the two accounts.
struct Gcloud<'a> {
    place: &'a dyn Place,
}

impl<'a> Gcloud<'a> {
    /// `caller` is who acts unless something else is said.
    fn sign_in(place: &'a dyn Place) -> Self {
        let gcloud = Gcloud { place };
        for account in ["stranger", "caller"] {
            let key_file = place.text(&format!("/service_accounts/{account}/key_file"));
            gcloud.output(&["auth", "activate-service-account", "--key-file", key_file]);
        }
        gcloud.output(&["config", "set", "project", place.text("/project/id")]);
        gcloud
    }

    fn email(&self, account: &str) -> &'a str {
        self.place.text(&format!("/service_accounts/{account}/email"))
    }

    fn number(&self) -> &'a str {
        self.place.text("/project/number")
    }

    /// Standard output of a command that succeeds, without the end of the line.
    fn output(&self, arguments: &[&str]) -> String {
        self.run(&mut self.place.gcloud(arguments))
    }

    fn run(&self, command: &mut Command) -> String {
        let Finished { code, stdout, stderr } = self.place.run(command);
        assert_eq!(code, Some(0), "{command:?}: {stdout}{stderr}");
        stdout.trim().to_owned()
    }

    /// What a command prints as JSON; null if it is nothing.
    fn json(&self, arguments: &[&str]) -> Value {
        let printed = self.output(&[arguments, &["--format=json"]].concat());
        match printed.as_str() {
            "" => Value::Null,
            text => serde_json::from_str(text).unwrap_or_else(|error| panic!("{arguments:?}: {error} in {text}")),
        }
    }

    /// Standard error of a command that fails.
    fn failed(&self, arguments: &[&str]) -> String {
        let Finished { code, stdout, stderr } = self.place.run(&mut self.place.gcloud(arguments));
        assert_eq!(code, Some(1), "{arguments:?}: {stdout}{stderr}");
        stderr
    }

    /// A command that fails, and says this among other things.
    fn fails(&self, arguments: &[&str], words: &str) {
        let said = self.failed(arguments);
        assert!(said.contains(words), "{arguments:?}: no {words:?} in {said}");
    }

    /// A command that `stranger` may not run, for want of this permission.
    fn denied(&self, arguments: &[&str], permission: &str) {
        let account = format!("--account={}", self.email("stranger"));
        self.fails(&[arguments, &[&account]].concat(), &format!("Permission '{permission}' denied on resource"));
    }

    /// A file with this in it.
    fn file(&self, name: &str, content: &Value) -> String {
        let path = self.place.folder().join(name).display().to_string();
        let content = content.as_str().map_or_else(|| content.to_string(), str::to_owned);
        std::fs::write(&path, content).expect("the file is written");
        path
    }

    fn token(&self, account: &str) -> String {
        let audiences = format!("--audiences={}", self.place.text("/app/client_id"));
        self.output(&["auth", "print-identity-token", &audiences, &format!("--account={}", self.email(account))])
    }

    /// What the application answers to the holder of a token.
    fn ask(&self, token: &str, path: &str) -> Answer {
        let url = format!("{}{path}", self.place.text("/app/url"));
        let mut curl = Command::new("curl");
        curl.args(["-s", "-w", "\n%{http_code}", "-H", &format!("Authorization: Bearer {token}"), &url]);
        answer(&self.run(&mut curl))
    }
}

pub(crate) fn policies(place: &dyn Place) {
    let gcloud = Gcloud::sign_in(place);
    let (stranger, token) = (gcloud.email("stranger"), gcloud.token("stranger"));
    let member = format!("--member=serviceAccount:{stranger}");
    let web =
        |verb: &str, more: &[&str]| [&["iap", "web", verb], more].concat().iter().map(|it| (*it).to_owned()).collect();
    let words = |words: Vec<String>| words;
    let on_app = |verb: &str, more: &[&str]| -> Vec<String> { words(web(verb, &[&ON_APP, more].concat())) };
    fn each(words: &[String]) -> Vec<&str> {
        words.iter().map(String::as_str).collect()
    }
    let get = on_app("get-iam-policy", &[]);
    let add = |more: &[&str]| on_app("add-iam-policy-binding", &[&[member.as_str(), DOOR], more].concat());
    let remove = |more: &[&str]| on_app("remove-iam-policy-binding", &[&[member.as_str(), DOOR], more].concat());

    // Never written, at every level; the names of what is registered lead to it, and others to nothing.
    operator_makes_applications(&gcloud);
    #[rustfmt::skip]
    let unwritten: [&[&str]; 7] = [
        &[],
        &["--resource-type=backend-services"],
        &["--resource-type=backend-services", "--service=wiki", "--region=europe-west1"],
        &["--resource-type=app-engine"],
        &["--resource-type=app-engine", "--service=default"],
        &["--resource-type=app-engine", "--service=default", "--version=v1"],
        &["--resource-type=backend-services", "--service=other-app"],
    ];
    for resource in &unwritten[..6] {
        let arguments: Vec<String> = words(web("get-iam-policy", resource));
        assert_eq!(gcloud.json(&each(&arguments)), json!({"etag": "ACAB"}), "{resource:?}");
    }
    let nowhere: Vec<String> = words(web("get-iam-policy", &["--resource-type=backend-services", "--service=none"]));
    gcloud.fails(&each(&nowhere), "NOT_FOUND");

    // Let in, let in where a condition says so, and out again.
    gcloud.ask(&token, "/").is_refused_to(stranger);
    gcloud.output(&each(&add(&[])));
    gcloud.ask(&token, "/").is_of(stranger);
    gcloud.output(&each(&remove(&[])));
    gcloud.ask(&token, "/").is_refused_to(stranger);
    let condition = r#"--condition=expression=request.path.startsWith("/open/"),title=open,description=one part"#;
    gcloud.output(&each(&add(&[condition])));
    gcloud.ask(&token, "/open/x").is_of(stranger);
    gcloud.ask(&token, "/").is_refused_to(stranger);
    let policy = gcloud.json(&each(&get));
    let conditional = json!({
        "role": "roles/iap.httpsResourceAccessor", "members": [format!("serviceAccount:{stranger}")],
        "condition": {"expression": "request.path.startsWith(\"/open/\")", "title": "open", "description": "one part"},
    });
    assert_eq!(policy["version"], 3, "{policy}");
    assert!(policy["bindings"].as_array().is_some_and(|bindings| bindings.contains(&conditional)), "{policy}");
    gcloud.fails(&each(&add(&[])), "--condition=None");
    gcloud.output(&each(&add(&["--condition=None"])));
    gcloud.ask(&token, "/").is_of(stranger);
    gcloud.output(&each(&remove(&["--condition=None"])));
    gcloud.ask(&token, "/").is_refused_to(stranger);
    gcloud.ask(&token, "/open/x").is_of(stranger);
    gcloud.output(&each(&remove(&[condition])));
    gcloud.ask(&token, "/open/x").is_refused_to(stranger);
    gcloud.fails(&each(&remove(&[])), "not found");
    gcloud.fails(&each(&add(&["--condition=expression=request.pth == '/',title=wrong"])), "request.pth");

    // Above the application it holds for it too.
    for resource in [&[][..], &["--resource-type=backend-services"]] {
        let bind = |verb: &str| -> Vec<String> { words(web(verb, &[resource, &[member.as_str(), DOOR]].concat())) };
        gcloud.output(&each(&bind("add-iam-policy-binding")));
        gcloud.ask(&token, "/").is_of(stranger);
        gcloud.output(&each(&bind("remove-iam-policy-binding")));
        gcloud.ask(&token, "/").is_refused_to(stranger);
    }

    // The whole policy, by whoever saw its newest state.
    let seen = gcloud.json(&each(&get));
    let file = gcloud.file("policy.json", &seen);
    let set = on_app("set-iam-policy", &[&file]);
    let written = gcloud.json(&each(&set));
    assert_eq!(written["bindings"], seen["bindings"]);
    assert_ne!(written["etag"], seen["etag"]);
    gcloud.fails(&each(&set), "ABORTED: There were concurrent policy changes");

    // Without a permission on the project not even its number is told; with one, the next is missed.
    gcloud.denied(&each(&get), "resourcemanager.projects.get");
    let browser = [&member, "--role=roles/browser"];
    let project = place.text("/project/id");
    gcloud.output(&[&["projects", "add-iam-policy-binding", project], &browser[..]].concat());
    let refused = gcloud.failed(&[&each(&get)[..], &[&format!("--account={stranger}")]].concat());
    for part in ["PERMISSION_DENIED", "Permission 'iap.webServices.getIamPolicy' denied on resource"] {
        assert!(refused.contains(part), "{refused}");
    }
    // gcloud reads a policy before it writes one.
    gcloud.denied(&each(&add(&[])), "iap.webServices.getIamPolicy");
    gcloud.denied(&each(&set), "iap.webServices.setIamPolicy");
}

/// An App Engine version, a regional backend service and a Cloud Run service: gcloud has no command for them that is ours.
fn operator_makes_applications(gcloud: &Gcloud<'_>) {
    #[rustfmt::skip]
    let applications: [&[&str]; 3] = [
        &["shop", "--kind", "app-engine", "--service-version", "v1", "--host", "shop.test"],
        &["wiki", "--region", "europe-west1", "--host", "wiki.test"],
        &["runs", "--kind", "cloud-run", "--region", "europe-west1", "--host", "runs.test"],
    ];
    for application in applications {
        let create = [&["app", "create"], application, &["--to", "http://127.0.0.1:9"]].concat();
        gcloud.run(&mut gcloud.place.operator(&create));
    }
}

pub(crate) fn settings_brands_and_clients(place: &dyn Place) {
    let gcloud = Gcloud::sign_in(place);
    operator_makes_applications(&gcloud);
    let (project, number) = (format!("--project={}", place.text("/project/id")), gcloud.number());
    let client = "32555940559.apps.googleusercontent.com";
    let content = format!("access_settings:\n  oauth_settings:\n    programmatic_clients:\n    - {client}\n");
    let file = gcloud.file("settings.yaml", &Value::from(content));
    let set = json!({"oauthSettings": {"programmaticClients": [client]}});
    // (arguments, the end of the name)
    #[rustfmt::skip]
    let resources: [(&[&str], &str); 9] = [
        (&[],                                                                           ""),
        (&["--resource-type=iap_web"],                                                  "/iap_web"),
        (&["--resource-type=compute"],                                                  "/iap_web/compute"),
        (&["--resource-type=backend-services", "--service=app"],                        "/iap_web/compute/services/"),
        (&["--resource-type=compute", "--service=wiki", "--region=europe-west1"],       "/iap_web/compute-europe-west1/services/"),
        (&["--resource-type=app-engine"],                                               "/iap_web/appengine-"),
        (&["--resource-type=app-engine", "--service=default"],                          "/services/default"),
        (&["--resource-type=app-engine", "--service=default", "--version=v1"],          "/services/default/versions/v1"),
        (&["--resource-type=forwarding-rule"],                                          "/iap_web/forwarding_rule"),
    ];
    for (resource, name) in resources {
        let get = [&["iap", "settings", "get", &project], resource].concat();
        let read = gcloud.json(&get);
        let told = read["name"].as_str().unwrap_or_else(|| panic!("no name in {read}"));
        assert!(told.starts_with(&format!("projects/{number}")) && told.contains(name), "{resource:?}: {read}");
        assert_eq!(read.as_object().map(serde_json::Map::len), Some(1), "nothing is set: {read}");
        let written = gcloud.json(&[&["iap", "settings", "set", &file, &project], resource].concat());
        assert_eq!((&written["name"], &written["accessSettings"]), (&read["name"], &set), "{resource:?}");
        assert_eq!(gcloud.json(&get), written, "{resource:?}");
    }
    let get = ["iap", "settings", "get", &project];
    gcloud.denied(&get, "iap.projects.getSettings");
    gcloud.denied(&["iap", "settings", "set", &file, &project], "iap.projects.updateSettings");
    for above in ["folder", "organization"] {
        gcloud.fails(&["iap", "settings", "get", &format!("--{above}=12")], &format!("iap.{above}s.getSettings"));
    }
    let wrong = gcloud.file("wrong.yaml", &Value::from("access_settings:\n  cors: {}\n"));
    gcloud.failed(&["iap", "settings", "set", &wrong, &project]);

    let brand = format!("projects/{number}/brands/{number}");
    gcloud.denied(&["iap", "oauth-brands", "list"], "clientauthconfig.brands.list");
    assert_eq!(gcloud.json(&["iap", "oauth-brands", "list"]), json!([]));
    let create = ["iap", "oauth-brands", "create", "--application_title=Ours", "--support_email=alice@example.com"];
    let expected = json!({
        "name": brand, "applicationTitle": "Ours", "supportEmail": "alice@example.com", "orgInternalOnly": true,
    });
    assert_eq!(gcloud.json(&create), expected);
    assert_eq!(gcloud.json(&["iap", "oauth-brands", "list"]), json!([expected]));
    gcloud.failed(&create);

    let clients = |more: &[&str]| gcloud.json(&[&["iap", "oauth-clients"], more].concat());
    let created = clients(&["create", &brand, "--display_name=one"]);
    let name = created["name"].as_str().unwrap_or_else(|| panic!("no name in {created}"));
    let id = name.strip_prefix(&format!("{brand}/identityAwareProxyClients/")).expect("a client under the brand");
    let shown = json!({"name": name, "displayName": "one"});
    // Those of the applications are there too.
    let listed = |client: &Value| clients(&["list", &brand]).as_array().is_some_and(|all| all.contains(client));
    assert!(listed(&shown));
    let of_brand = format!("--brand={number}");
    assert_eq!(clients(&["describe", id, &of_brand]), shown);
    let renewed = clients(&["reset-secret", id, &of_brand]);
    assert!(renewed["secret"].is_string() && renewed["secret"] != created["secret"], "the secret is another one");
    gcloud.denied(&["iap", "oauth-clients", "describe", id, &of_brand], "clientauthconfig.clients.get");
    gcloud.denied(&["iap", "oauth-clients", "delete", id, &of_brand], "clientauthconfig.clients.delete");
    clients(&["delete", id, &of_brand]);
    assert!(!listed(&shown));
}

pub(crate) fn destination_groups(place: &dyn Place) {
    let gcloud = Gcloud::sign_in(place);
    let region = "--region=europe-west1";
    fn groups<'a>(more: &[&'a str]) -> Vec<&'a str> {
        [&["iap", "tcp", "dest-groups"], more].concat()
    }
    let name = format!("projects/{}/iap_tunnel/locations/europe-west1/destGroups/prod", gcloud.number());
    let list = groups(&["list"]);
    assert_eq!(gcloud.json(&list), json!([]));
    // gcloud asks for the project's number first; with that, the permission itself is missed.
    let (stranger, project) = (gcloud.email("stranger"), place.text("/project/id"));
    let member = format!("--member=serviceAccount:{stranger}");
    gcloud.output(&["projects", "add-iam-policy-binding", project, &member, "--role=roles/browser"]);
    let ranges = "--ip-range-list=10.1.0.0/16,10.2.0.0/16";
    let create = groups(&["create", "prod", region, ranges, "--fqdn-list=*.example.com"]);
    let created = json!({"name": name, "cidrs": ["10.1.0.0/16", "10.2.0.0/16"], "fqdns": ["*.example.com"]});
    gcloud.denied(&create, "iap.tunnelDestGroups.create");
    assert_eq!(gcloud.json(&create), created);
    gcloud.fails(&create, "already exists");
    gcloud.fails(&groups(&["create", "other", region, "--ip-range-list=10.1.2.3/16"]), "INVALID_ARGUMENT");
    gcloud.output(&groups(&["create", "other", "--region=us-east1"]));

    // Everywhere, in one region, and page by page.
    let listed = |more: &[&str]| gcloud.output(&[&list, more, &["--format=value(name.basename())"]].concat());
    assert_eq!(listed(&[]), "prod\nother");
    assert_eq!(listed(&["--page-size=1"]), "prod\nother");
    assert_eq!(listed(&["--region=us-east1"]), "other");

    // What is named is changed, and the rest stays.
    let describe = groups(&["describe", "prod", region]);
    assert_eq!(gcloud.json(&describe), created);
    gcloud.output(&groups(&["update", "prod", region, "--fqdn-list=db.example.com"]));
    let mut expected = created;
    expected["fqdns"] = json!(["db.example.com"]);
    assert_eq!(gcloud.json(&describe), expected);
    gcloud.output(&groups(&["update", "prod", region, "--ip-range-list="]));
    assert_eq!(gcloud.json(&describe), json!({"name": name, "fqdns": ["db.example.com"]}));
    gcloud.denied(&describe, "iap.tunnelDestGroups.get");
    gcloud.denied(&list, "iap.tunnelDestGroups.list");
    gcloud.denied(&groups(&["update", "prod", region, "--fqdn-list="]), "iap.tunnelDestGroups.update");

    // Who reaches what is in one.
    let on_group = ["--dest-group=prod", region];
    let policy = |verb, more: &[&str]| gcloud.json(&[&groups(&[verb]), &on_group[..], more].concat());
    assert_eq!(policy("get-iam-policy", &[]), json!({"etag": "ACAB"}));
    let reach = [member.as_str(), "--role=roles/iap.tunnelResourceAccessor"];
    policy("add-iam-policy-binding", &reach);
    let bound = policy("get-iam-policy", &[]);
    let binding = json!({
        "role": "roles/iap.tunnelResourceAccessor", "members": [format!("serviceAccount:{stranger}")],
    });
    assert_eq!(bound["bindings"], json!([binding]));
    policy("remove-iam-policy-binding", &reach);
    assert_eq!(policy("get-iam-policy", &[]).get("bindings"), None);
    let file = gcloud.file("group.json", &json!({"bindings": [binding]}));
    assert_eq!(policy("set-iam-policy", &[&file])["bindings"], json!([binding]));

    // A group goes with its policy.
    let delete = groups(&["delete", "prod", region, "--quiet"]);
    gcloud.denied(&delete, "iap.tunnelDestGroups.delete");
    gcloud.output(&delete);
    gcloud.fails(&describe, "NOT_FOUND");
    gcloud.output(&create);
    assert_eq!(policy("get-iam-policy", &[]), json!({"etag": "ACAB"}));
}

pub(crate) fn applications(place: &dyn Place) {
    let gcloud = Gcloud::sign_in(place);
    let (robot, token) = (gcloud.email("robot"), {
        let key_file = place.text("/service_accounts/robot/key_file");
        gcloud.output(&["auth", "activate-service-account", "--key-file", key_file]);
        let token = gcloud.token("robot");
        gcloud.output(&["config", "set", "account", gcloud.email("caller")]);
        token
    });
    operator_makes_applications(&gcloud);
    fn services<'a>(more: &[&'a str]) -> Vec<&'a str> {
        [&["compute", "backend-services"], more].concat()
    }
    let app = |verb: &'static str, more: &[&'static str]| services(&[&[verb, "app", "--global"], more].concat());
    let all = "app\t\tTrue\nother-app\t\tTrue\nwiki\teurope-west1\tTrue";
    let list = ["compute", "backend-services", "list", "--format=value(name,region.basename(),iap.enabled)"];
    assert_eq!(gcloud.output(&list), all);
    let described = gcloud.json(&app("describe", &[]));
    let client_id = place.text("/app/client_id");
    assert_eq!((&described["name"], &described["iap"]["oauth2ClientId"]), (&json!("app"), &json!(client_id)));
    assert_eq!(gcloud.output(&app("describe", &["--format=value(iap.enabled)"])), "True");
    gcloud.fails(&services(&["describe", "none", "--global"]), "not found");

    // Off and on, by both commands. What is off lets nobody in.
    let web = |verb: &'static str| -> Vec<&str> { [&["iap", "web", verb][..], &ON_APP].concat() };
    gcloud.ask(&token, "/").is_of(robot);
    for (off, on) in
        [(app("update", &["--iap=disabled"]), app("update", &["--iap=enabled"])), (web("disable"), web("enable"))]
    {
        gcloud.output(&off);
        let refused = gcloud.ask(&token, "/");
        assert!(refused.status >= 400, "{refused:?}");
        gcloud.output(&on);
        gcloud.ask(&token, "/").is_of(robot);
    }
    assert_eq!(gcloud.json(&app("describe", &[]))["iap"]["oauth2ClientId"], client_id, "it keeps its client");

    // A client of the caller's own choice; its secret is shown by its hash.
    let chosen = "1-chosen.apps.googleusercontent.com";
    let secret = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    let iap = format!("--iap=enabled,oauth2-client-id={chosen},oauth2-client-secret={secret}");
    gcloud.output(&services(&["update", "wiki", "--region=europe-west1", &iap]));
    let wiki = ["compute", "backend-services", "describe", "wiki", "--region=europe-west1"];
    // Its SHA-256, of the examples to FIPS 180-4.
    let expected = json!({
        "enabled": true, "oauth2ClientId": chosen,
        "oauth2ClientSecretSha256": "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
    });
    assert_eq!(gcloud.json(&wiki)["iap"], expected);
    let another = "1-another.apps.googleusercontent.com";
    let id = format!("--oauth2-client-id={another}");
    let both = [id.as_str(), "--oauth2-client-secret=a-secret-of-another-client"];
    let other = ["iap", "web", "enable", "--resource-type=backend-services", "--service=other-app"];
    gcloud.output(&[&other[..], &both].concat());
    let shown = gcloud.output(&services(&["describe", "other-app", "--global", "--format=value(iap.oauth2ClientId)"]));
    assert_eq!(shown, another);

    // Several calls in one request.
    let batched = |arguments: &[&str]| {
        let mut command = place.gcloud(arguments);
        gcloud.run(command.env("CLOUDSDK_COMPUTE_FORCE_BATCH_REQUEST", "1"))
    };
    assert_eq!(batched(&list), all);
    assert_eq!(batched(&app("describe", &["--format=value(name)"])), "app");
    batched(&app("update", &["--iap=enabled"]));
    let mut missing = place.gcloud(&services(&["describe", "none", "--global"]));
    let Finished { code, stderr, .. } = place.run(missing.env("CLOUDSDK_COMPUTE_FORCE_BATCH_REQUEST", "1"));
    assert!(code == Some(1) && stderr.contains("not found"), "{stderr}");
    let several = services(&["delete", "other-app", "none", "--global"]);
    gcloud.fails(&several, "none");
    assert_eq!(gcloud.output(&list), "app\t\tTrue\nwiki\teurope-west1\tTrue");

    let engine = |verb: &'static str| ["iap", "web", verb, "--resource-type=app-engine"];
    for (verb, enabled) in [("disable", false), ("enable", true)] {
        let done = gcloud.json(&engine(verb));
        let shown = (&done["done"], &done["response"]["iap"]["enabled"]);
        assert_eq!(shown, (&json!(true), &json!(enabled)), "{done}");
    }

    gcloud.denied(&app("describe", &[]), "compute.backendServices.get");
    // gcloud warns, and has nothing to list.
    let account = format!("--account={}", gcloud.email("stranger"));
    let Finished { stdout, stderr, .. } = place.run(&mut place.gcloud(&[&list[..], &[&account]].concat()));
    assert!(
        stdout.trim().is_empty() && stderr.contains("Permission 'compute.backendServices.list' denied"),
        "{stdout}{stderr}"
    );
    gcloud.denied(&app("update", &["--iap=disabled"]), "compute.backendServices.get");
    gcloud.denied(&web("disable"), "compute.backendServices.get");
    gcloud.denied(&engine("disable"), "appengine.applications.get");
}

pub(crate) fn service_accounts(place: &dyn Place) {
    let gcloud = Gcloud::sign_in(place);
    let caller = gcloud.email("caller");
    let project = place.text("/project/id");
    let email = format!("worker@{project}.iam.gserviceaccount.com");
    let accounts = |more: &[&str]| [&["iam", "service-accounts"], more].concat().join("\u{1f}");
    fn each(words: &str) -> Vec<&str> {
        words.split('\u{1f}').collect()
    }
    let of = |verb: &str, more: &[&str]| accounts(&[&[verb, email.as_str()], more].concat());
    let json = |words: String| gcloud.json(&each(&words));
    let output = |words: String| gcloud.output(&each(&words));
    let denied = |words: String, permission: &str| gcloud.denied(&each(&words), permission);

    denied(accounts(&["create", "worker"]), "iam.serviceAccounts.create");
    denied(accounts(&["list"]), "iam.serviceAccounts.list");
    output(accounts(&["create", "worker", "--display-name=One", "--description=Works"]));
    let shown = json(of("describe", &[]));
    assert_eq!([&shown["email"], &shown["displayName"], &shown["description"]], [email.as_str(), "One", "Works"]);
    let listed = json(accounts(&["list"]));
    let is_it = |it: &Value| (&it["email"], &it["uniqueId"]) == (&shown["email"], &shown["uniqueId"]);
    assert!(listed.as_array().is_some_and(|all| all.iter().any(is_it)), "{listed}");
    denied(of("describe", &[]), "iam.serviceAccounts.get");

    denied(of("update", &["--display-name=Two"]), "iam.serviceAccounts.update");
    output(of("update", &["--display-name=Two"]));
    let renamed = json(of("describe", &[]));
    assert_eq!([&renamed["displayName"], &renamed["description"]], ["Two", "Works"], "only what was said is changed");
    for (verb, disabled) in [("disable", json!(true)), ("enable", Value::Null)] {
        denied(of(verb, &[]), &format!("iam.serviceAccounts.{verb}"));
        output(of(verb, &[]));
        assert_eq!(json(of("describe", &[]))["disabled"], disabled);
    }

    let account = format!("--iam-account={email}");
    let keys = |more: &[&str]| accounts(&[&["keys"], more, &[account.as_str()]].concat());
    let key_path = place.folder().join("worker.json").display().to_string();
    denied(keys(&["create", &key_path]), "iam.serviceAccountKeys.create");
    output(keys(&["create", &key_path]));
    let key: Value = serde_json::from_slice(&std::fs::read(&key_path).expect("the key file")).expect("JSON");
    let id = key["private_key_id"].as_str().expect("an id");
    let ids =
        || json(keys(&["list"])).as_array().expect("keys").iter().map(|key| key["name"].clone()).collect::<Vec<_>>();
    let name = Value::from(format!("projects/{project}/serviceAccounts/{email}/keys/{id}"));
    assert!(ids().contains(&name));
    let certificate = place.folder().join("worker.pem").display().to_string();
    let show = format!("beta\u{1f}{}", keys(&["get-public-key", id, &format!("--output-file={certificate}")]));
    output(show.clone());
    let shown_key = std::fs::read_to_string(&certificate).expect("a certificate");
    assert!(shown_key.starts_with("-----BEGIN CERTIFICATE-----"), "{shown_key}");
    denied(show, "iam.serviceAccountKeys.get");
    for verb in ["disable", "enable", "delete"] {
        denied(keys(&[verb, id]), &format!("iam.serviceAccountKeys.{verb}"));
        output(keys(&[verb, id]));
    }
    assert!(!ids().contains(&name));

    // Who may sign as it, and what it signed.
    let blob = gcloud.file("blob", &Value::from("some bytes"));
    let claims = gcloud.file("claims.json", &json!({"sub": "somebody"}));
    let [signed_blob, signed_jwt] =
        ["blob.signed", "signed.jwt"].map(|name| place.folder().join(name).display().to_string());
    let sign_blob = || accounts(&["sign-blob", &blob, &signed_blob, &account]);
    let sign_jwt = || accounts(&["sign-jwt", &claims, &signed_jwt, &account]);
    gcloud.fails(&each(&sign_jwt()), "Permission 'iam.serviceAccounts.signJwt' denied");
    gcloud.fails(&each(&sign_blob()), "Permission 'iam.serviceAccounts.signBlob' denied");
    let binding =
        [format!("--member=serviceAccount:{caller}"), "--role=roles/iam.serviceAccountTokenCreator".to_owned()];
    let binding: Vec<&str> = binding.iter().map(String::as_str).collect();
    denied(of("add-iam-policy-binding", &binding), "iam.serviceAccounts.getIamPolicy");
    output(of("add-iam-policy-binding", &binding));
    let policy = json(of("get-iam-policy", &[]));
    assert_eq!(policy["bindings"][0]["members"], json!([format!("serviceAccount:{caller}")]));
    output(sign_jwt());
    output(sign_blob());
    assert_eq!(std::fs::read_to_string(&signed_jwt).expect("a JWT").split('.').count(), 3);
    assert_eq!(std::fs::read(&signed_blob).expect("a signature").len(), 256, "of RSA 2048");
    output(of("remove-iam-policy-binding", &binding));
    gcloud.fails(&each(&sign_jwt()), "Permission 'iam.serviceAccounts.signJwt' denied");
    let stale = gcloud.file("account-policy.json", &policy);
    gcloud.fails(&each(&of("set-iam-policy", &[&stale])), "ABORTED: There were concurrent policy changes");

    denied(of("delete", &[]), "iam.serviceAccounts.delete");
    output(of("delete", &[]));
    gcloud.fails(&each(&of("describe", &[])), "NOT_FOUND");
    let unique_id = shown["uniqueId"].as_str().expect("a number");
    gcloud.fails(&each(&accounts(&["undelete", unique_id])), "cannot be brought back");
}

pub(crate) fn roles_deny_policies_and_the_project(place: &dyn Place) {
    let gcloud = Gcloud::sign_in(place);
    let (project, number) = (place.text("/project/id"), gcloud.number());
    let in_project = format!("--project={project}");
    let (stranger, token) = (gcloud.email("stranger"), gcloud.token("stranger"));
    let member = format!("--member=serviceAccount:{stranger}");
    fn role<'a>(verb: &'a str, in_project: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        [&["iam", "roles", verb, "doorOpener", in_project][..], more].concat()
    }
    let role = |verb, more: &[&'static str]| role(verb, &in_project, more);

    // A role of the project's own opens the door while it holds that permission and is not deleted.
    let create = role("create", &["--title=Opener", "--permissions=iap.webServiceVersions.accessViaIAP", "--stage=GA"]);
    let created = gcloud.json(&create);
    // By the project's id, here and in policies: gcloud looks for the very text when it takes a binding away.
    let name = format!("projects/{project}/roles/doorOpener");
    assert_eq!(created["name"], name, "{created}");
    let list = ["iam", "roles", "list", &in_project];
    let names = |more: &[&str]| {
        let listed = gcloud.json(&[&list[..], more].concat());
        listed.as_array().expect("roles").iter().map(|role| role["title"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&[]), ["Opener"]);
    let grant = format!("--role={name}");
    // Written by the number it is the same role.
    let by_number = format!("--role=projects/{number}/roles/doorOpener");
    gcloud.output(&["projects", "add-iam-policy-binding", project, &member, &by_number]);
    gcloud.ask(&token, "/").is_of(stranger);
    let described = gcloud.json(&role("describe", &[]));
    assert_eq!(described["includedPermissions"], json!(["iap.webServiceVersions.accessViaIAP"]));
    gcloud.output(&role("update", &["--title=Other", "--permissions=iap.web.getIamPolicy"]));
    gcloud.ask(&token, "/").is_refused_to(stranger);
    gcloud.output(&role("update", &["--add-permissions=iap.webServiceVersions.accessViaIAP"]));
    gcloud.ask(&token, "/").is_of(stranger);
    gcloud.output(&role("delete", &[]));
    gcloud.ask(&token, "/").is_refused_to(stranger);
    assert_eq!((names(&[]), names(&["--show-deleted"])), (vec![], vec![json!("Other")]));
    gcloud.output(&role("undelete", &[]));
    gcloud.ask(&token, "/").is_of(stranger);
    let predefined = gcloud.json(&["iam", "roles", "describe", "roles/iap.httpsResourceAccessor"]);
    assert_eq!(predefined["includedPermissions"], json!(["iap.webServiceVersions.accessViaIAP"]));
    let all = gcloud.json(&["iam", "roles", "list"]);
    assert!(all.as_array().is_some_and(|all| all.iter().any(|role| role["name"] == "roles/iap.admin")), "{all}");
    let source = ["iam", "roles", "copy", "--source=roles/iap.admin", "--destination=copied"];
    gcloud.output(&[&source[..], &[&format!("--dest-project={project}")]].concat());
    let full = format!("//cloudresourcemanager.googleapis.com/projects/{project}");
    for list in ["list-testable-permissions", "list-grantable-roles"] {
        assert!(gcloud.json(&["iam", list, &full]).as_array().is_some_and(|all| all.len() > 20), "{list}");
    }

    // A deny policy comes before all that.
    let rule = json!({
        "deniedPrincipals": [format!("principal://iam.googleapis.com/projects/-/serviceAccounts/{stranger}")],
        "deniedPermissions": ["iap.googleapis.com/webServiceVersions.accessViaIAP"],
    });
    let file = gcloud.file("deny.json", &json!({"displayName": "Not this one", "rules": [{"denyRule": rule}]}));
    let attachment = format!("--attachment-point=cloudresourcemanager.googleapis.com/projects/{project}");
    let kind = [attachment.as_str(), "--kind=denypolicies"];
    let deny = |verb, more: &[&'static str]| [&["iam", "policies", verb][..], more, &kind].concat();
    gcloud.denied(&deny("list", &[]), "iam.denypolicies.list");
    let from_file = format!("--policy-file={file}");
    let mut create = deny("create", &["not-you"]);
    create.push(&from_file);
    gcloud.denied(&create, "iam.denypolicies.create");
    gcloud.output(&create);
    gcloud.ask(&token, "/").is_refused_to(stranger);
    let denies = gcloud.json(&deny("get", &["not-you"]));
    let named = format!("policies/cloudresourcemanager.googleapis.com%2Fprojects%2F{number}/denypolicies/not-you");
    assert_eq!((&denies["name"], &denies["rules"][0]["denyRule"]), (&json!(named), &rule), "{denies}");
    let listed = gcloud.json(&deny("list", &[]));
    assert!(listed.to_string().contains("Not this one"), "{listed}");
    let mut changed = denies.clone();
    changed["rules"][0]["denyRule"]["deniedPermissions"] = json!(["iap.googleapis.com/web.getIamPolicy"]);
    let changed = format!("--policy-file={}", gcloud.file("changed.json", &changed));
    let mut update = deny("update", &["not-you"]);
    update.push(&changed);
    gcloud.output(&update);
    gcloud.ask(&token, "/").is_of(stranger);
    gcloud.fails(&update, "ABORTED");
    gcloud.output(&deny("delete", &["not-you"]));
    gcloud.fails(&deny("get", &["not-you"]), "NOT_FOUND");

    // The project.
    gcloud.output(&["projects", "remove-iam-policy-binding", project, &member, &grant]);
    gcloud.ask(&token, "/").is_refused_to(stranger);
    let described = gcloud.json(&["projects", "describe", project]);
    assert_eq!([&described["projectId"], &described["projectNumber"]], [project, number]);
    assert_eq!(gcloud.output(&["projects", "list", "--format=value(projectId)"]), project);
    let ancestors = gcloud.json(&["projects", "get-ancestors", project]);
    let kinds = ancestors.as_array().expect("ancestors").iter().map(|it| it["type"].clone()).collect::<Vec<_>>();
    assert_eq!(kinds, ["project", "folder", "organization"]);
    let policy = gcloud.json(&["projects", "get-iam-policy", project]);
    let file = gcloud.file("project.json", &policy);
    gcloud.output(&["projects", "set-iam-policy", project, &file]);
    gcloud.fails(&["projects", "set-iam-policy", project, &file], "concurrent policy changes");
    gcloud.denied(&["projects", "describe", project], "resourcemanager.projects.get");
    gcloud.denied(&["projects", "get-iam-policy", project], "resourcemanager.projects.getIamPolicy");
    gcloud.denied(&list, "iam.roles.list");
    gcloud.denied(&role("delete", &[]), "iam.roles.delete");
}

/// Our own command line where no directory has to be named.
pub(crate) fn inside(arguments: &[&str]) -> Command {
    let mut command = doorward();
    command.args(arguments);
    command
}
