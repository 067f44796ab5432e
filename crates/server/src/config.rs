//! What the file of `doorward serve` means, checked as a whole: every mistake is found and said with its place, not the first alone.

mod applications;
mod audit;
mod issuers;
mod mistake;
mod said;
mod server;

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use doorward_core::issuer::{OwnNames, TrustedIssuers};
use doorward_core::member::Member;
use doorward_core::policy::condition::HeaderAllowList;
use doorward_core::resource::{ApplicationName, Host, Origin, Project, Route, Scheme, ServiceKind};
use doorward_core::settings::{Defaults, EmailClaim};
use doorward_store::PostgresOptions;
use doorward_wire::google_api::iap_settings::IapSettings;
use http::{HeaderName, HeaderValue};
use rustls::pki_types::CertificateDer;
use toml::Spanned;

use crate::audit_sinks::Endpoint;
use crate::config_file::{self, ConfigFile, EmailClaimWord, Names, Parsed, Place, SecretSource, SignInClient};
use crate::listen::Network;
use crate::serve::tls::CertificateFiles;
pub use mistake::{Mistake, Mistakes, Wrong};
pub use said::Said;

/// The string that Google's own tokens carry as `iss`.
const GOOGLE: &str = "https://accounts.google.com";
/// For how long the store may not be readable if nobody says.
const STALENESS_LIMIT: Duration = Duration::from_secs(30);
/// The shortest that may be said: changes are looked for once a second.
const SHORTEST_STALENESS: Duration = Duration::from_secs(5);
/// The longest.
const LONGEST_STALENESS: Duration = Duration::from_secs(3600);
/// The shortest token of the operator, in bytes: one that was made up by a person is none.
const SHORTEST_TOKEN: usize = 32;
/// The file of the operator's token in the state directory.
pub const ADMIN_TOKEN_FILE: &str = "admin-token";

/// What the file says.
#[derive(Debug)]
pub struct Config {
    /// Our own origin, without a trailing slash.
    pub api_url: String,
    /// Its host.
    pub api_host: Host,
    /// Whose names are in tokens.
    pub names: Names,
    /// Where the API is.
    pub api: ListenerConfig,
    /// Where the applications are.
    pub apps: ListenerConfig,
    /// The directory of what is ours on this machine.
    pub state: PathBuf,
    /// The bearer token of the operator; without one there is no such bearer.
    pub admin_token: Option<Secret>,
    /// The file in which that token is made if it is not there; `None` if it is in the environment.
    pub admin_token_file: Option<PathBuf>,
    /// The one project.
    pub project: Project,
    /// Where everything is kept.
    pub store: StoreConfig,
    /// Applications that belong to the file.
    pub applications: Vec<AppConfig>,
    /// Issuers beside ourselves.
    pub trusted_issuers: Arc<TrustedIssuers>,
    /// How many events are kept.
    pub keep_events: u64,
    /// For how long they are kept.
    pub keep_for: Duration,
    /// Where entries are sent.
    pub sinks: Vec<SinkConfig>,
    /// The header fields that conditions may read.
    pub condition_headers: HeaderAllowList,
    /// What holds where nothing is set.
    pub defaults: Defaults,
    /// Whom somebody asks who was refused; `None`: the brand's address, if there is one.
    pub contact: Option<String>,
    /// The programs of people that may sign them in.
    pub sign_in_clients: BTreeSet<SignInClient>,
    /// For how long the store may not be readable before nobody is let in.
    pub staleness_limit: Duration,
    /// What stands in the file beside its applications.
    pub said: Said,
}

