//! Stage 5: the request goes to the application, the answer comes back, both streamed.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use doorward_core::clock::{Clock, Timestamp};
use doorward_core::resource::{
    Application, Scheme, UpstreamAddress, UpstreamError, is_forbidden_upstream, without_credentials,
};
use doorward_wire::headers::{
    DOORWARD_DECISION_ID, DOORWARD_FIX, DOORWARD_REASON, IAP_GENERATED_RESPONSE, is_own_cookie,
};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode, Uri, Version};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls_platform_verifier::ConfigVerifierExt as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::assert::Identity;
use crate::authorize::Permit;
use crate::body::{ApplicationBody, ProxyBody, WithoutTrailers};
use crate::pipeline::Shared;
use crate::record::Trace;
use crate::refusal::{Refusal, UpstreamFailure};
use crate::sanitize::{Sanitized, is_websocket, named_by_connection, strip_cookies};

/// How long a connection to the application may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the application may take until the head of its answer: long, for people who stand in a debugger.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(300);
/// The same for a request with a body, which may take long to arrive.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(3600);
/// How long an idle connection is kept: less than the five seconds after which Node's server closes one, so that a request
/// rarely meets a connection that is being closed.
const IDLE_LIMIT: Duration = Duration::from_secs(3);
/// Idle connections that one worker keeps.
const IDLE_CONNECTIONS: usize = 256;
/// How much of a head or body hyper may hold for a slow reader.
const BUFFER_LIMIT: usize = 64 * 1024;

/// How many addresses of one application a request tries: each may take [`CONNECT_TIMEOUT`].
const TRIES: usize = 4;
/// Applications whose addresses one worker keeps read. More are read again.
const KNOWN_APPLICATIONS: usize = 16 * 1024;

/// Where an application is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    host: String,
    port: u16,
    tls: Option<rustls::pki_types::ServerName<'static>>,
}

impl Upstream {
    /// Reads an address: see [`UpstreamAddress`].
    ///
    /// # Errors
    /// [`UpstreamError`], for whoever wrote it.
    pub fn parse(address: &str) -> Result<Self, UpstreamError> {
        let UpstreamAddress { scheme, host, port } = address.parse()?;
        let tls = match scheme {
            Scheme::Http => None,
            Scheme::Https => Some(host.clone().try_into().map_err(|_| UpstreamError::Malformed)?),
        };
        Ok(Upstream { host, port, tls })
    }
}

type Sender = SendRequest<WithoutTrailers>;

/// The addresses of one application.
type Upstreams = Arc<[Arc<Upstream>]>;

/// The connections of one worker. Only that worker uses it, so the lock is never contended.
#[derive(Default)]
pub(crate) struct Pool(Mutex<Connections>);

#[derive(Default)]
struct Connections {
    /// By address: applications that run at one share them.
    idle: Vec<Idle>,
    /// The addresses of each application, by its number.
    rotations: HashMap<String, Rotation>,
    tls: Option<TlsConnector>,
}

/// Whose turn it is.
struct Rotation {
    /// What the addresses were read from: another one is read anew.
    application: Arc<Application>,
    upstreams: Upstreams,
    next: usize,
}

struct Idle {
    upstream: Arc<Upstream>,
    since: Timestamp,
    sender: Sender,
}

/// A connection that is in use, with the way back.
pub(crate) struct Lease {
    pool: Arc<Pool>,
    clock: Arc<dyn Clock>,
    upstream: Arc<Upstream>,
    sender: Sender,
}

