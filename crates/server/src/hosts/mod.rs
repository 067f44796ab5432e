//! The table of contents of our wire compatibility: one module for each Google host, and `own` for what is ours.
//!
//! A host is chosen by the `Host` field, where Google's names resolve to us, and by the first segment of the path on our own
//! origin, for clients that take an endpoint override. Any other `Host` is 421: a web page that rebinds its name to this
//! address would otherwise speak to us as the same origin.

mod accounts_google_com;
mod appengine_googleapis_com;
pub(crate) mod browser;
mod cloudresourcemanager_googleapis_com;
mod compute_googleapis_com;
mod iam_googleapis_com;
mod iamcredentials_googleapis_com;
mod iap_googleapis_com;
mod oauth2_googleapis_com;
mod openidconnect_googleapis_com;
mod own;
mod policies;
mod sdk_cloud_google_com;
mod sts_googleapis_com;
#[cfg(test)]
mod tests;
mod www_googleapis_com;
mod www_gstatic_com;

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Query};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use doorward_control::access_levels::AccessLevelService;
use doorward_control::admin::{Admin, Changes, Peer};
use doorward_control::applications::{AppEngine, Applications, BackendServices};
use doorward_control::brands::Brands;
use doorward_control::callers::{ApiCaller, CallerError, Callers};
use doorward_control::certificates::Certificates;
use doorward_control::deny_policies::DenyPolicies;
use doorward_control::explain::Explanations;
use doorward_control::groups::GroupService;
use doorward_control::iam_credentials::IamCredentials;
use doorward_control::keys::Keys;
use doorward_control::oauth_clients::OAuthClients;
use doorward_control::policies::Policies;
use doorward_control::projects::Projects;
use doorward_control::record::{Recorder, Refused};
use doorward_control::roles::RoleService;
use doorward_control::service_accounts::ServiceAccounts;
use doorward_control::settings::SettingsService;
use doorward_control::sign_in::SignIn;
use doorward_control::simulate::Simulations;
use doorward_control::sts::TokenExchange;
use doorward_control::tokens::TokenService;
use doorward_control::tunnel_dest_groups::TunnelDestGroups;
use doorward_control::users::Users;
use doorward_control::workload_identity::WorkloadIdentity;
use doorward_control::world::World;
use doorward_core::audit::{AuditClosed, TokenMethod};
use doorward_core::clock::Clock;
use doorward_core::entropy::{Entropy, EntropyError};
use doorward_core::resource::{Host, Origin, Scheme};
use doorward_core::snapshot::SnapshotCell;
use doorward_core::store::AuditStore;
use doorward_proxy::ServerName;
use doorward_wire::google_api::Status;
use doorward_wire::headers::{Bearer, bearer};
use doorward_wire::jose::parse_object;
use doorward_wire::oauth::{ParameterError, Parameters};
use http::header::{AUTHORIZATION, HOST, USER_AGENT};
use http::request::Parts;
use http::{HeaderMap, Request, StatusCode, Uri};
use serde::de::DeserializeOwned;
use tower::ServiceExt as _;

use crate::audit_log::AuditLog;
use crate::audit_sinks::Sinks;
use crate::console::Console;
use crate::dev::names::GOOGLE_NAMES;
use crate::errors::google_api::{ApiFailure, CallRefusal};
use crate::listen::Connection;
use crate::pages;

/// No request to the API has a body beyond this, in bytes.
const BODY_LIMIT: usize = 1024 * 1024;

/// What is said of a Google host that is none of [`HOSTS`].
const NOT_SERVED: &str = "This Google host is not served here yet.";

/// Every Google host that is served, with its routes.
const HOSTS: [(&str, RouterOf); 13] = [
    ("accounts.google.com", accounts_google_com::router),
    ("appengine.googleapis.com", appengine_googleapis_com::router),
    ("cloudresourcemanager.googleapis.com", cloudresourcemanager_googleapis_com::router),
    ("compute.googleapis.com", compute_googleapis_com::router),
    ("iam.googleapis.com", iam_googleapis_com::router),
    ("iamcredentials.googleapis.com", iamcredentials_googleapis_com::router),
    ("iap.googleapis.com", iap_googleapis_com::router),
    ("oauth2.googleapis.com", oauth2_googleapis_com::router),
    ("openidconnect.googleapis.com", openidconnect_googleapis_com::router),
    ("sdk.cloud.google.com", sdk_cloud_google_com::router),
    ("sts.googleapis.com", sts_googleapis_com::router),
    ("www.googleapis.com", www_googleapis_com::router),
    ("www.gstatic.com", www_gstatic_com::router),
];

