//! Who calls an API: the operator, or an account by an access token or a JWT that it signed itself.

use std::sync::Arc;

use doorward_core::account::UniqueId;
use doorward_core::clock::Clock;
use doorward_core::grant::{AccessGrant, Subject, TokenHash};
use doorward_core::member::{Email, Member};
use doorward_core::policy::Principal;
use doorward_core::self_signed::prove;
use doorward_core::snapshot::{AccountKind, SnapshotCell};
use doorward_core::store::{GrantStore, StoreError};
use doorward_wire::jose::{Algorithm, TOKEN_LIMIT, Unverified};
use doorward_wire::oauth::Scopes;
use subtle::ConstantTimeEq as _;

use crate::admin::{Admin, Peer};
use crate::sign_in::Person;

/// Somebody who calls an API: an account, or an identity from elsewhere. Made by [`Callers`], so it is proof.
#[derive(Debug, Clone)]
pub struct ApiCaller {
    who: Who,
    opens_cloud_apis: bool,
}

#[derive(Debug, Clone)]
enum Who {
    User(Email),
    ServiceAccount(Email),
    /// The members that stand for it, the principal first.
    Federated(Vec<Member>),
}

impl ApiCaller {
    /// As policies see it.
    pub fn principal(&self) -> Principal<'_> {
        match &self.who {
            Who::User(email) => Principal::User(email),
            Who::ServiceAccount(email) => Principal::ServiceAccount(email),
            Who::Federated(members) => Principal::Foreign(members),
        }
    }

    /// As policies write it.
    pub fn member(&self) -> String {
        match &self.who {
            Who::User(email) => format!("user:{email}"),
            Who::ServiceAccount(email) => format!("serviceAccount:{email}"),
            Who::Federated(members) => members.first().map_or_else(String::new, Member::to_string),
        }
    }

    /// Whether its credential was given for the IAM APIs of Google Cloud.
    pub fn opens_cloud_apis(&self) -> bool {
        self.opens_cloud_apis
    }
}

/// Why a caller is not let in.
#[derive(Debug, thiserror::Error)]
pub enum CallerError {
    /// No credential was sent.
    #[error("no credential")]
    Missing,
    /// The credential is unknown, has ended, or its account is disabled.
    #[error("the credential is unknown or has ended, or its account is disabled")]
    Invalid,
    /// The operator's token, where an account is wanted: the operator is nobody whose tokens could be made.
    #[error("the administration token is no account")]
    NotAnAccount,
    /// Somebody proven, whose credential was not given for the APIs of administration.
    #[error("the credential of {member} has not the scope for this")]
    InsufficientScope {
        /// Whose credential was sent, as policies write it.
        member: String,
    },
    /// The store failed.
    #[error("could not look up the credential")]
    Store(#[from] StoreError),
}

/// Proves callers.
pub struct Callers {
    admin_token: Option<TokenHash>,
    grants: Arc<dyn GrantStore>,
    snapshots: Arc<SnapshotCell>,
    clock: Arc<dyn Clock>,
}

impl Callers {
    /// Admits the bearer of the secret with this hash as the operator; nobody without one.
    pub fn new(
        admin_token: Option<TokenHash>,
        grants: Arc<dyn GrantStore>,
        snapshots: Arc<SnapshotCell>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Callers { admin_token, grants, snapshots, clock }
    }

    /// Proves who sent this bearer token to an API of administration at `host`. What they may do there is for a
    /// [`Gate`](crate::admin::Gate) to say.
    ///
    /// # Errors
    /// [`CallerError`]: nothing may be done or shown.
    pub async fn admin(
        &self,
        bearer: Option<&str>,
        host: &str,
        peer: impl Into<Peer>,
        user_agent: Option<&str>,
    ) -> Result<Admin, CallerError> {
        let peer = peer.into();
        match self.account(bearer, host).await {
            Err(CallerError::NotAnAccount) => Ok(Admin::operator(Some(peer), user_agent)),
            Err(error) => Err(error),
            Ok(caller) if !caller.opens_cloud_apis() => Err(CallerError::InsufficientScope { member: caller.member() }),
            Ok(caller) => Ok(Admin::caller(caller, Some(peer), user_agent)),
        }
    }

