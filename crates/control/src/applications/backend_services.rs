//! Applications as backend services: `compute.googleapis.com/compute/v1`, as far as gcloud needs it.
//!
//! gcloud changes one by reading it whole and sending it back whole. What Google's balancer would read of it, such as `protocol` and
//! `timeoutSec`, is taken and not kept; a field that would protect something is refused.

use doorward_core::policy::Permission;
use doorward_core::resource::{Application, ServiceKind};
use doorward_wire::google_api::IdentityAwareProxy;
use doorward_wire::google_api::compute::{
    ApplicationRoutes, BackendService, BackendServiceAggregatedList, BackendServiceList, BackendServicesScopedList,
    ListQuery, Operation, merge_patch,
};
use doorward_wire::time::rfc3339;
use serde_json::Value;
use std::collections::BTreeMap;

use super::{ApplicationError, Applications, NewApplication, WantedClient, clients, draft};
use crate::admin::{Admin, Call, Method};
use crate::etags::{self, NoState};

const COMPUTE: &str = "compute.googleapis.com";
const GET: Method = Method::look(COMPUTE, "v1.compute.backendServices.get");
const LIST: Method = Method::look(COMPUTE, "v1.compute.backendServices.list");
const AGGREGATED: Method = Method::look(COMPUTE, "v1.compute.backendServices.aggregatedList");
const INSERT: Method = Method::write(COMPUTE, "v1.compute.backendServices.insert");
const PATCH: Method = Method::write(COMPUTE, "v1.compute.backendServices.patch");
const UPDATE: Method = Method::write(COMPUTE, "v1.compute.backendServices.update");
const DELETE: Method = Method::write(COMPUTE, "v1.compute.backendServices.delete");
const OPERATION: Method = Method::look(COMPUTE, "v1.compute.operations.get");

/// Entries of a page, if it is not said, and at most.
const PAGE: usize = 500;

/// Fields of Google's that say how its balancer finds and serves backends. They protect nothing, so they may be passed over.
const OF_THE_BALANCER: [&str; 21] = [
    "affinityCookieTtlSec",
    "cdnPolicy",
    "circuitBreakers",
    "compressionMode",
    "connectionDraining",
    "consistentHash",
    "customMetrics",
    "enableCDN",
    "externalManagedMigrationState",
    "failoverPolicy",
    "healthChecks",
    "ipAddressSelectionPolicy",
    "localityLbPolicies",
    "localityLbPolicy",
    "logConfig",
    "outlierDetection",
    "port",
    "portName",
    "serviceBindings",
    "sessionAffinity",
    "timeoutSec",
];

/// A part of the collection, as a URL names it.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// The address under which the client reaches this API, up to `/compute/v1`: links begin with it, or gcloud does not follow them.
    pub base: &'a str,
    /// The project's segment: its id or number.
    pub project: &'a str,
    /// The region's segment; `None` for `global`.
    pub region: Option<&'a str>,
}

/// The backend services of the one project.
pub struct BackendServices {
    applications: Applications,
}

impl BackendServices {
    /// Applications of that kind.
    pub fn new(applications: Applications) -> Self {
        BackendServices { applications }
    }

