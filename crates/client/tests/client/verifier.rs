//! The check of the signed header, and the keys that it needs.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use doorward_client::{Identity, ManualClock, Verifier, VerifierError, VerifyError, VerifyLayer};
use doorward_wire::jose::SigningKey;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use serde_json::{Value, json};
use tower::{Service as _, ServiceBuilder, ServiceExt as _, service_fn};

use crate::support::{Reply, Server, assertion_claims, google, key_document, new_key, sign, signing_key};
use crate::{NOW, clock, until};

const AUDIENCE: &str = "/projects/1/global/backendServices/2";
const ASSERTION: &str = "x-goog-iap-jwt-assertion";
const EMAIL: &str = "x-goog-authenticated-user-email";
const ID: &str = "x-goog-authenticated-user-id";

fn verifier(origin: &str, clock: &Arc<ManualClock>) -> Verifier {
    let builder = Verifier::builder().audience(AUDIENCE).key_url(&format!("{origin}/iap/verify/public_key-jwk"));
    builder.clock(clock.clone()).retry(3, Duration::ZERO).build().unwrap()
}

fn headers(fields: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    headers
}

/// The claims of alice, with changes; `null` takes a claim out.
fn signed_by(key: &SigningKey, changes: &Value) -> String {
    let mut claims = assertion_claims(*NOW);
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.remove(name)),
            value => drop(claims.insert(name.clone(), value.clone())),
        }
    }
    sign(key, &Value::Object(claims))
}

fn signed(changes: Value) -> String {
    signed_by(signing_key(), &changes)
}

async fn verify(verifier: &Verifier, assertion: &str) -> Result<Identity, VerifyError> {
    verifier.verify(&headers(&[(ASSERTION, assertion)])).await
}

#[tokio::test]
async fn an_assertion_says_who_is_calling() {
    let clock = clock();
    let server = google(clock.clone());
    let verifier = verifier(&server.origin, &clock);
    let claims = json!({"google": {"access_levels": ["accessPolicies/1/accessLevels/a"]}});
    let identity = verify(&verifier, &signed(claims)).await.unwrap();
    assert_eq!(identity.subject(), Some("accounts.google.com:118"));
    assert_eq!((identity.email(), identity.hosted_domain()), (Some("alice@example.com"), Some("example.com")));
    assert_eq!(identity.access_levels(), ["accessPolicies/1/accessLevels/a"]);
    assert_eq!(identity.expires_at(), *NOW + Duration::from_secs(600));
    let nobody = verify(&verifier, &signed(json!({"sub": null, "email": null, "hd": null}))).await.unwrap();
    assert_eq!((nobody.subject(), nobody.email()), (None, None));
    assert_eq!(server.asked().len(), 1, "the keys are kept");
}

