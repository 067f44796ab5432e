use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use doorward_control::tokens::{Issued, RedeemError};
use doorward_core::audit::{AuditClosed, AuditEvent, AuditSink, TokenEvent, TokenMethod, TokenReason};
use doorward_core::clock::Timestamp;
use doorward_core::grant::{AccessGrant, Subject, TokenHash};
use doorward_core::keys::KeyPurpose;
use doorward_wire::jose::{Algorithm, TOKEN_LIMIT, Unverified, VerifyingKey, encode_base64url};
use doorward_wire::oauth::{JwtBearerRequest, Scopes, TokenRequest};
use serde_json::{Value, json};

use crate::robots::{CLOUD as SCOPE, DISABLED, OTHER, OwnedKey, ROBOT, with};
use crate::{APP_CLIENT as CLIENT_ID, OWN_TOKEN_URL, PEER, START, Stack, cause};

/// What google-auth sends.
fn claims() -> Value {
    json!({
        "iss": ROBOT,
        "aud": "https://oauth2.googleapis.com/token",
        "iat": START,
        "exp": START + 3600,
        "target_audience": CLIENT_ID,
    })
}

fn claims_with(changes: &Value) -> Value {
    with(claims(), changes)
}

impl Stack {
    async fn redeem(&self, assertion: String) -> Result<Issued, RedeemError> {
        self.tokens.redeem(Ok(TokenRequest::JwtBearer(JwtBearerRequest { assertion })), PEER).await
    }

    /// `id`, `access`, or the cause of the refusal.
    async fn outcome(&self, assertion: String) -> String {
        match self.redeem(assertion).await {
            Ok(Issued::IdToken(_)) => "id".to_owned(),
            Ok(Issued::AccessToken { .. }) => "access".to_owned(),
            Ok(issued @ Issued::Person { .. }) => panic!("{issued:?}"),
            Err(error) => cause(&error),
        }
    }
}

#[tokio::test]
async fn the_first_fault_in_googles_order_is_the_one_that_is_told() {
    let stack = Stack::new().await;
    let (_, key) = stack.robot().await;
    stack.create_account("robot2").await;
    let stranger = stack.create_key(OTHER).await;
    assert_eq!(stack.outcome(key.assert_claims(&claims_with(&json!({"jti": "used"})))).await, "id");
    // Each row adds its fault to those of all rows below it.
    let order = [
        ("Structure", json!({})),
        ("Signature", json!({})),
        ("AccountNotFound", json!({"iss": "nobody@example.com"})),
        ("IssuedAtMissing", json!({"iat": null})),
        ("ExpiresMissing", json!({"exp": null})),
        ("TimeWindow", json!({"iat": START - 7200, "exp": START - 3600})),
        ("Scope", json!({"target_audience": null})),
        ("Audience", json!({"aud": "https://example.com"})),
        ("Delegation", json!({"sub": "somebody@example.com"})),
        ("Replayed", json!({"jti": "used"})),
    ];
    for (first, (expected, _)) in order.iter().enumerate() {
        let mut changes = json!({});
        for (_, fault) in order[first..].iter().rev() {
            changes.as_object_mut().unwrap().extend(fault.as_object().unwrap().clone());
        }
        let claims = claims_with(&changes);
        let assertion = match *expected {
            "Structure" => stranger.assert(&key.header(), &claims) + ".x",
            "Signature" => stranger.assert(&key.header(), &claims),
            _ => key.assert_claims(&claims),
        };
        assert_eq!(stack.outcome(assertion).await, *expected);
    }
}

