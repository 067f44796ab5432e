//! `doorward serve` as a platform engineer meets it: a file of ten lines, its mistakes, its secrets, and a restart.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::thread;

use doorward_core::entropy::generate_private_key;
use doorward_tests::{
    Account, Browser, Connection, Dev, Place, Request, Response, Serve, TEN_LINES, Upstream, doorward, now_seconds,
    query_of, run,
};
use doorward_wire::jose::{Algorithm, JwkSet, Unverified, VerifyingKeys};
use doorward_wire::x509::{Authority, Validity};
use serde_json::{Value, json};

const WIKI: &str = "wiki.example.com";
const ANN: &str = "ann@example.com";
const ASSERTION: &str = "x-goog-iap-jwt-assertion";

/// A place whose application is this one.
fn place(upstream: &Upstream) -> Place {
    Place::new(&TEN_LINES.replace("{to}", upstream.url()))
}

fn client_id(serve: &Serve) -> String {
    serve.application("wiki")["clientId"].as_str().expect("a client").to_owned()
}

/// Asks until the answer has this status. What was changed is in force within a second; a test fails after a minute at the latest.
fn until(status: u16, ask: impl Fn() -> Response) -> Response {
    let end = now_seconds() + 60;
    loop {
        let answer = ask();
        if answer.status == status {
            return answer;
        }
        assert!(now_seconds() < end, "{} {}", answer.status, answer.text());
    }
}

/// The claims of a token, if a key of this document verifies it.
fn verified(token: &str, keys: &Value, algorithm: Algorithm) -> Value {
    let keys: JwkSet = serde_json::from_value(keys.clone()).expect("a JWK set");
    let keys = VerifyingKeys::from_jwks(&keys.keys).expect("good keys");
    let unverified = Unverified::parse(token, 16 * 1024, &[algorithm]).expect("a JWS");
    let key = unverified.kid().and_then(|kid| keys.find(kid)).expect("a published key");
    Value::Object(unverified.verify(key).expect("a good signature").as_object().clone())
}

/// A browser in which a person signed in, at the authorization endpoint for `doorward login`'s client.
fn signed_in(serve: &Serve, email: &str, password: &str) -> Browser {
    let mut browser = Browser::new();
    let page = browser.open(&authorize(serve)).asks_for("password");
    let wrong = browser.send(&page, &[("email", email), ("password", "s3cret-and-wrong")]);
    assert_eq!(wrong.response.status, 401);
    assert_eq!(browser.send(&page, &[("email", email), ("password", password)]).response.status, 303);
    browser
}

fn authorize(serve: &Serve) -> String {
    let parameters = [
        ("client_id", "doorward-cli.apps.googleusercontent.com"),
        ("response_type", "code"),
        ("scope", "openid email"),
        ("redirect_uri", "http://127.0.0.1:4444/"),
        // The challenge of RFC 7636 appendix B.
        ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
        ("code_challenge_method", "S256"),
    ];
    let query: Vec<String> = parameters
        .iter()
        .map(|(name, value)| format!("{name}={}", value.replace(':', "%3A").replace(' ', "%20")))
        .collect();
    format!("{}/o/oauth2/v2/auth?{}", serve.api_url(), query.join("&"))
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")) {
        let name = entry.file_name().into_string().expect("text");
        match entry.file_type().expect("a file type").is_dir() {
            true => found.extend(files(&entry.path()).into_iter().map(|inner| format!("{name}/{inner}"))),
            false => found.push(name),
        }
    }
    found.sort();
    found
}

#[test]
fn ten_lines_protect_an_application_and_nothing_of_dev_is_there() {
    let upstream = Upstream::start();
    let mut place = place(&upstream);
    let file = place.file();
    let checked = run(&mut place.command(&["check", file.to_str().expect("text")]));
    assert_eq!(checked.code, Some(0), "{} {}", checked.stdout, checked.stderr);
    let warned: Vec<&str> = checked.stderr.lines().collect();
    // The host of the file is port 80, and the test listens where a port is free.
    assert!(warned.len() == 1 && warned[0].contains("http://wiki.example.com is at another"), "{warned:?}");
    assert_eq!(place.run(&["check"]).stdout, checked.stdout, "by --config, as the other commands");
    assert!(!place.path("state").exists(), "`check` made something");
    assert!(place.refused().contains("`doorward init` makes it"));

    let made = place.printed(&["init", "--admin", "user:ann@example.com"]);
    let password = made["password"].as_str().expect("a first password").to_owned();
    assert_eq!(place.printed(&["init", "--admin", "user:ann@example.com"])["password"], Value::Null);
    assert_eq!(place.printed(&["init"])["made"], true);
    let mut serve = place.start();

    // The account of `allow` is not there yet, so it is not let in either when it comes; SIGHUP reads the file again.
    let robot = serve.new_account("wiki-robot");
    let stranger = serve.new_account("stranger");
    let audience = client_id(&serve);
    let ask = |serve: &Serve, account: &Account| serve.app(WIKI, "/a?b=c").bearer(&account.id_token(&audience)).send();
    assert_eq!(ask(&serve, &robot).expect(403).reason(), Some("permission_denied"));
    assert_eq!(serve.reload(), json!({"reloaded": true}));
    until(200, || ask(&serve, &robot));
    let refused = ask(&serve, &stranger).expect(403);
    assert_eq!(refused.reason(), Some("permission_denied"));
    assert_eq!(
        serve.app(WIKI, "/").send().expect(302).header("location").map(|it| it.starts_with(serve.api_url())),
        Some(true)
    );
    assert_eq!(serve.app("other.example.com", "/").send().status, 421);

    let seen = upstream.take();
    assert_eq!(seen.len(), 1, "what is refused does not reach the application");
    assert_eq!(seen[0].target(), "/a?b=c");
    assert!(seen[0].values("authorization").is_empty(), "credentials are not forwarded: {}", seen[0].text());
    let assertions = seen[0].values(ASSERTION);
    let keys = Request::get(&serve.google("www.gstatic.com/iap/verify/public_key-jwk")).send().expect(200).json();
    let claims = verified(&assertions[0], &keys, Algorithm::Es256);
    assert_eq!(claims["aud"], serve.application("wiki")["assertionAudience"]);
    assert_eq!((&claims["email"], &claims["iss"]), (&json!(robot.email), &json!("https://cloud.google.com/iap")));
    let token = robot.id_token(&audience);
    let keys = Request::get(&serve.google("www.googleapis.com/oauth2/v3/certs")).send().expect(200).json();
    assert_eq!(verified(&token, &keys, Algorithm::Rs256)["iss"], serve.api_url(), "our own names");

    // What `dev` has, and `serve` has not.
    let names = |answer: &Value, member: &str, field: &str| -> Vec<String> {
        let all = answer[member].as_array().cloned().unwrap_or_default();
        all.iter().map(|it| it[field].as_str().expect("text").to_owned()).collect()
    };
    assert_eq!(names(&serve.printed(&["app", "list"]), "applications", "name"), ["wiki"]);
    let mut accounts = names(&serve.printed(&["service-account", "list"]), "accounts", "email");
    accounts.sort();
    assert_eq!(accounts, [stranger.email.as_str(), &robot.email]);
    let clients = serve.printed(&["oauth-client", "list"]);
    let mut clients = names(&clients, "oauthClients", "clientId");
    clients.retain(|id| *id != audience);
    assert_eq!(clients, ["doorward-cli.apps.googleusercontent.com"], "beside the one of the application");
    let page = Browser::new().open(&authorize(&serve)).asks_for("password");
    for email in ["alice@example.com", "bob@example.com"] {
        let mut browser = Browser::new();
        let page = browser.open(&page.url);
        assert_eq!(browser.send(&page, &[("email", email), ("password", "password")]).response.status, 401, "{email}");
    }
    let metadata =
        Request::get(&serve.google("computeMetadata/v1/project/project-id")).header("Metadata-Flavor", "Google");
    // What is not there is told to those alone who may read the record.
    assert_eq!(metadata.send().status, 401);
    let gcloud =
        [("client_id", "32555940559.apps.googleusercontent.com"), ("client_secret", "ZmssLNjJy2998hD4CTg2ejr2")];
    let form = [&gcloud[..], &[("grant_type", "refresh_token"), ("refresh_token", "x")]].concat();
    let answer = Request::post_form(&serve.google("oauth2.googleapis.com/token"), &form).send();
    assert_eq!((answer.status, &answer.json()["error"]), (401, &json!("invalid_client")));
    let made = files(&place.path("state"));
    let expected = ["admin-token", "doorward.db", "lock", "store.key"];
    let others: Vec<&String> =
        made.iter().filter(|it| !expected.contains(&it.as_str()) && !it.starts_with("doorward.db-")).collect();
    assert!(others.is_empty(), "{made:?}");

    // The first administrator signs in, and is no caller of the application for it.
    signed_in(&serve, ANN, &password);
    let ended = serve.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let log = ended.stderr;
    assert!(
        log.contains("wiki-robot@doorward.iam.gserviceaccount.com"),
        "whoever of `allow` is not there is told of: {log}"
    );
    let record = fs::read(place.path("state/doorward.db")).expect("the database");
    for secret in [password.as_str(), "s3cret-and-wrong", &token] {
        assert!(!log.contains(secret), "{log}");
        assert!(!record.windows(secret.len()).any(|window| window == secret.as_bytes()), "{secret}");
    }
}

