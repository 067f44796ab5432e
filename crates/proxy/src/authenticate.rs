//! Stage 2: who is calling? Bearer ID tokens of our own issuer.

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use doorward_core::account::UniqueId;
use doorward_core::clock::{CLOCK_SKEW, Timestamp};
use doorward_core::grant::{ACCESS_TOKEN_PREFIX, ADMIN_TOKEN_PREFIX};
use doorward_core::keys::{ID_TOKEN_TTL, KeyPurpose};
use doorward_core::member::Email;
use doorward_core::snapshot::{AccountKind, ProtectedResource, Snapshot};
use doorward_wire::headers::{Bearer, bearer};
use doorward_wire::jose::{Algorithm, ClaimError, Claims, JwsError, Unverified};
use http::header::{AUTHORIZATION, HeaderMap, PROXY_AUTHORIZATION};
use quick_cache::sync::Cache;
use quick_cache::{Equivalent, Weighter};
use serde_json::Value;

use crate::record::Trace;
use crate::refusal::Refusal;
use crate::sanitize::Sanitized;

/// Tokens of this length and longer are refused before they are decoded.
const TOKEN_LIMIT: usize = 16 * 1024;
/// How much of verified tokens is kept, in bytes.
const CACHE_BYTES: u64 = 32 * 1024 * 1024;
/// `iss` of the signed header: a token of this issuer is an application's, not a caller's.
const ASSERTION_ISSUER: &str = "https://cloud.google.com/iap";

/// What becomes of an ID token of our issuer without an `email` claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmailClaim {
    /// The account is found by `sub`, and the record says that Google's IAP would refuse the token.
    Optional,
    /// Refused with Google's sentence.
    Required,
}

/// Who is calling: proven by a credential for this resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) kind: AccountKind,
    pub(crate) unique_id: UniqueId,
    pub(crate) email: Email,
    /// Something that Google's IAP would have decided otherwise.
    pub(crate) note: Option<&'static str>,
}

impl Caller {
    /// The organisation of a person: the domain of their address. A program has none.
    pub(crate) fn hosted_domain(&self) -> Option<&str> {
        match self.kind {
            AccountKind::User => Some(self.email.domain()),
            AccountKind::ServiceAccount => None,
        }
    }

    /// As policies write it.
    pub(crate) fn member(&self) -> String {
        match self.kind {
            AccountKind::User => format!("user:{}", self.email),
            AccountKind::ServiceAccount => format!("serviceAccount:{}", self.email),
        }
    }
}

/// What came of looking for a credential.
pub(crate) enum Authenticated {
    /// Somebody, proven.
    Caller(Arc<Caller>),
    /// No credential was sent. That is no refusal yet: the policy may admit everyone.
    Nobody {
        /// A bearer token in `Proxy-Authorization` was there and not valid. Never an error by itself.
        invalid_proxy_authorization: bool,
    },
}

/// Why a token is not accepted. All that it says, the bearer can read in the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("the token has {TOKEN_LIMIT} bytes or more")]
    TooLarge,
    #[error("an opaque access token")]
    AccessToken,
    #[error("not a JWT")]
    NotAJwt,
    #[error("the algorithm is not accepted")]
    Algorithm,
    #[error("the signed header that an application receives")]
    Assertion,
    #[error("a JWT that a service account signed itself")]
    SelfSigned,
    #[error("the key is unknown or the signature does not verify")]
    Signature,
    #[error("another issuer, no account, or a claim that is missing or has the wrong type")]
    Claims,
    #[error("expired at {0}")]
    Expired(i64),
    #[error("not valid before {0}")]
    NotYetValid(i64),
    #[error("for audience {0:?}")]
    Audience(String),
    #[error("no email claim")]
    EmailMissing,
}

/// Verifies tokens, and remembers those that it verified.
pub(crate) struct Authenticator {
    issuer: String,
    email_claim: EmailClaim,
    verified: Cache<TokenKey, Verified, BySize>,
}

/// Everything that the cached answer depends on: the whole token, the resource, and the snapshot with its keys, accounts
/// and client ids. A hash alone would let a collision pass.
#[derive(PartialEq, Eq, Hash)]
struct TokenKey {
    snapshot: u64,
    resource: String,
    token: String,
}

#[derive(PartialEq, Eq, Hash)]
struct TokenKeyRef<'a> {
    snapshot: u64,
    resource: &'a str,
    token: &'a str,
}