#[tokio::test]
async fn claims_decide_what_is_issued_or_why_not() {
    let stack = Stack::new().await;
    let (_, key) = stack.robot().await;
    let no_target = |scope: Value| json!({"target_audience": null, "scope": scope});
    #[rustfmt::skip]
    let cases = [
        (json!({}),                                                         "id"),
        (json!({"iss": null}),                                              "AccountNotFound"),
        (json!({"iss": 7}),                                                 "AccountNotFound"),
        (json!({"iss": "nobody@dev-project.iam.gserviceaccount.com"}),      "AccountNotFound"),
        (json!({"iss": ROBOT.to_uppercase()}),                              "id"),
        (json!({"iat": null}),                                              "IssuedAtMissing"),
        (json!({"iat": true}),                                              "IssuedAtMissing"),
        (json!({"iat": "soon"}),                                            "IssuedAtMissing"),
        (json!({"exp": null}),                                              "ExpiresMissing"),
        (json!({"exp": 1.5}),                                               "ExpiresMissing"),
        (json!({"iat": START.to_string(), "exp": (START + 3600).to_string()}), "id"),
        (json!({"iat": START, "exp": START + 120}),                         "id"),
        (json!({"iat": START, "exp": START + 3601}),                        "TimeWindow"),
        (json!({"iat": START, "exp": START}),                               "TimeWindow"),
        (json!({"iat": START + 10, "exp": START + 9}),                      "TimeWindow"),
        (json!({"iat": START + 300, "exp": START + 3900}),                  "id"),
        (json!({"iat": START + 301, "exp": START + 3901}),                  "TimeWindow"),
        (json!({"iat": START - 3600, "exp": START}),                        "id"),
        (json!({"iat": START - 3629, "exp": START - 29}),                   "id"),
        (json!({"iat": START - 3630, "exp": START - 30}),                   "TimeWindow"),
        (json!({"iat": START - 7200, "exp": START - 3600}),                 "TimeWindow"),
        (json!({"iat": i64::MIN, "exp": i64::MAX}),                         "TimeWindow"),
        (json!({"iat": i64::MAX - 1, "exp": i64::MAX}),                     "TimeWindow"),
        (json!({"nbf": START + 300}),                                       "id"),
        (json!({"nbf": START + 301}),                                       "TimeWindow"),
        (json!({"nbf": "soon"}),                                            "TimeWindow"),
        (no_target(json!(null)),                                            "Scope"),
        (no_target(json!("")),                                              "Scope"),
        (no_target(json!("  ")),                                            "Scope"),
        (no_target(json!([SCOPE])),                                         "Scope"),
        (no_target(json!("nonsense")),                                      "Scope"),
        (no_target(json!(format!("{SCOPE} nonsense"))),                     "Scope"),
        (no_target(json!(SCOPE)),                                           "access"),
        (json!({"target_audience": ""}),                                    "Scope"),
        (json!({"target_audience": "", "scope": SCOPE}),                    "access"),
        (json!({"target_audience": [CLIENT_ID]}),                           "Scope"),
        (json!({"target_audience": [CLIENT_ID], "scope": SCOPE}),           "Scope"),
        (json!({"scope": SCOPE}),                                           "id"),
        (json!({"target_audience": "a".repeat(2048)}),                      "id"),
        (json!({"target_audience": "a".repeat(2049)}),                      "Scope"),
        (json!({"aud": null}),                                              "Audience"),
        (json!({"aud": "https://example.com/token"}),                       "Audience"),
        (json!({"aud": ["https://oauth2.googleapis.com/token"]}),           "Audience"),
        (json!({"aud": "https://www.googleapis.com/oauth2/v4/token"}),      "id"),
        (json!({"aud": "https://accounts.google.com/o/oauth2/token"}),      "id"),
        (json!({"aud": OWN_TOKEN_URL}),                                     "id"),
        (json!({"sub": ROBOT}),                                             "id"),
        (json!({"sub": "ann@example.com"}),                                 "Delegation"),
        (json!({"sub": 7}),                                                 "Delegation"),
        (json!({"jti": 7}),                                                 "Structure"),
    ];
    for (changes, expected) in cases {
        let shown: String = changes.to_string().chars().take(100).collect();
        assert_eq!(stack.outcome(key.assert_claims(&claims_with(&changes))).await, expected, "{shown}");
    }
}

#[tokio::test]
async fn bytes_that_are_no_assertion_are_refused() {
    let stack = Stack::new().await;
    let (_, key) = stack.robot().await;
    let good = key.assert_claims(&claims());
    let (input, signature) = good.rsplit_once('.').unwrap();
    let header = |changes: Value| {
        let mut header = key.header();
        header.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        key.assert(&header, &claims())
    };
    let twice = format!("{},\"iss\":{:?}}}", claims().to_string().trim_end_matches('}'), OTHER);
    let twice =
        format!("{}.{}", encode_base64url(key.header().to_string().as_bytes()), encode_base64url(twice.as_bytes()));
    #[rustfmt::skip]
    let cases = [
        (String::new(),                                                    "Structure"),
        ("a".to_owned(),                                                   "Structure"),
        (input.to_owned(),                                                 "Structure"),
        (format!("{good}.x"),                                              "Structure"),
        (format!("{input}."),                                              "Structure"),
        ("!.!.!".to_owned(),                                               "Structure"),
        (format!(" {good}"),                                               "Structure"),
        (key.assert(&json!([]), &claims()),                                "Structure"),
        (key.assert(&key.header(), &json!([])),                            "Structure"),
        (format!("{twice}.{}", encode_base64url(&key.sign(&twice))),       "Structure"),
        (key.assert_claims(&claims_with(&json!({"x": "a".repeat(13_000)}))), "Structure"),
        (header(json!({"alg": "HS256"})),                                  "Signature"),
        (header(json!({"alg": "none"})),                                   "Signature"),
        (header(json!({"alg": null})),                                     "Signature"),
        (header(json!({"alg": "ES256"})),                                  "Signature"),
        (header(json!({"crit": ["b64"], "b64": false})),                   "Signature"),
        (header(json!({"jwk": {"kty": "RSA"}})),                           "Signature"),
        (header(json!({"jku": "https://example.com/keys"})),               "Signature"),
        (header(json!({"kid": 7})),                                        "Signature"),
        (header(json!({"kid": ""})),                                       "Signature"),
        (header(json!({"kid": "0000000000000000000000000000000000000000"})), "Signature"),
        (format!("{input}.{}", encode_base64url(&[0; 256])),               "Signature"),
        (format!("{}.{signature}", input.replacen('.', "\n.", 1)),         "Signature"),
    ];
    for (assertion, expected) in cases {
        let shown: String = assertion.chars().take(60).collect();
        assert_eq!(stack.outcome(assertion).await, expected, "{shown}");
    }
    assert_eq!(stack.outcome(good).await, "id");
}

