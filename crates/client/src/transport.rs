//! HTTP for small questions: one request on one connection, the whole answer, and another try where one may help.
//!
//! Redirects are never followed: what is sent here is a credential or is answered with one.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::entropy::{Entropy, SystemEntropy};
use crate::origin::Origin;

/// From the first packet to the last byte of an answer.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);

/// More than any answer of a token endpoint or a key document; a longer one is refused.
pub(crate) const ANSWER_LIMIT: usize = 1024 * 1024;

/// No wait between two tries is longer, whatever a server asks for.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

const AGENT: HeaderValue = HeaderValue::from_static(concat!("doorward-client/", env!("CARGO_PKG_VERSION")));

/// Why there is no answer. Shows addresses without paths and queries.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TransportError {
    /// Not an address of http or https.
    #[error("an address in the credentials is not one of http or https: correct it, or make the file anew")]
    Address,
    /// Plain http to a host that is not this machine.
    #[error(
        "{0} is plain http to another machine, safe for neither credentials nor keys: use https, or `allow_insecure_http`"
    )]
    Insecure(Origin),
    /// No connection.
    #[error("cannot connect to {address} ({cause}): check the address and the network")]
    Connect {
        /// The origin.
        address: Origin,
        /// What the system says.
        cause: Arc<io::Error>,
    },
    /// A connection without TLS.
    #[error(
        "{address} and this program do not agree on TLS ({cause}): if a private authority signed its certificate, add that with `ca_pem`"
    )]
    Tls {
        /// The origin.
        address: Origin,
        /// What the library says.
        cause: Arc<io::Error>,
    },
    /// The certificates that are to be trusted cannot be used.
    #[error("the trusted certificates cannot be used ({0}): check `ca_pem` and the bundle of the system")]
    Trust(rustls::Error),
    /// Not all of the answer came in time.
    #[error("{address} did not answer within {} seconds: try again later", after.as_secs_f32())]
    Timeout {
        /// The origin.
        address: Origin,
        /// The limit.
        after: Duration,
    },
    /// The connection ended before the answer did, or the answer is not HTTP.
    #[error("{address} broke the connection ({cause}): try again later")]
    Broken {
        /// The origin.
        address: Origin,
        /// What the library says.
        cause: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// An answer that is longer than 1 MiB.
    #[error("{address} answered with more than {ANSWER_LIMIT} bytes: another program serves at this address")]
    TooLong {
        /// The origin.
        address: Origin,
    },
}

impl TransportError {
    /// Whether another try may help.
    fn is_passing(&self) -> bool {
        match self {
            TransportError::Connect { .. } | TransportError::Timeout { .. } | TransportError::Broken { .. } => true,
            TransportError::Address
            | TransportError::Insecure(_)
            | TransportError::Tls { .. }
            | TransportError::Trust(_)
            | TransportError::TooLong { .. } => false,
        }
    }
}

/// How often, and after which waits, a question is asked again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retry {
    /// Tries in all.
    pub(crate) attempts: u32,
    /// The first wait; each further one is twice as long, and each is shortened by chance to between half and the whole.
    pub(crate) delay: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Retry { attempts: 4, delay: Duration::from_millis(200) }
    }
}

/// What a builder says about requests.
#[derive(Clone)]
pub(crate) struct HttpOptions {
    pub(crate) timeout: Duration,
    pub(crate) retry: Retry,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) extra_roots: Vec<CertificateDer<'static>>,
    pub(crate) allow_insecure_http: bool,
}

impl Default for HttpOptions {
    fn default() -> Self {
        HttpOptions {
            timeout: TIMEOUT,
            retry: Retry::default(),
            entropy: Arc::new(SystemEntropy),
            extra_roots: Vec::new(),
            allow_insecure_http: false,
        }
    }
}

/// The certificates of a text in PEM; `None` if it has none, or a damaged one.
pub(crate) fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let found = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().ok()?;
    (!found.is_empty()).then_some(found)
}

/// One question.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) url: String,
    /// Beside `Host`, `Accept` and `User-Agent`.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: Bytes,
    /// Plain http is right for this address, wherever it is: the metadata server has no other.
    pub(crate) plain: bool,
}

impl Call {
    pub(crate) fn get(url: String) -> Self {
        Call { method: Method::GET, url, headers: Vec::new(), body: Bytes::new(), plain: false }
    }

    pub(crate) fn post_form(url: String, form: String) -> Self {
        Self::post(url, "application/x-www-form-urlencoded", form.into())
    }

    pub(crate) fn post_json(url: String, json: &serde_json::Value) -> Self {
        Self::post(url, "application/json", json.to_string().into())
    }

    fn post(url: String, kind: &'static str, body: Bytes) -> Self {
        let headers = vec![(CONTENT_TYPE, HeaderValue::from_static(kind))];
        Call { method: Method::POST, url, headers, body, plain: false }
    }
}

/// What came back, whatever its status.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Who answered.
    pub(crate) origin: Origin,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// Whether another try may help: the server is broken or overloaded, and not the question wrong.
    fn is_passing(&self) -> bool {
        self.status.is_server_error()
            || self.status == StatusCode::TOO_MANY_REQUESTS
            || self.status == StatusCode::REQUEST_TIMEOUT
    }

    fn retry_after(&self) -> Option<Duration> {
        self.headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok().map(Duration::from_secs)
    }
}

