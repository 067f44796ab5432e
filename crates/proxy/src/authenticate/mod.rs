//! Stage 2: who is calling? Bearer ID tokens of our own issuer and of issuers that the operator trusts, and JWTs that service
//! accounts sign themselves.

mod caller;
mod foreign;
mod id_token;
mod keys;
mod self_signed;

use std::hash::Hash;
use std::sync::Arc;

use doorward_core::clock::Timestamp;
use doorward_core::grant::{ACCESS_TOKEN_PREFIX, ADMIN_TOKEN_PREFIX};
use doorward_core::issuer::{IssuerId, TrustedIssuer};
use doorward_core::keys::KeyPurpose;
use doorward_core::outbound::{IssuerKeys, IssuerKeysError};
use doorward_core::self_signed::SelfSignedError;
use doorward_core::snapshot::{ProtectedResource, Snapshot};
use doorward_wire::headers::{ASSERTION_ISSUER, Bearer, bearer};
use doorward_wire::jose::{Algorithm, ClaimError, JwsError, TOKEN_LIMIT, Unverified};
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, PROXY_AUTHORIZATION};
use quick_cache::sync::Cache;
use quick_cache::{Equivalent, Weighter};
use serde_json::Value;

use crate::record::Trace;
use crate::refusal::Refusal;
use crate::resolve::Site;
use crate::sanitize::Sanitized;

pub(crate) use caller::{AccountCaller, Caller, Proven};
pub(crate) use foreign::ForeignTokenError;
pub(crate) use keys::{BroughtKeys, MissingKeys};
use self_signed::UrlAudience;

/// How much of verified tokens and their claims is kept, in bytes: of common ones more than ten thousand.
const CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// What came of looking for a credential.
pub(crate) enum Authenticated {
    /// Somebody, proven.
    Caller {
        /// Who.
        proven: Arc<Proven>,
        /// The field that held the credential.
        by: HeaderName,
    },
    /// No credential was sent. That is no refusal yet: the policy may admit everyone.
    Nobody {
        /// A bearer token in `Proxy-Authorization` was there and not valid. Never an error by itself.
        invalid_proxy_authorization: bool,
    },
}

/// Why a token is not accepted. All that it says, the bearer can read in the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("the token is longer than {TOKEN_LIMIT} bytes")]
    TooLarge,
    #[error("an opaque access token")]
    AccessToken,
    #[error("not a JWT")]
    NotAJwt,
    #[error("the algorithm is not accepted")]
    Algorithm,
    #[error("the signed header that an application receives")]
    Assertion,
    #[error("the key is unknown or the signature does not verify")]
    Signature,
    #[error("issued in the name of a service account, and the key is unknown or the signature does not verify")]
    AccountSignature,
    #[error("a self-signed JWT: {0}")]
    SelfSigned(SelfSignedError),
    #[error("a self-signed JWT: signed for the token endpoint or for an API")]
    ForExchange,
    /// `aud`, escaped and cut.
    #[error("a self-signed JWT: for {0}, which is not the URL asked for")]
    Url(String),
    /// A token of a trusted issuer: of this entry.
    #[error("a token of trustedIssuers/{}: {error}", issuer.as_str())]
    Foreign { issuer: IssuerId, error: ForeignTokenError },
    #[error("another issuer, no account, or a claim that is missing or has the wrong type")]
    Claims,
    #[error("expired at {0}")]
    Expired(i64),
    #[error("not valid before {0}")]
    NotYetValid(i64),
    #[error("for audience {0:?}")]
    Audience(String),
    /// The token is for the client that asked for it (`azp`): a program that signs people in, and could be listed.
    #[error("for audience {0:?}, the client that it was issued to")]
    OwnClient(String),
    #[error("no email claim")]
    EmailMissing,
}

/// Why a token proves nobody, or nobody yet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unproven {
    /// It is not accepted.
    Token(TokenError),
    /// It is judged when these keys are there.
    Missing(MissingKeys),
    /// It is not known whether it could be: the keys of its issuer are not there.
    Keys {
        /// The entry of the issuer.
        entry: String,
        /// Why.
        cause: IssuerKeysError,
    },
}

