//! Entries to a collector: OTLP over HTTP with JSON.
//!
//! The operator named the collector, so it may be anywhere; plain HTTP only on this machine or in a private network. It is asked
//! directly, whatever proxies the environment names, and a redirect is not followed: the headers hold secrets.
//!
//! Spec: <https://opentelemetry.io/docs/specs/otlp/#otlphttp>

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr as _;
use std::sync::OnceLock;
use std::time::Duration;

use doorward_core::clock::Timestamp;
use doorward_wire::google_api::otlp::{ExportLogsServiceRequest, ExportLogsServiceResponse, LOGS_PATH, LogRecord};
use http::header::{ACCEPT, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::Outgoing;
use crate::outbound::connector;

/// From the look-up of the name to the last byte of the answer.
const TIME_LIMIT: Duration = Duration::from_secs(15);
/// For one address of several.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// The longest answer that is read: it says how many records were not taken.
const BODY_LIMIT: usize = 64 * 1024;
/// The longest head of an answer.
const HEAD_LIMIT: usize = 32 * 1024;

/// Where a collector is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    https: bool,
    /// A name or an address, without brackets.
    host: String,
    port: u16,
    /// The value of `Host`.
    authority: String,
    path: PathAndQuery,
}

/// Why a text is no [`Endpoint`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Not an absolute URL.
    #[error("write https://HOST:PORT, with a path if the collector has one; /v1/logs is added")]
    Malformed,
    /// A user or a password.
    #[error("a secret must not stand in the URL: put it into `headers`")]
    User,
    /// A query.
    #[error("a query is not sent: put what it says into `headers`")]
    Query,
    /// Plain HTTP to an address of the public network.
    #[error("plain http is for this machine and private networks: use https")]
    Plain,
}

impl Endpoint {
    /// Reads `http://HOST[:PORT][/PATH]` or `https://…`. `/v1/logs` is added unless it stands there.
    ///
    /// # Errors
    /// [`EndpointError`].
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        use EndpointError as E;
        let uri: Uri = text.parse().map_err(|_| E::Malformed)?;
        let (https, default_port) = match uri.scheme_str() {
            Some("https") => (true, 443),
            Some("http") => (false, 80),
            Some(_) | None => return Err(E::Malformed),
        };
        let authority = uri.authority().ok_or(E::Malformed)?;
        if authority.as_str().contains('@') {
            return Err(E::User);
        }
        if uri.query().is_some() || text.contains('#') {
            return Err(E::Query);
        }
        let has_port = authority.as_str() != authority.host();
        let port = match authority.port_u16() {
            Some(0) => return Err(E::Malformed),
            None if has_port => return Err(E::Malformed),
            port => port.unwrap_or(default_port),
        };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if ServerName::try_from(host.as_str()).is_err() {
            return Err(E::Malformed);
        }
        if !https && host.parse().is_ok_and(|address| !is_near(address)) {
            return Err(E::Plain);
        }
        let path = uri.path().trim_end_matches('/');
        let path = if path.ends_with(LOGS_PATH) { path.to_owned() } else { format!("{path}{LOGS_PATH}") };
        let path = PathAndQuery::from_str(&path).map_err(|_| E::Malformed)?;
        Ok(Endpoint { https, host, port, authority: authority.as_str().to_ascii_lowercase(), path })
    }
}

/// This machine, or a private network (RFC 1918, RFC 4193).
fn is_near(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local(),
    }
}

