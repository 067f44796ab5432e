//! Sinks on a real store, with real files and real connections.

use super::*;
use crate::audit_sinks::entry::tests::{allowed, change, decision, project};
use crate::audit_sinks::otlp::tests::{answer, collector};
use doorward_core::audit::AuditEvent;
use doorward_core::clock::{ManualClock, Timestamp};
use doorward_store::SqliteStore;
use serde_json::Value;

const KEEP: u64 = 1000;

async fn record() -> Record {
    Record {
        store: Arc::new(SqliteStore::in_memory().await.unwrap()),
        project: project(),
        clock: Arc::new(ManualClock::at(Timestamp::from_seconds(2_000_000_000))),
        instance: "auth.test".into(),
    }
}

async fn append(record: &Record, ids: &[&str], keep: u64) {
    let events = ids.iter().map(|id| AuditEvent::Decision(decision(id, allowed("domain:example.com"))));
    record.store.append(&events.collect::<Vec<_>>(), keep).await.unwrap();
}

/// The ids of the entries in a file.
fn written(path: &std::path::Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let id = |line: &str| serde_json::from_str::<Value>(line).unwrap()["insertId"].as_str().unwrap().to_owned();
    text.lines().map(id).collect()
}

/// The ids of the entries in a request to a collector.
fn sent(request: &str) -> Vec<String> {
    let body: Value = serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap();
    let records = body["resourceLogs"][0]["scopeLogs"][0]["logRecords"].as_array().unwrap().clone();
    let id = |record: Value| {
        let attributes = record["attributes"].as_array().unwrap().clone();
        let uid = attributes.into_iter().find(|it| it["key"] == "log.record.uid").unwrap();
        uid["value"]["stringValue"].as_str().unwrap().to_owned()
    };
    records.into_iter().map(id).collect()
}

struct Bench {
    folder: tempfile::TempDir,
    record: Record,
}

impl Bench {
    async fn new() -> Self {
        Bench { folder: tempfile::tempdir().unwrap(), record: record().await }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("audit.jsonl")
    }

    /// A sink as it is at a start of the process.
    fn start(&self, sink: Sink) -> Exporter {
        let cursor = Cursor::open(self.folder.path(), "s").unwrap();
        Exporter::new("s".into(), sink, cursor, self.record.clone())
    }

    fn start_file(&self) -> Exporter {
        self.start(Sink::file(self.path()))
    }

    async fn start_collector(&self, answers: &[&str]) -> (Exporter, tokio::task::JoinHandle<Vec<String>>) {
        let answers = answers.iter().map(|status| answer(status, "", "{}")).collect();
        let (endpoint, served) = collector(answers).await;
        (self.start(Sink::collector(endpoint, Vec::new(), Vec::new(), "i".into())), served)
    }
}

async fn to_the_end(exporter: &mut Exporter) {
    while exporter.step().await.unwrap() == Step::Sent {}
}

fn shown(exporter: &Exporter) -> SinkStatus {
    exporter.shown().lock().unwrap().clone()
}

#[tokio::test]
async fn a_sink_has_each_event_once_also_after_a_restart() {
    let bench = Bench::new().await;
    append(&bench.record, &["a", "b"], KEEP).await;
    let mut exporter = bench.start_file();
    to_the_end(&mut exporter).await;
    append(&bench.record, &["c"], KEEP).await;
    to_the_end(&mut exporter).await;
    let mut exporter = bench.start_file();
    append(&bench.record, &["d"], KEEP).await;
    to_the_end(&mut exporter).await;
    assert_eq!(written(&bench.path()), ["a", "b", "c", "d"]);
    assert_eq!(shown(&exporter).sequence, 4);
}

#[tokio::test]
async fn more_than_one_batch_arrives_in_order() {
    let bench = Bench::new().await;
    let ids: Vec<String> = (0..BATCH + 3).map(|number| format!("e{number}")).collect();
    append(&bench.record, &ids.iter().map(String::as_str).collect::<Vec<_>>(), 10_000).await;
    to_the_end(&mut bench.start_file()).await;
    assert_eq!(written(&bench.path()), ids);
}

#[tokio::test]
async fn public_access_is_passed_over_and_changes_are_sent() {
    let bench = Bench::new().await;
    let events = [
        AuditEvent::Decision(decision("p", allowed("allUsers"))),
        AuditEvent::Admin(Box::new(change())),
        AuditEvent::Decision(decision("q", allowed("allUsers"))),
    ];
    bench.record.store.append(&events, KEEP).await.unwrap();
    let mut exporter = bench.start_file();
    to_the_end(&mut exporter).await;
    assert_eq!((written(&bench.path()), shown(&exporter).sequence), (vec!["c".to_owned()], 3));
}

