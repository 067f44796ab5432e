//! `oauth2.googleapis.com`: the token endpoint.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::Response;
use axum::routing::post;
use doorward_control::tokens::Issued;
use doorward_wire::oauth::{TokenForm, TokenRequest, TokenResponse};

use super::{Routes, Services, secret};
use crate::errors::oauth::OAuthFailure;

pub(super) fn router() -> Routes {
    Routes::new().route("/token", post(token))
}

/// `POST https://oauth2.googleapis.com/token`, and its older addresses `https://www.googleapis.com/oauth2/v4/token` and
/// `https://accounts.google.com/o/oauth2/token` (RFC 6749 section 3.2).
///
/// The body is read as a form whatever `Content-Type` says, as Google does: some of its samples send none.
pub(super) async fn token(
    State(services): State<Arc<Services>>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, OAuthFailure> {
    let request = TokenRequest::try_from(TokenForm::parse(&body?)?)?;
    let issued = services.tokens.redeem(request).await?;
    Ok(secret(Json(encode(issued))))
}

fn encode(issued: Issued) -> TokenResponse {
    match issued {
        Issued::IdToken(id_token) => TokenResponse::IdToken { id_token },
        Issued::AccessToken { token, expires_in } => TokenResponse::AccessToken {
            access_token: token,
            expires_in: i64::try_from(expires_in.as_secs()).unwrap_or(i64::MAX),
            token_type: "Bearer",
        },
    }
}
