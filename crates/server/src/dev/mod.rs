//! `doorward dev`: a whole world in one directory.

mod clients;
pub mod description;
mod directory;
mod keys;
pub mod names;
mod people;
mod seed;
mod surfaces;
mod tls;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use doorward_control::applications::OwnHosts;
use doorward_control::instance::InstanceConfig;
use doorward_control::keys::{EnsureKeysError, ensure_keys};
use doorward_core::account::UniqueId;
use doorward_core::clock::SystemClock;
use doorward_core::entropy::{EntropyError, SystemEntropy, random_base64url};
use doorward_core::grant::TokenHash;
use doorward_core::issuer::OwnNames;
use doorward_core::keys::KeyRing;
use doorward_core::outbound::Reach;
use doorward_core::policy::condition::HeaderAllowList;
use doorward_core::resource::{Ancestor, Application, Host, Project, UpstreamError, without_credentials};
use doorward_core::settings::Defaults;
pub use doorward_core::settings::EmailClaim;
use doorward_core::store::{Store, StoreError};
use doorward_proxy::Upstream;
use doorward_store::{OpenError, SqliteStore};
use doorward_wire::headers::ASSERTION_ISSUER;
use http::Request;

use crate::config::{self, Mistakes};
use crate::echo::Echo;
use crate::hosts::Api;
use crate::listen::{self, Listener, Room, Stop, Stopper};
use crate::metadata;
use crate::outbound::Fetcher;
use crate::serve::serve_api;
use crate::wiring::{self, Outside, StackConfig, WiringError};
use description::Description;
use directory::Directory;
pub use directory::DirectoryError;
use keys::KeysSocket;
use names::{Addressing, CERTIFIED, METADATA_NAMES};
pub use seed::SeedError;
pub use surfaces::NamedSockets;
use surfaces::{SeenListener, Sockets, failed};
use tls::Tls;
pub use tls::TlsError;

/// Google's string: clients compare it, so the tokens of `dev` carry it.
const ISSUER: &str = "https://accounts.google.com";
/// How many events the record keeps.
const KEEP_EVENTS: u64 = 100_000;
/// For how long the record keeps them.
const KEEP_FOR: Duration = Duration::from_secs(90 * 24 * 3600);
/// For how long the store may not be readable before nobody is let in.
const STALENESS_LIMIT: Duration = Duration::from_secs(30);

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
    /// The list of issuers beside ourselves whose ID tokens are callers.
    pub trusted_issuers: Option<PathBuf>,
}

/// What was typed, where Google's names lead to the world.
#[derive(Debug, Clone)]
pub struct NamedOptions {
    /// The application to protect; the built-in one if there is none.
    pub to: Option<String>,
    /// Where the state is kept.
    pub directory: PathBuf,
    /// What becomes of an ID token without `email`.
    pub email_claim: EmailClaim,
    /// The list of issuers beside ourselves whose ID tokens are callers.
    pub trusted_issuers: Option<PathBuf>,
    /// Where the keys of the signed header are served besides, for an application on the machine's own network.
    pub keys_listen: Option<SocketAddr>,
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
    /// The list of trusted issuers is not taken.
    ///
    /// It stands within the sentence, and is no `source`: it would be printed twice.
    #[error("--trusted-issuers {0}")]
    TrustedIssuers(Mistakes),
    /// The metadata server gives tokens to whoever asks, so it is never for other machines.
    #[error(
        "--metadata-listen {0} can be reached from other machines, and the metadata server gives tokens to whoever asks: use 127.0.0.1:8099"
    )]
    MetadataNotLoopback(SocketAddr),
    /// The keys are for an application on this machine.
    #[error("--keys-listen {0} can be reached from other machines: use 127.0.0.1")]
    KeysNotLoopback(SocketAddr),
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
    /// An address cannot be listened at where Google's names lead to it.
    #[error("cannot listen at {address} in a network of its own: {cause}")]
    ListenNamed {
        /// The address.
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
    description_file: PathBuf,
    console_link: String,
    keys_url: Option<String>,
    stopper: Stopper,
    workers: Vec<std::thread::JoinHandle<()>>,
    control: tokio::task::JoinSet<()>,
    background: tokio::task::JoinSet<()>,
    writer: crate::audit_log::Writer,
    store: Arc<SqliteStore>,
    _directory: Directory,
}

