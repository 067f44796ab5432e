//! A store that counts.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use doorward_core::access_level::{AccessLevel, AccessLevelName};
use doorward_core::account::{ManagedKey, PasswordHash, ServiceAccount, ServiceAccountKey, UniqueId, User};
use doorward_core::audit::{AuditEvent, ChainLink, StoredEvent};
use doorward_core::client::OAuthClient;
use doorward_core::clock::Timestamp;
use doorward_core::dest_group::{DestGroup, DestGroupName};
use doorward_core::federation::{FederationId, Generation, Pool, Provider};
use doorward_core::grant::*;
use doorward_core::group::Group;
use doorward_core::keys::StoredKey;
use doorward_core::member::{Email, Member};
use doorward_core::policy::{Binding, CustomRole, DenyPolicy, DenyPolicyName, Etag, Policy, RoleName};
use doorward_core::resource::{Application, ClientId, Project};
use doorward_core::session::SignInSession;
use doorward_core::settings::Settings;
use doorward_core::store::*;
use doorward_store::SqlStore;
use serde_json::Value;

/// The real store, with a count of the calls that are not made beside the requests: those of the record, and those that look for
/// changes. The latter can be made to fail.
pub(crate) struct CountingStore {
    store: SqlStore,
    calls: AtomicU64,
    unreadable: AtomicBool,
}

impl CountingStore {
    pub(crate) async fn in_memory() -> Self {
        let store = SqlStore::in_memory().await.unwrap();
        CountingStore { store, calls: AtomicU64::new(0), unreadable: AtomicBool::new(false) }
    }

    /// The calls until now.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    /// From now on nobody can see what changed, or everybody can.
    pub(crate) fn set_unreadable(&self, unreadable: bool) {
        self.unreadable.store(unreadable, Ordering::SeqCst);
    }

    fn readable(&self) -> Result<(), StoreError> {
        match self.unreadable.load(Ordering::SeqCst) {
            true => Err(StoreError::Unavailable("the store is away".into())),
            false => Ok(()),
        }
    }
}

/// Implements a trait by counting a call and handing it on.
macro_rules! counting {
    ($trait:ident { $(fn $method:ident($($argument:ident: $type:ty),*) -> $answer:ty;)* }) => {
        #[async_trait]
        impl $trait for CountingStore {
            $(async fn $method(&self, $($argument: $type),*) -> $answer {
                self.calls.fetch_add(1, Ordering::SeqCst);
                self.store.$method($($argument),*).await
            })*
        }
    };
}

counting! {
    ServiceAccountStore {
        fn add_service_account(account: &ServiceAccount) -> Result<bool, StoreError>;
        fn remove_service_account(id: &UniqueId) -> Result<bool, StoreError>;
        fn describe_service_account(id: &UniqueId, display_name: &str, description: &str) -> Result<bool, StoreError>;
        fn disable_service_account(id: &UniqueId, disabled: bool) -> Result<bool, StoreError>;
        fn disable_service_account_key(account: &UniqueId, key_id: &str, disabled: bool) -> Result<bool, StoreError>;
        fn service_account_by_email(email: &Email) -> Result<Option<ServiceAccount>, StoreError>;
        fn service_account_by_id(id: &UniqueId) -> Result<Option<ServiceAccount>, StoreError>;
        fn service_accounts(after: Option<&Email>, limit: u32) -> Result<Vec<ServiceAccount>, StoreError>;
        fn add_service_account_key(key: &ServiceAccountKey) -> Result<bool, StoreError>;
        fn remove_service_account_key(account: &UniqueId, key_id: &str) -> Result<bool, StoreError>;
        fn service_account_key(key_id: &str) -> Result<Option<ServiceAccountKey>, StoreError>;
        fn service_account_keys(account: &UniqueId) -> Result<Vec<ServiceAccountKey>, StoreError>;
        fn every_service_account_key(after: Option<&str>, limit: u32) -> Result<Vec<ServiceAccountKey>, StoreError>;
        fn add_managed_key(key: &ManagedKey, newest: Option<Timestamp>) -> Result<bool, StoreError>;
        fn managed_key(account: &UniqueId) -> Result<Option<ManagedKey>, StoreError>;
    }
}

counting! {
    UserStore {
        fn add_user(user: &User) -> Result<bool, StoreError>;
        fn users() -> Result<Vec<User>, StoreError>;
        fn user_by_email(email: &Email) -> Result<Option<(User, Option<PasswordHash>)>, StoreError>;
        fn user_by_id(id: &UniqueId) -> Result<Option<User>, StoreError>;
        fn disable_user(id: &UniqueId, disabled: bool) -> Result<bool, StoreError>;
        fn remove_user(id: &UniqueId) -> Result<bool, StoreError>;
        fn set_password(user: &UniqueId, password: &PasswordHash) -> Result<bool, StoreError>;
        fn set_first_password(user: &UniqueId, password: &PasswordHash) -> Result<bool, StoreError>;
    }
}

