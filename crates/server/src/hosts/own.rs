//! What is ours: the record of decisions, for people and for programs; applications, people, groups, access levels, OAuth clients and our keys;
//! answers to *why*; the whole of it in one file. And what our own origin says of itself as an authorization server.

mod access_levels;
mod applications;
mod audit;
mod decisions;
mod groups;
mod keys;
mod oauth_clients;
mod questions;
mod users;
mod world;

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use http::{Method, Uri};

use super::browser::Browser;
use super::{Body, Reached, Routes, Services, accounts_google_com, compute_googleapis_com};
use crate::errors::browser::BrowserFailure;

/// Events in one answer, at most.
const EVENTS_LIMIT: u32 = 1000;
/// How long a request may wait for an event, at most, in seconds.
const LONGEST_WAIT: u64 = 25;

pub(super) fn router() -> Routes {
    Routes::new()
        .route("/.well-known/oauth-authorization-server", get(authorization_server))
        .route("/o/oauth2/v2/auth", get(authorize).post(authorize))
        // gcloud takes this path from the root, wherever the address of the API that it is given leads.
        .route("/batch/compute/v1", post(compute_googleapis_com::batch))
        .merge(access_levels::router())
        .merge(applications::router())
        .merge(audit::router())
        .merge(decisions::router())
        .merge(groups::router())
        .merge(questions::router())
        .merge(users::router())
        .merge(world::router())
        .merge(oauth_clients::router())
        .merge(keys::router())
        // As everything else of ours; without the prefix they were first.
        .nest("/doorward", oauth_clients::router().merge(keys::router()))
        .fallback(decisions::elsewhere)
        .method_not_allowed_fallback(decisions::elsewhere)
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
