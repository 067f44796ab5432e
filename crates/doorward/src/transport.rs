//! HTTP/1 for a command: one request, one connection, the whole answer.

use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, HOST, HeaderName, HeaderValue, USER_AGENT};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::api::ApiError;

/// From the first packet to the last byte of the answer. Longer than the server holds a long poll.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

/// More than any answer of ours, less than what would hurt.
const ANSWER_LIMIT: usize = 64 * 1024 * 1024;

/// What came back, whatever its status.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

/// From the first packet to the last byte of the answer of a call that reads or changes everything there is. Whoever waits is told that
/// it goes on.
pub(crate) const LONG: Duration = Duration::from_secs(600);

/// Sends one request to an address of http or https, and waits for the answer for `limit`. `headers` come beside `Host`, `Accept` and `User-Agent`, which
/// the record of an administrative change has. Redirects are not followed.
pub(crate) async fn call(
    method: Method,
    url: &str,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: String,
    limit: Duration,
) -> Result<Answer, ApiError> {
    let invalid = || ApiError::Address(url.to_owned());
    let uri: Uri = url.parse().map_err(|_| invalid())?;
    let (host, authority) = uri.host().zip(uri.authority()).ok_or_else(invalid)?;
    let host = host.trim_matches(['[', ']']);
    let (tls, usual_port) = match uri.scheme_str() {
        Some("http") => (None, 80),
        Some("https") => {
            let name = ServerName::try_from(host.to_owned()).map_err(|_| invalid())?;
            (Some((connector()?, name)), 443)
        }
        _ => return Err(invalid()),
    };
    let mut request = Request::builder().method(method).uri(uri.path_and_query().map_or("/", |target| target.as_str()));
    request = request.header(HOST, authority.as_str()).header(ACCEPT, HeaderValue::from_static("application/json"));
    request = request.header(USER_AGENT, HeaderValue::from_static(concat!("doorward/", env!("CARGO_PKG_VERSION"))));
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request.body(Full::new(Bytes::from(body))).map_err(|_| invalid())?;
    let peer = (host, uri.port_u16().unwrap_or(usual_port));
    let address = authority.as_str();
    let answer = async {
        let connect = |cause| ApiError::Connect { address: address.to_owned(), cause };
        // Whatever is asked, a server that is there takes a connection at once.
        let connecting = within(TIMEOUT, address, async { TcpStream::connect(peer).await.map_err(connect) });
        let stream = connecting.await?;
        let Some((tls, name)) = tls else { return exchange(stream, address, request).await };
        let failed = |cause| ApiError::Tls { address: address.to_owned(), cause };
        let shaking = within(TIMEOUT, address, async { tls.connect(name, stream).await.map_err(failed) });
        exchange(shaking.await?, address, request).await
    };
    within(limit, address, answer).await
}

async fn within<T>(
    limit: Duration,
    address: &str,
    work: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    let late = || ApiError::Timeout { address: address.to_owned(), after: limit };
    tokio::time::timeout(limit, work).await.map_err(|_| late())?
}

/// TLS that trusts what the system trusts, or the bundle of `SSL_CERT_FILE`, as the SDK does. A command makes few requests, so that
/// it is made for each.
fn connector() -> Result<TlsConnector, ApiError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = rustls_platform_verifier::Verifier::new(provider.clone()).map_err(ApiError::Trust)?;
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(ApiError::Trust)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

async fn exchange<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    address: &str,
    request: Request<Full<Bytes>>,
) -> Result<Answer, ApiError> {
    let broken = |cause| ApiError::Broken { address: address.to_owned(), cause };
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(error.into()))?;
    // Its failure reaches us through the answer.
    tokio::spawn(async { drop(connection.await) });
    let (head, body) = sender.send_request(request).await.map_err(|error| broken(error.into()))?.into_parts();
    let body = Limited::new(body, ANSWER_LIMIT).collect().await.map_err(broken)?.to_bytes();
    Ok(Answer { status: head.status, body })
}
