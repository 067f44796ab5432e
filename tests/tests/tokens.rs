//! The token endpoint, and the documents by which its tokens are verified.

use aws_lc_rs::hmac;
use doorward_tests::{Account, Connection, Dev, Request, Response, authority, now_seconds, tampered};
use doorward_wire::jose::{JwkSet, VerifyingKey, decode_base64url, encode_base64url};
use serde_json::{Value, json};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const PATHS: [&str; 2] = ["oauth2.googleapis.com/token", "www.googleapis.com/oauth2/v4/token"];
/// Google's sentences, which clients parse.
const WINDOW: &str = "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. \
                      Check your iat and exp values in the JWT claim.";
const UNAUTHORIZED: &str = "Client is unauthorized to retrieve access tokens using this method, or client not authorized \
                            for any of the scopes requested.";

fn post(dev: &Dev, path: &str, parameters: &[(&str, &str)]) -> Response {
    Request::post_form(&dev.google(path), parameters).send()
}

/// `claims` with members set, or removed where the value is null.
fn with(claims: &Value, changes: Value) -> Value {
    let mut changed = claims.clone();
    for (name, value) in changes.as_object().expect("an object") {
        match value {
            Value::Null => changed.as_object_mut().expect("an object").remove(name),
            value => changed.as_object_mut().expect("an object").insert(name.clone(), value.clone()),
        };
    }
    changed
}

fn published_keys(dev: &Dev) -> JwkSet {
    let jwks = Request::get(&dev.google("www.googleapis.com/oauth2/v3/certs")).send().expect(200);
    serde_json::from_slice(&jwks.body).expect("a JWK set")
}