impl Equivalent<TokenKey> for TokenKeyRef<'_> {
    fn equivalent(&self, key: &TokenKey) -> bool {
        self.snapshot == key.snapshot && self.resource == key.resource && self.token == key.token
    }
}

#[derive(Clone)]
struct Verified {
    caller: Arc<Caller>,
    /// An entry never outlives its token.
    valid_until: Timestamp,
}

#[derive(Clone)]
struct BySize;

impl Weighter<TokenKey, Verified> for BySize {
    fn weight(&self, key: &TokenKey, _: &Verified) -> u64 {
        (key.token.len() + key.resource.len() + 256) as u64
    }
}

impl Authenticator {
    pub(crate) fn new(issuer: String, email_claim: EmailClaim) -> Self {
        let expected_items = 16 * 1024;
        Authenticator { issuer, email_claim, verified: Cache::with_weighter(expected_items, CACHE_BYTES, BySize) }
    }

    /// The caller whom this token proves at this resource.
    fn verify(
        &self,
        token: &str,
        resource: &ProtectedResource,
        snapshot: &Snapshot,
        now: Timestamp,
    ) -> Result<Arc<Caller>, TokenError> {
        if token.len() >= TOKEN_LIMIT {
            return Err(TokenError::TooLarge);
        }
        let key = TokenKeyRef { snapshot: snapshot.version, resource: &resource.name, token };
        if let Some(hit) = self.verified.get(&key).filter(|hit| now < hit.valid_until) {
            return Ok(hit.caller);
        }
        let (caller, valid_until) = self.check(token, resource, snapshot, now)?;
        let caller = Arc::new(caller);
        let key = TokenKey { snapshot: snapshot.version, resource: resource.name.clone(), token: token.to_owned() };
        self.verified.insert(key, Verified { caller: caller.clone(), valid_until });
        Ok(caller)
    }

    fn check(
        &self,
        token: &str,
        resource: &ProtectedResource,
        snapshot: &Snapshot,
        now: Timestamp,
    ) -> Result<(Caller, Timestamp), TokenError> {
        let unverified = Unverified::parse(token, TOKEN_LIMIT - 1, &[Algorithm::Rs256, Algorithm::Es256])
            .map_err(|error| from_jws(error, token))?;
        let unproven = |claim: &str| unverified.unproven_claims().get(claim).and_then(Value::as_str);
        if unverified.algorithm() != Algorithm::Rs256 {
            let own = unproven("iss") == Some(ASSERTION_ISSUER);
            return Err(if own { TokenError::Assertion } else { TokenError::Algorithm });
        }
        let key = unverified.kid().and_then(|kid| snapshot.keys.verifying(KeyPurpose::IdToken, kid, now));
        let Some(key) = key else {
            let issuer = unproven("iss").filter(|iss| iss.ends_with(".gserviceaccount.com"));
            let own = issuer.is_some() && issuer == unproven("sub");
            return Err(if own { TokenError::SelfSigned } else { TokenError::Signature });
        };
        let claims = unverified.verify(key).map_err(|_| TokenError::Signature)?;
        self.check_claims(&claims, resource, snapshot, now)
    }

    fn check_claims(
        &self,
        claims: &Claims,
        resource: &ProtectedResource,
        snapshot: &Snapshot,
        now: Timestamp,
    ) -> Result<(Caller, Timestamp), TokenError> {
        if claims.string("iss") != Some(&self.issuer) {
            return Err(TokenError::Claims);
        }
        claims.check_time(now.seconds(), seconds(CLOCK_SKEW)).map_err(|error| match error {
            ClaimError::Missing(_) => TokenError::Claims,
            ClaimError::Expired(at) => TokenError::Expired(at),
            ClaimError::NotYetValid(at) => TokenError::NotYetValid(at),
        })?;
        let (issued, expires) = (claims.seconds("iat"), claims.seconds("exp"));
        let (Ok(issued), Ok(expires)) = (issued, expires) else { return Err(TokenError::Claims) };
        // We never issue a longer one, so a longer one is not ours, whatever its signature.
        if expires.saturating_sub(issued) > seconds(ID_TOKEN_TTL) {
            return Err(TokenError::Claims);
        }
        let audience = claims.string("aud").ok_or(TokenError::Claims)?;
        if audience != resource.application.client_id.0 {
            return Err(TokenError::Audience(audience.to_owned()));
        }
        let unique_id = UniqueId(claims.string("sub").ok_or(TokenError::Claims)?.to_owned());
        let account = snapshot.account(&unique_id).filter(|account| !account.disabled).ok_or(TokenError::Claims)?;
        let note = match claims.as_object().get("email") {
            Some(Value::String(email)) if email.parse::<Email>().is_ok_and(|email| email == account.email) => None,
            Some(Value::String(_)) => return Err(TokenError::Claims),
            Some(_) => return Err(TokenError::EmailMissing),
            None => match self.email_claim {
                EmailClaim::Required => return Err(TokenError::EmailMissing),
                EmailClaim::Optional => Some("Google's IAP would refuse this token: it has no email claim"),
            },
        };
        if claims.as_object().get("email_verified").is_some_and(|verified| *verified != Value::Bool(true)) {
            return Err(TokenError::Claims);
        }
        let caller = Caller { kind: account.kind, unique_id, email: account.email.clone(), note };
        Ok((caller, Timestamp::from_seconds(expires) + CLOCK_SKEW))
    }
}

