//! Groups, and who is in them.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::routing::get;
use doorward_wire::doorward_api::{ChangeMembersRequest, GroupResource, ListGroupsResponse, ListMembersResponse};
use serde::Deserialize;
use serde_json::Value;

use crate::errors::google_api::ApiFailure;
use crate::hosts::{Answer, Asked, Body, Credential, Routes, Services, StrictJson, asked, nothing};

pub(super) fn router() -> Routes {
    Routes::new()
        .route("/doorward/v1/groups", get(list).post(create))
        .route("/doorward/v1/groups/{email}", get(show).patch(update).delete(remove).post(call))
        .route("/doorward/v1/groups/{email}/members", get(members))
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PageQuery {
    page_size: Option<u32>,
    page_token: Option<String>,
}

/// `GET /doorward/v1/groups?pageSize=&pageToken=`
async fn list(
    State(services): State<Arc<Services>>,
    credential: Credential,
    query: Asked<PageQuery>,
) -> Answer<ListGroupsResponse> {
    let admin = services.admin(&credential).await?;
    let PageQuery { page_size, page_token } = asked(query)?;
    Ok(Json(services.groups.list(&admin, page_size, page_token.as_deref()).await?))
}

/// `POST /doorward/v1/groups`
async fn create(State(services): State<Arc<Services>>, credential: Credential, body: Body) -> Answer<GroupResource> {
    let admin = services.admin(&credential).await?;
    let StrictJson(new) = StrictJson::<GroupResource>::read(&body?)?;
    Ok(Json(services.groups.create(&admin, new).await?))
}

/// `GET /doorward/v1/groups/EMAIL`
async fn show(
    State(services): State<Arc<Services>>,
    Path(email): Path<String>,
    credential: Credential,
) -> Answer<GroupResource> {
    let admin = services.admin(&credential).await?;
    Ok(Json(services.groups.get(&admin, &email).await?))
}

/// `PATCH /doorward/v1/groups/EMAIL`: all that can change, which is its texts.
async fn update(
    State(services): State<Arc<Services>>,
    Path(email): Path<String>,
    credential: Credential,
    body: Body,
) -> Answer<GroupResource> {
    let admin = services.admin(&credential).await?;
    let StrictJson(given) = StrictJson::<GroupResource>::read(&body?)?;
    Ok(Json(services.groups.update(&admin, &email, given).await?))
}

/// `DELETE /doorward/v1/groups/EMAIL`
async fn remove(
    State(services): State<Arc<Services>>,
    Path(email): Path<String>,
    credential: Credential,
) -> Answer<Value> {
    let admin = services.admin(&credential).await?;
    services.groups.delete(&admin, &email).await?;
    Ok(nothing())
}

/// `GET /doorward/v1/groups/EMAIL/members?pageSize=&pageToken=`
async fn members(
    State(services): State<Arc<Services>>,
    Path(email): Path<String>,
    credential: Credential,
    query: Asked<PageQuery>,
) -> Answer<ListMembersResponse> {
    let admin = services.admin(&credential).await?;
    let PageQuery { page_size, page_token } = asked(query)?;
    let page = services.groups.members(&admin, &email, page_size, page_token.as_deref()).await?;
    Ok(Json(ListMembersResponse { members: page.members, next_page_token: page.next_page_token }))
}

/// `POST /doorward/v1/groups/EMAIL:addMembers`, `:removeMembers`. Whoever is in already, or is not, is no failure.
async fn call(
    State(services): State<Arc<Services>>,
    Path(call): Path<String>,
    credential: Credential,
    body: Body,
) -> Answer<Value> {
    let (email, method) = call.rsplit_once(':').ok_or_else(ApiFailure::no_such_method)?;
    let admin = services.admin(&credential).await?;
    let StrictJson(ChangeMembersRequest { members }) = StrictJson::read(&body?)?;
    match method {
        "addMembers" => services.groups.add_members(&admin, email, &members).await?,
        "removeMembers" => services.groups.remove_members(&admin, email, &members).await?,
        _ => return Err(ApiFailure::no_such_method()),
    }
    Ok(nothing())
}
