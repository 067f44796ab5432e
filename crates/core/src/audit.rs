//! What is recorded of each decision, and the one list of reasons.

use std::net::IpAddr;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// Why a request was refused. The list is an interface: `x-doorward-reason` carries it, `docs/reference/reasons.md` explains
/// it, and a code never changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The bytes were not an HTTP request that we forward: broken framing, a forbidden field or method.
    BadRequest,
    /// The name or the value of a header field has a byte that may not stand there.
    BadHeaderValue,
    /// No `Host`, several, or one that is not a host.
    BadHost,
    /// The target is ambiguous: two readers would see two paths.
    BadPath,
    /// No application is served at this host.
    NoSuchResource,
    /// No credential was sent.
    NoCredential,
    /// More than one credential was sent in one field's name.
    AmbiguousCredential,
    /// The token is not one that we issued, or its signature does not verify.
    InvalidToken,
    /// The token names an algorithm that is not accepted.
    JwtAlg,
    /// The token is longer than 16 KiB.
    TokenTooLarge,
    /// An access token, an assertion of ours, or another token that is neither an ID token nor signed by a service account.
    WrongTokenKind,
    /// The token is for another audience, or for another URL.
    WrongAudience,
    /// The token's `exp` has passed.
    ExpiredToken,
    /// The token's `iat` or `nbf` lies ahead.
    TokenNotYetValid,
    /// The token has no `email`, and the application demands one.
    MissingEmail,
    /// The caller is known and holds no role here.
    PermissionDenied,
    /// The signed header could not be made; nothing was forwarded.
    CannotSign,
    /// The keys of the token's issuer are not at hand and could not be fetched.
    KeysUnavailable,
    /// The application could not be reached or did not answer.
    UpstreamFailed,
    /// The record of decisions cannot be written, so nothing is let through.
    CannotRecord,
}

impl Reason {
    /// Every reason, in the order of the documentation.
    pub const ALL: [Reason; 20] = [
        Reason::BadRequest,
        Reason::BadHeaderValue,
        Reason::BadHost,
        Reason::BadPath,
        Reason::NoSuchResource,
        Reason::NoCredential,
        Reason::AmbiguousCredential,
        Reason::InvalidToken,
        Reason::JwtAlg,
        Reason::TokenTooLarge,
        Reason::WrongTokenKind,
        Reason::WrongAudience,
        Reason::ExpiredToken,
        Reason::TokenNotYetValid,
        Reason::MissingEmail,
        Reason::PermissionDenied,
        Reason::CannotSign,
        Reason::KeysUnavailable,
        Reason::UpstreamFailed,
        Reason::CannotRecord,
    ];

    /// The code on the wire.
    pub fn code(self) -> &'static str {
        match self {
            Reason::BadRequest => "bad_request",
            Reason::BadHeaderValue => "bad_header_value",
            Reason::BadHost => "bad_host",
            Reason::BadPath => "bad_path",
            Reason::NoSuchResource => "no_such_resource",
            Reason::NoCredential => "no_credential",
            Reason::AmbiguousCredential => "ambiguous_credential",
            Reason::InvalidToken => "invalid_token",
            Reason::JwtAlg => "jwt_alg",
            Reason::TokenTooLarge => "token_too_large",
            Reason::WrongTokenKind => "wrong_token_kind",
            Reason::WrongAudience => "wrong_audience",
            Reason::ExpiredToken => "expired_token",
            Reason::TokenNotYetValid => "token_not_yet_valid",
            Reason::MissingEmail => "missing_email",
            Reason::PermissionDenied => "permission_denied",
            Reason::CannotSign => "cannot_sign",
            Reason::KeysUnavailable => "keys_unavailable",
            Reason::UpstreamFailed => "upstream_failed",
            Reason::CannotRecord => "cannot_record",
        }
    }
}

