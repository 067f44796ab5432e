//! `iamcredentials.googleapis.com`: tokens and signatures of service accounts, for those who may act as them.
//!
//! Spec: <https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts>

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use doorward_control::iam_credentials::ImpersonationError;
use doorward_core::audit::TokenMethod;
use doorward_wire::iam_credentials::{
    AllowedLocations, GenerateAccessTokenResponse, GenerateIdTokenResponse, SignBlobResponse, SignJwtResponse,
};
use doorward_wire::time::rfc3339;
use serde::de::DeserializeOwned;

use super::{Body, Credential, Routes, Services, StrictJson, secret};
use crate::errors::google_api::ApiFailure;

pub(super) fn router() -> Routes {
    Routes::new()
        .route("/v1/projects/{project}/serviceAccounts/{call}", post(call))
        .route("/v1/projects/{project}/serviceAccounts/{account}/allowedLocations", get(allowed_locations))
}

/// `POST /v1/projects/-/serviceAccounts/EMAIL_OR_ID:METHOD`. The method is what follows the last colon.
async fn call(
    State(services): State<Arc<Services>>,
    Path((project, call)): Path<(String, String)>,
    credential: Credential,
    body: Body,
) -> Result<Response, ApiFailure> {
    let (account, method) = call.rsplit_once(':').ok_or_else(ApiFailure::no_such_method)?;
    let name = format!("projects/{project}/serviceAccounts/{account}");
    match method {
        "generateIdToken" => generate_id_token(&services, &name, &credential, body).await,
        "generateAccessToken" => generate_access_token(&services, &name, &credential, body).await,
        "signJwt" => sign_jwt(&services, &name, &credential, body).await,
        "signBlob" => sign_blob(&services, &name, &credential, body).await,
        _ => Err(ApiFailure::no_such_method()),
    }
}

/// `POST …:generateIdToken`
async fn generate_id_token(
    services: &Services,
    name: &str,
    credential: &Credential,
    body: Body,
) -> Result<Response, ApiFailure> {
    let caller = services.account(credential).await?;
    let request = read(services, credential, TokenMethod::GenerateIdToken, body).await?;
    let token = services.iam_credentials.generate_id_token(&caller, name, request, credential.peer).await?;
    Ok(secret(Json(GenerateIdTokenResponse { token })))
}

/// `POST …:generateAccessToken`
async fn generate_access_token(
    services: &Services,
    name: &str,
    credential: &Credential,
    body: Body,
) -> Result<Response, ApiFailure> {
    let caller = services.account(credential).await?;
    let request = read(services, credential, TokenMethod::GenerateAccessToken, body).await?;
    let made = services.iam_credentials.generate_access_token(&caller, name, request, credential.peer).await?;
    let expire_time = rfc3339(made.expires.seconds());
    Ok(secret(Json(GenerateAccessTokenResponse { access_token: made.token, expire_time })))
}

/// `POST …:signJwt`
async fn sign_jwt(
    services: &Services,
    name: &str,
    credential: &Credential,
    body: Body,
) -> Result<Response, ApiFailure> {
    let caller = services.account(credential).await?;
    let request = read(services, credential, TokenMethod::SignJwt, body).await?;
    let signed = services.iam_credentials.sign_jwt(&caller, name, request, credential.peer).await?;
    Ok(secret(Json(SignJwtResponse { key_id: signed.key_id, signed_jwt: signed.text })))
}

/// `POST …:signBlob`
async fn sign_blob(
    services: &Services,
    name: &str,
    credential: &Credential,
    body: Body,
) -> Result<Response, ApiFailure> {
    let caller = services.account(credential).await?;
    let request = read(services, credential, TokenMethod::SignBlob, body).await?;
    let signed = services.iam_credentials.sign_blob(&caller, name, request, credential.peer).await?;
    Ok(secret(Json(SignBlobResponse { key_id: signed.key_id, signed_blob: signed.text })))
}

/// The body of a call. One that cannot be read is a refusal, and recorded as one.
async fn read<T: DeserializeOwned>(
    services: &Services,
    credential: &Credential,
    method: TokenMethod,
    body: Body,
) -> Result<T, ApiFailure> {
    let read = body.map_err(ApiFailure::from).and_then(|body| StrictJson::read(&body));
    match read {
        Ok(StrictJson(request)) => Ok(request),
        Err(failure) => match services.refuse(method, credential.peer, ImpersonationError::Body).await {
            ImpersonationError::Body => Err(failure),
            not_recorded => Err(not_recorded.into()),
        },
    }
}

/// `GET …/serviceAccounts/EMAIL/allowedLocations`: everywhere. The same for every account, so it tells nothing of one.
async fn allowed_locations(
    State(services): State<Arc<Services>>,
    credential: Credential,
) -> Result<Json<AllowedLocations>, ApiFailure> {
    services.account(&credential).await?;
    Ok(Json(AllowedLocations::default()))
}
