//! Token exchange (RFC 8693): the token of another issuer in, an access token for an identity of a pool out.
//!
//! Spec: <https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token>

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use doorward_core::audit::{AuditClosed, TokenEvent, TokenMethod, TokenReason};
use doorward_core::clock::{CLOCK_SKEW, Timestamp, whole_seconds};
use doorward_core::entropy::EntropyError;
use doorward_core::federation::{FederatedIdentity, MappedError, Provider};
use doorward_core::grant::{ACCESS_TOKEN_TTL, Subject, TokenHash};
use doorward_core::issuer::LONGEST_LIFE;
use doorward_core::keys::KeyError;
use doorward_core::outbound::{IssuerKeys, IssuerKeysError};
use doorward_core::resource::Project;
use doorward_core::snapshot::{KnownProvider, SnapshotCell};
use doorward_core::store::{Store, StoreError};
use doorward_wire::jose::{Algorithm, ClaimError, Claims, JwsError, TOKEN_LIMIT, TokenKind, Unverified};
use doorward_wire::oauth::{
    ACCESS_TOKEN_TYPE, AWS4_REQUEST_TYPE, ID_TOKEN_TYPE, JWT_TYPE, SAML2_TYPE, Scopes, TokenExchangeRequest,
    TokenFormError,
};
use serde_json::Value;

use crate::record::{Recorder, Refused};
use crate::tokens::{MintError, Minter};

/// What the resource name of a provider stands behind in `audience`.
const AUDIENCE_PREFIX: &str = "//iam.googleapis.com/";

/// Exchanges tokens.
pub struct TokenExchange {
    store: Arc<dyn Store>,
    snapshots: Arc<SnapshotCell>,
    recorder: Recorder,
    minter: Minter,
    keys: Arc<dyn IssuerKeys>,
}

/// What was issued. `Debug` does not show the token.
pub struct Exchanged {
    /// An opaque access token for `iamcredentials`, shown this once and stored as a hash.
    pub token: String,
    /// How long its holder is told that it is good for: at most an hour, and not beyond the end of the token that was given for
    /// it. Whole seconds.
    pub expires_in: Duration,
}

impl fmt::Debug for Exchanged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Exchanged(expires in {} s)", self.expires_in.as_secs())
    }
}

