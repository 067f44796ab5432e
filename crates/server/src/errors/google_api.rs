//! AIP-193: `{"error":{"code","message","status","details"}}`.

mod access;
mod answers;
mod identities;
mod resources;

use axum::Json;
use axum::extract::rejection::BytesRejection;
use axum::response::{IntoResponse, Response};
use doorward_control::admin::{AdminError, Forbidden};
use doorward_control::callers::CallerError;
use doorward_control::record::Refused;
use doorward_core::audit::{AuditClosed, TokenReason};
use doorward_core::entropy::EntropyError;
use doorward_wire::google_api::{ApiError, ErrorInfo, Status};
use http::{HeaderValue, StatusCode, header};

use super::Chain;

/// What a name in the tree of resources is.
const RESOURCE_NAMES: &str = "Invalid resource name. Use projects/P, projects/P/iap_web, projects/P/iap_web/compute or \
                              projects/P/iap_web/compute/services/S and the other forms of Google's, with the id or number \
                              of the project and of the service, such as projects/doorward-dev/iap_web/compute/services/app.";

/// Of whoever changed something at the same time. Clients look for these words.
///
/// Spec: <https://cloud.google.com/iam/docs/retry-strategy>
const CONCURRENT_POLICY_CHANGES: &str = "There were concurrent policy changes. Please retry the whole read-modify-write \
                                         with exponential backoff.";

/// As [`CONCURRENT_POLICY_CHANGES`], of what is no policy.
const CONCURRENT_CHANGES: &str = "It was changed since it was read, so its etag is of an older state. Read it again, and \
                                  repeat the change.";

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
    pub(crate) fn internal(error: &dyn std::error::Error) -> Self {
        tracing::error!(error = %Chain(error), "an API call failed");
        ApiFailure::new(Status::Internal, "Internal error encountered. Try again; the server's log has the cause.")
    }

    /// A request arrived without what the listener says of its connection. It is answered with nothing else: the peer counts in
    /// what is allowed.
    pub(crate) fn not_routed() -> Self {
        tracing::error!("a request came by a way that is not a listener's");
        ApiFailure::new(Status::Internal, "Internal error encountered.")
    }

    /// A mistake in what was sent, in the words of its cause.
    fn invalid(cause: &dyn std::fmt::Display) -> Self {
        ApiFailure::new(Status::InvalidArgument, format!("Invalid argument: {cause}."))
    }

    /// For a page: the HTTP status, and what is told.
    pub(crate) fn told(self) -> (StatusCode, String) {
        (StatusCode::from_u16(self.status.http()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), self.message)
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
            CallRefusal::Caller(E::NotAnAccount | E::InsufficientScope { .. }) => TokenReason::PermissionDenied,
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
                 https://developers.google.com/identity/sign-in/web/devconsole-project.",
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
            CallerError::InsufficientScope { .. } => ApiFailure::new(
                Status::PermissionDenied,
                "Request had insufficient authentication scopes. Administration takes an access token with the scope \
                 https://www.googleapis.com/auth/cloud-platform.",
            )
            .with(ErrorInfo::new("ACCESS_TOKEN_SCOPE_INSUFFICIENT", "googleapis.com", &[])),
            CallerError::Store(_) => ApiFailure::internal(error),
        }
    }
}

impl From<AdminError> for ApiFailure {
    fn from(error: AdminError) -> Self {
        ApiFailure::from(&error)
    }
}

impl From<&AdminError> for ApiFailure {
    fn from(error: &AdminError) -> Self {
        match error {
            AdminError::Forbidden(forbidden) => forbidden.into(),
            AdminError::NotFound(name) => {
                ApiFailure::new(Status::NotFound, format!("Requested entity was not found: {name}."))
            }
            AdminError::Malformed(name) => {
                ApiFailure::new(Status::InvalidArgument, format!("{RESOURCE_NAMES} It was {name:?}."))
            }
            AdminError::AuditClosed(_) | AdminError::Entropy(_) => ApiFailure::internal(error),
        }
    }
}

impl From<&Forbidden> for ApiFailure {
    /// In Google's words: the same for what is not there.
    ///
    /// Spec: <https://cloud.google.com/iam/docs/permission-error-messages>
    fn from(Forbidden { permission, resource, service }: &Forbidden) -> Self {
        let permission = permission.name();
        let message = format!("Permission '{permission}' denied on resource '{resource}' (or it may not exist).");
        let about = [("permission", permission), ("resource", resource.as_str())];
        ApiFailure::new(Status::PermissionDenied, message).with(ErrorInfo::new(
            "IAM_PERMISSION_DENIED",
            service,
            &about,
        ))
    }
}
