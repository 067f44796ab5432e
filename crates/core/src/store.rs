//! Storage, as traits: one per aggregate. Methods are promises, not queries; *not found* is `Option`; time is an argument.
//!
//! A method that returns `Ok` has made its change durable: it survives a killed process and a power failure. The one
//! exception says so: [`AuditStore::append`].

use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;

use crate::access_level::{AccessLevel, AccessLevelName};
use crate::account::{ManagedKey, PasswordHash, ServiceAccount, ServiceAccountKey, UniqueId, User};
use crate::audit::{AuditEvent, ChainLink, StoredEvent};
use crate::client::OAuthClient;
use crate::clock::Timestamp;
use crate::dest_group::{DestGroup, DestGroupName};
use crate::federation::{FederationId, Generation, Pool, Provider};
use crate::grant::{
    AccessGrant, CodeGrant, DeviceGrant, DevicePoll, GrantId, PersonGrant, RefreshGrant, TakenCode, TokenHash,
};
use crate::group::Group;
use crate::keys::StoredKey;
use crate::member::{Email, Member};
use crate::policy::{Binding, CustomRole, DenyPolicy, DenyPolicyName, Etag, Policy, RoleName};
use crate::resource::{Application, ApplicationName, ClientId, Project, Route};
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

/// The point up to which a reader has seen the store. The default is that of an empty one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Revision {
    /// How often it was written.
    pub number: i64,
    /// What the newest write drew at random. A store that went back to what it was, because a server took over that did not have
    /// the last writes, comes to the same number again, and not to the same mark.
    pub mark: i64,
}

/// What a write touched. Says where to look, and not what is there: between the write and the look there may be another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Changed {
    /// Our own keys.
    Keys,
    /// The policy of the resource of this canonical name.
    Policy(String),
    /// A deny policy.
    DenyPolicy(DenyPolicyName),
    /// A custom role.
    Role(RoleName),
    /// A group: that it is, or is no more.
    Group(Email),
    /// A member's place in a group.
    GroupMember(Email, Member),
    /// An access level.
    AccessLevel(AccessLevelName),
    /// The settings of the resource of this canonical name.
    Settings(String),
    /// The application of this number.
    Application(String),
    /// An OAuth client.
    OAuthClient(ClientId),
    /// The project's brand.
    Brand,
    /// A service account.
    ServiceAccount(UniqueId),
    /// The key of this id of a service account.
    ServiceAccountKey(String),
    /// A person.
    User(UniqueId),
    /// Pools and providers.
    Federation,
}

/// One write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The point after it. Several changes of one transaction have the same.
    pub revision: Revision,
    /// What it touched.
    pub what: Changed,
}

/// Up to where the store was written. Every write of anything in [`Changed`] raises the revision and appends its changes, in its own
/// transaction: whoever sees the revision sees what was written.
#[async_trait]
pub trait RevisionStore: Send + Sync {
    /// The current point.
    async fn revision(&self) -> Result<Revision, StoreError>;

    /// The changes after a point, oldest first and those of one revision together: at most some more than `limit`. `None` if that
    /// far back is no longer known, or if the store never was at that point: read everything.
    async fn changes_after(&self, after: Revision, limit: u32) -> Result<Option<Vec<Change>>, StoreError>;

    /// Returns when the store is at another point than this, by whichever instance, or after `patience`. May return sooner.
    async fn wait_for_change(&self, after: Revision, patience: Duration) -> Result<(), StoreError>;
}

/// What came of replacing something that is expected to be in a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replaced {
    /// It was replaced, and has this state now.
    Done(Etag),
    /// It is in another state than was expected. No change.
    Stale,
    /// It is not there. No change.
    NotFound,
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
    /// The group of this address.
    Group(Email),
    /// The application of this number.
    Application(String),
}

/// What came of replacing a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PolicyWrite {
    /// It was replaced, and this is its new state.
    Written(Etag),
    /// It is not in the state that the writer saw. Nothing was changed.
    Conflict,
    /// This is not there. Nothing was changed.
    Missing(Named),
}