#[test]
fn a_password_that_could_not_be_shown_is_not_set_and_a_lost_one_is_replaced() {
    let upstream = Upstream::start();
    let mut place = place(&upstream);
    // From another folder, as whoever starts it may be in any.
    let folder = place.folder().to_owned();
    let name = folder.file_name().expect("a name").to_str().expect("text").to_owned();
    let binary = doorward().get_program().to_str().expect("text").to_owned();
    let line = |options: &str| {
        let line = format!("'{binary}' init --config {name}/doorward.toml --admin user:{ANN} {options}");
        let mut shell = std::process::Command::new("sh");
        run(shell.args(["-c", &line]).current_dir(folder.parent().expect("a folder")))
    };
    let lost = line("> /dev/full");
    assert_eq!(lost.code, Some(1));
    assert!(lost.stderr.contains("was not shown, so it is not set; do it again"), "{}", lost.stderr);
    let password = |told: &str| told.trim_end().rsplit(' ').next().expect("a word").to_owned();
    let first = line("");
    assert!(first.stdout.contains("shown this once"), "{} {}", first.stdout, first.stderr);
    assert!(line("").stdout.contains("with the password that they have"));
    let second = line("--new-password");
    assert!(second.stdout.contains("shown this once"), "{} {}", second.stdout, second.stderr);
    place.init();
    // The operator's token is there now, and is found from there too.
    assert_eq!(line("").code, Some(0));
    let serve = place.start();
    signed_in(&serve, ANN, &password(&second.stdout));
    let mut browser = Browser::new();
    let page = browser.open(&authorize(&serve)).asks_for("password");
    let old = browser.send(&page, &[("email", ANN), ("password", &password(&first.stdout))]);
    assert_eq!(old.response.status, 401);
}

