//! HTTP/1 for a command: one request, one connection, the whole answer.

use std::time::Duration;

use http::header::{ACCEPT, HOST, HeaderName, HeaderValue};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

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

/// Sends one request to an http address. `headers` come beside `Host` and `Accept`. Redirects are not followed.
pub(crate) async fn call(
    method: Method,
    url: &str,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: String,
) -> Result<Answer, ApiError> {
    let invalid = || ApiError::Address(url.to_owned());
    let uri: Uri = url.parse().map_err(|_| invalid())?;
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") => return Err(ApiError::Https(uri)),
        _ => return Err(invalid()),
    }
    let (host, authority) = uri.host().zip(uri.authority()).ok_or_else(invalid)?;
    let mut request = Request::builder().method(method).uri(uri.path_and_query().map_or("/", |target| target.as_str()));
    request = request.header(HOST, authority.as_str()).header(ACCEPT, HeaderValue::from_static("application/json"));
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request.body(Full::new(Bytes::from(body))).map_err(|_| invalid())?;
    let peer = (host.trim_matches(['[', ']']), uri.port_u16().unwrap_or(80));
    let exchange = tokio::time::timeout(TIMEOUT, exchange(peer, authority.as_str(), request));
    exchange.await.map_err(|_| ApiError::Timeout { address: authority.to_string() })?
}

async fn exchange(peer: (&str, u16), address: &str, request: Request<Full<Bytes>>) -> Result<Answer, ApiError> {
    let broken = |cause| ApiError::Broken { address: address.to_owned(), cause };
    let stream =
        TcpStream::connect(peer).await.map_err(|cause| ApiError::Connect { address: address.to_owned(), cause })?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(error.into()))?;
    // Its failure reaches us through the answer.
    tokio::spawn(async { drop(connection.await) });
    let (head, body) = sender.send_request(request).await.map_err(|error| broken(error.into()))?.into_parts();
    let body = Limited::new(body, ANSWER_LIMIT).collect().await.map_err(broken)?.to_bytes();
    Ok(Answer { status: head.status, body })
}
