//! What the file of `doorward serve` means, checked as a whole: every mistake is found and said with its place, not the first alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use doorward_core::issuer::{IssuerIdError, OwnNames, TrustedIssuer, TrustedIssuers, TrustedIssuersError};
use doorward_core::member::{Member, MemberError};
use doorward_core::policy::condition::HeaderAllowList;
use doorward_core::policy::{GROUPS_LIMIT, PRINCIPALS_LIMIT};
use doorward_core::resource::{
    Ancestor, ApplicationName, ApplicationNameError, Host, HostError, Origin, PathPrefix, PathPrefixError, Project,
    Route, Scheme, ServiceKind,
};
use doorward_core::settings::{Defaults, EmailClaim};
use doorward_proxy::{Upstream, UpstreamError};
use doorward_store::{KeyFileError, PostgresOptions, Sealer, UrlError};
use doorward_wire::google_api::iap_settings::IapSettings;
use doorward_wire::headers::ASSERTION_ISSUER;
use doorward_wire::jose::VerifyingKeys;
use doorward_wire::world_file::WrittenSettings;
use http::{HeaderName, HeaderValue};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::sign::CertifiedKey;
use toml::Spanned;

use crate::audit_sinks::{Endpoint, EndpointError};
use crate::config_file::{
    self, AppKind, AppTable, ConfigFile, EmailClaimWord, ListenerTable, Names, Parsed, Place, SecretSource, SinkKind,
    SinkTable, TrustedIssuerTable,
};
use crate::serve::tls::{CertificateFiles, CertificateFilesError, is_for};

/// The string that Google's own tokens carry as `iss`.
const GOOGLE: &str = "https://accounts.google.com";
/// What the project is called if nobody says.
const PROJECT_ID: &str = "doorward";
/// See [`PROJECT_ID`].
const PROJECT_NUMBER: &str = "100000000001";
/// How many events are kept if nobody says.
const KEEP_EVENTS: u64 = 1_000_000;
/// For how long they are kept if nobody says.
const KEEP_DAYS: u32 = 90;
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
    /// For how long the store may not be readable before nobody is let in.
    pub staleness_limit: Duration,
}

impl Config {
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
    /// Plain HTTP, and TLS ends before us: clients speak https. What they say about the client is not believed.
    BehindTlsProxy,
    /// Plain HTTP on this machine.
    Loopback,
}

