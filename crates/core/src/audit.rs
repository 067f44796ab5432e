//! What is recorded of each decision, and the one list of reasons.

use std::net::IpAddr;

use async_trait::async_trait;
use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;

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
    /// A deny rule forbids it, whatever role the caller holds.
    DeniedByRule,
    /// IAP is switched off for the application, so nobody is let in.
    IapDisabled,
    /// The store could not be read for too long: what is known of grants may no longer be true.
    StaleGrants,
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
    pub const ALL: [Reason; 23] = [
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
        Reason::DeniedByRule,
        Reason::IapDisabled,
        Reason::StaleGrants,
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
            Reason::DeniedByRule => "denied_by_rule",
            Reason::IapDisabled => "iap_disabled",
            Reason::StaleGrants => "stale_grants",
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
        /// The title of its condition.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        condition: Option<String>,
    },
    /// It was refused.
    Refused {
        /// Why.
        reason: Reason,
        /// What we saw, for the operator: never sent to a caller, never a secret.
        detail: String,
        /// The name of the deny policy that forbids it, and the place of the rule in it, from 0.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        denied_by: Option<(String, usize)>,
    },
}

/// One request to an application. Never holds a token, a cookie or a query string.
///
/// It holds what a condition may read, so that a decision can be taken again on another policy: all but the claims of the
/// credential and the header fields, which may be private. A condition on these cannot be evaluated then.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Decision {
    /// 22 characters of base64url; `x-doorward-decision-id` on a refusal.
    pub id: String,
    /// When the request arrived.
    pub time: Timestamp,
    /// The canonical name of the resource, if the host led to one.
    pub resource: Option<String>,
    /// The canonical name of its version: where the request was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// `user:EMAIL`, `serviceAccount:EMAIL` or `principal://…`, if a caller was proven.
    pub caller: Option<String>,
    /// Of a caller from elsewhere: the members that they match besides, at most [`MEMBERS_LIMIT`]. Groups of ours are not among them:
    /// those that the caller is in today count when the decision is taken again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<String>,
    /// The names of the access levels that were met, as far as they were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub access_levels: Vec<String>,
    /// The OAuth client of the application.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oauth_client: Option<String>,
    /// What the caller calls their program, escaped and cut at 255 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// `http` or `https`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
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
    /// The address of whoever asked: the peer's, or what a proxy that is trusted said.
    pub client: String,
}

/// The most members of a caller from elsewhere that are recorded.
pub const MEMBERS_LIMIT: usize = 64;

impl Default for Outcome {
    fn default() -> Self {
        Outcome::Refused { reason: Reason::BadRequest, detail: String::new(), denied_by: None }
    }
}

impl Decision {
    /// Whether it is an access that everybody has: Google writes no entry for it, and ours has no form of Google's.
    pub fn is_public(&self) -> bool {
        matches!(&self.outcome, Outcome::Allowed { member, .. } if member == "allUsers")
    }
}

/// Whether an administrative method only looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdminKind {
    /// `ADMIN_READ`, `DATA_READ`
    Read,
    /// `ADMIN_WRITE`: in the activity log.
    Write,
    /// `DATA_WRITE`
    DataWrite,
}

/// A permission that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckedPermission {
    /// Its name.
    pub permission: String,
    /// The canonical name of the resource.
    pub resource: String,
    /// `resource.type` of it.
    pub resource_type: String,
    /// Whether the caller has it.
    pub granted: bool,
}

/// One call of an administrative method. Never holds a secret: what is before and after is as a reader may see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdminEvent {
    /// 22 characters of base64url.
    pub id: String,
    /// When the call arrived.
    pub time: Timestamp,
    /// `iap.googleapis.com` and the like; `doorward` for what is only ours.
    pub service: String,
    /// The full name of the method, such as `google.cloud.iap.v1.IdentityAwareProxyAdminService.SetIamPolicy`.
    pub method: String,
    /// Whether it only looked.
    pub kind: AdminKind,
    /// The canonical name of what it was about, or as the caller wrote it if that leads nowhere.
    pub resource: String,
    /// The member who called; `operator` for the holder of the administration token; `None` if nobody was proven.
    pub caller: Option<String>,
    /// The peer's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// What the caller calls their program, escaped and cut at 255 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// Every permission that was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub permissions: Vec<CheckedPermission>,
    /// What was there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// What is there now; after a failure of ours (`INTERNAL`), what may be there now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
    /// `google.rpc.Code`: 0 if it was done.
    pub code: i32,
    /// The cause in our words; empty if it was done.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
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
#[expect(clippy::large_enum_variant, reason = "most are decisions: a box would cost an allocation for each request")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum AuditEvent {
    /// A request to an application.
    Decision(Decision),
    /// A request to an endpoint that gives, takes or shows tokens.
    Token(TokenEvent),
    /// A call of an administrative method.
    Admin(Box<AdminEvent>),
}

