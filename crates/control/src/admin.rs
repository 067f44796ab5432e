//! Administration: who administers, what they may do, and what is recorded of it.
//!
//! A use case begins a [`Call`], demands permissions of it, says what it changes, and finishes it with its outcome. A call that is
//! not finished, because its client hung up, is recorded all the same.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use doorward_core::audit::{AdminEvent, AdminKind, AuditClosed, AuditEvent, AuditSink, CheckedPermission, escaped};
use doorward_core::clock::{Clock, Timestamp};
use doorward_core::entropy::{Entropy, EntropyError, random_base64url};
use doorward_core::member::Email;
use doorward_core::policy::request::{RequestContext, ResourceAttributes};
use doorward_core::policy::{Permission, Question};
use doorward_core::resource::{Project, Resource, ResourceError};
use doorward_core::snapshot::{Snapshot, SnapshotCell};
use doorward_wire::google_api::Status;
use serde::Serialize;
use serde_json::Value;

use crate::callers::ApiCaller;
use crate::tasks::join;

/// The longest text of a stranger in a record.
const TEXT_LIMIT: usize = 255;
/// The longest name of a resource in a record, as a caller wrote it.
const NAME_LIMIT: usize = 1024;

/// The other end of a connection, or whom it names as the client if it is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The address that is recorded.
    pub address: IpAddr,
    /// It is the client's own. Otherwise it is that of somebody before us who says of nobody whom they pass on, and no condition on
    /// `source.ip` can be evaluated.
    pub is_client: bool,
}

impl Peer {
    /// `source.ip` of conditions.
    pub(crate) fn source_ip(self) -> Option<IpAddr> {
        Some(self.address).filter(|_| self.is_client)
    }
}

impl From<IpAddr> for Peer {
    /// A client that speaks to us.
    fn from(address: IpAddr) -> Self {
        Peer { address, is_client: true }
    }
}

/// Somebody who administers, proven, with where the call came from. Made by [`Callers::admin`], and of this process by itself.
///
/// [`Callers::admin`]: crate::callers::Callers::admin
#[derive(Debug, Clone)]
pub struct Admin {
    who: Who,
    peer: Option<Peer>,
    user_agent: Option<String>,
}

#[derive(Debug, Clone)]
enum Who {
    Operator,
    Caller(ApiCaller),
}

impl Admin {
    /// The person who started this process, for what the process does by itself. Whoever can start it can read and write its
    /// database, so there is nothing to prove. Never for a request from the network.
    pub fn local_operator() -> Self {
        Admin { who: Who::Operator, peer: None, user_agent: None }
    }

    /// The holder of the administration token. Its proof is the business of [`Callers`](crate::callers::Callers).
    pub(crate) fn operator(peer: Option<Peer>, user_agent: Option<&str>) -> Self {
        Admin { who: Who::Operator, peer, user_agent: user_agent.map(cut) }
    }

    /// The same in a browser that they signed on with the key that the process gave them. Its proof is the business of whoever gave
    /// that key.
    pub fn operator_in_browser(peer: impl Into<Peer>, user_agent: Option<&str>) -> Self {
        Admin::operator(Some(peer.into()), user_agent)
    }

    pub(crate) fn caller(caller: ApiCaller, peer: Option<Peer>, user_agent: Option<&str>) -> Self {
        Admin { who: Who::Caller(caller), peer, user_agent: user_agent.map(cut) }
    }

    /// As the record writes it: a member, or `operator`.
    pub fn member(&self) -> String {
        match &self.who {
            Who::Operator => "operator".to_owned(),
            Who::Caller(caller) => caller.member(),
        }
    }

    /// Where the call came from.
    pub fn peer(&self) -> Option<IpAddr> {
        self.peer.map(|peer| peer.address)
    }

    /// The caller, if it is not the operator.
    pub fn api_caller(&self) -> Option<&ApiCaller> {
        match &self.who {
            Who::Operator => None,
            Who::Caller(caller) => Some(caller),
        }
    }
}

fn cut(text: &str) -> String {
    escaped(text.as_bytes(), TEXT_LIMIT)
}