impl ListenerConfig {
    /// How clients speak to it.
    pub fn scheme(&self) -> Scheme {
        match self.spoken {
            Spoken::Tls(_) | Spoken::BehindTlsProxy => Scheme::Https,
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

/// Something in the file that cannot be meant.
#[derive(Debug)]
pub struct Mistake {
    /// The file.
    pub path: PathBuf,
    /// Where in it; `None` if it is about the file as a whole.
    pub place: Option<Place>,
    /// What.
    pub what: Wrong,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some(Place { line, column }) => write!(f, "{}:{line}:{column}: {}", self.path.display(), self.what),
            None => write!(f, "{}: {}", self.path.display(), self.what),
        }
    }
}

/// Every mistake of a file, in its order. One line each.
#[derive(Debug)]
pub struct Mistakes(pub Vec<Mistake>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(Mistake::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for Mistakes {}

/// What is wrong.
#[derive(Debug, thiserror::Error)]
pub enum Wrong {
    /// A file cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's word.
        cause: std::io::Error,
    },
    /// Not TOML, an unknown name, or a value of another type.
    #[error("{}", .0.message())]
    Shape(Box<toml::de::Error>),
    /// Something that is needed is not there.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// Not an origin of ours.
    #[error(
        "api_url is https://HOST or https://HOST:PORT, without a path; http only if the host is localhost or a loopback address"
    )]
    ApiUrl,
    /// `api_url` and the listener disagree.
    #[error(
        "api_url is {said}, but the listener of the API speaks {spoken}: give it `tls`, or state `behind_tls_proxy = true`"
    )]
    ApiScheme {
        /// The URL's.
        said: &'static str,
        /// The listener's.
        spoken: &'static str,
    },
    /// Not an address.
    #[error("{0:?} is not ADDRESS:PORT, such as 0.0.0.0:443 or [::1]:8080; the port is not 0")]
    Address(String),
    /// One address for both.
    #[error("the API and the applications cannot share {0}: give each its own port or address")]
    SharedAddress(SocketAddr),
    /// Plain HTTP for others.
    #[error(
        "{0} can be reached from other machines, and cookies and tokens would cross the network in the clear: give it `tls`; if something \
         before it ends TLS, and nothing else reaches it, state `behind_tls_proxy = true`"
    )]
    PlainListener(SocketAddr),
    /// Both at once.
    #[error("a listener has `tls` or is behind a TLS proxy, not both")]
    TlsTwice,
    /// A certificate cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateFilesError),
    /// No certificate is for a host that is served.
    #[error("no certificate of the listener is for {0}")]
    NotCertified(String),
    /// A secret cannot be read.
    #[error("the environment has no variable {0}, or it is empty")]
    Environment(String),
    /// A file of a secret is empty.
    #[error("{} is empty; its first line is the secret", .0.display())]
    EmptySecret(PathBuf),
    /// A secret that could be guessed.
    #[error(
        "the token of the operator has fewer than {SHORTEST_TOKEN} visible characters: let `doorward init` make one"
    )]
    WeakToken,
    /// Not a project's id.
    #[error("a project's id has 6 to 30 of a-z, 0-9 and '-', begins with a letter and does not end with '-'")]
    ProjectId,
    /// Not a number.
    #[error("{0:?} is not a number of 1 to 19 digits, in quotes")]
    Number(String),
    /// Two databases.
    #[error("the store is `path` or `url`, not both")]
    StoreTwice,
    /// For PostgreSQL only.
    #[error("`{0}` is for `url`, and the store is a file")]
    OnlyForUrl(&'static str),
    /// Not a URL of a database.
    #[error(transparent)]
    StoreUrl(#[from] UrlError),
    /// A password in a URL.
    #[error(
        "the URL of the database holds a password: take it out, replace it, and write password = {{ file = \"PATH\" }} or {{ env = \"NAME\" }}"
    )]
    PasswordInUrl,
    /// The key file cannot be used.
    #[error("the key file {} cannot be used: {cause}", path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: KeyFileError,
    },
    /// Not a name of an application.
    #[error("{text:?}: {cause}")]
    Name {
        /// What stands there.
        text: String,
        /// Why.
        cause: ApplicationNameError,
    },
    /// Two applications of one name.
    #[error("two applications are called {0}: give each its own `name`")]
    NameTwice(ApplicationName),
    /// Not a host.
    #[error(
        "{text:?}: {cause}: write wiki.example.com, wiki.example.com:8443 or an origin such as https://wiki.example.com"
    )]
    Host {
        /// What stands there.
        text: String,
        /// Why.
        cause: HostError,
    },
    /// An origin of another scheme.
    #[error("{origin} cannot be served: the listener of the applications speaks {spoken}")]
    HostScheme {
        /// What stands there.
        origin: String,
        /// The listener's.
        spoken: &'static str,
    },
    /// A place that is taken.
    #[error("{origin}{prefix} is served by {by} too: a place has one application")]
    PlaceTwice {
        /// Scheme and host.
        origin: Origin,
        /// The paths.
        prefix: String,
        /// The other one.
        by: String,
    },
    /// Our own origin.
    #[error("{0} is our own: an application there could read the cookies of the sign-in")]
    OwnHost(Host),
    /// Not a path prefix.
    #[error("{text:?}: {cause}")]
    Prefix {
        /// What stands there.
        text: String,
        /// Why.
        cause: PathPrefixError,
    },
    /// Not an address of an application.
    #[error("{text:?}: {cause}")]
    Upstream {
        /// What stands there.
        text: String,
        /// Why.
        cause: UpstreamError,
    },
    /// Not a member.
    #[error(
        "{text:?}: {cause}: write user:EMAIL, serviceAccount:EMAIL, group:EMAIL, domain:DOMAIN, principal://…, principalSet://…, allAuthenticatedUsers or allUsers"
    )]
    Member {
        /// What stands there.
        text: String,
        /// Why.
        cause: MemberError,
    },
    /// Too many members.
    #[error(
        "a policy names at most {PRINCIPALS_LIMIT} principals, {GROUPS_LIMIT} of them groups and domains: use a group"
    )]
    TooManyMembers,
    /// A name that this kind does not have.
    #[error("`{name}` is not for {kind}")]
    NotForKind {
        /// The name.
        name: &'static str,
        /// The kind.
        kind: &'static str,
    },
    /// Not a region.
    #[error(
        "{0:?} is not a region, a service or a version: 1 to 63 of a-z, 0-9 and '-', begins with a letter or digit"
    )]
    Segment(String),
    /// Settings that are not there.
    #[error("settings: {0}")]
    Settings(serde_json::Error),
    /// `insecure_loopback`
    #[error("insecure_loopback is for `doorward dev`: remove it, and use https")]
    InsecureLoopback,
    /// Not an id.
    #[error("{text:?}: {cause}")]
    IssuerId {
        /// What stands there.
        text: String,
        /// Why.
        cause: IssuerIdError,
    },
    /// A key document without keys.
    #[error("{}: there is no RS256 or ES256 key for signatures in it that has a kid of its own", .0.display())]
    Keys(PathBuf),
    /// Issuers that cannot be trusted.
    #[error(transparent)]
    TrustedIssuers(#[from] TrustedIssuersError),
    /// Not a name of a sink.
    #[error("{0:?} is not a name of a sink: 1 to 63 of a-z, 0-9 and '-', begins with a letter")]
    SinkName(String),
    /// Two sinks of one name.
    #[error("two sinks are called {0}: give each its own `name`")]
    SinkTwice(String),
    /// Two sinks that would write into one another.
    #[error("two sinks write to the same place")]
    SinkTargetTwice,
    /// Not an address of a collector.
    #[error("endpoint: {0}")]
    Endpoint(#[from] EndpointError),
    /// Not a field.
    #[error("{0:?} is not a header field that can be set, or its value cannot stand in one")]
    Header(String),
    /// No authority in the file.
    #[error("there is no certificate in {}", .0.display())]
    NoAuthority(PathBuf),
    /// Not a time.
    #[error("{text:?} is not a time between {shortest:?} and {longest:?}: write 30s, 5m or 1h")]
    Duration {
        /// What stands there.
        text: String,
        /// The shortest.
        shortest: Duration,
        /// The longest.
        longest: Duration,
    },
    /// Nothing would be kept.
    #[error("{0} is at least 1")]
    Nothing(&'static str),
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

    fn secret(&mut self, source: &Spanned<SecretSource>) -> Option<Secret> {
        let outcome = match source.get_ref() {
            SecretSource::Env(name) => {
                let found = (self.environment)(name).filter(|value| !value.is_empty());
                found.map(Secret).ok_or_else(|| Wrong::Environment(name.clone()))
            }
            SecretSource::File(path) => {
                let path = self.beside(path);
                match std::fs::read_to_string(&path) {
                    Ok(text) => match text.lines().next() {
                        Some(line) if !line.is_empty() => Ok(Secret(line.to_owned())),
                        Some(_) | None => Err(Wrong::EmptySecret(path)),
                    },
                    Err(cause) => Err(Wrong::Read { path, cause }),
                }
            }
        };
        self.noted(span_of(source), outcome)
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
            staleness_limit,
        })
    }

    fn api_url(&mut self, url: Option<&Spanned<String>>) -> Option<(Scheme, Host)> {
        let Some(url) = url else {
            self.missing(None, "server.api_url");
            return None;
        };
        let text = url.get_ref().strip_suffix('/').unwrap_or(url.get_ref());
        let read = match text.split_once("://") {
            Some(("https", host)) => Host::parse(host).ok().map(|host| (Scheme::Https, host)),
            Some(("http", host)) => Host::parse(host).ok().filter(is_this_machine).map(|host| (Scheme::Http, host)),
            Some(_) | None => None,
        };
        self.noted(span_of(url), read.ok_or(Wrong::ApiUrl))
    }

    /// A listener, and the certificates that it shows.
    fn listener(
        &mut self,
        table: Option<&Spanned<ListenerTable>>,
        name: &'static str,
    ) -> Option<(ListenerConfig, Vec<Arc<CertifiedKey>>)> {
        let Some(table) = table else {
            self.missing(None, name);
            return None;
        };
        let (span, table) = (span_of(table), table.get_ref());
        let mut files = Vec::new();
        let mut certificates = Vec::new();
        for pair in &table.tls {
            let (at, pair) = (span_of(pair), pair.get_ref());
            match (&pair.certificate, &pair.key) {
                (Some(certificate), Some(key)) => {
                    let pair = CertificateFiles { certificate: self.beside(certificate), key: self.beside(key) };
                    let loaded = pair.load().map_err(Wrong::from);
                    certificates.extend(self.noted(at, loaded));
                    files.push(pair);
                }
                (None, _) => self.missing(at, "tls.certificate"),
                (Some(_), None) => self.missing(at, "tls.key"),
            }
        }
        let Some(listen) = &table.listen else {
            self.missing(span, "listen");
            return None;
        };
        let address = listen.get_ref().parse().ok().filter(|address: &SocketAddr| address.port() != 0);
        let address = self.noted(span_of(listen), address.ok_or_else(|| Wrong::Address(listen.get_ref().clone())))?;
        let spoken = match (table.tls.is_empty(), table.behind_tls_proxy) {
            (false, true) => {
                self.wrong(span, Wrong::TlsTwice);
                Spoken::BehindTlsProxy
            }
            (false, false) => Spoken::Tls(files),
            (true, true) => Spoken::BehindTlsProxy,
            (true, false) => {
                // A list that was left out for a mistake in it is not missing.
                if !address.ip().is_loopback() && !self.left_out.contains("tls") {
                    self.wrong(span_of(listen), Wrong::PlainListener(address));
                }
                Spoken::Loopback
            }
        };
        Some((ListenerConfig { address, spoken }, certificates))
    }

    /// Sees that one of these certificates is for a host, if there are any.
    fn certified(&mut self, span: Span, certificates: &[Arc<CertifiedKey>], host: &Host) {
        let name = host.name();
        if !certificates.is_empty() && !certificates.iter().any(|certificate| is_for(certificate, name)) {
            self.wrong(span, Wrong::NotCertified(name.to_owned()));
        }
    }

    fn admin_token(
        &mut self,
        source: Option<&Spanned<SecretSource>>,
        state: &Path,
    ) -> (Option<Secret>, Option<PathBuf>) {
        let Some(source) = source else {
            let path = state.join(ADMIN_TOKEN_FILE);
            if !path.exists() {
                return (None, Some(path));
            }
            let here = Spanned::new(0..0, SecretSource::File(path.clone()));
            let token = self.secret(&here);
            return (self.strong(None, token), Some(path));
        };
        let file = match source.get_ref() {
            SecretSource::File(path) => Some(self.beside(path)),
            SecretSource::Env(_) => None,
        };
        // Where the file says that there is a token, `doorward init` makes it.
        if file.as_ref().is_some_and(|path| !path.exists()) {
            return (None, file);
        }
        let token = self.secret(source);
        (self.strong(span_of(source), token), file)
    }

    fn strong(&mut self, span: Span, token: Option<Secret>) -> Option<Secret> {
        let token = token?;
        let strong = token.0.len() >= SHORTEST_TOKEN && token.0.bytes().all(|byte| byte.is_ascii_graphic());
        self.noted(span, if strong { Ok(token) } else { Err(Wrong::WeakToken) })
    }

    fn project(&mut self, file: &ConfigFile) -> Project {
        let table = &file.project;
        let mut project =
            Project { id: PROJECT_ID.to_owned(), number: PROJECT_NUMBER.to_owned(), ancestors: Vec::new() };
        if let Some(id) = &table.id {
            project.id.clone_from(id.get_ref());
            let long_enough = (6..=30).contains(&id.get_ref().len());
            if !long_enough || ApplicationName::from_str(id.get_ref()).is_err() {
                self.wrong(span_of(id), Wrong::ProjectId);
            }
        }
        let mut number = |text: &Spanned<String>| {
            let digits = text.get_ref();
            let good = (1..=19).contains(&digits.len())
                && digits.bytes().all(|byte| byte.is_ascii_digit())
                && !digits.starts_with('0');
            if !good {
                self.wrong(span_of(text), Wrong::Number(digits.clone()));
            }
            digits.clone()
        };
        if let Some(digits) = &table.number {
            project.number = number(digits);
        }
        project.ancestors.extend(table.folders.iter().map(|folder| Ancestor::Folder(number(folder))));
        project.ancestors.extend(table.organization.iter().map(|it| Ancestor::Organization(number(it))));
        project
    }

    fn store(&mut self, file: &ConfigFile, state: &Path) -> Option<StoreConfig> {
        let table = &file.store;
        let key_file = match &table.key_file {
            Some(path) => self.beside(path.get_ref()),
            None => state.join("store.key"),
        };
        match Sealer::from_file(&key_file) {
            // `doorward init` makes it, with the database.
            Ok(_) | Err(KeyFileError::Missing) => {}
            Err(cause) => {
                let path = key_file.clone();
                self.wrong(table.key_file.as_ref().and_then(span_of), Wrong::KeyFile { path, cause });
            }
        }
        let password = table.password.as_ref().and_then(|source| self.secret(source));
        let Some(url) = &table.url else {
            let only_for_url = [
                ("password", table.password.as_ref().and_then(span_of), table.password.is_some()),
                ("connections", None, table.connections.is_some()),
            ];
            for (name, span, _) in only_for_url.into_iter().filter(|(.., is_there)| *is_there) {
                if !self.left_out.contains("url") {
                    self.wrong(span, Wrong::OnlyForUrl(name));
                }
            }
            let path = match &table.path {
                Some(path) => self.beside(path.get_ref()),
                None => state.join("doorward.db"),
            };
            return Some(StoreConfig::Sqlite { path, key_file });
        };
        if let Some(path) = &table.path {
            self.wrong(span_of(path), Wrong::StoreTwice);
        }
        if has_password(url.get_ref()) {
            self.wrong(span_of(url), Wrong::PasswordInUrl);
        }
        let options = PostgresOptions::from_url(url.get_ref()).map_err(Wrong::from);
        let mut options = self.noted(span_of(url), options)?;
        if let Some(password) = &password {
            options = options.password(password.expose());
        }
        if let Some(connections) = table.connections {
            options = options.connections(connections);
        }
        Some(StoreConfig::Postgres { options: Box::new(options), key_file })
    }

    fn applications(
        &mut self,
        tables: &[Spanned<AppTable>],
        listener: Option<&(ListenerConfig, Vec<Arc<CertifiedKey>>)>,
        own: Option<&Host>,
    ) -> Vec<AppConfig> {
        let scheme = listener.map(|(listener, _)| listener.scheme());
        let certificates = listener.map_or(&[][..], |(_, certificates)| certificates);
        let mut names = BTreeSet::new();
        let mut places: BTreeMap<(String, PathPrefix), String> = BTreeMap::new();
        let mut applications = Vec::new();
        for table in tables {
            let (span, line) = (span_of(table), self.line(&table.span()));
            let app = table.get_ref();
            let origins = self.origins(app, span.clone(), scheme);
            for (at, origin) in &origins {
                self.certified(at.clone(), certificates, &origin.host);
                if own.is_some_and(|own| own.name() == origin.host.name()) {
                    self.wrong(at.clone(), Wrong::OwnHost(origin.host.clone()));
                }
            }
            let prefixes = self.prefixes(app);
            let upstreams = self.upstreams(app, span.clone());
            let allow = app.allow.as_deref().map(|allow| self.members(allow));
            let kind = self.kind(app, span.clone());
            let name = match &app.name {
                Some(text) => {
                    let name = text.get_ref().parse();
                    let name = name.map_err(|cause| Wrong::Name { text: text.get_ref().clone(), cause });
                    self.noted(span_of(text), name)
                }
                None => origins.first().and_then(|(_, origin)| name_of(&origin.host)),
            };
            let settings = name.as_ref().and_then(|name| self.settings(app, name));
            let shown = name.as_ref().map_or_else(|| format!("line {line}"), ToString::to_string);
            for (at, origin) in &origins {
                for prefix in &prefixes {
                    if let Some(by) = places.insert((origin.to_string(), prefix.clone()), shown.clone()) {
                        let (origin, prefix) = (origin.clone(), prefix.as_str().to_owned());
                        self.wrong(at.clone(), Wrong::PlaceTwice { origin, prefix, by });
                    }
                }
            }
            let (Some(name), Some(kind)) = (name, kind) else { continue };
            if !names.insert(name.as_str().to_owned()) {
                self.wrong(span, Wrong::NameTwice(name.clone()));
            }
            let routes = origins.iter().flat_map(|(_, origin)| {
                prefixes.iter().map(|prefix| Route { origin: origin.clone(), prefix: prefix.clone() })
            });
            applications.push(AppConfig { name, kind, routes: routes.collect(), upstreams, allow, settings, line });
        }
        applications
    }

    fn origins(&mut self, app: &AppTable, span: Span, spoken: Option<Scheme>) -> Vec<(Span, Origin)> {
        if app.host.is_empty() {
            self.missing(span, "host");
        }
        let mut origins = Vec::new();
        for text in &app.host {
            let (said, host) = match text.get_ref().split_once("://") {
                Some(("https", host)) => (Some(Scheme::Https), host),
                Some(("http", host)) => (Some(Scheme::Http), host),
                // What stands before is no scheme of ours, and the whole is no host.
                Some(_) | None => (None, text.get_ref().as_str()),
            };
            let host = Host::parse(host).map_err(|cause| Wrong::Host { text: text.get_ref().clone(), cause });
            let Some(host) = self.noted(span_of(text), host) else { continue };
            let Some(scheme) = spoken.or(said) else { continue };
            if said.is_some_and(|said| said != scheme) {
                let (origin, spoken) = (text.get_ref().clone(), scheme.as_str());
                self.wrong(span_of(text), Wrong::HostScheme { origin, spoken });
            }
            origins.push((span_of(text), Origin::new(scheme, &host)));
        }
        origins
    }

    fn prefixes(&mut self, app: &AppTable) -> Vec<PathPrefix> {
        if app.paths.is_empty() {
            return vec![PathPrefix::root()];
        }
        let mut prefixes = Vec::new();
        for text in &app.paths {
            let prefix = text.get_ref().parse();
            let prefix = prefix.map_err(|cause| Wrong::Prefix { text: text.get_ref().clone(), cause });
            prefixes.extend(self.noted(span_of(text), prefix));
        }
        prefixes
    }

    fn upstreams(&mut self, app: &AppTable, span: Span) -> Vec<String> {
        if app.to.is_empty() {
            self.missing(span, "to");
        }
        for text in &app.to {
            if let Err(cause) = Upstream::parse(text.get_ref()) {
                self.wrong(span_of(text), Wrong::Upstream { text: text.get_ref().clone(), cause });
            }
        }
        app.to.iter().map(|text| text.get_ref().clone()).collect()
    }

    fn members(&mut self, allow: &[Spanned<String>]) -> Vec<Member> {
        let mut members: Vec<Member> = Vec::new();
        for text in allow {
            let member = match text.get_ref().parse() {
                Ok(Member::Deleted(_)) => Err(MemberError::Malformed),
                read => read,
            };
            let member = member.map_err(|cause| Wrong::Member { text: text.get_ref().clone(), cause });
            members.extend(self.noted(span_of(text), member).filter(|member| !members.contains(member)));
        }
        let groups = members.iter().filter(|member| matches!(member, Member::Group(_) | Member::Domain(_))).count();
        if members.len() > PRINCIPALS_LIMIT || groups > GROUPS_LIMIT {
            self.wrong(allow.first().and_then(span_of), Wrong::TooManyMembers);
        }
        members
    }

    fn kind(&mut self, app: &AppTable, span: Span) -> Option<ServiceKind> {
        let kind = app.kind.as_ref().map_or(AppKind::default(), |kind| *kind.get_ref());
        let (word, fits): (_, &[&str]) = match kind {
            AppKind::BackendService => ("backend_service", &["region"]),
            AppKind::AppEngine => ("app_engine", &["service", "version"]),
            AppKind::CloudRun => ("cloud_run", &["region"]),
        };
        let given = [("region", &app.region), ("service", &app.service), ("version", &app.version)];
        for (name, value) in given {
            let Some(value) = value else { continue };
            if !fits.contains(&name) {
                self.wrong(span_of(value), Wrong::NotForKind { name, kind: word });
            } else if !is_segment(value.get_ref()) {
                self.wrong(span_of(value), Wrong::Segment(value.get_ref().clone()));
            }
        }
        let text = |value: &Option<Spanned<String>>| value.as_ref().map(|value| value.get_ref().clone());
        match kind {
            AppKind::BackendService => Some(ServiceKind::BackendService { region: text(&app.region) }),
            AppKind::AppEngine => match text(&app.version) {
                Some(version) => {
                    let service = text(&app.service).unwrap_or_else(|| "default".to_owned());
                    Some(ServiceKind::AppEngine { service, version })
                }
                None => {
                    self.missing(span, "version");
                    None
                }
            },
            AppKind::CloudRun => match text(&app.region) {
                Some(region) => Some(ServiceKind::CloudRun { region }),
                None => {
                    self.missing(span, "region");
                    None
                }
            },
        }
    }

    fn settings(&mut self, app: &AppTable, name: &ApplicationName) -> Option<IapSettings> {
        let table = app.settings.as_ref()?;
        let read = serde_json::to_value(table.get_ref()).and_then(|mut written| {
            if let Some(fields) = written.as_object_mut() {
                fields.insert("resource".to_owned(), format!("app {name}").into());
            }
            serde_json::from_value::<WrittenSettings>(written)
        });
        let written = read.map_err(Wrong::Settings);
        self.noted(span_of(table), written).map(|written| written.settings)
    }

    fn trusted_issuers(
        &mut self,
        file: &ConfigFile,
        api_url: Option<&(Scheme, Host)>,
        project: &Project,
    ) -> TrustedIssuers {
        let api_url = api_url.map(|(scheme, host)| Origin::new(*scheme, host).to_string()).unwrap_or_default();
        let mut issuers = vec![ASSERTION_ISSUER, api_url.as_str()];
        if file.server.names == Names::Google {
            issuers.push(GOOGLE);
        }
        let own = OwnNames { issuers: &issuers, project_id: &project.id };
        let mut entries: Vec<TrustedIssuer> =
            file.trusted_issuer.iter().filter_map(|table| self.trusted_issuer(table, own)).collect();
        if let Some(list) = &file.trusted_issuers
            && let Some((path, bytes)) = self.file(list)
        {
            let text = String::from_utf8_lossy(&bytes);
            let Parsed { file, mistakes, left_out } = config_file::parse_trusted_issuers(&text);
            // Mistakes in the list are at places of the list.
            let environment = self.environment;
            let mut listed = Reading { path: &path, text: &text, environment, left_out, mistakes: Vec::new() };
            for mistake in mistakes {
                listed.wrong(mistake.span(), Wrong::Shape(Box::new(mistake)));
            }
            entries.extend(file.trusted_issuer.iter().filter_map(|table| listed.trusted_issuer(table, own)));
            self.mistakes.append(&mut listed.mistakes);
        }
        let list = TrustedIssuers::new(entries, own).map_err(Wrong::from);
        let first = file.trusted_issuer.first().and_then(span_of);
        self.noted(first, list).unwrap_or_default()
    }

    fn trusted_issuer(&mut self, table: &Spanned<TrustedIssuerTable>, own: OwnNames<'_>) -> Option<TrustedIssuer> {
        let (span, table) = (span_of(table), table.get_ref());
        if table.insecure_loopback {
            self.wrong(span.clone(), Wrong::InsecureLoopback);
        }
        let jwks = match &table.jwks_file {
            None => None,
            Some(file) => {
                let (path, document) = self.file(file)?;
                let keys = VerifyingKeys::from_foreign_document(&document);
                let good = keys.is_ok_and(|keys| !keys.is_empty());
                let text = String::from_utf8(document).ok().filter(|_| good);
                Some(self.noted(span_of(file), text.ok_or(Wrong::Keys(path)))?.into())
            }
        };
        let (Some(id), Some(issuer)) = (&table.id, &table.issuer) else {
            let name = if table.id.is_none() { "id" } else { "issuer" };
            self.missing(span, name);
            return None;
        };
        let read = id.get_ref().parse().map_err(|cause| Wrong::IssuerId { text: id.get_ref().clone(), cause });
        let entry = TrustedIssuer {
            id: self.noted(span_of(id), read)?,
            issuer: issuer.get_ref().clone(),
            audiences: table.audiences.clone(),
            email_domains: table.email_domains.clone(),
            groups_claim: table.groups_claim.clone(),
            google: table.google,
            insecure_loopback: false,
            jwks,
        };
        // Alone first, so that each mistake is found at its place; what entries do to each other is seen with the whole list.
        let alone = TrustedIssuers::new([entry.clone()], own).map_err(Wrong::from);
        self.noted(span, alone).map(|_| entry)
    }

    fn sinks(&mut self, tables: &[Spanned<SinkTable>]) -> Vec<SinkConfig> {
        let mut sinks: Vec<SinkConfig> = Vec::new();
        for table in tables {
            let (span, table) = (span_of(table), table.get_ref());
            let Some(kind) = table.kind else {
                self.missing(span, "kind");
                continue;
            };
            let (word, fits): (_, &[&str]) = match kind {
                SinkKind::File => ("file", &["path"]),
                SinkKind::Stdout => ("stdout", &[]),
                SinkKind::Otlp => ("otlp", &["endpoint", "headers", "ca_file"]),
            };
            let given = [
                ("path", table.path.is_some()),
                ("endpoint", table.endpoint.is_some()),
                ("headers", !table.headers.is_empty()),
                ("ca_file", table.ca_file.is_some()),
            ];
            for (name, _) in given.into_iter().filter(|(name, is_there)| *is_there && !fits.contains(name)) {
                self.wrong(span.clone(), Wrong::NotForKind { name, kind: word });
            }
            let name = table.name.as_ref().map_or(word, |name| name.get_ref()).to_owned();
            if ApplicationName::from_str(&name).is_err() {
                self.wrong(table.name.as_ref().and_then(span_of), Wrong::SinkName(name.clone()));
            }
            let target = match kind {
                SinkKind::Stdout => Some(SinkTarget::Stdout),
                SinkKind::File => match &table.path {
                    Some(path) => Some(SinkTarget::File(self.beside(path.get_ref()))),
                    None => {
                        self.missing(span.clone(), "path");
                        None
                    }
                },
                SinkKind::Otlp => self.collector(table, span.clone()),
            };
            let Some(target) = target else { continue };
            if sinks.iter().any(|other| other.name == name) {
                self.wrong(span.clone(), Wrong::SinkTwice(name.clone()));
            }
            let same = |other: &SinkConfig| match (&other.target, &target) {
                (SinkTarget::File(one), SinkTarget::File(other)) => one == other,
                (SinkTarget::Stdout, SinkTarget::Stdout) => true,
                (SinkTarget::File(_) | SinkTarget::Stdout | SinkTarget::Otlp { .. }, _) => false,
            };
            if sinks.iter().any(same) {
                self.wrong(span, Wrong::SinkTargetTwice);
            }
            sinks.push(SinkConfig { name, target });
        }
        sinks
    }

    fn collector(&mut self, table: &SinkTable, span: Span) -> Option<SinkTarget> {
        let mut headers = Vec::new();
        for (name, source) in &table.headers {
            let Some(secret) = self.secret(source) else { continue };
            let value = HeaderValue::from_str(secret.expose()).ok();
            let field = HeaderName::from_str(name).ok().filter(|name| !OWN_FIELDS.contains(&name.as_str())).zip(value);
            if let Some((name, mut value)) = self.noted(span_of(source), field.ok_or(Wrong::Header(name.clone()))) {
                value.set_sensitive(true);
                headers.push((name, value));
            }
        }
        let mut authorities = Vec::new();
        if let Some(file) = &table.ca_file
            && let Some((path, pem)) = self.file(file)
        {
            let read = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
            let read = read.ok().filter(|read| !read.is_empty()).ok_or(Wrong::NoAuthority(path));
            authorities.extend(self.noted(span_of(file), read).unwrap_or_default());
        }
        let Some(endpoint) = &table.endpoint else {
            self.missing(span, "endpoint");
            return None;
        };
        let read = Endpoint::parse(endpoint.get_ref()).map_err(Wrong::from);
        let endpoint = self.noted(span_of(endpoint), read)?;
        Some(SinkTarget::Otlp { endpoint, headers, authorities })
    }

    fn retention(&mut self, file: &ConfigFile) -> (u64, Duration) {
        let table = &file.audit.retention;
        let events = table.events.as_ref().map_or(KEEP_EVENTS, |events| *events.get_ref());
        let days = table.days.as_ref().map_or(KEEP_DAYS, |days| *days.get_ref());
        if let Some(table) = table.events.as_ref().filter(|_| events == 0) {
            self.wrong(span_of(table), Wrong::Nothing("events"));
        }
        if let Some(table) = table.days.as_ref().filter(|_| days == 0) {
            self.wrong(span_of(table), Wrong::Nothing("days"));
        }
        (events, Duration::from_secs(u64::from(days) * 24 * 3600))
    }

    fn condition_headers(&mut self, names: Option<&[Spanned<String>]>) -> HeaderAllowList {
        let Some(names) = names else { return HeaderAllowList::default() };
        for name in names {
            let good = HeaderName::from_str(name.get_ref()).is_ok_and(|name| !CREDENTIALS.contains(&name.as_str()));
            if !good {
                self.wrong(span_of(name), Wrong::Header(name.get_ref().clone()));
            }
        }
        HeaderAllowList::of(names.iter().map(|name| name.get_ref().as_str()))
    }

    fn duration(&mut self, text: &Spanned<String>, shortest: Duration, longest: Duration) -> Option<Duration> {
        let read = duration(text.get_ref()).filter(|read| (shortest..=longest).contains(read));
        let wrong = || Wrong::Duration { text: text.get_ref().clone(), shortest, longest };
        self.noted(span_of(text), read.ok_or_else(wrong))
    }
}

