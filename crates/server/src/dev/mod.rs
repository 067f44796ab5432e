//! `doorward dev`: a whole world in one directory.

pub mod description;
mod directory;
mod seed;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

use axum::body::Body;
use doorward_control::keys::{EnsureKeysError, ensure_keys};
use doorward_core::clock::{Clock, SystemClock};
use doorward_core::entropy::{Entropy, EntropyError, SystemEntropy, random_base64url};
use doorward_core::grant::TokenHash;
use doorward_core::resource::{Application, Host, Project};
use doorward_core::store::{Store, StoreError};
pub use doorward_proxy::EmailClaim;
use doorward_proxy::{Upstream, UpstreamError};
use doorward_store::{OpenError, SqliteStore};
use http::Request;

use crate::echo::Echo;
use crate::hosts::Api;
use crate::listen::{self, Room, Stopper};
use crate::wiring::{self, Outside, ServedApplication, StackConfig, WiringError};
use description::Description;
use directory::Directory;
pub use directory::DirectoryError;
pub use seed::SeedError;

/// Google's string: clients compare it, so the tokens of `dev` carry it.
const ISSUER: &str = "https://accounts.google.com";
/// How many events the record keeps.
const KEEP_EVENTS: u64 = 100_000;

/// What was typed.
#[derive(Debug, Clone)]
pub struct Options {
    /// The application to protect; the built-in one if there is none.
    pub to: Option<String>,
    /// Where the state is kept.
    pub directory: PathBuf,
    /// Where the application is seen. Port 0 takes a free one; likewise below.
    pub app_listen: SocketAddr,
    /// Where the second application is seen.
    pub other_app_listen: SocketAddr,
    /// Where the API is.
    pub api_listen: SocketAddr,
    /// Addresses beyond this machine are allowed.
    pub unsafe_listen: bool,
    /// What becomes of an ID token without `email`.
    pub email_claim: EmailClaim,
}

