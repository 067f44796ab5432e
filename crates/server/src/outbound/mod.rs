//! Fetching documents from the world: the one place with the rules against forged requests (OWASP: server-side request forgery).
//!
//! The URL may come from a stranger's document. So it leads to public addresses only, which are checked after the name was
//! resolved and then connected to without asking again; a redirect is not followed; nothing of ours goes along; and what comes
//! back is bounded in size and in time. No proxy is used, whatever the environment says: it would resolve names for itself.

mod address;
mod freshness;
mod target;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use doorward_core::outbound::{Document, Fetch, FetchError, Reach};
use http::header::{ACCEPT, ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, HOST, TRANSFER_ENCODING, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use address::Allowed;
use target::{Host, Target};

/// From the look-up of the name to the last byte of the answer.
const TIME_LIMIT: Duration = Duration::from_secs(5);
/// For one address of several: the next one is tried within [`TIME_LIMIT`] if this one is silent.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// The longest body, in bytes.
const BODY_LIMIT: usize = 1024 * 1024;
/// The longest head of an answer, in bytes.
const HEAD_LIMIT: usize = 32 * 1024;
/// Fields in the head of an answer, at most.
const FIELDS_LIMIT: usize = 100;

/// The addresses of names.
#[async_trait]
pub trait Resolve: Send + Sync {
    /// Every address of this name. Asked once for each fetch.
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// The resolver of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolve for SystemResolver {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect())
    }
}

/// Fetches documents, and trusts for `https` what this machine trusts.
pub struct Fetcher {
    resolver: Arc<dyn Resolve>,
    extra_roots: Vec<CertificateDer<'static>>,
    /// Made at the first `https` fetch: reading the machine's certificates takes a while, and many a process fetches nothing.
    tls: OnceLock<Result<TlsConnector, rustls::Error>>,
}

impl Default for Fetcher {
    fn default() -> Self {
        Fetcher::new(Arc::new(SystemResolver), Vec::new())
    }
}

impl Fetcher {
    /// Fetches from where `resolver` says, and trusts these authorities beside those of this machine.
    pub fn new(resolver: Arc<dyn Resolve>, extra_roots: Vec<CertificateDer<'static>>) -> Self {
        Fetcher { resolver, extra_roots, tls: OnceLock::new() }
    }

    async fn get(&self, target: &Target, reach: Reach) -> Result<Document, FetchError> {
        let allowed = self.addresses(target, reach).await?;
        let stream = connect(&allowed, target.port).await?;
        let response = match target.https {
            true => exchange(self.handshake(target, stream).await?, target).await?,
            false => exchange(stream, target).await?,
        };
        read(response).await
    }

    /// The addresses of the target. If one of them is not allowed then none is used: a name that leads to us as well as elsewhere is
    /// no mistake.
    async fn addresses(&self, target: &Target, reach: Reach) -> Result<Vec<IpAddr>, FetchError> {
        let found = match &target.host {
            Host::Address(address) => vec![*address],
            Host::Name(name) => self.resolver.resolve(name).await.map_err(cannot_connect)?,
        };
        if found.is_empty() {
            return Err(FetchError::Connect("the host has no address".to_owned()));
        }
        for address in &found {
            match (address::allowed(*address), reach, target.https) {
                (Allowed::Public, Reach::Public | Reach::Loopback, true) => {}
                (Allowed::Loopback, Reach::Loopback, true | false) => {}
                (Allowed::Public, Reach::Public | Reach::Loopback, false) => return Err(FetchError::Scheme),
                (Allowed::Loopback, Reach::Public, true | false) | (Allowed::Never, _, _) => {
                    return Err(FetchError::Address);
                }
            }
        }
        Ok(found)
    }

    async fn handshake(
        &self,
        target: &Target,
        stream: TcpStream,
    ) -> Result<tokio_rustls::client::TlsStream<TcpStream>, FetchError> {
        let connector = self.tls.get_or_init(|| connector(&self.extra_roots)).as_ref().map_err(cannot_connect)?;
        let name = target.server_name().ok_or(FetchError::Url)?;
        connector.connect(name, stream).await.map_err(cannot_connect)
    }
}