impl Lease {
    /// Makes the connection available again. Called when the answer has ended; one whose request body is still on its way
    /// is not ready then, and is dropped when next looked at.
    pub(crate) fn give_back(self) {
        if !self.sender.is_closed() {
            let idle = &mut self.pool.lock().idle;
            if idle.len() < IDLE_CONNECTIONS {
                idle.push(Idle { upstream: self.upstream, since: self.clock.now(), sender: self.sender });
            }
        }
    }
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, Connections> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The addresses of an application, and which of them comes first this time: each in its turn.
    fn turn(&self, application: &Arc<Application>) -> Result<(Upstreams, usize), UpstreamFailure> {
        let rotations = &mut self.lock().rotations;
        if let Some(rotation) = rotations.get_mut(&application.service_id)
            && Arc::ptr_eq(&rotation.application, application)
        {
            rotation.next = (rotation.next + 1) % rotation.upstreams.len().max(1);
            return Ok((rotation.upstreams.clone(), rotation.next));
        }
        let read = |address: &String| {
            let bad = |_| UpstreamFailure::BadAddress(without_credentials(address).into_owned());
            Upstream::parse(address).map(Arc::new).map_err(bad)
        };
        let upstreams: Upstreams = application.upstreams.iter().map(read).collect::<Result<Vec<_>, _>>()?.into();
        if rotations.len() >= KNOWN_APPLICATIONS {
            rotations.clear();
        }
        let rotation = Rotation { application: application.clone(), upstreams: upstreams.clone(), next: 0 };
        rotations.insert(application.service_id.clone(), rotation);
        Ok((upstreams, 0))
    }

    /// A ready connection to this address, the one that was used last.
    fn take(&self, upstream: &Arc<Upstream>, now: Timestamp) -> Option<Sender> {
        let idle = &mut self.lock().idle;
        idle.retain(|idle| now.since(idle.since) < IDLE_LIMIT && !idle.sender.is_closed());
        let same = |idle: &Idle| Arc::ptr_eq(&idle.upstream, upstream) || idle.upstream == *upstream;
        while let Some(found) = idle.iter().rposition(same) {
            let sender = idle.swap_remove(found).sender;
            if sender.is_ready() {
                return Some(sender);
            }
        }
        None
    }

    /// What trusts the certificates that this machine trusts. Made when the first address needs it.
    fn tls(&self) -> Result<TlsConnector, UpstreamFailure> {
        let known = &mut self.lock().tls;
        if let Some(tls) = known {
            return Ok(tls.clone());
        }
        let config = rustls::ClientConfig::with_platform_verifier().map_err(UpstreamFailure::Trust)?;
        Ok(known.insert(TlsConnector::from(Arc::new(config))).clone())
    }
}

/// Sends the request to the application. Needs a permit, and uses it up.
pub(crate) async fn forward(
    shared: &Shared,
    pool: &Arc<Pool>,
    mut request: Sanitized,
    permit: Permit<'_>,
    identity: Arc<Identity>,
    trace: &Trace,
) -> Result<Response<ProxyBody>, Refusal> {
    let site = permit.site();
    let application = &*site.resource.application;
    let unreachable = |cause: UpstreamFailure| {
        shared.outages.begins(application, &cause);
        Refusal::from(cause)
    };
    let (upstreams, first) = pool.turn(&site.resource.application).map_err(unreachable)?;
    let upgrade = request.upgrade.take();
    let patience = if request.body.is_end_stream() { ANSWER_TIMEOUT } else { UPLOAD_TIMEOUT };
    let scheme = site.origin.scheme.as_str();
    if let Some(field) = permit.credential_field()
        && !site.resource.settings.forward_credential.value
    {
        // A token that the application could use elsewhere. What stands in the other field is the application's own.
        request.headers.remove(field);
    }
    let mut outgoing = outgoing(request, upgrade.is_some(), &identity, scheme, trace.client_address());

    let mut failure = UpstreamFailure::NotConfigured;
    for nth in 0..upstreams.len().min(TRIES) {
        let upstream = &upstreams[(first + nth) % upstreams.len()];
        match send(pool, upstream, outgoing, patience, shared.clock.now()).await {
            Sent::Answered(response, sender) => {
                shared.outages.ends(application);
                let (pool, clock, upstream) = (pool.clone(), shared.clock.clone(), upstream.clone());
                return answer(response, upgrade, Lease { pool, clock, upstream, sender });
            }
            Sent::Nothing(unsent, cause) => (outgoing, failure) = (unsent, cause),
            Sent::Perhaps(cause) => return Err(cause.into()),
        }
    }
    Err(unreachable(failure))
}

