//! The table of contents of our wire compatibility: one module for each Google host, and `own` for what is ours.
//!
//! A host is chosen by the `Host` field, where Google's names resolve to us, and by the first segment of the path on our own
//! origin, for clients that take an endpoint override. Any other `Host` is 421: a web page that rebinds its name to this
//! address would otherwise speak to us as the same origin.

mod accounts_google_com;
mod iam_googleapis_com;
mod iap_googleapis_com;
mod oauth2_googleapis_com;
mod own;
mod www_googleapis_com;
mod www_gstatic_com;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::response::{IntoResponse, Response};
use doorward_control::administrators::{Administrator, Administrators};
use doorward_control::policies::Policies;
use doorward_control::service_accounts::ServiceAccounts;
use doorward_control::tokens::TokenService;
use doorward_core::clock::Clock;
use doorward_core::resource::Host;
use doorward_core::snapshot::SnapshotCell;
use doorward_wire::google_api::Status;
use doorward_wire::headers::{Bearer, bearer};
use doorward_wire::jose::parse_object;
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, Request, StatusCode, Uri};
use serde::de::DeserializeOwned;
use tower::ServiceExt as _;

use crate::audit_log::AuditLog;
use crate::console::Console;
use crate::errors::google_api::ApiFailure;
use crate::pages;

/// No request to the API has a body beyond this, in bytes.
const BODY_LIMIT: usize = 1024 * 1024;

/// Every Google host that is served, with its routes.
const HOSTS: [(&str, RouterOf); 6] = [
    ("accounts.google.com", accounts_google_com::router),
    ("iam.googleapis.com", iam_googleapis_com::router),
    ("iap.googleapis.com", iap_googleapis_com::router),
    ("oauth2.googleapis.com", oauth2_googleapis_com::router),
    ("www.googleapis.com", www_googleapis_com::router),
    ("www.gstatic.com", www_gstatic_com::router),
];

type Routes = Router<Arc<Services>>;
type RouterOf = fn() -> Routes;

/// What handlers call.
pub struct Services {
    pub(crate) issuer: String,
    pub(crate) api_url: String,
    pub(crate) api_hosts: Vec<Host>,
    pub(crate) tokens: TokenService,
    pub(crate) service_accounts: ServiceAccounts,
    pub(crate) policies: Policies,
    pub(crate) administrators: Administrators,
    pub(crate) console: Console,
    pub(crate) snapshots: Arc<SnapshotCell>,
    pub(crate) audit: Arc<AuditLog>,
    pub(crate) clock: Arc<dyn Clock>,
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

    /// Proves the administrator who sent these headers.
    async fn administrator(&self, headers: &HeaderMap) -> Result<Administrator, ApiFailure> {
        Ok(self.administrators.authenticate(single_bearer(headers)).await?)
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

/// How a client reached a Google host's surface: URLs in answers are then of the same form.
#[derive(Debug, Clone)]
enum Reached {
    /// By its own name.
    ByName,
    /// By a path on our origin.
    ByPath {
        /// Our origin, without a trailing slash.
        api_url: String,
    },
}

impl Reached {
    /// The base URL of a host, without a trailing slash.
    fn base(&self, host: &str) -> String {
        match self {
            Reached::ByName => format!("https://{host}"),
            Reached::ByPath { api_url } => format!("{api_url}/{host}"),
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

    /// Chooses the host, and lets its routes answer.
    pub(crate) async fn handle(&self, mut request: Request<axum::body::Body>) -> Response {
        let Some(host) = one_host(&request) else {
            return pages::misdirected();
        };
        let by_name = self.hosts.iter().find(|(name, _)| *name == host.name());
        let router = if let Some((_, router)) = by_name {
            request.extensions_mut().insert(Reached::ByName);
            router
        } else if !self.services.api_hosts.contains(&host) {
            return pages::misdirected();
        } else if let Some((router, uri)) = self.by_path(request.uri()) {
            *request.uri_mut() = uri;
            request.extensions_mut().insert(Reached::ByPath { api_url: self.services.api_url.clone() });
            router
        } else if names_a_google_host(request.uri().path()) {
            return ApiFailure::new(Status::NotFound, "This Google host is not served here yet.").into_response();
        } else {
            &self.own
        };
        match router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(infallible) => match infallible {},
        }
    }

    /// The host that the first segment names, and the target without that segment.
    fn by_path(&self, uri: &Uri) -> Option<(&Router, Uri)> {
        let target = uri.path_and_query()?.as_str().strip_prefix('/')?;
        let (name, rest) = target.split_at(target.find(['/', '?']).unwrap_or(target.len()));
        let (_, router) = self.hosts.iter().find(|(host, _)| *host == name)?;
        let rest = if rest.starts_with('/') { rest.to_owned() } else { format!("/{rest}") };
        Some((router, rest.parse().ok()?))
    }
}

/// Whether the first segment is a host name of Google's, which nothing of ours can be.
fn names_a_google_host(path: &str) -> bool {
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    [".googleapis.com", ".google.com", ".gstatic.com", ".cloudproxy.app", ".google.internal"]
        .iter()
        .any(|domain| first.ends_with(domain))
}

/// The one host of a request to the API; an absolute-form target must name the same.
fn one_host(request: &Request<axum::body::Body>) -> Option<Host> {
    let mut fields = request.headers().get_all(HOST).iter();
    let host = Host::parse(fields.next()?.to_str().ok()?).ok()?;
    let same = request.uri().authority().is_none_or(|named| Host::parse(named.as_str()).is_ok_and(|it| it == host));
    (fields.next().is_none() && same).then_some(host)
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
