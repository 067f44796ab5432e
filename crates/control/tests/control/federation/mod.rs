//! Issuers elsewhere, whose keys are on a web that the test holds.

mod acting;
mod issuer_keys;
mod members;
mod pools;
mod token_exchange;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use doorward_control::issuer_keys::CachedIssuerKeys;
use doorward_control::sts::{ExchangeError, Exchanged, TokenExchange};
use doorward_control::workload_identity::WorkloadIdentity;
use doorward_core::entropy::generate_private_key;
use doorward_core::outbound::{Document, Fetch, FetchError, Reach};
use doorward_wire::google_api::{WorkloadIdentityPool, WorkloadIdentityPoolProvider};
use doorward_wire::jose::{Algorithm, SigningKey, encode_base64url};
use doorward_wire::oauth::{ACCESS_TOKEN_TYPE, ID_TOKEN_TYPE, TOKEN_EXCHANGE, TokenExchangeRequest};
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::robots::{CLOUD, with};
use crate::{ISSUER as OWN_ISSUER, PEER, START, Stack, cause};

/// Where the issuer of most tests is.
const ELSEWHERE: &str = "https://token.ci.example";
/// The resource name of the provider of most tests.
const PROVIDER: &str = "projects/123/locations/global/workloadIdentityPools/ci-pool/providers/ci-runner";
/// Before what is inside the pool of most tests.
const POOL: &str = "//iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/ci-pool";

/// What there is to fetch: nothing but what a test puts there.
struct Web {
    answers: Mutex<HashMap<String, Result<Document, FetchError>>>,
    asked: Mutex<Vec<(String, Reach)>>,
    open: watch::Sender<bool>,
}

impl Web {
    fn new() -> Arc<Self> {
        Arc::new(Web { answers: Mutex::default(), asked: Mutex::default(), open: watch::Sender::new(true) })
    }

    fn put(&self, url: &str, body: impl ToString, max_age: Option<u64>) {
        let document = Document { body: body.to_string().into_bytes(), max_age: max_age.map(Duration::from_secs) };
        self.answers.lock().unwrap().insert(url.to_owned(), Ok(document));
    }

    fn fail(&self, url: &str, error: FetchError) {
        self.answers.lock().unwrap().insert(url.to_owned(), Err(error));
    }

    /// An issuer with these keys, at the address of its name.
    fn publish(&self, issuer: &str, keys: &[&Key], max_age: Option<u64>) {
        let (base, jwks_uri) = (issuer.trim_end_matches('/'), format!("{}/jwks", issuer.trim_end_matches('/')));
        let discovery = json!({"issuer": issuer, "jwks_uri": jwks_uri, "response_types_supported": ["id_token"]});
        self.put(&format!("{base}/.well-known/openid-configuration"), discovery, None);
        self.put(&jwks_uri, key_document(keys), max_age);
    }

    /// Nothing is answered until it is opened again.
    fn close(&self) {
        self.open.send_replace(false);
    }

    fn open(&self) {
        self.open.send_replace(true);
    }

    /// What was asked for since this was asked last, without the scheme.
    fn asked(&self) -> Vec<String> {
        let asked = std::mem::take(&mut *self.asked.lock().unwrap());
        asked.into_iter().map(|(url, _)| url.split_once("://").unwrap().1.to_owned()).collect()
    }

    /// How often keys were fetched since this was asked last.
    fn fetches(&self) -> usize {
        self.asked().iter().filter(|url| url.ends_with("/.well-known/openid-configuration")).count()
    }
}

#[async_trait]
impl Fetch for Web {
    async fn fetch(&self, url: &str, reach: Reach) -> Result<Document, FetchError> {
        self.asked.lock().unwrap().push((url.to_owned(), reach));
        let mut open = self.open.subscribe();
        open.wait_for(|open| *open).await.unwrap();
        self.answers.lock().unwrap().get(url).cloned().unwrap_or(Err(FetchError::Status(404)))
    }
}

/// A key of an issuer.
struct Key(SigningKey);

impl Key {
    fn new(kid: &str, algorithm: Algorithm) -> Self {
        Key(SigningKey::from_pkcs8(kid, algorithm, &generate_private_key(algorithm).unwrap()).unwrap())
    }

    fn es256(kid: &str) -> Self {
        Self::new(kid, Algorithm::Es256)
    }

    fn header(&self) -> Value {
        json!({"typ": "JWT", "alg": self.0.algorithm().name(), "kid": self.0.kid()})
    }

    /// A JWT with any header and claims, which need not be objects.
    fn sign(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| encode_base64url(value.to_string().as_bytes());
        let input = format!("{}.{}", part(header), part(claims));
        format!("{input}.{}", encode_base64url(&self.0.sign_bytes(input.as_bytes()).unwrap()))
    }

