//! `iamcredentials.googleapis.com`: tokens and signatures of service accounts, for those who may act as them.
//!
//! Spec: <https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts>

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use doorward_control::callers::ApiCaller;
use doorward_control::iam_credentials::{ImpersonationError, Signed};
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
    let received = Received { services: &services, credential: &credential, body };
    let (as_accounts, peer) = (&services.iam_credentials, credential.peer);
    Ok(match method {
        "generateIdToken" => {
            let (caller, request) = received.read(TokenMethod::GenerateIdToken).await?;
            let token = as_accounts.generate_id_token(&caller, &name, request, peer).await?;
            secret(Json(GenerateIdTokenResponse { token }))
        }
        "generateAccessToken" => {
            let (caller, request) = received.read(TokenMethod::GenerateAccessToken).await?;
            let made = as_accounts.generate_access_token(&caller, &name, request, peer).await?;
            let expire_time = rfc3339(made.expires.seconds());
            secret(Json(GenerateAccessTokenResponse { access_token: made.token, expire_time }))
        }
        "signJwt" => {
            let (caller, request) = received.read(TokenMethod::SignJwt).await?;
            let Signed { key_id, text } = as_accounts.sign_jwt(&caller, &name, request, peer).await?;
            secret(Json(SignJwtResponse { key_id, signed_jwt: text }))
        }
        "signBlob" => {
            let (caller, request) = received.read(TokenMethod::SignBlob).await?;
            let Signed { key_id, text } = as_accounts.sign_blob(&caller, &name, request, peer).await?;
            secret(Json(SignBlobResponse { key_id, signed_blob: text }))
        }
        _ => return Err(ApiFailure::no_such_method()),
    })
}

/// A call whose caller is not proven yet.
struct Received<'a> {
    services: &'a Services,
    credential: &'a Credential,
    body: Body,
}

impl Received<'_> {
    /// Proves the caller, and only then reads what they ask for. A body that cannot be read is a refusal, and recorded as one.
    async fn read<T: DeserializeOwned>(self, method: TokenMethod) -> Result<(ApiCaller, T), ApiFailure> {
        let Received { services, credential, body } = self;
        let caller = services.account(credential).await?;
        let read = body.map_err(ApiFailure::from).and_then(|body| StrictJson::read(&body));
        match read {
            Ok(StrictJson(request)) => Ok((caller, request)),
            Err(failure) => match services.refuse(method, credential.peer.address, ImpersonationError::Body).await {
                ImpersonationError::Body => Err(failure),
                not_recorded => Err(not_recorded.into()),
            },
        }
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
