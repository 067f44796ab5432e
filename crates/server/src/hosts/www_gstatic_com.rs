//! `www.gstatic.com`: the keys with which applications verify the signed header.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use doorward_core::keys::KeyPurpose;
use doorward_wire::jose::{JwkSet, VerifyingKey};

use super::{KEYS_MAX_AGE, Routes, Services, cacheable};

pub(super) fn router() -> Routes {
    Routes::new()
        .route("/iap/verify/public_key-jwk", get(public_key_jwk))
        .route("/iap/verify/public_key", get(public_key))
}

/// `GET /iap/verify/public_key-jwk`: a JWK set.
///
/// Spec: <https://cloud.google.com/iap/docs/signed-headers-howto>
async fn public_key_jwk(State(services): State<Arc<Services>>) -> Response {
    let snapshot = services.snapshots.current();
    let published = snapshot.keys.published(KeyPurpose::Assertion, services.clock.now());
    cacheable(Json(JwkSet { keys: published.into_iter().cloned().collect() }), KEYS_MAX_AGE)
}

/// `GET /iap/verify/public_key`: `{"KID": PEM}` with bare public keys, not certificates.
async fn public_key(State(services): State<Arc<Services>>) -> Response {
    let snapshot = services.snapshots.current();
    let published = snapshot.keys.published(KeyPurpose::Assertion, services.clock.now());
    let pems: BTreeMap<_, _> = published
        .into_iter()
        .filter_map(|jwk| Some((jwk.kid.clone(), VerifyingKey::from_jwk(jwk).and_then(|key| key.to_pem()).ok()?)))
        .collect();
    cacheable(Json(pems), KEYS_MAX_AGE)
}
