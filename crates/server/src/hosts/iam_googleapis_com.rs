//! `iam.googleapis.com`: service accounts, their keys, and the policies that say who may act as them; roles; workload identity pools;
//! and, in version 2, deny policies.
//!
//! Spec: <https://cloud.google.com/iam/docs/reference/rest/v1/projects.serviceAccounts>

mod deny_policies;
mod roles;
mod workload_identity_pools;

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine as _;
use doorward_control::service_accounts::CreatedKey;
use doorward_core::account;
use doorward_wire::google_api::{
    CreateKeyRequest, CreateServiceAccountRequest, GetKeyQuery, KeyFile, ListKeysResponse, ListServiceAccountsResponse,
    NewServiceAccount, PatchServiceAccountRequest, PublicKeyType, ServiceAccount, ServiceAccountKey, Status,
};
use doorward_wire::jose::VerifyingKey;
use doorward_wire::time::rfc3339;
use serde::Deserialize;

use super::policies::{self, Sent};
use super::{Answer, Asked, Body, Credential, Routes, Services, StrictJson, asked, nothing, secret};
use crate::errors::google_api::ApiFailure;

/// What is said to whoever wants a deleted account back.
const GONE: &str = "A deleted service account is gone with its keys and its bindings, and cannot be brought back. Make another one; \
                    to keep an account and stop its use, disable it.";

