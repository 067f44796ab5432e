//! What can be wrong in a file, and how it is said.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use doorward_control::applications::{ApplicationError, ReservedHost};
use doorward_control::settings::SettingsError;
use doorward_core::issuer::{IssuerIdError, TrustedIssuersError};
use doorward_core::member::MemberError;
use doorward_core::policy::{GROUPS_LIMIT, PRINCIPALS_LIMIT};
use doorward_core::resource::{
    ApplicationName, ApplicationNameError, HostError, Origin, PathPrefixError, UpstreamError,
};
use doorward_store::{KeyFileError, UrlError};

use super::SHORTEST_TOKEN;
use crate::audit_sinks::EndpointError;
use crate::config_file::Place;
use crate::listen::NetworkError;
use crate::serve::tls::CertificateFilesError;

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
            // Named once: what cannot be read is the file itself.
            None if matches!(&self.what, Wrong::Read { path, .. } if *path == self.path) => self.what.fmt(f),
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
    #[error("{}", .0.message().lines().collect::<Vec<_>>().join("; "))]
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
    /// Not a network.
    #[error("{text:?} is {cause}")]
    Network {
        /// What stands there.
        text: String,
        /// Why.
        cause: NetworkError,
    },
    /// Nobody is before the listener whose word could be believed.
    #[error("trusted_proxies is for a listener with `behind_tls_proxy = true`")]
    NobodyBefore,
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
    /// A secret that is not one.
    #[error(
        "{} holds a secret, and every user of this machine can read it: `chmod o= {}` (mount secrets of a container with mode 0400)",
        .0.display(), .0.display()
    )]
    ReadByOthers(PathBuf),
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
    #[error(
        "the key file {} cannot be used: {cause}. Restore it from your copy: another one opens nothing of what a store holds",
        path.display()
    )]
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
    /// No application is at that host.
    #[error(transparent)]
    ReservedHost(#[from] ReservedHost),
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
        "{0:?} is not a region, a service or a version: 1 to 63 of a-z, 0-9 and '-', begins and ends with a letter or digit"
    )]
    Segment(String),
    /// It stands for nothing that there can be.
    #[error(transparent)]
    Kind(ApplicationError),
    /// Settings that are not there.
    #[error("settings: {0}")]
    Settings(serde_json::Error),
    /// Settings that cannot be set.
    #[error("settings: {0}")]
    SettingsRefused(SettingsError),
    /// Whom to ask is not said in a line.
    #[error("contact is an address or a few words: 1 to 200 bytes in one line")]
    Contact,
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
    /// Not a field that conditions may read.
    #[error(
        "{0:?} is not a header field that conditions may read: it is none, or holds a credential, or says who asks, which anybody may write"
    )]
    ConditionHeader(String),
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