#[async_trait]
impl Fetch for Fetcher {
    async fn fetch(&self, url: &str, reach: Reach) -> Result<Document, FetchError> {
        let target = Target::parse(url)?;
        if !target.https && reach == Reach::Public {
            return Err(FetchError::Scheme);
        }
        // One limit around everything: a peer that sends a byte now and then does not begin it anew.
        timeout(TIME_LIMIT, self.get(&target, reach)).await.unwrap_or(Err(FetchError::TooSlow))
    }
}

fn cannot_connect(cause: impl std::fmt::Display) -> FetchError {
    FetchError::Connect(cause.to_string())
}

/// What speaks TLS to others, with the authorities of this machine and these.
///
/// # Errors
/// [`rustls::Error`] if the authorities of this machine cannot be used.
pub(crate) fn connector(extra_roots: &[CertificateDer<'static>]) -> Result<TlsConnector, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier =
        rustls_platform_verifier::Verifier::new_with_extra_roots(extra_roots.iter().cloned(), provider.clone())?;
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Connects to the first address that answers.
async fn connect(addresses: &[IpAddr], port: u16) -> Result<TcpStream, FetchError> {
    let mut failed = FetchError::Connect("the host has no address".to_owned());
    for address in addresses {
        match timeout(CONNECT_LIMIT, TcpStream::connect(SocketAddr::new(*address, port))).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failed = cannot_connect(error),
            Err(_elapsed) => failed = FetchError::Connect("no answer".to_owned()),
        }
    }
    Err(failed)
}

/// An answer, and the task that reads it from the connection: it ends with this value, also when time runs out.
struct Received {
    response: Response<Incoming>,
    _connection: JoinSet<()>,
}

async fn exchange<S>(stream: S, target: &Target) -> Result<Received, FetchError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let fixed = |name: HeaderName, value: &'static str| (name, HeaderValue::from_static(value));
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = target.path.clone();
    request.headers_mut().insert(HOST, HeaderValue::from_str(&target.authority).map_err(|_| FetchError::Url)?);
    request.headers_mut().extend([
        fixed(ACCEPT, "application/json"),
        fixed(ACCEPT_ENCODING, "identity"),
        fixed(CONNECTION, "close"),
        fixed(USER_AGENT, concat!("doorward/", env!("CARGO_PKG_VERSION"))),
    ]);
    let mut builder = http1::Builder::new();
    let (mut sender, connection) = builder
        .max_buf_size(HEAD_LIMIT)
        .max_headers(FIELDS_LIMIT)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_| FetchError::Broken)?;
    let mut task = JoinSet::new();
    // Its failure reaches us through the answer.
    task.spawn(async { drop(connection.await) });
    let response = sender.send_request(request).await.map_err(|_| FetchError::Broken)?;
    Ok(Received { response, _connection: task })
}

async fn read(received: Received) -> Result<Document, FetchError> {
    let Received { response, _connection } = received;
    let (head, body) = response.into_parts();
    if head.status.is_redirection() {
        return Err(FetchError::Redirect);
    }
    if head.status != StatusCode::OK {
        return Err(FetchError::Status(head.status.as_u16()));
    }
    // A coding was not asked for. Nothing is unpacked, so that nothing small becomes large.
    if !only(&head.headers, CONTENT_ENCODING, "identity") || !only(&head.headers, TRANSFER_ENCODING, "chunked") {
        return Err(FetchError::Broken);
    }
    if body.size_hint().lower() > BODY_LIMIT as u64 {
        return Err(FetchError::TooLarge);
    }
    let body =
        Limited::new(body, BODY_LIMIT).collect().await.map_err(|error| match error.is::<LengthLimitError>() {
            true => FetchError::TooLarge,
            false => FetchError::Broken,
        })?;
    Ok(Document { body: body.to_bytes().into(), max_age: freshness::max_age(&head.headers) })
}

/// Whether a field is absent or says this alone.
fn only(headers: &HeaderMap, name: HeaderName, wanted: &str) -> bool {
    headers.get_all(name).iter().all(|value| value.as_bytes().eq_ignore_ascii_case(wanted.as_bytes()))
}
