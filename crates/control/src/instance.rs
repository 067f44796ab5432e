//! What a workload learns of itself from the metadata server: its account, and tokens of that account.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use doorward_core::account::UniqueId;
use doorward_core::audit::{AuditClosed, TokenMethod, TokenReason, escaped};
use doorward_core::entropy::EntropyError;
use doorward_core::grant::{ACCESS_TOKEN_TTL, Subject};
use doorward_core::member::Email;
use doorward_core::snapshot::SnapshotCell;
use doorward_wire::metadata::IdentityFormat;
use doorward_wire::oauth::Scopes;
use serde_json::{Value, json};

use crate::record::{Recorder, Refused};
use crate::tokens::{AUDIENCE_LIMIT, IdToken, MintError, Minter, Program};

/// What the instance says of itself.
#[derive(Debug, Clone)]
pub struct InstanceConfig {
    /// The number of its account.
    pub account: UniqueId,
    /// Its number: decimal digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `us-central1-a` and the like.
    pub zone: String,
    /// When it was made: seconds since the Unix epoch.
    pub created: i64,
}

/// An access token for a workload.
pub struct InstanceToken {
    /// The token.
    pub access_token: String,
    /// How long it is good for.
    pub expires_in: Duration,
}

/// Why a workload gets nothing.
#[derive(Debug, thiserror::Error)]
pub enum InstanceError {
    /// The account is disabled or removed.
    #[error("the account of the metadata server is disabled or removed")]
    AccountGone,
    /// No audience, or one that is too long.
    #[error("no audience is asked for, or one that is too long")]
    Audience,
    /// `format` or `licenses` has another value than it may.
    #[error("format is neither standard nor full, or licenses neither TRUE nor FALSE")]
    Format,
    /// A scope is unknown.
    #[error("a scope is unknown")]
    Scope,
    /// A request that a metadata server must not answer: see [`TurnedAway`].
    #[error(transparent)]
    TurnedAway(#[from] TurnedAway),
    /// A token could not be made.
    #[error(transparent)]
    Mint(#[from] MintError),
    /// The event has no id.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The record cannot be written.
    #[error(transparent)]
    AuditClosed(#[from] AuditClosed),
}

/// An identity token, as it is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IdentityRequest<'a> {
    /// For whom the token is.
    pub audience: Option<&'a str>,
    /// `standard`, which is what no value means, or `full`.
    pub format: Option<&'a str>,
    /// `TRUE` or `FALSE`.
    pub licenses: Option<&'a str>,
}

/// Why a request is turned away before it is known what it asks for: it did not come from a program on this machine which knows
/// whom it asks, or it cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TurnedAway {
    /// A parameter occurs twice, or is not what it can be.
    #[error("the query cannot be read")]
    Unreadable,
    /// A web page, or a program that was made to fetch a URL, cannot set the field.
    #[error("no Metadata-Flavor: Google")]
    NoFlavor,
    /// It came through a proxy, for somebody else.
    #[error("X-Forwarded-For is set")]
    Forwarded,
    /// A name that a web page rebound to this address.
    #[error("Host is not a name of the metadata server")]
    ForeignHost,
    /// The connection is not from this machine.
    #[error("the peer is another machine")]
    ForeignPeer,
}

impl Refused for InstanceError {
    fn reason(&self) -> TokenReason {
        match self {
            InstanceError::AccountGone => TokenReason::AccountNotFound,
            InstanceError::Audience => TokenReason::InvalidAudience,
            InstanceError::Format | InstanceError::TurnedAway(TurnedAway::Unreadable) => TokenReason::InvalidRequest,
            InstanceError::Scope => TokenReason::InvalidScope,
            InstanceError::TurnedAway(
                TurnedAway::NoFlavor | TurnedAway::Forwarded | TurnedAway::ForeignHost | TurnedAway::ForeignPeer,
            ) => TokenReason::MetadataRefused,
            InstanceError::Mint(_) | InstanceError::Entropy(_) | InstanceError::AuditClosed(_) => TokenReason::Internal,
        }
    }
}

/// The instance, as its workloads know it.
pub struct Instance {
    snapshots: Arc<SnapshotCell>,
    recorder: Recorder,
    minter: Minter,
    config: InstanceConfig,
}

/// What a metadata server's account may be used for when nobody says, as on Compute Engine with full access.
const DEFAULT_SCOPES: &str = "https://www.googleapis.com/auth/cloud-platform \
                              https://www.googleapis.com/auth/userinfo.email";

impl Instance {
    /// An instance.
    pub fn new(snapshots: Arc<SnapshotCell>, recorder: Recorder, minter: Minter, config: InstanceConfig) -> Self {
        Instance { snapshots, recorder, minter, config }
    }

