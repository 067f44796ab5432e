//! In a backend: the check of the signed header that an identity-aware proxy adds.

mod identity;
mod keys;
mod layer;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use doorward_wire::headers::{
    ASSERTION_ISSUER, AUTHENTICATED_USER_EMAIL, AUTHENTICATED_USER_ID, IAP_JWT_ASSERTION, folds_to,
};
use doorward_wire::jose::{Algorithm, ClaimError, Claims, JwsError, TOKEN_LIMIT, Unverified};
use http::{HeaderMap, HeaderName};

pub use identity::Identity;
pub use keys::KeysError;
pub use layer::{VerifyLayer, VerifyService};

use self::keys::KeyCache;
use crate::clock::{Clock, SystemClock, from_seconds, seconds};
use crate::origin::{Origin, without_secrets};
use crate::transport::{HttpClient, HttpOptions, Retry, certificates};

/// Where Google publishes the keys of the signed header.
///
/// Spec: <https://cloud.google.com/iap/docs/signed-headers-howto>
pub const GOOGLE_KEY_URL: &str = "https://www.gstatic.com/iap/verify/public_key-jwk";

/// Grace for clocks that disagree, in seconds.
const SKEW: i64 = 30;
/// The longest life of an assertion, in seconds: ten minutes, and the grace on both sides.
const LONGEST_LIFE: i64 = 600 + 2 * SKEW;

/// Why a request does not prove who is calling. For the log: strangers are told no more than that they are refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum VerifyError {
    /// There is no signed header: the request did not come through the proxy.
    #[error(
        "the header x-goog-iap-jwt-assertion is missing: let requests reach the application through the proxy alone"
    )]
    Missing,
    /// The header is there twice, also in another spelling that frameworks read alike.
    #[error("the header {0} is there more than once: let requests reach the application through the proxy alone")]
    Duplicate(HeaderName),
    /// It is no JWT as the proxy signs them.
    #[error("the assertion is not one of the proxy ({0}): let requests reach the application through the proxy alone")]
    Malformed(Arc<JwsError>),
    /// Its key is not in the document of keys.
    #[error(
        "the key of the assertion is not among the published ones: check that the address of the keys is that of this proxy"
    )]
    UnknownKey,
    /// There are no keys to verify with.
    #[error("there are no keys to verify with: {0}")]
    Keys(#[from] KeysError),
    /// Its signature is not that of the key.
    #[error("the signature of the assertion does not verify: somebody forged it")]
    Signature,
    /// `iss` is another one.
    #[error("the assertion is of another issuer than https://cloud.google.com/iap")]
    Issuer,
    /// `aud` is another one.
    #[error(
        "the assertion is for {found:?}, and this application is {expected:?}: correct the audience of the verifier, if the first is this one"
    )]
    Audience {
        /// What the assertion says.
        found: String,
        /// What was demanded.
        expected: Vec<String>,
    },
    /// It has ended, or has not begun.
    #[error("the assertion does not hold now ({0}): check the clocks of this machine and of the proxy")]
    Time(ClaimError),
    /// It lives longer than ten minutes.
    #[error("the assertion lives for {0} seconds, and no proxy signs for more than 600")]
    Life(i64),
    /// A claim is not of its type.
    #[error("the claim {0:?} of the assertion is not a text")]
    Claim(&'static str),
    /// An unsigned header says something else than the assertion.
    #[error(
        "the header {0} names somebody else than the assertion: let requests reach the application through the proxy alone"
    )]
    Mismatch(HeaderName),
}

/// Why there is no verifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifierError {
    /// No audience was set.
    #[error("a verifier needs the audience of the application, such as /projects/NUMBER/global/backendServices/ID")]
    NoAudience,
    /// Keys cannot be had there, or not safely: an address without `https`, of another machine.
    #[error("{0:?} is no address of keys: write https://…, or http://… of this machine")]
    KeyUrl(String),
    /// No certificate is in the text.
    #[error("what is to be trusted is no certificate in PEM: give the file of the authority")]
    Certificate,
}

