//! Names of resources: read in every spelling, written in one.

use std::fmt::Write as _;

use super::{Ancestor, Application, ONLY_VERSION, Project, Resource, ServiceKind, ServiceType};
use crate::account::UniqueId;

/// A name that leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResourceError {
    /// Not a name of the tree.
    #[error("not a resource name")]
    Malformed,
    /// A well-formed name of a project, folder, organization, service or version that is not here.
    #[error("no such resource")]
    NotFound,
}

impl Resource {
    /// Reads a resource name as clients write it: the project by id or number, a service by id or name. Only what is there is
    /// found; a place of the tunnel side is there if its name is well formed.
    ///
    /// Names of service accounts are not read: who owns an address is for the store to say.
    ///
    /// # Errors
    /// [`ResourceError::Malformed`] before [`ResourceError::NotFound`], so that a strange project tells nothing more.
    pub fn parse<'a>(
        name: &str,
        project: &Project,
        applications: impl IntoIterator<Item = &'a Application>,
    ) -> Result<Self, ResourceError> {
        let (resource, is_here) = read(name, project)?;
        let resource = match resource {
            Resource::ServiceAccount { .. } => return Err(ResourceError::Malformed),
            Resource::WebService(kind, service) => found(&kind, &service, None, applications).map(|app| app.service()),
            Resource::WebServiceVersion(kind, service, version) => {
                found(&kind, &service, Some(&version), applications).map(|app| app.version())
            }
            other => Some(other),
        };
        resource.filter(|_| is_here).ok_or(ResourceError::NotFound)
    }

    /// Reads a name that [`Resource::name`] wrote. Services and accounts need not be there.
    pub fn from_canonical(name: &str, project: &Project) -> Result<Self, ResourceError> {
        match read(name, project)? {
            (resource, true) => Ok(resource),
            (_, false) => Err(ResourceError::NotFound),
        }
    }

    /// Reads a name by its form alone: what it names may be in another project, and need not be there.
    pub fn of_form(name: &str, project: &Project) -> Result<Self, ResourceError> {
        Ok(read(name, project)?.0)
    }

    /// The canonical name, with the project's number.
    pub fn name(&self, project: &Project) -> String {
        let mut name = format!("projects/{}", project.number);
        // Writing to a string does not fail.
        let _ = match self {
            Resource::Organization(number) => return format!("organizations/{number}"),
            Resource::Folder(number) => return format!("folders/{number}"),
            Resource::Project => Ok(()),
            Resource::Web => write!(name, "/iap_web"),
            Resource::WebType(kind) => write!(name, "/iap_web/{}", type_segment(kind, project)),
            Resource::WebService(kind, service) => {
                write!(name, "/iap_web/{}/services/{service}", type_segment(kind, project))
            }
            Resource::WebServiceVersion(kind, service, version) => {
                write!(name, "/iap_web/{}/services/{service}/versions/{version}", type_segment(kind, project))
            }
            Resource::Tunnel => write!(name, "/iap_tunnel"),
            Resource::TunnelZone(zone) => write!(name, "/iap_tunnel/zones/{zone}"),
            Resource::TunnelInstance(zone, instance) => write!(name, "/iap_tunnel/zones/{zone}/instances/{instance}"),
            Resource::TunnelLocation(region) => write!(name, "/iap_tunnel/locations/{region}"),
            Resource::TunnelDestGroup(region, group) => {
                write!(name, "/iap_tunnel/locations/{region}/destGroups/{group}")
            }
            Resource::ServiceAccount { unique_id } => write!(name, "/serviceAccounts/{}", unique_id.0),
        };
        name
    }
}

