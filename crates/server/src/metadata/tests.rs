use super::*;
use http_body_util::BodyExt as _;
use std::sync::Mutex;

/// A workload that gives what it was asked for, so that the tests see it.
#[derive(Default)]
struct Asked(Mutex<Vec<TurnedAway>>);

#[async_trait]
impl Workload for Asked {
    fn facts(&self) -> Facts {
        Facts {
            project_id: "p".into(),
            project_number: Some("123".into()),
            instance_id: "1007".into(),
            instance_name: "dev".into(),
            zone: "us-central1-a".into(),
            scopes: vec!["scope-a".into(), "scope-b".into()],
        }
    }

    fn email(&self) -> Result<String, WorkloadError> {
        Ok("robot@p.iam.gserviceaccount.com".into())
    }

    async fn identity(&self, request: IdentityRequest<'_>, _: IpAddr) -> Result<String, WorkloadError> {
        let IdentityRequest { audience, format, licenses } = request;
        let audience = audience.ok_or(WorkloadError::Refused("which audience?".to_owned()))?;
        Ok(format!("{audience} {} {}", format.unwrap_or("-"), licenses.unwrap_or("-")))
    }

    async fn access_token(&self, scopes: Option<&str>, _: IpAddr) -> Result<MetadataToken, WorkloadError> {
        let access_token = scopes.unwrap_or("all").to_owned();
        Ok(MetadataToken { access_token, expires_in: 3599, token_type: "Bearer".into() })
    }

    async fn turned_away(&self, cause: TurnedAway, _: IpAddr) {
        self.0.lock().unwrap().push(cause);
    }
}

struct Server {
    workload: Arc<Asked>,
    metadata: Metadata,
}

impl Server {
    fn new() -> Self {
        let workload = Arc::new(Asked::default());
        let hosts = hosts_of("127.0.0.1:8099".parse().unwrap());
        let address = IpAddr::from([169, 254, 169, 254]);
        Server { metadata: Metadata { workload: workload.clone(), hosts, address }, workload }
    }

    async fn send(&self, request: http::request::Builder, peer: &str) -> Response {
        let mut request = request.body(Body::empty()).unwrap();
        request
            .extensions_mut()
            .insert(Connection { peer: peer.parse::<std::net::IpAddr>().unwrap().into(), tls: false });
        self.metadata.answer(request).await
    }

    async fn get(&self, path: &str) -> (u16, String, String) {
        let request = Request::get(path).header("host", "127.0.0.1:8099").header("metadata-flavor", "Google");
        let response = self.send(request, "127.0.0.1").await;
        assert_eq!(response.headers()[METADATA_FLAVOR], "Google", "{path}");
        let status = response.status().as_u16();
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let kind = if status == 301 { header(LOCATION) } else { header(CONTENT_TYPE) }.to_owned();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, kind, String::from_utf8(body.to_vec()).unwrap())
    }
}

