//! What each type of credentials asks for, and what it makes of the answer.

use std::sync::Mutex;
use std::time::Duration;

use doorward_client::{CLOUD_PLATFORM, Credentials, TokenError, TransportError};
use doorward_wire::jose::{Algorithm, SigningKey, TOKEN_LIMIT, Unverified, VerifyingKey};
use serde_json::{Value, json};

use crate::support::{Asked, Reply, Server, google, id_token, key_file, parameter, private_key};
use crate::{NOW, USER, builder, clock};

const ROBOT: &str = "robot@p.iam.gserviceaccount.com";
const TARGET: &str = "target@p.iam.gserviceaccount.com";
const APP: &str = "123-app.apps.googleusercontent.com";

fn claims_of(token: &str) -> Value {
    let key = SigningKey::from_pkcs8_pem("1f", Algorithm::Rs256, private_key()).unwrap();
    let unverified = Unverified::parse(token, TOKEN_LIMIT, &[Algorithm::Rs256]).unwrap();
    assert_eq!(unverified.kid(), Some("1f"));
    let claims = unverified.verify(&VerifyingKey::from_jwk(&key.public_jwk()).unwrap()).unwrap();
    Value::Object(claims.as_object().clone())
}

/// Method, target, whether a bearer token comes along, and the body, for a table.
fn line(asked: &Asked) -> (String, Option<&str>) {
    (format!("{} {}", asked.method, asked.target), asked.header("authorization"))
}

#[tokio::test]
async fn a_key_file_signs_what_it_asks_for() {
    let clock = clock();
    let server = google(clock.clone());
    let credentials = builder(&server.origin, &clock).from_json(key_file()).unwrap();
    assert_eq!(
        (credentials.kind(), credentials.account(), credentials.project_id()),
        ("service_account", Some(ROBOT), Some("p"))
    );
    let token = credentials.id_token(APP).await.unwrap();
    assert_eq!(token.as_str().split('.').count(), 3);
    assert_eq!(token.expires_at(), *NOW + Duration::from_secs(3600));
    let access = credentials.access_token(&[]).await.unwrap();
    assert_eq!((access.as_str(), access.expires_at()), ("ya29.c.access", *NOW + Duration::from_secs(3599)));
    credentials.access_token(&["a", "b"]).await.unwrap();
    let asked = server.asked();
    let wanted = [("target_audience", APP), ("scope", CLOUD_PLATFORM), ("scope", "a b")];
    assert_eq!(asked.len(), wanted.len());
    for (asked, (name, value)) in asked.iter().zip(wanted) {
        assert_eq!(line(asked), ("POST /oauth2.googleapis.com/token".to_owned(), None));
        assert_eq!(
            parameter(&asked.body, "grant_type").as_deref(),
            Some("urn:ietf:params:oauth:grant-type:jwt-bearer")
        );
        let expected = json!({
            "iss": ROBOT, "sub": ROBOT, "aud": "https://oauth2.googleapis.com/token",
            "iat": 1_800_000_000, "exp": 1_800_003_600, name: value,
        });
        assert_eq!(claims_of(&parameter(&asked.body, "assertion").unwrap()), expected);
    }
}

#[tokio::test]
async fn a_self_signed_token_is_for_a_url_and_asks_nobody() {
    let clock = clock();
    clock.advance(Duration::from_millis(900));
    let credentials = builder("http://127.0.0.1:1", &clock).from_json(key_file()).unwrap();
    let url = "https://app.example.com/*";
    let token = credentials.self_signed(url).unwrap();
    let expected = json!({"iss": ROBOT, "sub": ROBOT, "aud": url, "iat": 1_800_000_000, "exp": 1_800_003_600});
    assert_eq!(claims_of(token.as_str()), expected);
    assert_eq!(token.expires_at(), *NOW + Duration::from_secs(3600), "as the claim says, to the second");
    assert_eq!(credentials.self_signed(url).unwrap().as_str(), token.as_str());
    clock.advance(Duration::from_secs(3400));
    assert_ne!(credentials.self_signed(url).unwrap().as_str(), token.as_str(), "signed anew ahead of its end");
    for url in ["app.example.com", "/x", "ftp://app.example.com/", "https://app.example.com/#x", ""] {
        assert!(credentials.self_signed(url).is_err(), "{url:?}");
    }
    let error = Credentials::from_json(USER).unwrap().self_signed(url).unwrap_err();
    assert!(error.to_string().starts_with("authorized_user credentials hold no private key"), "{error}");
}

