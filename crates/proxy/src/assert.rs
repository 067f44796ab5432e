//! Stage 4: the signed statement of who is calling.

use std::sync::Arc;
use std::time::Duration;

use doorward_core::account::UniqueId;
use doorward_core::clock::Timestamp;
use doorward_core::keys::{ASSERTION_TTL, KeyError, KeyPurpose, KeyRing};
use doorward_core::snapshot::Snapshot;
use doorward_wire::headers::{
    ASSERTION_ISSUER, AUTHENTICATED_USER_EMAIL, AUTHENTICATED_USER_ID, GOOGLE_IDENTITY_PREFIX, IAP_JWT_ASSERTION,
};
use http::{HeaderMap, HeaderValue};
use quick_cache::sync::Cache;
use serde_json::{Map, Value};

use crate::authorize::Permit;
use crate::record::Trace;
use crate::refusal::Refusal;

/// How long one signature serves requests of the same caller to the same application: a tenth of its life, so that an
/// application always gets one that is good for nine minutes more.
const REUSED_FOR: Duration = Duration::from_secs(60);

/// The headers that name the caller to the application.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    assertion: HeaderValue,
    /// `…-user-email` and `…-user-id`; none where nobody was proven.
    user: Option<(HeaderValue, HeaderValue)>,
}

impl Identity {
    /// Adds the headers, each once. Whatever a caller sent under these names is gone since the first stage.
    pub(crate) fn add_to(&self, headers: &mut HeaderMap) {
        headers.insert(IAP_JWT_ASSERTION, self.assertion.clone());
        if let Some((email, id)) = &self.user {
            headers.insert(AUTHENTICATED_USER_EMAIL, email.clone());
            headers.insert(AUTHENTICATED_USER_ID, id.clone());
        }
    }
}

/// Identities that were signed less than a minute ago.
pub(crate) struct Assertions(Cache<AssertionKey, (Timestamp, Arc<Identity>)>);

/// Everything that a signed header depends on: the snapshot with its keys and accounts, the application, and the caller.
#[derive(PartialEq, Eq, Hash)]
struct AssertionKey {
    snapshot: u64,
    audience: String,
    caller: Option<UniqueId>,
}

impl Assertions {
    pub(crate) fn new() -> Self {
        Assertions(Cache::new(16 * 1024))
    }
}

/// Signs, or takes a signature of the last minute.
pub(crate) fn assert(
    assertions: &Assertions,
    permit: &Permit<'_>,
    snapshot: &Snapshot,
    trace: &Trace,
) -> Result<Arc<Identity>, Refusal> {
    let now = trace.now();
    let caller = permit.caller().map(|caller| caller.unique_id.clone());
    let key = AssertionKey { snapshot: snapshot.version, audience: permit.site().resource.audience.clone(), caller };
    if let Some((signed, identity)) = assertions.0.get(&key)
        && signed <= now
        && now.since(signed) < REUSED_FOR
    {
        return Ok(identity);
    }
    let identity = Arc::new(sign(&snapshot.keys, permit, now).map_err(Refusal::CannotSign)?);
    assertions.0.insert(key, (now, identity.clone()));
    Ok(identity)
}

