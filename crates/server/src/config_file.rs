//! The file of `doorward serve`, as a person writes it: TOML, in which every name that is not known is a mistake, for it might be
//! one that restricts. What the file means, and whether it can be meant, is said in [`config`](crate::config).
//!
//! Every mistake is found, not the first alone: what cannot be read is noted, taken out, and the rest is read again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConfigFile {
    /// Where we are reached.
    pub server: ServerTable,
    /// The one project.
    pub project: ProjectTable,
    /// Where everything is kept.
    pub store: StoreTable,
    /// The record of decisions.
    pub audit: AuditTable,
    /// What policies may read, and how old they may be.
    pub policy: PolicyTable,
    /// What holds where an application sets nothing.
    pub settings: SettingsTable,
    /// Applications.
    pub app: Vec<Spanned<AppTable>>,
    /// A file of `[[trusted_issuer]]` tables.
    pub trusted_issuers: Option<Spanned<PathBuf>>,
    /// Issuers beside ourselves.
    pub trusted_issuer: Vec<Spanned<TrustedIssuerTable>>,
}

/// `[server]`
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerTable {
    /// Our own origin: sign-in, tokens, administration.
    pub api_url: Option<Spanned<String>>,
    /// Whose names are in tokens.
    pub names: Names,
    /// Where the API is.
    pub api: Option<Spanned<ListenerTable>>,
    /// Where the applications are.
    pub apps: Option<Spanned<ListenerTable>>,
    /// The directory of what is ours on this machine.
    pub state: Option<PathBuf>,
    /// The bearer token of the operator.
    pub admin_token: Option<Spanned<SecretSource>>,
    /// The programs of people that may sign them in.
    pub sign_in_clients: BTreeSet<SignInClient>,
}

impl Default for ServerTable {
    fn default() -> Self {
        ServerTable {
            api_url: None,
            names: Names::Own,
            api: None,
            apps: None,
            state: None,
            admin_token: None,
            sign_in_clients: BTreeSet::from([SignInClient::Doorward]),
        }
    }
}

/// A program of people whose OAuth client everybody knows, since it is in the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignInClient {
    /// `doorward login`.
    Doorward,
    /// gcloud, its application default credentials and gsutil.
    Gcloud,
}

/// Whose names are in tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Names {
    /// Ours: `iss` is `api_url`.
    #[default]
    Own,
    /// Google's, for clients that compare them.
    Google,
}

/// A listener.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ListenerTable {
    /// `ADDRESS:PORT`
    pub listen: Option<Spanned<String>>,
    /// The certificates that are shown there: one or several.
    pub tls: Vec<Spanned<TlsTable>>,
    /// Somebody else ends TLS before us, and nobody reaches us but through them.
    pub behind_tls_proxy: bool,
    /// Those before us whose `X-Forwarded-For` is believed: networks or addresses.
    pub trusted_proxies: Vec<Spanned<String>>,
}

/// A certificate.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsTable {
    /// The chain in PEM, our own first.
    pub certificate: Option<PathBuf>,
    /// Its private key in PEM.
    pub key: Option<PathBuf>,
}

/// `[project]`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProjectTable {
    /// For people.
    pub id: Option<Spanned<String>>,
    /// For programs.
    pub number: Option<Spanned<String>>,
    /// The number of the organization that it lies in.
    pub organization: Option<Spanned<String>>,
    /// The numbers of the folders between, nearest first.
    pub folders: Vec<Spanned<String>>,
}

/// `[store]`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreTable {
    /// A file of SQLite's.
    pub path: Option<Spanned<PathBuf>>,
    /// A database of a PostgreSQL server.
    pub url: Option<Spanned<String>>,
    /// Its password.
    pub password: Option<Spanned<SecretSource>>,
    /// How many connections to it at most.
    pub connections: Option<u32>,
    /// The file of the key that seals private keys.
    pub key_file: Option<Spanned<PathBuf>>,
}

/// `[audit]`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuditTable {
    /// For how long.
    pub retention: RetentionTable,
    /// Where entries are sent.
    pub sink: Vec<Spanned<SinkTable>>,
}

/// `retention` of `[audit]`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetentionTable {
    /// Older events are forgotten.
    pub days: Option<Spanned<u32>>,
    /// More events are forgotten, the oldest first.
    pub events: Option<Spanned<u64>>,
}

/// `[[audit.sink]]`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SinkTable {
    /// Its name: the place in the record up to which it has everything is kept under it.
    pub name: Option<Spanned<String>>,
    /// What it is.
    pub kind: Option<SinkKind>,
    /// Of a file.
    pub path: Option<Spanned<PathBuf>>,
    /// Of a collector.
    pub endpoint: Option<Spanned<String>>,
    /// Fields that a collector wants.
    pub headers: BTreeMap<String, Spanned<SecretSource>>,
    /// Authorities that are trusted beside those of this machine.
    pub ca_file: Option<Spanned<PathBuf>>,
}