impl World {
    /// What programs are told.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Where the description is, absolute.
    pub fn description_file(&self) -> &Path {
        &self.description_file
    }

    /// The address of the decisions, with a key that works once.
    pub fn console_link(&self) -> &str {
        &self.console_link
    }

    /// Where the keys of the signed header are served outside of the network of the rest, if that was asked for.
    pub fn keys_url(&self) -> Option<&str> {
        self.keys_url.as_deref()
    }

    /// Ends requests that have begun, writes what is to be written, and closes the store.
    pub async fn stop(mut self) {
        self.stopper.stop();
        while self.control.join_next().await.is_some() {}
        let workers = std::mem::take(&mut self.workers);
        // A worker that panicked has said so; there is nothing else to do for it.
        let _ = tokio::task::spawn_blocking(move || workers.into_iter().for_each(|worker| drop(worker.join()))).await;
        self.writer.finished().await;
        self.background.shutdown().await;
        self.store.close().await;
    }
}

/// Starts everything: when this returns, requests are served and the description is in the directory.
///
/// # Errors
/// [`StartError`]: nothing serves, and nothing that was there before was overwritten.
pub async fn start(options: Options) -> Result<World, StartError> {
    let upstream = options.to.as_deref().map(checked).transpose()?;
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
    let directory = Directory::take(&options.directory, Addressing::OwnOrigin)?;
    let sockets = Sockets::bind(&options)?;
    let store = Arc::new(SqliteStore::open(&directory.database()).await?);
    let openness = Openness {
        reachable_by_others: options.unsafe_listen,
        email_claim: options.email_claim,
        trusted_issuers: options.trusted_issuers,
        keys: None,
    };
    serve(openness, upstream, directory, store, sockets).await
}

/// Starts everything on sockets to which Google's names lead: when this returns, requests are served and the description is in
/// the folder `names` of the directory, beside whatever [`start`] left in it.
///
/// # Errors
/// [`StartError`]: nothing serves, and nothing that was there before was overwritten.
pub async fn start_named(options: NamedOptions, sockets: NamedSockets) -> Result<World, StartError> {
    let upstream = options.to.as_deref().map(checked).transpose()?;
    let directory = Directory::take(&options.directory, Addressing::GoogleNames)?;
    let store = Arc::new(SqliteStore::open(&directory.database()).await?);
    // In a network of its own only the programs in it reach anything.
    let openness = Openness {
        reachable_by_others: false,
        email_claim: options.email_claim,
        trusted_issuers: options.trusted_issuers,
        keys: options.keys_listen.map(KeysSocket::bind).transpose()?,
    };
    serve(openness, upstream, directory, store, sockets.0).await
}

/// How open the world is.
struct Openness {
    /// Other machines may reach it.
    reachable_by_others: bool,
    /// What becomes of an ID token without `email`.
    email_claim: EmailClaim,
    /// The list of issuers beside ourselves.
    trusted_issuers: Option<PathBuf>,
    /// Where the keys of the signed header are served besides.
    keys: Option<KeysSocket>,
}

