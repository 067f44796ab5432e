//! Builds everything, once, top to bottom.

use std::sync::Arc;
use std::time::Duration;

use doorward_control::access_levels::AccessLevelService;
use doorward_control::admin::{Changes, Gate};
use doorward_control::applications::{AppEngine, Applications, BackendServices, ReservedHosts};
use doorward_control::brands::Brands;
use doorward_control::callers::Callers;
use doorward_control::certificates::Certificates;
use doorward_control::deny_policies::DenyPolicies;
use doorward_control::explain::Explanations;
use doorward_control::groups::GroupService;
use doorward_control::iam_credentials::IamCredentials;
use doorward_control::instance::{Instance, InstanceConfig};
use doorward_control::issuer_keys::CachedIssuerKeys;
use doorward_control::keys::{EnsureKeysError, Keys, ensure_keys};
use doorward_control::oauth_clients::OAuthClients;
use doorward_control::policies::Policies;
use doorward_control::projects::Projects;
use doorward_control::record::Recorder;
use doorward_control::roles::RoleService;
use doorward_control::service_accounts::{KeyFileUrls, ServiceAccounts};
use doorward_control::settings::SettingsService;
use doorward_control::sign_in::SignIn;
use doorward_control::simulate::Simulations;
use doorward_control::snapshots::{RefreshError, Setting, SnapshotPublisher};
use doorward_control::sts::TokenExchange;
use doorward_control::throttle::Throttle;
use doorward_control::tokens::{Minter, TokenService};
use doorward_control::tunnel_dest_groups::TunnelDestGroups;
use doorward_control::users::Users;
use doorward_control::workload_identity::WorkloadIdentity;
use doorward_control::world::{UseCases, World};
use doorward_core::clock::{Clock, Timestamp};
use doorward_core::entropy::{Entropy, EntropyError};
use doorward_core::grant::TokenHash;
use doorward_core::issuer::TrustedIssuers;
use doorward_core::outbound::{Fetch, IssuerKeys, Reach};
use doorward_core::policy::condition::{HeaderAllowList, Schema};
use doorward_core::resource::{Host, Project};
use doorward_core::settings::Defaults;
use doorward_core::snapshot::SnapshotCell;
use doorward_core::store::{Store, StoreError};
use doorward_proxy::{ApiUrls, Config as ProxyConfig, Inputs, Shared};
use doorward_wire::headers::ASSERTION_ISSUER;
use tokio::task::JoinSet;

use crate::audit_log::{AuditLog, Writer};
use crate::console::Console;
use crate::dev::names::Addressing;
use crate::errors::Chain;
use crate::hosts::Services;
use crate::retention::{forget, newest};

/// How long nobody looks at the store if nobody tells of a change.
const LOOK: Duration = Duration::from_millis(500);
/// How often it is said, at most, that the store cannot be followed.
const SAID: Duration = Duration::from_secs(10);
/// How often keys are looked at.
const KEYS: Duration = Duration::from_secs(24 * 3600);

/// The outside world, as it is given to the whole.
#[derive(Clone)]
pub struct Outside {
    /// Where everything is kept.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Documents of other issuers.
    pub fetch: Arc<dyn Fetch>,
}

/// What is set.
pub struct StackConfig {
    /// The one project.
    pub project: Project,
    /// `iss` of ID tokens.
    pub issuer: String,
    /// How files address the APIs.
    pub addressing: Addressing,
    /// Our own origin, without a trailing slash.
    pub api_url: String,
    /// The same over TLS, where `api_url` is without.
    pub api_https_url: Option<String>,
    /// The hosts that are ours on the API's listener.
    pub api_hosts: Vec<Host>,
    /// The hosts at which no application is.
    pub reserved_hosts: ReservedHosts,
    /// The hash of the administration token; without one nobody is the operator.
    pub admin_token: Option<TokenHash>,
    /// Issuers beside ourselves whose ID tokens are callers.
    pub trusted_issuers: Arc<TrustedIssuers>,
    /// The widest reach that a provider of a pool may ask for its issuer.
    pub reach: Reach,
    /// What holds where no setting says otherwise.
    pub defaults: Defaults,
    /// The header fields that conditions may read.
    pub condition_headers: HeaderAllowList,
    /// Whom somebody asks who was refused, if it is not the brand's address.
    pub contact: Option<String>,
    /// For how long the store may not be readable before nobody is let in.
    pub staleness_limit: Duration,
    /// How many events the record keeps.
    pub keep_events: u64,
    /// For how long it keeps them.
    pub keep_for: Duration,
}

/// Everything that serves.
pub struct Stack {
    /// The control plane, for the API's listener.
    pub services: Arc<Services>,
    /// The data plane, for the applications' listeners.
    pub proxy: Arc<Shared>,
    /// What is in force.
    pub snapshots: Arc<SnapshotCell>,
    /// The record's writer: to be awaited at the end, after the other two are gone.
    pub writer: Writer,
    /// What goes on beside requests. It ends when this is dropped: to be kept for as long as anything is served.
    pub background: JoinSet<()>,
    recorder: Recorder,
    minter: Minter,
}