/// What a sink is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SinkKind {
    /// JSON lines.
    File,
    /// JSON lines.
    Stdout,
    /// OTLP over HTTP, with JSON.
    Otlp,
}

/// `[policy]`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PolicyTable {
    /// The header fields that conditions may read.
    pub condition_headers: Option<Vec<Spanned<String>>>,
    /// For how long the store may not be readable before nobody is let in.
    pub staleness_limit: Option<Spanned<String>>,
}

/// `[settings]`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SettingsTable {
    /// What becomes of an ID token without `email`.
    pub email_claim: EmailClaimWord,
    /// Whether applications are sent the credential.
    pub forward_credential: bool,
    /// Whom somebody asks who was refused.
    pub contact: Option<Spanned<String>>,
}

/// What becomes of an ID token without `email`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EmailClaimWord {
    /// It is refused.
    #[default]
    Required,
    /// It is accepted.
    Optional,
}

/// `[[app]]`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AppTable {
    /// Its name; made of the first host if absent.
    pub name: Option<Spanned<String>>,
    /// Where it is reached: one host or several.
    pub host: Vec<Spanned<String>>,
    /// Which paths there; all without any.
    pub paths: Vec<Spanned<String>>,
    /// Where it runs: one URL or several.
    pub to: Vec<Spanned<String>>,
    /// Who may enter. Absent: the file says nothing about that.
    pub allow: Option<Vec<Spanned<String>>>,
    /// What it is in Google's terms.
    pub kind: Option<Spanned<AppKind>>,
    /// The region of a backend service or of Cloud Run.
    pub region: Option<Spanned<String>>,
    /// The App Engine service.
    pub service: Option<Spanned<String>>,
    /// The App Engine version.
    pub version: Option<Spanned<String>>,
    /// IAP settings of it, with the names of `gcloud iap settings get` in snake_case.
    pub settings: Option<Spanned<toml::Table>>,
}

/// What an application is in Google's terms.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AppKind {
    /// A backend service of a load balancer.
    #[default]
    BackendService,
    /// A version of an App Engine service.
    AppEngine,
    /// A Cloud Run service.
    CloudRun,
}

/// `[[trusted_issuer]]`, here or in a list of its own (`docs/reference/trusted-issuers.md`).
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrustedIssuerTable {
    /// Its id.
    pub id: Option<Spanned<String>>,
    /// `iss` of its tokens, exactly.
    pub issuer: Option<Spanned<String>>,
    /// `aud` of its tokens: one of these.
    pub audiences: Vec<String>,
    /// Domains whose verified addresses are `user:EMAIL`.
    pub email_domains: Vec<String>,
    /// The claim of its tokens that lists the caller's groups.
    pub groups_claim: Option<String>,
    /// It is Google's own.
    pub google: bool,
    /// It may be on this machine, and speak plain HTTP: `dev` only.
    pub insecure_loopback: bool,
    /// Its key document, relative to the file.
    pub jwks_file: Option<Spanned<PathBuf>>,
}

/// A list of issuers in a file of its own.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrustedIssuersFile {
    /// Its tables.
    pub trusted_issuer: Vec<Spanned<TrustedIssuerTable>>,
}

/// Where a secret is. A secret that stands in the file itself is a mistake: files are copied, mailed and committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// The first line of this file.
    File(PathBuf),
    /// This variable of the environment.
    Env(String),
}

impl<'de> Deserialize<'de> for SecretSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Source;
        impl<'de> Visitor<'de> for Source {
            type Value = SecretSource;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("{ file = \"PATH\" } or { env = \"NAME\" }")
            }

            fn visit_str<E: de::Error>(self, _: &str) -> Result<SecretSource, E> {
                // The text is not repeated: messages are logged.
                Err(E::custom(
                    "a secret must not stand in this file: write { file = \"PATH\" } or { env = \"NAME\" }, and replace the one that stood here",
                ))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<SecretSource, A::Error> {
                let mut found = None;
                while let Some(name) = fields.next_key::<String>()? {
                    let source = match name.as_str() {
                        "file" => SecretSource::File(fields.next_value()?),
                        "env" => SecretSource::Env(fields.next_value()?),
                        unknown => return Err(de::Error::unknown_field(unknown, &["file", "env"])),
                    };
                    if found.replace(source).is_some() {
                        return Err(de::Error::custom("a secret is in a file or in the environment, not in both"));
                    }
                }
                found.ok_or_else(|| de::Error::custom("write { file = \"PATH\" } or { env = \"NAME\" }"))
            }
        }
        deserializer.deserialize_any(Source)
    }
}

