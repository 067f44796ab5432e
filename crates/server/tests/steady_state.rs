//! The proxied hot path makes no storage call: counted at a store that wraps the real one.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use doorward_control::keys::ensure_keys;
use doorward_core::account::{ServiceAccount, ServiceAccountKey, UniqueId, User};
use doorward_core::audit::{AuditEvent, StoredEvent};
use doorward_core::clock::{Clock, SystemClock, Timestamp};
use doorward_core::entropy::{Entropy, SystemEntropy};
use doorward_core::grant::{AccessGrant, TokenHash};
use doorward_core::keys::{KeyPurpose, StoredKey};
use doorward_core::member::Email;
use doorward_core::policy::{Binding, Policy, PolicyEtag, Role};
use doorward_core::resource::{Application, ClientId, Host, Project};
use doorward_core::store::*;
use doorward_proxy::{EmailClaim, Proxy, Upstream};
use doorward_server::wiring::{self, Outside, ServedApplication, StackConfig};
use doorward_store::SqliteStore;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

/// The real store, with a count of the calls that are not appends to the record (which are made beside the requests).
struct CountingStore {
    store: SqliteStore,
    calls: AtomicU64,
}

macro_rules! counted {
    ($self:ident.$method:ident($($argument:expr),*)) => {{
        $self.calls.fetch_add(1, Ordering::SeqCst);
        $self.store.$method($($argument),*).await
    }};
}

#[async_trait]
impl ServiceAccountStore for CountingStore {
    async fn add_service_account(&self, account: &ServiceAccount) -> Result<bool, StoreError> {
        counted!(self.add_service_account(account))
    }
    async fn remove_service_account(&self, id: &UniqueId) -> Result<bool, StoreError> {
        counted!(self.remove_service_account(id))
    }
    async fn service_account_by_email(&self, email: &Email) -> Result<Option<ServiceAccount>, StoreError> {
        counted!(self.service_account_by_email(email))
    }
    async fn service_account_by_id(&self, id: &UniqueId) -> Result<Option<ServiceAccount>, StoreError> {
        counted!(self.service_account_by_id(id))
    }
    async fn service_accounts(&self, after: Option<&Email>, limit: u32) -> Result<Vec<ServiceAccount>, StoreError> {
        counted!(self.service_accounts(after, limit))
    }
    async fn add_service_account_key(&self, key: &ServiceAccountKey) -> Result<bool, StoreError> {
        counted!(self.add_service_account_key(key))
    }
    async fn remove_service_account_key(&self, account: &UniqueId, key_id: &str) -> Result<bool, StoreError> {
        counted!(self.remove_service_account_key(account, key_id))
    }
    async fn service_account_key(&self, key_id: &str) -> Result<Option<ServiceAccountKey>, StoreError> {
        counted!(self.service_account_key(key_id))
    }
    async fn service_account_keys(&self, account: &UniqueId) -> Result<Vec<ServiceAccountKey>, StoreError> {
        counted!(self.service_account_keys(account))
    }
}

#[async_trait]
impl UserStore for CountingStore {
    async fn add_user(&self, user: &User) -> Result<bool, StoreError> {
        counted!(self.add_user(user))
    }
    async fn users(&self) -> Result<Vec<User>, StoreError> {
        counted!(self.users())
    }
}

#[async_trait]
impl ApplicationStore for CountingStore {
    async fn add_application(&self, application: &Application) -> Result<bool, StoreError> {
        counted!(self.add_application(application))
    }
    async fn applications(&self) -> Result<Vec<Application>, StoreError> {
        counted!(self.applications())
    }
}

#[async_trait]
impl PolicyStore for CountingStore {
    async fn policy(&self, resource_name: &str) -> Result<Policy, StoreError> {
        counted!(self.policy(resource_name))
    }
    async fn policies(&self) -> Result<Vec<(String, Policy)>, StoreError> {
        counted!(self.policies())
    }
    async fn replace_policy(
        &self,
        resource_name: &str,
        bindings: &[Binding],
        expected: Option<PolicyEtag>,
    ) -> Result<Option<PolicyEtag>, StoreError> {
        counted!(self.replace_policy(resource_name, bindings, expected))
    }
}

#[async_trait]
impl KeyStore for CountingStore {
    async fn add_keys(&self, keys: &[StoredKey]) -> Result<(), StoreError> {
        counted!(self.add_keys(keys))
    }
    async fn keys(&self) -> Result<Vec<StoredKey>, StoreError> {
        counted!(self.keys())
    }
    async fn remove_keys(&self, ids: &[String]) -> Result<(), StoreError> {
        counted!(self.remove_keys(ids))
    }
}

