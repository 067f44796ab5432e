use std::sync::Arc;

use doorward_core::audit::TokenMethod;
use doorward_core::federation::{FederatedIdentity, Generation, Provider};
use doorward_core::grant::{Subject, TokenHash};
use doorward_core::outbound::FetchError;
use doorward_wire::jose::{Algorithm, encode_base64url};
use doorward_wire::oauth::{
    ACCESS_TOKEN_TYPE, AWS4_REQUEST_TYPE, JWT_TYPE, ParameterError, SAML2_TYPE, TokenExchangeRequest, TokenFormError,
};
use serde_json::{Value, json};

use super::{ELSEWHERE, Federation, Key, POOL, PROVIDER, claims, request, settle};
use crate::robots::{CLOUD, with};
use crate::{PEER, START, cause};

/// The refusals of a token itself.
const TOKEN: &str = "invalid_subject_token";

#[tokio::test]
async fn a_token_of_another_issuer_is_exchanged_for_one_of_the_identity_that_it_stands_for() {
    let federation = Federation::new().await;
    let token = federation.key.token(&claims());
    let issued = federation.redeem(request(token)).await.unwrap();
    assert_eq!(issued.expires_in.as_secs(), 3599);
    assert!(issued.token.starts_with("doorward_at_"));
    assert_eq!(format!("{issued:?}"), "Exchanged(expires in 3599 s)");

    let stack = &federation.stack;
    let grant = stack.store.access_token(&TokenHash::of(&issued.token), stack.now()).await.unwrap().unwrap();
    assert_eq!((grant.expires.seconds(), grant.scopes.as_str()), (START + 3600, CLOUD));
    let Subject::Federated(identity) = grant.subject else { panic!("{:?}", grant.subject) };
    let snapshot = stack.publisher.cell().current();
    let members = snapshot.federated_members(&identity).unwrap();
    let of_before = FederatedIdentity { generation: Generation("before".to_owned()), ..*identity };
    assert_eq!(snapshot.federated_members(&of_before), None);
    let members: Vec<String> = members.iter().map(ToString::to_string).collect();
    let principal = format!("principal:{POOL}/subject/repo:octo/app:ref:refs/heads/main");
    let expected = [
        principal.clone(),
        format!("principalSet:{POOL}/group/ops"),
        format!("principalSet:{POOL}/group/dev"),
        format!("principalSet:{POOL}/attribute.repository/octo/app"),
        format!("principalSet:{POOL}/*"),
    ];
    assert_eq!(members, expected);

    let event = stack.last_event();
    assert_eq!(event.method, TokenMethod::TokenExchange);
    assert_eq!((event.account, event.refused), (Some(principal), None));
    assert_eq!((event.issued.as_deref(), event.audience.as_deref()), (Some("access_token"), Some(CLOUD)));
    assert_eq!(event.peer, Some(PEER.to_string()));
}