/// The answer of the token endpoint to a person who signed in: an ID token for an application.
fn token_of(serve: &Serve, browser: &mut Browser, audience: &str) -> Response {
    let page = browser.open(&authorize(serve));
    let code = query_of(page.location()).into_iter().find(|(name, _)| name == "code").expect("a code").1;
    let form = [
        ("grant_type", "authorization_code"),
        ("client_id", "doorward-cli.apps.googleusercontent.com"),
        // In every `doorward`: it proves nothing.
        ("client_secret", "doorward-cli-is-known-to-everybody"),
        ("code", code.as_str()),
        ("redirect_uri", "http://127.0.0.1:4444/"),
        // RFC 7636, appendix B.
        ("code_verifier", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
        ("audience", audience),
    ];
    Request::post_form(&serve.google("oauth2.googleapis.com/token"), &form).send()
}

#[test]
fn a_person_is_made_signs_in_and_enters_and_nothing_of_them_is_good_once_they_are_deleted() {
    const BOB: &str = "bob@example.com";
    let upstream = Upstream::start();
    let mut place = place(&upstream);
    let serve = place.init().start();
    let client = client_id(&serve);
    let made = serve.printed(&["user", "create", BOB]);
    assert_eq!((&made["email"], &made["disabled"]), (&json!(BOB), &json!(false)));
    let again = run(&mut serve.command(&["user", "create", BOB]));
    assert_eq!(again.code, Some(1));
    assert!(again.stderr.contains("is the address of a person, a group or an account already"), "{}", again.stderr);
    let text = |answer: &Value, member: &str| answer[member].as_str().expect("text").to_owned();
    let password = text(&serve.printed(&["user", "set-password", BOB]), "password");
    let mut bob = signed_in(&serve, BOB, &password);
    let token = |bob: &mut Browser| text(&token_of(&serve, bob, &client).expect(200).json(), "id_token");
    let first = token(&mut bob);
    let enter = |token: &str| serve.app(WIKI, "/").bearer(token).send();
    assert_eq!(enter(&first).expect(403).reason(), Some("permission_denied"));
    serve.printed(&["policy", "add", "--app", "wiki", "--member", "user:bob@example.com"]);
    enter(&first).expect(200);

    // A new password is another one; it may go into a file.
    let file = place.path("bob.password");
    let line = ["user", "set-password", BOB, "--password-out", file.to_str().expect("text")];
    let told = run(&mut serve.command(&line));
    assert_eq!(told.code, Some(0), "{}", told.stderr);
    let second = fs::read_to_string(&file).expect("the file").trim_end().to_owned();
    assert!(!told.stdout.contains(&second) && second != password);
    assert_eq!(fs::metadata(&file).expect("the file").permissions().mode() & 0o777, 0o600);
    let mut browser = Browser::new();
    let page = browser.open(&authorize(&serve)).asks_for("password");
    assert_eq!(browser.send(&page, &[("email", BOB), ("password", &password)]).response.status, 401);
    signed_in(&serve, BOB, &second);

    // Disabled, they enter by nothing; enabled, by what they had.
    serve.printed(&["user", "disable", BOB]);
    assert_eq!(enter(&first).status, 401);
    serve.printed(&["user", "enable", BOB]);
    enter(&first).expect(200);

    serve.printed(&["user", "delete", BOB]);
    assert_eq!(enter(&first).status, 401);
    bob.open(&authorize(&serve)).asks_for("password");
    assert_eq!(serve.printed(&["user", "list"])["users"], json!([]));

    // Whoever comes to have the address is somebody else, to whom nothing was given.
    serve.printed(&["user", "create", BOB]);
    assert_eq!(enter(&first).status, 401);
    let third = text(&serve.printed(&["user", "set-password", BOB]), "password");
    let other = token(&mut signed_in(&serve, BOB, &third));
    assert_eq!(enter(&other).expect(403).reason(), Some("permission_denied"));

    let entries = format!("{:?}", serve.entries());
    for method in ["CreateUser", "SetPassword", "DisableUser", "EnableUser", "DeleteUser"] {
        assert!(entries.contains(&format!("doorward.v1.Users.{method}")), "{method} is recorded");
    }
    let log = serve.stop().stderr;
    for secret in [password, second, third] {
        assert!(!entries.contains(&secret) && !log.contains(&secret), "{log}");
    }
}

#[test]
fn a_database_that_is_gone_is_not_made_anew_by_a_server() {
    let upstream = Upstream::start();
    let mut place = place(&upstream);
    place.rewrite(&place.text().replace("[[app]]", "[store]\npath = \"data/doorward.db\"\n\n[[app]]"));
    fs::create_dir(place.path("data")).expect("a folder");
    assert_eq!(place.init().start().stop().code, Some(0));
    // As with a disk that was not mounted.
    fs::rename(place.path("data"), place.path("unmounted")).expect("moved");
    fs::create_dir(place.path("data")).expect("a folder");
    let told = place.refused();
    assert!(told.contains("doorward.db is not there") && told.contains("see that its disk is mounted"), "{told}");
    let made: Vec<String> = files(&place.path("data")).into_iter().filter(|name| !name.ends_with("-lock")).collect();
    assert!(made.is_empty(), "{made:?}");
    fs::remove_dir_all(place.path("data")).expect("removed");
    fs::rename(place.path("unmounted"), place.path("data")).expect("moved");
    // One server at a time, whatever directory of its own another has.
    let serve = place.start();
    let text = place.text().to_owned();
    place.rewrite(&text.replacen("[store]", "state = \"other\"\n[store]\nkey_file = \"state/store.key\"", 1));
    let told = place.refused();
    assert!(told.contains("doorward.db is in use by another doorward"), "{told}");
    assert_eq!(serve.stop().code, Some(0));
}

#[test]
fn the_author_of_a_program_gets_a_token_with_a_key_file_as_the_guide_says() {
    let upstream = Upstream::start();
    let mut place = place(&upstream);
    let mut serve = place.init().start();
    serve.new_account("wiki-robot");
    serve.reload();
    let robot = "wiki-robot@doorward.iam.gserviceaccount.com";
    let key_file = place.path("robot.json");
    let key_file = key_file.to_str().expect("text");
    serve.printed(&["service-account", "keys", "create", key_file, "--account", robot]);
    let token = |words: &[&str]| {
        let words = [&["token", "--api-url", serve.api_url()], words].concat();
        let told = run(place.command(&words).env_remove("DOORWARD_KEY_FILE"));
        (told.code, told.stdout.trim_end().to_owned(), told.stderr)
    };
    let audience = client_id(&serve);
    let (code, printed, told) = token(&["--key-file", key_file, "--audience", &audience]);
    assert_eq!(code, Some(0), "{told}");
    until(200, || serve.app(WIKI, "/").bearer(&printed).send());
    for (words, expected) in [
        (&["--app", "app"][..], "give --audience and the clientId that `doorward app list` shows"),
        (&["--audience", &audience], "doorward login --api-url"),
    ] {
        let (code, _, told) = token(words);
        assert!(code == Some(1) && told.contains(expected), "{told}");
    }
}

#[test]
fn clients_of_gcloud_are_there_if_the_file_says_so_and_gone_when_it_does_not() {
    let upstream = Upstream::start();
    let mut place = place(&upstream);
    place.init();
    let text = place.text().to_owned();
    for (line, expected) in [("[\"doorward\", \"gcloud\"]", 4), ("[]", 0), ("[\"doorward\"]", 1)] {
        place.rewrite(&text.replace("[[app]]", &format!("sign_in_clients = {line}\n[[app]]")));
        let serve = place.start();
        let clients = serve.printed(&["oauth-client", "list"]);
        let own = client_id(&serve);
        let others = clients["oauthClients"].as_array().into_iter().flatten().filter(|it| it["clientId"] != own);
        assert_eq!(others.count(), expected, "{line}: {clients}");
        assert_eq!(serve.stop().code, Some(0));
    }
}

#[test]
fn every_mistake_of_a_file_is_told_with_its_place_and_nothing_is_started() {
    let place = Place::new(
        r#"[server]
api_url = "auth.example.com"
api = { listen = "{api}" }
apps = { listen = "0.0.0.0:80" }
admin_tokn = { env = "TOKEN" }
[project]
number = 415104041262
[store]
url = "postgres://u:s3cret@db/d"
[policy]
staleness_limit = "1s"
[[trusted_issuer]]
id = "ci"
issuer = "https://ci.example"
audiences = ["x"]
insecure_loopback = true
[[app]]
host = "wiki example"
to = "http://10.0.0.7/path"
allow = ["bob@example.com"]
settings = { access_setings = {} }
"#,
    );
    let file = place.file();
    let file = file.to_str().expect("text");
    let lines = [2, 4, 5, 7, 9, 11, 12, 18, 19, 20];
    for command in [&["check", file][..], &["serve", "--config", file], &["init", "--config", file]] {
        let told = run(&mut place.command(command));
        assert_eq!((told.code, told.stdout.as_str()), (Some(1), ""), "{command:?}");
        for line in lines {
            let start = format!("{file}:{line}:");
            let found: Vec<&str> = told.stderr.lines().filter(|text| text.starts_with(&start)).collect();
            let [only] = found[..] else { panic!("line {line}: {}", told.stderr) };
            let column = only.trim_start_matches(&start).split(':').next().expect("a column");
            assert!(column.parse::<u32>().is_ok_and(|column| column > 0), "{only}");
        }
        assert!(told.stderr.contains("unknown field `admin_tokn`"), "{}", told.stderr);
        assert!(told.stderr.contains("insecure_loopback is for `doorward dev`"), "{}", told.stderr);
        let last = told.stderr.lines().last().expect("a summary");
        assert!(last.contains("10 mistakes in") && last.contains("see with `doorward check "), "{last}");
        assert!(!told.stderr.contains("s3cret"), "{}", told.stderr);
        assert_eq!(files(place.folder()), ["doorward.toml"], "nothing was made");
    }
}

#[test]
fn settings_that_cannot_be_set_are_found_before_anything_starts() {
    let upstream = Upstream::start();
    let mut place = place(&upstream);
    let text = place.text().to_owned();
    #[rustfmt::skip]
    let cases = [
        ("{ doorward_settings = { forward_credential = true } }",                            None),
        ("{ access_setings = {} }",                                                          Some("there is no setting")),
        ("{ access_settings = { reauth_settings = { method = \"LOGIN\" } } }",               Some("settings: ")),
        ("{ doorward_settings = { email_claim = \"SOMETIMES\" } }",                          Some("settings: ")),
        ("{ application_settings = { attribute_propagation_settings = { expression = \"x(\" } } }", Some("settings: ")),
    ];
    for (settings, expected) in cases {
        place.rewrite(&format!("{text}settings = {settings}\n"));
        let file = place.file();
        let told = run(&mut place.command(&["check", file.to_str().expect("text")]));
        assert_eq!(told.code == Some(0), expected.is_none(), "{settings}: {}", told.stderr);
        assert!(expected.is_none_or(|expected| told.stderr.contains(expected)), "{settings}: {}", told.stderr);
    }
}

#[test]
fn no_secret_can_be_given_on_the_command_line() {
    let place = Place::new(TEN_LINES);
    for command in ["serve", "init", "check", "backup", "restore"] {
        let help = run(&mut place.command(&[command, "--help"]));
        // The one that has such a word takes no value.
        let options = help.stdout.split_whitespace().filter(|word| word.starts_with("--") && *word != "--new-password");
        for option in options {
            for word in ["token", "password", "secret", "key"] {
                assert!(!option.contains(word), "{command} {option}");
            }
        }
        for option in ["--admin-token", "--password", "--key", "--new-password"] {
            assert_eq!(run(&mut place.command(&[command, option, "s3cret"])).code, Some(2), "{command} {option}");
        }
    }
}

#[test]
fn a_secret_that_others_can_read_or_that_is_not_there_is_refused_with_what_to_do() {
    let upstream = Upstream::start();
    let mut place = place(&upstream);
    place.init();
    let folder = place.folder().to_owned();
    let mode = |name: &str, mode: u32| {
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(mode)).expect("the mode is set");
    };
    for name in ["state/admin-token", "state/store.key"] {
        mode(name, 0o644);
        for command in [&["serve"][..], &["init"], &["backup", "b"]] {
            let told = place.run(command);
            assert_eq!(told.code, Some(1), "{command:?} {}", told.stdout);
            assert!(told.stderr.contains(&format!("{name} holds a secret, and every user")), "{}", told.stderr);
            assert!(told.stderr.contains("chmod o="), "{}", told.stderr);
        }
        // That of its group is not everybody.
        mode(name, 0o640);
        assert_eq!(run(&mut place.command(&["check", "doorward.toml"])).code, Some(0));
    }
    let text = place.text().to_owned();
    #[rustfmt::skip]
    let cases = [
        ("[[app]]",  "admin_token = { env = \"GONE\" }\n[[app]]",              "the environment has no variable GONE"),
        ("[[app]]",  "admin_token = \"doorward_admin_s3cret\"\n[[app]]",       "a secret must not stand in this file"),
        ("[[app]]",  "[store]\nurl = \"postgres://db/d\"\npassword = { file = \"gone\" }\n[[app]]", "cannot read"),
    ];
    for (from, to, expected) in cases {
        place.rewrite(&text.replace(from, to));
        let told = place.refused();
        assert!(told.contains(expected) && !told.contains("s3cret"), "{told}");
    }
    place.rewrite(&text);

    // Another key, or none, than the one of the database.
    let key = place.path("state/store.key");
    let right = fs::read(&key).expect("the key");
    fs::remove_file(&key).expect("removed");
    let told = place.refused();
    assert!(told.contains("it is not there") && told.contains("it comes from a backup"), "{told}");
    fs::write(&key, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n").expect("written");
    mode("state/store.key", 0o600);
    let told = place.refused();
    assert!(
        told.contains("is not the one with which the private keys") && told.contains("Restore the key file"),
        "{told}"
    );
    fs::write(&key, right).expect("written");
    assert_eq!(place.start().stop().code, Some(0));
}

#[test]
fn private_keys_are_sealed_in_the_database_and_in_a_backup() {
    let upstream = Upstream::start();
    let mut place = place(&upstream);
    let serve = place.init().start();
    let account = serve.new_account("wiki-robot");
    account.id_token(&client_id(&serve));
    assert_eq!(place.run(&["backup", "backup"]).code, Some(0), "while it serves");
    assert_eq!(serve.stop().code, Some(0));
    // What a private key in PKCS #8 has after its length: version 0, then RSA, or an elliptic curve.
    let rsa: &[u8] = &[2, 1, 0, 0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, 1, 5, 0, 4];
    let curve: &[u8] = &[2, 1, 0, 0x30, 0x13, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
    let needles: [&[u8]; 4] = [b"PRIVATE KEY", b"AgEAMA0GCSqGSIb3DQEBAQUAB", rsa, curve];
    for name in files(place.folder()).iter().filter(|name| name.starts_with("state/doorward.db") || *name == "backup") {
        let bytes = fs::read(place.path(name)).expect("the file");
        for needle in needles {
            assert!(!bytes.windows(needle.len()).any(|window| window == needle), "{name} holds {needle:?}");
        }
    }
    let mode = fs::metadata(place.path("backup")).expect("the backup").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn what_was_given_before_a_restart_is_good_after_it() {
    let upstream = Upstream::start();
    let mut place = place(&upstream);
    let password = place.printed(&["init", "--admin", "user:ann@example.com"])["password"].as_str().map(str::to_owned);
    let mut serve = place.init().start();
    let robot = serve.new_account("wiki-robot");
    serve.reload();
    let audience = client_id(&serve);
    let (id_token, access_token) =
        (robot.id_token(&audience), robot.access_token("https://www.googleapis.com/auth/cloud-platform"));
    until(200, || serve.app(WIKI, "/").bearer(&id_token).send());
    let browser = signed_in(&serve, ANN, &password.expect("a password"));
    let cookies = browser.cookies();
    // As the machine would lose power, and as it should be.
    serve.kill();
    for _ in 0..2 {
        let serve = place.start();
        serve.app(WIKI, "/").bearer(&id_token).send().expect(200);
        // A person is known, and nobody asks them again.
        let page = Browser::with_cookies(&cookies).open(&authorize(&serve));
        assert!(query_of(page.location()).iter().any(|(name, _)| name == "code"), "{}", page.location());
        // Known, and without a permission: not a token that nobody knows.
        let listed = Request::get(&serve.google("iam.googleapis.com/v1/projects/doorward/serviceAccounts"));
        assert_eq!(listed.bearer(&access_token).send().status, 403);
        assert_eq!(serve.stop().code, Some(0));
    }
}

#[test]
fn sigterm_lets_a_request_end_and_takes_no_other() {
    let application = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", application.local_addr().expect("an address"));
    let mut place = Place::new(&TEN_LINES.replace("{to}", &url).replace("user:ann@example.com", "allUsers"));
    let serve = place.init().start();
    let address = place.apps.to_string();
    let request = serve.app(WIKI, "/slow");
    let answer = thread::scope(|scope| {
        let asking = scope.spawn(move || request.send());
        let (mut reached, _) = application.accept().expect("the request");
        // A connection is no request yet, and an answer that comes before it is none.
        assert!(reached.read(&mut [0; 4096]).expect("the request") > 0);
        serve.signal("TERM");
        // Connections that were not accepted are refused or cut off.
        let gone = || {
            let probe = Request::get(&format!("http://{address}/")).header("Host", "nowhere.example.com");
            probe.try_send().is_err()
        };
        assert!(std::iter::repeat_with(gone).take(10_000).any(|gone| gone), "it takes requests still");
        reached.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone").expect("the answer is sent");
        asking.join().expect("an answer")
    });
    assert_eq!(answer.expect(200).text(), "done");
    let ended = serve.finish();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

#[test]
fn what_somebody_says_of_the_client_is_believed_of_those_alone_whom_the_file_names() {
    let upstream = Upstream::start();
    let text = TEN_LINES.replace("{to}", upstream.url()).replace("user:ann@example.com", "allUsers");
    let behind = |more: &str| {
        text.replace("listen = \"{apps}\"", &format!("listen = \"{{apps}}\", behind_tls_proxy = true{more}"))
    };
    #[rustfmt::skip]
    let cases = [
        // The file, X-Forwarded-For => the client
        (text.clone(),                                          "6.6.6.6",               "127.0.0.1"),
        (behind(""),                                            "6.6.6.6",               "127.0.0.1"),
        (behind(", trusted_proxies = [\"10.0.0.0/8\"]"),        "6.6.6.6",               "127.0.0.1"),
        (behind(", trusted_proxies = [\"127.0.0.1\"]"),         "6.6.6.6, 203.0.113.9",  "203.0.113.9"),
        (behind(", trusted_proxies = [\"127.0.0.0/8\"]"),       "6.6.6.6, evil",         "127.0.0.1"),
    ];
    for (text, forwarded, expected) in cases {
        let mut place = Place::new(&text);
        let serve = place.init().start();
        let mut connection = Connection::open(&place.apps.to_string());
        connection.send(
            format!(
                "GET / HTTP/1.1\r\nHost: {WIKI}\r\nX-Forwarded-For: {forwarded}\r\nForwarded: for=6.6.6.6;proto=http\r\n\
                 X-Forwarded-Host: evil.example\r\nX-Forwarded-Proto: gopher\r\n\r\n"
            )
            .as_bytes(),
        );
        connection.response().expect(200);
        let seen = upstream.take();
        let scheme = if text.contains("behind_tls_proxy") { "https" } else { "http" };
        for (name, value) in [("x-forwarded-for", expected), ("x-forwarded-host", WIKI), ("x-forwarded-proto", scheme)]
        {
            assert_eq!(seen[0].values(name), [value], "{}", seen[0].text());
        }
        assert!(!seen[0].text().contains("6.6.6.6") || expected == "6.6.6.6", "{}", seen[0].text());
        let listed = run(&mut serve.command(&["decisions", "--json", "--limit", "10"]));
        let decisions: Vec<Value> =
            listed.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let decided: Vec<&Value> = decisions.iter().filter(|it| it["type"] == "decision").collect();
        assert_eq!(decided[0]["client"], expected, "{listed:?}");
    }
}

#[test]
fn behind_a_tls_proxy_a_stranger_slows_nobody_else() {
    let upstream = Upstream::start();
    let text = TEN_LINES.replace("{to}", upstream.url()).replace("http://{api}", "https://auth.example.com");
    for (more, told_apart) in [("", false), (", trusted_proxies = [\"127.0.0.1\"]", true)] {
        let api = format!("listen = \"{{api}}\", behind_tls_proxy = true{more}");
        let mut place = Place::new(&text.replace("listen = \"{api}\"", &api));
        let serve = place.init().start();
        let guess = |client: &str| {
            let form = [("grant_type", "refresh_token"), ("refresh_token", "x"), ("client_id", "nobody")];
            let url = format!("http://{}/oauth2.googleapis.com/token", place.api);
            let request = Request::post_form(&url, &form).header("Host", "auth.example.com");
            request.header("X-Forwarded-For", client).send().status
        };
        let answers: Vec<u16> = (0..20).map(|_| guess("203.0.113.9")).collect();
        assert_eq!(answers.contains(&429), told_apart, "{answers:?}");
        assert_eq!(guess("203.0.113.10"), 401, "{more}");
        assert_eq!(serve.stop().code, Some(0));
    }
}

#[test]
fn the_person_refused_is_told_whom_to_ask() {
    let upstream = Upstream::start();
    let mut place = Place::new(
        &TEN_LINES
            .replace("{to}", upstream.url())
            .replace("[[app]]", "[settings]\ncontact = \"platform@example.com\"\n[[app]]"),
    );
    let serve = place.init().start();
    let token = serve.new_account("stranger").id_token(&client_id(&serve));
    let refused = serve.app(WIKI, "/").header("Accept", "application/json").bearer(&token).send().expect(403).json();
    assert_eq!(refused["error"]["contact"], "platform@example.com", "{refused}");
}

#[test]
fn an_id_token_without_an_address_is_refused_unless_the_file_says_otherwise() {
    let upstream = Upstream::start();
    let mut place = place(&upstream);
    let mut serve = place.init().start();
    let robot = serve.new_account("wiki-robot");
    serve.reload();
    let audience = client_id(&serve);
    until(200, || serve.app(WIKI, "/").bearer(&robot.id_token(&audience)).send());
    let member = format!("serviceAccount:{}", robot.email);
    let role = "roles/iam.serviceAccountOpenIdTokenCreator";
    let granted = run(&mut serve.command(&[
        "service-account",
        "policy",
        "add",
        "--account",
        &robot.email,
        "--member",
        &member,
        "--role",
        role,
    ]));
    assert_eq!(granted.code, Some(0), "{}", granted.stderr);
    let bearer = robot.access_token("https://www.googleapis.com/auth/cloud-platform");
    let url = serve.google(&format!(
        "iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{}:generateIdToken",
        robot.email
    ));
    let body = json!({"audience": audience, "includeEmail": false}).to_string();
    let made = Request::post(&url, "application/json", body.as_bytes()).bearer(&bearer).send().expect(200).json();
    let nameless = made["token"].as_str().expect("a token").to_owned();
    assert_eq!(serve.app(WIKI, "/").bearer(&nameless).send().expect(401).reason(), Some("missing_email"));
    assert_eq!(serve.stop().code, Some(0));
    let text = place.text().replace("[[app]]", "[settings]\nemail_claim = \"optional\"\n[[app]]");
    place.rewrite(&text);
    place.start().app(WIKI, "/").bearer(&nameless).send().expect(200);
}

#[test]
fn the_applications_of_the_file_are_read_again_at_sighup_and_a_wrong_file_changes_nothing() {
    let (upstream, other) = (Upstream::start(), Upstream::start());
    let mut place = Place::new(&TEN_LINES.replace("{to}", upstream.url()).replace("user:ann@example.com", "allUsers"));
    let mut serve = place.init().start();
    serve.app(WIKI, "/").send().expect(200);
    let text = place.text().to_owned();
    place.rewrite(&text.replace("wiki.example.com", "docs.example.com").replace(upstream.url(), other.url()));
    assert_eq!(serve.reload()["reloaded"], true);
    until(200, || serve.app("docs.example.com", "/").send());
    assert_eq!(serve.app(WIKI, "/").send().status, 421);
    assert_eq!(other.take().len(), 1);
    #[rustfmt::skip]
    let wrong = [
        (text.replace("allow", "alow"),                                  "1 mistake in"),
        (text.replace("http://{api}", "http://localhost:{port}"),        "start again"),
    ];
    for (wrong, expected) in wrong {
        place.rewrite(&wrong.replace("{port}", &place.api.port().to_string()));
        let told = serve.reload();
        let error = told["error"].as_str().unwrap_or_default();
        assert!(told["reloaded"] == false && error.contains(expected), "{told}");
        serve.app("docs.example.com", "/").send().expect(200);
    }
    place.rewrite(&text.replace("\"allUsers\", ", ""));
    assert_eq!(serve.reload()["reloaded"], true);
    until(302, || serve.app(WIKI, "/").send());
    let ended = serve.stop();
    assert!(ended.code == Some(0) && ended.stderr.contains("unknown field `alow`"), "{}", ended.stderr);
}

#[test]
fn a_reload_tells_who_is_let_in_and_who_is_not_any_more_and_what_waits_for_the_next_start() {
    let upstream = Upstream::start();
    let mut place = place(&upstream);
    let mut serve = place.init().start();
    let told = place.run(&["init"]);
    assert!(told.code == Some(1) && told.stderr.contains("a server runs there"), "{}", told.stderr);
    let robot = "serviceAccount:wiki-robot@doorward.iam.gserviceaccount.com";
    assert_eq!(serve.reload(), json!({"reloaded": true, "left_out": [robot]}));
    serve.new_account("wiki-robot");
    let stranger = format!("serviceAccount:{}", serve.new_account("stranger").email);
    serve.printed(&["policy", "add", "--app", "wiki", "--member", &stranger]);
    let text = place.text().to_owned();
    place.rewrite(&format!("{text}[settings]\ncontact = \"it@example.com\"\n[audit]\nretention = {{ days = 9 }}\n"));
    let waiting = ["audit.retention.days", "settings.contact"];
    assert_eq!(serve.reload(), json!({"reloaded": true, "waiting": waiting}));
    place.rewrite(&text);
    assert_eq!(serve.reload(), json!({"reloaded": true}));
    let log = serve.stop().stderr;
    for sentence in [
        format!("{robot}, which is not there and is not let in: make it, then send SIGHUP"),
        format!("as the file says, but for members that are not there: {robot} at wiki"),
        format!("{stranger} may not enter wiki any more: `allow` in the file does not name them"),
        format!("{robot} may enter wiki, as `allow` in the file says"),
        "in force from the next start: audit.retention.days, settings.contact".to_owned(),
    ] {
        assert!(log.contains(&sentence), "{sentence}: {log}");
    }
    // Each line has its time.
    let bare: Vec<&str> = log.lines().filter(|line| !line.starts_with("20")).collect();
    assert!(bare.is_empty(), "{bare:?}");
}

#[test]
fn an_application_that_cannot_be_reached_is_told_of_once_with_what_helps() {
    let upstream = Upstream::start();
    // A port at which nobody listens any more.
    let gone = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let text = TEN_LINES.replace("{to}", &format!("http://{gone}")).replace("user:ann@example.com", "allUsers");
    let mut place = Place::new(&text);
    let mut serve = place.init().start();
    for _ in 0..3 {
        let answer = serve.app(WIKI, "/").send().expect(502);
        let fix = answer.header("x-doorward-fix").expect("what helps");
        assert!(fix.contains("`to` in the file of the server") && fix.contains("doorward app update"), "{fix}");
    }
    place.rewrite(&text.replace(&format!("http://{gone}"), upstream.url()));
    assert_eq!(serve.reload()["reloaded"], true);
    until(200, || serve.app(WIKI, "/").send());
    let log = serve.stop().stderr;
    for line in [
        &format!("the application wiki cannot be reached: no connection to {gone}"),
        "the application wiki answers again",
    ] {
        assert_eq!(log.matches(line).count(), 1, "{line}: {log}");
    }
}

#[test]
fn init_says_what_it_made_and_makes_no_key_for_a_store_that_has_one() {
    let upstream = Upstream::start();
    let text = TEN_LINES.replace("{to}", upstream.url());
    let mut place = Place::new(&format!("{text}[store]\nkey_file = \"store.key\"\n"));
    // By a bare name, in the directory in which it is started.
    let init = |place: &Place| {
        let words = ["init", "--config", "doorward.toml", "--admin", "user:ann@example.com"];
        run(place.command(&words).current_dir(place.folder()))
    };
    let told = init(&place);
    let expected = [
        "made state",
        "made store.key",
        "made state/doorward.db",
        &format!(
            "next: doorward serve --config doorward.toml, and there doorward login --api-url http://{}",
            place.api
        ),
    ];
    assert_eq!(told.code, Some(0), "{}", told.stderr);
    assert_eq!(told.stderr.lines().collect::<Vec<_>>(), expected);
    fs::rename(place.path("store.key"), place.path("copy")).expect("moved");
    let told = init(&place);
    assert!(told.code == Some(1) && told.stderr.contains("restore it from your copy"), "{}", told.stderr);
    assert!(!place.path("store.key").exists(), "a key that opens nothing");
    fs::write(place.path("store.key"), "garbled\n").expect("written");
    for told in [init(&place).stderr, place.refused()] {
        assert!(told.contains("Restore it from your copy") && !told.contains("urandom"), "{told}");
    }
    fs::rename(place.path("copy"), place.path("store.key")).expect("moved");
    assert_eq!(init(&place).code, Some(0));
    place.start();
}

#[test]
fn a_dev_directory_of_an_older_version_is_opened_and_a_backup_of_one_changes_nothing() {
    // Schemas as older versions made them.
    const STEPS: [&str; 4] = [
        include_str!("../../crates/store/migrations/0001_initial.sql"),
        include_str!("../../crates/store/migrations/0002_sign_in.sql"),
        include_str!("../../crates/store/migrations/0003_federation.sql"),
        include_str!("../../crates/store/migrations/0004_sealing.sql"),
    ];
    let older = |path: &Path, steps: usize| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            use sqlx::{ConnectOptions as _, Connection as _};
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).create_if_missing(true);
            let mut connection = options.connect().await.expect("a database");
            // `Drwd`, the sign of our databases.
            let marks = format!("PRAGMA application_id = {}; PRAGMA user_version = {steps}", 0x4472_7764);
            for text in STEPS[..steps].iter().copied().map(str::to_owned).chain([marks]) {
                sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(&mut connection).await.expect("the statements run");
            }
            connection.close().await.expect("closing");
        });
    };
    let dir = tempfile::tempdir().expect("a folder");
    older(&dir.path().join("doorward.db"), 3);
    let dev = Dev::start_in(dir.path(), &[]);
    Request::get(&dev.app("/")).bearer(&dev.id_token("robot")).send().expect(200);

    let mut place = Place::new(&TEN_LINES.replace("{to}", "http://127.0.0.1:9"));
    place.init();
    let database = place.path("state/doorward.db");
    fs::remove_file(&database).expect("removed");
    let told = place.run(&["backup", "b"]);
    assert!(told.code == Some(1) && told.stderr.contains("there is no store yet"), "{}", told.stderr);
    assert!(!database.exists(), "a backup makes no store");
    older(&database, 3);
    let before = fs::read(&database).expect("the database");
    for command in [["backup", "b"], ["restore", "doorward.toml"]] {
        let told = place.run(&command);
        assert!(told.code == Some(1) && told.stderr.contains("schema 3"), "{command:?}: {}", told.stderr);
        assert_eq!(fs::read(&database).expect("the database"), before, "{command:?}");
    }
    assert!(!place.path("b").exists());
}

