//! Access levels. Their whole names are paths: `accessPolicies/PROJECT_NUMBER/accessLevels/NAME`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::routing::get;
use doorward_wire::doorward_api::{AccessLevelResource, ListAccessLevelsResponse};
use doorward_wire::google_api::Status;
use serde_json::Value;

use crate::errors::google_api::ApiFailure;
use crate::hosts::{Answer, Body, Credential, Routes, Services, StrictJson, nothing};

pub(super) fn router() -> Routes {
    Routes::new()
        .route("/doorward/v1/accessLevels", get(list).post(create))
        .route("/doorward/v1/accessPolicies/{policy}/accessLevels/{level}", get(show).patch(update).delete(remove))
}

fn name((policy, level): (String, String)) -> String {
    format!("accessPolicies/{policy}/accessLevels/{level}")
}

/// `GET /doorward/v1/accessLevels`
async fn list(State(services): State<Arc<Services>>, credential: Credential) -> Answer<ListAccessLevelsResponse> {
    let admin = services.admin(&credential).await?;
    Ok(Json(services.access_levels.list(&admin).await?))
}

/// `POST /doorward/v1/accessLevels`
async fn create(
    State(services): State<Arc<Services>>,
    credential: Credential,
    body: Body,
) -> Answer<AccessLevelResource> {
    let admin = services.admin(&credential).await?;
    let StrictJson(new) = StrictJson::<AccessLevelResource>::read(&body?)?;
    Ok(Json(services.access_levels.create(&admin, new).await?))
}

/// `GET /doorward/v1/accessPolicies/P/accessLevels/L`
async fn show(
    State(services): State<Arc<Services>>,
    Path(path): Path<(String, String)>,
    credential: Credential,
) -> Answer<AccessLevelResource> {
    let admin = services.admin(&credential).await?;
    Ok(Json(services.access_levels.get(&admin, &name(path)).await?))
}

/// `PATCH /doorward/v1/accessPolicies/P/accessLevels/L`: replaces the whole of it.
async fn update(
    State(services): State<Arc<Services>>,
    Path(path): Path<(String, String)>,
    credential: Credential,
    body: Body,
) -> Answer<AccessLevelResource> {
    let admin = services.admin(&credential).await?;
    let StrictJson(given) = StrictJson::<AccessLevelResource>::read(&body?)?;
    let given = of_this_name(given, name(path))?;
    Ok(Json(services.access_levels.update(&admin, given).await?))
}

/// `DELETE /doorward/v1/accessPolicies/P/accessLevels/L`
async fn remove(
    State(services): State<Arc<Services>>,
    Path(path): Path<(String, String)>,
    credential: Credential,
) -> Answer<Value> {
    let admin = services.admin(&credential).await?;
    services.access_levels.delete(&admin, &name(path)).await?;
    Ok(nothing())
}

/// The level of the path: a body may leave its name out, and may name no other one.
fn of_this_name(given: AccessLevelResource, name: String) -> Result<AccessLevelResource, ApiFailure> {
    if given.name.is_empty() || given.name == name {
        Ok(AccessLevelResource { name, ..given })
    } else {
        Err(ApiFailure::new(Status::InvalidArgument, "The name in the body is not that of the URL."))
    }
}