async fn serve(
    openness: Openness,
    upstream: Option<String>,
    directory: Directory,
    store: Arc<SqliteStore>,
    sockets: Sockets,
) -> Result<World, StartError> {
    let addressing = if sockets.named() { Addressing::GoogleNames } else { Addressing::OwnOrigin };
    let shared_store: Arc<dyn Store> = store.clone();
    let outside = Outside {
        store: shared_store,
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        fetch: Arc::new(Fetcher::default()),
    };
    let project = project();
    let now = outside.clock.now();
    let keys = ensure_keys(&*outside.store, &outside.entropy, now).await?;
    let oauth_clients = clients::seed(&*outside.store, &*outside.entropy, &keys, &project, now).await?;
    let seeding = people::Seeding {
        store: &*outside.store,
        entropy: &*outside.entropy,
        keys: &keys,
        directory: &directory,
        reachable_by_others: openness.reachable_by_others,
        now,
    };
    let users = people::seed(&seeding).await?;
    let secrets = seed::Secrets::derive(&keys)?;

    let seen = sockets.seen()?;
    let addresses = sockets.tls_addresses();
    let names: &[&str] = if sockets.named() { &CERTIFIED } else { &[] };
    let tls = addresses.map(|addresses| Tls::new(&keys, &*outside.entropy, (&addresses, names), now)).transpose()?;
    let ca_file = tls.as_ref().map(|tls| directory.write_authority(&tls.authority)).transpose()?;
    let built_in = BuiltIn::bind(upstream)?;
    let served = [
        seed::Served {
            name: "app",
            origins: seen.origins(|it| &it.app),
            upstream: built_in.app.0.clone(),
            client_secret: secrets.app_client_secret.clone(),
        },
        seed::Served {
            name: "other-app",
            origins: seen.origins(|it| &it.other_app),
            upstream: built_in.other_app.0.clone(),
            client_secret: secrets.other_app_client_secret.clone(),
        },
    ];
    let applications = seed::applications(&*outside.store, &*outside.entropy, &project, served, now).await?;
    let (api, api_over_tls) = seen.both(|surface| &surface.api);
    let own = [Some(ISSUER), Some(ASSERTION_ISSUER), Some(api.url.as_str()), api_over_tls.map(|api| api.url.as_str())];
    let own: Vec<&str> = own.into_iter().flatten().collect();
    let own = OwnNames { issuers: &own, project_id: &project.id };
    let list = openness.trusted_issuers.as_deref().map(|list| config::read_trusted_issuers(list, own, true));
    let api_hosts: Vec<Host> = seen.origins(|surface| &surface.api).into_iter().map(|origin| origin.host).collect();
    let config = StackConfig {
        project: project.clone(),
        issuer: ISSUER.to_owned(),
        addressing,
        api_url: api.url.clone(),
        api_https_url: api_over_tls.map(|api| api.url.clone()),
        // The applications are at the same addresses, at other ports.
        reserved_hosts: names::reserved_hosts(OwnHosts::Ports(api_hosts.clone())),
        api_hosts,
        admin_token: Some(TokenHash::of(&secrets.admin_token)),
        trusted_issuers: Arc::new(list.transpose().map_err(StartError::TrustedIssuers)?.unwrap_or_default()),
        reach: Reach::Loopback,
        defaults: Defaults { email_claim: openness.email_claim, forward_credential: true },
        condition_headers: HeaderAllowList::default(),
        contact: None,
        staleness_limit: STALENESS_LIMIT,
        keep_events: KEEP_EVENTS,
        keep_for: KEEP_FOR,
    };
    let stack = wiring::build(outside.clone(), config).await?;
    let accounts = seed::accounts(&stack, &outside, &directory, &applications.app, users).await?;
    let iam_credentials = addressing.base(&api.url, "iamcredentials.googleapis.com");
    let impersonated = seed::impersonated_credentials(&directory, &accounts, &iam_credentials)?;
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
    for (socket, application) in [(built_in.app.1, &applications.app), (built_in.other_app.1, &applications.other_app)]
    {
        if let Some(socket) = socket {
            let audience = application.audience(&project);
            let echo = Arc::new(Echo::new(stack.snapshots.clone(), outside.clock.clone(), audience));
            control.spawn(serve_echo(socket, echo, stop.clone()));
        }
    }
    let listeners = sockets.listen(tls.as_ref().map(|tls| &tls.acceptor));
    control.spawn(metadata::listen_at(listeners.metadata, seen.metadata, Arc::new(instance), stop.clone()));
    let room = Room::for_api();
    let answering = Arc::new(Api::new(stack.services.clone()));
    for listener in listeners.api {
        control.spawn(serve_api((listener, room.clone()), answering.clone(), stop.clone(), listen::API_DRAIN));
    }
    let keys_url = openness.keys.as_ref().map(|keys| keys.url.clone());
    if let Some(keys) = openness.keys {
        control.spawn(keys.serve(room.clone(), answering.clone(), stop.clone()));
    }
    let room = Room::for_applications();
    let workers = listeners.workers.into_iter().enumerate().map(|(number, listeners)| {
        listen::start_worker(number, listeners, stack.proxy.clone(), room.clone(), stop.clone())
    });
    let workers = workers.collect::<io::Result<Vec<_>>>().map_err(StartError::Worker)?;

    let one_time_key = random_base64url(&*outside.entropy, 16)?;
    stack.services.console().offer(&one_time_key);
    let console_link = format!("{}/decisions?key={one_time_key}", api.url);
    let description = Description {
        version: 1,
        names: addressing == Addressing::GoogleNames,
        project: description::ProjectDescription { id: project.id.clone(), number: project.number.clone() },
        api_url: api.url.clone(),
        api_https_url: api_over_tls.map(|api| api.url.clone()),
        ca_file,
        app: describe(seen.both(|it| &it.app), &applications.app, &project, secrets.app_client_secret),
        other_app: describe(
            seen.both(|it| &it.other_app),
            &applications.other_app,
            &project,
            secrets.other_app_client_secret,
        ),
        metadata: Some(description::MetadataDescription {
            host: match addressing {
                Addressing::OwnOrigin => seen.metadata.to_string(),
                Addressing::GoogleNames => METADATA_NAMES[0].to_owned(),
            },
            service_account: robot.email.clone(),
        }),
        users: accounts.users,
        service_accounts: accounts.service_accounts,
        admin_token: secrets.admin_token,
        oauth_clients,
        credential_files: description::CredentialFiles { impersonated_service_account: Some(impersonated) },
    };
    let description_file = directory.write_description(&description)?;
    Ok(World {
        description,
        description_file,
        console_link,
        keys_url,
        stopper,
        workers,
        control,
        background: stack.background,
        writer: stack.writer,
        store,
        _directory: directory,
    })
}

