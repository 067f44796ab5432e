//! What is said of an application, read and checked; and how it is shown.

use std::collections::{BTreeMap, HashSet};

use doorward_core::resource::{
    Application, Host, Origin, PathPrefix, Project, Route, Scheme, ServiceKind, UpstreamAddress, UpstreamError,
    without_credentials,
};
use doorward_wire::doorward_api::{ApplicationKind, ApplicationResource};

use super::ApplicationError;
use crate::etags;

/// Places of one application: hosts times prefixes, at most.
pub const PLACES_LIMIT: usize = 500;
/// Upstreams of one application, at most.
pub const UPSTREAMS_LIMIT: usize = 50;
/// The longest URL of an upstream, in bytes.
pub const UPSTREAM_LIMIT: usize = 2048;
/// The longest description, in bytes.
pub const DESCRIPTION_LIMIT: usize = 2048;
/// Labels of one application, at most.
///
/// Spec: <https://cloud.google.com/compute/docs/labeling-resources#requirements>
pub const LABELS_LIMIT: usize = 64;

/// Reads where an application is reached. A host without a scheme is one over TLS; without a prefix, all of a host is meant.
pub(crate) fn routes(hosts: &[String], prefixes: &[String]) -> Result<Vec<Route>, ApplicationError> {
    let mut origins = Vec::new();
    let mut seen = HashSet::new();
    for text in hosts {
        let origin = origin(text)?;
        // By whichever scheme: requests find an application by their `Host`, which does not name it.
        if !seen.insert(origin.host.as_str().to_owned()) {
            return Err(ApplicationError::Twice(text.clone()));
        }
        origins.push(origin);
    }
    let mut paths: Vec<PathPrefix> = Vec::new();
    for text in prefixes {
        let prefix = text.parse().map_err(|_| ApplicationError::PathPrefix(text.clone()))?;
        if paths.contains(&prefix) {
            return Err(ApplicationError::Twice(text.clone()));
        }
        paths.push(prefix);
    }
    if paths.is_empty() {
        paths.push(PathPrefix::root());
    }
    if origins.is_empty() && !prefixes.is_empty() {
        return Err(ApplicationError::PrefixWithoutHost);
    }
    if origins.len().saturating_mul(paths.len()) > PLACES_LIMIT {
        return Err(ApplicationError::TooMany("places"));
    }
    let at = |origin: &Origin| {
        let origin = origin.clone();
        paths.iter().map(move |prefix| Route { origin: origin.clone(), prefix: prefix.clone() }).collect::<Vec<_>>()
    };
    Ok(origins.iter().flat_map(at).collect())
}

fn origin(text: &str) -> Result<Origin, ApplicationError> {
    let (scheme, host) = match text.split_once("://") {
        Some((scheme, host)) if scheme.eq_ignore_ascii_case("https") => (Scheme::Https, host),
        Some((scheme, host)) if scheme.eq_ignore_ascii_case("http") => (Scheme::Http, host),
        Some(_) => return Err(ApplicationError::Host(text.to_owned())),
        None => (Scheme::Https, text),
    };
    let host = Host::parse(host).map_err(|_| ApplicationError::Host(text.to_owned()))?;
    Ok(Origin::new(scheme, &host))
}

/// Checks where an application runs: see [`UpstreamAddress`].
pub(crate) fn upstreams(urls: &[String]) -> Result<Vec<String>, ApplicationError> {
    if urls.len() > UPSTREAMS_LIMIT {
        return Err(ApplicationError::TooMany("upstreams"));
    }
    for (place, url) in urls.iter().enumerate() {
        let checked =
            if url.len() > UPSTREAM_LIMIT { Err(UpstreamError::Malformed) } else { url.parse::<UpstreamAddress>() };
        checked.map_err(|cause| ApplicationError::Upstream { url: without_credentials(url).into_owned(), cause })?;
        if urls.iter().take(place).any(|other| other == url) {
            return Err(ApplicationError::Twice(url.clone()));
        }
    }
    Ok(urls.to_vec())
}

/// Checks a description.
pub(crate) fn description(text: &str) -> Result<String, ApplicationError> {
    let good = text.len() <= DESCRIPTION_LIMIT && !text.chars().any(|it| it.is_control() && it != '\n');
    if good { Ok(text.to_owned()) } else { Err(ApplicationError::Description) }
}

/// Checks labels, as Google's are.
pub(crate) fn labels(labels: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, ApplicationError> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
    let text = |it: &str| it.len() <= 63 && it.bytes().all(plain);
    let good = |(key, value): (&String, &String)| {
        text(key) && key.starts_with(|first: char| first.is_ascii_lowercase()) && text(value)
    };
    if labels.len() > LABELS_LIMIT || !labels.iter().all(good) {
        return Err(ApplicationError::Labels);
    }
    Ok(labels.clone())
}

/// What tells kinds apart, as it is written.
#[derive(Debug, Clone, Copy, Default)]
pub struct WrittenKind<'a> {
    /// The kind.
    pub kind: ApplicationKind,
    /// Of a backend service, if it has one, and of a Cloud Run service.
    pub region: Option<&'a str>,
    /// Of App Engine: `default` where it is not said.
    pub service: Option<&'a str>,
    /// Of App Engine.
    pub version: Option<&'a str>,
}

