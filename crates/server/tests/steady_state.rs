//! The proxied hot path makes no storage call: counted at a store that wraps the real one.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use doorward_control::keys::ensure_keys;
use doorward_core::account::{ManagedKey, PasswordHash, ServiceAccount, ServiceAccountKey, UniqueId, User};
use doorward_core::audit::{AuditEvent, StoredEvent};
use doorward_core::client::OAuthClient;
use doorward_core::clock::{Clock, SystemClock, Timestamp};
use doorward_core::entropy::{Entropy, SystemEntropy, generate_private_key};
use doorward_core::federation::{FederationId, Generation, Pool, Provider};
use doorward_core::grant::*;
use doorward_core::keys::{KeyPurpose, StoredKey};
use doorward_core::member::Email;
use doorward_core::outbound::Reach;
use doorward_core::policy::{Binding, Policy, PolicyEtag, Role};
use doorward_core::resource::{Application, ClientId, Host, Origin, Project, Scheme};
use doorward_core::session::SignInSession;
use doorward_core::settings::Settings;
use doorward_core::store::*;
use doorward_proxy::{EmailClaim, Proxy, Upstream};
use doorward_server::dev::names::Addressing;
use doorward_server::outbound::Fetcher;
use doorward_server::wiring::{self, Outside, ServedApplication, StackConfig};
use doorward_store::SqliteStore;
use doorward_wire::jose::{Algorithm, SigningKey};
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

/// Implements a trait by counting a call and handing it on.
macro_rules! counting {
    ($trait:ident { $(fn $method:ident($($argument:ident: $type:ty),*) -> $answer:ty;)* }) => {
        #[async_trait]
        impl $trait for CountingStore {
            $(async fn $method(&self, $($argument: $type),*) -> $answer {
                self.calls.fetch_add(1, Ordering::SeqCst);
                self.store.$method($($argument),*).await
            })*
        }
    };
}

counting! {
    ServiceAccountStore {
        fn add_service_account(account: &ServiceAccount) -> Result<bool, StoreError>;
        fn remove_service_account(id: &UniqueId) -> Result<bool, StoreError>;
        fn disable_service_account(id: &UniqueId, disabled: bool) -> Result<bool, StoreError>;
        fn disable_service_account_key(account: &UniqueId, key_id: &str, disabled: bool) -> Result<bool, StoreError>;
        fn service_account_by_email(email: &Email) -> Result<Option<ServiceAccount>, StoreError>;
        fn service_account_by_id(id: &UniqueId) -> Result<Option<ServiceAccount>, StoreError>;
        fn service_accounts(after: Option<&Email>, limit: u32) -> Result<Vec<ServiceAccount>, StoreError>;
        fn add_service_account_key(key: &ServiceAccountKey) -> Result<bool, StoreError>;
        fn remove_service_account_key(account: &UniqueId, key_id: &str) -> Result<bool, StoreError>;
        fn service_account_key(key_id: &str) -> Result<Option<ServiceAccountKey>, StoreError>;
        fn service_account_keys(account: &UniqueId) -> Result<Vec<ServiceAccountKey>, StoreError>;
        fn every_service_account_key(after: Option<&str>, limit: u32) -> Result<Vec<ServiceAccountKey>, StoreError>;
        fn add_managed_key(key: &ManagedKey, newest: Option<Timestamp>) -> Result<bool, StoreError>;
        fn managed_key(account: &UniqueId) -> Result<Option<ManagedKey>, StoreError>;
    }
}

counting! {
    UserStore {
        fn add_user(user: &User) -> Result<bool, StoreError>;
        fn users() -> Result<Vec<User>, StoreError>;
        fn user_by_email(email: &Email) -> Result<Option<(User, Option<PasswordHash>)>, StoreError>;
        fn set_password(user: &UniqueId, password: &PasswordHash) -> Result<bool, StoreError>;
    }
}

counting! {
    OAuthClientStore {
        fn add_oauth_client(client: &OAuthClient) -> Result<bool, StoreError>;
        fn oauth_client(id: &ClientId) -> Result<Option<OAuthClient>, StoreError>;
        fn oauth_clients() -> Result<Vec<OAuthClient>, StoreError>;
        fn replace_client_secret(id: &ClientId, secret: &TokenHash) -> Result<bool, StoreError>;
        fn remove_oauth_client(id: &ClientId) -> Result<bool, StoreError>;
    }
}

counting! {
    SessionStore {
        fn put_session(old: Option<&TokenHash>, new: &TokenHash, session: &SignInSession, now: Timestamp) -> Result<(), StoreError>;
        fn session(hash: &TokenHash, now: Timestamp) -> Result<Option<SignInSession>, StoreError>;
        fn remove_session(hash: &TokenHash) -> Result<bool, StoreError>;
    }
}

counting! {
    SettingsStore {
        fn settings(resource_name: &str) -> Result<Settings, StoreError>;
        fn every_settings() -> Result<Vec<(String, Settings)>, StoreError>;
        fn replace_settings(resource_name: &str, settings: &Settings) -> Result<(), StoreError>;
    }
}

counting! {
    FederationStore {
        fn add_pool(pool: &Pool) -> Result<Added, StoreError>;
        fn replace_pool(pool: &Pool) -> Result<bool, StoreError>;
        fn remove_pool(pool: &FederationId) -> Result<bool, StoreError>;
        fn pools() -> Result<Vec<Pool>, StoreError>;
        fn add_provider(provider: &Provider) -> Result<Added, StoreError>;
        fn replace_provider(provider: &Provider, seen: &Generation) -> Result<bool, StoreError>;
        fn remove_provider(pool: &FederationId, provider: &FederationId) -> Result<bool, StoreError>;
        fn providers() -> Result<Vec<Provider>, StoreError>;
    }
}

