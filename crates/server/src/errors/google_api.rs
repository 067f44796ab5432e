//! AIP-193: `{"error":{"code","message","status"}}`.

use axum::Json;
use axum::extract::rejection::BytesRejection;
use axum::response::{IntoResponse, Response};
use doorward_control::administrators::AdminError;
use doorward_control::policies::{MEMBERS_LIMIT, PolicyError};
use doorward_control::service_accounts::ServiceAccountError;
use doorward_core::resource::ResourceError;
use doorward_wire::google_api::{ApiError, Status};
use http::{HeaderValue, StatusCode, header};

use super::Chain;

/// A refused call.
pub(crate) struct ApiFailure {
    status: Status,
    message: String,
}

impl ApiFailure {
    pub(crate) fn new(status: Status, message: impl Into<String>) -> Self {
        ApiFailure { status, message: message.into() }
    }

    /// The failure is ours. What it was goes to our log and not to the caller.
    fn internal(error: &dyn std::error::Error) -> Self {
        tracing::error!(error = %Chain(error), "an API call failed");
        ApiFailure::new(Status::Internal, "Internal error encountered. Try again; the server's log has the cause.")
    }

    pub(crate) fn no_such_method() -> Self {
        ApiFailure::new(Status::NotFound, "There is no such method here. Check the path and the HTTP method.")
    }
}

impl IntoResponse for ApiFailure {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status.http()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(ApiError::new(self.status, self.message))).into_response();
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

impl From<AdminError> for ApiFailure {
    fn from(error: AdminError) -> Self {
        match &error {
            AdminError::Missing => ApiFailure::new(
                Status::Unauthenticated,
                "Request is missing required authentication credential. Expected OAuth 2 access token, login cookie or \
                 other valid authentication credential. Send `Authorization: Bearer` with the admin_token of dev.json.",
            ),
            AdminError::Invalid => ApiFailure::new(
                Status::Unauthenticated,
                "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other \
                 valid authentication credential. Send the admin_token of dev.json.",
            ),
            AdminError::Forbidden { .. } => ApiFailure::new(
                Status::PermissionDenied,
                "The caller does not have permission. Administration takes the admin_token of dev.json.",
            ),
            AdminError::Store(_) => ApiFailure::internal(&error),
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
            E::Resource(ResourceError::Malformed) => (
                Status::InvalidArgument,
                "Invalid resource name. Use projects/P/iap_web, …/compute or …/compute/services/S.".to_owned(),
            ),
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
                format!("Role {role} is not supported for this resource: use roles/iap.httpsResourceAccessor."),
            ),
            E::UnsupportedMember { member, .. } => (
                Status::InvalidArgument,
                format!(
                    "Members of the form {member} are not served yet: use user:, serviceAccount:, domain:, allUsers or \
                     allAuthenticatedUsers."
                ),
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
