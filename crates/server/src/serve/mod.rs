//! `doorward serve`: what a file says, in production. None of the fixtures of `dev`.

pub mod apps;
mod clients;
pub mod init;
pub mod state;
pub mod tls;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::body::Body;
use doorward_control::admin::Admin;
use doorward_control::applications::OwnHosts;
use doorward_control::keys::{EnsureKeysError, ensure_keys};
use doorward_control::settings::SettingsError;
use doorward_core::clock::Clock;
use doorward_core::entropy::{Entropy, EntropyError, random_base64url};
use doorward_core::grant::TokenHash;
use doorward_core::outbound::Reach;
use doorward_core::resource::{ApplicationName, Project, Scheme};
use doorward_core::store::{Store, StoreError};
use doorward_store::{KeyFileError, OpenError, Sealer, SqlStore};
use doorward_wire::google_api::iap_settings::IapSettings;
use http::Request;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::audit_log::Writer;
use crate::audit_sinks::{Record, Sinks, SinksError};
use crate::config::{self, AppConfig, Config, ListenerConfig, Mistakes, Said, Spoken, StoreConfig};
use crate::dev::names::{Addressing, reserved_hosts};
use crate::hosts::{Api, Services};
use crate::listen::{self, Listener, Room, Stop, Stopper, TrustedProxies};
use crate::outbound::Fetcher;
use crate::wiring::{self, Outside, StackConfig, WiringError};
use apps::{AppsError, LeftOut, Ordering};
use state::{StateDirectory, StateError};
use tls::{CertificateFilesError, Certificates};

/// How long sinks of the record are waited for when the process stops.
const SINKS: Duration = Duration::from_secs(5);
/// How long the store may take to close: a database that fell silent would keep the process for ever.
const CLOSE: Duration = Duration::from_secs(5);

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
    /// There is no database. One that is made here would be empty: without deny rules, settings and a record.
    #[error(
        "the database {} is not there, and `doorward serve` makes none: before the first start `doorward init` makes it, and \
         `doorward restore` from a backup. If there was one, see that its disk is mounted, and where [store] says that it is",
        .0.display()
    )]
    NoDatabase(PathBuf),
    /// Nothing is in the database.
    #[error(
        "the PostgreSQL database is empty, and `doorward serve` does not fill it: before the first start `doorward init` does, and \
         `doorward restore` from a backup. If something was in it, see which one the URL in [store] names"
    )]
    EmptyDatabase,
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
    running: Running,
    names: Names,
    certificates: Shown,
    _state: StateDirectory,
}

/// The names for which the certificates of each listener have to be.
struct Names {
    api: Arc<RwLock<Vec<String>>>,
    apps: Arc<RwLock<Vec<String>>>,
}

impl Names {
    fn of(config: &Config) -> Self {
        let names = Names { api: Arc::default(), apps: Arc::default() };
        names.replace(config);
        names
    }

    fn replace(&self, config: &Config) {
        let routes = config.applications.iter().flat_map(|app| &app.routes);
        let mut apps: Vec<String> = routes.map(|route| route.origin.host.name().to_owned()).collect();
        apps.sort();
        apps.dedup();
        *self.apps.write().unwrap_or_else(PoisonError::into_inner) = apps;
        *self.api.write().unwrap_or_else(PoisonError::into_inner) = vec![config.api_host.name().to_owned()];
    }
}

/// The certificates of each listener that speaks TLS.
struct Shown {
    api: Option<Arc<Certificates>>,
    apps: Option<Arc<Certificates>>,
}

/// Shows the certificates that a file names. `false` if the listener would have to begin or cease to speak TLS for that.
fn show(certificates: Option<&Arc<Certificates>>, listener: &ListenerConfig) -> Result<bool, CertificateFilesError> {
    match (certificates, &listener.spoken) {
        (Some(certificates), Spoken::Tls(files)) => certificates.replace(files.clone()).map(|()| true),
        (Some(_) | None, _) => Ok(false),
    }
}

/// What came of a file that was read again.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// What `allow` names and is not there, and is let in nowhere.
    pub left_out: Vec<LeftOut>,
    /// What was changed in the file since the start, by its place (`store.url`), and waits for the next one.
    pub waiting: Vec<String>,
}

/// What the server needs to take another file without a restart.
struct Running {
    /// What the file said at the start.
    said: Said,
    /// What only a restart changes, and what the applications of a file depend on.
    fixed: Fixed,
    project: Project,
}

/// What applications are registered under.
#[derive(PartialEq, Eq)]
struct Fixed {
    api_url: String,
    /// How clients speak to the listener of the applications.
    scheme: Scheme,
    /// The number of the project is in every resource's name.
    project: String,
}

impl Fixed {
    fn of(config: &Config) -> Self {
        Fixed { api_url: config.api_url.clone(), scheme: config.apps.scheme(), project: config.project.number.clone() }
    }
}

/// Why a file was not taken by a server that runs. It goes on with what it has.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The applications depend on something that only a restart changes.
    #[error("api_url, the project or the way in which the applications are spoken to is another one: start again")]
    Restart,
    /// The applications or their settings cannot be as the file says.
    #[error(transparent)]
    Apps(#[from] StartError),
}