#[tokio::test]
async fn a_persons_sign_in_is_refreshed_for_an_audience_or_plainly_for_their_own_client() {
    let clock = clock();
    let server = google(clock.clone());
    let credentials = builder(&server.origin, &clock).from_json(USER).unwrap();
    credentials.id_token("app&x").await.unwrap();
    credentials.id_token("desktop").await.unwrap();
    credentials.access_token(&[]).await.unwrap();
    credentials.access_token(&["s"]).await.unwrap();
    let form = "client_id=desktop&client_secret=s3cret&grant_type=refresh_token&refresh_token=r3fresh";
    let bodies: Vec<String> = server.asked().into_iter().map(|asked| asked.body).collect();
    assert_eq!(
        bodies,
        [format!("{form}&audience=app%26x"), form.to_owned(), form.to_owned(), format!("{form}&scope=s")]
    );
}

#[tokio::test]
async fn a_refresh_token_that_the_server_replaces_is_used_from_then_on() {
    let clock = clock();
    let server = Server::start(|_| {
        Reply::new(
            200,
            json!({"access_token": "a", "expires_in": 3599, "refresh_token": "new", "token_type": "Bearer"}),
        )
    });
    let credentials = builder(&server.origin, &clock).from_json(USER).unwrap();
    credentials.access_token(&["one"]).await.unwrap();
    credentials.access_token(&["two"]).await.unwrap();
    let sent: Vec<_> = server.asked().iter().map(|asked| parameter(&asked.body, "refresh_token").unwrap()).collect();
    assert_eq!(sent, ["r3fresh", "new"]);
}

#[tokio::test]
async fn a_refresh_token_that_is_good_once_is_sent_once_however_many_audiences_are_asked_for() {
    let clock = clock();
    let current = Mutex::new("r0".to_owned());
    let server = Server::start(move |asked| {
        let mut current = current.lock().unwrap();
        if parameter(&asked.body, "refresh_token").as_ref() != Some(&*current) {
            return Reply::new(400, json!({"error": "invalid_grant", "error_description": "Used twice."}));
        }
        current.push('+');
        Reply::new(200, json!({"access_token": "a", "expires_in": 3599, "refresh_token": *current}))
    });
    let public = r#"{"type":"authorized_user","client_id":"android","refresh_token":"r0"}"#;
    let credentials = builder(&server.origin, &clock).from_json(public).unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..8 {
        let credentials = credentials.clone();
        tasks.spawn(async move { credentials.access_token(&[&format!("scope-{number}")]).await.unwrap() });
    }
    assert_eq!(tasks.join_all().await.len(), 8);
    assert_eq!(server.asked().len(), 8);
}

#[tokio::test]
async fn the_metadata_server_is_asked_for_the_whole_identity() {
    let clock = clock();
    let server = google(clock.clone());
    let credentials = builder("http://127.0.0.1:1", &clock).metadata(server.address()).unwrap();
    credentials.id_token("app&x").await.unwrap();
    assert_eq!(credentials.access_token(&[]).await.unwrap().as_str(), "ya29.machine");
    credentials.access_token(&["a", "b"]).await.unwrap();
    let base = "/computeMetadata/v1/instance/service-accounts/default";
    assert_eq!(
        server.targets(),
        [
            format!("{base}/identity?audience=app%26x&format=full"),
            format!("{base}/token"),
            format!("{base}/token?scopes=a%2Cb")
        ]
    );
    assert!(server.asked().iter().all(|asked| asked.header("metadata-flavor") == Some("Google")));
}

#[tokio::test]
async fn a_server_that_is_no_metadata_server_gives_no_tokens() {
    let clock = clock();
    let server = Server::start(|_| Reply::new(200, id_token(APP, *NOW)));
    let credentials = builder("http://127.0.0.1:1", &clock).metadata(server.address()).unwrap();
    let error = credentials.id_token(APP).await.unwrap_err();
    assert!(error.to_string().contains("does not hold the header Metadata-Flavor: Google"), "{error}");
}