    fn token(&self, claims: &Value) -> String {
        self.sign(&self.header(), claims)
    }
}

fn key_document(keys: &[&Key]) -> Value {
    json!({"keys": keys.iter().map(|key| key.0.public_jwk()).collect::<Vec<_>>()})
}

/// What a pipeline's token says.
fn claims() -> Value {
    json!({
        "iss": ELSEWHERE,
        "aud": format!("https://iam.googleapis.com/{PROVIDER}"),
        "sub": "repo:octo/app:ref:refs/heads/main",
        "iat": START,
        "exp": START + 7200,
        "repository": "octo/app",
        "teams": ["ops", "dev"],
    })
}

fn provider() -> Value {
    json!({
        "displayName": "CI",
        "attributeMapping": {
            "google.subject": "assertion.sub",
            "google.groups": "assertion.teams",
            "attribute.repository": "assertion.repository",
        },
        "attributeCondition": "assertion.repository.startsWith('octo/')",
        "oidc": {"issuerUri": ELSEWHERE},
    })
}

fn provider_with(changes: &Value) -> WorkloadIdentityPoolProvider {
    serde_json::from_value(with(provider(), changes)).unwrap()
}

/// A pool `ci-pool` with a provider `ci-runner`, whose issuer publishes `key`.
struct Federation {
    stack: Stack,
    web: Arc<Web>,
    pools: WorkloadIdentity,
    exchange: TokenExchange,
    key: Key,
}

impl Federation {
    async fn new() -> Self {
        let federation = Self::empty().await;
        federation.create_pool("ci-pool").await;
        federation.create_provider("ci-runner", &json!({})).await;
        federation
    }

    /// The same without pools.
    async fn empty() -> Self {
        let stack = Stack::new().await;
        let (web, key) = (Web::new(), Key::es256("k1"));
        web.publish(ELSEWHERE, &[&key], None);
        let keys = CachedIssuerKeys::new(web.clone(), stack.clock.clone(), Handle::current());
        let exchange = TokenExchange::new(
            stack.store.clone(),
            stack.publisher.cell(),
            stack.recorder(stack.audit.clone()),
            stack.minter.clone(),
            Arc::new(keys),
        );
        let pools = pools(&stack, Reach::Loopback);
        Federation { stack, web, pools, exchange, key }
    }

    async fn create_pool(&self, id: &str) {
        let given = WorkloadIdentityPool::default();
        self.pools.create_pool(&self.stack.admin, "123", id, given).await.unwrap();
    }

    async fn create_provider(&self, id: &str, changes: &Value) {
        let given = provider_with(changes);
        self.pools.create_provider(&self.stack.admin, "123", ("ci-pool", id), given).await.unwrap();
    }

    async fn update_provider(&self, changes: Value, mask: &str) {
        let given: WorkloadIdentityPoolProvider = serde_json::from_value(changes).unwrap();
        let named = ("ci-pool", "ci-runner");
        self.pools.update_provider(&self.stack.admin, "123", named, given, Some(mask)).await.unwrap();
    }

    async fn redeem(&self, request: TokenExchangeRequest) -> Result<Exchanged, ExchangeError> {
        self.exchange.exchange(Ok(request), PEER).await
    }

    /// `ok` or the cause of the refusal, and the code in the record.
    async fn outcome(&self, token: String) -> (String, &'static str) {
        let outcome = self.redeem(request(token)).await;
        (outcome.map_or_else(|error| cause(&error), |_| "ok".to_owned()), self.stack.last_reason())
    }

    /// The federated token for these claims.
    async fn federated(&self, changes: &Value) -> String {
        self.redeem(request(self.key.token(&with(claims(), changes)))).await.unwrap().token
    }
}

pub(crate) fn pools(stack: &Stack, widest: Reach) -> WorkloadIdentity {
    let own = vec![OWN_ISSUER.to_owned(), "http://127.0.0.1:8081".to_owned()];
    let (store, publisher, changes) = (stack.store.clone(), stack.publisher.clone(), stack.changes.clone());
    WorkloadIdentity::new(store, publisher, changes, stack.entropy.clone(), own, widest)
}

/// What google-auth sends.
fn request(subject_token: String) -> TokenExchangeRequest {
    TokenExchangeRequest {
        grant_type: TOKEN_EXCHANGE.to_owned(),
        audience: format!("//iam.googleapis.com/{PROVIDER}"),
        scope: Some(CLOUD.to_owned()),
        requested_token_type: Some(ACCESS_TOKEN_TYPE.to_owned()),
        subject_token,
        subject_token_type: ID_TOKEN_TYPE.to_owned(),
        options: None,
    }
}

/// Lets everything go on that can.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}