#[test]
fn an_assertion_is_redeemed_or_refused_in_googles_words() {
    let dev = Dev::start(&[]);
    let (robot, stranger) = (dev.account("robot"), dev.account("stranger"));
    let now = now_seconds();
    let good = robot.claims("target_audience", dev.text("/app/client_id"));
    let scoped = robot.claims("scope", "https://www.googleapis.com/auth/cloud-platform");
    let header = json!({"alg": "RS256", "kid": robot.key_id});
    let under = |header: Value| robot.sign_under(&header, &good);
    let but = |changes: Value| robot.sign(&with(&good, changes));
    let unsigned = |header: Value| {
        let part = |value: &Value| encode_base64url(value.to_string().as_bytes());
        format!("{}.{}.{}", part(&header), part(&good), encode_base64url(b"signature"))
    };
    let signature = ("invalid_grant", "Invalid JWT Signature.");
    let account = ("invalid_grant", "Invalid grant: account not found");
    let no_iat = ("invalid_grant", "Invalid JWT: iat (issued at) is not set.");
    let no_exp = ("invalid_grant", "Invalid JWT: exp (expiration time) is not set.");
    let window = ("invalid_grant", WINDOW);
    let scope = ("invalid_scope", "Invalid OAuth scope or ID token audience provided.");
    let audience = ("invalid_grant", "Invalid JWT: Failed audience check.");
    let broken = ("invalid_request", "Bad Request");
    // assertion => what is issued, or code and sentence
    #[rustfmt::skip]
    let cases: Vec<(_, _, Result<_, _>)> = vec![
        ("good",                      robot.sign(&good),                                           Ok("id_token")),
        ("good again, without jti",   robot.sign(&good),                                           Ok("id_token")),
        ("scope",                     robot.sign(&scoped),                                         Ok("access_token")),
        ("no kid",                    under(json!({"alg": "RS256"})),                              Ok("id_token")),
        ("no typ",                    under(header.clone()),                                       Ok("id_token")),
        ("sub is iss",                but(json!({"sub": robot.email})),                            Ok("id_token")),
        ("digits as strings",         but(json!({"iat": now.to_string(), "exp": (now + 3600).to_string()})), Ok("id_token")),
        ("ten minutes",               but(json!({"exp": now + 600})),                              Ok("id_token")),
        ("v4 audience",               but(json!({"aud": "https://www.googleapis.com/oauth2/v4/token"})),                           Ok("id_token")),
        ("oldest audience",           but(json!({"aud": "https://accounts.google.com/o/oauth2/token"})),                           Ok("id_token")),
        ("our audience",              but(json!({"aud": robot.token_uri})),                        Ok("id_token")),
        ("empty",                     String::new(),                                               Err(broken)),
        ("garbage",                   "garbage".into(),                                            Err(broken)),
        ("two parts",                 "YQ.YQ".into(),                                              Err(broken)),
        ("four parts",                format!("{}.YQ", robot.sign(&good)),                         Err(broken)),
        ("not base64",                format!("!{}", robot.sign(&good)),                           Err(broken)),
        ("claims are a list",         robot.sign_text(&header.to_string(), "[]"),                  Err(broken)),
        ("claims are cut",            robot.sign_text(&header.to_string(), "{\"iss\":"),           Err(broken)),
        ("two iss",                   robot.sign_text(&header.to_string(), &good.to_string().replacen('{', "{\"iss\":\"a@b.c\",", 1)), Err(broken)),
        ("deep",                      robot.sign_text(&header.to_string(), &format!("{{\"a\":{}1{}}}", "[".repeat(5000), "]".repeat(5000))), Err(broken)),
        ("300 KiB",                   but(json!({"padding": "a".repeat(300 * 1024)})),             Err(broken)),
        ("tampered",                  tampered(&robot.sign(&good)),                                Err(signature)),
        ("another's key",             stranger.sign(&good),                                        Err(signature)),
        ("another's kid",             under(json!({"alg": "RS256", "kid": stranger.key_id})),      Err(signature)),
        ("unknown kid",               under(json!({"alg": "RS256", "kid": "../../dev/null"})),     Err(signature)),
        ("alg none",                  unsigned(json!({"alg": "none"})),                            Err(signature)),
        ("alg None",                  unsigned(json!({"alg": "None"})),                            Err(signature)),
        ("alg missing",               under(json!({"kid": robot.key_id})),                         Err(signature)),
        ("alg HS256",                 under(json!({"alg": "HS256", "kid": robot.key_id})),         Err(signature)),
        ("alg RS512",                 under(json!({"alg": "RS512", "kid": robot.key_id})),         Err(signature)),
        ("crit",                      under(with(&header, json!({"crit": ["b64"], "b64": false}))), Err(signature)),
        ("jwk of its own",            under(with(&header, json!({"jwk": {"kty": "RSA"}}))),        Err(signature)),
        ("jku",                       under(with(&header, json!({"jku": "http://127.0.0.1:1/"}))), Err(signature)),
        ("no iss",                    but(json!({"iss": null})),                                   Err(account)),
        ("unknown iss",               but(json!({"iss": "nobody@nowhere.iam.gserviceaccount.com"})), Err(account)),
        ("iss of another type",       but(json!({"iss": 1})),                                      Err(account)),
        ("no iat",                    but(json!({"iat": null})),                                   Err(no_iat)),
        ("no exp",                    but(json!({"exp": null})),                                   Err(no_exp)),
        ("expired",                   but(json!({"iat": now - 7200, "exp": now - 3600})),          Err(window)),
        ("longer than an hour",       but(json!({"exp": now + 7200})),                             Err(window)),
        ("from the future",           but(json!({"iat": now + 3000, "exp": now + 6000})),          Err(window)),
        ("exp before iat",            but(json!({"iat": now, "exp": now - 1})),                    Err(window)),
        ("empty scope",               robot.sign(&with(&scoped, json!({"scope": ""}))),            Err(scope)),
        ("unknown scope",             robot.sign(&with(&scoped, json!({"scope": "openid nonsense"}))), Err(scope)),
        ("neither scope nor audience", robot.sign(&with(&good, json!({"target_audience": null}))), Err(scope)),
        ("no aud",                    but(json!({"aud": null})),                                   Err(audience)),
        ("wrong aud",                 but(json!({"aud": "https://example.com/token"})),            Err(audience)),
        ("delegation",                but(json!({"sub": "alice@example.com"})),                    Err(("unauthorized_client", UNAUTHORIZED))),
    ];
    for (name, assertion, expected) in cases {
        for path in PATHS {
            let response = post(&dev, path, &[("grant_type", GRANT), ("assertion", &assertion)]);
            let body = response.json();
            match expected {
                Ok(issued) => {
                    assert_eq!(response.status, 200, "{name}: {body}");
                    let members: Vec<&String> = body.as_object().expect("an object").keys().collect();
                    let all: &[&str] = if issued == "id_token" {
                        &["id_token"]
                    } else {
                        &["access_token", "expires_in", "token_type"]
                    };
                    assert_eq!(members, all, "{name}");
                    // RFC 6749 section 5.1.
                    assert_eq!(response.header("cache-control"), Some("no-store"), "{name}");
                }
                Err((code, sentence)) => {
                    assert_eq!(response.status, 400, "{name}: {body}");
                    assert_eq!(body, json!({"error": code, "error_description": sentence}), "{name}");
                    assert_eq!(response.header("cache-control"), Some("no-store"), "{name}");
                }
            }
            assert_eq!(response.header("content-type").map(|kind| kind.starts_with("application/json")), Some(true));
        }
    }
}

