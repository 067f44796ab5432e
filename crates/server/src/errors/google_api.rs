//! AIP-193: `{"error":{"code","message","status","details"}}`.

use axum::Json;
use axum::extract::rejection::BytesRejection;
use axum::response::{IntoResponse, Response};
use doorward_control::callers::CallerError;
use doorward_control::certificates::CertificatesError;
use doorward_control::iam_credentials::ImpersonationError;
use doorward_control::keys::KeysError;
use doorward_control::oauth_clients::OAuthClientError;
use doorward_control::policies::{MEMBERS_LIMIT, PolicyError};
use doorward_control::record::Refused;
use doorward_control::service_accounts::ServiceAccountError;
use doorward_control::settings::SettingsError;
use doorward_control::workload_identity::WorkloadIdentityError;
use doorward_core::audit::{AuditClosed, TokenReason};
use doorward_core::entropy::EntropyError;
use doorward_core::member::Member;
use doorward_core::resource::ResourceError;
use doorward_wire::google_api::{ApiError, ErrorInfo, Status};
use doorward_wire::time::rfc3339;
use http::{HeaderValue, StatusCode, header};

use super::Chain;

/// What a name in the tree of protected resources is.
const RESOURCE_NAMES: &str = "Invalid resource name. Use projects/P/iap_web, projects/P/iap_web/compute or \
                              projects/P/iap_web/compute/services/S, with the id or number of the project and of \
                              the service, such as projects/doorward-dev/iap_web/compute/services/app.";

/// A refused call.
pub(crate) struct ApiFailure {
    status: Status,
    message: String,
    details: Vec<ErrorInfo>,
}

impl ApiFailure {
    pub(crate) fn new(status: Status, message: impl Into<String>) -> Self {
        ApiFailure { status, message: message.into(), details: Vec::new() }
    }

    /// The same failure with a cause that programs may act on.
    fn with(mut self, detail: ErrorInfo) -> Self {
        self.details.push(detail);
        self
    }

    /// The failure is ours. What it was goes to our log and not to the caller.
    fn internal(error: &dyn std::error::Error) -> Self {
        tracing::error!(error = %Chain(error), "an API call failed");
        ApiFailure::new(Status::Internal, "Internal error encountered. Try again; the server's log has the cause.")
    }

    /// A request arrived without what the listener says of its connection. It is answered with nothing else: the peer counts in
    /// what is allowed.
    pub(crate) fn not_routed() -> Self {
        tracing::error!("a request came by a way that is not a listener's");
        ApiFailure::new(Status::Internal, "Internal error encountered.")
    }

    pub(crate) fn no_such_method() -> Self {
        ApiFailure::new(Status::NotFound, "There is no such method here. Check the path and the HTTP method.")
    }
}