/// Proof that somebody holds a permission on a resource. Made by a [`Gate`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permitted {
    permission: Permission,
    resource: Resource,
    name: String,
}

impl Permitted {
    /// What is permitted.
    pub fn permission(&self) -> Permission {
        self.permission
    }

    /// On what.
    pub fn resource(&self) -> &Resource {
        &self.resource
    }

    /// Its canonical name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Somebody lacks a permission on something, or that is not there: whoever lacks it does not learn which.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("permission {permission} is lacking on {resource}, or that is not there")]
pub struct Forbidden {
    /// What is lacking.
    pub permission: Permission,
    /// The name of the resource: the canonical one, or as the caller wrote it if there is nothing of that name.
    pub resource: String,
    /// Who serves that kind of resource, such as `iap.googleapis.com`.
    pub service: &'static str,
}

/// Why a call of administration ends before it has begun, or without a word of what it did.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The caller may not.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// There is nothing of that name, and the caller could have done it if there were.
    #[error("{0} is not there")]
    NotFound(
        /// The name as the caller wrote it.
        String,
    ),
    /// Not a name of a resource.
    #[error("{0:?} is not the name of a resource")]
    Malformed(
        /// The name as the caller wrote it.
        String,
    ),
    /// The record cannot be written: nothing may be done.
    #[error(transparent)]
    AuditClosed(#[from] AuditClosed),
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}

/// A cause that has a code in the record of administration.
pub trait Failure: fmt::Display {
    /// The canonical code.
    fn status(&self) -> Status;
}

impl Failure for AdminError {
    fn status(&self) -> Status {
        match self {
            AdminError::Forbidden(_) => Status::PermissionDenied,
            AdminError::NotFound(_) => Status::NotFound,
            AdminError::Malformed(_) => Status::InvalidArgument,
            AdminError::AuditClosed(_) | AdminError::Entropy(_) => Status::Internal,
        }
    }
}

/// Says what administrators may do, by the engine that decides requests: with conditions, and with deny policies.
#[derive(Clone)]
pub struct Gate {
    snapshots: Arc<SnapshotCell>,
    clock: Arc<dyn Clock>,
}

impl Gate {
    /// Decides on the policies in `snapshots`.
    pub fn new(snapshots: Arc<SnapshotCell>, clock: Arc<dyn Clock>) -> Self {
        Gate { snapshots, clock }
    }

    /// What is in force.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshots.current()
    }

    /// Proves that somebody holds a permission on a resource.
    ///
    /// # Errors
    /// [`Forbidden`]: nothing may be done or shown.
    pub fn demand(&self, admin: &Admin, permission: Permission, resource: &Resource) -> Result<Permitted, Forbidden> {
        self.demand_granting(admin, permission, resource, None)
    }

    /// As [`Gate::demand`], for a policy that would change who holds `roles`: a condition may limit which roles somebody gives.
    ///
    /// Spec: <https://cloud.google.com/iam/docs/setting-limits-on-granting-roles>
    pub fn demand_granting(
        &self,
        admin: &Admin,
        permission: Permission,
        resource: &Resource,
        roles: Option<&[String]>,
    ) -> Result<Permitted, Forbidden> {
        let snapshot = self.snapshots.current();
        let name = resource.name(&snapshot.project);
        match self.holds(&snapshot, admin, permission, resource, roles) {
            true => Ok(Permitted { permission, resource: resource.clone(), name }),
            false => Err(Forbidden { permission, resource: name, service: resource.service() }),
        }
    }

    /// Those of `permissions` that somebody holds on a resource, in their order.
    pub fn held(&self, admin: &Admin, permissions: &[Permission], resource: &Resource) -> Vec<Permission> {
        let snapshot = self.snapshots.current();
        let holds = |it: &Permission| self.holds(&snapshot, admin, *it, resource, None);
        permissions.iter().copied().filter(holds).collect()
    }