/// Checks the signed header of requests. Cheap to clone; all clones share their keys.
///
/// It is called within a Tokio runtime with I/O and time enabled.
#[derive(Clone)]
pub struct Verifier(Arc<Inner>);

struct Inner {
    audiences: Vec<String>,
    keys: KeyCache,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("audiences", &self.0.audiences).finish_non_exhaustive()
    }
}

impl Verifier {
    /// Says what is verified, and with which keys.
    pub fn builder() -> VerifierBuilder {
        VerifierBuilder {
            audiences: Vec::new(),
            key_url: GOOGLE_KEY_URL.to_owned(),
            http: HttpOptions::default(),
            clock: Arc::new(SystemClock),
        }
    }

    /// Who is calling, from the headers of a request.
    ///
    /// The assertion is checked (ES256, a published key, issuer, audience, time), and then the two unsigned headers against it: they
    /// may be absent, but never say anything else.
    ///
    /// # Errors
    /// [`VerifyError`]. Answer 503 to [`Keys`](VerifyError::Keys) and 401 to all others, and do not say which it was.
    ///
    /// Spec: <https://cloud.google.com/iap/docs/signed-headers-howto>
    pub async fn verify(&self, headers: &HeaderMap) -> Result<Identity, VerifyError> {
        let assertion = single(headers, IAP_JWT_ASSERTION)?.ok_or(VerifyError::Missing)?;
        let malformed = |error| VerifyError::Malformed(Arc::new(error));
        let assertion = std::str::from_utf8(assertion).map_err(|_| malformed(JwsError::NotCompact))?;
        let unverified = Unverified::parse(assertion, TOKEN_LIMIT, &[Algorithm::Es256]).map_err(malformed)?;
        let kid = unverified.kid().ok_or(VerifyError::UnknownKey)?.to_owned();
        let kept = self.0.keys.with_key(&kid).await?.ok_or(VerifyError::UnknownKey)?;
        let key = kept.find(&kid).ok_or(VerifyError::UnknownKey)?;
        let claims = unverified.verify(key).map_err(|_| VerifyError::Signature)?;
        let identity = self.check(claims)?;
        compare(headers, &identity)?;
        Ok(identity)
    }

    fn check(&self, claims: Claims) -> Result<Identity, VerifyError> {
        if claims.string("iss") != Some(ASSERTION_ISSUER) {
            return Err(VerifyError::Issuer);
        }
        let audience = claims.string("aud").ok_or(VerifyError::Claim("aud"))?;
        if !self.0.audiences.iter().any(|expected| expected == audience) {
            return Err(VerifyError::Audience { found: audience.to_owned(), expected: self.0.audiences.clone() });
        }
        claims.check_time(seconds(self.0.clock.now()), SKEW).map_err(VerifyError::Time)?;
        let (issued, expires) = (claims.seconds("iat"), claims.seconds("exp"));
        let (issued, expires) = (issued.map_err(VerifyError::Time)?, expires.map_err(VerifyError::Time)?);
        let life = expires.saturating_sub(issued);
        if life > LONGEST_LIFE {
            return Err(VerifyError::Life(life));
        }
        let is_text = |name: &&str| claims.as_object().get(*name).is_none_or(serde_json::Value::is_string);
        match ["sub", "email", "hd"].into_iter().find(|name| !is_text(name)) {
            Some(name) => Err(VerifyError::Claim(name)),
            None => Ok(Identity::new(claims, from_seconds(expires))),
        }
    }
}

/// The value of a header that may be there once, in its own spelling.
///
/// Frameworks that turn bytes into `_` read `X_Goog_Authenticated_User_Email` as the name that they trust.
fn single(headers: &HeaderMap, name: HeaderName) -> Result<Option<&[u8]>, VerifyError> {
    if headers.keys().any(|other| *other != name && folds_to(other.as_str(), name.as_str())) {
        return Err(VerifyError::Duplicate(name));
    }
    let mut values = headers.get_all(&name).iter();
    let value = values.next();
    match values.next() {
        Some(_) => Err(VerifyError::Duplicate(name)),
        None => Ok(value.map(|value| value.as_bytes())),
    }
}