impl IntoResponse for ApiFailure {
    fn into_response(self) -> Response {
        let body = self.details.into_iter().fold(ApiError::new(self.status, self.message), ApiError::with_detail);
        let status = StatusCode::from_u16(self.status.http()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(body)).into_response();
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<BytesRejection> for ApiFailure {
    /// The body was too large or did not arrive whole.
    fn from(_: BytesRejection) -> Self {
        ApiFailure::new(Status::InvalidArgument, "Request payload is too large, or did not arrive whole.")
    }
}

/// Why a caller of an API is refused, as it is recorded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallRefusal {
    #[error(transparent)]
    Caller(#[from] CallerError),
    #[error("the event has no id")]
    Entropy(#[from] EntropyError),
    #[error(transparent)]
    AuditClosed(#[from] AuditClosed),
}

impl Refused for CallRefusal {
    fn reason(&self) -> TokenReason {
        use CallerError as E;
        match self {
            CallRefusal::Caller(E::Missing | E::Invalid) => TokenReason::InvalidBearer,
            CallRefusal::Caller(E::NotAnAccount | E::Forbidden { .. }) => TokenReason::PermissionDenied,
            CallRefusal::Caller(E::Store(_)) | CallRefusal::Entropy(_) | CallRefusal::AuditClosed(_) => {
                TokenReason::Internal
            }
        }
    }
}

impl From<CallRefusal> for ApiFailure {
    fn from(refusal: CallRefusal) -> Self {
        let error = match &refusal {
            CallRefusal::Caller(error) => error,
            CallRefusal::Entropy(_) | CallRefusal::AuditClosed(_) => return ApiFailure::internal(&refusal),
        };
        match error {
            CallerError::Missing => ApiFailure::new(
                Status::Unauthenticated,
                "Request is missing required authentication credential. Expected OAuth 2 access token, login cookie or \
                 other valid authentication credential. See \
                 https://developers.google.com/identity/sign-in/web/devconsole-project. Administration takes the \
                 admin_token of dev.json.",
            ),
            CallerError::Invalid => ApiFailure::new(
                Status::Unauthenticated,
                "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other \
                 valid authentication credential. See \
                 https://developers.google.com/identity/sign-in/web/devconsole-project.",
            ),
            CallerError::NotAnAccount => ApiFailure::new(
                Status::PermissionDenied,
                "The caller does not have permission. The admin_token is no account, and only an account can act as \
                 another: send an access token of one.",
            ),
            CallerError::Forbidden { .. } => ApiFailure::new(
                Status::PermissionDenied,
                "The caller does not have permission. Administration takes the admin_token of dev.json.",
            ),
            CallerError::Store(_) => ApiFailure::internal(error),
        }
    }
}

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
            E::DisplayName | E::Restriction(_) | E::TooManyRedirectUris => {
                ApiFailure::new(Status::InvalidArgument, format!("Invalid argument: {error}."))
            }
            E::NotFound => ApiFailure::new(Status::NotFound, "There is no such OAuth client."),
            E::Public => ApiFailure::new(
                Status::FailedPrecondition,
                "Clients of type android and ios have no secret: what is shipped to phones keeps none.",
            ),
            E::Store(_) | E::Entropy(_) => ApiFailure::internal(&error),
        }
    }
}

impl From<SettingsError> for ApiFailure {
    fn from(error: SettingsError) -> Self {
        use SettingsError as E;
        let invalid = |message: String| ApiFailure::new(Status::InvalidArgument, message);
        match &error {
            E::Resource(ResourceError::Malformed) => invalid(RESOURCE_NAMES.to_owned()),
            E::Resource(ResourceError::NotFound) => {
                ApiFailure::new(Status::NotFound, "Requested entity was not found.")
            }
            E::AnotherResource(_) => invalid("The name in the body is not that of the URL.".to_owned()),
            E::NotServed(path) => invalid(format!("Setting {path} is not served yet. Nothing was changed.")),
            E::Mask(path) => invalid(format!(
                "Invalid update_mask: {path} names no setting that is served. Use \
                 accessSettings.oauthSettings.programmaticClients."
            )),
            E::ClientId => invalid(format!("Invalid programmaticClients: {error}.")),
            E::Store(_) | E::Refresh(_) => ApiFailure::internal(&error),
        }
    }
}

impl From<KeysError> for ApiFailure {
    fn from(error: KeysError) -> Self {
        use KeysError as E;
        match &error {
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
            E::AccountIdMalformed(cause) => (Status::InvalidArgument, format!("Invalid accountId: {cause}.")),
            E::TextTooLong { .. } | E::UnsupportedKeyType | E::BadPageToken => {
                (Status::InvalidArgument, format!("Invalid argument: {error}."))
            }
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

impl From<PolicyError> for ApiFailure {
    fn from(error: PolicyError) -> Self {
        use PolicyError as E;
        let (status, message) = match &error {
            E::Resource(ResourceError::Malformed) => (Status::InvalidArgument, RESOURCE_NAMES.to_owned()),
            E::Resource(ResourceError::NotFound) => (Status::NotFound, "Requested entity was not found.".to_owned()),
            E::UnknownVersion(version) => {
                (Status::InvalidArgument, format!("Invalid policy version {version}: 0, 1 and 3 are valid."))
            }
            E::Condition { role } => (
                Status::InvalidArgument,
                format!("The binding of {role} has a condition, and conditions are not served yet. Nothing was changed."),
            ),
            E::UnknownRole { role } => (
                Status::InvalidArgument,
                format!(
                    "Role {role} is not served: use roles/iap.httpsResourceAccessor for applications, and \
                     roles/iam.serviceAccountTokenCreator, roles/iam.serviceAccountOpenIdTokenCreator or \
                     roles/iam.workloadIdentityUser for service accounts."
                ),
            ),
            E::Everybody { role } => (
                Status::InvalidArgument,
                format!("{role} cannot be granted to allUsers or allAuthenticatedUsers: name who may act as the account."),
            ),
            E::RoleElsewhere { role } => {
                let text = format!(
                    "Role {role} is not supported for this resource. Applications and what is above them take \
                     roles/iap.httpsResourceAccessor; service accounts take roles/iam.serviceAccountTokenCreator, \
                     roles/iam.serviceAccountOpenIdTokenCreator and roles/iam.workloadIdentityUser."
                );
                (Status::InvalidArgument, text)
            }
            E::UnsupportedMember { member, .. } => (
                Status::InvalidArgument,
                format!(
                    "Members of the form {member} are not served yet: use user:, serviceAccount:, domain:, principal:, \
                     principalSet:, allUsers or allAuthenticatedUsers."
                ),
            ),
            E::UnknownMember { member: Member::ServiceAccount(email), .. } => {
                (Status::InvalidArgument, format!("Service account {email} does not exist."))
            }
            E::UnknownMember { member, .. } => (
                Status::InvalidArgument,
                format!("{member} does not exist: this project has no such pool, and no such issuer is trusted."),
            ),
            E::MalformedMember { member, .. } => (Status::InvalidArgument, format!("Invalid member: {member}.")),
            E::TooManyMembers { members } => (
                Status::InvalidArgument,
                format!("The policy has {members} members; at most {MEMBERS_LIMIT} are allowed."),
            ),
            E::Conflict => (
                Status::Aborted,
                "There were concurrent policy changes. Please retry the whole read-modify-write with exponential backoff."
                    .to_owned(),
            ),
            E::Store(_) | E::Refresh(_) => return ApiFailure::internal(&error),
        };
        ApiFailure::new(status, message)
    }
}

impl From<WorkloadIdentityError> for ApiFailure {
    fn from(error: WorkloadIdentityError) -> Self {
        use WorkloadIdentityError as E;
        let (status, message) = match &error {
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
