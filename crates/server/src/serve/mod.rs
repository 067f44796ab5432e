//! `doorward serve`: what a file says, in production. None of the fixtures of `dev`.

pub mod apps;
pub mod init;
pub mod state;
pub mod tls;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use doorward_control::admin::Admin;
use doorward_control::keys::{EnsureKeysError, ensure_keys};
use doorward_control::settings::SettingsError;
use doorward_core::clock::Clock;
use doorward_core::entropy::{Entropy, EntropyError, random_base64url};
use doorward_core::grant::TokenHash;
use doorward_core::outbound::Reach;
use doorward_core::resource::{ApplicationName, Project};
use doorward_core::store::{Store, StoreError};
use doorward_store::{KeyFileError, OpenError, Sealer, SqlStore};
use doorward_wire::google_api::iap_settings::IapSettings;
use http::Request;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::audit_log::Writer;
use crate::audit_sinks::{Record, Sinks, SinksError};
use crate::config::{self, AppConfig, Config, ListenerConfig, Mistakes, Spoken};
use crate::dev::names::Addressing;
use crate::hosts::{Api, Services};
use crate::listen::{self, Listener, Room, Stop, Stopper};
use crate::outbound::Fetcher;
use crate::wiring::{self, Outside, StackConfig, WiringError};
use apps::{AppsError, Ordering};
use state::{StateDirectory, StateError};
use tls::{CertificateFilesError, Certificates};

/// How long sinks of the record are waited for when the process stops.
const SINKS: Duration = Duration::from_secs(5);

/// Reads a file with the environment of this process: what `doorward check` does, and `serve` and `init` first. Changes nothing and
/// asks nobody.
///
/// # Errors
/// [`Mistakes`]: every one, one line each.
pub fn read(path: &Path) -> Result<Config, Mistakes> {
    config::read(path, &|name| std::env::var(name).ok())
}

