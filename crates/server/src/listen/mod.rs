//! Listening: sockets, connections, and their end.

mod live;
mod room;
mod stream;
mod trusted;

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use doorward_control::admin::Peer;
use doorward_proxy::{FromIntermediary, Proxy, Shared, record_broken_request};
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

pub(crate) use room::Room;
use stream::Stream;
pub(crate) use trusted::{Network, NetworkError, TrustedProxies};

/// How long the head of a request may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How much of a head hyper reads, and of a body it holds for a slow reader.
const BUFFER_LIMIT: usize = 64 * 1024;
/// Header fields in one request.
const HEADERS_LIMIT: usize = 100;
/// How long a request to the API may take: longer than the longest wait for an event.
const API_TIMEOUT: Duration = Duration::from_secs(60);
/// How long requests that have begun may go on when the process stops.
pub(crate) const DRAIN: Duration = Duration::from_secs(10);
/// The same for the API, where the one thing that takes longer is waiting for the next decision.
pub(crate) const API_DRAIN: Duration = Duration::from_millis(500);
/// How long nothing is accepted after accepting failed, for example because too many files are open.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// From where a request came, and whether over TLS. Known of the connection, and told by those alone who are trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Connection {
    /// The client, as far as it is known.
    pub(crate) peer: Peer,
    /// The client spoke TLS, with us or with somebody before us.
    pub(crate) tls: bool,
}

/// A socket, and what is spoken on it.
pub(crate) struct Listener {
    socket: TcpListener,
    tls: Option<TlsAcceptor>,
    /// Clients speak TLS, with us or with somebody before us.
    is_https: bool,
    /// Whose word about the client is believed.
    trusted: TrustedProxies,
}

impl Listener {
    /// Plain HTTP.
    pub(crate) fn plain(socket: TcpListener) -> Self {
        Listener { socket, tls: None, is_https: false, trusted: TrustedProxies::default() }
    }

    /// Plain HTTP from somebody who ends TLS before us, and without whom nobody reaches us.
    pub(crate) fn behind_tls(socket: TcpListener, trusted: TrustedProxies) -> Self {
        Listener { socket, tls: None, is_https: true, trusted }
    }

    /// HTTP over TLS.
    pub(crate) fn tls(socket: TcpListener, acceptor: TlsAcceptor) -> Self {
        Listener { socket, tls: Some(acceptor), is_https: true, trusted: TrustedProxies::default() }
    }
}

/// A sign that the process stops. It comes once and stays.
#[derive(Clone)]
pub(crate) struct Stop(watch::Receiver<bool>);

/// Gives the sign.
pub(crate) struct Stopper(watch::Sender<bool>);

/// A sign that is not given yet, and the hand that gives it.
pub(crate) fn stop() -> (Stopper, Stop) {
    let (sender, receiver) = watch::channel(false);
    (Stopper(sender), Stop(receiver))
}

impl Stopper {
    pub(crate) fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    async fn given(&mut self) {
        // An error means that the other hand is gone, which is a sign too.
        let _ = self.0.wait_for(|stopped| *stopped).await;
    }
}

/// Listens at an address that nobody else uses.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    listen(address, false)
}

/// Listens at one address with several sockets, so that the kernel spreads connections over workers.
///
/// Sockets that share an address would also let another process share it unseen, and take a part of our connections: so
/// the address is first taken alone.
pub(crate) fn bind_shared(address: SocketAddr, sockets: usize) -> io::Result<Vec<TcpListener>> {
    let address = listen(address, false)?.local_addr()?;
    (0..sockets.max(1)).map(|_| listen(address, true)).collect()
}

fn listen(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    Ok(socket.into())
}

/// One worker of the data plane: its own thread, runtime, listeners and connections to applications.
pub(crate) fn start_worker(
    number: usize,
    listeners: Vec<Listener>,
    shared: Arc<Shared>,
    room: Room,
    stop: Stop,
) -> io::Result<std::thread::JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name(format!("data-plane-{number}")).spawn(move || {
        runtime.block_on(async move {
            let proxy = Arc::new(Proxy::new(shared.clone()));
            let mut accepting = JoinSet::new();
            for listener in listeners {
                let (proxy, shared) = (proxy.clone(), shared.clone());
                let trusted = listener.trusted.clone();
                accepting.spawn(accept(listener, room.clone(), stop.clone(), DRAIN, move |stream, client, stop| {
                    serve_proxied(stream, (client, trusted.clone()), proxy.clone(), shared.clone(), stop)
                }));
            }
            while accepting.join_next().await.is_some() {}
        });
    })
}

