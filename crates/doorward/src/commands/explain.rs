//! `doorward explain`: why somebody is let in or not, by the engine that decides. And what it shares with `doorward who-can`.

use std::collections::BTreeMap;

use anyhow::bail;
use doorward_wire::doorward_api::{
    Circumstances, Considered, ConsideredAccessLevel, ConsideredBinding, ConsideredDenyRule, ExplainRequest,
    ExplainResponse, Question, ReadAttribute, Verdict,
};
use doorward_wire::google_api::Status;
use serde_json::Value;

use super::Common;
use crate::iam_policy::{MemberArg, somebody};
use crate::output::{json_line, print, printable};

/// Say why somebody is let in or refused: every rule and binding that was considered, and the least that would change it
///
/// Nothing is sent to the application. Asks what is decided now; a decision that was recorded may have been made by an older policy.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
What conditions read is what the question says; what it does not say is unknown, and a condition that reads it cannot be evaluated.

Example:
  doorward explain --as alice@example.com GET https://wiki.example.com/admin
  doorward explain --decision DECISION_ID
  doorward explain --as user:alice@example.com --resource projects/123 --permission iap.web.setIamPolicy")]
pub(crate) struct Args {
    /// Who: an e-mail address, a member as in a policy, or a service account of dev.json by its name; nobody, if it is not given
    #[arg(long = "as", value_name = "MEMBER", value_parser = somebody)]
    principal: Option<MemberArg>,
    /// Instead of all else: a decision of the record, by its id, which a refused caller is shown
    #[arg(long, value_name = "ID", conflicts_with_all = ["principal", "request", "resource", "permission", "time", "source_ip", "headers", "claims"])]
    decision: Option<String>,
    #[command(flatten)]
    question: QuestionArgs,
    #[command(flatten)]
    common: Common,
}

/// A request, or a permission on a resource.
#[derive(Debug, Default, clap::Args)]
pub(super) struct QuestionArgs {
    /// The method and the URL of a request; GET, if there is only a URL
    #[arg(value_name = "METHOD> <URL", num_args = 0..=2)]
    request: Vec<String>,
    /// Instead: a resource by its name
    #[arg(long, value_name = "RESOURCE_NAME", conflicts_with = "request")]
    resource: Option<String>,
    /// The permission [default: iap.webServiceVersions.accessViaIAP]
    #[arg(long, value_name = "PERMISSION")]
    permission: Option<String>,
    /// Suppose this time, in RFC 3339, such as 2026-12-24T20:00:00Z [default: now]
    #[arg(long, value_name = "TIME")]
    time: Option<String>,
    /// Suppose that the caller has this address
    #[arg(long, value_name = "ADDRESS")]
    source_ip: Option<String>,
    /// Suppose this header field; may be given several times
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// Suppose this claim of the caller's token, in JSON or as a text; may be given several times
    #[arg(long = "claim", value_name = "NAME=VALUE", value_parser = claim)]
    claims: Vec<(String, Value)>,
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("not NAME=VALUE")?;
    Ok((name.to_ascii_lowercase(), value.to_owned()))
}

fn claim(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("not NAME=VALUE")?;
    Ok((name.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| Value::from(value))))
}

impl QuestionArgs {
    /// The question; `None` if nothing is asked.
    pub(super) fn question(self) -> anyhow::Result<Option<Question>> {
        let QuestionArgs { request, resource, permission, time, source_ip, headers, claims } = self;
        let (method, url) = match (&request[..], &resource) {
            ([method, url], _) => (method.clone(), url.clone()),
            ([url], _) if url.contains("://") => ("GET".to_owned(), url.clone()),
            ([one], _) => bail!("{one:?} is no URL: write METHOD URL, such as GET https://wiki.example.com/"),
            (_, Some(_)) => (String::new(), String::new()),
            (_, None) => return Ok(None),
        };
        let headers: BTreeMap<String, String> = headers.into_iter().collect();
        let circumstances = Circumstances { time, source_ip, headers, claims: claims.into_iter().collect() };
        Ok(Some(Question {
            method,
            url,
            resource: resource.unwrap_or_default(),
            permission: permission.unwrap_or_default(),
            circumstances,
        }))
    }
}