    /// Finds a resource by a name in any spelling, accounts included, and proves that somebody holds the permission that its kind
    /// demands. Of a name that leads nowhere, they learn that only if they hold the permission on what would be above it.
    ///
    /// # Errors
    /// [`AdminError`]: nothing may be done or shown.
    pub fn reach(
        &self,
        admin: &Admin,
        name: &str,
        permission: impl Fn(&Resource) -> Permission,
    ) -> Result<Permitted, AdminError> {
        let snapshot = self.snapshots.current();
        let written = || escaped(name.as_bytes(), NAME_LIMIT);
        let place = Place::find(name, &snapshot).map_err(|NoName| AdminError::Malformed(written()))?;
        let wanted = permission(place.resource());
        let forbidden = |service| Forbidden { permission: wanted, resource: written(), service };
        match place {
            Place::Here(resource) => match self.holds(&snapshot, admin, wanted, &resource, None) {
                true => {
                    let name = resource.name(&snapshot.project);
                    Ok(Permitted { permission: wanted, resource, name })
                }
                // In the spelling of the caller, so that the answer tells nothing of what is there.
                false => Err(forbidden(resource.service()).into()),
            },
            Place::Gone(resource) => match self.holds(&snapshot, admin, wanted, &resource, None) {
                true => Err(AdminError::NotFound(written())),
                false => Err(forbidden(resource.service()).into()),
            },
            Place::Foreign(resource) => match admin.who {
                Who::Operator => Err(AdminError::NotFound(written())),
                Who::Caller(_) => Err(forbidden(resource.service()).into()),
            },
        }
    }

    /// Finds a resource by a name in any spelling, accounts included, for a question to which nobody needs a permission.
    ///
    /// # Errors
    /// [`AdminError::NotFound`] and [`AdminError::Malformed`].
    pub fn find(&self, name: &str) -> Result<Resource, AdminError> {
        let written = || escaped(name.as_bytes(), NAME_LIMIT);
        match Place::find(name, &self.snapshots.current()) {
            Ok(Place::Here(resource)) => Ok(resource),
            Ok(Place::Gone(_) | Place::Foreign(_)) => Err(AdminError::NotFound(written())),
            Err(NoName) => Err(AdminError::Malformed(written())),
        }
    }

    fn holds(
        &self,
        snapshot: &Snapshot,
        admin: &Admin,
        permission: Permission,
        resource: &Resource,
        roles: Option<&[String]>,
    ) -> bool {
        let caller = match &admin.who {
            // Whoever holds the token can read and write everything. Doors are for people with a name.
            Who::Operator => return !permission.is_data_plane(),
            Who::Caller(caller) => caller,
        };
        let (member, name) = (caller.member(), resource.name(&snapshot.project));
        let attributes = ResourceAttributes { name: &name, kind: resource.type_name(), service: resource.service() };
        let mut context = RequestContext::new(self.clock.now()).with_access_levels(&snapshot.access_levels);
        context.source_ip = admin.peer.and_then(Peer::source_ip);
        context.principal = Some(&member);
        context.resource = Some(attributes);
        context.modified_grants_by_role = roles;
        let question = Question { principal: caller.principal(), permission, context: &context };
        snapshot.decide(&snapshot.lineage(resource), &question).is_allowed()
    }
}

/// Not a name of a resource.
struct NoName;

/// What a name leads to.
enum Place {
    /// It is there.
    Here(Resource),
    /// It is not there, and what would be above it is ours.
    Gone(Resource),
    /// It is in another project, folder or organization.
    Foreign(Resource),
}

impl Place {
    fn find(name: &str, snapshot: &Snapshot) -> Result<Self, NoName> {
        if let Some((of, account)) = account_name(name) {
            return Ok(Self::account(of, account, snapshot));
        }
        match snapshot.resource(name) {
            Ok(resource) => Ok(Place::Here(resource)),
            Err(ResourceError::Malformed) => Err(NoName),
            Err(ResourceError::NotFound) => match Resource::from_canonical(name, &snapshot.project) {
                Ok(resource) => Ok(Place::Gone(resource)),
                Err(ResourceError::Malformed) => Err(NoName),
                Err(ResourceError::NotFound) => {
                    Resource::of_form(name, &snapshot.project).map(Place::Foreign).map_err(|_| NoName)
                }
            },
        }
    }