/// What came of removing an OAuth client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientRemoval {
    /// It is gone.
    Removed,
    /// There is no such client.
    Missing,
    /// This application has it, the first by name. Nothing was changed.
    InUse(ApplicationName),
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
    /// Adds an account, to whose address no policy, no exception and no group gives anything from then on; `false`, and no change,
    /// if one with its address or number exists.
    async fn add_service_account(&self, account: &ServiceAccount) -> Result<bool, StoreError>;

    /// Removes an account with all its keys, its access tokens, the policy on it, its places in groups and every mention of its
    /// address in other policies and in the exceptions of deny policies, all or nothing; `false` if there was none.
    async fn remove_service_account(&self, id: &UniqueId) -> Result<bool, StoreError>;

    /// Gives an account another display name and description; `false`, and no change, if there is none.
    async fn describe_service_account(
        &self,
        id: &UniqueId,
        display_name: &str,
        description: &str,
    ) -> Result<bool, StoreError>;

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

    /// The user of this number.
    async fn user_by_id(&self, id: &UniqueId) -> Result<Option<User>, StoreError>;

    /// Disables or enables a user; `false`, and no change, if there is none.
    async fn disable_user(&self, id: &UniqueId, disabled: bool) -> Result<bool, StoreError>;

    /// Removes a user with their grants, their places in groups and every mention of them in policies; `false` if there was none.
    async fn remove_user(&self, id: &UniqueId) -> Result<bool, StoreError>;

    /// Sets a password; `false`, and no change, if there is no such user.
    async fn set_password(&self, user: &UniqueId, password: &PasswordHash) -> Result<bool, StoreError>;

    /// Sets the first password of a user; `false`, and no change, if there is no such user or they have one. Of several at one moment
    /// one is set.
    async fn set_first_password(&self, user: &UniqueId, password: &PasswordHash) -> Result<bool, StoreError>;
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

    /// Removes a client with everything that was granted to it, unless an application has it: whoever registered one under its id
    /// afterwards would have what is that application's. Of an application that is written at the same time either it has the client
    /// already, or the client is gone before.
    async fn remove_oauth_client(&self, id: &ClientId) -> Result<ClientRemoval, StoreError>;
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
    /// Adds a pool, to whose identities no policy, no exception and no group gives anything from then on. There are [`POOLS_LIMIT`] at most: concurrent calls
    /// do not exceed that.
    ///
    /// [`POOLS_LIMIT`]: crate::federation::POOLS_LIMIT
    async fn add_pool(&self, pool: &Pool) -> Result<Added, StoreError>;

    /// Replaces what can change of a pool; `false`, and no change, if there is none of its id, or it is not as it was `seen`. Of
    /// concurrent calls that saw the same, one wins.
    async fn replace_pool(&self, pool: &Pool, seen: &Pool) -> Result<bool, StoreError>;

    /// Removes a pool with its providers, the access tokens of its identities, their places in groups and every mention of them in
    /// policies and exceptions, all or nothing; `false` if there was none.
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

    /// All settings that were written, with their resources' names, in the order of these.
    async fn every_settings(&self) -> Result<Vec<(String, Settings)>, StoreError>;

    /// Replaces the settings of a resource if they are those that were `seen`; `false`, and no change, if they are others by now.
    /// Of concurrent calls that saw the same, one wins. Settings in which nothing is set are as never written.
    async fn replace_settings(
        &self,
        resource_name: &str,
        seen: &Settings,
        settings: &Settings,
    ) -> Result<bool, StoreError>;
}

/// Why an application is not written. No change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplicationRefused {
    /// Another one of this kind and region has its name, or its service and version.
    #[error("there is an application of that name")]
    NameTaken,
    /// Another one has its number.
    #[error("there is an application of that number")]
    NumberTaken,
    /// Another one is served at one of its places.
    #[error("another application is served there")]
    PlaceTaken(Route),
    /// It is in another state than was expected.
    #[error("there were concurrent changes")]
    Stale,
    /// It is not there.
    #[error("there is no such application")]
    NotFound,
}

