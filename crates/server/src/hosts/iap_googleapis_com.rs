//! `iap.googleapis.com`: policies of protected resources.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use doorward_wire::google_api::{GetIamPolicyRequest, Policy, SetIamPolicyRequest};
use http::HeaderMap;

use super::{Body, Routes, Services, StrictJson};
use crate::errors::google_api::ApiFailure;

pub(super) fn router() -> Routes {
    Routes::new().route("/v1/{*name}", post(call))
}

/// `POST /v1/{resource=**}:METHOD`. A resource's name has slashes, so the method is what follows the last colon.
async fn call(
    State(services): State<Arc<Services>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    match name.rsplit_once(':') {
        Some((resource, "getIamPolicy")) => get_iam_policy(services, resource, &headers, body).await.into_response(),
        Some((resource, "setIamPolicy")) => set_iam_policy(services, resource, &headers, body).await.into_response(),
        _ => ApiFailure::no_such_method().into_response(),
    }
}

/// `POST /v1/{resource=**}:getIamPolicy`
///
/// Spec: <https://cloud.google.com/iap/docs/reference/rest/v1/TopLevel/getIamPolicy>
async fn get_iam_policy(
    services: Arc<Services>,
    resource: &str,
    headers: &HeaderMap,
    body: Body,
) -> Result<Json<Policy>, ApiFailure> {
    let administrator = services.administrator(headers).await?;
    let StrictJson(GetIamPolicyRequest {}) = StrictJson::read(&body?)?;
    Ok(Json(services.policies.get(&administrator, resource).await?))
}

/// `POST /v1/{resource=**}:setIamPolicy`
///
/// Spec: <https://cloud.google.com/iap/docs/reference/rest/v1/TopLevel/setIamPolicy>
async fn set_iam_policy(
    services: Arc<Services>,
    resource: &str,
    headers: &HeaderMap,
    body: Body,
) -> Result<Json<Policy>, ApiFailure> {
    let administrator = services.administrator(headers).await?;
    let StrictJson(request) = StrictJson::<SetIamPolicyRequest>::read(&body?)?;
    Ok(Json(services.policies.replace(&administrator, resource, request.policy).await?))
}
