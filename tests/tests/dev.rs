//! `doorward dev` as a program meets it: its line, its directory, its refusals to start, its end.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use doorward_tests::{Client, Connection, Dev, Finished, LISTENERS, Process, Request, authority};
use serde_json::Value;

/// The names of an object's members.
fn members(value: &Value) -> Vec<&str> {
    value.as_object().unwrap_or_else(|| panic!("{value} is an object")).keys().map(String::as_str).collect()
}

/// One line on standard error, nothing on standard output, exit code 1.
fn refused(process: Process) -> String {
    let Finished { code, stdout, stderr } = process.finish();
    assert_eq!((code, stdout.as_str()), (Some(1), ""), "{stderr}");
    let line = stderr.strip_suffix('\n').unwrap_or_else(|| panic!("{stderr:?} is no line"));
    assert!(!line.contains('\n') && line.starts_with("doorward: "), "{stderr}");
    line.to_owned()
}

/// Every file of a directory with its bytes.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry")) {
        if entry.file_type().expect("a type").is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.insert(entry.path(), fs::read(entry.path()).expect("a file"));
        }
    }
    found
}

#[test]
fn the_line_of_json_is_the_documented_interface_and_the_same_as_the_file() {
    let dev = Dev::start(&[]);
    let description = dev.description();
    let file = fs::read(dev.dir().join("dev.json")).expect("dev.json");
    assert_eq!(&serde_json::from_slice::<Value>(&file).expect("JSON"), description);

    let app = ["audience", "backend_service", "client_id", "client_secret", "host", "https_url", "resource", "url"];
    let account = ["allowed", "email", "key_file", "unique_id"];
    let user = ["allowed", "authorized_user_file", "gcloud_refresh_token", "password", "sign_in_cookie"];
    let client = ["client_id", "client_secret"];
    let all = [
        "admin_token",
        "api_https_url",
        "api_url",
        "app",
        "ca_file",
        "credential_files",
        "metadata",
        "names",
        "oauth_clients",
        "other_app",
        "project",
        "service_accounts",
        "users",
        "version",
    ];
    #[rustfmt::skip]
    let shapes: [(&str, &[&str]); 18] = [
        ("",                            &all),
        ("/project",                    &["id", "number"]),
        ("/app",                        &app),
        ("/other_app",                  &app),
        ("/service_accounts",           &["caller", "robot", "stranger", "target"]),
        ("/service_accounts/robot",     &account),
        ("/service_accounts/stranger",  &account),
        ("/service_accounts/caller",    &account),
        ("/service_accounts/target",    &account),
        ("/users",                      &["alice@example.com", "bob@example.com"]),
        ("/users/alice@example.com",    &user),
        ("/users/bob@example.com",      &user),
        ("/oauth_clients",              &["android", "desktop", "web"]),
        ("/oauth_clients/android",      &client),
        ("/oauth_clients/desktop",      &client),
        ("/oauth_clients/web",          &client),
        ("/metadata",                   &["host", "service_account"]),
        ("/credential_files",           &["impersonated_service_account"]),
    ];
    for (pointer, expected) in shapes {
        assert_eq!(members(description.pointer(pointer).expect("a member")), expected, "{pointer}");
    }
    let allowed =
        ["robot", "stranger", "caller", "target"].map(|name| &description["service_accounts"][name]["allowed"]);
    assert_eq!(allowed, [true, false, false, true]);
    let allowed = ["alice@example.com", "bob@example.com"].map(|email| &description["users"][email]["allowed"]);
    assert_eq!(allowed, [true, false]);
    assert_eq!(description["version"], 1);
    assert_eq!(description["names"], false);
    let nulls = [
        "/ca_file",
        "/api_https_url",
        "/app/https_url",
        "/other_app/https_url",
        "/service_accounts/target/key_file",
        "/oauth_clients/android/client_secret",
    ];
    for null in nulls {
        assert_eq!(description.pointer(null), Some(&Value::Null), "{null}");
    }
    assert_eq!(dev.text("/metadata/service_account"), dev.text("/service_accounts/robot/email"));

    let number = dev.text("/project/number");
    for name in ["app", "other_app"] {
        let text = |member: &str| dev.text(&format!("/{name}/{member}"));
        let id =
            text("audience").strip_prefix(&format!("/projects/{number}/global/backendServices/")).expect("an audience");
        assert!(!id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()), "{id}");
        assert_eq!(text("resource"), format!("projects/{number}/iap_web/compute/services/{id}"));
        let random = text("client_id").strip_prefix(&format!("{number}-"));
        assert!(random.is_some_and(|rest| rest.ends_with(".apps.googleusercontent.com")), "{}", text("client_id"));
        assert_eq!(text("url"), format!("http://{}", text("host")));
        let known = ["127.0.0.1:", "localhost:"].iter().any(|host| text("host").starts_with(host));
        assert!(known, "{}", text("host"));
    }
    assert!(number.bytes().all(|b| b.is_ascii_digit()), "{number}");
    let Finished { stdout, .. } = dev.stop("TERM");
    assert_eq!(stdout, "", "one line, and nothing else");
}

