//! Our keys.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::routing::{get, post};
use doorward_core::clock::Timestamp;
use doorward_core::keys::ListedKey;
use doorward_wire::doorward_api::{KeyResource, ListKeysResponse, RotateKeysRequest};
use doorward_wire::time::rfc3339;

use crate::errors::google_api::ApiFailure;
use crate::hosts::{Body, Credential, Routes, Services, StrictJson};

pub(super) fn router() -> Routes {
    Routes::new().route("/v1/keys", get(list)).route("/v1/keys:rotate", post(rotate))
}

/// `GET /v1/keys`: every key that is not forgotten, without its secret.
async fn list(
    State(services): State<Arc<Services>>,
    credential: Credential,
) -> Result<Json<ListKeysResponse>, ApiFailure> {
    let admin = services.admin(&credential).await?;
    Ok(Json(encode(services.keys.list(&admin).await?)))
}

/// `POST /v1/keys:rotate`: replaces the keys of one purpose, or of every purpose that has keys to be replaced.
async fn rotate(
    State(services): State<Arc<Services>>,
    credential: Credential,
    body: Body,
) -> Result<Json<ListKeysResponse>, ApiFailure> {
    let admin = services.admin(&credential).await?;
    let StrictJson(request) = StrictJson::<RotateKeysRequest>::read(&body?)?;
    let purpose = Some(request.purpose.as_str()).filter(|purpose| !purpose.is_empty());
    Ok(Json(encode(services.keys.rotate(&admin, purpose, request.immediately).await?)))
}

fn encode((keys, now): (Vec<ListedKey>, Timestamp)) -> ListKeysResponse {
    ListKeysResponse { keys: keys.into_iter().map(|key| resource(key, now)).collect() }
}

fn resource(key: ListedKey, now: Timestamp) -> KeyResource {
    let state = match key.replaced {
        _ if key.signs_from > now => "next",
        Some(replaced) if replaced <= now => "replaced",
        Some(_) | None => "active",
    };
    KeyResource {
        key_id: key.id,
        purpose: key.purpose.name().to_owned(),
        state: state.to_owned(),
        create_time: rfc3339(key.created.seconds()),
        signs_from: rfc3339(key.signs_from.seconds()),
        forgotten_at: key.forgotten.map(|time| rfc3339(time.seconds())),
    }
}