#[tokio::test]
async fn a_request_is_of_the_form_that_google_takes_and_names_a_provider() {
    let federation = Federation::new().await;
    federation.create_pool("other-pool").await;
    let token = federation.key.token(&claims());
    type Change = fn(&mut TokenExchangeRequest);
    let named = |name: &str| format!("//iam.googleapis.com/{name}");
    let audience = |text: String| {
        let token = token.clone();
        move || TokenExchangeRequest { audience: text.clone(), ..request(token.clone()) }
    };
    #[rustfmt::skip]
    let changes: [(Change, &str, &str); 16] = [
        (|_| {},                                                   "ok",                   ""),
        (|it| it.subject_token_type = JWT_TYPE.to_owned(),         "ok",                   ""),
        (|it| it.subject_token_type = SAML2_TYPE.to_owned(),       "SubjectTypeNotServed", "invalid_request"),
        (|it| it.subject_token_type = AWS4_REQUEST_TYPE.to_owned(), "SubjectTypeNotServed", "invalid_request"),
        (|it| it.subject_token_type = ACCESS_TOKEN_TYPE.to_owned(), "SubjectType",         "invalid_request"),
        (|it| it.subject_token_type = "jwt".to_owned(),            "SubjectType",          "invalid_request"),
        (|it| it.requested_token_type = None,                      "RequestedType",        "invalid_request"),
        (|it| it.requested_token_type = Some(JWT_TYPE.to_owned()), "RequestedType",        "invalid_request"),
        (|it| it.scope = None,                                     "ScopeMissing",         "invalid_request"),
        (|it| it.scope = Some(" ".to_owned()),                     "Scope",                "invalid_scope"),
        (|it| it.scope = Some("nonsense".to_owned()),              "Scope",                "invalid_scope"),
        (|it| it.scope = Some(format!("{CLOUD} nonsense")),        "Scope",                "invalid_scope"),
        (|it| it.scope = Some(format!("{CLOUD} openid")),          "ok",                   ""),
        (|it| it.options = Some("{\"userProject\":\"1\"}".to_owned()), "ok",               ""),
        (|it| it.options = Some("userProject".to_owned()),         "Options",              "invalid_request"),
        (|it| it.options = Some("[]".to_owned()),                  "Options",              "invalid_request"),
    ];
    for (row, (change, expected, reason)) in changes.into_iter().enumerate() {
        let mut changed = request(token.clone());
        change(&mut changed);
        let outcome = federation.redeem(changed).await.map_or_else(|error| cause(&error), |_| "ok".to_owned());
        assert_eq!((outcome.as_str(), federation.stack.last_reason()), (expected, reason), "row {row}");
    }
    #[rustfmt::skip]
    let audiences = [
        (named(PROVIDER),                                     "ok"),
        (named(&PROVIDER.replace("123", "dev-project")),      "ok"),
        (named(&PROVIDER.replace("123", "124")),              "UnknownProvider"),
        (named(&PROVIDER.replace("ci-pool", "no-pool")),      "UnknownProvider"),
        (named(&PROVIDER.replace("ci-pool", "other-pool")),   "UnknownProvider"),
        (named(&PROVIDER.replace("ci-pool", "CI-POOL")),      "UnknownProvider"),
        (named(&PROVIDER.replace("ci-runner", "nobody")),     "UnknownProvider"),
        (PROVIDER.to_owned(),                                 "AudienceMalformed"),
        (format!("https:{}", named(PROVIDER)),                "AudienceMalformed"),
        (format!("//sts.googleapis.com/{PROVIDER}"),          "AudienceMalformed"),
        (format!("{}/", named(PROVIDER)),                     "AudienceMalformed"),
        (format!("{}/x", named(PROVIDER)),                    "AudienceMalformed"),
        (named(&PROVIDER.replace("global", "eu")),            "AudienceMalformed"),
        (named(&PROVIDER.replace("ci-pool", "")),             "AudienceMalformed"),
        (named("locations/global/workforcePools/p/providers/v"), "AudienceMalformed"),
    ];
    for (text, expected) in audiences {
        let outcome = federation.redeem(audience(text.clone())()).await;
        assert_eq!(outcome.map_or_else(|error| cause(&error), |_| "ok".to_owned()), expected, "{text}");
    }
    let refused = federation.exchange.exchange(Err(TokenFormError::UnsupportedGrant("x".into())), PEER).await;
    assert_eq!((cause(&refused.unwrap_err()).as_str(), federation.stack.last_reason()), ("Form", "invalid_request"));
    let missing = TokenFormError::from(ParameterError::Missing("audience"));
    assert_eq!(cause(&federation.exchange.exchange(Err(missing), PEER).await.unwrap_err()), "Form");
    assert_eq!(federation.stack.last_event().method, TokenMethod::TokenExchange);
}

