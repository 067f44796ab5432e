//! The record of decisions and the explanation of one, for people and for programs.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use doorward_control::admin::{Admin, AdminError, Forbidden};
use doorward_control::callers::CallerError;
use doorward_control::explain::ExplainError;
use doorward_core::audit::StoredEvent;
use doorward_wire::doorward_api::ExplainRequest;
use doorward_wire::google_api::Status;
use http::header::{ACCEPT, CACHE_CONTROL, LOCATION, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::{Deserialize, Serialize};

use super::{EVENTS_LIMIT, LONGEST_WAIT, audit};
use crate::errors::google_api::{ApiFailure, CallRefusal};
use crate::hosts::browser::{Browser, Flow};
use crate::hosts::{Asked, Credential, Routes, Services, accounts_google_com, secret};
use crate::pages;

/// The longest id of a decision; ours have 22 characters.
const ID_LIMIT: usize = 64;

pub(super) fn router() -> Routes {
    Routes::new().route("/decisions", get(decisions)).route("/decisions/{id}", get(decision))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct DecisionsQuery {
    key: Option<String>,
    format: Option<String>,
    after: Option<i64>,
    wait: Option<u64>,
    limit: Option<u32>,
}

/// Answer of `GET /decisions?format=json`.
#[derive(Debug, Serialize)]
struct Decisions {
    events: Vec<StoredEvent>,
    /// Given back as `after`, to get what comes next.
    next: i64,
}

/// `GET /decisions`: a page for who accepts HTML, and a document for all others and with `format=json`. `after=N` gives what came after
/// event N, and with `wait=S` waits up to S seconds (at most 25) for it; `limit` is at most 1,000.
async fn decisions(
    State(services): State<Arc<Services>>,
    method: Method,
    headers: HeaderMap,
    credential: Credential,
    query: Asked<DecisionsQuery>,
) -> Response {
    let Ok(Query(query)) = query else {
        return ApiFailure::new(Status::InvalidArgument, "A query parameter is not a number.").into_response();
    };
    // A program that previews links sends HEAD, and must not spend the key.
    if let Some(key) = query.key.as_ref().filter(|_| method == Method::GET) {
        return match services.console.redeem(key) {
            // Away from the address that holds the key, so that it is in no history and no Referer.
            Some(cookie) => (
                StatusCode::SEE_OTHER,
                [
                    (LOCATION, HeaderValue::from_static("/decisions")),
                    (SET_COOKIE, cookie),
                    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
                ],
            )
                .into_response(),
            None => pages::console_key_is_spent(),
        };
    }
    let wants_json = query.format.as_deref() == Some("json") || !shows_html(&headers);
    if let Err(refused) = may_read(&services, &headers, &credential, wants_json).await {
        return refused;
    }
    let limit = query.limit.unwrap_or(100).clamp(1, EVENTS_LIMIT);
    let events = match query.after {
        Some(after) => {
            let patience = Duration::from_secs(query.wait.unwrap_or(0).min(LONGEST_WAIT));
            services.audit.after(after, limit, patience).await
        }
        None => services.audit.latest(limit).await,
    };
    match events {
        Err(error) => {
            tracing::error!(%error, "decisions cannot be read");
            ApiFailure::new(Status::Internal, "Decisions cannot be read; the server's log has the cause.")
                .into_response()
        }
        Ok(events) if wants_json => {
            let next = events.last().map_or(query.after.unwrap_or(0), |event| event.sequence);
            secret(Json(Decisions { events, next }))
        }
        Ok(events) => pages::decisions(&events),
    }
}

/// `GET /decisions/ID`: why one was as it was, by what is in force now; a page for who accepts HTML, and a document for all others. The
/// page for those who are refused leads here. Who reads is whoever is signed in in this browser: the explanation is for those who may read
/// it, and a page has what somebody knows anyway for whom it is about. Nobody else is told whether there is such a decision.
async fn decision(
    State(services): State<Arc<Services>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    browser: Browser,
    credential: Credential,
) -> Response {
    let wants_json = !shows_html(&headers);
    let admin = match reader(&services, &headers, &browser, &credential).await {
        Ok(admin) => admin,
        Err(refused) if wants_json => return refused.into_response(),
        Err(_) if credential.bearer.is_none() && is_id(&id) => return sign_in(&services, &browser, id),
        Err(refused) => return pages::explanation::refused(refused),
    };
    let request = ExplainRequest { decision_id: Some(id.clone()), ..ExplainRequest::default() };
    match services.explanations.explain(&admin, request).await {
        Ok(answer) if wants_json => secret(Json(answer)),
        Ok(answer) => pages::explanation::page(&answer),
        Err(refused) if wants_json => ApiFailure::from(refused).into_response(),
        Err(ExplainError::Admin(AdminError::Forbidden(forbidden))) => own(&services, &admin, &id, forbidden).await,
        Err(refused) => pages::explanation::refused(ApiFailure::from(refused)),
    }
}

/// What somebody sees who may not have it explained: their own decision, or nothing.
async fn own(services: &Services, admin: &Admin, id: &str, forbidden: Forbidden) -> Response {
    match services.explanations.own(admin, id).await {
        Ok(Some(decision)) => pages::explanation::own(&decision, services.contact.as_deref()),
        Ok(None) => pages::explanation::refused(AdminError::Forbidden(forbidden).into()),
        Err(error) => pages::explanation::refused(ApiFailure::internal(&error)),
    }
}

/// Asks for an address and a password, and then comes back. 401: it shows nothing of a decision yet.
fn sign_in(services: &Services, browser: &Browser, id: String) -> Response {
    let page = accounts_google_com::sign_in_page(services, browser, &Flow::Decision { id });
    page.map_or_else(IntoResponse::into_response, |mut page| {
        if page.status() == StatusCode::OK {
            *page.status_mut() = StatusCode::UNAUTHORIZED;
        }
        page
    })
}

/// Whether it could be the id of a decision, and so a segment of a path that needs no encoding.
fn is_id(id: &str) -> bool {
    (1..=ID_LIMIT).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// Who reads: by a bearer token, as the operator who signed on with the link of the process, or as the person who signed in here last.
async fn reader(
    services: &Services,
    headers: &HeaderMap,
    browser: &Browser,
    credential: &Credential,
) -> Result<Admin, ApiFailure> {
    match console_or_bearer(services, headers, credential).await {
        Some(proven) => proven,
        None => {
            // That nobody is known, or the store fails, is the same to a page that asks for a password then.
            let people = services.sign_in.people(browser.visitor()).await.unwrap_or_default();
            let missing = || CallRefusal::Caller(CallerError::Missing);
            let person = people.first().ok_or_else(missing)?;
            let admin = services.callers.person(person, credential.peer, credential.user_agent.as_deref());
            Ok(admin.map_err(CallRefusal::Caller)?)
        }
    }
}

/// Who reads, if they sent a token, or are signed on to the console.
async fn console_or_bearer(
    services: &Services,
    headers: &HeaderMap,
    credential: &Credential,
) -> Option<Result<Admin, ApiFailure>> {
    match credential.bearer {
        Some(_) => Some(services.admin(credential).await),
        None => services
            .console
            .admits(headers)
            .then(|| Ok(Admin::operator_in_browser(credential.peer, credential.user_agent.as_deref()))),
    }
}

/// Anything else of ours: nothing is there, but only who may read the record is told so.
pub(super) async fn elsewhere(
    State(services): State<Arc<Services>>,
    headers: HeaderMap,
    credential: Credential,
) -> Response {
    match may_read(&services, &headers, &credential, !shows_html(&headers)).await {
        Err(refused) => refused,
        Ok(()) => ApiFailure::no_such_method().into_response(),
    }
}

/// Browsers ask for HTML by name; programs do not.
fn shows_html(headers: &HeaderMap) -> bool {
    headers.get(ACCEPT).is_some_and(|accept| accept.as_bytes().windows(9).any(|range| range == b"text/html"))
}

async fn may_read(
    services: &Services,
    headers: &HeaderMap,
    credential: &Credential,
    wants_json: bool,
) -> Result<(), Response> {
    let permitted = match console_or_bearer(services, headers, credential).await {
        Some(Ok(admin)) => audit::enter(services, &admin, audit::EVENTS).await.map_err(ApiFailure::from),
        Some(Err(refused)) => Err(refused),
        // Not recorded: a browser asks for pictures and icons by itself.
        None => Err(CallRefusal::Caller(CallerError::Missing).into()),
    };
    match permitted {
        Ok(()) => Ok(()),
        Err(refused) if wants_json => Err(refused.into_response()),
        Err(_) => Err(pages::console_wants_sign_on()),
    }
}