impl Stack {
    /// An instance whose workloads get tokens of this stack.
    pub fn instance(&self, config: InstanceConfig) -> Instance {
        Instance::new(self.snapshots.clone(), self.recorder.clone(), self.minter.clone(), config)
    }
}

/// Why the whole could not be put together.
#[derive(Debug, thiserror::Error)]
pub enum WiringError {
    /// What is stored cannot be put in force.
    #[error(transparent)]
    Refresh(#[from] RefreshError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}

/// Wires the whole on a store whose keys are in order ([`ensure_keys`]).
///
/// # Errors
/// [`WiringError`]: nothing serves.
pub async fn build(outside: Outside, config: StackConfig) -> Result<Stack, WiringError> {
    let Outside { store, clock, entropy, fetch } = outside;
    let surface = |host: &str| config.addressing.base(&config.api_url, host);
    let api_urls = || [Some(&config.api_url), config.api_https_url.as_ref()].into_iter().flatten();
    let token_urls = api_urls().flat_map(|api| {
        [
            format!("{api}/oauth2.googleapis.com/token"),
            format!("{api}/www.googleapis.com/oauth2/v4/token"),
            format!("{api}/accounts.google.com/o/oauth2/token"),
        ]
    });
    let token_urls = token_urls.collect();
    let own_issuers = api_urls().chain([&config.issuer]).cloned().chain([ASSERTION_ISSUER.to_owned()]).collect();
    let key_file_urls = KeyFileUrls {
        auth_uri: format!("{}/o/oauth2/auth", surface("accounts.google.com")),
        token_uri: format!("{}/token", surface("oauth2.googleapis.com")),
        provider_certs: format!("{}/oauth2/v1/certs", surface("www.googleapis.com")),
        client_certs_base: format!("{}/robot/v1/metadata/x509", surface("www.googleapis.com")),
    };

    let setting = Setting {
        project: config.project,
        schema: Arc::new(Schema::policy(config.condition_headers)),
        defaults: config.defaults,
        trusted_issuers: config.trusted_issuers,
        staleness_limit: config.staleness_limit,
    };
    let created = project_created(&*store, &*clock).await?;
    let newest = newest(&*store).await?;
    let publisher = Arc::new(SnapshotPublisher::open(store.clone(), clock.clone(), setting).await?);
    let snapshots = publisher.cell();
    let (audit, writer) = AuditLog::start(store.clone(), config.keep_events);
    let recorder = Recorder::new(audit.clone(), entropy.clone(), clock.clone());
    let minter = Minter::new(store.clone(), snapshots.clone(), entropy.clone(), config.issuer.clone());
    let throttle = Arc::new(Throttle::default());
    let issuer_keys: Arc<dyn IssuerKeys> =
        Arc::new(CachedIssuerKeys::new(fetch, clock.clone(), tokio::runtime::Handle::current()));

    let gate = Gate::new(snapshots.clone(), clock.clone());
    let changes = Changes::new(gate, audit.clone(), entropy.clone());
    let cases = {
        let (store, publisher, changes) = (store.clone(), publisher.clone(), changes.clone());
        UseCases {
            applications: Applications::new(
                store.clone(),
                publisher.clone(),
                entropy.clone(),
                changes.clone(),
                config.reserved_hosts,
            ),
            settings: Arc::new(SettingsService::new(store.clone(), publisher.clone(), changes.clone())),
            policies: Arc::new(Policies::new(store.clone(), publisher.clone(), changes.clone())),
            deny_policies: Arc::new(DenyPolicies::new(
                store.clone(),
                publisher.clone(),
                changes.clone(),
                entropy.clone(),
            )),
            groups: Arc::new(GroupService::new(store.clone(), publisher.clone(), changes.clone())),
            roles: Arc::new(RoleService::new(store.clone(), publisher.clone(), changes.clone())),
            access_levels: Arc::new(AccessLevelService::new(store.clone(), publisher.clone(), changes.clone())),
            service_accounts: Arc::new(ServiceAccounts::new(store, publisher, changes, entropy.clone(), key_file_urls)),
        }
    };
    let sign_in = SignIn::new(store.clone(), snapshots.clone(), recorder.clone(), entropy.clone(), throttle.clone());
    let passwords = sign_in.passwords();
    let services = Services {
        issuer: config.issuer.clone(),
        api_url: config.api_url.clone(),
        api_https_url: config.api_https_url.clone(),
        api_hosts: config.api_hosts,
        tokens: TokenService::new(
            store.clone(),
            snapshots.clone(),
            recorder.clone(),
            minter.clone(),
            throttle,
            token_urls,
        ),
        users: Users::new(store.clone(), publisher.clone(), changes.clone(), entropy.clone(), passwords),
        sign_in,
        token_exchange: TokenExchange::new(
            store.clone(),
            snapshots.clone(),
            recorder.clone(),
            minter.clone(),
            issuer_keys.clone(),
        ),
        workload_identity: WorkloadIdentity::new(
            store.clone(),
            publisher.clone(),
            changes.clone(),
            entropy.clone(),
            own_issuers,
            config.reach,
        ),
        iam_credentials: IamCredentials::new(
            store.clone(),
            publisher.clone(),
            recorder.clone(),
            minter.clone(),
            entropy.clone(),
        ),
        certificates: Certificates::new(snapshots.clone(), clock.clone()),
        oauth_clients: OAuthClients::new(store.clone(), publisher.clone(), changes.clone(), entropy.clone()),
        keys: Keys::new(store.clone(), publisher.clone(), changes.clone(), entropy.clone()),
        brands: Brands::new(store.clone(), publisher.clone(), entropy.clone(), changes.clone()),
        tunnel_dest_groups: TunnelDestGroups::new(store.clone(), publisher.clone(), changes.clone()),
        projects: Projects::new(publisher.clone(), changes.clone(), created),
        backend_services: BackendServices::new(cases.applications.clone()),
        app_engine: AppEngine::new(cases.applications.clone()),
        applications: cases.applications.clone(),
        settings: cases.settings.clone(),
        policies: cases.policies.clone(),
        deny_policies: cases.deny_policies.clone(),
        groups: cases.groups.clone(),
        roles: cases.roles.clone(),
        access_levels: cases.access_levels.clone(),
        service_accounts: cases.service_accounts.clone(),
        explanations: Explanations::new(store.clone(), publisher.clone(), changes.clone()),
        simulations: Simulations::new(store.clone(), publisher.clone(), changes.clone()),
        world: World::new(store.clone(), publisher.clone(), changes.clone(), cases),
        changes,
        callers: Callers::new(config.admin_token, store.clone(), snapshots.clone(), clock.clone()),
        contact: config.contact.clone(),
        console: Console::new(snapshots.clone(), clock.clone(), &*entropy)?,
        snapshots: snapshots.clone(),
        audit: audit.clone(),
        audit_store: store.clone(),
        sinks: tokio::sync::Mutex::default(),
        recorder: recorder.clone(),
        clock: clock.clone(),
        entropy: entropy.clone(),
    };
    let proxy = ProxyConfig {
        issuer: config.issuer,
        api: ApiUrls { http: config.api_url, https: config.api_https_url },
        contact: config.contact,
    };
    let inputs = Inputs {
        snapshots: snapshots.clone(),
        freshness: publisher.freshness(),
        audit,
        clock: clock.clone(),
        entropy: entropy.clone(),
        issuer_keys,
    };
    let mut background = JoinSet::new();
    background.spawn(follow(publisher.clone(), clock.clone()));
    background.spawn(forget(store.clone(), clock.clone(), newest, config.keep_for));
    background.spawn(keep_keys_in_order(store, publisher, clock, entropy));
    Ok(Stack {
        services: Arc::new(services),
        proxy: Arc::new(Shared::new(proxy, inputs)),
        snapshots,
        writer,
        background,
        recorder,
        minter,
    })
}

/// When the project came to be: when its first keys were made, of which some stay for ever.
async fn project_created(store: &dyn Store, clock: &dyn Clock) -> Result<Timestamp, StoreError> {
    let made = store.keys().await?.into_iter().map(|key| key.created);
    Ok(made.min().unwrap_or_else(|| clock.now()))
}

/// Puts in force what other instances write.
async fn follow(publisher: Arc<SnapshotPublisher>, clock: Arc<dyn Clock>) {
    let said = std::sync::Mutex::new(None::<Timestamp>);
    let failed = |error: &RefreshError| {
        let now = clock.now();
        let mut said = said.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if said.is_none_or(|said| now.since(said) >= SAID) {
            *said = Some(now);
            tracing::error!(
                error = %Chain(error),
                "the store cannot be followed; when that has lasted for the staleness limit, nobody is let in"
            );
        }
    };
    publisher.watch(LOOK, failed).await;
}

/// Replaces keys that are due and forgets those that are spent, once a day.
async fn keep_keys_in_order(
    store: Arc<dyn Store>,
    publisher: Arc<SnapshotPublisher>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
) {
    let mut days = tokio::time::interval(KEYS);
    days.tick().await; // The first tick is at once, and at start the keys are in order.
    loop {
        days.tick().await;
        let ensured: Result<_, EnsureKeysError> = ensure_keys(&*store, &entropy, clock.now()).await;
        if let Err(error) = ensured {
            tracing::error!(%error, "keys could not be replaced; the old ones stay in use");
        } else if let Err(error) = publisher.refresh().await {
            tracing::error!(%error, "replaced keys could not be put in force; the old ones stay in use");
        }
    }
}