#[tokio::test]
async fn claims_decide_whether_a_token_is_exchanged() {
    let federation = Federation::new().await;
    let provider = |scheme: &str, name: &str| format!("{scheme}//iam.googleapis.com/{name}");
    let named = provider("", PROVIDER);
    let by_id = provider("https:", &PROVIDER.replace("123", "dev-project"));
    let long = "r".repeat(8 * 1024);
    let good = START + 7200;
    #[rustfmt::skip]
    let cases = [
        (json!({}),                                       "ok",           ""),
        (json!({"iss": "https://other.example"}),         "Issuer",       TOKEN),
        (json!({"iss": format!("{ELSEWHERE}/")}),         "Issuer",       TOKEN),
        (json!({"iss": ELSEWHERE.to_uppercase()}),        "Issuer",       TOKEN),
        (json!({"iss": "https://accounts.google.com"}),   "Issuer",       TOKEN),
        (json!({"iss": [ELSEWHERE]}),                     "Issuer",       TOKEN),
        (json!({"iss": null}),                            "Issuer",       TOKEN),
        (json!({"aud": named}),                           "ok",           ""),
        (json!({"aud": [named]}),                         "ok",           ""),
        (json!({"aud": ["x", 7, named]}),                 "ok",           ""),
        (json!({"aud": "https://other.example"}),         "Audience",     TOKEN),
        (json!({"aud": by_id}),                           "Audience",     TOKEN),
        (json!({"aud": PROVIDER}),                        "Audience",     TOKEN),
        (json!({"aud": format!("{named}x")}),             "Audience",     TOKEN),
        (json!({"aud": {"x": named}}),                    "Audience",     TOKEN),
        (json!({"aud": [[named]]}),                       "Audience",     TOKEN),
        (json!({"aud": []}),                              "Audience",     TOKEN),
        (json!({"aud": ""}),                              "Audience",     TOKEN),
        (json!({"aud": null}),                            "Audience",     TOKEN),
        (json!({"iat": null}),                            "TimeMissing",  TOKEN),
        (json!({"exp": null}),                            "TimeMissing",  TOKEN),
        (json!({"iat": START.to_string()}),               "TimeMissing",  TOKEN),
        (json!({"exp": 1.5}),                             "TimeMissing",  TOKEN),
        (json!({"nbf": "now"}),                           "TimeMissing",  TOKEN),
        (json!({"iat": START + 30}),                      "ok",           ""),
        (json!({"iat": START + 31}),                      "NotYetValid",  TOKEN),
        (json!({"nbf": START + 30}),                      "ok",           ""),
        (json!({"nbf": START + 31}),                      "NotYetValid",  TOKEN),
        (json!({"exp": START + 2}),                       "ok",           ""),
        (json!({"exp": START + 1}),                       "Expired",      TOKEN),
        (json!({"exp": START}),                           "Expired",      TOKEN),
        (json!({"iat": START - 9000, "exp": START - 60}), "Expired",      TOKEN),
        (json!({"exp": START + 86_400}),                  "ok",           ""),
        (json!({"exp": START + 86_401}),                  "TooLongLived", TOKEN),
        (json!({"iat": START - 86_400 + 7201}),           "ok",           ""),
        (json!({"iat": START - 86_400 + 7199}),           "TooLongLived", TOKEN),
        (json!({"iat": START + 20, "exp": START + 10}),   "TooLongLived", TOKEN),
        (json!({"iat": i64::MIN, "exp": i64::MAX}),       "TooLongLived", TOKEN),
        (json!({"sub": "s".repeat(127)}),                 "ok",           ""),
        (json!({"sub": "s".repeat(128)}),                 "Mapping",      "attribute_mapping"),
        (json!({"sub": "é".repeat(63)}),                  "ok",           ""),
        (json!({"sub": "é".repeat(64)}),                  "Mapping",      "attribute_mapping"),
        (json!({"sub": ""}),                              "Mapping",      "attribute_mapping"),
        (json!({"sub": null}),                            "Mapping",      "attribute_mapping"),
        (json!({"sub": 7}),                               "Mapping",      "attribute_mapping"),
        (json!({"sub": ["a"]}),                           "Mapping",      "attribute_mapping"),
        (json!({"sub": "a\nb"}),                          "Mapping",      "attribute_mapping"),
        (json!({"sub": "a\u{1}"}),                        "Mapping",      "attribute_mapping"),
        (json!({"sub": "a\u{85}"}),                       "Mapping",      "attribute_mapping"),
        (json!({"teams": null}),                          "Mapping",      "attribute_mapping"),
        (json!({"teams": "ops"}),                         "Mapping",      "attribute_mapping"),
        (json!({"teams": ["ops", 7]}),                    "Mapping",      "attribute_mapping"),
        (json!({"teams": [""]}),                          "Mapping",      "attribute_mapping"),
        (json!({"teams": []}),                            "ok",           ""),
        (json!({"teams": vec!["t"; 400]}),                "ok",           ""),
        (json!({"teams": vec!["t"; 401]}),                "Mapping",      "attribute_mapping"),
        (json!({"repository": null}),                     "Mapping",      "attribute_mapping"),
        (json!({"repository": ""}),                       "Mapping",      "attribute_mapping"),
        (json!({"repository": true}),                     "Mapping",      "attribute_mapping"),
        (json!({"repository": format!("octo/{long}")}),   "Mapping",      "attribute_mapping"),
        (json!({"repository": "octo/other"}),             "ok",           ""),
        (json!({"repository": "evil/app"}),               "Condition",    "attribute_condition"),
        // The first fault is told: issuer, time, audience, mapping, condition.
        (json!({"iss": "x", "exp": START, "aud": "x", "sub": "", "repository": "evil"}), "Issuer", TOKEN),
        (json!({"exp": START, "aud": "x", "sub": "", "repository": "evil"}), "Expired",   TOKEN),
        (json!({"exp": good, "aud": "x", "sub": "", "repository": "evil"}),  "Audience",  TOKEN),
        (json!({"sub": "", "repository": "evil"}),        "Mapping",      "attribute_mapping"),
    ];
    for (changes, expected, reason) in cases {
        let shown: String = changes.to_string().chars().take(100).collect();
        let outcome = federation.outcome(federation.key.token(&with(claims(), &changes))).await;
        assert_eq!((outcome.0.as_str(), outcome.1), (expected, reason), "{shown}");
        let event = federation.stack.last_event();
        let account = event.account.unwrap();
        match expected {
            "ok" => assert!(account.starts_with(&format!("principal:{POOL}/subject/")), "{account}"),
            _ => assert_eq!((account.as_str(), event.issued), (PROVIDER, None), "{shown}"),
        }
    }
}

