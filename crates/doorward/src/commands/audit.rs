//! `doorward audit`: the record in the form of Cloud Audit Logs, and whether it is as it was written.

use anyhow::bail;
use doorward_wire::doorward_api::{AuditPoint, ListAuditEntriesResponse, VerifyAuditResponse};
use doorward_wire::google_api::audit_log::LogEntry;

use super::Common;
use crate::output::{PrintError, json_line, print, printable};

/// How long the server may hold a request while nothing happens, in seconds. Shorter than the client's patience.
const LONG_POLL: u32 = 25;

/// Show the record of decisions and administrative changes, and see that nobody altered it
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
Example:
  doorward audit tail --follow
  doorward audit verify")]
pub(crate) enum Command {
    Tail(TailArgs),
    Verify(VerifyArgs),
}

/// List the newest entries, oldest first, in the form of Cloud Audit Logs
///
/// With --json a whole entry on each line. Accesses that everybody has are no entries, as with Google; `doorward decisions` lists them.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward audit tail
  doorward audit tail --follow --json >> audit.jsonl")]
pub(crate) struct TailArgs {
    /// Go on with each entry as it is made, until Ctrl-C or until the server stops
    #[arg(long)]
    follow: bool,
    /// How many of the newest events to look at, at most 1000
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    #[command(flatten)]
    common: Common,
}

/// See that the events of the record fit together, and that it goes on from where it was
///
/// Each event is chained to the one before by its hash: one that was changed, taken out or put in is found. Whoever can write the
/// database can cut the chain's end off, though, or compute a whole new chain. Neither can go on from what was kept elsewhere: keep the
/// number and the hash that this prints on another machine, and give them with --expect the next time. Without it, this finds
/// accidents and clumsy hands alone. What was sent to a file or another server as it happened is there besides.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward audit verify
  doorward audit verify --expect 4711:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
pub(crate) struct VerifyArgs {
    /// The number and the hash of an event, as this printed them before: fails if that event is not in the record, or is another
    #[arg(long, value_name = "SEQUENCE:HASH", value_parser = expected)]
    expect: Option<AuditPoint>,
    #[command(flatten)]
    common: Common,
}

/// Runs one of the commands.
pub(crate) async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Tail(args) => tail(args).await,
        Command::Verify(args) => verify(args).await,
    }
}

async fn tail(TailArgs { follow, limit, common }: TailArgs) -> anyhow::Result<()> {
    let server = common.server.open().await?;
    let path = "/doorward/v1/auditEntries";
    let mut page: ListAuditEntriesResponse = server.api().get(&format!("{path}?limit={limit}")).await?;
    loop {
        print(&lines(&page.entries, common.json)?)?;
        if !follow {
            return Ok(());
        }
        page = server.api().get(&format!("{path}?after={}&wait={LONG_POLL}", page.next)).await?;
    }
}

fn lines(entries: &[LogEntry], json: bool) -> Result<String, PrintError> {
    if json {
        return entries.iter().map(json_line).collect();
    }
    Ok(entries.iter().map(|entry| printable(&line(entry)) + "\n").collect())
}

fn line(entry: &LogEntry) -> String {
    let payload = &entry.proto_payload;
    let info = &payload.authentication_info;
    let who = info.principal_email.as_deref().or(info.principal_subject.as_deref()).unwrap_or("unproven");
    let status = match payload.status.code {
        None | Some(0) => "ok".to_owned(),
        Some(_) if payload.status.message.is_empty() => "refused".to_owned(),
        Some(_) => payload.status.message.clone(),
    };
    let method = payload.method_name.rsplit('.').next().unwrap_or(&payload.method_name);
    format!("{}  {who}  {method}  {}  {status}  [{}]", entry.timestamp, payload.resource_name, entry.insert_id)
}