/// What came of sending a request to one address.
enum Sent {
    /// It was answered.
    Answered(Response<Incoming>, Sender),
    /// Not a byte of it was sent: it may go to another address.
    Nothing(Request<WithoutTrailers>, UpstreamFailure),
    /// It may have been sent, and must never be sent twice.
    Perhaps(UpstreamFailure),
}

async fn send(
    pool: &Pool,
    upstream: &Arc<Upstream>,
    mut outgoing: Request<WithoutTrailers>,
    patience: Duration,
    now: Timestamp,
) -> Sent {
    let mut kept = pool.take(upstream, now);
    loop {
        let (mut sender, fresh) = match kept.take() {
            Some(sender) => (sender, false),
            None => match connect(pool, upstream).await {
                Ok(sender) => (sender, true),
                Err(cause) => return Sent::Nothing(outgoing, cause),
            },
        };
        match tokio::time::timeout(patience, sender.try_send_request(outgoing)).await {
            Err(_) => return Sent::Perhaps(UpstreamFailure::TimedOut),
            Ok(Ok(response)) => return Sent::Answered(response, sender),
            // A connection that was closed before a byte was sent: if it was a kept one, once more on a new one.
            Ok(Err(mut error)) => match error.take_message() {
                Some(unsent) if fresh => return Sent::Nothing(unsent, UpstreamFailure::Broken(error.into_error())),
                Some(unsent) => outgoing = unsent,
                None => return Sent::Perhaps(UpstreamFailure::Broken(error.into_error())),
            },
        }
    }
}

/// The application's answer as the caller gets it.
fn answer(
    mut response: Response<Incoming>,
    upgrade: Option<hyper::upgrade::OnUpgrade>,
    lease: Lease,
) -> Result<Response<ProxyBody>, Refusal> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return bridge(response, upgrade);
    }
    clean_answer(response.headers_mut());
    // The version is of the hop, and an application that speaks 1.0 must not make the client's connection one of 1.0.
    *response.version_mut() = Version::HTTP_11;
    Ok(response.map(|body| ProxyBody::Application(ApplicationBody::new(body, lease))))
}

/// The request as the application gets it: method, target and body as they came, `Host` the one that was decided on,
/// `Authorization` if it is the application's own, our own statements, and nothing that a caller could have said in our name.
fn outgoing(
    request: Sanitized,
    websocket: bool,
    identity: &Identity,
    scheme: &'static str,
    client: IpAddr,
) -> Request<WithoutTrailers> {
    let Sanitized { host, method, target, mut headers, body, chunked, upgrade: _ } = request;
    // Hop-by-hop, and a token that the application could use against others: dropped whether or not it was the credential.
    headers.remove(header::PROXY_AUTHORIZATION);
    strip_cookies(&mut headers);
    let mut set = |name: HeaderName, value: Option<HeaderValue>| {
        headers.remove(&name);
        if let Some(value) = value {
            headers.insert(name, value);
        }
    };
    let host = HeaderValue::from_str(host.as_str()).ok();
    set(HeaderName::from_static("x-forwarded-for"), HeaderValue::from_str(&client.to_string()).ok());
    set(HeaderName::from_static("x-forwarded-host"), host.clone());
    set(HeaderName::from_static("x-forwarded-proto"), Some(HeaderValue::from_static(scheme)));
    set(header::VIA, Some(HeaderValue::from_static("1.1 doorward")));
    set(header::HOST, host);
    if websocket {
        set(header::CONNECTION, Some(HeaderValue::from_static("upgrade")));
        set(header::UPGRADE, Some(HeaderValue::from_static("websocket")));
    }
    if chunked {
        // Said for every method: the library would send a GET without its body.
        set(header::TRANSFER_ENCODING, Some(HeaderValue::from_static("chunked")));
    }
    identity.add_to(&mut headers);
    let mut request = Request::new(WithoutTrailers(body));
    *request.method_mut() = method;
    *request.uri_mut() = Uri::from(target);
    *request.headers_mut() = headers;
    request
}