/// Registered applications.
#[async_trait]
pub trait ApplicationStore: Send + Sync {
    /// Registers an application, and gives its first state; the state in it is passed over. Of any number of concurrent calls that want
    /// one name, number or place, one succeeds.
    async fn add_application(&self, application: &Application) -> Result<Result<Etag, ApplicationRefused>, StoreError>;

    /// Replaces the application of its number. Its kind and name stay. `expected` is the state that the writer saw.
    async fn replace_application(
        &self,
        application: &Application,
        expected: Option<Etag>,
    ) -> Result<Result<Etag, ApplicationRefused>, StoreError>;

    /// As [`ApplicationStore::replace_application`] of each, in the state that is in it: all of them or none. Gives their new states.
    async fn replace_applications(
        &self,
        applications: &[Application],
    ) -> Result<Result<Vec<Etag>, ApplicationRefused>, StoreError>;

    /// Removes an application with the policy and the settings of its version, and with the last one of its service those of the
    /// service; `false` if there was none.
    async fn remove_application(&self, service_id: &str, project: &Project) -> Result<bool, StoreError>;

    /// The application of this number.
    async fn application(&self, service_id: &str) -> Result<Option<Application>, StoreError>;

    /// Every application, in the order of their names.
    async fn applications(&self) -> Result<Vec<Application>, StoreError>;
}

/// The brand of the project: what the page on which people consent shows. There is at most one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brand {
    /// The name that people see.
    pub application_title: String,
    /// Where they may ask.
    pub support_email: Email,
    /// Only people of the organization sign in to its clients.
    pub org_internal_only: bool,
}

/// The project's brand.
#[async_trait]
pub trait BrandStore: Send + Sync {
    /// Adds the brand; `false`, and no change, if there is one.
    async fn add_brand(&self, brand: &Brand) -> Result<bool, StoreError>;

    /// The brand.
    async fn brand(&self) -> Result<Option<Brand>, StoreError>;
}

/// Tunnel destination groups. No snapshot has them.
#[async_trait]
pub trait DestGroupStore: Send + Sync {
    /// Adds a group; `false`, and no change, if its name is taken.
    async fn add_dest_group(&self, group: &DestGroup) -> Result<bool, StoreError>;

    /// Replaces what is in the group of this name, if it is still as in `seen`; `false`, and no change, if it is another or gone. Of
    /// any number of concurrent calls that saw one state and change it, exactly one succeeds.
    async fn replace_dest_group(&self, seen: &DestGroup, group: &DestGroup) -> Result<bool, StoreError>;

    /// Removes a group, and the policy of its resource, whose canonical name is `resource_name`; `false`, and no change, if there is no
    /// group. Whoever expects a state of that policy and writes it afterwards finds none.
    async fn remove_dest_group(&self, name: &DestGroupName, resource_name: &str) -> Result<bool, StoreError>;

    /// The group of this name.
    async fn dest_group(&self, name: &DestGroupName) -> Result<Option<DestGroup>, StoreError>;

    /// The groups of a location, or all, in the order of locations and ids.
    async fn dest_groups(&self, location: Option<&str>) -> Result<Vec<DestGroup>, StoreError>;
}

/// Policies, by canonical resource name: of every kind of resource.
#[async_trait]
pub trait PolicyStore: Send + Sync {
    /// The policy of a resource; one that was never written is empty and has [`Etag::UNWRITTEN`].
    async fn policy(&self, resource_name: &str) -> Result<Policy, StoreError>;

    /// Every policy that was written, with its resource's name, in the order of names.
    async fn policies(&self) -> Result<Vec<(String, Policy)>, StoreError>;

    /// How many policies were written of resources whose names begin so, empty ones too.
    async fn count_policies(&self, name_prefix: &str) -> Result<u64, StoreError>;

