//! Storage, as traits: one per aggregate. Methods are promises, not queries; *not found* is `Option`; time is an argument.
//!
//! A method that returns `Ok` has made its change durable: it survives a killed process and a power failure. The one
//! exception says so: [`AuditStore::append`].

use async_trait::async_trait;

use crate::account::{ManagedKey, PasswordHash, ServiceAccount, ServiceAccountKey, UniqueId, User};
use crate::audit::{AuditEvent, StoredEvent};
use crate::client::OAuthClient;
use crate::clock::Timestamp;
use crate::federation::{FederationId, Generation, Pool, Provider};
use crate::grant::{
    AccessGrant, CodeGrant, DeviceGrant, DevicePoll, GrantId, PersonGrant, RefreshGrant, TakenCode, TokenHash,
};
use crate::keys::StoredKey;
use crate::member::Email;
use crate::policy::{Binding, Policy, PolicyEtag};
use crate::resource::{Application, ClientId};
use crate::session::SignInSession;
use crate::settings::Settings;

/// The store could not read or write, or it is not known whether it wrote. Callers refuse.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database failed.
    #[error("the store failed")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A stored value cannot be what was written: the database is damaged, or of another version.
    #[error("the store holds a value that cannot be read: {what}")]
    Damaged {
        /// What kind of value.
        what: &'static str,
    },
}

/// Something that a policy names, or stands on, and that has to be there when the policy is written. Whoever made it afterwards
/// under the same name would have what was given to somebody else.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Named {
    /// The service account of this address.
    ServiceAccount(Email),
    /// The service account of this number.
    ServiceAccountId(UniqueId),
    /// The pool of this id.
    Pool(FederationId),
}

/// What came of replacing a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PolicyWrite {
    /// It was replaced, and this is its new state.
    Written(PolicyEtag),
    /// It is not in the state that the writer saw. Nothing was changed.
    Conflict,
    /// This is not there. Nothing was changed.
    Missing(Named),
}

/// What came of adding a pool or a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// It is there from now on.
    Yes,
    /// Its id is taken. Nothing was changed.
    Taken,
    /// The pool of the provider is not there. Nothing was changed.
    NoPool,
    /// There are as many as there may be. Nothing was changed.
    Full,
}

/// Service accounts and their keys.
#[async_trait]
pub trait ServiceAccountStore: Send + Sync {
    /// Adds an account, of whose address no policy says anything from then on; `false`, and no change, if one with its address or
    /// number exists.
    async fn add_service_account(&self, account: &ServiceAccount) -> Result<bool, StoreError>;

    /// Removes an account with all its keys, its access tokens, the policy on it and every mention of its address in other
    /// policies, all or nothing; `false` if there was none.
    async fn remove_service_account(&self, id: &UniqueId) -> Result<bool, StoreError>;

    /// Disables or enables an account; `false`, and no change, if there is none.
    async fn disable_service_account(&self, id: &UniqueId, disabled: bool) -> Result<bool, StoreError>;

    /// The account of this address.
    async fn service_account_by_email(&self, email: &Email) -> Result<Option<ServiceAccount>, StoreError>;

    /// The account of this number.
    async fn service_account_by_id(&self, id: &UniqueId) -> Result<Option<ServiceAccount>, StoreError>;

    /// Up to `limit` accounts in the order of their addresses, those after `after` (exclusive).
    async fn service_accounts(&self, after: Option<&Email>, limit: u32) -> Result<Vec<ServiceAccount>, StoreError>;

    /// Adds a user's key; `false`, and no change, if its account does not exist or already has ten, managed ones not counted
    /// (<https://cloud.google.com/iam/quotas>). Concurrent calls do not exceed the limit.
    async fn add_service_account_key(&self, key: &ServiceAccountKey) -> Result<bool, StoreError>;

    /// Removes a key of an account; `false` if there was none.
    async fn remove_service_account_key(&self, account: &UniqueId, key_id: &str) -> Result<bool, StoreError>;

    /// Disables or enables a user's key of an account; `false`, and no change, if there is none.
    async fn disable_service_account_key(
        &self,
        account: &UniqueId,
        key_id: &str,
        disabled: bool,
    ) -> Result<bool, StoreError>;

