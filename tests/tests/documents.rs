//! What we say of ourselves: three documents of an authorization server, one of each application, and the keys.

use doorward_tests::{Client, Dev, Request, query_of};
use serde_json::{Value, json};

fn fetch(url: &str) -> Value {
    let answer = Request::get(url).send().expect(200);
    assert!(answer.header("content-type").is_some_and(|kind| kind.starts_with("application/json")), "{url}");
    answer.json()
}

/// The document of an issuer whose authorization endpoint is below `accounts`, and whose other endpoints are at paths.
fn server(dev: &Dev, issuer: &str, accounts: &str) -> Value {
    json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{accounts}/o/oauth2/v2/auth"),
        "device_authorization_endpoint": dev.google("oauth2.googleapis.com/device/code"),
        "token_endpoint": dev.google("oauth2.googleapis.com/token"),
        "userinfo_endpoint": dev.google("openidconnect.googleapis.com/v1/userinfo"),
        "revocation_endpoint": dev.google("oauth2.googleapis.com/revoke"),
        "jwks_uri": dev.google("www.googleapis.com/oauth2/v3/certs"),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "scopes_supported": ["openid", "email"],
        "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic", "none"],
        "revocation_endpoint_auth_methods_supported": ["none"],
        "claims_supported": ["aud", "azp", "email", "email_verified", "exp", "hd", "iat", "iss", "sub"],
        "code_challenge_methods_supported": ["plain", "S256"],
        "grant_types_supported": [
            "authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code",
            "urn:ietf:params:oauth:grant-type:jwt-bearer",
        ],
        "authorization_response_iss_parameter_supported": true,
    })
}

#[test]
fn googles_issuer_and_our_own_origin_describe_themselves_each_under_its_name() {
    let dev = Dev::start(&[]);
    let (google, accounts) = ("https://accounts.google.com", dev.google("accounts.google.com"));
    let own = dev.text("/api_url").to_owned();
    for (url, issuer, accounts) in [
        (format!("{accounts}/.well-known/openid-configuration"), google, &accounts),
        (format!("{accounts}/.well-known/oauth-authorization-server"), google, &accounts),
        (format!("{own}/.well-known/oauth-authorization-server"), own.as_str(), &own),
    ] {
        assert_eq!(fetch(&url), server(&dev, issuer, accounts), "{url}");
    }
    // By Google's name, the endpoints have Google's names.
    let by_name =
        Request::get(&format!("{own}/.well-known/openid-configuration")).header("Host", "accounts.google.com");
    let by_name = by_name.send().expect(200).json();
    assert_eq!(by_name["authorization_endpoint"], "https://accounts.google.com/o/oauth2/v2/auth");
    assert_eq!(by_name["token_endpoint"], "https://oauth2.googleapis.com/token");
}

#[test]
fn a_client_that_knows_nothing_finds_its_way_from_the_applications_refusal() {
    let dev = Dev::start(&[]);
    let refused = Request::get(&dev.app("/")).header("Accept", "application/json").send().expect(401);
    let url = dev.app("/.well-known/oauth-protected-resource");
    let challenge = refused.header("www-authenticate").expect("a challenge");
    assert_eq!(challenge, format!("Bearer resource_metadata=\"{url}\""));
    let resource = fetch(&url);
    let expected = json!({
        "resource": dev.text("/app/url"), "authorization_servers": [dev.text("/api_url")],
        "scopes_supported": ["openid", "email"], "bearer_methods_supported": ["header"], "resource_name": "app",
        "audience": dev.text("/app/client_id"),
    });
    assert_eq!(resource, expected);
    let issuer = resource["authorization_servers"][0].as_str().expect("an issuer");
    let server = fetch(&format!("{issuer}/.well-known/oauth-authorization-server"));
    assert_eq!(server["issuer"], issuer);

    let (desktop, alice) = (dev.client("desktop"), dev.person("alice@example.com"));
    let endpoint = server["authorization_endpoint"].as_str().expect("an endpoint");
    let query =
        format!("client_id={}&response_type=code&scope=openid%20email&redirect_uri=http://[::1]:1/", desktop.id);
    let signed_in = Request::get(&format!("{endpoint}?{query}")).header("Cookie", alice.cookie()).send().expect(302);
    let told = query_of(signed_in.header("location").expect("an address"));
    let parameter = |name: &str| told.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str());
    assert_eq!(parameter("iss"), Some(issuer));
    let code = parameter("code").expect("a code");
    let more = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", "http://[::1]:1/"),
        ("audience", resource["audience"].as_str().expect("an audience")),
    ];
    let endpoint = server["token_endpoint"].as_str().expect("an endpoint");
    let answer = Request::post_form(endpoint, &desktop.form(&more)).send().expect(200).json();
    let id_token = answer["id_token"].as_str().expect("an id_token");
    Request::get(&dev.app("/")).bearer(id_token).send().expect(200);
    Request::get(dev.text("/other_app/url")).bearer(id_token).send().expect(401);
}

