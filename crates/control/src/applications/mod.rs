//! What is protected. An application is a backend service, a version of an App Engine service or a Cloud Run service; the APIs of Google
//! for these, and `doorward app`, show and change the same thing.

mod app_engine;
mod backend_services;
mod clients;
mod draft;
mod reserved;

use std::sync::Arc;

use doorward_core::entropy::{Entropy, EntropyError, random_digits};
use doorward_core::policy::{Etag, Permission};
use doorward_core::resource::{
    Application, ApplicationName, ApplicationNameError, ClientId, Resource, Route, ServiceKind, UpstreamError,
};
use doorward_core::store::{ApplicationRefused, Store, StoreError};
use doorward_wire::doorward_api::{ApplicationResource, ListApplicationsResponse};
use doorward_wire::google_api::{FieldMask, FieldMaskError, Status};

use crate::admin::{Admin, AdminError, Call, Changes, Failure, Method};
use crate::etags::{self, NoState};
use crate::snapshots::{RefreshError, SnapshotPublisher};

pub use app_engine::AppEngine;
pub use backend_services::{BackendServices, Scope};
pub use clients::web_client;
pub(crate) use clients::{is_for_applications, make as make_client};
pub use draft::{DESCRIPTION_LIMIT, LABELS_LIMIT, PLACES_LIMIT, UPSTREAM_LIMIT, UPSTREAMS_LIMIT};
pub use draft::{WrittenKind, is_word, kind, written_kind};
pub(crate) use draft::{description, hosts_of, labels, number, prefixes_of, routes, upstreams};
pub use reserved::{OwnHosts, ReservedHost, ReservedHosts};

use clients::{Brought, ClientChange, SECRET_LEAST, SECRET_LIMIT};

/// Digits of a number that we give: fewer than 2^63, as clients of Google's read it.
const NUMBER_DIGITS: usize = 19;

const OURS: &str = "doorward";
const LIST: Method = Method::look(OURS, "doorward.v1.Applications.ListApplications");
const GET: Method = Method::look(OURS, "doorward.v1.Applications.GetApplication");
const CREATE: Method = Method::write(OURS, "doorward.v1.Applications.CreateApplication");
const UPDATE: Method = Method::write(OURS, "doorward.v1.Applications.UpdateApplication");
const DELETE: Method = Method::write(OURS, "doorward.v1.Applications.DeleteApplication");