counting! {
    OAuthClientStore {
        fn add_oauth_client(client: &OAuthClient) -> Result<bool, StoreError>;
        fn oauth_client(id: &ClientId) -> Result<Option<OAuthClient>, StoreError>;
        fn oauth_clients() -> Result<Vec<OAuthClient>, StoreError>;
        fn replace_client_secret(id: &ClientId, secret: &TokenHash) -> Result<bool, StoreError>;
        fn remove_oauth_client(id: &ClientId) -> Result<ClientRemoval, StoreError>;
    }
}

counting! {
    SessionStore {
        fn put_session(old: Option<&TokenHash>, new: &TokenHash, session: &SignInSession, now: Timestamp) -> Result<(), StoreError>;
        fn session(hash: &TokenHash, now: Timestamp) -> Result<Option<SignInSession>, StoreError>;
        fn remove_session(hash: &TokenHash) -> Result<bool, StoreError>;
    }
}

counting! {
    SettingsStore {
        fn settings(resource_name: &str) -> Result<Settings, StoreError>;
        fn every_settings() -> Result<Vec<(String, Settings)>, StoreError>;
        fn replace_settings(resource_name: &str, seen: &Settings, settings: &Settings) -> Result<bool, StoreError>;
    }
}

counting! {
    FederationStore {
        fn add_pool(pool: &Pool) -> Result<Added, StoreError>;
        fn replace_pool(pool: &Pool, seen: &Pool) -> Result<bool, StoreError>;
        fn remove_pool(pool: &FederationId) -> Result<bool, StoreError>;
        fn pools() -> Result<Vec<Pool>, StoreError>;
        fn add_provider(provider: &Provider) -> Result<Added, StoreError>;
        fn replace_provider(provider: &Provider, seen: &Generation) -> Result<bool, StoreError>;
        fn remove_provider(pool: &FederationId, provider: &FederationId) -> Result<bool, StoreError>;
        fn providers() -> Result<Vec<Provider>, StoreError>;
    }
}

counting! {
    ApplicationStore {
        fn add_application(application: &Application) -> Result<Result<Etag, ApplicationRefused>, StoreError>;
        fn replace_application(application: &Application, expected: Option<Etag>) -> Result<Result<Etag, ApplicationRefused>, StoreError>;
        fn replace_applications(applications: &[Application]) -> Result<Result<Vec<Etag>, ApplicationRefused>, StoreError>;
        fn remove_application(service_id: &str, project: &Project) -> Result<bool, StoreError>;
        fn application(service_id: &str) -> Result<Option<Application>, StoreError>;
        fn applications() -> Result<Vec<Application>, StoreError>;
    }
}

counting! {
    PolicyStore {
        fn policy(resource_name: &str) -> Result<Policy, StoreError>;
        fn policies() -> Result<Vec<(String, Policy)>, StoreError>;
        fn count_policies(name_prefix: &str) -> Result<u64, StoreError>;
        fn replace_policy(resource_name: &str, bindings: &[Binding], expected: Option<Etag>, named: &[Named]) -> Result<PolicyWrite, StoreError>;
    }
}

counting! {
    BrandStore {
        fn add_brand(brand: &Brand) -> Result<bool, StoreError>;
        fn brand() -> Result<Option<Brand>, StoreError>;
    }
}

counting! {
    DestGroupStore {
        fn add_dest_group(group: &DestGroup) -> Result<bool, StoreError>;
        fn replace_dest_group(seen: &DestGroup, group: &DestGroup) -> Result<bool, StoreError>;
        fn remove_dest_group(name: &DestGroupName, resource_name: &str) -> Result<bool, StoreError>;
        fn dest_group(name: &DestGroupName) -> Result<Option<DestGroup>, StoreError>;
        fn dest_groups(location: Option<&str>) -> Result<Vec<DestGroup>, StoreError>;
    }
}

counting! {
    DenyPolicyStore {
        fn add_deny_policy(policy: &DenyPolicy) -> Result<Option<Etag>, StoreError>;
        fn replace_deny_policy(policy: &DenyPolicy, expected: Option<Etag>) -> Result<Replaced, StoreError>;
        fn remove_deny_policy(name: &DenyPolicyName, expected: Option<Etag>) -> Result<Replaced, StoreError>;
        fn deny_policy(name: &DenyPolicyName) -> Result<Option<DenyPolicy>, StoreError>;
        fn deny_policies() -> Result<Vec<DenyPolicy>, StoreError>;
    }
}

counting! {
    RoleStore {
        fn add_role(role: &CustomRole) -> Result<Option<Etag>, StoreError>;
        fn replace_role(role: &CustomRole, expected: Option<Etag>) -> Result<Replaced, StoreError>;
        fn role(name: &RoleName) -> Result<Option<CustomRole>, StoreError>;
        fn roles() -> Result<Vec<CustomRole>, StoreError>;
    }
}

