//! Roles: those that are always there, and those that administrators make.
//!
//! Spec: <https://cloud.google.com/iam/docs/reference/rest/v1/projects.roles>

use std::sync::Arc;

use doorward_core::policy::{
    CustomRole, CustomRoleError, Etag, LaunchStage, Permission, PermissionSet, PredefinedRole, Role, RoleName,
};
use doorward_core::resource::{Project, Resource};
use doorward_core::store::{Replaced, Store, StoreError};
use doorward_wire::google_api::iam_roles::{self, RoleLaunchStage, RoleView};
use doorward_wire::google_api::{self, FieldMask, FieldMaskError, Status};
use doorward_wire::jose::{decode_base64url, encode_base64url};

use crate::admin::{Admin, AdminError, Call, Changes, Failure, Method, Permitted};
use crate::etags::{self, NoState};
use crate::policies::permissions;
use crate::snapshots::{RefreshError, SnapshotPublisher};

const SERVICE: &str = "iam.googleapis.com";
const LIST: Method = Method::look(SERVICE, "google.iam.admin.v1.ListRoles");
const GET: Method = Method::look(SERVICE, "google.iam.admin.v1.GetRole");
const CREATE: Method = Method::write(SERVICE, "google.iam.admin.v1.CreateRole");
const UPDATE: Method = Method::write(SERVICE, "google.iam.admin.v1.UpdateRole");
const DELETE: Method = Method::write(SERVICE, "google.iam.admin.v1.DeleteRole");
const UNDELETE: Method = Method::write(SERVICE, "google.iam.admin.v1.UndeleteRole");
const GRANTABLE: Method = Method::look(SERVICE, "google.iam.admin.v1.QueryGrantableRoles");
const TESTABLE: Method = Method::look(SERVICE, "google.iam.admin.v1.QueryTestablePermissions");

/// Custom roles of a project or an organization, at most, deleted ones counted.
///
/// Spec: <https://cloud.google.com/iam/quotas#limits>
pub const ROLES_LIMIT: usize = 300;

