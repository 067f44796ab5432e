//! Stage 4: the signed statement of who is calling.

use std::sync::Arc;
use std::time::Duration;

use doorward_core::account::UniqueId;
use doorward_core::clock::Timestamp;
use doorward_core::issuer::{ForeignCaller, IssuerId};
use doorward_core::keys::{ASSERTION_TTL, KeyError, KeyPurpose, KeyRing};
use doorward_core::member::Email;
use doorward_core::snapshot::Snapshot;
use doorward_wire::headers::{
    ASSERTION_ISSUER, AUTHENTICATED_USER_EMAIL, AUTHENTICATED_USER_ID, GOOGLE_IDENTITY_PREFIX, IAP_JWT_ASSERTION,
};
use http::{HeaderMap, HeaderValue};
use quick_cache::sync::Cache;
use serde_json::{Map, Value, json};

use crate::authenticate::{AccountCaller, Caller};
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
    /// `…-user-id`; none where nobody was proven.
    id: Option<HeaderValue>,
    /// `…-user-email`; none where there is no address that somebody may vouch for.
    email: Option<HeaderValue>,
}

impl Identity {
    /// Adds the headers, each once. Whatever a caller sent under these names is gone since the first stage.
    pub(crate) fn add_to(&self, headers: &mut HeaderMap) {
        headers.insert(IAP_JWT_ASSERTION, self.assertion.clone());
        let named = [(AUTHENTICATED_USER_EMAIL, &self.email), (AUTHENTICATED_USER_ID, &self.id)];
        for (name, value) in named {
            headers.extend(value.iter().map(|value| (name.clone(), value.clone())));
        }
    }
}

/// `identity_source` of an account, and where nobody was proven.
const GOOGLE: &str = "GOOGLE";

/// `identity_source` of a caller whom a trusted issuer vouches for. Google has no such value.
const TRUSTED_ISSUER: &str = "TRUSTED_ISSUER";

/// Identities that were signed less than a minute ago.
pub(crate) struct Assertions(Cache<AssertionKey, (Timestamp, Arc<Identity>)>);

/// Everything that a signed header depends on: the snapshot with its keys and accounts, the application, and the caller.
#[derive(PartialEq, Eq, Hash)]
struct AssertionKey {
    snapshot: u64,
    audience: String,
    caller: SignedCaller,
}

/// Who is named: all that the headers say of them.
#[derive(PartialEq, Eq, Hash)]
enum SignedCaller {
    Nobody,
    Account(UniqueId),
    Foreign { issuer: IssuerId, subject: String, email: Option<Email> },
}