/// Reads what an application stands for.
///
/// # Errors
/// [`ApplicationError::FieldOfAnotherKind`], [`ApplicationError::Word`] and [`ApplicationError::Missing`].
pub fn kind(written: WrittenKind<'_>) -> Result<ServiceKind, ApplicationError> {
    let WrittenKind { kind, region, service, version } = written;
    let none = |field: &'static str, value: Option<&str>| match value {
        Some(_) => Err(ApplicationError::FieldOfAnotherKind(field)),
        None => Ok(()),
    };
    let word = |field: &'static str, value: &str| match is_word(value) {
        true => Ok(value.to_owned()),
        false => Err(ApplicationError::Word { field, value: value.to_owned() }),
    };
    let needed = |field: &'static str, value: Option<&str>| word(field, value.ok_or(ApplicationError::Missing(field))?);
    match kind {
        ApplicationKind::BackendService => {
            none("service", service)?;
            none("version", version)?;
            Ok(ServiceKind::BackendService { region: region.map(|region| word("region", region)).transpose()? })
        }
        ApplicationKind::AppEngine => {
            none("region", region)?;
            let service = word("service", service.unwrap_or("default"))?;
            Ok(ServiceKind::AppEngine { service, version: needed("version", version)? })
        }
        ApplicationKind::CloudRun => {
            none("service", service)?;
            none("version", version)?;
            Ok(ServiceKind::CloudRun { region: needed("region", region)? })
        }
    }
}

/// A part of a resource's name: 1 to 63 of `a-z`, `0-9` and `-`, with neither end a `-`.
pub fn is_word(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(plain) && !text.starts_with('-') && !text.ends_with('-')
}

/// Checks the number that a backend service brings along: 64 bits, without leading zeros.
pub(crate) fn number(text: &str) -> Result<String, ApplicationError> {
    let good = text.parse::<u64>().is_ok_and(|number| number > 0 && number.to_string() == text);
    if good { Ok(text.to_owned()) } else { Err(ApplicationError::Number(text.to_owned())) }
}

/// The origins of an application, each once.
pub(crate) fn hosts_of(application: &Application) -> Vec<String> {
    let mut hosts: Vec<String> = Vec::new();
    for route in &application.routes {
        let host = route.origin.to_string();
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    hosts
}

/// The prefixes of an application, each once; none if it has all of its hosts.
pub(crate) fn prefixes_of(application: &Application) -> Vec<String> {
    let mut prefixes: Vec<String> = Vec::new();
    for route in &application.routes {
        if !prefixes.iter().any(|known| known == route.prefix.as_str()) {
            prefixes.push(route.prefix.as_str().to_owned());
        }
    }
    prefixes
        .retain(|prefix| prefix != "/" || application.routes.iter().any(|route| route.prefix != PathPrefix::root()));
    prefixes
}

/// What tells its kind from others: kind, region, service, version.
pub fn written_kind(kind: &ServiceKind) -> WrittenKind<'_> {
    match kind {
        ServiceKind::BackendService { region } => {
            WrittenKind { kind: ApplicationKind::BackendService, region: region.as_deref(), ..WrittenKind::default() }
        }
        ServiceKind::AppEngine { service, version } => WrittenKind {
            kind: ApplicationKind::AppEngine,
            service: Some(service),
            version: Some(version),
            ..WrittenKind::default()
        },
        ServiceKind::CloudRun { region } => {
            WrittenKind { kind: ApplicationKind::CloudRun, region: Some(region), ..WrittenKind::default() }
        }
    }
}

