//! `accounts.google.com`: discovery, and the place where people will sign in.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Json};
use doorward_wire::oauth::{Discovery, DiscoveryUrls};

use super::{KEYS_MAX_AGE, Reached, Routes, Services, cacheable, oauth2_googleapis_com};
use crate::pages;

pub(super) fn router() -> Routes {
    Routes::new()
        .route("/.well-known/openid-configuration", get(discovery))
        .route("/o/oauth2/token", post(oauth2_googleapis_com::token))
        .route("/o/oauth2/v2/auth", get(authorize))
        .route("/o/oauth2/auth", get(authorize))
}

/// `GET /.well-known/openid-configuration` (OpenID Connect Discovery 1.0 section 4).
async fn discovery(State(services): State<Arc<Services>>, Extension(reached): Extension<Reached>) -> Response {
    let urls = DiscoveryUrls {
        accounts: reached.base("accounts.google.com"),
        oauth2: reached.base("oauth2.googleapis.com"),
        www: reached.base("www.googleapis.com"),
    };
    cacheable(Json(Discovery::new(&services.issuer, &urls)), KEYS_MAX_AGE)
}

/// `GET /o/oauth2/v2/auth`: says that people cannot sign in yet, and how a program gets in.
async fn authorize() -> Response {
    pages::sign_in_is_not_built()
}