#[tokio::test]
async fn a_condition_that_cannot_be_computed_does_not_hold() {
    let federation = Federation::new().await;
    #[rustfmt::skip]
    let cases = [
        ("true",                                                      "ok"),
        ("google.subject.startsWith('repo:octo/')",                   "ok"),
        ("'ops' in google.groups && attribute.repository == 'octo/app'", "ok"),
        ("false",                                                     "Condition"),
        ("'admin' in google.groups",                                  "Condition"),
        ("assertion.missing == 'x'",                                  "Condition"),
        ("assertion.teams[7] == 'x'",                                 "Condition"),
        ("assertion.iat.startsWith('1')",                             "Condition"),
        ("attribute.missing == 'x'",                                  "Condition"),
    ];
    for (condition, expected) in cases {
        federation.update_provider(json!({"attributeCondition": condition}), "attributeCondition").await;
        let outcome = federation.outcome(federation.key.token(&claims())).await;
        let reason = if expected == "ok" { "" } else { "attribute_condition" };
        assert_eq!((outcome.0.as_str(), outcome.1), (expected, reason), "{condition}");
    }
}

#[tokio::test]
async fn only_what_a_key_of_the_issuer_signed_is_a_token() {
    let federation = Federation::new().await;
    let (key, claims) = (&federation.key, claims());
    let rsa = Key::new("rsa", Algorithm::Rs256);
    federation.web.publish(ELSEWHERE, &[key, &rsa], None);
    let stranger = Key::es256("k1");
    let header = |changes: &Value| with(key.header(), changes);
    let part = |value: &Value| encode_base64url(value.to_string().as_bytes());
    let good = key.token(&claims);
    let (unsigned, signature) = good.rsplit_once('.').unwrap();
    let none = format!("{}.{}.", part(&json!({"alg": "none", "kid": "k1"})), part(&claims));
    let other =
        unsigned.replace(unsigned.split('.').next_back().unwrap(), &part(&with(claims.clone(), &json!({"sub": "x"}))));
    let duplicate = claims.to_string().replacen("{", "{\"sub\":\"x\",", 1);
    let twice = format!("{}.{}", part(&key.header()), encode_base64url(duplicate.as_bytes()));
    let twice = format!("{twice}.{}", encode_base64url(&key.0.sign_bytes(twice.as_bytes()).unwrap()));
    let huge = key.token(&with(claims.clone(), &json!({"padding": "p".repeat(16 * 1024)})));
    let big = key.token(&with(claims.clone(), &json!({"padding": "p".repeat(8 * 1024)})));
    let token = |key: &Key, changes: &Value| key.sign(&header(changes), &claims);
    #[rustfmt::skip]
    let cases = [
        (good.clone(),                                        "ok"),
        (rsa.token(&claims),                                  "ok"),
        (big,                                                 "ok"),
        (stranger.token(&claims),                             "Signature"),
        (rsa.sign(&header(&json!({"alg": "RS256"})), &claims), "UnknownKey"),
        (token(key, &json!({"typ": null})),                   "ok"),
        (token(key, &json!({"typ": "jwt"})),                  "ok"),
        (token(key, &json!({"typ": "application/JWT"})),      "ok"),
        (token(key, &json!({"typ": "AT+jwt"})),               "ok"),
        (token(key, &json!({"typ": "Application/at+JWT"})),   "ok"),
        (token(key, &json!({"typ": ""})),                     "Kind"),
        (token(key, &json!({"typ": "JOSE"})),                 "Kind"),
        (token(key, &json!({"typ": "logout+jwt"})),           "Kind"),
        (token(key, &json!({"typ": "secevent+jwt"})),         "Kind"),
        (token(key, &json!({"typ": "dpop+jwt"})),             "Kind"),
        (token(key, &json!({"typ": "application/application/jwt"})), "Kind"),
        (token(key, &json!({"typ": "text/jwt"})),             "Kind"),
        (token(key, &json!({"typ": " jwt"})),                 "Kind"),
        (token(key, &json!({"typ": 7})),                      "Header"),
        (token(key, &json!({"typ": ["JWT"]})),                "Header"),
        (token(key, &json!({"kid": "rsa"})),                  "UnknownKey"),
        (format!("{other}.{signature}"),                      "Signature"),
        (token(key, &json!({"kid": "k2"})),                   "UnknownKey"),
        (token(key, &json!({"kid": ""})),                     "UnknownKey"),
        (token(key, &json!({"kid": null})),                   "KeyIdMissing"),
        (token(key, &json!({"kid": 7})),                      "Header"),
        (token(key, &json!({"alg": "none"})),                 "Algorithm"),
        (token(key, &json!({"alg": "HS256"})),                "Algorithm"),
        (token(key, &json!({"alg": "es256"})),                "Algorithm"),
        (token(key, &json!({"alg": "ES384"})),                "Algorithm"),
        (token(key, &json!({"alg": null})),                   "Algorithm"),
        (token(key, &json!({"crit": ["exp"]})),               "Header"),
        (token(key, &json!({"jku": "https://evil.example"})), "Header"),
        (none,                                                "Algorithm"),
        (format!("{unsigned}."),                              "Signature"),
        (unsigned.to_owned(),                                 "Structure"),
        (format!("{good}."),                                  "Structure"),
        (format!("{good}="),                                  "Structure"),
        (key.token(&json!([claims])),                         "Structure"),
        (twice,                                               "Structure"),
        ("nonsense".to_owned(),                               "Structure"),
        (huge,                                                "TooLarge"),
    ];
    for (row, (token, expected)) in cases.into_iter().enumerate() {
        let outcome = federation.outcome(token).await;
        let reason = if expected == "ok" { "" } else { TOKEN };
        assert_eq!((outcome.0.as_str(), outcome.1), (expected, reason), "row {row}");
    }
}

