//! Stage 4: the signed statement of who is calling.

use std::sync::Arc;
use std::time::Duration;

use doorward_core::account::UniqueId;
use doorward_core::clock::Timestamp;
use doorward_core::issuer::{ForeignCaller, IssuerId};
use doorward_core::keys::{ASSERTION_TTL, KeyError, KeyPurpose, KeyRing};
use doorward_core::member::Email;
use doorward_core::settings::{
    Attribute, CallerAttributes, IAP_ATTRIBUTES, PropagatedAttribute, PropagationError, PropagationOutput,
};
use doorward_core::snapshot::Snapshot;
use doorward_wire::headers::{
    ASSERTION_ISSUER, AUTHENTICATED_USER_EMAIL, AUTHENTICATED_USER_ID, GOOGLE_IDENTITY_PREFIX, IAP_JWT_ASSERTION,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use serde_json::{Map, Value, json};

use crate::authenticate::{AccountCaller, Caller, Proven};
use crate::authorize::Permit;
use crate::record::Trace;
use crate::refusal::Refusal;

/// How long one signature serves requests of the same caller to the same application: a tenth of its life, so that an
/// application always gets one that is good for nine minutes more.
const REUSED_FOR: Duration = Duration::from_secs(60);

/// The headers that name the caller to the application, and what the application is told of them besides.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    assertion: HeaderValue,
    /// `…-user-id`; none where nobody was proven.
    id: Option<HeaderValue>,
    /// `…-user-email`; none where there is no address that somebody may vouch for.
    email: Option<HeaderValue>,
    /// `ingress-authorization`, for a service mesh.
    mesh: Option<HeaderValue>,
    /// Propagated attributes.
    attributes: Vec<(HeaderName, HeaderValue)>,
}

impl Identity {
    /// Adds the headers, each once. Whatever a caller sent under these names is gone since the first stages.
    pub(crate) fn add_to(&self, headers: &mut HeaderMap) {
        // Before those that name the caller, so that no attribute can take their place.
        for (name, value) in &self.attributes {
            headers.insert(name.clone(), value.clone());
        }
        headers.insert(IAP_JWT_ASSERTION, self.assertion.clone());
        let named = [
            (AUTHENTICATED_USER_EMAIL, &self.email),
            (AUTHENTICATED_USER_ID, &self.id),
            (INGRESS_AUTHORIZATION, &self.mesh),
        ];
        for (name, value) in named {
            if let Some(value) = value {
                headers.insert(name, value.clone());
            }
        }
    }
}

/// Where a service mesh looks for the token of a request, and what it expects before it.
///
/// Spec: <https://cloud.google.com/iap/docs/customizing> (`rctokenAud`); the scheme is Istio's, for exchanged tokens.
const INGRESS_AUTHORIZATION: HeaderName = HeaderName::from_static("ingress-authorization");

/// `identity_source` of an account, and where nobody was proven.
const GOOGLE: &str = "GOOGLE";

/// `identity_source` of a caller whom a trusted issuer vouches for. Google has no such value.
const TRUSTED_ISSUER: &str = "TRUSTED_ISSUER";

/// Identities that were signed less than a minute ago.
pub(crate) struct Assertions(Cache<AssertionKey, (Timestamp, Arc<Identity>), BySize>);

/// How much of them is kept, in bytes.
const CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// Attributes may be long, and the caller's issuer says them: they are in the key, in a header, and in two tokens.
#[derive(Clone)]
struct BySize;

impl Weighter<AssertionKey, (Timestamp, Arc<Identity>)> for BySize {
    fn weight(&self, key: &AssertionKey, _: &(Timestamp, Arc<Identity>)) -> u64 {
        let told = |(name, values, _): &Told| name.len() + values.iter().map(|value| 24 + value.len()).sum::<usize>();
        let attributes: usize = key.attributes.iter().map(told).sum();
        let levels: usize = key.access_levels.iter().map(String::len).sum();
        (2048 + 4 * attributes + 3 * levels) as u64
    }
}

/// Everything that a signed header depends on: the snapshot with its keys, accounts and settings, the application, the caller, and
/// what this request met. Of several applications with one audience each has its own settings.
#[derive(PartialEq, Eq, Hash)]
struct AssertionKey {
    snapshot: u64,
    application: Arc<str>,
    caller: SignedCaller,
    access_levels: Vec<String>,
    /// Empty for an application without attribute propagation.
    attributes: Vec<Told>,
}