/// Why it did not start. Each is one line for a person, with the next step.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// `--to` is not an address.
    #[error("--to {address}: {cause}")]
    To {
        /// What was typed.
        address: String,
        /// What is wrong with it.
        cause: UpstreamError,
    },
    /// An address beyond this machine.
    #[error(
        "{option} {address} can be reached from other machines, where the test accounts and their keys would let anybody \
         in: use 127.0.0.1, or allow it with --unsafe-listen"
    )]
    NotLoopback {
        /// The option.
        option: &'static str,
        /// What was typed.
        address: SocketAddr,
    },
    /// An address cannot be listened at.
    #[error(
        "cannot listen at {option} {address}: {cause}; stop what uses it, or choose another with {option} (port 0 takes a free one)"
    )]
    Listen {
        /// The option.
        option: &'static str,
        /// What was typed.
        address: SocketAddr,
        /// The system's word.
        cause: io::Error,
    },
    /// The directory cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The database cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The keys cannot be put in order.
    #[error(transparent)]
    Keys(#[from] EnsureKeysError),
    /// The whole cannot be put together.
    #[error(transparent)]
    Wiring(#[from] WiringError),
    /// The fixtures cannot be made.
    #[error(transparent)]
    Seed(#[from] SeedError),
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// A thread cannot be started.
    #[error("cannot start a worker: {0}")]
    Worker(io::Error),
}

/// A world that serves.
pub struct World {
    description: Description,
    console_link: String,
    stopper: Stopper,
    workers: Vec<std::thread::JoinHandle<()>>,
    control: tokio::task::JoinSet<()>,
    writer: crate::audit_log::Writer,
    store: Arc<SqliteStore>,
    _directory: Directory,
}

impl World {
    /// What programs are told.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// The address of the decisions, with a key that works once.
    pub fn console_link(&self) -> &str {
        &self.console_link
    }

    /// Ends requests that have begun, writes what is to be written, and closes the store.
    pub async fn stop(mut self) {
        self.stopper.stop();
        while self.control.join_next().await.is_some() {}
        let workers = std::mem::take(&mut self.workers);
        // A worker that panicked has said so; there is nothing else to do for it.
        let _ = tokio::task::spawn_blocking(move || workers.into_iter().for_each(|worker| drop(worker.join()))).await;
        self.writer.finished().await;
        self.store.close().await;
    }
}

/// Starts everything: when this returns, requests are served and the description is in the directory.
///
/// # Errors
/// [`StartError`]: nothing serves, and nothing that was there before was overwritten.
pub async fn start(options: Options) -> Result<World, StartError> {
    let upstream = options.to.as_deref().map(upstream).transpose()?;
    for (option, address) in options.listeners() {
        if !address.ip().is_loopback() && !options.unsafe_listen {
            return Err(StartError::NotLoopback { option, address });
        }
    }
    for (option, address) in options.listeners().into_iter().filter(|(_, address)| address.ip().is_unspecified()) {
        // A name could be rebound to us by a web page, and which addresses are ours is not known here.
        tracing::warn!(
            "{option} {address}: other machines get 421; name the address by which they reach this one instead"
        );
    }
    let directory = Directory::take(&options.directory)?;
    let workers = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let [(app_option, app_address), (other_option, other_address), (api_option, api_address)] = options.listeners();
    let failed = |option, address| move |cause| StartError::Listen { option, address, cause };
    let app = listen::bind_shared(app_address, workers).map_err(failed(app_option, app_address))?;
    let other = listen::bind_shared(other_address, workers).map_err(failed(other_option, other_address))?;
    let api = listen::bind(api_address).map_err(failed(api_option, api_address))?;
    let store = Arc::new(SqliteStore::open(&directory.database()).await?);
    serve(options, upstream, directory, store, Sockets { app, other, api }).await
}

struct Sockets {
    app: Vec<TcpListener>,
    other: Vec<TcpListener>,
    api: TcpListener,
}

async fn serve(
    options: Options,
    upstream: Option<Arc<Upstream>>,
    directory: Directory,
    store: Arc<SqliteStore>,
    sockets: Sockets,
) -> Result<World, StartError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let shared_store: Arc<dyn Store> = store.clone();
    let project = Project { id: "doorward-dev".to_owned(), number: "415104041262".to_owned() };
    let keys = ensure_keys(&*shared_store, &entropy, clock.now()).await?;
    let applications = seed::applications(&*shared_store, &*entropy, &project).await?;
    seed::people(&*shared_store, &*entropy).await?;
    let secrets = seed::Secrets::derive(&keys, options.unsafe_listen)?;

    let app_seen = Seen::at(&sockets.app)?;
    let other_seen = Seen::at(&sockets.other)?;
    let api_seen = Seen::at(std::slice::from_ref(&sockets.api))?;

    let echo_socket = |option| {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        listen::bind(address).map_err(|cause| StartError::Listen { option, address, cause })
    };
    let (app_echo, other_echo) = (echo_socket("--app-listen")?, echo_socket("--other-app-listen")?);
    let (app_upstream, app_echo) = match upstream {
        Some(upstream) => (upstream, None),
        None => (local_upstream(&app_echo)?, Some(app_echo)),
    };
    let other_upstream = local_upstream(&other_echo)?;

    let served = |seen: &Seen, upstream| ServedApplication { hosts: seen.hosts.clone(), upstream };
    let config = StackConfig {
        project: project.clone(),
        issuer: ISSUER.to_owned(),
        api_url: api_seen.url.clone(),
        api_hosts: api_seen.hosts.clone(),
        applications: HashMap::from([
            (applications.app.name.clone(), served(&app_seen, app_upstream)),
            (applications.other_app.name.clone(), served(&other_seen, other_upstream)),
        ]),
        email_claim: options.email_claim,
        admin_token: TokenHash::of(&secrets.admin_token),
        keep_events: KEEP_EVENTS,
    };
    let outside = Outside { store: shared_store.clone(), clock: clock.clone(), entropy: entropy.clone() };
    let stack = wiring::build(outside, config).await?;
    let accounts = seed::accounts(&stack, &*shared_store, &directory, &applications.app, &secrets).await?;

    let (stopper, stop) = listen::stop();
    let mut control = tokio::task::JoinSet::new();
    let echoes = [(app_echo, &applications.app), (Some(other_echo), &applications.other_app)];
    for (socket, application) in echoes.into_iter().filter_map(|(socket, app)| Some((socket?, app))) {
        let echo = Echo::new(stack.snapshots.clone(), clock.clone(), application.audience(&project));
        let echo = Arc::new(echo);
        control.spawn(listen::serve(
            socket,
            Room::unlimited(),
            stop.clone(),
            listen::DRAIN,
            move |request: Request<Body>| {
                let echo = echo.clone();
                async move { echo.answer(request).await }
            },
        ));
    }
    let api = Arc::new(Api::new(stack.services.clone()));
    control.spawn(listen::serve(sockets.api, Room::for_api(), stop.clone(), listen::API_DRAIN, move |request| {
        let api = api.clone();
        async move { api.handle(request).await }
    }));
    let room = Room::for_applications();
    let workers = sockets.app.into_iter().zip(sockets.other).enumerate();
    let workers = workers.map(|(number, (app, other))| {
        listen::start_worker(number, vec![app, other], stack.proxy.clone(), room.clone(), stop.clone())
    });
    let workers = workers.collect::<io::Result<Vec<_>>>().map_err(StartError::Worker)?;

    let one_time_key = random_base64url(&*entropy, 16)?;
    stack.services.console().offer(&one_time_key);
    let console_link = format!("{}/decisions?key={one_time_key}", api_seen.url);
    let described = |seen: &Seen, application: &Application, secret: &str| description::AppDescription {
        url: seen.url.clone(),
        host: seen.host.clone(),
        client_id: application.client_id.0.clone(),
        client_secret: secret.to_owned(),
        backend_service: application.name.clone(),
        resource: application.resource().name(&project),
        audience: application.audience(&project),
    };
    let description = Description {
        version: 1,
        project: description::ProjectDescription { id: project.id.clone(), number: project.number.clone() },
        api_url: api_seen.url.clone(),
        ca_file: None,
        app: described(&app_seen, &applications.app, &secrets.app_client_secret),
        other_app: described(&other_seen, &applications.other_app, &secrets.other_app_client_secret),
        users: accounts.users,
        service_accounts: accounts.service_accounts,
        admin_token: secrets.admin_token,
        metadata: None,
    };
    directory.write_description(&description)?;
    Ok(World {
        description,
        console_link,
        stopper,
        workers,
        control,
        writer: stack.writer,
        store,
        _directory: directory,
    })
}

impl Options {
    fn listeners(&self) -> [(&'static str, SocketAddr); 3] {
        [
            ("--app-listen", self.app_listen),
            ("--other-app-listen", self.other_app_listen),
            ("--api-listen", self.api_listen),
        ]
    }
}

/// How a listener is reached.
struct Seen {
    /// Without a trailing slash, with a host that every resolver knows where there is one.
    url: String,
    /// The host in it.
    host: String,
    /// Every `Host` that is ours there.
    hosts: Vec<Host>,
}

impl Seen {
    fn at(listeners: &[TcpListener]) -> Result<Self, StartError> {
        let address = listeners.first().map(TcpListener::local_addr).ok_or(io::ErrorKind::NotFound);
        let address = address.map_err(io::Error::from).and_then(|address| address).map_err(StartError::Worker)?;
        let port = address.port();
        let own = match address.ip() {
            ip if ip.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
            ip => ip,
        };
        let host = SocketAddr::new(own, port).to_string();
        let mut names = vec![host.clone()];
        // A name that a web page cannot rebind: only this machine's own.
        if address.ip().is_unspecified() || address.ip().is_loopback() {
            names.extend([format!("127.0.0.1:{port}"), format!("localhost:{port}"), format!("[::1]:{port}")]);
        }
        let mut hosts: Vec<Host> = Vec::new();
        for host in names.iter().filter_map(|name| Host::parse(name).ok()) {
            if !hosts.contains(&host) {
                hosts.push(host);
            }
        }
        Ok(Seen { url: format!("http://{host}"), host, hosts })
    }
}

fn upstream(address: &str) -> Result<Arc<Upstream>, StartError> {
    let parsed = Upstream::parse(address);
    parsed.map(Arc::new).map_err(|cause| StartError::To { address: address.to_owned(), cause })
}

fn local_upstream(listener: &TcpListener) -> Result<Arc<Upstream>, StartError> {
    upstream(&format!("http://{}", listener.local_addr().map_err(StartError::Worker)?))
}
