//! The whole of it in one file: what a file would change, changing it, and writing the store back into that file.
//!
//! Everything is done by the use cases that do it one by one, so each change demands its permission, is checked and is recorded as
//! if somebody had made it alone.

mod admit;
mod apply;
mod check;
mod import;
mod names;
mod read;
mod schema;

use std::fmt;
use std::sync::Arc;

use doorward_core::access_level::AccessLevelError;
use doorward_core::account::ServiceAccount;
use doorward_core::group::Group;
use doorward_core::member::{Email, Member, MemberError};
use doorward_core::policy::{self, CustomRoleError, DenyPolicyError, Permission, PermissionPatternError};
use doorward_core::resource::{Application, Resource};
use doorward_core::store::{Store, StoreError};
use doorward_wire::doorward_api::{ApplyRequest, ApplyResponse, WorldAction, WorldChange, WorldList};
use doorward_wire::google_api::Status;
use doorward_wire::world_file::WorldFile;
use serde::Serialize;
use tokio::sync::Semaphore;

use crate::access_levels::AccessLevelService;
use crate::admin::{Admin, AdminError, Call, Changes, Failure, Method};
use crate::applications::{ApplicationError, Applications};
use crate::deny_policies::DenyPolicies;
use crate::groups::GroupService;
use crate::policies::{Policies, permissions};
use crate::roles::RoleService;
use crate::service_accounts::ServiceAccounts;
use crate::settings::{SettingsError, SettingsService};
use crate::snapshots::{RefreshError, SnapshotPublisher};
use crate::tasks::{Stopping, join};

pub(crate) use admit::WHOLE_WORLD;
pub use import::{ImportError, import_policy, import_settings};
pub use schema::schema;

pub(crate) use names::Names;
pub(crate) use read::{Stated, read};

const OURS: &str = "doorward";
const EXPORT: Method = Method::read(OURS, "doorward.v1.World.Export");
const PLAN: Method = Method::look(OURS, "doorward.v1.World.Plan");

/// Conditions of a file, at most: each is compiled before anything is changed.
const CONDITIONS_LIMIT: usize = 50_000;
/// Accounts, groups and members that are read at once.
const PAGE: u32 = 1000;

