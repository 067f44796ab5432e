//! `doorward dev`: a whole world in one directory.

mod clients;
pub mod description;
mod directory;
mod people;
mod seed;
mod seen;
mod tls;

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

use axum::body::Body;
use doorward_control::instance::InstanceConfig;
use doorward_control::keys::{EnsureKeysError, ensure_keys};
use doorward_core::account::UniqueId;
use doorward_core::clock::{Clock, SystemClock};
use doorward_core::entropy::{Entropy, EntropyError, SystemEntropy, random_base64url};
use doorward_core::grant::TokenHash;
use doorward_core::keys::KeyRing;
use doorward_core::resource::{Application, Project, Scheme};
use doorward_core::store::{Store, StoreError};
pub use doorward_proxy::EmailClaim;
use doorward_proxy::{Upstream, UpstreamError};
use doorward_store::{OpenError, SqliteStore};
use http::Request;

use crate::echo::Echo;
use crate::hosts::Api;
use crate::listen::{self, Listener, Room, Stopper};
use crate::metadata;
use crate::wiring::{self, Outside, ServedApplication, StackConfig, WiringError};
use description::Description;
use directory::Directory;
pub use directory::DirectoryError;
pub use seed::SeedError;
use seen::Seen;
use tls::Tls;
pub use tls::TlsError;

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
    /// Where the metadata server is: on this machine only.
    pub metadata_listen: SocketAddr,
    /// Where the same is served over TLS besides.
    pub tls: Option<TlsListen>,
    /// Addresses beyond this machine are allowed.
    pub unsafe_listen: bool,
    /// What becomes of an ID token without `email`.
    pub email_claim: EmailClaim,
}

/// Listeners over TLS, beside the plain ones.
#[derive(Debug, Clone, Copy)]
pub struct TlsListen {
    /// Where the application is seen.
    pub app: SocketAddr,
    /// Where the second application is seen.
    pub other_app: SocketAddr,
    /// Where the API is.
    pub api: SocketAddr,
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
    /// The metadata server gives tokens to whoever asks, so it is never for other machines.
    #[error(
        "--metadata-listen {0} can be reached from other machines, and the metadata server gives tokens to whoever asks: use 127.0.0.1:8099"
    )]
    MetadataNotLoopback(SocketAddr),
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
    /// There is no TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
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
    for (option, address) in options.listeners().filter(|(_, address)| address.ip().is_unspecified()) {
        // A name could be rebound to us by a web page, and which addresses are ours is not known here.
        tracing::warn!(
            "{option} {address}: other machines get 421; name the address by which they reach this one instead"
        );
    }
    if !options.metadata_listen.ip().is_loopback() {
        return Err(StartError::MetadataNotLoopback(options.metadata_listen));
    }
    let directory = Directory::take(&options.directory)?;
    let sockets = Sockets::bind(&options)?;
    let store = Arc::new(SqliteStore::open(&directory.database()).await?);
    serve(options, upstream, directory, store, sockets).await
}

/// One listener for each worker, and one for the API.
struct Surface {
    app: Vec<TcpListener>,
    other_app: Vec<TcpListener>,
    api: TcpListener,
}

struct Sockets {
    plain: Surface,
    tls: Option<Surface>,
    metadata: TcpListener,
}

impl Sockets {
    fn bind(options: &Options) -> Result<Self, StartError> {
        let metadata = options.metadata_listen;
        Ok(Sockets {
            plain: Surface::bind(options.plain())?,
            tls: options.over_tls().map(Surface::bind).transpose()?,
            metadata: listen::bind(metadata).map_err(failed("--metadata-listen", metadata))?,
        })
    }
}

impl Surface {
    fn bind(addresses: Addresses) -> Result<Self, StartError> {
        let [(app_option, app), (other_option, other), (api_option, api)] = addresses;
        let workers = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        Ok(Surface {
            app: listen::bind_shared(app, workers).map_err(failed(app_option, app))?,
            other_app: listen::bind_shared(other, workers).map_err(failed(other_option, other))?,
            api: listen::bind(api).map_err(failed(api_option, api))?,
        })
    }
}

fn failed(option: &'static str, address: SocketAddr) -> impl Fn(io::Error) -> StartError {
    move |cause| StartError::Listen { option, address, cause }
}

/// How the listeners of one kind are reached.
struct SeenSurface {
    app: Seen,
    other_app: Seen,
    api: Seen,
}