/// Fields that hold credentials: a condition that reads one would show it in an explanation.
const CREDENTIALS: [&str; 4] = ["authorization", "proxy-authorization", "cookie", "set-cookie"];

/// Fields of a request to a collector that are ours to say.
const OWN_FIELDS: [&str; 6] =
    ["host", "content-type", "content-length", "content-encoding", "transfer-encoding", "connection"];

fn is_this_machine(host: &Host) -> bool {
    let name = host.name();
    name == "localhost" || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether a URL of a database holds a password, in its authority or in a parameter.
fn has_password(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (before, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    // A password may hold a slash that should have been written as %2F: all before the last @ is looked at.
    let in_authority = before.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'));
    in_authority || parameters.split('&').any(|parameter| parameter.starts_with("password="))
}

/// The name that an application has if it is given none.
fn name_of(host: &Host) -> Option<ApplicationName> {
    let text: String =
        host.name().chars().map(|it| if it.is_ascii_lowercase() || it.is_ascii_digit() { it } else { '-' }).collect();
    let text = text.trim_matches('-');
    let text = if text.starts_with(|first: char| first.is_ascii_lowercase()) {
        text.to_owned()
    } else {
        format!("app-{text}")
    };
    let short: String = text.chars().take(63).collect();
    short.trim_end_matches('-').parse().ok()
}

/// Whether a text may stand for a region, a service or a version in a resource's name.
fn is_segment(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(plain) && !text.starts_with('-')
}

/// Digits and a unit.
fn duration(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return None,
    };
    let count: u64 = digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    count.checked_mul(seconds).map(Duration::from_secs)
}

#[cfg(test)]
mod tests;
