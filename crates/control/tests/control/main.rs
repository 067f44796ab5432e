//! The use cases of the control plane over a real store, with a clock and a source of randomness that the test holds.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up must fail")]

mod administrators;
mod keys;
mod policies;
mod service_accounts;
mod tokens;

use std::collections::HashMap;
use std::sync::Arc;

use doorward_control::administrators::Administrator;
use doorward_control::keys::ensure_keys;
use doorward_control::policies::Policies;
use doorward_control::service_accounts::{KeyFileUrls, ServiceAccounts};
use doorward_control::snapshots::SnapshotPublisher;
use doorward_control::tokens::{TokenConfig, TokenService};
use doorward_core::audit::{AuditSink, RecordedEvents};
use doorward_core::clock::{ManualClock, Timestamp};
use doorward_core::entropy::{Entropy, SeededEntropy};
use doorward_core::resource::{Application, ClientId, Host, Project};
use doorward_core::store::Store;
use doorward_store::SqliteStore;
use doorward_wire::google_api::{CreateServiceAccountRequest, NewServiceAccount};

/// The time at which every test begins.
const START: i64 = 1_800_000_000;

const OWN_TOKEN_URL: &str = "http://127.0.0.1:8081/oauth2.googleapis.com/token";

/// One project with one application, `app`, served at `app.test`.
struct Stack {
    store: Arc<dyn Store>,
    clock: Arc<ManualClock>,
    audit: Arc<RecordedEvents>,
    publisher: Arc<SnapshotPublisher>,
    accounts: ServiceAccounts,
    policies: Policies,
    tokens: TokenService,
    admin: Administrator,
}

impl Stack {
    async fn new() -> Self {
        let store: Arc<dyn Store> = Arc::new(SqliteStore::in_memory().await.unwrap());
        let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::default());
        let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(START)));
        let audit = Arc::new(RecordedEvents::default());
        let application = Application {
            name: "app".to_owned(),
            service_id: "777".to_owned(),
            client_id: ClientId("123-app.apps.googleusercontent.com".to_owned()),
        };
        assert!(store.add_application(&application).await.unwrap());
        ensure_keys(&*store, &entropy, Timestamp::from_seconds(START)).await.unwrap();
        let project = Project { id: "dev-project".to_owned(), number: "123".to_owned() };
        let hosts = HashMap::from([("app".to_owned(), vec![app_host()])]);
        let publisher = Arc::new(SnapshotPublisher::open(store.clone(), project, hosts).await.unwrap());
        let urls = KeyFileUrls {
            auth_uri: "http://api/accounts.google.com/o/oauth2/auth".to_owned(),
            token_uri: OWN_TOKEN_URL.to_owned(),
            provider_certs: "http://api/www.googleapis.com/oauth2/v1/certs".to_owned(),
            client_certs_base: "http://api/www.googleapis.com/robot/v1/metadata/x509".to_owned(),
        };
        Stack {
            accounts: ServiceAccounts::new(store.clone(), publisher.clone(), entropy, clock.clone(), urls),
            policies: Policies::new(store.clone(), publisher.clone()),
            tokens: token_service(&store, &publisher, audit.clone(), clock.clone()),
            admin: Administrator::local_operator(),
            store,
            clock,
            audit,
            publisher,
        }
    }

    /// A token service on this stack with another record.
    fn tokens_recorded_by(&self, audit: Arc<dyn AuditSink>) -> TokenService {
        token_service(&self.store, &self.publisher, audit, self.clock.clone())
    }

    async fn create_account(&self, id: &str) -> doorward_core::account::ServiceAccount {
        self.accounts.create(&self.admin, "dev-project", named(id)).await.unwrap()
    }
}

fn token_service(
    store: &Arc<dyn Store>,
    publisher: &SnapshotPublisher,
    audit: Arc<dyn AuditSink>,
    clock: Arc<ManualClock>,
) -> TokenService {
    let config =
        TokenConfig { issuer: "https://accounts.google.com".to_owned(), token_urls: vec![OWN_TOKEN_URL.to_owned()] };
    TokenService::new(store.clone(), publisher.cell(), audit, Arc::new(SeededEntropy::default()), clock, config)
}

fn app_host() -> Host {
    Host::parse("app.test").unwrap()
}

fn named(id: &str) -> CreateServiceAccountRequest {
    CreateServiceAccountRequest { account_id: id.to_owned(), service_account: NewServiceAccount::default() }
}

/// The name of an error's variant: what a table compares.
fn cause(error: &impl std::fmt::Debug) -> String {
    format!("{error:?}").chars().take_while(char::is_ascii_alphanumeric).collect()
}