impl SeenSurface {
    fn of(surface: &Surface, scheme: Scheme) -> Result<Self, StartError> {
        Ok(SeenSurface {
            app: Seen::at(&surface.app, scheme)?,
            other_app: Seen::at(&surface.other_app, scheme)?,
            api: Seen::at(std::slice::from_ref(&surface.api), scheme)?,
        })
    }
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
    let now = clock.now();
    let keys = ensure_keys(&*shared_store, &entropy, now).await?;
    let applications = seed::applications(&*shared_store, &*entropy, &project).await?;
    let oauth_clients = clients::seed(&*shared_store, &*entropy, &keys, &project, now).await?;
    let seeding = people::Seeding {
        store: &*shared_store,
        entropy: &*entropy,
        keys: &keys,
        directory: &directory,
        reachable_by_others: options.unsafe_listen,
        now,
    };
    let users = people::seed(&seeding).await?;
    let secrets = seed::Secrets::derive(&keys)?;

    let seen = SeenSurface::of(&sockets.plain, Scheme::Http)?;
    let seen_tls = sockets.tls.as_ref().map(|surface| SeenSurface::of(surface, Scheme::Https)).transpose()?;
    let tls = match &sockets.tls {
        Some(surface) => {
            let listeners: Vec<&TcpListener> =
                surface.app.iter().chain(&surface.other_app).chain([&surface.api]).collect();
            Some(Tls::new(&keys, &*entropy, &listeners, now)?)
        }
        None => None,
    };
    let ca_file = tls.as_ref().map(|tls| directory.write_authority(&tls.authority)).transpose()?;

    let echo_socket = |option| {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        listen::bind(address).map_err(failed(option, address))
    };
    let (app_echo, other_echo) = (echo_socket("--app-listen")?, echo_socket("--other-app-listen")?);
    let (app_upstream, app_echo) = match upstream {
        Some(upstream) => (upstream, None),
        None => (local_upstream(&app_echo)?, Some(app_echo)),
    };
    let other_upstream = local_upstream(&other_echo)?;

    let origins = |seen_at: fn(&SeenSurface) -> &Seen| {
        let both = [Some(&seen), seen_tls.as_ref()].into_iter().flatten();
        both.flat_map(|surface| seen_at(surface).origins.clone()).collect::<Vec<_>>()
    };
    let served = |origins, upstream| ServedApplication { origins, upstream };
    let config = StackConfig {
        project: project.clone(),
        issuer: ISSUER.to_owned(),
        api_url: seen.api.url.clone(),
        api_https_url: seen_tls.as_ref().map(|seen| seen.api.url.clone()),
        api_hosts: seen.api.hosts().chain(seen_tls.iter().flat_map(|seen| seen.api.hosts())).collect(),
        applications: HashMap::from([
            (applications.app.name.clone(), served(origins(|seen| &seen.app), app_upstream)),
            (applications.other_app.name.clone(), served(origins(|seen| &seen.other_app), other_upstream)),
        ]),
        email_claim: options.email_claim,
        admin_token: TokenHash::of(&secrets.admin_token),
        keep_events: KEEP_EVENTS,
    };
    let outside = Outside { store: shared_store.clone(), clock: clock.clone(), entropy: entropy.clone() };
    let stack = wiring::build(outside, config).await?;
    let accounts = seed::accounts(&stack, &*shared_store, &directory, &applications.app, users).await?;
    let impersonated = seed::impersonated_credentials(&directory, &accounts, &seen.api.url)?;
    let robot = accounts.service_accounts.get("robot").ok_or(SeedError::Missing)?;
    let instance = stack.instance(InstanceConfig {
        account: UniqueId(robot.unique_id.clone()),
        id: number_of(&keys, "instance")?,
        name: "doorward-dev".to_owned(),
        zone: "us-central1-a".to_owned(),
        created: now.seconds(),
    });

    let (stopper, stop) = listen::stop();
    let mut control = tokio::task::JoinSet::new();
    let echoes = [(app_echo, &applications.app), (Some(other_echo), &applications.other_app)];
    for (socket, application) in echoes.into_iter().filter_map(|(socket, app)| Some((socket?, app))) {
        let echo = Echo::new(stack.snapshots.clone(), clock.clone(), application.audience(&project));
        let echo = Arc::new(echo);
        control.spawn(listen::serve(
            Listener::plain(socket),
            Room::unlimited(),
            stop.clone(),
            listen::DRAIN,
            move |request: Request<Body>| {
                let echo = echo.clone();
                async move { echo.answer(request).await }
            },
        ));
    }
    let metadata_address = sockets.metadata.local_addr().map_err(StartError::Worker)?;
    control.spawn(metadata::listen_at(sockets.metadata, metadata_address, Arc::new(instance), stop.clone()));

