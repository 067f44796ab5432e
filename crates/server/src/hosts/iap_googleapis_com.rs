//! `iap.googleapis.com`: policies and settings of protected resources.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use doorward_wire::google_api::{GetIamPolicyRequest, IapSettings, Policy, SetIamPolicyRequest, Status};
use serde::Deserialize;

use super::{Body, Credential, Routes, Services, StrictJson};
use crate::errors::google_api::ApiFailure;

pub(super) fn router() -> Routes {
    Routes::new().route("/v1/{*name}", get(settings).patch(update_settings).post(call))
}

type Answer<T> = Result<Json<T>, ApiFailure>;

/// `POST /v1/{resource=**}:METHOD`. A resource's name has slashes, so the method is what follows the last colon.
async fn call(
    State(services): State<Arc<Services>>,
    Path(name): Path<String>,
    credential: Credential,
    body: Body,
) -> Response {
    match name.rsplit_once(':') {
        Some((resource, "getIamPolicy")) => {
            get_iam_policy(&services, resource, &credential, body).await.into_response()
        }
        Some((resource, "setIamPolicy")) => {
            set_iam_policy(&services, resource, &credential, body).await.into_response()
        }
        _ => ApiFailure::no_such_method().into_response(),
    }
}

/// `POST /v1/{resource=**}:getIamPolicy`
///
/// Spec: <https://cloud.google.com/iap/docs/reference/rest/v1/TopLevel/getIamPolicy>
async fn get_iam_policy(services: &Services, resource: &str, credential: &Credential, body: Body) -> Answer<Policy> {
    let administrator = services.administrator(credential).await?;
    let StrictJson(GetIamPolicyRequest {}) = StrictJson::read(&body?)?;
    Ok(Json(services.policies.get(&administrator, resource).await?))
}

/// `POST /v1/{resource=**}:setIamPolicy`
///
/// Spec: <https://cloud.google.com/iap/docs/reference/rest/v1/TopLevel/setIamPolicy>
async fn set_iam_policy(services: &Services, resource: &str, credential: &Credential, body: Body) -> Answer<Policy> {
    let administrator = services.administrator(credential).await?;
    let StrictJson(request) = StrictJson::<SetIamPolicyRequest>::read(&body?)?;
    Ok(Json(services.policies.replace(&administrator, resource, request.policy).await?))
}

/// `GET /v1/{name=**}:iapSettings`
///
/// Spec: <https://cloud.google.com/iap/docs/reference/rest/v1/TopLevel/getIapSettings>
async fn settings(
    State(services): State<Arc<Services>>,
    Path(name): Path<String>,
    credential: Credential,
) -> Answer<IapSettings> {
    let resource = name.strip_suffix(":iapSettings").ok_or_else(ApiFailure::no_such_method)?;
    let administrator = services.administrator(&credential).await?;
    Ok(Json(services.settings.get(&administrator, resource).await?))
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct UpdateQuery {
    #[serde(alias = "update_mask")]
    update_mask: Option<String>,
}

/// `PATCH /v1/{name=**}:iapSettings?updateMask=`
///
/// Spec: <https://cloud.google.com/iap/docs/reference/rest/v1/TopLevel/updateIapSettings>
async fn update_settings(
    State(services): State<Arc<Services>>,
    Path(name): Path<String>,
    credential: Credential,
    query: Result<Query<UpdateQuery>, QueryRejection>,
    body: Body,
) -> Answer<IapSettings> {
    let resource = name.strip_suffix(":iapSettings").ok_or_else(ApiFailure::no_such_method)?;
    let administrator = services.administrator(&credential).await?;
    let Query(UpdateQuery { update_mask }) =
        query.map_err(|error| ApiFailure::new(Status::InvalidArgument, error.body_text()))?;
    let StrictJson(settings) = StrictJson::<IapSettings>::read(&body?)?;
    Ok(Json(services.settings.update(&administrator, resource, settings, update_mask.as_deref()).await?))
}
