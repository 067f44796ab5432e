//! Roles: those that are always there, and those that a project or an organization makes.
//!
//! Spec: <https://cloud.google.com/iam/docs/reference/rest/v1/projects.roles>

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use doorward_control::roles::Page;
use doorward_wire::google_api::iam_roles::{
    CreateRoleRequest, DeleteRoleQuery, ListRolesQuery, ListRolesResponse, QueryGrantableRolesRequest,
    QueryTestablePermissionsRequest, QueryTestablePermissionsResponse, Role, UndeleteRoleRequest,
};
use doorward_wire::google_api::iap_admin::UpdateQuery;
use serde::Deserialize;

use crate::errors::google_api::ApiFailure;
use crate::hosts::{Answer, Asked, Body, Credential, Routes, Services, StrictJson, asked};

pub(super) fn router() -> Routes {
    let of = |parent: &str| {
        let roles = format!("/v1/{parent}/{{parent}}/roles");
        Routes::new()
            .route(&roles, get(list).post(create))
            .route(&format!("{roles}/{{role}}"), get(show).patch(update).delete(remove).post(call))
    };
    Routes::new()
        .route("/v1/roles", get(list_predefined))
        .route("/v1/roles/{role}", get(show_predefined))
        .route("/v1/roles:queryGrantableRoles", post(grantable))
        .route("/v1/permissions:queryTestablePermissions", post(testable))
        .merge(of("projects"))
        .merge(of("organizations"))
}

/// Whose roles, as the path says it: `projects/P` or `organizations/O`.
struct Parent(String);

/// Which role: its whole name, with a method after a colon if one is called.
struct Named(String);

#[derive(Deserialize)]
struct Segments {
    parent: String,
    role: Option<String>,
}

impl<S: Send + Sync> axum::extract::FromRequestParts<S> for Parent {
    type Rejection = ApiFailure;

    async fn from_request_parts(parts: &mut http::request::Parts, state: &S) -> Result<Self, ApiFailure> {
        let kind = if parts.uri.path().starts_with("/v1/organizations/") { "organizations" } else { "projects" };
        let path = Path::<Segments>::from_request_parts(parts, state).await;
        let Path(Segments { parent, .. }) = path.map_err(|_| ApiFailure::no_such_method())?;
        Ok(Parent(format!("{kind}/{parent}")))
    }
}

impl<S: Send + Sync> axum::extract::FromRequestParts<S> for Named {
    type Rejection = ApiFailure;

    async fn from_request_parts(parts: &mut http::request::Parts, state: &S) -> Result<Self, ApiFailure> {
        let Parent(parent) = Parent::from_request_parts(parts, state).await?;
        let path = Path::<Segments>::from_request_parts(parts, state).await;
        let Path(Segments { role, .. }) = path.map_err(|_| ApiFailure::no_such_method())?;
        Ok(Named(format!("{parent}/roles/{}", role.unwrap_or_default())))
    }
}

/// `GET /v1/roles?view=&pageSize=&pageToken=`
async fn list_predefined(
    State(services): State<Arc<Services>>,
    credential: Credential,
    query: Asked<ListRolesQuery>,
) -> Answer<ListRolesResponse> {
    let admin = services.admin(&credential).await?;
    let query = asked(query)?;
    let page = Page { size: query.page_size, token: query.page_token.as_deref() };
    let listed = services.roles.predefined(&admin, query.view, page)?;
    Ok(Json(ListRolesResponse { roles: listed.items, next_page_token: listed.next_page_token }))
}

/// `GET /v1/roles/ROLE`
async fn show_predefined(
    State(services): State<Arc<Services>>,
    Path(role): Path<String>,
    credential: Credential,
) -> Answer<Role> {
    let admin = services.admin(&credential).await?;
    Ok(Json(services.roles.get(&admin, &format!("roles/{role}")).await?))
}

/// `POST /v1/roles:queryGrantableRoles`
async fn grantable(
    State(services): State<Arc<Services>>,
    credential: Credential,
    body: Body,
) -> Answer<ListRolesResponse> {
    let admin = services.admin(&credential).await?;
    let StrictJson(request) = StrictJson::<QueryGrantableRolesRequest>::read(&body?)?;
    let listed = services.roles.grantable(&admin, &request).await?;
    Ok(Json(ListRolesResponse { roles: listed.items, next_page_token: listed.next_page_token }))
}

/// `POST /v1/permissions:queryTestablePermissions`
async fn testable(
    State(services): State<Arc<Services>>,
    credential: Credential,
    body: Body,
) -> Answer<QueryTestablePermissionsResponse> {
    let admin = services.admin(&credential).await?;
    let StrictJson(request) = StrictJson::<QueryTestablePermissionsRequest>::read(&body?)?;
    let listed = services.roles.testable(&admin, &request).await?;
    let (permissions, next_page_token) = (listed.items, listed.next_page_token);
    Ok(Json(QueryTestablePermissionsResponse { permissions, next_page_token }))
}

/// `GET …/roles?view=&showDeleted=&pageSize=&pageToken=`
async fn list(
    State(services): State<Arc<Services>>,
    Parent(parent): Parent,
    credential: Credential,
    query: Asked<ListRolesQuery>,
) -> Answer<ListRolesResponse> {
    let admin = services.admin(&credential).await?;
    let listed = services.roles.list(&admin, &parent, &asked(query)?).await?;
    Ok(Json(ListRolesResponse { roles: listed.items, next_page_token: listed.next_page_token }))
}

/// `POST …/roles`
async fn create(
    State(services): State<Arc<Services>>,
    Parent(parent): Parent,
    credential: Credential,
    body: Body,
) -> Answer<Role> {
    let admin = services.admin(&credential).await?;
    let StrictJson(request) = StrictJson::<CreateRoleRequest>::read(&body?)?;
    Ok(Json(services.roles.create(&admin, &parent, request).await?))
}

/// `GET …/roles/ROLE`
async fn show(State(services): State<Arc<Services>>, Named(name): Named, credential: Credential) -> Answer<Role> {
    let admin = services.admin(&credential).await?;
    Ok(Json(services.roles.get(&admin, &name).await?))
}

/// `PATCH …/roles/ROLE?updateMask=`
async fn update(
    State(services): State<Arc<Services>>,
    Named(name): Named,
    credential: Credential,
    query: Asked<UpdateQuery>,
    body: Body,
) -> Answer<Role> {
    let admin = services.admin(&credential).await?;
    let UpdateQuery { update_mask } = asked(query)?;
    let StrictJson(given) = StrictJson::<Role>::read(&body?)?;
    Ok(Json(services.roles.patch(&admin, &name, given, Some(&update_mask)).await?))
}

/// `DELETE …/roles/ROLE?etag=`
async fn remove(
    State(services): State<Arc<Services>>,
    Named(name): Named,
    credential: Credential,
    query: Asked<DeleteRoleQuery>,
) -> Answer<Role> {
    let admin = services.admin(&credential).await?;
    let DeleteRoleQuery { etag } = asked(query)?;
    Ok(Json(services.roles.delete(&admin, &name, etag.as_ref()).await?))
}

/// `POST …/roles/ROLE:undelete`
async fn call(
    State(services): State<Arc<Services>>,
    Named(call): Named,
    credential: Credential,
    body: Body,
) -> Answer<Role> {
    let name = call.strip_suffix(":undelete").ok_or_else(ApiFailure::no_such_method)?;
    let admin = services.admin(&credential).await?;
    let StrictJson(UndeleteRoleRequest { etag }) = StrictJson::read(&body?)?;
    Ok(Json(services.roles.undelete(&admin, name, etag.as_ref()).await?))
}