    fn account(of: &str, account: &str, snapshot: &Snapshot) -> Self {
        use doorward_core::account::UniqueId;
        use doorward_core::snapshot::AccountKind;

        // Of one that is not there no policy says anything: only those of the project count.
        let nobody = || Resource::ServiceAccount { unique_id: UniqueId(String::new()) };
        if of != "-" && !is_project(of, &snapshot.project) {
            return Place::Foreign(nobody());
        }
        let found = match account.parse::<Email>() {
            Ok(email) => snapshot.service_account(&email).map(|(id, _)| id.clone()),
            Err(_) => {
                let entry = snapshot.account_entry(&UniqueId(account.to_owned()));
                entry.filter(|(_, known)| known.kind == AccountKind::ServiceAccount).map(|(id, _)| id.clone())
            }
        };
        match found {
            Some(unique_id) => Place::Here(Resource::ServiceAccount { unique_id }),
            None => Place::Gone(nobody()),
        }
    }

    fn resource(&self) -> &Resource {
        match self {
            Place::Here(resource) | Place::Gone(resource) | Place::Foreign(resource) => resource,
        }
    }
}

/// `(PROJECT, ACCOUNT)` of `projects/PROJECT/serviceAccounts/ACCOUNT`.
fn account_name(name: &str) -> Option<(&str, &str)> {
    let (of, account) = name.strip_prefix("projects/")?.split_once("/serviceAccounts/")?;
    (!of.contains('/') && !account.contains('/')).then_some((of, account))
}

/// Whether a segment is the project's id or number.
pub(crate) fn is_project(segment: &str, project: &Project) -> bool {
    segment == project.id || segment == project.number
}

/// A method of administration, as the record names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Method {
    service: &'static str,
    name: &'static str,
    kind: AdminKind,
    always: bool,
}

impl Method {
    /// One that only looks, and is recorded when it is refused. `service` is `iap.googleapis.com` or the like; `name` is the full
    /// name.
    pub const fn look(service: &'static str, name: &'static str) -> Self {
        Method { service, name, kind: AdminKind::Read, always: false }
    }

    /// One that only looks, and is always recorded, as Google's is.
    ///
    /// Spec: <https://cloud.google.com/iap/docs/audit-log-howto>
    pub const fn read(service: &'static str, name: &'static str) -> Self {
        Method { service, name, kind: AdminKind::Read, always: true }
    }

    /// One that changes who may do what, or what there is.
    pub const fn write(service: &'static str, name: &'static str) -> Self {
        Method { service, name, kind: AdminKind::Write, always: true }
    }

    /// One that changes what Google counts as data, such as settings.
    pub const fn write_data(service: &'static str, name: &'static str) -> Self {
        Method { service, name, kind: AdminKind::DataWrite, always: true }
    }
}

/// Records calls of administration. Cheap to clone.
#[derive(Clone)]
pub struct Changes {
    gate: Gate,
    audit: Arc<dyn AuditSink>,
    entropy: Arc<dyn Entropy>,
}

impl Changes {
    /// Calls that `gate` decides and `audit` records.
    pub fn new(gate: Gate, audit: Arc<dyn AuditSink>, entropy: Arc<dyn Entropy>) -> Self {
        Changes { gate, audit, entropy }
    }

    /// Who may do what.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Waits until what was recorded before can be read back: the record is written shortly after what it tells of. What cannot be
    /// written is not there.
    pub(crate) async fn settle(&self) {
        let _ = self.audit.written().await;
    }

