//! Applications, of every kind.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::routing::get;
use doorward_wire::doorward_api::{ApplicationResource, ListApplicationsResponse};
use doorward_wire::google_api::iap_admin::UpdateQuery;
use serde::Deserialize;
use serde_json::Value;

use crate::errors::google_api::ApiFailure;
use crate::hosts::{Answer, Asked, Body, Credential, Routes, Services, StrictJson, asked, nothing};

pub(super) fn router() -> Routes {
    Routes::new()
        .route("/doorward/v1/applications", get(list).post(create))
        .route("/doorward/v1/applications/{name}", get(show).patch(update).delete(remove).post(call))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RemoveQuery {
    etag: Option<String>,
}

/// `GET /doorward/v1/applications`
async fn list(State(services): State<Arc<Services>>, credential: Credential) -> Answer<ListApplicationsResponse> {
    let admin = services.admin(&credential).await?;
    Ok(Json(services.applications.list(&admin).await?))
}

/// `POST /doorward/v1/applications`
async fn create(
    State(services): State<Arc<Services>>,
    credential: Credential,
    body: Body,
) -> Answer<ApplicationResource> {
    let admin = services.admin(&credential).await?;
    let StrictJson(new) = StrictJson::<ApplicationResource>::read(&body?)?;
    Ok(Json(services.applications.create(&admin, new).await?))
}

/// `GET /doorward/v1/applications/NAME`, or its number.
async fn show(
    State(services): State<Arc<Services>>,
    Path(name): Path<String>,
    credential: Credential,
) -> Answer<ApplicationResource> {
    let admin = services.admin(&credential).await?;
    Ok(Json(services.applications.get(&admin, &name).await?))
}

/// `PATCH /doorward/v1/applications/NAME?updateMask=`
async fn update(
    State(services): State<Arc<Services>>,
    Path(name): Path<String>,
    credential: Credential,
    query: Asked<UpdateQuery>,
    body: Body,
) -> Answer<ApplicationResource> {
    let admin = services.admin(&credential).await?;
    let UpdateQuery { update_mask } = asked(query)?;
    let StrictJson(new) = StrictJson::<ApplicationResource>::read(&body?)?;
    Ok(Json(services.applications.update(&admin, &name, new, Some(&update_mask)).await?))
}

/// `DELETE /doorward/v1/applications/NAME?etag=`
async fn remove(
    State(services): State<Arc<Services>>,
    Path(name): Path<String>,
    credential: Credential,
    query: Asked<RemoveQuery>,
) -> Answer<Value> {
    let admin = services.admin(&credential).await?;
    let RemoveQuery { etag } = asked(query)?;
    services.applications.delete(&admin, &name, etag.as_deref()).await?;
    Ok(nothing())
}

/// `POST /doorward/v1/applications/NAME:enable`, `:disable`
async fn call(
    State(services): State<Arc<Services>>,
    Path(call): Path<String>,
    credential: Credential,
) -> Answer<ApplicationResource> {
    let (name, enabled) = match call.rsplit_once(':') {
        Some((name, "enable")) => (name, true),
        Some((name, "disable")) => (name, false),
        _ => return Err(ApiFailure::no_such_method()),
    };
    let admin = services.admin(&credential).await?;
    Ok(Json(services.applications.set_enabled(&admin, name, enabled).await?))
}
