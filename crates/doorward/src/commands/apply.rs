//! `doorward apply`: a file of everything, put in force.

use std::collections::BTreeSet;
use std::io::{self, BufRead as _, IsTerminal as _};

use anyhow::{Context as _, bail};
use doorward_wire::doorward_api::{ApplyRequest, ApplyResponse, WorldAction, WorldChange};
use serde_json::Value;

use super::Common;
use crate::api::Api;
use crate::file::Input;
use crate::output::{json_line, patiently, print, printable, say};

const METHOD: &str = "/doorward/v1/world:apply";

/// Make applications, policies, settings, groups, roles, access levels and accounts what a file says
///
/// Shows each thing that it changes. What is there and not in the file stays, unless --prune is given; a list that the file has not is left
/// alone in either case. To apply a file again changes nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The policy of a resource in the file replaces the whole of what is there. `doorward export` writes such a file.

Example:
  doorward apply -f doorward-world.toml --dry-run
  doorward apply -f doorward-world.toml
  doorward apply -f doorward-world.toml --prune")]
pub(crate) struct Args {
    #[command(flatten)]
    input: Input,
    /// Show what would be changed, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Also remove what is there and not in a list of the file, when you have confirmed it
    #[arg(long)]
    prune: bool,
    /// Do not ask before things are removed
    #[arg(long, requires = "prune")]
    yes: bool,
    #[command(flatten)]
    common: Common,
}

/// Applies the file.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let Args { input, dry_run, prune, yes, common } = args;
    let file = input.read_world()?;
    let server = common.server.open().await?;
    let mut request = ApplyRequest { file, dry_run: true, prune };
    if prune && !dry_run && !yes {
        let plan = send(server.api(), &request).await?;
        if !confirmed(&plan)? {
            bail!("nothing was changed");
        }
    }
    request.dry_run = dry_run;
    let answer = send(server.api(), &request).await?;
    print(&if common.json { json_line(&answer)? } else { shown(&answer, dry_run) })?;
    match answer.failure {
        Some(failure) => bail!(
            "{} could not be changed: {}: mend the file and apply it again; what was done stays",
            failure.name,
            failure.message
        ),
        None => Ok(()),
    }
}

async fn send(api: &Api, request: &ApplyRequest) -> anyhow::Result<ApplyResponse> {
    let what = if request.dry_run { "comparing the file with what is there" } else { "applying the file" };
    Ok(patiently(what, api.post_patiently(METHOD, request)).await?)
}

/// Asks for a word at the terminal before things are removed.
fn confirmed(plan: &ApplyResponse) -> anyhow::Result<bool> {
    let removed = plan.not_done.iter().filter(|change| change.action == WorldAction::Remove).count();
    if removed == 0 {
        return Ok(true);
    }
    for line in shown(plan, true).lines() {
        say(line);
    }
    if !io::stdin().is_terminal() {
        bail!("{removed} would be removed, and nobody can be asked here: if they are what you mean, give --yes");
    }
    say(&format!("{removed} of these are removed. Type {removed} to go on:"));
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).context("cannot read your answer")?;
    Ok(line.trim() == removed.to_string())
}

/// What was or would be changed, for people.
fn shown(answer: &ApplyResponse, dry_run: bool) -> String {
    let mut out = String::new();
    for change in &answer.done {
        difference(change, &mut out);
    }
    if !answer.done.is_empty() && !answer.not_done.is_empty() {
        out.push_str("not done:\n");
    }
    for change in &answer.not_done {
        difference(change, &mut out);
    }
    let count = if dry_run { answer.not_done.len() } else { answer.done.len() };
    let kept: Vec<String> = answer.kept.iter().map(title).collect();
    out.push_str(&match (count, dry_run) {
        (0, _) if answer.failure.is_none() => "nothing to change\n".to_owned(),
        (count, true) => format!("{count} to change\n"),
        (count, false) => format!("{count} changed\n"),
    });
    if !kept.is_empty() {
        out.push_str(&format!("not in the file, and kept (--prune removes them): {}\n", kept.join(", ")));
    }
    out
}

/// `applications wiki`.
fn title(change: &WorldChange) -> String {
    let list = serde_json::to_value(change.list).ok();
    let list = list.as_ref().and_then(|list| list.as_str()).unwrap_or_default();
    printable(&format!("{list} {}", change.name))
}