    /// Begins a call about the resource that the caller wrote as `resource`.
    ///
    /// # Errors
    /// [`AdminError`]: nothing can be recorded, so nothing may be done.
    pub fn begin<'a>(&self, admin: &'a Admin, method: Method, resource: &str) -> Result<Call<'a>, AdminError> {
        if !self.audit.is_open() {
            return Err(AuditClosed.into());
        }
        let event = AdminEvent {
            id: random_base64url(&*self.entropy, 16)?,
            time: self.gate.clock.now(),
            service: method.service.to_owned(),
            method: method.name.to_owned(),
            kind: method.kind,
            resource: escaped(resource.as_bytes(), NAME_LIMIT),
            caller: Some(admin.member()),
            peer: admin.peer.map(|peer| peer.address.to_string()),
            user_agent: admin.user_agent.clone(),
            permissions: Vec::new(),
            before: None,
            after: None,
            code: 0,
            message: String::new(),
        };
        Ok(Call { admin, method, gate: self.gate.clone(), audit: self.audit.clone(), event: Some(Box::new(event)) })
    }
}

/// A call of administration that goes on. To be finished.
#[must_use = "finish it with its outcome"]
pub struct Call<'a> {
    admin: &'a Admin,
    method: Method,
    gate: Gate,
    audit: Arc<dyn AuditSink>,
    /// `None` once it is recorded.
    event: Option<Box<AdminEvent>>,
}