/// What to do if nothing is asked.
pub(super) const ASK: &str = "write METHOD URL, or a resource with --resource";

/// Asks, and prints the answer.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let Args { principal, decision, question, common } = args;
    let question = question.question()?;
    if question.is_none() && decision.is_none() {
        bail!("nothing is asked: {ASK}, or a decision with --decision");
    }
    let server = common.server.open().await?;
    let principal = principal.map(|principal| principal.meant_in(&server)).transpose()?;
    let request =
        ExplainRequest { decision_id: decision, principal: principal.map(|principal| principal.to_string()), question };
    let answer: Result<ExplainResponse, _> = server.api().post("/doorward/v1:explain", &request).await;
    let answer =
        answer.map_err(|error| error.advise(Status::NotFound, "`doorward decisions` shows the recorded ones"))?;
    Ok(print(&if common.json { json_line(&answer)? } else { shown(&answer) })?)
}

/// The answer for people: the verdict first, what led to it after.
fn shown(answer: &ExplainResponse) -> String {
    let who = if answer.principal.member.is_empty() { "nobody" } else { &answer.principal.member };
    let on = match (&answer.resource.application, answer.resource.name.as_str()) {
        (Some(application), _) => format!("the application {application}"),
        (None, "") => "no application".to_owned(),
        (None, name) => name.to_owned(),
    };
    let verdict = match answer.verdict {
        Verdict::Allowed => "ALLOWED",
        Verdict::Denied => "DENIED by a deny rule",
        Verdict::NotGranted => "REFUSED: no binding grants it",
        Verdict::Refused => "REFUSED before any policy was asked",
    };
    let served_nowhere = answer.verdict == Verdict::Refused && answer.resource.name.is_empty();
    let mut out = String::new();
    let mut say = |indent: usize, line: &str| out.push_str(&format!("{}{}\n", " ".repeat(indent), printable(line)));
    say(0, &format!("{verdict}: {who}, {} on {on}", answer.permission));
    if let Some(recorded) = &answer.recorded {
        let outcome = if recorded.allowed { "allowed" } else { "refused" };
        let reason = recorded.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
        let detail = recorded.detail.as_ref().map(|detail| format!(", {detail}")).unwrap_or_default();
        say(0, &format!("recorded at {}: {outcome}{reason}{detail}", recorded.time));
        if recorded.passed_policies {
            say(4, "policies had let them in: something failed after that, and no change of a policy helps");
        }
    }
    if served_nowhere && answer.recorded.is_none() {
        say(0, "no application is served at this address: `doorward app list` shows where they are");
        return out;
    }
    if !answer.resource.name.is_empty() {
        say(0, &format!("resource: {}", answer.resource.name));
        answer.resource.ancestors.iter().for_each(|ancestor| say(4, &format!("in {ancestor}")));
    }
    if !answer.principal.groups.is_empty() {
        say(0, &format!("in groups: {}", answer.principal.groups.join(", ")));
    }
    if !answer.deny_rules.is_empty() {
        say(0, "deny rules:");
    }
    for ConsideredDenyRule { policy, rule, description, condition, considered } in &answer.deny_rules {
        let about = if description.is_empty() { String::new() } else { format!(" ({description})") };
        say(4, &format!("{policy} rule {rule}{about}: {}", outcome(considered)));
        condition.iter().for_each(|condition| say(8, &format!("if {condition}")));
    }
    match (answer.verdict, answer.bindings.is_empty()) {
        // Nobody looked for any.
        (Verdict::Refused, true) => {}
        (Verdict::Allowed | Verdict::Denied | Verdict::NotGranted, true) => say(0, "bindings: none"),
        (_, false) => say(0, "bindings:"),
    }
    let is_about_it = |binding: &&ConsideredBinding| binding.considered != Considered::LacksPermission;
    for ConsideredBinding { resource, role, condition, considered } in answer.bindings.iter().filter(is_about_it) {
        say(4, &format!("{role} on {resource}: {}", outcome(considered)));
        condition.iter().for_each(|condition| say(8, &format!("if {condition}")));
    }
    match answer.bindings.len() - answer.bindings.iter().filter(is_about_it).count() {
        0 => {}
        1 => say(4, "1 other is not about this permission"),
        others => say(4, &format!("{others} others are not about this permission")),
    }
    for ConsideredAccessLevel { name, met, error, read } in &answer.access_levels {
        let met = if *met { "met" } else { "not met" };
        let error = error.as_ref().map(|error| format!(" ({error})")).unwrap_or_default();
        say(0, &format!("access level {name}: {met}{error}{}", because(read)));
    }
    if !answer.settings.is_empty() {
        say(0, "settings:");
    }
    for setting in &answer.settings {
        let from = setting.from.as_ref().map_or_else(|| "by default".to_owned(), |from| format!("from {from}"));
        say(4, &format!("{} = {} {from}", setting.path, setting.value));
    }
    if let Some(change) = &answer.smallest_change {
        say(0, &format!("what would allow it: {}", change.description));
        if !change.command.is_empty() {
            say(4, &change.command);
        }
    }
    out
}

