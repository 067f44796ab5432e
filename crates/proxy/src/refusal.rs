//! What a refused caller is told: one match for the cause in the record, one for the answer.
//!
//! Status, sentence and content type are Google's. Beside them, in headers that Google does not use, stands what the
//! caller can act on. To a caller who is not proven these say only what they could read in their own token, and the
//! documented fix: never whether an account or key exists, and nothing of a policy.

use std::sync::Arc;

use doorward_core::audit::Reason;
use doorward_core::keys::KeyError;
use doorward_core::resource::ClientId;
use doorward_core::snapshot::ProtectedResource;
use doorward_wire::headers::{DOORWARD_DECISION_ID, DOORWARD_FIX, DOORWARD_REASON, IAP_GENERATED_RESPONSE};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION, SET_COOKIE, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};

use crate::authenticate::{Caller, TokenError};
use crate::body::ProxyBody;
use crate::record::Trace;
use crate::sign_in::SignIn;

/// Why a request was not forwarded, or its answer did not come.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("no application is served at this host")]
    NoSuchResource,
    #[error("a credential field occurs more than once")]
    AmbiguousCredential,
    #[error("no credential")]
    SignInRequired { resource: Arc<ProtectedResource>, invalid_proxy_authorization: bool },
    #[error("{error}")]
    BadCredential { error: TokenError, expected: ClientId },
    #[error("{} holds no role here", caller.email)]
    AccessDenied { caller: Arc<Caller>, resource: Arc<ProtectedResource> },
    #[error("the signed header could not be made: {0}")]
    CannotSign(KeyError),
    #[error(transparent)]
    Upstream(#[from] UpstreamFailure),
    #[error("the record of decisions cannot be written")]
    CannotRecord,
}

/// Why a request is not one that two readers must read alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("the method is not forwarded")]
    Method,
    #[error("Transfer-Encoding is not `chunked`")]
    TransferEncoding,
    #[error("Host is missing, repeated, not a host, or another one than the target's")]
    Host,
    #[error("{0}")]
    Path(&'static str),
}

/// Why the application gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpstreamFailure {
    #[error("no address is configured for the application")]
    NotConfigured,
    #[error("no connection: {0}")]
    Unreachable(std::io::Error),
    #[error("no answer in time")]
    TimedOut,
    #[error("the exchange broke off: {0}")]
    Broken(hyper::Error),
    #[error("the application switched protocols without being asked")]
    UnexpectedUpgrade,
}

/// What is told.
struct Told {
    status: StatusCode,
    reason: Reason,
    sentence: String,
    fix: String,
}

const PREFIX: &str = "Invalid IAP credentials: ";