/// The name of every Google host that is served.
#[cfg(test)]
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    HOSTS.iter().map(|(name, _)| *name)
}

type Routes = Router<Arc<Services>>;
type RouterOf = fn() -> Routes;

/// What handlers call.
pub struct Services {
    /// `iss` of ID tokens, and of the redirects of `accounts.google.com`.
    pub(crate) issuer: String,
    /// Our own origin, without a trailing slash.
    pub(crate) api_url: String,
    /// The same over TLS, if that is served.
    pub(crate) api_https_url: Option<String>,
    /// The hosts that are ours.
    pub(crate) api_hosts: Vec<Host>,
    pub(crate) tokens: TokenService,
    pub(crate) sign_in: SignIn,
    pub(crate) users: Users,
    pub(crate) token_exchange: TokenExchange,
    pub(crate) workload_identity: WorkloadIdentity,
    pub(crate) iam_credentials: IamCredentials,
    pub(crate) certificates: Certificates,
    pub(crate) oauth_clients: OAuthClients,
    pub(crate) keys: Keys,
    pub(crate) callers: Callers,
    pub(crate) service_accounts: Arc<ServiceAccounts>,
    pub(crate) policies: Arc<Policies>,
    pub(crate) deny_policies: Arc<DenyPolicies>,
    pub(crate) roles: Arc<RoleService>,
    pub(crate) groups: Arc<GroupService>,
    pub(crate) access_levels: Arc<AccessLevelService>,
    pub(crate) settings: Arc<SettingsService>,
    pub(crate) applications: Applications,
    pub(crate) backend_services: BackendServices,
    pub(crate) app_engine: AppEngine,
    pub(crate) brands: Brands,
    pub(crate) tunnel_dest_groups: TunnelDestGroups,
    pub(crate) projects: Projects,
    pub(crate) explanations: Explanations,
    pub(crate) simulations: Simulations,
    pub(crate) world: World,
    pub(crate) console: Console,
    /// Whom somebody asks who was refused, if that is configured.
    pub(crate) contact: Option<String>,
    pub(crate) snapshots: Arc<SnapshotCell>,
    pub(crate) audit: Arc<AuditLog>,
    /// For the record, which is read here and not by a use case.
    pub(crate) audit_store: Arc<dyn AuditStore>,
    /// Who may read the record.
    pub(crate) changes: Changes,
    /// Those that run. Whoever started them takes them out to end them.
    pub(crate) sinks: tokio::sync::Mutex<Option<Sinks>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    /// For what is refused before it reaches one of the services, which record for themselves.
    pub(crate) recorder: Recorder,
}

impl Services {
    /// For the API of the operator who started the process.
    pub(crate) fn service_accounts(&self) -> &ServiceAccounts {
        &self.service_accounts
    }

    /// For the API of the operator who started the process.
    pub(crate) fn policies(&self) -> &Policies {
        &self.policies
    }

    /// The sign-on to our own pages.
    pub(crate) fn console(&self) -> &Console {
        &self.console
    }

    /// Proves who calls an API of administration; what they may do there is for the use case to say. A refusal is recorded.
    async fn admin(&self, credential: &Credential) -> Result<Admin, ApiFailure> {
        let Credential { bearer, host, peer, user_agent } = credential;
        let proven = self.callers.admin(bearer.as_deref(), host, *peer, user_agent.as_deref()).await;
        self.admit(proven, credential).await
    }

    /// Proves the account that calls. A refusal is recorded.
    async fn account(&self, credential: &Credential) -> Result<ApiCaller, ApiFailure> {
        let proven = self.callers.account(credential.bearer.as_deref(), credential.host).await;
        self.admit(proven, credential).await
    }

    async fn admit<T>(&self, proven: Result<T, CallerError>, credential: &Credential) -> Result<T, ApiFailure> {
        let error = match proven {
            Ok(caller) => return Ok(caller),
            Err(error) => error,
        };
        let mut event =
            self.recorder.begin(TokenMethod::Api, Some(credential.peer.address)).map_err(CallRefusal::from)?;
        if let CallerError::InsufficientScope { member } = &error {
            event.account = Some(member.clone());
        }
        Ok(self.recorder.finish(event, Err(CallRefusal::Caller(error))).await?)
    }

    /// Records that a request was refused before it reached a service, and gives the refusal back.
    async fn refuse<E>(&self, method: TokenMethod, peer: IpAddr, error: E) -> E
    where
        E: Refused + From<AuditClosed> + From<EntropyError>,
    {
        let event = match self.recorder.begin(method, Some(peer)) {
            Ok(event) => event,
            Err(error) => return error.into(),
        };
        match self.recorder.finish::<std::convert::Infallible, E>(event, Err(error)).await {
            Ok(infallible) => match infallible {},
            Err(error) => error,
        }
    }
}