impl From<TokenError> for Unproven {
    fn from(error: TokenError) -> Self {
        Unproven::Token(error)
    }
}

/// Why no answer was found to who is calling.
#[derive(Debug)]
pub(crate) enum Undecided {
    /// None will be.
    Refused(Refusal),
    /// It is found when these keys are there.
    Missing(MissingKeys),
}

impl From<Refusal> for Undecided {
    fn from(refusal: Refusal) -> Self {
        Undecided::Refused(refusal)
    }
}

/// What a verdict rests on, besides the request: all of it of one moment.
#[derive(Clone, Copy)]
pub(crate) struct Basis<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) now: Timestamp,
    /// Keys that this request has waited for.
    pub(crate) brought: &'a BroughtKeys,
}

/// Verifies tokens, and remembers those that it verified.
pub(crate) struct Authenticator {
    issuer: String,
    issuer_keys: Arc<dyn IssuerKeys>,
    verified: Cache<TokenKey, Verified, BySize>,
}

/// Everything that the cached answer depends on: the whole token, the resource, and the snapshot with its keys, accounts,
/// client ids and settings. A hash alone would let a collision pass.
#[derive(PartialEq, Eq, Hash)]
struct TokenKey {
    snapshot: u64,
    resource: Arc<str>,
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
        self.snapshot == key.snapshot && *self.resource == *key.resource && self.token == key.token
    }
}

#[derive(Clone)]
struct Verified {
    proven: Arc<Proven>,
    /// An entry never outlives its token; and one of a foreign token ends soon, so that its keys are looked at again.
    valid_until: Timestamp,
    /// Of a self-signed JWT: where it is good. An ID token is good for the whole application.
    good_for: Option<Arc<UrlAudience>>,
}

#[derive(Clone)]
struct BySize;

impl Weighter<TokenKey, Verified> for BySize {
    fn weight(&self, key: &TokenKey, verified: &Verified) -> u64 {
        let urls = verified.good_for.as_ref().map_or(0, |urls| urls.as_str().len());
        let foreign = match &verified.proven.caller {
            Caller::Account(_) => 0,
            // The subject, and the members with their names.
            Caller::Foreign(foreign) => 2 * foreign.subject.len() + foreign.members.len() * 128,
        };
        // The claims are about as long as the token, and a tree of small parts. The resource's name is the snapshot's.
        (4 * key.token.len() + urls + foreign + 512) as u64
    }
}

impl Authenticator {
    pub(crate) fn new(issuer: String, issuer_keys: Arc<dyn IssuerKeys>) -> Self {
        let verified = Cache::with_weighter(16 * 1024, CACHE_BYTES, BySize);
        Authenticator { issuer, issuer_keys, verified }
    }

    /// Waits for keys. What was looked up before is old then: a binding may be gone, and a token at its end.
    pub(crate) async fn bring(&self, missing: MissingKeys, brought: &mut BroughtKeys) {
        let outcome = self.issuer_keys.keys(&missing.source, &missing.kid).await;
        brought.add(missing, outcome);
    }

    /// The caller whom this token proves at this application, for this path. Never waits: keys of a trusted issuer that are not at
    /// hand are waited for by whoever can then look at everything anew.
    fn verify(&self, token: &str, site: &Site<'_>, path: &str, basis: Basis<'_>) -> Result<Arc<Proven>, Unproven> {
        let Basis { snapshot, now, .. } = basis;
        if token.len() > TOKEN_LIMIT {
            return Err(TokenError::TooLarge.into());
        }
        let resource = &*site.resource;
        let key = TokenKeyRef { snapshot: snapshot.version, resource: &resource.name, token };
        let verified = match self.verified.get(&key).filter(|hit| now < hit.valid_until) {
            Some(hit) => hit,
            None => {
                let verified = self.check(token, resource, basis)?;
                let (resource, token) = (resource.name.clone(), token.to_owned());
                let key = TokenKey { snapshot: snapshot.version, resource, token };
                self.verified.insert(key, verified.clone());
                verified
            }
        };
        match verified.good_for {
            // Not part of the key, so compared on every hit: one token may reach many paths, and must reach no others.
            Some(urls) if !urls.covers(site.origin, path) => Err(self_signed::wrong_url(urls.as_str()).into()),
            Some(_) | None => Ok(verified.proven),
        }
    }

