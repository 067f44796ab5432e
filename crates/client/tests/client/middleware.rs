//! The middleware of `reqwest`: the token goes to the origins that were allowed, and stays behind at redirects.

use doorward_client::{IdTokenHeader, IdTokenMiddleware, TokenError};

use crate::clock;
use crate::outgoing::{APP, credentials};
use crate::support::{Reply, Server, google};

#[tokio::test]
async fn without_a_token_the_request_is_not_sent() {
    let refusing = Server::start(|_| Reply::new(400, r#"{"error":"invalid_grant"}"#));
    let app = Server::start(|_| Reply::new(200, "hello"));
    let header = IdTokenHeader::new(credentials(&refusing), APP).allow(&app.origin).unwrap();
    let client =
        reqwest_middleware::ClientBuilder::new(reqwest::Client::new()).with(IdTokenMiddleware::new(header)).build();
    let error = client.get(&app.origin).send().await.unwrap_err();
    assert!(error.to_string().contains("invalid_grant"), "{error}");
    let reqwest_middleware::Error::Middleware(error) = error else { panic!("{error}") };
    assert_eq!(error.downcast_ref::<TokenError>().and_then(TokenError::code), Some("invalid_grant"));
    assert_eq!(app.asked().len(), 0);
}

#[tokio::test]
async fn reqwest_sends_the_token_and_leaves_it_behind_at_a_redirect_to_another_origin() {
    let server = google(clock());
    let elsewhere = Server::start(|_| Reply::new(200, "elsewhere"));
    let location = format!("{}/there", elsewhere.origin);
    let app = Server::start(move |asked| match asked.target.as_str() {
        "/away" => Reply::new(302, "").header("location", &location),
        "/near" => Reply::new(302, "").header("location", "/here"),
        _ => Reply::new(200, "hello"),
    });
    let header = IdTokenHeader::new(credentials(&server), APP).allow(&app.origin).unwrap();
    for (header, name) in [(header.clone(), "authorization"), (header.in_proxy_authorization(), "proxy-authorization")]
    {
        let client = reqwest_middleware::ClientBuilder::new(reqwest::Client::builder().no_proxy().build().unwrap())
            .with(IdTokenMiddleware::new(header))
            .build();
        let away = client.get(format!("{}/away", app.origin)).send().await.unwrap();
        assert_eq!(away.text().await.unwrap(), "elsewhere");
        let near = client.get(format!("{}/near", app.origin)).send().await.unwrap();
        assert_eq!(near.text().await.unwrap(), "hello");
        let own = client.get(&app.origin).header(name, "Basic own").send().await.unwrap();
        assert_eq!(own.text().await.unwrap(), "hello");
        let direct = client.get(&elsewhere.origin).send().await.unwrap();
        assert_eq!(direct.text().await.unwrap(), "elsewhere");
        let asked = app.asked();
        let sent = |index: usize| asked[asked.len() - 4 + index].header(name).unwrap().to_owned();
        assert!((0..3).all(|index| sent(index).starts_with("Bearer ey")), "{:?}", app.targets());
        assert_eq!(sent(3), "Basic own");
    }
    for asked in elsewhere.asked() {
        assert_eq!((asked.header("authorization"), asked.header("proxy-authorization")), (None, None), "{asked:?}");
    }
    assert_eq!(elsewhere.asked().len(), 4);
}
