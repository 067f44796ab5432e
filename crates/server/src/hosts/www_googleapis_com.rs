//! `www.googleapis.com`: older addresses of the token endpoint and its kin, and public keys.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use doorward_core::keys::KeyPurpose;
use doorward_wire::jose::{Jwk, JwkSet, decode_base64url};
use serde_json::{Value, json};

use super::oauth2_googleapis_com::{token, token_info, user_info};
use super::{KEYS_MAX_AGE, Routes, Services, cacheable};
use crate::errors::google_api::ApiFailure;

/// The name that Google's certificates of its own keys carry.
const SIGNER: &str = "federated-signon.system.gserviceaccount.com";

pub(super) fn router() -> Routes {
    Routes::new()
        .route("/oauth2/v4/token", post(token))
        .route("/oauth2/v1/certs", get(certificates))
        .route("/oauth2/v3/certs", get(keys))
        .route("/oauth2/v1/userinfo", get(user_info).post(user_info))
        .route("/oauth2/v2/userinfo", get(user_info).post(user_info))
        .route("/oauth2/v3/userinfo", get(user_info).post(user_info))
        .route("/oauth2/v1/tokeninfo", get(token_info).post(token_info))
        .route("/oauth2/v3/tokeninfo", get(token_info).post(token_info))
        .route("/robot/v1/metadata/x509/{account}", get(service_account_certificates))
        .route("/service_accounts/v1/metadata/x509/{account}", get(service_account_certificates))
        .route("/service_accounts/v1/metadata/raw/{account}", get(service_account_raw_keys))
        .route("/service_accounts/v1/metadata/jwk/{account}", get(service_account_keys))
        .route("/service_accounts/v1/jwk/{account}", get(service_account_keys))
}

/// `GET /oauth2/v3/certs`: the keys that ID tokens are verified with (RFC 7517 section 5).
async fn keys(State(services): State<Arc<Services>>) -> Response {
    let snapshot = services.snapshots.current();
    let published = snapshot.keys.published(KeyPurpose::IdToken, services.clock.now());
    cacheable(Json(JwkSet { keys: published.into_iter().cloned().collect() }), KEYS_MAX_AGE)
}

/// `GET /oauth2/v1/certs`: the same keys as `{"KID": CERTIFICATE}`, as Google's library for Python reads them.
async fn certificates(State(services): State<Arc<Services>>) -> Result<Response, ApiFailure> {
    let snapshot = services.snapshots.current();
    let published = snapshot.keys.published(KeyPurpose::IdToken, services.clock.now());
    Ok(cacheable(Json(services.certificates.of(SIGNER, published)?), KEYS_MAX_AGE))
}

/// `GET /service_accounts/v1/jwk/EMAIL`: the public keys of an account, for those who verify what it signed itself.
async fn service_account_keys(
    State(services): State<Arc<Services>>,
    Path(account): Path<String>,
) -> Result<Response, ApiFailure> {
    Ok(cacheable(Json(services.service_accounts.published_keys(&account).await?), KEYS_MAX_AGE))
}

/// `GET /robot/v1/metadata/x509/EMAIL`: the same as `{"KID": CERTIFICATE}`. Key files name this address.
async fn service_account_certificates(
    State(services): State<Arc<Services>>,
    Path(account): Path<String>,
) -> Result<Response, ApiFailure> {
    let published = services.service_accounts.published_keys(&account).await?;
    Ok(cacheable(Json(services.certificates.of(&account, &published.keys)?), KEYS_MAX_AGE))
}

/// `GET /service_accounts/v1/metadata/raw/EMAIL`: the same as numbers.
async fn service_account_raw_keys(
    State(services): State<Arc<Services>>,
    Path(account): Path<String>,
) -> Result<Response, ApiFailure> {
    let published = services.service_accounts.published_keys(&account).await?;
    let raw: Vec<Value> = published.keys.iter().filter_map(raw).collect();
    Ok(cacheable(Json(json!({"keyvalues": raw})), KEYS_MAX_AGE))
}

/// An RSA key with its numbers in base64, of the alphabet with `+` and `/`.
fn raw(key: &Jwk) -> Option<Value> {
    let number = |text: &Option<String>| Some(STANDARD.encode(decode_base64url(text.as_deref()?)?));
    Some(json!({"algorithm": "RSA", "keyid": key.kid, "modulus": number(&key.n)?, "exponent": number(&key.e)?}))
}