#[tokio::test]
async fn another_account_is_impersonated_over_delegates_and_as_a_file_says() {
    let clock = clock();
    let server = google(clock.clone());
    let user = builder(&server.origin, &clock).from_json(USER).unwrap();
    let target = user.impersonate(TARGET).delegates(["one@p.example"]).credentials();
    assert_eq!(target.account(), Some(TARGET));
    let token = target.id_token(APP).await.unwrap();
    assert_eq!(token.as_str().split('.').count(), 3);
    assert_eq!(target.access_token(&["s", "t"]).await.unwrap().as_str(), "ya29.impersonated");
    let url =
        format!("https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{TARGET}:generateAccessToken");
    let user: Value = serde_json::from_str(USER).unwrap();
    let file = json!({
        "type": "impersonated_service_account", "service_account_impersonation_url": url,
        "delegates": ["projects/-/serviceAccounts/two@p.example"], "source_credentials": user,
    });
    let from_file = builder(&server.origin, &clock).from_json(file.to_string()).unwrap();
    assert_eq!(from_file.account(), Some(TARGET));
    from_file.id_token(APP).await.unwrap();
    let asked = server.asked();
    let path = format!("POST /iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{TARGET}");
    let as_user = Some("Bearer ya29.c.access");
    let refresh = ("POST /oauth2.googleapis.com/token".to_owned(), None);
    let expected = [
        refresh.clone(),
        (format!("{path}:generateIdToken"), as_user),
        (format!("{path}:generateAccessToken"), as_user),
        refresh,
        (format!("{path}:generateIdToken"), as_user),
    ];
    assert_eq!(asked.iter().map(line).collect::<Vec<_>>(), expected);
    let body = |index: usize| -> Value { serde_json::from_str(&asked[index].body).unwrap() };
    let one = json!(["projects/-/serviceAccounts/one@p.example"]);
    assert_eq!(body(1), json!({"audience": APP, "delegates": one, "includeEmail": true}));
    assert_eq!(body(2), json!({"scope": ["s", "t"], "delegates": one, "lifetime": "3600s"}));
    assert_eq!(body(4)["delegates"], json!(["projects/-/serviceAccounts/two@p.example"]));
}

#[tokio::test]
async fn a_source_token_that_was_revoked_is_replaced_once() {
    let clock = clock();
    let server = Server::start(|asked| match (asked.target.as_str(), asked.header("authorization")) {
        ("/oauth2.googleapis.com/token", _) => {
            Reply::new(200, json!({"access_token": "a", "expires_in": 3599, "token_type": "Bearer"}))
        }
        _ => Reply::new(401, json!({"error": {"code": 401, "message": "No.", "status": "UNAUTHENTICATED"}})),
    });
    let credentials = builder(&server.origin, &clock).from_json(USER).unwrap().impersonate(TARGET).credentials();
    let error = credentials.id_token(APP).await.unwrap_err();
    assert_eq!(error.code(), Some("UNAUTHENTICATED"));
    assert_eq!(server.asked().len(), 4, "a token and a refusal, twice: {:?}", server.targets());
}

#[tokio::test]
async fn another_issuers_token_is_exchanged_and_impersonates_as_the_file_says() {
    let clock = clock();
    let server = google(clock.clone());
    let issuer = Server::start(|asked| match asked.header("x-key") {
        Some("k3y") => Reply::new(200, json!({"value": "subject.of.url"})),
        _ => Reply::new(403, ""),
    });
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    std::fs::write(&path, "subject.of.file\n").unwrap();
    let pool = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/v";
    let file = |source: Value, impersonation: Value| {
        json!({
            "type": "external_account", "audience": pool, "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": "https://sts.googleapis.com/v1/token", "credential_source": source,
            "service_account_impersonation_url": impersonation, "service_account_impersonation": {"token_lifetime_seconds": 600},
        })
        .to_string()
    };
    let url = json!(format!(
        "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{TARGET}:generateAccessToken"
    ));
    let from_url = json!({
        "url": format!("{}/t", issuer.origin), "headers": {"x-key": "k3y"},
        "format": {"type": "json", "subject_token_field_name": "value"},
    });
    let plain = builder(&server.origin, &clock).from_json(file(json!({"file": path}), Value::Null)).unwrap();
    assert_eq!(plain.access_token(&["s"]).await.unwrap().as_str(), "ya29.d.federated");
    let error = plain.id_token(APP).await.unwrap_err();
    assert!(error.to_string().starts_with("external_account credentials give no ID token of their own"), "{error}");
    let impersonated = builder(&server.origin, &clock).from_json(file(from_url, url)).unwrap();
    impersonated.id_token(APP).await.unwrap();
    assert_eq!(impersonated.access_token(&[]).await.unwrap().as_str(), "ya29.impersonated");
    let asked = server.asked();
    let exchange = |asked: &Asked| {
        let names = ["audience", "scope", "requested_token_type", "subject_token", "subject_token_type"];
        names.map(|name| parameter(&asked.body, name).unwrap_or_default())
    };
    let kinds = ["urn:ietf:params:oauth:token-type:access_token", "urn:ietf:params:oauth:token-type:jwt"];
    assert_eq!(asked[0].target, "/sts.googleapis.com/v1/token");
    assert_eq!(exchange(&asked[0]), [pool, "s", kinds[0], "subject.of.file", kinds[1]]);
    assert_eq!(exchange(&asked[1]), [pool, CLOUD_PLATFORM, kinds[0], "subject.of.url", kinds[1]]);
    assert_eq!(asked[2].header("authorization"), Some("Bearer ya29.d.federated"));
    let body: Value = serde_json::from_str(&asked[3].body).unwrap();
    assert_eq!(body["lifetime"], "600s");
    std::fs::remove_file(&path).unwrap();
    let error = plain.access_token(&["t"]).await.unwrap_err();
    assert!(error.to_string().starts_with("cannot read the token file "), "{error}");
    std::fs::create_dir(&path).unwrap();
    let error = plain.access_token(&["t"]).await.unwrap_err();
    assert!(error.to_string().contains("(it is no regular file)"), "{error}");
}