/// Why entries did not arrive.
#[derive(Debug, thiserror::Error)]
pub(super) enum OtlpError {
    /// The collector has no address, or cannot be connected to, or its certificate does not hold.
    #[error("it cannot be connected to: {0}")]
    Connect(std::io::Error),
    /// There is no TLS on this machine.
    #[error("TLS cannot be used: {0}")]
    Tls(rustls::Error),
    /// Plain HTTP, and the name leads to the public network.
    #[error(transparent)]
    Endpoint(EndpointError),
    /// It took longer than 15 s, or the answer was not HTTP.
    #[error("no whole answer came")]
    Broken,
    /// It is busy, or fails: 429 or 5xx.
    #[error("it answered {status}")]
    Busy {
        /// The status.
        status: StatusCode,
        /// How long it asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// It does not take these entries: 400, 413 or 422.
    #[error("it does not take them: it answered {0}")]
    Unacceptable(StatusCode),
    /// It takes nothing from us: another 4xx, or a redirect. Somebody has to change something.
    #[error("it answered {0}: look at its `endpoint` and `headers`")]
    Refused(StatusCode),
    /// An entry cannot be written down.
    #[error("an entry cannot be written as JSON: {0}")]
    Encode(#[from] serde_json::Error),
}

/// A collector.
pub(super) struct Collector {
    endpoint: Endpoint,
    headers: Vec<(HeaderName, HeaderValue)>,
    authorities: Vec<CertificateDer<'static>>,
    /// `service.instance.id`
    instance: String,
    tls: OnceLock<TlsConnector>,
}

impl Collector {
    pub(super) fn new(
        endpoint: Endpoint,
        headers: Vec<(HeaderName, HeaderValue)>,
        authorities: Vec<CertificateDer<'static>>,
        instance: String,
    ) -> Self {
        Collector { endpoint, headers, authorities, instance, tls: OnceLock::new() }
    }

    /// Sends entries, and gives how many of them were not taken, and why.
    pub(super) async fn send(&self, entries: &[Outgoing], now: Timestamp) -> Result<(u64, String), OtlpError> {
        let nanos = |time: Timestamp| u64::try_from(time.micros()).unwrap_or(0).saturating_mul(1000);
        let records = entries.iter().map(|it| LogRecord::of(&it.entry, nanos(it.time), nanos(now)));
        let records = records.collect::<Result<Vec<_>, _>>()?;
        let version = env!("CARGO_PKG_VERSION");
        let body = ExportLogsServiceRequest::new("doorward", &self.instance, version, records);
        let body = serde_json::to_vec(&body)?;
        // One limit around everything: a peer that sends a byte now and then does not begin it anew.
        let (status, headers, body) = timeout(TIME_LIMIT, self.post(body)).await.map_err(|_| OtlpError::Broken)??;
        match status.as_u16() {
            200..=299 => {
                // An answer that cannot be read says nothing of refused records; what is taken is said by the status.
                let answer: ExportLogsServiceResponse = serde_json::from_slice(&body).unwrap_or_default();
                let why = answer.partial_success.as_ref().map(|partial| partial.error_message.clone());
                Ok((answer.rejected(), why.unwrap_or_default()))
            }
            429 | 500..=599 => Err(OtlpError::Busy { status, retry_after: retry_after(&headers) }),
            400 | 413 | 422 => Err(OtlpError::Unacceptable(status)),
            _ => Err(OtlpError::Refused(status)),
        }
    }

    async fn post(&self, body: Vec<u8>) -> Result<(StatusCode, HeaderMap, Bytes), OtlpError> {
        let Endpoint { https, host, port, .. } = &self.endpoint;
        let stream = self.connect(host, *port).await?;
        if !https {
            return self.exchange(stream, body).await;
        }
        let name = ServerName::try_from(host.clone()).map_err(|_| OtlpError::Endpoint(EndpointError::Malformed))?;
        let stream = self.connector()?.connect(name, stream).await.map_err(OtlpError::Connect)?;
        self.exchange(stream, body).await
    }

    /// Connects to the first address that answers. The addresses are looked up once, judged and then used.
    async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, OtlpError> {
        let found = tokio::net::lookup_host((host, port)).await.map_err(OtlpError::Connect)?;
        let found: Vec<SocketAddr> = found.collect();
        if !self.endpoint.https && !found.iter().all(|address| is_near(address.ip())) {
            return Err(OtlpError::Endpoint(EndpointError::Plain));
        }
        let mut failed = std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
        for address in found {
            match timeout(CONNECT_LIMIT, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => failed = error,
                Err(_elapsed) => failed = std::io::ErrorKind::TimedOut.into(),
            }
        }
        Err(OtlpError::Connect(failed))
    }

    fn connector(&self) -> Result<&TlsConnector, OtlpError> {
        if let Some(known) = self.tls.get() {
            return Ok(known);
        }
        let made = connector(&self.authorities).map_err(OtlpError::Tls)?;
        Ok(self.tls.get_or_init(|| made))
    }

    async fn exchange<S>(&self, stream: S, body: Vec<u8>) -> Result<(StatusCode, HeaderMap, Bytes), OtlpError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let broken = |_: hyper::Error| OtlpError::Broken;
        let length = body.len();
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from(self.endpoint.path.clone());
        let fields = request.headers_mut();
        fields.extend(self.headers.iter().cloned());
        let authority = HeaderValue::from_str(&self.endpoint.authority);
        fields.insert(HOST, authority.map_err(|_| OtlpError::Endpoint(EndpointError::Malformed))?);
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
        fields.insert(ACCEPT, HeaderValue::from_static("application/json"));
        fields.insert(CONNECTION, HeaderValue::from_static("close"));
        fields.insert(USER_AGENT, HeaderValue::from_static(concat!("doorward/", env!("CARGO_PKG_VERSION"))));
        let mut builder = http1::Builder::new();
        builder.max_buf_size(HEAD_LIMIT);
        let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // Ends with this call. Its failure reaches us through the answer.
        let mut task = JoinSet::new();
        task.spawn(async { drop(connection.await) });
        let (head, body) = sender.send_request(request).await.map_err(broken)?.into_parts();
        let body = match Limited::new(body, BODY_LIMIT).collect().await {
            Ok(body) => body.to_bytes(),
            // A long page that explains an error adds nothing to the status; a success that breaks off may have been none.
            Err(_) if !head.status.is_success() => Bytes::new(),
            Err(_) => return Err(OtlpError::Broken),
        };
        Ok((head.status, head.headers, body))
    }
}

/// Seconds; a date is passed over, and our own pause is taken.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::entry::gap;
    use super::super::entry::tests::project;
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    /// A collector that answers each request with the next of these, on a connection each; gives what it was sent.
    pub(in super::super) async fn collector(answers: Vec<String>) -> (Endpoint, tokio::task::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Endpoint::parse(&format!("http://{}/in", listener.local_addr().unwrap())).unwrap();
        let served = tokio::spawn(async move {
            let mut received = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut text = Vec::new();
                let mut bytes = [0; 4096];
                loop {
                    let read = stream.read(&mut bytes).await.unwrap();
                    text.extend(&bytes[..read]);
                    let request = String::from_utf8_lossy(&text).into_owned();
                    let Some((head, body)) = request.split_once("\r\n\r\n") else { continue };
                    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
                    if body.len() == length.parse::<usize>().unwrap() {
                        received.push(request);
                        break;
                    }
                }
                // The client may have gone before the end of it.
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
            received
        });
        (endpoint, served)
    }