/// What is read of a file.
#[derive(Debug)]
pub struct Parsed<T> {
    /// All that can be read.
    pub file: T,
    /// What cannot, in the order of the text.
    pub mistakes: Vec<toml::de::Error>,
    /// The names that were left out because of it: that they are missing is no mistake besides.
    pub left_out: BTreeSet<String>,
}

/// Reads the whole file.
pub fn parse(text: &str) -> Parsed<ConfigFile> {
    parse_as(text, |table| {
        for app in tables(table, "app") {
            listed(app, &["host", "to"]);
        }
        for server in tables(table, "server") {
            for listener in ["api", "apps"] {
                for listener in tables(server, listener) {
                    listed(listener, &["tls"]);
                }
            }
        }
    })
}

/// Reads a list of issuers.
pub fn parse_trusted_issuers(text: &str) -> Parsed<TrustedIssuersFile> {
    parse_as(text, |_| {})
}

fn parse_as<T>(text: &str, prepare: impl FnOnce(&mut DeTable<'_>)) -> Parsed<T>
where
    T: Default + for<'de> Deserialize<'de>,
{
    let (mut table, mistakes) = DeTable::parse_recoverable(text);
    let mut parsed = Parsed { file: T::default(), mistakes, left_out: BTreeSet::new() };
    if !parsed.mistakes.is_empty() {
        // What a parser makes of text that is no TOML would only bring up mistakes that nobody made.
        return parsed;
    }
    prepare(table.get_mut());
    loop {
        match T::deserialize(toml::de::Deserializer::from(table.clone())) {
            Ok(file) => {
                parsed.file = file;
                break;
            }
            Err(mistake) => {
                let left_out = mistake.span().and_then(|span| take_out(table.get_mut(), &span));
                parsed.mistakes.push(mistake);
                match left_out {
                    Some(name) => parsed.left_out.insert(name),
                    None => break,
                };
            }
        }
    }
    parsed.mistakes.sort_by_key(|mistake| mistake.span().map_or(0, |span| span.start));
    parsed
}

/// The tables under a name: one, or each of a list.
fn tables<'t, 'i>(table: &'t mut DeTable<'i>, name: &str) -> Vec<&'t mut DeTable<'i>> {
    match table.get_mut(name).map(Spanned::get_mut) {
        Some(DeValue::Table(one)) => vec![one],
        Some(DeValue::Array(many)) => {
            let each = many.iter_mut().map(Spanned::get_mut);
            each.filter_map(|one| if let DeValue::Table(one) = one { Some(one) } else { None }).collect()
        }
        Some(_) | None => Vec::new(),
    }
}

/// Writes a list of one where a value stands alone.
fn listed(table: &mut DeTable<'_>, names: &[&str]) {
    for name in names {
        if let Some(value) = table.get_mut(*name)
            && !value.get_ref().is_array()
        {
            let span = value.span();
            let one = std::mem::replace(value.get_mut(), DeValue::Boolean(false));
            let mut list = DeArray::new();
            list.push(Spanned::new(span, one));
            *value.get_mut() = DeValue::Array(list);
        }
    }
}

/// Takes out the smallest thing that stands at this place, and gives the name under which it stood. `None` if nothing does.
fn take_out(table: &mut DeTable<'_>, span: &Range<usize>) -> Option<String> {
    let here = table.iter().find(|(name, value)| name.span() == *span || is_at(value, span));
    if let Some(name) = here.map(|(name, _)| name.clone()) {
        table.remove(&name);
        return Some(name.get_ref().clone().into_owned());
    }
    table.iter_mut().find_map(|(name, value)| take_out_of_value(value.get_mut(), span, name.get_ref()))
}

fn take_out_of_value(value: &mut DeValue<'_>, span: &Range<usize>, name: &str) -> Option<String> {
    match value {
        DeValue::Table(table) => take_out(table, span),
        DeValue::Array(values) => match values.iter().position(|value| is_at(value, span)) {
            Some(place) => {
                let rest = std::mem::replace(values, DeArray::new())
                    .into_iter()
                    .enumerate()
                    .filter(|(other, _)| *other != place);
                *values = rest.map(|(_, value)| value).collect();
                Some(name.to_owned())
            }
            None => values.iter_mut().find_map(|value| take_out_of_value(value.get_mut(), span, name)),
        },
        DeValue::String(_) | DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {
            None
        }
    }
}

/// A list of one that was a value alone is at the place of that value: the list goes.
fn is_at(value: &Spanned<DeValue<'_>>, span: &Range<usize>) -> bool {
    value.span() == *span
}

/// A place in a text, for people: both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The character in it.
    pub column: usize,
}

impl Place {
    /// The place of a byte.
    pub fn of(text: &str, byte: usize) -> Place {
        let before = text.get(..byte).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Place { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(text: &str) -> Vec<String> {
        let parsed = parse(text);
        let place = |mistake: &toml::de::Error| Place::of(text, mistake.span().map_or(0, |span| span.start));
        let line = |mistake: &toml::de::Error| {
            let Place { line, column } = place(mistake);
            format!("{line}:{column} {}", mistake.message())
        };
        parsed.mistakes.iter().map(line).collect()
    }

    #[test]
    fn every_mistake_is_found_with_its_place_and_what_is_allowed() {
        #[rustfmt::skip]
        let cases: [(&str, &[&str]); 12] = [
            ("", &[]),
            ("[server]\napi_ulr = 'x'\nnames = 'both'\n[sevrer]\n[[app]]\nhots = 'a'\nallow = 'user:a@x.com'\n", &[
                "2:1 unknown field `api_ulr`, expected one of `api_url`, `names`, `api`, `apps`, `state`, `admin_token`, `sign_in_clients`",
                "3:9 unknown variant `both`, expected `own` or `google`",
                "4:2 unknown field `sevrer`, expected one of `server`, `project`, `store`, `audit`, `policy`, `settings`, `app`, `trusted_issuers`, `trusted_issuer`",
                "6:1 unknown field `hots`, expected one of `name`, `host`, `paths`, `to`, `allow`, `kind`, `region`, `service`, `version`, `settings`",
                "7:9 invalid type: string \"user:a@x.com\", expected a sequence",
            ]),
            ("[store]\nurl = 'postgres://db/doorward'\npassword = 'hunter2'", &[
                "3:12 a secret must not stand in this file: write { file = \"PATH\" } or { env = \"NAME\" }, and replace the one that stood here",
            ]),
            ("[store]\npassword = { file = 'a', env = 'B' }", &["2:12 a secret is in a file or in the environment, not in both"]),
            ("[store]\npassword = {}",                       &["2:12 write { file = \"PATH\" } or { env = \"NAME\" }"]),
            ("[store]\npassword = { value = 'hunter2' }",    &["2:12 unknown field `value`, expected `file` or `env`"]),
            ("[store]\npassword = 17",                       &["2:12 invalid type: integer `17`, expected { file = \"PATH\" } or { env = \"NAME\" }"]),
            ("[[app]]\nhost = ['a', 1, 'b']\nto = 2",        &["2:14 invalid type: integer `1`, expected a string", "3:6 invalid type: integer `2`, expected a string"]),
            ("[server]\napi = { listen = '[::1]:1', tls = { certificat = 'a' } }", &["2:37 unknown field `certificat`, expected `certificate` or `key`"]),
            ("[app]\nhost = 'a'",                            &["1:1 invalid type: map, expected a sequence"]),
            ("[[trusted_issuer]]\nid = 'a'\ngoogel = true",  &["3:1 unknown field `googel`, expected one of `id`, `issuer`, `audiences`, `email_domains`, `groups_claim`, `google`, `insecure_loopback`, `jwks_file`"]),
            ("[[audit.sink]]\nkind = 'syslog'",              &["2:8 unknown variant `syslog`, expected one of `file`, `stdout`, `otlp`"]),
        ];
        for (text, expected) in cases {
            assert_eq!(mistakes(text), expected, "{text}");
        }
    }

    #[test]
    fn text_that_is_no_toml_has_the_mistakes_of_its_lines_alone() {
        let found = mistakes("[server\nnames = 'own'\n\n[[app]]\nhost = \n");
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("1:8") && found[1].starts_with("5:"), "{found:?}");
    }

    #[test]
    fn the_rest_of_a_file_with_mistakes_is_read() {
        let parsed =
            parse("[project]\nid = 7\nnumber = '12'\n[[app]]\nhost = 'a.test'\n[[app]]\nhost = ['b.test', 'c.test']\n");
        assert_eq!(parsed.mistakes.len(), 1);
        assert_eq!(parsed.left_out, BTreeSet::from(["id".to_owned()]));
        assert_eq!(parsed.file.project.number.unwrap().get_ref(), "12");
        let hosts: Vec<Vec<&str>> = parsed
            .file
            .app
            .iter()
            .map(|app| app.get_ref().host.iter().map(|host| host.get_ref().as_str()).collect())
            .collect();
        assert_eq!(hosts, [vec!["a.test"], vec!["b.test", "c.test"]]);
    }

    #[test]
    fn a_place_is_counted_in_characters() {
        let text = "a\n\u{e9}\u{e9}x\n";
        #[rustfmt::skip]
        let cases = [(0, 1, 1), (2, 2, 1), (6, 2, 3), (8, 3, 1), (99, 3, 1), (3, 3, 1)];
        for (byte, line, column) in cases {
            assert_eq!(Place::of(text, byte), Place { line, column }, "{byte}");
        }
    }
}