pub(super) fn router() -> Routes {
    Routes::new()
        .route("/v1/projects/{project}/serviceAccounts", get(list).post(create))
        .route(
            "/v1/projects/{project}/serviceAccounts/{account}",
            get(show).patch(patch).put(update).delete(remove).post(call),
        )
        .route("/v1/projects/{project}/serviceAccounts/{account}/keys", get(list_keys).post(create_key))
        .route(
            "/v1/projects/{project}/serviceAccounts/{account}/keys/{key}",
            get(show_key).delete(remove_key).post(call_key),
        )
        .merge(deny_policies::router())
        .merge(roles::router())
        .merge(workload_identity_pools::router())
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ListQuery {
    #[serde(alias = "page_size")]
    page_size: Option<u32>,
    #[serde(alias = "page_token")]
    page_token: Option<String>,
}

/// `GET …/serviceAccounts?pageSize=&pageToken=`
async fn list(
    State(services): State<Arc<Services>>,
    Path(project): Path<String>,
    credential: Credential,
    query: Asked<ListQuery>,
) -> Answer<ListServiceAccountsResponse> {
    let admin = services.admin(&credential).await?;
    let ListQuery { page_size, page_token } = asked(query)?;
    let page = services.service_accounts.list(&admin, &project, page_size, page_token.as_deref()).await?;
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
    let admin = services.admin(&credential).await?;
    let StrictJson(request) = StrictJson::<CreateServiceAccountRequest>::read(&body?)?;
    let account = services.service_accounts.create(&admin, &project, request).await?;
    Ok(Json(shown(&services, &account)))
}

/// `GET …/serviceAccounts/EMAIL`
async fn show(
    State(services): State<Arc<Services>>,
    Path((project, account)): Path<(String, String)>,
    credential: Credential,
) -> Answer<ServiceAccount> {
    let admin = services.admin(&credential).await?;
    let account = services.service_accounts.get(&admin, &project, &account).await?;
    Ok(Json(shown(&services, &account)))
}

/// `PATCH …/serviceAccounts/EMAIL`
async fn patch(
    State(services): State<Arc<Services>>,
    Path((project, account)): Path<(String, String)>,
    credential: Credential,
    body: Body,
) -> Answer<ServiceAccount> {
    let admin = services.admin(&credential).await?;
    let StrictJson(request) = StrictJson::<PatchServiceAccountRequest>::read(&body?)?;
    let account = services.service_accounts.patch(&admin, &project, &account, request).await?;
    Ok(Json(shown(&services, &account)))
}

/// `PUT …/serviceAccounts/EMAIL`
async fn update(
    State(services): State<Arc<Services>>,
    Path((project, account)): Path<(String, String)>,
    credential: Credential,
    body: Body,
) -> Answer<ServiceAccount> {
    let admin = services.admin(&credential).await?;
    let StrictJson(given) = StrictJson::<NewServiceAccount>::read(&body?)?;
    let account = services.service_accounts.update(&admin, &project, &account, given).await?;
    Ok(Json(shown(&services, &account)))
}

/// `DELETE …/serviceAccounts/EMAIL`
async fn remove(
    State(services): State<Arc<Services>>,
    Path((project, account)): Path<(String, String)>,
    credential: Credential,
) -> Answer<serde_json::Value> {
    let admin = services.admin(&credential).await?;
    services.service_accounts.delete(&admin, &project, &account).await?;
    Ok(nothing())
}

/// `POST …/serviceAccounts/EMAIL:METHOD`. The method is what follows the last colon.
async fn call(
    State(services): State<Arc<Services>>,
    Path((project, call)): Path<(String, String)>,
    sent: Sent,
) -> Response {
    match call.rsplit_once(':') {
        Some((account, "disable")) => {
            disable(&services, &project, account, &sent.credential, true).await.into_response()
        }
        Some((account, "enable")) => {
            disable(&services, &project, account, &sent.credential, false).await.into_response()
        }
        Some((_, "undelete")) => undelete(&services, &sent.credential).await.into_response(),
        Some((account, method)) => {
            let name = format!("projects/{project}/serviceAccounts/{account}");
            policies::call(&services, &name, method, sent).await
        }
        None => ApiFailure::no_such_method().into_response(),
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
    let admin = services.admin(credential).await?;
    services.service_accounts.disable(&admin, project, account, disabled).await?;
    Ok(nothing())
}

/// `POST …/serviceAccounts/NUMBER:undelete`, which nothing can do here.
async fn undelete(services: &Services, credential: &Credential) -> ApiFailure {
    match services.admin(credential).await {
        Ok(_) => ApiFailure::new(Status::Unimplemented, GONE),
        Err(refused) => refused,
    }
}

/// `GET …/serviceAccounts/EMAIL/keys`
async fn list_keys(
    State(services): State<Arc<Services>>,
    Path((project, account)): Path<(String, String)>,
    credential: Credential,
) -> Answer<ListKeysResponse> {
    let admin = services.admin(&credential).await?;
    let listed = services.service_accounts.list_keys(&admin, &project, &account).await?;
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
    let admin = services.admin(&credential).await?;
    let StrictJson(request) = StrictJson::<CreateKeyRequest>::read(&body?)?;
    let CreatedKey { account, key, file } =
        services.service_accounts.create_key(&admin, &project, &account, &request).await?;
    Ok(secret(Json(shown_key(&services, &account, &key, Some(&file)))))
}

/// `GET …/serviceAccounts/EMAIL/keys/KEY_ID?publicKeyType=`
async fn show_key(
    State(services): State<Arc<Services>>,
    Path((project, account, key)): Path<(String, String, String)>,
    credential: Credential,
    query: Asked<GetKeyQuery>,
) -> Answer<ServiceAccountKey> {
    let admin = services.admin(&credential).await?;
    let GetKeyQuery { public_key_type } = asked(query)?;
    let (account, key) = services.service_accounts.get_key(&admin, &project, &account, &key).await?;
    let public = match public_key_type {
        PublicKeyType::None => None,
        PublicKeyType::X509PemFile => {
            let certified = services.certificates.of(account.email.as_str(), [&key.public])?;
            certified.into_values().next().map(|certificate| certificate.0)
        }
        PublicKeyType::RawPublicKey => {
            let key = VerifyingKey::from_jwk(&key.public).and_then(|key| key.to_pem());
            Some(key.map_err(|error| ApiFailure::internal(&error))?.as_str().to_owned())
        }
    };
    let public_key_data = public.map(|pem| base64::engine::general_purpose::STANDARD.encode(pem));
    Ok(Json(ServiceAccountKey { public_key_data, ..shown_key(&services, &account, &key, None) }))
}

/// `DELETE …/serviceAccounts/EMAIL/keys/KEY_ID`
async fn remove_key(
    State(services): State<Arc<Services>>,
    Path((project, account, key)): Path<(String, String, String)>,
    credential: Credential,
) -> Answer<serde_json::Value> {
    let admin = services.admin(&credential).await?;
    services.service_accounts.delete_key(&admin, &project, &account, &key).await?;
    Ok(nothing())
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
    let admin = services.admin(&credential).await?;
    services.service_accounts.disable_key(&admin, &project, (&account, key), disabled).await?;
    Ok(nothing())
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
        public_key_data: None,
        key_algorithm: "KEY_ALG_RSA_2048".to_owned(),
        valid_after_time: rfc3339(key.created.seconds()),
        // Google's keys without an end carry this time.
        valid_before_time: "9999-12-31T23:59:59Z".to_owned(),
        key_origin: "GOOGLE_PROVIDED".to_owned(),
        key_type: if key.managed { "SYSTEM_MANAGED" } else { "USER_MANAGED" }.to_owned(),
        disabled: key.disabled,
    }
}
