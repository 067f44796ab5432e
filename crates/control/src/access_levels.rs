//! Access levels: named conditions that policies refer to.

use std::sync::Arc;

use doorward_core::access_level::{AccessLevel, AccessLevelError, AccessLevelName, AccessLevels, Definition, Simple};
use doorward_core::audit::escaped;
use doorward_core::member::{Member, MemberError};
use doorward_core::policy::Permission;
use doorward_core::resource::Resource;
use doorward_core::store::{Store, StoreError};
use doorward_wire::doorward_api::{AccessLevelResource, BasicLevel, CustomLevel, ListAccessLevelsResponse};
use doorward_wire::google_api::{Expr, Status};

use crate::admin::{Admin, AdminError, Call, Changes, Failure, Method};
use crate::snapshots::{RefreshError, SnapshotPublisher};
use crate::tasks::{Stopping, join};

const SERVICE: &str = "doorward";
const CREATE: Method = Method::write(SERVICE, "doorward.v1.AccessLevels.CreateAccessLevel");
const UPDATE: Method = Method::write(SERVICE, "doorward.v1.AccessLevels.UpdateAccessLevel");
const DELETE: Method = Method::write(SERVICE, "doorward.v1.AccessLevels.DeleteAccessLevel");
const GET: Method = Method::look(SERVICE, "doorward.v1.AccessLevels.GetAccessLevel");
const LIST: Method = Method::look(SERVICE, "doorward.v1.AccessLevels.ListAccessLevels");

