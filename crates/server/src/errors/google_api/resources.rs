//! What is protected, and how: applications, settings, brands, destination groups, and the project.

use doorward_control::admin::Failure as _;
use doorward_control::applications::ApplicationError;
use doorward_control::brands::BrandError;
use doorward_control::projects::ProjectError;
use doorward_control::settings::SettingsError;
use doorward_control::tunnel_dest_groups::TunnelDestGroupError;
use doorward_core::resource::{ApplicationName, ClientId};
use doorward_core::settings;
use doorward_wire::google_api::Status;

use super::{ApiFailure, CONCURRENT_CHANGES};

impl From<ApplicationError> for ApiFailure {
    fn from(error: ApplicationError) -> Self {
        use ApplicationError as E;
        let status = error.status();
        let message = match &error {
            E::Admin(error) => return error.into(),
            // gcloud tells what is not there from what may not be seen by the status alone.
            E::NotFound(name) => format!("The resource {name:?} was not found."),
            E::NoOperation(name) => format!("The operation {name:?} was not found. Operations are not kept."),
            E::Ambiguous(_) | E::PlaceTaken(_) => format!("{}.", capitalised(&error)),
            E::NameTaken(name) => format!("The resource {name:?} already exists, or one of that service and version."),
            E::NumberTaken(number) => format!("There is an application of number {number} already."),
            E::Stale => CONCURRENT_CHANGES.to_owned(),
            E::ClientChanged(_) => format!("{}. Repeat the change.", capitalised(&error)),
            E::ClientKind(_) => {
                format!("{}. Leave the client out, and one of the right kind is made.", capitalised(&error))
            }
            E::ReadOnly(_) => format!("Invalid argument: {error}."),
            E::NotServed(field) => format!(
                "Invalid value for field '{field}': it has no effect here, and to take it would be to say that it has. Nothing was \
                 changed."
            ),
            E::Name(_)
            | E::Host(_)
            | E::ReservedHost(_)
            | E::PathPrefix(_)
            | E::PrefixWithoutHost
            | E::Upstream { .. }
            | E::Twice(_)
            | E::TooMany(_)
            | E::Description
            | E::Labels
            | E::Number(_)
            | E::Word { .. }
            | E::Missing(_)
            | E::FieldOfAnotherKind(_)
            | E::Mask(_)
            | E::Filter(_)
            | E::PageToken
            | E::Body(_)
            | E::ClientId(_)
            | E::ClientSecret => format!("Invalid argument: {error}."),
            E::Store(_) | E::Refresh(_) | E::Entropy(_) => return ApiFailure::internal(&error),
        };
        ApiFailure::new(status, message)
    }
}

impl From<SettingsError> for ApiFailure {
    fn from(error: SettingsError) -> Self {
        use SettingsError as E;
        let status = error.status();
        let message = match &error {
            E::Admin(error) => return error.into(),
            E::NoSettings(_) | E::Value(_) | E::Reauthentication => format!("Invalid argument: {error}."),
            E::AnotherResource(_) => "The name in the body is not that of the URL.".to_owned(),
            E::Unknown(path) => {
                format!("Invalid JSON payload received. Unknown name {path:?}: Cannot find field. Nothing was changed.")
            }
            E::Mask(_) => format!(
                "Invalid update_mask: {error}. Use paths such as accessSettings.oauthSettings.programmaticClients, separated by commas."
            ),
            E::Refused(cause) => match cause {
                settings::SettingsError::NoEffect { path, reason } => {
                    format!("Setting {path} has no effect here: {reason}. Nothing was changed.")
                }
                settings::SettingsError::TooMany { .. }
                | settings::SettingsError::Client { .. }
                | settings::SettingsError::Audience { .. }
                | settings::SettingsError::Page { .. }
                | settings::SettingsError::Expression { .. }
                | settings::SettingsError::Twice { .. } => format!("Invalid argument: {error}."),
            },
            E::Conflict => {
                "There were concurrent changes of the settings. Please retry with exponential backoff.".to_owned()
            }
            // The position is in it.
            E::Expression(error) => format!("The expression is not valid: {error}."),
            E::Store(_) | E::Refresh(_) | E::Json(_) => return ApiFailure::internal(&error),
        };
        ApiFailure::new(status, message)
    }
}

impl From<BrandError> for ApiFailure {
    fn from(error: BrandError) -> Self {
        use BrandError as E;
        let status = error.status();
        let message = match &error {
            E::Admin(error) => return error.into(),
            E::Title | E::SupportEmail | E::DisplayName | E::PageSize => format!("Invalid argument: {error}."),
            E::Exists => "Requested entity already exists: a project has one brand.".to_owned(),
            E::NoBrand => {
                "Requested entity was not found: there is no such brand. Its id is the project's number.".to_owned()
            }
            E::NoClient => "Requested entity was not found: there is no such client under this brand.".to_owned(),
            E::TooManyClients => format!("Quota limit exceeded: {error}."),
            E::InUse { client, application } => return client_in_use(client, application),
            E::Store(_) | E::Refresh(_) | E::Entropy(_) => return ApiFailure::internal(&error),
        };
        ApiFailure::new(status, message)
    }
}

/// A client that cannot be deleted.
pub(super) fn client_in_use(client: &ClientId, application: &ApplicationName) -> ApiFailure {
    let message =
        format!("Client {} is that of application {application}. Give that one another client first.", client.0);
    ApiFailure::new(Status::FailedPrecondition, message)
}

impl From<TunnelDestGroupError> for ApiFailure {
    fn from(error: TunnelDestGroupError) -> Self {
        use TunnelDestGroupError as E;
        let status = error.status();
        let message = match &error {
            E::Admin(error) => return error.into(),
            E::Group(_) | E::PageSize | E::PageToken => format!("Invalid argument: {error}."),
            E::AnotherName(_) => "The name in the body is not that of the URL.".to_owned(),
            E::Mask(_) => format!("Invalid update_mask: {error}. Use cidrs, fqdns, or both, separated by a comma."),
            E::Exists(name) => format!("Requested entity already exists: {name}."),
            E::TooMany => format!("Quota limit exceeded: {error}. Delete one first."),
            E::NotFound(name) => format!("Requested entity was not found: {name}."),
            E::Conflict => {
                "There were concurrent changes of the destination group. Please retry with exponential backoff."
                    .to_owned()
            }
            E::Store(_) | E::Refresh(_) => return ApiFailure::internal(&error),
        };
        ApiFailure::new(status, message)
    }
}

impl From<ProjectError> for ApiFailure {
    fn from(error: ProjectError) -> Self {
        match &error {
            ProjectError::Admin(error) => error.into(),
            ProjectError::Filter(_) => ApiFailure::invalid(&error),
        }
    }
}

/// A cause as a sentence begins.
fn capitalised(error: &ApplicationError) -> String {
    let text = error.to_string();
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
