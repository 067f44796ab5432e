//! Pools and providers, and the tokens that are given for those of other issuers.

use super::*;
use doorward_core::audit::TokenMethod;
use doorward_core::entropy::generate_private_key;
use doorward_wire::jose::{Algorithm, SigningKey};
use doorward_wire::oauth::{ACCESS_TOKEN_TYPE, ID_TOKEN_TYPE, JWT_TYPE, SAML2_TYPE, TOKEN_EXCHANGE};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const POOLS: &str = "/iam.googleapis.com/v1/projects/p/locations/global/workloadIdentityPools";
const POOL: &str = "projects/123/locations/global/workloadIdentityPools/build";
const ISSUER: &str = "https://token.actions.githubusercontent.com";
const STS: &str = "/sts.googleapis.com/v1/token";
const CLOUD: &str = "https://www.googleapis.com/auth/cloud-platform";
const NOW: i64 = 1_800_000_000;

fn audience() -> String {
    format!("//iam.googleapis.com/{POOL}/providers/github")
}

/// An issuer that is not ours.
struct Issuer(SigningKey);

impl Issuer {
    fn new() -> Self {
        Issuer(
            SigningKey::from_pkcs8("k1", Algorithm::Es256, &generate_private_key(Algorithm::Es256).unwrap()).unwrap(),
        )
    }

    fn keys(&self) -> String {
        json!({"keys": [self.0.public_jwk()]}).to_string()
    }

    /// A token as a build gets it, with some claims changed; `null` takes one away.
    fn token(&self, changes: Value) -> String {
        let mut claims = json!({
            "iss": ISSUER, "aud": audience(), "sub": "repo:octo/app", "iat": NOW, "exp": NOW + 600,
            "repository": "octo/app", "repository_owner": "octo",
        });
        let claims = claims.as_object_mut().unwrap();
        claims.extend(changes.as_object().unwrap().clone());
        claims.retain(|_, value| !value.is_null());
        self.0.sign(claims).unwrap()
    }
}

/// A provider as an operator writes it.
fn provider(issuer: &Issuer) -> Value {
    json!({
        "displayName": "Builds",
        "attributeMapping": {"google.subject": "assertion.sub", "attribute.repository": "assertion.repository"},
        "attributeCondition": "assertion.repository_owner == 'octo'",
        "oidc": {"issuerUri": ISSUER, "jwksJson": issuer.keys()},
    })
}

impl World {
    /// One call of the administrator.
    async fn administer(&self, method: Method, path: &str, body: &Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.call(method, path, &[("authorization", &format!("Bearer {ADMIN}"))], &body).await
    }

    /// The same, which must succeed.
    async fn administered(&self, method: Method, path: &str, body: &Value) -> Value {
        let answer = self.administer(method, path, body).await;
        assert_eq!(answer.status, StatusCode::OK, "{path} {}", answer.body);
        answer.json()
    }

    /// A world with a pool `build` and a provider `github` of this issuer.
    async fn with_provider(issuer: &Issuer) -> Self {
        let world = World::new().await;
        world.administered(Method::POST, &format!("{POOLS}?workloadIdentityPoolId=build"), &json!({})).await;
        let path = format!("{POOLS}/build/providers?workloadIdentityPoolProviderId=github");
        world.administered(Method::POST, &path, &provider(issuer)).await;
        world
    }
}

/// A request in the order in which Google's libraries write it.
fn exchange(subject_token: &str) -> Vec<(&'static str, String)> {
    vec![
        ("grant_type", TOKEN_EXCHANGE.into()),
        ("audience", audience()),
        ("scope", CLOUD.into()),
        ("requested_token_type", ACCESS_TOKEN_TYPE.into()),
        ("subject_token", subject_token.into()),
        ("subject_token_type", JWT_TYPE.into()),
    ]
}

