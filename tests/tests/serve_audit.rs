//! The record of `doorward serve`: sinks that go away and come back, and a chain that shows what was altered.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::path::Path;

use doorward_tests::{Finished, Place, Serve, TEN_LINES, Upstream, now_seconds, run};
use serde_json::Value;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

const WIKI: &str = "wiki.example.com";

/// How the sinks are, by name.
fn sinks(serve: &Serve) -> Vec<Value> {
    serve.admin("GET", "doorward/v1/auditSinks", None).expect(200).json()["sinks"].as_array().expect("sinks").clone()
}

/// Asks until all sinks are as they should be.
fn until(serve: &Serve, what: &str, good: impl Fn(&Value) -> bool) {
    let end = now_seconds() + 60;
    loop {
        let sinks = sinks(serve);
        if sinks.iter().all(&good) {
            return;
        }
        assert!(now_seconds() < end, "{what}: {sinks:?}");
    }
}

fn id(entry: &Value) -> String {
    entry["insertId"].as_str().expect("an insertId").to_owned()
}

fn parsed(lines: &str) -> Vec<Value> {
    lines.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"))).collect()
}

/// The entries of requests to a collector: the ids, and the bodies.
fn collected(collector: &Upstream) -> (Vec<String>, String) {
    let (mut ids, mut bodies) = (Vec::new(), String::new());
    for request in collector.take() {
        assert_eq!(request.target(), "/v1/logs");
        assert_eq!(request.values("x-team"), ["otel secret"]);
        let text = String::from_utf8(request.body).expect("text");
        let body: Value = serde_json::from_str(&text).expect("JSON");
        for record in body["resourceLogs"][0]["scopeLogs"][0]["logRecords"].as_array().expect("records") {
            let attributes = record["attributes"].as_array().expect("attributes");
            let uid = attributes.iter().find(|it| it["key"] == "log.record.uid").expect("an id");
            ids.push(uid["value"]["stringValue"].as_str().expect("text").to_owned());
        }
        bodies += &text;
    }
    (ids, bodies)
}

#[test]
fn every_sink_gets_each_decision_and_each_change_also_those_of_when_it_was_away() {
    let upstream = Upstream::start();
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let collector = free.local_addr().expect("an address");
    drop(free);
    let text = format!(
        "{}\n[[app]]\nname = \"open\"\nhost = \"open.example.com\"\nto = \"{}\"\nallow = [\"allUsers\"]\n\
         [[audit.sink]]\nkind = \"file\"\npath = \"log/audit.jsonl\"\n\
         [[audit.sink]]\nkind = \"stdout\"\n\
         [[audit.sink]]\nkind = \"otlp\"\nendpoint = \"http://{collector}\"\nheaders = {{ x-team = {{ env = \"OTEL_SECRET\" }} }}\n",
        TEN_LINES.replace("{to}", upstream.url()),
        upstream.url()
    );
    let mut place = Place::new(&text).with_variable("OTEL_SECRET", "otel secret");
    let mut serve = place.init().start();
    let robot = serve.new_account("wiki-robot");
    serve.reload();
    let stranger = serve.new_account("stranger");
    let audience = serve.application("wiki")["clientId"].as_str().expect("a client").to_owned();
    let (robot, stranger) = (robot.id_token(&audience), stranger.id_token(&audience));
    let end = now_seconds() + 60;
    while serve.app(WIKI, "/in").bearer(&robot).send().status != 200 {
        assert!(now_seconds() < end, "the file is not taken");
    }
    serve.app(WIKI, "/out").bearer(&stranger).send().expect(403);
    serve.app("open.example.com", "/public").send().expect(200);
    serve.printed(&["policy", "add", "--app", "wiki", "--member", "user:bob@example.com"]);

    // One sink has all, and two are away: they say so, and nothing waits for them.
    let is_away =
        |sink: &Value| sink["name"] == "stdout" || sink["failingSince"].is_number() && sink["error"].is_string();
    until(&serve, "two sinks fail", is_away);
    let expected: Vec<String> = serve.entries().iter().map(id).collect();
    fs::create_dir(place.path("log")).expect("a folder");
    let collector = Upstream::start_at(collector);
    until(&serve, "every sink has everything", |sink| sink["behind"] == 0 && sink["failingSince"].is_null());
    assert!(sinks(&serve).iter().all(|sink| sink["lost"] == 0 && sink["rejected"] == 0), "{:?}", sinks(&serve));
    let early = serve.early().to_vec();
    let ended = serve.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);

    let file = fs::read_to_string(place.path("log/audit.jsonl")).expect("the file");
    let printed = early.join("\n") + "\n" + &ended.stdout;
    let entries = parsed(&file);
    let (sent, bodies) = collected(&collector);
    for (name, found) in [
        ("file", entries.iter().map(id).collect()),
        ("stdout", parsed(&printed).iter().map(id).collect()),
        ("otlp", sent),
    ] {
        let found: Vec<String> = found;
        let unique: BTreeSet<&String> = found.iter().collect();
        assert_eq!(unique.len(), found.len(), "{name}: none came twice");
        assert_eq!(found[..expected.len()], expected, "{name}");
    }
    let find = |method: &str, path: &str| {
        entries.iter().find(|entry| {
            let payload = &entry["protoPayload"];
            payload["methodName"].as_str().is_some_and(|name| name.ends_with(method))
                && (path.is_empty() || payload["requestMetadata"]["requestAttributes"]["path"] == path)
        })
    };
    let allowed = find("AuthorizeUser", "/in").expect("who was let in");
    assert_eq!(allowed["protoPayload"]["@type"], "type.googleapis.com/google.cloud.audit.AuditLog");
    assert_eq!(allowed["protoPayload"]["serviceName"], "iap.googleapis.com");
    assert_eq!(allowed["protoPayload"]["authorizationInfo"][0]["granted"], true);
    let refused = find("AuthorizeUser", "/out").expect("who was refused");
    assert_eq!(
        (&refused["severity"], &refused["protoPayload"]["status"]["code"]),
        (&Value::from("ERROR"), &Value::from(7))
    );
    // What the file asks for beyond what is there is a refusal, and has no state after it.
    let changed = |entry: &Value| {
        let payload = &entry["protoPayload"];
        payload["methodName"].as_str().is_some_and(|name| name.ends_with("SetIamPolicy"))
            && payload["metadata"]["after"].is_object()
    };
    assert!(entries.iter().any(changed), "{entries:?}");
    // Public access is in the record, and has no entry.
    assert_eq!(find("AuthorizeUser", "/public"), None);
    assert!(!bodies.contains("/public") && !printed.contains("/public"));
    assert!(!bodies.contains("otel secret") && !file.contains("otel secret"));
    let serve = place.start();
    let Finished { stdout, .. } = run(&mut serve.command(&["decisions", "--json", "--limit", "1000"]));
    assert!(stdout.contains("/public"), "{stdout}");
}