/// Why something was not done with an access level.
#[derive(Debug, thiserror::Error)]
pub enum LevelError {
    /// The caller may not.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The level, or how it fits to the others.
    #[error(transparent)]
    Level(#[from] AccessLevelError),
    /// Neither form, or both.
    #[error("a level has either an expression or the simple form")]
    Form,
    /// A text that is no member.
    #[error("{member:?} is not a member: {error}")]
    Member {
        /// As it was sent.
        member: String,
        /// Why.
        error: MemberError,
    },
    /// The name is of another project.
    #[error("{0} is not of this project")]
    Elsewhere(AccessLevelName),
    /// Another level requires it.
    #[error("{by} requires it")]
    InUse {
        /// The other level.
        by: AccessLevelName,
    },
    /// There is one of this name.
    #[error("{0} exists")]
    AlreadyExists(AccessLevelName),
    /// There is none of this name.
    #[error("no such access level")]
    NotFound,
    /// The store failed.
    #[error("could not read or write access levels")]
    Store(#[from] StoreError),
    /// The change is stored, and it is not known whether it is in force.
    #[error("could not put the change in force")]
    Refresh(#[from] RefreshError),
    /// The process is stopping.
    #[error(transparent)]
    Stopping(#[from] Stopping),
}

impl Failure for LevelError {
    fn status(&self) -> Status {
        match self {
            LevelError::Admin(error) => error.status(),
            LevelError::Level(_) | LevelError::Form | LevelError::Member { .. } | LevelError::Elsewhere(_) => {
                Status::InvalidArgument
            }
            LevelError::InUse { .. } => Status::FailedPrecondition,
            LevelError::AlreadyExists(_) => Status::AlreadyExists,
            LevelError::NotFound => Status::NotFound,
            LevelError::Store(_) | LevelError::Refresh(_) | LevelError::Stopping(_) => Status::Internal,
        }
    }
}

/// The access levels of the project. Methods take the whole name of a level.
pub struct AccessLevelService {
    store: Arc<dyn Store>,
    publisher: Arc<SnapshotPublisher>,
    changes: Changes,
}

impl AccessLevelService {
    /// Levels in `store`, put in force by `publisher`, as `changes` lets and records.
    pub fn new(store: Arc<dyn Store>, publisher: Arc<SnapshotPublisher>, changes: Changes) -> Self {
        AccessLevelService { store, publisher, changes }
    }

    /// Every level, in the order of names.
    pub async fn list(&self, admin: &Admin) -> Result<ListAccessLevelsResponse, LevelError> {
        let mut call = self.changes.begin(admin, LIST, "accessLevels")?;
        let outcome = async {
            self.enter(&mut call, Permission::ListAccessLevels).await?;
            let access_levels = self.store.access_levels().await?.iter().map(show).collect();
            Ok(ListAccessLevelsResponse { access_levels, next_page_token: None })
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// One level.
    pub async fn get(&self, admin: &Admin, name: &str) -> Result<AccessLevelResource, LevelError> {
        let mut call = self.changes.begin(admin, GET, name)?;
        let outcome = async {
            self.enter(&mut call, Permission::GetAccessLevel).await?;
            let all = self.store.access_levels().await?;
            all.iter().find(|level| level.name().as_str() == name).map(show).ok_or(LevelError::NotFound)
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Makes a level.
    pub async fn create(&self, admin: &Admin, given: AccessLevelResource) -> Result<AccessLevelResource, LevelError> {
        let mut call = self.changes.begin(admin, CREATE, &given.name)?;
        let outcome = async {
            self.enter(&mut call, Permission::CreateAccessLevel).await?;
            let level = self.read(given).await?;
            let shown = show(&level);
            loop {
                let seen = self.store.access_levels().await?;
                if seen.iter().any(|old| old.name() == level.name()) {
                    return Err(LevelError::AlreadyExists(level.name().clone()));
                }
                AccessLevels::new([&seen[..], std::slice::from_ref(&level)].concat())?;
                call.creates(&shown);
                let (store, level) = (self.store.clone(), level.clone());
                if self.write(async move { store.add_access_level(&level, &seen).await }).await? {
                    return Ok(shown);
                }
            }
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Replaces a level.
    pub async fn update(&self, admin: &Admin, given: AccessLevelResource) -> Result<AccessLevelResource, LevelError> {
        let mut call = self.changes.begin(admin, UPDATE, &given.name)?;
        let outcome = async {
            self.enter(&mut call, Permission::UpdateAccessLevel).await?;
            let level = self.read(given).await?;
            let shown = show(&level);
            loop {
                let seen = self.store.access_levels().await?;
                let mut all = seen.clone();
                let old = all.iter_mut().find(|old| old.name() == level.name()).ok_or(LevelError::NotFound)?;
                call.changes(Some(&show(old)), Some(&shown));
                level.clone_into(old);
                AccessLevels::new(all)?;
                let (store, level) = (self.store.clone(), level.clone());
                if self.write(async move { store.replace_access_level(&level, &seen).await }).await? {
                    return Ok(shown);
                }
            }
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Removes a level that no other requires. Conditions that name it are as if nobody met it.
    pub async fn delete(&self, admin: &Admin, name: &str) -> Result<(), LevelError> {
        let mut call = self.changes.begin(admin, DELETE, name)?;
        let outcome = async {
            self.enter(&mut call, Permission::DeleteAccessLevel).await?;
            loop {
                let seen = self.store.access_levels().await?;
                let old = seen.iter().find(|level| level.name().as_str() == name).ok_or(LevelError::NotFound)?;
                if let Some(other) = seen.iter().find(|level| level.required().contains(old.name())) {
                    return Err(LevelError::InUse { by: other.name().clone() });
                }
                call.removes(&show(old));
                let (store, name) = (self.store.clone(), old.name().clone());
                if self.write(async move { store.remove_access_level(&name, &seen).await }).await? {
                    return Ok(());
                }
            }
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Writes a level that fits to those that were seen; `false` if somebody else, here or at another instance, wrote one since: then
    /// they are read again.
    async fn write(
        &self,
        write: impl Future<Output = Result<bool, StoreError>> + Send + 'static,
    ) -> Result<bool, LevelError> {
        self.publisher.change(async move { Ok(write.await?) }).await
    }

    async fn enter(&self, call: &mut Call<'_>, permission: Permission) -> Result<(), LevelError> {
        self.publisher.catch_up().await?;
        call.demand(permission, &Resource::Project)?;
        Ok(())
    }

    async fn read(&self, given: AccessLevelResource) -> Result<AccessLevel, LevelError> {
        let AccessLevelResource { name, title, description, custom, basic, etag: _ } = given;
        let name: AccessLevelName = name.parse()?;
        if !name.as_str().starts_with(&format!("accessPolicies/{}/", self.publisher.project().number)) {
            return Err(LevelError::Elsewhere(name));
        }
        let definition = match (custom, basic) {
            (Some(CustomLevel { expr }), None) => Definition::Expression(expr.expression),
            (None, Some(basic)) => Definition::Simple(read_basic(basic)?),
            (None, None) | (Some(_), Some(_)) => return Err(LevelError::Form),
        };
        let making = tokio::task::spawn_blocking(move || AccessLevel::new(name, title, description, definition));
        Ok(join(making).await??)
    }
}

fn read_basic(basic: BasicLevel) -> Result<Simple, LevelError> {
    let BasicLevel { ip_subnetworks, required_access_levels, members } = basic;
    let required = required_access_levels.iter().map(|name| name.parse()).collect::<Result<Vec<_>, _>>()?;
    let member = |text: &String| {
        text.parse::<Member>().map_err(|error| LevelError::Member { member: escaped(text.as_bytes(), 254), error })
    };
    let members = members.iter().map(member).collect::<Result<Vec<_>, _>>()?;
    Ok(Simple { ip_subnetworks, required_access_levels: required, members })
}

fn show(level: &AccessLevel) -> AccessLevelResource {
    let (custom, basic) = match level.definition() {
        Definition::Expression(expression) => {
            (Some(CustomLevel { expr: Expr { expression: expression.clone(), ..Expr::default() } }), None)
        }
        Definition::Simple(simple) => {
            let basic = BasicLevel {
                ip_subnetworks: simple.ip_subnetworks.clone(),
                required_access_levels: simple.required_access_levels.iter().map(ToString::to_string).collect(),
                members: simple.members.iter().map(Member::to_string).collect(),
            };
            (None, Some(basic))
        }
    };
    AccessLevelResource {
        name: level.name().to_string(),
        title: level.title().to_owned(),
        description: level.description().to_owned(),
        custom,
        basic,
        etag: String::new(),
    }
}
