//! The token endpoint: one file for each grant, and one place that mints.

mod issue;
mod jwt_bearer;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use doorward_core::account::ServiceAccount;
use doorward_core::audit::{AuditClosed, AuditEvent, AuditSink, TokenEvent, escaped};
use doorward_core::clock::Clock;
use doorward_core::entropy::{Entropy, EntropyError, random_base64url};
use doorward_core::keys::KeyError;
use doorward_core::snapshot::SnapshotCell;
use doorward_core::store::{Store, StoreError};
use doorward_wire::oauth::{Scopes, TokenRequest};

/// What is set for the token endpoint.
#[derive(Debug, Clone)]
pub struct TokenConfig {
    /// `iss` of ID tokens.
    pub issuer: String,
    /// Every URL at which our token endpoint is reached: an assertion may name one of them as its audience, or one of
    /// Google's three.
    pub token_urls: Vec<String>,
}

/// Redeems grants for tokens.
pub struct TokenService {
    store: Arc<dyn Store>,
    snapshots: Arc<SnapshotCell>,
    audit: Arc<dyn AuditSink>,
    entropy: Arc<dyn Entropy>,
    clock: Arc<dyn Clock>,
    config: TokenConfig,
}

/// What was issued. `Debug` does not show the token.
pub enum Issued {
    /// A signed ID token, for one audience.
    IdToken(String),
    /// An opaque token for APIs.
    AccessToken {
        /// The token, shown this once and stored as a hash.
        token: String,
        /// How long it is good for.
        expires_in: Duration,
    },
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Issued::IdToken(_) => "IdToken(..)",
            Issued::AccessToken { .. } => "AccessToken(..)",
        })
    }
}

/// Why nothing was issued. `Display` is for the record and never holds a token.
#[derive(Debug, thiserror::Error)]
pub enum RedeemError {
    /// Longer than 16 KiB, or not three parts of base64 that hold JSON objects.
    #[error("the assertion is not a signed JWT")]
    Structure,
    /// The header is not accepted, or no key that it may name made the signature.
    #[error("the assertion's signature does not verify")]
    Signature,
    /// `iss` names no account, or one that is disabled. The two must not be told apart to a client.
    #[error("the assertion's iss names no account that may get tokens")]
    AccountNotFound,
    /// `iat` is missing or not a number.
    #[error("the assertion has no iat")]
    IssuedAtMissing,
    /// `exp` is missing or not a number.
    #[error("the assertion has no exp")]
    ExpiresMissing,
    /// Expired, issued ahead of time, or good for longer than an hour.
    #[error("the assertion is not good now, or good for longer than an hour")]
    TimeWindow,
    /// Neither a `target_audience` nor a list of known scopes.
    #[error("the assertion asks for no audience and for no known scope")]
    Scope,
    /// `aud` is not our token endpoint.
    #[error("the assertion's aud is not the token endpoint")]
    Audience,
    /// `sub` is somebody else than `iss`.
    #[error("the assertion's sub is not its iss")]
    Delegation,
    /// The assertion has a `jti` that was used before.
    #[error("the assertion's jti has been used before")]
    Replayed,
    /// The store failed.
    #[error("could not read or write accounts and grants")]
    Store(#[from] StoreError),
    /// A key could not be used.
    #[error("could not use a key")]
    Key(#[from] KeyError),
    /// No token could be made.
    #[error("could not make a token")]
    Entropy(#[from] EntropyError),
    /// The record cannot be written.
    #[error(transparent)]
    AuditClosed(#[from] AuditClosed),
}

/// What a grant entitles to. The files of the grants make it, and issuing demands one.
struct Authorization {
    account: ServiceAccount,
    wanted: Wanted,
}

enum Wanted {
    IdToken { audience: String },
    AccessToken { scopes: Scopes },
}

impl TokenService {
    /// The service, with everything that it uses.
    pub fn new(
        store: Arc<dyn Store>,
        snapshots: Arc<SnapshotCell>,
        audit: Arc<dyn AuditSink>,
        entropy: Arc<dyn Entropy>,
        clock: Arc<dyn Clock>,
        config: TokenConfig,
    ) -> Self {
        TokenService { store, snapshots, audit, entropy, clock, config }
    }

    /// Checks a grant and issues what it entitles to. What was issued or refused is in the record before this returns.
    ///
    /// # Errors
    /// [`RedeemError`]: nothing was issued.
    pub async fn redeem(&self, request: TokenRequest) -> Result<Issued, RedeemError> {
        let now = self.clock.now();
        let id = random_base64url(&*self.entropy, 16)?;
        let mut event = TokenEvent { id, time: now, account: None, issued: None, audience: None, refused: None };
        let authorized = match request {
            TokenRequest::JwtBearer { assertion } => self.check_assertion(&assertion, now, &mut event.account).await,
        };
        let result = match authorized {
            Ok(authorization) => self.issue(&authorization, now).await.map(|issued| (authorization, issued)),
            Err(error) => Err(error),
        };
        match &result {
            Ok((Authorization { wanted, .. }, _)) => {
                let (kind, audience) = match wanted {
                    Wanted::IdToken { audience } => ("id_token", escaped(audience.as_bytes(), AUDIENCE_LIMIT)),
                    Wanted::AccessToken { scopes } => ("access_token", scopes.as_str().to_owned()),
                };
                event.issued = Some(kind.to_owned());
                event.audience = Some(audience);
            }
            Err(error) => event.refused = Some(error.to_string()),
        }
        self.audit.record(AuditEvent::Token(event)).await?;
        result.map(|(_, issued)| issued)
    }
}

/// The longest audience for which an ID token is issued, in characters.
const AUDIENCE_LIMIT: usize = 2048;
