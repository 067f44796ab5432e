//! Service accounts, pools, OAuth clients, keys, and acting as somebody.

use doorward_control::admin::Failure as _;
use doorward_control::certificates::CertificatesError;
use doorward_control::iam_credentials::ImpersonationError;
use doorward_control::keys::KeysError;
use doorward_control::oauth_clients::OAuthClientError;
use doorward_control::service_accounts::ServiceAccountError;
use doorward_control::users::UserError;
use doorward_control::workload_identity::WorkloadIdentityError;
use doorward_wire::google_api::{ErrorInfo, Status};
use doorward_wire::time::rfc3339;

use super::ApiFailure;
use super::resources::client_in_use;

impl From<ImpersonationError> for ApiFailure {
    /// The texts that Google's clients show, and act on.
    fn from(error: ImpersonationError) -> Self {
        use ImpersonationError as E;
        let invalid = |message: &str| ApiFailure::new(Status::InvalidArgument, message);
        match &error {
            E::Name => invalid(
                "Request contains an invalid argument: name and delegates must be projects/-/serviceAccounts/ACCOUNT, with \
                 the hyphen.",
            ),
            E::Chain => invalid(
                "Request contains an invalid argument: delegates must name at most nine accounts, each once, and not the \
                 target.",
            ),
            E::Audience => invalid("Request contains an invalid argument: audience must have 1 to 2,048 characters."),
            E::Scope => invalid("Request contains an invalid argument: scope must name at least one known scope."),
            E::Lifetime => {
                invalid("Request contains an invalid argument: lifetime must be a number of whole seconds up to 3600s.")
            }
            // Its own sentence says what cannot be read.
            E::Body => invalid("Invalid JSON payload received."),
            E::Payload(cause) => invalid(&format!("Request contains an invalid argument: payload: {cause}.")),
            E::InsufficientScope => {
                let service = [("service", "iamcredentials.googleapis.com")];
                let detail = ErrorInfo::new("ACCESS_TOKEN_SCOPE_INSUFFICIENT", "googleapis.com", &service);
                ApiFailure::new(Status::PermissionDenied, "Request had insufficient authentication scopes.")
                    .with(detail)
            }
            // The same for an account that is not there, is disabled, or may not be acted as.
            E::Denied { permission, .. } => {
                let permission = permission.name();
                let message = format!("Permission '{permission}' denied on resource (or it may not exist).");
                let about = [("permission", permission)];
                let detail = ErrorInfo::new("IAM_PERMISSION_DENIED", "iam.googleapis.com", &about);
                ApiFailure::new(Status::PermissionDenied, message).with(detail)
            }
            E::Store(_)
            | E::Mint(_)
            | E::Refresh(_)
            | E::Key(_)
            | E::Entropy(_)
            | E::Stopping(_)
            | E::AuditClosed(_) => ApiFailure::internal(&error),
        }
    }
}

impl From<OAuthClientError> for ApiFailure {
    fn from(error: OAuthClientError) -> Self {
        use OAuthClientError as E;
        match &error {
            E::Admin(error) => error.into(),
            E::DisplayName | E::Kind(_) | E::Restriction(_) | E::TooManyRedirectUris => ApiFailure::invalid(&error),
            E::TooMany => ApiFailure::new(Status::ResourceExhausted, format!("Quota limit exceeded: {error}.")),
            E::NotFound => ApiFailure::new(Status::NotFound, "There is no such OAuth client."),
            E::InUse { client, application } => client_in_use(client, application),
            E::Public => ApiFailure::new(
                Status::FailedPrecondition,
                "Clients of type android and ios have no secret: what is shipped to phones keeps none.",
            ),
            E::Store(_) | E::Refresh(_) | E::Entropy(_) => ApiFailure::internal(&error),
        }
    }
}

impl From<KeysError> for ApiFailure {
    fn from(error: KeysError) -> Self {
        use KeysError as E;
        match &error {
            E::Admin(error) => error.into(),
            E::UnknownPurpose(purpose) => ApiFailure::new(
                Status::InvalidArgument,
                format!("There are no keys for {purpose}: GET /v1/keys shows every purpose."),
            ),
            E::NotReplaceable(purpose) => ApiFailure::new(
                Status::FailedPrecondition,
                format!("Keys for {} are never replaced: what they made must stay what it is.", purpose.name()),
            ),
            E::AlreadyWaiting { purpose, until } => ApiFailure::new(
                Status::FailedPrecondition,
                format!(
                    "The newest key for {} is published and signs from {} on: wait until then, or rotate with --immediately \
                     (\"immediately\": true), which ends the older ones.",
                    purpose.name(),
                    rfc3339(until.seconds())
                ),
            ),
            E::Store(_) | E::Entropy(_) | E::Refresh(_) | E::Stopping(_) => ApiFailure::internal(&error),
        }
    }
}