    fn check(&self, token: &str, resource: &ProtectedResource, basis: Basis<'_>) -> Result<Verified, Unproven> {
        let unverified = Unverified::parse(token, TOKEN_LIMIT, &[Algorithm::Rs256, Algorithm::Es256])
            .map_err(|error| from_jws(error, token))?;
        match self.trusted_issuer(&unverified, basis.snapshot) {
            Some(issuer) => self.check_foreign(unverified, issuer, basis),
            None => Ok(self.check_own(unverified, resource, basis)?),
        }
    }

    /// The entry that alone judges this token, because the token claims to be of its issuer. What claims to be ours is never looked
    /// up, whatever the list says.
    fn trusted_issuer<'a>(
        &self,
        unverified: &Unverified<'_>,
        snapshot: &'a Snapshot,
    ) -> Option<&'a Arc<TrustedIssuer>> {
        let unproven = unverified.unproven_claims().get("iss").and_then(Value::as_str)?;
        let ours = unproven == self.issuer || unproven == ASSERTION_ISSUER;
        snapshot.trusted_issuers.find(unproven).filter(|_| !ours)
    }

    fn check_foreign(
        &self,
        unverified: Unverified<'_>,
        issuer: &Arc<TrustedIssuer>,
        basis: Basis<'_>,
    ) -> Result<Verified, Unproven> {
        let Some(kid) = unverified.kid() else {
            let error = ForeignTokenError::Signature;
            return Err(TokenError::Foreign { issuer: issuer.id.clone(), error }.into());
        };
        let source = issuer.key_source();
        let keys = match self.issuer_keys.at_hand(&source, kid) {
            Some(keys) => keys,
            None => basis.brought.find(source, kid)?,
        };
        let (caller, claims, valid_until) = foreign::check(unverified, issuer, &keys, basis.snapshot, basis.now)?;
        let proven = Proven::new(Caller::Foreign(caller), claims);
        Ok(Verified { proven: Arc::new(proven), valid_until, good_for: None })
    }

    fn check_own(
        &self,
        unverified: Unverified<'_>,
        resource: &ProtectedResource,
        basis: Basis<'_>,
    ) -> Result<Verified, TokenError> {
        let Basis { snapshot, now, .. } = basis;
        let unproven_issuer = unverified.unproven_claims().get("iss").and_then(Value::as_str);
        if unverified.algorithm() != Algorithm::Rs256 {
            let own = unproven_issuer == Some(ASSERTION_ISSUER);
            return Err(if own { TokenError::Assertion } else { TokenError::Algorithm });
        }
        // The same for a key that is unknown and for one that did not sign this: whether a key exists is nobody's business.
        let by_account = unproven_issuer.is_some_and(|issuer| issuer.ends_with(".gserviceaccount.com"));
        let unsigned = if by_account { TokenError::AccountSignature } else { TokenError::Signature };
        let own_key = unverified.kid().and_then(|kid| snapshot.keys.verifying(KeyPurpose::IdToken, kid, now));
        if let Some(key) = own_key {
            let claims = unverified.verify(key).map_err(|_| unsigned)?;
            let (caller, valid_until) = id_token::check(&claims, &self.issuer, resource, snapshot, now)?;
            let proven = Proven::new(Caller::Account(caller), claims);
            return Ok(Verified { proven: Arc::new(proven), valid_until, good_for: None });
        }
        let (caller, claims, valid_until, urls) = self_signed::check(unverified, unsigned, snapshot, now)?;
        let proven = Proven::new(Caller::Account(caller), claims);
        Ok(Verified { proven: Arc::new(proven), valid_until, good_for: Some(Arc::new(urls)) })
    }
}