    pub(in super::super) fn answer(status: &str, fields: &str, body: &str) -> String {
        format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{fields}\r\n{body}", body.len())
    }

    fn outgoing() -> Vec<Outgoing> {
        let time = Timestamp::from_seconds(1);
        vec![Outgoing { time, entry: gap(1, 2, time, &project()) }]
    }

    fn to(endpoint: Endpoint) -> Collector {
        let mut secret = HeaderValue::from_static("Bearer s3cret");
        secret.set_sensitive(true);
        Collector::new(endpoint, vec![(http::header::AUTHORIZATION, secret)], Vec::new(), "auth.test".into())
    }

    #[test]
    fn an_endpoint_is_a_url_and_plain_http_stays_near() {
        use EndpointError as E;
        let known = |text: &str| Endpoint::parse(text).map(|it| format!("{}:{}{}", it.host, it.port, it.path));
        #[rustfmt::skip]
        let cases = [
            ("https://otel.test",               Ok("otel.test:443/v1/logs")),
            ("https://otel.test/",              Ok("otel.test:443/v1/logs")),
            ("https://otel.test:4318/in/",      Ok("otel.test:4318/in/v1/logs")),
            ("https://otel.test/in/v1/logs",    Ok("otel.test:443/in/v1/logs")),
            ("http://127.0.0.1:4318",           Ok("127.0.0.1:4318/v1/logs")),
            ("http://[::1]:4318",               Ok("::1:4318/v1/logs")),
            ("http://10.1.2.3",                 Ok("10.1.2.3:80/v1/logs")),
            ("http://[fd00::1]",                Ok("fd00::1:80/v1/logs")),
            ("http://otel:4318",                Ok("otel:4318/v1/logs")),
            ("http://203.0.113.1",              Err(E::Plain)),
            ("http://8.8.8.8",                  Err(E::Plain)),
            ("http://169.254.169.254",          Err(E::Plain)),
            ("http://[::ffff:8.8.8.8]",         Err(E::Plain)),
            ("https://u:p@otel.test",           Err(E::User)),
            ("https://otel.test/?key=s3cret",   Err(E::Query)),
            ("https://otel.test:0",             Err(E::Malformed)),
            ("https://otel.test:x",             Err(E::Malformed)),
            ("ftp://otel.test",                 Err(E::Malformed)),
            ("otel.test:4318",                  Err(E::Malformed)),
            ("",                                Err(E::Malformed)),
        ];
        for (text, expected) in cases {
            assert_eq!(known(text).as_deref().map_err(|error| *error), expected, "{text}");
        }
    }

