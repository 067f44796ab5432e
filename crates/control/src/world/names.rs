//! How the file names resources, and what it means.

use doorward_core::account::{AccountId, ServiceAccount, UniqueId};
use doorward_core::member::Email;
use doorward_core::resource::{Application, Project, Resource, ResourceError};
use doorward_wire::world_file::WrittenResource;

use super::Mistake;

/// Before the name of what the file has and the store has not: no number begins so.
const NEW: &str = "new:";

/// The number of an application or account that has none yet.
pub(super) fn placeholder(name: &str) -> String {
    format!("{NEW}{name}")
}

/// Whether a number is a [`placeholder`].
pub(super) fn is_new(number: &str) -> bool {
    number.starts_with(NEW)
}

/// What names can mean: what is there, and what the file would make.
pub(crate) struct Names {
    pub(crate) project: Project,
    pub(crate) applications: Vec<Application>,
    pub(crate) accounts: Vec<ServiceAccount>,
}

impl Names {
    /// What a name of the file means.
    pub(super) fn resource(&self, written: &WrittenResource) -> Result<Resource, Mistake> {
        let missing = || Mistake::NoResource(written.to_string());
        match written {
            WrittenResource::Project => Ok(Resource::Project),
            WrittenResource::Web => Ok(Resource::Web),
            WrittenResource::Application(name) => {
                let mut named = self.applications.iter().filter(|it| it.name.as_str() == name);
                let found = named.next().ok_or_else(missing)?;
                match named.next() {
                    None => Ok(found.service()),
                    Some(_) => Err(Mistake::Ambiguous(written.to_string())),
                }
            }
            WrittenResource::ServiceAccount(id) => {
                let email: Option<Email> = if id.contains('@') { id.parse().ok() } else { self.email(id) };
                let account = self.accounts.iter().find(|it| Some(&it.email) == email.as_ref()).ok_or_else(missing)?;
                Ok(Resource::ServiceAccount { unique_id: account.unique_id.clone() })
            }
            WrittenResource::Named(name) => match Resource::parse(name, &self.project, &self.applications) {
                Ok(resource) => Ok(resource),
                Err(ResourceError::NotFound | ResourceError::Malformed) => Err(missing()),
            },
        }
    }

    /// The address of the account of an id.
    pub(super) fn email(&self, id: &str) -> Option<Email> {
        id.parse::<AccountId>().ok()?.email(&self.project.id).ok()
    }

    /// The one name by which the file calls a resource.
    pub(super) fn written(&self, resource: &Resource) -> WrittenResource {
        match resource {
            Resource::Project => WrittenResource::Project,
            Resource::Web => WrittenResource::Web,
            Resource::WebService(..) => {
                // Several versions of App Engine are one service, and none of them is it.
                let mut of_it = self.applications.iter().filter(|it| it.service() == *resource);
                let is_one = |name: &str| self.applications.iter().filter(|it| it.name.as_str() == name).count() == 1;
                match (of_it.next(), of_it.next()) {
                    (Some(application), None) if is_one(application.name.as_str()) => {
                        WrittenResource::Application(application.name.to_string())
                    }
                    _ => WrittenResource::Named(resource.name(&self.project)),
                }
            }
            Resource::ServiceAccount { unique_id } => {
                let account = self.accounts.iter().find(|it| it.unique_id == *unique_id);
                match account {
                    Some(account) => WrittenResource::ServiceAccount(local_part(&account.email)),
                    None => WrittenResource::Named(resource.name(&self.project)),
                }
            }
            Resource::Organization(_)
            | Resource::Folder(_)
            | Resource::WebType(_)
            | Resource::WebServiceVersion(..)
            | Resource::Tunnel
            | Resource::TunnelZone(_)
            | Resource::TunnelInstance(..)
            | Resource::TunnelLocation(_)
            | Resource::TunnelDestGroup(..) => WrittenResource::Named(resource.name(&self.project)),
        }
    }
}

/// An account that the file has and the store has not.
pub(super) fn new_account(email: Email) -> ServiceAccount {
    let unique_id = UniqueId(placeholder(email.as_str()));
    ServiceAccount { unique_id, email, display_name: String::new(), description: String::new(), disabled: false }
}

/// What stands before the `@`.
pub(super) fn local_part(email: &Email) -> String {
    email.as_str().split('@').next().unwrap_or_default().to_owned()
}