/// Serves requests with a function that always answers, until the sign is given; requests that have begun may then go on for
/// `patience`.
pub(crate) async fn serve<F, A>(listener: Listener, room: Room, stop: Stop, patience: Duration, answer: F)
where
    F: Fn(Request<Body>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response> + Send + 'static,
{
    let (is_https, trusted) = (listener.is_https, listener.trusted.clone());
    accept(listener, room, stop, patience, move |stream, client, stop| {
        let answer = answer.clone();
        let trusted = trusted.clone();
        let server_name = stream.server_name();
        let service = service_fn(move |mut request: Request<Incoming>| {
            if let Some(name) = &server_name {
                request.extensions_mut().insert(name.clone());
            }
            let peer = trusted.client(client.ip(), request.headers());
            request.extensions_mut().insert(Connection { peer, tls: is_https });
            let answering = answer(request.map(Body::new));
            async move {
                // A body that stops half-way would hold its connection for ever.
                Ok::<_, Infallible>(match tokio::time::timeout(API_TIMEOUT, answering).await {
                    Ok(response) => response,
                    Err(_) => too_slow(),
                })
            }
        });
        async move {
            // A client that breaks off, or sends what is no HTTP, has been answered as far as it can be.
            let _ = drain(http_1().serve_connection(TokioIo::new(stream), service).with_upgrades(), stop).await;
        }
    })
    .await;
}

fn too_slow() -> Response {
    let mut response = Response::new(Body::from("The request took too long to arrive. Send it again.\n"));
    *response.status_mut() = http::StatusCode::REQUEST_TIMEOUT;
    response
}

async fn serve_proxied(
    stream: Stream,
    (client, trusted): (SocketAddr, TrustedProxies),
    proxy: Arc<Proxy>,
    shared: Arc<Shared>,
    stop: Stop,
) {
    let server_name = stream.server_name();
    let service = service_fn(move |mut request: Request<Incoming>| {
        if let Some(name) = &server_name {
            request.extensions_mut().insert(name.clone());
        }
        let proxy = proxy.clone();
        let peer = trusted.client(client.ip(), request.headers());
        if !peer.is_client {
            request.extensions_mut().insert(FromIntermediary);
        }
        let client = SocketAddr::new(peer.address, client.port());
        async move { Ok::<_, Infallible>(proxy.handle(request, client).await) }
    });
    let connection = http_1().serve_connection(TokioIo::new(stream), service).with_upgrades();
    let ended = drain(connection, stop).await;
    // What the parser refused never became a request: hyper answered 400 or 431 and closed the connection.
    if let Err(error) = ended
        && error.is_parse()
    {
        record_broken_request(&shared, client, &error).await;
    }
}

/// Drives a connection; when the sign is given, to the end of the request that it is in.
async fn drain<S, B>(connection: http1::UpgradeableConnection<TokioIo<Stream>, S>, mut stop: Stop) -> hyper::Result<()>
where
    S: HttpService<Incoming, ResBody = B, Error = Infallible>,
    B: hyper::body::Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        ended = &mut connection => return ended,
        () = stop.given() => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}

fn http_1() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(BUFFER_LIMIT)
        .max_headers(HEADERS_LIMIT);
    builder
}

/// Accepts until the sign is given, then waits up to `patience` for the connections that are open.
async fn accept<F, C>(listener: Listener, room: Room, mut stop: Stop, patience: Duration, serve: F)
where
    F: Fn(Stream, SocketAddr, Stop) -> C + Clone + Send + 'static,
    C: Future<Output = ()> + Send + 'static,
{
    let Listener { socket, tls, is_https: _, trusted: _ } = listener;
    let listener = match tokio::net::TcpListener::from_std(socket) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "a listener cannot be used"),
    };
    let mut connections = JoinSet::new();
    loop {
        let next = async { (room.place().await, listener.accept().await) };
        tokio::select! {
            () = stop.given() => break,
            Some(_) = connections.join_next() => {}
            (place, accepted) = next => match accepted {
                Ok((stream, client)) => {
                    // Without it small answers wait for an acknowledgement; a socket that refuses is served all the same.
                    let _ = stream.set_nodelay(true);
                    let (serve, stop, tls) = (serve.clone(), stop.clone(), tls.clone());
                    connections.spawn(async move {
                        // A client that does not finish its handshake has nothing to be told.
                        if let Ok(stream) = Stream::open(stream, tls, HEAD_TIMEOUT).await {
                            serve(stream, client, stop).await;
                        }
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    drop(listener);
    let rest = async { while connections.join_next().await.is_some() {} };
    // What has not ended by then is cut off.
    let _ = tokio::time::timeout(patience, rest).await;
}