impl Config {
    /// The origins of applications whose port is not the one at which the applications are listened for: who asks there is answered
    /// only if something leads that port to ours. None, if the file says that something stands before us.
    pub fn at_other_ports(&self) -> Vec<&Origin> {
        let (own, default) = match &self.apps.spoken {
            Spoken::BehindTlsProxy { .. } => return Vec::new(),
            Spoken::Tls(_) => (self.apps.address.port(), 443),
            Spoken::Loopback => (self.apps.address.port(), 80),
        };
        let port = |origin: &Origin| {
            let written = origin.host.as_str().strip_prefix(origin.host.name()).unwrap_or_default();
            written.strip_prefix(':').and_then(|port| port.parse::<u16>().ok()).unwrap_or(default)
        };
        let mut found: Vec<&Origin> = Vec::new();
        for route in self.applications.iter().flat_map(|app| &app.routes) {
            if port(&route.origin) != own && !found.contains(&&route.origin) {
                found.push(&route.origin);
            }
        }
        found
    }

    /// `iss` of our ID tokens.
    pub fn issuer(&self) -> &str {
        match self.names {
            Names::Own => &self.api_url,
            Names::Google => GOOGLE,
        }
    }
}

/// A listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerConfig {
    /// The address.
    pub address: SocketAddr,
    /// What is spoken there.
    pub spoken: Spoken,
}

/// What is spoken on a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spoken {
    /// HTTP over TLS, with one of these certificates.
    Tls(Vec<CertificateFiles>),
    /// Plain HTTP, and TLS ends before us: clients speak https.
    BehindTlsProxy {
        /// Whose word about the client is believed.
        trusted: Vec<Network>,
    },
    /// Plain HTTP on this machine.
    Loopback,
}

impl ListenerConfig {
    /// How clients speak to it.
    pub fn scheme(&self) -> Scheme {
        match self.spoken {
            Spoken::Tls(_) | Spoken::BehindTlsProxy { .. } => Scheme::Https,
            Spoken::Loopback => Scheme::Http,
        }
    }
}

/// A secret that was read. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Where everything is kept.
#[derive(Debug, Clone)]
pub enum StoreConfig {
    /// A file of SQLite's.
    Sqlite {
        /// The file.
        path: PathBuf,
        /// The file of the key that seals private keys.
        key_file: PathBuf,
    },
    /// A database of a PostgreSQL server.
    Postgres {
        /// Which, with its password.
        options: Box<PostgresOptions>,
        /// The file of the key that seals private keys.
        key_file: PathBuf,
    },
}

impl StoreConfig {
    /// The file of the key that seals private keys.
    pub fn key_file(&self) -> &Path {
        match self {
            StoreConfig::Sqlite { key_file, .. } | StoreConfig::Postgres { key_file, .. } => key_file,
        }
    }
}

/// An application that belongs to the file.
#[derive(Debug, Clone)]
pub struct AppConfig {
    /// Its name.
    pub name: ApplicationName,
    /// What it is.
    pub kind: ServiceKind,
    /// Where it is reached.
    pub routes: Vec<Route>,
    /// Where it runs.
    pub upstreams: Vec<String>,
    /// Who may enter, whatever else its policy says; `None`: the file says nothing about that.
    pub allow: Option<Vec<Member>>,
    /// What is set on it; `None`: the file says nothing about that.
    pub settings: Option<IapSettings>,
    /// Where it stands in the file.
    pub line: usize,
}

/// Where entries are sent.
#[derive(Debug, Clone)]
pub struct SinkConfig {
    /// Its name.
    pub name: String,
    /// What it is.
    pub target: SinkTarget,
}

/// What a sink is.
#[derive(Debug, Clone)]
pub enum SinkTarget {
    /// JSON lines in this file.
    File(PathBuf),
    /// JSON lines.
    Stdout,
    /// OTLP over HTTP, with JSON.
    Otlp {
        /// Where to.
        endpoint: Endpoint,
        /// Fields that it wants; marked as sensitive.
        headers: Vec<(HeaderName, HeaderValue)>,
        /// Authorities that are trusted beside those of this machine.
        authorities: Vec<CertificateDer<'static>>,
    },
}

