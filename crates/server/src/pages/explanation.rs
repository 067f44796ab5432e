//! The page that says why a request was let in or refused.

use askama::Template;
use axum::response::Response;
use doorward_control::explain::OwnDecision;
use doorward_wire::doorward_api::{Considered, ExplainResponse, ReadAttribute, Verdict};
use http::StatusCode;

use super::{html, message, shown_time};
use crate::errors::google_api::ApiFailure;

#[derive(Template)]
#[template(path = "explanation.html")]
struct ExplanationPage<'a> {
    allowed: bool,
    verdict: &'static str,
    answer: &'a ExplainResponse,
    /// What was decided then, if it is about a recorded decision.
    recorded: Option<String>,
    rules: Vec<Line<'a>>,
    bindings: Vec<Line<'a>>,
}

#[derive(Template)]
#[template(path = "own_decision.html")]
struct OwnDecisionPage<'a> {
    decision: &'a OwnDecision,
    time: String,
    contact: &'a str,
}

/// A rule or a binding, and what became of it.
struct Line<'a> {
    at: &'a str,
    what: String,
    condition: &'a str,
    /// Whether it decided anything.
    matched: bool,
    outcome: String,
}

/// Why.
pub(crate) fn page(answer: &ExplainResponse) -> Response {
    let (allowed, verdict) = match answer.verdict {
        Verdict::Allowed => (true, "allowed"),
        Verdict::Denied => (false, "denied by a rule"),
        Verdict::NotGranted => (false, "not granted"),
        Verdict::Refused => (false, "refused before policies were asked"),
    };
    let recorded = answer.recorded.as_ref().map(|it| {
        let (what, why) = (if it.allowed { "let in" } else { "refused" }, it.reason.as_deref());
        let why = why.map(|reason| format!(" ({reason})")).unwrap_or_default();
        let detail = it.detail.as_ref().map(|detail| format!(", {detail}")).unwrap_or_default();
        let below = match (it.passed_policies, answer.verdict) {
            (true, _) => "Policies had let it in: something failed after them. Below is what they say of it now.",
            (false, Verdict::Refused) => "No policy was asked.",
            (false, Verdict::Allowed | Verdict::Denied | Verdict::NotGranted) => {
                "Below is what policies in force now say of it."
            }
        };
        format!("Decision {} of {}: {what}{why}{detail}. {below}", it.id, it.time)
    });
    let rules = answer.deny_rules.iter().map(|rule| Line {
        at: &rule.policy,
        what: format!("rule {}{}", rule.rule + 1, described(&rule.description)),
        condition: rule.condition.as_deref().unwrap_or_default(),
        matched: matches!(rule.considered, Considered::Matched { .. }),
        outcome: outcome(&rule.considered),
    });
    let bindings = answer.bindings.iter().map(|binding| Line {
        at: &binding.resource,
        what: binding.role.clone(),
        condition: binding.condition.as_deref().unwrap_or_default(),
        matched: matches!(binding.considered, Considered::Matched { .. }),
        outcome: outcome(&binding.considered),
    });
    let (rules, bindings) = (rules.collect(), bindings.collect());
    html(StatusCode::OK, &ExplanationPage { allowed, verdict, answer, recorded, rules, bindings })
}

/// What somebody knows anyway of a decision about themselves, and whom to ask for more: what is configured, or the brand's address.
pub(crate) fn own(decision: &OwnDecision, contact: Option<&str>) -> Response {
    let contact = contact.or(decision.support_email.as_deref()).unwrap_or("whoever runs this application");
    html(StatusCode::OK, &OwnDecisionPage { decision, time: shown_time(decision.time), contact })
}

/// Somebody who may not see it, or nothing to be seen.
pub(crate) fn refused(failure: ApiFailure) -> Response {
    let (status, text) = failure.told();
    let paragraphs = [text, "Whoever administers Doorward here can see why, and let you in.".to_owned()];
    message(status, "This decision cannot be shown", &paragraphs, &[])
}

fn described(description: &str) -> String {
    if description.is_empty() { String::new() } else { format!(": {description}") }
}

fn outcome(considered: &Considered) -> String {
    match considered {
        Considered::Matched { member } => format!("matched {member}"),
        Considered::MemberNo => "names somebody else".to_owned(),
        Considered::Excepted { member } => format!("excepts {member}"),
        Considered::LacksPermission => "does not cover this".to_owned(),
        Considered::RoleGone => "its role is gone".to_owned(),
        Considered::ConditionFalse { member, read } => {
            format!("names {member}, and its condition is false because {}", values(read))
        }
        Considered::ConditionFailed { member, error, read } => {
            format!("names {member}, and its condition cannot be evaluated: {error}; {}", values(read))
        }
    }
}

fn values(read: &[ReadAttribute]) -> String {
    let one = |it: &ReadAttribute| match &it.value {
        Some(value) => format!("{} is {value}", it.attribute),
        None => format!("{} is not known", it.attribute),
    };
    if read.is_empty() { "it reads nothing".to_owned() } else { read.iter().map(one).collect::<Vec<_>>().join(", ") }
}
