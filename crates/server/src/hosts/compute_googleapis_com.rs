//! `compute.googleapis.com`: applications as backend services, global and regional.
//!
//! Links in answers begin with the address by which the client came: gcloud follows no others.
//!
//! Spec: <https://cloud.google.com/compute/docs/reference/rest/v1/backendServices>

mod batch;

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Extension, Json};
use doorward_control::applications::Scope;
use doorward_wire::google_api::compute::{
    BackendService, BackendServiceAggregatedList, BackendServiceList, ListQuery, Operation,
};
use serde::Deserialize;
use serde_json::{Map, Value};

pub(super) use batch::batch;

use super::{Answer, Asked, Body, Credential, Reached, Routes, Services, StrictJson, asked};

/// The host, and how it begins paths on our own origin.
const HOST: &str = "compute.googleapis.com";

pub(super) fn router() -> Routes {
    methods().route("/batch/compute/v1", post(batch::batch))
}

/// Everything that may be a part of a batch.
fn methods() -> Routes {
    const PROJECT: &str = "/compute/v1/projects/{project}";
    let in_scope = |scope: &str| {
        let (services, operations) =
            (format!("{PROJECT}/{scope}/backendServices"), format!("{PROJECT}/{scope}/operations"));
        Routes::new()
            .route(&services, get(list).post(insert))
            .route(&format!("{services}/{{name}}"), get(show).patch(patch).put(update).delete(remove))
            .route(&format!("{operations}/{{name}}"), get(operation))
            .route(&format!("{operations}/{{name}}/wait"), post(operation))
    };
    Routes::new()
        .route(&format!("{PROJECT}/aggregated/backendServices"), get(aggregated))
        .merge(in_scope("global"))
        .merge(in_scope("regions/{region}"))
}

/// What the path of a collection says.
#[derive(Debug, Deserialize)]
struct Collection {
    project: String,
    region: Option<String>,
}

/// What the path of one thing says.
#[derive(Debug, Deserialize)]
struct Thing {
    project: String,
    region: Option<String>,
    name: String,
}

impl Thing {
    fn scope<'a>(&'a self, base: &'a str) -> Scope<'a> {
        Scope { base, project: &self.project, region: self.region.as_deref() }
    }
}

/// How links begin.
fn base(reached: &Reached) -> String {
    format!("{}/compute/v1", reached.base(HOST))
}

/// `GET …/backendServices?filter=&maxResults=&pageToken=`
async fn list(
    State(services): State<Arc<Services>>,
    Path(Collection { project, region }): Path<Collection>,
    Extension(reached): Extension<Reached>,
    credential: Credential,
    query: Asked<ListQuery>,
) -> Answer<BackendServiceList> {
    let admin = services.admin(&credential).await?;
    let at = Scope { base: &base(&reached), project: &project, region: region.as_deref() };
    Ok(Json(services.backend_services.list(&admin, at, &asked(query)?).await?))
}

/// `GET …/aggregated/backendServices?filter=&maxResults=&pageToken=`
async fn aggregated(
    State(services): State<Arc<Services>>,
    Path(project): Path<String>,
    Extension(reached): Extension<Reached>,
    credential: Credential,
    query: Asked<ListQuery>,
) -> Answer<BackendServiceAggregatedList> {
    let admin = services.admin(&credential).await?;
    let at = Scope { base: &base(&reached), project: &project, region: None };
    Ok(Json(services.backend_services.aggregated(&admin, at, &asked(query)?).await?))
}

/// `POST …/backendServices`
async fn insert(
    State(services): State<Arc<Services>>,
    Path(Collection { project, region }): Path<Collection>,
    Extension(reached): Extension<Reached>,
    credential: Credential,
    body: Body,
) -> Answer<Operation> {
    let admin = services.admin(&credential).await?;
    let StrictJson(new) = StrictJson::<BackendService>::read(&body?)?;
    let at = Scope { base: &base(&reached), project: &project, region: region.as_deref() };
    Ok(Json(services.backend_services.insert(&admin, at, new).await?))
}

/// `GET …/backendServices/NAME`, or its number.
async fn show(
    State(services): State<Arc<Services>>,
    Path(thing): Path<Thing>,
    Extension(reached): Extension<Reached>,
    credential: Credential,
) -> Answer<BackendService> {
    let admin = services.admin(&credential).await?;
    Ok(Json(services.backend_services.get(&admin, thing.scope(&base(&reached)), &thing.name).await?))
}

/// `PATCH …/backendServices/NAME`
async fn patch(
    State(services): State<Arc<Services>>,
    Path(thing): Path<Thing>,
    Extension(reached): Extension<Reached>,
    credential: Credential,
    body: Body,
) -> Answer<Operation> {
    let admin = services.admin(&credential).await?;
    let StrictJson(changes) = StrictJson::<Map<String, Value>>::read(&body?)?;
    let at = base(&reached);
    Ok(Json(services.backend_services.patch(&admin, thing.scope(&at), &thing.name, &changes.into()).await?))
}

/// `PUT …/backendServices/NAME`
async fn update(
    State(services): State<Arc<Services>>,
    Path(thing): Path<Thing>,
    Extension(reached): Extension<Reached>,
    credential: Credential,
    body: Body,
) -> Answer<Operation> {
    let admin = services.admin(&credential).await?;
    let StrictJson(new) = StrictJson::<BackendService>::read(&body?)?;
    Ok(Json(services.backend_services.update(&admin, thing.scope(&base(&reached)), &thing.name, new).await?))
}

/// `DELETE …/backendServices/NAME`
async fn remove(
    State(services): State<Arc<Services>>,
    Path(thing): Path<Thing>,
    Extension(reached): Extension<Reached>,
    credential: Credential,
) -> Answer<Operation> {
    let admin = services.admin(&credential).await?;
    Ok(Json(services.backend_services.delete(&admin, thing.scope(&base(&reached)), &thing.name).await?))
}

/// `GET …/operations/NAME` and `POST …/operations/NAME/wait`: every operation is done when it is answered, so nobody waits.
async fn operation(
    State(services): State<Arc<Services>>,
    Path(thing): Path<Thing>,
    Extension(reached): Extension<Reached>,
    credential: Credential,
) -> Answer<Operation> {
    let admin = services.admin(&credential).await?;
    Ok(Json(services.backend_services.operation(&admin, thing.scope(&base(&reached)), &thing.name).await?))
}