/// How a request was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It was let in by a binding.
    Allowed {
        /// The name of the resource on which the binding stands.
        binding_resource: String,
        /// The role.
        role: String,
        /// The member of the binding that matched.
        member: String,
    },
    /// It was refused.
    Refused {
        /// Why.
        reason: Reason,
        /// What we saw, for the operator: never sent to a caller, never a secret.
        detail: String,
    },
}

/// One request to an application. Never holds a token, a cookie or a query string.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// 22 characters of base64url; `x-doorward-decision-id` on a refusal.
    pub id: String,
    /// When the request arrived.
    pub time: Timestamp,
    /// The canonical name of the resource, if the host led to one.
    pub resource: Option<String>,
    /// `user:EMAIL`, `serviceAccount:EMAIL` or `principal://…`, if a caller was proven.
    pub caller: Option<String>,
    /// How it was decided.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// Something that Google's IAP would have decided otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The method.
    pub method: String,
    /// The `Host` as sent, escaped and cut at 255 characters.
    pub host: String,
    /// The path without the query, escaped and cut at 1,024 characters.
    pub path: String,
    /// The status of the answer.
    pub status: u16,
    /// From the request's head to the answer's head.
    pub latency_micros: u64,
    /// The peer's address.
    pub client: String,
}

/// What was asked for at an endpoint that gives, takes or shows tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenMethod {
    /// `/token`: a service account's assertion.
    #[default]
    JwtBearer,
    /// `/token`: an authorization code.
    AuthorizationCode,
    /// `/token`: a refresh token.
    RefreshToken,
    /// `/token`: a device code.
    DeviceCode,
    /// `/token`: a form that is no request.
    Token,
    /// `sts.googleapis.com/v1/token`: a token of another issuer.
    TokenExchange,
    /// `/device/code`, and the page on which a person decides.
    DeviceAuthorization,
    /// `/o/oauth2/v2/auth`.
    Authorize,
    /// The sign-in page.
    SignIn,
    /// `/revoke`.
    Revoke,
    /// `/tokeninfo`.
    TokenInfo,
    /// `/v1/userinfo`.
    UserInfo,
    /// `:generateIdToken`.
    GenerateIdToken,
    /// `:generateAccessToken`.
    GenerateAccessToken,
    /// `:signJwt`.
    SignJwt,
    /// `:signBlob`.
    SignBlob,
    /// The metadata server.
    Metadata,
    /// A bearer at one of Google's APIs.
    Api,
}

/// Why an endpoint that gives, takes or shows tokens refused. The list is an interface: `docs/reference/reasons.md` explains it,
/// and a code never changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenReason {
    /// A parameter is missing, repeated or malformed.
    InvalidRequest,
    /// The client is unknown, or its secret is wrong or missing.
    InvalidClient,
    /// The redirect URI is not one of the client's, or not the one of the code.
    RedirectMismatch,
    /// The code, refresh token or device code is unknown, has ended, or belongs to another client.
    UnknownGrant,
    /// The code was used before; what it gave is revoked.
    CodeReuse,
    /// The refresh token was used before; everything of its family is revoked.
    RefreshTokenReuse,
    /// A public client sent no challenge, or one that is malformed.
    PkceRequired,
    /// The verifier does not fit the challenge, or one of them is missing.
    PkceMismatch,
    /// A scope is unknown, or was not granted.
    InvalidScope,
    /// The audience is no client, or one of another project.
    InvalidAudience,
    /// The assertion is malformed, not signed by a key of its account, or its claims do not hold.
    InvalidAssertion,
    /// The assertion was used before.
    ReplayedAssertion,
    /// There is no such provider, or it or its pool is disabled.
    UnknownProvider,
    /// The subject token is malformed, of another issuer, for another audience, not good now, or not signed by a key of its
    /// issuer.
    InvalidSubjectToken,
    /// A mapped attribute is missing, has the wrong type or is too long.
    AttributeMapping,
    /// The provider's attribute condition does not hold.
    AttributeCondition,
    /// The keys of the token's issuer are not at hand and could not be fetched.
    KeysUnavailable,
    /// There is no such account, or it is disabled.
    AccountNotFound,
    /// The password is wrong, or there is no such person.
    WrongPassword,
    /// Too many failures for this account or from this address.
    Throttled,
    /// The caller lacks a permission.
    PermissionDenied,
    /// The access token has not the scope.
    InsufficientScope,
    /// The bearer token is missing, unknown or has ended.
    InvalidBearer,
    /// Nobody is signed in, and the client forbade asking.
    LoginRequired,
    /// The person has not decided yet.
    AuthorizationPending,
    /// The person said no.
    AccessDenied,
    /// The device asked too soon.
    SlowDown,
    /// A metadata request without `Metadata-Flavor`, through a proxy, or for another host.
    MetadataRefused,
    /// The failure is ours.
    Internal,
}

