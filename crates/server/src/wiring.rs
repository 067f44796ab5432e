//! Builds everything, once, top to bottom.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use doorward_control::callers::Callers;
use doorward_control::certificates::Certificates;
use doorward_control::iam_credentials::IamCredentials;
use doorward_control::instance::{Instance, InstanceConfig};
use doorward_control::issuer_keys::CachedIssuerKeys;
use doorward_control::keys::{EnsureKeysError, Keys, ensure_keys};
use doorward_control::oauth_clients::OAuthClients;
use doorward_control::policies::Policies;
use doorward_control::record::Recorder;
use doorward_control::service_accounts::{KeyFileUrls, ServiceAccounts};
use doorward_control::settings::SettingsService;
use doorward_control::sign_in::SignIn;
use doorward_control::snapshots::{RefreshError, SnapshotPublisher};
use doorward_control::sts::TokenExchange;
use doorward_control::throttle::Throttle;
use doorward_control::tokens::{Minter, TokenService};
use doorward_control::workload_identity::WorkloadIdentity;
use doorward_core::clock::Clock;
use doorward_core::entropy::{Entropy, EntropyError};
use doorward_core::grant::TokenHash;
use doorward_core::issuer::TrustedIssuers;
use doorward_core::outbound::{Fetch, IssuerKeys, Reach};
use doorward_core::resource::{Host, Origin, Project};
use doorward_core::snapshot::SnapshotCell;
use doorward_core::store::Store;
use doorward_proxy::{ApiUrls, Config as ProxyConfig, EmailClaim, Shared, Upstream};
use doorward_wire::headers::ASSERTION_ISSUER;

use crate::audit_log::{AuditLog, Writer};
use crate::console::Console;
use crate::dev::names::Addressing;
use crate::hosts::Services;

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
    /// The same over TLS.
    pub api_https_url: Option<String>,
    /// The hosts that are ours on the API's listener.
    pub api_hosts: Vec<Host>,
    /// Applications that are served, by name.
    pub applications: HashMap<String, ServedApplication>,
    /// What becomes of an ID token without `email`.
    pub email_claim: EmailClaim,
    /// The hash of the administration token.
    pub admin_token: TokenHash,
    /// Issuers beside ourselves whose ID tokens are callers.
    pub trusted_issuers: Arc<TrustedIssuers>,
    /// The widest reach that a provider of a pool may ask for its issuer.
    pub reach: Reach,
    /// How many events the record keeps.
    pub keep_events: u64,
}

/// Where an application is seen, and where it is.
pub struct ServedApplication {
    /// Its public origins.
    pub origins: Vec<Origin>,
    /// Its address.
    pub upstream: Arc<Upstream>,
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
    let (origins, upstreams) = config
        .applications
        .into_iter()
        .map(|(name, served)| ((name.clone(), served.origins), (name, served.upstream)))
        .unzip();

    let issuers = config.trusted_issuers;
    let publisher = SnapshotPublisher::open(store.clone(), config.project.clone(), origins, issuers).await?;
    let publisher = Arc::new(publisher);
    let snapshots = publisher.cell();
    let (audit, writer) = AuditLog::start(store.clone(), config.keep_events);
    let recorder = Recorder::new(audit.clone(), entropy.clone(), clock.clone());
    let minter = Minter::new(store.clone(), snapshots.clone(), entropy.clone(), config.issuer.clone());
    let throttle = Arc::new(Throttle::default());
    let issuer_keys: Arc<dyn IssuerKeys> =
        Arc::new(CachedIssuerKeys::new(fetch, clock.clone(), tokio::runtime::Handle::current()));
    let own_issuers = api_urls().chain([&config.issuer]).cloned().chain([ASSERTION_ISSUER.to_owned()]).collect();

    let key_file_urls = KeyFileUrls {
        auth_uri: format!("{}/o/oauth2/auth", surface("accounts.google.com")),
        token_uri: format!("{}/token", surface("oauth2.googleapis.com")),
        provider_certs: format!("{}/oauth2/v1/certs", surface("www.googleapis.com")),
        client_certs_base: format!("{}/robot/v1/metadata/x509", surface("www.googleapis.com")),
    };
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
            throttle.clone(),
            token_urls,
        ),
        sign_in: SignIn::new(store.clone(), snapshots.clone(), recorder.clone(), entropy.clone(), throttle),
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
        oauth_clients: OAuthClients::new(store.clone(), entropy.clone(), clock.clone(), config.project),
        settings: SettingsService::new(store.clone(), publisher.clone()),
        keys: Keys::new(store.clone(), publisher.clone(), entropy.clone(), clock.clone()),
        service_accounts: ServiceAccounts::new(
            store.clone(),
            publisher.clone(),
            entropy.clone(),
            clock.clone(),
            key_file_urls,
        ),
        policies: Policies::new(store.clone(), publisher.clone()),
        callers: Callers::new(config.admin_token, store.clone(), snapshots.clone(), clock.clone()),
        console: Console::new(snapshots.clone(), clock.clone(), &*entropy)?,
        snapshots: snapshots.clone(),
        audit: audit.clone(),
        recorder: recorder.clone(),
        clock: clock.clone(),
        entropy: entropy.clone(),
    };
    let proxy = ProxyConfig {
        issuer: config.issuer,
        email_claim: config.email_claim,
        api: ApiUrls { http: config.api_url, https: config.api_https_url },
        upstreams,
    };
    tokio::spawn(keep_keys_in_order(store, publisher, clock.clone(), entropy.clone()));
    Ok(Stack {
        services: Arc::new(services),
        proxy: Arc::new(Shared::new(proxy, snapshots.clone(), audit, clock, entropy, issuer_keys)),
        snapshots,
        writer,
        recorder,
        minter,
    })
}

/// Replaces keys that are due and forgets those that are spent, once a day.
async fn keep_keys_in_order(
    store: Arc<dyn Store>,
    publisher: Arc<SnapshotPublisher>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
) {
    let mut days = tokio::time::interval(Duration::from_secs(24 * 3600));
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
