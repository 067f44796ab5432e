//! The built-in application: verifies the signed header as a backend should, and shows what arrived.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use doorward_core::clock::{CLOCK_SKEW, Clock};
use doorward_core::keys::{ASSERTION_TTL, KeyPurpose};
use doorward_core::snapshot::SnapshotCell;
use doorward_wire::headers::{ASSERTION_ISSUER, IAP_JWT_ASSERTION};
use doorward_wire::jose::{Algorithm, TOKEN_LIMIT, Unverified};
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::pages::{self, EchoPage};

/// An application behind the proxy.
pub(crate) struct Echo {
    snapshots: Arc<SnapshotCell>,
    clock: Arc<dyn Clock>,
    /// `aud` of the signed header that is meant for this application.
    audience: String,
}

/// What a program is shown. An interface, documented.
#[derive(Serialize)]
struct Arrived<'a> {
    method: &'a str,
    path: &'a str,
    /// Each lower-case name once; several values are joined by a comma and a space.
    headers: Map<String, Value>,
    /// As they came, so that duplicates show.
    raw_headers: &'a [(String, String)],
    /// The verified claims.
    identity: &'a Map<String, Value>,
}

impl Echo {
    pub(crate) fn new(snapshots: Arc<SnapshotCell>, clock: Arc<dyn Clock>, audience: String) -> Self {
        Echo { snapshots, clock, audience }
    }

    pub(crate) async fn answer(&self, request: Request<Body>) -> Response {
        let (request, body) = request.into_parts();
        drain(body).await;
        let identity = match self.verify(&request.headers) {
            Ok(identity) => identity,
            Err(cause) => {
                let body = serde_json::json!({"error": cause});
                return (StatusCode::UNAUTHORIZED, Json(body)).into_response();
            }
        };
        let raw_headers: Vec<(String, String)> = request
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        let path = request.uri.path_and_query().map_or("/", |target| target.as_str());
        let by_person = request
            .headers
            .get(ACCEPT)
            .is_some_and(|accept| accept.as_bytes().windows(9).any(|range| range.eq_ignore_ascii_case(b"text/html")));
        if by_person {
            let who = identity.get("email").and_then(Value::as_str).unwrap_or("nobody in particular");
            let claims = serde_json::to_string_pretty(&identity).unwrap_or_default();
            let page = EchoPage { who, method: request.method.as_str(), path, headers: &raw_headers, claims: &claims };
            return pages::html(StatusCode::OK, &page);
        }
        let mut headers = Map::new();
        for (name, value) in &raw_headers {
            match headers.get_mut(name) {
                Some(Value::String(joined)) => *joined = format!("{joined}, {value}"),
                _ => drop(headers.insert(name.clone(), Value::String(value.clone()))),
            }
        }
        let method = request.method.as_str();
        let arrived = Arrived { method, path, headers, raw_headers: &raw_headers, identity: &identity };
        // Indented, because people read it in a terminal.
        match serde_json::to_string_pretty(&arrived) {
            Ok(text) => ([(CONTENT_TYPE, "application/json")], text + "\n").into_response(),
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }

    /// The claims of the one signed header, verified: signature, issuer, audience, time.
    ///
    /// Spec: <https://cloud.google.com/iap/docs/signed-headers-howto>
    fn verify(&self, headers: &HeaderMap) -> Result<Map<String, Value>, &'static str> {
        let mut fields = headers.get_all(IAP_JWT_ASSERTION).iter();
        let (Some(field), None) = (fields.next(), fields.next()) else {
            return Err(
                "There is not exactly one x-goog-iap-jwt-assertion: this request did not come through the proxy.",
            );
        };
        const INVALID: &str = "x-goog-iap-jwt-assertion is not valid: this request did not come through the proxy.";
        let now = self.clock.now();
        let snapshot = self.snapshots.current();
        let token = field.to_str().map_err(|_| INVALID)?;
        let unverified = Unverified::parse(token, TOKEN_LIMIT, &[Algorithm::Es256]).map_err(|_| INVALID)?;
        let key = unverified.kid().and_then(|kid| snapshot.keys.verifying(KeyPurpose::Assertion, kid, now));
        let claims = unverified.verify(key.ok_or(INVALID)?).map_err(|_| INVALID)?;
        let skew = i64::try_from(CLOCK_SKEW.as_secs()).map_err(|_| INVALID)?;
        claims.check_time(now.seconds(), skew).map_err(|_| INVALID)?;
        let life = claims.seconds("exp").map_err(|_| INVALID)? - claims.seconds("iat").map_err(|_| INVALID)?;
        let allowed_life = i64::try_from((ASSERTION_TTL + 2 * CLOCK_SKEW).as_secs()).map_err(|_| INVALID)?;
        let meant_for_us = claims.string("iss") == Some(ASSERTION_ISSUER)
            && claims.string("aud") == Some(&self.audience)
            && life <= allowed_life;
        if !meant_for_us {
            return Err("x-goog-iap-jwt-assertion is for another application.");
        }
        Ok(claims.as_object().clone())
    }
}

/// Reads a body to its end without keeping it, so that the connection can be used again.
async fn drain(mut body: Body) {
    while let Some(Ok(_)) = body.frame().await {}
}
