//! A stack on a store, whose data plane is asked without a listener.

pub(crate) mod counting;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use doorward_control::applications::{OwnHosts, ReservedHosts};
use doorward_control::keys::ensure_keys;
use doorward_core::account::{ServiceAccount, UniqueId};
use doorward_core::clock::Clock;
use doorward_core::entropy::{Entropy, SystemEntropy};
use doorward_core::grant::TokenHash;
use doorward_core::keys::{KeyPurpose, KeyRing};
use doorward_core::outbound::Reach;
use doorward_core::policy::condition::HeaderAllowList;
use doorward_core::policy::{Binding, Etag};
use doorward_core::resource::{Application, ClientId, Host, Origin, PathPrefix, Project, Route, Scheme, ServiceKind};
use doorward_core::settings::{Defaults, EmailClaim};
use doorward_core::store::Store;
use doorward_proxy::Proxy;
use doorward_server::dev::names::Addressing;
use doorward_server::outbound::Fetcher;
use doorward_server::wiring::{self, Outside, Stack, StackConfig};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// Where the application is seen.
pub(crate) const HOST: &str = "app.test";
/// `iss` of our ID tokens.
pub(crate) const ISSUER: &str = "https://accounts.google.com";
/// The account of the program that asks.
pub(crate) const ROBOT: &str = "robot@test-project.iam.gserviceaccount.com";
/// Its number.
pub(crate) const ROBOT_ID: &str = "1001";

pub(crate) fn project() -> Project {
    Project { id: "test-project".into(), number: "123".into(), ancestors: Vec::new() }
}

/// Registers an application that answers `ok` to everything, and the robot. Gives our keys.
pub(crate) async fn register(store: &dyn Store, clock: &dyn Clock) -> Arc<KeyRing> {
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let keys = ensure_keys(store, &entropy, clock.now()).await.unwrap();
    let origin = Origin::new(Scheme::Http, &Host::parse(HOST).unwrap());
    let application = Application {
        name: "app".parse().unwrap(),
        service_id: "777".into(),
        kind: ServiceKind::BackendService { region: None },
        client_id: ClientId("client".into()),
        iap_enabled: true,
        routes: vec![Route { origin, prefix: PathPrefix::root() }],
        upstreams: vec![format!("http://{}", upstream().await)],
        description: String::new(),
        labels: BTreeMap::new(),
        etag: Etag::UNWRITTEN,
    };
    store.add_application(&application).await.unwrap().unwrap();
    let robot = ServiceAccount {
        unique_id: UniqueId(ROBOT_ID.into()),
        email: ROBOT.parse().unwrap(),
        display_name: String::new(),
        description: String::new(),
        disabled: false,
    };
    assert!(store.add_service_account(&robot).await.unwrap());
    keys.into()
}

/// Lets these members in, and nobody else.
pub(crate) async fn admit(store: &dyn Store, members: &[&str]) {
    let binding = Binding {
        role: "roles/iap.httpsResourceAccessor".parse().unwrap(),
        members: members.iter().map(|member| member.parse().unwrap()).collect(),
        condition: None,
    };
    let bindings = if members.is_empty() { vec![] } else { vec![binding] };
    let name = "projects/123/iap_web/compute/services/777";
    store.replace_policy(name, &bindings, None, &[]).await.unwrap();
}

/// Wires the whole.
pub(crate) async fn stack(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Stack {
    let config = StackConfig {
        project: project(),
        issuer: ISSUER.into(),
        addressing: Addressing::OwnOrigin,
        api_url: "http://api.test".into(),
        api_https_url: None,
        api_hosts: vec![],
        reserved_hosts: ReservedHosts::new(OwnHosts::Names(vec![]), vec![]),
        admin_token: Some(TokenHash::of("unused")),
        trusted_issuers: Default::default(),
        reach: Reach::Public,
        defaults: Defaults { email_claim: EmailClaim::Optional, forward_credential: false },
        condition_headers: HeaderAllowList::default(),
        contact: None,
        staleness_limit: Duration::from_secs(30),
        keep_events: 1000,
        keep_for: Duration::from_secs(3600),
    };
    let outside = Outside { store, clock, entropy: Arc::new(SystemEntropy), fetch: Arc::new(Fetcher::default()) };
    wiring::build(outside, config).await.unwrap()
}

/// An ID token of ours for the robot, that was issued this many seconds ago.
pub(crate) fn id_token(keys: &KeyRing, clock: &dyn Clock, age: i64) -> String {
    let issued = clock.now().seconds() - age;
    let claims = serde_json::json!({
        "iss": ISSUER, "aud": "client", "sub": ROBOT_ID, "email": ROBOT, "iat": issued, "exp": issued + 3000,
    });
    keys.sign(KeyPurpose::IdToken, claims.as_object().unwrap(), clock.now()).unwrap()
}

/// Sends one request through a proxy, and gives the status, and the reason of a refusal.
pub(crate) async fn ask(proxy: &Proxy, token: &str) -> (u16, Option<String>) {
    let (client, server) = tokio::io::duplex(64 * 1024);
    let service = service_fn(async |request| {
        Ok::<_, Infallible>(proxy.handle(request, SocketAddr::from(([192, 0, 2, 1], 5000))).await)
    });
    let served = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(server), service);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(client)).await.unwrap();
    let request = Request::get("/")
        .header("host", HOST)
        .header("authorization", format!("Bearer {token}"))
        .body(Empty::<Bytes>::new())
        .unwrap();
    let answered = async {
        let (head, body) = sender.send_request(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        drop(sender);
        if head.status == 200 {
            assert_eq!(body, "ok");
        }
        let reason = head.headers.get("x-doorward-reason").map(|reason| reason.to_str().unwrap().to_owned());
        (head.status.as_u16(), reason)
    };
    // The connection ends with the request, in whatever way.
    let (_, _, answered) = tokio::join!(served, connection, answered);
    answered
}

/// An application that answers `ok` to everything.
async fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service =
                service_fn(|_| async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"ok")))) });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}