    /// The key of this id, whosever it is.
    async fn service_account_key(&self, key_id: &str) -> Result<Option<ServiceAccountKey>, StoreError>;

    /// All keys of an account, oldest first.
    async fn service_account_keys(&self, account: &UniqueId) -> Result<Vec<ServiceAccountKey>, StoreError>;

    /// Up to `limit` keys of all accounts in the order of their ids, those after `after` (exclusive).
    async fn every_service_account_key(
        &self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<ServiceAccountKey>, StoreError>;

    /// Adds a managed key and forgets all managed keys of its account but the two newest; `false`, and no change, if the
    /// account does not exist, or has a managed key that was made after `newest`: somebody else was faster.
    async fn add_managed_key(&self, key: &ManagedKey, newest: Option<Timestamp>) -> Result<bool, StoreError>;

    /// The newest managed key of an account.
    async fn managed_key(&self, account: &UniqueId) -> Result<Option<ManagedKey>, StoreError>;
}

/// People.
#[async_trait]
pub trait UserStore: Send + Sync {
    /// Adds a user; `false`, and no change, if one with their address or number exists.
    async fn add_user(&self, user: &User) -> Result<bool, StoreError>;

    /// Every user, in the order of their addresses.
    async fn users(&self) -> Result<Vec<User>, StoreError>;

    /// The user of this address, with their password if they have one.
    async fn user_by_email(&self, email: &Email) -> Result<Option<(User, Option<PasswordHash>)>, StoreError>;

    /// Sets a password; `false`, and no change, if there is no such user.
    async fn set_password(&self, user: &UniqueId, password: &PasswordHash) -> Result<bool, StoreError>;
}

/// OAuth clients.
#[async_trait]
pub trait OAuthClientStore: Send + Sync {
    /// Registers a client; `false`, and no change, if its id is taken.
    async fn add_oauth_client(&self, client: &OAuthClient) -> Result<bool, StoreError>;

    /// The client of this id.
    async fn oauth_client(&self, id: &ClientId) -> Result<Option<OAuthClient>, StoreError>;

    /// Every client, in the order of their ids.
    async fn oauth_clients(&self) -> Result<Vec<OAuthClient>, StoreError>;

    /// Replaces the secret of a client; `false`, and no change, if there is no such client.
    async fn replace_client_secret(&self, id: &ClientId, secret: &TokenHash) -> Result<bool, StoreError>;

    /// Removes a client with everything that was granted to it; `false` if there was none.
    async fn remove_oauth_client(&self, id: &ClientId) -> Result<bool, StoreError>;
}

/// Sessions at our sign-in pages.
#[async_trait]
pub trait SessionStore: Send + Sync {
    /// Keeps a session in place of `old`, and may forget those that ended before `now`.
    async fn put_session(
        &self,
        old: Option<&TokenHash>,
        new: &TokenHash,
        session: &SignInSession,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// The session under this hash, if it has not ended at `now`.
    async fn session(&self, hash: &TokenHash, now: Timestamp) -> Result<Option<SignInSession>, StoreError>;

    /// Ends a session; `false` if there was none.
    async fn remove_session(&self, hash: &TokenHash) -> Result<bool, StoreError>;
}

/// Pools of identities from elsewhere, and their providers.
#[async_trait]
pub trait FederationStore: Send + Sync {
    /// Adds a pool, of whose identities no policy says anything from then on. There are [`POOLS_LIMIT`] at most: concurrent calls
    /// do not exceed that.
    ///
    /// [`POOLS_LIMIT`]: crate::federation::POOLS_LIMIT
    async fn add_pool(&self, pool: &Pool) -> Result<Added, StoreError>;

    /// Replaces what can change of a pool; `false`, and no change, if there is none of its id.
    async fn replace_pool(&self, pool: &Pool) -> Result<bool, StoreError>;

    /// Removes a pool with its providers, the access tokens of its identities and every mention of those in policies, all or
    /// nothing; `false` if there was none.
    async fn remove_pool(&self, pool: &FederationId) -> Result<bool, StoreError>;

    /// Every pool, in the order of their ids.
    async fn pools(&self) -> Result<Vec<Pool>, StoreError>;