#[tokio::test]
async fn a_sink_that_fails_falls_behind_and_loses_nothing() {
    let bench = Bench::new().await;
    append(&bench.record, &["a", "b"], KEEP).await;
    let (mut exporter, served) = bench.start_collector(&["503 x", "429 x", "401 x", "307 x", "200 OK"]).await;
    for _ in 0..4 {
        assert!(matches!(exporter.step().await, Err(ExportError::Send(_))));
        assert_eq!(shown(&exporter).sequence, 0);
    }
    assert_eq!(exporter.step().await.unwrap(), Step::Sent);
    assert_eq!(served.await.unwrap().iter().map(|it| sent(it)).collect::<Vec<_>>(), vec![vec!["a", "b"]; 5]);
    assert_eq!((shown(&exporter).sequence, shown(&exporter).rejected), (2, 0));
}

#[tokio::test]
async fn what_a_collector_never_takes_is_left_out_alone_and_counted() {
    let bench = Bench::new().await;
    append(&bench.record, &["a", "bad", "c"], KEEP).await;
    // a, bad, c | a | bad, c | bad | c
    let (mut exporter, served) = bench.start_collector(&["413 x", "200 OK", "400 x", "400 x", "200 OK"]).await;
    assert_eq!(exporter.step().await.unwrap(), Step::Sent);
    let requests: Vec<Vec<String>> = served.await.unwrap().iter().map(|it| sent(it)).collect();
    assert_eq!(requests, [vec!["a", "bad", "c"], vec!["a"], vec!["bad", "c"], vec!["bad"], vec!["c"]]);
    assert_eq!((shown(&exporter).sequence, shown(&exporter).rejected), (3, 1));
}

#[tokio::test]
async fn what_the_retention_took_before_is_a_gap_with_its_numbers() {
    let bench = Bench::new().await;
    append(&bench.record, &["a"], KEEP).await;
    let mut exporter = bench.start_file();
    to_the_end(&mut exporter).await;
    append(&bench.record, &["b", "c", "d", "e"], 2).await;
    to_the_end(&mut exporter).await;
    assert_eq!(written(&bench.path()), ["a", "gap-2-3", "d", "e"]);
    assert_eq!(shown(&exporter).lost, 2);
    // The same after a restart, when the last that it had is forgotten too.
    append(&bench.record, &["f", "g", "h"], 1).await;
    to_the_end(&mut bench.start_file()).await;
    assert_eq!(written(&bench.path()), ["a", "gap-2-3", "d", "e", "gap-6-7", "h"]);
}

#[tokio::test]
async fn a_new_sink_begins_with_what_is_kept_and_misses_nothing_from_then_on() {
    let bench = Bench::new().await;
    append(&bench.record, &["a", "b", "c"], 1).await;
    let (mut exporter, served) = bench.start_collector(&["503 x"]).await;
    assert!(exporter.step().await.is_err());
    served.await.unwrap();
    // It never had anything, and what was kept at its beginning is forgotten meanwhile.
    append(&bench.record, &["d", "e"], 1).await;
    to_the_end(&mut bench.start_file()).await;
    assert_eq!(written(&bench.path()), ["gap-3-4", "e"]);
}

#[tokio::test]
async fn another_record_is_noticed_and_sent_from_its_beginning() {
    let mut bench = Bench::new().await;
    append(&bench.record, &["a", "b", "c"], KEEP).await;
    to_the_end(&mut bench.start_file()).await;
    for others in [&["x"][..], &["v", "y", "z", "u"][..]] {
        let before = written(&bench.path()).len();
        bench.record = record().await;
        append(&bench.record, others, KEEP).await;
        to_the_end(&mut bench.start_file()).await;
        let now = written(&bench.path());
        assert!(now[before].starts_with("replaced-"), "{now:?}");
        assert_eq!(now[before + 1..], *others);
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_written_holds_the_place() {
    let bench = Bench::new().await;
    append(&bench.record, &["a"], KEEP).await;
    let path = bench.folder.path().join("later/audit.jsonl");
    let mut exporter = bench.start(Sink::file(path.clone()));
    assert!(exporter.step().await.is_err());
    std::fs::create_dir(path.parent().unwrap()).unwrap();
    to_the_end(&mut exporter).await;
    assert_eq!(written(&path), ["a"]);
}

#[tokio::test]
async fn at_the_end_what_is_left_is_sent() {
    let bench = Bench::new().await;
    append(&bench.record, &["a", "b"], KEEP).await;
    let (stop, stopped) = watch::channel(true);
    let (_reopen, reopened) = watch::channel(());
    bench.start_file().run(reopened, stopped).await;
    drop(stop);
    assert_eq!(written(&bench.path()), ["a", "b"]);
}

#[test]
fn pauses_grow_and_a_collector_may_ask_for_longer_ones() {
    let seconds = [1, 2, 3, 4, 5, 6, 7, 8, 100].map(|failures| pause_after(failures).as_secs());
    assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    let busy = |retry_after| {
        let status = http::StatusCode::TOO_MANY_REQUESTS;
        let retry_after = Some(Duration::from_secs(retry_after));
        ExportError::from(SendError::from(OtlpError::Busy { status, retry_after })).retry_after().as_secs()
    };
    assert_eq!([busy(7), busy(100_000)], [7, 300]);
    let refused = OtlpError::Refused(http::StatusCode::UNAUTHORIZED);
    assert_eq!(ExportError::from(SendError::from(refused)).retry_after(), LONGEST_PAUSE);
}
