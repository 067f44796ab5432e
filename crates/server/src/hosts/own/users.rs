//! People.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::routing::get;
use doorward_wire::doorward_api::{CreateUserRequest, ListUsersResponse, UserResource};
use serde::Deserialize;
use serde_json::Value;

use crate::errors::google_api::ApiFailure;
use crate::hosts::{Answer, Asked, Body, Credential, Routes, Services, StrictJson, asked, nothing};

pub(super) fn router() -> Routes {
    Routes::new()
        .route("/doorward/v1/users", get(list).post(create))
        .route("/doorward/v1/users/{email}", get(show).delete(remove).post(call))
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PageQuery {
    page_size: Option<u32>,
    page_token: Option<String>,
}

/// `GET /doorward/v1/users?pageSize=&pageToken=`
async fn list(
    State(services): State<Arc<Services>>,
    credential: Credential,
    query: Asked<PageQuery>,
) -> Answer<ListUsersResponse> {
    let admin = services.admin(&credential).await?;
    let PageQuery { page_size, page_token } = asked(query)?;
    Ok(Json(services.users.list(&admin, page_size, page_token.as_deref()).await?))
}

/// `POST /doorward/v1/users`
async fn create(State(services): State<Arc<Services>>, credential: Credential, body: Body) -> Answer<UserResource> {
    let admin = services.admin(&credential).await?;
    let StrictJson(new) = StrictJson::<CreateUserRequest>::read(&body?)?;
    Ok(Json(services.users.create(&admin, new).await?))
}

/// `GET /doorward/v1/users/EMAIL`
async fn show(
    State(services): State<Arc<Services>>,
    Path(email): Path<String>,
    credential: Credential,
) -> Answer<UserResource> {
    let admin = services.admin(&credential).await?;
    Ok(Json(services.users.get(&admin, &email).await?))
}

/// `DELETE /doorward/v1/users/EMAIL`
async fn remove(
    State(services): State<Arc<Services>>,
    Path(email): Path<String>,
    credential: Credential,
) -> Answer<Value> {
    let admin = services.admin(&credential).await?;
    services.users.delete(&admin, &email).await?;
    Ok(nothing())
}

/// `POST /doorward/v1/users/EMAIL:setPassword`, which answers with the new password, `:disable` and `:enable`.
async fn call(
    State(services): State<Arc<Services>>,
    Path(call): Path<String>,
    credential: Credential,
) -> Answer<Value> {
    let (email, method) = call.rsplit_once(':').ok_or_else(ApiFailure::no_such_method)?;
    let admin = services.admin(&credential).await?;
    match method {
        "setPassword" => {
            let made = services.users.set_password(&admin, email).await?;
            return Ok(Json(serde_json::json!({ "password": made.password })));
        }
        "disable" => services.users.disable(&admin, email, true).await?,
        "enable" => services.users.disable(&admin, email, false).await?,
        _ => return Err(ApiFailure::no_such_method()),
    }
    Ok(nothing())
}
