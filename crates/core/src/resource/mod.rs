//! What is protected: the tree of resources, the applications in it, and the names by which policies reach them.
//!
//! ```text
//! organizations/O > folders/F > projects/N > …/iap_web    > …/compute[-REGION]       > …/services/ID > …/versions/bs_0
//!                                          |              > …/appengine-APP          > …/services/S  > …/versions/V
//!                                          |              > …/cloud_run-REGION       > …/services/S  > …/versions/bs_0
//!                                          |              > …/forwarding_rule[-REGION]
//!                                          > …/iap_tunnel > …/zones/Z > …/instances/I
//!                                          |              > …/locations/R > …/destGroups/G
//!                                          > …/serviceAccounts/ID
//! ```
//!
//! Policies add up downwards, settings override downwards. Requests are decided at the version.
//!
//! Spec: <https://cloud.google.com/iap/docs/managing-access>

mod application;
mod host;
mod name;
mod upstream;

pub use application::{Application, ApplicationName, ApplicationNameError, ServiceKind};
pub use host::{Host, HostError, Origin, PathPrefix, PathPrefixError, Route, Scheme};
pub use name::ResourceError;
pub use upstream::{UpstreamAddress, UpstreamError, is_forbidden_upstream, without_credentials};

use crate::account::UniqueId;

/// A project, in both its spellings, and what it lies in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Project {
    /// For people: 6 to 30 characters.
    pub id: String,
    /// For programs: decimal digits.
    pub number: String,
    /// The folders and the organization that it lies in, nearest first. May be empty.
    pub ancestors: Vec<Ancestor>,
}

/// What a project lies in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Ancestor {
    /// `folders/NUMBER`
    Folder(String),
    /// `organizations/NUMBER`
    Organization(String),
}

impl Ancestor {
    /// Its node.
    pub fn resource(&self) -> Resource {
        match self {
            Ancestor::Folder(number) => Resource::Folder(number.clone()),
            Ancestor::Organization(number) => Resource::Organization(number.clone()),
        }
    }
}

/// An OAuth client id: the audience that a token for an application must carry.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(pub String);

/// What stands between `iap_web` and a service.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ServiceType {
    /// `compute`, `compute-REGION`: backend services.
    Compute {
        /// `None` is global.
        region: Option<String>,
    },
    /// `appengine-APP_ID`: the id is the project's.
    AppEngine,
    /// `cloud_run-REGION`
    CloudRun {
        /// Always regional.
        region: String,
    },
    /// `forwarding_rule`, `forwarding_rule-REGION`
    ForwardingRule {
        /// `None` is global.
        region: Option<String>,
    },
}

/// The version of a service that has none: what Google writes for backend services.
pub const ONLY_VERSION: &str = "bs_0";

/// A node of the tree that carries policies. Those below the project are in the one project.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Resource {
    /// `organizations/NUMBER`
    Organization(String),
    /// `folders/NUMBER`
    Folder(String),
    /// `projects/N`
    Project,
    /// `projects/N/iap_web`
    Web,
    /// `projects/N/iap_web/TYPE`
    WebType(ServiceType),
    /// `projects/N/iap_web/TYPE/services/ID`: the number of a backend service, the name of any other.
    WebService(ServiceType, String),
    /// `projects/N/iap_web/TYPE/services/ID/versions/V`
    WebServiceVersion(ServiceType, String, String),
    /// `projects/N/iap_tunnel`
    Tunnel,
    /// `projects/N/iap_tunnel/zones/Z`
    TunnelZone(String),
    /// `projects/N/iap_tunnel/zones/Z/instances/I`
    TunnelInstance(String, String),
    /// `projects/N/iap_tunnel/locations/R`
    TunnelLocation(String),
    /// `projects/N/iap_tunnel/locations/R/destGroups/G`
    TunnelDestGroup(String, String),
    /// `projects/N/serviceAccounts/ID`: a policy here says who may act as the account.
    ServiceAccount {
        /// The account's number: its address may be given to another account one day.
        unique_id: UniqueId,
    },
}

