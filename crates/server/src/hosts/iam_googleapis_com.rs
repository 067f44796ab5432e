//! `iam.googleapis.com`: service accounts, their keys, and the policies that say who may act as them; workload identity pools.
//!
//! Spec: <https://cloud.google.com/iam/docs/reference/rest/v1/projects.serviceAccounts>

mod workload_identity_pools;

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use base64::Engine as _;
use doorward_control::service_accounts::CreatedKey;
use doorward_core::account;
use doorward_wire::google_api::{
    CreateKeyRequest, CreateServiceAccountRequest, GetIamPolicyRequest, KeyFile, ListKeysResponse,
    ListServiceAccountsResponse, Policy, ServiceAccount, ServiceAccountKey, SetIamPolicyRequest, Status,
};
use doorward_wire::time::rfc3339;
use serde::Deserialize;

use super::{Body, Credential, Routes, Services, StrictJson, secret};
use crate::errors::google_api::ApiFailure;

pub(super) fn router() -> Routes {
    Routes::new()
        .route("/v1/projects/{project}/serviceAccounts", get(list).post(create))
        .route("/v1/projects/{project}/serviceAccounts/{account}", get(show).delete(remove).post(call))
        .route("/v1/projects/{project}/serviceAccounts/{account}/keys", get(list_keys).post(create_key))
        .route("/v1/projects/{project}/serviceAccounts/{account}/keys/{key}", delete(remove_key).post(call_key))
        .merge(workload_identity_pools::router())
}

type Answer<T> = Result<Json<T>, ApiFailure>;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ListQuery {
    page_size: Option<u32>,
    page_token: Option<String>,
}

/// `GET …/serviceAccounts?pageSize=&pageToken=`
async fn list(
    State(services): State<Arc<Services>>,
    Path(project): Path<String>,
    credential: Credential,
    query: Result<Query<ListQuery>, axum::extract::rejection::QueryRejection>,
) -> Answer<ListServiceAccountsResponse> {
    let administrator = services.administrator(&credential).await?;
    let Query(ListQuery { page_size, page_token }) =
        query.map_err(|error| ApiFailure::new(Status::InvalidArgument, error.body_text()))?;
    let page = services.service_accounts.list(&administrator, &project, page_size, page_token.as_deref()).await?;
    let accounts = page.accounts.iter().map(|account| shown(&services, account)).collect();
    Ok(Json(ListServiceAccountsResponse { accounts, next_page_token: page.next_page_token }))
}

/// `POST …/serviceAccounts`
async fn create(
    State(services): State<Arc<Services>>,
    Path(project): Path<String>,
    credential: Credential,
    body: Body,
) -> Answer<ServiceAccount> {
    let administrator = services.administrator(&credential).await?;
    let StrictJson(request) = StrictJson::<CreateServiceAccountRequest>::read(&body?)?;
    let account = services.service_accounts.create(&administrator, &project, request).await?;
    Ok(Json(shown(&services, &account)))
}

/// `GET …/serviceAccounts/EMAIL`
async fn show(
    State(services): State<Arc<Services>>,
    Path((project, account)): Path<(String, String)>,
    credential: Credential,
) -> Answer<ServiceAccount> {
    let administrator = services.administrator(&credential).await?;
    let account = services.service_accounts.get(&administrator, &project, &account).await?;
    Ok(Json(shown(&services, &account)))
}

/// `DELETE …/serviceAccounts/EMAIL`
async fn remove(
    State(services): State<Arc<Services>>,
    Path((project, account)): Path<(String, String)>,
    credential: Credential,
) -> Answer<serde_json::Value> {
    let administrator = services.administrator(&credential).await?;
    services.service_accounts.delete(&administrator, &project, &account).await?;
    Ok(Json(serde_json::json!({})))
}

/// `POST …/serviceAccounts/EMAIL:METHOD`. The method is what follows the last colon.
async fn call(
    State(services): State<Arc<Services>>,
    Path((project, call)): Path<(String, String)>,
    credential: Credential,
    body: Body,
) -> Response {
    let name = |account: &str| format!("projects/{project}/serviceAccounts/{account}");
    match call.rsplit_once(':') {
        Some((account, "getIamPolicy")) => {
            get_iam_policy(&services, &name(account), &credential, body).await.into_response()
        }
        Some((account, "setIamPolicy")) => {
            set_iam_policy(&services, &name(account), &credential, body).await.into_response()
        }
        Some((account, "disable")) => disable(&services, &project, account, &credential, true).await.into_response(),
        Some((account, "enable")) => disable(&services, &project, account, &credential, false).await.into_response(),
        _ => ApiFailure::no_such_method().into_response(),
    }
}

/// `POST …/serviceAccounts/EMAIL:disable`, `:enable`
async fn disable(
    services: &Services,
    project: &str,
    account: &str,
    credential: &Credential,
    disabled: bool,
) -> Answer<serde_json::Value> {
    let administrator = services.administrator(credential).await?;
    services.service_accounts.disable(&administrator, project, account, disabled).await?;
    Ok(Json(serde_json::json!({})))
}