/// The one bearer token of a request. Several fields are none: nothing may depend on which of them is read.
fn single_bearer(headers: &HeaderMap) -> Option<&str> {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    match (fields.next().map(bearer), fields.next()) {
        (Some(Bearer::Token(token)), None) => Some(token),
        _ => None,
    }
}

/// The parameters of a query and of a form together, each at most once in both.
fn parameters(uri: &Uri, form: &[u8]) -> Result<Parameters, ParameterError> {
    Parameters::parse(&[uri.query().unwrap_or_default().as_bytes(), form].join(&b'&'))
}

/// What a request to an API says of who calls; nothing of it is proven.
struct Credential {
    bearer: Option<String>,
    /// The Google host whose API is called, which a JWT that an account signed itself names; empty at what is ours.
    host: &'static str,
    peer: Peer,
    user_agent: Option<String>,
}

impl<S: Sync> FromRequestParts<S> for Credential {
    type Rejection = ApiFailure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiFailure> {
        let reached = parts.extensions.get::<Reached>().ok_or_else(ApiFailure::not_routed)?;
        let bearer = single_bearer(&parts.headers).map(str::to_owned);
        let user_agent = parts.headers.get(USER_AGENT);
        Ok(Credential {
            bearer,
            host: reached.surface.unwrap_or_default(),
            peer: reached.connection.peer,
            user_agent: user_agent.map(|sent| String::from_utf8_lossy(sent.as_bytes()).into_owned()),
        })
    }
}

/// How a client reached us: URLs in answers are then of the same form.
#[derive(Debug, Clone)]
struct Reached {
    /// The Google host whose surface it is; none at what is ours.
    surface: Option<&'static str>,
    /// By that host's own name, and not by a path on our origin.
    by_name: bool,
    /// Our origin as the client may use it, without a trailing slash: with TLS if it came over TLS.
    api_url: String,
    /// The origin as a browser sees it, and says it in `Origin` (RFC 6454 section 6.2).
    origin: String,
    connection: Connection,
}

impl Reached {
    /// The base URL of a host, without a trailing slash.
    fn base(&self, host: &str) -> String {
        match self.by_name {
            true => format!("https://{host}"),
            false => format!("{}/{host}", self.api_url),
        }
    }

    /// The path at which this browser finds a page of `accounts.google.com` on the origin at which it is.
    fn accounts_path(&self, path: &str) -> String {
        match self.by_name {
            true => path.to_owned(),
            false => format!("/accounts.google.com{path}"),
        }
    }
}

/// The whole API: every host's routes, ready to answer.
pub(crate) struct Api {
    services: Arc<Services>,
    hosts: Vec<(&'static str, Router)>,
    own: Router,
}

impl Api {
    pub(crate) fn new(services: Arc<Services>) -> Self {
        let ready = |routes: Routes| routes.layer(DefaultBodyLimit::max(BODY_LIMIT)).with_state(services.clone());
        let hosts = HOSTS.map(|(host, router)| {
            let no_such_method = || async { ApiFailure::no_such_method() };
            (host, ready(router().fallback(no_such_method).method_not_allowed_fallback(no_such_method)))
        });
        Api { hosts: hosts.into(), own: ready(own::router()), services }
    }

    /// Chooses the host, and lets its routes answer. The listener has put the [`Connection`] into the request.
    pub(crate) async fn handle(&self, mut request: Request<axum::body::Body>) -> Response {
        let Some(host) = one_host(&request) else {
            return pages::misdirected();
        };
        let Some(connection) = request.extensions().get::<Connection>().copied() else {
            return ApiFailure::not_routed().into_response();
        };
        // No name of ours has one, and PostgreSQL keeps none: it would answer what we should.
        if request.uri().path().contains("%00") {
            return ApiFailure::new(Status::InvalidArgument, "Invalid path: it holds U+0000.").into_response();
        }
        let by_name = self.hosts.iter().find(|(name, _)| *name == host.name());
        let (router, surface) = if let Some((name, router)) = by_name {
            (router, Some(*name))
        } else if GOOGLE_NAMES.contains(&host.name()) {
            // Where Google's names lead to us, this one does too; nobody can rebind it.
            return ApiFailure::new(Status::NotFound, NOT_SERVED).into_response();
        } else if !self.services.api_hosts.contains(&host) {
            return pages::misdirected();
        } else if let Some((name, router, uri)) = self.by_path(request.uri()) {
            *request.uri_mut() = uri;
            (router, Some(name))
        } else if names_a_google_host(request.uri().path()) {
            return ApiFailure::new(Status::NotFound, NOT_SERVED).into_response();
        } else {
            (&self.own, None)
        };
        let api_url = match &self.services.api_https_url {
            Some(https) if connection.tls => https,
            Some(_) | None => &self.services.api_url,
        };
        let scheme = if connection.tls { Scheme::Https } else { Scheme::Http };
        request.extensions_mut().insert(Reached {
            surface,
            by_name: by_name.is_some(),
            api_url: api_url.clone(),
            origin: Origin::new(scheme, &host).to_string(),
            connection,
        });
        match router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(infallible) => match infallible {},
        }
    }