/// The application that a service's id or name means, and for App Engine its version.
fn found<'a>(
    kind: &ServiceType,
    service: &str,
    version: Option<&str>,
    applications: impl IntoIterator<Item = &'a Application>,
) -> Option<&'a Application> {
    applications.into_iter().filter(|app| app.service_type() == *kind).find(|app| match &app.kind {
        ServiceKind::BackendService { .. } => {
            (app.service_id == service || app.name.as_str() == service) && version.is_none_or(|it| it == ONLY_VERSION)
        }
        ServiceKind::CloudRun { .. } => app.name.as_str() == service && version.is_none_or(|it| it == ONLY_VERSION),
        ServiceKind::AppEngine { service: own, version: own_version } => {
            own == service && version.is_none_or(|it| it == own_version)
        }
    })
}

/// Reads a name by its form alone, and says whether the project, folder or organization in it is ours.
fn read(name: &str, project: &Project) -> Result<(Resource, bool), ResourceError> {
    const MALFORMED: ResourceError = ResourceError::Malformed;
    let parts: Vec<&str> = name.split('/').collect();
    // No part is longer than a host label of Google's, and none holds what a name could be broken with.
    let part = |it: &&str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':');
        !it.is_empty() && it.len() <= 128 && it.bytes().all(plain)
    };
    if !parts.iter().all(part) {
        return Err(MALFORMED);
    }
    let digits = |it: &str| it.bytes().all(|b| b.is_ascii_digit());
    let (project_name, rest) = match parts[..] {
        ["organizations", number] if digits(number) => {
            let here = project.ancestors.contains(&Ancestor::Organization(number.to_owned()));
            return Ok((Resource::Organization(number.to_owned()), here));
        }
        ["folders", number] if digits(number) => {
            let here = project.ancestors.contains(&Ancestor::Folder(number.to_owned()));
            return Ok((Resource::Folder(number.to_owned()), here));
        }
        ["projects", project_name, ref rest @ ..] => (project_name, rest),
        _ => return Err(MALFORMED),
    };
    let service_type = |segment: &str| type_of(segment, project);
    let mut here = project_name == project.id || project_name == project.number;
    let resource = match *rest {
        [] => Resource::Project,
        ["iap_web"] => Resource::Web,
        ["iap_web", ref inside @ ..] => {
            let (segment, inside) = inside.split_first().ok_or(MALFORMED)?;
            let Some(kind) = service_type(segment)? else {
                here = false;
                return Ok((Resource::Web, here));
            };
            match *inside {
                [] => Resource::WebType(kind),
                ["services", service] => Resource::WebService(kind, service.to_owned()),
                ["services", service, "versions", version] => {
                    Resource::WebServiceVersion(kind, service.to_owned(), version.to_owned())
                }
                _ => return Err(MALFORMED),
            }
        }
        ["iap_tunnel"] => Resource::Tunnel,
        ["iap_tunnel", "zones", zone] => Resource::TunnelZone(zone.to_owned()),
        ["iap_tunnel", "zones", zone, "instances", instance] => {
            Resource::TunnelInstance(zone.to_owned(), instance.to_owned())
        }
        ["iap_tunnel", "locations", region] => Resource::TunnelLocation(region.to_owned()),
        ["iap_tunnel", "locations", region, "destGroups", group] => {
            Resource::TunnelDestGroup(region.to_owned(), group.to_owned())
        }
        ["serviceAccounts", id] if digits(id) => Resource::ServiceAccount { unique_id: UniqueId(id.to_owned()) },
        _ => return Err(MALFORMED),
    };
    Ok((resource, here))
}

/// What a segment below `iap_web` means; `None` for the App Engine application of another project.
fn type_of(segment: &str, project: &Project) -> Result<Option<ServiceType>, ResourceError> {
    let (kind, rest) = match segment.split_once('-') {
        Some((kind, rest)) if !rest.is_empty() => (kind, Some(rest)),
        Some(_) => return Err(ResourceError::Malformed),
        None => (segment, None),
    };
    let region = || rest.map(str::to_owned);
    match (kind, rest) {
        ("compute", _) => Ok(Some(ServiceType::Compute { region: region() })),
        ("forwarding_rule", _) => Ok(Some(ServiceType::ForwardingRule { region: region() })),
        ("cloud_run", Some(region)) => Ok(Some(ServiceType::CloudRun { region: region.to_owned() })),
        ("appengine", Some(app)) => Ok((app == project.id || app == project.number).then_some(ServiceType::AppEngine)),
        _ => Err(ResourceError::Malformed),
    }
}