impl Refusal {
    /// The answer, and the cause in the trace.
    pub(crate) fn into_response(self, trace: &mut Trace, sign_in: &SignIn<'_>) -> Response<ProxyBody> {
        let told = self.told();
        trace.refused(told.reason, self.to_string());
        let redirect = match &self {
            Refusal::SignInRequired { resource, .. } if trace.wants_page => {
                sign_in.redirect(resource, &trace.origin_uri(sign_in.config.public_scheme), trace.now())
            }
            _ => None,
        };
        let status = if redirect.is_some() { StatusCode::FOUND } else { told.status };
        // Google answers HEAD with an explicit length of zero.
        let body = if trace.is_head { ProxyBody::empty() } else { ProxyBody::text(told.sentence) };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(IAP_GENERATED_RESPONSE, HeaderValue::from_static("true"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=UTF-8"));
        headers.insert(DOORWARD_REASON, HeaderValue::from_static(told.reason.code()));
        for (name, value) in [(DOORWARD_FIX, told.fix.as_str()), (DOORWARD_DECISION_ID, trace.id())] {
            // A decision that could not be recorded has no id that leads anywhere.
            if let Ok(value) = HeaderValue::from_str(value)
                && !value.is_empty()
            {
                headers.insert(name, value);
            }
        }
        if trace.is_head {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        if status == StatusCode::UNAUTHORIZED {
            let challenge = match self {
                Refusal::BadCredential { .. } => "Bearer error=\"invalid_token\"",
                _ => "Bearer",
            };
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if let Some(redirect) = redirect {
            headers.insert(LOCATION, redirect.location);
            headers.insert(SET_COOKIE, redirect.nonce_cookie);
        }
        response
    }

    /// Status, code, Google's sentence, and what to do: the whole mapping.
    fn told(&self) -> Told {
        use Refusal as R;
        let told = |status, reason, sentence: &str, fix: &str| Told {
            status,
            reason,
            sentence: sentence.to_owned(),
            fix: fix.to_owned(),
        };
        match self {
            R::Malformed(malformed) => {
                let (reason, fix) = match malformed {
                    Malformed::Method => {
                        (Reason::BadRequest, "Use a method of at most 32 letters that is not CONNECT or TRACE.")
                    }
                    Malformed::TransferEncoding => {
                        (Reason::BadRequest, "Send the body with Content-Length or chunked.")
                    }
                    Malformed::Host => (Reason::BadHost, "Send one Host field that names the application."),
                    Malformed::Path(_) => (Reason::BadPath, "Send the path without ambiguous encodings."),
                };
                told(StatusCode::BAD_REQUEST, reason, &format!("Bad Request: {malformed}."), fix)
            }
            R::NoSuchResource => told(
                StatusCode::MISDIRECTED_REQUEST,
                Reason::NoSuchResource,
                "No application is served at this host.",
                "Use the URL of the application as it is configured, with its host and port.",
            ),
            R::AmbiguousCredential => told(
                StatusCode::BAD_REQUEST,
                Reason::AmbiguousCredential,
                "Bad Request: a credential field occurs more than once.",
                "Send one Authorization field and at most one Proxy-Authorization field.",
            ),
            R::SignInRequired { invalid_proxy_authorization, .. } => {
                let fix = if *invalid_proxy_authorization {
                    "The token in Proxy-Authorization is not valid here and was passed over: send a valid ID token."
                } else {
                    "Send an ID token whose aud is the application's OAuth client id in Authorization: Bearer."
                };
                told(StatusCode::UNAUTHORIZED, Reason::NoCredential, &format!("{PREFIX}empty token"), fix)
            }
            R::BadCredential { error, expected } => bad_credential(error, expected),
            R::AccessDenied { caller, resource } => told(
                StatusCode::FORBIDDEN,
                Reason::PermissionDenied,
                &format!("{}: Access denied. For user {}.", resource.application.name, caller.email),
                &format!("Ask for roles/iap.httpsResourceAccessor on this application for {}.", caller.member()),
            ),
            R::CannotSign(_) => told(
                StatusCode::INTERNAL_SERVER_ERROR,
                Reason::CannotSign,
                "The request could not be signed for the application.",
                "Tell the operator; the decision id leads to the cause.",
            ),
            R::CannotRecord => told(
                StatusCode::SERVICE_UNAVAILABLE,
                Reason::CannotRecord,
                "Decisions cannot be recorded, so no request is let through.",
                "Try again later; the operator finds the cause in the server's log.",
            ),
            R::Upstream(failure) => {
                let status = match failure {
                    UpstreamFailure::TimedOut => StatusCode::GATEWAY_TIMEOUT,
                    UpstreamFailure::NotConfigured
                    | UpstreamFailure::Unreachable(_)
                    | UpstreamFailure::Broken(_)
                    | UpstreamFailure::UnexpectedUpgrade => StatusCode::BAD_GATEWAY,
                };
                told(
                    status,
                    Reason::UpstreamFailed,
                    "The application did not answer.",
                    "Start the application, or correct the address that the proxy forwards to.",
                )
            }
        }
    }
}

/// The sentences of Google's that clients parse, each for its cause.
fn bad_credential(error: &TokenError, expected: &ClientId) -> Told {
    const ID_TOKEN: &str = "Send an ID token whose aud is the application's OAuth client id";
    use TokenError as E;
    let (reason, sentence, fix) = match error {
        E::TooLarge => (
            Reason::TokenTooLarge,
            "Unable to parse JWT".to_owned(),
            "Send the token alone: ID tokens are shorter than 16 KiB.".to_owned(),
        ),
        E::AccessToken => (
            Reason::WrongTokenKind,
            "Unable to parse JWT".to_owned(),
            format!("This is an access token, which is for APIs. {ID_TOKEN} (target_audience instead of scope)."),
        ),
        E::NotAJwt => {
            (Reason::InvalidToken, "Unable to parse JWT".to_owned(), format!("{ID_TOKEN}: this is not a JWT."))
        }
        E::Algorithm => (
            Reason::JwtAlg,
            "JWT signature is invalid".to_owned(),
            "Send an ID token of this issuer: they are signed with RS256.".to_owned(),
        ),
        E::Assertion => (
            Reason::WrongTokenKind,
            "JWT signature is invalid".to_owned(),
            format!("This is the signed header that an application receives, and no credential. {ID_TOKEN}."),
        ),
        E::SelfSigned => (
            Reason::WrongTokenKind,
            "JWT signature is invalid".to_owned(),
            "This JWT is signed by a service account: exchange it at the token endpoint for an ID token.".to_owned(),
        ),
        E::Signature => (
            Reason::InvalidToken,
            "JWT signature is invalid".to_owned(),
            "Get a new ID token from this issuer's token endpoint.".to_owned(),
        ),
        E::Claims => (
            Reason::InvalidToken,
            "JWT claims are not valid".to_owned(),
            "Get a new ID token from this issuer's token endpoint.".to_owned(),
        ),
        E::Expired(at) => (
            Reason::ExpiredToken,
            "Expired JWT".to_owned(),
            format!("Get a new ID token: exp is {}.", doorward_wire::time::rfc3339(*at)),
        ),
        E::NotYetValid(at) => (
            Reason::TokenNotYetValid,
            "JWT is not yet valid".to_owned(),
            format!("Set the clocks right: the token is valid from {}.", doorward_wire::time::rfc3339(*at)),
        ),
        E::Audience(audience) => (
            Reason::WrongAudience,
            // Public clients read the right client id out of this sentence and try again.
            format!(
                "JWT audience doesn't match this application ('aud' claim ({}) doesn't match expected value ({}))",
                html_escaped(&doorward_core::audit::escaped(audience.as_bytes(), 256)),
                expected.0
            ),
            format!("Ask for an ID token with the audience {}.", expected.0),
        ),
        E::EmailMissing => (
            Reason::MissingEmail,
            "JWT 'email' claim isn't a string".to_owned(),
            "Ask for the token with its e-mail: includeEmail, or format=full at the metadata server.".to_owned(),
        ),
    };
    Told { status: StatusCode::UNAUTHORIZED, reason, sentence: format!("{PREFIX}{sentence}"), fix }
}

/// The sentences go out as HTML, as Google's do, and an audience is a text that its bearer chose.
fn html_escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