#[async_trait]
impl GrantStore for CountingStore {
    async fn add_access_token(&self, token: &TokenHash, grant: &AccessGrant, now: Timestamp) -> Result<(), StoreError> {
        counted!(self.add_access_token(token, grant, now))
    }
    async fn access_token(&self, token: &TokenHash, now: Timestamp) -> Result<Option<AccessGrant>, StoreError> {
        counted!(self.access_token(token, now))
    }
    async fn take_assertion_id(
        &self,
        issuer: &UniqueId,
        jti: &str,
        expires: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        counted!(self.take_assertion_id(issuer, jti, expires, now))
    }
}

#[async_trait]
impl AuditStore for CountingStore {
    async fn append(&self, events: &[AuditEvent], keep: u64) -> Result<(), StoreError> {
        self.store.append(events, keep).await
    }
    async fn events_after(&self, after: i64, limit: u32) -> Result<Vec<StoredEvent>, StoreError> {
        counted!(self.events_after(after, limit))
    }
    async fn latest_events(&self, limit: u32) -> Result<Vec<StoredEvent>, StoreError> {
        counted!(self.latest_events(limit))
    }
}

/// An application that answers `ok` to everything.
async fn application() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(|_| async {
                Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from_static(b"ok"))))
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

#[tokio::test]
async fn requests_of_known_and_of_new_tokens_reach_the_application_without_a_storage_call() {
    let counting = Arc::new(CountingStore { store: SqliteStore::in_memory().await.unwrap(), calls: AtomicU64::new(0) });
    let store: Arc<dyn Store> = counting.clone();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let keys = ensure_keys(&*store, &entropy, clock.now()).await.unwrap();
    let project = Project { id: "test-project".into(), number: "123".into() };
    let registered = Application { name: "app".into(), service_id: "777".into(), client_id: ClientId("client".into()) };
    store.add_application(&registered).await.unwrap();
    let robot = ServiceAccount {
        unique_id: UniqueId("1001".into()),
        email: "robot@test-project.iam.gserviceaccount.com".parse().unwrap(),
        display_name: String::new(),
        description: String::new(),
        disabled: false,
    };
    store.add_service_account(&robot).await.unwrap();
    let binding = Binding {
        role: Role::HttpsResourceAccessor,
        members: vec![format!("serviceAccount:{}", robot.email).parse().unwrap()],
    };
    store.replace_policy(&registered.resource().name(&project), &[binding], None).await.unwrap();

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let host = Host::parse(&address.to_string()).unwrap();
    let upstream = Arc::new(Upstream::parse(&format!("http://{}", application().await)).unwrap());
    let config = StackConfig {
        project,
        issuer: "https://accounts.google.com".into(),
        api_url: "http://api.test".into(),
        api_hosts: vec![],
        applications: HashMap::from([("app".to_owned(), ServedApplication { hosts: vec![host], upstream })]),
        email_claim: EmailClaim::Optional,
        admin_token: TokenHash::of("unused"),
        keep_events: 1000,
    };
    let outside = Outside { store, clock: clock.clone(), entropy };
    let stack = wiring::build(outside, config).await.unwrap();
    let proxy = Arc::new(Proxy::new(stack.proxy.clone()));
    tokio::spawn(async move {
        while let Ok((stream, client)) = listener.accept().await {
            let proxy = proxy.clone();
            let service = service_fn(move |request| {
                let proxy = proxy.clone();
                async move { Ok::<_, std::convert::Infallible>(proxy.handle(request, client).await) }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });

    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let before = counting.calls.load(Ordering::SeqCst);
    assert!(before > 0, "the count counts");
    let now = clock.now().seconds();
    for number in 0..20 {
        // Each token is sent twice: first seen, then remembered.
        let claims = serde_json::json!({
            "iss": "https://accounts.google.com", "aud": "client", "sub": "1001", "email": robot.email.as_str(),
            "iat": now - number, "exp": now + 3000 - number,
        });
        let token = keys.sign(KeyPurpose::IdToken, claims.as_object().unwrap()).unwrap();
        for _ in 0..2 {
            let request = Request::get("/")
                .header("host", address.to_string())
                .header("authorization", format!("Bearer {token}"))
                .body(Empty::<Bytes>::new())
                .unwrap();
            let response = sender.send_request(request).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
            assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "ok");
        }
    }
    assert_eq!(counting.calls.load(Ordering::SeqCst), before, "forty requests, no storage call");
}