/// An assertion of exactly this many bytes, good in every other way.
fn assertion_of_length(account: &Account, claims: &Value, length: usize) -> String {
    let header = json!({"typ": "JWT", "alg": "RS256", "kid": account.key_id}).to_string();
    // No text of base64url has 4n + 1 characters: where the claims cannot fill it up, a longer header can.
    let spaces = ["", " ", "  "].map(|spaces| format!("{header}{spaces}"));
    let candidates = spaces.iter().flat_map(|header| {
        let padded = |bytes: usize| with(claims, json!({"padding": "a".repeat(bytes)})).to_string();
        let lacking = length - account.sign_text(header, &padded(0)).len();
        let near = lacking * 3 / 4;
        (near - 4..near + 4).map(move |bytes| account.sign_text(header, &padded(bytes)))
    });
    let mut exact = candidates.filter(|assertion| assertion.len() == length);
    exact.next().unwrap_or_else(|| panic!("no assertion of {length} bytes can be made"))
}

#[test]
fn an_assertion_of_16_kib_or_more_is_not_looked_at() {
    let dev = Dev::start(&[]);
    let robot = dev.account("robot");
    let claims = robot.claims("target_audience", dev.text("/app/client_id"));
    for path in PATHS {
        let ask = |length| {
            let assertion = assertion_of_length(&robot, &claims, length);
            post(&dev, path, &[("grant_type", GRANT), ("assertion", &assertion)])
        };
        assert!(ask(16_383).expect(200).json()["id_token"].is_string(), "{path}");
        for length in [16_384, 16_385, 20_000] {
            let refused = ask(length).expect(400).json();
            assert_eq!(refused, json!({"error": "invalid_request", "error_description": "Bad Request"}), "{length}");
        }
    }
}

#[test]
fn a_body_that_is_too_large_is_refused_in_the_form_of_every_error() {
    let dev = Dev::start(&[]);
    for path in PATHS {
        let refused = post(&dev, path, &[("grant_type", GRANT), ("assertion", &"a".repeat(1 << 20))]).expect(413);
        // RFC 6749 section 5.2.
        assert_eq!(
            refused.header("content-type").map(|kind| kind.starts_with("application/json")),
            Some(true),
            "{path}"
        );
        assert_eq!(refused.header("cache-control"), Some("no-store"), "{path}");
        let body = refused.json();
        assert_eq!(body["error"], "invalid_request", "{path}: {body}");
        assert!(body["error_description"].as_str().is_some_and(|text| !text.is_empty()), "{path}: {body}");
    }
    assert!(!dev.id_token("robot").is_empty());
}

#[test]
fn an_id_token_says_who_it_is_for_and_from_and_nothing_else() {
    let dev = Dev::start(&[]);
    let robot = dev.account("robot");
    for aud in [dev.text("/app/client_id"), "32555940559.apps.googleusercontent.com", "https://anything.example/"] {
        let before = now_seconds();
        let claims = dev.claims(&robot.id_token(aud));
        let iat = claims["iat"].as_i64().expect("iat is a number");
        assert!((before..=now_seconds()).contains(&iat), "{claims}");
        let unique_id = dev.text("/service_accounts/robot/unique_id");
        let expected = json!({
            "aud": aud, "azp": robot.email, "email": robot.email, "email_verified": true, "exp": iat + 3600, "iat": iat,
            "iss": "https://accounts.google.com", "sub": unique_id,
        });
        assert_eq!(claims, expected);
    }
}

