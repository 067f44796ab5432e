//! The metadata server (`metadata.google.internal`): who a workload is, and tokens for it, without a key.
//!
//! Whoever can speak to it gets tokens. So it speaks only to programs on this machine that know whom they ask: a web page, a name
//! rebound to this address, and a proxy that fetches for somebody else are turned away before the path is looked at.
//!
//! Spec: <https://cloud.google.com/compute/docs/metadata/querying-metadata>

mod instance;
mod tree;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
pub use doorward_control::instance::{IdentityRequest, TurnedAway};
use doorward_core::resource::Host;
use doorward_wire::headers::{folds_to, folds_to_prefix};
use doorward_wire::metadata::{FLAVOR, METADATA_FLAVOR, MetadataToken};
use doorward_wire::oauth::Parameters;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, HOST, LOCATION, SERVER};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};

use crate::listen::{self, Connection, Listener, Room};
use tree::{Entry, tree};

/// The path under which everything is.
const ROOT: &str = "/computeMetadata/v1/";
/// What proxies say of whom they ask for, and what a browser says of the page that asks.
const FORWARDED: [&str; 11] = [
    "forwarded",
    "via",
    "x-real-ip",
    "x-remote-ip",
    "x-proxyuser-ip",
    "x-original-forwarded-for",
    "x-original-host",
    "x-envoy-external-address",
    "cf-connecting-ip",
    "proxy-connection",
    "origin",
];
/// The longest wait for a change, if the client names no time: shorter than the longest request.
const LONGEST_WAIT: Duration = Duration::from_secs(50);

/// A workload: what its metadata server tells it, and where its tokens come from.
#[async_trait]
pub trait Workload: Send + Sync {
    /// What does not change.
    fn facts(&self) -> Facts;

    /// The address of its account.
    ///
    /// # Errors
    /// [`WorkloadError::Unavailable`] if it has none any more.
    fn email(&self) -> Result<String, WorkloadError>;

    /// An ID token.
    async fn identity(&self, request: IdentityRequest<'_>, peer: IpAddr) -> Result<String, WorkloadError>;

    /// An access token, for scopes separated by commas or for the usual ones.
    async fn access_token(&self, scopes: Option<&str>, peer: IpAddr) -> Result<MetadataToken, WorkloadError>;

    /// Notes a request that was turned away.
    async fn turned_away(&self, cause: TurnedAway, peer: IpAddr);
}

/// What does not change of a workload.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The project's id.
    pub project_id: String,
    /// The project's number, if it is known.
    pub project_number: Option<String>,
    /// The instance's number.
    pub instance_id: String,
    /// The instance's name.
    pub instance_name: String,
    /// `us-central1-a` and the like.
    pub zone: String,
    /// The scopes of its account.
    pub scopes: Vec<String>,
}

/// Why a workload gets nothing.
#[derive(Debug, thiserror::Error)]
pub enum WorkloadError {
    /// The audience or a scope cannot be: one line for the person who reads the answer.
    #[error("{0}")]
    Refused(String),
    /// Nothing can be had now: one line for the person who reads the answer.
    #[error("{0}")]
    Unavailable(String),
}

/// A metadata server for one workload.
pub(crate) struct Metadata {
    workload: Arc<dyn Workload>,
    /// Every `Host` that is ours.
    hosts: Vec<Host>,
    /// Where it listens.
    address: IpAddr,
}