/// Why nothing was issued. `Display` is for the record and never holds a token or a claim.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The body is no request.
    #[error(transparent)]
    Form(#[from] TokenFormError),
    /// `requested_token_type` is missing, or not that of an access token.
    #[error("the requested token type is not an access token")]
    RequestedType,
    /// `subject_token_type` is one of Google's that is not served: SAML, or a signed request of AWS.
    #[error("subject tokens of type {0} are not served")]
    SubjectTypeNotServed(&'static str),
    /// `subject_token_type` is none of Google's.
    #[error("the subject token type is unknown")]
    SubjectType,
    /// `options` is not JSON.
    #[error("options is not a JSON object")]
    Options,
    /// No scope is asked for.
    #[error("no scope is asked for")]
    ScopeMissing,
    /// A scope is unknown.
    #[error("a scope is unknown")]
    Scope,
    /// `audience` is not the full name of a provider.
    #[error("the audience is not the full name of a provider")]
    AudienceMalformed,
    /// There is no such provider, or it or its pool is disabled. The two must not be told apart to a client.
    #[error("there is no such provider, or it or its pool is disabled")]
    UnknownProvider,
    /// The token is longer than 16 KiB.
    #[error("the subject token is longer than 16 KiB")]
    TooLarge,
    /// The token is not three parts of base64url that hold JSON objects.
    #[error("the subject token is not a signed JWT")]
    Structure,
    /// The token's header names another algorithm than RS256 and ES256.
    #[error("the subject token's algorithm is not accepted")]
    Algorithm,
    /// The token's header has a parameter that is not accepted.
    #[error("the subject token's header is not accepted")]
    Header,
    /// The token's header says that it is something else than a JWT, or than an access token of one (RFC 9068): a document of another
    /// kind by the same issuer is no proof of who presents it (RFC 8725 section 3.11).
    #[error("the subject token's typ is not that of a JWT")]
    Kind,
    /// The token's header names no key.
    #[error("the subject token names no key")]
    KeyIdMissing,
    /// `iss` is not the provider's issuer.
    #[error("the subject token's iss is not the provider's issuer")]
    Issuer,
    /// The issuer's keys are not at hand.
    #[error(transparent)]
    KeysUnavailable(#[from] IssuerKeysError),
    /// The issuer has no key of this id.
    #[error("the issuer has no key of the subject token's key id")]
    UnknownKey,
    /// The signature is not the key's.
    #[error("the subject token's signature does not verify")]
    Signature,
    /// `exp`, `iat` or `nbf` is missing or no whole number.
    #[error("the subject token has no {0} that can be used")]
    TimeMissing(&'static str),
    /// `exp` has passed.
    #[error("the subject token has expired")]
    Expired,
    /// `iat` or `nbf` lies ahead.
    #[error("the subject token is not valid yet")]
    NotYetValid,
    /// More than a day, or less than nothing, from `iat` to `exp`.
    #[error("the subject token is good for longer than 24 hours, or its exp lies before its iat")]
    TooLongLived,
    /// `aud` names no audience of the provider.
    #[error("the subject token's aud is not one that the provider allows")]
    Audience,
    /// The claims give no identity.
    #[error(transparent)]
    Mapping(MappedError),
    /// The attribute condition does not hold, or cannot be computed.
    #[error(transparent)]
    Condition(MappedError),
    /// The store failed.
    #[error("could not write a token")]
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

impl From<JwsError> for ExchangeError {
    fn from(error: JwsError) -> Self {
        match error {
            JwsError::TooLong { .. } => ExchangeError::TooLarge,
            JwsError::NotCompact | JwsError::Object(_) => ExchangeError::Structure,
            JwsError::Algorithm => ExchangeError::Algorithm,
            JwsError::HeaderParameter(_) | JwsError::HeaderType => ExchangeError::Header,
            JwsError::Signature => ExchangeError::Signature,
        }
    }
}

impl From<ClaimError> for ExchangeError {
    fn from(error: ClaimError) -> Self {
        match error {
            ClaimError::Missing(name) => ExchangeError::TimeMissing(name),
            ClaimError::Expired(_) => ExchangeError::Expired,
            ClaimError::NotYetValid(_) => ExchangeError::NotYetValid,
        }
    }
}

impl From<MappedError> for ExchangeError {
    fn from(error: MappedError) -> Self {
        use MappedError as E;
        match error {
            E::Failed { .. } | E::Value(_) | E::TooLong { .. } | E::TooManyGroups => ExchangeError::Mapping(error),
            E::ConditionFalse | E::ConditionFailed(_) => ExchangeError::Condition(error),
        }
    }
}

impl From<MintError> for ExchangeError {
    fn from(error: MintError) -> Self {
        match error {
            MintError::Revoked => ExchangeError::UnknownProvider,
            MintError::Store(error) => ExchangeError::Store(error),
            MintError::Key(error) => ExchangeError::Key(error),
            MintError::Entropy(error) => ExchangeError::Entropy(error),
        }
    }
}

impl Refused for ExchangeError {
    fn reason(&self) -> TokenReason {
        use ExchangeError as E;
        match self {
            E::Form(_)
            | E::RequestedType
            | E::SubjectTypeNotServed(_)
            | E::SubjectType
            | E::Options
            | E::ScopeMissing
            | E::AudienceMalformed => TokenReason::InvalidRequest,
            E::Scope => TokenReason::InvalidScope,
            E::UnknownProvider => TokenReason::UnknownProvider,
            E::TooLarge
            | E::Structure
            | E::Algorithm
            | E::Header
            | E::Kind
            | E::KeyIdMissing
            | E::Issuer
            | E::UnknownKey
            | E::Signature
            | E::TimeMissing(_)
            | E::Expired
            | E::NotYetValid
            | E::TooLongLived
            | E::Audience => TokenReason::InvalidSubjectToken,
            E::KeysUnavailable(_) => TokenReason::KeysUnavailable,
            E::Mapping(_) => TokenReason::AttributeMapping,
            E::Condition(_) => TokenReason::AttributeCondition,
            E::Store(_) | E::Key(_) | E::Entropy(_) | E::AuditClosed(_) => TokenReason::Internal,
        }
    }
}

/// What a request entitles to: made by checking its token.
struct Authorization {
    identity: FederatedIdentity,
    scopes: Scopes,
    lifetime: Duration,
}

impl TokenExchange {
    /// Trusts what `keys` holds of each provider's issuer.
    pub fn new(
        store: Arc<dyn Store>,
        snapshots: Arc<SnapshotCell>,
        recorder: Recorder,
        minter: Minter,
        keys: Arc<dyn IssuerKeys>,
    ) -> Self {
        TokenExchange { store, snapshots, recorder, minter, keys }
    }

    /// Checks a token of another issuer and issues one for the identity that it stands for. What was issued or refused is in the
    /// record before this returns, a body that is no request too.
    ///
    /// # Errors
    /// [`ExchangeError`]: nothing was issued.
    pub async fn exchange(
        &self,
        request: Result<TokenExchangeRequest, TokenFormError>,
        peer: IpAddr,
    ) -> Result<Exchanged, ExchangeError> {
        let mut event = self.recorder.begin(TokenMethod::TokenExchange, Some(peer))?;
        let outcome = match request {
            Ok(request) => self.issue(&request, &mut event).await,
            Err(error) => Err(error.into()),
        };
        self.recorder.finish(event, outcome).await
    }

    /// Which provider is named, and later which identity it vouched for, goes into the event.
    async fn issue(&self, request: &TokenExchangeRequest, event: &mut TokenEvent) -> Result<Exchanged, ExchangeError> {
        let scopes = check_request(request)?;
        let snapshot = self.snapshots.current();
        let name = request.audience.strip_prefix(AUDIENCE_PREFIX).filter(|name| is_provider_name(name));
        let provider = snapshot.provider(name.ok_or(ExchangeError::AudienceMalformed)?);
        let known = provider.ok_or(ExchangeError::UnknownProvider)?;
        let provider = &known.provider;
        event.account = Some(provider.name(&snapshot.project));

        let claims = self.prove(&request.subject_token, provider, &snapshot.project).await?;
        let lifetime = check_time(&claims, event.time)?;
        if !is_for(&claims, provider, &snapshot.project) {
            return Err(ExchangeError::Audience);
        }
        let mapped = known.mapping.apply(claims.as_object())?;
        let identity = FederatedIdentity {
            pool: provider.pool.clone(),
            provider: provider.id.clone(),
            generation: provider.generation.clone(),
            subject: mapped.subject,
            groups: mapped.groups,
            attributes: mapped.attributes,
        };
        event.account = Some(identity.principal(&snapshot.project).to_string());
        let issued = self.mint(Authorization { identity, scopes, lifetime }, known, event).await?;
        // Told a second less than it lives, as Google does, so that nobody uses one in the moment in which it ends.
        let expires_in = Duration::from_secs(lifetime.as_secs() - 1);
        Ok(Exchanged { token: issued, expires_in })
    }

    /// The claims of a token that the provider's issuer signed. Its keys are found by the provider's entry, never by what the
    /// token says.
    async fn prove(&self, token: &str, provider: &Provider, project: &Project) -> Result<Claims, ExchangeError> {
        let unverified = Unverified::parse(token, TOKEN_LIMIT, &[Algorithm::Rs256, Algorithm::Es256])?;
        if unverified.unproven_claims().get("iss").and_then(Value::as_str) != Some(&provider.issuer) {
            return Err(ExchangeError::Issuer);
        }
        match unverified.kind() {
            // There are issuers that give a workload an access token (RFC 9068) and no other. Whom it lets in, `aud`, the mapping and the
            // condition say.
            TokenKind::Jwt | TokenKind::AccessToken => {}
            TokenKind::Other => return Err(ExchangeError::Kind),
        }
        let kid = unverified.kid().ok_or(ExchangeError::KeyIdMissing)?.to_owned();
        let keys = self.keys.keys(&provider.key_source(project), &kid).await?;
        let key = keys.find_for(&kid, unverified.algorithm()).ok_or(ExchangeError::UnknownKey)?;
        Ok(unverified.verify(key)?)
    }

    async fn mint(
        &self,
        authorization: Authorization,
        known: &Arc<KnownProvider>,
        event: &mut TokenEvent,
    ) -> Result<String, ExchangeError> {
        let Authorization { identity, scopes, lifetime } = authorization;
        let subject = Subject::Federated(Box::new(identity));
        let made = self.minter.access_token(subject, &scopes, None, lifetime, event.time).await?;
        // The store keeps nothing for a provider that was changed since. What it cannot see is told here: the pool may be disabled.
        let snapshot = self.snapshots.current();
        if snapshot.provider(&known.provider.name(&snapshot.project)) != Some(known) {
            self.store.remove_access_token(&TokenHash::of(&made.token)).await?;
            return Err(ExchangeError::UnknownProvider);
        }
        event.issued = Some("access_token".to_owned());
        event.audience = Some(scopes.as_str().to_owned());
        Ok(made.token)
    }
}

/// Checks everything of a request but its audience and its token, and gives the scopes.
fn check_request(request: &TokenExchangeRequest) -> Result<Scopes, ExchangeError> {
    if request.requested_token_type.as_deref() != Some(ACCESS_TOKEN_TYPE) {
        return Err(ExchangeError::RequestedType);
    }
    match request.subject_token_type.as_str() {
        JWT_TYPE | ID_TOKEN_TYPE => {}
        SAML2_TYPE => return Err(ExchangeError::SubjectTypeNotServed(SAML2_TYPE)),
        AWS4_REQUEST_TYPE => return Err(ExchangeError::SubjectTypeNotServed(AWS4_REQUEST_TYPE)),
        _ => return Err(ExchangeError::SubjectType),
    }
    let is_object = |text: &str| serde_json::from_str::<Value>(text).is_ok_and(|options| options.is_object());
    // They say which project pays for a call of a workforce identity: nothing here.
    if request.options.as_deref().is_some_and(|options| !is_object(options)) {
        return Err(ExchangeError::Options);
    }
    let scope = request.scope.as_deref().ok_or(ExchangeError::ScopeMissing)?;
    Scopes::parse(scope).map_err(|_| ExchangeError::Scope)
}

/// Whether a name has the form of a provider's, of whatever project.
fn is_provider_name(name: &str) -> bool {
    match name.split('/').collect::<Vec<_>>()[..] {
        ["projects", project, "locations", "global", "workloadIdentityPools", pool, "providers", provider] => {
            [project, pool, provider].iter().all(|part| !part.is_empty())
        }
        _ => false,
    }
}

/// Checks `iat`, `exp` and, where it is present, `nbf`; gives how long a token for these claims may live.
///
/// There is no grace after `exp`: what would be issued had no time to live.
fn check_time(claims: &Claims, now: Timestamp) -> Result<Duration, ExchangeError> {
    claims.check_time(now.seconds(), whole_seconds(CLOCK_SKEW))?;
    let (issued, expires) = (claims.seconds("iat")?, claims.seconds("exp")?);
    if expires < issued || expires.saturating_sub(issued) > whole_seconds(LONGEST_LIFE) {
        return Err(ExchangeError::TooLongLived);
    }
    let rest = Timestamp::from_seconds(expires).since(now).min(ACCESS_TOKEN_TTL);
    // One second is kept back when its holder is told.
    if rest < Duration::from_secs(2) { Err(ExchangeError::Expired) } else { Ok(rest) }
}

/// Whether `aud`, one text or several, names the provider.
fn is_for(claims: &Claims, provider: &Provider, project: &Project) -> bool {
    let accepted = |audience: &Value| audience.as_str().is_some_and(|aud| provider.accepts_audience(aud, project));
    match claims.as_object().get("aud") {
        Some(Value::Array(audiences)) => audiences.iter().any(accepted),
        Some(audience) => accepted(audience),
        None => false,
    }
}