/// Why it did not start. Each is one line for a person, with the next step.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The state directory cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The key file cannot be used.
    #[error(
        "the key file {} cannot be used: {cause}; before the first start `doorward init` makes it, and later it comes from a backup",
        path.display()
    )]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: KeyFileError,
    },
    /// The database cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The keys cannot be put in order.
    #[error(transparent)]
    Keys(#[from] EnsureKeysError),
    /// The applications are not as the file says.
    #[error(transparent)]
    Apps(#[from] AppsError),
    /// The whole cannot be put together.
    #[error(transparent)]
    Wiring(#[from] WiringError),
    /// The settings of an application cannot be set.
    #[error("[[app]] at line {line}, {name}: settings: {cause}")]
    Settings {
        /// Where it stands in the file.
        line: usize,
        /// Its name.
        name: ApplicationName,
        /// Why.
        cause: SettingsError,
    },
    /// A certificate cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateFilesError),
    /// An address cannot be listened at.
    #[error("cannot listen at {address} ({name}): {cause}; stop what uses it, or choose another in the file")]
    Listen {
        /// Which.
        name: &'static str,
        /// The address.
        address: SocketAddr,
        /// The system's word.
        cause: io::Error,
    },
    /// The sinks of the record cannot be started.
    #[error(transparent)]
    Sinks(#[from] SinksError),
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// A thread cannot be started.
    #[error("cannot start a worker: {0}")]
    Worker(io::Error),
}

/// What the file says, served.
pub struct Server {
    stopper: Stopper,
    workers: Vec<std::thread::JoinHandle<()>>,
    api: JoinSet<()>,
    background: JoinSet<()>,
    services: Arc<Services>,
    writer: Writer,
    store: Arc<SqlStore>,
    _state: StateDirectory,
}

impl Server {
    /// Accepts nothing more, ends requests that have begun, writes and sends what is to be recorded, and closes the store.
    pub async fn stop(mut self) {
        self.stopper.stop();
        while self.api.join_next().await.is_some() {}
        let workers = std::mem::take(&mut self.workers);
        // A worker that panicked has said so; there is nothing else to do for it.
        let _ = tokio::task::spawn_blocking(move || workers.into_iter().for_each(|worker| drop(worker.join()))).await;
        let sinks = self.services.sinks.lock().await.take();
        // The writer ends when nobody is left who could record.
        drop(self.services);
        self.writer.finished().await;
        if let Some(sinks) = sinks {
            sinks.finish(SINKS).await;
        }
        self.background.shutdown().await;
        self.store.close().await;
    }
}

/// Starts everything: when this returns, requests are served.
///
/// # Errors
/// [`StartError`]: nothing serves.
pub async fn start(config: Config, entropy: Arc<dyn Entropy>, clock: Arc<dyn Clock>) -> Result<Server, StartError> {
    let state = StateDirectory::take(&config.state)?;
    let key_file = config.store.key_file();
    let sealer = Sealer::from_file(key_file);
    let sealer = sealer.map_err(|cause| StartError::KeyFile { path: key_file.to_owned(), cause })?;
    let store = Arc::new(init::open(&config.store, sealer).await?);
    let now = clock.now();
    ensure_keys(&*store, &entropy, now).await?;
    let project = config.project.clone();
    let ordering =
        Ordering { store: &*store, entropy: &*entropy, project: &project, keep_events: config.keep_events, now };
    ordering.put_in_order(&config.applications).await?;

    let shared: Arc<dyn Store> = store.clone();
    let outside =
        Outside { store: shared, clock: clock.clone(), entropy: entropy.clone(), fetch: Arc::new(Fetcher::default()) };
    let mut stack = wiring::build(outside, stack_config(&config)).await?;
    set_settings(&stack.services, &store, &project, &config.applications).await?;

    let api = Speaking::of(&config.api, &mut stack.background)?;
    let apps = Speaking::of(&config.apps, &mut stack.background)?;
    let failed = |name, address| move |cause| StartError::Listen { name, address, cause };
    let address = config.api.address;
    let api_socket = listen::bind(address).map_err(failed("server.api", address))?;
    let workers = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let address = config.apps.address;
    let app_sockets = listen::bind_shared(address, workers).map_err(failed("server.apps", address))?;

    let record = Record { store: store.clone(), project, clock, instance: random_base64url(&*entropy, 16)? };
    let sinks = Sinks::start(config.sinks, state.path(), &record)?;
    *stack.services.sinks.lock().await = Some(sinks);

    let (stopper, stop) = listen::stop();
    let room = Room::for_applications();
    let workers = app_sockets.into_iter().enumerate().map(|(number, socket)| {
        let listeners = vec![apps.listener(socket)];
        listen::start_worker(number, listeners, stack.proxy.clone(), room.clone(), stop.clone())
    });
    let workers = workers.collect::<io::Result<Vec<_>>>().map_err(StartError::Worker)?;
    let mut serving = JoinSet::new();
    let answering = Arc::new(Api::new(stack.services.clone()));
    serving.spawn(serve_api((api.listener(api_socket), Room::for_api()), answering, stop, listen::DRAIN));
    Ok(Server {
        stopper,
        workers,
        api: serving,
        background: stack.background,
        services: stack.services,
        writer: stack.writer,
        store,
        _state: state,
    })
}

fn stack_config(config: &Config) -> StackConfig {
    StackConfig {
        project: config.project.clone(),
        issuer: config.issuer().to_owned(),
        addressing: Addressing::OwnOrigin,
        api_url: config.api_url.clone(),
        api_https_url: None,
        api_hosts: vec![config.api_host.clone()],
        admin_token: config.admin_token.as_ref().map(|token| TokenHash::of(token.expose())),
        trusted_issuers: config.trusted_issuers.clone(),
        reach: Reach::Public,
        defaults: config.defaults,
        condition_headers: config.condition_headers.clone(),
        staleness_limit: config.staleness_limit,
        keep_events: config.keep_events,
        keep_for: config.keep_for,
    }
}

/// Makes the settings of the applications what the file says, where it says something.
async fn set_settings(
    services: &Services,
    store: &SqlStore,
    project: &Project,
    apps: &[AppConfig],
) -> Result<(), StartError> {
    use doorward_core::store::ApplicationStore as _;
    let operator = Admin::local_operator();
    let registered = store.applications().await?;
    for app in apps {
        let Some(settings) = &app.settings else { continue };
        let Some(application) = registered.iter().find(|known| known.name == app.name) else { continue };
        let name = application.service().name(project);
        let failed = |cause| StartError::Settings { line: app.line, name: app.name.clone(), cause };
        let wanted = IapSettings { name: name.clone(), ..settings.clone() };
        // What is as the file says is not written again: each write is a line of the record.
        if services.settings.get(&operator, &name).await.map_err(failed)? != wanted {
            services.settings.update(&operator, &name, wanted, None).await.map_err(failed)?;
        }
    }
    Ok(())
}

/// What is spoken on a listener, ready to be spoken.
enum Speaking {
    Tls(TlsAcceptor),
    BehindTlsProxy,
    Plain,
}

impl Speaking {
    /// Reads the certificates, and looks at them again and again in the background.
    fn of(listener: &ListenerConfig, background: &mut JoinSet<()>) -> Result<Self, CertificateFilesError> {
        Ok(match &listener.spoken {
            Spoken::Tls(files) => {
                let certificates = Certificates::load(files.clone())?;
                let acceptor = certificates.acceptor();
                background.spawn(certificates.keep_looking());
                Speaking::Tls(acceptor)
            }
            Spoken::BehindTlsProxy => Speaking::BehindTlsProxy,
            Spoken::Loopback => Speaking::Plain,
        })
    }

    fn listener(&self, socket: TcpListener) -> Listener {
        match self {
            Speaking::Tls(acceptor) => Listener::tls(socket, acceptor.clone()),
            Speaking::BehindTlsProxy => Listener::behind_tls(socket),
            Speaking::Plain => Listener::plain(socket),
        }
    }
}

/// Serves the API until the sign is given; requests that have begun may then go on for `patience`.
pub(crate) async fn serve_api((listener, room): (Listener, Room), api: Arc<Api>, stop: Stop, patience: Duration) {
    let answer = move |request: Request<Body>| {
        let api = api.clone();
        async move { api.handle(request).await }
    };
    listen::serve(listener, room, stop, patience, answer).await;
}
