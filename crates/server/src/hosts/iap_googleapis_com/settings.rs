//! Settings of resources.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use doorward_wire::google_api::IapSettings;
use doorward_wire::google_api::iap_admin::{
    UpdateQuery, ValidateAttributeExpressionQuery, ValidateAttributeExpressionResponse,
};
use http::Uri;

use crate::errors::google_api::ApiFailure;
use crate::hosts::policies::Sent;
use crate::hosts::{Answer, Asked, Body, Credential, Services, StrictJson, asked};

/// `GET /v1/{name=**}:iapSettings`
///
/// Spec: <https://cloud.google.com/iap/docs/reference/rest/v1/TopLevel/getIapSettings>
pub(super) async fn show(
    State(services): State<Arc<Services>>,
    Path(name): Path<String>,
    credential: Credential,
) -> Answer<IapSettings> {
    let Some(resource) = name.strip_suffix(":iapSettings") else {
        return Err(ApiFailure::no_such_method());
    };
    let admin = services.admin(&credential).await?;
    Ok(Json(services.settings.get(&admin, resource).await?))
}

/// `PATCH /v1/{name=**}:iapSettings?updateMask=`
///
/// Spec: <https://cloud.google.com/iap/docs/reference/rest/v1/TopLevel/updateIapSettings>
pub(super) async fn update(
    State(services): State<Arc<Services>>,
    Path(name): Path<String>,
    credential: Credential,
    query: Asked<UpdateQuery>,
    body: Body,
) -> Answer<IapSettings> {
    let Some(resource) = name.strip_suffix(":iapSettings") else {
        return Err(ApiFailure::no_such_method());
    };
    let admin = services.admin(&credential).await?;
    let UpdateQuery { update_mask } = asked(query)?;
    let StrictJson(settings) = StrictJson::<IapSettings>::read(&body?)?;
    Ok(Json(services.settings.update(&admin, resource, settings, Some(&update_mask)).await?))
}

/// `POST /v1/{name=**}:validateAttributeExpression?expression=`
///
/// Spec: <https://cloud.google.com/iap/docs/reference/rest/v1/TopLevel/validateAttributeExpression>
pub(super) async fn validate_expression(
    services: &Services,
    resource: &str,
    sent: Sent,
    uri: &Uri,
) -> Answer<ValidateAttributeExpressionResponse> {
    let admin = services.admin(&sent.credential).await?;
    let ValidateAttributeExpressionQuery { expression } = asked(Query::try_from_uri(uri))?;
    services.settings.validate_expression(&admin, resource, &expression).await?;
    Ok(Json(ValidateAttributeExpressionResponse {}))
}