impl SignedCaller {
    fn of(caller: Option<&Arc<Caller>>) -> Self {
        match caller.map(|caller| &**caller) {
            None => SignedCaller::Nobody,
            Some(Caller::Account(account)) => SignedCaller::Account(account.unique_id.clone()),
            Some(Caller::Foreign(ForeignCaller { issuer, subject, email, members: _ })) => {
                SignedCaller::Foreign { issuer: issuer.id.clone(), subject: subject.clone(), email: email.clone() }
            }
        }
    }
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
    let caller = SignedCaller::of(permit.caller());
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
/// a caller `sub` and `email`; for a person `hd` besides; without a caller neither. A foreign caller has names in the namespace of
/// their issuer's entry, which no account and no other entry can have, and `email` only if the issuer may vouch for it.
///
/// Spec: <https://cloud.google.com/iap/docs/signed-headers-howto>
fn sign(keys: &KeyRing, permit: &Permit<'_>, now: Timestamp) -> Result<Identity, KeyError> {
    let mut claims = Map::new();
    let mut claim = |name: &str, value: Value| {
        claims.insert(name.to_owned(), value);
    };
    let audience = &permit.site().resource.audience;
    claim("iss", ASSERTION_ISSUER.into());
    claim("aud", audience.as_str().into());
    claim("azp", audience.as_str().into());
    claim("iat", now.seconds().into());
    claim("exp", (now + ASSERTION_TTL).seconds().into());
    let (source, named) = match permit.caller().map(|caller| &**caller) {
        None => (GOOGLE, None),
        Some(Caller::Account(account)) => (GOOGLE, Some(name_account(account, &mut claim))),
        Some(Caller::Foreign(foreign)) => (TRUSTED_ISSUER, Some(name_foreign(foreign, &mut claim))),
    };
    claim("identity_source", source.into());
    let (id, email) = named.map_or((None, None), |named| (Some(named.id), named.email));
    let optional = |text: Option<String>| text.as_deref().map(header).transpose();
    let assertion = header(&keys.sign(KeyPurpose::Assertion, &claims, now)?)?;
    Ok(Identity { assertion, id: optional(id)?, email: optional(email)? })
}

/// What stands in the two unsigned headers.
struct Named {
    id: String,
    email: Option<String>,
}

fn name_account(account: &AccountCaller, claim: &mut impl FnMut(&str, Value)) -> Named {
    let id = format!("{GOOGLE_IDENTITY_PREFIX}{}", account.unique_id.0);
    let email = format!("{GOOGLE_IDENTITY_PREFIX}{}", account.email);
    claim("sub", id.as_str().into());
    claim("email", account.email.as_str().into());
    if let Some(domain) = account.hosted_domain() {
        claim("hd", domain.into());
    }
    Named { id, email: Some(email) }
}

/// Also for Google's own issuer, marked as such or not: `accounts.google.com:` is the namespace of our accounts.
fn name_foreign(foreign: &ForeignCaller, claim: &mut impl FnMut(&str, Value)) -> Named {
    // No entry's id has a colon, so where the namespace ends is no question.
    let named = |name: &str| format!("issuer/{}:{name}", foreign.issuer.id.as_str());
    let id = named(&foreign.subject);
    claim("sub", id.as_str().into());
    if let Some(email) = &foreign.email {
        claim("email", email.as_str().into());
    }
    claim("doorward", json!({"issuer": foreign.issuer.issuer}));
    // Without an address the field is left out: a subject that looks like one must not stand where an address does.
    Named { id, email: foreign.email.as_ref().map(|email| named(email.as_str())) }
}

/// An e-mail address, a subject, an id and a JWS hold visible ASCII and spaces inside only, so this fails for nothing that was read by our parsers.
fn header(text: &str) -> Result<HeaderValue, KeyError> {
    HeaderValue::from_str(text).map_err(|_| KeyError::Unusable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authenticate::Authenticated;
    use crate::authorize::authorize;
    use crate::testing::{TestWorld, claims_of, foreign, shared, trace};

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

    #[test]
    fn a_foreign_caller_has_names_of_their_issuers_namespace_which_nobody_else_can_have() {
        let world = TestWorld::new(&["allUsers"]);
        let shared = shared(&world);
        let trace = &mut trace(&shared, "GET");
        let mut seen = std::collections::HashSet::new();
        let bob = Some("bob@corp.test");
        // All with one cache, and each twice: (caller, id, e-mail, `email`, entry)
        #[rustfmt::skip]
        let cases = [
            (world.robot(),                                 "accounts.google.com:1001",               Some("accounts.google.com:robot@p.iam.gserviceaccount.com"), Some("robot@p.iam.gserviceaccount.com"), None),
            (foreign("corp", "1001", None),                 "issuer/corp:1001",                      None,                                    None,  Some("corp")),
            (foreign("corp", "1001", bob),                  "issuer/corp:1001",                      Some("issuer/corp:bob@corp.test"),       bob,   Some("corp")),
            (foreign("corp", "1002", bob),                  "issuer/corp:1002",                      Some("issuer/corp:bob@corp.test"),       bob,   Some("corp")),
            (foreign("other", "1001", None),                "issuer/other:1001",                     None,                                    None,  Some("other")),
            (foreign("other", "1001", bob),                 "issuer/other:1001",                     Some("issuer/other:bob@corp.test"),      bob,   Some("other")),
            (foreign("corp", "accounts.google.com:1001", None), "issuer/corp:accounts.google.com:1001",  None,                                    None,  Some("corp")),
            (foreign("corp", "issuer/other:1001", None),    "issuer/corp:issuer/other:1001",         None,                                    None,  Some("corp")),
            (foreign("corp", "CN=Ann Lee", None),           "issuer/corp:CN=Ann Lee",                None,                                    None,  Some("corp")),
        ];
        for round in 0..2 {
            for (caller, id, address, email, issuer) in &cases {
                let authenticated = Authenticated::Caller(Arc::new(caller.clone()));
                let permit = authorize(authenticated, world.site(), &world.snapshot, trace).unwrap();
                let identity = assert(&shared.assertions, &permit, &world.snapshot, trace).unwrap();
                let mut headers = HeaderMap::new();
                identity.add_to(&mut headers);
                assert_eq!(headers[AUTHENTICATED_USER_ID], id);
                let shown = headers.get(AUTHENTICATED_USER_EMAIL).map(|value| value.to_str().unwrap());
                assert_eq!(shown, *address, "{id}");
                let token = headers[IAP_JWT_ASSERTION].to_str().unwrap();
                let claims = claims_of(&world.snapshot, KeyPurpose::Assertion, token);
                assert_eq!(claims["sub"], *id);
                assert_eq!(claims.get("email").and_then(Value::as_str), *email, "{id}");
                assert_eq!(claims.get("hd"), None, "{id}");
                let source = if issuer.is_some() { "TRUSTED_ISSUER" } else { "GOOGLE" };
                assert_eq!(claims["identity_source"], source, "{id}");
                let url = issuer.map(|issuer| json!({"issuer": format!("https://{issuer}.test")}));
                assert_eq!(claims.get("doorward"), url.as_ref(), "{id}");
                assert_eq!(
                    seen.insert(token.to_owned()),
                    round == 0,
                    "one signature for {id} {address:?} and no other"
                );
            }
        }
    }
}