/// What cannot be in a file.
#[derive(Debug, thiserror::Error)]
pub enum Mistake {
    /// Two of one name, or two spellings of one thing.
    #[error("is there twice: {0}")]
    Twice(String),
    /// A name that leads nowhere.
    #[error("there is no {0}, neither here nor in the file")]
    NoResource(String),
    /// Several applications of one name.
    #[error("{0} could be several applications: use the name of the resource")]
    Ambiguous(String),
    /// More conditions than anybody has written by hand.
    #[error("{0} conditions, and a file may have {CONDITIONS_LIMIT}: split it, what it does not name stays")]
    Conditions(usize),
    /// Not a member.
    #[error("{member:?}: {error}")]
    Member {
        /// As it stands there.
        member: String,
        /// Why.
        error: MemberError,
    },
    /// A member that no group has.
    #[error("{0} cannot be in a group")]
    NoMember(Member),
    /// Not an address.
    #[error("{0:?} is no e-mail address")]
    Email(String),
    /// Not the id of an account.
    #[error("{0:?} is no id of a service account: it has 6 to 30 of a-z, 0-9 and '-'")]
    AccountId(String),
    /// Not a role, or of another project.
    #[error("{0:?} is no role of this project or its organization")]
    Role(String),
    /// A role that is nowhere.
    #[error("there is no role {0}, neither here nor in the file")]
    NoRole(String),
    /// A role that gives nothing where it is to stand.
    #[error("{0} holds no permission that could be used here")]
    RoleElsewhere(String),
    /// A group, an account or an issuer that is nowhere.
    #[error("there is no {0}, neither here nor in the file")]
    NoSuchMember(Member),
    /// An access level that is nowhere.
    #[error("there is no access level {0}, neither here nor in the file")]
    NoLevel(String),
    /// An expression and lists.
    #[error("a level has either an expression or lists")]
    LevelForm,
    /// What an application cannot be.
    #[error(transparent)]
    Application(#[from] ApplicationError),
    /// What a policy cannot be.
    #[error(transparent)]
    Policy(#[from] policy::PolicyError),
    /// What a deny policy cannot be.
    #[error(transparent)]
    Deny(#[from] DenyPolicyError),
    /// Not a permission that can be denied.
    #[error(transparent)]
    Pattern(#[from] PermissionPatternError),
    /// What settings cannot be.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// What a role cannot be.
    #[error(transparent)]
    CustomRole(#[from] CustomRoleError),
    /// What an access level cannot be.
    #[error(transparent)]
    AccessLevel(#[from] AccessLevelError),
}

impl Failure for Mistake {
    fn status(&self) -> Status {
        Status::InvalidArgument
    }
}

/// A failure of one of the use cases.
pub struct Cause(Box<dyn Failure + Send + Sync>);

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cause({})", self.0)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a file was not read or written, or a thing in it not changed.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// The caller may not.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// Things of the file, each with what is wrong with it; at least one.
    #[error("{}", listed(.0))]
    Mistakes(Vec<(String, Mistake)>),
    /// Something that was to be changed, and why it could not be.
    #[error("{place}: {cause}")]
    In {
        /// Where: `app wiki`.
        place: String,
        /// Why.
        cause: Cause,
    },
    /// The texts of a service account do not change.
    #[error("account {0}: displayName and description do not change")]
    FixedText(String),
    /// It was changed between the look and the change.
    #[error("{0} was changed at the same time")]
    Stale(String),
    /// The store failed.
    #[error("could not read what is there")]
    Store(#[from] StoreError),
    /// It is not known whether what is in force is what is stored.
    #[error("could not put in force what is stored")]
    Refresh(#[from] RefreshError),
    /// The process is stopping.
    #[error(transparent)]
    Stopping(#[from] Stopping),
    /// A thing could not be written as JSON, or read from it.
    #[error("could not write the file's things as JSON")]
    Json(#[from] serde_json::Error),
}

/// A line for each.
fn listed(mistakes: &[(String, Mistake)]) -> String {
    let lines: Vec<String> = mistakes.iter().map(|(place, mistake)| format!("{place}: {mistake}")).collect();
    lines.join("\n")
}

impl WorldError {
    pub(crate) fn of(place: &str, cause: impl Failure + Send + Sync + 'static) -> Self {
        WorldError::In { place: place.to_owned(), cause: Cause(Box::new(cause)) }
    }
}

impl Failure for WorldError {
    fn status(&self) -> Status {
        match self {
            WorldError::Admin(error) => error.status(),
            WorldError::Mistakes(_) => Status::InvalidArgument,
            WorldError::In { cause, .. } => cause.0.status(),
            WorldError::FixedText(_) => Status::FailedPrecondition,
            WorldError::Stale(_) => Status::Aborted,
            WorldError::Store(_) | WorldError::Refresh(_) | WorldError::Stopping(_) | WorldError::Json(_) => {
                Status::Internal
            }
        }
    }
}

/// What changes things one by one.
#[derive(Clone)]
pub struct UseCases {
    /// Of applications.
    pub applications: Applications,
    /// Of settings.
    pub settings: Arc<SettingsService>,
    /// Of allow policies.
    pub policies: Arc<Policies>,
    /// Of deny policies.
    pub deny_policies: Arc<DenyPolicies>,
    /// Of groups.
    pub groups: Arc<GroupService>,
    /// Of custom roles.
    pub roles: Arc<RoleService>,
    /// Of access levels.
    pub access_levels: Arc<AccessLevelService>,
    /// Of service accounts.
    pub service_accounts: Arc<ServiceAccounts>,
}

/// The whole of it.
pub struct World {
    store: Arc<dyn Store>,
    publisher: Arc<SnapshotPublisher>,
    changes: Changes,
    cases: UseCases,
    /// One file at a time: reading its conditions fills a core.
    reading: Semaphore,
}

/// What is to be done.
struct Plan {
    /// In the order in which it is done.
    changes: Vec<WorldChange>,
    /// What is there and not in the file.
    beside: Vec<WorldChange>,
}

impl World {
    /// What is in `store`, changed by `cases`.
    pub fn new(store: Arc<dyn Store>, publisher: Arc<SnapshotPublisher>, changes: Changes, cases: UseCases) -> Self {
        World { store, publisher, changes, cases, reading: Semaphore::new(1) }
    }

    /// How long a file somebody may send, in bytes. To be asked before it is taken from the network, and held in memory.
    pub fn longest_file(&self, admin: &Admin) -> usize {
        admit::longest_file(self.changes.gate(), admin)
    }

    /// Everything that the caller may see, as a file that changes nothing where it is applied. Lists that they may not see are not in
    /// it, and neither are policies and settings of single resources that they may not see.
    pub async fn export(&self, admin: &Admin) -> Result<WorldFile, WorldError> {
        let call = self.changes.begin(admin, EXPORT, &Resource::Project.name(self.publisher.project()))?;
        let outcome = async {
            self.publisher.catch_up().await?;
            let stated = self.current(admin, |list| self.may_see(admin, list)).await?;
            let names = self.names().await?;
            Ok(read::write(&stated, &names))
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Changes what is there into what a file says, or says what that would change. Stops at the first thing that cannot be changed; what
    /// was done until then stays, and the answer has it.
    ///
    /// # Errors
    /// [`WorldError`]: nothing was changed.
    pub async fn apply(&self, admin: &Admin, request: ApplyRequest) -> Result<ApplyResponse, WorldError> {
        let mut call = self.changes.begin(admin, PLAN, &Resource::Project.name(self.publisher.project()))?;
        let outcome = self.plan(&mut call, request.file, request.prune).await;
        let Plan { mut changes, beside } = call.finish(outcome).await?;
        let kept = if request.prune {
            changes.extend(beside);
            apply::sort(&mut changes);
            Vec::new()
        } else {
            beside
        };
        if request.dry_run {
            return Ok(ApplyResponse { not_done: changes, kept, ..ApplyResponse::default() });
        }
        Ok(ApplyResponse { kept, ..self.make(admin, changes).await })
    }

    async fn plan(&self, call: &mut Call<'_>, file: WorldFile, prune: bool) -> Result<Plan, WorldError> {
        self.publisher.catch_up().await?;
        let lists = stated_lists(&file);
        if lists.is_empty() {
            return Ok(Plan { changes: Vec::new(), beside: Vec::new() });
        }
        let (gate, admin) = (self.changes.gate().clone(), call.admin().clone());
        let admitting = tokio::task::spawn_blocking(move || admit::lacking(&gate, &admin, &file).map(|()| file));
        let file = join(admitting).await?.map_err(|forbidden| call.lacks(forbidden))?;
        let _turn = self.reading.acquire().await.map_err(|_| Stopping)?;
        let current = self.current(call.admin(), |list| lists.contains(&list)).await?;
        let mut names = self.names().await?;
        let before = read::write(&current, &names);
        let snapshot = self.publisher.cell().current();
        let schema = snapshot.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let read = read::read_all(&file, &mut names, schema.schema());
            (read, names)
        });
        let ((wanted, found), names) = join(reading).await?;
        let mut found = check::check_names(&wanted, &current, &names, &snapshot, (&*self.store, found)).await?;
        check::check_places(&wanted, &names, prune, &mut found);
        check::check_hosts(&wanted, &self.cases.applications, &mut found);
        found.none(())?;
        let after = read::write(&wanted, &names);
        let mut found = Found::default();
        found.compare(WorldList::Roles, &before.roles, &after.roles, |it| it.id.clone())?;
        found.compare(WorldList::AccessLevels, &before.access_levels, &after.access_levels, |it| it.name.clone())?;
        let accounts = (&before.service_accounts, &after.service_accounts);
        found.compare(WorldList::ServiceAccounts, accounts.0, accounts.1, |it| it.id.clone())?;
        found.compare(WorldList::Groups, &before.groups, &after.groups, |it| it.email.clone())?;
        found.compare(WorldList::Applications, &before.applications, &after.applications, |it| it.name.clone())?;
        found.compare(WorldList::Settings, &before.settings, &after.settings, |it| it.resource.to_string())?;
        let deny = (&before.deny_policies, &after.deny_policies);
        found.compare(WorldList::DenyPolicies, deny.0, deny.1, |it| format!("{} at {}", it.id, it.attached_to))?;
        found.compare(WorldList::Policies, &before.policies, &after.policies, |it| it.resource.to_string())?;
        // What says nothing of something of which nothing is said.
        let is_empty = |it: &WorldChange| {
            let nothing = |field: &str| {
                it.after
                    .as_ref()
                    .and_then(|after| after.get(field))
                    .and_then(|it| it.as_array())
                    .is_some_and(Vec::is_empty)
            };
            let no_settings = || it.after.as_ref().and_then(|after| after.as_object()).is_some_and(|it| it.len() == 1);
            it.action == WorldAction::Add
                && match it.list {
                    WorldList::Policies => nothing("bindings"),
                    WorldList::Settings => no_settings(),
                    WorldList::Roles
                    | WorldList::AccessLevels
                    | WorldList::ServiceAccounts
                    | WorldList::Groups
                    | WorldList::Applications
                    | WorldList::DenyPolicies => false,
                }
        };
        found.changes.retain(|it| !is_empty(it));
        apply::sort(&mut found.changes);
        apply::sort(&mut found.beside);
        Ok(Plan { changes: found.changes, beside: found.beside })
    }

    fn may_see(&self, admin: &Admin, list: WorldList) -> bool {
        let held = |permission| !self.changes.gate().held(admin, &[permission], &Resource::Project).is_empty();
        needed(list).is_none_or(held)
    }

    /// What is there, of some lists.
    async fn current(&self, admin: &Admin, wanted: impl Fn(WorldList) -> bool) -> Result<Stated, WorldError> {
        let mut stated = Stated::default();
        let project = self.publisher.project();
        let at = |name: &str| Resource::from_canonical(name, project).ok();
        let may = |permission: Permission, resource: &Resource| {
            !self.changes.gate().held(admin, &[permission], resource).is_empty()
        };
        if wanted(WorldList::Roles) {
            let mut roles = self.store.roles().await?;
            roles.retain(|role| !role.deleted);
            stated.roles = Some(roles);
        }
        if wanted(WorldList::AccessLevels) {
            stated.access_levels = Some(self.store.access_levels().await?);
        }
        if wanted(WorldList::ServiceAccounts) {
            stated.service_accounts = Some(self.accounts().await?);
        }
        if wanted(WorldList::Groups) {
            stated.groups = Some(self.groups().await?);
        }
        if wanted(WorldList::Applications) {
            stated.applications = Some(self.store.applications().await?);
        }
        if wanted(WorldList::Settings) {
            let all = self.store.every_settings().await?.into_iter();
            let all = all.filter_map(|(name, settings)| Some((at(&name)?, settings)));
            let seen = all.filter(|(resource, _)| {
                crate::settings::permissions(resource).is_some_and(|(get, _)| may(get, resource))
            });
            stated.settings = Some(seen.collect());
        }
        if wanted(WorldList::DenyPolicies) {
            stated.deny_policies = Some(self.store.deny_policies().await?);
        }
        if wanted(WorldList::Policies) {
            let all = self.store.policies().await?.into_iter();
            let all = all.filter_map(|(name, policy)| Some((at(&name)?, policy.bindings)));
            let seen =
                all.filter(|(resource, bindings)| !bindings.is_empty() && may(permissions(resource).0, resource));
            stated.policies = Some(seen.collect());
        }
        Ok(stated)
    }

    async fn names(&self) -> Result<Names, WorldError> {
        let applications: Vec<Application> = self.store.applications().await?;
        Ok(Names { project: self.publisher.project().clone(), applications, accounts: self.accounts().await? })
    }

    async fn accounts(&self) -> Result<Vec<ServiceAccount>, StoreError> {
        let (mut all, mut after) = (Vec::new(), None::<Email>);
        loop {
            let page = self.store.service_accounts(after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else { return Ok(all) };
            after = Some(last.email.clone());
            all.extend(page);
        }
    }

    async fn groups(&self) -> Result<Vec<(Group, Vec<Member>)>, StoreError> {
        let (mut all, mut after) = (Vec::new(), None::<Email>);
        loop {
            let page = self.store.groups(after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else { return Ok(all) };
            after = Some(last.email.clone());
            for group in page {
                let members = self.members(&group.email).await?;
                all.push((group, members));
            }
        }
    }

    async fn members(&self, group: &Email) -> Result<Vec<Member>, StoreError> {
        let (mut all, mut after) = (Vec::new(), None::<Member>);
        loop {
            let page = self.store.group_members(group, after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else { return Ok(all) };
            after = Some(last.clone());
            all.extend(page);
        }
    }
}

/// What is otherwise.
#[derive(Default)]
struct Found {
    changes: Vec<WorldChange>,
    beside: Vec<WorldChange>,
}

impl Found {
    /// Compares a list with the one of the file. Nothing is otherwise if the file has none.
    fn compare<T: Serialize + PartialEq>(
        &mut self,
        list: WorldList,
        before: &Option<Vec<T>>,
        after: &Option<Vec<T>>,
        name: impl Fn(&T) -> String,
    ) -> Result<(), serde_json::Error> {
        let Some(after) = after else { return Ok(()) };
        let before = before.as_deref().unwrap_or_default();
        let known: std::collections::BTreeMap<String, &T> = before.iter().map(|it| (name(it), it)).collect();
        let mut wanted = std::collections::BTreeSet::new();
        for new in after {
            let name = name(new);
            let old = known.get(&name);
            wanted.insert(name.clone());
            let action = match old {
                None => WorldAction::Add,
                Some(old) if **old == *new => continue,
                Some(_) => WorldAction::Change,
            };
            let before = old.map(serde_json::to_value).transpose()?;
            self.changes.push(WorldChange { action, list, name, before, after: Some(serde_json::to_value(new)?) });
        }
        for (name, old) in known.into_iter().filter(|(name, _)| !wanted.contains(name)) {
            let before = Some(serde_json::to_value(old)?);
            self.beside.push(WorldChange { action: WorldAction::Remove, list, name, before, after: None });
        }
        Ok(())
    }
}

/// The lists of which a file says something.
fn stated_lists(file: &WorldFile) -> Vec<WorldList> {
    let lists = [
        (file.roles.is_some(), WorldList::Roles),
        (file.access_levels.is_some(), WorldList::AccessLevels),
        (file.service_accounts.is_some(), WorldList::ServiceAccounts),
        (file.groups.is_some(), WorldList::Groups),
        (file.applications.is_some(), WorldList::Applications),
        (file.settings.is_some(), WorldList::Settings),
        (file.deny_policies.is_some(), WorldList::DenyPolicies),
        (file.policies.is_some(), WorldList::Policies),
    ];
    lists.into_iter().filter(|(stated, _)| *stated).map(|(_, list)| list).collect()
}

/// What seeing a whole list demands on the project; `None` where it is demanded for each thing on its own resource.
fn needed(list: WorldList) -> Option<Permission> {
    match list {
        WorldList::Roles => Some(Permission::GetRole),
        WorldList::AccessLevels => Some(Permission::GetAccessLevel),
        WorldList::ServiceAccounts => Some(Permission::ListServiceAccounts),
        WorldList::Groups => Some(Permission::GetGroup),
        WorldList::Applications => Some(Permission::ListBackendServices),
        WorldList::DenyPolicies => Some(Permission::GetDenyPolicy),
        WorldList::Settings | WorldList::Policies => None,
    }
}
