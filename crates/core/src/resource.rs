//! What is protected: the project, the applications in it, and the names by which policies reach them.
//!
//! The tree is `projects/N` > `projects/N/iap_web` > `projects/N/iap_web/compute` > `…/services/ID`, and beside it `projects/N` >
//! `projects/N/serviceAccounts/ID`; policies add up downwards. Names are read with the project's id or number, and the service's id or name, and written with numbers.
//!
//! Spec: <https://cloud.google.com/iap/docs/managing-access>

use std::fmt;

use crate::account::UniqueId;

/// A project, in both its spellings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// For people: 6 to 30 characters.
    pub id: String,
    /// For programs: decimal digits.
    pub number: String,
}

/// An OAuth client id: the audience that a token for an application must carry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClientId(pub String);

/// An application that is registered: what stays when addresses change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Application {
    /// The name of its backend service, as gcloud takes it: `[a-z]([-a-z0-9]*[a-z0-9])?`, at most 63 characters.
    pub name: String,
    /// The number of its backend service.
    pub service_id: String,
    /// `NUMBER-x.apps.googleusercontent.com`.
    pub client_id: ClientId,
}

impl Application {
    /// `/projects/NUMBER/global/backendServices/ID`: `aud` in the signed header.
    ///
    /// Spec: <https://cloud.google.com/iap/docs/signed-headers-howto>
    pub fn audience(&self, project: &Project) -> String {
        format!("/projects/{}/global/backendServices/{}", project.number, self.service_id)
    }

    /// Its place in the tree.
    pub fn resource(&self) -> Resource {
        Resource::Service { service_id: self.service_id.clone() }
    }
}

/// A node of the tree that carries a policy, within the one project.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Resource {
    /// `projects/N`
    Project,
    /// `projects/N/iap_web`
    Web,
    /// `projects/N/iap_web/compute`
    Compute,
    /// `projects/N/iap_web/compute/services/ID`
    Service {
        /// The backend service's number.
        service_id: String,
    },
    /// `projects/N/serviceAccounts/ID`: a policy here says who may act as the account.
    ServiceAccount {
        /// The account's number: its address may be given to another account one day.
        unique_id: UniqueId,
    },
}

/// A name that leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResourceError {
    /// Not a name of the tree.
    #[error("not a resource name")]
    Malformed,
    /// A well-formed name of a project or service that is not here.
    #[error("no such resource")]
    NotFound,
}

impl Resource {
    /// Reads a resource name. `applications` are those of `project`.
    pub fn parse(name: &str, project: &Project, applications: &[Application]) -> Result<Self, ResourceError> {
        let rest = name.strip_prefix("projects/").ok_or(ResourceError::Malformed)?;
        let (project_name, rest) = rest.split_once('/').unwrap_or((rest, ""));
        if project_name.is_empty() {
            return Err(ResourceError::Malformed);
        }
        let resource = match rest.split('/').collect::<Vec<_>>()[..] {
            [""] => Resource::Project,
            ["iap_web"] => Resource::Web,
            ["iap_web", "compute"] => Resource::Compute,
            ["iap_web", "compute", "services", service] if !service.is_empty() => {
                let found = applications.iter().find(|app| app.service_id == service || app.name == service);
                found.ok_or(ResourceError::NotFound)?.resource()
            }
            ["iap_web", ..] => return Err(ResourceError::NotFound),
            _ => return Err(ResourceError::Malformed),
        };
        if project_name != project.id && project_name != project.number {
            return Err(ResourceError::NotFound);
        }
        Ok(resource)
    }

    /// The canonical name, with the project's number.
    pub fn name(&self, project: &Project) -> String {
        let number = &project.number;
        match self {
            Resource::Project => format!("projects/{number}"),
            Resource::Web => format!("projects/{number}/iap_web"),
            Resource::Compute => format!("projects/{number}/iap_web/compute"),
            Resource::Service { service_id } => format!("projects/{number}/iap_web/compute/services/{service_id}"),
            Resource::ServiceAccount { unique_id } => format!("projects/{number}/serviceAccounts/{}", unique_id.0),
        }
    }

    /// This node and those above it, nearest first: a grant on any of them reaches this one.
    pub fn lineage(&self) -> Vec<Resource> {
        let above = [Resource::Compute, Resource::Web, Resource::Project];
        let skip = match self {
            Resource::Service { .. } => return std::iter::once(self.clone()).chain(above).collect(),
            Resource::ServiceAccount { .. } => return vec![self.clone(), Resource::Project],
            Resource::Compute => 0,
            Resource::Web => 1,
            Resource::Project => 2,
        };
        above.into_iter().skip(skip).collect()
    }
}

/// A host as it is compared: lower case, without a trailing dot, with the port if one was given.
///
/// `Foo.Example.` and `foo.example` are one host, so that no spelling escapes a rule for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Host(String);

/// A text that is not one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a host")]
pub struct HostError;