/// The part of the tree that a node belongs to: roles are granted where they can do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Branch {
    /// Project, folder, organization: everything is below.
    Above,
    /// `iap_web`
    Web,
    /// `iap_tunnel`
    Tunnel,
    /// `serviceAccounts`
    Accounts,
}

impl Resource {
    /// The node above this one.
    pub fn parent(&self, project: &Project) -> Option<Resource> {
        let above = |place: usize| project.ancestors.get(place).map(Ancestor::resource);
        match self {
            Resource::WebServiceVersion(kind, service, _) => Some(Resource::WebService(kind.clone(), service.clone())),
            Resource::WebService(kind, _) => Some(Resource::WebType(kind.clone())),
            Resource::WebType(_) => Some(Resource::Web),
            Resource::TunnelInstance(zone, _) => Some(Resource::TunnelZone(zone.clone())),
            Resource::TunnelDestGroup(region, _) => Some(Resource::TunnelLocation(region.clone())),
            Resource::TunnelZone(_) | Resource::TunnelLocation(_) => Some(Resource::Tunnel),
            Resource::Web | Resource::Tunnel | Resource::ServiceAccount { .. } => Some(Resource::Project),
            Resource::Project => above(0),
            Resource::Folder(_) | Resource::Organization(_) => {
                let here = project.ancestors.iter().position(|ancestor| ancestor.resource() == *self)?;
                above(here + 1)
            }
        }
    }

    /// This node and those above it, nearest first: a grant on any of them reaches this one.
    pub fn lineage(&self, project: &Project) -> Vec<Resource> {
        std::iter::successors(Some(self.clone()), |node| node.parent(project)).collect()
    }

    /// The part of the tree that it belongs to.
    pub fn branch(&self) -> Branch {
        match self {
            Resource::Organization(_) | Resource::Folder(_) | Resource::Project => Branch::Above,
            Resource::Web | Resource::WebType(_) | Resource::WebService(..) | Resource::WebServiceVersion(..) => {
                Branch::Web
            }
            Resource::Tunnel
            | Resource::TunnelZone(_)
            | Resource::TunnelInstance(..)
            | Resource::TunnelLocation(_)
            | Resource::TunnelDestGroup(..) => Branch::Tunnel,
            Resource::ServiceAccount { .. } => Branch::Accounts,
        }
    }

    /// `resource.service` in conditions: who serves this kind of node.
    ///
    /// Spec: <https://cloud.google.com/iam/docs/conditions-attribute-reference#resource-service>
    pub fn service(&self) -> &'static str {
        match self.branch() {
            Branch::Above => "cloudresourcemanager.googleapis.com",
            Branch::Web | Branch::Tunnel => "iap.googleapis.com",
            Branch::Accounts => "iam.googleapis.com",
        }
    }

    /// `resource.type` in conditions and records.
    pub fn type_name(&self) -> &'static str {
        match self {
            Resource::Organization(_) => "cloudresourcemanager.googleapis.com/Organization",
            Resource::Folder(_) => "cloudresourcemanager.googleapis.com/Folder",
            Resource::Project => "cloudresourcemanager.googleapis.com/Project",
            Resource::Web => "iap.googleapis.com/Web",
            Resource::WebType(_) => "iap.googleapis.com/WebType",
            Resource::WebService(..) => "iap.googleapis.com/WebService",
            Resource::WebServiceVersion(..) => "iap.googleapis.com/WebServiceVersion",
            Resource::Tunnel => "iap.googleapis.com/Tunnel",
            Resource::TunnelZone(_) => "iap.googleapis.com/TunnelZone",
            Resource::TunnelInstance(..) => "iap.googleapis.com/TunnelInstance",
            Resource::TunnelLocation(_) => "iap.googleapis.com/TunnelLocation",
            Resource::TunnelDestGroup(..) => "iap.googleapis.com/TunnelDestGroup",
            Resource::ServiceAccount { .. } => "iam.googleapis.com/ServiceAccount",
        }
    }
}