    /// Adds a provider. There are [`PROVIDERS_LIMIT`] at most in all pools together: concurrent calls do not exceed that.
    ///
    /// [`PROVIDERS_LIMIT`]: crate::federation::PROVIDERS_LIMIT
    async fn add_provider(&self, provider: &Provider) -> Result<Added, StoreError>;

    /// Replaces what can change of a provider, its generation too, and ends the access tokens that were given for its tokens;
    /// `false`, and no change, if there is none of its id, or it is not in the generation `seen`. Of any number of concurrent
    /// calls that saw one generation, exactly one succeeds.
    async fn replace_provider(&self, provider: &Provider, seen: &Generation) -> Result<bool, StoreError>;

    /// Removes a provider with the access tokens that were given for its tokens; `false` if there was none.
    async fn remove_provider(&self, pool: &FederationId, provider: &FederationId) -> Result<bool, StoreError>;

    /// Every provider, in the order of their pools and ids.
    async fn providers(&self) -> Result<Vec<Provider>, StoreError>;
}

/// IAP settings, by canonical resource name.
#[async_trait]
pub trait SettingsStore: Send + Sync {
    /// The settings of a resource; nothing is set in those that were never written.
    async fn settings(&self, resource_name: &str) -> Result<Settings, StoreError>;

    /// All settings that were written, with their resources' names.
    async fn every_settings(&self) -> Result<Vec<(String, Settings)>, StoreError>;

    /// Replaces the settings of a resource.
    async fn replace_settings(&self, resource_name: &str, settings: &Settings) -> Result<(), StoreError>;
}

/// Registered applications.
#[async_trait]
pub trait ApplicationStore: Send + Sync {
    /// Registers an application; `false`, and no change, if its name, number or client id is taken.
    async fn add_application(&self, application: &Application) -> Result<bool, StoreError>;

    /// Every application, in the order of their names.
    async fn applications(&self) -> Result<Vec<Application>, StoreError>;
}

/// Policies, by canonical resource name.
#[async_trait]
pub trait PolicyStore: Send + Sync {
    /// The policy of a resource; one that was never written is empty and has [`PolicyEtag::UNWRITTEN`].
    async fn policy(&self, resource_name: &str) -> Result<Policy, StoreError>;

    /// Every policy that was written, with its resource's name.
    async fn policies(&self) -> Result<Vec<(String, Policy)>, StoreError>;

    /// Replaces the whole policy, if everything in `named` is there, and if `expected`, where it is given, is the current state. Of
    /// any number of concurrent calls that expect one state, exactly one succeeds.
    ///
    /// Whatever is in `named` and is removed at the same time is either missing here, or takes with it what was written.
    async fn replace_policy(
        &self,
        resource_name: &str,
        bindings: &[Binding],
        expected: Option<PolicyEtag>,
        named: &[Named],
    ) -> Result<PolicyWrite, StoreError>;
}

/// Our own keys.
#[async_trait]
pub trait KeyStore: Send + Sync {
    /// Adds keys, all or none.
    async fn add_keys(&self, keys: &[StoredKey]) -> Result<(), StoreError>;

    /// Every key.
    async fn keys(&self) -> Result<Vec<StoredKey>, StoreError>;

    /// Forgets keys; unknown ids are passed over.
    async fn remove_keys(&self, ids: &[String]) -> Result<(), StoreError>;
}

/// Access tokens, used assertions, and what people allowed to clients.
///
/// A [`PersonGrant`] lives as long as something issued from it does, and everything issued from it ends with it.
#[async_trait]
pub trait GrantStore: Send + Sync {
    /// Keeps an access token, and may forget those that ended before `now`. `false`, and no change, if it belongs to a grant
    /// that is no more, or to an identity for which a provider vouched that is no more, or is in another generation since.
    async fn add_access_token(
        &self,
        token: &TokenHash,
        grant: &AccessGrant,
        now: Timestamp,
    ) -> Result<bool, StoreError>;

    /// What a token stands for, if it is known and has not ended at `now`.
    async fn access_token(&self, token: &TokenHash, now: Timestamp) -> Result<Option<AccessGrant>, StoreError>;

    /// Forgets an access token; `false` if there was none.
    async fn remove_access_token(&self, token: &TokenHash) -> Result<bool, StoreError>;