#[test]
fn an_access_token_is_no_credential_for_the_application_and_the_refusal_says_what_is() {
    let dev = Dev::start(&[]);
    let robot = dev.account("robot");
    let issued = robot.exchange(&robot.claims("scope", "openid email")).expect(200).json();
    assert_eq!(issued["token_type"], "Bearer");
    assert!(issued["expires_in"].as_i64().is_some_and(|seconds| (3590..=3600).contains(&seconds)), "{issued}");
    let access_token = issued["access_token"].as_str().expect("a string");
    let refused = Request::get(&dev.app("/")).bearer(access_token).send().expect(401);
    assert_eq!(refused.reason(), Some("wrong_token_kind"));
    let fix = refused.header("x-doorward-fix").expect("a fix");
    assert!(fix.contains("ID token") && fix.contains("target_audience"), "{fix}");
    assert!(!refused.text().contains(access_token), "the answer repeats the token");
}

#[test]
fn what_is_wrong_with_a_token_is_said_in_googles_words_and_in_a_code() {
    let dev = Dev::start(&[]);
    let robot = dev.account("robot");
    let client_id = dev.text("/app/client_id");
    let good = robot.id_token(client_id);
    let forged = with(&dev.claims(&good), json!({"email": "alice@example.com"}));
    let foreign = Dev::start(&[]).id_token("robot");
    let echo = Request::get(&dev.app("/")).bearer(&good).send().expect(200).json();
    let assertion = echo["headers"]["x-goog-iap-jwt-assertion"].as_str().expect("an assertion").to_owned();
    let [header, payload, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!("{good}") };
    let encode = |value: &Value| encode_base64url(value.to_string().as_bytes());
    let under = |header: Value| format!("{}.{payload}.{signature}", encode(&header));
    let other_audience = format!(
        "JWT audience doesn't match this application ('aud' claim (other) doesn't match expected value ({client_id}))"
    );
    let (unparsable, unsigned) = ("Unable to parse JWT", "JWT signature is invalid");
    #[rustfmt::skip]
    let cases: Vec<(&str, String, &str, &str)> = vec![
        ("not a JWT",          "null".into(),                                         "invalid_token",    unparsable),
        ("two parts",          format!("{header}.{payload}"),                         "invalid_token",    unparsable),
        ("five parts",         format!("{good}.a.b"),                                 "invalid_token",    unparsable),
        ("padding",            format!("{good}="),                                    "invalid_token",    unparsable),
        ("tampered",           tampered(&good),                                       "invalid_token",    unsigned),
        ("other claims",       format!("{header}.{}.{signature}", encode(&forged)),   "invalid_token",    unsigned),
        ("another world's",    foreign,                                               "invalid_token",    unsigned),
        ("alg none",           under(json!({"alg": "none", "kid": "1"})),             "jwt_alg",          unsigned),
        ("alg missing",        under(json!({"kid": "1"})),                            "jwt_alg",          unsigned),
        ("alg HS256",          under(json!({"alg": "HS256", "kid": "1"})),            "jwt_alg",          unsigned),
        ("signed header",      assertion,                                             "wrong_token_kind", unsigned),
        ("other audience",     robot.id_token("other"),                               "wrong_audience",   &other_audience),
        ("16 KiB and more",    format!("{header}.{}.{signature}", "a".repeat(16 * 1024)), "token_too_large", unparsable),
    ];
    for (name, token, reason, sentence) in cases {
        let refused = Request::get(&dev.app("/")).bearer(&token).send();
        let told = (refused.status, refused.reason(), refused.text());
        assert_eq!(told, (401, Some(reason), format!("Invalid IAP credentials: {sentence}")), "{name}");
        assert_eq!(refused.header("x-goog-iap-generated-response"), Some("true"), "{name}");
        assert_eq!(refused.header("content-type"), Some("text/html; charset=UTF-8"), "{name}");
        assert!(refused.header("www-authenticate").is_some_and(|value| value.starts_with("Bearer")), "{name}");
        assert!(refused.header("x-doorward-fix").is_some_and(|fix| !fix.is_empty()), "{name}");
        assert_eq!(refused.header("x-doorward-decision-id").map(str::len), Some(22), "{name}");
    }
    Request::get(&dev.app("/")).bearer(&good).send().expect(200);
    // A token for this application is none for the other one.
    let other = Request::get(dev.text("/other_app/url")).bearer(&good).send().expect(401);
    assert_eq!(other.reason(), Some("wrong_audience"));
}

