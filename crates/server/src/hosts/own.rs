//! What is ours: the record of decisions, for people and for programs, OAuth clients and our keys, all of which demand an
//! administrator; and what our own origin says of itself as an authorization server.

mod keys;
mod oauth_clients;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json};
use doorward_control::callers::CallerError;
use doorward_core::audit::StoredEvent;
use doorward_wire::google_api::Status;
use http::header::{ACCEPT, CACHE_CONTROL, LOCATION, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use serde::{Deserialize, Serialize};

use super::browser::Browser;
use super::{Body, Credential, Reached, Routes, Services, accounts_google_com};
use crate::errors::browser::BrowserFailure;
use crate::errors::google_api::{ApiFailure, CallRefusal};
use crate::pages;

/// Events in one answer, at most.
const EVENTS_LIMIT: u32 = 1000;
/// How long a request may wait for an event, at most.
const LONGEST_WAIT: u64 = 25;

pub(super) fn router() -> Routes {
    Routes::new()
        .route("/decisions", get(decisions))
        .route("/.well-known/oauth-authorization-server", get(authorization_server))
        .route("/o/oauth2/v2/auth", get(authorize).post(authorize))
        .merge(oauth_clients::router())
        .merge(keys::router())
        .fallback(elsewhere)
        .method_not_allowed_fallback(elsewhere)
}

/// `GET /.well-known/oauth-authorization-server` (RFC 8414 section 3): our origin is an issuer of its own, since a client that
/// finds us by an application's document (RFC 9728) compares the issuer with the address that it asked.
async fn authorization_server(Extension(reached): Extension<Reached>) -> Response {
    accounts_google_com::described(&reached.api_url, &reached, &reached.api_url)
}

/// `/o/oauth2/v2/auth` on our own origin: its redirects name that origin as `iss` (RFC 9207).
async fn authorize(
    State(services): State<Arc<Services>>,
    browser: Browser,
    method: Method,
    uri: Uri,
    body: Body,
) -> Result<Response, BrowserFailure> {
    let issuer = browser.reached.api_url.clone();
    accounts_google_com::authorize_as(&issuer, &services, &browser, (method, uri), body).await
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
    query: Result<Query<DecisionsQuery>, axum::extract::rejection::QueryRejection>,
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
            super::secret(Json(Decisions { events, next }))
        }
        Ok(events) => pages::decisions(&events),
    }
}

/// Anything else of ours: nothing is there, but only an administrator is told so.
async fn elsewhere(State(services): State<Arc<Services>>, headers: HeaderMap, credential: Credential) -> Response {
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
    let proven = match credential.bearer {
        Some(_) => services.administrator(credential).await,
        None if services.console.admits(headers) => return Ok(()),
        // Not recorded: a browser asks for pictures and icons by itself.
        None => Err(CallRefusal::Caller(CallerError::Missing).into()),
    };
    match proven {
        Ok(_administrator) => Ok(()),
        Err(refused) if wants_json => Err(refused.into_response()),
        Err(_) => Err(pages::console_wants_sign_on()),
    }
}
