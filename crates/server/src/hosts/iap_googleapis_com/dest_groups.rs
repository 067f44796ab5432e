//! Tunnel destination groups.
//!
//! Spec: <https://cloud.google.com/iap/docs/reference/rest/v1/projects.iap_tunnel.locations.destGroups>

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use doorward_control::tunnel_dest_groups::Location;
use doorward_wire::google_api::iap_admin::{
    CreateTunnelDestGroupQuery, ListTunnelDestGroupsResponse, PageQuery, TunnelDestGroup, UpdateQuery,
};
use serde_json::Value;

use crate::errors::google_api::ApiFailure;
use crate::hosts::policies::{self, Sent};
use crate::hosts::{Answer, Asked, Body, Credential, Routes, Services, StrictJson, asked, nothing};

pub(super) fn router() -> Routes {
    const GROUPS: &str = "/v1/projects/{project}/iap_tunnel/locations/{location}/destGroups";
    Routes::new()
        .route(GROUPS, get(list).post(create))
        .route(&format!("{GROUPS}/{{group}}"), get(show).patch(update).delete(remove).post(call_group))
}

/// `GET …/destGroups?pageSize=&pageToken=`; location `-` is all.
async fn list(
    State(services): State<Arc<Services>>,
    Path((project, location)): Path<(String, String)>,
    credential: Credential,
    query: Asked<PageQuery>,
) -> Answer<ListTunnelDestGroupsResponse> {
    let admin = services.admin(&credential).await?;
    let at = Location { project: &project, location: &location };
    Ok(Json(services.tunnel_dest_groups.list(&admin, at, &asked(query)?).await?))
}

/// `POST …/destGroups?tunnelDestGroupId=`
async fn create(
    State(services): State<Arc<Services>>,
    Path((project, location)): Path<(String, String)>,
    credential: Credential,
    query: Asked<CreateTunnelDestGroupQuery>,
    body: Body,
) -> Answer<TunnelDestGroup> {
    let admin = services.admin(&credential).await?;
    let CreateTunnelDestGroupQuery { tunnel_dest_group_id } = asked(query)?;
    let StrictJson(new) = StrictJson::<TunnelDestGroup>::read(&body?)?;
    let at = Location { project: &project, location: &location };
    Ok(Json(services.tunnel_dest_groups.create(&admin, at, &tunnel_dest_group_id, new).await?))
}

/// `GET …/destGroups/ID`
async fn show(
    State(services): State<Arc<Services>>,
    Path((project, location, group)): Path<(String, String, String)>,
    credential: Credential,
) -> Answer<TunnelDestGroup> {
    let admin = services.admin(&credential).await?;
    let at = Location { project: &project, location: &location };
    Ok(Json(services.tunnel_dest_groups.get(&admin, at, &group).await?))
}

/// `PATCH …/destGroups/ID?updateMask=`
async fn update(
    State(services): State<Arc<Services>>,
    Path((project, location, group)): Path<(String, String, String)>,
    credential: Credential,
    query: Asked<UpdateQuery>,
    body: Body,
) -> Answer<TunnelDestGroup> {
    let admin = services.admin(&credential).await?;
    let UpdateQuery { update_mask } = asked(query)?;
    let StrictJson(given) = StrictJson::<TunnelDestGroup>::read(&body?)?;
    let at = Location { project: &project, location: &location };
    Ok(Json(services.tunnel_dest_groups.update(&admin, at, &group, given, &update_mask).await?))
}

/// `DELETE …/destGroups/ID`
async fn remove(
    State(services): State<Arc<Services>>,
    Path((project, location, group)): Path<(String, String, String)>,
    credential: Credential,
) -> Answer<Value> {
    let admin = services.admin(&credential).await?;
    let at = Location { project: &project, location: &location };
    services.tunnel_dest_groups.delete(&admin, at, &group).await?;
    Ok(nothing())
}

/// `POST …/destGroups/ID:METHOD`, for the methods that are about its policy.
async fn call_group(
    State(services): State<Arc<Services>>,
    Path((project, location, call)): Path<(String, String, String)>,
    sent: Sent,
) -> Response {
    match call.rsplit_once(':') {
        Some((group, method)) => {
            let resource = format!("projects/{project}/iap_tunnel/locations/{location}/destGroups/{group}");
            policies::call(&services, &resource, method, sent).await
        }
        None => ApiFailure::no_such_method().into_response(),
    }
}
