//! The brand of the project, and the OAuth clients under it.
//!
//! Spec: <https://cloud.google.com/iap/docs/reference/rest/v1/projects.brands>

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use doorward_control::brands::ClientPath;
use doorward_wire::google_api::iap_admin::{
    Brand, IdentityAwareProxyClient, ListBrandsResponse, ListIdentityAwareProxyClientsResponse, PageQuery,
    ResetIdentityAwareProxyClientSecretRequest,
};
use serde_json::Value;

use crate::errors::google_api::ApiFailure;
use crate::hosts::{Answer, Asked, Body, Credential, Routes, Services, StrictJson, asked, nothing, secret};

pub(super) fn router() -> Routes {
    const BRANDS: &str = "/v1/projects/{project}/brands";
    const CLIENTS: &str = "/v1/projects/{project}/brands/{brand}/identityAwareProxyClients";
    Routes::new()
        .route(BRANDS, get(list).post(create))
        .route(&format!("{BRANDS}/{{brand}}"), get(show))
        .route(CLIENTS, get(list_clients).post(create_client))
        .route(&format!("{CLIENTS}/{{client}}"), get(show_client).delete(remove_client).post(call_client))
}

/// `GET …/brands`
async fn list(
    State(services): State<Arc<Services>>,
    Path(project): Path<String>,
    credential: Credential,
) -> Answer<ListBrandsResponse> {
    let admin = services.admin(&credential).await?;
    Ok(Json(services.brands.list(&admin, &project).await?))
}

/// `POST …/brands`
async fn create(
    State(services): State<Arc<Services>>,
    Path(project): Path<String>,
    credential: Credential,
    body: Body,
) -> Answer<Brand> {
    let admin = services.admin(&credential).await?;
    let StrictJson(new) = StrictJson::<Brand>::read(&body?)?;
    Ok(Json(services.brands.create(&admin, &project, new).await?))
}

/// `GET …/brands/BRAND`
async fn show(
    State(services): State<Arc<Services>>,
    Path((project, brand)): Path<(String, String)>,
    credential: Credential,
) -> Answer<Brand> {
    let admin = services.admin(&credential).await?;
    Ok(Json(services.brands.get(&admin, &project, &brand).await?))
}

/// `GET …/identityAwareProxyClients?pageSize=&pageToken=`
async fn list_clients(
    State(services): State<Arc<Services>>,
    Path((project, brand)): Path<(String, String)>,
    credential: Credential,
    query: Asked<PageQuery>,
) -> Answer<ListIdentityAwareProxyClientsResponse> {
    let admin = services.admin(&credential).await?;
    Ok(Json(services.brands.clients(&admin, &project, &brand, &asked(query)?).await?))
}

/// `POST …/identityAwareProxyClients`: one of the two answers that hold the secret.
async fn create_client(
    State(services): State<Arc<Services>>,
    Path((project, brand)): Path<(String, String)>,
    credential: Credential,
    body: Body,
) -> Result<Response, ApiFailure> {
    let admin = services.admin(&credential).await?;
    let StrictJson(new) = StrictJson::<IdentityAwareProxyClient>::read(&body?)?;
    Ok(secret(Json(services.brands.create_client(&admin, &project, &brand, &new.display_name).await?)))
}

/// `GET …/identityAwareProxyClients/ID`
async fn show_client(
    State(services): State<Arc<Services>>,
    Path((project, brand, client)): Path<(String, String, String)>,
    credential: Credential,
) -> Answer<IdentityAwareProxyClient> {
    let admin = services.admin(&credential).await?;
    let at = ClientPath { project: &project, brand: &brand, client: &client };
    Ok(Json(services.brands.client(&admin, at).await?))
}

/// `DELETE …/identityAwareProxyClients/ID`
async fn remove_client(
    State(services): State<Arc<Services>>,
    Path((project, brand, client)): Path<(String, String, String)>,
    credential: Credential,
) -> Answer<Value> {
    let admin = services.admin(&credential).await?;
    services.brands.delete_client(&admin, ClientPath { project: &project, brand: &brand, client: &client }).await?;
    Ok(nothing())
}

/// `POST …/identityAwareProxyClients/ID:resetSecret`: the other answer that holds the secret.
async fn call_client(
    State(services): State<Arc<Services>>,
    Path((project, brand, call)): Path<(String, String, String)>,
    credential: Credential,
    body: Body,
) -> Result<Response, ApiFailure> {
    let client = call.strip_suffix(":resetSecret").ok_or_else(ApiFailure::no_such_method)?;
    let admin = services.admin(&credential).await?;
    let StrictJson(ResetIdentityAwareProxyClientSecretRequest {}) = StrictJson::read(&body?)?;
    let at = ClientPath { project: &project, brand: &brand, client };
    Ok(secret(Json(services.brands.reset_secret(&admin, at).await?)))
}
