//! `iam.googleapis.com`: workload identity pools and their providers.
//!
//! Changes are answered as operations that are done (<https://google.aip.dev/151>): whoever waits for one finds that out at once.
//! Lists are answered whole, whatever page size is asked for.
//!
//! Spec: <https://cloud.google.com/iam/docs/reference/rest/v1/projects.locations.workloadIdentityPools>

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::routing::get;
use doorward_control::admin::Admin;
use doorward_control::workload_identity::WorkloadIdentityError;
use doorward_wire::google_api::{
    ListPoolsResponse, ListProvidersResponse, Operation, Status, WorkloadIdentityPool, WorkloadIdentityPoolProvider,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::errors::google_api::ApiFailure;
use crate::hosts::{Answer, Asked, Body, Credential, Routes, Services, StrictJson, asked};

/// The id of every operation: each is done when it is answered, so there is nothing to tell them apart by.
const DONE: &str = "done";

pub(super) fn router() -> Routes {
    const POOLS: &str = "/v1/projects/{project}/locations/global/workloadIdentityPools";
    Routes::new()
        .route(POOLS, get(list_pools).post(create_pool))
        .route(&format!("{POOLS}/{{pool}}"), get(show_pool).patch(update_pool).delete(delete_pool))
        .route(&format!("{POOLS}/{{pool}}/operations/{{operation}}"), get(pool_operation))
        .route(&format!("{POOLS}/{{pool}}/providers"), get(list_providers).post(create_provider))
        .route(
            &format!("{POOLS}/{{pool}}/providers/{{provider}}"),
            get(show_provider).patch(update_provider).delete(delete_provider),
        )
        .route(&format!("{POOLS}/{{pool}}/providers/{{provider}}/operations/{{operation}}"), get(provider_operation))
}

type Parsed = Asked<ChangeQuery>;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ChangeQuery {
    #[serde(alias = "workload_identity_pool_id")]
    workload_identity_pool_id: Option<String>,
    #[serde(alias = "workload_identity_pool_provider_id")]
    workload_identity_pool_provider_id: Option<String>,
    #[serde(alias = "update_mask")]
    update_mask: Option<String>,
}

/// `GET …/workloadIdentityPools`
async fn list_pools(
    State(services): State<Arc<Services>>,
    Path(project): Path<String>,
    credential: Credential,
) -> Answer<ListPoolsResponse> {
    let admin = services.admin(&credential).await?;
    let workload_identity_pools = services.workload_identity.pools(&admin, &project).await?;
    Ok(Json(ListPoolsResponse { workload_identity_pools }))
}

/// `POST …/workloadIdentityPools?workloadIdentityPoolId=`
async fn create_pool(
    State(services): State<Arc<Services>>,
    Path(project): Path<String>,
    credential: Credential,
    query: Parsed,
    body: Body,
) -> Answer<Operation> {
    let (admin, query, given) = admit(&services, &credential, query, body).await?;
    let id = query.workload_identity_pool_id.unwrap_or_default();
    let pool = services.workload_identity.create_pool(&admin, &project, &id, given).await?;
    Ok(pool_is_done(&pool))
}

/// `GET …/workloadIdentityPools/POOL`
async fn show_pool(
    State(services): State<Arc<Services>>,
    Path((project, pool)): Path<(String, String)>,
    credential: Credential,
) -> Answer<WorkloadIdentityPool> {
    let admin = services.admin(&credential).await?;
    Ok(Json(services.workload_identity.pool(&admin, &project, &pool).await?))
}

/// `PATCH …/workloadIdentityPools/POOL?updateMask=`
async fn update_pool(
    State(services): State<Arc<Services>>,
    Path((project, pool)): Path<(String, String)>,
    credential: Credential,
    query: Parsed,
    body: Body,
) -> Answer<Operation> {
    let (admin, query, given) = admit(&services, &credential, query, body).await?;
    let mask = query.update_mask.as_deref();
    let pool = services.workload_identity.update_pool(&admin, &project, &pool, given, mask).await?;
    Ok(pool_is_done(&pool))
}

/// `DELETE …/workloadIdentityPools/POOL`
async fn delete_pool(
    State(services): State<Arc<Services>>,
    Path((project, pool)): Path<(String, String)>,
    credential: Credential,
) -> Answer<Operation> {
    let admin = services.admin(&credential).await?;
    let pool = services.workload_identity.delete_pool(&admin, &project, &pool).await?;
    Ok(pool_is_done(&pool))
}

/// `GET …/workloadIdentityPools/POOL/operations/ID`
async fn pool_operation(
    State(services): State<Arc<Services>>,
    Path((project, pool, operation)): Path<(String, String, String)>,
    credential: Credential,
) -> Answer<Operation> {
    let admin = services.admin(&credential).await?;
    or_gone(services.workload_identity.pool(&admin, &project, &pool).await)?;
    shown_operation(&format!("projects/{project}/locations/global/workloadIdentityPools/{pool}"), &operation)
}

/// `GET …/workloadIdentityPools/POOL/providers`
async fn list_providers(
    State(services): State<Arc<Services>>,
    Path((project, pool)): Path<(String, String)>,
    credential: Credential,
) -> Answer<ListProvidersResponse> {
    let admin = services.admin(&credential).await?;
    let providers = services.workload_identity.providers(&admin, &project, &pool).await?;
    Ok(Json(ListProvidersResponse { workload_identity_pool_providers: providers }))
}

/// `POST …/workloadIdentityPools/POOL/providers?workloadIdentityPoolProviderId=`
async fn create_provider(
    State(services): State<Arc<Services>>,
    Path((project, pool)): Path<(String, String)>,
    credential: Credential,
    query: Parsed,
    body: Body,
) -> Answer<Operation> {
    let (admin, query, given) = admit(&services, &credential, query, body).await?;
    let name = (pool.as_str(), query.workload_identity_pool_provider_id.as_deref().unwrap_or_default());
    let provider = services.workload_identity.create_provider(&admin, &project, name, given).await?;
    Ok(provider_is_done(&provider))
}

/// `GET …/workloadIdentityPools/POOL/providers/PROVIDER`
async fn show_provider(
    State(services): State<Arc<Services>>,
    Path((project, pool, provider)): Path<(String, String, String)>,
    credential: Credential,
) -> Answer<WorkloadIdentityPoolProvider> {
    let admin = services.admin(&credential).await?;
    Ok(Json(services.workload_identity.provider(&admin, &project, (&pool, &provider)).await?))
}

/// `PATCH …/workloadIdentityPools/POOL/providers/PROVIDER?updateMask=`
async fn update_provider(
    State(services): State<Arc<Services>>,
    Path((project, pool, provider)): Path<(String, String, String)>,
    credential: Credential,
    query: Parsed,
    body: Body,
) -> Answer<Operation> {
    let (admin, query, given) = admit(&services, &credential, query, body).await?;
    let (name, mask) = ((pool.as_str(), provider.as_str()), query.update_mask.as_deref());
    let provider = services.workload_identity.update_provider(&admin, &project, name, given, mask).await?;
    Ok(provider_is_done(&provider))
}

/// `DELETE …/workloadIdentityPools/POOL/providers/PROVIDER`
async fn delete_provider(
    State(services): State<Arc<Services>>,
    Path((project, pool, provider)): Path<(String, String, String)>,
    credential: Credential,
) -> Answer<Operation> {
    let admin = services.admin(&credential).await?;
    let provider = services.workload_identity.delete_provider(&admin, &project, (&pool, &provider)).await?;
    Ok(provider_is_done(&provider))
}

/// `GET …/workloadIdentityPools/POOL/providers/PROVIDER/operations/ID`
async fn provider_operation(
    State(services): State<Arc<Services>>,
    Path((project, pool, provider, operation)): Path<(String, String, String, String)>,
    credential: Credential,
) -> Answer<Operation> {
    let admin = services.admin(&credential).await?;
    or_gone(services.workload_identity.provider(&admin, &project, (&pool, &provider)).await)?;
    let pool = format!("projects/{project}/locations/global/workloadIdentityPools/{pool}");
    shown_operation(&format!("{pool}/providers/{provider}"), &operation)
}

/// Proves the caller, and only then reads what is to be changed.
async fn admit<T: DeserializeOwned + Named>(
    services: &Services,
    credential: &Credential,
    query: Parsed,
    body: Body,
) -> Result<(Admin, ChangeQuery, T), ApiFailure> {
    let admin = services.admin(credential).await?;
    let query = asked(query)?;
    let body = body?;
    let StrictJson(fields) = StrictJson::<Map<String, Value>>::read(&body)?;
    all_known(&fields, T::FIELDS)?;
    if let Some(Value::Object(oidc)) = fields.get("oidc") {
        all_known(oidc, &OIDC_FIELDS)?;
    }
    let StrictJson(given) = StrictJson::read(&body)?;
    Ok((admin, query, given))
}

/// A message whose fields are all known by name: a condition with a mistake in its name must not be no condition.
trait Named {
    /// In the spelling of JSON.
    const FIELDS: &'static [&'static str];
}

