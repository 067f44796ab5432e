//! The whole of it in one file.

use std::sync::Arc;

use axum::Json;
use axum::body::{Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::routing::{get, post};
use doorward_wire::doorward_api::{ApplyRequest, ApplyResponse};
use doorward_wire::google_api::Status;
use doorward_wire::world_file::WorldFile;

use crate::errors::google_api::ApiFailure;
use crate::hosts::{Answer, Credential, Routes, Services, StrictJson};

pub(super) fn router() -> Routes {
    Routes::new().route("/doorward/v1/world", get(export)).route("/doorward/v1/world:apply", post(apply))
}

/// `GET /doorward/v1/world`: what is there, as far as the caller may see it.
async fn export(State(services): State<Arc<Services>>, credential: Credential) -> Answer<WorldFile> {
    let admin = services.admin(&credential).await?;
    Ok(Json(services.world.export(&admin).await?))
}

/// `POST /doorward/v1/world:apply`: what a file would change, and changing it.
async fn apply(
    State(services): State<Arc<Services>>,
    credential: Credential,
    request: Request,
) -> Answer<ApplyResponse> {
    let admin = services.admin(&credential).await?;
    let StrictJson(request) =
        StrictJson::<ApplyRequest>::read(&with_file(request, services.world.longest_file(&admin)).await?)?;
    Ok(Json(services.world.apply(&admin, request).await?))
}

/// A body that holds a file of at most `limit` bytes. To be read when the caller is known and may send one: it is held in memory.
pub(super) async fn with_file(request: Request, limit: usize) -> Result<Bytes, ApiFailure> {
    to_bytes(request.into_body(), limit).await.map_err(|_| {
        let limit = limit / 1024 / 1024;
        ApiFailure::new(
            Status::InvalidArgument,
            format!(
                "The file did not arrive whole, or has more than {limit} MiB. Split it: what it does not name stays."
            ),
        )
    })
}