/// The unsigned headers. The id is `sub`; the address has the prefix of `sub` before it, unless the claim already has one. Where the
/// assertion has no address, the header has none either: a subject may look like one, and is chosen by whoever signed it in.
fn compare(headers: &HeaderMap, identity: &Identity) -> Result<(), VerifyError> {
    let subject = identity.subject();
    if let Some(id) = single(headers, AUTHENTICATED_USER_ID)?
        && subject.map(str::as_bytes) != Some(id)
    {
        return Err(VerifyError::Mismatch(AUTHENTICATED_USER_ID));
    }
    if let Some(email) = single(headers, AUTHENTICATED_USER_EMAIL)? {
        let expected = match (identity.email(), subject) {
            (Some(email), _) if email.contains(':') => Some(email.to_owned()),
            (Some(email), Some(subject)) => subject.split_once(':').map(|(source, _)| format!("{source}:{email}")),
            (Some(_), None) | (None, _) => None,
        };
        if expected.as_deref().map(str::as_bytes) != Some(email) {
            return Err(VerifyError::Mismatch(AUTHENTICATED_USER_EMAIL));
        }
    }
    Ok(())
}

/// What is verified, and with which keys: [`Verifier::builder`].
#[derive(Clone)]
#[must_use = "it is no verifier yet: call `build()`"]
pub struct VerifierBuilder {
    audiences: Vec<String>,
    key_url: String,
    http: HttpOptions,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for VerifierBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifierBuilder").field("audiences", &self.audiences).finish_non_exhaustive()
    }
}

impl VerifierBuilder {
    /// The application's audience, such as `/projects/NUMBER/global/backendServices/ID`; it is compared exactly. Another call adds
    /// another one.
    pub fn audience(mut self, audience: &str) -> Self {
        self.audiences.push(audience.to_owned());
        self
    }

    /// Where the keys are, as a set of JWKs: [`GOOGLE_KEY_URL`] if not said; at a Doorward,
    /// `ORIGIN/www.gstatic.com/iap/verify/public_key-jwk`. Over https, or on this machine.
    pub fn key_url(mut self, url: &str) -> Self {
        url.clone_into(&mut self.key_url);
        self
    }

    /// Authorities, in PEM, that are trusted beside those of the system.
    ///
    /// # Errors
    /// [`VerifierError::Certificate`] if there is none in it.
    pub fn ca_pem(mut self, pem: impl AsRef<[u8]>) -> Result<Self, VerifierError> {
        self.http.extra_roots.extend(certificates(pem.as_ref()).ok_or(VerifierError::Certificate)?);
        Ok(self)
    }

    /// Another clock than the machine's.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// How long one try to fetch keys may take: ten seconds if not said.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.http.timeout = timeout;
        self
    }

    /// How often keys are asked for in all when a fetch fails, and the wait before the second try, which doubles from then on: four
    /// times and 200 ms if not said.
    pub fn retry(mut self, attempts: u32, delay: Duration) -> Self {
        self.http.retry = Retry { attempts, delay };
        self
    }

    /// The verifier. No key is fetched yet.
    ///
    /// # Errors
    /// [`VerifierError::NoAudience`]: an assertion for another application must not be accepted. [`VerifierError::KeyUrl`].
    pub fn build(self) -> Result<Verifier, VerifierError> {
        if self.audiences.is_empty() || self.audiences.iter().any(String::is_empty) {
            return Err(VerifierError::NoAudience);
        }
        let origin = self.key_url.parse().ok().and_then(|uri| Origin::of(&uri));
        if origin.and_then(|origin| origin.secure().ok()).is_none() {
            return Err(VerifierError::KeyUrl(without_secrets(&self.key_url)));
        }
        let keys = KeyCache::new(self.key_url, HttpClient::new(self.http), self.clock.clone());
        Ok(Verifier(Arc::new(Inner { audiences: self.audiences, keys, clock: self.clock })))
    }
}