#[tokio::test]
async fn an_assertion_is_good_only_for_the_account_whose_key_signed_it() {
    let stack = Stack::new().await;
    let (_, first) = stack.robot().await;
    let second = stack.create_key(ROBOT).await;
    stack.create_account("robot2").await;
    let other = stack.create_key(OTHER).await;
    stack.create_disabled().await;
    let of_disabled = stack.create_key(DISABLED).await;
    // (signer, kid, iss) => outcome
    #[rustfmt::skip]
    let cases = [
        (&first,       Some(&first),       json!(ROBOT),                "id"),
        (&second,      Some(&second),      json!(ROBOT),                "id"),
        (&first,       None,               json!(ROBOT),                "id"),
        (&second,      None,               json!(ROBOT),                "id"),
        (&first,       Some(&second),      json!(ROBOT),                "Signature"),
        (&other,       None,               json!(ROBOT),                "Signature"),
        (&other,       Some(&first),       json!(ROBOT),                "Signature"),
        (&other,       Some(&other),       json!(ROBOT),                "Signature"),
        (&other,       Some(&first),       json!("nobody@example.com"), "Signature"),
        (&other,       Some(&other),       json!("nobody@example.com"), "AccountNotFound"),
        (&other,       Some(&other),       json!(null),                 "AccountNotFound"),
        (&other,       None,               json!("nobody@example.com"), "AccountNotFound"),
        (&other,       None,               json!(null),                 "AccountNotFound"),
        (&of_disabled, Some(&of_disabled), json!(DISABLED),             "AccountNotFound"),
        (&of_disabled, None,               json!(DISABLED),             "AccountNotFound"),
        (&first,       Some(&first),       json!(DISABLED),             "Signature"),
    ];
    for (row, (signer, kid, issuer, expected)) in cases.into_iter().enumerate() {
        let header = kid.map_or(json!({"alg": "RS256"}), OwnedKey::header);
        let assertion = signer.assert(&header, &claims_with(&json!({"iss": issuer})));
        assert_eq!(stack.outcome(assertion).await, expected, "row {row}");
    }
}

#[tokio::test]
async fn googles_bash_script_gets_an_id_token() {
    let stack = Stack::new().await;
    let (_, key) = stack.robot().await;
    // What `echo "$text" | base64` prints, without the line end that `$(…)` takes away.
    let echo_base64 = |bytes: &[u8]| {
        let encoded = STANDARD.encode(bytes);
        encoded.as_bytes().chunks(76).map(|line| str::from_utf8(line).unwrap()).collect::<Vec<_>>().join("\n")
    };
    let header = format!("{{'alg':'RS256','typ':'JWT','kid':'{}'}}\n", key.id);
    let (aud, exp) = ("https://www.googleapis.com/oauth2/v4/token", START + 3600);
    let payload = format!(
        "{{'iss':'{ROBOT}','aud':'{aud}','exp':{exp},'iat':{START},'sub':'{ROBOT}','target_audience':'{CLIENT_ID}'}}\n"
    );
    let input = format!("{}.{}", echo_base64(header.as_bytes()), echo_base64(payload.as_bytes()));
    let assertion = format!("{input}.{}", echo_base64(&key.sign(&input)));
    assert!(assertion.matches('\n').count() >= 7 && assertion.ends_with("=="), "{assertion}");
    assert_eq!(stack.outcome(assertion.clone()).await, "id");
    assert_eq!(
        stack.outcome(assertion.replace('\n', "")).await,
        "Signature",
        "the line ends are part of what is signed"
    );
    assert_eq!(stack.outcome(assertion.replace('\n', "\r\n")).await, "Signature");
    assert_eq!(stack.outcome(assertion.replace('=', "")).await, "Signature");
}