/// Asks questions.
pub(crate) struct HttpClient {
    options: HttpOptions,
    /// Made at the first https address: reading the bundle of the system takes milliseconds.
    tls: OnceLock<Result<TlsConnector, rustls::Error>>,
}

impl HttpClient {
    pub(crate) fn new(options: HttpOptions) -> Self {
        HttpClient { options, tls: OnceLock::new() }
    }

    /// Asks, and asks again after failures of the server or the network. An answer that says no is not asked for again.
    pub(crate) async fn send(&self, call: &Call) -> Result<Answer, TransportError> {
        let mut attempt = 1;
        loop {
            let result = self.send_once_in_time(call).await;
            let wanted = match &result {
                Ok(answer) if answer.is_passing() => answer.retry_after(),
                Err(error) if error.is_passing() => None,
                Ok(_) | Err(_) => return result,
            };
            if attempt >= self.options.retry.attempts {
                return result;
            }
            tokio::time::sleep(self.wait(attempt, wanted)).await;
            attempt += 1;
        }
    }

    /// Clients that failed together must not come back together.
    fn wait(&self, attempt: u32, wanted: Option<Duration>) -> Duration {
        let doubled = self.options.retry.delay.saturating_mul(1 << (attempt - 1).min(16));
        let mut byte = [0];
        self.options.entropy.fill(&mut byte);
        let spread = (doubled / 2).saturating_add((doubled / 510).saturating_mul(u32::from(byte[0])));
        spread.max(wanted.unwrap_or_default()).min(LONGEST_WAIT)
    }

    /// Asks one time, with the usual limit of time.
    pub(crate) async fn send_once_in_time(&self, call: &Call) -> Result<Answer, TransportError> {
        self.send_once(call, self.options.timeout).await
    }

    /// Asks one time.
    pub(crate) async fn send_once(&self, call: &Call, within: Duration) -> Result<Answer, TransportError> {
        let uri: Uri = call.url.parse().map_err(|_| TransportError::Address)?;
        let origin = Origin::of(&uri).ok_or(TransportError::Address)?;
        if !call.plain && !self.options.allow_insecure_http {
            origin.clone().secure().map_err(|_| TransportError::Insecure(origin.clone()))?;
        }
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let mut request = Request::builder()
            .method(&call.method)
            .uri(uri.path_and_query().map_or("/", |target| target.as_str()))
            .header(HOST, authority)
            .header(ACCEPT, HeaderValue::from_static("*/*"))
            .header(USER_AGENT, AGENT);
        for (name, value) in &call.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(call.body.clone())).map_err(|_| TransportError::Address)?;
        let exchange = tokio::time::timeout(within, self.connect_and_exchange(&origin, request));
        exchange.await.map_err(|_| TransportError::Timeout { address: origin, after: within })?
    }

    async fn connect_and_exchange(
        &self,
        origin: &Origin,
        request: Request<Full<Bytes>>,
    ) -> Result<Answer, TransportError> {
        let peer = (origin.host(), origin.port());
        let connect = |cause| TransportError::Connect { address: origin.clone(), cause: Arc::new(cause) };
        let stream = TcpStream::connect((peer.0.as_str(), peer.1)).await.map_err(connect)?;
        if !origin.is_https() {
            return exchange(origin, stream, request).await;
        }
        let tls =
            self.tls.get_or_init(|| connector(&self.options.extra_roots)).clone().map_err(TransportError::Trust)?;
        let name = ServerName::try_from(peer.0).map_err(|_| TransportError::Address)?;
        let failed = |cause: io::Error| {
            let (address, disagreed) = (origin.clone(), cause.kind() == io::ErrorKind::InvalidData);
            let cause = Arc::new(cause);
            // All but what the library says of the other end is the network, which may be better at the next try.
            if disagreed { TransportError::Tls { address, cause } } else { TransportError::Broken { address, cause } }
        };
        exchange(origin, tls.connect(name, stream).await.map_err(failed)?, request).await
    }
}

async fn exchange<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    origin: &Origin,
    stream: S,
    request: Request<Full<Bytes>>,
) -> Result<Answer, TransportError> {
    let broken = |cause: Box<dyn std::error::Error + Send + Sync>| TransportError::Broken {
        address: origin.clone(),
        cause: cause.into(),
    };
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(error.into()))?;
    // Its failure reaches us through the answer.
    tokio::spawn(async { drop(connection.await) });
    let (head, body) = sender.send_request(request).await.map_err(|error| broken(error.into()))?.into_parts();
    let body = Limited::new(body, ANSWER_LIMIT).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() { TransportError::TooLong { address: origin.clone() } } else { broken(error) }
    })?;
    Ok(Answer { origin: origin.clone(), status: head.status, headers: head.headers, body: body.to_bytes() })
}

fn connector(extra_roots: &[CertificateDer<'static>]) -> Result<TlsConnector, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier =
        rustls_platform_verifier::Verifier::new_with_extra_roots(extra_roots.iter().cloned(), provider.clone())?;
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