#[test]
fn a_client_may_prove_itself_in_the_header() {
    let dev = Dev::start(&[]);
    let desktop = dev.client("desktop");
    let code = |dev: &Dev| dev.person("alice@example.com").code(desktop, "http://localhost:1", &[]);
    let secret = desktop.secret.expect("a secret");
    let basic = |id: &str, secret: &str| format!("Basic {}", base64(&format!("{id}:{secret}")));
    let both = [("client_id", desktop.id), ("client_secret", secret)];
    let none: &[(&str, &str)] = &[];
    // header, what the form has besides => status
    #[rustfmt::skip]
    let rows = [
        (basic(desktop.id, secret),     none,  200),
        (basic(desktop.id, "wrong"),    none,  401),
        (basic("nobody", secret),       none,  401),
        (basic(desktop.id, secret),     &both, 400),
        ("Basic !".into(),              none,  400),
    ];
    for (header, more, status) in rows {
        let code = code(&dev);
        let form =
            [("grant_type", "authorization_code"), ("code", code.as_str()), ("redirect_uri", "http://localhost:1")];
        let request = Request::post_form(&dev.google("oauth2.googleapis.com/token"), &[&form, more].concat());
        let answer = request.header("Authorization", &header).send();
        assert_eq!(answer.status, status, "{header}: {}", answer.text());
        let scheme = answer.header("www-authenticate");
        assert_eq!(scheme, (status == 401).then_some("Basic"), "RFC 6749 section 5.2");
    }
    let none = Client { secret: None, ..desktop };
    let code = code(&dev);
    let more = [("grant_type", "authorization_code"), ("code", code.as_str()), ("redirect_uri", "http://localhost:1")];
    dev.token(&none.form(&more)).expect(401);
}

fn base64(text: &str) -> String {
    let url_safe = doorward_wire::jose::encode_base64url(text.as_bytes()).replace('-', "+").replace('_', "/");
    let padding = "=".repeat((4 - url_safe.len() % 4) % 4);
    url_safe + &padding
}

#[test]
fn the_certificates_of_the_keys_are_of_the_same_keys() {
    let dev = Dev::start(&[]);
    let jwks = fetch(&dev.google("www.googleapis.com/oauth2/v3/certs"));
    let certificates = fetch(&dev.google("www.googleapis.com/oauth2/v1/certs"));
    let certificates = certificates.as_object().expect("an object");
    let keys = jwks["keys"].as_array().expect("keys");
    assert_eq!(certificates.len(), keys.len());
    for key in keys {
        let certificate = certificates[key["kid"].as_str().expect("a kid")].as_str().expect("text");
        assert!(certificate.starts_with("-----BEGIN CERTIFICATE-----\n"), "{certificate}");
        // The modulus stands in it, as bytes.
        let modulus = doorward_wire::jose::decode_base64url(key["n"].as_str().expect("n")).expect("base64url");
        let der = pem::parse(certificate).expect("PEM");
        assert!(der.contents().windows(modulus.len()).any(|window| window == modulus), "another key");
    }
}
