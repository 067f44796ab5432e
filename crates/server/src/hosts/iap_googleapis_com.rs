//! `iap.googleapis.com`: policies and settings of resources, the brand and its OAuth clients, tunnel destination groups.
//!
//! Spec: <https://cloud.google.com/iap/docs/reference/rest>

mod brands;
mod dest_groups;
mod settings;

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::Uri;

use super::policies::{self, Sent};
use super::{Routes, Services};
use crate::errors::google_api::ApiFailure;

pub(super) fn router() -> Routes {
    Routes::new()
        .route("/v1/{*name}", get(settings::show).patch(settings::update).post(call))
        .merge(brands::router())
        .merge(dest_groups::router())
}

/// `POST /v1/{resource=**}:METHOD`. A resource's name has slashes, so the method is what follows the last colon.
async fn call(State(services): State<Arc<Services>>, Path(name): Path<String>, uri: Uri, sent: Sent) -> Response {
    match name.rsplit_once(':') {
        Some((resource, "validateAttributeExpression")) => {
            settings::validate_expression(&services, resource, sent, &uri).await.into_response()
        }
        Some((resource, method)) => policies::call(&services, resource, method, sent).await,
        None => ApiFailure::no_such_method().into_response(),
    }
}
