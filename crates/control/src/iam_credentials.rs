//! Acting as a service account: tokens and signatures for those whom the account's policy lets.
//!
//! Spec: <https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts>

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use doorward_core::account::{ManagedKey, ServiceAccountKey, UniqueId};
use doorward_core::audit::{AuditClosed, TokenEvent, TokenMethod, TokenReason, escaped};
use doorward_core::clock::Timestamp;
use doorward_core::entropy::{Entropy, EntropyError, generate_private_key, random_hex};
use doorward_core::grant::{ACCESS_TOKEN_TTL, Subject};
use doorward_core::member::Email;
use doorward_core::policy::request::{RequestContext, ResourceAttributes};
use doorward_core::policy::{Permission, Principal, Question};
use doorward_core::resource::Resource;
use doorward_core::snapshot::{AccountKind, Snapshot};
use doorward_core::store::{Store, StoreError};
use doorward_wire::iam_credentials::{
    GenerateAccessTokenRequest, GenerateIdTokenRequest, SignBlobRequest, SignJwtRequest,
};
use doorward_wire::jose::{Algorithm, KeyMaterialError, SigningKey, StrictNumber, parse_object};
use doorward_wire::oauth::Scopes;

use tokio::sync::Mutex;

use crate::admin::Peer;
use crate::callers::ApiCaller;
use crate::record::{Recorder, Refused};
use crate::snapshots::{RefreshError, SnapshotPublisher};
use crate::tasks::{Stopping, join};
use crate::tokens::{AUDIENCE_LIMIT, IdToken, MintError, Minter, Program};

/// Accounts in one chain, at most.
const CHAIN_LIMIT: usize = 10;
/// `exp` of a JWT that we sign for others may lie this far ahead, in seconds.
const LONGEST_JWT_LIFE: i64 = 12 * 3600;
/// After this long an account's managed key is replaced. The one before it stays published until then, so for longer than
/// anything that it signed is good.
const MANAGED_KEY_AGE: Duration = Duration::from_secs(14 * 24 * 3600);
/// Google's keys have ids of 40 hexadecimal digits.
const KEY_ID_BYTES: usize = 20;

