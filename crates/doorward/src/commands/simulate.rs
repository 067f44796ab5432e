//! `doorward simulate`: what a proposed file would change of what was decided.

use std::process::ExitCode;
use std::time::Duration;

use doorward_core::clock::{Clock, SystemClock, Timestamp};
use doorward_wire::doorward_api::{ChangedDecision, SimulateRequest, SimulateResponse};
use doorward_wire::time::rfc3339;

use super::Common;
use crate::file::Input;
use crate::output::{json_line, patiently, print, printable};

/// The exit code if anything would change.
const CHANGES: u8 = 3;

/// Decide recorded requests again by a proposed file, and list who would newly be let in or refused; nothing is changed
///
/// What the file does not name stays as it is. Exit code 3 if anything would change.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward simulate -f proposed.toml --since 7d")]
pub(crate) struct Args {
    #[command(flatten)]
    input: Input,
    /// Only requests of this long ago and later, such as 45m, 24h, 7d or 2w [default: all that are kept]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    since: Option<Duration>,
    #[command(flatten)]
    common: Common,
}

/// Reads a number and its unit.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "not a duration: write a number and m, h, d or w, such as 7d".to_owned();
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        'w' => 7 * 86_400,
        _ => return Err(wrong()),
    };
    let count: u32 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    Ok(Duration::from_secs(u64::from(count) * seconds))
}

/// The start of the time that is looked at, as the API takes it.
fn start(now: Timestamp, since: Duration) -> String {
    rfc3339(now.seconds().saturating_sub(i64::try_from(since.as_secs()).unwrap_or(i64::MAX)))
}

/// Simulates, and says by the exit code whether anything would change.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { input, since, common } = args;
    let proposed = input.read_world()?;
    let server = common.server.open().await?;
    let since = since.map(|since| start(SystemClock.now(), since));
    let request = SimulateRequest { proposed, since };
    let asked = server.api().post_patiently("/doorward/v1:simulate", &request);
    let answer: SimulateResponse = patiently("deciding again", asked).await?;
    print(&if common.json { json_line(&answer)? } else { shown(&answer) })?;
    Ok(if answer.changes_anything() { ExitCode::from(CHANGES) } else { ExitCode::SUCCESS })
}

fn shown(answer: &SimulateResponse) -> String {
    let SimulateResponse { replayed, skipped, unknown, newly_allowed, newly_refused } = answer;
    let mut out = String::new();
    for (title, changed) in [("newly let in:", newly_allowed), ("newly refused:", newly_refused)] {
        if !changed.is_empty() {
            out.push_str(&format!("{title}\n"));
        }
        changed.iter().for_each(|changed| out.push_str(&lines(changed)));
    }
    if !answer.changes_anything() {
        out.push_str("nobody would newly be let in or refused\n");
    }
    out.push_str(&format!("{replayed} decisions were decided again"));
    if *skipped > 0 {
        out.push_str(&format!(", {skipped} could not be"));
    }
    if *unknown > 0 {
        out.push_str(&format!(
            ", and of {unknown} it is not known: they hang on claims or header fields, which are not recorded"
        ));
    }
    out.push('\n');
    out
}

fn lines(changed: &ChangedDecision) -> String {
    let times = if changed.count == 1 { "once".to_owned() } else { format!("{} times", changed.count) };
    let mut out = format!("    {}\n", printable(&format!("{} on {}, {times}", changed.member, changed.resource)));
    for example in &changed.examples {
        let line = format!("{} {} {} [{}]", example.time, example.method, example.url, example.id);
        out.push_str(&format!("        {}\n", printable(&line)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;
    use serde_json::{Value, json};

    use crate::api::tests::{block_on, replay};

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn a_duration_is_a_number_and_its_unit() {
        #[rustfmt::skip]
        let cases = [
            ("45m", Some(2700)), ("24h", Some(86_400)), ("7d", Some(604_800)), ("2w", Some(1_209_600)),
            ("7", None), ("d", None), ("-1d", None), ("7D", None), ("é", None), ("", None),
        ];
        for (text, seconds) in cases {
            assert_eq!(duration(text).ok(), seconds.map(Duration::from_secs), "{text}");
        }
        assert_eq!(start(Timestamp::from_seconds(604_800), duration("7d").unwrap()), "1970-01-01T00:00:00Z");
    }

    fn changed() -> Value {
        let example = json!({"id": "d", "time": "2026-11-25T20:51:17Z", "method": "GET", "url": "https://a/\u{1b}"});
        json!({"replayed": 5, "skipped": 1, "unknown": 2, "newlyRefused": [
            {"member": "user:a@x.com", "resource": "r", "count": 2, "examples": [example]},
        ]})
    }

    #[test]
    fn who_is_affected_is_listed_with_examples() {
        let expected = "newly refused:\n    \
                            user:a@x.com on r, 2 times\n        \
                                2026-11-25T20:51:17Z GET https://a/\\u{1b} [d]\n\
                        5 decisions were decided again, 1 could not be, and of 2 it is not known: they hang on claims or header fields, which are not recorded\n";
        assert_eq!(shown(&serde_json::from_value(changed()).unwrap()), expected);
        let none = SimulateResponse { replayed: 5, ..SimulateResponse::default() };
        let expected = "nobody would newly be let in or refused\n5 decisions were decided again\n";
        assert_eq!(shown(&none), expected);
    }

    #[test]
    fn the_exit_code_says_whether_anything_would_change() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("w.json");
        std::fs::write(&file, r#"{"groups": []}"#).unwrap();
        for (answer, code) in [(changed(), ExitCode::from(3)), (json!({"replayed": 5}), ExitCode::SUCCESS)] {
            let (address, asked) = replay(vec![(200, answer)]);
            crate::world::tests::described(dir.path(), &format!("http://{address}"));
            let line = ["x", "-f", file.to_str().unwrap(), "--since", "7d", "--dir", dir.path().to_str().unwrap()];
            assert_eq!(block_on(run(Line::try_parse_from(line).unwrap().args)).unwrap(), code);
            let asked = asked.join().unwrap();
            let (head, body) = asked[0].split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with("POST /doorward/v1:simulate HTTP"), "{head}");
            let body: Value = serde_json::from_str(body).unwrap();
            assert_eq!(body["proposed"], json!({"groups": []}));
            assert!(body["since"].as_str().unwrap().ends_with('Z'));
        }
    }
}
