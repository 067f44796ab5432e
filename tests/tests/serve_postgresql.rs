//! Two `doorward serve` on one PostgreSQL database: what one writes is in force on the other, and nobody serves what may be stale.

#[path = "../../crates/store/tests/postgres/mod.rs"]
#[expect(dead_code, reason = "the server is that of the store's tests")]
mod postgres;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use doorward_tests::{PATIENCE, Place, Response, Serve, TEN_LINES, Upstream};
use postgres::{Cluster, Database};

const WIKI: &str = "wiki.example.com";
/// What is promised for an instance that did not take the change.
const THERE: Duration = Duration::from_secs(1);
/// `staleness_limit` of the file.
const STALE: Duration = Duration::from_secs(5);

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// An instance on a database. `names` are those of Google, so that a token is good at every instance.
fn instance(database: &Database<'_>, upstream: &Upstream) -> Place {
    let text = TEN_LINES.replace("{to}", upstream.url()).replace("[[app]]", "names = \"google\"\n[[app]]");
    let url = database.url("postgres");
    let place = Place::new(&format!(
        "{text}[store]\nurl = \"{url}\"\nkey_file = \"shared.key\"\n[policy]\nstaleness_limit = \"5s\"\n"
    ));
    fs::write(place.path("shared.key"), "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY=\n").expect("written");
    fs::set_permissions(place.path("shared.key"), fs::Permissions::from_mode(0o600)).expect("the mode is set");
    place
}

fn ask(serve: &Serve, token: &str) -> Response {
    serve.app(WIKI, "/").bearer(token).send()
}