fn difference(change: &WorldChange, out: &mut String) {
    let mark = match change.action {
        WorldAction::Add => '+',
        WorldAction::Change => '~',
        WorldAction::Remove => '-',
    };
    out.push_str(&format!("{mark} {}\n", title(change)));
    // What it is called stands above.
    let unnamed = |value: &Option<Value>| match value {
        Some(Value::Object(fields)) => {
            let mut fields = fields.clone();
            fields.retain(|_, value| value.as_str() != Some(&change.name));
            Value::Object(fields)
        }
        _ => Value::Null,
    };
    compare("", &unnamed(&change.before), &unnamed(&change.after), out);
}

/// A line for each value that goes or comes. Entries of lists are compared as they are, in no order.
fn compare(path: &str, before: &Value, after: &Value, out: &mut String) {
    if before == after {
        return;
    }
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => {
            let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
            for (name, value) in old {
                compare(&below(name), value, new.get(name).unwrap_or(&Value::Null), out);
            }
            for (name, value) in new.iter().filter(|(name, _)| !old.contains_key(*name)) {
                compare(&below(name), &Value::Null, value, out);
            }
        }
        (Value::Null, Value::Object(new)) if path.is_empty() => {
            new.iter().for_each(|(name, value)| compare(name, &Value::Null, value, out));
        }
        (Value::Object(old), Value::Null) if path.is_empty() => {
            old.iter().for_each(|(name, value)| compare(name, value, &Value::Null, out));
        }
        (Value::Array(_) | Value::Null, Value::Array(_) | Value::Null) => {
            let entries = |value: &Value| value.as_array().cloned().unwrap_or_default();
            let (old, new) = (entries(before), entries(after));
            if path == "bindings" {
                return compare_bindings(&old, &new, out);
            }
            let gone = old.iter().filter(|entry| !new.contains(entry));
            let come = new.iter().filter(|entry| !old.contains(entry));
            gone.for_each(|entry| line('-', path, entry, out));
            come.for_each(|entry| line('+', path, entry, out));
            let same = old.iter().all(|entry| new.contains(entry)) && new.iter().all(|entry| old.contains(entry));
            if same && !old.is_empty() {
                out.push_str(&format!("    ~ {}: in another order\n", printable(path)));
            }
        }
        _ => {
            line('-', path, before, out);
            line('+', path, after, out);
        }
    }
}

/// A line for each member who gets or loses a role: whole bindings are long, and differ in little.
fn compare_bindings(old: &[Value], new: &[Value], out: &mut String) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let each = |bindings: &[Value]| -> BTreeSet<(String, String)> {
        let one = |binding: &Value| {
            let condition = match &binding["condition"] {
                Value::Null => String::new(),
                Value::Object(condition) => format!(
                    " if {} ({})",
                    text(condition.get("expression").unwrap_or(&Value::Null)),
                    text(condition.get("title").unwrap_or(&Value::Null))
                ),
                expression => format!(" if {}", text(expression)),
            };
            let what = text(&binding["role"]) + &condition;
            let members = binding["members"].as_array().cloned().unwrap_or_default();
            members.iter().map(|member| (what.clone(), text(member))).collect::<Vec<_>>()
        };
        bindings.iter().flat_map(one).collect()
    };
    let (old, new) = (each(old), each(new));
    old.difference(&new).for_each(|(what, member)| line('-', what, &member.as_str().into(), out));
    new.difference(&old).for_each(|(what, member)| line('+', what, &member.as_str().into(), out));
}