/// The one project, with a folder and an organization above it.
fn project() -> Project {
    let above = [Ancestor::Folder("620475913084".to_owned()), Ancestor::Organization("308217465590".to_owned())];
    Project { id: "doorward-dev".to_owned(), number: "415104041262".to_owned(), ancestors: above.into() }
}

/// The applications' addresses, and the sockets of those that are built in.
struct BuiltIn {
    app: (String, Option<TcpListener>),
    other_app: (String, Option<TcpListener>),
}

impl BuiltIn {
    fn bind(app: Option<String>) -> Result<Self, StartError> {
        let built_in = |option| {
            let address = SocketAddr::from(([127, 0, 0, 1], 0));
            let socket = listen::bind(address).map_err(failed(option, address))?;
            let address = socket.local_addr().map_err(StartError::Worker)?;
            Ok::<_, StartError>((format!("http://{address}"), Some(socket)))
        };
        let app = match app {
            Some(upstream) => (upstream, None),
            None => built_in("--app-listen")?,
        };
        Ok(BuiltIn { app, other_app: built_in("--other-app-listen")? })
    }
}

async fn serve_echo(socket: TcpListener, echo: Arc<Echo>, stop: Stop) {
    let answer = move |request: Request<Body>| {
        let echo = echo.clone();
        async move { echo.answer(request).await }
    };
    listen::serve(Listener::plain(socket), Room::unlimited(), stop, listen::DRAIN, answer).await;
}

fn describe(
    (seen, over_tls): (&SeenListener, Option<&SeenListener>),
    application: &Application,
    project: &Project,
    client_secret: String,
) -> description::AppDescription {
    description::AppDescription {
        url: seen.url.clone(),
        https_url: over_tls.map(|seen| seen.url.clone()),
        host: seen.host.clone(),
        client_id: application.client_id.0.clone(),
        client_secret,
        backend_service: application.name.to_string(),
        resource: application.service().name(project),
        audience: application.audience(project),
    }
}

/// A number of 19 digits, the same for as long as the directory is.
fn number_of(keys: &KeyRing, what: &str) -> Result<String, StartError> {
    let derived = keys.derive(&format!("number of {what}")).map_err(SeedError::from)?;
    let digits: String = derived.bytes().map(|byte| char::from(b'0' + byte % 10)).take(18).collect();
    Ok(format!("1{digits}"))
}

/// An address of an application that can be one.
fn checked(address: &str) -> Result<String, StartError> {
    match Upstream::parse(address) {
        Ok(_) => Ok(address.to_owned()),
        Err(cause) => Err(StartError::To { address: without_credentials(address).into_owned(), cause }),
    }
}