#[test]
fn a_public_key_is_no_shared_secret() {
    let dev = Dev::start(&[]);
    let good = dev.id_token("robot");
    let (input, _) = good.rsplit_once('.').expect("a compact token");
    let (_, payload) = input.split_once('.').expect("a compact token");
    let jwks = published_keys(&dev);
    for jwk in &jwks.keys {
        let pem = VerifyingKey::from_jwk(jwk).and_then(|key| key.to_pem()).expect("a good key");
        let pem = serde_json::to_value(&pem).expect("JSON").as_str().expect("text").to_owned();
        let modulus = jwk.n.clone().expect("an RSA key");
        let decoded = decode_base64url(&modulus).expect("base64url");
        let secrets = [
            pem.trim_end().as_bytes().to_vec(),
            pem.into_bytes(),
            modulus.into_bytes(),
            decoded,
            serde_json::to_vec(jwk).expect("JSON"),
            serde_json::to_vec(&jwks).expect("JSON"),
        ];
        for secret in secrets {
            let header = json!({"alg": "HS256", "kid": jwk.kid, "typ": "JWT"}).to_string();
            let input = format!("{}.{payload}", encode_base64url(header.as_bytes()));
            let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
            let token = format!("{input}.{}", encode_base64url(hmac::sign(&key, input.as_bytes()).as_ref()));
            let refused = Request::get(&dev.app("/")).bearer(&token).send().expect(401);
            assert_eq!(refused.reason(), Some("jwt_alg"));
        }
    }
}

#[test]
fn the_public_documents_are_where_google_has_them_and_may_be_cached() {
    let dev = Dev::start(&[]);
    let fetch = |path: &str| {
        let response = Request::get(&dev.google(path)).send().expect(200);
        let cache =
            response.header("cache-control").unwrap_or_else(|| panic!("{path} has no cache-control")).to_owned();
        assert!(cache.contains("public") && cache.contains("max-age="), "{path}: {cache}");
        response.json()
    };
    let discovery = fetch("accounts.google.com/.well-known/openid-configuration");
    #[rustfmt::skip]
    let expected = [
        ("issuer",                 "https://accounts.google.com".to_owned()),
        ("authorization_endpoint", dev.google("accounts.google.com/o/oauth2/v2/auth")),
        ("token_endpoint",         dev.google("oauth2.googleapis.com/token")),
        ("jwks_uri",               dev.google("www.googleapis.com/oauth2/v3/certs")),
    ];
    for (name, value) in expected {
        assert_eq!(discovery[name], value, "{name}");
    }
    let members = |value: &Value| value.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
    let tokens = fetch("www.googleapis.com/oauth2/v3/certs");
    for key in tokens["keys"].as_array().expect("keys") {
        assert_eq!(members(key), ["alg", "e", "kid", "kty", "n", "use"]);
    }
    let assertions = fetch("www.gstatic.com/iap/verify/public_key-jwk");
    let pems = fetch("www.gstatic.com/iap/verify/public_key");
    let keys = assertions["keys"].as_array().expect("keys");
    assert!(!keys.is_empty());
    for key in keys {
        assert_eq!(members(key), ["alg", "crv", "kid", "kty", "use", "x", "y"]);
        let pem = pems[key["kid"].as_str().expect("a kid")].as_str().expect("the same key as PEM");
        assert!(pem.starts_with("-----BEGIN PUBLIC KEY-----\n"), "{pem}");
    }
    assert_eq!(members(&pems).len(), keys.len());
}

