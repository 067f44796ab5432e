//! The use cases of the control plane over a real store, with a clock and a source of randomness that the test holds.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up must fail")]

mod callers;
mod federation;
mod iam_credentials;
mod instance;
mod keys;
mod oauth_clients;
mod people;
mod policies;
mod robots;
mod service_accounts;
mod settings;
mod sign_in;
mod tokens;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use doorward_control::callers::Administrator;
use doorward_control::iam_credentials::IamCredentials;
use doorward_control::instance::{Instance, InstanceConfig};
use doorward_control::keys::{Keys, ensure_keys};
use doorward_control::oauth_clients::OAuthClients;
use doorward_control::policies::Policies;
use doorward_control::record::Recorder;
use doorward_control::service_accounts::{KeyFileUrls, ServiceAccounts};
use doorward_control::settings::SettingsService;
use doorward_control::sign_in::SignIn;
use doorward_control::snapshots::SnapshotPublisher;
use doorward_control::throttle::Throttle;
use doorward_control::tokens::{Minter, TokenService};
use doorward_core::account::UniqueId;
use doorward_core::audit::{AuditEvent, AuditSink, RecordedEvents, TokenEvent};
use doorward_core::clock::{ManualClock, Timestamp};
use doorward_core::entropy::{Entropy, SeededEntropy};
use doorward_core::keys::KeyPurpose;
use doorward_core::resource::{Application, ClientId, Host, Origin, Project, Scheme};
use doorward_core::store::Store;
use doorward_store::SqliteStore;
use doorward_wire::google_api::{CreateServiceAccountRequest, NewServiceAccount};
use doorward_wire::jose::{Algorithm, TOKEN_LIMIT, Unverified};
use serde_json::Value;

/// The time at which every test begins.
const START: i64 = 1_800_000_000;

const OWN_TOKEN_URL: &str = "http://127.0.0.1:8081/oauth2.googleapis.com/token";
/// The client of the application `app`.
const APP_CLIENT: &str = "123-app.apps.googleusercontent.com";
/// The issuer of ID tokens.
const ISSUER: &str = "https://accounts.google.com";

/// Where most requests come from.
const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

/// One project with one application, `app`, served at `app.test`.
struct Stack {
    store: Arc<dyn Store>,
    clock: Arc<ManualClock>,
    audit: Arc<RecordedEvents>,
    entropy: Arc<dyn Entropy>,
    publisher: Arc<SnapshotPublisher>,
    minter: Minter,
    accounts: ServiceAccounts,
    policies: Policies,
    tokens: TokenService,
    sign_in: SignIn,
    credentials: IamCredentials,
    clients: OAuthClients,
    settings: SettingsService,
    keys: Keys,
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
            client_id: ClientId(APP_CLIENT.to_owned()),
        };
        assert!(store.add_application(&application).await.unwrap());
        ensure_keys(&*store, &entropy, Timestamp::from_seconds(START)).await.unwrap();
        let project = Project { id: "dev-project".to_owned(), number: "123".to_owned() };
        let origins = HashMap::from([("app".to_owned(), vec![Origin::new(Scheme::Http, &app_host())])]);
        let publisher = Arc::new(
            SnapshotPublisher::open(store.clone(), project.clone(), origins, Default::default()).await.unwrap(),
        );
        let urls = KeyFileUrls {
            auth_uri: "http://api/accounts.google.com/o/oauth2/auth".to_owned(),
            token_uri: OWN_TOKEN_URL.to_owned(),
            provider_certs: "http://api/www.googleapis.com/oauth2/v1/certs".to_owned(),
            client_certs_base: "http://api/www.googleapis.com/robot/v1/metadata/x509".to_owned(),
        };
        let recorder = Recorder::new(audit.clone(), entropy.clone(), clock.clone());
        let minter = Minter::new(store.clone(), publisher.cell(), entropy.clone(), ISSUER.to_owned());
        let throttle = Arc::new(Throttle::default());
        Stack {
            accounts: ServiceAccounts::new(store.clone(), publisher.clone(), entropy.clone(), clock.clone(), urls),
            policies: Policies::new(store.clone(), publisher.clone()),
            tokens: TokenService::new(
                store.clone(),
                publisher.cell(),
                recorder.clone(),
                minter.clone(),
                throttle.clone(),
                vec![OWN_TOKEN_URL.to_owned()],
            ),
            sign_in: SignIn::new(store.clone(), publisher.cell(), recorder.clone(), entropy.clone(), throttle),
            credentials: IamCredentials::new(
                store.clone(),
                publisher.clone(),
                recorder,
                minter.clone(),
                entropy.clone(),
            ),
            clients: OAuthClients::new(store.clone(), entropy.clone(), clock.clone(), project),
            settings: SettingsService::new(store.clone(), publisher.clone()),
            keys: Keys::new(store.clone(), publisher.clone(), entropy.clone(), clock.clone()),
            admin: Administrator::local_operator(),
            store,
            clock,
            audit,
            entropy,
            publisher,
            minter,
        }
    }

    fn recorder(&self, audit: Arc<dyn AuditSink>) -> Recorder {
        Recorder::new(audit, self.entropy.clone(), self.clock.clone())
    }

    /// A token service on this stack with another record.
    fn tokens_recorded_by(&self, audit: Arc<dyn AuditSink>) -> TokenService {
        TokenService::new(
            self.store.clone(),
            self.publisher.cell(),
            self.recorder(audit),
            self.minter.clone(),
            Arc::new(Throttle::default()),
            vec![OWN_TOKEN_URL.to_owned()],
        )
    }

    /// The metadata server's instance, which runs as this account.
    fn instance(&self, account: &UniqueId) -> Instance {
        let config = InstanceConfig {
            account: account.clone(),
            id: "4711".to_owned(),
            name: "dev-instance".to_owned(),
            zone: "us-central1-a".to_owned(),
            created: START,
        };
        Instance::new(self.publisher.cell(), self.recorder(self.audit.clone()), self.minter.clone(), config)
    }

    async fn create_account(&self, id: &str) -> doorward_core::account::ServiceAccount {
        self.accounts.create(&self.admin, "dev-project", named(id)).await.unwrap()
    }

    fn now(&self) -> Timestamp {
        doorward_core::clock::Clock::now(&*self.clock)
    }

    fn last_event(&self) -> TokenEvent {
        match self.audit.events().pop().unwrap() {
            AuditEvent::Token(event) => event,
            AuditEvent::Decision(decision) => panic!("{decision:?}"),
        }
    }

    /// The code of the reason in the newest event; empty if it records no refusal.
    fn last_reason(&self) -> &'static str {
        self.last_event().reason.map_or("", doorward_core::audit::TokenReason::code)
    }

    /// The claims of an ID token of ours, proven with the published key.
    fn id_token_claims(&self, token: &str) -> Value {
        let snapshot = self.publisher.cell().current();
        let unverified = Unverified::parse(token, TOKEN_LIMIT, &[Algorithm::Rs256]).unwrap();
        let kid = unverified.kid().unwrap().to_owned();
        let key = snapshot.keys.verifying(KeyPurpose::IdToken, &kid, self.now()).unwrap();
        Value::Object(unverified.verify(key).unwrap().as_object().clone())
    }
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