/// Why something was not done with a role.
#[derive(Debug, thiserror::Error)]
pub enum RoleError {
    /// The caller may not.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// Not an id: 3 to 64 of letters, digits, `_` and `.`.
    #[error("{0:?} is not the id of a role")]
    Id(String),
    /// What it gives, or its texts.
    #[error(transparent)]
    Role(#[from] CustomRoleError),
    /// The mask names no field of a role.
    #[error(transparent)]
    Mask(#[from] FieldMaskError),
    /// The page token is none of ours.
    #[error("not a page token")]
    PageToken,
    /// There is one of this name.
    #[error("{0} exists")]
    AlreadyExists(RoleName),
    /// There was one of this name, and it may be taken back.
    #[error("{0} is deleted, and its id is not free")]
    Deleted(RoleName),
    /// It is not deleted.
    #[error("{0} is not deleted")]
    NotDeleted(RoleName),
    /// There is no such role.
    #[error("{0} does not exist")]
    NotFound(String),
    /// There are as many as there may be.
    #[error("there are at most {ROLES_LIMIT} custom roles at one place")]
    TooMany,
    /// It is no longer in the state that the caller read.
    #[error("the role was changed by somebody else")]
    Conflict,
    /// The store failed.
    #[error("could not read or write roles")]
    Store(#[from] StoreError),
    /// The change is stored, and it is not known whether it is in force.
    #[error("could not put the role in force")]
    Refresh(#[from] RefreshError),
}

impl Failure for RoleError {
    fn status(&self) -> Status {
        match self {
            RoleError::Admin(error) => error.status(),
            RoleError::Id(_) | RoleError::Role(_) | RoleError::Mask(_) | RoleError::PageToken => {
                Status::InvalidArgument
            }
            RoleError::AlreadyExists(_) => Status::AlreadyExists,
            RoleError::Deleted(_) | RoleError::NotDeleted(_) => Status::FailedPrecondition,
            RoleError::NotFound(_) => Status::NotFound,
            RoleError::TooMany => Status::ResourceExhausted,
            RoleError::Conflict => Status::Aborted,
            RoleError::Store(_) | RoleError::Refresh(_) => Status::Internal,
        }
    }
}

/// What of a list is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Page<'a> {
    /// How many; the default if it is none, or not above zero.
    pub size: Option<i64>,
    /// The token of the page before.
    pub token: Option<&'a str>,
}

/// Some of a list, and what gives the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<T> {
    /// In the order of names.
    pub items: Vec<T>,
    /// Gives the next page; `None` on the last one.
    pub next_page_token: Option<String>,
}

/// The roles of the project and its organization.
pub struct RoleService {
    store: Arc<dyn Store>,
    publisher: Arc<SnapshotPublisher>,
    changes: Changes,
}

impl RoleService {
    /// Roles in `store`, put in force by `publisher`, as `changes` lets and records.
    pub fn new(store: Arc<dyn Store>, publisher: Arc<SnapshotPublisher>, changes: Changes) -> Self {
        RoleService { store, publisher, changes }
    }

    /// The roles that are always there. They are no secret.
    pub fn predefined(&self, _: &Admin, view: RoleView, page: Page<'_>) -> Result<Listed<iam_roles::Role>, RoleError> {
        let all = PredefinedRole::all().iter().map(|role| show_predefined(role, view)).collect();
        paged(all, |role| &role.name, page, (300, 1000))
    }

    /// The custom roles of `projects/P` or `organizations/O`.
    pub async fn list(
        &self,
        admin: &Admin,
        parent: &str,
        query: &iam_roles::ListRolesQuery,
    ) -> Result<Listed<iam_roles::Role>, RoleError> {
        let mut call = self.changes.begin(admin, LIST, parent)?;
        let outcome = async {
            self.publisher.catch_up().await?;
            let on = enter(&mut call, parent, Permission::ListRoles)?;
            let all = self.of(&on).await?.into_iter().filter(|role| query.show_deleted || !role.deleted);
            let shown = all.map(|role| show(&role, self.publisher.project(), query.view)).collect();
            let page = Page { size: query.page_size, token: query.page_token.as_deref() };
            paged(shown, |role| &role.name, page, (300, 1000))
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// One role, with its permissions.
    pub async fn get(&self, admin: &Admin, name: &str) -> Result<iam_roles::Role, RoleError> {
        if let Some(role) = PredefinedRole::find(name) {
            return Ok(show_predefined(role, RoleView::Full));
        }
        let mut call = self.changes.begin(admin, GET, name)?;
        let outcome = async {
            self.publisher.catch_up().await?;
            Ok(self.shown(&self.find(&mut call, name, Permission::GetRole).await?))
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Makes a role.
    pub async fn create(
        &self,
        admin: &Admin,
        parent: &str,
        request: iam_roles::CreateRoleRequest,
    ) -> Result<iam_roles::Role, RoleError> {
        let iam_roles::CreateRoleRequest { role_id, role } = request;
        let mut call = self.changes.begin(admin, CREATE, &format!("{parent}/roles/{role_id}"))?;
        let outcome = async {
            self.publisher.catch_up().await?;
            let on = enter(&mut call, parent, Permission::CreateRole)?;
            let name: RoleName =
                format!("{}/roles/{role_id}", on.name()).parse().map_err(|_| RoleError::Id(role_id.clone()))?;
            call.about(name.as_str());
            let there = self.of(&on).await?;
            if let Some(old) = there.iter().find(|old| old.name == name) {
                return Err(if old.deleted { RoleError::Deleted(name) } else { RoleError::AlreadyExists(name) });
            }
            if there.len() >= ROLES_LIMIT {
                return Err(RoleError::TooMany);
            }
            let role = read(name, role)?;
            call.creates(&self.shown(&role));
            let store = self.store.clone();
            let write = async move {
                match store.add_role(&role).await? {
                    Some(etag) => Ok(CustomRole { etag, ..role }),
                    None => Err(RoleError::AlreadyExists(role.name)),
                }
            };
            let shown = self.shown(&self.publisher.change(write).await?);
            call.changed_to(&shown);
            Ok(shown)
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Changes what `mask` names of a role; without one, what is set in `given`.
    pub async fn patch(
        &self,
        admin: &Admin,
        name: &str,
        given: iam_roles::Role,
        mask: Option<&str>,
    ) -> Result<iam_roles::Role, RoleError> {
        let mut call = self.changes.begin(admin, UPDATE, name)?;
        let outcome = async {
            self.publisher.catch_up().await?;
            let old = self.find(&mut call, name, Permission::UpdateRole).await?;
            let mask = FieldMask::parse(mask.unwrap_or_default(), iam_roles::Role::MESSAGE, &iam_roles::Role::PATHS)?;
            let names = |path: &str, set: bool| match mask {
                FieldMask::Everything => set,
                FieldMask::Paths(_) => mask.touches(path),
            };
            let etag = given.etag.clone();
            let shown = self.shown(&old);
            let mut next = shown.clone();
            if names("title", !given.title.is_empty()) {
                next.title = given.title;
            }
            if names("description", !given.description.is_empty()) {
                next.description = given.description;
            }
            if names("includedPermissions", !given.included_permissions.is_empty()) {
                next.included_permissions = given.included_permissions;
            }
            if names("stage", given.stage.is_some()) {
                next.stage = given.stage;
            }
            let new = CustomRole { deleted: old.deleted, etag: old.etag, ..read(old.name.clone(), next)? };
            self.replace(&mut call, &old, new, etag.as_ref()).await
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Marks a role as deleted: it gives nothing from then on, and stays in the policies that name it. It stays so until it is taken
    /// back, and its id is not free meanwhile. (Google forgets it after seven days, which makes bindings that still name it mean
    /// another role if one is made of that id.)
    pub async fn delete(
        &self,
        admin: &Admin,
        name: &str,
        etag: Option<&google_api::Etag>,
    ) -> Result<iam_roles::Role, RoleError> {
        let mut call = self.changes.begin(admin, DELETE, name)?;
        let outcome = async {
            self.publisher.catch_up().await?;
            let old = self.find(&mut call, name, Permission::DeleteRole).await?;
            if old.deleted {
                return Err(RoleError::NotFound(name.to_owned()));
            }
            let new = CustomRole { deleted: true, ..old.clone() };
            self.replace(&mut call, &old, new, etag).await
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Takes a deleted role back.
    pub async fn undelete(
        &self,
        admin: &Admin,
        name: &str,
        etag: Option<&google_api::Etag>,
    ) -> Result<iam_roles::Role, RoleError> {
        let mut call = self.changes.begin(admin, UNDELETE, name)?;
        let outcome = async {
            self.publisher.catch_up().await?;
            let old = self.find(&mut call, name, Permission::UndeleteRole).await?;
            if !old.deleted {
                return Err(RoleError::NotDeleted(old.name));
            }
            let new = CustomRole { deleted: false, ..old.clone() };
            self.replace(&mut call, &old, new, etag).await
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Every role that a policy of a resource may name. Demands to read that policy.
    pub async fn grantable(
        &self,
        admin: &Admin,
        request: &iam_roles::QueryGrantableRolesRequest,
    ) -> Result<Listed<iam_roles::Role>, RoleError> {
        let mut call = self.changes.begin(admin, GRANTABLE, &request.full_resource_name)?;
        let outcome = async {
            self.publisher.catch_up().await?;
            let on = call.reach(relative(&request.full_resource_name), |resource| permissions(resource).0)?;
            let fits = |role: &Role<'_>| role.is_grantable_on(on.resource());
            let predefined = PredefinedRole::all().iter().filter(|role| fits(&Role::Predefined(role)));
            let mut all: Vec<iam_roles::Role> = predefined.map(|role| show_predefined(role, request.view)).collect();
            let custom = self.store.roles().await?.into_iter();
            let custom = custom.filter(|role| !role.deleted && role.name.is_of(self.publisher.project()));
            all.extend(
                custom
                    .filter(|role| fits(&Role::Custom(role)))
                    .map(|role| show(&role, self.publisher.project(), request.view)),
            );
            let page = Page { size: request.page_size.map(i64::from), token: request.page_token.as_deref() };
            paged(all, |role| &role.name, page, (300, 2000))
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Every permission that can be asked for on a resource or below it. Demands to read its policy.
    pub async fn testable(
        &self,
        admin: &Admin,
        request: &iam_roles::QueryTestablePermissionsRequest,
    ) -> Result<Listed<iam_roles::Permission>, RoleError> {
        let mut call = self.changes.begin(admin, TESTABLE, &request.full_resource_name)?;
        let outcome = async {
            self.publisher.catch_up().await?;
            let on = call.reach(relative(&request.full_resource_name), |resource| permissions(resource).0)?;
            let all = Permission::ALL.iter().filter(|permission| is_asked_on(**permission, on.resource()));
            let page = Page { size: request.page_size.map(i64::from), token: request.page_token.as_deref() };
            paged(all.map(|permission| show_permission(*permission)).collect(), |it| &it.name, page, (100, 1000))
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    fn shown(&self, role: &CustomRole) -> iam_roles::Role {
        show(role, self.publisher.project(), RoleView::Full)
    }

    async fn of(&self, parent: &Permitted) -> Result<Vec<CustomRole>, RoleError> {
        let inside = format!("{}/roles/", parent.name());
        let all = self.store.roles().await?;
        Ok(all.into_iter().filter(|role| role.name.as_str().starts_with(&inside)).collect())
    }

    async fn find(&self, call: &mut Call<'_>, name: &str, permission: Permission) -> Result<CustomRole, RoleError> {
        let missing = || RoleError::NotFound(doorward_core::audit::escaped(name.as_bytes(), 200));
        let (parent, _) = name.split_once("/roles/").ok_or_else(missing)?;
        enter(call, parent, permission)?;
        let name = RoleName::parse(name, self.publisher.project()).map_err(|_| missing())?;
        call.about(name.as_str());
        self.store.role(&name).await?.ok_or_else(missing)
    }

    async fn replace(
        &self,
        call: &mut Call<'_>,
        old: &CustomRole,
        new: CustomRole,
        etag: Option<&google_api::Etag>,
    ) -> Result<iam_roles::Role, RoleError> {
        // Without a state of the caller's it is the one that was just read: what another changed meanwhile is not undone.
        let expected = etags::decode(etag).map_err(|NoState| RoleError::Conflict)?.unwrap_or(old.etag);
        call.changes(Some(&self.shown(old)), Some(&self.shown(&new)));
        let store = self.store.clone();
        let write = async move {
            match store.replace_role(&new, Some(expected)).await? {
                Replaced::Done(etag) => Ok(CustomRole { etag, ..new }),
                Replaced::Stale => Err(RoleError::Conflict),
                Replaced::NotFound => Err(RoleError::NotFound(new.name.to_string())),
            }
        };
        let shown = self.shown(&self.publisher.change(write).await?);
        call.changed_to(&shown);
        Ok(shown)
    }
}

/// Custom roles belong to a project or an organization.
fn enter(call: &mut Call<'_>, parent: &str, permission: Permission) -> Result<Permitted, AdminError> {
    let on = call.reach(parent, |_| permission)?;
    match on.resource() {
        Resource::Project | Resource::Organization(_) => Ok(on),
        _ => Err(AdminError::Malformed(parent.to_owned())),
    }
}

/// A full resource name without its service. With an endpoint override gcloud writes the whole address of the service:
/// `//127.0.0.1:8081/cloudresourcemanager.googleapis.com/projects/P`.
fn relative(full: &str) -> &str {
    let name = full.strip_prefix("//").and_then(|rest| rest.split_once('/')).map_or(full, |(_, name)| name);
    name.split_once('/').filter(|(service, _)| service.ends_with(".googleapis.com")).map_or(name, |(_, name)| name)
}

fn is_asked_on(permission: Permission, resource: &Resource) -> bool {
    let role = CustomRole {
        name: RoleName::https_resource_accessor(),
        title: String::new(),
        description: String::new(),
        stage: LaunchStage::Ga,
        permissions: PermissionSet::of(&[permission]),
        deleted: false,
        etag: Etag::UNWRITTEN,
    };
    Role::Custom(&role).is_grantable_on(resource)
}

/// One page of a list, in the order of names. `sizes` are the default and the largest.
pub(crate) fn paged<T>(
    mut all: Vec<T>,
    name: impl Fn(&T) -> &String,
    page: Page<'_>,
    sizes: (usize, usize),
) -> Result<Listed<T>, RoleError> {
    all.sort_by(|left, right| name(left).cmp(name(right)));
    let after = match page.token.filter(|token| !token.is_empty()) {
        None => None,
        Some(token) => {
            let bytes = decode_base64url(token).ok_or(RoleError::PageToken)?;
            Some(String::from_utf8(bytes).map_err(|_| RoleError::PageToken)?)
        }
    };
    let (default, largest) = sizes;
    let asked = page.size.and_then(|size| usize::try_from(size).ok()).filter(|size| *size > 0);
    let size = asked.unwrap_or(default).min(largest);
    let mut items: Vec<T> =
        all.into_iter().filter(|item| after.as_ref().is_none_or(|after| name(item) > after)).collect();
    let more = items.len() > size;
    items.truncate(size);
    let last = items.last().filter(|_| more);
    Ok(Listed { next_page_token: last.map(|last| encode_base64url(name(last).as_bytes())), items })
}

fn read(name: RoleName, given: iam_roles::Role) -> Result<CustomRole, RoleError> {
    let permissions = CustomRole::permissions(&name, given.included_permissions.iter().map(String::as_str))?;
    let (title, description) = (given.title, given.description);
    let stage = given.stage.map_or(LaunchStage::Alpha, stage_of);
    let role = CustomRole { name, title, description, stage, permissions, deleted: false, etag: Etag::UNWRITTEN };
    Ok(role.checked()?)
}

fn show(role: &CustomRole, project: &Project, view: RoleView) -> iam_roles::Role {
    iam_roles::Role {
        name: role.name.shown(project),
        title: role.title.clone(),
        description: role.description.clone(),
        included_permissions: shown_permissions(role.permissions, view),
        stage: Some(shown_stage(role.stage)),
        etag: Some(etags::encode(role.etag)),
        deleted: role.deleted.then_some(true),
    }
}

fn show_predefined(role: &PredefinedRole, view: RoleView) -> iam_roles::Role {
    iam_roles::Role {
        name: role.name.to_owned(),
        title: role.title.to_owned(),
        included_permissions: shown_permissions(role.permissions, view),
        stage: Some(RoleLaunchStage::Ga),
        etag: Some(google_api::Etag(vec![0])),
        ..iam_roles::Role::default()
    }
}

fn shown_permissions(permissions: PermissionSet, view: RoleView) -> Vec<String> {
    match view {
        RoleView::Basic => Vec::new(),
        RoleView::Full => {
            let mut names: Vec<String> = permissions.iter().map(|permission| permission.name().to_owned()).collect();
            names.sort();
            names
        }
    }
}

fn show_permission(permission: Permission) -> iam_roles::Permission {
    let in_project: Result<RoleName, _> = "projects/1/roles/any".parse();
    let supported = in_project.is_ok_and(|role| CustomRole::permissions(&role, [permission.name()]).is_ok());
    iam_roles::Permission {
        name: permission.name().to_owned(),
        stage: "GA".to_owned(),
        custom_roles_support_level: (!supported).then(|| "NOT_SUPPORTED".to_owned()),
        ..iam_roles::Permission::default()
    }
}

fn stage_of(stage: RoleLaunchStage) -> LaunchStage {
    match stage {
        RoleLaunchStage::Alpha => LaunchStage::Alpha,
        RoleLaunchStage::Beta => LaunchStage::Beta,
        RoleLaunchStage::Ga => LaunchStage::Ga,
        RoleLaunchStage::Deprecated => LaunchStage::Deprecated,
        RoleLaunchStage::Disabled => LaunchStage::Disabled,
        RoleLaunchStage::Eap => LaunchStage::Eap,
    }
}

fn shown_stage(stage: LaunchStage) -> RoleLaunchStage {
    match stage {
        LaunchStage::Alpha => RoleLaunchStage::Alpha,
        LaunchStage::Beta => RoleLaunchStage::Beta,
        LaunchStage::Ga => RoleLaunchStage::Ga,
        LaunchStage::Deprecated => RoleLaunchStage::Deprecated,
        LaunchStage::Disabled => RoleLaunchStage::Disabled,
        LaunchStage::Eap => RoleLaunchStage::Eap,
    }
}