#[tokio::test]
async fn a_token_is_worth_nothing_at_the_provider_of_another_issuer() {
    let federation = Federation::new().await;
    let other = "https://token.other.example";
    let key = Key::es256("k1");
    federation.web.publish(other, &[&key], None);
    federation.create_provider("other", &json!({"oidc": {"issuerUri": other}})).await;
    let of_other = PROVIDER.replace("ci-runner", "other");
    let both = json!([PROVIDER, &of_other].map(|name| format!("https://iam.googleapis.com/{name}")));
    let token = |key: &Key, issuer: &str| key.token(&with(claims(), &json!({"iss": issuer, "aud": both})));
    #[rustfmt::skip]
    let cases = [
        (token(&federation.key, ELSEWHERE), PROVIDER,          "ok"),
        (token(&key, other),                of_other.as_str(), "ok"),
        (token(&federation.key, ELSEWHERE), of_other.as_str(), "Issuer"),
        (token(&key, other),                PROVIDER,          "Issuer"),
        // Each claims to be the other, with a key id that both have.
        (token(&key, ELSEWHERE),            PROVIDER,          "Signature"),
        (token(&federation.key, other),     of_other.as_str(), "Signature"),
    ];
    for (row, (token, provider, expected)) in cases.into_iter().enumerate() {
        let asked = TokenExchangeRequest { audience: format!("//iam.googleapis.com/{provider}"), ..request(token) };
        let outcome = federation.redeem(asked).await.map_or_else(|error| cause(&error), |_| "ok".to_owned());
        assert_eq!(outcome, expected, "row {row}");
    }
}