counting! {
    GroupStore {
        fn add_group(group: &Group) -> Result<Option<Etag>, StoreError>;
        fn replace_group(group: &Group, expected: Option<Etag>) -> Result<Replaced, StoreError>;
        fn remove_group(group: &Email) -> Result<bool, StoreError>;
        fn group(group: &Email) -> Result<Option<Group>, StoreError>;
        fn groups(after: Option<&Email>, limit: u32) -> Result<Vec<Group>, StoreError>;
        fn add_group_member(group: &Email, member: &Member) -> Result<bool, StoreError>;
        fn remove_group_member(group: &Email, member: &Member) -> Result<bool, StoreError>;
        fn is_group_member(group: &Email, member: &Member) -> Result<bool, StoreError>;
        fn group_members(group: &Email, after: Option<&Member>, limit: u32) -> Result<Vec<Member>, StoreError>;
        fn every_group_member(after: Option<(&Email, &Member)>, limit: u32) -> Result<Vec<(Email, Member)>, StoreError>;
        fn groups_of_member(member: &Member) -> Result<Vec<Email>, StoreError>;
    }
}

counting! {
    AccessLevelStore {
        fn add_access_level(level: &AccessLevel, seen: &[AccessLevel]) -> Result<bool, StoreError>;
        fn replace_access_level(level: &AccessLevel, seen: &[AccessLevel]) -> Result<bool, StoreError>;
        fn remove_access_level(name: &AccessLevelName, seen: &[AccessLevel]) -> Result<bool, StoreError>;
        fn access_levels() -> Result<Vec<AccessLevel>, StoreError>;
    }
}

counting! {
    KeyStore {
        fn add_keys(keys: &[StoredKey]) -> Result<(), StoreError>;
        fn keys() -> Result<Vec<StoredKey>, StoreError>;
        fn remove_keys(ids: &[String]) -> Result<(), StoreError>;
    }
}

counting! {
    GrantStore {
        fn add_access_token(token: &TokenHash, grant: &AccessGrant, now: Timestamp) -> Result<bool, StoreError>;
        fn access_token(token: &TokenHash, now: Timestamp) -> Result<Option<AccessGrant>, StoreError>;
        fn remove_access_token(token: &TokenHash) -> Result<bool, StoreError>;
        fn take_assertion_id(issuer: &UniqueId, jti: &str, expires: Timestamp, now: Timestamp) -> Result<bool, StoreError>;
        fn add_code(code: &TokenHash, grant: &CodeGrant, now: Timestamp) -> Result<(), StoreError>;
        fn take_code(code: &TokenHash, client: &ClientId, now: Timestamp) -> Result<TakenCode, StoreError>;
        fn add_refresh_token(token: &TokenHash, grant: &GrantId) -> Result<bool, StoreError>;
        fn refresh_token(token: &TokenHash) -> Result<Option<RefreshGrant>, StoreError>;
        fn rotate_refresh_token(old: &TokenHash, new: &TokenHash) -> Result<bool, StoreError>;
        fn revoke_grant(id: &GrantId) -> Result<bool, StoreError>;
        fn add_device_code(device: &TokenHash, user_code: &TokenHash, grant: &DeviceGrant, now: Timestamp) -> Result<bool, StoreError>;
        fn device_grant(user_code: &TokenHash, now: Timestamp) -> Result<Option<DeviceGrant>, StoreError>;
        fn decide_device(user_code: &TokenHash, grant: Option<&PersonGrant>, now: Timestamp) -> Result<bool, StoreError>;
        fn poll_device(device: &TokenHash, client: &ClientId, now: Timestamp) -> Result<DevicePoll, StoreError>;
    }
}

#[async_trait]
impl RevisionStore for CountingStore {
    async fn revision(&self) -> Result<Revision, StoreError> {
        self.readable()?;
        self.store.revision().await
    }
    async fn changes_after(&self, after: Revision, limit: u32) -> Result<Option<Vec<Change>>, StoreError> {
        self.readable()?;
        self.store.changes_after(after, limit).await
    }
    async fn wait_for_change(&self, after: Revision, patience: Duration) -> Result<(), StoreError> {
        self.readable()?;
        self.store.wait_for_change(after, patience).await
    }
}

#[async_trait]
impl AuditStore for CountingStore {
    async fn append(&self, events: &[AuditEvent], keep: u64) -> Result<(), StoreError> {
        self.store.append(events, keep).await
    }
    async fn events_after(&self, after: i64, limit: u32) -> Result<Vec<StoredEvent>, StoreError> {
        self.store.events_after(after, limit).await
    }
    async fn latest_events(&self, limit: u32) -> Result<Vec<StoredEvent>, StoreError> {
        self.store.latest_events(limit).await
    }
    async fn event(&self, id: &str) -> Result<Option<StoredEvent>, StoreError> {
        self.store.event(id).await
    }
    async fn sequence_before(&self, since: Timestamp) -> Result<i64, StoreError> {
        self.store.sequence_before(since).await
    }
    async fn forget_events(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.store.forget_events(before).await
    }
    async fn chain_start(&self) -> Result<ChainLink, StoreError> {
        self.store.chain_start().await
    }
    async fn raw_events_after(&self, after: i64, limit: u32) -> Result<Vec<(i64, Value, String)>, StoreError> {
        self.store.raw_events_after(after, limit).await
    }
}