#[tokio::test]
async fn every_path_is_answered_as_clients_parse_it() {
    let server = Server::new();
    let account = "/computeMetadata/v1/instance/service-accounts";
    let (text, json) = ("application/text", "application/json");
    let described =
        r#"{"aliases":["default"],"email":"robot@p.iam.gserviceaccount.com","scopes":["scope-a","scope-b"]}"#;
    let token = |scope: &str| format!(r#"{{"access_token":"{scope}","expires_in":3599,"token_type":"Bearer"}}"#);
    #[rustfmt::skip]
    let cases = [
        ("/".to_owned(),                                        200, text, "computeMetadata/\n".to_owned()),
        ("/computeMetadata/".into(),                            200, text, "v1/\n".into()),
        ("/computeMetadata/v1/".into(),                         200, text, "instance/\nproject/\nuniverse/\n".into()),
        (format!("{account}/"),                                 200, text, "robot@p.iam.gserviceaccount.com/\ndefault/\n".into()),
        (format!("{account}/default/"),                         200, text, "aliases\nemail\nidentity\nscopes\ntoken\n".into()),
        (format!("{account}/default/?recursive=true"),          200, json, described.into()),
        (format!("{account}/robot@p.iam.gserviceaccount.com/?recursive=true"), 200, json, described.into()),
        (format!("{account}/robot%40p.iam.gserviceaccount.com/email"), 200, text, "robot@p.iam.gserviceaccount.com".into()),
        (format!("{account}/default/email"),                    200, text, "robot@p.iam.gserviceaccount.com".into()),
        (format!("{account}/default/email?alt=json"),           200, json, "\"robot@p.iam.gserviceaccount.com\"".into()),
        (format!("{account}/default/scopes"),                   200, text, "scope-a\nscope-b\n".into()),
        (format!("{account}/default/aliases"),                  200, text, "default\n".into()),
        (format!("{account}/default/?recursive=true&alt=text"), 200, text, "aliases default\nemail robot@p.iam.gserviceaccount.com\nscopes scope-a,scope-b\n".into()),
        (format!("{account}/default/token"),                    200, json, token("all")),
        (format!("{account}/default/token?scopes=a%2Cb"),       200, json, token("a,b")),
        (format!("{account}/default/identity?audience=A&format=full"), 200, "text/html", "A full -".into()),
        (format!("{account}/default/identity?audience=A&format=full&licenses=TRUE"), 200, "text/html", "A full TRUE".into()),
        (format!("{account}/default/identity?audience=A&format=standard&licenses=FALSE"), 200, "text/html", "A standard FALSE".into()),
        (format!("{account}/default/identity?audience=https://a/b"), 200, "text/html", "https://a/b - -".into()),
        (format!("{account}/default/identity"),                 400, text, "which audience?".into()),
        (format!("{account}/default/identity?audience="),       400, text, "which audience?".into()),
        (format!("{account}/default/identity?audience=A&audience=B"), 400, text, "The query cannot be read, or a parameter of it occurs twice.\n".into()),
        ("/computeMetadata/v1/project/project-id".into(),       200, text, "p".into()),
        ("/computeMetadata/v1/project/numeric-project-id".into(), 200, text, "123".into()),
        ("/computeMetadata/v1/project/?recursive=true".into(),  200, json, r#"{"attributes":{},"numericProjectId":123,"projectId":"p"}"#.into()),
        ("/computeMetadata/v1/instance/zone".into(),            200, text, "projects/123/zones/us-central1-a".into()),
        ("/computeMetadata/v1/instance/id".into(),              200, text, "1007".into()),
        ("/computeMetadata/v1/instance/attributes/".into(),     200, text, "".into()),
        ("/computeMetadata/v1/universe/universe-domain".into(), 200, text, "googleapis.com".into()),
        ("/computeMetadata/v1/instance".into(),                 301, "/computeMetadata/v1/instance/", "A directory has a slash at its end.\n".into()),
        (format!("{account}/default?recursive=true"),           301, "/computeMetadata/v1/instance/service-accounts/default/?recursive=true", "A directory has a slash at its end.\n".into()),
        ("/computeMetadata/v1".into(),                          301, "/computeMetadata/v1/", "A directory has a slash at its end.\n".into()),
    ];
    for (path, status, kind, body) in cases {
        assert_eq!(server.get(&path).await, (status, kind.to_owned(), body), "{path}");
    }
    for path in [
        "/0.1/meta-data/service-accounts/default/token",
        "/computeMetadata/v1beta1/instance/",
        "/computeMetadata/v1/instance/../instance/service-accounts/default/token",
        "/computeMetadata/v1//instance/id",
        "/computeMetadata/v1/instance/id/",
        "/computeMetadata/v1/instance/service-accounts/other@p.iam.gserviceaccount.com/token",
        "/computeMetadata/v1/instance/service-accounts/default/token/x",
        "/computemetadata/v1/instance/id",
    ] {
        assert_eq!(server.get(path).await.0, 404, "{path}");
    }
}

#[tokio::test]
async fn whoever_was_made_to_ask_by_somebody_else_is_turned_away() {
    const TOKEN: &str = "/computeMetadata/v1/instance/service-accounts/default/token";
    let server = Server::new();
    let request = || Request::get(TOKEN).header("host", "127.0.0.1:8099").header("metadata-flavor", "Google");
    let unflavoured = |host: &str| Request::get(TOKEN).header("host", host);
    let at = |host: &str| unflavoured(host).header("metadata-flavor", "Google");
    use TurnedAway::{ForeignHost, ForeignPeer, Forwarded, NoFlavor};
    #[rustfmt::skip]
    let cases = [
        (request(),                                              "127.0.0.1",        None),
        (request(),                                              "::1",              None),
        (request(),                                              "::ffff:127.0.0.1", None),
        (at("metadata.google.internal"),                         "127.0.0.1",        None),
        (at("metadata.google.internal."),                        "127.0.0.1",        None),
        (at("169.254.169.254"),                                  "127.0.0.1",        None),
        (at("localhost:8099"),                                   "127.0.0.1",        None),
        // Who calls an address of this machine from this machine has it too.
        (at("169.254.169.254"),                                  "169.254.169.254",  None),
        (request(),                                              "192.0.2.1",        Some(ForeignPeer)),
        (at("169.254.169.254"),                                  "169.254.169.253",  Some(ForeignPeer)),
        (request().header("x-forwarded-for", "127.0.0.1"),       "127.0.0.1",        Some(Forwarded)),
        (request().header("X_Forwarded_For", "127.0.0.1"),       "127.0.0.1",        Some(Forwarded)),
        (request().header("forwarded", "for=127.0.0.1"),         "127.0.0.1",        Some(Forwarded)),
        (request().header("fastly-client-ip", "127.0.0.1"),      "127.0.0.1",        Some(Forwarded)),
        (request().header("x-azure-clientip", "127.0.0.1"),      "127.0.0.1",        Some(Forwarded)),
        (request().header("x-forwarded", "for=1"),               "127.0.0.1",        Some(Forwarded)),
        (request().header("sec-fetch-site", "cross-site"),       "127.0.0.1",        Some(Forwarded)),
        (request().header("x-real-ip", "127.0.0.1"),             "127.0.0.1",        Some(Forwarded)),
        (request().header("origin", "http://127.0.0.1:8080"),    "127.0.0.1",        Some(Forwarded)),
        (request().header("via", "1.1 proxy"),                   "127.0.0.1",        Some(Forwarded)),
        (request().uri(format!("http://127.0.0.1:8099{TOKEN}")), "127.0.0.1",        Some(Forwarded)),
        (at("evil.test"),                                        "127.0.0.1",        Some(ForeignHost)),
        (at("evil.test:8099"),                                   "127.0.0.1",        Some(ForeignHost)),
        (at("127.0.0.1:80"),                                     "127.0.0.1",        Some(ForeignHost)),
        (at("metadata.google.internal.evil.test"),               "127.0.0.1",        Some(ForeignHost)),
        (request().header("host", "127.0.0.1:8099"),             "127.0.0.1",        Some(ForeignHost)),
        (Request::get(TOKEN).header("metadata-flavor", "Google"), "127.0.0.1",       Some(ForeignHost)),
        (unflavoured("127.0.0.1:8099"),                          "127.0.0.1",        Some(NoFlavor)),
        (unflavoured("127.0.0.1:8099").header("metadata-flavor", "google"), "127.0.0.1", Some(NoFlavor)),
        (request().header("metadata-flavor", "Google"),          "127.0.0.1",        Some(NoFlavor)),
    ];
    for (number, (request, peer, cause)) in cases.into_iter().enumerate() {
        let response = server.send(request, peer).await;
        let expected = if cause.is_some() { 403 } else { 200 };
        assert_eq!(response.status(), expected, "case {number}");
        assert_eq!(response.headers()[METADATA_FLAVOR], "Google", "case {number}");
        assert_eq!(server.workload.0.lock().unwrap().pop(), cause, "case {number}");
    }
    let root = server.send(Request::get("/").header("host", "169.254.169.254"), "127.0.0.1").await;
    assert_eq!(root.status(), 200, "Go looks without the field");
    let post = Request::post(TOKEN).header("host", "127.0.0.1:8099").header("metadata-flavor", "Google");
    assert_eq!(server.send(post, "127.0.0.1").await.status(), 405);
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_a_change_ends_at_once_only_if_the_client_knows_another_value() {
    let server = Server::new();
    let path = "/computeMetadata/v1/instance/id?wait_for_change=true";
    #[expect(clippy::disallowed_methods, reason = "the paused clock of the runtime is what is measured")]
    let waited = async |query: &str| {
        let before = tokio::time::Instant::now();
        server.get(&format!("{path}{query}")).await;
        before.elapsed().as_secs()
    };
    let etag = etag("1007");
    assert_eq!(waited("&last_etag=other").await, 0);
    assert_eq!(waited(&format!("&last_etag={etag}&timeout_sec=7")).await, 7);
    assert_eq!(waited("&timeout_sec=3").await, 3);
    assert_eq!(waited("").await, LONGEST_WAIT.as_secs());
    assert_eq!(server.get("/computeMetadata/v1/instance/id?timeout_sec=x").await.0, 400);
}