/// The blocks of the guide that are fenced with this word.
fn guide(word: &str) -> Vec<String> {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guide/run-in-production.md"));
    let page = page.expect("the guide");
    let block = |part: &str| part.split_once("\n```").map(|(block, _)| format!("{block}\n"));
    page.split(&format!("```{word}\n")).skip(1).filter_map(block).collect()
}

/// Each command of the guide is run in the order of the page, but for the two that need a person at a screen; `serve` is started where
/// it stands.
#[test]
fn the_guide_leads_from_an_empty_folder_to_a_protected_application_and_back_from_a_backup() {
    const SHOWN: [&str; 1] = ["doorward login "];
    let upstream = Upstream::start();
    let mut place = Place::new(&guide("toml")[0]);
    let here = |text: &str, place: &Place| {
        let addresses = [
            ("https://auth.example.com", format!("https://{}", place.api)),
            ("0.0.0.0:8443", place.api.to_string()),
            ("0.0.0.0:443", place.apps.to_string()),
            ("http://10.0.0.7:3000", upstream.url().to_owned()),
        ];
        addresses.into_iter().fold(text.to_owned(), |text, (shown, here)| text.replace(shown, &here))
    };
    let file = here(place.text(), &place);
    place.rewrite(&file);
    let authority = certificate(&place, "auth", &["auth.example.com"]);
    fs::write(place.path("authority.pem"), authority).expect("written");
    certificate(&place, "wiki", &[WIKI]);
    fs::write(place.path("other.toml"), file + "[store]\npath = \"other.db\"\nkey_file = \"state/store.key\"\n")
        .expect("written");
    let mut place = place
        .with_variable("SSL_CERT_FILE", "authority.pem")
        .with_variable("DOORWARD_ADMIN_TOKEN_FILE", "state/admin-token");
    let (mut serve, mut ran, mut exported) = (None, 0, Vec::new());
    for block in guide("console") {
        for line in block.lines().filter_map(|line| line.strip_prefix("$ ")) {
            let mut line = here(line, &place);
            if line.contains("CLIENT_ID") {
                let describe = ["app", "describe", "wiki-example-com", "--json"];
                let described = run(place.command(&describe).envs(exported.clone()));
                let described: Value = serde_json::from_str(&described.stdout).expect("an application");
                line = line.replace("CLIENT_ID", described["clientId"].as_str().expect("a client"));
            }
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["doorward", "serve", "--config", "doorward.toml"] => {
                    // The operator's token stands in for the person of `doorward login`.
                    place.init();
                    serve = Some(place.start());
                }
                ["export", variable] => {
                    exported.extend(variable.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())))
                }
                ["doorward", ..] if SHOWN.iter().any(|shown| line.starts_with(shown)) => {}
                ["doorward", ref arguments @ ..] => {
                    if arguments[0] == "restore" {
                        // The guide says so: the server of this machine is stopped first.
                        serve.take().map(Serve::stop);
                    }
                    let done = run(place.command(arguments).envs(exported.clone()));
                    assert_eq!(done.code, Some(0), "{line}: {}", done.stderr);
                    ran += 1;
                }
                _ => panic!("not understood: {line}"),
            }
        }
    }
    assert!(ran >= 6, "{ran}");
}

