//! `cloudresourcemanager.googleapis.com`, versions 1, 2 and 3: the one project, and the policies of it and of what it lies in.
//!
//! Spec: <https://cloud.google.com/resource-manager/reference/rest>

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use doorward_wire::google_api::cloud_resource_manager::{
    GetAncestryResponse, ListProjectsResponse, ProjectV1, ProjectV3, ProjectsQuery, SearchProjectsResponse,
};

use super::policies::{self, Sent};
use super::{Answer, Asked, Credential, Routes, Services, StrictJson, asked};
use crate::errors::google_api::ApiFailure;

pub(super) fn router() -> Routes {
    Routes::new()
        .route("/v1/projects", get(list_v1))
        .route("/v1/projects/{project}", get(show_v1).post(call_project))
        .route("/v1/organizations/{call}", post(call_organization))
        .route("/v2/folders/{call}", post(call_folder))
        .route("/v3/projects", get(list_v3))
        .route("/v3/projects:search", get(search_v3))
        .route("/v3/projects/{project}", get(show_v3).post(call_project))
        .route("/v3/folders/{call}", post(call_folder))
        .route("/v3/organizations/{call}", post(call_organization))
}

/// `GET /v1/projects?filter=`
async fn list_v1(
    State(services): State<Arc<Services>>,
    credential: Credential,
    query: Asked<ProjectsQuery>,
) -> Answer<ListProjectsResponse> {
    let admin = services.admin(&credential).await?;
    Ok(Json(services.projects.list_v1(&admin, &asked(query)?).await?))
}

/// `GET /v1/projects/P`. gcloud begins each command of IAP with it.
async fn show_v1(
    State(services): State<Arc<Services>>,
    Path(project): Path<String>,
    credential: Credential,
) -> Answer<ProjectV1> {
    let admin = services.admin(&credential).await?;
    Ok(Json(services.projects.get_v1(&admin, &project).await?))
}

/// `GET /v3/projects?parent=`
async fn list_v3(
    State(services): State<Arc<Services>>,
    credential: Credential,
    query: Asked<ProjectsQuery>,
) -> Answer<SearchProjectsResponse> {
    let admin = services.admin(&credential).await?;
    let parent = asked(query)?.parent.unwrap_or_default();
    Ok(Json(services.projects.list_v3(&admin, &parent).await?))
}

/// `GET /v3/projects:search?query=`
async fn search_v3(
    State(services): State<Arc<Services>>,
    credential: Credential,
    query: Asked<ProjectsQuery>,
) -> Answer<SearchProjectsResponse> {
    let admin = services.admin(&credential).await?;
    Ok(Json(services.projects.search_v3(&admin, &asked(query)?).await?))
}

/// `GET /v3/projects/P`
async fn show_v3(
    State(services): State<Arc<Services>>,
    Path(project): Path<String>,
    credential: Credential,
) -> Answer<ProjectV3> {
    let admin = services.admin(&credential).await?;
    Ok(Json(services.projects.get_v3(&admin, &project).await?))
}

/// `POST …/projects/P:METHOD`
async fn call_project(State(services): State<Arc<Services>>, Path(call): Path<String>, sent: Sent) -> Response {
    match call.rsplit_once(':') {
        Some((project, "getAncestry")) => ancestry(&services, project, sent).await.into_response(),
        Some((project, method)) => policies::call(&services, &format!("projects/{project}"), method, sent).await,
        None => ApiFailure::no_such_method().into_response(),
    }
}

/// `POST /v1/projects/P:getAncestry`
async fn ancestry(services: &Services, project: &str, sent: Sent) -> Answer<GetAncestryResponse> {
    let admin = services.admin(&sent.credential).await?;
    let StrictJson(_) = StrictJson::<serde_json::Map<String, serde_json::Value>>::read(&sent.body?)?;
    Ok(Json(services.projects.ancestry(&admin, project).await?))
}

/// `POST …/folders/F:METHOD`
async fn call_folder(State(services): State<Arc<Services>>, Path(call): Path<String>, sent: Sent) -> Response {
    call_above(&services, "folders", &call, sent).await
}

/// `POST …/organizations/O:METHOD`
async fn call_organization(State(services): State<Arc<Services>>, Path(call): Path<String>, sent: Sent) -> Response {
    call_above(&services, "organizations", &call, sent).await
}

async fn call_above(services: &Services, kind: &str, call: &str, sent: Sent) -> Response {
    match call.rsplit_once(':') {
        Some((id, method)) => policies::call(services, &format!("{kind}/{id}"), method, sent).await,
        None => ApiFailure::no_such_method().into_response(),
    }
}
