//! OAuth clients, for which Google has no public method.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use doorward_control::oauth_clients::{CreatedClient, KindError};
use doorward_core::client::{ClientKind, OAuthClient};
use doorward_wire::doorward_api::{ListOAuthClientsResponse, OAuthClientResource};
use doorward_wire::time::rfc3339;

use crate::errors::google_api::ApiFailure;
use crate::hosts::{Body, Credential, Routes, Services, StrictJson, secret};

pub(super) fn router() -> Routes {
    Routes::new()
        .route("/v1/oauthClients", get(list).post(create))
        .route("/v1/oauthClients/{client}", get(show).delete(remove).post(call))
}

/// `GET /v1/oauthClients`
async fn list(
    State(services): State<Arc<Services>>,
    credential: Credential,
) -> Result<Json<ListOAuthClientsResponse>, ApiFailure> {
    let admin = services.admin(&credential).await?;
    let clients = services.oauth_clients.list(&admin).await?;
    Ok(Json(ListOAuthClientsResponse { oauth_clients: clients.into_iter().map(shown).collect() }))
}

/// `POST /v1/oauthClients`: one of the two answers that hold the secret.
async fn create(
    State(services): State<Arc<Services>>,
    credential: Credential,
    body: Body,
) -> Result<Response, ApiFailure> {
    let admin = services.admin(&credential).await?;
    let StrictJson(asked) = StrictJson::<OAuthClientResource>::read(&body?)?;
    let display_name = asked.display_name.clone();
    let created = services.oauth_clients.create(&admin, &display_name, kind(asked)).await?;
    Ok(secret(Json(created_resource(created))))
}

/// `GET /v1/oauthClients/ID`
async fn show(
    State(services): State<Arc<Services>>,
    Path(client): Path<String>,
    credential: Credential,
) -> Result<Json<OAuthClientResource>, ApiFailure> {
    let admin = services.admin(&credential).await?;
    Ok(Json(shown(services.oauth_clients.get(&admin, &client).await?)))
}

/// `DELETE /v1/oauthClients/ID`
async fn remove(
    State(services): State<Arc<Services>>,
    Path(client): Path<String>,
    credential: Credential,
) -> Result<Json<serde_json::Value>, ApiFailure> {
    let admin = services.admin(&credential).await?;
    services.oauth_clients.delete(&admin, &client).await?;
    Ok(Json(serde_json::json!({})))
}

/// `POST /v1/oauthClients/ID:resetSecret`: the other answer that holds the secret.
async fn call(
    State(services): State<Arc<Services>>,
    Path(call): Path<String>,
    credential: Credential,
) -> Result<Response, ApiFailure> {
    let admin = services.admin(&credential).await?;
    let client = call.strip_suffix(":resetSecret").ok_or_else(ApiFailure::no_such_method)?;
    Ok(secret(Json(created_resource(services.oauth_clients.reset_secret(&admin, client).await?))))
}

/// The kind of client that is asked for.
fn kind(asked: OAuthClientResource) -> Result<ClientKind, KindError> {
    let OAuthClientResource {
        client_id,
        client_secret,
        display_name: _,
        kind,
        redirect_uris,
        package_name,
        sha1,
        bundle_id,
        project_number,
        create_time,
    } = asked;
    if client_secret.is_some() || [client_id, project_number, create_time].iter().any(|it| !it.is_empty()) {
        return Err(KindError::Ours);
    }
    match (kind.as_str(), redirect_uris.is_empty(), package_name, sha1, bundle_id) {
        ("web", _, None, None, None) => Ok(ClientKind::Web { redirect_uris }),
        ("desktop", _, None, None, None) => Ok(ClientKind::Desktop { redirect_uris }),
        ("android", true, Some(package), Some(sha1), None) => Ok(ClientKind::Android { package, sha1 }),
        ("ios", true, None, None, Some(bundle_id)) => Ok(ClientKind::Ios { bundle_id }),
        ("web" | "desktop", ..) => Err(KindError::WebOrDesktop),
        ("android", ..) => Err(KindError::Android),
        ("ios", ..) => Err(KindError::Ios),
        _ => Err(KindError::Unknown),
    }
}

fn created_resource(created: CreatedClient) -> OAuthClientResource {
    OAuthClientResource { client_secret: created.secret, ..shown(created.client) }
}

fn shown(client: OAuthClient) -> OAuthClientResource {
    let resource = OAuthClientResource {
        client_id: client.id.0,
        display_name: client.display_name,
        kind: client.kind.name().to_owned(),
        project_number: client.project,
        create_time: rfc3339(client.created.seconds()),
        ..OAuthClientResource::default()
    };
    match client.kind {
        ClientKind::Web { redirect_uris } | ClientKind::Desktop { redirect_uris } => {
            OAuthClientResource { redirect_uris, ..resource }
        }
        ClientKind::Android { package, sha1 } => {
            OAuthClientResource { package_name: Some(package), sha1: Some(sha1), ..resource }
        }
        ClientKind::Ios { bundle_id } => OAuthClientResource { bundle_id: Some(bundle_id), ..resource },
    }
}