#[tokio::test]
async fn what_is_issued_lives_an_hour_at_most_and_never_longer_than_what_it_was_issued_for() {
    let federation = Federation::new().await;
    #[rustfmt::skip]
    let cases = [
        // seconds of life left   told   lives
        (7200,                    3599,  3600),
        (3600,                    3599,  3600),
        (3599,                    3598,  3599),
        (300,                     299,   300),
        (2,                       1,     2),
    ];
    for (left, told, lives) in cases {
        let token = federation.key.token(&with(claims(), &json!({"exp": START + left})));
        let issued = federation.redeem(request(token)).await.unwrap();
        assert_eq!(issued.expires_in.as_secs(), told, "{left}");
        let hash = TokenHash::of(&issued.token);
        let grant = federation.stack.store.access_token(&hash, federation.stack.now()).await.unwrap().unwrap();
        assert_eq!(grant.expires.seconds(), START + lives, "{left}");
    }
}

#[tokio::test]
async fn without_the_issuers_keys_nothing_is_issued() {
    let federation = Federation::new().await;
    let discovery = format!("{ELSEWHERE}/.well-known/openid-configuration");
    federation.web.fail(&discovery, FetchError::Redirect);
    let token = federation.key.token(&claims());
    for _ in 0..2 {
        let outcome = federation.outcome(token.clone()).await;
        assert_eq!((outcome.0.as_str(), outcome.1), ("KeysUnavailable", "keys_unavailable"));
    }
    // A token that names another issuer costs no fetch.
    federation.web.asked();
    federation.stack.clock.advance(std::time::Duration::from_secs(60));
    let stranger = federation.key.token(&with(claims(), &json!({"iss": "https://other.example"})));
    assert_eq!(federation.outcome(stranger).await.0, "Issuer");
    assert_eq!(federation.web.asked(), [""; 0]);
    // Keys that the operator gave need none.
    let document = super::key_document(&[&federation.key]).to_string();
    federation.update_provider(json!({"oidc": {"jwksJson": document}}), "oidc.jwksJson").await;
    assert_eq!(federation.outcome(token).await.0, "ok");
    assert_eq!(federation.web.asked(), [""; 0]);
}

#[tokio::test]
async fn a_provider_takes_the_audiences_that_it_lists_and_then_no_longer_its_own_name() {
    let federation = Federation::new().await;
    let audiences = json!({"oidc": {"allowedAudiences": ["sts.example", "https://x.example/"]}});
    federation.update_provider(audiences, "oidc.allowedAudiences").await;
    let own = format!("https://iam.googleapis.com/{PROVIDER}");
    let cases =
        [("sts.example", "ok"), ("https://x.example/", "ok"), ("https://x.example", "Audience"), (&own, "Audience")];
    for (audience, expected) in cases {
        let token = federation.key.token(&with(claims(), &json!({"aud": audience})));
        assert_eq!(federation.outcome(token).await.0, expected, "{audience}");
    }
}

#[tokio::test]
async fn an_exchange_that_began_before_a_change_gives_nothing_after_it() {
    #[rustfmt::skip]
    let changes = [
        ("disabled",           json!({"disabled": true}),                       "UnknownProvider"),
        ("attributeCondition", json!({"attributeCondition": "true"}),           "UnknownProvider"),
        ("attributeMapping",   json!({"attributeMapping": {"google.subject": "'x'"}}), "UnknownProvider"),
        ("displayName",        json!({"displayName": "CI"}),                    "UnknownProvider"),
        ("made again",         json!({}),                                       "UnknownProvider"),
        ("another provider",   json!({}),                                       "ok"),
    ];
    for (mask, change, expected) in changes {
        let federation = Arc::new(Federation::new().await);
        let exchanging = federation.waiting_exchange().await;
        match mask {
            "made again" => {
                let (pools, admin) = (&federation.pools, &federation.stack.admin);
                pools.delete_provider(admin, "123", ("ci-pool", "ci-runner")).await.unwrap();
                federation.create_provider("ci-runner", &json!({})).await;
            }
            "another provider" => federation.create_provider("other", &json!({})).await,
            mask => federation.update_provider(change, mask).await,
        }
        federation.web.open();
        assert_eq!(exchanging.await.unwrap(), expected, "{mask}");
    }
}