    #[tokio::test]
    async fn entries_are_posted_with_the_headers_and_as_records() {
        let (endpoint, served) = collector(vec![answer("200 OK", "", "{}")]).await;
        let host = endpoint.authority.clone();
        let sent = to(endpoint).send(&outgoing(), Timestamp::from_seconds(2)).await.unwrap();
        assert_eq!(sent, (0, String::new()));
        let received = served.await.unwrap();
        let (head, body) = received[0].split_once("\r\n\r\n").unwrap();
        let mut lines: Vec<&str> = head.lines().collect();
        lines.sort_unstable();
        let agent = concat!("user-agent: doorward/", env!("CARGO_PKG_VERSION"));
        let (host, length) = (format!("host: {host}"), format!("content-length: {}", body.len()));
        #[rustfmt::skip]
        let expected = ["POST /in/v1/logs HTTP/1.1", "accept: application/json", "authorization: Bearer s3cret",
            "connection: close", &length, "content-type: application/json", &host, agent];
        assert_eq!(lines, expected);
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        let record = &body["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0];
        assert_eq!(record["timeUnixNano"], "1000000000");
        assert_eq!(record["observedTimeUnixNano"], "2000000000");
        let expected = LogRecord::of(&outgoing()[0].entry, 1_000_000_000, 2_000_000_000).unwrap();
        assert_eq!(*record, serde_json::to_value(expected).unwrap());
    }

    #[tokio::test]
    async fn each_answer_is_what_it_says() {
        let partial = r#"{"partialSuccess":{"rejectedLogRecords":"1","errorMessage":"too old"}}"#;
        let long = "a".repeat(2 * BODY_LIMIT);
        #[rustfmt::skip]
        let cases = [
            (answer("200 OK", "", "{}"),                                   "Ok((0, \"\"))"),
            (answer("204 No Content", "", ""),                             "Ok((0, \"\"))"),
            (answer("200 OK", "", partial),                                "Ok((1, \"too old\"))"),
            (answer("429 x", "retry-after: 7\r\n", ""),                    "Err(Busy { status: 429, retry_after: Some(7s) })"),
            (answer("503 x", "retry-after: tomorrow\r\n", ""),             "Err(Busy { status: 503, retry_after: None })"),
            (answer("500 x", "", &long),                                   "Err(Busy { status: 500, retry_after: None })"),
            (answer("400 x", "", ""),                                      "Err(Unacceptable(400))"),
            (answer("413 x", "", ""),                                      "Err(Unacceptable(413))"),
            (answer("401 x", "", ""),                                      "Err(Refused(401))"),
            (answer("404 x", "", ""),                                      "Err(Refused(404))"),
            (answer("307 x", "location: http://127.0.0.1:1/\r\n", ""),     "Err(Refused(307))"),
            (answer("200 OK", "", &long),                                  "Err(Broken)"),
            ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n{".to_owned(),   "Err(Broken)"),
            ("SSH-2.0-OpenSSH\r\n".to_owned(),                             "Err(Broken)"),
            (String::new(),                                                "Err(Broken)"),
        ];
        for (answer, expected) in cases {
            let (endpoint, served) = collector(vec![answer.clone()]).await;
            let sent = to(endpoint).send(&outgoing(), Timestamp::from_seconds(2)).await;
            assert_eq!(format!("{sent:?}"), expected);
            assert_eq!(served.await.unwrap().len(), 1, "one request, and none after a redirect");
        }
    }

    #[tokio::test]
    async fn nobody_at_the_address_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Endpoint::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        drop(listener);
        let sent = to(endpoint).send(&outgoing(), Timestamp::from_seconds(2)).await;
        assert!(matches!(sent, Err(OtlpError::Connect(_))), "{sent:?}");
    }
}