#[tokio::test]
async fn an_id_token_has_exactly_googles_claims_and_is_signed_with_the_published_key() {
    let stack = Stack::new().await;
    let (account, key) = stack.robot().await;
    stack.clock.set(Timestamp::from_micros(START * 1_000_000 + 999_999));
    let Issued::IdToken(token) = stack.redeem(key.assert_claims(&claims())).await.unwrap() else { panic!() };
    let snapshot = stack.publisher.cell().current();
    let published = snapshot.keys.published(KeyPurpose::IdToken, Timestamp::from_seconds(START));
    let unverified = Unverified::parse(&token, TOKEN_LIMIT, &[Algorithm::Rs256]).unwrap();
    assert_eq!(
        Value::Object(unverified.unproven_header().clone()),
        json!({"alg": "RS256", "kid": published[0].kid, "typ": "JWT"})
    );
    let proven = unverified.verify(&VerifyingKey::from_jwk(published[0]).unwrap()).unwrap();
    let expected = json!({
        "aud": CLIENT_ID,
        "azp": ROBOT,
        "email": ROBOT,
        "email_verified": true,
        "exp": START + 3600,
        "iat": START,
        "iss": "https://accounts.google.com",
        "sub": account.unique_id.0,
    });
    assert_eq!(Value::Object(proven.as_object().clone()), expected);
}

#[tokio::test]
async fn an_access_token_is_stored_as_a_hash_before_it_is_given() {
    let stack = Stack::new().await;
    let (account, key) = stack.robot().await;
    let claims = claims_with(&json!({"target_audience": null, "scope": format!("openid  {SCOPE}")}));
    let Issued::AccessToken { token, expires_in } = stack.redeem(key.assert_claims(&claims)).await.unwrap() else {
        panic!()
    };
    assert_eq!(expires_in, Duration::from_secs(3599));
    let secret = token.strip_prefix("doorward_at_").unwrap();
    assert_eq!(secret.len(), 43);
    let now = Timestamp::from_seconds(START);
    let expected = AccessGrant {
        subject: Subject::Account(account.unique_id),
        scopes: Scopes::parse(&format!("openid {SCOPE}")).unwrap(),
        expires: Timestamp::from_seconds(START + 3600),
        person_grant: None,
    };
    assert_eq!(stack.store.access_token(&TokenHash::of(&token), now).await.unwrap(), Some(expected));
    assert_eq!(stack.store.access_token(&TokenHash(token), now).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_jti_is_good_once_until_the_assertion_ends_and_without_one_an_assertion_is_good_again() {
    let stack = Arc::new(Stack::new().await);
    let (_, key) = stack.robot().await;
    let plain = key.assert_claims(&claims());
    for _ in 0..2 {
        assert_eq!(stack.outcome(plain.clone()).await, "id");
    }
    let single = key.assert_claims(&claims_with(&json!({"jti": "one"})));
    let refused = key.assert_claims(&claims_with(&json!({"jti": "one", "sub": "ann@example.com"})));
    assert_eq!(stack.outcome(refused).await, "Delegation", "which does not use the jti up");
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let (stack, single) = (stack.clone(), single.clone());
            tokio::spawn(async move { stack.outcome(single).await })
        })
        .collect();
    let mut outcomes = BTreeMap::new();
    for call in calls {
        *outcomes.entry(call.await.unwrap()).or_insert(0) += 1;
    }
    assert_eq!(outcomes, BTreeMap::from([("id".to_owned(), 1), ("Replayed".to_owned(), 7)]));

    stack.create_account("robot2").await;
    let other = stack.create_key(OTHER).await;
    let same = claims_with(&json!({"jti": "one", "iss": OTHER}));
    assert_eq!(stack.outcome(other.assert_claims(&same)).await, "id", "a jti is its issuer's own");

    // The grace after `exp` is part of the time in which the assertion is accepted.
    stack.clock.set(Timestamp::from_seconds(START + 3629));
    let unrelated = claims_with(&json!({"jti": "two", "iat": START + 3600, "exp": START + 7200}));
    assert_eq!(stack.outcome(key.assert_claims(&unrelated)).await, "id");
    assert_eq!(stack.outcome(single).await, "Replayed");
}

