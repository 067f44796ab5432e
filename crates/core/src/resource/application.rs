//! Applications: what is registered, what kind of backend each one stands for, and the audience that follows from it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::policy::Etag;

use super::{ClientId, ONLY_VERSION, Project, Resource, Route, ServiceType};

/// What an application is in Google's terms. Its resource, the signed header's `aud` and gcloud's `--resource-type` follow.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ServiceKind {
    /// A backend service of a load balancer.
    BackendService {
        /// `None` is global.
        region: Option<String>,
    },
    /// A version of an App Engine service.
    AppEngine {
        /// The service: `default` and the like.
        service: String,
        /// The version.
        version: String,
    },
    /// A Cloud Run service. Its name is the application's.
    CloudRun {
        /// The region.
        region: String,
    },
}

/// An application that is registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Application {
    /// Its name within the project, as gcloud takes it.
    pub name: ApplicationName,
    /// Its number: decimal digits, never given to another application.
    pub service_id: String,
    /// What it stands for.
    pub kind: ServiceKind,
    /// `NUMBER-x.apps.googleusercontent.com`: the audience of tokens for it. Several applications may share one.
    pub client_id: ClientId,
    /// Whether callers are let in at all. We never pass a request through unchecked, so without it nobody is.
    pub iap_enabled: bool,
    /// Where it is reached.
    pub routes: Vec<Route>,
    /// Where it runs: URLs, of which each request takes one.
    pub upstreams: Vec<String>,
    /// Free text.
    pub description: String,
    /// Free pairs.
    pub labels: BTreeMap<String, String>,
    /// Its state: `fingerprint` on the wire.
    pub etag: Etag,
}

impl Application {
    /// `aud` in the signed header.
    ///
    /// Spec: <https://cloud.google.com/iap/docs/signed-headers-howto#verifying_the_jwt_payload>
    pub fn audience(&self, project: &Project) -> String {
        let number = &project.number;
        match &self.kind {
            ServiceKind::BackendService { region: None } => {
                format!("/projects/{number}/global/backendServices/{}", self.service_id)
            }
            ServiceKind::BackendService { region: Some(region) } => {
                format!("/projects/{number}/{region}/backendServices/{}", self.service_id)
            }
            ServiceKind::AppEngine { .. } => format!("/projects/{number}/apps/{}", project.id),
            ServiceKind::CloudRun { region } => {
                format!("/projects/{number}/locations/{region}/services/{}", self.name)
            }
        }
    }

    /// What stands above its service.
    pub fn service_type(&self) -> ServiceType {
        match &self.kind {
            ServiceKind::BackendService { region } => ServiceType::Compute { region: region.clone() },
            ServiceKind::AppEngine { .. } => ServiceType::AppEngine,
            ServiceKind::CloudRun { region } => ServiceType::CloudRun { region: region.clone() },
        }
    }

    /// Its service: what policies are usually set on.
    pub fn service(&self) -> Resource {
        let id = match &self.kind {
            ServiceKind::BackendService { .. } => self.service_id.clone(),
            ServiceKind::AppEngine { service, .. } => service.clone(),
            ServiceKind::CloudRun { .. } => self.name.as_str().to_owned(),
        };
        Resource::WebService(self.service_type(), id)
    }

    /// Its version: where requests are decided.
    pub fn version(&self) -> Resource {
        let version = match &self.kind {
            ServiceKind::BackendService { .. } | ServiceKind::CloudRun { .. } => ONLY_VERSION.to_owned(),
            ServiceKind::AppEngine { version, .. } => version.clone(),
        };
        match self.service() {
            Resource::WebService(kind, service) => Resource::WebServiceVersion(kind, service, version),
            other => other,
        }
    }
}

/// The name of an application: `[a-z]([-a-z0-9]*[a-z0-9])?`, at most 63 characters (RFC 1035 section 2.3.1).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ApplicationName(String);

/// A text that is not an [`ApplicationName`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a name has 1 to 63 of a-z, 0-9 and '-', begins with a letter and does not end with '-'")]
pub struct ApplicationNameError;

impl ApplicationName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ApplicationName {
    type Err = ApplicationNameError;

    fn from_str(text: &str) -> Result<Self, ApplicationNameError> {
        let allowed = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let starts = text.starts_with(|first: char| first.is_ascii_lowercase());
        if !allowed || !starts || text.ends_with('-') || text.len() > 63 {
            return Err(ApplicationNameError);
        }
        Ok(ApplicationName(text.to_owned()))
    }
}

impl fmt::Display for ApplicationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An application without routes.
    pub(crate) fn application(name: &str, service_id: &str, kind: ServiceKind) -> Application {
        Application {
            name: name.parse().unwrap(),
            service_id: service_id.to_owned(),
            kind,
            client_id: ClientId(format!("{name}.apps.googleusercontent.com")),
            iap_enabled: true,
            routes: Vec::new(),
            upstreams: Vec::new(),
            description: String::new(),
            labels: BTreeMap::new(),
            etag: Etag::UNWRITTEN,
        }
    }

    #[test]
    fn audience_and_resource_follow_from_the_kind() {
        let project = Project { id: "dev-project".into(), number: "123".into(), ancestors: vec![] };
        let app_engine = ServiceKind::AppEngine { service: "default".into(), version: "v1".into() };
        #[rustfmt::skip]
        let cases = [
            (ServiceKind::BackendService { region: None },                 "/projects/123/global/backendServices/777",        "projects/123/iap_web/compute/services/777/versions/bs_0"),
            (ServiceKind::BackendService { region: Some("eu-a1".into()) }, "/projects/123/eu-a1/backendServices/777",         "projects/123/iap_web/compute-eu-a1/services/777/versions/bs_0"),
            (app_engine,                                                   "/projects/123/apps/dev-project",                  "projects/123/iap_web/appengine-dev-project/services/default/versions/v1"),
            (ServiceKind::CloudRun { region: "eu-a1".into() },             "/projects/123/locations/eu-a1/services/wiki",     "projects/123/iap_web/cloud_run-eu-a1/services/wiki/versions/bs_0"),
        ];
        for (kind, audience, name) in cases {
            let it = application("wiki", "777", kind);
            assert_eq!((it.audience(&project).as_str(), it.version().name(&project).as_str()), (audience, name));
            assert_eq!(it.version().parent(&project), Some(it.service()));
        }
    }
}