/// Finds the caller: `Proxy-Authorization` first, then `Authorization`.
///
/// A valid token in `Proxy-Authorization` decides alone, and `Authorization` is then the application's own. An invalid one
/// is never itself an error. One of which it is not known whether it is valid, because its issuer's keys are not there, is: else an
/// outage of the issuer would make the same request another caller's.
///
/// Spec: <https://cloud.google.com/iap/docs/authentication-howto>, "Authenticating from Proxy-Authorization Header".
pub(crate) fn authenticate(
    authenticator: &Authenticator,
    request: &Sanitized,
    site: &Site<'_>,
    basis: Basis<'_>,
    trace: &mut Trace,
) -> Result<Authenticated, Undecided> {
    let found = find_caller(authenticator, &request.headers, request.target.path(), site, basis)?;
    if let Authenticated::Caller { proven, .. } = &found {
        trace.note = proven.caller.note();
        trace.caller = Some(proven.clone());
    }
    Ok(found)
}

fn find_caller(
    authenticator: &Authenticator,
    headers: &HeaderMap,
    path: &str,
    site: &Site<'_>,
    basis: Basis<'_>,
) -> Result<Authenticated, Undecided> {
    let proxy_token = single_bearer(headers, PROXY_AUTHORIZATION)?;
    let token = single_bearer(headers, AUTHORIZATION)?;
    let verify = |token| authenticator.verify(token, site, path, basis);
    let mut invalid_proxy_authorization = false;
    let proven = match proxy_token {
        Presented::Absent => None,
        Presented::NotAToken => {
            invalid_proxy_authorization = true;
            None
        }
        Presented::Token(token) => {
            let verified = match verify(token) {
                Ok(proven) => Some((proven, PROXY_AUTHORIZATION)),
                Err(Unproven::Token(_)) => None,
                Err(unknown @ (Unproven::Missing(_) | Unproven::Keys { .. })) => return Err(undecided(unknown, site)),
            };
            invalid_proxy_authorization = verified.is_none();
            verified
        }
    };
    let proven = match (proven, token) {
        (Some(proven), _) => Some(proven),
        (None, Presented::Absent) => None,
        (None, Presented::NotAToken) => return Err(undecided(TokenError::NotAJwt.into(), site)),
        (None, Presented::Token(token)) => {
            Some((verify(token).map_err(|error| undecided(error, site))?, AUTHORIZATION))
        }
    };
    Ok(match proven {
        Some((proven, by)) => Authenticated::Caller { proven, by },
        None => Authenticated::Nobody { invalid_proxy_authorization },
    })
}

fn undecided(unproven: Unproven, site: &Site<'_>) -> Undecided {
    match unproven {
        Unproven::Token(error) => {
            Refusal::BadCredential { error, resource: site.resource.clone(), place: site.route() }.into()
        }
        Unproven::Keys { entry, cause } => Refusal::KeysUnavailable { entry, cause }.into(),
        Unproven::Missing(missing) => Undecided::Missing(missing),
    }
}

enum Presented<'a> {
    /// No field, an empty bearer, or a scheme that is the application's own.
    Absent,
    NotAToken,
    Token(&'a str),
}

/// Reads a credential field. Two fields of one name are refused: "first wins" here and "last wins" in an application would
/// be two callers in one request.
fn single_bearer(headers: &HeaderMap, name: HeaderName) -> Result<Presented<'_>, Refusal> {
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

