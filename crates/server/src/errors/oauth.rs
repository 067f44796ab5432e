//! RFC 6749 section 5.2, with Google's sentences.

use axum::Json;
use axum::extract::rejection::BytesRejection;
use axum::response::{IntoResponse, Response};
use doorward_control::tokens::RedeemError;
use doorward_wire::oauth::{OAuthCode, OAuthError, TokenFormError};
use http::{HeaderValue, StatusCode, header};

use super::Chain;

/// A refusal of the token endpoint.
pub(crate) struct OAuthFailure {
    status: StatusCode,
    error: OAuthError,
}

impl OAuthFailure {
    fn new(status: StatusCode, error: OAuthCode, description: &str) -> Self {
        OAuthFailure { status, error: OAuthError { error, error_description: description.to_owned() } }
    }
}

impl IntoResponse for OAuthFailure {
    fn into_response(self) -> Response {
        let no_store = (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        (self.status, [no_store], Json(self.error)).into_response()
    }
}

impl From<BytesRejection> for OAuthFailure {
    /// The body was too large or did not arrive whole.
    fn from(rejection: BytesRejection) -> Self {
        OAuthFailure::new(
            rejection.status(),
            OAuthCode::InvalidRequest,
            "The body is too large, or did not arrive whole.",
        )
    }
}

impl From<TokenFormError> for OAuthFailure {
    fn from(error: TokenFormError) -> Self {
        use OAuthCode as C;
        use TokenFormError as E;
        let (code, description) = match error {
            E::Malformed | E::ParameterMissing(_) => (C::InvalidRequest, "Bad Request".to_owned()),
            E::GrantTypeMissing => (C::InvalidRequest, "Required parameter is missing: grant_type".to_owned()),
            E::UnsupportedGrant(grant) => (C::UnsupportedGrantType, format!("Invalid grant_type: {grant}")),
        };
        OAuthFailure::new(StatusCode::BAD_REQUEST, code, &description)
    }
}

impl From<RedeemError> for OAuthFailure {
    fn from(error: RedeemError) -> Self {
        use OAuthCode as C;
        use RedeemError as E;
        let (code, description) = match &error {
            E::Structure => (C::InvalidRequest, "Bad Request"),
            E::Signature => (C::InvalidGrant, "Invalid JWT Signature."),
            E::AccountNotFound => (C::InvalidGrant, "Invalid grant: account not found"),
            E::IssuedAtMissing => (C::InvalidGrant, "Invalid JWT: iat (issued at) is not set."),
            E::ExpiresMissing => (C::InvalidGrant, "Invalid JWT: exp (expiration time) is not set."),
            E::TimeWindow => (
                C::InvalidGrant,
                "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. \
                 Check your iat and exp values in the JWT claim.",
            ),
            E::Scope => (C::InvalidScope, "Invalid OAuth scope or ID token audience provided."),
            E::Audience => (C::InvalidGrant, "Invalid JWT: Failed audience check."),
            E::Replayed => (C::InvalidGrant, "Invalid JWT: jti has already been used."),
            E::Delegation => (
                C::UnauthorizedClient,
                "Client is unauthorized to retrieve access tokens using this method, or client not authorized for any \
                 of the scopes requested.",
            ),
            E::Store(_) | E::Key(_) | E::Entropy(_) | E::AuditClosed(_) => {
                tracing::error!(error = %Chain(&error), "no token could be issued");
                return OAuthFailure::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    C::ServerError,
                    "No token could be issued; try again later.",
                );
            }
        };
        OAuthFailure::new(StatusCode::BAD_REQUEST, code, description)
    }
}