/// Variables of the environment.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Reads a file, and all that it names. Nothing is changed, and nobody is asked.
///
/// # Errors
/// [`Mistakes`]: every one.
pub fn read(path: &Path, environment: Environment<'_>) -> Result<Config, Mistakes> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(cause) => {
            let what = Wrong::Read { path: path.to_owned(), cause };
            return Err(Mistakes(vec![Mistake { path: path.to_owned(), place: None, what }]));
        }
    };
    let Parsed { file, mistakes, left_out } = config_file::parse(&text);
    let mut reading = Reading { path, text: &text, environment, left_out, mistakes: Vec::new() };
    let broken = !mistakes.is_empty() && reading.left_out.is_empty();
    for mistake in mistakes {
        reading.wrong(mistake.span(), Wrong::Shape(Box::new(mistake)));
    }
    // Of text that is no TOML nothing was read, so nothing more can be said.
    let config = if broken { None } else { reading.config(file) };
    reading.mistakes.sort_by_key(|mistake| mistake.place);
    match config {
        Some(config) if reading.mistakes.is_empty() => Ok(config),
        Some(_) | None => Err(Mistakes(reading.mistakes)),
    }
}

/// Reads a list of issuers in a file of its own (`doorward dev --trusted-issuers`). `own` is what they may not claim.
///
/// # Errors
/// [`Mistakes`]: every one.
pub fn read_trusted_issuers(
    path: &Path,
    own: OwnNames<'_>,
    allows_insecure_loopback: bool,
) -> Result<TrustedIssuers, Mistakes> {
    issuers::read(path, own, allows_insecure_loopback)
}

type Span = Option<Range<usize>>;

fn span_of<T>(value: &Spanned<T>) -> Span {
    Some(value.span())
}

/// A file that is being read.
struct Reading<'a> {
    path: &'a Path,
    text: &'a str,
    environment: Environment<'a>,
    left_out: BTreeSet<String>,
    mistakes: Vec<Mistake>,
}