impl AuditEvent {
    /// Its id.
    pub fn id(&self) -> &str {
        match self {
            AuditEvent::Decision(event) => &event.id,
            AuditEvent::Token(event) => &event.id,
            AuditEvent::Admin(event) => &event.id,
        }
    }

    /// When it happened.
    pub fn time(&self) -> Timestamp {
        match self {
            AuditEvent::Decision(event) => event.time,
            AuditEvent::Token(event) => event.time,
            AuditEvent::Admin(event) => event.time,
        }
    }
}

/// An event with its place in the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredEvent {
    /// Grows by one with each event.
    pub sequence: i64,
    /// What chains it to the event before: [`chain_hash`].
    #[serde(default)]
    pub hash: String,
    /// What happened.
    #[serde(flatten)]
    pub event: AuditEvent,
}

/// What the hash of the first event of all is chained to.
pub const CHAIN_START: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// A place in the chain: what the next event is chained to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainLink {
    /// The sequence number of an event.
    pub sequence: i64,
    /// Its hash.
    pub hash: String,
}

impl ChainLink {
    /// The place before the first event of all.
    pub fn start() -> Self {
        ChainLink { sequence: 0, hash: CHAIN_START.to_owned() }
    }
}

/// The hash of an event: SHA-256, in hexadecimal digits, over the hash of the event before, a line break, the sequence number, a line
/// break, and the canonical JSON of the event (as an [`AuditEvent`], without sequence and hash).
pub fn chain_hash(previous: &str, sequence: i64, event: &Value) -> String {
    chain_hash_of_canonical(previous, sequence, &canonical_json(event))
}

/// As [`chain_hash`], of an event whose [`canonical_json`] is at hand.
pub fn chain_hash_of_canonical(previous: &str, sequence: i64, canonical: &str) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let text = format!("{previous}\n{sequence}\n{canonical}");
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    let digit = |four: u8| char::from(DIGITS[usize::from(four & 15)]);
    hash.as_ref().iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

/// JSON in its one form: the keys of each object in the order of their bytes, no white space.
pub fn canonical_json(value: &Value) -> String {
    let mut text = String::new();
    write_canonical(value, &mut text);
    text
}

fn write_canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(fields) => {
            // Whether the library keeps the order of writing depends on who else uses it.
            let sorted: std::collections::BTreeMap<_, _> = fields.iter().collect();
            text.push('{');
            for (place, (key, value)) in sorted.into_iter().enumerate() {
                text.push_str(if place == 0 { "" } else { "," });
                text.push_str(&Value::from(key.as_str()).to_string());
                text.push(':');
                write_canonical(value, text);
            }
            text.push('}');
        }
        Value::Array(values) => {
            text.push('[');
            for (place, value) in values.iter().enumerate() {
                text.push_str(if place == 0 { "" } else { "," });
                write_canonical(value, text);
            }
            text.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => text.push_str(&value.to_string()),
    }
}

/// Where a chain is broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// Events are missing, or were put in.
    #[error("after event {after} comes event {found}")]
    Gap {
        /// The last that was right.
        after: i64,
        /// What follows it.
        found: i64,
    },
    /// An event, or its hash, is not what was written.
    #[error("event {0} was changed")]
    Changed(i64),
}

/// Checks a chain from the event after `from` on, and gives its end: to be compared with what was kept elsewhere, for nobody can see
/// from a chain that its end was cut off.
///
/// Takes events as they are stored: the JSON that was written, and not what a newer version would write.
///
/// # Errors
/// [`ChainError`]: the first place where it is broken.
pub fn verify_chain(
    from: ChainLink,
    events: impl IntoIterator<Item = (i64, Value, String)>,
) -> Result<ChainLink, ChainError> {
    let mut end = from;
    for (sequence, event, hash) in events {
        if sequence != end.sequence + 1 {
            return Err(ChainError::Gap { after: end.sequence, found: sequence });
        }
        if chain_hash(&end.hash, sequence, &event) != hash {
            return Err(ChainError::Changed(sequence));
        }
        end = ChainLink { sequence, hash };
    }
    Ok(end)
}