fn expected(text: &str) -> Result<AuditPoint, &'static str> {
    let form = "it is the number of an event, a colon, and its hash of 64 hexadecimal digits";
    let (sequence, hash) = text.split_once(':').ok_or(form)?;
    let sequence = sequence.parse().map_err(|_| form)?;
    let is_hash = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hash { Ok(AuditPoint { sequence, hash: hash.to_ascii_lowercase() }) } else { Err(form) }
}

async fn verify(VerifyArgs { expect, common }: VerifyArgs) -> anyhow::Result<()> {
    let server = common.server.open().await?;
    let at = expect.as_ref().map_or_else(String::new, |expect| format!("?at={}", expect.sequence));
    let answer: VerifyAuditResponse = server.api().get(&format!("/doorward/v1/auditEntries:verify{at}")).await?;
    print(&if common.json { json_line(&answer)? } else { verified(&answer) })?;
    if let Some(broken) = &answer.broken {
        bail!(
            "the record is not as it was written ({}): compare it with what was sent to a file or another server",
            broken.problem
        );
    }
    expect.map_or(Ok(()), |expect| compare(&expect, &answer))
}

/// Sees that the record goes on from what was expected.
fn compare(expect: &AuditPoint, answer: &VerifyAuditResponse) -> anyhow::Result<()> {
    let number = expect.sequence;
    match &answer.at {
        Some(found) if found == expect => Ok(()),
        Some(_) => bail!(
            "event {number} is another one than was expected: the record was written anew since. Compare it with what was sent to a \
             file or another server"
        ),
        None if number > answer.sequence => bail!(
            "the record ends with event {}, before event {number}, which was expected: its end was cut off, or an older one was \
             restored",
            answer.sequence
        ),
        None if number < answer.after => {
            bail!("event {number} was forgotten by the retention, so it cannot be compared: expect a younger one")
        }
        None => bail!("this server does not say what event {number} is: it is older than this command"),
    }
}

