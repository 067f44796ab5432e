//! RFC 6749 section 5.2 and its kin, with Google's sentences.

use axum::Json;
use axum::extract::rejection::BytesRejection;
use axum::response::{IntoResponse, Response};
use doorward_control::sts::ExchangeError;
use doorward_control::throttle::Throttled;
use doorward_control::tokens::{InspectError, RedeemError};
use doorward_core::federation::MappedError;
use doorward_wire::oauth::{OAuthCode, OAuthError, ParameterError, TokenFormError};
use http::{HeaderValue, StatusCode, header};

use super::Chain;

/// A refusal of the token endpoint, or of one of its kin.
pub(crate) struct OAuthFailure {
    status: StatusCode,
    error: OAuthError,
    /// When to try again, in whole seconds.
    retry_after: Option<u64>,
}

impl OAuthFailure {
    fn new(status: StatusCode, error: OAuthCode, description: &str) -> Self {
        let error = OAuthError { error, error_description: description.to_owned() };
        OAuthFailure { status, error, retry_after: None }
    }

    fn internal(error: &dyn std::error::Error) -> Self {
        tracing::error!(error = %Chain(error), "no token could be issued or looked at");
        let description = "No token could be issued; try again later.";
        OAuthFailure::new(StatusCode::INTERNAL_SERVER_ERROR, OAuthCode::ServerError, description)
    }

    /// At `/revoke`: a token that is unknown is answered otherwise than at the token endpoint, all else as there.
    pub(crate) fn at_revocation(error: RedeemError) -> Self {
        if matches!(error, RedeemError::TokenUnknown) {
            let description = "Token expired or revoked";
            return OAuthFailure::new(StatusCode::BAD_REQUEST, OAuthCode::InvalidToken, description);
        }
        error.into()
    }

    /// At `/tokeninfo`.
    pub(crate) fn at_token_info(error: InspectError) -> Self {
        use InspectError as E;
        match &error {
            E::Missing | E::Invalid => {
                OAuthFailure::new(StatusCode::BAD_REQUEST, OAuthCode::InvalidToken, "Invalid Value")
            }
            E::Store(_) | E::Entropy(_) | E::AuditClosed(_) => OAuthFailure::internal(&error),
        }
    }

    /// At `/v1/userinfo`.
    pub(crate) fn at_user_info(error: InspectError) -> Self {
        use InspectError as E;
        match &error {
            E::Missing | E::Invalid => {
                OAuthFailure::new(StatusCode::UNAUTHORIZED, OAuthCode::InvalidRequest, "Invalid Credentials")
            }
            E::Store(_) | E::Entropy(_) | E::AuditClosed(_) => OAuthFailure::internal(&error),
        }
    }
}