impl Named for WorkloadIdentityPool {
    const FIELDS: &'static [&'static str] = &["name", "displayName", "description", "state", "disabled"];
}

impl Named for WorkloadIdentityPoolProvider {
    const FIELDS: &'static [&'static str] = &[
        "name",
        "displayName",
        "description",
        "state",
        "disabled",
        "attributeMapping",
        "attributeCondition",
        "oidc",
        // Known so that what is said of them is that they are not served.
        "aws",
        "saml",
        "x509",
    ];
}

const OIDC_FIELDS: [&str; 4] = ["issuerUri", "allowedAudiences", "jwksJson", "insecureLoopback"];

/// Refuses a name that no field has, in the words of Google's front end. Names of protocol buffers are taken as well.
fn all_known(given: &Map<String, Value>, fields: &[&str]) -> Result<(), ApiFailure> {
    let is_known = |name: &str| fields.iter().any(|field| *field == name || snake_case(field) == name);
    match given.keys().find(|name| !is_known(name)) {
        None => Ok(()),
        Some(name) => {
            let message = format!("Invalid JSON payload received. Unknown name {name:?}: Cannot find field.");
            Err(ApiFailure::new(Status::InvalidArgument, message))
        }
    }
}

fn snake_case(field: &str) -> String {
    let mut name = String::with_capacity(field.len() + 2);
    for letter in field.chars() {
        if letter.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}

fn pool_is_done(pool: &WorkloadIdentityPool) -> Json<Operation> {
    done(&pool.name, "google.iam.v1.WorkloadIdentityPool", pool)
}

fn provider_is_done(provider: &WorkloadIdentityPoolProvider) -> Json<Operation> {
    done(&provider.name, "google.iam.v1.WorkloadIdentityPoolProvider", provider)
}

/// The operation that made this of the resource.
fn done(resource: &str, kind: &str, made: &impl Serialize) -> Json<Operation> {
    // Serialising a struct of strings to memory cannot fail.
    let mut response = serde_json::to_value(made).unwrap_or_default();
    if let Value::Object(fields) = &mut response {
        fields.insert("@type".to_owned(), format!("type.googleapis.com/{kind}").into());
    }
    Json(Operation { name: format!("{resource}/operations/{DONE}"), done: true, response })
}

/// Who may see what an operation was about may see the operation; what it removed is not there.
fn or_gone<T>(found: Result<T, WorkloadIdentityError>) -> Result<(), WorkloadIdentityError> {
    match found {
        Ok(_) | Err(WorkloadIdentityError::NotFound(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// An operation that is asked for later: Google's answer does not say again what was made.
fn shown_operation(resource: &str, operation: &str) -> Answer<Operation> {
    if operation != DONE {
        return Err(ApiFailure::new(Status::NotFound, "Requested entity was not found."));
    }
    let response = json!({"@type": "type.googleapis.com/google.protobuf.Empty"});
    Ok(Json(Operation { name: format!("{resource}/operations/{DONE}"), done: true, response }))
}