fn time_error(error: ClaimError) -> TokenError {
    match error {
        ClaimError::Missing(_) => TokenError::Claims,
        ClaimError::Expired(at) => TokenError::Expired(at),
        ClaimError::NotYetValid(at) => TokenError::NotYetValid(at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{CLIENT_ID, ISSUER, NOW, PROGRAMMATIC_CLIENT, TestWorld, judged, settings};
    use doorward_core::outbound::FixedIssuerKeys;
    use doorward_core::settings::{EmailClaim, Settings};
    use doorward_wire::jose::{decode_base64url, encode_base64url};
    use serde_json::json;

    fn authenticator() -> Authenticator {
        Authenticator::new(ISSUER.to_owned(), Arc::new(FixedIssuerKeys::default()))
    }

    fn good_claims() -> Value {
        json!({
            "iss": ISSUER, "aud": CLIENT_ID, "azp": "robot@p.iam.gserviceaccount.com", "sub": "1001",
            "email": "robot@p.iam.gserviceaccount.com", "email_verified": true, "iat": NOW - 10, "exp": NOW + 3590,
        })
    }

    /// The good claims with some of them set, or removed where the value is null.
    fn claims(changes: Value) -> Value {
        let mut claims = good_claims();
        for (name, value) in changes.as_object().unwrap() {
            match value {
                Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
                value => claims[name] = value.clone(),
            }
        }
        claims
    }

    fn verdict(world: &TestWorld, token: &str) -> Result<String, TokenError> {
        let (authenticator, site) = (authenticator(), world.site());
        let verified = authenticator.verify(token, &site, "/", world.basis(NOW));
        judged(verified).map(|proven| proven.caller.member())
    }

    #[test]
    fn a_token_is_accepted_only_if_every_claim_holds() {
        use TokenError as E;
        let world = TestWorld::new(&[]);
        let robot = || Ok("serviceAccount:robot@p.iam.gserviceaccount.com".to_owned());
        #[rustfmt::skip]
        let cases = [
            (json!({}),                                                   robot()),
            (json!({"email": "ROBOT@p.iam.gserviceaccount.com"}),         robot()),
            (json!({"email": null, "email_verified": null}),              robot()),
            (json!({"sub": "2001", "email": "alice@example.com"}),        Ok("user:alice@example.com".to_owned())),
            (json!({"iat": NOW + 30, "exp": NOW + 3630}),                 robot()),
            (json!({"iat": NOW - 3629, "exp": NOW - 29}),                 robot()),
            (json!({"iat": NOW + 31, "exp": NOW + 3631}),                 Err(E::NotYetValid(NOW + 31))),
            (json!({"iat": NOW - 3630, "exp": NOW - 30}),                 Err(E::Expired(NOW - 30))),
            (json!({"exp": NOW + 10 * 365 * 86_400}),                     Err(E::Claims)),
            (json!({"exp": null}),                                        Err(E::Claims)),
            (json!({"iat": null}),                                        Err(E::Claims)),
            (json!({"exp": "1800003590"}),                                Err(E::Claims)),
            (json!({"iss": "https://accounts.google.com.evil.test"}),     Err(E::Claims)),
            (json!({"iss": null}),                                        Err(E::Claims)),
            (json!({"iss": "robot@p.iam.gserviceaccount.com", "sub": "robot@p.iam.gserviceaccount.com", "aud": "http://app.test/*"}), Err(E::Claims)),
            (json!({"aud": PROGRAMMATIC_CLIENT}),                         robot()),
            (json!({"aud": PROGRAMMATIC_CLIENT.to_uppercase()}),          Err(E::Audience(PROGRAMMATIC_CLIENT.to_uppercase()))),
            (json!({"aud": format!("{CLIENT_ID} {PROGRAMMATIC_CLIENT}")}), Err(E::Audience(format!("{CLIENT_ID} {PROGRAMMATIC_CLIENT}")))),
            (json!({"aud": [CLIENT_ID, PROGRAMMATIC_CLIENT]}),            Err(E::Claims)),
            (json!({"aud": ""}),                                          Err(E::Audience(String::new()))),
            (json!({"aud": "http://app.test/*"}),                         Err(E::Audience("http://app.test/*".into()))),
            (json!({"aud": "other.apps.googleusercontent.com"}),          Err(E::Audience("other.apps.googleusercontent.com".into()))),
            (json!({"aud": "other.apps.googleusercontent.com", "azp": "1-x"}), Err(E::Audience("other.apps.googleusercontent.com".into()))),
            (json!({"aud": "1-x", "azp": "1-x"}),                         Err(E::OwnClient("1-x".into()))),
            (json!({"aud": [CLIENT_ID]}),                                 Err(E::Claims)),
            (json!({"aud": null}),                                        Err(E::Claims)),
            (json!({"sub": "9999"}),                                      Err(E::Claims)),
            (json!({"sub": null}),                                        Err(E::Claims)),
            (json!({"sub": 1001}),                                        Err(E::Claims)),
            (json!({"sub": "1002", "email": "retired@p.iam.gserviceaccount.com"}), Err(E::Claims)),
            (json!({"email": "alice@example.com"}),                       Err(E::Claims)),
            (json!({"email": 7}),                                         Err(E::EmailMissing)),
            (json!({"email_verified": false}),                            Err(E::Claims)),
        ];
        for (changes, expected) in cases {
            let token = world.sign(KeyPurpose::IdToken, &claims(changes.clone()));
            assert_eq!(verdict(&world, &token), expected, "{changes}");
        }
    }

    #[test]
    fn a_token_without_email_is_googles_refusal_where_the_claim_is_required_and_a_note_where_not() {
        let world = TestWorld::new(&[]);
        let token = world.sign(KeyPurpose::IdToken, &claims(json!({"email": null})));
        let (authenticator, site) = (authenticator(), world.site());
        let verified = authenticator.verify(&token, &site, "/", world.basis(NOW));
        assert!(judged(verified).unwrap().caller.note().is_some_and(|note| note.contains("Google's IAP would refuse")));
        // Each application has its own setting.
        let required = Settings { email_claim: Some(EmailClaim::Required), ..Settings::default() };
        let world = world.changed([settings(required)]);
        assert_eq!(verdict(&world, &token), Err(TokenError::EmailMissing));
    }

    #[test]
    fn a_token_of_another_kind_or_another_spelling_is_refused() {
        use TokenError as E;
        let world = TestWorld::new(&[]);
        let good = world.sign(KeyPurpose::IdToken, &good_claims());
        let [header, payload, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
        let part = |value: &Value| encode_base64url(value.to_string().as_bytes());
        let kid = world.snapshot.keys.published(KeyPurpose::IdToken, Timestamp::from_seconds(NOW))[0].clone();
        let with_header = |header: Value| world.sign_raw(&header.to_string(), &good_claims().to_string());
        let key = |name: &str| json!({"alg": "RS256", "kid": kid.kid, name: kid});
        let own_words = |claims: Value| format!("{header}.{}.{signature}", part(&claims));
        let twice_claimed = {
            let once = good_claims().to_string();
            let again = format!("{},\"sub\":\"2001\"}}", &once[..once.len() - 1]);
            world.sign_raw(&json!({"alg": "RS256", "kid": kid.kid}).to_string(), &again)
        };
        let twice_headed = world.sign_raw(
            &format!("{{\"alg\":\"none\",\"alg\":\"RS256\",\"kid\":\"{}\"}}", kid.kid),
            &good_claims().to_string(),
        );
        let hmac = {
            let input = format!("{}.{payload}", part(&json!({"alg": "HS256", "kid": kid.kid})));
            let secret = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, kid.n.as_deref().unwrap().as_bytes());
            format!("{input}.{}", encode_base64url(aws_lc_rs::hmac::sign(&secret, input.as_bytes()).as_ref()))
        };
        let unused_bits = {
            // The last character of a 256-byte signature carries four bits that nothing uses.
            let (rest, last) = signature.split_at(signature.len() - 1);
            let next = char::from(last.as_bytes()[0] + 1);
            assert!(decode_base64url(signature).is_some());
            format!("{header}.{payload}.{rest}{next}")
        };
        let assertion = world.sign(KeyPurpose::Assertion, &claims(json!({"iss": "https://cloud.google.com/iap"})));
        let es256 = world.sign(KeyPurpose::Assertion, &good_claims());
        let self_signed = format!(
            "{}.{}.{signature}",
            part(&json!({"alg": "RS256", "kid": "0123"})),
            part(&json!({"iss": "r@p.iam.gserviceaccount.com"})),
        );
        #[rustfmt::skip]
        let cases = [
            ("alg none",             format!("{}.{payload}.", part(&json!({"alg": "none"}))),      E::Algorithm),
            ("alg none, signed",     with_header(json!({"alg": "none", "kid": kid.kid})),          E::Algorithm),
            ("alg nOnE",             with_header(json!({"alg": "nOnE", "kid": kid.kid})),          E::Algorithm),
            ("alg missing",          with_header(json!({"kid": kid.kid})),                         E::Algorithm),
            ("alg null",             with_header(json!({"alg": null, "kid": kid.kid})),            E::Algorithm),
            ("HS256 by public key",  hmac,                                                         E::Algorithm),
            ("RS512",                with_header(json!({"alg": "RS512", "kid": kid.kid})),         E::Algorithm),
            ("ES256, own key",       es256,                                                        E::Algorithm),
            ("signed header",        assertion,                                                    E::Assertion),
            ("jwk",                  with_header(key("jwk")),                                      E::Signature),
            ("jku",                  with_header(key("jku")),                                      E::Signature),
            ("x5c",                  with_header(key("x5c")),                                      E::Signature),
            ("crit",                 with_header(key("crit")),                                     E::Signature),
            ("x5u",                  with_header(key("x5u")),                                      E::Signature),
            ("zip",                  with_header(key("zip")),                                      E::Signature),
            ("enc",                  with_header(key("enc")),                                      E::Signature),
            ("b64",                  with_header(json!({"alg": "RS256", "kid": kid.kid, "b64": false})), E::Signature),
            ("kid missing",          with_header(json!({"alg": "RS256"})),                         E::Signature),
            ("kid unknown",          with_header(json!({"alg": "RS256", "kid": "../../etc/passwd"})), E::Signature),
            ("kid number",           with_header(json!({"alg": "RS256", "kid": 1})),               E::Signature),
            ("kid long",             with_header(json!({"alg": "RS256", "kid": "k".repeat(5000)})), E::Signature),
            ("other claims",         own_words(claims(json!({"sub": "2001"}))),                    E::Signature),
            ("duplicate claims",     twice_claimed,                                                E::NotAJwt),
            ("duplicate header",     twice_headed,                                                 E::NotAJwt),
            ("account, kid unknown", self_signed,                                                  E::AccountSignature),
            ("padding",              format!("{good}="),                                           E::NotAJwt),
            ("unused bits",          unused_bits,                                                  E::NotAJwt),
            ("five parts",           format!("{good}.a.b"),                                        E::NotAJwt),
            ("two parts",            format!("{header}.{payload}"),                                E::NotAJwt),
            ("garbage",              "garbage".into(),                                             E::NotAJwt),
            ("null",                 "null".into(),                                                E::NotAJwt),
            ("access token",         "doorward_at_x".into(),                                       E::AccessToken),
            ("Google's access token", "ya29.c.b0Aaek".into(),                                      E::AccessToken),
            ("16 KiB",               "a".repeat(16 * 1024),                                        E::TooLarge),
            ("a byte less",          "a".repeat(16 * 1024 - 1),                                    E::NotAJwt),
        ];
        for (name, token, expected) in cases {
            assert_eq!(verdict(&world, &token), Err(expected), "{name}");
        }
        assert!(verdict(&world, &good).is_ok());
        let raw = with_header(json!({"alg": "RS256", "kid": kid.kid}));
        assert!(verdict(&world, &raw).is_ok(), "what is signed by hand is refused for its header only");
    }

    #[test]
    fn a_remembered_token_ends_with_its_time_its_account_and_its_snapshot() {
        let world = TestWorld::new(&[]);
        let token = world.sign(KeyPurpose::IdToken, &good_claims());
        let authenticator = authenticator();
        let at = |world: &TestWorld, now: i64| {
            let site = world.site();
            judged(authenticator.verify(&token, &site, "/", world.basis(now))).map(drop)
        };
        assert_eq!(at(&world, NOW), Ok(()));
        assert_eq!(at(&world, NOW + 3590 + 29), Ok(()));
        assert_eq!(at(&world, NOW + 3590 + 30), Err(TokenError::Expired(NOW + 3590)));
        // Another world of the same version cannot exist in one process; one of a later version has other keys here.
        let mut later = TestWorld::new(&[]);
        if let Some(snapshot) = Arc::get_mut(&mut later.snapshot) {
            snapshot.version = 2;
        }
        assert_eq!(at(&later, NOW), Err(TokenError::Signature));
    }
}
