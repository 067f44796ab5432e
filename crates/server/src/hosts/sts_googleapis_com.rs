//! `sts.googleapis.com`: tokens of other issuers become tokens of identities of a pool.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use axum::routing::post;
use axum::{Extension, Json};
use doorward_control::sts::Exchanged;
use doorward_core::clock::whole_seconds;
use doorward_wire::oauth::{
    ACCESS_TOKEN_TYPE, ParameterError, Parameters, TokenExchangeRequest, TokenExchangeResponse, TokenFormError,
};
use http::HeaderMap;
use http::header::CONTENT_TYPE;

use super::{Body, Reached, Routes, Services, secret};
use crate::errors::oauth::OAuthFailure;

pub(super) fn router() -> Routes {
    Routes::new().route("/v1/token", post(token))
}

/// `POST https://sts.googleapis.com/v1/token` (RFC 8693 section 2).
///
/// Spec: <https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token>
async fn token(
    State(services): State<Arc<Services>>,
    Extension(reached): Extension<Reached>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, OAuthFailure> {
    let request = read(&headers, &body?);
    let exchanged = services.token_exchange.exchange(request, reached.connection.peer.address).await?;
    Ok(secret(Json(encode(exchanged))))
}

/// JSON if the request says so, and else a form: as at the token endpoint, some clients do not say what they send.
fn read(headers: &HeaderMap, body: &[u8]) -> Result<TokenExchangeRequest, TokenFormError> {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let is_json = match (types.next(), types.next()) {
        (Some(content_type), None) => {
            let essence = content_type.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
            essence.trim_ascii().eq_ignore_ascii_case(b"application/json")
        }
        (None, _) => false,
        // What two readers may read differently is no request.
        (Some(_), Some(_)) => return Err(ParameterError::Malformed.into()),
    };
    match is_json {
        true => TokenExchangeRequest::read_json(body),
        false => TokenExchangeRequest::read_form(Parameters::parse(body)?),
    }
}

fn encode(exchanged: Exchanged) -> TokenExchangeResponse {
    TokenExchangeResponse {
        access_token: exchanged.token,
        issued_token_type: ACCESS_TOKEN_TYPE.to_owned(),
        token_type: "Bearer".to_owned(),
        expires_in: whole_seconds(exchanged.expires_in),
    }
}