    /// A person who is signed in in a browser, for a page that shows something. Nothing may be changed in their name by it: the session
    /// is a cookie, which other sites can make a browser send.
    ///
    /// # Errors
    /// [`CallerError::Invalid`]: the account is disabled or gone.
    pub fn person(
        &self,
        person: &Person,
        peer: impl Into<Peer>,
        user_agent: Option<&str>,
    ) -> Result<Admin, CallerError> {
        let snapshot = self.snapshots.current();
        let account = snapshot.account(person.subject()).filter(|account| !account.disabled);
        let who = Who::User(account.ok_or(CallerError::Invalid)?.email.clone());
        Ok(Admin::caller(ApiCaller { who, opens_cloud_apis: true }, Some(peer.into()), user_agent))
    }

    /// Proves the account that sent this bearer token to the API at `host`: an access token, or a JWT that a service account
    /// signed itself, as Google's generated clients send it.
    ///
    /// # Errors
    /// [`CallerError`]: nothing may be done or shown. [`CallerError::NotAnAccount`] is the operator, proven.
    ///
    /// Spec: <https://developers.google.com/identity/protocols/oauth2/service-account#jwt-auth>
    pub async fn account(&self, bearer: Option<&str>, host: &str) -> Result<ApiCaller, CallerError> {
        let bearer = bearer.ok_or(CallerError::Missing)?;
        let presented = TokenHash::of(bearer);
        let is_operator = |token: &TokenHash| bool::from(presented.0.as_bytes().ct_eq(token.0.as_bytes()));
        if self.admin_token.as_ref().is_some_and(is_operator) {
            return Err(CallerError::NotAnAccount);
        }
        let (unique_id, opens_cloud_apis) = match self.grants.access_token(&presented, self.clock.now()).await? {
            Some(AccessGrant { subject: Subject::Account(id), scopes, .. }) => (id, scopes.open_cloud_apis()),
            Some(AccessGrant { subject: Subject::Federated(identity), scopes, .. }) => {
                let members = self.snapshots.current().federated_members(&identity).ok_or(CallerError::Invalid)?;
                return Ok(ApiCaller { who: Who::Federated(members), opens_cloud_apis: scopes.open_cloud_apis() });
            }
            None => self.self_signed(bearer, host).ok_or(CallerError::Invalid)?,
        };
        let snapshot = self.snapshots.current();
        let account = snapshot.account(&unique_id).filter(|account| !account.disabled).ok_or(CallerError::Invalid)?;
        let email = account.email.clone();
        let who = match account.kind {
            AccountKind::User => Who::User(email),
            AccountKind::ServiceAccount => Who::ServiceAccount(email),
        };
        Ok(ApiCaller { who, opens_cloud_apis })
    }

    /// The account that signed this JWT, and whether it opens the IAM APIs. It names either the scopes that it is for, or the API
    /// as its audience, never both and never another audience: one that was signed for an application or for a token endpoint
    /// is no bearer here.
    fn self_signed(&self, bearer: &str, host: &str) -> Option<(UniqueId, bool)> {
        let snapshot = self.snapshots.current();
        let unverified = Unverified::parse(bearer, TOKEN_LIMIT, &[Algorithm::Rs256]).ok()?;
        let proven = prove(unverified, &snapshot, self.clock.now()).ok()?;
        let claims = proven.claims();
        let names = |name| claims.as_object().contains_key(name);
        let opens = match (names("aud"), names("scope"), names("target_audience")) {
            (false, true, false) => Scopes::parse(claims.string("scope")?).ok()?.open_cloud_apis(),
            (true, false, false) => claims.string("aud")? == format!("https://{host}/"),
            _ => return None,
        };
        // With an audience it is for this one API, whatever that is, and with scopes for those APIs.
        (opens || names("scope")).then(|| (proven.unique_id().clone(), opens))
    }
}