/// Runs a statement on a database that nobody has open.
fn execute(database: &Path, statement: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(database);
        let mut connection = options.connect().await.expect("a database");
        let done = sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await.expect("it runs");
        assert_eq!(done.rows_affected(), 1, "{statement}");
        connection.close().await.expect("closing");
    });
}

#[test]
fn the_chain_holds_through_forgetting_and_shows_one_row_that_was_altered() {
    let upstream = Upstream::start();
    let text = TEN_LINES.replace("{to}", upstream.url());
    let mut place = Place::new(&format!("{text}[audit]\nretention = {{ events = 30 }}\n"));
    let serve = place.init().start();
    for number in 0..60 {
        serve.app(WIKI, &format!("/{number}")).send().expect(302);
    }
    let kept = serve.entries();
    assert!(kept.len() <= 30, "{}", kept.len());
    let verify = |serve: &Serve| run(&mut serve.command(&["audit", "verify", "--json"]));
    let verified = verify(&serve);
    assert_eq!(verified.code, Some(0), "{}", verified.stderr);
    let answer: Value = serde_json::from_str(&verified.stdout).expect("JSON");
    let number = |name: &str| answer[name].as_i64().or_else(|| answer[name].as_str()?.parse().ok()).expect("a number");
    assert!(number("after") > 0 && number("sequence") - number("after") <= 30, "{answer}");
    assert_eq!(serve.stop().code, Some(0));

    let database = place.path("state/doorward.db");
    let row = format!("sequence = {}", number("sequence") - 2);
    execute(&database, &format!("UPDATE audit_event SET event = replace(event, '302', '200') WHERE {row}"));
    let serve = place.start();
    let told = verify(&serve);
    assert_eq!(told.code, Some(1), "{}", told.stdout);
    assert!(told.stderr.contains("the record is not as it was written"), "{}", told.stderr);
    let answer: Value = serde_json::from_str(&told.stdout).expect("JSON");
    assert!(answer["broken"].is_object(), "{answer}");
    assert_eq!(serve.stop().code, Some(0));
    execute(&database, &format!("UPDATE audit_event SET event = replace(event, '200', '302') WHERE {row}"));
    let serve = place.start();
    assert_eq!(verify(&serve).code, Some(0), "what was put back is as it was");
    assert_eq!(serve.stop().code, Some(0));
    execute(&database, &format!("DELETE FROM audit_event WHERE {row}"));
    assert_eq!(verify(&place.start()).code, Some(1), "one that is missing shows too");
}