impl TokenReason {
    /// Every reason, in the order of the documentation.
    pub const ALL: [TokenReason; 29] = [
        TokenReason::InvalidRequest,
        TokenReason::InvalidClient,
        TokenReason::RedirectMismatch,
        TokenReason::UnknownGrant,
        TokenReason::CodeReuse,
        TokenReason::RefreshTokenReuse,
        TokenReason::PkceRequired,
        TokenReason::PkceMismatch,
        TokenReason::InvalidScope,
        TokenReason::InvalidAudience,
        TokenReason::InvalidAssertion,
        TokenReason::ReplayedAssertion,
        TokenReason::UnknownProvider,
        TokenReason::InvalidSubjectToken,
        TokenReason::AttributeMapping,
        TokenReason::AttributeCondition,
        TokenReason::KeysUnavailable,
        TokenReason::AccountNotFound,
        TokenReason::WrongPassword,
        TokenReason::Throttled,
        TokenReason::PermissionDenied,
        TokenReason::InsufficientScope,
        TokenReason::InvalidBearer,
        TokenReason::LoginRequired,
        TokenReason::AuthorizationPending,
        TokenReason::AccessDenied,
        TokenReason::SlowDown,
        TokenReason::MetadataRefused,
        TokenReason::Internal,
    ];

    /// The code in the record.
    pub fn code(self) -> &'static str {
        match self {
            TokenReason::InvalidRequest => "invalid_request",
            TokenReason::InvalidClient => "invalid_client",
            TokenReason::RedirectMismatch => "redirect_mismatch",
            TokenReason::UnknownGrant => "unknown_grant",
            TokenReason::CodeReuse => "code_reuse",
            TokenReason::RefreshTokenReuse => "refresh_token_reuse",
            TokenReason::PkceRequired => "pkce_required",
            TokenReason::PkceMismatch => "pkce_mismatch",
            TokenReason::InvalidScope => "invalid_scope",
            TokenReason::InvalidAudience => "invalid_audience",
            TokenReason::InvalidAssertion => "invalid_assertion",
            TokenReason::ReplayedAssertion => "replayed_assertion",
            TokenReason::UnknownProvider => "unknown_provider",
            TokenReason::InvalidSubjectToken => "invalid_subject_token",
            TokenReason::AttributeMapping => "attribute_mapping",
            TokenReason::AttributeCondition => "attribute_condition",
            TokenReason::KeysUnavailable => "keys_unavailable",
            TokenReason::AccountNotFound => "account_not_found",
            TokenReason::WrongPassword => "wrong_password",
            TokenReason::Throttled => "throttled",
            TokenReason::PermissionDenied => "permission_denied",
            TokenReason::InsufficientScope => "insufficient_scope",
            TokenReason::InvalidBearer => "invalid_bearer",
            TokenReason::LoginRequired => "login_required",
            TokenReason::AuthorizationPending => "authorization_pending",
            TokenReason::AccessDenied => "access_denied",
            TokenReason::SlowDown => "slow_down",
            TokenReason::MetadataRefused => "metadata_refused",
            TokenReason::Internal => "internal",
        }
    }
}