/// Removes from an answer what ends at this hop, and what only an answer of ours may say: an application that could send
/// the generated-response header could make its own refusal look like ours.
fn clean_answer(headers: &mut HeaderMap) {
    const HOP_BY_HOP: [HeaderName; 6] = [
        header::CONNECTION,
        header::TRANSFER_ENCODING,
        header::TE,
        header::TRAILER,
        header::UPGRADE,
        header::PROXY_AUTHENTICATE,
    ];
    let named = named_by_connection(headers);
    let ours = [IAP_GENERATED_RESPONSE, DOORWARD_REASON, DOORWARD_FIX, DOORWARD_DECISION_ID];
    let old = [HeaderName::from_static("keep-alive"), HeaderName::from_static("proxy-connection")];
    for name in HOP_BY_HOP.into_iter().chain(ours).chain(old).chain(named) {
        headers.remove(name);
    }
    drop_own_set_cookies(headers);
}

/// An application that set a cookie of ours could sign a person in as somebody else: cookies know no ports, and hosts share them
/// with the domain above. (That it may clear all cookies of the host, and that a script of its pages may set some, no proxy can
/// keep from it: in production the sign-in pages have a host of their own.)
fn drop_own_set_cookies(headers: &mut HeaderMap) {
    let sets_ours =
        |field: &HeaderValue| field.as_bytes().split(|byte| *byte == b';').next().is_some_and(is_own_cookie);
    if !headers.get_all(header::SET_COOKIE).iter().any(sets_ours) {
        return;
    }
    let kept: Vec<HeaderValue> =
        headers.get_all(header::SET_COOKIE).iter().filter(|field| !sets_ours(field)).cloned().collect();
    headers.remove(header::SET_COOKIE);
    for field in kept {
        headers.append(header::SET_COOKIE, field);
    }
}

async fn connect(pool: &Pool, upstream: &Upstream) -> Result<Sender, UpstreamFailure> {
    let tls = upstream.tls.as_ref().map(|name| pool.tls().map(|tls| (tls, name))).transpose()?;
    let address = || format!("{}:{}", upstream.host, upstream.port);
    let unreachable = |cause| UpstreamFailure::Unreachable { address: address(), cause };
    let connecting = async {
        let found = tokio::net::lookup_host((upstream.host.as_str(), upstream.port)).await.map_err(unreachable)?;
        // After the name was resolved: whoever owns a name says where it leads, today and tomorrow.
        let allowed = permitted(found).ok_or_else(|| UpstreamFailure::Forbidden { address: address() })?;
        let stream = TcpStream::connect(&*allowed).await.map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        Ok(match tls {
            None => Transport::Plain(stream),
            Some((tls, name)) => {
                Transport::Tls(Box::new(tls.connect(name.clone(), stream).await.map_err(unreachable)?))
            }
        })
    };
    match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await.map_err(|_| UpstreamFailure::TimedOut)?? {
        Transport::Plain(stream) => handshake(stream).await,
        Transport::Tls(stream) => handshake(*stream).await,
    }
}

/// The addresses at which an application may be; `None` if there are some, and all are others.
fn permitted(found: impl Iterator<Item = SocketAddr>) -> Option<Vec<SocketAddr>> {
    let (forbidden, allowed): (Vec<_>, Vec<_>) = found.partition(|address| is_forbidden_upstream(address.ip()));
    (forbidden.is_empty() || !allowed.is_empty()).then_some(allowed)
}