counting! {
    ApplicationStore {
        fn add_application(application: &Application) -> Result<bool, StoreError>;
        fn applications() -> Result<Vec<Application>, StoreError>;
    }
}

counting! {
    PolicyStore {
        fn policy(resource_name: &str) -> Result<Policy, StoreError>;
        fn policies() -> Result<Vec<(String, Policy)>, StoreError>;
        fn replace_policy(resource_name: &str, bindings: &[Binding], expected: Option<PolicyEtag>, named: &[Named]) -> Result<PolicyWrite, StoreError>;
    }
}

counting! {
    KeyStore {
        fn add_keys(keys: &[StoredKey]) -> Result<(), StoreError>;
        fn keys() -> Result<Vec<StoredKey>, StoreError>;
        fn remove_keys(ids: &[String]) -> Result<(), StoreError>;
    }
}

counting! {
    GrantStore {
        fn add_access_token(token: &TokenHash, grant: &AccessGrant, now: Timestamp) -> Result<bool, StoreError>;
        fn access_token(token: &TokenHash, now: Timestamp) -> Result<Option<AccessGrant>, StoreError>;
        fn remove_access_token(token: &TokenHash) -> Result<bool, StoreError>;
        fn take_assertion_id(issuer: &UniqueId, jti: &str, expires: Timestamp, now: Timestamp) -> Result<bool, StoreError>;
        fn add_code(code: &TokenHash, grant: &CodeGrant, now: Timestamp) -> Result<(), StoreError>;
        fn take_code(code: &TokenHash, client: &ClientId, now: Timestamp) -> Result<TakenCode, StoreError>;
        fn add_refresh_token(token: &TokenHash, grant: &GrantId) -> Result<bool, StoreError>;
        fn refresh_token(token: &TokenHash) -> Result<Option<RefreshGrant>, StoreError>;
        fn rotate_refresh_token(old: &TokenHash, new: &TokenHash) -> Result<bool, StoreError>;
        fn revoke_grant(id: &GrantId) -> Result<bool, StoreError>;
        fn add_device_code(device: &TokenHash, user_code: &TokenHash, grant: &DeviceGrant, now: Timestamp) -> Result<bool, StoreError>;
        fn device_grant(user_code: &TokenHash, now: Timestamp) -> Result<Option<DeviceGrant>, StoreError>;
        fn decide_device(user_code: &TokenHash, grant: Option<&PersonGrant>, now: Timestamp) -> Result<bool, StoreError>;
        fn poll_device(device: &TokenHash, client: &ClientId, now: Timestamp) -> Result<DevicePoll, StoreError>;
    }
}

#[async_trait]
impl AuditStore for CountingStore {
    async fn append(&self, events: &[AuditEvent], keep: u64) -> Result<(), StoreError> {
        self.store.append(events, keep).await
    }
    async fn events_after(&self, after: i64, limit: u32) -> Result<Vec<StoredEvent>, StoreError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.store.events_after(after, limit).await
    }
    async fn latest_events(&self, limit: u32) -> Result<Vec<StoredEvent>, StoreError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.store.latest_events(limit).await
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
    let own = SigningKey::from_pkcs8("1f", Algorithm::Rs256, &generate_private_key(Algorithm::Rs256).unwrap()).unwrap();
    let key = ServiceAccountKey {
        id: "1f".into(),
        account: robot.unique_id.clone(),
        public: own.public_jwk(),
        created: clock.now(),
        managed: false,
        disabled: false,
    };
    assert!(store.add_service_account_key(&key).await.unwrap());
    let binding = Binding {
        role: Role::HttpsResourceAccessor,
        members: vec![format!("serviceAccount:{}", robot.email).parse().unwrap()],
    };
    store.replace_policy(&registered.resource().name(&project), &[binding], None, &[]).await.unwrap();

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let host = Host::parse(&address.to_string()).unwrap();
    let upstream = Arc::new(Upstream::parse(&format!("http://{}", application().await)).unwrap());
    let config = StackConfig {
        addressing: Addressing::OwnOrigin,
        project,
        issuer: "https://accounts.google.com".into(),
        api_url: "http://api.test".into(),
        api_https_url: None,
        api_hosts: vec![],
        applications: HashMap::from([(
            "app".to_owned(),
            ServedApplication { origins: vec![Origin::new(Scheme::Http, &host)], upstream },
        )]),
        email_claim: EmailClaim::Optional,
        admin_token: TokenHash::of("unused"),
        trusted_issuers: Default::default(),
        reach: Reach::Public,
        keep_events: 1000,
    };
    let outside = Outside { store, clock: clock.clone(), entropy, fetch: Arc::new(Fetcher::default()) };
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
        let (issued, expires) = (now - number, now + 3000 - number);
        let id_token = serde_json::json!({
            "iss": "https://accounts.google.com", "aud": "client", "sub": "1001", "email": robot.email.as_str(),
            "iat": issued, "exp": expires,
        });
        let self_signed = serde_json::json!({
            "iss": robot.email.as_str(), "sub": robot.email.as_str(), "aud": format!("http://{address}/*"),
            "iat": issued, "exp": expires,
        });
        let id_token = keys.sign(KeyPurpose::IdToken, id_token.as_object().unwrap(), clock.now()).unwrap();
        let self_signed = own.sign(self_signed.as_object().unwrap()).unwrap();
        // Each token is sent twice: first seen, then remembered.
        for token in [&id_token, &id_token, &self_signed, &self_signed] {
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
    assert_eq!(counting.calls.load(Ordering::SeqCst), before, "eighty requests, no storage call");
}