impl IntoResponse for OAuthFailure {
    fn into_response(self) -> Response {
        let no_store = (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        // Where a credential is wanted, its scheme must be told (RFC 6749 section 5.2, RFC 6750 section 3).
        let scheme = if self.error.error == OAuthCode::InvalidClient { "Basic" } else { "Bearer" };
        let mut response = (self.status, [no_store], Json(self.error)).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
        }
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
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

impl From<&TokenFormError> for OAuthFailure {
    fn from(error: &TokenFormError) -> Self {
        use OAuthCode as C;
        use ParameterError as P;
        use TokenFormError as E;
        let (code, description) = match error {
            E::Parameter(P::Malformed | P::Missing("assertion")) => (C::InvalidRequest, "Bad Request".to_owned()),
            E::Parameter(P::Missing("grant_type")) => {
                (C::InvalidRequest, "Required parameter is missing: grant_type".to_owned())
            }
            E::Parameter(P::Missing("client_id")) => {
                (C::InvalidRequest, "Could not determine client ID from request.".to_owned())
            }
            E::Parameter(P::Missing(name)) => (C::InvalidRequest, format!("Missing required parameter: {name}")),
            E::UnsupportedGrant(grant) => (C::UnsupportedGrantType, format!("Invalid grant_type: {grant}")),
        };
        OAuthFailure::new(StatusCode::BAD_REQUEST, code, &description)
    }
}

impl From<&Throttled> for OAuthFailure {
    fn from(throttled: &Throttled) -> Self {
        let description = "Too many failures for this client or from this address; try again later.";
        let failure = OAuthFailure::new(StatusCode::TOO_MANY_REQUESTS, OAuthCode::SlowDown, description);
        OAuthFailure { retry_after: Some(throttled.wait.as_secs()), ..failure }
    }
}

impl From<RedeemError> for OAuthFailure {
    fn from(error: RedeemError) -> Self {
        use OAuthCode as C;
        use RedeemError as E;
        const BAD_REQUEST: StatusCode = StatusCode::BAD_REQUEST;
        let (status, code, description) = match &error {
            E::Form(error) => return error.into(),
            E::Throttled(throttled) => return throttled.into(),
            E::Structure => (BAD_REQUEST, C::InvalidRequest, "Bad Request"),
            E::Signature => (BAD_REQUEST, C::InvalidGrant, "Invalid JWT Signature."),
            E::AccountNotFound => (BAD_REQUEST, C::InvalidGrant, "Invalid grant: account not found"),
            E::IssuedAtMissing => (BAD_REQUEST, C::InvalidGrant, "Invalid JWT: iat (issued at) is not set."),
            E::ExpiresMissing => (BAD_REQUEST, C::InvalidGrant, "Invalid JWT: exp (expiration time) is not set."),
            E::TimeWindow => (
                BAD_REQUEST,
                C::InvalidGrant,
                "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. \
                 Check your iat and exp values in the JWT claim.",
            ),
            E::Scope => (BAD_REQUEST, C::InvalidScope, "Invalid OAuth scope or ID token audience provided."),
            E::Audience => (BAD_REQUEST, C::InvalidGrant, "Invalid JWT: Failed audience check."),
            E::Replayed => (BAD_REQUEST, C::InvalidGrant, "Invalid JWT: jti has already been used."),
            E::Delegation => (
                BAD_REQUEST,
                C::UnauthorizedClient,
                "Client is unauthorized to retrieve access tokens using this method, or client not authorized for any \
                 of the scopes requested.",
            ),
            E::ClientUnknown => (StatusCode::UNAUTHORIZED, C::InvalidClient, "The OAuth client was not found."),
            E::ClientSecret => (StatusCode::UNAUTHORIZED, C::InvalidClient, "Unauthorized"),
            E::DeviceClient => (
                BAD_REQUEST,
                C::UnauthorizedClient,
                "Device codes are for clients of type desktop: ask with one, or sign in with a browser.",
            ),
            E::CodeMalformed => (BAD_REQUEST, C::InvalidGrant, "Malformed auth code."),
            E::CodeUnknown | E::CodeReused | E::TokenOfAnotherClient | E::DeviceUnknown => {
                (BAD_REQUEST, C::InvalidGrant, "Bad Request")
            }
            E::RedirectMismatch => (BAD_REQUEST, C::RedirectUriMismatch, "Bad Request"),
            E::Verifier => (BAD_REQUEST, C::InvalidGrant, "Invalid code verifier."),
            E::TokenUnknown | E::RefreshTokenReused => {
                (BAD_REQUEST, C::InvalidGrant, "Token has been expired or revoked.")
            }
            E::AudienceUnknown => (BAD_REQUEST, C::InvalidAudience, "Audience is not a valid client ID."),
            E::AudienceOfAnotherProject => {
                (BAD_REQUEST, C::InvalidAudience, "The audience client and the client need to be in the same project.")
            }
            E::DeviceExpired => (BAD_REQUEST, C::ExpiredToken, "The device code has expired."),
            // Google's statuses: its clients for devices read them beside the code.
            E::DevicePending => (StatusCode::PRECONDITION_REQUIRED, C::AuthorizationPending, "Precondition Required"),
            E::DeviceTooSoon => (StatusCode::FORBIDDEN, C::SlowDown, "Forbidden"),
            E::DeviceDenied => (StatusCode::FORBIDDEN, C::AccessDenied, "Forbidden"),
            E::Store(_) | E::Key(_) | E::Entropy(_) | E::AuditClosed(_) => return OAuthFailure::internal(&error),
        };
        OAuthFailure::new(status, code, description)
    }
}

impl From<ExchangeError> for OAuthFailure {
    /// Google's sentences where one was seen, without the values that Google's hold: who asks is a stranger until the token is proven.
    ///
    /// Spec: <https://cloud.google.com/iam/docs/troubleshooting-workload-identity-federation>
    fn from(error: ExchangeError) -> Self {
        use ExchangeError as E;
        use OAuthCode as C;
        let (code, description) = match &error {
            E::Form(error) => return error.into(),
            E::RequestedType => (
                C::InvalidRequest,
                "Invalid value for \"requested_token_type\". This value should be \
                 urn:ietf:params:oauth:token-type:access_token.",
            ),
            E::SubjectTypeNotServed(_) | E::SubjectType => (
                C::InvalidRequest,
                "Invalid value for \"subject_token_type\". This value should be urn:ietf:params:oauth:token-type:jwt or \
                 urn:ietf:params:oauth:token-type:id_token.",
            ),
            E::Options => (C::InvalidRequest, "Invalid value for \"options\". This value should be a JSON object."),
            E::ScopeMissing => (C::InvalidRequest, "Missing required parameter: scope"),
            E::Scope => (C::InvalidScope, "Some requested scopes were invalid."),
            E::AudienceMalformed => (
                C::InvalidRequest,
                "Invalid value for \"audience\". This value should be the full resource name of the Identity Provider. See \
                 https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token for the list of possible formats.",
            ),
            E::UnknownProvider => (
                C::InvalidTarget,
                "The target service indicated by the \"audience\" parameters is invalid. This might either be because the \
                 pool or provider is disabled or deleted or because it doesn't exist.",
            ),
            E::TooLarge | E::Structure => (C::InvalidGrant, "Unable to parse the ID Token."),
            E::Algorithm => (C::InvalidGrant, "The ID Token is not signed with RS256 or ES256."),
            E::Header => (C::InvalidGrant, "The ID Token has a header parameter that is not accepted."),
            E::Kind => (C::InvalidGrant, "The ID Token is not a JWT: its header has another typ than JWT or at+jwt."),
            E::KeyIdMissing => (C::InvalidGrant, "The ID Token names no key: its header has no kid."),
            E::Issuer => (C::InvalidGrant, "The issuer in ID Token does not match the expected one."),
            E::KeysUnavailable(_) => (C::InvalidGrant, "Error connecting to the given credential's issuer."),
            E::UnknownKey => (C::InvalidGrant, "The issuer has no key of the ID Token's kid."),
            E::Signature => (C::InvalidGrant, "The signature of the ID Token is not valid."),
            E::TimeMissing(_) => (C::InvalidGrant, "The ID Token must have iat and exp, in whole seconds."),
            E::Expired => (C::InvalidGrant, "The ID Token has expired."),
            E::NotYetValid => (C::InvalidGrant, "The ID Token is not valid yet."),
            E::TooLongLived => (C::InvalidGrant, "The ID Token must expire within 24 hours after it was issued."),
            E::Audience => (C::InvalidGrant, "The audience in ID Token does not match the expected audience."),
            E::Mapping(cause) | E::Condition(cause) => return cause.into(),
            E::Store(_) | E::Key(_) | E::Entropy(_) | E::AuditClosed(_) => return OAuthFailure::internal(&error),
        };
        OAuthFailure::new(StatusCode::BAD_REQUEST, code, description)
    }
}

impl From<&MappedError> for OAuthFailure {
    fn from(error: &MappedError) -> Self {
        use MappedError as E;
        use OAuthCode as C;
        let (code, description) = match error {
            E::Failed { key, .. } => (
                C::UnauthorizedClient,
                format!("The mapped attribute '{key}' cannot be computed from the given credential."),
            ),
            E::Value(key) => {
                let kind = if key == "google.groups" { "LIST of STRING" } else { "STRING" };
                (C::UnauthorizedClient, format!("The mapped attribute '{key}' must be of type {kind}."))
            }
            E::TooLong { key, limit } => (
                C::InvalidRequest,
                format!(
                    "The size of mapped attribute {key} exceeds the {limit} bytes limit. Either modify your attribute mapping or \
                     the incoming assertion to produce a mapped attribute that is less than {limit} bytes."
                ),
            ),
            E::TooManyGroups => {
                (C::InvalidRequest, "The mapped attribute 'google.groups' has too many groups.".to_owned())
            }
            // Whether it is false or fails is told to the operator, in the record.
            E::ConditionFalse | E::ConditionFailed(_) => {
                (C::UnauthorizedClient, "The given credential is rejected by the attribute condition.".to_owned())
            }
        };
        OAuthFailure::new(StatusCode::BAD_REQUEST, code, &description)
    }
}