    /// Replaces the whole policy, if everything in `named` is there, and if `expected`, where it is given, is the current state. Of
    /// any number of concurrent calls that expect one state, exactly one succeeds.
    ///
    /// Whatever is in `named` and is removed at the same time is either missing here, or takes with it what was written.
    async fn replace_policy(
        &self,
        resource_name: &str,
        bindings: &[Binding],
        expected: Option<Etag>,
        named: &[Named],
    ) -> Result<PolicyWrite, StoreError>;
}

/// Deny policies.
#[async_trait]
pub trait DenyPolicyStore: Send + Sync {
    /// Adds a policy, and gives its first state; the state in it is passed over. `None`, and no change, if its name is taken.
    async fn add_deny_policy(&self, policy: &DenyPolicy) -> Result<Option<Etag>, StoreError>;

    /// Replaces the policy of its name; number and time of making stay. Of any number of concurrent calls that expect one state,
    /// exactly one succeeds.
    async fn replace_deny_policy(&self, policy: &DenyPolicy, expected: Option<Etag>) -> Result<Replaced, StoreError>;

    /// Removes a policy. [`Replaced::Done`] has the state that it had.
    async fn remove_deny_policy(&self, name: &DenyPolicyName, expected: Option<Etag>) -> Result<Replaced, StoreError>;

    /// The policy of this name.
    async fn deny_policy(&self, name: &DenyPolicyName) -> Result<Option<DenyPolicy>, StoreError>;

    /// Every policy, in the order of names.
    async fn deny_policies(&self) -> Result<Vec<DenyPolicy>, StoreError>;
}

/// Custom roles.
#[async_trait]
pub trait RoleStore: Send + Sync {
    /// Adds a role, and gives its first state; the state in it is passed over. `None`, and no change, if its name is taken, also by a
    /// deleted one.
    async fn add_role(&self, role: &CustomRole) -> Result<Option<Etag>, StoreError>;

    /// Replaces the role of its name, deletes it or takes it back. Of any number of concurrent calls that expect one state, exactly one
    /// succeeds.
    async fn replace_role(&self, role: &CustomRole, expected: Option<Etag>) -> Result<Replaced, StoreError>;

    /// The role of this name, deleted or not.
    async fn role(&self, name: &RoleName) -> Result<Option<CustomRole>, StoreError>;

    /// Every role, deleted or not, in the order of names.
    async fn roles(&self) -> Result<Vec<CustomRole>, StoreError>;
}

/// Groups. Members come and go one at a time, for there may be very many.
#[async_trait]
pub trait GroupStore: Send + Sync {
    /// Adds a group, to which no policy, no exception and no other group gives anything from then on, and gives its first state; the
    /// state in it is passed over. `None`, and no change, if its address is taken.
    async fn add_group(&self, group: &Group) -> Result<Option<Etag>, StoreError>;

    /// Replaces the texts of the group of its address.
    async fn replace_group(&self, group: &Group, expected: Option<Etag>) -> Result<Replaced, StoreError>;

    /// Removes a group with its members, its places in other groups and every mention of it in policies and exceptions, all or
    /// nothing; `false` if there was none.
    async fn remove_group(&self, group: &Email) -> Result<bool, StoreError>;

    /// The group of this address.
    async fn group(&self, group: &Email) -> Result<Option<Group>, StoreError>;

    /// Up to `limit` groups in the order of their addresses, those after `after` (exclusive).
    async fn groups(&self, after: Option<&Email>, limit: u32) -> Result<Vec<Group>, StoreError>;

    /// Puts a member into a group; `false`, and no change, if there is no such group, or it is there.
    async fn add_group_member(&self, group: &Email, member: &Member) -> Result<bool, StoreError>;

    /// Takes a member out of a group; `false` if it was not there.
    async fn remove_group_member(&self, group: &Email, member: &Member) -> Result<bool, StoreError>;

    /// Whether a member is in a group, itself.
    async fn is_group_member(&self, group: &Email, member: &Member) -> Result<bool, StoreError>;