/// Who is named: all that the headers say of them.
#[derive(PartialEq, Eq, Hash)]
enum SignedCaller {
    Nobody,
    Account(UniqueId),
    Foreign { issuer: IssuerId, subject: String, email: Option<Email> },
}

/// One attribute that the application is told: name, values, and whether its header has no prefix.
type Told = (String, Vec<String>, bool);

impl SignedCaller {
    fn of(caller: Option<&Caller>) -> Self {
        match caller {
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
        Assertions(Cache::with_weighter(16 * 1024, CACHE_BYTES, BySize))
    }
}

/// Signs, or takes a signature of the last minute.
pub(crate) fn assert(
    assertions: &Assertions,
    permit: &Permit<'_>,
    snapshot: &Snapshot,
    trace: &mut Trace,
) -> Result<Arc<Identity>, Refusal> {
    let now = trace.now();
    let attributes = propagated(permit).unwrap_or_else(|error| {
        // Whoever is told nothing takes a caller for less, not for more; and the operator finds why.
        trace.add_note(format!("nothing of the caller was propagated: {error}"));
        Vec::new()
    });
    let key = AssertionKey {
        snapshot: snapshot.version,
        application: permit.site().resource.version_name.clone(),
        caller: SignedCaller::of(permit.caller().map(|proven| &proven.caller)),
        access_levels: permit.access_levels().to_vec(),
        attributes: attributes.iter().map(|it| (it.name.clone(), it.values.clone(), it.strict)).collect(),
    };
    if let Some((signed, identity)) = assertions.0.get(&key)
        && signed <= now
        && now.since(signed) < REUSED_FOR
    {
        return Ok(identity);
    }
    let identity = Arc::new(sign(&snapshot.keys, permit, &attributes, now).map_err(Refusal::CannotSign)?);
    assertions.0.insert(key, (now, identity.clone()));
    Ok(identity)
}

/// What the application's settings select of what is known about the caller. Costs nothing where they select nothing.
fn propagated(permit: &Permit<'_>) -> Result<Vec<PropagatedAttribute>, PropagationError> {
    let settings = &*permit.site().resource.settings;
    let outputs = [PropagationOutput::Header, PropagationOutput::Jwt, PropagationOutput::Rctoken];
    let (Some(expression), Some(proven)) =
        (outputs.into_iter().find_map(|output| settings.propagates_to(output)), permit.caller())
    else {
        return Ok(Vec::new());
    };
    expression.select(&attributes_of(proven, permit.access_levels()), permit.budget())
}

/// Everything that is known about a caller.
fn attributes_of(proven: &Proven, access_levels: &[String]) -> CallerAttributes {
    let claims = proven.claims.as_object();
    let texts = |value: &Value| match value {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Array(list) => list.iter().map(|text| text.as_str().map(str::to_owned)).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    };
    let (id, email, domain) = match &proven.caller {
        Caller::Account(account) => {
            (account.unique_id.0.clone(), Some(account.email.as_str()), account.hosted_domain())
        }
        Caller::Foreign(foreign) => (foreign.subject.clone(), foreign.email.as_ref().map(Email::as_str), None),
    };
    let device = claims.get("device").and_then(|device| device.get("id")).and_then(Value::as_str);
    let one = |text: Option<&str>| text.map(str::to_owned).into_iter().collect();
    let values = |name: &str| match name {
        "user_email" => one(email),
        "user_id" => vec![id.clone()],
        "hosted_domain" => one(domain),
        "access_levels" => access_levels.to_vec(),
        "device_id" => one(device),
        "principal" => vec![proven.caller.member()],
        _ => Vec::new(),
    };
    let iap = IAP_ATTRIBUTES.iter().map(|name| Attribute { name: (*name).to_owned(), values: values(name) });
    // Our own tokens say nothing beside what is above: only a provider elsewhere has attributes of its own.
    let saml = match &proven.caller {
        Caller::Account(_) => Vec::new(),
        Caller::Foreign(_) => {
            let attribute =
                |(name, value): (&String, &Value)| Some(Attribute { name: name.clone(), values: texts(value)? });
            claims.iter().filter_map(attribute).collect()
        }
    };
    CallerAttributes { iap: iap.filter(|attribute| !attribute.values.is_empty()).collect(), saml }
}

/// Signs the `x-goog-iap-jwt-assertion` value, and writes the unsigned headers beside it.
///
/// ES256, `iss` = `https://cloud.google.com/iap`, `aud` = the resource's audience string, `exp` = `iat` + 600 seconds. For
/// a caller `sub` and `email`; for a person `hd` besides; without a caller neither. `google.access_levels` are those that the
/// request met; without any there is no `google`. A foreign caller has names in the namespace of their issuer's entry, which no
/// account and no other entry can have, and `email` only if the issuer may vouch for it.
///
/// The token for a service mesh says the same, with the audience that the settings name.
///
/// Spec: <https://cloud.google.com/iap/docs/signed-headers-howto>
fn sign(
    keys: &KeyRing,
    permit: &Permit<'_>,
    attributes: &[PropagatedAttribute],
    now: Timestamp,
) -> Result<Identity, KeyError> {
    let mut claims = Map::new();
    let mut claim = |name: &str, value: Value| {
        claims.insert(name.to_owned(), value);
    };
    let resource = &permit.site().resource;
    let settings = &*resource.settings;
    claim("iss", ASSERTION_ISSUER.into());
    claim("iat", now.seconds().into());
    claim("exp", (now + ASSERTION_TTL).seconds().into());
    let (source, named) = match permit.caller().map(|proven| &proven.caller) {
        None => (GOOGLE, None),
        Some(Caller::Account(account)) => (GOOGLE, Some(name_account(account, &mut claim))),
        Some(Caller::Foreign(foreign)) => (TRUSTED_ISSUER, Some(name_foreign(foreign, &mut claim))),
    };
    claim("identity_source", source.into());
    if !permit.access_levels().is_empty() {
        claim("google", json!({"access_levels": permit.access_levels()}));
    }
    let additional: Map<String, Value> =
        attributes.iter().map(|attribute| (attribute.name.clone(), attribute.values.clone().into())).collect();
    let sign_for = |audience: &str, output: PropagationOutput| {
        let mut claims = claims.clone();
        claims.insert("aud".to_owned(), audience.into());
        claims.insert("azp".to_owned(), audience.into());
        if settings.propagates_to(output).is_some() && !additional.is_empty() {
            claims.insert("additional_claims".to_owned(), additional.clone().into());
        }
        keys.sign(KeyPurpose::Assertion, &claims, now)
    };
    let (id, email) = named.map_or((None, None), |named| (Some(named.id), named.email));
    let optional = |text: Option<String>| text.as_deref().map(header).transpose();
    let assertion = header(&sign_for(&resource.audience, PropagationOutput::Jwt)?)?;
    // The audience of an application is never signed for another one, whatever its settings say.
    let mesh = settings.rctoken_audience.value.as_deref().filter(|audience| !audience.starts_with("/projects/"));
    let mesh = mesh.map(|audience| header(&format!("Istio {}", sign_for(audience, PropagationOutput::Rctoken)?)));
    Ok(Identity {
        assertion,
        id: optional(id)?,
        email: optional(email)?,
        mesh: mesh.transpose()?,
        attributes: match settings.propagates_to(PropagationOutput::Header) {
            Some(_) => attributes.iter().filter_map(attribute_header).collect(),
            None => Vec::new(),
        },
    })
}

/// `None` for an attribute that is in tokens only, because its name cannot be in one of a header.
fn attribute_header(attribute: &PropagatedAttribute) -> Option<(HeaderName, HeaderValue)> {
    let name = HeaderName::from_bytes(attribute.header_name()?.as_bytes()).ok()?;
    Some((name, HeaderValue::from_str(&attribute.header_value()).ok()?))
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
    use crate::testing::{TestWorld, claims_of, foreign, permit, proven, proven_by, settings, shared, trace};
    use doorward_core::settings::Settings;

    /// The claims and the names of the headers that an application gets for a caller.
    fn signed_for(world: &TestWorld, authenticated: Authenticated) -> (Value, Vec<String>) {
        let shared = shared(world);
        let mut trace = trace(&shared, "GET");
        let permit = permit(world, authenticated, &mut trace);
        let identity = assert(&shared.assertions, &permit, &world.snapshot, &mut trace).unwrap();
        let again = assert(&shared.assertions, &permit, &world.snapshot, &mut trace).unwrap();
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
                proven(world.robot()),
                serde_json::json!({"sub": "accounts.google.com:1001", "email": "robot@p.iam.gserviceaccount.com"}),
                vec![
                    "x-goog-authenticated-user-email: accounts.google.com:robot@p.iam.gserviceaccount.com".to_owned(),
                    "x-goog-authenticated-user-id: accounts.google.com:1001".to_owned(),
                ],
            ),
            (
                proven(world.alice()),
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
                let permit = permit(&world, proven(caller.clone()), trace);
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

    #[test]
    fn what_is_known_of_a_caller_is_what_we_know_and_of_a_foreign_one_what_their_token_says() {
        let world = TestWorld::new(&[]);
        let claims = json!({
            "iss": "https://corp.test", "groups": ["a", "b"], "dept": "x", "level": 3, "on": true, "mixed": ["a", 1],
            "device": {"id": "d1"}, "amr": ["pwd", "otp"],
        });
        let levels = ["accessPolicies/1/accessLevels/a".to_owned()];
        let known = |caller: Caller| {
            let Authenticated::Caller { proven, .. } = proven_by(caller, claims.clone()) else { panic!("a caller") };
            assert_eq!(proven.strength.map(|strength| strength.level()), Some(2));
            let CallerAttributes { iap, saml } = attributes_of(&proven, &levels);
            [iap, saml].map(|attributes| {
                attributes.iter().map(|it| format!("{}={}", it.name, it.values.join("+"))).collect::<Vec<_>>().join(" ")
            })
        };
        #[rustfmt::skip]
        let cases = [
            (world.alice(), "user_email=alice@example.com user_id=2001 hosted_domain=example.com \
                             access_levels=accessPolicies/1/accessLevels/a device_id=d1 principal=user:alice@example.com", ""),
            (world.robot(), "user_email=robot@p.iam.gserviceaccount.com user_id=1001 \
                             access_levels=accessPolicies/1/accessLevels/a device_id=d1 \
                             principal=serviceAccount:robot@p.iam.gserviceaccount.com", ""),
            (foreign("corp", "7", None), "user_id=7 access_levels=accessPolicies/1/accessLevels/a device_id=d1 \
                                          principal=principal://doorward/trustedIssuers/corp/subject/7",
                                         "amr=pwd+otp dept=x groups=a+b iss=https://corp.test"),
        ];
        for (caller, iap, saml) in cases {
            assert_eq!(known(caller), [iap, saml]);
        }
    }

    #[test]
    fn a_signature_that_is_used_again_says_what_this_token_says_and_not_what_the_one_before_said() {
        let told = Settings {
            propagation_expression: Some("attributes.saml_attributes.selectByName('dept')".to_owned()),
            propagation_outputs: Some(vec![PropagationOutput::Header, PropagationOutput::Jwt]),
            propagation_enabled: Some(true),
            ..Settings::default()
        };
        let world = TestWorld::new(&["allUsers"]).changed([settings(told)]);
        let shared = shared(&world);
        let trace = &mut trace(&shared, "GET");
        for dept in [json!("a"), json!("b"), json!(["a", "b"]), json!("a"), json!(null)] {
            let caller = proven_by(foreign("corp", "7", None), json!({"dept": dept}));
            let permit = permit(&world, caller, trace);
            let mut headers = HeaderMap::new();
            assert(&shared.assertions, &permit, &world.snapshot, trace).unwrap().add_to(&mut headers);
            let expected = match &dept {
                Value::String(text) => Some(vec![text.clone()]),
                Value::Array(_) => Some(vec!["a".to_owned(), "b".to_owned()]),
                _ => None,
            };
            let header = headers.get("x-goog-iap-attr-dept").map(|value| value.to_str().unwrap());
            assert_eq!(header, expected.as_ref().map(|values| values.join(",")).as_deref());
            let token = headers[IAP_JWT_ASSERTION].to_str().unwrap();
            let claims = claims_of(&world.snapshot, KeyPurpose::Assertion, token);
            assert_eq!(claims.get("additional_claims"), expected.map(|values| json!({"dept": values})).as_ref());
        }
    }
}