#[test]
fn what_it_keeps_is_readable_by_its_owner_alone_and_stays_out_of_git() {
    let dev = Dev::start(&[]);
    let mode = |path: &Path| fs::metadata(path).expect("metadata").permissions().mode() & 0o777;
    assert_eq!(mode(dev.dir()), 0o700);
    let ignore = fs::read_to_string(dev.dir().join(".gitignore")).expect("a .gitignore");
    assert!(ignore.lines().any(|line| line == "*"), "{ignore}");
    let files = files(dev.dir());
    assert!(files.len() >= 5, "{:?}", files.keys());
    for path in files.keys().filter(|path| !path.ends_with(".gitignore")) {
        assert_eq!(mode(path), 0o600, "{}", path.display());
    }
}

#[test]
fn a_key_file_is_googles_field_for_field() {
    let dev = Dev::start(&[]);
    let file = fs::read(dev.text("/service_accounts/robot/key_file")).expect("a key file");
    let file: Value = serde_json::from_slice(&file).expect("JSON");
    let mut expected = [
        "type",
        "project_id",
        "private_key_id",
        "private_key",
        "client_email",
        "client_id",
        "auth_uri",
        "token_uri",
        "auth_provider_x509_cert_url",
        "client_x509_cert_url",
        "universe_domain",
    ];
    expected.sort_unstable();
    assert_eq!(members(&file), expected);
    assert_eq!((&file["type"], &file["universe_domain"]), (&"service_account".into(), &"googleapis.com".into()));
    assert_eq!(file["client_email"], dev.text("/service_accounts/robot/email"));
    assert_eq!(file["client_id"], dev.text("/service_accounts/robot/unique_id"));
    assert_eq!(file["token_uri"], dev.google("oauth2.googleapis.com/token"));
    let key = file["private_key"].as_str().expect("a key");
    assert!(key.starts_with("-----BEGIN PRIVATE KEY-----\n") && key.ends_with("-----END PRIVATE KEY-----\n"), "{key}");
}

#[test]
fn the_application_admits_who_is_said_to_be_allowed_and_the_other_one_nobody() {
    let dev = Dev::start(&[]);
    for (name, status) in [("robot", 200), ("stranger", 403), ("caller", 403)] {
        assert_eq!(Request::get(&dev.app("/")).bearer(&dev.id_token(name)).send().status, status, "{name}");
        let other = dev.account(name).id_token(dev.text("/other_app/client_id"));
        let refused = Request::get(dev.text("/other_app/url")).bearer(&other).send();
        assert_eq!((refused.status, refused.reason()), (403, Some("permission_denied")), "{name}");
    }
}

