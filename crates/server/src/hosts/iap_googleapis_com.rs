//! `iap.googleapis.com`: policies and settings of resources, the brand and its OAuth clients.
//!
//! Spec: <https://cloud.google.com/iap/docs/reference/rest>

mod brands;
mod settings;

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use doorward_wire::google_api::Status;
use http::Uri;

use super::policies::{self, Sent};
use super::{Credential, Routes, Services};
use crate::errors::google_api::ApiFailure;

/// What is said of the destination groups of tunnels, which have policies and nothing else yet.
const NO_TUNNELS: &str = "Tunnels are not served yet, so there are no destination groups to make, change or list. \
                          Policies of tunnel resources are: use getIamPolicy and setIamPolicy. Nothing was changed.";

pub(super) fn router() -> Routes {
    Routes::new()
        .route("/v1/{*name}", get(settings::show).patch(settings::update).post(call).delete(elsewhere))
        .merge(brands::router())
}

/// `POST /v1/{resource=**}:METHOD`. A resource's name has slashes, so the method is what follows the last colon.
async fn call(State(services): State<Arc<Services>>, Path(name): Path<String>, uri: Uri, sent: Sent) -> Response {
    match name.rsplit_once(':') {
        Some((resource, "validateAttributeExpression")) => {
            settings::validate_expression(&services, resource, sent, &uri).await.into_response()
        }
        Some((resource, method)) => policies::call(&services, resource, method, sent).await,
        None => not_here(&services, &name, &sent.credential).await.into_response(),
    }
}

/// `DELETE` of what is not served.
async fn elsewhere(
    State(services): State<Arc<Services>>,
    Path(name): Path<String>,
    credential: Credential,
) -> ApiFailure {
    not_here(&services, &name, &credential).await
}

/// Why there is no method for a name: it is one of Google's that is not served, or of nobody's.
async fn not_here(services: &Services, name: &str, credential: &Credential) -> ApiFailure {
    if !is_destination_group(name) {
        return ApiFailure::no_such_method();
    }
    match services.admin(credential).await {
        Ok(_) => ApiFailure::new(Status::Unimplemented, NO_TUNNELS),
        Err(refused) => refused,
    }
}

/// `projects/P/iap_tunnel/locations/L/destGroups`, or a group in it.
fn is_destination_group(name: &str) -> bool {
    let segments: Vec<&str> = name.split('/').collect();
    matches!(segments.as_slice(), ["projects", _, "iap_tunnel", "locations", _, "destGroups"])
        || matches!(segments.as_slice(), ["projects", _, "iap_tunnel", "locations", _, "destGroups", _])
}