/// One request to an endpoint that gives, takes or shows tokens. Never holds a token, a code, a password or an assertion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenEvent {
    /// 22 characters of base64url.
    pub id: String,
    /// When the request arrived.
    pub time: Timestamp,
    /// What was asked for.
    #[serde(default)]
    pub method: TokenMethod,
    /// The account that was proven, or that the request named.
    pub account: Option<String>,
    /// The OAuth client that was proven, or that the request named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// Who acted as the account: the caller, then each delegate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chain: Vec<String>,
    /// `id_token`, `access_token`, `code` and the like, if something was issued or done.
    pub issued: Option<String>,
    /// The audience or the scopes of what was issued.
    pub audience: Option<String>,
    /// Why nothing was issued: the cause in our words.
    pub refused: Option<String>,
    /// The same as a code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<TokenReason>,
    /// The peer's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
}

impl TokenEvent {
    /// An event of which nothing is known but when it was, what was asked for, and from where.
    pub fn new(id: String, time: Timestamp, method: TokenMethod, peer: Option<IpAddr>) -> Self {
        TokenEvent {
            id,
            time,
            method,
            account: None,
            client: None,
            chain: Vec::new(),
            issued: None,
            audience: None,
            refused: None,
            reason: None,
            peer: peer.map(|peer| peer.to_string()),
        }
    }
}

/// Anything that is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum AuditEvent {
    /// A request to an application.
    Decision(Decision),
    /// A request to an endpoint that gives, takes or shows tokens.
    Token(TokenEvent),
}

/// An event with its place in the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredEvent {
    /// Grows by one with each event.
    pub sequence: i64,
    /// What happened.
    #[serde(flatten)]
    pub event: AuditEvent,
}

/// Takes events. Nothing that was taken is dropped while the process lives.
#[async_trait]
pub trait AuditSink: Send + Sync {
    /// Takes one event; waits while the queue is full, which slows the caller instead of losing the event.
    ///
    /// # Errors
    /// [`AuditClosed`] if the record can no longer be written: the caller must not answer with success.
    async fn record(&self, event: AuditEvent) -> Result<(), AuditClosed>;

    /// Whether events are taken at this moment. To be asked before something is done that could not be undone.
    fn is_open(&self) -> bool;
}

/// The record can no longer be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the record of decisions cannot be written")]
pub struct AuditClosed;

/// A sink for tests: everything, in order.
#[derive(Debug, Default)]
pub struct RecordedEvents(std::sync::Mutex<Vec<AuditEvent>>);

impl RecordedEvents {
    /// What was recorded so far.
    pub fn events(&self) -> Vec<AuditEvent> {
        self.0.lock().map(|events| events.clone()).unwrap_or_default()
    }
}

#[async_trait]
impl AuditSink for RecordedEvents {
    async fn record(&self, event: AuditEvent) -> Result<(), AuditClosed> {
        self.0.lock().map_err(|_| AuditClosed)?.push(event);
        Ok(())
    }

    fn is_open(&self) -> bool {
        true
    }
}

/// Text of strangers for the record: visible ASCII as it is, all else escaped, at most `limit` characters.
///
/// A line break or an escape sequence in a path must not forge a line of the log or drive a terminal.
pub fn escaped(text: &[u8], limit: usize) -> String {
    let mut out: String = text.iter().take(limit).flat_map(|byte| byte.escape_ascii()).map(char::from).collect();
    out.truncate(limit);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_on_the_wire_is_the_name_in_the_record() {
        for reason in Reason::ALL {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.code());
        }
        for reason in TokenReason::ALL {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.code());
        }
    }

    #[test]
    fn a_strangers_text_cannot_forge_a_line_of_the_record() {
        assert_eq!(escaped(b"/a\r\nb\x1b[1m\xff", 100), "/a\\r\\nb\\x1b[1m\\xff");
        assert_eq!(escaped(b"/abcdef", 4), "/abc");
    }
}
