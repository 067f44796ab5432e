//! `www.googleapis.com`: the older token address, and public keys.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use doorward_core::keys::KeyPurpose;
use doorward_wire::jose::JwkSet;

use super::{KEYS_MAX_AGE, Routes, Services, cacheable, oauth2_googleapis_com};
use crate::errors::google_api::ApiFailure;

pub(super) fn router() -> Routes {
    Routes::new()
        .route("/oauth2/v4/token", post(oauth2_googleapis_com::token))
        .route("/oauth2/v3/certs", get(certs))
        .route("/service_accounts/v1/jwk/{account}", get(service_account_keys))
        .route("/service_accounts/v1/metadata/jwk/{account}", get(service_account_keys))
}

/// `GET /oauth2/v3/certs`: the keys that ID tokens are verified with (RFC 7517 section 5).
async fn certs(State(services): State<Arc<Services>>) -> Response {
    let snapshot = services.snapshots.current();
    let published = snapshot.keys.published(KeyPurpose::IdToken, services.clock.now());
    cacheable(Json(JwkSet { keys: published.into_iter().cloned().collect() }), KEYS_MAX_AGE)
}

/// `GET /service_accounts/v1/jwk/EMAIL`: the public keys of an account, for those who verify what it signed itself.
async fn service_account_keys(
    State(services): State<Arc<Services>>,
    Path(account): Path<String>,
) -> Result<Response, ApiFailure> {
    Ok(cacheable(Json(services.service_accounts.published_keys(&account).await?), KEYS_MAX_AGE))
}