/// Takes events. Nothing that was taken is dropped while the process lives.
#[async_trait]
pub trait AuditSink: Send + Sync {
    /// Takes one event; waits while the queue is full, which slows the caller instead of losing the event.
    ///
    /// # Errors
    /// [`AuditClosed`] if the record can no longer be written: the caller must not answer with success.
    async fn record(&self, event: AuditEvent) -> Result<(), AuditClosed>;

    /// Takes one event, and returns when it and everything before it is in the store of records. It tells of what stands already, so
    /// it is taken even while the record cannot be written.
    ///
    /// # Errors
    /// [`AuditClosed`] if it is not known to be there. It is kept all the same while the process lives, and written when that can be done.
    async fn record_durably(&self, event: AuditEvent) -> Result<(), AuditClosed>;

    /// Returns when everything that was taken before is in the store of records, after some seconds at most.
    ///
    /// # Errors
    /// [`AuditClosed`] if it is not known to be there.
    async fn written(&self) -> Result<(), AuditClosed>;

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

    async fn record_durably(&self, event: AuditEvent) -> Result<(), AuditClosed> {
        self.record(event).await
    }

    async fn written(&self) -> Result<(), AuditClosed> {
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
    fn a_chain_tells_where_it_was_touched() {
        use serde_json::json;
        let chain = |events: &[Value]| {
            let mut link = ChainLink::start();
            let mut chained = Vec::new();
            for event in events {
                let sequence = link.sequence + 1;
                link = ChainLink { sequence, hash: chain_hash(&link.hash, sequence, event) };
                chained.push((sequence, event.clone(), link.hash.clone()));
            }
            chained
        };
        let events = [json!({"a": 1, "b": [true, null]}), json!({"a": 2}), json!({"a": 3}), json!({"a": 4})];
        let good = chain(&events);
        assert_eq!(verify_chain(ChainLink::start(), good.clone()).unwrap().sequence, 4);
        let from = ChainLink { sequence: 2, hash: good[1].2.clone() };
        assert_eq!(verify_chain(from, good[2..].to_vec()).unwrap().hash, good[3].2);
        type Touch = fn(&mut Vec<(i64, Value, String)>);
        #[rustfmt::skip]
        let cases: [(Touch, ChainError); 6] = [
            (|it| it[1].1 = json!({"a": 20}),     ChainError::Changed(2)),
            (|it| it[1].2.replace_range(..1, "x"), ChainError::Changed(2)),
            (|it| drop(it.remove(1)),             ChainError::Gap { after: 1, found: 3 }),
            (|it| drop(it.remove(0)),             ChainError::Gap { after: 0, found: 2 }),
            (|it| it.swap(2, 3),                  ChainError::Gap { after: 2, found: 4 }),
            (|it| { it.remove(1); it[1].0 = 2; it[2].0 = 3 }, ChainError::Changed(2)),
        ];
        for (touch, expected) in cases {
            let mut touched = good.clone();
            touch(&mut touched);
            assert_eq!(verify_chain(ChainLink::start(), touched), Err(expected));
        }
    }

    #[test]
    fn json_has_one_form() {
        let one: Value =
            serde_json::from_str(r#"{ "b" : {"y": [1, 2.5, "\u00e9\n"], "x": null}, "a": true }"#).unwrap();
        assert_eq!(canonical_json(&one), r#"{"a":true,"b":{"x":null,"y":[1,2.5,"é\n"]}}"#);
    }

    #[test]
    fn an_entry_of_an_older_version_is_read() {
        let old = r#"{"type":"decision","id":"i","time":1,"resource":null,"caller":null,"outcome":"refused","reason":"bad_path",
            "detail":"d","method":"GET","host":"h","path":"/","status":400,"latency_micros":1,"client":"127.0.0.1"}"#;
        let AuditEvent::Decision(read) = serde_json::from_str(old).unwrap() else { panic!("another event") };
        assert_eq!(read.outcome, Outcome::Refused { reason: Reason::BadPath, detail: "d".into(), denied_by: None });
    }

    #[test]
    fn a_strangers_text_cannot_forge_a_line_of_the_record() {
        assert_eq!(escaped(b"/a\r\nb\x1b[1m\xff", 100), "/a\\r\\nb\\x1b[1m\\xff");
        assert_eq!(escaped(b"/abcdef", 4), "/abc");
    }
}