    /// What it says of itself.
    pub fn config(&self) -> &InstanceConfig {
        &self.config
    }

    /// The project's id and number.
    pub fn project(&self) -> (String, String) {
        let snapshot = self.snapshots.current();
        (snapshot.project.id.clone(), snapshot.project.number.clone())
    }

    /// The scopes that a token has when none are asked for.
    pub fn scopes() -> Vec<String> {
        DEFAULT_SCOPES.split(' ').map(str::to_owned).collect()
    }

    /// The address of its account.
    pub fn email(&self) -> Result<Email, InstanceError> {
        let snapshot = self.snapshots.current();
        let account = snapshot.account(&self.config.account).filter(|account| !account.disabled);
        Ok(account.ok_or(InstanceError::AccountGone)?.email.clone())
    }

    /// An ID token for an audience.
    pub async fn identity(&self, request: IdentityRequest<'_>, peer: IpAddr) -> Result<String, InstanceError> {
        let audience = request.audience.unwrap_or_default();
        let mut event = self.recorder.begin(TokenMethod::Metadata, Some(peer))?;
        let make = || {
            let email = self.email()?;
            if audience.is_empty() || audience.chars().count() > AUDIENCE_LIMIT {
                return Err(InstanceError::Audience);
            }
            let format = IdentityFormat::parse(request.format, request.licenses).ok_or(InstanceError::Format)?;
            let account = Program { unique_id: &self.config.account, email: &email };
            let instance = match format {
                IdentityFormat::Standard => None,
                IdentityFormat::Full { licenses } => Some(self.compute_engine(licenses)),
            };
            let token = self.minter.id_token(&IdToken::Instance { account, instance }, audience, event.time)?;
            Ok((token, email))
        };
        let outcome = make();
        event.issued = Some("id_token".to_owned());
        event.audience = Some(escaped(audience.as_bytes(), AUDIENCE_LIMIT));
        event.account = outcome.as_ref().ok().map(|(_, email)| email.to_string());
        self.recorder.finish(event, outcome.map(|(token, _)| token)).await
    }

    /// An access token, for the scopes that are asked for, or for those of the account.
    pub async fn access_token(&self, scopes: Option<&str>, peer: IpAddr) -> Result<InstanceToken, InstanceError> {
        let mut event = self.recorder.begin(TokenMethod::Metadata, Some(peer))?;
        let make = async {
            let email = self.email()?;
            let asked = scopes.filter(|scopes| !scopes.is_empty()).map(|scopes| scopes.replace(',', " "));
            let scopes = Scopes::parse(asked.as_deref().unwrap_or(DEFAULT_SCOPES)).map_err(|_| InstanceError::Scope)?;
            let now = event.time;
            let made = self
                .minter
                .access_token(Subject::Account(self.config.account.clone()), &scopes, None, ACCESS_TOKEN_TTL, now)
                .await?;
            let expires_in = made.expires.since(now).saturating_sub(Duration::from_secs(1));
            Ok((InstanceToken { access_token: made.token, expires_in }, email, scopes))
        };
        let outcome = make.await;
        if let Ok((_, email, scopes)) = &outcome {
            event.account = Some(email.to_string());
            event.issued = Some("access_token".to_owned());
            event.audience = Some(scopes.as_str().to_owned());
        }
        self.recorder.finish(event, outcome.map(|(token, _, _)| token)).await
    }

    /// Records a request that was turned away.
    pub async fn turn_away(&self, cause: TurnedAway, peer: IpAddr) -> InstanceError {
        let record = async {
            let event = self.recorder.begin(TokenMethod::Metadata, Some(peer))?;
            self.recorder.finish::<(), _>(event, Err(cause.into())).await
        };
        match record.await {
            Err(error) => error,
            Ok(()) => cause.into(),
        }
    }

    /// Spec: <https://cloud.google.com/compute/docs/instances/verifying-instance-identity#payload>
    fn compute_engine(&self, licenses: bool) -> Value {
        let (project_id, project_number) = self.project();
        let InstanceConfig { id, name, zone, created, .. } = &self.config;
        let mut instance = json!({
            "project_id": project_id,
            "project_number": project_number.parse::<u64>().unwrap_or_default(),
            "zone": zone,
            "instance_id": id,
            "instance_name": name,
            "instance_creation_timestamp": created,
            "instance_confidentiality": 0,
        });
        if licenses && let Some(claims) = instance.as_object_mut() {
            claims.insert("license_id".to_owned(), json!([]));
        }
        instance
    }
}