fn outcome(considered: &Considered) -> String {
    match considered {
        Considered::Matched { member } => format!("matched {member}"),
        Considered::MemberNo => "member no".to_owned(),
        Considered::Excepted { member } => format!("excepted as {member}"),
        Considered::LacksPermission => "not about this permission".to_owned(),
        Considered::RoleGone => "the role is deleted or disabled".to_owned(),
        Considered::ConditionFalse { member, read } => format!("{member}, but the condition is false{}", because(read)),
        Considered::ConditionFailed { member, error, read } => {
            format!("{member}, but the condition cannot be evaluated: {error}{}", because(read))
        }
    }
}

fn because(read: &[ReadAttribute]) -> String {
    let read: Vec<String> = read
        .iter()
        .map(|ReadAttribute { attribute, value }| match value {
            Some(value) => format!("{attribute} was {value}"),
            None => format!("{attribute} is not known"),
        })
        .collect();
    if read.is_empty() { String::new() } else { format!(" because {}", read.join(", ")) }
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

    fn answer() -> Value {
        json!({
            "verdict": "NOT_GRANTED",
            "recorded": {"id": "d", "time": "2026-11-25T20:51:17Z", "allowed": false, "reason": "permission_denied"},
            "resource": {"name": "projects/1/iap_web/compute/services/7", "application": "wiki", "ancestors": ["projects/1"]},
            "principal": {"member": "user:a@x.com", "groups": ["staff@x.com"]},
            "permission": "p",
            "denyRules": [{"policy": "d", "rule": 0, "description": "r", "condition": "c", "considered": {"outcome": "EXCEPTED", "member": "m"}}],
            "bindings": [
                {"resource": "projects/1", "role": "roles/owner", "considered": {"outcome": "LACKS_PERMISSION"}},
                {"resource": "projects/1", "role": "roles/r", "condition": "request.path == '/a'",
                 "considered": {"outcome": "CONDITION_FALSE", "member": "group:staff@x.com", "read": [{"attribute": "request.path", "value": "/admin"}]}},
                {"resource": "projects/1", "role": "roles/r",
                 "considered": {"outcome": "CONDITION_FAILED", "member": "allUsers", "error": "e", "read": [{"attribute": "source.ip"}]}},
            ],
            "accessLevels": [{"name": "office", "met": false}],
            "settings": [{"path": "a.b", "value": true, "from": "projects/1"}, {"path": "c", "value": []}],
            "smallestChange": {"description": "Give it.", "command": "doorward policy add"},
        })
    }

    #[test]
    fn everything_that_was_considered_is_shown_and_what_would_help() {
        let expected = "\
REFUSED: no binding grants it: user:a@x.com, p on the application wiki
recorded at 2026-11-25T20:51:17Z: refused (permission_denied)
resource: projects/1/iap_web/compute/services/7
    in projects/1
in groups: staff@x.com
deny rules:
    d rule 0 (r): excepted as m
        if c
bindings:
    roles/r on projects/1: group:staff@x.com, but the condition is false because request.path was \"/admin\"
        if request.path == '/a'
    roles/r on projects/1: allUsers, but the condition cannot be evaluated: e because source.ip is not known
    1 other is not about this permission
access level office: not met
settings:
    a.b = true from projects/1
    c = [] by default
what would allow it: Give it.
    doorward policy add
";
        assert_eq!(shown(&serde_json::from_value(answer()).unwrap()), expected);
    }

    #[test]
    fn a_recorded_refusal_that_is_not_of_policies_is_shown_with_what_was_found_wrong() {
        let of = |reason: &str, passed: bool, verdict: &str| {
            let mut answer = answer();
            for list in ["denyRules", "bindings", "accessLevels", "settings"] {
                answer[list] = json!([]);
            }
            answer["smallestChange"] = Value::Null;
            answer["verdict"] = verdict.into();
            answer["recorded"] = json!({"id": "d", "time": "T", "allowed": false, "reason": reason, "detail": "no connection", "passedPolicies": passed});
            shown(&serde_json::from_value(answer).unwrap())
        };
        let failed = of("upstream_failed", true, "ALLOWED");
        assert!(
            failed.contains("recorded at T: refused (upstream_failed), no connection\n    policies had let them in: "),
            "{failed}"
        );
        assert!(failed.contains("bindings: none"), "{failed}");
        let unread = of("invalid_token", false, "REFUSED");
        assert!(unread.contains("recorded at T: refused (invalid_token), no connection\n"), "{unread}");
        assert!(!unread.contains("let them in") && !unread.contains("bindings"), "{unread}");
    }

    #[test]
    fn a_question_is_a_request_or_a_resource_or_a_decision() {
        let dir = tempfile::tempdir().unwrap();
        let url = "https://wiki.example.com/admin";
        #[rustfmt::skip]
        let cases = [
            (format!("--as user:a@x.com GET {url}"),  json!({"principal": "user:a@x.com", "question": {"method": "GET", "url": url}})),
            (url.to_owned(),                           json!({"question": {"method": "GET", "url": url}})),
            ("--decision abc".to_owned(),              json!({"decisionId": "abc"})),
            ("--resource projects/1 --permission p".to_owned(), json!({"question": {"resource": "projects/1", "permission": "p"}})),
            (format!("POST {url} --source-ip ::1 --header Accept=x --claim hd=x --claim n=1"),
             json!({"question": {"method": "POST", "url": url, "circumstances": {"sourceIp": "::1", "headers": {"accept": "x"}, "claims": {"hd": "x", "n": 1}}}})),
        ];
        for (line, expected) in cases {
            let (address, asked) = replay(vec![(200, answer())]);
            crate::world::tests::described(dir.path(), &format!("http://{address}"));
            let words = ["explain", "--dir", dir.path().to_str().unwrap()].into_iter().chain(line.split(' '));
            block_on(run(Line::try_parse_from(words).unwrap().args)).unwrap();
            let asked = asked.join().unwrap();
            let (head, body) = asked[0].split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with("POST /doorward/v1:explain HTTP"), "{head}");
            assert_eq!(serde_json::from_str::<Value>(body).unwrap(), expected, "{line}");
        }
        for (line, message) in [("", "nothing is asked"), ("GET", "\"GET\" is no URL")] {
            let words = std::iter::once("explain").chain(line.split_whitespace());
            let refused = block_on(run(Line::try_parse_from(words).unwrap().args)).unwrap_err().to_string();
            assert!(refused.starts_with(message), "{refused}");
        }
        let both = ["explain", "--decision", "x", "GET", "https://a/"];
        assert!(Line::try_parse_from(both).is_err());
    }
}