impl Call<'_> {
    /// Who calls.
    pub fn admin(&self) -> &Admin {
        self.admin
    }

    /// When the call arrived.
    pub fn time(&self) -> Timestamp {
        self.event.as_ref().map_or(self.gate.clock.now(), |event| event.time)
    }

    /// [`Gate::demand`], recorded.
    pub fn demand(&mut self, permission: Permission, resource: &Resource) -> Result<Permitted, AdminError> {
        self.demand_granting(permission, resource, None)
    }

    /// [`Gate::demand_granting`], recorded.
    pub fn demand_granting(
        &mut self,
        permission: Permission,
        resource: &Resource,
        roles: Option<&[String]>,
    ) -> Result<Permitted, AdminError> {
        let outcome = self.gate.demand_granting(self.admin, permission, resource, roles);
        let name = resource.name(&self.gate.snapshot().project);
        self.checked(permission, name, resource.type_name(), outcome.is_ok());
        Ok(outcome?)
    }

    /// As [`Call::demand`], of a resource that the caller did not name. A refusal tells of the project instead: they do not learn what
    /// is there.
    pub fn demand_unnamed(&mut self, permission: Permission, resource: &Resource) -> Result<Permitted, AdminError> {
        self.demand(permission, resource).map_err(|error| match error {
            AdminError::Forbidden(Forbidden { permission, .. }) => {
                let resource = Resource::Project.name(&self.gate.snapshot().project);
                Forbidden { permission, resource, service: Resource::Project.service() }.into()
            }
            AdminError::NotFound(_)
            | AdminError::Malformed(_)
            | AdminError::AuditClosed(_)
            | AdminError::Entropy(_) => error,
        })
    }

    /// [`Gate::reach`], recorded. From then on the call is about what was found.
    pub fn reach(&mut self, name: &str, permission: impl Fn(&Resource) -> Permission) -> Result<Permitted, AdminError> {
        let outcome = self.gate.reach(self.admin, name, permission);
        match &outcome {
            Ok(permitted) => {
                let resource = permitted.resource.type_name();
                self.checked(permitted.permission, permitted.name.clone(), resource, true);
                self.about(&permitted.name);
            }
            Err(AdminError::Forbidden(forbidden)) => {
                self.checked(forbidden.permission, forbidden.resource.clone(), "", false);
            }
            Err(
                AdminError::NotFound(_)
                | AdminError::Malformed(_)
                | AdminError::AuditClosed(_)
                | AdminError::Entropy(_),
            ) => {}
        }
        outcome
    }

    /// Records what was found lacking beside the call.
    pub(crate) fn lacks(&mut self, forbidden: Forbidden) -> AdminError {
        self.checked(forbidden.permission, escaped(forbidden.resource.as_bytes(), NAME_LIMIT), "", false);
        forbidden.into()
    }

    fn checked(&mut self, permission: Permission, resource: String, resource_type: &str, granted: bool) {
        let permission = permission.name().to_owned();
        let resource_type = resource_type.to_owned();
        let Some(event) = &mut self.event else { return };
        // Asked again once more is known, as a policy that is to be replaced: the last answer holds.
        match event.permissions.iter_mut().find(|known| known.permission == permission && known.resource == resource) {
            Some(known) => known.granted = granted,
            None => event.permissions.push(CheckedPermission { permission, resource, resource_type, granted }),
        }
    }

    /// Says what the call is about: the canonical name.
    pub fn about(&mut self, resource: &str) {
        if let Some(event) = &mut self.event {
            resource.clone_into(&mut event.resource);
        }
    }

    /// Says what is there, and what will be. To be said before anything is changed, as a reader may see it: never a secret.
    pub fn changes(&mut self, before: Option<&impl Serialize>, after: Option<&impl Serialize>) {
        let json = |value| serde_json::to_value(value).unwrap_or(Value::Null);
        if let Some(event) = &mut self.event {
            event.before = before.map(|value| serde_json::to_value(value).unwrap_or(Value::Null));
            event.after = after.map(json);
        }
    }

    /// As [`Call::changes`], of something new.
    pub fn creates(&mut self, after: &impl Serialize) {
        self.changes(None::<&Value>, Some(after));
    }

    /// As [`Call::changes`], of something that goes.
    pub fn removes(&mut self, before: &impl Serialize) {
        self.changes(Some(before), None::<&Value>);
    }

    /// Says what became of the change, where that is more than was known before.
    pub fn changed_to(&mut self, after: &impl Serialize) {
        if let Some(event) = &mut self.event {
            event.after = Some(serde_json::to_value(after).unwrap_or(Value::Null));
        }
    }

    /// Records the call with its outcome. A change, and what may be one, is in the store of records when this returns.
    ///
    /// # Errors
    /// The failure itself, or [`AdminError::AuditClosed`]: what cannot be recorded is not answered with success.
    pub async fn finish<T, E>(mut self, outcome: Result<T, E>) -> Result<T, E>
    where
        E: Failure + From<AdminError>,
    {
        let Some(mut event) = self.event.take() else { return outcome };
        match &outcome {
            Ok(_) if !self.method.always => return outcome,
            Ok(_) => {}
            Err(error) => {
                // After a failure of ours what was to be may be what is: a write that was not put in force stands all the same.
                if !may_stand(&outcome) {
                    event.after = None;
                }
                event.code = error.status().number();
                event.message = error.to_string();
            }
        }
        let durably = may_stand(&outcome) && self.changes_something();
        // Beside this call: a client that hangs up while the record is behind ends the call, and must not end its record.
        let recording = tokio::spawn(record(self.audit.clone(), event, durably));
        join(recording).await.unwrap_or(Err(AuditClosed)).map_err(AdminError::from)?;
        outcome
    }

    fn changes_something(&self) -> bool {
        match self.method.kind {
            AdminKind::Write | AdminKind::DataWrite => true,
            AdminKind::Read => false,
        }
    }
}

/// Whether what a call was about may have been changed: it was, or it is not known.
fn may_stand<T, E: Failure>(outcome: &Result<T, E>) -> bool {
    outcome.as_ref().err().is_none_or(|error| error.status() == Status::Internal)
}

async fn record(audit: Arc<dyn AuditSink>, event: Box<AdminEvent>, durably: bool) -> Result<(), AuditClosed> {
    let event = AuditEvent::Admin(event);
    if durably { audit.record_durably(event).await } else { audit.record(event).await }
}

/// `google.rpc.Code.UNKNOWN`
const UNKNOWN: i32 = 2;

impl Drop for Call<'_> {
    /// A client that hangs up must not leave a change without a record.
    fn drop(&mut self) {
        let Some(mut event) = self.event.take() else { return };
        if !self.method.always && event.permissions.iter().all(|checked| checked.granted) {
            return;
        }
        event.code = UNKNOWN;
        "the client hung up before it was known what came of it".clone_into(&mut event.message);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            // What it changed may stand.
            runtime.spawn(record(self.audit.clone(), event, self.changes_something()));
        }
    }
}