impl Federation {
    /// An exchange that has begun, and waits for the issuer's keys until the web is open again.
    async fn waiting_exchange(self: &Arc<Self>) -> tokio::task::JoinHandle<String> {
        self.web.close();
        let federation = self.clone();
        let exchanging = tokio::spawn(async move { federation.outcome(federation.key.token(&claims())).await.0 });
        settle().await;
        assert_eq!(self.web.fetches(), 1, "it waits for the keys");
        exchanging
    }
}

#[tokio::test]
async fn nothing_is_issued_for_a_provider_that_was_changed_where_this_process_does_not_see_it_yet() {
    for made_again in [false, true] {
        let federation = Federation::new().await;
        let store = &federation.stack.store;
        let [old] = &store.providers().await.unwrap()[..] else { panic!("one provider") };
        let new = Provider { generation: Generation("of another process".to_owned()), ..old.clone() };
        if made_again {
            assert!(store.remove_provider(&old.pool, &old.id).await.unwrap());
            assert_eq!(store.add_provider(&new).await.unwrap(), doorward_core::store::Added::Yes);
        } else {
            assert!(store.replace_provider(&new, &old.generation).await.unwrap());
        }
        let outcome = federation.outcome(federation.key.token(&claims())).await;
        assert_eq!((outcome.0.as_str(), outcome.1), ("UnknownProvider", "unknown_provider"), "{made_again}");
        federation.stack.publisher.refresh().await.unwrap();
        assert_eq!(federation.outcome(federation.key.token(&claims())).await.0, "ok");
    }
}

#[tokio::test]
async fn keys_that_an_issuer_has_withdrawn_are_not_used_by_a_provider_that_is_made_again() {
    let federation = Federation::new().await;
    let (withdrawn, next) = (federation.key.token(&claims()), Key::es256("k2"));
    assert_eq!(federation.outcome(withdrawn.clone()).await.0, "ok");
    federation.web.publish(ELSEWHERE, &[&next], None);
    assert_eq!(federation.outcome(withdrawn.clone()).await.0, "ok", "they are kept for an hour");
    let (pools, admin) = (&federation.pools, &federation.stack.admin);
    pools.delete_provider(admin, "123", ("ci-pool", "ci-runner")).await.unwrap();
    federation.create_provider("ci-runner", &json!({})).await;
    assert_eq!(federation.outcome(withdrawn.clone()).await.0, "UnknownKey");
    assert_eq!(federation.outcome(next.token(&claims())).await.0, "ok");

    // Given keys are those of the document that is in force.
    for (given, refused, accepted) in [(&federation.key, &next, &federation.key), (&next, &federation.key, &next)] {
        pools.delete_provider(admin, "123", ("ci-pool", "ci-runner")).await.unwrap();
        let document = super::key_document(&[given]).to_string();
        let oidc = json!({"oidc": {"issuerUri": ELSEWHERE, "jwksJson": document}});
        federation.create_provider("ci-runner", &oidc).await;
        assert_eq!(federation.outcome(refused.token(&claims())).await.0, "UnknownKey");
        assert_eq!(federation.outcome(accepted.token(&claims())).await.0, "ok");
    }
}

#[tokio::test]
async fn a_caller_that_hangs_up_leaves_the_keys_to_the_next() {
    let federation = Arc::new(Federation::new().await);
    federation.web.close();
    let exchanging = {
        let federation = federation.clone();
        tokio::spawn(async move { federation.outcome(federation.key.token(&claims())).await.0 })
    };
    settle().await;
    exchanging.abort();
    federation.web.open();
    settle().await;
    assert_eq!(federation.web.fetches(), 1);
    assert_eq!(federation.outcome(federation.key.token(&claims())).await.0, "ok");
    assert_eq!(federation.web.fetches(), 0);
}