#[tokio::test]
async fn a_server_of_tokens_that_quotes_a_header_does_not_bring_it_into_the_error() {
    let issuer = Server::start(|asked| {
        let word = asked.header("authorization").unwrap().strip_prefix("Bearer ").unwrap().to_owned();
        Reply::new(401, json!({"error": "denied", "error_description": format!("The key {word} is old.")}))
    });
    let file = json!({
        "type": "external_account", "audience": "//iam.googleapis.com/p", "subject_token_type": "t",
        "token_url": "https://sts.googleapis.com/v1/token",
        "credential_source": {"url": &issuer.origin, "headers": {"authorization": "Bearer k3y"}},
    });
    let credentials = builder("http://127.0.0.1:1", &clock()).from_json(file.to_string()).unwrap();
    let error = credentials.access_token(&[]).await.unwrap_err();
    assert!(error.to_string().contains("The key … is old."), "{error}");
    assert!(!format!("{error:?}").contains("k3y"), "{error:?}");
}

#[test]
fn an_impersonation_url_names_an_account_and_nothing_below_it() {
    let base = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts";
    // after the base => the account
    #[rustfmt::skip]
    let cases = [
        ("/a@p.example:generateAccessToken",                Some("a@p.example")),
        ("/118:generateAccessToken",                        Some("118")),
        ("/:generateAccessToken",                           None),
        ("/a@p.example:generateIdToken",                    None),
        ("/a/b:generateAccessToken",                        None),
        ("/a?b:generateAccessToken",                        None),
        ("/a#b:generateAccessToken",                        None),
        ("/a\u{1b}[2J:generateAccessToken",                 None),
        ("",                                                None),
    ];
    for (end, account) in cases {
        let file = json!({
            "type": "impersonated_service_account", "service_account_impersonation_url": format!("{base}{end}"),
            "source_credentials": {"type": "authorized_user", "client_id": "c", "refresh_token": "r"},
        });
        let read = Credentials::from_json(file.to_string());
        assert_eq!(read.as_ref().ok().and_then(Credentials::account), account, "{end:?}");
        assert_eq!(read.is_ok(), account.is_some(), "{end:?}");
    }
}

