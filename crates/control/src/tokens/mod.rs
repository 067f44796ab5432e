//! The token endpoint: one file for each grant, and one place that mints.

pub(crate) mod audience;
mod authorization_code;
mod clients;
mod device_code;
mod inspect;
mod issue;
mod jwt_bearer;
mod person;
mod refresh_token;
mod revoke;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use authorization_code::is_pkce_text;
pub use device_code::DeviceCodes;
pub(crate) use device_code::canonical_user_code;
use doorward_core::account::UniqueId;
use doorward_core::audit::{AuditClosed, TokenMethod, TokenReason};
use doorward_core::entropy::EntropyError;
use doorward_core::grant::{ACCESS_TOKEN_TTL, Subject};
use doorward_core::keys::KeyError;
use doorward_core::snapshot::{Snapshot, SnapshotCell};
use doorward_core::store::{Store, StoreError};
use doorward_wire::oauth::{Scopes, TokenFormError, TokenRequest};
pub use inspect::{InspectError, Inspected, TokenInfo};
pub(crate) use issue::{IdToken, Program};
pub use issue::{MintError, Minter};

use crate::admin::Peer;
use crate::record::{Recorder, Refused};
use crate::throttle::{Throttle, Throttled};

/// The longest audience for which an ID token is issued, in characters.
pub(crate) const AUDIENCE_LIMIT: usize = 2048;

/// Redeems grants for tokens.
pub struct TokenService {
    store: Arc<dyn Store>,
    snapshots: Arc<SnapshotCell>,
    recorder: Recorder,
    minter: Minter,
    throttle: Arc<Throttle>,
    /// Every URL at which our token endpoint is reached: an assertion may name one of them as its audience, or one of
    /// Google's three.
    token_urls: Vec<String>,
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
    /// Everything that a person allowed a client.
    Person {
        /// An opaque token for APIs.
        access_token: String,
        /// How long it is good for.
        expires_in: Duration,
        /// If a new one was made.
        refresh_token: Option<String>,
        /// What all of them are for.
        scopes: Scopes,
        /// If a scope tells of the person.
        id_token: Option<String>,
    },
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Issued::IdToken(_) => "IdToken(..)",
            Issued::AccessToken { .. } => "AccessToken(..)",
            Issued::Person { .. } => "Person(..)",
        })
    }
}