/// An application as our API shows it.
pub(crate) fn show(application: &Application, project: &Project) -> ApplicationResource {
    let WrittenKind { kind, region, service, version } = written_kind(&application.kind);
    let is_backend_service = kind == ApplicationKind::BackendService;
    ApplicationResource {
        name: application.name.to_string(),
        kind,
        region: region.map(str::to_owned),
        service: service.map(str::to_owned),
        version: version.map(str::to_owned),
        id: is_backend_service.then(|| application.service_id.clone()),
        description: application.description.clone(),
        labels: application.labels.clone(),
        hosts: hosts_of(application),
        path_prefixes: prefixes_of(application),
        upstreams: application.upstreams.clone(),
        iap_enabled: Some(application.iap_enabled),
        client_id: Some(application.client_id.0.clone()),
        resource: application.service().name(project),
        assertion_audience: application.audience(project),
        etag: etags::encode_text(application.etag),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    /// The variant of an error.
    fn cause(error: &ApplicationError) -> String {
        format!("{error:?}").chars().take_while(char::is_ascii_alphanumeric).collect()
    }

    #[test]
    fn places_are_hosts_times_prefixes_and_each_is_there_once() {
        #[rustfmt::skip]
        let cases = [
            ("wiki.example.com",                        "",         Ok("https://wiki.example.com/")),
            ("HTTPS://Wiki.Example.com.:443",           "/",        Ok("https://wiki.example.com/")),
            ("http://a.test:8080 b.test",               "/x /y/",   Ok("http://a.test:8080/x http://a.test:8080/y https://b.test/x https://b.test/y")),
            ("",                                        "",         Ok("")),
            ("",                                        "/x",       Err("PrefixWithoutHost")),
            ("a.test A.test.",                          "",         Err("Twice")),
            ("http://a.test https://a.test",            "",         Err("Twice")),
            ("a.test",                                  "/x /x/",   Err("Twice")),
            ("a.test/path",                             "",         Err("Host")),
            ("ftp://a.test",                            "",         Err("Host")),
            ("https://user@a.test",                     "",         Err("Host")),
            ("*.a.test",                                "",         Err("Host")),
            ("a.test",                                  "x",        Err("PathPrefix")),
            ("a.test",                                  "/a/../b",  Err("PathPrefix")),
            ("a.test",                                  "/a%2fb",   Err("PathPrefix")),
        ];
        for (hosts, prefixes, expected) in cases {
            let read = routes(&texts(hosts), &texts(prefixes));
            let written = read.map(|routes| {
                let one = |route: &Route| format!("{}{}", route.origin, route.prefix.as_str());
                routes.iter().map(one).collect::<Vec<_>>().join(" ")
            });
            let written = written.map_err(|error| cause(&error));
            assert_eq!(written, expected.map(str::to_owned).map_err(str::to_owned), "{hosts} {prefixes}");
        }
        let many: Vec<String> = (0..=PLACES_LIMIT).map(|number| format!("h{number}.test")).collect();
        assert!(matches!(routes(&many, &[]), Err(ApplicationError::TooMany("places"))));
    }

    #[test]
    fn an_upstream_is_a_url_without_credentials_and_query() {
        #[rustfmt::skip]
        let cases = [
            ("http://10.0.0.7:3000",            true),
            ("https://wiki.internal",           true),
            ("https://wiki.internal/base",      false),
            ("http://[::1]:3000/",              true),
            ("http://user:secret@wiki",         false),
            ("http://wiki/?a=b",                false),
            ("http://wiki?a=b",                 false),
            ("http://wiki/#f",                  false),
            ("http://",                         false),
            ("HTTP://wiki",                     true),
            ("h2c://wiki",                      false),
            ("wiki:3000",                       false),
            ("http://wiki:99999",               false),
            ("http://wiki/a b",                 false),
        ];
        for (url, good) in cases {
            assert_eq!(upstreams(&[url.to_owned()]).is_ok(), good, "{url}");
        }
        assert!(matches!(upstreams(&texts("http://a http://a")), Err(ApplicationError::Twice(_))));
    }

    #[test]
    fn a_kind_takes_what_is_its_own_and_nothing_else() {
        use ApplicationKind as K;
        #[rustfmt::skip]
        let cases = [
            (K::BackendService, None,        None,      None,       "BackendService { region: None }"),
            (K::BackendService, Some("eu"),  None,      None,       "BackendService { region: Some(\"eu\") }"),
            (K::BackendService, Some("EU"),  None,      None,       "Word"),
            (K::BackendService, None,        Some("s"), None,       "FieldOfAnotherKind"),
            (K::AppEngine,      None,        None,      Some("v1"), "AppEngine { service: \"default\", version: \"v1\" }"),
            (K::AppEngine,      None,        Some("s"), Some("20260101t000000"), "AppEngine { service: \"s\", version: \"20260101t000000\" }"),
            (K::AppEngine,      None,        None,      None,       "Missing"),
            (K::AppEngine,      Some("eu"),  None,      Some("v1"), "FieldOfAnotherKind"),
            (K::CloudRun,       Some("eu"),  None,      None,       "CloudRun { region: \"eu\" }"),
            (K::CloudRun,       None,        None,      None,       "Missing"),
            (K::CloudRun,       Some("eu"),  None,      Some("v"),  "FieldOfAnotherKind"),
        ];
        for (of, region, service, version, expected) in cases {
            let read = kind(WrittenKind { kind: of, region, service, version });
            let read = read.map_or_else(|error| cause(&error), |kind| format!("{kind:?}"));
            assert_eq!(read, expected, "{of:?} {region:?} {service:?} {version:?}");
        }
    }

    #[test]
    fn numbers_labels_and_descriptions_have_their_limits() {
        for (text, good) in
            [("1", true), ("18446744073709551615", true), ("0", false), ("01", false), ("18446744073709551616", false)]
        {
            assert_eq!(number(text).is_ok(), good, "{text}");
        }
        let pair = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
        for (key, value, good) in [
            ("team", "web-1_x", true),
            ("team", "", true),
            ("Team", "x", false),
            ("1", "x", false),
            ("team", "X", false),
        ] {
            assert_eq!(labels(&pair(key, value)).is_ok(), good, "{key} {value}");
        }
        for (text, good) in [("a\nb", true), ("a\tb", false), (&"x".repeat(DESCRIPTION_LIMIT + 1), false)] {
            assert_eq!(description(text).is_ok(), good, "{text}");
        }
    }
}