#[tokio::test]
async fn an_answer_that_is_none_is_an_error_that_names_what_is_missing_and_shows_no_secret() {
    let (other, ended) = (id_token("other", *NOW), id_token(APP, *NOW - Duration::from_secs(3600)));
    #[rustfmt::skip]
    let cases = [
        (json!({"access_token": "s3cret"}),           "does not hold an id_token:"),
        (json!({"id_token": {"s3cret": 1}}),          "does not hold an id_token:"),
        (json!({"id_token": "s3cret"}),               "does not hold an id_token that is a signed JWT"),
        (json!({"id_token": other}),                  "does not hold an id_token for the audience that was asked for"),
        (json!({"id_token": ended}),                  "does not hold a token that has not ended by the clock of this machine"),
        (json!("s3cret"),                             "does not hold an id_token:"),
    ];
    for (body, expected) in cases {
        let clock = clock();
        let server = Server::start(move |_| Reply::new(200, &body));
        let credentials = builder(&server.origin, &clock).from_json(USER).unwrap();
        let error = credentials.id_token(APP).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(!format!("{error:?} {error}").contains("s3cret"), "{error:?}");
    }
    #[rustfmt::skip]
    let cases = [
        json!({"access_token": "a"}), json!({"access_token": "a", "expires_in": "5"}), json!({"access_token": "a", "expires_in": 0}),
        json!({"access_token": "a b", "expires_in": 5}), json!({"expires_in": 5}),
    ];
    for body in cases {
        let clock = clock();
        let shown = body.to_string();
        let server = Server::start(move |_| Reply::new(200, &body));
        let credentials = builder(&server.origin, &clock).from_json(USER).unwrap();
        let error = credentials.access_token(&[]).await.unwrap_err();
        assert!(error.to_string().contains("an access_token and expires_in"), "{shown}: {error}");
    }
}

#[tokio::test]
async fn a_credential_goes_neither_over_plain_http_to_another_machine_nor_after_a_redirect_nor_in_an_endless_answer() {
    let clock = clock();
    let insecure = builder("http://doorward.test", &clock).from_json(USER).unwrap();
    let error = insecure.id_token(APP).await.unwrap_err();
    assert!(matches!(error, TokenError::Transport(TransportError::Insecure(_))), "{error}");

    let elsewhere = google(clock.clone());
    let location = format!("{}/token", elsewhere.origin);
    let server = Server::start(move |_| Reply::new(307, "").header("location", &location));
    let credentials = builder(&server.origin, &clock).from_json(USER).unwrap();
    let error = credentials.id_token(APP).await.unwrap_err();
    assert!(error.to_string().contains("failed with HTTP 307"), "{error}");
    assert_eq!((server.asked().len(), elsewhere.asked().len()), (1, 0));

    let long = Server::start(|_| Reply::new(200, "x".repeat(1024 * 1024 + 1)));
    let credentials = builder(&long.origin, &clock).from_json(USER).unwrap();
    let error = credentials.id_token(APP).await.unwrap_err();
    assert!(matches!(error, TokenError::Transport(TransportError::TooLong { .. })), "{error}");
    for audience in ["", "a b", "a\n", "é"] {
        assert!(matches!(credentials.id_token(audience).await, Err(TokenError::Wanted)), "{audience:?}");
    }
}

#[tokio::test]
async fn an_authority_is_trusted_only_if_it_was_added() {
    let clock = clock();
    let (address, ca) = tls_server();
    let origin = format!("https://localhost:{}", address.port());
    let trusting = builder(&origin, &clock).ca_pem(&ca).unwrap().from_json(USER).unwrap();
    assert_eq!(trusting.access_token(&[]).await.unwrap().as_str(), "ya29.tls");
    let strange = builder(&origin, &clock).from_json(USER).unwrap();
    let error = strange.access_token(&[]).await.unwrap_err();
    assert!(matches!(error, TokenError::Transport(TransportError::Tls { .. })), "{error}");
    assert!(error.to_string().contains("add that with `ca_pem`"), "{error}");
}

/// A token endpoint behind a certificate of a private authority: its address, and the authority in PEM.
fn tls_server() -> (std::net::SocketAddr, String) {
    use std::io::{Read as _, Write as _};

    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
    use doorward_wire::x509::{Authority, Validity};

    let random = aws_lc_rs::rand::SystemRandom::new();
    let key = || EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    let always = Validity { from: 1_600_000_000, until: 4_000_000_000 };
    let authority = Authority::new("test", key().as_ref(), always).unwrap();
    let server = authority.certify_server(&[], &["localhost"], key().as_ref(), &[2], always).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![server.certificate.into()], server.private_key.try_into().unwrap())
        .unwrap();
    let config = std::sync::Arc::new(config);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, stream.unwrap());
            // A client that does not trust us goes away.
            if stream.read(&mut [0; 8192]).is_ok_and(|read| read > 0) {
                let body = json!({"access_token": "ya29.tls", "expires_in": 3599}).to_string();
                write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
            }
        }
    });
    (address, authority.certificate().0)
}
