//! What is meant, and every mistake.

use super::applications::name_of;
use super::*;
use crate::serve::tls::tests::{pair, write_pair};
use doorward_core::resource::Ancestor;

/// A folder with a file, and what it names.
struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Self {
        let bench = Bench(tempfile::tempdir().unwrap());
        write_pair(bench.0.path(), "auth", &pair("auth.example.com"));
        write_pair(bench.0.path(), "apps", &pair("*.example.com"));
        for (name, text) in [("password", "pass word\nsecond line\n"), ("empty", "\n")] {
            bench.write_secret(name, text);
        }
        bench
    }

    fn write_secret(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
        std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, text: &str) -> Result<Config, Mistakes> {
        let path = self.path("doorward.toml");
        std::fs::write(&path, text).unwrap();
        let environment = |name: &str| match name {
            "TOKEN" => Some("doorward_admin_0123456789012345678901234567890123".to_owned()),
            "SHORT" => Some("hunter2".to_owned()),
            "NEWLINE" => Some("a\nb".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        read(&path, &environment)
    }

    /// `LINE:COLUMN MISTAKE` of each, or none.
    fn mistakes(&self, text: &str) -> Vec<String> {
        let folder = format!("{}/", self.0.path().display());
        let Err(mistakes) = self.read(text) else { return Vec::new() };
        mistakes.to_string().lines().map(|line| line.replace(&folder, "")).collect()
    }
}

const TEN_LINES: &str = r#"[server]
api_url = "https://auth.example.com"
api  = { listen = "0.0.0.0:8443", tls = { certificate = "auth.pem", key = "auth.key" } }
apps = { listen = "0.0.0.0:443", tls = { certificate = "apps.pem", key = "apps.key" } }

[[app]]
host = "wiki.example.com"
to = "http://10.0.0.7:3000"
allow = ["domain:example.com", "serviceAccount:backup@ops.iam.gserviceaccount.com"]
"#;

#[test]
fn ten_lines_protect_an_application() {
    let bench = Bench::new();
    let config = bench.read(TEN_LINES).unwrap();
    assert_eq!((config.api_url.as_str(), config.issuer()), ("https://auth.example.com", "https://auth.example.com"));
    assert_eq!(config.apps.address.to_string(), "0.0.0.0:443");
    let [app] = &config.applications[..] else { panic!("{:?}", config.applications) };
    assert_eq!(app.name.as_str(), "wiki-example-com");
    assert_eq!(app.kind, ServiceKind::BackendService { region: None });
    let routes: Vec<String> = app.routes.iter().map(|it| format!("{}{}", it.origin, it.prefix.as_str())).collect();
    assert_eq!((routes, app.line), (vec!["https://wiki.example.com/".to_owned()], 6));
    assert_eq!(app.upstreams, ["http://10.0.0.7:3000"]);
    assert_eq!(app.allow.as_ref().map(Vec::len), Some(2));
    assert!(!config.defaults.forward_credential && config.defaults.email_claim == EmailClaim::Required);
    assert_eq!((config.keep_events, config.keep_for.as_secs()), (1_000_000, 90 * 86_400));
    assert_eq!(config.staleness_limit, Duration::from_secs(30));
    assert!(config.admin_token.is_none() && config.sinks.is_empty());
    let StoreConfig::Sqlite { path, key_file } = &config.store else { panic!("{:?}", config.store) };
    assert_eq!((path, key_file), (&bench.path("state/doorward.db"), &bench.path("state/store.key")));
    assert_eq!((config.project.id.as_str(), config.project.number.as_str()), ("doorward", "100000000001"));
}

#[test]
fn everything_that_can_be_said_is_read() {
    let bench = Bench::new();
    let text = r#"
trusted_issuers = "issuers.toml"
[server]
api_url = "http://localhost:8081/"
names = "google"
api = { listen = "127.0.0.1:8081" }
apps = { listen = "10.0.0.1:8080", behind_tls_proxy = true }
state = "/var/lib/doorward"
admin_token = { env = "TOKEN" }
[project]
id = "ops-prod"
number = "415104041262"
organization = "77"
folders = ["12", "34"]
[store]
url = "postgres://doorward@db.example.com/doorward"
password = { file = "password" }
connections = 20
key_file = "/etc/doorward/store.key"
[audit]
retention = { days = 30, events = 5 }
[[audit.sink]]
kind = "stdout"
[[audit.sink]]
name = "siem"
kind = "otlp"
endpoint = "https://otel.example.com:4318"
headers = { authorization = { env = "TOKEN" } }
ca_file = "apps.pem"
[[audit.sink]]
kind = "file"
path = "audit.jsonl"
[policy]
condition_headers = ["x-team"]
staleness_limit = "1m"
[settings]
email_claim = "optional"
forward_credential = true
[[app]]
name = "wiki"
host = ["wiki.example.com", "https://docs.example.com:8443"]
paths = ["/wiki", "/help/"]
to = ["http://10.0.0.7:3000", "https://10.0.0.8"]
allow = []
kind = "cloud_run"
region = "europe-west1"
settings = { access_settings = { oauth_settings = { programmatic_clients = ["x"] } } }
[[app]]
host = "old.example.com"
to = "http://10.0.0.9"
kind = "app_engine"
version = "v1"
[[trusted_issuer]]
id = "corp"
issuer = "https://login.corp.example"
audiences = ["wiki"]
"#;
    let list =
        "[[trusted_issuer]]\nid = 'ci'\nissuer = 'https://ci.example'\naudiences = ['wiki']\ngroups_claim = 'groups'\n";
    std::fs::write(bench.path("issuers.toml"), list).unwrap();
    let config = bench.read(text).unwrap();
    assert_eq!((config.api_url.as_str(), config.issuer()), ("http://localhost:8081", GOOGLE));
    assert_eq!(
        (&config.api.spoken, &config.apps.spoken),
        (&Spoken::Loopback, &Spoken::BehindTlsProxy { trusted: Vec::new() })
    );
    assert_eq!(config.state, Path::new("/var/lib/doorward"));
    assert!(config.admin_token.unwrap().expose().starts_with("doorward_admin_"));
    let ancestors = ["12", "34"].map(|it| Ancestor::Folder(it.into())).into_iter();
    let ancestors: Vec<_> = ancestors.chain([Ancestor::Organization("77".into())]).collect();
    assert_eq!(config.project.ancestors, ancestors);
    assert!(matches!(config.store, StoreConfig::Postgres { .. }));
    let sinks: Vec<&str> = config.sinks.iter().map(|sink| sink.name.as_str()).collect();
    assert_eq!(
        (sinks, config.keep_events, config.keep_for.as_secs()),
        (vec!["stdout", "siem", "file"], 5, 30 * 86_400)
    );
    let SinkTarget::Otlp { headers, authorities, .. } = &config.sinks[1].target else { panic!("{:?}", config.sinks) };
    assert!(headers[0].1.is_sensitive() && authorities.len() == 1);
    assert!(!format!("{:?}", config.sinks).contains("doorward_admin"));
    assert_eq!(config.condition_headers.names().collect::<Vec<_>>(), ["x-team"]);
    assert_eq!(config.staleness_limit, Duration::from_secs(60));
    assert!(config.defaults.forward_credential && config.defaults.email_claim == EmailClaim::Optional);
    let wiki = &config.applications[0];
    let routes: Vec<String> = wiki.routes.iter().map(|it| format!("{}{}", it.origin, it.prefix.as_str())).collect();
    #[rustfmt::skip]
    let expected = ["https://wiki.example.com/wiki", "https://wiki.example.com/help", "https://docs.example.com:8443/wiki", "https://docs.example.com:8443/help"];
    assert_eq!(routes, expected);
    assert_eq!((wiki.allow.as_deref(), wiki.upstreams.len()), (Some(&[][..]), 2));
    assert_eq!(wiki.settings.as_ref().and_then(|it| it.programmatic_clients()), Some(&["x".to_owned()][..]));
    let old = ServiceKind::AppEngine { service: "default".into(), version: "v1".into() };
    assert_eq!((&config.applications[1].kind, &config.applications[1].allow), (&old, &None));
    for (issuer, groups) in [("https://login.corp.example", None), ("https://ci.example", Some("groups"))] {
        let entry = config.trusted_issuers.find(issuer).unwrap();
        assert_eq!(entry.groups_claim.as_deref(), groups, "{issuer}");
    }
}

#[test]
fn an_empty_file_lacks_three_things() {
    let bench = Bench::new();
    let expected = ["server.api_url", "server.api", "server.apps"].map(|it| format!("doorward.toml: {it} is missing"));
    assert_eq!(bench.mistakes(""), expected);
    let [gone] = &bench.mistakes("[server\n")[..] else { panic!("only that it is no TOML") };
    assert!(gone.starts_with("doorward.toml:1:8: "), "{gone}");
    let missing = read(&bench.path("gone.toml"), &|_| None).unwrap_err();
    assert!(missing.to_string().contains("cannot read"), "{missing}");
}

#[test]
fn every_mistake_of_a_file_is_listed_at_once() {
    let bench = Bench::new();
    let text = r#"[server]
api_url = "auth.example.com"
apps = { listen = "0.0.0.0:80" }
admin_tokn = { env = "TOKEN" }
[project]
number = 415104041262
[[app]]
host = ["wiki example", "b.example.com"]
to = "http://10.0.0.7/path"
allow = ["domain:example.com", "bob@example.com"]
[[app]]
host = "b.example.com"
to = "http://10.0.0.8"
paths = ["admin"]
[[app]]
host = "b.example.com"
"#;
    assert_eq!(
        bench.mistakes(text),
        [
            "doorward.toml: server.api is missing",
            "doorward.toml:2:11: api_url is https://HOST or https://HOST:PORT, without a path; http only if the host is localhost or a loopback address",
            "doorward.toml:3:19: 0.0.0.0:80 can be reached from other machines, and cookies and tokens would cross the network in the clear: give it `tls`; if something before it ends TLS, and nothing else reaches it, state `behind_tls_proxy = true`",
            "doorward.toml:4:1: unknown field `admin_tokn`, expected one of `api_url`, `names`, `api`, `apps`, `state`, `admin_token`, `sign_in_clients`",
            "doorward.toml:6:10: invalid type: integer `415104041262`, expected a string",
            "doorward.toml:8:9: \"wiki example\": not a host: write wiki.example.com, wiki.example.com:8443 or an origin such as https://wiki.example.com",
            "doorward.toml:9:6: \"http://10.0.0.7/path\": an address of an application ends after the port: it has no path, query or fragment",
            "doorward.toml:10:32: \"bob@example.com\": not a member: write user:EMAIL, serviceAccount:EMAIL, group:EMAIL, domain:DOMAIN, principal://…, principalSet://…, allAuthenticatedUsers or allUsers",
            "doorward.toml:11:1: two applications are called b-example-com: give each its own `name`",
            "doorward.toml:14:10: \"admin\": a path prefix starts with '/', and has no empty and no dot segment, and only A-Z a-z 0-9 . _ ~ ! $ & ' ( ) * + , = : @ -",
            "doorward.toml:15:1: to is missing",
            "doorward.toml:15:1: two applications are called b-example-com: give each its own `name`",
            "doorward.toml:16:8: http://b.example.com/ is served by b-example-com too: a place has one application",
        ]
    );
}

#[test]
fn one_mistake_gives_one_line() {
    let bench = Bench::new();
    bench.write_secret("bad.key", "too short");
    for (name, mode) in [("read.key", 0o644), ("password.group", 0o640), ("password.all", 0o604)] {
        bench.write_secret(name, "p");
        std::fs::set_permissions(bench.path(name), std::fs::Permissions::from_mode(mode)).unwrap();
    }
    std::fs::write(bench.path("read.key"), std::fs::read(bench.path("auth.key")).unwrap()).unwrap();
    std::fs::write(bench.path("store.key"), "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY=").unwrap();
    std::fs::write(bench.path("keys.json"), r#"{"keys":[]}"#).unwrap();
    std::fs::write(
        bench.path("list.toml"),
        "[[trusted_issuer]]\nid = 'A'\nissuer = 'https://a.example'\naudiences = ['x']\n",
    )
    .unwrap();
    let server = |from: &str, to: &str| TEN_LINES.replace(from, to);
    let app = |line: &str| format!("{TEN_LINES}{line}\n");
    let behind_proxy = |host: &str| {
        server("tls = { certificate = \"apps.pem\", key = \"apps.key\" }", "behind_tls_proxy = true")
            .replace("wiki.example.com", host)
    };
    let issuer = |lines: &str| {
        format!(
            "{TEN_LINES}[[trusted_issuer]]\nid = \"a\"\nissuer = \"https://a.example\"\naudiences = [\"x\"]\n{lines}\n"
        )
    };
    #[rustfmt::skip]
    let cases = [
        // listeners and our origin
        (server("https://auth.example.com", "https://auth.example.com/x"),   "2:11: api_url is https://HOST"),
        (server("https://auth.example.com", "http://auth.example.com"),      "2:11: api_url is https://HOST"),
        (server("https://auth.example.com", "http://127.0.0.1:8443"),        "2:11: api_url is http, but the listener of the API speaks https"),
        (server("https://auth.example.com", "https://login.example.com"),    "2:11: no certificate of the listener is for login.example.com"),
        (server("0.0.0.0:8443", "0.0.0.0"),                                  "3:19: \"0.0.0.0\" is not ADDRESS:PORT"),
        (server("0.0.0.0:8443", "0.0.0.0:0"),                                "3:19: \"0.0.0.0:0\" is not ADDRESS:PORT"),
        (server("0.0.0.0:8443", "0.0.0.0:443"),                              "4:8: the API and the applications cannot share 0.0.0.0:443"),
        (server("\"auth.pem\", ", "\"gone.pem\", "),                         "3:41: cannot read gone.pem"),
        (server("\"auth.key\"", "\"apps.key\""),                             "3:41: the key in apps.key is not the one of the certificate in auth.pem"),
        (server(", key = \"auth.key\"", ""),                                 "3:41: tls.key is missing"),
        (server("key = \"auth.key\" } }", "key = \"auth.key\" }, behind_tls_proxy = true }"), "3:8: a listener has `tls` or is behind a TLS proxy"),
        (server("key = \"auth.key\"", "key = \"read.key\""),               "3:41: read.key holds a secret, and every user of this machine can read it"),
        (server("\"0.0.0.0:8443\", tls", "\"0.0.0.0:8443\", trusted_proxies = [\"10.0.0.0/8\"], tls"), "3:54: trusted_proxies is for a listener with"),
        (server("tls = { certificate = \"apps.pem\", key = \"apps.key\" }", "behind_tls_proxy = true, trusted_proxies = [\"10.0.0.1/8\"]"), "4:78: \"10.0.0.1/8\" is not a network"),
        (server("[[app]]", "sign_in_clients = [\"gsutil\"]\n[[app]]"),       "6:20: unknown variant `gsutil`, expected `doorward` or `gcloud`"),
        // the operator's token
        (server("[[app]]", "admin_token = { env = \"GONE\" }\n[[app]]"),     "6:15: the environment has no variable GONE"),
        (server("[[app]]", "admin_token = { env = \"EMPTY\" }\n[[app]]"),    "6:15: the environment has no variable EMPTY"),
        (server("[[app]]", "admin_token = { env = \"SHORT\" }\n[[app]]"),    "6:15: the token of the operator has fewer than 32"),
        (server("[[app]]", "admin_token = { file = \"empty\" }\n[[app]]"),   "6:15: empty is empty"),
        (server("[[app]]", "admin_token = \"doorward_admin_x\"\n[[app]]"),   "6:15: a secret must not stand in this file"),
        // the project
        (server("[[app]]", "[project]\nid = \"Ops\"\n[[app]]"),              "7:6: a project's id has"),
        (server("[[app]]", "[project]\nnumber = \"12x\"\n[[app]]"),          "7:10: \"12x\" is not a number"),
        (server("[[app]]", "[project]\nfolders = [\"1\", \"01\"]\n[[app]]"), "7:17: \"01\" is not a number"),
        // the store
        (app("[store]\npath = \"a\"\nurl = \"postgres://db/d\""),            "11:8: the store is `path` or `url`"),
        (app("[store]\npassword = { file = \"password\" }"),                 "11:12: `password` is for `url`"),
        (app("[store]\nurl = \"postgres://u:s3cret@db/d\""),                 "11:7: the URL of the database holds a password"),
        (app("[store]\nurl = \"postgres://db/d?password=s3cret\""),          "11:7: the URL of the database holds a password"),
        (app("[store]\nurl = \"mysql://db/d\""),                             "11:7: the URL of the database must be"),
        (app("[store]\nurl = \"postgres://db/d\"\npassword = { file = \"gone\" }"), "12:12: cannot read gone"),
        (app("[store]\nurl = \"postgres://db/d\"\npassword = { file = \"password.all\" }"), "12:12: password.all holds a secret"),
        (app("[store]\nkey_file = \"store.key\""),                           "11:12: store.key holds a secret"),
        (app("[settings]\ncontact = \" \""),                                 "11:11: contact is an address or a few words"),
        (app("[store]\nkey_file = \"bad.key\""),                             "11:12: the key file bad.key cannot be used"),
        // sinks
        (app("[[audit.sink]]\nname = \"a\""),                                "10:1: kind is missing"),
        (app("[[audit.sink]]\nkind = \"file\""),                             "10:1: path is missing"),
        (app("[[audit.sink]]\nkind = \"otlp\""),                             "10:1: endpoint is missing"),
        (app("[[audit.sink]]\nkind = \"stdout\"\npath = \"a\""),             "10:1: `path` is not for stdout"),
        (app("[[audit.sink]]\nkind = \"stdout\"\nname = \"../a\""),          "12:8: \"../a\" is not a name of a sink"),
        (app("[[audit.sink]]\nkind = \"file\"\npath = \"a\"\n[[audit.sink]]\nkind = \"file\"\npath = \"b\""), "13:1: two sinks are called file"),
        (app("[[audit.sink]]\nkind = \"file\"\npath = \"a\"\n[[audit.sink]]\nkind = \"file\"\nname = \"b\"\npath = \"a\""), "13:1: two sinks write to the same place"),
        (app("[[audit.sink]]\nkind = \"otlp\"\nendpoint = \"http://8.8.8.8\""), "12:12: endpoint: plain http is for this machine"),
        (app("[[audit.sink]]\nkind = \"otlp\"\nendpoint = \"https://o.test\"\nheaders = { host = { env = \"TOKEN\" } }"), "13:20: \"host\" is not a header field"),
        (app("[[audit.sink]]\nkind = \"otlp\"\nendpoint = \"https://o.test\"\nheaders = { x = { env = \"NEWLINE\" } }"), "13:17: \"x\" is not a header field"),
        (app("[[audit.sink]]\nkind = \"otlp\"\nendpoint = \"https://o.test\"\nheaders = { x = \"s3cret\" }"), "13:17: a secret must not stand in this file"),
        (app("[[audit.sink]]\nkind = \"otlp\"\nendpoint = \"https://o.test\"\nca_file = \"empty\""), "13:11: there is no certificate in empty"),
        (app("[audit]\nretention = { events = 0 }"),                         "11:24: events is at least 1"),
        (app("[audit]\nretention = { days = 0 }"),                           "11:22: days is at least 1"),
        // policies
        (app("[policy]\ncondition_headers = [\"x\", \"cookie\"]"),           "11:27: \"cookie\" is not a header field"),
        (app("[policy]\ncondition_headers = [\"X-Api-Key\"]"),              "11:22: \"X-Api-Key\" is not a header field that conditions may read"),
        (app("[policy]\ncondition_headers = [\"x-goog-iap-jwt-assertion\"]"), "11:22: \"x-goog-iap-jwt-assertion\" is not a header field"),
        (app("[policy]\ncondition_headers = [\"x_forwarded_for\"]"),        "11:22: \"x_forwarded_for\" is not a header field"),
        (app("[policy]\nstaleness_limit = \"1s\""),                          "11:19: \"1s\" is not a time between 5s and 3600s"),
        (app("[policy]\nstaleness_limit = \"soon\""),                        "11:19: \"soon\" is not a time"),
        // applications
        (server("wiki.example.com", "http://wiki.example.com"),              "7:8: http://wiki.example.com cannot be served: the listener of the applications speaks https"),
        (server("wiki.example.com", "wiki.example.org"),                     "7:8: no certificate of the listener is for wiki.example.org"),
        (server("wiki.example.com", "auth.example.com:8444"),                "7:8: auth.example.com:8444 is our own"),
        (behind_proxy("accounts.google.com"),                                "7:8: accounts.google.com is where Google's clients send"),
        (behind_proxy("metadata.google.internal"),                           "7:8: metadata.google.internal is where Google's clients send"),
        (app("name = \"Wiki\""),                                             "10:8: \"Wiki\": a name has"),
        (app("paths = [\"/a\", \"/a/\"]"),                                   "7:8: https://wiki.example.com/a is served by wiki-example-com too"),
        (app("kind = \"app_engine\""),                                       "6:1: version is missing"),
        (app("kind = \"cloud_run\""),                                        "6:1: region is missing"),
        (app("version = \"v1\""),                                            "10:11: `version` is not for backend_service"),
        (app("region = \"EU\""),                                             "10:10: \"EU\" is not a region"),
        (app("region = \"eu-\""),                                            "10:10: \"eu-\" is not a region"),
        (app("settings = { access_settings = { reauth_settings = { method = \"LOGIN\" } } }"), "10:12: settings: "),
        (app("settings = { access_setings = {} }"),                          "10:12: settings: there is no setting access_setings"),
        (server("\"domain:example.com\"", "\"deleted:user:a@x.com?uid=1\""), "9:10: \"deleted:user:a@x.com?uid=1\": not a member"),
        (server("\"domain:example.com\"", "\"projectOwner:p\""),             "9:10: \"projectOwner:p\": members of this form are not served"),
        // issuers
        (issuer("insecure_loopback = true"),                                 "10:1: insecure_loopback is for `doorward dev`"),
        (issuer("jwks_file = \"keys.json\""),                                "14:13: keys.json: there is no RS256 or ES256 key"),
        (issuer("email_domains = [\"Corp.example\"]"),                       "10:1: \"Corp.example\" is not a domain"),
        (issuer("").replace("id = \"a\"\n", ""),                             "10:1: id is missing"),
        (issuer("").replace("id = \"a\"", "id = \"A\""),                     "11:6: \"A\": an id has"),
        (issuer("").replace("https://a.example", "https://auth.example.com"), "10:1: \"https://auth.example.com\" is the issuer of our own tokens"),
        (format!("trusted_issuers = \"gone.toml\"\n{TEN_LINES}"),            "1:19: cannot read gone.toml"),
    ];
    for (text, expected) in cases {
        let mistakes = bench.mistakes(&text);
        assert_eq!(mistakes.len(), 1, "{text}\n{mistakes:#?}");
        assert!(mistakes[0].starts_with(&format!("doorward.toml:{expected}")), "{text}\n{}", mistakes[0]);
        assert!(!mistakes[0].contains("s3cret"), "{}", mistakes[0]);
    }
    let group = app("[store]\nurl = \"postgres://db/d\"\npassword = { file = \"password.group\" }");
    assert!(bench.mistakes(&group).is_empty(), "a group is how a service is given a secret");
    let listed = bench.mistakes(&format!("trusted_issuers = \"list.toml\"\n{TEN_LINES}"));
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert!(listed[0].starts_with("list.toml:2:6: \"A\": an id has"), "{}", listed[0]);
}

#[test]
fn a_name_is_made_of_a_host() {
    #[rustfmt::skip]
    let cases = [
        ("wiki.example.com",      Some("wiki-example-com")),
        ("wiki.example.com:8443", Some("wiki-example-com")),
        ("10.0.0.1:80",           Some("app-10-0-0-1")),
        ("[::1]:80",              Some("app-1")),
        ("a_b.test",              Some("a-b-test")),
    ];
    for (host, expected) in cases {
        let name = name_of(&Host::parse(host).unwrap());
        assert_eq!(name.as_ref().map(ApplicationName::as_str), expected, "{host}");
    }
}

#[test]
fn paths_are_relative_to_the_file_wherever_it_is_read_from() {
    // As `--config a/doorward.toml` is: a path that is relative itself.
    let folder = tempfile::tempdir().unwrap();
    let up: PathBuf = std::env::current_dir().unwrap().components().skip(1).map(|_| "..").collect();
    let file = up.join(folder.path().canonicalize().unwrap().strip_prefix("/").unwrap()).join("doorward.toml");
    let text = "[server]\napi_url = 'http://127.0.0.1:8081'\napi = { listen = '127.0.0.1:8081' }\napps = { listen = '127.0.0.1:8080' }\n";
    std::fs::write(&file, text).unwrap();
    let token = file.with_file_name("state").join(ADMIN_TOKEN_FILE);
    for is_there in [false, true] {
        if is_there {
            std::fs::create_dir(token.parent().unwrap()).unwrap();
            std::fs::write(&token, "doorward_admin_0123456789012345678901234567890\n").unwrap();
            std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        let config = read(&file, &|_| None).unwrap();
        assert_eq!((config.admin_token.is_some(), config.admin_token_file), (is_there, Some(token.clone())));
    }
}

#[test]
fn what_is_secret_is_not_shown() {
    let bench = Bench::new();
    let text = format!("{TEN_LINES}[store]\nurl = \"postgres://u@db/d\"\npassword = {{ file = \"password\" }}\n")
        .replace("[[app]]", "admin_token = { env = \"TOKEN\" }\n[[app]]");
    let shown = format!("{:?}", bench.read(&text).unwrap());
    assert!(!shown.contains("doorward_admin") && !shown.contains("pass word"), "{shown}");
}