impl Reading<'_> {
    fn wrong(&mut self, span: Span, what: Wrong) {
        let place = span.map(|span| Place::of(self.text, span.start));
        self.mistakes.push(Mistake { path: self.path.to_owned(), place, what });
    }

    /// Notes what is wrong.
    fn noted<T>(&mut self, span: Span, outcome: Result<T, Wrong>) -> Option<T> {
        outcome.map_err(|what| self.wrong(span, what)).ok()
    }

    /// Notes that something is missing, unless it is there and was left out for another mistake.
    fn missing(&mut self, span: Span, name: &'static str) {
        let last = name.rsplit('.').next().unwrap_or(name);
        if !self.left_out.contains(last) {
            self.wrong(span, Wrong::Missing(name));
        }
    }

    /// A path in the file is relative to the file.
    fn beside(&self, path: &Path) -> PathBuf {
        let folder = self.path.parent().unwrap_or(Path::new(""));
        folder.join(path)
    }

    fn line(&self, span: &Range<usize>) -> usize {
        Place::of(self.text, span.start).line
    }

    fn file(&mut self, path: &Spanned<PathBuf>) -> Option<(PathBuf, Vec<u8>)> {
        let span = span_of(path);
        let path = self.beside(path.get_ref());
        match std::fs::read(&path) {
            Ok(bytes) => Some((path, bytes)),
            Err(cause) => {
                self.wrong(span, Wrong::Read { path, cause });
                None
            }
        }
    }

    /// Sees that nobody else may read a file with a secret. Its group may: that is how a secret is given to a service. One that is not
    /// there is told of by whoever reads it, and a pipe has no mode to mend.
    fn kept_from_others(&mut self, span: Span, path: &Path) {
        let found = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file);
        if found.is_some_and(|found| found.permissions().mode() & 0o007 != 0) {
            self.wrong(span, Wrong::ReadByOthers(path.to_owned()));
        }
    }

    fn secret(&mut self, source: &Spanned<SecretSource>) -> Option<Secret> {
        let outcome = match source.get_ref() {
            SecretSource::Env(name) => {
                let found = (self.environment)(name).filter(|value| !value.is_empty());
                found.map(Secret).ok_or_else(|| Wrong::Environment(name.clone()))
            }
            SecretSource::File(path) => return self.secret_in(span_of(source), self.beside(path)),
        };
        self.noted(span_of(source), outcome)
    }

    /// The first line of a file, whose path is the one by which it is opened.
    fn secret_in(&mut self, span: Span, path: PathBuf) -> Option<Secret> {
        self.kept_from_others(span.clone(), &path);
        let outcome = match std::fs::read_to_string(&path) {
            Ok(text) => match text.lines().next() {
                Some(line) if !line.is_empty() => Ok(Secret(line.to_owned())),
                Some(_) | None => Err(Wrong::EmptySecret(path)),
            },
            Err(cause) => Err(Wrong::Read { path, cause }),
        };
        self.noted(span, outcome)
    }

    /// Everything, or `None` if something without which the rest means nothing is not there. Whether it is good is for the list of
    /// mistakes to say.
    fn config(&mut self, file: ConfigFile) -> Option<Config> {
        let state = self.beside(file.server.state.as_deref().unwrap_or(Path::new("state")));
        let api_url = self.api_url(file.server.api_url.as_ref());
        let api = self.listener(file.server.api.as_ref(), "server.api");
        let apps = self.listener(file.server.apps.as_ref(), "server.apps");
        if let (Some((api, _)), Some((apps, _)), Some(table)) = (&api, &apps, &file.server.apps)
            && api.address == apps.address
        {
            self.wrong(span_of(table), Wrong::SharedAddress(apps.address));
        }
        if let (Some((scheme, host)), Some((api, certificates)), Some(url)) = (&api_url, &api, &file.server.api_url) {
            if *scheme != api.scheme() {
                let (said, spoken) = (scheme.as_str(), api.scheme().as_str());
                self.wrong(span_of(url), Wrong::ApiScheme { said, spoken });
            }
            self.certified(span_of(url), certificates, host);
        }
        let (admin_token, admin_token_file) = self.admin_token(file.server.admin_token.as_ref(), &state);
        let project = self.project(&file);
        let store = self.store(&file, &state);
        let applications = self.applications(&file.app, apps.as_ref(), api_url.as_ref().map(|(_, host)| host));
        let trusted_issuers = self.trusted_issuers(&file, api_url.as_ref(), &project);
        let sinks = self.sinks(&file.audit.sink);
        let (keep_events, keep_for) = self.retention(&file);
        let condition_headers = self.condition_headers(file.policy.condition_headers.as_deref());
        let staleness_limit = match &file.policy.staleness_limit {
            None => STALENESS_LIMIT,
            Some(text) => self.duration(text, SHORTEST_STALENESS, LONGEST_STALENESS).unwrap_or(STALENESS_LIMIT),
        };
        let contact = file.settings.contact.as_ref().and_then(|contact| {
            let text = contact.get_ref().trim();
            let good = (1..=200).contains(&text.len()) && !text.chars().any(char::is_control);
            self.noted(span_of(contact), if good { Ok(text.to_owned()) } else { Err(Wrong::Contact) })
        });
        let (scheme, api_host) = api_url?;
        Some(Config {
            api_url: Origin::new(scheme, &api_host).to_string(),
            api_host: Origin::new(scheme, &api_host).host,
            names: file.server.names,
            api: api?.0,
            apps: apps?.0,
            state,
            admin_token,
            admin_token_file,
            project,
            store: store?,
            applications,
            trusted_issuers: Arc::new(trusted_issuers),
            keep_events,
            keep_for,
            sinks,
            condition_headers,
            defaults: Defaults {
                email_claim: match file.settings.email_claim {
                    EmailClaimWord::Required => EmailClaim::Required,
                    EmailClaimWord::Optional => EmailClaim::Optional,
                },
                forward_credential: file.settings.forward_credential,
            },
            contact,
            said: Said::of(self.text),
            sign_in_clients: file.server.sign_in_clients,
            staleness_limit,
        })
    }
}

#[cfg(test)]
mod tests;