#[tokio::test]
async fn an_assertion_that_is_not_this_proxys_for_this_application_and_now_is_refused() {
    let clock = clock();
    let server = google(clock.clone());
    let verifier = verifier(&server.origin, &clock);
    let at = |seconds: i64| 1_800_000_000 + seconds;
    let (forged, unknown) = (new_key("1f"), new_key("2f"));
    let good = signed(json!({}));
    let (head, signature) = good.rsplit_once('.').unwrap();
    let (header, payload) = head.split_once('.').unwrap();
    let none = doorward_wire::jose::encode_base64url(br#"{"alg":"none","kid":"1f"}"#);
    let without_kid = doorward_wire::jose::encode_base64url(br#"{"alg":"ES256"}"#);
    let jku = doorward_wire::jose::encode_base64url(
        format!(r#"{{"alg":"ES256","kid":"1f","jku":"{}"}}"#, server.origin).as_bytes(),
    );
    type Expected = fn(&VerifyError) -> bool;
    #[rustfmt::skip]
    let cases: Vec<(String, Option<Expected>)> = vec![
        (signed(json!({})),                                          None),
        (signed(json!({"iat": at(30), "exp": at(630)})),             None),
        (signed(json!({"iat": at(31), "exp": at(631)})),             Some(|e| matches!(e, VerifyError::Time(_)))),
        (signed(json!({"iat": at(-629), "exp": at(-29)})),           None),
        (signed(json!({"iat": at(-630), "exp": at(-30)})),           Some(|e| matches!(e, VerifyError::Time(_)))),
        (signed(json!({"exp": at(660)})),                            None),
        (signed(json!({"exp": at(661)})),                            Some(|e| matches!(e, VerifyError::Life(661)))),
        (signed(json!({"iat": null})),                               Some(|e| matches!(e, VerifyError::Time(_)))),
        (signed(json!({"exp": null})),                               Some(|e| matches!(e, VerifyError::Time(_)))),
        (signed(json!({"exp": at(600).to_string()})),                Some(|e| matches!(e, VerifyError::Time(_)))),
        (signed(json!({"nbf": at(31)})),                             Some(|e| matches!(e, VerifyError::Time(_)))),
        (signed(json!({"iss": "https://accounts.google.com"})),      Some(|e| matches!(e, VerifyError::Issuer))),
        (signed(json!({"iss": "https://cloud.google.com/iap/"})),    Some(|e| matches!(e, VerifyError::Issuer))),
        (signed(json!({"iss": null})),                               Some(|e| matches!(e, VerifyError::Issuer))),
        (signed(json!({"aud": format!("{AUDIENCE}/")})),             Some(|e| matches!(e, VerifyError::Audience { .. }))),
        (signed(json!({"aud": AUDIENCE.to_uppercase()})),            Some(|e| matches!(e, VerifyError::Audience { .. }))),
        (signed(json!({"aud": [AUDIENCE]})),                         Some(|e| matches!(e, VerifyError::Claim("aud")))),
        (signed(json!({"sub": 118})),                                Some(|e| matches!(e, VerifyError::Claim("sub")))),
        (signed(json!({"email": ["a"]})),                            Some(|e| matches!(e, VerifyError::Claim("email")))),
        (signed_by(&forged, &json!({})),                             Some(|e| matches!(e, VerifyError::Signature))),
        (signed_by(&unknown, &json!({})),                            Some(|e| matches!(e, VerifyError::UnknownKey))),
        (format!("{none}.{payload}."),                               Some(|e| matches!(e, VerifyError::Malformed(_)))),
        (format!("{none}.{payload}.{signature}"),                    Some(|e| matches!(e, VerifyError::Malformed(_)))),
        (format!("{without_kid}.{payload}.{signature}"),             Some(|e| matches!(e, VerifyError::UnknownKey))),
        (format!("{jku}.{payload}.{signature}"),                     Some(|e| matches!(e, VerifyError::Malformed(_)))),
        (format!("{header}.{payload}.{signature}="),                 Some(|e| matches!(e, VerifyError::Malformed(_)))),
        (format!("{header}.{payload}"),                              Some(|e| matches!(e, VerifyError::Malformed(_)))),
        (format!("{good}, {good}"),                                  Some(|e| matches!(e, VerifyError::Malformed(_)))),
        (format!("Bearer {good}"),                                   Some(|e| matches!(e, VerifyError::Malformed(_)))),
        (String::new(),                                              Some(|e| matches!(e, VerifyError::Malformed(_)))),
        ("a".repeat(20_000),                                         Some(|e| matches!(e, VerifyError::Malformed(_)))),
    ];
    for (index, (assertion, expected)) in cases.iter().enumerate() {
        match (verify(&verifier, assertion).await, expected) {
            (Ok(_), None) => {}
            (Err(error), Some(expected)) => assert!(expected(&error), "case {index}: {error:?}"),
            (answer, _) => panic!("case {index}: {answer:?}"),
        }
    }
}

#[tokio::test]
async fn the_unsigned_headers_may_be_absent_but_never_say_anything_else() {
    let clock = clock();
    let server = google(clock.clone());
    let verifier = verifier(&server.origin, &clock);
    let alice = signed(json!({}));
    let external =
        signed(json!({"sub": "securetoken.google.com/p/t:u1", "email": "securetoken.google.com/p/t:a@x.example"}));
    let trusted = signed(json!({"sub": "issuer/corp:s", "email": "s@corp.example"}));
    let bare = signed(json!({"sub": "issuer/corp:s", "email": null}));
    let nobody = signed(json!({"sub": null, "email": null}));
    let (id, email) = ("accounts.google.com:118", "accounts.google.com:alice@example.com");
    type Fields<'a> = &'a [(&'a str, &'a str)];
    #[rustfmt::skip]
    let cases: [(&str, Fields<'_>, Option<&str>); 26] = [
        (&alice,    &[],                                                    None),
        (&alice,    &[(ID, id)],                                            None),
        (&alice,    &[(ID, id), (EMAIL, email)],                            None),
        (&alice,    &[(EMAIL, "alice@example.com")],                        Some(EMAIL)),
        (&alice,    &[(EMAIL, "accounts.google.com:bob@example.com")],      Some(EMAIL)),
        (&alice,    &[(EMAIL, "accounts.google.com:Alice@example.com")],    Some(EMAIL)),
        (&alice,    &[(EMAIL, "evil:alice@example.com")],                   Some(EMAIL)),
        (&alice,    &[(EMAIL, "")],                                         Some(EMAIL)),
        (&alice,    &[(ID, "accounts.google.com:119"), (EMAIL, email)],     Some(ID)),
        (&alice,    &[(ID, "118")],                                         Some(ID)),
        (&alice,    &[(ID, id), (ID, id)],                                  Some(ID)),
        (&alice,    &[(EMAIL, email), (EMAIL, email)],                      Some(EMAIL)),
        (&alice,    &[(ID, id), ("x_goog_authenticated_user_id", id)],      Some(ID)),
        (&alice,    &[("x_goog_authenticated_user_email", "evil")],         Some(EMAIL)),
        (&alice,    &[(ASSERTION, &alice)],                                 Some(ASSERTION)),
        (&alice,    &[("x_goog_iap_jwt_assertion", &alice)],                Some(ASSERTION)),
        (&external, &[(ID, "securetoken.google.com/p/t:u1"), (EMAIL, "securetoken.google.com/p/t:a@x.example")], None),
        (&external, &[(EMAIL, "a@x.example")],                              Some(EMAIL)),
        (&trusted,  &[(ID, "issuer/corp:s"), (EMAIL, "issuer/corp:s@corp.example")], None),
        (&trusted,  &[(EMAIL, "accounts.google.com:s@corp.example")],       Some(EMAIL)),
        (&bare,     &[(ID, "issuer/corp:s")],                               None),
        (&bare,     &[(ID, "issuer/corp:s"), (EMAIL, "issuer/corp:s")],     Some(EMAIL)),
        (&bare,     &[(EMAIL, "issuer/corp:t")],                            Some(EMAIL)),
        (&nobody,   &[],                                                    None),
        (&nobody,   &[(ID, id)],                                            Some(ID)),
        (&nobody,   &[(EMAIL, email)],                                      Some(EMAIL)),
    ];
    for (assertion, fields, refused) in cases {
        let mut all = vec![(ASSERTION, assertion)];
        all.extend(fields);
        let answer = verifier.verify(&headers(&all)).await;
        match (&answer, refused) {
            (Ok(_), None) => {}
            (Err(VerifyError::Mismatch(name) | VerifyError::Duplicate(name)), Some(expected)) => {
                assert_eq!(name.as_str(), expected, "{fields:?}");
            }
            _ => panic!("{fields:?}: {answer:?}"),
        }
    }
    let missing = verifier.verify(&headers(&[(ID, id), (EMAIL, email)])).await;
    assert!(matches!(missing, Err(VerifyError::Missing)), "{missing:?}");
}

/// Keys that can be changed, and a status: 0 for no answer that is HTTP.
struct Published {
    server: Server,
    status: Arc<AtomicU16>,
    keys: Arc<Mutex<String>>,
}

fn published(first: &SigningKey) -> Published {
    let (status, keys) = (Arc::new(AtomicU16::new(200)), Arc::new(Mutex::new(key_document(&[first]))));
    let (current, document) = (status.clone(), keys.clone());
    let server = Server::start(move |_| match current.load(Ordering::SeqCst) {
        200 => Reply::new(200, document.lock().unwrap()).header("cache-control", "public, max-age=1000"),
        status => Reply::new(status, ""),
    });
    Published { server, status, keys }
}

/// An assertion of this time.
fn fresh(key: &SigningKey, clock: &ManualClock) -> String {
    use doorward_client::Clock as _;
    sign(key, &Value::Object(assertion_claims(clock.now())))
}

#[tokio::test]
async fn keys_are_kept_replaced_ahead_of_their_end_and_outlive_an_outage_until_then() {
    let clock = clock();
    let (old, new) = (new_key("old"), new_key("new"));
    let Published { server, status, keys } = published(&old);
    let verifier = verifier(&server.origin, &clock);
    verify(&verifier, &fresh(&old, &clock)).await.unwrap();
    clock.advance(Duration::from_secs(749));
    verify(&verifier, &fresh(&old, &clock)).await.unwrap();
    assert_eq!(server.asked().len(), 1);
    // In their last quarter they are fetched anew, and meanwhile the old ones do.
    *keys.lock().unwrap() = key_document(&[&old, &new]);
    clock.advance(Duration::from_secs(1));
    verify(&verifier, &fresh(&old, &clock)).await.unwrap();
    until(async || server.asked().len() == 2 && verify(&verifier, &fresh(&new, &clock)).await.is_ok()).await;
    // An outage: nothing is lost before the end, and everything at it.
    status.store(503, Ordering::SeqCst);
    clock.advance(Duration::from_secs(999));
    verify(&verifier, &fresh(&new, &clock)).await.unwrap();
    until(async || server.asked().len() == 5).await;
    clock.advance(Duration::from_secs(30));
    let error = verify(&verifier, &fresh(&new, &clock)).await.unwrap_err();
    assert!(matches!(error, VerifyError::Keys(_)), "{error}");
    let asked = server.asked().len();
    for _ in 0..20 {
        verify(&verifier, &fresh(&new, &clock)).await.unwrap_err();
    }
    assert_eq!(server.asked().len(), asked, "a server that is down is left alone for a while");
    status.store(200, Ordering::SeqCst);
    clock.advance(Duration::from_secs(5));
    verify(&verifier, &fresh(&new, &clock)).await.unwrap();
}

#[tokio::test]
async fn a_new_key_is_found_at_once_and_strangers_cause_one_fetch_a_minute() {
    let clock = clock();
    let (old, new, strange) = (new_key("old"), new_key("new"), new_key("strange"));
    let Published { server, status, keys } = published(&old);
    let verifier = verifier(&server.origin, &clock);
    verify(&verifier, &fresh(&old, &clock)).await.unwrap();
    *keys.lock().unwrap() = key_document(&[&old, &new]);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (verifier, assertion) = (verifier.clone(), fresh(&new, &clock));
        tasks.spawn(async move { verify(&verifier, &assertion).await.unwrap() });
    }
    assert_eq!(tasks.join_all().await.len(), 50);
    assert_eq!(server.asked().len(), 2, "one fetch for all");
    let refused = async || {
        for _ in 0..20 {
            let error = verify(&verifier, &fresh(&strange, &clock)).await.unwrap_err();
            assert!(matches!(error, VerifyError::UnknownKey | VerifyError::Keys(_)), "{error}");
        }
        server.asked().len()
    };
    assert_eq!(refused().await, 2);
    clock.advance(Duration::from_secs(59));
    assert_eq!(refused().await, 2);
    clock.advance(Duration::from_secs(1));
    assert_eq!(refused().await, 3);
    status.store(500, Ordering::SeqCst);
    clock.advance(Duration::from_secs(60));
    assert_eq!(refused().await, 4, "and no further tries on the word of a stranger");
    verify(&verifier, &fresh(&new, &clock)).await.unwrap();
}

#[tokio::test]
async fn a_document_that_is_none_does_not_replace_the_keys() {
    let clock = clock();
    let old = new_key("old");
    let Published { server, keys, .. } = published(&old);
    let verifier = verifier(&server.origin, &clock);
    verify(&verifier, &fresh(&old, &clock)).await.unwrap();
    let of_another_kind = r#"{"keys": [{"kid": "other", "kty": "oct", "k": "AAAA"}]}"#;
    for document in ["<html>", r#"{"1f": "-----BEGIN PUBLIC KEY-----"}"#, "[]", "", r#"{"keys": []}"#, of_another_kind]
    {
        *keys.lock().unwrap() = document.to_owned();
        clock.advance(Duration::from_secs(60));
        let error = verify(&verifier, &fresh(&new_key("other"), &clock)).await.unwrap_err();
        assert!(error.to_string().contains("is no key document"), "{document}: {error}");
        verify(&verifier, &fresh(&old, &clock)).await.unwrap();
    }
}

#[tokio::test]
async fn the_layer_lets_through_whom_the_assertion_proves_and_answers_401_otherwise() {
    let clock = clock();
    let server = google(clock.clone());
    let layer = VerifyLayer::new(verifier(&server.origin, &clock));
    let mut application = ServiceBuilder::new().layer(layer).service(service_fn(async |request: Request<()>| {
        let identity = request.extensions().get::<Identity>().unwrap();
        Ok::<_, Infallible>(Response::new(identity.email().unwrap().to_owned()))
    }));
    let (good, other) = (signed(json!({})), signed(json!({"aud": "other"})));
    let unknown = signed_by(&new_key("unknown"), &json!({}));
    let proven = (StatusCode::OK, "alice@example.com".to_owned());
    let refused = (StatusCode::UNAUTHORIZED, String::new());
    #[rustfmt::skip]
    let cases: [(&[(&str, &str)], _); 5] = [
        (&[(ASSERTION, &good)],                                &proven),
        (&[(ASSERTION, &unknown)],                             &refused),
        (&[],                                                  &refused),
        (&[(ASSERTION, &other)],                               &refused),
        (&[(ASSERTION, &good), (EMAIL, "accounts.google.com:bob@example.com")], &refused),
    ];
    for (fields, expected) in cases {
        let mut request = Request::new(());
        *request.headers_mut() = headers(fields);
        let response = application.ready().await.unwrap().call(request).await.unwrap();
        assert_eq!((response.status(), response.into_body()), *expected, "{fields:?}");
    }
}

#[test]
fn a_verifier_needs_an_audience() {
    assert_eq!(Verifier::builder().build().unwrap_err(), VerifierError::NoAudience);
    assert_eq!(Verifier::builder().audience("").build().unwrap_err(), VerifierError::NoAudience);
    assert_eq!(Verifier::builder().ca_pem("x").unwrap_err(), VerifierError::Certificate);
}

#[test]
fn a_verifier_takes_keys_over_https_or_from_this_machine() {
    #[rustfmt::skip]
    let cases = [
        ("https://www.gstatic.com/iap/verify/public_key-jwk",   true),
        ("http://127.0.0.1:8081/www.gstatic.com/k?x=1",         true),
        ("http://keys.example/k",                               false),
        ("ftp://keys.example/k",                                false),
        ("https://me@keys.example/k",                           false),
        ("keys.example/k",                                      false),
        ("/k",                                                  false),
        ("",                                                    false),
    ];
    for (url, good) in cases {
        let built = Verifier::builder().audience(AUDIENCE).key_url(url).build();
        match (&built, good) {
            (Ok(_), true) => {}
            (Err(VerifierError::KeyUrl(_)), false) => {}
            _ => panic!("{url}: {built:?}"),
        }
    }
}

#[tokio::test]
async fn the_layer_answers_503_while_there_are_no_keys_and_lets_nobody_through() {
    let server = Server::start(|_| Reply::new(500, ""));
    let layer = VerifyLayer::new(verifier(&server.origin, &clock()));
    let mut application = ServiceBuilder::new().layer(layer).service(service_fn(
        async |_: Request<()>| -> Result<Response<()>, Infallible> { panic!("it was let through") },
    ));
    // the headers => the status
    let good = signed(json!({}));
    let cases: [(&[(&str, &str)], _); 2] =
        [(&[(ASSERTION, &good)], StatusCode::SERVICE_UNAVAILABLE), (&[], StatusCode::UNAUTHORIZED)];
    for (fields, expected) in cases {
        let mut request = Request::new(());
        *request.headers_mut() = headers(fields);
        assert_eq!(application.ready().await.unwrap().call(request).await.unwrap().status(), expected);
    }
}

#[tokio::test]
async fn keys_that_were_got_before_the_clock_was_set_back_are_fetched_again_and_used_meanwhile() {
    let clock = clock();
    let old = new_key("old");
    let Published { server, .. } = published(&old);
    let verifier = verifier(&server.origin, &clock);
    clock.set(*NOW + Duration::from_secs(24 * 3600));
    verify(&verifier, &fresh(&old, &clock)).await.unwrap();
    clock.set(*NOW);
    verify(&verifier, &fresh(&old, &clock)).await.unwrap();
    until(async || server.asked().len() == 2).await;
    verify(&verifier, &fresh(&old, &clock)).await.unwrap();
    clock.advance(Duration::from_secs(700));
    verify(&verifier, &fresh(&old, &clock)).await.unwrap();
    assert_eq!(server.asked().len(), 2, "the second time they are of this time");
}