#[test]
fn started_again_on_its_directory_everything_issued_before_still_works() {
    let dev = Dev::start(&[]);
    let (robot, stranger) = (dev.id_token("robot"), dev.id_token("stranger"));
    let member = format!("serviceAccount:{}", dev.text("/service_accounts/stranger/email"));
    let resource = dev.text("/app/resource").to_owned();
    let mut policy = dev.policy(&resource, "getIamPolicy", &serde_json::json!({})).expect(200).json();
    policy["bindings"][0]["members"].as_array_mut().expect("members").push(member.into());
    dev.policy(&resource, "setIamPolicy", &serde_json::json!({"policy": policy})).expect(200);
    let mut before = dev.description().clone();
    let jwks = |dev: &Dev| Request::get(&dev.google("www.googleapis.com/oauth2/v3/certs")).send().expect(200).json();
    let keys = jwks(&dev);
    let client = (dev.client("desktop").id.to_owned(), dev.client("desktop").secret.map(str::to_owned));
    let code = dev.person("alice@example.com").code(dev.client("desktop"), "http://localhost:1", &[]);

    let dev = dev.restart(&[]);
    // The ports are others, and where they are told so is the description.
    let mut after = dev.description().clone();
    for (pointer, from) in [("/api_url", &before), ("/app/url", &before), ("/app/host", &before)] {
        *after.pointer_mut(pointer).expect("a member") = from.pointer(pointer).expect("a member").clone();
    }
    for member in ["url", "host"] {
        after["other_app"][member] = before["other_app"][member].clone();
    }
    after["metadata"]["host"] = before["metadata"]["host"].clone();
    before["service_accounts"]["stranger"]["allowed"] = true.into();
    assert_eq!(after, before);
    assert_eq!(jwks(&dev), keys);
    for old in [&robot, &stranger, &dev.id_token("robot")] {
        Request::get(&dev.app("/")).bearer(old).send().expect(200);
    }
    let client = Client { id: &client.0, secret: client.1.as_deref() };
    let more = [("grant_type", "authorization_code"), ("code", code.as_str()), ("redirect_uri", "http://localhost:1")];
    dev.token(&client.form(&more)).expect(200);
    // The key file of before names the port of before; it was written anew or is still right.
    assert_eq!(dev.account("robot").token_uri, dev.google("oauth2.googleapis.com/token"));
}

#[test]
fn a_key_file_names_the_port_of_this_start_in_every_url() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let dev = Dev::start_in(dir.path(), &[]);
    let before = dev.text("/api_url").to_owned();
    assert_eq!(dev.stop("TERM").code, Some(0));
    // So that the next start cannot get the same one, whoever holds it.
    let _taken = TcpListener::bind(authority(&before));
    let dev = Dev::start_in(dir.path(), &[]);
    let now = dev.text("/api_url");
    assert_ne!(now, before);
    for name in ["robot", "stranger", "caller"] {
        let path = dev.text(&format!("/service_accounts/{name}/key_file"));
        let file: Value = serde_json::from_slice(&fs::read(path).expect("a key file")).expect("JSON");
        for member in ["auth_uri", "token_uri", "auth_provider_x509_cert_url", "client_x509_cert_url"] {
            let url = file[member].as_str().unwrap_or_else(|| panic!("{member} in {path}"));
            assert!(url.starts_with(&format!("{now}/")), "{member} is {url}");
        }
    }
}

#[test]
fn a_directory_that_others_can_write_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for mode in [0o777, 0o770, 0o702] {
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).expect("our own directory");
        let line = refused(Dev::launch(dir.path(), &[]));
        assert!(line.contains(&dir.path().display().to_string()) && line.contains("written by others"), "{line}");
        assert!(files(dir.path()).is_empty(), "something was written to it");
    }
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("our own directory");
    assert!(Dev::start_in(dir.path(), &[]).serves());
}

#[test]
fn a_link_in_its_directory_is_not_followed_when_a_file_is_written() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let state = dir.path().join("state");
    let stopped = Dev::start_in(&state, &[]).stop("TERM");
    assert_eq!(stopped.code, Some(0), "{}", stopped.stderr);
    let elsewhere = dir.path().join("elsewhere");
    fs::write(&elsewhere, "mine").expect("a file");
    symlink(&elsewhere, state.join("dev.json.new")).expect("a link");
    let dev = Dev::start_in(&state, &[]);
    assert_eq!(fs::read_to_string(&elsewhere).expect("the file"), "mine");
    let description = state.join("dev.json");
    assert!(fs::symlink_metadata(&description).expect("dev.json").is_file());
    let description: Value = serde_json::from_slice(&fs::read(&description).expect("dev.json")).expect("JSON");
    assert_eq!(&description, dev.description());
}