    /// One of them, by name or number.
    ///
    /// Spec: <https://cloud.google.com/compute/docs/reference/rest/v1/backendServices/get>
    pub async fn get(&self, admin: &Admin, at: Scope<'_>, name: &str) -> Result<BackendService, ApplicationError> {
        let mut call = self.applications.changes.begin(admin, GET, name)?;
        let outcome = async {
            let found = self.reach(&mut call, at, name, Permission::GetBackendService).await?;
            self.show(at, &found).await
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Those of one scope, by name.
    pub async fn list(
        &self,
        admin: &Admin,
        at: Scope<'_>,
        query: &ListQuery,
    ) -> Result<BackendServiceList, ApplicationError> {
        let mut call = self.applications.changes.begin(admin, LIST, at.project)?;
        let outcome = async {
            self.enter(&mut call, at, Permission::ListBackendServices).await?;
            let (page, next_page_token) = self.page(query, |it| is_in(it, at.region)).await?;
            let mut items = Vec::with_capacity(page.len());
            for application in &page {
                items.push(self.show(at, application).await?);
            }
            let project = self.project_id();
            let (id, self_link) = (collection(project, at.region), collection_link(at.base, project, at.region));
            Ok(BackendServiceList {
                kind: "compute#backendServiceList".to_owned(),
                id,
                items,
                next_page_token,
                self_link,
            })
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Those of every scope: with this gcloud lists.
    pub async fn aggregated(
        &self,
        admin: &Admin,
        at: Scope<'_>,
        query: &ListQuery,
    ) -> Result<BackendServiceAggregatedList, ApplicationError> {
        let mut call = self.applications.changes.begin(admin, AGGREGATED, at.project)?;
        let outcome = async {
            self.enter(&mut call, at, Permission::ListBackendServices).await?;
            let (page, next_page_token) = self.page(query, |it| region_of(it).is_some()).await?;
            let mut items: BTreeMap<String, BackendServicesScopedList> = BTreeMap::new();
            for application in &page {
                let region = region_of(application).flatten();
                let shown = self.show(Scope { region, ..at }, application).await?;
                items.entry(scope_name(region)).or_default().backend_services.push(shown);
            }
            let project = self.project_id();
            Ok(BackendServiceAggregatedList {
                kind: "compute#backendServiceAggregatedList".to_owned(),
                id: format!("projects/{project}/aggregated/backendServices"),
                items,
                next_page_token,
                self_link: format!("{}/projects/{project}/aggregated/backendServices", at.base),
            })
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Registers an application. Nobody is let in unless `iap.enabled` says so.
    pub async fn insert(
        &self,
        admin: &Admin,
        at: Scope<'_>,
        body: BackendService,
    ) -> Result<Operation, ApplicationError> {
        let mut call = self.applications.changes.begin(admin, INSERT, &body.name)?;
        let outcome = async {
            self.enter(&mut call, at, Permission::CreateBackendService).await?;
            check_fields(&body)?;
            let routes = body.doorward.unwrap_or_default();
            let region = at.region;
            let kind = draft::WrittenKind { region, ..draft::WrittenKind::default() };
            let iap = body.iap.unwrap_or_default();
            let new = NewApplication {
                name: body.name.parse()?,
                kind: draft::kind(kind)?,
                // Ours to say, and a client that copies one from Google sends Google's.
                number: None,
                iap_enabled: iap.enabled.unwrap_or(false),
                routes: self.applications.routes(&routes.hosts, &routes.path_prefixes)?,
                upstreams: draft::upstreams(&routes.upstreams)?,
                description: draft::description(body.description.as_deref().unwrap_or_default())?,
                labels: BTreeMap::new(),
            };
            let made = self.applications.add(&mut call, new, wanted(&iap)).await?;
            Ok(self.operation_on(&call, at, "insert", &made))
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Changes an application: objects are merged, `null` removes (RFC 7396). With a fingerprint, only if it is in that state.
    pub async fn patch(
        &self,
        admin: &Admin,
        at: Scope<'_>,
        name: &str,
        patch: &Value,
    ) -> Result<Operation, ApplicationError> {
        let mut call = self.applications.changes.begin(admin, PATCH, name)?;
        let outcome = async {
            let found = self.reach(&mut call, at, name, Permission::UpdateBackendService).await?;
            let mut merged = serde_json::to_value(self.show(at, &found).await?)?;
            merge_patch(&mut merged, patch);
            // `null` for what is not there: nothing to remove.
            let body: BackendService = serde_json::from_value(merged)?;
            let written = self.write(&mut call, found, body, Absent::Cleared).await?;
            Ok(self.operation_on(&call, at, "patch", &written))
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Replaces an application. What is only ours, and whether anybody is let in, stays if it is not said: a client that does not know
    /// of it must not take it away.
    pub async fn update(
        &self,
        admin: &Admin,
        at: Scope<'_>,
        name: &str,
        body: BackendService,
    ) -> Result<Operation, ApplicationError> {
        let mut call = self.applications.changes.begin(admin, UPDATE, name)?;
        let outcome = async {
            let found = self.reach(&mut call, at, name, Permission::UpdateBackendService).await?;
            let written = self.write(&mut call, found, body, Absent::Stays).await?;
            Ok(self.operation_on(&call, at, "update", &written))
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Removes an application, with the policies and settings on it.
    pub async fn delete(&self, admin: &Admin, at: Scope<'_>, name: &str) -> Result<Operation, ApplicationError> {
        let mut call = self.applications.changes.begin(admin, DELETE, name)?;
        let outcome = async {
            let found = self.reach(&mut call, at, name, Permission::DeleteBackendService).await?;
            self.applications.remove(&mut call, &found).await?;
            Ok(self.operation_on(&call, at, "delete", &found))
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// An operation of before, which is done: `get` and `wait`. Operations are not kept; what one was about is in its name.
    pub async fn operation(&self, admin: &Admin, at: Scope<'_>, name: &str) -> Result<Operation, ApplicationError> {
        let permission = match at.region {
            None => Permission::GetGlobalOperation,
            Some(_) => Permission::GetRegionOperation,
        };
        let mut call = self.applications.changes.begin(admin, OPERATION, name)?;
        let outcome = async {
            self.enter(&mut call, at, permission).await?;
            let missing = || ApplicationError::NoOperation(name.to_owned());
            let told = Told::read(name).ok_or_else(missing)?;
            let found = self.applications.store.application(told.number).await?;
            let is_so = match &found {
                Some(it) => told.kind != "delete" && it.name.as_str() == told.name && is_in(it, at.region),
                None => told.kind == "delete",
            };
            if !is_so {
                return Err(missing());
            }
            Ok(told.operation(at, self.project_id(), None))
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    fn project_id(&self) -> &str {
        &self.applications.publisher.project().id
    }

    /// Proves that the project of a URL is ours, and that the caller may do this in it.
    async fn enter(&self, call: &mut Call<'_>, at: Scope<'_>, permission: Permission) -> Result<(), ApplicationError> {
        self.applications.publisher.catch_up().await?;
        call.reach(&format!("projects/{}", at.project), |_| permission)?;
        Ok(())
    }

    async fn reach(
        &self,
        call: &mut Call<'_>,
        at: Scope<'_>,
        name: &str,
        permission: Permission,
    ) -> Result<Application, ApplicationError> {
        self.enter(call, at, permission).await?;
        let found = self.applications.find(name, |it| is_in(it, at.region)).await?;
        call.about(&found.service().name(self.applications.publisher.project()));
        Ok(found)
    }

    async fn write(
        &self,
        call: &mut Call<'_>,
        found: Application,
        body: BackendService,
        absent: Absent,
    ) -> Result<Application, ApplicationError> {
        check_fields(&body)?;
        if body.name != found.name.as_str() && !body.name.is_empty() {
            return Err(ApplicationError::ReadOnly("name"));
        }
        if body.id.as_ref().is_some_and(|id| *id != found.service_id) {
            return Err(ApplicationError::ReadOnly("id"));
        }
        match etags::decode(body.fingerprint.as_ref()) {
            Ok(seen) if seen.is_none_or(|seen| seen == found.etag) => {}
            Ok(_) | Err(NoState) => return Err(ApplicationError::Stale),
        }
        let routes = match (body.doorward, absent) {
            (None, Absent::Stays) => routes_of(&found),
            (routes, Absent::Cleared | Absent::Stays) => routes.unwrap_or_default(),
        };
        let iap = match (body.iap, absent) {
            (None, Absent::Stays) => IdentityAwareProxy { enabled: Some(found.iap_enabled), ..Default::default() },
            (iap, Absent::Cleared | Absent::Stays) => iap.unwrap_or_default(),
        };
        let after = Application {
            iap_enabled: iap.enabled.unwrap_or(false),
            routes: self.applications.routes(&routes.hosts, &routes.path_prefixes)?,
            upstreams: draft::upstreams(&routes.upstreams)?,
            description: draft::description(body.description.as_deref().unwrap_or_default())?,
            ..found.clone()
        };
        self.applications.write(call, found, after, wanted(&iap)).await
    }

    async fn show(&self, at: Scope<'_>, application: &Application) -> Result<BackendService, ApplicationError> {
        let client = self.applications.store.oauth_client(&application.client_id).await?;
        let project = self.project_id();
        let over_tls =
            !application.upstreams.is_empty() && application.upstreams.iter().all(|url| url.starts_with("https"));
        Ok(BackendService {
            kind: Some("compute#backendService".to_owned()),
            id: Some(application.service_id.clone()),
            name: application.name.to_string(),
            description: Some(application.description.clone()).filter(|text| !text.is_empty()),
            self_link: Some(link(at.base, project, region_of(application).flatten(), application.name.as_str())),
            region: at.region.map(|region| format!("{}/projects/{project}/regions/{region}", at.base)),
            protocol: Some(if over_tls { "HTTPS" } else { "HTTP" }.to_owned()),
            load_balancing_scheme: Some("EXTERNAL_MANAGED".to_owned()),
            fingerprint: Some(etags::encode(application.etag)),
            iap: Some(IdentityAwareProxy {
                enabled: Some(application.iap_enabled),
                oauth2_client_id: Some(application.client_id.0.clone()),
                oauth2_client_secret: None,
                oauth2_client_secret_sha256: client.as_ref().and_then(clients::secret_sha256),
            }),
            doorward: Some(routes_of(application)).filter(|routes| *routes != ApplicationRoutes::default()),
            ..BackendService::default()
        })
    }

    /// One page of some applications, in the order of names, and what gives the next.
    async fn page(
        &self,
        query: &ListQuery,
        among: impl Fn(&Application) -> bool,
    ) -> Result<(Vec<Application>, Option<String>), ApplicationError> {
        let names = query.filter.as_deref().filter(|filter| !filter.trim().is_empty()).map(names_of).transpose()?;
        let after = match query.page_token.as_deref().filter(|token| !token.is_empty()) {
            None => None,
            Some(token) => Some(position(token).ok_or(ApplicationError::PageToken)?),
        };
        let size = query.max_results.filter(|size| *size > 0).map_or(PAGE, |size| (size as usize).min(PAGE));
        let fits = |it: &Application| {
            among(it) && names.as_ref().is_none_or(|names| names.iter().any(|name| name == it.name.as_str()))
        };
        let mut all: Vec<Application> =
            self.applications.store.applications().await?.into_iter().filter(fits).collect();
        let place = |it: &Application| (it.name.to_string(), it.service_id.clone());
        all.sort_by_cached_key(place);
        let mut rest: Vec<Application> = match after {
            None => all,
            Some(after) => all.into_iter().filter(|it| place(it) > after).collect(),
        };
        let more = rest.len() > size;
        rest.truncate(size);
        let next = rest.last().filter(|_| more).map(|last| format!("{}.{}", last.name, last.service_id));
        Ok((rest, next))
    }

    fn operation_on(&self, call: &Call<'_>, at: Scope<'_>, kind: &str, application: &Application) -> Operation {
        let micros = call.time().micros().unsigned_abs();
        let told = Told { kind, micros, number: &application.service_id, name: application.name.as_str() };
        let member = call.admin().member();
        let user = member.split_once(':').map_or(member.as_str(), |(_, user)| user);
        told.operation(at, self.project_id(), Some(user))
    }
}

/// What becomes of `iap` and `doorward` that are not in a body.
#[derive(Clone, Copy)]
enum Absent {
    Cleared,
    Stays,
}

/// The region of a backend service, `None` inside for a global one.
fn region_of(application: &Application) -> Option<Option<&str>> {
    match &application.kind {
        ServiceKind::BackendService { region } => Some(region.as_deref()),
        ServiceKind::AppEngine { .. } | ServiceKind::CloudRun { .. } => None,
    }
}

fn is_in(application: &Application, region: Option<&str>) -> bool {
    region_of(application) == Some(region)
}

fn routes_of(application: &Application) -> ApplicationRoutes {
    ApplicationRoutes {
        hosts: draft::hosts_of(application),
        path_prefixes: draft::prefixes_of(application),
        upstreams: application.upstreams.clone(),
    }
}

/// An empty id is no id: gcloud sends one when it switches IAP off. The application keeps its client then.
fn wanted(iap: &IdentityAwareProxy) -> WantedClient<'_> {
    let id = iap.oauth2_client_id.as_deref().map(str::trim).filter(|id| !id.is_empty());
    let secret = iap.oauth2_client_secret.as_ref().map(|secret| secret.0.as_str()).filter(|it| !it.trim().is_empty());
    WantedClient { id, secret: secret.filter(|_| id.is_some()) }
}

/// Refuses what would be believed to hold and would not.
fn check_fields(body: &BackendService) -> Result<(), ApplicationError> {
    let says_nothing = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    };
    let wrong =
        body.others.iter().find(|(name, value)| !OF_THE_BALANCER.contains(&name.as_str()) && !says_nothing(value));
    match wrong {
        Some((name, _)) => Err(ApplicationError::NotServed(name.clone())),
        None => Ok(()),
    }
}

fn scope_name(region: Option<&str>) -> String {
    region.map_or_else(|| "global".to_owned(), |region| format!("regions/{region}"))
}

fn collection(project: &str, region: Option<&str>) -> String {
    format!("projects/{project}/{}/backendServices", scope_name(region))
}

fn collection_link(base: &str, project: &str, region: Option<&str>) -> String {
    format!("{base}/{}", collection(project, region))
}

fn link(base: &str, project: &str, region: Option<&str>, name: &str) -> String {
    format!("{}/{name}", collection_link(base, project, region))
}

/// What a page token says: the last name and number before the page.
fn position(token: &str) -> Option<(String, String)> {
    let (name, number) = token.split_once('.')?;
    Some((name.to_owned(), number.to_owned()))
}

/// The names that a filter lets through: `name=A`, `name eq A`, `name:A`, `name:(A B)`, with quotation marks or without, and as gcloud
/// writes it, `name eq ".*(^A$).*"`.
fn names_of(filter: &str) -> Result<Vec<String>, ApplicationError> {
    let wrong = || ApplicationError::Filter(filter.to_owned());
    let whole = unwrapped(filter.trim(), '(', ')');
    let rest = whole.strip_prefix("name").ok_or_else(wrong)?;
    let bare = rest.trim_start();
    let value = bare.strip_prefix('=').or_else(|| bare.strip_prefix(':'));
    let value =
        value.or_else(|| rest.starts_with(' ').then(|| bare.strip_prefix("eq ")).flatten()).ok_or_else(wrong)?;
    let listed = unwrapped(value.trim(), '(', ')');
    let names: Vec<String> = listed
        .split_whitespace()
        .map(|word| unwrapped(word, '"', '"'))
        .map(|word| word.strip_prefix(".*(^").and_then(|rest| rest.strip_suffix("$).*")).unwrap_or(word).to_owned())
        .collect();
    let plain = |name: &String| name.parse::<doorward_core::resource::ApplicationName>().is_ok();
    if names.is_empty() || !names.iter().all(plain) {
        return Err(wrong());
    }
    Ok(names)
}

fn unwrapped(text: &str, open: char, close: char) -> &str {
    text.strip_prefix(open).and_then(|rest| rest.strip_suffix(close)).map_or(text, str::trim)
}

/// What an operation's name tells.
struct Told<'a> {
    kind: &'a str,
    micros: u64,
    number: &'a str,
    name: &'a str,
}

impl<'a> Told<'a> {
    fn read(operation: &'a str) -> Option<Self> {
        let mut parts = operation.strip_prefix("operation-")?.splitn(4, '-');
        let (kind, micros, number, name) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let known = ["insert", "patch", "update", "delete"].contains(&kind);
        let told = Told { kind, micros: micros.parse().ok()?, number, name };
        known.then_some(told)
    }

    fn operation(&self, at: Scope<'_>, project: &str, user: Option<&str>) -> Operation {
        let name = format!("operation-{}-{}-{}-{}", self.kind, self.micros, self.number, self.name);
        let scope = scope_name(at.region);
        let time = rfc3339(i64::try_from(self.micros / 1_000_000).unwrap_or(0));
        Operation {
            kind: "compute#operation".to_owned(),
            id: self.micros.to_string(),
            self_link: format!("{}/projects/{project}/{scope}/operations/{name}", at.base),
            name,
            operation_type: self.kind.to_owned(),
            target_link: link(at.base, project, at.region, self.name),
            target_id: self.number.to_owned(),
            status: "DONE".to_owned(),
            user: user.map(str::to_owned),
            progress: Some(100),
            insert_time: time.clone(),
            start_time: time.clone(),
            end_time: time,
            region: at.region.map(|region| format!("{}/projects/{project}/regions/{region}", at.base)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_names_backend_services_or_is_refused() {
        #[rustfmt::skip]
        let cases = [
            ("name=wiki",                        Some("wiki")),
            ("name = \"wiki\"",                  Some("wiki")),
            ("(name=(\"wiki\"))",                Some("wiki")),
            ("name eq wiki",                     Some("wiki")),
            ("name eq \".*(^wiki$).*\"",         Some("wiki")),
            ("name:(wiki blog)",                 Some("wiki blog")),
            ("name:wiki",                        Some("wiki")),
            ("name eq w.*",                      None),
            ("nameeq wiki",                      None),
            ("description=wiki",                 None),
            ("name!=wiki",                       None),
            ("name=wiki OR name=blog",           None),
            ("name=",                            None),
        ];
        for (filter, expected) in cases {
            let names = names_of(filter).ok().map(|names| names.join(" "));
            assert_eq!(names.as_deref(), expected, "{filter}");
        }
    }

    #[test]
    fn an_operations_name_tells_what_it_was_about() {
        let told = Told { kind: "patch", micros: 1_800_000_000_000_000, number: "4567", name: "wiki-two" };
        let at = Scope { base: "http://api/compute/v1", project: "p", region: None };
        let operation = told.operation(at, "p", Some("a@example.com"));
        assert_eq!(operation.name, "operation-patch-1800000000000000-4567-wiki-two");
        let read = Told::read(&operation.name).unwrap();
        assert_eq!((read.kind, read.micros, read.number, read.name), ("patch", told.micros, "4567", "wiki-two"));
        assert_eq!(operation.target_link, "http://api/compute/v1/projects/p/global/backendServices/wiki-two");
        for other in ["operation-1", "operation-get-1-2-a", "patch-1-2-a", "operation-patch-x-2-a", ""] {
            assert!(Told::read(other).is_none(), "{other}");
        }
    }
}