enum Transport {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

async fn handshake(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Sender, UpstreamFailure> {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(BUFFER_LIMIT);
    let (sender, connection) = builder.handshake(TokioIo::new(io)).await.map_err(UpstreamFailure::Broken)?;
    // A failure of the connection reaches the request that waits on it; a connection that ends while idle is no event.
    tokio::spawn(async move {
        let _ = connection.with_upgrades().await;
    });
    Ok(sender)
}

/// Joins the two sides of an upgraded connection (RFC 9110 section 7.8): from here on bytes are copied and not looked at.
fn bridge(
    mut response: Response<Incoming>,
    asked: Option<hyper::upgrade::OnUpgrade>,
) -> Result<Response<ProxyBody>, Refusal> {
    let application = hyper::upgrade::on(&mut response);
    // An application that switches unasked, or to something else, would speak to a client that does not expect it.
    let client = asked.filter(|_| is_websocket(response.headers())).ok_or(UpstreamFailure::UnexpectedUpgrade)?;
    clean_answer(response.headers_mut());
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    tokio::spawn(async move {
        if let (Ok(client), Ok(application)) = tokio::join!(client, application) {
            let (mut client, mut application) = (TokioIo::new(client), TokioIo::new(application));
            // Either side may go away at any time; that ends the tunnel and is no failure.
            let _ = tokio::io::copy_bidirectional(&mut client, &mut application).await;
        }
    });
    Ok(response.map(|_| ProxyBody::empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_application_sets_its_own_cookies_and_none_of_ours() {
        let mut headers = HeaderMap::new();
        let sent = [
            "session=1; Path=/",
            "doorward_sign_in=x; Path=/",
            "__Host-doorward_sign_in=x; Secure; Path=/",
            "Doorward-Flow=x",
            " doorward_console=x",
            "mydoorward_sign_in=doorward_sign_in",
            "GCP_IAP_UID=x",
            "theme=dark; Domain=doorward_x",
        ];
        for field in sent {
            headers.append(header::SET_COOKIE, HeaderValue::from_static(field));
        }
        clean_answer(&mut headers);
        let kept: Vec<&str> = headers.get_all(header::SET_COOKIE).iter().map(|field| field.to_str().unwrap()).collect();
        let expected = ["session=1; Path=/", "mydoorward_sign_in=doorward_sign_in", "theme=dark; Domain=doorward_x"];
        assert_eq!(kept, expected);
    }

    #[test]
    fn an_address_is_read_with_the_name_that_its_certificate_must_have() {
        #[rustfmt::skip]
        let cases = [
            ("http://localhost:3000",     Some(("localhost", 3000, false))),
            ("http://[::1]:9/",           Some(("::1", 9, false))),
            ("https://app.internal",      Some(("app.internal", 443, true))),
            ("https://[fd00::1]:8443",    Some(("fd00::1", 8443, true))),
            ("https://app.internal/base", None),
            ("http://user@localhost",     None),
            ("http://169.254.169.254",    None),
        ];
        for (address, expected) in cases {
            let read = Upstream::parse(address).ok();
            let read = read.as_ref().map(|read| (read.host.as_str(), read.port, read.tls.is_some()));
            assert_eq!(read, expected, "{address}");
        }
    }

    #[test]
    fn a_name_that_leads_to_a_metadata_server_leads_nowhere() {
        #[rustfmt::skip]
        let cases: [(&[&str], Option<&[&str]>); 6] = [
            (&["10.0.0.1:80"],                          Some(&["10.0.0.1:80"])),
            (&["127.0.0.1:80", "[::1]:80"],             Some(&["127.0.0.1:80", "[::1]:80"])),
            (&["169.254.169.254:80"],                   None),
            (&["[fe80::1]:80", "[::ffff:169.254.1.1]:80", "[fd00:ec2::254]:80"], None),
            (&["169.254.169.254:80", "10.0.0.1:80"],    Some(&["10.0.0.1:80"])),
            (&[],                                       Some(&[])),
        ];
        for (found, expected) in cases {
            let addresses = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>();
            assert_eq!(permitted(addresses(found).into_iter()), expected.map(addresses), "{found:?}");
        }
    }
}