/// `POST …/serviceAccounts/EMAIL:getIamPolicy?options.requestedPolicyVersion=`: who may act as the account. The version that is
/// asked for changes nothing: there are no conditions yet.
///
/// Spec: <https://cloud.google.com/iam/docs/reference/rest/v1/projects.serviceAccounts/getIamPolicy>
async fn get_iam_policy(services: &Services, name: &str, credential: &Credential, body: Body) -> Answer<Policy> {
    let administrator = services.administrator(credential).await?;
    let StrictJson(GetIamPolicyRequest {}) = StrictJson::read(&body?)?;
    Ok(Json(services.policies.get(&administrator, name).await?))
}

/// `POST …/serviceAccounts/EMAIL:setIamPolicy`
///
/// Spec: <https://cloud.google.com/iam/docs/reference/rest/v1/projects.serviceAccounts/setIamPolicy>
async fn set_iam_policy(services: &Services, name: &str, credential: &Credential, body: Body) -> Answer<Policy> {
    let administrator = services.administrator(credential).await?;
    let StrictJson(request) = StrictJson::<SetIamPolicyRequest>::read(&body?)?;
    Ok(Json(services.policies.replace(&administrator, name, request.policy).await?))
}

/// `GET …/serviceAccounts/EMAIL/keys`
async fn list_keys(
    State(services): State<Arc<Services>>,
    Path((project, account)): Path<(String, String)>,
    credential: Credential,
) -> Answer<ListKeysResponse> {
    let administrator = services.administrator(&credential).await?;
    let listed = services.service_accounts.list_keys(&administrator, &project, &account).await?;
    let keys = listed.keys.iter().map(|key| shown_key(&services, &listed.account, key, None)).collect();
    Ok(Json(ListKeysResponse { keys }))
}

/// `POST …/serviceAccounts/EMAIL/keys`: the only answer that ever holds the private key.
async fn create_key(
    State(services): State<Arc<Services>>,
    Path((project, account)): Path<(String, String)>,
    credential: Credential,
    body: Body,
) -> Result<Response, ApiFailure> {
    let administrator = services.administrator(&credential).await?;
    let StrictJson(request) = StrictJson::<CreateKeyRequest>::read(&body?)?;
    let CreatedKey { account, key, file } =
        services.service_accounts.create_key(&administrator, &project, &account, &request).await?;
    Ok(secret(Json(shown_key(&services, &account, &key, Some(&file)))))
}

/// `DELETE …/serviceAccounts/EMAIL/keys/KEY_ID`
async fn remove_key(
    State(services): State<Arc<Services>>,
    Path((project, account, key)): Path<(String, String, String)>,
    credential: Credential,
) -> Answer<serde_json::Value> {
    let administrator = services.administrator(&credential).await?;
    services.service_accounts.delete_key(&administrator, &project, &account, &key).await?;
    Ok(Json(serde_json::json!({})))
}

/// `POST …/serviceAccounts/EMAIL/keys/KEY_ID:disable`, `:enable`
async fn call_key(
    State(services): State<Arc<Services>>,
    Path((project, account, call)): Path<(String, String, String)>,
    credential: Credential,
) -> Answer<serde_json::Value> {
    let (key, disabled) = match call.rsplit_once(':') {
        Some((key, "disable")) => (key, true),
        Some((key, "enable")) => (key, false),
        _ => return Err(ApiFailure::no_such_method()),
    };
    let administrator = services.administrator(&credential).await?;
    services.service_accounts.disable_key(&administrator, &project, (&account, key), disabled).await?;
    Ok(Json(serde_json::json!({})))
}

fn shown(services: &Services, account: &account::ServiceAccount) -> ServiceAccount {
    let project_id = services.snapshots.current().project.id.clone();
    ServiceAccount {
        name: format!("projects/{project_id}/serviceAccounts/{}", account.email),
        project_id,
        unique_id: account.unique_id.0.clone(),
        email: account.email.to_string(),
        display_name: account.display_name.clone(),
        description: account.description.clone(),
        oauth2_client_id: account.unique_id.0.clone(),
        disabled: account.disabled,
    }
}

fn shown_key(
    services: &Services,
    account: &account::ServiceAccount,
    key: &account::ServiceAccountKey,
    file: Option<&KeyFile>,
) -> ServiceAccountKey {
    let project_id = &services.snapshots.current().project.id;
    // Serialising a struct of strings to memory cannot fail.
    let file = file.and_then(|file| serde_json::to_vec_pretty(file).ok());
    ServiceAccountKey {
        name: format!("projects/{project_id}/serviceAccounts/{}/keys/{}", account.email, key.id),
        private_key_type: file.as_ref().map(|_| "TYPE_GOOGLE_CREDENTIALS_FILE".to_owned()),
        private_key_data: file.map(|json| base64::engine::general_purpose::STANDARD.encode(json)),
        key_algorithm: "KEY_ALG_RSA_2048".to_owned(),
        valid_after_time: rfc3339(key.created.seconds()),
        // Google's keys without an end carry this time.
        valid_before_time: "9999-12-31T23:59:59Z".to_owned(),
        key_origin: "GOOGLE_PROVIDED".to_owned(),
        key_type: if key.managed { "SYSTEM_MANAGED" } else { "USER_MANAGED" }.to_owned(),
        disabled: key.disabled,
    }
}