    /// Up to `limit` members of a group in the order of their texts, those after `after` (exclusive).
    async fn group_members(&self, group: &Email, after: Option<&Member>, limit: u32)
    -> Result<Vec<Member>, StoreError>;

    /// Up to `limit` memberships of all groups in the order of groups and members, those after `after` (exclusive).
    async fn every_group_member(
        &self,
        after: Option<(&Email, &Member)>,
        limit: u32,
    ) -> Result<Vec<(Email, Member)>, StoreError>;

    /// The groups in which a member is, itself, in the order of their addresses.
    async fn groups_of_member(&self, member: &Member) -> Result<Vec<Email>, StoreError>;
}

/// Access levels. They refer to each other: whoever writes one says which ones it was fitted to, `seen` being all of them in any
/// order, and nothing is written where others are there by now. Of concurrent calls that saw the same, one wins.
#[async_trait]
pub trait AccessLevelStore: Send + Sync {
    /// Adds a level; `false`, and no change, if its name is taken, or others are there than were `seen`.
    async fn add_access_level(&self, level: &AccessLevel, seen: &[AccessLevel]) -> Result<bool, StoreError>;

    /// Replaces the level of its name; `false`, and no change, if there is none, or others are there than were `seen`.
    async fn replace_access_level(&self, level: &AccessLevel, seen: &[AccessLevel]) -> Result<bool, StoreError>;

    /// Removes the level of this name; `false`, and no change, if there is none, or others are there than were `seen`.
    async fn remove_access_level(&self, name: &AccessLevelName, seen: &[AccessLevel]) -> Result<bool, StoreError>;

    /// Every level, in the order of names.
    async fn access_levels(&self) -> Result<Vec<AccessLevel>, StoreError>;
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
    /// Appends events in this order, each chained to the one before ([`chain_hash`](crate::audit::chain_hash)): of concurrent calls
    /// the events of one come after those of the other. They survive a killed process; a power failure may take the newest.
    ///
    /// At most `keep` events remain, the newest.
    async fn append(&self, events: &[AuditEvent], keep: u64) -> Result<(), StoreError>;

    /// Up to `limit` events with a sequence number above `after`, oldest first.
    async fn events_after(&self, after: i64, limit: u32) -> Result<Vec<StoredEvent>, StoreError>;

    /// The newest `limit` events, oldest first.
    async fn latest_events(&self, limit: u32) -> Result<Vec<StoredEvent>, StoreError>;

    /// The event of this id, if it remains.
    async fn event(&self, id: &str) -> Result<Option<StoredEvent>, StoreError>;

    /// The sequence number before the first event that is not older than `since`.
    async fn sequence_before(&self, since: Timestamp) -> Result<i64, StoreError>;

    /// Forgets events before `before`, and says how many.
    async fn forget_events(&self, before: Timestamp) -> Result<u64, StoreError>;

    /// What the oldest event that remains is chained to.
    async fn chain_start(&self) -> Result<ChainLink, StoreError>;

    /// Up to `limit` events after `after` as they were written: the number, the JSON, the hash. For
    /// [`verify_chain`](crate::audit::verify_chain).
    async fn raw_events_after(&self, after: i64, limit: u32) -> Result<Vec<(i64, Value, String)>, StoreError>;
}

/// Everything, for the one place that wires.
pub trait Store:
    ServiceAccountStore
    + UserStore
    + ApplicationStore
    + OAuthClientStore
    + SessionStore
    + FederationStore
    + BrandStore
    + DestGroupStore
    + SettingsStore
    + PolicyStore
    + DenyPolicyStore
    + RoleStore
    + GroupStore
    + AccessLevelStore
    + RevisionStore
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
        + BrandStore
        + DestGroupStore
        + SettingsStore
        + PolicyStore
        + DenyPolicyStore
        + RoleStore
        + GroupStore
        + AccessLevelStore
        + RevisionStore
        + KeyStore
        + GrantStore
        + AuditStore
{
}