/// Why nothing was made. `Display` is for the record and holds no token.
#[derive(Debug, thiserror::Error)]
pub enum ImpersonationError {
    /// The resource does not start with `projects/-/serviceAccounts/`, or a delegate does not.
    #[error("the name of an account must begin with projects/-/serviceAccounts/")]
    Name,
    /// An account occurs twice in the chain, or the chain is too long.
    #[error("the chain of delegates is too long, or names an account twice")]
    Chain,
    /// No audience, or one that is too long.
    #[error("no audience is asked for, or one that is too long")]
    Audience,
    /// No scope, or one that is unknown.
    #[error("no scope is asked for, or one that is unknown")]
    Scope,
    /// A lifetime that is not a number of seconds, or longer than an hour.
    #[error("the lifetime is not a number of seconds up to an hour")]
    Lifetime,
    /// The payload is no JSON object, no base64, or its `exp` does not hold.
    #[error("the payload cannot be signed: {0}")]
    Payload(#[from] BadPayload),
    /// The body is no request of the method.
    #[error("the body is no request of this method")]
    Body,
    /// The caller's credential was not given for this API.
    #[error("the caller's credential has not the scope for this")]
    InsufficientScope,
    /// A link of the chain does not hold: an account lacks the permission on the next, or one of them is not there.
    #[error("{holder} lacks {} on {on}, or one of them is not there or disabled", permission.name())]
    Denied {
        /// Who lacks it.
        holder: String,
        /// What.
        permission: Permission,
        /// On whom, as it was named.
        on: String,
    },
    /// The store failed.
    #[error("could not read or write keys and tokens")]
    Store(#[from] StoreError),
    /// A token could not be made.
    #[error(transparent)]
    Mint(#[from] MintError),
    /// A new key is stored, and it is not known whether it is published.
    #[error(transparent)]
    Refresh(#[from] RefreshError),
    /// A managed key could not be used.
    #[error("could not use a managed key")]
    Key(#[from] KeyMaterialError),
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The process is stopping.
    #[error(transparent)]
    Stopping(#[from] Stopping),
    /// The record cannot be written.
    #[error(transparent)]
    AuditClosed(#[from] AuditClosed),
}

/// Why a payload is not signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPayload {
    /// No base64, or nothing in it.
    #[error("it is not base64, or empty")]
    Base64,
    /// No JSON object, or one whose names are not unique.
    #[error("it is not a JSON object with unique names")]
    Object,
    /// `exp` is no whole number.
    #[error("exp is not a whole number")]
    ExpiresMalformed,
    /// `exp` has passed.
    #[error("exp has passed")]
    Expired,
    /// `exp` lies too far ahead.
    #[error("exp lies more than 12 hours ahead")]
    TooLong,
}

impl Refused for ImpersonationError {
    fn reason(&self) -> TokenReason {
        use ImpersonationError as E;
        match self {
            E::Name | E::Chain | E::Lifetime | E::Payload(_) | E::Body => TokenReason::InvalidRequest,
            E::Audience => TokenReason::InvalidAudience,
            E::Scope => TokenReason::InvalidScope,
            E::InsufficientScope => TokenReason::InsufficientScope,
            E::Denied { .. } => TokenReason::PermissionDenied,
            E::Store(_)
            | E::Mint(_)
            | E::Refresh(_)
            | E::Key(_)
            | E::Entropy(_)
            | E::Stopping(_)
            | E::AuditClosed(_) => TokenReason::Internal,
        }
    }
}

/// An access token of an account.
pub struct ImpersonatedAccessToken {
    /// The token, shown this once and stored as a hash.
    pub token: String,
    /// When it ends.
    pub expires: Timestamp,
}

/// Something signed by an account's managed key.
pub struct Signed {
    /// The key.
    pub key_id: String,
    /// A compact JWS, or a signature in base64.
    pub text: String,
}

/// An account that the caller may act as, by the whole chain: made by checking it.
struct Target {
    unique_id: UniqueId,
    email: Email,
}

/// Acts as service accounts.
pub struct IamCredentials {
    store: Arc<dyn Store>,
    publisher: Arc<SnapshotPublisher>,
    recorder: Recorder,
    minter: Minter,
    entropy: Arc<dyn Entropy>,
    /// Held while a key is made: of many who need the first one of an account, one makes it.
    making: Mutex<()>,
}

impl IamCredentials {
    /// The service, with everything that it uses.
    pub fn new(
        store: Arc<dyn Store>,
        publisher: Arc<SnapshotPublisher>,
        recorder: Recorder,
        minter: Minter,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        IamCredentials { store, publisher, recorder, minter, entropy, making: Mutex::new(()) }
    }

    /// `projects/-/serviceAccounts/ACCOUNT:generateIdToken`
    pub async fn generate_id_token(
        &self,
        caller: &ApiCaller,
        name: &str,
        request: GenerateIdTokenRequest,
        peer: impl Into<Peer>,
    ) -> Result<String, ImpersonationError> {
        let peer = peer.into();
        let mut event = self.recorder.begin(TokenMethod::GenerateIdToken, Some(peer.address))?;
        let make = async |event: &mut TokenEvent| {
            let (delegates, permission) = (&*request.delegates, Permission::GetOpenIdToken);
            let chain = Chain { name, delegates, permission, peer };
            let target = self.target(caller, &chain, event)?;
            let audience = &request.audience;
            if audience.is_empty() || audience.chars().count() > AUDIENCE_LIMIT {
                return Err(ImpersonationError::Audience);
            }
            let account = Program { unique_id: &target.unique_id, email: &target.email };
            let (include_email, use_email_azp) = (request.include_email, request.use_email_azp);
            let kind = IdToken::Impersonated { account, include_email, use_email_azp };
            let token = self.minter.id_token(&kind, audience, event.time)?;
            event.issued = Some("id_token".to_owned());
            event.audience = Some(escaped(audience.as_bytes(), AUDIENCE_LIMIT));
            Ok(token)
        };
        let outcome = make(&mut event).await;
        self.recorder.finish(event, outcome).await
    }

    /// `projects/-/serviceAccounts/ACCOUNT:generateAccessToken`
    pub async fn generate_access_token(
        &self,
        caller: &ApiCaller,
        name: &str,
        request: GenerateAccessTokenRequest,
        peer: impl Into<Peer>,
    ) -> Result<ImpersonatedAccessToken, ImpersonationError> {
        let peer = peer.into();
        let mut event = self.recorder.begin(TokenMethod::GenerateAccessToken, Some(peer.address))?;
        let make = async |event: &mut TokenEvent| {
            let (delegates, permission) = (&*request.delegates, Permission::GetAccessToken);
            let chain = Chain { name, delegates, permission, peer };
            let target = self.target(caller, &chain, event)?;
            let scopes = Scopes::parse(&request.scope.join(" ")).map_err(|_| ImpersonationError::Scope)?;
            let lifetime = match &request.lifetime {
                None => ACCESS_TOKEN_TTL,
                Some(text) => lifetime(text).ok_or(ImpersonationError::Lifetime)?,
            };
            let subject = Subject::Account(target.unique_id.clone());
            let made = self.minter.access_token(subject, &scopes, None, lifetime, event.time).await?;
            event.issued = Some("access_token".to_owned());
            event.audience = Some(scopes.as_str().to_owned());
            Ok(ImpersonatedAccessToken { token: made.token, expires: made.expires })
        };
        let outcome = make(&mut event).await;
        self.recorder.finish(event, outcome).await
    }

    /// `projects/-/serviceAccounts/ACCOUNT:signJwt`: the payload as it is, under a header of ours.
    pub async fn sign_jwt(
        &self,
        caller: &ApiCaller,
        name: &str,
        request: SignJwtRequest,
        peer: impl Into<Peer>,
    ) -> Result<Signed, ImpersonationError> {
        let peer = peer.into();
        let mut event = self.recorder.begin(TokenMethod::SignJwt, Some(peer.address))?;
        let make = async |event: &mut TokenEvent| {
            let (delegates, permission) = (&*request.delegates, Permission::SignJwt);
            let chain = Chain { name, delegates, permission, peer };
            let target = self.target(caller, &chain, event)?;
            check_payload(&request.payload, event.time)?;
            let key = self.managed_key(&target, event.time).await?;
            let text = key.sign_payload(request.payload.trim().as_bytes())?;
            event.issued = Some("jwt".to_owned());
            Ok(Signed { key_id: key.kid().to_owned(), text })
        };
        let outcome = make(&mut event).await;
        self.recorder.finish(event, outcome).await
    }

    /// `projects/-/serviceAccounts/ACCOUNT:signBlob`: RSASSA-PKCS1-v1_5 with SHA-256 over the decoded bytes.
    pub async fn sign_blob(
        &self,
        caller: &ApiCaller,
        name: &str,
        request: SignBlobRequest,
        peer: impl Into<Peer>,
    ) -> Result<Signed, ImpersonationError> {
        let peer = peer.into();
        let mut event = self.recorder.begin(TokenMethod::SignBlob, Some(peer.address))?;
        let make = async |event: &mut TokenEvent| {
            let (delegates, permission) = (&*request.delegates, Permission::SignBlob);
            let chain = Chain { name, delegates, permission, peer };
            let target = self.target(caller, &chain, event)?;
            let blob = decode_bytes(&request.payload).ok_or(BadPayload::Base64)?;
            let key = self.managed_key(&target, event.time).await?;
            let text = STANDARD.encode(key.sign_bytes(&blob)?);
            event.issued = Some("signature".to_owned());
            Ok(Signed { key_id: key.kid().to_owned(), text })
        };
        let outcome = make(&mut event).await;
        self.recorder.finish(event, outcome).await
    }

    /// The account that is to be acted as, if every link of the chain holds. Who asked, and through whom, goes into the event.
    fn target(
        &self,
        caller: &ApiCaller,
        chain: &Chain<'_>,
        event: &mut TokenEvent,
    ) -> Result<Target, ImpersonationError> {
        event.chain = vec![caller.member()];
        event.chain.extend(chain.delegates.iter().map(|name| escaped(last_segment(name).as_bytes(), 254)));
        event.account = Some(escaped(last_segment(chain.name).as_bytes(), 254));
        if !caller.opens_cloud_apis() {
            return Err(ImpersonationError::InsufficientScope);
        }
        let snapshot = self.publisher.cell().current();
        chain.check(caller, &snapshot, event.time)
    }

    /// The key with which we sign for an account: made when it is first needed, and replaced when it is old.
    async fn managed_key(&self, target: &Target, now: Timestamp) -> Result<SigningKey, ImpersonationError> {
        let good = |key: &ManagedKey| now.since(key.key.created) < MANAGED_KEY_AGE;
        let key = match self.store.managed_key(&target.unique_id).await?.filter(good) {
            Some(key) => key,
            None => {
                let _making = self.making.lock().await;
                match self.store.managed_key(&target.unique_id).await? {
                    Some(key) if good(&key) => key,
                    old => self.make_managed_key(target, old.map(|key| key.key.created), now).await?,
                }
            }
        };
        Ok(SigningKey::from_pkcs8(&key.key.id, Algorithm::Rs256, &key.secret)?)
    }

    async fn make_managed_key(
        &self,
        target: &Target,
        newest: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<ManagedKey, ImpersonationError> {
        let id = random_hex(&*self.entropy, KEY_ID_BYTES)?;
        let secret = join(tokio::task::spawn_blocking(|| generate_private_key(Algorithm::Rs256))).await??;
        let public = SigningKey::from_pkcs8(&id, Algorithm::Rs256, &secret)?.public_jwk();
        let account = target.unique_id.clone();
        let made = ManagedKey {
            key: ServiceAccountKey { id, account, public, created: now, managed: true, disabled: false },
            secret,
        };
        let (store, unique_id) = (self.store.clone(), target.unique_id.clone());
        let write = async move {
            // If somebody else was faster, theirs is the key.
            store.add_managed_key(&made, newest).await?;
            Ok::<_, ImpersonationError>(store.managed_key(&unique_id).await?)
        };
        let gone = || ImpersonationError::Denied {
            holder: "the server".to_owned(),
            permission: Permission::SignJwt,
            on: target.email.to_string(),
        };
        // It is published before anything that it signed is out.
        self.publisher.change(write).await?.ok_or_else(gone)
    }
}

/// A chain that is to be checked: who is to be acted as, through whom, and what for.
struct Chain<'a> {
    name: &'a str,
    delegates: &'a [String],
    permission: Permission,
    peer: Peer,
}

impl Chain<'_> {
    /// Each link: the caller on the first delegate, each delegate on the next, the last on the target. Delegates pass the right
    /// on, so all links but the last demand that permission.
    fn check(&self, caller: &ApiCaller, snapshot: &Snapshot, now: Timestamp) -> Result<Target, ImpersonationError> {
        let mut links = Vec::with_capacity(self.delegates.len() + 1);
        for name in self.delegates.iter().map(String::as_str).chain([self.name]) {
            links.push(account_of(name)?);
        }
        if links.len() > CHAIN_LIMIT {
            return Err(ImpersonationError::Chain);
        }
        let mut holder = Holder { member: caller.member(), principal: caller.principal() };
        let mut seen: Vec<&UniqueId> = vec![];
        let mut found = None;
        for (at, account) in links.iter().enumerate() {
            let last = at + 1 == links.len();
            let permission = if last { self.permission } else { Permission::ImplicitDelegation };
            let denied = || ImpersonationError::Denied {
                holder: holder.member.clone(),
                permission,
                on: escaped(account.as_bytes(), 254),
            };
            let (unique_id, known) = find(snapshot, account).ok_or_else(denied)?;
            if seen.contains(&unique_id) {
                return Err(ImpersonationError::Chain);
            }
            seen.push(unique_id);
            let resource = Resource::ServiceAccount { unique_id: unique_id.clone() };
            if !self.holds(snapshot, &holder, permission, &resource, now) {
                return Err(denied());
            }
            holder = Holder {
                member: format!("serviceAccount:{}", known.email),
                principal: Principal::ServiceAccount(&known.email),
            };
            found = Some(Target { unique_id: unique_id.clone(), email: known.email.clone() });
        }
        found.ok_or(ImpersonationError::Name)
    }

    fn holds(
        &self,
        snapshot: &Snapshot,
        holder: &Holder<'_>,
        permission: Permission,
        resource: &Resource,
        now: Timestamp,
    ) -> bool {
        let name = resource.name(&snapshot.project);
        let attributes = ResourceAttributes { name: &name, kind: resource.type_name(), service: resource.service() };
        let mut context = RequestContext::new(now).with_access_levels(&snapshot.access_levels);
        context.source_ip = self.peer.source_ip();
        context.principal = Some(&holder.member);
        context.resource = Some(attributes);
        let question = Question { principal: holder.principal, permission, context: &context };
        snapshot.decide(&snapshot.lineage(resource), &question).is_allowed()
    }
}

struct Holder<'a> {
    member: String,
    principal: Principal<'a>,
}

/// An enabled service account, by its address or its number.
fn find<'a>(
    snapshot: &'a Snapshot,
    account: &str,
) -> Option<(&'a UniqueId, &'a doorward_core::snapshot::KnownAccount)> {
    let found = match account.parse::<Email>() {
        Ok(email) => snapshot.service_account(&email),
        Err(_) => snapshot.account_entry(&UniqueId(account.to_owned())),
    };
    found.filter(|(_, known)| known.kind == AccountKind::ServiceAccount && !known.disabled)
}

fn account_of(name: &str) -> Result<&str, ImpersonationError> {
    let account = name.strip_prefix("projects/-/serviceAccounts/").filter(|account| !account.is_empty());
    account.filter(|account| !account.contains('/')).ok_or(ImpersonationError::Name)
}

fn last_segment(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// `google.protobuf.Duration` in JSON, at most [`ACCESS_TOKEN_TTL`]: whole seconds, since that is what an access token counts in.
fn lifetime(text: &str) -> Option<Duration> {
    let digits = text.strip_suffix('s').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    let lifetime = Duration::from_secs(digits.parse().ok()?);
    (!lifetime.is_zero() && lifetime <= ACCESS_TOKEN_TTL).then_some(lifetime)
}

/// `bytes` in the JSON of protobuf: base64 in either alphabet, with or without padding. None at all is no payload.
fn decode_bytes(text: &str) -> Option<Vec<u8>> {
    let text = text.replace('-', "+").replace('_', "/");
    let bytes = STANDARD_NO_PAD.decode(text.trim_end_matches('=')).ok()?;
    (!bytes.is_empty()).then_some(bytes)
}

fn check_payload(payload: &str, now: Timestamp) -> Result<(), BadPayload> {
    let claims = parse_object(payload.as_bytes()).map_err(|_| BadPayload::Object)?;
    let Some(expires) = claims.get("exp") else { return Ok(()) };
    let expires = StrictNumber::integer(expires).ok_or(BadPayload::ExpiresMalformed)?;
    if expires < now.seconds() {
        return Err(BadPayload::Expired);
    }
    if expires.saturating_sub(now.seconds()) > LONGEST_JWT_LIFE {
        return Err(BadPayload::TooLong);
    }
    Ok(())
}