    /// The host that the first segment names, and the target without that segment.
    fn by_path(&self, uri: &Uri) -> Option<(&'static str, &Router, Uri)> {
        let target = uri.path_and_query()?.as_str().strip_prefix('/')?;
        let (name, rest) = target.split_at(target.find(['/', '?']).unwrap_or(target.len()));
        let (name, router) = self.hosts.iter().find(|(host, _)| *host == name)?;
        let rest = if rest.starts_with('/') { rest.to_owned() } else { format!("/{rest}") };
        Some((name, router, rest.parse().ok()?))
    }
}

/// Whether the first segment is a host name of Google's, which nothing of ours can be.
fn names_a_google_host(path: &str) -> bool {
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    [".googleapis.com", ".google.com", ".gstatic.com", ".cloudproxy.app", ".google.internal"]
        .iter()
        .any(|domain| first.ends_with(domain))
}

/// The one host of a request to the API; an absolute-form target must name the same, and so must the TLS handshake.
fn one_host(request: &Request<axum::body::Body>) -> Option<Host> {
    let mut fields = request.headers().get_all(HOST).iter();
    let host = Host::parse(fields.next()?.to_str().ok()?).ok()?;
    let same = request.uri().authority().is_none_or(|named| Host::parse(named.as_str()).is_ok_and(|it| it == host));
    (fields.next().is_none() && same && ServerName::admits(request.extensions(), &host)).then_some(host)
}

/// A body as handlers take it: read before they run, and judged by them.
type Body = Result<axum::body::Bytes, axum::extract::rejection::BytesRejection>;

/// A JSON body: an object whose names are unique. No body at all is an empty object, as Google takes it.
///
/// It is read after the caller is proven, so that strangers learn nothing of what a body should be.
struct StrictJson<T>(T);

impl<T: DeserializeOwned> StrictJson<T> {
    fn read(body: &[u8]) -> Result<Self, ApiFailure> {
        let refused = |cause: &dyn std::fmt::Display| {
            ApiFailure::new(Status::InvalidArgument, format!("Invalid JSON payload received. {cause}."))
        };
        let text: &[u8] = if body.trim_ascii().is_empty() { b"{}" } else { body };
        let object = parse_object(text).map_err(|error| refused(&error))?;
        serde_json::from_value(object.into()).map(StrictJson).map_err(|error| refused(&error))
    }
}

/// A query as handlers take it: read before they run, and judged by them, after the caller is proven.
type Asked<T> = Result<Query<T>, QueryRejection>;

/// What was asked for.
fn asked<T>(query: Asked<T>) -> Result<T, ApiFailure> {
    let refused = |error: QueryRejection| ApiFailure::new(Status::InvalidArgument, format!("{}.", error.body_text()));
    query.map(|Query(query)| query).map_err(refused)
}

/// What most handlers answer.
type Answer<T> = Result<Json<T>, ApiFailure>;

/// The answer of a method that has nothing to say.
fn nothing() -> Json<serde_json::Value> {
    Json(serde_json::json!({}))
}

/// An answer that may be kept for `seconds`, by anybody: public keys and discovery.
fn cacheable(body: impl IntoResponse, seconds: u32) -> Response {
    let mut response = body.into_response();
    if let Ok(value) = http::HeaderValue::from_str(&format!("public, max-age={seconds}, must-revalidate")) {
        response.headers_mut().insert(http::header::CACHE_CONTROL, value);
    }
    response
}

/// How long published keys may be kept: verifiers look again at an unknown key id, so this only bounds their traffic.
const KEYS_MAX_AGE: u32 = 300;

/// An answer that nobody may keep: it carries a token or a key.
fn secret(body: impl IntoResponse) -> Response {
    let mut response = (StatusCode::OK, body).into_response();
    response.headers_mut().insert(http::header::CACHE_CONTROL, http::HeaderValue::from_static("no-store"));
    response
}