#[test]
fn a_directory_has_one_server_at_a_time() {
    let dev = Dev::start(&[]);
    let description = fs::read(dev.dir().join("dev.json")).expect("dev.json");
    let line = refused(Dev::launch(dev.dir(), &[]));
    assert!(line.contains(&dev.dir().display().to_string()), "{line}");
    assert_eq!(fs::read(dev.dir().join("dev.json")).expect("dev.json"), description);
    assert!(dev.serves());
}

#[test]
fn a_port_that_is_taken_is_named_and_nothing_is_left_behind() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = taken.local_addr().expect("an address").to_string();
    for flag in LISTENERS {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let line = refused(Dev::launch(dir.path(), &["--tls", flag, &address]));
        assert!(line.contains(&address), "{line}");
        assert!(!dir.path().join("dev.json").exists(), "a description of a server that is not there");
    }
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("file");
    fs::write(&file, "mine").expect("a file");
    for path in [file.clone(), file.join("state")] {
        let line = refused(Dev::launch(&path, &[]));
        assert!(line.contains(&file.display().to_string()), "{line}");
    }
    assert_eq!(fs::read_to_string(&file).expect("the file"), "mine");
}

#[test]
fn a_damaged_database_is_named_and_left_as_it_is() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let stopped = Dev::start_in(dir.path(), &[]).stop("TERM");
    assert_eq!(stopped.code, Some(0), "{}", stopped.stderr);
    let is_database = |(_, bytes): &(PathBuf, Vec<u8>)| bytes.starts_with(b"SQLite format 3\0");
    let (path, good) = files(dir.path()).into_iter().find(is_database).expect("a database");
    let garbage = vec![0x55; good.len()];
    let first_page_good = [&good[..4096], &vec![0xff; good.len() - 4096][..]].concat();
    for (name, damaged) in [("garbage", garbage), ("cut", good[..100].to_vec()), ("pages", first_page_good)] {
        fs::write(&path, &damaged).expect("the database is written");
        let before = files(dir.path());
        let line = refused(Dev::launch(dir.path(), &[]));
        assert!(line.contains(&path.display().to_string()), "{name}: {line}");
        let mut after = files(dir.path());
        // A lock may be there; what was there must be as it was.
        after.retain(|path, _| before.contains_key(path));
        assert!(after == before, "{name}: a file was changed");
    }
    fs::write(&path, good).expect("the database is written");
    assert!(Dev::start_in(dir.path(), &[]).serves());
}

#[test]
fn an_address_that_others_can_reach_needs_a_flag_and_makes_passwords_random() {
    for flag in ["--app-listen", "--other-app-listen", "--api-listen"] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let line = refused(Dev::launch(dir.path(), &[flag, "0.0.0.0:0"]));
        assert!(line.contains("--unsafe-listen") && line.contains("0.0.0.0"), "{line}");
    }
    // The metadata server gives tokens to whoever asks.
    let dir = tempfile::tempdir().expect("a temporary directory");
    let line = refused(Dev::launch(dir.path(), &["--unsafe-listen", "--metadata-listen", "0.0.0.0:0"]));
    assert!(line.contains("--metadata-listen 0.0.0.0:0"), "{line}");
    let password = |dev: &Dev| dev.text("/users/alice@example.com/password").to_owned();
    let safe = [Dev::start(&[]), Dev::start(&[])].map(|dev| password(&dev));
    assert_eq!(safe[0], safe[1]);
    let open = || Dev::start(&["--unsafe-listen", "--app-listen", "0.0.0.0:0"]);
    let (first, second) = (open(), open());
    assert!(password(&first) != password(&second) && password(&first) != safe[0]);
    Request::get(&first.app("/")).bearer(&first.id_token("robot")).send().expect(200);
}

