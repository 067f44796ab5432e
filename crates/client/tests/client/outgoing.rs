//! Who gets the token: the origins that were allowed, and nobody else.

use std::convert::Infallible;

use doorward_client::{Credentials, IdTokenHeader, IdTokenLayer, OriginError, SendError};
use http::{Request, Response};
use tower::{Service as _, ServiceBuilder, ServiceExt as _, service_fn};

use crate::support::{Reply, Server, google};
use crate::{USER, builder, clock};

pub(crate) const APP: &str = "123-app.apps.googleusercontent.com";

pub(crate) fn credentials(server: &Server) -> Credentials {
    builder(&server.origin, &clock()).from_json(USER).unwrap()
}

#[tokio::test]
async fn a_request_gets_the_token_only_for_an_allowed_origin_and_never_over_a_header_of_its_own() {
    let server = google(clock());
    let header = IdTokenHeader::new(credentials(&server), APP);
    let header = header.allow("https://app.example.com").unwrap().allow("http://127.0.0.1:8080/").unwrap();
    // address, headers that are there => gets Authorization, gets Proxy-Authorization where that was chosen
    #[rustfmt::skip]
    let cases: [(_, &[&str], _, _); 14] = [
        ("https://app.example.com/orders?x=1",       &[],                       true,  true),
        ("HTTPS://APP.example.com:443/",             &[],                       true,  true),
        ("http://127.0.0.1:8080/",                   &[],                       true,  true),
        ("https://app.example.com/",                 &["authorization"],        false, true),
        ("https://app.example.com/",                 &["proxy-authorization"],  true,  false),
        ("http://app.example.com/",                  &[],                       false, false),
        ("https://app.example.com:8443/",            &[],                       false, false),
        ("https://app.example.com.evil.example/",    &[],                       false, false),
        ("https://app.example.com@evil.example/",    &[],                       false, false),
        ("https://evil.example@app.example.com/",    &[],                       false, false),
        ("https://evil.example/app.example.com",     &[],                       false, false),
        ("https://app.example.com./",                &[],                       false, false),
        ("http://127.0.0.1:8081/",                   &[],                       false, false),
        ("/orders",                                  &[],                       false, false),
    ];
    for (choice, name) in [(header.clone(), "authorization"), (header.in_proxy_authorization(), "proxy-authorization")]
    {
        let mut client =
            ServiceBuilder::new().layer(IdTokenLayer::new(choice)).service(service_fn(async |request: Request<()>| {
                Ok::<_, Infallible>(Response::new(request.headers().clone()))
            }));
        for (address, there, direct, proxy) in cases {
            let mut request = Request::builder().uri(address);
            for name in there {
                request = request.header(*name, "Basic own");
            }
            let sent = client.ready().await.unwrap().call(request.body(()).unwrap()).await.unwrap().into_body();
            let expected = if name == "authorization" { direct } else { proxy };
            let tokens = sent.values().filter(|value| value.as_bytes().starts_with(b"Bearer ")).count();
            assert_eq!(tokens, usize::from(expected), "{address} {there:?} {name}");
            assert!(!expected || sent[name].as_bytes().starts_with(b"Bearer ey"), "{address}");
            assert!(there.iter().all(|name| sent[*name] == "Basic own"), "{address} {there:?}");
        }
    }
    assert_eq!(server.asked().len(), 1, "one token for all");
}

#[tokio::test]
async fn an_origin_that_must_not_have_the_token_is_said_at_once() {
    let server = google(clock());
    let header = IdTokenHeader::new(credentials(&server), APP);
    let insecure = header.clone().allow("http://app.example.com").unwrap_err();
    assert!(matches!(insecure, OriginError::Insecure(_)), "{insecure}");
    assert!(header.clone().allow("https://app.example.com/orders").is_err());
    let header = header.allow_insecure("http://app.example.com").unwrap();
    let found = header.header_for(&"http://app.example.com/".parse().unwrap(), &http::HeaderMap::new()).await.unwrap();
    assert!(found.is_some());
}

#[tokio::test]
async fn without_a_token_the_request_is_not_sent() {
    let refusing = Server::start(|_| Reply::new(400, r#"{"error":"invalid_grant"}"#));
    let app = "https://app.example.com";
    let header = IdTokenHeader::new(credentials(&refusing), APP).allow(app).unwrap();
    let mut client = ServiceBuilder::new()
        .layer(IdTokenLayer::new(header))
        .service(service_fn(async |_: Request<()>| -> Result<Response<()>, Infallible> { panic!("it was sent") }));
    let request = Request::builder().uri(app).body(()).unwrap();
    let error = client.ready().await.unwrap().call(request).await.unwrap_err();
    assert!(matches!(&error, SendError::Token(error) if error.code() == Some("invalid_grant")), "{error}");
}