/// Why nothing was issued. `Display` is for the record and never holds a token.
#[derive(Debug, thiserror::Error)]
pub enum RedeemError {
    /// The form is no request.
    #[error(transparent)]
    Form(#[from] TokenFormError),
    /// The assertion is longer than 16 KiB, or not three parts of base64 that hold JSON objects.
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
    /// Neither a `target_audience` nor a list of known scopes; or scopes beyond those that were granted.
    #[error("no audience and no known scope is asked for, or more than was granted")]
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
    /// There is no such client.
    #[error("the client is unknown")]
    ClientUnknown,
    /// The secret is wrong, missing, or sent by a client that has none.
    #[error("the client's secret does not match")]
    ClientSecret,
    /// Too many failures.
    #[error(transparent)]
    Throttled(#[from] Throttled),
    /// The code has not the form of one of ours.
    #[error("the code is not one of ours")]
    CodeMalformed,
    /// The code is unknown, has ended, or is another client's.
    #[error("the code is unknown, has ended, or is another client's")]
    CodeUnknown,
    /// The code was used before: what it gave is revoked.
    #[error("the code was used before; what it gave is revoked")]
    CodeReused,
    /// The redirect URI is not the one to which the code was sent.
    #[error("the redirect URI is not the one of the code")]
    RedirectMismatch,
    /// The verifier does not fit the challenge, or one of them is missing.
    #[error("the code verifier does not fit the challenge, or one of the two is missing")]
    Verifier,
    /// The refresh token is unknown or revoked, or its person may get no tokens.
    #[error("the refresh token is unknown or revoked, or its account is disabled")]
    TokenUnknown,
    /// The refresh token is another client's.
    #[error("the refresh token is another client's")]
    TokenOfAnotherClient,
    /// The refresh token was used before: everything of its family is revoked.
    #[error("the refresh token was used before; everything of its family is revoked")]
    RefreshTokenReused,
    /// `audience` names no client.
    #[error("the audience is no client")]
    AudienceUnknown,
    /// `audience` and the client are in two projects.
    #[error("the audience is in another project than the client")]
    AudienceOfAnotherProject,
    /// A client of a kind that has a browser, and gets its answers at an address of its own.
    #[error("clients of this kind ask in a browser, and get no device codes")]
    DeviceClient,
    /// The device code is unknown, another client's, or answered before.
    #[error("the device code is unknown, another client's, or answered before")]
    DeviceUnknown,
    /// The device code has ended.
    #[error("the device code has ended")]
    DeviceExpired,
    /// The device asked too soon.
    #[error("the device asked too soon")]
    DeviceTooSoon,
    /// The person has not decided.
    #[error("the person has not decided yet")]
    DevicePending,
    /// The person said no.
    #[error("the person said no")]
    DeviceDenied,
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

impl From<MintError> for RedeemError {
    fn from(error: MintError) -> Self {
        match error {
            MintError::Revoked => RedeemError::TokenUnknown,
            MintError::Store(error) => RedeemError::Store(error),
            MintError::Key(error) => RedeemError::Key(error),
            MintError::Entropy(error) => RedeemError::Entropy(error),
        }
    }
}

impl Refused for RedeemError {
    fn reason(&self) -> TokenReason {
        use RedeemError as E;
        match self {
            E::Form(_) | E::CodeMalformed => TokenReason::InvalidRequest,
            E::Structure
            | E::Signature
            | E::IssuedAtMissing
            | E::ExpiresMissing
            | E::TimeWindow
            | E::Audience
            | E::Delegation => TokenReason::InvalidAssertion,
            E::AccountNotFound => TokenReason::AccountNotFound,
            E::Scope => TokenReason::InvalidScope,
            E::Replayed => TokenReason::ReplayedAssertion,
            E::ClientUnknown | E::ClientSecret | E::DeviceClient => TokenReason::InvalidClient,
            E::Throttled(_) => TokenReason::Throttled,
            E::CodeUnknown | E::TokenUnknown | E::TokenOfAnotherClient | E::DeviceUnknown | E::DeviceExpired => {
                TokenReason::UnknownGrant
            }
            E::CodeReused => TokenReason::CodeReuse,
            E::RedirectMismatch => TokenReason::RedirectMismatch,
            E::Verifier => TokenReason::PkceMismatch,
            E::RefreshTokenReused => TokenReason::RefreshTokenReuse,
            E::AudienceUnknown | E::AudienceOfAnotherProject => TokenReason::InvalidAudience,
            E::DeviceTooSoon => TokenReason::SlowDown,
            E::DevicePending => TokenReason::AuthorizationPending,
            E::DeviceDenied => TokenReason::AccessDenied,
            E::Store(_) | E::Key(_) | E::Entropy(_) | E::AuditClosed(_) => TokenReason::Internal,
        }
    }
}

impl TokenService {
    /// The service, with everything that it uses.
    pub fn new(
        store: Arc<dyn Store>,
        snapshots: Arc<SnapshotCell>,
        recorder: Recorder,
        minter: Minter,
        throttle: Arc<Throttle>,
        token_urls: Vec<String>,
    ) -> Self {
        TokenService { store, snapshots, recorder, minter, throttle, token_urls }
    }

    /// Checks a grant and issues what it entitles to. What was issued or refused is in the record before this returns, a form
    /// that is no request too.
    ///
    /// # Errors
    /// [`RedeemError`]: nothing was issued.
    pub async fn redeem(
        &self,
        request: Result<TokenRequest, TokenFormError>,
        peer: impl Into<Peer>,
    ) -> Result<Issued, RedeemError> {
        let peer = peer.into();
        let mut event = self.recorder.begin(method(&request), Some(peer.address))?;
        let outcome = match request {
            Ok(TokenRequest::JwtBearer(request)) => self.redeem_assertion(&request, &mut event).await,
            Ok(TokenRequest::AuthorizationCode(request)) => self.redeem_code(&request, peer, &mut event).await,
            Ok(TokenRequest::RefreshToken(request)) => self.redeem_refresh_token(&request, peer, &mut event).await,
            Ok(TokenRequest::DeviceCode(request)) => self.redeem_device_code(&request, peer, &mut event).await,
            Err(error) => Err(error.into()),
        };
        self.recorder.finish(event, outcome).await
    }
}

/// What clients are told about an access token: a second less than it lives, as Google says it, so that nobody uses one in
/// the moment in which it ends.
const ACCESS_TOKEN_EXPIRES_IN: Duration = ACCESS_TOKEN_TTL.saturating_sub(Duration::from_secs(1));

fn method(request: &Result<TokenRequest, TokenFormError>) -> TokenMethod {
    match request {
        Ok(TokenRequest::JwtBearer(_)) => TokenMethod::JwtBearer,
        Ok(TokenRequest::AuthorizationCode(_)) => TokenMethod::AuthorizationCode,
        Ok(TokenRequest::RefreshToken(_)) => TokenMethod::RefreshToken,
        Ok(TokenRequest::DeviceCode(_)) => TokenMethod::DeviceCode,
        Err(_) => TokenMethod::Token,
    }
}

/// The address of an account for the record, or its number if it is no more.
fn account_name(snapshot: &Snapshot, subject: &UniqueId) -> String {
    snapshot.account(subject).map_or_else(|| subject.0.clone(), |account| account.email.to_string())
}

/// The same of whoever an access token is for.
fn subject_name(snapshot: &Snapshot, subject: &Subject) -> String {
    match subject {
        Subject::Account(id) => account_name(snapshot, id),
        Subject::Federated(identity) => identity.principal(&snapshot.project).to_string(),
    }
}

/// A client's id for the record, as a request names it. What has not the form of one may be a secret in the wrong place.
pub(crate) fn client_name(id: &str) -> String {
    let letters = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
    match letters && id.len() <= CLIENT_NAME_LIMIT && id.ends_with(".apps.googleusercontent.com") {
        true => id.to_owned(),
        false => "(not a client id)".to_owned(),
    }
}

/// The longest id of a client in the record, in characters.
const CLIENT_NAME_LIMIT: usize = 256;