fn type_segment(kind: &ServiceType, project: &Project) -> String {
    match kind {
        ServiceType::Compute { region: None } => "compute".to_owned(),
        ServiceType::Compute { region: Some(region) } => format!("compute-{region}"),
        ServiceType::AppEngine => format!("appengine-{}", project.id),
        ServiceType::CloudRun { region } => format!("cloud_run-{region}"),
        ServiceType::ForwardingRule { region: None } => "forwarding_rule".to_owned(),
        ServiceType::ForwardingRule { region: Some(region) } => format!("forwarding_rule-{region}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::application::tests::application;

    fn project() -> Project {
        let ancestors =
            vec![Ancestor::Folder("22".into()), Ancestor::Folder("21".into()), Ancestor::Organization("1".into())];
        Project { id: "dev-project".into(), number: "123".into(), ancestors }
    }

    fn applications() -> Vec<Application> {
        vec![
            application("app", "777", ServiceKind::BackendService { region: None }),
            application("regional", "778", ServiceKind::BackendService { region: Some("europe-west1".into()) }),
            application("run", "779", ServiceKind::CloudRun { region: "europe-west1".into() }),
            application("ae", "780", ServiceKind::AppEngine { service: "default".into(), version: "v1".into() }),
        ]
    }

    #[test]
    fn a_resource_is_read_by_id_or_name_and_written_with_numbers() {
        use ResourceError::{Malformed, NotFound};
        #[rustfmt::skip]
        let cases = [
            ("organizations/1",                                            Ok("organizations/1")),
            ("organizations/2",                                            Err(NotFound)),
            ("folders/21",                                                 Ok("folders/21")),
            ("folders/1",                                                  Err(NotFound)),
            ("folders/x",                                                  Err(Malformed)),
            ("projects/dev-project",                                       Ok("projects/123")),
            ("projects/123/iap_web",                                       Ok("projects/123/iap_web")),
            ("projects/124/iap_web",                                       Err(NotFound)),
            ("projects/dev-project/iap_web/compute",                       Ok("projects/123/iap_web/compute")),
            ("projects/123/iap_web/compute-us-central1",                   Ok("projects/123/iap_web/compute-us-central1")),
            ("projects/dev-project/iap_web/compute/services/app",          Ok("projects/123/iap_web/compute/services/777")),
            ("projects/123/iap_web/compute/services/777",                  Ok("projects/123/iap_web/compute/services/777")),
            ("projects/123/iap_web/compute/services/777/versions/bs_0",    Ok("projects/123/iap_web/compute/services/777/versions/bs_0")),
            ("projects/123/iap_web/compute/services/777/versions/v1",      Err(NotFound)),
            ("projects/123/iap_web/compute/services/regional",             Err(NotFound)),
            ("projects/123/iap_web/compute/services/other",                Err(NotFound)),
            ("projects/124/iap_web/compute/services/777",                  Err(NotFound)),
            ("projects/123/iap_web/compute-europe-west1/services/regional", Ok("projects/123/iap_web/compute-europe-west1/services/778")),
            ("projects/123/iap_web/compute-europe-west2/services/regional", Err(NotFound)),
            ("projects/123/iap_web/compute-",                              Err(Malformed)),
            ("projects/123/iap_web/forwarding_rule",                       Ok("projects/123/iap_web/forwarding_rule")),
            ("projects/123/iap_web/forwarding_rule-r/services/x",          Err(NotFound)),
            ("projects/123/iap_web/cloud_run",                             Err(Malformed)),
            ("projects/123/iap_web/cloud_run-europe-west1/services/run",   Ok("projects/123/iap_web/cloud_run-europe-west1/services/run")),
            ("projects/123/iap_web/cloud_run-europe-west1/services/779",   Err(NotFound)),
            ("projects/123/iap_web/appengine-dev-project",                 Ok("projects/123/iap_web/appengine-dev-project")),
            ("projects/123/iap_web/appengine-123",                         Ok("projects/123/iap_web/appengine-dev-project")),
            ("projects/123/iap_web/appengine-x",                           Err(NotFound)),
            ("projects/123/iap_web/appengine-dev-project/services/default", Ok("projects/123/iap_web/appengine-dev-project/services/default")),
            ("projects/123/iap_web/appengine-dev-project/services/default/versions/v1", Ok("projects/123/iap_web/appengine-dev-project/services/default/versions/v1")),
            ("projects/123/iap_web/appengine-dev-project/services/default/versions/v2", Err(NotFound)),
            ("projects/123/iap_web/topics",                                Err(Malformed)),
            ("projects/123/iap_tunnel",                                    Ok("projects/123/iap_tunnel")),
            ("projects/dev-project/iap_tunnel/zones/z-a",                  Ok("projects/123/iap_tunnel/zones/z-a")),
            ("projects/123/iap_tunnel/zones/z-a/instances/vm",             Ok("projects/123/iap_tunnel/zones/z-a/instances/vm")),
            ("projects/123/iap_tunnel/locations/r",                        Ok("projects/123/iap_tunnel/locations/r")),
            ("projects/123/iap_tunnel/locations/r/destGroups/g",           Ok("projects/123/iap_tunnel/locations/r/destGroups/g")),
            ("projects/123/iap_tunnel/zones",                              Err(Malformed)),
            ("projects/123/serviceAccounts/42",                            Err(Malformed)),
            ("projects/123/topics/t",                                      Err(Malformed)),
            ("projects/123/iap_web/compute/services/a b",                  Err(Malformed)),
            ("projects/123/iap_web/",                                      Err(Malformed)),
            ("projects/",                                                  Err(Malformed)),
            ("",                                                           Err(Malformed)),
        ];
        for (name, expected) in cases {
            let read = Resource::parse(name, &project(), &applications()).map(|r| r.name(&project()));
            assert_eq!(read, expected.map(str::to_owned), "{name}");
        }
    }

    #[test]
    fn a_canonical_name_is_read_back_and_its_lineage_leads_to_the_organization() {
        #[rustfmt::skip]
        let cases = [
            ("organizations/1",                 "organizations/1"),
            ("folders/22",                      "folders/22 < folders/21 < organizations/1"),
            ("projects/123",                    "projects/123 < folders/22 < folders/21 < organizations/1"),
            ("projects/123/serviceAccounts/42", "projects/123/serviceAccounts/42 < projects/123 < folders/22 < folders/21 < organizations/1"),
            ("projects/123/iap_tunnel/zones/z/instances/i", "projects/123/iap_tunnel/zones/z/instances/i < projects/123/iap_tunnel/zones/z < projects/123/iap_tunnel < projects/123 < folders/22 < folders/21 < organizations/1"),
            ("projects/123/iap_web/compute/services/9/versions/bs_0", "projects/123/iap_web/compute/services/9/versions/bs_0 < projects/123/iap_web/compute/services/9 < projects/123/iap_web/compute < projects/123/iap_web < projects/123 < folders/22 < folders/21 < organizations/1"),
        ];
        for (name, expected) in cases {
            let resource = Resource::from_canonical(name, &project()).unwrap();
            let lineage: Vec<String> = resource.lineage(&project()).iter().map(|node| node.name(&project())).collect();
            assert_eq!(lineage.join(" < "), expected);
        }
    }
}
