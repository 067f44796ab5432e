//! `appengine.googleapis.com`: whether IAP is on for the App Engine application of the project.
//!
//! Spec: <https://cloud.google.com/appengine/docs/admin-api/reference/rest/v1/apps>

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::routing::get;
use doorward_wire::google_api::LongRunningOperation;
use doorward_wire::google_api::appengine::Application;
use doorward_wire::google_api::iap_admin::UpdateQuery;

use super::{Answer, Asked, Body, Credential, Routes, Services, StrictJson, asked};

pub(super) fn router() -> Routes {
    Routes::new()
        .route("/v1/apps/{app}", get(show).patch(update))
        .route("/v1/apps/{app}/operations/{operation}", get(operation))
}

/// `GET /v1/apps/APP`
async fn show(
    State(services): State<Arc<Services>>,
    Path(app): Path<String>,
    credential: Credential,
) -> Answer<Application> {
    let admin = services.admin(&credential).await?;
    Ok(Json(services.app_engine.get(&admin, &app).await?))
}

/// `PATCH /v1/apps/APP?updateMask=`
async fn update(
    State(services): State<Arc<Services>>,
    Path(app): Path<String>,
    credential: Credential,
    query: Asked<UpdateQuery>,
    body: Body,
) -> Answer<LongRunningOperation> {
    let admin = services.admin(&credential).await?;
    let UpdateQuery { update_mask } = asked(query)?;
    let StrictJson(given) = StrictJson::<Application>::read(&body?)?;
    Ok(Json(services.app_engine.patch(&admin, &app, given, &update_mask).await?))
}

/// `GET /v1/apps/APP/operations/ID`
async fn operation(
    State(services): State<Arc<Services>>,
    Path((app, operation)): Path<(String, String)>,
    credential: Credential,
) -> Answer<LongRunningOperation> {
    let admin = services.admin(&credential).await?;
    Ok(Json(services.app_engine.operation(&admin, &app, &operation).await?))
}
