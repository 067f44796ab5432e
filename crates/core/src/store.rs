//! Storage, as traits: one per aggregate. Methods are promises, not queries; *not found* is `Option`; time is an argument.
//!
//! A method that returns `Ok` has made its change durable: it survives a killed process and a power failure. The one
//! exception says so: [`AuditStore::append`].

use async_trait::async_trait;

use crate::account::{ServiceAccount, ServiceAccountKey, UniqueId, User};
use crate::audit::{AuditEvent, StoredEvent};
use crate::clock::Timestamp;
use crate::grant::{AccessGrant, TokenHash};
use crate::keys::StoredKey;
use crate::member::Email;
use crate::policy::{Binding, Policy, PolicyEtag};
use crate::resource::Application;

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

/// Service accounts and their keys.
#[async_trait]
pub trait ServiceAccountStore: Send + Sync {
    /// Adds an account; `false`, and no change, if one with its address or number exists.
    async fn add_service_account(&self, account: &ServiceAccount) -> Result<bool, StoreError>;

    /// Removes an account with all its keys and access tokens; `false` if there was none.
    async fn remove_service_account(&self, id: &UniqueId) -> Result<bool, StoreError>;

    /// The account of this address.
    async fn service_account_by_email(&self, email: &Email) -> Result<Option<ServiceAccount>, StoreError>;

    /// The account of this number.
    async fn service_account_by_id(&self, id: &UniqueId) -> Result<Option<ServiceAccount>, StoreError>;

    /// Up to `limit` accounts in the order of their addresses, those after `after` (exclusive).
    async fn service_accounts(&self, after: Option<&Email>, limit: u32) -> Result<Vec<ServiceAccount>, StoreError>;

    /// Adds a key; `false`, and no change, if its account does not exist or already has ten
    /// (<https://cloud.google.com/iam/quotas>). Concurrent calls do not exceed the limit.
    async fn add_service_account_key(&self, key: &ServiceAccountKey) -> Result<bool, StoreError>;

    /// Removes a key of an account; `false` if there was none.
    async fn remove_service_account_key(&self, account: &UniqueId, key_id: &str) -> Result<bool, StoreError>;

    /// The key of this id, whosever it is.
    async fn service_account_key(&self, key_id: &str) -> Result<Option<ServiceAccountKey>, StoreError>;

    /// All keys of an account, oldest first.
    async fn service_account_keys(&self, account: &UniqueId) -> Result<Vec<ServiceAccountKey>, StoreError>;
}

/// People.
#[async_trait]
pub trait UserStore: Send + Sync {
    /// Adds a user; `false`, and no change, if one with their address or number exists.
    async fn add_user(&self, user: &User) -> Result<bool, StoreError>;

    /// Every user, in the order of their addresses.
    async fn users(&self) -> Result<Vec<User>, StoreError>;
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

    /// Replaces the whole policy and gives the new state, or `None`, and no change, if `expected` is given and is not the
    /// current state. Of any number of concurrent calls that expect one state, exactly one succeeds.
    async fn replace_policy(
        &self,
        resource_name: &str,
        bindings: &[Binding],
        expected: Option<PolicyEtag>,
    ) -> Result<Option<PolicyEtag>, StoreError>;
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

/// Access tokens and used assertions.
#[async_trait]
pub trait GrantStore: Send + Sync {
    /// Keeps an access token, and may forget those that ended before `now`.
    async fn add_access_token(&self, token: &TokenHash, grant: &AccessGrant, now: Timestamp) -> Result<(), StoreError>;

    /// What a token stands for, if it is known and has not ended at `now`.
    async fn access_token(&self, token: &TokenHash, now: Timestamp) -> Result<Option<AccessGrant>, StoreError>;

    /// Takes the `jti` of an assertion of `issuer`, at most once until `expires`: of any number of concurrent calls exactly
    /// one gets `true`. May forget those that ended before `now`.
    async fn take_assertion_id(
        &self,
        issuer: &UniqueId,
        jti: &str,
        expires: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError>;
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
    ServiceAccountStore + UserStore + ApplicationStore + PolicyStore + KeyStore + GrantStore + AuditStore
{
}

impl<S> Store for S where
    S: ServiceAccountStore + UserStore + ApplicationStore + PolicyStore + KeyStore + GrantStore + AuditStore
{
}