#[test]
fn a_body_that_is_no_token_request_is_refused_and_the_server_goes_on() {
    let dev = Dev::start(&[]);
    let robot = dev.account("robot");
    let assertion = robot.sign(&robot.claims("target_audience", dev.text("/app/client_id")));
    let form = "application/x-www-form-urlencoded";
    let grant = format!("grant_type={GRANT}");
    let huge = format!("{grant}&assertion={}", "a".repeat(4 << 20));
    let invalid_request = Some("invalid_request");
    #[rustfmt::skip]
    let cases: Vec<(&str, &str, Vec<u8>, Option<&str>)> = vec![
        ("empty",              form, Vec::new(),                                                          invalid_request),
        ("no grant",           form, format!("assertion={assertion}").into(),                             invalid_request),
        ("unknown grant",      form, format!("grant_type=password&assertion={assertion}").into(),         Some("unsupported_grant_type")),
        ("no assertion",       form, grant.clone().into(),                                                invalid_request),
        ("assertion twice",    form, format!("{grant}&assertion={assertion}&assertion={assertion}").into(), invalid_request),
        ("grant twice",        form, format!("{grant}&{grant}&assertion={assertion}").into(),             invalid_request),
        ("not UTF-8",          form, [grant.as_bytes(), b"&assertion=\xff\xfe"].concat(),                 invalid_request),
        ("percent not UTF-8",  form, format!("{grant}&assertion=%ff%fe").into(),                          invalid_request),
        ("NUL",                form, format!("{grant}&assertion=%00").into(),                             invalid_request),
        ("JSON",               "application/json", json!({"grant_type": GRANT, "assertion": assertion}).to_string().into(), None),
        ("huge",               form, huge.into(),                                                         None),
    ];
    for (name, media_type, body, code) in cases {
        for path in PATHS {
            let response = Request::post(&dev.google(path), media_type, &body).send();
            assert!((400..500).contains(&response.status), "{name}: {} {}", response.status, response.text());
            assert_eq!(response.header("cache-control"), Some("no-store"), "{name}");
            if let Some(code) = code {
                assert_eq!(response.json()["error"], code, "{name}");
            }
        }
    }
    for method in ["GET", "PUT", "DELETE"] {
        let response = Request::new(method, &dev.google(PATHS[0])).send();
        assert!([404, 405].contains(&response.status), "{method}: {}", response.status);
    }
    half_bodies(&dev, &assertion);
    assert!(dev.serves());
    assert!(!robot.id_token(dev.text("/app/client_id")).is_empty());
}

fn half_bodies(dev: &Dev, assertion: &str) {
    let api = authority(dev.text("/api_url"));
    let head =
        format!("POST /{} HTTP/1.1\r\nHost: {api}\r\nContent-Type: application/x-www-form-urlencoded\r\n", PATHS[0]);
    let half = format!("grant_type={GRANT}&assertion={}", &assertion[..20]);
    for framing in ["Content-Length: 2000", "Transfer-Encoding: chunked"] {
        for end in [format!("\r\n{half}"), "\r\n".to_owned(), String::new()] {
            let mut connection = Connection::open(api);
            connection.send(format!("{head}{framing}\r\n{end}").as_bytes());
            drop(connection);
        }
    }
}

#[test]
fn a_deleted_key_redeems_nothing_any_more() {
    let dev = Dev::start(&[]);
    let email = dev.text("/service_accounts/robot/email").to_owned();
    let keys = format!("iam.googleapis.com/v1/projects/{}/serviceAccounts/{email}/keys", dev.text("/project/id"));
    let created = dev.admin("POST", &keys, Some(&json!({}))).send().expect(200).json();
    let file = base64_of(created["privateKeyData"].as_str().expect("the key file, once"));
    let account = Account::from_key_file(&file);
    assert_eq!(account.exchange(&account.claims("target_audience", "a")).status, 200);
    let listed = dev.admin("GET", &keys, None).send().expect(200).json();
    assert!(listed.to_string().contains(&account.key_id) && !listed.to_string().contains("privateKeyData"), "{listed}");
    let name = created["name"].as_str().expect("a name");
    dev.admin("DELETE", &format!("iam.googleapis.com/v1/{name}"), None).send().expect(200);
    let refused = account.exchange(&account.claims("target_audience", "a")).expect(400).json();
    assert_eq!(refused["error_description"], "Invalid JWT Signature.");
    // The account's other key is not touched.
    assert!(!dev.id_token("robot").is_empty());
}

fn base64_of(text: &str) -> Vec<u8> {
    let url_safe: String = text.trim_end_matches('=').replace('+', "-").replace('/', "_");
    decode_base64url(&url_safe).expect("base64")
}