fn line(mark: char, path: &str, value: &Value, out: &mut String) {
    let text = match value {
        Value::Null => return,
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    out.push_str(&format!("    {mark} {}: {}\n", printable(path), printable(&text)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;
    use serde_json::json;

    use crate::api::tests::{block_on, replay};

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn change(action: &str, before: Value, after: Value) -> Value {
        json!({"action": action, "list": "applications", "name": "wiki", "before": before, "after": after})
    }

    fn answer(value: Value) -> ApplyResponse {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn what_changes_is_shown_value_by_value() {
        let before = json!({"hosts": ["a", "b"], "iap_enabled": false, "labels": {"x": "1"}, "same": 1});
        let after = json!({"hosts": ["b", "c\x1b"], "description": "d", "labels": {"x": "2"}, "same": 1});
        let shown = shown(
            &answer(json!({
                "notDone": [change("CHANGE", before, after), change("ADD", Value::Null, json!({"hosts": ["h"]}))],
                "kept": [change("REMOVE", json!({}), Value::Null)],
            })),
            true,
        );
        let expected = "~ applications wiki\n    \
                            - hosts: a\n    \
                            + hosts: c\\u{1b}\n    \
                            - iap_enabled: false\n    \
                            - labels.x: 1\n    \
                            + labels.x: 2\n    \
                            + description: d\n\
                        + applications wiki\n    \
                            + hosts: h\n\
                        2 to change\n\
                        not in the file, and kept (--prune removes them): applications wiki\n";
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_file_that_is_in_force_changes_nothing_and_an_order_is_told_from_a_change() {
        assert_eq!(shown(&ApplyResponse::default(), false), "nothing to change\n");
        let mut out = String::new();
        compare("members", &Value::Null, &json!([]), &mut out);
        assert_eq!(out, "");
        let mut out = String::new();
        compare("rules", &json!([1, 2]), &json!([2, 1]), &mut out);
        assert_eq!(out, "    ~ rules: in another order\n");
    }

    #[test]
    fn of_a_policy_is_shown_who_gets_or_loses_what() {
        let binding = |role: &str, members: &[&str], condition: Value| json!({"role": role, "members": members, "condition": condition});
        let titled = json!({"expression": "x", "title": "t"});
        let before = json!([binding("a", &["user:b", "user:c"], Value::Null), binding("b", &["user:b"], "x".into())]);
        let after = json!([binding("a", &["user:c", "user:d"], Value::Null), binding("b", &["user:b"], titled)]);
        let mut out = String::new();
        compare("bindings", &before, &after, &mut out);
        let expected = "    - a: user:b\n    - b if x: user:b\n    + a: user:d\n    + b if x (t): user:b\n";
        assert_eq!(out, expected);
    }

    fn apply(line: &str, answers: Vec<Value>) -> (anyhow::Result<()>, Vec<String>) {
        let dir = tempfile::tempdir().unwrap();
        let (address, asked) = replay(answers.into_iter().map(|answer| (200, answer)).collect());
        crate::world::tests::described(dir.path(), &format!("http://{address}"));
        let file = dir.path().join("w.toml");
        std::fs::write(&file, "groups = []\n").unwrap();
        let words = ["x", "--dir", dir.path().to_str().unwrap(), "-f", file.to_str().unwrap()];
        let line = words.into_iter().chain(line.split_whitespace());
        let ended = block_on(run(Line::try_parse_from(line).unwrap().args));
        (ended, asked.join().unwrap())
    }

    #[test]
    fn a_dry_run_is_one_and_a_failure_is_told_with_what_to_do() {
        let body = |asked: &String| serde_json::from_str::<Value>(asked.split_once("\r\n\r\n").unwrap().1).unwrap();
        #[rustfmt::skip]
        let cases = [
            ("--dry-run",         json!({"file": {"groups": []}, "dryRun": true, "prune": false})),
            ("",                  json!({"file": {"groups": []}, "dryRun": false, "prune": false})),
            ("--prune --yes",     json!({"file": {"groups": []}, "dryRun": false, "prune": true})),
            ("--prune --dry-run", json!({"file": {"groups": []}, "dryRun": true, "prune": true})),
        ];
        for (line, expected) in cases {
            let (ended, asked) = apply(line, vec![json!({})]);
            ended.unwrap();
            assert!(asked[0].starts_with("POST /doorward/v1/world:apply HTTP"));
            assert_eq!(body(&asked[0]), expected, "{line}");
        }
        let failure = json!({"name": "wiki", "status": "INVALID_ARGUMENT", "message": "No such host."});
        let failed = json!({"notDone": [change("ADD", Value::Null, json!({}))], "failure": failure});
        let message = apply("", vec![failed]).0.unwrap_err().to_string();
        assert_eq!(
            message,
            "wiki could not be changed: No such host.: mend the file and apply it again; what was done stays"
        );
    }

    #[test]
    fn nothing_is_removed_before_somebody_agreed() {
        // Without a removal there is nothing to ask.
        let (ended, asked) = apply("--prune", vec![json!({}), json!({})]);
        ended.unwrap();
        assert!(asked[0].contains(r#""dryRun":true"#) && asked[1].contains(r#""dryRun":false"#));
        if io::stdin().is_terminal() {
            return;
        }
        let (ended, asked) = apply("--prune", vec![json!({"notDone": [change("REMOVE", json!({}), Value::Null)]})]);
        assert!(ended.unwrap_err().to_string().starts_with("1 would be removed, and nobody can be asked here"));
        assert_eq!(asked.len(), 1);
    }
}