/// Writes a certificate for names and for this machine, with its key. Gives the authority that signed it.
fn certificate(place: &Place, name: &str, names: &[&str]) -> String {
    let validity = Validity { from: 1_700_000_000, until: 4_000_000_000 };
    let authority = Authority::new("test", &generate_private_key(Algorithm::Es256).expect("a key"), validity);
    let authority = authority.expect("an authority");
    let key = generate_private_key(Algorithm::Es256).expect("a key");
    let made =
        authority.certify_server(&[[127, 0, 0, 1].into()], names, &key, &[1; 16], validity).expect("a certificate");
    let pem = |what: &str, der: Vec<u8>| pem::encode(&pem::Pem::new(what, der));
    fs::write(place.path(&format!("{name}.key")), pem("PRIVATE KEY", made.private_key)).expect("written");
    let mode = fs::Permissions::from_mode(0o600);
    fs::set_permissions(place.path(&format!("{name}.key")), mode).expect("the mode is set");
    fs::write(place.path(&format!("{name}.pem")), pem("CERTIFICATE", made.certificate)).expect("written");
    authority.certificate().0
}

mod needs_curl {
    use super::*;
    use doorward_tests::client_script;
    use std::process::Command;

    const NAMES: [&str; 2] = ["auth.example.com", WIKI];

