//! The use cases of the control plane over a real store, with a clock and a source of randomness that the test holds.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up must fail")]

mod access_levels;
mod administration;
mod agreement;
mod applications;
mod brands;
mod callers;
mod deny_policies;
mod explain;
mod federation;
mod groups;
mod iam_credentials;
mod instance;
mod keys;
mod matrix;
mod oauth_clients;
mod people;
mod policies;
mod projects;
mod robots;
mod roles;
mod service_accounts;
mod settings;
mod sign_in;
mod snapshots;
mod tokens;
mod tunnel_dest_groups;
mod users;
mod world;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use doorward_control::access_levels::AccessLevelService;
use doorward_control::admin::{Admin, Changes, Gate};
use doorward_control::deny_policies::DenyPolicies;
use doorward_control::groups::GroupService;
use doorward_control::iam_credentials::IamCredentials;
use doorward_control::instance::{Instance, InstanceConfig};
use doorward_control::keys::{Keys, ensure_keys};
use doorward_control::oauth_clients::OAuthClients;
use doorward_control::policies::Policies;
use doorward_control::record::Recorder;
use doorward_control::roles::RoleService;
use doorward_control::service_accounts::{KeyFileUrls, ServiceAccounts};
use doorward_control::settings::SettingsService;
use doorward_control::sign_in::SignIn;
use doorward_control::snapshots::{Setting, SnapshotPublisher};
use doorward_control::throttle::Throttle;
use doorward_control::tokens::{Minter, TokenService};
use doorward_core::account::UniqueId;
use doorward_core::audit::{AdminEvent, AuditEvent, AuditSink, RecordedEvents, TokenEvent};
use doorward_core::clock::{ManualClock, Timestamp};
use doorward_core::entropy::{Entropy, SeededEntropy};
use doorward_core::keys::KeyPurpose;
use doorward_core::policy::Etag;
use doorward_core::policy::condition::{HeaderAllowList, Schema};
use doorward_core::resource::{
    Ancestor, Application, ClientId, Host, Origin, PathPrefix, Project, Route, Scheme, ServiceKind,
};
use doorward_core::settings::{Defaults, EmailClaim};
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
    deny: DenyPolicies,
    roles: RoleService,
    groups: GroupService,
    levels: AccessLevelService,
    changes: Changes,
    admin: Admin,
}

impl Stack {
    async fn new() -> Self {
        let store: Arc<dyn Store> = Arc::new(SqliteStore::in_memory().await.unwrap());
        let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::default());
        let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(START)));
        let audit = Arc::new(RecordedEvents::default());
        store.add_application(&application()).await.unwrap().unwrap();
        ensure_keys(&*store, &entropy, Timestamp::from_seconds(START)).await.unwrap();
        let opened = SnapshotPublisher::open(store.clone(), clock.clone(), setting()).await;
        let publisher = Arc::new(opened.unwrap());
        let gate = Gate::new(publisher.cell(), clock.clone());
        let changes = Changes::new(gate, audit.clone(), entropy.clone());
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
            accounts: ServiceAccounts::new(store.clone(), publisher.clone(), changes.clone(), entropy.clone(), urls),
            policies: Policies::new(store.clone(), publisher.clone(), changes.clone()),
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
            clients: OAuthClients::new(store.clone(), publisher.clone(), changes.clone(), entropy.clone()),
            settings: SettingsService::new(store.clone(), publisher.clone(), changes.clone()),
            keys: Keys::new(store.clone(), publisher.clone(), changes.clone(), entropy.clone()),
            deny: DenyPolicies::new(store.clone(), publisher.clone(), changes.clone(), entropy.clone()),
            roles: RoleService::new(store.clone(), publisher.clone(), changes.clone()),
            groups: GroupService::new(store.clone(), publisher.clone(), changes.clone()),
            levels: AccessLevelService::new(store.clone(), publisher.clone(), changes.clone()),
            changes,
            admin: Admin::local_operator(),
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

    /// The newest event of an endpoint for tokens.
    fn last_event(&self) -> TokenEvent {
        let token = |event| match event {
            AuditEvent::Token(event) => Some(event),
            AuditEvent::Decision(_) | AuditEvent::Admin(_) => None,
        };
        self.audit.events().into_iter().filter_map(token).next_back().unwrap()
    }

    /// Every event of administration.
    fn admin_events(&self) -> Vec<AdminEvent> {
        let admin = |event| match event {
            AuditEvent::Admin(event) => Some(*event),
            AuditEvent::Decision(_) | AuditEvent::Token(_) => None,
        };
        self.audit.events().into_iter().filter_map(admin).collect()
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

fn setting() -> Setting {
    let ancestors = vec![Ancestor::Folder("21".to_owned()), Ancestor::Organization("1".to_owned())];
    Setting {
        project: Project { id: "dev-project".to_owned(), number: "123".to_owned(), ancestors },
        schema: Arc::new(Schema::policy(HeaderAllowList::default())),
        defaults: Defaults { email_claim: EmailClaim::Required, forward_credential: false },
        trusted_issuers: Arc::default(),
        staleness_limit: Duration::from_secs(30),
    }
}

fn application() -> Application {
    Application {
        name: "app".parse().unwrap(),
        service_id: "777".to_owned(),
        kind: ServiceKind::BackendService { region: None },
        client_id: ClientId(APP_CLIENT.to_owned()),
        iap_enabled: true,
        routes: vec![Route { origin: Origin::new(Scheme::Http, &app_host()), prefix: PathPrefix::root() }],
        upstreams: vec!["http://127.0.0.1:9000".to_owned()],
        description: String::new(),
        labels: BTreeMap::new(),
        etag: Etag::UNWRITTEN,
    }
}

fn app_host() -> Host {
    Host::parse("app.test").unwrap()
}

fn named(id: &str) -> CreateServiceAccountRequest {
    CreateServiceAccountRequest { account_id: id.to_owned(), service_account: NewServiceAccount::default() }
}

/// The name of an error's variant: what a table compares. Of what no use case can do without, the name of the cause inside.
fn cause(error: &impl std::fmt::Debug) -> String {
    let text = format!("{error:?}");
    let inside = text.strip_prefix("Admin(").unwrap_or(&text);
    inside.chars().take_while(char::is_ascii_alphanumeric).collect()
}