impl From<CertificatesError> for ApiFailure {
    fn from(error: CertificatesError) -> Self {
        match &error {
            CertificatesError::Key(_) | CertificatesError::Material(_) | CertificatesError::Certificate(_) => {
                ApiFailure::internal(&error)
            }
        }
    }
}

impl From<ServiceAccountError> for ApiFailure {
    fn from(error: ServiceAccountError) -> Self {
        use ServiceAccountError as E;
        let (status, message) = match &error {
            E::Admin(error) => return error.into(),
            E::AccountIdMalformed(cause) => (Status::InvalidArgument, format!("Invalid accountId: {cause}.")),
            E::TextTooLong { .. } | E::UnsupportedKeyType | E::BadPageToken => {
                (Status::InvalidArgument, format!("Invalid argument: {error}."))
            }
            E::Mask(_) => (
                Status::InvalidArgument,
                format!("Invalid update_mask: {error}. Use displayName and description, separated by commas."),
            ),
            E::AlreadyExists(email) => (
                Status::AlreadyExists,
                format!("Service account {email} already exists within project. Choose another accountId."),
            ),
            E::NotFound => (Status::NotFound, "Unknown service account".to_owned()),
            E::KeyNotFound => (Status::NotFound, "Service account key does not exist.".to_owned()),
            E::KeyLimit => {
                (Status::FailedPrecondition, "A service account may have ten keys. Delete one first.".to_owned())
            }
            E::Store(_) | E::Refresh(_) | E::Entropy(_) | E::Key(_) | E::Stopping(_) => {
                return ApiFailure::internal(&error);
            }
        };
        ApiFailure::new(status, message)
    }
}

impl From<UserError> for ApiFailure {
    fn from(error: UserError) -> Self {
        use UserError as E;
        let status = error.status();
        let message = match &error {
            E::Admin(error) => return error.into(),
            E::Email(_) | E::OfAccounts | E::PageToken => format!("Invalid argument: {error}."),
            E::Taken(email) => format!("{email} is the address of a person, a group or an account already."),
            E::NotFound => "Requested entity was not found: there is no such person.".to_owned(),
            E::Administrator(email) => format!(
                "{email} administers: only somebody who holds everything of roles/doorward.admin on the project may do this \
                 to them. Others may do it to people who enter applications and hold nothing else."
            ),
            E::Oneself(email) => {
                format!("You are {email}: nobody disables or deletes themselves. Another administrator can.")
            }
            E::Store(_) | E::Refresh(_) | E::Entropy(_) | E::Password(_) | E::Stopping(_) => {
                return ApiFailure::internal(&error);
            }
        };
        ApiFailure::new(status, message)
    }
}

impl From<WorkloadIdentityError> for ApiFailure {
    fn from(error: WorkloadIdentityError) -> Self {
        use WorkloadIdentityError as E;
        let (status, message) = match &error {
            E::Admin(error) => return error.into(),
            E::Id(_)
            | E::TextTooLong { .. }
            | E::Text(_)
            | E::Mapping(_)
            | E::NoIssuer
            | E::OwnIssuer(_)
            | E::LoopbackForbidden
            | E::Audiences
            | E::KeyDocument => (Status::InvalidArgument, format!("Invalid argument: {error}.")),
            E::NotServed(_) => (
                Status::InvalidArgument,
                format!("Invalid argument: {error}. Use oidc, with the issuer in oidc.issuerUri. Nothing was changed."),
            ),
            E::Issuer(_) => (
                Status::InvalidArgument,
                format!(
                    "Invalid argument: {error}: it is an https URL without query and fragment. An issuer on this machine needs \
                     oidc.insecureLoopback, and may then be http."
                ),
            ),
            E::Mask(_) => (
                Status::InvalidArgument,
                format!(
                    "Invalid argument: {error}. Use displayName, description, disabled, and of a provider attributeMapping, \
                     attributeCondition, oidc and its fields."
                ),
            ),
            E::AlreadyExists(name) => (Status::AlreadyExists, format!("Requested entity already exists: {name}.")),
            E::TooMany { .. } => {
                (Status::ResourceExhausted, format!("Quota limit exceeded: {error}. Delete one first."))
            }
            E::NotFound(name) => (Status::NotFound, format!("Requested entity was not found: {name}.")),
            E::Store(_) | E::Refresh(_) | E::Entropy(_) | E::Stopping(_) => return ApiFailure::internal(&error),
        };
        ApiFailure::new(status, message)
    }
}