/// The same with one parameter changed, or taken away.
fn changed(subject_token: &str, name: &str, value: Option<&str>) -> String {
    let mut pairs = exchange(subject_token);
    pairs.retain(|(it, _)| *it != name);
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .extend_pairs(value.map(|value| (name, value)))
        .finish()
}

fn form_of(pairs: &[(&str, String)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

#[tokio::test]
async fn a_token_from_elsewhere_becomes_one_that_acts_as_an_account() {
    let issuer = Issuer::new();
    let world = World::with_provider(&issuer).await;
    let principal = format!("principal://iam.googleapis.com/{POOL}/subject/repo:octo/app");
    let policy = json!({"policy": {"bindings": [
        {"role": "roles/iam.workloadIdentityUser", "members": [principal]},
    ]}});
    let account = format!("/iam.googleapis.com/v1/projects/p/serviceAccounts/{TARGET}:setIamPolicy");
    world.administered(Method::POST, &account, &policy).await;

    let token = issuer.token(json!({}));
    let body = form_of(&exchange(&token));
    let json_body = json!({
        "grantType": TOKEN_EXCHANGE, "audience": audience(), "scope": CLOUD, "requestedTokenType": ACCESS_TOKEN_TYPE,
        "subjectToken": token, "subjectTokenType": ID_TOKEN_TYPE, "options": "{\"userProject\":\"1\"}",
    })
    .to_string();
    let json_type = ("content-type", "Application/JSON; charset=utf-8");
    let by_name = ("host", "sts.googleapis.com");
    let cases: [(&str, Fields<'_>, &str); 4] = [
        (STS, vec![], &body),
        (STS, vec![("content-type", "application/x-www-form-urlencoded")], &body),
        ("/v1/token", vec![by_name], &body),
        ("/v1/token", vec![by_name, json_type], &json_body),
    ];
    for (path, fields, body) in cases {
        let answer = world.post(path, &fields, body).await;
        assert_eq!(answer.status, StatusCode::OK, "{path} {fields:?} {}", answer.body);
        assert_eq!(answer.headers["cache-control"], "no-store");
        let mut given = answer.json();
        let given = given.as_object_mut().unwrap();
        let Some(Value::String(token)) = given.remove("access_token") else { panic!("{given:?}") };
        let rest = json!({"issued_token_type": ACCESS_TOKEN_TYPE, "token_type": "Bearer", "expires_in": 599});
        assert_eq!(Value::Object(given.clone()), rest);
        let event = world.last_event().await;
        assert_eq!((event.account.as_deref(), event.audience.as_deref()), (Some(&*principal), Some(CLOUD)));

        let act = format!("/iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{TARGET}:generateIdToken");
        let bearer = format!("Bearer {token}");
        let acted = world.post(&act, &[("authorization", &bearer)], r#"{"audience": "a"}"#).await;
        assert_eq!(acted.status, StatusCode::OK, "{}", acted.body);
        assert_eq!(world.last_event().await.chain, std::slice::from_ref(&principal));
        let administered = world.call(Method::GET, POOLS, &[("authorization", &bearer)], "").await;
        assert_eq!(administered.status, StatusCode::FORBIDDEN);
    }
}

#[tokio::test]
async fn an_exchange_is_refused_in_the_words_and_with_the_status_of_google_and_recorded() {
    let issuer = Issuer::new();
    let world = World::with_provider(&issuer).await;
    let good = issuer.token(json!({}));
    let with = |claims: Value| form_of(&exchange(&issuer.token(claims)));
    let request = |name: &str, value: &str| changed(&good, name, Some(value));
    let without = |name: &str| changed(&good, name, None);
    let elsewhere = audience().replace("github", "other");
    let twice = format!("{}&audience=x", form_of(&exchange(&good)));
    let requested = "Invalid value for \"requested_token_type\". This value should be \
                     urn:ietf:params:oauth:token-type:access_token.";
    let subject_type = "Invalid value for \"subject_token_type\". This value should be \
                        urn:ietf:params:oauth:token-type:jwt or urn:ietf:params:oauth:token-type:id_token.";
    let name = "Invalid value for \"audience\". This value should be the full resource name of the Identity Provider. See \
                https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token for the list of possible formats.";
    let target = "The target service indicated by the \"audience\" parameters is invalid. This might either be because \
                  the pool or provider is disabled or deleted or because it doesn't exist.";
    let too_long = "The size of mapped attribute google.subject exceeds the 127 bytes limit. Either modify your attribute \
                    mapping or the incoming assertion to produce a mapped attribute that is less than 127 bytes.";
    let condition = "The given credential is rejected by the attribute condition.";
    use TokenReason as R;
    #[rustfmt::skip]
    let cases = [
        (without("grant_type"),                       "invalid_request",        "Required parameter is missing: grant_type",      R::InvalidRequest),
        (request("grant_type", "refresh_token"),      "unsupported_grant_type", "Invalid grant_type: refresh_token",              R::InvalidRequest),
        (without("audience"),                         "invalid_request",        "Missing required parameter: audience",           R::InvalidRequest),
        (without("subject_token"),                    "invalid_request",        "Missing required parameter: subject_token",      R::InvalidRequest),
        (without("subject_token_type"),               "invalid_request",        "Missing required parameter: subject_token_type", R::InvalidRequest),
        (without("scope"),                            "invalid_request",        "Missing required parameter: scope",              R::InvalidRequest),
        (twice,                                       "invalid_request",        "Bad Request",                                    R::InvalidRequest),
        (without("requested_token_type"),             "invalid_request",        requested,                                        R::InvalidRequest),
        (request("requested_token_type", JWT_TYPE),   "invalid_request",        requested,                                        R::InvalidRequest),
        (request("subject_token_type", SAML2_TYPE),   "invalid_request",        subject_type,                                     R::InvalidRequest),
        (request("subject_token_type", "jwt"),        "invalid_request",        subject_type,                                     R::InvalidRequest),
        (request("options", "x"),                     "invalid_request",        "Invalid value for \"options\". This value should be a JSON object.", R::InvalidRequest),
        (request("scope", "x"),                       "invalid_scope",          "Some requested scopes were invalid.",            R::InvalidScope),
        (request("audience", "https://x"),            "invalid_request",        name,                                             R::InvalidRequest),
        (request("audience", &elsewhere),             "invalid_target",         target,                                           R::UnknownProvider),
        (request("subject_token", "x"),               "invalid_grant",          "Unable to parse the ID Token.",                  R::InvalidSubjectToken),
        (request("subject_token", &Issuer::new().token(json!({}))), "invalid_grant", "The signature of the ID Token is not valid.", R::InvalidSubjectToken),
        (with(json!({"iss": "https://other.test"})),  "invalid_grant",          "The issuer in ID Token does not match the expected one.", R::InvalidSubjectToken),
        (with(json!({"aud": "x"})),                   "invalid_grant",          "The audience in ID Token does not match the expected audience.", R::InvalidSubjectToken),
        (with(json!({"exp": NOW - 40, "iat": NOW - 60})), "invalid_grant",      "The ID Token has expired.",                      R::InvalidSubjectToken),
        (with(json!({"iat": NOW + 60})),              "invalid_grant",          "The ID Token is not valid yet.",                 R::InvalidSubjectToken),
        (with(json!({"exp": null})),                  "invalid_grant",          "The ID Token must have iat and exp, in whole seconds.", R::InvalidSubjectToken),
        (with(json!({"exp": NOW + 86_401})),          "invalid_grant",          "The ID Token must expire within 24 hours after it was issued.", R::InvalidSubjectToken),
        (with(json!({"sub": "s".repeat(128)})),       "invalid_request",        too_long,                                         R::AttributeMapping),
        (with(json!({"sub": 1})),                     "unauthorized_client",    "The mapped attribute 'google.subject' must be of type STRING.", R::AttributeMapping),
        (with(json!({"repository": null})),           "unauthorized_client",    "The mapped attribute 'attribute.repository' cannot be computed from the given credential.", R::AttributeMapping),
        (with(json!({"repository_owner": "other"})),  "unauthorized_client",    condition,                                        R::AttributeCondition),
        (with(json!({"repository_owner": null})),     "unauthorized_client",    condition,                                        R::AttributeCondition),
    ];
    for (body, error, description, reason) in cases {
        let answer = world.post(STS, &[], &body).await;
        let expected = json!({"error": error, "error_description": description});
        assert_eq!((answer.status.as_u16(), answer.json()), (400, expected), "{body}");
        assert_eq!(answer.headers["cache-control"], "no-store");
        let event = world.last_event().await;
        assert_eq!((event.method, event.reason), (TokenMethod::TokenExchange, Some(reason)), "{body}");
    }

    let json_type = ("content-type", "application/json");
    let fine = form_of(&exchange(&good));
    let cases: [(Fields<'_>, &str); 4] = [
        (vec![json_type], &fine),
        (vec![json_type], "[]"),
        (vec![json_type], r#"{"grantType": "a", "grant_type": "a"}"#),
        (vec![json_type, json_type], &fine),
    ];
    for (fields, body) in cases {
        let answer = world.post(STS, &fields, body).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["error"]), (400, &json!("invalid_request")), "{body}");
        assert_eq!(world.last_reason().await, Some(R::InvalidRequest), "{body}");
    }
    let huge = world.post(STS, &[], &"a".repeat(1024 * 1024 + 1)).await;
    assert_eq!(huge.status, StatusCode::PAYLOAD_TOO_LARGE);

    for disabled in [format!("{POOLS}/build/providers/github"), format!("{POOLS}/build")] {
        let set = |disabled: bool| json!({"disabled": disabled});
        let path = format!("{disabled}?updateMask=disabled");
        world.administered(Method::PATCH, &path, &set(true)).await;
        let answer = world.post(STS, &[], &fine).await;
        assert_eq!(answer.json(), json!({"error": "invalid_target", "error_description": target}), "{disabled}");
        assert_eq!(world.last_reason().await, Some(R::UnknownProvider));
        world.administered(Method::PATCH, &path, &set(false)).await;
        assert_eq!(world.post(STS, &[], &fine).await.status, StatusCode::OK, "{disabled}");
    }
}

/// Answers a request after the other with the document of its path.
async fn publish(documents: BTreeMap<&'static str, String>, listener: TcpListener) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (mut asked, mut byte) = (Vec::new(), [0]);
        while !asked.ends_with(b"\r\n\r\n") {
            assert_eq!(stream.read(&mut byte).await.unwrap(), 1);
            asked.push(byte[0]);
        }
        let path = String::from_utf8(asked).unwrap().split(' ').nth(1).unwrap().to_owned();
        let body = &documents[path.as_str()];
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    }
}

#[tokio::test]
async fn keys_are_fetched_from_where_the_issuers_discovery_says() {
    let issuer = Issuer::new();
    let world = World::with_provider(&issuer).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let here = format!("http://{}/build", listener.local_addr().unwrap());
    let discovery = json!({"issuer": here, "jwks_uri": format!("{here}/keys")}).to_string();
    let documents = [("/build/.well-known/openid-configuration", discovery), ("/build/keys", issuer.keys())];
    let published = tokio::spawn(publish(documents.into(), listener));
    let change = json!({"oidc": {"issuerUri": here, "insecureLoopback": true}});
    let path = format!("{POOLS}/build/providers/github?updateMask=oidc.issuerUri,oidc.jwksJson,oidc.insecureLoopback");
    world.administered(Method::PATCH, &path, &change).await;
    let body = form_of(&exchange(&issuer.token(json!({"iss": here}))));
    let first = world.post(STS, &[], &body).await;
    assert_eq!(first.status, StatusCode::OK, "{}", first.body);
    published.abort();
    let _ = published.await;
    assert_eq!(world.post(STS, &[], &body).await.status, StatusCode::OK, "the keys are kept while the issuer is gone");
}

#[tokio::test]
async fn an_issuer_whose_keys_cannot_be_fetched_vouches_for_nobody() {
    let issuer = Issuer::new();
    let world = World::with_provider(&issuer).await;
    // Nothing listens there, and nothing outside is asked.
    let here = "http://127.0.0.1:1";
    let change = json!({"oidc": {"issuerUri": here, "insecureLoopback": true}});
    let path = format!("{POOLS}/build/providers/github?updateMask=oidc.issuerUri,oidc.jwksJson,oidc.insecureLoopback");
    world.administered(Method::PATCH, &path, &change).await;
    let answer = world.post(STS, &[], &form_of(&exchange(&issuer.token(json!({"iss": here}))))).await;
    let expected =
        json!({"error": "invalid_grant", "error_description": "Error connecting to the given credential's issuer."});
    assert_eq!((answer.status.as_u16(), answer.json()), (400, expected));
    let event = world.last_event().await;
    assert_eq!(event.reason, Some(TokenReason::KeysUnavailable));
    assert!(event.refused.unwrap().starts_with("could not fetch the discovery document of the issuer: cannot connect"));
}

#[tokio::test]
async fn tokens_are_exchanged_at_the_one_address_for_that() {
    let issuer = Issuer::new();
    let world = World::with_provider(&issuer).await;
    let body = form_of(&exchange(&issuer.token(json!({}))));
    for path in ["/oauth2.googleapis.com/token", "/www.googleapis.com/oauth2/v4/token"] {
        let answer = world.post(path, &[], &body).await;
        assert_eq!(answer.json()["error"], "unsupported_grant_type", "{path}");
        let said = world.get("/.well-known/oauth-authorization-server").await.json();
        let grants = said["grant_types_supported"].as_array().unwrap().clone();
        assert!(!grants.contains(&json!(TOKEN_EXCHANGE)), "the token endpoint does not take it");
    }
    // The same path is another service at another host.
    let other = world.post("/v1/token", &[("host", "securetoken.googleapis.com")], &body).await;
    assert_eq!(other.status, StatusCode::NOT_FOUND);
    assert_eq!(world.post("/securetoken.googleapis.com/v1/token", &[], &body).await.status, StatusCode::NOT_FOUND);
    assert_eq!(world.post("/iam.googleapis.com/v1/token", &[], &body).await.status, StatusCode::NOT_FOUND);
    for (method, path) in [(Method::GET, STS), (Method::POST, "/sts.googleapis.com/v1/introspect")] {
        assert_eq!(world.call(method, path, &[], &body).await.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn pools_and_providers_are_made_shown_changed_and_removed_and_each_change_is_done_at_once() {
    let issuer = Issuer::new();
    let world = World::new().await;
    let done = |resource: &str, kind: &str, mut shown: Value| {
        shown["@type"] = format!("type.googleapis.com/google.iam.v1.{kind}").into();
        json!({"name": format!("{resource}/operations/done"), "done": true, "response": shown})
    };
    let pool = json!({"name": POOL, "displayName": "Build", "state": "ACTIVE"});
    let create = format!("{POOLS}?workloadIdentityPoolId=build&alt=json");
    let made = world.administered(Method::POST, &create, &json!({"displayName": "Build"})).await;
    assert_eq!(made, done(POOL, "WorkloadIdentityPool", pool.clone()));
    let by_number = POOLS.replace("/p/", "/123/");
    assert_eq!(world.administered(Method::GET, &format!("{by_number}/build"), &Value::Null).await, pool);
    let listed =
        world.administered(Method::GET, &format!("{POOLS}?pageSize=100&showDeleted=false"), &Value::Null).await;
    assert_eq!(listed, json!({"workloadIdentityPools": [pool]}));
    let change = format!("{POOLS}/build?updateMask=disabled,description");
    let changed =
        json!({"name": POOL, "displayName": "Build", "description": "CI", "state": "ACTIVE", "disabled": true});
    let made = world.administered(Method::PATCH, &change, &json!({"description": "CI", "disabled": true})).await;
    assert_eq!(made, done(POOL, "WorkloadIdentityPool", changed.clone()));

    let providers = format!("{POOLS}/build/providers");
    let name = format!("{POOL}/providers/github");
    let mut shown = provider(&issuer);
    shown["name"] = name.as_str().into();
    shown["state"] = "ACTIVE".into();
    let create_provider = format!("{providers}?workloadIdentityPoolProviderId=github");
    let made = world.administered(Method::POST, &create_provider, &provider(&issuer)).await;
    assert_eq!(made, done(&name, "WorkloadIdentityPoolProvider", shown.clone()));
    assert_eq!(world.administered(Method::GET, &format!("{providers}/github"), &Value::Null).await, shown);
    let listed = world.administered(Method::GET, &providers, &Value::Null).await;
    assert_eq!(listed, json!({"workloadIdentityPoolProviders": [shown]}));
    // Both spellings of a field are one.
    for (audience, field, outer, inner) in [
        ("a", "oidc.allowedAudiences", "displayName", "allowedAudiences"),
        ("b", "oidc.allowed_audiences", "display_name", "allowed_audiences"),
    ] {
        shown["oidc"]["allowedAudiences"] = json!([audience]);
        let change = format!("{providers}/github?updateMask={field}");
        let made = world
            .administered(Method::PATCH, &change, &json!({outer: "not in the mask", "oidc": {inner: [audience]}}))
            .await;
        assert_eq!(made, done(&name, "WorkloadIdentityPoolProvider", shown.clone()));
    }

    for resource in [POOL, &name] {
        let operation = format!("/iam.googleapis.com/v1/{resource}/operations/");
        let shown = world.administered(Method::GET, &format!("{operation}done"), &Value::Null).await;
        let empty = json!({"@type": "type.googleapis.com/google.protobuf.Empty"});
        assert_eq!(shown, json!({"name": format!("{resource}/operations/done"), "done": true, "response": empty}));
        let unknown = world.administer(Method::GET, &format!("{operation}other"), &Value::Null).await;
        assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    }

    #[rustfmt::skip]
    let refused: [(Method, &str, Value, u16, &str); 21] = [
        (Method::POST,   &create,                                         json!({}),                 409, "ALREADY_EXISTS"),
        (Method::POST,   POOLS,                                           json!({}),                 400, "INVALID_ARGUMENT"),
        (Method::POST,   &format!("{POOLS}?workloadIdentityPoolId=gcp-x"), json!({}),                400, "INVALID_ARGUMENT"),
        (Method::POST,   &format!("{create}&workloadIdentityPoolId=more"), json!({}),                400, "INVALID_ARGUMENT"),
        (Method::POST,   &format!("{POOLS}?workloadIdentityPoolId=more"), json!({"displayName": 1}), 400, "INVALID_ARGUMENT"),
        (Method::POST,   &format!("{POOLS}?workloadIdentityPoolId=more"), json!([]),                 400, "INVALID_ARGUMENT"),
        (Method::GET,    &POOLS.replace("/p/", "/q/"),                    Value::Null,               404, "NOT_FOUND"),
        (Method::GET,    &POOLS.replace("global", "europe"),              Value::Null,               404, "NOT_FOUND"),
        (Method::GET,    &format!("{POOLS}/other"),                       Value::Null,               404, "NOT_FOUND"),
        (Method::GET,    &format!("{POOLS}/other/providers"),             Value::Null,               404, "NOT_FOUND"),
        (Method::PATCH,  &format!("{POOLS}/build?updateMask=name"),       json!({}),                 400, "INVALID_ARGUMENT"),
        (Method::POST,   &format!("{POOLS}/build:undelete"),              json!({}),                 404, "NOT_FOUND"),
        (Method::POST,   &create_provider,                                provider(&issuer),         409, "ALREADY_EXISTS"),
        (Method::POST,   &format!("{POOLS}?workloadIdentityPoolId=more"), json!({"mode": "TRUST_DOMAIN"}), 400, "INVALID_ARGUMENT"),
        (Method::PATCH,  &format!("{providers}/github"),                  json!({"attributeconditon": "false"}), 400, "INVALID_ARGUMENT"),
        (Method::PATCH,  &format!("{providers}/github"),                  json!({"oidc": {"audiences": ["b"]}}), 400, "INVALID_ARGUMENT"),
        (Method::PATCH,  &format!("{providers}/github"),                  json!({"oidc": {"jwksJson": "{}"}}), 400, "INVALID_ARGUMENT"),
        (Method::POST,   &format!("{create_provider}2"),                  json!({"aws": {}}),        400, "INVALID_ARGUMENT"),
        (Method::POST,   &format!("{create_provider}2"),                  json!({"oidc": {}}),       400, "INVALID_ARGUMENT"),
        (Method::PATCH,  &format!("{providers}/github?updateMask=oidc.issuerUri"), json!({"oidc": {"issuerUri": "https://accounts.google.com"}}), 400, "INVALID_ARGUMENT"),
        (Method::PATCH,  &format!("{providers}/github?updateMask=attributeCondition"), json!({"attributeCondition": "("}), 400, "INVALID_ARGUMENT"),
    ];
    for (method, path, body, status, code) in refused {
        let answer = world.administer(method.clone(), path, &body).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {path} {body} {}", answer.body);
        assert_eq!(answer.json()["error"]["status"], code, "{method} {path} {body}");
    }
    assert_eq!(world.administered(Method::GET, &format!("{providers}/github"), &Value::Null).await, shown, "unchanged");

    shown["state"] = "DELETED".into();
    let removed = world.administered(Method::DELETE, &format!("{providers}/github"), &Value::Null).await;
    assert_eq!(removed, done(&name, "WorkloadIdentityPoolProvider", shown));
    let mut gone = changed;
    gone["state"] = "DELETED".into();
    let removed = world.administered(Method::DELETE, &format!("{POOLS}/build"), &Value::Null).await;
    assert_eq!(removed, done(POOL, "WorkloadIdentityPool", gone));
    assert_eq!(world.administered(Method::GET, POOLS, &Value::Null).await, json!({}));
}

#[tokio::test]
async fn pools_take_the_administrator_and_nobody_else() {
    let world = World::new().await;
    let cloud = format!("Bearer {CLOUD_TOKEN}");
    let one = format!("{POOLS}/build");
    let provider = format!("{one}/providers/github");
    #[rustfmt::skip]
    let calls = [
        (Method::GET,   POOLS.to_owned()),    (Method::POST,   POOLS.to_owned()),     (Method::GET, one.clone()),
        (Method::PATCH, one.clone()),         (Method::DELETE, one.clone()),          (Method::GET, format!("{one}/operations/done")),
        (Method::GET,   format!("{one}/providers")),           (Method::POST, format!("{one}/providers")),
        (Method::GET,   provider.clone()),    (Method::PATCH,  provider.clone()),     (Method::DELETE, provider.clone()),
        (Method::GET,   format!("{provider}/operations/done")),
    ];
    for (method, path) in calls {
        // What is sent is not looked at before the caller is proven.
        let answer = world.call(method.clone(), &path, &[], "not JSON").await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{method} {path}");
        assert!(world.last_reason().await.is_some(), "{method} {path}");
        let answer = world.call(method.clone(), &path, &[("authorization", &cloud)], "{}").await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{method} {path}");
        assert_eq!(world.last_admin_event().await.code, 7, "{method} {path}");
    }
}