impl Server {
    /// Takes the applications from a file that was read again: their hosts, addresses, `allow` and settings, and the certificates of
    /// listeners that speak TLS. The rest of the file holds from the next start.
    ///
    /// # Errors
    /// [`ReloadError`]. What was done until then stays, and is recorded.
    pub async fn reload(&self, config: &Config) -> Result<Taken, ReloadError> {
        let Running { said, fixed, project } = &self.running;
        if *fixed != Fixed::of(config) {
            return Err(ReloadError::Restart);
        }
        // First, so that a new application is not answered for by another one's certificate.
        let shown = [
            ("server.api.tls", show(self.certificates.api.as_ref(), &config.api).map_err(StartError::from)?),
            ("server.apps.tls", show(self.certificates.apps.as_ref(), &config.apps).map_err(StartError::from)?),
        ];
        let (store, services) = (&*self.store, &self.services);
        let ordering = Ordering { store, project, applications: &services.applications, policies: services.policies() };
        let left_out = ordering.put_in_order(&config.applications).await.map_err(StartError::from)?;
        self.names.replace(config);
        set_settings(services, store, project, &config.applications).await?;
        let mut waiting = said.changed(&config.said);
        waiting.retain(|place| !shown.contains(&(place.as_str(), true)));
        Ok(Taken { left_out, waiting })
    }

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
        if !closes_within(CLOSE, self.store.close()).await {
            tracing::warn!("the database did not answer when it was closed");
        }
    }
}

/// Waits for something to close, but not for ever; `false` if it did not.
async fn closes_within(patience: Duration, closing: impl Future<Output = ()>) -> bool {
    tokio::time::timeout(patience, closing).await.is_ok()
}

/// Starts everything: when this returns, requests are served.
///
/// # Errors
/// [`StartError`]: nothing serves.
pub async fn start(config: Config, entropy: Arc<dyn Entropy>, clock: Arc<dyn Clock>) -> Result<Server, StartError> {
    let state = StateDirectory::take(&config)?;
    let key_file = config.store.key_file();
    let sealer = Sealer::from_file(key_file);
    let sealer = sealer.map_err(|cause| StartError::KeyFile { path: key_file.to_owned(), cause })?;
    if init::is_missing(&config.store).await? {
        return Err(match &config.store {
            StoreConfig::Sqlite { path, .. } => StartError::NoDatabase(path.clone()),
            StoreConfig::Postgres { .. } => StartError::EmptyDatabase,
        });
    }
    let store = Arc::new(init::open(&config.store, sealer).await?);
    let now = clock.now();
    ensure_keys(&*store, &entropy, now).await?;
    let project = config.project.clone();
    clients::put_in_order(&*store, &config.sign_in_clients, &project, now).await?;

    let shared: Arc<dyn Store> = store.clone();
    let outside =
        Outside { store: shared, clock: clock.clone(), entropy: entropy.clone(), fetch: Arc::new(Fetcher::default()) };
    let mut stack = wiring::build(outside, stack_config(&config)).await?;
    let (applications, policies) = (&stack.services.applications, stack.services.policies());
    let ordering = Ordering { store: &*store, project: &project, applications, policies };
    ordering.put_in_order(&config.applications).await?;
    set_settings(&stack.services, &store, &project, &config.applications).await?;

    let running = Running { said: config.said.clone(), fixed: Fixed::of(&config), project: project.clone() };
    let names = Names::of(&config);
    let api = Speaking::of(&config.api, &names.api, &mut stack.background)?;
    let apps = Speaking::of(&config.apps, &names.apps, &mut stack.background)?;
    let failed = |name, address| move |cause| StartError::Listen { name, address, cause };
    let certificates = Shown { api: api.certificates(), apps: apps.certificates() };
    let address = config.api.address;
    let api_socket = listen::bind(address).map_err(failed("server.api", address))?;
    let workers = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let address = config.apps.address;
    let app_sockets = listen::bind_shared(address, workers).map_err(failed("server.apps", address))?;

    let record = Record { store: store.clone(), project, clock, instance: random_base64url(&*entropy, 16)? };
    let sinks = Sinks::start(config.sinks, state.path(), &record)?;
    stack.services.sinks.lock().await.replace(sinks);

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
        running,
        names,
        certificates,
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
        reserved_hosts: reserved_hosts(OwnHosts::Names(vec![config.api_host.clone()])),
        admin_token: config.admin_token.as_ref().map(|token| TokenHash::of(token.expose())),
        trusted_issuers: config.trusted_issuers.clone(),
        reach: Reach::Public,
        defaults: config.defaults,
        condition_headers: config.condition_headers.clone(),
        contact: config.contact.clone(),
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
    Tls(TlsAcceptor, Arc<Certificates>),
    BehindTlsProxy(TrustedProxies),
    Plain,
}

impl Speaking {
    /// Reads the certificates, and looks at them again and again in the background.
    fn of(
        listener: &ListenerConfig,
        names: &Arc<RwLock<Vec<String>>>,
        background: &mut JoinSet<()>,
    ) -> Result<Self, CertificateFilesError> {
        Ok(match &listener.spoken {
            Spoken::Tls(files) => {
                let certificates = Certificates::load(files.clone(), names.clone())?;
                let acceptor = certificates.acceptor();
                background.spawn(certificates.clone().keep_looking());
                Speaking::Tls(acceptor, certificates)
            }
            Spoken::BehindTlsProxy { trusted } => Speaking::BehindTlsProxy(TrustedProxies::new(trusted)),
            Spoken::Loopback => Speaking::Plain,
        })
    }

    fn certificates(&self) -> Option<Arc<Certificates>> {
        match self {
            Speaking::Tls(_, certificates) => Some(certificates.clone()),
            Speaking::BehindTlsProxy(_) | Speaking::Plain => None,
        }
    }

    fn listener(&self, socket: TcpListener) -> Listener {
        match self {
            Speaking::Tls(acceptor, _) => Listener::tls(socket, acceptor.clone()),
            Speaking::BehindTlsProxy(trusted) => Listener::behind_tls(socket, trusted.clone()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_database_that_fell_silent_does_not_keep_the_process() {
        assert!(closes_within(CLOSE, async {}).await);
        assert!(!closes_within(CLOSE, std::future::pending()).await);
    }
}