    /// Writes a certificate for both names, its key and the authority that signed it.
    fn write_certificate(place: &Place, authority: &str) {
        fs::write(place.path(authority), certificate(place, "server", &NAMES)).expect("written");
    }

    /// What curl gets of an application by its name, trusting one authority; its exit code and the status.
    fn fetch(place: &Place, name: &str, authority: &str) -> (Option<i32>, String) {
        let port = if name == NAMES[0] { place.api.port() } else { place.apps.port() };
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--output", "/dev/null", "--write-out", "%{http_code}", "--max-time", "20"]);
        curl.arg("--cacert").arg(place.path(authority)).args(["--resolve", &format!("{name}:{port}:127.0.0.1")]);
        curl.arg(format!("https://{name}:{port}/"));
        let done = run(&mut curl);
        (done.code, done.stdout)
    }

    #[test]
    fn tls_is_spoken_with_the_files_and_another_certificate_is_shown_without_a_restart() {
        let upstream = Upstream::start();
        let text = TEN_LINES.replace("{to}", upstream.url()).replace("user:ann@example.com", "allUsers");
        let tls = |address: &str| {
            format!("listen = \"{{{address}}}\", tls = {{ certificate = \"server.pem\", key = \"server.key\" }}")
        };
        let text = text.replace("http://{api}", "https://auth.example.com").replace("listen = \"{api}\"", &tls("api"));
        let mut place =
            Place::new(&text.replace("listen = \"{apps}\"", &tls("apps")).replace(WIKI, "wiki.example.com:{port}"));
        let with_port = place.text().replace("{port}", &place.apps.port().to_string());
        place.rewrite(&with_port);
        write_certificate(&place, "first.pem");
        let mut serve = place.init().start();
        assert_eq!(fetch(&place, WIKI, "first.pem"), (Some(0), "200".to_owned()));
        assert_eq!(fetch(&place, NAMES[0], "first.pem").0, Some(0));
        write_certificate(&place, "second.pem");
        assert_ne!(
            fetch(&place, WIKI, "second.pem").0,
            Some(0),
            "the one of before is shown until the files are looked at"
        );
        assert_eq!(serve.reload()["reloaded"], true);
        let end = now_seconds() + 60;
        while fetch(&place, WIKI, "second.pem").0 != Some(0) {
            assert!(now_seconds() < end, "the new certificate is not shown");
        }
        assert_ne!(fetch(&place, WIKI, "first.pem").0, Some(0));
        // Another application, with a certificate of its own.
        let other = "docs.example.com";
        fs::write(place.path("other.pem"), certificate(&place, "docs", &[other])).expect("written");
        let text = place.text().to_owned();
        let pair = |name: &str| format!("{{ certificate = \"{name}.pem\", key = \"{name}.key\" }}");
        let apps = format!("apps = {{ listen = \"{{apps}}\", tls = {}", pair("server"));
        assert!(text.contains(&apps), "{text}");
        let both = format!("apps = {{ listen = \"{{apps}}\", tls = [{}, {}]", pair("server"), pair("docs"));
        let app = text.split_once("[[app]]").expect("an application").1.replace("wiki", "docs");
        place.rewrite(&format!("{}\n[[app]]{app}", text.replace(&apps, &both)));
        let robots =
            ["wiki", "docs"].map(|name| format!("serviceAccount:{name}-robot@doorward.iam.gserviceaccount.com"));
        assert_eq!(serve.reload(), json!({"reloaded": true, "left_out": robots}), "the certificates wait for no start");
        assert_eq!(fetch(&place, other, "other.pem").0, Some(0));
        assert_eq!(fetch(&place, WIKI, "second.pem").0, Some(0));
        // Plain HTTP is not answered there.
        let mut plain = TcpStream::connect(place.apps).expect("a connection");
        plain.write_all(format!("GET / HTTP/1.1\r\nHost: {WIKI}\r\n\r\n").as_bytes()).expect("sent");
        let mut answer = Vec::new();
        // It may be closed before all was read.
        let _ = plain.read_to_end(&mut answer);
        assert!(!answer.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&answer));
        // A key that everybody may read is none.
        fs::set_permissions(place.path("server.key"), fs::Permissions::from_mode(0o644)).expect("the mode is set");
        assert_eq!(serve.stop().code, Some(0));
        assert!(place.refused().contains("server.key holds a secret"));
    }

    #[test]
    fn the_first_administrator_signs_in_at_a_command_line_and_administers() {
        let upstream = Upstream::start();
        let mut place = place(&upstream);
        let made = place.printed(&["init", "--admin", "user:ann@example.com"]);
        let password = made["password"].as_str().expect("a first password").to_owned();
        let serve = place.start();
        let url = serve.api_url().to_owned();
        let at = |words: &[&str]| {
            let mut command = place.command(&[words, &["--api-url", &url]].concat());
            run(command.env_remove("DOORWARD_API_URL").env_remove("DOORWARD_ADMIN_TOKEN_FILE"))
        };
        let told = at(&["app", "list"]);
        assert_eq!(told.code, Some(1));
        for step in [
            format!("`doorward login --api-url {url}`"),
            "DOORWARD_ADMIN_TOKEN_FILE".into(),
            "DOORWARD_KEY_FILE".into(),
        ] {
            assert!(told.stderr.contains(&step), "{}", told.stderr);
        }
        let cookies = signed_in(&serve, ANN, &password).cookies();
        let mut login = place.command(&["login", "--api-url", &url]);
        login.env("BROWSER", format!("sh {}", client_script("browser.sh").display())).env("BROWSER_COOKIE", cookies);
        let signed = run(&mut login);
        assert_eq!(
            (signed.code, signed.stdout),
            (Some(0), format!("signed in as {ANN} at {url}\n")),
            "{}",
            signed.stderr
        );
        assert!(at(&["whoami"]).stdout.starts_with(&format!("{ANN} at {url}, since ")));
        let listed = at(&["app", "list", "--json"]);
        assert!(listed.stdout.contains("\"wiki\""), "{}", listed.stderr);
        let added = at(&["policy", "add", "--app", "wiki", "--member", "user:bob@example.com"]);
        assert_eq!(added.code, Some(0), "{}", added.stderr);
        let entry = serve_entries(&at(&["audit", "tail", "--json", "--limit", "1000"]).stdout);
        let changed = entry
            .iter()
            .rfind(|it| it["protoPayload"]["methodName"].as_str().is_some_and(|name| name.ends_with("SetIamPolicy")));
        assert_eq!(changed.expect("a change")["protoPayload"]["authenticationInfo"]["principalEmail"], ANN);
        assert_eq!(at(&["logout"]).stdout, format!("{ANN} is signed out\n"));
        let gone = at(&["whoami"]);
        assert!(gone.stderr.contains(&format!("`doorward login --api-url {url}`")), "{}", gone.stderr);
    }

    fn serve_entries(lines: &str) -> Vec<Value> {
        lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }
}