fn verified(answer: &VerifyAuditResponse) -> String {
    let VerifyAuditResponse { after, sequence, hash, broken: _, at: _ } = answer;
    if sequence == after {
        return format!("no event is kept after {after}\n");
    }
    let (first, hash) = (after + 1, printable(hash));
    format!("events {first} to {sequence} fit together\nkeep elsewhere, for --expect: {sequence}:{hash}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;
    use serde_json::{Value, json};

    use crate::api::tests::{block_on, replay};

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(subcommand)]
        command: Command,
    }

    fn entry(code: Option<i32>) -> Value {
        json!({
            "logName": "l", "resource": {"type": "project", "labels": {}}, "severity": "INFO", "insertId": "abc", "timestamp": "2026-11-25T20:51:17Z",
            "protoPayload": {
                "@type": "type.googleapis.com/google.cloud.audit.AuditLog", "serviceName": "iap.googleapis.com",
                "methodName": "google.cloud.iap.v1.Service.SetIamPolicy", "resourceName": "projects/1\u{1b}",
                "status": code.map_or(json!({}), |code| json!({"code": code, "message": "Permission Denied."})),
                "authenticationInfo": {"principalEmail": "a@x.com"}, "requestMetadata": {},
            },
        })
    }

    fn ask(line: &[&str], answers: Vec<Value>) -> (anyhow::Result<()>, Vec<String>) {
        let dir = tempfile::tempdir().unwrap();
        let (address, asked) = replay(answers.into_iter().map(|answer| (200, answer)).collect());
        crate::world::tests::described(dir.path(), &format!("http://{address}"));
        let words = [&["audit"], line, &["--dir", dir.path().to_str().unwrap()]].concat();
        let ended = block_on(run(Line::try_parse_from(words).unwrap().command));
        (ended, asked.join().unwrap())
    }

    #[test]
    fn an_entry_is_a_line_for_people_and_whole_for_programs() {
        let entries: Vec<LogEntry> = serde_json::from_value(json!([entry(None), entry(Some(7))])).unwrap();
        let expected = "2026-11-25T20:51:17Z  a@x.com  SetIamPolicy  projects/1\\u{1b}  ok  [abc]\n\
                        2026-11-25T20:51:17Z  a@x.com  SetIamPolicy  projects/1\\u{1b}  Permission Denied.  [abc]\n";
        assert_eq!(lines(&entries, false).unwrap(), expected);
        let json = lines(&entries, true).unwrap();
        let back: Vec<LogEntry> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(back, entries);
    }

    #[test]
    fn the_record_is_followed_until_the_server_stops() {
        let page = |next: i64| json!({"entries": [entry(None)], "next": next});
        let (ended, asked) = ask(&["tail", "--limit", "5"], vec![page(7)]);
        ended.unwrap();
        assert!(asked[0].starts_with("GET /doorward/v1/auditEntries?limit=5 HTTP"));
        // The third answer is of a shape that ends it.
        let (ended, asked) = ask(&["tail", "--follow"], vec![page(7), page(9), json!([])]);
        assert!(ended.is_err());
        assert!(asked[1].starts_with("GET /doorward/v1/auditEntries?after=7&wait=25 HTTP"));
        assert!(asked[2].starts_with("GET /doorward/v1/auditEntries?after=9&wait=25 HTTP"));
    }

    #[test]
    fn a_broken_chain_is_a_failure() {
        let (ended, asked) = ask(&["verify"], vec![json!({"after": 0, "sequence": 5, "hash": "ff"})]);
        ended.unwrap();
        assert!(asked[0].starts_with("GET /doorward/v1/auditEntries:verify HTTP"));
        let broken = json!({"after": 0, "sequence": 5, "hash": "ff", "broken": {"sequence": 6, "problem": "event 6 was changed"}});
        let message = ask(&["verify"], vec![broken]).0.unwrap_err().to_string();
        assert!(message.starts_with("the record is not as it was written (event 6 was changed): "), "{message}");
        let answer = VerifyAuditResponse { after: 3, sequence: 5, hash: "ff".into(), broken: None, at: None };
        assert_eq!(verified(&answer), "events 4 to 5 fit together\nkeep elsewhere, for --expect: 5:ff\n");
    }

    #[test]
    fn a_record_that_does_not_go_on_from_what_was_kept_is_a_failure() {
        let (hash, other) = ("ab".repeat(32), "cd".repeat(32));
        let at = |hash: &str| json!({"after": 3, "sequence": 9, "hash": "ff", "at": {"sequence": 5, "hash": hash}});
        // (what is expected, what the server answers) => what is said, of which nothing is good
        let cases = [
            (format!("5:{hash}"), at(&hash), ""),
            (format!("5:{}", hash.to_ascii_uppercase()), at(&hash), ""),
            (format!("5:{hash}"), at(&other), "event 5 is another one than was expected"),
            (format!("10:{hash}"), json!({"after": 3, "sequence": 9, "hash": "ff"}), "the record ends with event 9"),
            (format!("2:{hash}"), json!({"after": 3, "sequence": 9, "hash": "ff"}), "event 2 was forgotten"),
            (format!("5:{hash}"), json!({"after": 3, "sequence": 9, "hash": "ff"}), "this server does not say"),
        ];
        for (expect, answer, said) in cases {
            let (ended, asked) = ask(&["verify", "--expect", &expect], vec![answer]);
            let sequence = expect.split(':').next().unwrap();
            assert!(asked[0].starts_with(&format!("GET /doorward/v1/auditEntries:verify?at={sequence} HTTP")));
            let message = ended.err().map(|error| error.to_string()).unwrap_or_default();
            assert!(message.starts_with(said) && message.is_empty() == said.is_empty(), "{expect}: {message}");
        }
        for wrong in ["5", "x:ab", "5:ab", &format!("5:{}", "g".repeat(64))] {
            assert!(Line::try_parse_from(["audit", "verify", "--expect", wrong]).is_err(), "{wrong}");
        }
    }
}