/// Finds the caller: `Proxy-Authorization` first, then `Authorization`.
///
/// A valid token in `Proxy-Authorization` decides alone, and `Authorization` is then the application's own. An invalid one
/// is never itself an error.
///
/// Spec: <https://cloud.google.com/iap/docs/authentication-howto>, "Authenticating from Proxy-Authorization Header".
pub(crate) fn authenticate(
    authenticator: &Authenticator,
    request: &Sanitized,
    resource: &ProtectedResource,
    snapshot: &Snapshot,
    trace: &mut Trace,
) -> Result<Authenticated, Refusal> {
    let now = trace.now();
    let proxy_token = single_bearer(&request.headers, PROXY_AUTHORIZATION)?;
    let token = single_bearer(&request.headers, AUTHORIZATION)?;
    let verify = |token| authenticator.verify(token, resource, snapshot, now);
    let mut invalid_proxy_authorization = false;
    let proven = match proxy_token {
        Presented::Absent => None,
        Presented::NotAToken => {
            invalid_proxy_authorization = true;
            None
        }
        Presented::Token(token) => {
            let verified = verify(token).ok();
            invalid_proxy_authorization = verified.is_none();
            verified
        }
    };
    let proven = match (proven, token) {
        (Some(caller), _) => Some(caller),
        (None, Presented::Absent) => None,
        (None, Presented::NotAToken) => return Err(bad_credential(TokenError::NotAJwt, resource)),
        (None, Presented::Token(token)) => Some(verify(token).map_err(|error| bad_credential(error, resource))?),
    };
    let Some(caller) = proven else { return Ok(Authenticated::Nobody { invalid_proxy_authorization }) };
    trace.caller = Some(caller.member());
    trace.note = caller.note;
    Ok(Authenticated::Caller(caller))
}

fn bad_credential(error: TokenError, resource: &ProtectedResource) -> Refusal {
    Refusal::BadCredential { error, expected: resource.application.client_id.clone() }
}

enum Presented<'a> {
    /// No field, an empty bearer, or a scheme that is the application's own.
    Absent,
    NotAToken,
    Token(&'a str),
}

/// Reads a credential field. Two fields of one name are refused: "first wins" here and "last wins" in an application would
/// be two callers in one request.
fn single_bearer(headers: &HeaderMap, name: http::HeaderName) -> Result<Presented<'_>, Refusal> {
    let mut fields = headers.get_all(name).iter();
    match (fields.next(), fields.next()) {
        (None, _) => Ok(Presented::Absent),
        (Some(field), None) => Ok(match bearer(field) {
            Bearer::OtherScheme | Bearer::Empty => Presented::Absent,
            Bearer::Malformed => Presented::NotAToken,
            Bearer::Token(token) => Presented::Token(token),
        }),
        (Some(_), Some(_)) => Err(Refusal::AmbiguousCredential),
    }
}

fn from_jws(error: JwsError, token: &str) -> TokenError {
    const OPAQUE: [&str; 3] = [ACCESS_TOKEN_PREFIX, ADMIN_TOKEN_PREFIX, "ya29."];
    match error {
        JwsError::TooLong { .. } => TokenError::TooLarge,
        _ if OPAQUE.iter().any(|prefix| token.starts_with(prefix)) => TokenError::AccessToken,
        JwsError::NotCompact | JwsError::Object(_) => TokenError::NotAJwt,
        JwsError::Algorithm => TokenError::Algorithm,
        JwsError::HeaderParameter(_) | JwsError::HeaderType | JwsError::Signature => TokenError::Signature,
    }
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