/// Signs the `x-goog-iap-jwt-assertion` value, and writes the two unsigned headers beside it.
///
/// ES256, `iss` = `https://cloud.google.com/iap`, `aud` = the resource's audience string, `exp` = `iat` + 600 seconds. For
/// a caller `sub` and `email`; for a person `hd` besides; without a caller neither.
///
/// Spec: <https://cloud.google.com/iap/docs/signed-headers-howto>
fn sign(keys: &KeyRing, permit: &Permit<'_>, now: Timestamp) -> Result<Identity, KeyError> {
    let mut claims = Map::new();
    let mut claim = |name: &str, value: Value| claims.insert(name.to_owned(), value);
    let audience = &permit.site().resource.audience;
    claim("iss", ASSERTION_ISSUER.into());
    claim("aud", audience.as_str().into());
    claim("azp", audience.as_str().into());
    claim("iat", now.seconds().into());
    claim("exp", (now + ASSERTION_TTL).seconds().into());
    claim("identity_source", "GOOGLE".into());
    let mut user = None;
    if let Some(caller) = permit.caller() {
        let id = format!("{GOOGLE_IDENTITY_PREFIX}{}", caller.unique_id.0);
        let email = format!("{GOOGLE_IDENTITY_PREFIX}{}", caller.email);
        claim("sub", id.as_str().into());
        claim("email", caller.email.as_str().into());
        if let Some(domain) = caller.hosted_domain() {
            claim("hd", domain.into());
        }
        user = Some((header(&email)?, header(&id)?));
    }
    let assertion = header(&keys.sign(KeyPurpose::Assertion, &claims, now)?)?;
    Ok(Identity { assertion, user })
}

/// An e-mail address, an id and a JWS hold visible ASCII only, so this fails for nothing that was read by our parsers.
fn header(text: &str) -> Result<HeaderValue, KeyError> {
    HeaderValue::from_str(text).map_err(|_| KeyError::Unusable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authenticate::Authenticated;
    use crate::authorize::authorize;
    use crate::testing::{TestWorld, claims_of, shared, trace};

    /// The claims and the names of the headers that an application gets for a caller.
    fn signed_for(world: &TestWorld, authenticated: Authenticated) -> (Value, Vec<String>) {
        let shared = shared(world);
        let mut trace = trace(&shared, "GET");
        let permit = authorize(authenticated, world.site(), &world.snapshot, &mut trace).unwrap();
        let identity = assert(&shared.assertions, &permit, &world.snapshot, &trace).unwrap();
        let again = assert(&shared.assertions, &permit, &world.snapshot, &trace).unwrap();
        assert!(Arc::ptr_eq(&identity, &again), "a signature serves a minute");
        let mut headers = HeaderMap::new();
        identity.add_to(&mut headers);
        let mut names: Vec<String> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        names.retain(|header| !header.starts_with("x-goog-iap-jwt-assertion: "));
        names.sort_unstable();
        let token = headers[IAP_JWT_ASSERTION].to_str().unwrap();
        (Value::Object(claims_of(&world.snapshot, KeyPurpose::Assertion, token)), names)
    }

    #[test]
    fn the_signed_header_says_of_each_kind_of_caller_what_google_says() {
        let world = TestWorld::new(&["allUsers"]);
        let common = |mut extra: Value| {
            let own = serde_json::json!({
                "iss": "https://cloud.google.com/iap",
                "aud": "/projects/123/global/backendServices/777",
                "azp": "/projects/123/global/backendServices/777",
                "iat": 1_800_000_000, "exp": 1_800_000_600,
                "identity_source": "GOOGLE",
            });
            extra.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
            extra
        };
        #[rustfmt::skip]
        let cases = [
            (
                Authenticated::Caller(Arc::new(world.robot())),
                serde_json::json!({"sub": "accounts.google.com:1001", "email": "robot@p.iam.gserviceaccount.com"}),
                vec![
                    "x-goog-authenticated-user-email: accounts.google.com:robot@p.iam.gserviceaccount.com".to_owned(),
                    "x-goog-authenticated-user-id: accounts.google.com:1001".to_owned(),
                ],
            ),
            (
                Authenticated::Caller(Arc::new(world.alice())),
                serde_json::json!({"sub": "accounts.google.com:2001", "email": "alice@example.com", "hd": "example.com"}),
                vec![
                    "x-goog-authenticated-user-email: accounts.google.com:alice@example.com".to_owned(),
                    "x-goog-authenticated-user-id: accounts.google.com:2001".to_owned(),
                ],
            ),
            (
                Authenticated::Nobody { invalid_proxy_authorization: false },
                serde_json::json!({}),
                vec![],
            ),
        ];
        for (authenticated, extra, headers) in cases {
            assert_eq!(signed_for(&world, authenticated), (common(extra), headers));
        }
    }
}
