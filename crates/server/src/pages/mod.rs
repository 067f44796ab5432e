//! Pages: server-rendered, no script, nothing from third parties; by keyboard, on a phone, in dark mode.

use askama::Template;
use axum::response::{IntoResponse, Response};
use doorward_core::audit::{AuditEvent, Outcome, StoredEvent};
use doorward_core::clock::Timestamp;
use doorward_wire::time::rfc3339;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, HeaderValue, StatusCode};

/// A short page: what happened, and what to do.
#[derive(Template)]
#[template(path = "message.html")]
struct MessagePage<'a> {
    title: &'a str,
    paragraphs: &'a [&'a str],
    commands: &'a [&'a str],
}

#[derive(Template)]
#[template(path = "decisions.html")]
struct DecisionsPage {
    rows: Vec<Row>,
}

/// One event, in words.
struct Row {
    time: String,
    allowed: bool,
    verdict: &'static str,
    caller: String,
    request: String,
    status: String,
    explanation: String,
    id: String,
}

/// What the built-in application shows of a request.
#[derive(Template)]
#[template(path = "echo.html")]
pub(crate) struct EchoPage<'a> {
    pub(crate) who: &'a str,
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) headers: &'a [(String, String)],
    pub(crate) claims: &'a str,
}

/// The newest decisions, newest first.
pub(crate) fn decisions(events: &[StoredEvent]) -> Response {
    html(StatusCode::OK, &DecisionsPage { rows: events.iter().rev().map(row).collect() })
}

/// 501: people cannot sign in yet.
pub(crate) fn sign_in_is_not_built() -> Response {
    let page = MessagePage {
        title: "People cannot sign in yet",
        paragraphs: &[
            "This version of Doorward lets programs in and has no sign-in page for people yet. You were sent here because \
             the request carried no credential.",
            "A program gets in with an ID token of a service account whose audience is the application's OAuth client id. \
             On the machine where doorward dev runs:",
        ],
        commands: &["curl -H \"Authorization: Bearer $(doorward token --app app)\" URL"],
    };
    html(StatusCode::NOT_IMPLEMENTED, &page)
}

/// 401: a page of ours, without an administrator.
pub(crate) fn console_wants_sign_on() -> Response {
    let page = MessagePage {
        title: "This page is for the operator",
        paragraphs: &[
            "Open the link that doorward dev printed when it started: it works once, and this browser then stays signed \
             on for twelve hours. In a terminal, see the same with:",
        ],
        commands: &["doorward decisions --follow"],
    };
    html(StatusCode::UNAUTHORIZED, &page)
}

/// 401: the key in a link was used before, or is from an earlier start.
pub(crate) fn console_key_is_spent() -> Response {
    let page = MessagePage {
        title: "This link has been used",
        paragraphs: &[
            "The link that doorward dev prints works once, and only until it is started again. If it was not you who used \
             it, stop doorward dev and start it again. In a terminal, see the same with:",
        ],
        commands: &["doorward decisions --follow"],
    };
    html(StatusCode::UNAUTHORIZED, &page)
}

/// 421: a `Host` that is neither ours nor a Google host that we serve.
pub(crate) fn misdirected() -> Response {
    let text = "This host is not served here. Use the api_url of dev.json, or a Google host that Doorward serves.\n";
    let mut response = (StatusCode::MISDIRECTED_REQUEST, text).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// A page with the headers that every page of ours has.
pub(crate) fn html(status: StatusCode, page: &impl Template) -> Response {
    let body = match page.render() {
        Ok(body) => body,
        Err(error) => {
            tracing::error!(%error, "a page cannot be shown");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    };
    const HEADERS: [(HeaderName, &str); 5] = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
        ),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
    ];
    let mut response = (status, body).into_response();
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// `2026-11-25 20:51:17`; the page says that times are UTC.
fn shown_time(time: Timestamp) -> String {
    rfc3339(time.seconds()).replace('T', " ").replace('Z', "")
}

fn row(stored: &StoredEvent) -> Row {
    match &stored.event {
        AuditEvent::Decision(decision) => {
            let (allowed, mut explanation) = match &decision.outcome {
                Outcome::Allowed { binding_resource, role, member } => {
                    (true, format!("{role} for {member} on {binding_resource}"))
                }
                Outcome::Refused { reason, detail } => (false, format!("{}: {detail}", reason.code())),
            };
            if let Some(note) = &decision.note {
                explanation = format!("{explanation} ({note})");
            }
            Row {
                time: shown_time(decision.time),
                allowed,
                verdict: if allowed { "allowed" } else { "refused" },
                caller: decision.caller.clone().unwrap_or_else(|| "not proven".to_owned()),
                request: format!("{} {}{}", decision.method, decision.host, decision.path),
                status: decision.status.to_string(),
                explanation,
                id: decision.id.clone(),
            }
        }
        AuditEvent::Token(token) => {
            let allowed = token.issued.is_some();
            let audience = token.audience.as_deref().unwrap_or_default();
            Row {
                time: shown_time(token.time),
                allowed,
                verdict: if allowed { "issued" } else { "refused" },
                caller: token.account.clone().unwrap_or_else(|| "not proven".to_owned()),
                request: "token request".to_owned(),
                status: String::new(),
                explanation: match (&token.issued, &token.refused) {
                    (Some(kind), _) => format!("{kind} for {audience}"),
                    (None, cause) => cause.clone().unwrap_or_default(),
                },
                id: token.id.clone(),
            }
        }
    }
}