    let acceptor = tls.map(|tls| tls.acceptor);
    let over_tls = |socket| acceptor.clone().map(|acceptor| Listener::tls(socket, acceptor));
    let Surface { app, other_app, api } = sockets.plain;
    let mut apis = vec![Listener::plain(api)];
    let pairs = app.into_iter().zip(other_app);
    let mut workers: Vec<Vec<Listener>> =
        pairs.map(|(app, other)| vec![Listener::plain(app), Listener::plain(other)]).collect();
    if let Some(Surface { app, other_app, api }) = sockets.tls {
        apis.extend(over_tls(api));
        for (worker, (app, other)) in workers.iter_mut().zip(app.into_iter().zip(other_app)) {
            worker.extend([over_tls(app), over_tls(other)].into_iter().flatten());
        }
    }
    let api = Arc::new(Api::new(stack.services.clone()));
    let room = Room::for_api();
    for listener in apis {
        let api = api.clone();
        control.spawn(listen::serve(listener, room.clone(), stop.clone(), listen::API_DRAIN, move |request| {
            let api = api.clone();
            async move { api.handle(request).await }
        }));
    }
    let room = Room::for_applications();
    let workers = workers.into_iter().enumerate().map(|(number, listeners)| {
        listen::start_worker(number, listeners, stack.proxy.clone(), room.clone(), stop.clone())
    });
    let workers = workers.collect::<io::Result<Vec<_>>>().map_err(StartError::Worker)?;

    let one_time_key = random_base64url(&*entropy, 16)?;
    stack.services.console().offer(&one_time_key);
    let console_link = format!("{}/decisions?key={one_time_key}", seen.api.url);
    let described =
        |seen: &Seen, over_tls: Option<&Seen>, application: &Application, secret: &str| description::AppDescription {
            url: seen.url.clone(),
            https_url: over_tls.map(|seen| seen.url.clone()),
            host: seen.host.clone(),
            client_id: application.client_id.0.clone(),
            client_secret: secret.to_owned(),
            backend_service: application.name.clone(),
            resource: application.resource().name(&project),
            audience: application.audience(&project),
        };
    let (app_tls, other_tls) = (seen_tls.as_ref().map(|seen| &seen.app), seen_tls.as_ref().map(|seen| &seen.other_app));
    let description = Description {
        version: 1,
        project: description::ProjectDescription { id: project.id.clone(), number: project.number.clone() },
        api_url: seen.api.url.clone(),
        api_https_url: seen_tls.as_ref().map(|seen| seen.api.url.clone()),
        ca_file,
        app: described(&seen.app, app_tls, &applications.app, &secrets.app_client_secret),
        other_app: described(&seen.other_app, other_tls, &applications.other_app, &secrets.other_app_client_secret),
        metadata: Some(description::MetadataDescription {
            host: metadata_address.to_string(),
            service_account: robot.email.clone(),
        }),
        users: accounts.users,
        service_accounts: accounts.service_accounts,
        admin_token: secrets.admin_token,
        oauth_clients,
        credential_files: description::CredentialFiles { impersonated_service_account: Some(impersonated) },
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

/// A number of 19 digits, the same for as long as the directory is.
fn number_of(keys: &KeyRing, what: &str) -> Result<String, StartError> {
    let derived = keys.derive(&format!("number of {what}")).map_err(SeedError::from)?;
    let digits: String = derived.bytes().map(|byte| char::from(b'0' + byte % 10)).take(18).collect();
    Ok(format!("1{digits}"))
}

/// An option and its address, for the application, the second application, and the API.
type Addresses = [(&'static str, SocketAddr); 3];

impl Options {
    fn plain(&self) -> Addresses {
        [
            ("--app-listen", self.app_listen),
            ("--other-app-listen", self.other_app_listen),
            ("--api-listen", self.api_listen),
        ]
    }

    fn over_tls(&self) -> Option<Addresses> {
        self.tls.map(|tls| {
            [("--app-tls-listen", tls.app), ("--other-app-tls-listen", tls.other_app), ("--api-tls-listen", tls.api)]
        })
    }

    fn listeners(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        self.plain().into_iter().chain(self.over_tls().into_iter().flatten())
    }
}

fn upstream(address: &str) -> Result<Arc<Upstream>, StartError> {
    let parsed = Upstream::parse(address);
    parsed.map(Arc::new).map_err(|cause| StartError::To { address: address.to_owned(), cause })
}

fn local_upstream(listener: &TcpListener) -> Result<Arc<Upstream>, StartError> {
    upstream(&format!("http://{}", listener.local_addr().map_err(StartError::Worker)?))
}