/// Why something was not done with an application.
#[derive(Debug, thiserror::Error)]
pub enum ApplicationError {
    /// The caller may not, or the project is another one.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// Not a name.
    #[error(transparent)]
    Name(#[from] ApplicationNameError),
    /// There is none of that name.
    #[error("there is no application {0:?}")]
    NotFound(String),
    /// Two kinds or regions have one of that name.
    #[error("there are several applications {0:?}: name one by its number")]
    Ambiguous(String),
    /// An operation that never was.
    #[error("there is no operation {0:?}")]
    NoOperation(String),
    /// There is one of that name.
    #[error("there is an application {0:?}, or one of that service and version")]
    NameTaken(String),
    /// There is one of that number.
    #[error("there is an application of number {0}")]
    NumberTaken(String),
    /// Another one is served there.
    #[error("another application is served at {}{}", .0.origin, .0.prefix.as_str())]
    PlaceTaken(Box<Route>),
    /// It was changed since the caller read it.
    #[error("there were concurrent changes")]
    Stale,
    /// Not a host.
    #[error("{0:?} is no host: write wiki.example.com, or https://wiki.example.com:8443")]
    Host(String),
    /// No application is at that host.
    #[error(transparent)]
    ReservedHost(#[from] ReservedHost),
    /// Not a prefix.
    #[error(
        "{0:?} is no path prefix: it starts with '/', and has no empty and no dot segment, no '%', ';', '?' or '#'"
    )]
    PathPrefix(String),
    /// A prefix, and no host of which it could be one.
    #[error("path prefixes need a host")]
    PrefixWithoutHost,
    /// Not an upstream.
    #[error("{url:?} is no upstream: {cause}")]
    Upstream {
        /// What was written, without credentials.
        url: String,
        /// Why.
        cause: UpstreamError,
    },
    /// Something is there twice.
    #[error("{0:?} is there twice")]
    Twice(String),
    /// A list is too long.
    #[error("an application has not so many {0}")]
    TooMany(&'static str),
    /// Not a description.
    #[error("a description has at most {DESCRIPTION_LIMIT} bytes and no control characters")]
    Description,
    /// Not labels.
    #[error(
        "there are at most {LABELS_LIMIT} labels; keys and values have up to 63 of a-z, 0-9, '-' and '_', and a key begins with a letter"
    )]
    Labels,
    /// Not a number.
    #[error("{0:?} is no number of a backend service")]
    Number(String),
    /// Not a region, service or version.
    #[error("{value:?} is no {field}: it has 1 to 63 of a-z, 0-9 and '-'")]
    Word {
        /// Which.
        field: &'static str,
        /// As it was sent.
        value: String,
    },
    /// A kind needs it.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A kind does not have it.
    #[error("an application of this kind has no {0}")]
    FieldOfAnotherKind(&'static str),
    /// It does not change in the life of an application.
    #[error("{0} does not change: make another application")]
    ReadOnly(&'static str),
    /// The mask names something that is no field.
    #[error(transparent)]
    Mask(#[from] FieldMaskError),
    /// A field of Google's that has no effect here. To pass over it would be to say that it holds.
    #[error("field {0} is not served")]
    NotServed(String),
    /// A filter of another form.
    #[error("{0:?} is no filter that is served: write name=NAME, name eq NAME or name:(A B)")]
    Filter(String),
    /// A page token of somebody else.
    #[error("not a page token")]
    PageToken,
    /// What came of a change is no resource.
    #[error("the body is not valid: {0}")]
    Body(#[from] serde_json::Error),
    /// Not a client id.
    #[error("{0:?} is no client id: it is like 123-abc.apps.googleusercontent.com")]
    ClientId(String),
    /// Not a secret. Whoever may see the application sees its hash, so it must not be one that can be guessed.
    #[error("a client secret has {SECRET_LEAST} to {SECRET_LIMIT} bytes")]
    ClientSecret,
    /// A client that is not for applications.
    #[error("client {} is no web client of this project", .0.0)]
    ClientKind(ClientId),
    /// The client came or went in the meantime.
    #[error("client {} came or went at the same time", .0.0)]
    ClientChanged(ClientId),
    /// The store failed.
    #[error("could not read or write applications")]
    Store(#[from] StoreError),
    /// The change is stored, and it is not known whether it is in force.
    #[error("could not put the change in force")]
    Refresh(#[from] RefreshError),
    /// No number, id or secret could be made.
    #[error("could not make a number or a secret")]
    Entropy(#[from] EntropyError),
}

impl Failure for ApplicationError {
    fn status(&self) -> Status {
        use ApplicationError as E;
        match self {
            E::Admin(error) => error.status(),
            E::NotFound(_) | E::NoOperation(_) => Status::NotFound,
            E::NameTaken(_) | E::NumberTaken(_) | E::PlaceTaken(_) => Status::AlreadyExists,
            E::Stale | E::ClientChanged(_) => Status::Aborted,
            E::Ambiguous(_) | E::ClientKind(_) => Status::FailedPrecondition,
            E::Name(_)
            | E::Host(_)
            | E::ReservedHost(_)
            | E::PathPrefix(_)
            | E::PrefixWithoutHost
            | E::Upstream { .. }
            | E::Twice(_)
            | E::TooMany(_)
            | E::Description
            | E::Labels
            | E::Number(_)
            | E::Word { .. }
            | E::Missing(_)
            | E::FieldOfAnotherKind(_)
            | E::ReadOnly(_)
            | E::Mask(_)
            | E::NotServed(_)
            | E::Filter(_)
            | E::PageToken
            | E::Body(_)
            | E::ClientId(_)
            | E::ClientSecret => Status::InvalidArgument,
            E::Store(_) | E::Refresh(_) | E::Entropy(_) => Status::Internal,
        }
    }
}

/// The applications of the one project. Cheap to clone.
#[derive(Clone)]
pub struct Applications {
    store: Arc<dyn Store>,
    publisher: Arc<SnapshotPublisher>,
    entropy: Arc<dyn Entropy>,
    changes: Changes,
    reserved: Arc<ReservedHosts>,
}

/// What is done with an application.
#[derive(Debug, Clone, Copy)]
enum Act {
    Create,
    Get,
    Update,
    Delete,
}

/// What it demands. A Cloud Run service is registered with us alone, and counts as a backend service.
fn permission(kind: &ServiceKind, act: Act) -> Permission {
    match (kind, act) {
        (ServiceKind::AppEngine { .. }, Act::Get) => Permission::GetAppEngineApplication,
        (ServiceKind::AppEngine { .. }, Act::Create | Act::Update | Act::Delete) => {
            Permission::UpdateAppEngineApplication
        }
        (ServiceKind::BackendService { .. } | ServiceKind::CloudRun { .. }, Act::Create) => {
            Permission::CreateBackendService
        }
        (ServiceKind::BackendService { .. } | ServiceKind::CloudRun { .. }, Act::Get) => Permission::GetBackendService,
        (ServiceKind::BackendService { .. } | ServiceKind::CloudRun { .. }, Act::Update) => {
            Permission::UpdateBackendService
        }
        (ServiceKind::BackendService { .. } | ServiceKind::CloudRun { .. }, Act::Delete) => {
            Permission::DeleteBackendService
        }
    }
}

/// A client that an application is to have.
#[derive(Debug, Clone, Copy, Default)]
struct WantedClient<'a> {
    /// `None`: the one that it has, or else a new one of ours.
    id: Option<&'a str>,
    secret: Option<&'a str>,
}

/// An application that is to be registered, read and checked.
struct NewApplication {
    name: ApplicationName,
    kind: ServiceKind,
    number: Option<String>,
    iap_enabled: bool,
    routes: Vec<Route>,
    upstreams: Vec<String>,
    description: String,
    labels: std::collections::BTreeMap<String, String>,
}

impl Applications {
    /// Applications in `store`, put in force by `publisher`; none at a host that is `reserved`.
    pub fn new(
        store: Arc<dyn Store>,
        publisher: Arc<SnapshotPublisher>,
        entropy: Arc<dyn Entropy>,
        changes: Changes,
        reserved: ReservedHosts,
    ) -> Self {
        Applications { store, publisher, entropy, changes, reserved: Arc::new(reserved) }
    }

    /// Every application, in the order of their names.
    pub async fn list(&self, admin: &Admin) -> Result<ListApplicationsResponse, ApplicationError> {
        let mut call = self.changes.begin(admin, LIST, &self.project_name())?;
        let outcome = async {
            self.publisher.catch_up().await?;
            call.demand(Permission::ListBackendServices, &Resource::Project)?;
            let applications = self.store.applications().await?;
            let project = self.publisher.project();
            let applications = applications.iter().map(|it| draft::show(it, project)).collect();
            Ok(ListApplicationsResponse { applications, next_page_token: None })
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// The application of a name or number.
    pub async fn get(&self, admin: &Admin, name: &str) -> Result<ApplicationResource, ApplicationError> {
        let mut call = self.changes.begin(admin, GET, name)?;
        let outcome = self.reach(&mut call, name, Act::Get).await;
        call.finish(outcome.map(|found| draft::show(&found, self.publisher.project()))).await
    }

    /// Registers an application.
    pub async fn create(
        &self,
        admin: &Admin,
        new: ApplicationResource,
    ) -> Result<ApplicationResource, ApplicationError> {
        let mut call = self.changes.begin(admin, CREATE, &new.name)?;
        let outcome = self.created(&mut call, new).await;
        call.finish(outcome).await
    }

    async fn created(
        &self,
        call: &mut Call<'_>,
        new: ApplicationResource,
    ) -> Result<ApplicationResource, ApplicationError> {
        self.publisher.catch_up().await?;
        let (region, service, version) = (new.region.as_deref(), new.service.as_deref(), new.version.as_deref());
        let kind = draft::kind(WrittenKind { kind: new.kind, region, service, version });
        // Who may not make one learns nothing more, whatever they send.
        let act = kind.as_ref().map_or(Permission::CreateBackendService, |kind| permission(kind, Act::Create));
        call.demand(act, &Resource::Project)?;
        let kind = kind?;
        let is_backend_service = matches!(kind, ServiceKind::BackendService { .. });
        if new.id.is_some() && !is_backend_service {
            return Err(ApplicationError::FieldOfAnotherKind("id"));
        }
        let checked = NewApplication {
            name: new.name.parse()?,
            kind,
            number: new.id.as_deref().map(draft::number).transpose()?,
            iap_enabled: new.iap_enabled.unwrap_or(true),
            routes: self.routes(&new.hosts, &new.path_prefixes)?,
            upstreams: draft::upstreams(&new.upstreams)?,
            description: draft::description(&new.description)?,
            labels: draft::labels(&new.labels)?,
        };
        let client = WantedClient { id: new.client_id.as_deref().filter(|id| !id.is_empty()), secret: None };
        let made = self.add(call, checked, client).await?;
        Ok(draft::show(&made, self.publisher.project()))
    }

    /// Changes an application: all that can change, or what a mask names. Without `iapEnabled` or `clientId`, these stay. With an etag,
    /// only if it is in that state.
    pub async fn update(
        &self,
        admin: &Admin,
        name: &str,
        new: ApplicationResource,
        mask: Option<&str>,
    ) -> Result<ApplicationResource, ApplicationError> {
        let mut call = self.changes.begin(admin, UPDATE, name)?;
        let outcome = self.updated(&mut call, name, new, mask).await;
        call.finish(outcome).await
    }

    async fn updated(
        &self,
        call: &mut Call<'_>,
        name: &str,
        new: ApplicationResource,
        mask: Option<&str>,
    ) -> Result<ApplicationResource, ApplicationError> {
        const FIELDS: [&str; 7] =
            ["description", "labels", "hosts", "pathPrefixes", "upstreams", "iapEnabled", "clientId"];
        let before = self.reach(call, name, Act::Update).await?;
        let project = self.publisher.project();
        check_state(&before, &new.etag)?;
        let mask = FieldMask::parse(mask.unwrap_or_default(), "application", &FIELDS)?;
        let old = draft::show(&before, project);
        let new = match mask {
            FieldMask::Everything => new,
            FieldMask::Paths(_) => {
                serde_json::from_value(mask.apply(&serde_json::to_value(&old)?, &serde_json::to_value(&new)?))?
            }
        };
        check_fixed(&old, &new)?;
        let after = Application {
            iap_enabled: new.iap_enabled.unwrap_or(before.iap_enabled),
            routes: self.routes(&new.hosts, &new.path_prefixes)?,
            upstreams: draft::upstreams(&new.upstreams)?,
            description: draft::description(&new.description)?,
            labels: draft::labels(&new.labels)?,
            ..before.clone()
        };
        let client = WantedClient { id: new.client_id.as_deref().filter(|id| !id.is_empty()), secret: None };
        let written = self.write(call, before, after, client).await?;
        Ok(draft::show(&written, project))
    }

    /// Lets callers in, or nobody.
    pub async fn set_enabled(
        &self,
        admin: &Admin,
        name: &str,
        enabled: bool,
    ) -> Result<ApplicationResource, ApplicationError> {
        let mut call = self.changes.begin(admin, UPDATE, name)?;
        let outcome = async {
            let before = self.reach(&mut call, name, Act::Update).await?;
            let after = Application { iap_enabled: enabled, ..before.clone() };
            let written = self.write(&mut call, before, after, WantedClient::default()).await?;
            Ok(draft::show(&written, self.publisher.project()))
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Removes an application, with the policies and settings on it. Its client stays: it may serve another one. With an etag, only if
    /// it is in that state.
    pub async fn delete(&self, admin: &Admin, name: &str, etag: Option<&str>) -> Result<(), ApplicationError> {
        let mut call = self.changes.begin(admin, DELETE, name)?;
        let outcome = async {
            let found = self.reach(&mut call, name, Act::Delete).await?;
            check_state(&found, etag.unwrap_or_default())?;
            self.remove(&mut call, &found).await
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Reads where an application is to be reached ([`draft::routes`]): at no host that is reserved.
    fn routes(&self, hosts: &[String], prefixes: &[String]) -> Result<Vec<Route>, ApplicationError> {
        let routes = draft::routes(hosts, prefixes)?;
        self.check_hosts(&routes)?;
        Ok(routes)
    }

    /// Whether an application may be at these places.
    pub(crate) fn check_hosts(&self, routes: &[Route]) -> Result<(), ReservedHost> {
        routes.iter().try_for_each(|route| self.reserved.check(&route.origin.host))
    }

    fn project_name(&self) -> String {
        Resource::Project.name(self.publisher.project())
    }

    /// The application of a name or number, for somebody who may do this with it.
    async fn reach(&self, call: &mut Call<'_>, name: &str, act: Act) -> Result<Application, ApplicationError> {
        self.publisher.catch_up().await?;
        let found = self.find(name, |_| true).await;
        let kind = match &found {
            Ok(found) => found.kind.clone(),
            // Whether there is one is for those to know who could see it.
            Err(_) => ServiceKind::BackendService { region: None },
        };
        call.demand(permission(&kind, act), &Resource::Project)?;
        let found = found?;
        call.about(&found.service().name(self.publisher.project()));
        Ok(found)
    }

    /// The one application of a name or number among some.
    async fn find(&self, name: &str, among: impl Fn(&Application) -> bool) -> Result<Application, ApplicationError> {
        let fits = |it: &Application| (it.name.as_str() == name || it.service_id == name) && among(it);
        let snapshot = self.publisher.cell().current();
        let mut known = snapshot.applications().filter(|it| fits(&it.application));
        if let Some(first) = known.next() {
            if known.next().is_some() {
                return Err(ApplicationError::Ambiguous(name.to_owned()));
            }
            let id = first.application.service_id.clone();
            let found = self.store.application(&id).await?;
            return found.ok_or_else(|| ApplicationError::NotFound(name.to_owned()));
        }
        // It may have been made by another instance a moment ago.
        let all = self.store.applications().await?;
        all.into_iter().find(fits).ok_or_else(|| ApplicationError::NotFound(name.to_owned()))
    }

    /// Registers an application, with its client, for somebody who may.
    async fn add(
        &self,
        call: &mut Call<'_>,
        new: NewApplication,
        client: WantedClient<'_>,
    ) -> Result<Application, ApplicationError> {
        // Names are one for each kind and region in Google's APIs. Ours name an application by nothing else.
        if self.store.applications().await?.iter().any(|other| other.name == new.name) {
            return Err(ApplicationError::NameTaken(new.name.to_string()));
        }
        let number = match new.number {
            Some(number) => number,
            None => random_digits(&*self.entropy, NUMBER_DIGITS)?,
        };
        let (client_id, client) = self.client(call, client, None, &new.name).await?;
        let made = Application {
            name: new.name,
            service_id: number,
            kind: new.kind,
            client_id,
            iap_enabled: new.iap_enabled,
            routes: new.routes,
            upstreams: new.upstreams,
            description: new.description,
            labels: new.labels,
            etag: Etag::UNWRITTEN,
        };
        let project = self.publisher.project();
        call.about(&made.service().name(project));
        call.creates(&draft::show(&made, project));
        let store = self.store.clone();
        let write = async move {
            if !client.write(&*store).await? {
                return Err(ApplicationError::ClientChanged(made.client_id));
            }
            match store.add_application(&made).await? {
                Ok(etag) => Ok(Application { etag, ..made }),
                Err(cause) => {
                    client.take_back(&*store).await?;
                    Err(refused(cause, &made))
                }
            }
        };
        self.publisher.change(write).await
    }

    /// Replaces an application that was read in this state, with its client.
    async fn write(
        &self,
        call: &mut Call<'_>,
        before: Application,
        after: Application,
        client: WantedClient<'_>,
    ) -> Result<Application, ApplicationError> {
        let (client_id, client) = self.client(call, client, Some(&before.client_id), &before.name).await?;
        let after = Application { client_id, ..after };
        let project = self.publisher.project();
        call.changes(Some(&draft::show(&before, project)), Some(&draft::show(&after, project)));
        let store = self.store.clone();
        let write = async move {
            if !client.write(&*store).await? {
                return Err(ApplicationError::ClientChanged(after.client_id));
            }
            match store.replace_application(&after, Some(before.etag)).await? {
                Ok(etag) => Ok(Application { etag, ..after }),
                Err(cause) => {
                    client.take_back(&*store).await?;
                    Err(refused(cause, &after))
                }
            }
        };
        self.publisher.change(write).await
    }

    async fn remove(&self, call: &mut Call<'_>, found: &Application) -> Result<(), ApplicationError> {
        let project = self.publisher.project().clone();
        call.removes(&draft::show(found, &project));
        let (store, number, name) = (self.store.clone(), found.service_id.clone(), found.name.to_string());
        let write = async move {
            match store.remove_application(&number, &project).await? {
                true => Ok(()),
                false => Err(ApplicationError::NotFound(name)),
            }
        };
        self.publisher.change(write).await
    }

    /// What an application's client is, and what is to be done for it.
    async fn client(
        &self,
        call: &mut Call<'_>,
        wanted: WantedClient<'_>,
        present: Option<&ClientId>,
        name: &ApplicationName,
    ) -> Result<(ClientId, ClientChange), ApplicationError> {
        let project = self.publisher.project();
        match (wanted.id, present) {
            (Some(id), _) => {
                let brought = Brought { id, secret: wanted.secret, present };
                clients::bring(&*self.store, &*self.entropy, project, call, brought).await
            }
            (None, Some(present)) => Ok((present.clone(), ClientChange::Nothing)),
            (None, None) => {
                let (client, _) = clients::make(&*self.entropy, project, name.as_str(), call.time())?;
                Ok((client.id.clone(), ClientChange::Register(Box::new(client))))
            }
        }
    }
}

fn refused(cause: ApplicationRefused, application: &Application) -> ApplicationError {
    match cause {
        ApplicationRefused::NameTaken => ApplicationError::NameTaken(application.name.to_string()),
        ApplicationRefused::NumberTaken => ApplicationError::NumberTaken(application.service_id.clone()),
        ApplicationRefused::PlaceTaken(route) => ApplicationError::PlaceTaken(Box::new(route)),
        ApplicationRefused::Stale => ApplicationError::Stale,
        ApplicationRefused::NotFound => ApplicationError::NotFound(application.name.to_string()),
    }
}

/// An empty etag is the same as none.
fn check_state(application: &Application, etag: &str) -> Result<(), ApplicationError> {
    match etags::decode_text(etag) {
        Ok(seen) if seen.is_none_or(|seen| seen == application.etag) => Ok(()),
        Ok(_) | Err(NoState) => Err(ApplicationError::Stale),
    }
}

/// Whether what does not change is as it was, where it is said at all.
fn check_fixed(old: &ApplicationResource, new: &ApplicationResource) -> Result<(), ApplicationError> {
    let differs = |old: &Option<String>, new: &Option<String>| new.is_some() && new != old;
    let name = !new.name.is_empty() && new.name != old.name;
    // Absent, a kind is that of a backend service: there it says nothing.
    let kind = new.kind != old.kind && new.kind != doorward_wire::doorward_api::ApplicationKind::default();
    let changed = [
        (name, "name"),
        (kind, "kind"),
        (differs(&old.region, &new.region), "region"),
        (differs(&old.service, &new.service), "service"),
        (differs(&old.version, &new.version), "version"),
        (differs(&old.id, &new.id), "id"),
    ];
    match changed.into_iter().find(|(changed, _)| *changed) {
        Some((_, field)) => Err(ApplicationError::ReadOnly(field)),
        None => Ok(()),
    }
}