impl Host {
    /// Reads the value of a `Host` field or an authority: `name`, `name:port`, `1.2.3.4:port` or `[v6]:port`. User
    /// information, lists, paths, spaces, an empty or out-of-range port and bytes beyond ASCII are refused.
    pub fn parse(text: &str) -> Result<Self, HostError> {
        let (name, port) = match text.rfind(':') {
            Some(colon) if !text[colon..].contains(']') => (&text[..colon], Some(&text[colon + 1..])),
            _ => (text, None),
        };
        if let Some(port) = port {
            let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) && !port.starts_with('0');
            if !digits || port.parse::<u16>().is_err() {
                return Err(HostError);
            }
        }
        let name = name.strip_suffix('.').unwrap_or(name);
        let bracketed = name.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
        let good = match bracketed {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => {
                !name.is_empty()
                    && name.len() <= 253
                    && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
                    && !name.starts_with('.')
                    && !name.ends_with('.')
                    && !name.contains("..")
            }
        };
        if !good {
            return Err(HostError);
        }
        let name = name.to_ascii_lowercase();
        Ok(Host(port.map_or(name.clone(), |port| format!("{name}:{port}"))))
    }

    /// The host with its port.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host without its port.
    pub fn name(&self) -> &str {
        match self.0.rfind(':') {
            Some(colon) if !self.0[colon..].contains(']') => &self.0[..colon],
            _ => &self.0,
        }
    }
}

/// How an application is spoken to by those outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plain.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// In lower case, without the colon.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    /// The port that a URL of this scheme leaves out.
    fn default_port(self) -> &'static str {
        match self {
            Scheme::Http => ":80",
            Scheme::Https => ":443",
        }
    }
}

/// A configured public origin of an application: scheme, host and port (RFC 6454). Never taken from a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    /// How it is spoken to.
    pub scheme: Scheme,
    /// Its host, with the port if it is not the scheme's own.
    pub host: Host,
}

impl Origin {
    /// An origin; the scheme's own port is left out.
    pub fn new(scheme: Scheme, host: &Host) -> Self {
        let name = host.0.strip_suffix(scheme.default_port()).unwrap_or(&host.0);
        Origin { scheme, host: Host(name.to_owned()) }
    }

    /// Every `Host` by which a request may name it: without a port, also the one with the scheme's own.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = Host> + use<> {
        let bare = self.host.name() == self.host.0;
        let spelled_out = bare.then(|| Host(format!("{}{}", self.host.0, self.scheme.default_port())));
        std::iter::once(self.host.clone()).chain(spelled_out)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.host)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_one_spelling_and_a_broken_one_has_none() {
        #[rustfmt::skip]
        let cases = [
            ("App.Example.com",       Some("app.example.com")),
            ("app.example.com.",      Some("app.example.com")),
            ("app.example.com.:8080", Some("app.example.com:8080")),
            ("127.0.0.1:8080",        Some("127.0.0.1:8080")),
            ("[::1]:8080",            Some("[::1]:8080")),
            ("[::1]",                 Some("[::1]")),
            ("",                      None),
            (".",                     None),
            ("a..b",                  None),
            ("a.example:",            None),
            ("a.example:0",           None),
            ("a.example:080",         None),
            ("a.example:65536",       None),
            ("a.example:80:80",       None),
            ("user@a.example",        None),
            ("a.example/path",        None),
            ("a.example, b.example",  None),
            ("a example",             None),
            ("[::1",                  None),
            ("::1",                   None),
            ("caf\u{e9}.fr",          None),
        ];
        for (text, expected) in cases {
            assert_eq!(Host::parse(text).ok().map(|host| host.0).as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_resource_is_read_by_id_or_name_and_written_with_numbers() {
        use ResourceError::{Malformed, NotFound};
        let project = Project { id: "dev-project".into(), number: "123".into() };
        let app = Application { name: "app".into(), service_id: "777".into(), client_id: ClientId("c".into()) };
        #[rustfmt::skip]
        let cases = [
            ("projects/dev-project",                              Ok("projects/123")),
            ("projects/123/iap_web",                              Ok("projects/123/iap_web")),
            ("projects/dev-project/iap_web/compute",              Ok("projects/123/iap_web/compute")),
            ("projects/dev-project/iap_web/compute/services/app", Ok("projects/123/iap_web/compute/services/777")),
            ("projects/123/iap_web/compute/services/777",         Ok("projects/123/iap_web/compute/services/777")),
            ("projects/123/iap_web/compute/services/other",       Err(NotFound)),
            ("projects/124/iap_web",                              Err(NotFound)),
            ("projects/123/iap_web/appengine-x",                  Err(NotFound)),
            ("projects/123/topics/t",                             Err(Malformed)),
            ("projects/",                                         Err(Malformed)),
            ("folders/1",                                         Err(Malformed)),
        ];
        for (name, expected) in cases {
            let read = Resource::parse(name, &project, std::slice::from_ref(&app)).map(|r| r.name(&project));
            assert_eq!(read, expected.map(str::to_owned), "{name}");
        }
    }
}
