//! What is recorded of each decision, and the one list of reasons.

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
    /// An access token, an assertion of ours, or another token that is not an ID token.
    WrongTokenKind,
    /// The ID token is for another audience.
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
    /// The application could not be reached or did not answer.
    UpstreamFailed,
    /// The record of decisions cannot be written, so nothing is let through.
    CannotRecord,
}

impl Reason {
    /// Every reason, in the order of the documentation.
    pub const ALL: [Reason; 19] = [
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
    /// `user:EMAIL` or `serviceAccount:EMAIL`, if a caller was proven.
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

/// One request to the token endpoint. Never holds a token or an assertion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenEvent {
    /// 22 characters of base64url.
    pub id: String,
    /// When the request arrived.
    pub time: Timestamp,
    /// The account that was proven, or that the assertion named.
    pub account: Option<String>,
    /// `id_token` or `access_token`, if one was issued.
    pub issued: Option<String>,
    /// The audience or the scopes of what was issued.
    pub audience: Option<String>,
    /// Why nothing was issued: the cause in our words.
    pub refused: Option<String>,
}

/// Anything that is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum AuditEvent {
    /// A request to an application.
    Decision(Decision),
    /// A request for a token.
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
    }

    #[test]
    fn a_strangers_text_cannot_forge_a_line_of_the_record() {
        assert_eq!(escaped(b"/a\r\nb\x1b[1m\xff", 100), "/a\\r\\nb\\x1b[1m\\xff");
        assert_eq!(escaped(b"/abcdef", 4), "/abc");
    }
}
