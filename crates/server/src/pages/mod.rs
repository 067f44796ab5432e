//! Pages: server-rendered, no script, nothing from third parties; by keyboard, on a phone, in dark mode.

pub(crate) mod explanation;
pub(crate) mod sign_in;

use askama::Template;
use axum::response::{IntoResponse, Response};
use doorward_core::audit::{AdminKind, AuditEvent, Outcome, StoredEvent, TokenEvent, TokenMethod};
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

/// A short page: what happened, and what to do.
pub(crate) fn message(status: StatusCode, title: &str, paragraphs: &[String], commands: &[&str]) -> Response {
    let paragraphs: Vec<&str> = paragraphs.iter().map(String::as_str).collect();
    html(status, &MessagePage { title, paragraphs: &paragraphs, commands })
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

/// A page without a form, with the headers that every page of ours has.
pub(crate) fn html(status: StatusCode, page: &impl Template) -> Response {
    // Nobody is told where a person comes from.
    respond(status, page, "'none'", "no-referrer")
}

/// A page with a form, which is sent to ourselves. `target` is where the answer to it may lead beside that: one source of a policy
/// (Content Security Policy Level 3), or nowhere.
pub(crate) fn form(status: StatusCode, page: &impl Template, target: Option<&str>) -> Response {
    let targets = target.map_or("'self'".to_owned(), |target| format!("'self' {target}"));
    // Under `no-referrer` a browser would send `Origin: null` with the form, and it would be refused.
    respond(status, page, &targets, "same-origin")
}

fn respond(status: StatusCode, page: &impl Template, form_action: &str, referrer_policy: &'static str) -> Response {
    let body = match page.render() {
        Ok(body) => body,
        Err(error) => {
            tracing::error!(%error, "a page cannot be shown");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    };
    let policy = format!(
        "default-src 'none'; style-src 'unsafe-inline'; form-action {form_action}; base-uri 'none'; frame-ancestors 'none'"
    );
    let Ok(policy) = HeaderValue::from_str(&policy) else {
        tracing::error!("a page's policy cannot be written");
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let headers: [(HeaderName, HeaderValue); 5] = [
        (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (CONTENT_SECURITY_POLICY, policy),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (REFERRER_POLICY, HeaderValue::from_static(referrer_policy)),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (status, headers, body).into_response()
}

/// `2026-11-25 20:51:17`; the page says that times are UTC.
fn shown_time(time: Timestamp) -> String {
    rfc3339(time.seconds()).replace('T', " ").replace('Z', "")
}

fn row(stored: &StoredEvent) -> Row {
    match &stored.event {
        AuditEvent::Decision(decision) => {
            let (allowed, mut explanation) = match &decision.outcome {
                Outcome::Allowed { binding_resource, role, member, condition } => {
                    let condition = condition.as_ref().map(|title| format!(", while {title:?}")).unwrap_or_default();
                    (true, format!("{role} for {member} on {binding_resource}{condition}"))
                }
                Outcome::Refused { reason, detail, denied_by } => {
                    let rule = denied_by.as_ref().map(|(policy, rule)| format!(" (rule {} of {policy})", rule + 1));
                    (false, format!("{}: {detail}{}", reason.code(), rule.unwrap_or_default()))
                }
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
        AuditEvent::Admin(admin) => Row {
            time: shown_time(admin.time),
            allowed: admin.code == 0,
            verdict: match (admin.code, admin.kind) {
                (0, AdminKind::Read) => "shown",
                (0, AdminKind::Write | AdminKind::DataWrite) => "changed",
                _ => "refused",
            },
            caller: admin.caller.clone().unwrap_or_else(|| "not proven".to_owned()),
            request: format!("{} {}", admin.method.rsplit('.').next().unwrap_or(&admin.method), admin.resource),
            status: String::new(),
            explanation: admin.message.clone(),
            id: admin.id.clone(),
        },
        AuditEvent::Token(token) => {
            let allowed = token.issued.is_some();
            let told = token.audience.as_ref().map(|audience| format!(" for {audience}")).unwrap_or_default();
            let reason = token.reason.map(|reason| format!("{}: ", reason.code())).unwrap_or_default();
            Row {
                time: shown_time(token.time),
                allowed,
                verdict: if allowed { "issued" } else { "refused" },
                caller: token_caller(token),
                request: asked_for(token.method).to_owned(),
                status: String::new(),
                explanation: match (&token.issued, &token.refused) {
                    (Some(kind), _) => format!("{kind}{told}"),
                    (None, cause) => format!("{reason}{}", cause.as_deref().unwrap_or_default()),
                },
                id: token.id.clone(),
            }
        }
    }
}

/// Who asked, through whom, as whom, and by way of which client.
fn token_caller(token: &TokenEvent) -> String {
    let client = token.client.as_ref().map(|client| format!("client {client}"));
    let account = match (&token.account, &client) {
        (Some(account), _) => account,
        (None, Some(client)) => return client.clone(),
        (None, None) => "not proven",
    };
    let acting = if token.chain.is_empty() {
        account.to_owned()
    } else {
        format!("{} as {account}", token.chain.join(", through "))
    };
    client.map_or(acting.clone(), |client| format!("{acting} ({client})"))
}

fn asked_for(method: TokenMethod) -> &'static str {
    match method {
        TokenMethod::JwtBearer => "token for an assertion",
        TokenMethod::AuthorizationCode => "token for a code",
        TokenMethod::RefreshToken => "token for a refresh token",
        TokenMethod::DeviceCode => "token for a device code",
        TokenMethod::Token => "token request",
        TokenMethod::TokenExchange => "token for a token of another issuer",
        TokenMethod::DeviceAuthorization => "device authorization",
        TokenMethod::Authorize => "authorization for a client",
        TokenMethod::SignIn => "sign-in",
        TokenMethod::Revoke => "revocation",
        TokenMethod::TokenInfo => "tokeninfo",
        TokenMethod::UserInfo => "userinfo",
        TokenMethod::GenerateIdToken => "generateIdToken",
        TokenMethod::GenerateAccessToken => "generateAccessToken",
        TokenMethod::SignJwt => "signJwt",
        TokenMethod::SignBlob => "signBlob",
        TokenMethod::Metadata => "metadata server",
        TokenMethod::Api => "API call",
    }
}