#[test]
fn it_stops_cleanly_when_it_is_told_to_whatever_is_connected() {
    // A request of which half has come is given time to come whole: one signal with it is enough.
    for (signal, half) in [("TERM", "GET / HT"), ("INT", "")] {
        let dev = Dev::start(&[]);
        let mut idle = Connection::open(dev.app_authority());
        idle.send(format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", dev.app_authority()).as_bytes());
        assert_eq!(idle.response().status, 302);
        let mut silent = Connection::open(authority(dev.text("/api_url")));
        silent.send(half.as_bytes());
        let Finished { code, stderr, .. } = dev.stop(signal);
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{signal}");
    }
}

#[test]
fn our_own_origin_answers_only_to_its_names_and_to_the_administrator() {
    let dev = Dev::start(&[]);
    let decisions = format!("{}/decisions?format=json", dev.text("/api_url"));
    let api = authority(dev.text("/api_url"));
    let (_, port) = api.split_once(':').expect("a port");
    let token = dev.text("/admin_token");
    let alias = format!("localhost:{port}");
    #[rustfmt::skip]
    let cases = [
        (api,                        Some(token),     200),
        (alias.as_str(),             Some(token),     200),
        (api,                        None,            401),
        (api,                        Some("wrong"),   401),
        (api,                        Some(""),        401),
        ("evil.example",             Some(token),     421),
        ("evil.example",             None,            421),
        ("127.0.0.1.evil.example",   Some(token),     421),
    ];
    for (host, token, status) in cases {
        let request = Request::get(&decisions).header("Host", host);
        let request = if let Some(token) = token { request.bearer(token) } else { request };
        assert_eq!(request.send().status, status, "{host} {token:?}");
    }
    // Other methods are not a way around; only an administrator is told that they do not exist.
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"] {
        assert_eq!(Request::new(method, &decisions).send().status, 401, "{method}");
    }
    // A name of Google's is served by its name too, where that leads here.
    let discovery = format!("{}/.well-known/openid-configuration", dev.text("/api_url"));
    Request::get(&discovery).header("Host", "accounts.google.com").send().expect(200);
    Request::get(&discovery).header("Host", "mail.google.com").send().expect(421);
    // An administration method of Google's takes no caller without a token.
    let accounts = dev.google(&format!("iam.googleapis.com/v1/projects/{}/serviceAccounts", dev.text("/project/id")));
    assert_eq!(Request::get(&accounts).send().expect(401).json()["error"]["status"], "UNAUTHENTICATED");
    let robot = dev.account("robot");
    let access = robot.exchange(&robot.claims("scope", "https://www.googleapis.com/auth/cloud-platform")).json();
    let access = access["access_token"].as_str().expect("an access token").to_owned();
    let denied = Request::get(&accounts).bearer(&access).send();
    assert!([401, 403].contains(&denied.status), "{} {}", denied.status, denied.text());
}

#[test]
fn the_sign_in_address_answers_a_page_that_says_how_a_program_gets_in() {
    let dev = Dev::start(&[]);
    let redirect = Request::get(&dev.app("/page?a=b")).header("Accept", "text/html").send().expect(302);
    let location = redirect.header("location").expect("a location");
    let names: Vec<&str> = location.split(['?', '&']).skip(1).filter_map(|pair| pair.split('=').next()).collect();
    let expected = [
        "client_id",
        "response_type",
        "scope",
        "redirect_uri",
        "code_challenge",
        "code_challenge_method",
        "cred_ref",
        "state",
    ];
    assert_eq!(names, expected);
    let cookie = redirect.header("set-cookie").expect("the nonce cookie");
    let (name, attributes) = cookie.split_once("=1; ").expect("its value is 1");
    assert_eq!(name.strip_prefix("GCP_IAP_XSRF_NONCE_").map(str::len), Some(22), "{cookie}");
    for attribute in ["expires=", "path=/", "Secure", "HttpOnly"] {
        assert!(attributes.contains(attribute), "{cookie}");
    }
    let page = Request::get(location).header("Accept", "text/html").send().expect(501).text();
    assert!(page.contains("doorward curl"), "{page}");
}