/// How long it takes until an answer has this status.
#[expect(clippy::disallowed_methods, reason = "a measurement reads the time itself")]
fn until(status: u16, limit: Duration, ask: impl Fn() -> Response) -> Duration {
    let begun = Instant::now();
    loop {
        let answer = ask();
        if answer.status == status {
            return begun.elapsed();
        }
        assert!(begun.elapsed() < limit, "after {limit:?} it is {} {}", answer.status, answer.text());
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a measurement reads the time itself")]
fn what_one_instance_takes_is_in_force_on_the_other_within_a_second_and_neither_serves_what_is_stale() {
    let runtime = runtime();
    let cluster = Cluster::start();
    let database = runtime.block_on(cluster.database());
    let upstream = Upstream::start();
    let (mut one, mut two) = (instance(&database, &upstream), instance(&database, &upstream));
    // As with a URL that names another database than yesterday.
    let told = one.refused();
    assert!(told.contains("the PostgreSQL database is empty") && told.contains("`doorward restore`"), "{told}");
    one.init();
    two.init();
    let serving = [one.start(), two.start()];
    let account = serving[0].new_account("newcomer");
    let audience = serving[0].application("wiki")["clientId"].as_str().expect("a client").to_owned();
    let token = account.id_token(&audience);
    let member = format!("serviceAccount:{}", account.email);
    let mut slowest = Duration::ZERO;
    for round in 0..8 {
        let (writer, other, add) = (&serving[round / 2 % 2], &serving[1 - round / 2 % 2], round % 2 == 0);
        let word = if add { "add" } else { "remove" };
        let status = if add { 200 } else { 403 };
        writer.printed(&["policy", word, "--app", "wiki", "--member", &member]);
        // The command has its answer: on the instance that gave it, the change is in force.
        ask(writer, &token).expect(status);
        slowest = slowest.max(until(status, THERE, || ask(other, &token)));
    }
    assert!(slowest < THERE, "{slowest:?}");
    serving[0].printed(&["policy", "add", "--app", "wiki", "--member", &member]);
    for serve in &serving {
        until(200, THERE, || ask(serve, &token));
    }

    // The record can be written, and whether grants changed cannot be read: they are good for the time that the file says.
    let begun = Instant::now();
    runtime.block_on(database.execute("ALTER TABLE revision RENAME TO revision_away"));
    ask(&serving[0], &token).expect(200);
    for serve in &serving {
        until(503, PATIENCE, || ask(serve, &token));
        assert_eq!(ask(serve, &token).reason(), Some("stale_grants"));
        let after = begun.elapsed();
        assert!((STALE - THERE..STALE * 3).contains(&after), "{after:?}");
    }
    runtime.block_on(database.execute("ALTER TABLE revision_away RENAME TO revision"));
    for serve in &serving {
        until(200, PATIENCE, || ask(serve, &token));
    }
    // Without the server nothing can be recorded, so nobody is let in at once.
    cluster.stop();
    for serve in &serving {
        until(503, STALE, || ask(serve, &token));
    }
    cluster.start_again();
    for serve in &serving {
        until(200, PATIENCE, || ask(serve, &token));
    }
    serving[1].printed(&["policy", "remove", "--app", "wiki", "--member", &member]);
    until(403, THERE, || ask(&serving[0], &token));
    for serve in serving {
        assert_eq!(serve.stop().code, Some(0));
    }
}

#[test]
fn a_backup_goes_from_one_engine_to_the_other_and_a_token_of_before_is_good_after_it() {
    let runtime = runtime();
    let cluster = Cluster::shared();
    let upstream = Upstream::start();
    let sqlite = |upstream: &Upstream| {
        let text = TEN_LINES.replace("{to}", upstream.url()).replace("[[app]]", "names = \"google\"\n[[app]]");
        let place = Place::new(&format!("{text}[store]\nkey_file = \"shared.key\"\n"));
        fs::write(place.path("shared.key"), "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY=\n").expect("written");
        fs::set_permissions(place.path("shared.key"), fs::Permissions::from_mode(0o600)).expect("the mode is set");
        place
    };
    let mut first = sqlite(&upstream);
    let mut serve = first.init().start();
    let account = serve.new_account("wiki-robot");
    serve.reload();
    let audience = serve.application("wiki")["clientId"].as_str().expect("a client").to_owned();
    let token = account.id_token(&audience);
    until(200, PATIENCE, || ask(&serve, &token));
    assert_eq!(first.run(&["backup", "backup"]).code, Some(0), "while it serves");
    serve.kill();

    let databases = [runtime.block_on(cluster.database()), runtime.block_on(cluster.database())];
    let mut places = [instance(&databases[0], &upstream), instance(&databases[1], &upstream), sqlite(&upstream)];
    let mut backup = first.path("backup");
    for place in &mut places {
        let file = backup.to_str().expect("text").to_owned();
        // Refused with another key, it leaves nothing that a server would start on, nor a key to which the store is bound.
        let key = fs::read(place.path("shared.key")).expect("the key");
        fs::write(place.path("shared.key"), "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n").expect("written");
        let refused = place.run(&["restore", &file]);
        assert!(refused.code == Some(1) && refused.stderr.contains("sealed with another key"), "{}", refused.stderr);
        let told = place.refused();
        assert!(told.contains(", and `doorward restore` from a backup"), "{told}");
        fs::write(place.path("shared.key"), key).expect("written");
        let restored = place.run(&["restore", &file]);
        assert_eq!(restored.code, Some(0), "{}", restored.stderr);
        let again = place.run(&["restore", &file]);
        assert!(again.code == Some(1) && again.stderr.contains("not empty"), "{}", again.stderr);
        let serve = place.init().start();
        ask(&serve, &token).expect(200);
        assert_eq!(serve.printed(&["audit", "verify"])["broken"], serde_json::Value::Null);
        let told = place.run(&["backup", "backup"]);
        assert_eq!(told.code, Some(0), "while it serves: {}", told.stderr);
        assert_eq!(serve.stop().code, Some(0));
        backup = place.path("backup");
    }
    let text = fs::read_to_string(&backup).expect("the backup");
    assert!(!text.contains("PRIVATE KEY") && !text.contains("AgEAMA0GCSqGSIb3DQEBAQUAB"));

    // What the server itself would write down.
    for database in &databases {
        let found = "SELECT count(*) FROM signing_key WHERE position('\\x020100300d06092a864886f70d0101010500'::bytea IN secret) > 0 \
                     OR position('PRIVATE KEY'::bytea IN secret) > 0";
        assert_eq!(runtime.block_on(database.number(found)), 0);
        assert!(runtime.block_on(database.number("SELECT count(*) FROM signing_key WHERE length(secret) > 100")) > 0);
    }
    let wrong = &places[0];
    fs::write(wrong.path("shared.key"), "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n").expect("written");
    let told = wrong.refused();
    assert!(
        told.contains("is not the one with which the private keys") && told.contains("Restore the key file"),
        "{told}"
    );
}
