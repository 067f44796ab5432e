//! Applications of the file.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use doorward_control::applications::{ApplicationError, OwnHosts, WrittenKind, is_word, kind};
use doorward_control::settings::check;
use doorward_core::member::{Member, MemberError};
use doorward_core::policy::{GROUPS_LIMIT, PRINCIPALS_LIMIT};
use doorward_core::resource::{
    ApplicationName, Host, Origin, PathPrefix, Route, Scheme, ServiceKind, without_credentials,
};
use doorward_proxy::Upstream;
use doorward_wire::doorward_api::ApplicationKind;
use doorward_wire::google_api::iap_settings::IapSettings;
use doorward_wire::world_file::WrittenSettings;
use rustls::sign::CertifiedKey;
use toml::Spanned;

use super::{AppConfig, ListenerConfig, Reading, Span, Wrong, span_of};
use crate::config_file::{AppKind, AppTable};
use crate::dev::names::reserved_hosts;

impl Reading<'_> {
    pub(super) fn applications(
        &mut self,
        tables: &[Spanned<AppTable>],
        listener: Option<&(ListenerConfig, Vec<Arc<CertifiedKey>>)>,
        own: Option<&Host>,
    ) -> Vec<AppConfig> {
        let scheme = listener.map(|(listener, _)| listener.scheme());
        let certificates = listener.map_or(&[][..], |(_, certificates)| certificates);
        let reserved = reserved_hosts(OwnHosts::Names(own.into_iter().cloned().collect()));
        let mut names = BTreeSet::new();
        let mut places: BTreeMap<(String, PathPrefix), String> = BTreeMap::new();
        let mut applications = Vec::new();
        for table in tables {
            let (span, line) = (span_of(table), self.line(&table.span()));
            let app = table.get_ref();
            let origins = self.origins(app, span.clone(), scheme);
            for (at, origin) in &origins {
                self.certified(at.clone(), certificates, &origin.host);
                self.noted(at.clone(), reserved.check(&origin.host).map_err(Wrong::from));
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
                let shown = without_credentials(text.get_ref()).into_owned();
                self.wrong(span_of(text), Wrong::Upstream { text: shown, cause });
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
        let of = app.kind.as_ref().map_or(AppKind::default(), |kind| *kind.get_ref());
        let (of, word) = match of {
            AppKind::BackendService => (ApplicationKind::BackendService, "backend_service"),
            AppKind::AppEngine => (ApplicationKind::AppEngine, "app_engine"),
            AppKind::CloudRun => (ApplicationKind::CloudRun, "cloud_run"),
        };
        let given = [("region", &app.region), ("service", &app.service), ("version", &app.version)];
        for (_, value) in given {
            if let Some(value) = value.as_ref().filter(|value| !is_word(value.get_ref())) {
                self.wrong(span_of(value), Wrong::Segment(value.get_ref().clone()));
            }
        }
        let [region, service, version] = given.map(|(_, value)| value.as_ref().map(|value| value.get_ref().as_str()));
        match kind(WrittenKind { kind: of, region, service, version }) {
            Ok(kind) => return Some(kind),
            // It is said above.
            Err(ApplicationError::Word { .. }) => {}
            Err(ApplicationError::Missing(name)) => self.missing(span, name),
            Err(ApplicationError::FieldOfAnotherKind(name)) => {
                let at = given.into_iter().find(|(given, _)| *given == name).and_then(|(_, value)| value.as_ref());
                self.wrong(at.map_or(span, span_of), Wrong::NotForKind { name, kind: word });
            }
            Err(cause) => self.wrong(span, Wrong::Kind(cause)),
        }
        None
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
        let settings = self.noted(span_of(table), written)?.settings;
        self.noted(span_of(table), check(&settings).map_err(Wrong::SettingsRefused))?;
        Some(settings)
    }
}

/// The name that an application has if it is given none.
pub(super) fn name_of(host: &Host) -> Option<ApplicationName> {
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