/// Serves a workload at an address of this machine until `until` ends. `on_ready` is told the address.
///
/// # Errors
/// If the address cannot be listened at, or is not of this machine alone.
pub async fn serve(
    workload: Arc<dyn Workload>,
    address: SocketAddr,
    on_ready: impl FnOnce(SocketAddr),
    until: impl Future<Output = ()>,
) -> io::Result<()> {
    if !address.ip().is_loopback() {
        let text =
            "the metadata server gives tokens to whoever asks: it listens on loopback only, such as 127.0.0.1:8099";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let socket = listen::bind(address)?;
    let address = socket.local_addr()?;
    let (stopper, stop) = listen::stop();
    let serving = tokio::spawn(listen_at(socket, address, workload, stop));
    on_ready(address);
    until.await;
    stopper.stop();
    serving.await.map_err(io::Error::other)
}

/// Serves a workload at a socket until the sign is given.
pub(crate) async fn listen_at(
    socket: std::net::TcpListener,
    address: SocketAddr,
    workload: Arc<dyn Workload>,
    stop: listen::Stop,
) {
    let metadata = Arc::new(Metadata { workload, hosts: hosts_of(address), address: address.ip().to_canonical() });
    let answer = move |request: Request<Body>| {
        let metadata = metadata.clone();
        async move { metadata.answer(request).await }
    };
    listen::serve(Listener::plain(socket), Room::for_api(), stop, listen::API_DRAIN, answer).await;
}

/// The names by which programs on this machine reach the server. Names of Google's are here too: they lead here where somebody
/// made them do so.
fn hosts_of(address: SocketAddr) -> Vec<Host> {
    let port = address.port();
    let mut names =
        vec![address.to_string(), format!("localhost:{port}"), format!("127.0.0.1:{port}"), format!("[::1]:{port}")];
    for name in ["metadata.google.internal", "metadata", "169.254.169.254"] {
        names.extend([name.to_owned(), format!("{name}:80"), format!("{name}:{port}")]);
    }
    names.iter().filter_map(|name| Host::parse(name).ok()).collect()
}

impl Metadata {
    pub(crate) async fn answer(&self, request: Request<Body>) -> Response {
        // Nothing here has a body.
        let (request, _) = request.into_parts();
        let peer = request.extensions.get::<Connection>().map(|connection| connection.peer.address);
        let mut response = match peer {
            // The listener says of every request whose it is.
            None => text(StatusCode::INTERNAL_SERVER_ERROR, "The peer is not known.\n"),
            Some(peer) => match self.check(&request, peer) {
                Err(cause) => {
                    self.workload.turned_away(cause, peer).await;
                    refused(cause)
                }
                Ok(()) => self.find(&request, peer).await,
            },
        };
        let headers = response.headers_mut();
        headers.insert(METADATA_FLAVOR, HeaderValue::from_static(FLAVOR));
        headers.insert(SERVER, HeaderValue::from_static("Metadata Server for VM"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    /// Whether the request came from a program on this machine that knows whom it asks.
    fn check(&self, request: &Parts, peer: IpAddr) -> Result<(), TurnedAway> {
        // A program on this machine that calls an address of it has that address, whichever it is.
        let peer = peer.to_canonical();
        if !peer.is_loopback() && peer != self.address {
            return Err(TurnedAway::ForeignPeer);
        }
        let headers = &request.headers;
        let forwarded = |name: &HeaderName| {
            let name = name.as_str();
            ["x-forwarded", "sec-fetch-"].iter().any(|prefix| folds_to_prefix(name, prefix))
                || name.to_ascii_lowercase().replace(['_', '-'], "").ends_with("clientip")
                || FORWARDED.iter().any(|field| folds_to(name, field))
        };
        // A target in absolute form is what a proxy is sent.
        if headers.keys().any(forwarded) || request.uri.authority().is_some() {
            return Err(TurnedAway::Forwarded);
        }
        let mut hosts = headers.get_all(HOST).iter();
        let host = hosts.next().and_then(|host| Host::parse(host.to_str().ok()?).ok());
        if hosts.next().is_some() || !host.is_some_and(|host| self.hosts.contains(&host)) {
            return Err(TurnedAway::ForeignHost);
        }
        // Go asks for the root without the field, to see whether anybody is there; it tells nothing.
        if request.uri.path() != "/" && !has_flavor(headers) {
            return Err(TurnedAway::NoFlavor);
        }
        Ok(())
    }

    async fn find(&self, request: &Parts, peer: IpAddr) -> Response {
        if !matches!(request.method, Method::GET | Method::HEAD) {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "Use GET.\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        let path = request.uri.path();
        let query = request.uri.query().unwrap_or_default();
        let Ok(query) = Query::parse(query) else {
            self.workload.turned_away(TurnedAway::Unreadable, peer).await;
            return refused(TurnedAway::Unreadable);
        };
        match path {
            "/" => return text(StatusCode::OK, "computeMetadata/\n"),
            "/computeMetadata" | "/computeMetadata/v1" => return moved(request),
            "/computeMetadata/" => return text(StatusCode::OK, "v1/\n"),
            _ => {}
        }
        let Some(path) = path.strip_prefix(ROOT) else { return not_found() };
        let email = match self.workload.email() {
            Ok(email) => email,
            Err(error) => return failed(&error),
        };
        let tree = tree(&self.workload.facts(), &email);
        match tree.find(path) {
            None => not_found(),
            Some(Entry::Token) => self.token(&query, peer).await,
            Some(Entry::Identity) => self.identity(&query, peer).await,
            Some(Entry::Directory(_)) if !path.is_empty() && !path.ends_with('/') => moved(request),
            Some(entry) => {
                let (body, kind) = entry.render(query.recursive, query.alt.as_deref());
                let etag = etag(&body);
                if query.waits_for(&etag) {
                    // Nothing here changes while the server runs, so the wait always takes its time.
                    tokio::time::sleep(query.patience()).await;
                }
                let mut response = (StatusCode::OK, body).into_response();
                let headers = response.headers_mut();
                headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
                if let Ok(etag) = HeaderValue::from_str(&etag) {
                    headers.insert(ETAG, etag);
                }
                response
            }
        }
    }

    async fn token(&self, query: &Query, peer: IpAddr) -> Response {
        match self.workload.access_token(query.scopes.as_deref(), peer).await {
            Ok(token) => axum::Json(token).into_response(),
            Err(error) => failed(&error),
        }
    }

    async fn identity(&self, query: &Query, peer: IpAddr) -> Response {
        let request = IdentityRequest {
            audience: query.audience.as_deref(),
            format: query.format.as_deref(),
            licenses: query.licenses.as_deref(),
        };
        match self.workload.identity(request, peer).await {
            Ok(token) => {
                let mut response = (StatusCode::OK, token).into_response();
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
                response
            }
            Err(error) => failed(&error),
        }
    }
}

/// The parameters that mean something here; others are passed over.
struct Query {
    audience: Option<String>,
    format: Option<String>,
    licenses: Option<String>,
    scopes: Option<String>,
    recursive: bool,
    alt: Option<String>,
    wait_for_change: bool,
    last_etag: Option<String>,
    timeout: Option<Duration>,
}

impl Query {
    fn parse(query: &str) -> Result<Self, ()> {
        let mut query = Parameters::parse(query.as_bytes()).map_err(drop)?;
        let yes = |text: Option<String>| text.is_some_and(|text| text.eq_ignore_ascii_case("true"));
        let timeout = query.take("timeout_sec").map(|text| text.parse().map(Duration::from_secs).map_err(drop));
        Ok(Query {
            audience: query.take("audience"),
            format: query.take("format"),
            licenses: query.take("licenses"),
            scopes: query.take("scopes"),
            recursive: yes(query.take("recursive")),
            alt: query.take("alt"),
            wait_for_change: yes(query.take("wait_for_change")),
            last_etag: query.take("last_etag"),
            timeout: timeout.transpose()?,
        })
    }

    /// Whether the client wants to be told only when the value is another one than it knows.
    fn waits_for(&self, etag: &str) -> bool {
        self.wait_for_change && self.last_etag.as_deref().is_none_or(|last| last == etag)
    }

    fn patience(&self) -> Duration {
        self.timeout.unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT)
    }
}

fn has_flavor(headers: &HeaderMap) -> bool {
    let mut fields = headers.get_all(METADATA_FLAVOR).iter();
    matches!((fields.next(), fields.next()), (Some(flavor), None) if flavor.as_bytes() == FLAVOR.as_bytes())
}

/// 16 hexadecimal digits, as Google's are.
fn etag(body: &str) -> String {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, body.as_bytes());
    hash.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn refused(cause: TurnedAway) -> Response {
    let forbidden = StatusCode::FORBIDDEN;
    let (status, sentence) = match cause {
        TurnedAway::Unreadable => {
            (StatusCode::BAD_REQUEST, "The query cannot be read, or a parameter of it occurs twice.\n")
        }
        TurnedAway::NoFlavor => (forbidden, "Missing Metadata-Flavor:Google header.\n"),
        TurnedAway::Forwarded => (
            forbidden,
            "Requests through a proxy or by a web page are refused: ask directly, without X-Forwarded-For and Origin.\n",
        ),
        TurnedAway::ForeignHost => (
            forbidden,
            "This Host is not the metadata server. Use the host of dev.json, or metadata.google.internal.\n",
        ),
        TurnedAway::ForeignPeer => (forbidden, "The metadata server answers programs on its own machine only.\n"),
    };
    text(status, sentence)
}

fn failed(error: &WorkloadError) -> Response {
    let status = match error {
        WorkloadError::Refused(_) => StatusCode::BAD_REQUEST,
        WorkloadError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    text(status, &error.to_string())
}

fn not_found() -> Response {
    text(
        StatusCode::NOT_FOUND,
        "There is no such metadata. List what is there at /computeMetadata/v1/?recursive=true\n",
    )
}

/// A directory has a slash at its end.
fn moved(request: &Parts) -> Response {
    let uri = &request.uri;
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut response = text(StatusCode::MOVED_PERMANENTLY, "A directory has a slash at its end.\n");
    if let Ok(location) = HeaderValue::from_str(&format!("{}/{query}", uri.path())) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

fn text(status: StatusCode, body: &str) -> Response {
    let mut response = (status, body.to_owned()).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/text"));
    response
}

#[cfg(test)]
mod tests;