#[tokio::test]
async fn a_deleted_key_and_a_deleted_account_get_nothing_more() {
    let stack = Stack::new().await;
    let (_, first) = stack.robot().await;
    let second = stack.create_key(ROBOT).await;
    let (of_first, of_second) = (first.assert_claims(&claims()), second.assert_claims(&claims()));
    let without_kid = first.assert(&json!({"alg": "RS256"}), &claims());
    assert_eq!(stack.outcome(of_first.clone()).await, "id");
    stack.accounts.delete_key(&stack.admin, "-", ROBOT, &first.id).await.unwrap();
    assert_eq!(stack.outcome(of_first).await, "Signature");
    assert_eq!(stack.outcome(without_kid.clone()).await, "Signature");
    assert_eq!(stack.outcome(of_second.clone()).await, "id");
    stack.accounts.delete(&stack.admin, "-", ROBOT).await.unwrap();
    assert_eq!(stack.outcome(of_second).await, "Signature");
    assert_eq!(stack.outcome(without_kid).await, "AccountNotFound");
}

#[tokio::test]
async fn every_answer_is_in_the_record_and_no_token_is() {
    let stack = Stack::new().await;
    let (_, key) = stack.robot().await;
    let forged = claims_with(&json!({"iss": "x\n\u{1b}[1m"}));
    let scope = claims_with(&json!({"target_audience": null, "scope": SCOPE}));
    let audience = claims_with(&json!({"target_audience": "a\nb"}));
    #[rustfmt::skip]
    let cases = [
        (key.assert_claims(&claims()),  Some(ROBOT),              Some("id_token"),     Some(CLIENT_ID), None),
        (key.assert_claims(&scope),     Some(ROBOT),              Some("access_token"), Some(SCOPE),     None),
        (key.assert_claims(&audience),  Some(ROBOT),              Some("id_token"),     Some("a\\nb"),   None),
        (key.assert_claims(&forged),    Some("x\\n\\x1b[1m"),     None, None, Some((TokenReason::AccountNotFound, "the assertion's iss names no account that may get tokens"))),
        ("junk".to_owned(),             None,                     None, None, Some((TokenReason::InvalidAssertion, "the assertion is not a signed JWT"))),
    ];
    for (index, (assertion, account, issued, audience, refused)) in cases.into_iter().enumerate() {
        let answer = stack.redeem(assertion.clone()).await;
        let mut events = stack.audit.events();
        events.retain(|event| matches!(event, AuditEvent::Token(_)));
        assert_eq!(events.len(), index + 1);
        let event = stack.last_event();
        let text = |text: Option<&str>| text.map(str::to_owned);
        let expected = TokenEvent {
            account: text(account),
            issued: text(issued),
            audience: text(audience),
            refused: text(refused.map(|(_, refused)| refused)),
            reason: refused.map(|(reason, _)| reason),
            ..TokenEvent::new(event.id.clone(), Timestamp::from_seconds(START), TokenMethod::JwtBearer, Some(PEER))
        };
        assert_eq!(event, expected);
        assert_eq!(event.id.len(), 22);
        assert!(events.iter().filter(|other| matches!(other, AuditEvent::Token(e) if e.id == event.id)).count() == 1);
        let recorded = serde_json::to_string(&events).unwrap();
        let token = match answer {
            Ok(Issued::IdToken(token) | Issued::AccessToken { token, .. }) => token,
            Ok(issued @ Issued::Person { .. }) => panic!("{issued:?}"),
            Err(_) => assertion,
        };
        assert!(!recorded.contains(&token), "{token}");
    }
}

struct Full;

#[async_trait]
impl AuditSink for Full {
    async fn record(&self, _: AuditEvent) -> Result<(), AuditClosed> {
        Err(AuditClosed)
    }

    async fn record_durably(&self, event: AuditEvent) -> Result<(), AuditClosed> {
        self.record(event).await
    }

    async fn written(&self) -> Result<(), AuditClosed> {
        Err(AuditClosed)
    }

    fn is_open(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn nothing_is_issued_that_cannot_be_recorded() {
    let stack = Stack::new().await;
    let (_, key) = stack.robot().await;
    let tokens = stack.tokens_recorded_by(Arc::new(Full));
    for changes in [json!({}), json!({"target_audience": null, "scope": SCOPE})] {
        let assertion = key.assert_claims(&claims_with(&changes));
        let answer = tokens.redeem(Ok(TokenRequest::JwtBearer(JwtBearerRequest { assertion })), PEER).await;
        assert_eq!(cause(&answer.unwrap_err()), "AuditClosed");
    }
}