    /// Takes the `jti` of an assertion of `issuer`, at most once until `expires`: of any number of concurrent calls exactly
    /// one gets `true`. May forget those that ended before `now`.
    async fn take_assertion_id(
        &self,
        issuer: &UniqueId,
        jti: &str,
        expires: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Keeps a new grant with its code, and may forget codes that ended, and grants of which nothing is left.
    async fn add_code(&self, code: &TokenHash, grant: &CodeGrant, now: Timestamp) -> Result<(), StoreError>;

    /// Takes a code of `client`, at most once: of any number of concurrent calls exactly one gets [`TakenCode::Taken`], and the
    /// others [`TakenCode::Reused`] for as long as the code would have been good. Another client's code is left as it is.
    async fn take_code(&self, code: &TokenHash, client: &ClientId, now: Timestamp) -> Result<TakenCode, StoreError>;

    /// Keeps a refresh token; `false`, and no change, if its grant is no more. Of the grants of one person for one client that have
    /// one, the newest hundred stay; older ones end.
    async fn add_refresh_token(&self, token: &TokenHash, grant: &GrantId) -> Result<bool, StoreError>;

    /// A refresh token, used or not.
    async fn refresh_token(&self, token: &TokenHash) -> Result<Option<RefreshGrant>, StoreError>;

    /// Puts `new` in place of `old`: of any number of concurrent calls for one `old` exactly one gets `true`. `old` stays known
    /// as rotated. `false`, and no change, if `old` is not known or was rotated before.
    async fn rotate_refresh_token(&self, old: &TokenHash, new: &TokenHash) -> Result<bool, StoreError>;

    /// Ends a grant with everything that was issued from it; `false` if there was none.
    async fn revoke_grant(&self, id: &GrantId) -> Result<bool, StoreError>;

    /// Keeps a device's question, and may forget those that ended before `now`; `false`, and no change, if a question that has
    /// not ended has the same user code.
    async fn add_device_code(
        &self,
        device: &TokenHash,
        user_code: &TokenHash,
        grant: &DeviceGrant,
        now: Timestamp,
    ) -> Result<bool, StoreError>;

    /// The undecided question of this user code, if it has not ended at `now`.
    async fn device_grant(&self, user_code: &TokenHash, now: Timestamp) -> Result<Option<DeviceGrant>, StoreError>;

    /// Writes down what a person decided, `None` being no; `false`, and no change, if there is no undecided question of this
    /// user code that has not ended at `now`.
    async fn decide_device(
        &self,
        user_code: &TokenHash,
        grant: Option<&PersonGrant>,
        now: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Answers a device, and notes that it asked. Of any number of concurrent calls at most one gets
    /// [`DevicePoll::Allowed`], and its grant is kept from then on.
    async fn poll_device(
        &self,
        device: &TokenHash,
        client: &ClientId,
        now: Timestamp,
    ) -> Result<DevicePoll, StoreError>;
}

/// The record of decisions.
#[async_trait]
pub trait AuditStore: Send + Sync {
    /// Appends events in this order. They survive a killed process; a power failure may take the newest.
    ///
    /// At most `keep` events remain, the newest.
    async fn append(&self, events: &[AuditEvent], keep: u64) -> Result<(), StoreError>;

    /// Up to `limit` events with a sequence number above `after`, oldest first.
    async fn events_after(&self, after: i64, limit: u32) -> Result<Vec<StoredEvent>, StoreError>;

    /// The newest `limit` events, oldest first.
    async fn latest_events(&self, limit: u32) -> Result<Vec<StoredEvent>, StoreError>;
}

/// Everything, for the one place that wires.
pub trait Store:
    ServiceAccountStore
    + UserStore
    + ApplicationStore
    + OAuthClientStore
    + SessionStore
    + FederationStore
    + SettingsStore
    + PolicyStore
    + KeyStore
    + GrantStore
    + AuditStore
{
}

impl<S> Store for S where
    S: ServiceAccountStore
        + UserStore
        + ApplicationStore
        + OAuthClientStore
        + SessionStore
        + FederationStore
        + SettingsStore
        + PolicyStore
        + KeyStore
        + GrantStore
        + AuditStore
{
}
