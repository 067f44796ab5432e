//! The record: where entries are sent, and how long they are kept. And what policies may read, and how old they may be.

use std::str::FromStr as _;
use std::time::Duration;

use doorward_core::policy::condition::HeaderAllowList;
use doorward_core::resource::ApplicationName;
use http::{HeaderName, HeaderValue};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use toml::Spanned;

use super::{Reading, SinkConfig, SinkTarget, Span, Wrong, span_of};
use crate::audit_sinks::Endpoint;
use crate::config_file::{ConfigFile, SinkKind, SinkTable};

/// How many events are kept if nobody says.
const KEEP_EVENTS: u64 = 1_000_000;
/// For how long they are kept if nobody says.
const KEEP_DAYS: u32 = 90;
/// Fields that hold credentials: a condition that reads one would show it in an explanation.
const CREDENTIALS: [&str; 13] = [
    "authorization",
    "proxy-authorization",
    "x-serverless-authorization",
    "cookie",
    "set-cookie",
    "api-key",
    "apikey",
    "x-api-key",
    "x-auth-token",
    "x-access-token",
    "x-csrf-token",
    "x-xsrf-token",
    "x-amz-security-token",
];
/// Fields by which somebody before us says who asks. Whoever reaches us may write them as they like, and a condition that believed
/// them would let anybody in.
const IDENTITIES: [&str; 8] = [
    "forwarded",
    "via",
    "x-real-ip",
    "x-client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "remote-user",
    "x-remote-user",
];
/// The beginnings of others of both kinds: Google's, and those that proxies add.
const REFUSED_BEGINNINGS: [&str; 4] = ["x-goog-", "x-forwarded-", "x-auth-request-", "x-doorward-"];

/// Fields of a request to a collector that are ours to say.
const OWN_FIELDS: [&str; 6] =
    ["host", "content-type", "content-length", "content-encoding", "transfer-encoding", "connection"];

/// Whether conditions may read a field, by its name in small letters. What folds to a name of those does so for applications too.
fn may_be_read(name: &str) -> bool {
    let name = name.replace('_', "-");
    let refused = CREDENTIALS.iter().chain(&IDENTITIES).any(|refused| name == *refused)
        || REFUSED_BEGINNINGS.iter().any(|beginning| name.starts_with(beginning));
    !refused
}

impl Reading<'_> {
    pub(super) fn sinks(&mut self, tables: &[Spanned<SinkTable>]) -> Vec<SinkConfig> {
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

    pub(super) fn retention(&mut self, file: &ConfigFile) -> (u64, Duration) {
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

    pub(super) fn condition_headers(&mut self, names: Option<&[Spanned<String>]>) -> HeaderAllowList {
        let Some(names) = names else { return HeaderAllowList::default() };
        for name in names {
            let good = HeaderName::from_str(name.get_ref()).is_ok_and(|name| may_be_read(name.as_str()));
            if !good {
                self.wrong(span_of(name), Wrong::ConditionHeader(name.get_ref().clone()));
            }
        }
        HeaderAllowList::of(names.iter().map(|name| name.get_ref().as_str()))
    }

    pub(super) fn duration(
        &mut self,
        text: &Spanned<String>,
        shortest: Duration,
        longest: Duration,
    ) -> Option<Duration> {
        let read = duration(text.get_ref()).filter(|read| (shortest..=longest).contains(read));
        let wrong = || Wrong::Duration { text: text.get_ref().clone(), shortest, longest };
        self.noted(span_of(text), read.ok_or_else(wrong))
    }
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
