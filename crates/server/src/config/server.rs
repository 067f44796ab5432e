//! Where we are reached, whose the token of the operator is, the project, and the store.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Arc;

use doorward_core::resource::{Ancestor, ApplicationName, Host, Project, Scheme};
use doorward_store::{KeyFileError, PostgresOptions, Sealer};
use rustls::sign::CertifiedKey;
use toml::Spanned;

use super::{
    ADMIN_TOKEN_FILE, ListenerConfig, Reading, SHORTEST_TOKEN, Secret, Span, Spoken, StoreConfig, Wrong, span_of,
};
use crate::config_file::{ConfigFile, ListenerTable, SecretSource};
use crate::listen::Network;
use crate::serve::tls::{CertificateFiles, is_for};

/// What the project is called if nobody says.
const PROJECT_ID: &str = "doorward";
/// See [`PROJECT_ID`].
const PROJECT_NUMBER: &str = "100000000001";

impl Reading<'_> {
    pub(super) fn api_url(&mut self, url: Option<&Spanned<String>>) -> Option<(Scheme, Host)> {
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
    pub(super) fn listener(
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
                    self.kept_from_others(at.clone(), &pair.key);
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
        let mut trusted = Vec::new();
        for text in &table.trusted_proxies {
            let network = text
                .get_ref()
                .parse::<Network>()
                .map_err(|cause| Wrong::Network { text: text.get_ref().clone(), cause });
            trusted.extend(self.noted(span_of(text), network));
        }
        if let (Some(first), false) = (table.trusted_proxies.first(), table.behind_tls_proxy) {
            self.wrong(span_of(first), Wrong::NobodyBefore);
        }
        let spoken = match (table.tls.is_empty(), table.behind_tls_proxy) {
            (false, true) => {
                self.wrong(span, Wrong::TlsTwice);
                Spoken::BehindTlsProxy { trusted }
            }
            (false, false) => Spoken::Tls(files),
            (true, true) => Spoken::BehindTlsProxy { trusted },
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
    pub(super) fn certified(&mut self, span: Span, certificates: &[Arc<CertifiedKey>], host: &Host) {
        let name = host.name();
        if !certificates.is_empty() && !certificates.iter().any(|certificate| is_for(certificate, name)) {
            self.wrong(span, Wrong::NotCertified(name.to_owned()));
        }
    }

    pub(super) fn admin_token(
        &mut self,
        source: Option<&Spanned<SecretSource>>,
        state: &Path,
    ) -> (Option<Secret>, Option<PathBuf>) {
        let Some(source) = source else {
            let path = state.join(ADMIN_TOKEN_FILE);
            if !path.exists() {
                return (None, Some(path));
            }
            let token = self.secret_in(None, path.clone());
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

    pub(super) fn strong(&mut self, span: Span, token: Option<Secret>) -> Option<Secret> {
        let token = token?;
        let strong = token.0.len() >= SHORTEST_TOKEN && token.0.bytes().all(|byte| byte.is_ascii_graphic());
        self.noted(span, if strong { Ok(token) } else { Err(Wrong::WeakToken) })
    }

    pub(super) fn project(&mut self, file: &ConfigFile) -> Project {
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

    pub(super) fn store(&mut self, file: &ConfigFile, state: &Path) -> Option<StoreConfig> {
        let table = &file.store;
        let key_file = match &table.key_file {
            Some(path) => self.beside(path.get_ref()),
            None => state.join("store.key"),
        };
        match Sealer::from_file(&key_file) {
            Ok(_) => self.kept_from_others(table.key_file.as_ref().and_then(span_of), &key_file),
            // `doorward init` makes it, with the database.
            Err(KeyFileError::Missing) => {}
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
}

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
