//! People: who there is, and how they get a password. What they may do is for policies to say.

use std::sync::Arc;

use doorward_core::account::{UniqueId, User};
use doorward_core::audit::escaped;
use doorward_core::entropy::{Entropy, EntropyError, random_base64url, random_digits};
use doorward_core::member::{Email, EmailError, Member};
use doorward_core::policy::{Permission, PermissionSet, PredefinedRole, Role};
use doorward_core::resource::Resource;
use doorward_core::store::{Store, StoreError};
use doorward_wire::doorward_api::{CreateUserRequest, ListUsersResponse, SetPasswordResponse, UserResource};
use doorward_wire::google_api::Status;
use doorward_wire::jose::{decode_base64url, encode_base64url};
use serde_json::json;

use crate::admin::{Admin, AdminError, Call, Changes, Failure, Method};
use crate::explain::Subject;
use crate::sign_in::{NoTurn, PasswordDesk, PasswordError};
use crate::snapshots::{RefreshError, SnapshotPublisher};
use crate::tasks::Stopping;

const SERVICE: &str = "doorward";
const CREATE: Method = Method::write(SERVICE, "doorward.v1.Users.CreateUser");
const SET_PASSWORD: Method = Method::write(SERVICE, "doorward.v1.Users.SetPassword");
const DISABLE: Method = Method::write(SERVICE, "doorward.v1.Users.DisableUser");
const ENABLE: Method = Method::write(SERVICE, "doorward.v1.Users.EnableUser");
const DELETE: Method = Method::write(SERVICE, "doorward.v1.Users.DeleteUser");
const GET: Method = Method::look(SERVICE, "doorward.v1.Users.GetUser");
const LIST: Method = Method::look(SERVICE, "doorward.v1.Users.ListUsers");

const DEFAULT_PAGE: u32 = 100;
const LARGEST_PAGE: u32 = 1000;
/// Numbers of accounts have 21 digits.
const UNIQUE_ID_DIGITS: usize = 21;
/// Bytes of randomness in a password: 24 characters.
const PASSWORD_BYTES: usize = 18;
/// Addresses below it are those of service accounts.
const ACCOUNTS_DOMAIN: &str = "gserviceaccount.com";

/// Why something was not done with a person.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// The caller may not.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// Not an address.
    #[error(transparent)]
    Email(#[from] EmailError),
    /// An address that a service account could have.
    #[error("addresses below {ACCOUNTS_DOMAIN} are those of service accounts")]
    OfAccounts,
    /// The page token is none of ours.
    #[error("not a page token")]
    PageToken,
    /// The address is a person's, a group's or an account's.
    #[error("{0} is taken")]
    Taken(Email),
    /// There is no such person.
    #[error("no such person")]
    NotFound,
    /// They hold more than the right to enter applications, and the caller does not hold all of `roles/doorward.admin`.
    #[error("{0} administers, and the caller does not hold everything of roles/doorward.admin")]
    Administrator(Email),
    /// Nobody disables or deletes themselves: it would be noticed too late.
    #[error("{0} is who asks")]
    Oneself(Email),
    /// The store failed.
    #[error("could not read or write people")]
    Store(#[from] StoreError),
    /// The change is stored, and it is not known whether it is in force.
    #[error("could not put the change in force")]
    Refresh(#[from] RefreshError),
    /// No number or password could be made.
    #[error("could not make a number or a password")]
    Entropy(#[from] EntropyError),
    /// The new password could not be hashed.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The process is stopping.
    #[error(transparent)]
    Stopping(#[from] Stopping),
}

impl From<NoTurn> for UserError {
    fn from(cause: NoTurn) -> Self {
        match cause {
            // An administrator waits in any crowd.
            NoTurn::Crowded | NoTurn::Stopping => UserError::Stopping(Stopping),
        }
    }
}

impl Failure for UserError {
    fn status(&self) -> Status {
        use UserError as E;
        match self {
            E::Admin(error) => error.status(),
            E::Email(_) | E::OfAccounts | E::PageToken => Status::InvalidArgument,
            E::Taken(_) => Status::AlreadyExists,
            E::NotFound => Status::NotFound,
            E::Administrator(_) => Status::PermissionDenied,
            E::Oneself(_) => Status::FailedPrecondition,
            E::Store(_) | E::Refresh(_) | E::Entropy(_) | E::Password(_) | E::Stopping(_) => Status::Internal,
        }
    }
}

/// The people. Methods take a person's address.
///
/// Whoever sets somebody's password can sign in as them. So no basic role gives that permission, and a custom role that gives it is
/// not enough for the password of an administrator: a helpdesk would be one by it. Of somebody who holds any role that gives more than
/// to enter applications, on whatever resource and however they are named there, only those who hold all of `roles/doorward.admin`
/// set the password, and only they and owners disable, enable or delete them.
pub struct Users {
    store: Arc<dyn Store>,
    publisher: Arc<SnapshotPublisher>,
    changes: Changes,
    entropy: Arc<dyn Entropy>,
    passwords: PasswordDesk,
}

impl Users {
    /// People in `store`, put in force by `publisher`, as `changes` lets and records. Their passwords are hashed at the desk at which
    /// those of people who sign in are looked at.
    pub fn new(
        store: Arc<dyn Store>,
        publisher: Arc<SnapshotPublisher>,
        changes: Changes,
        entropy: Arc<dyn Entropy>,
        passwords: PasswordDesk,
    ) -> Self {
        Users { store, publisher, changes, entropy, passwords }
    }

    /// Makes a person. They have no password yet, so they cannot sign in. Whatever policies give to their address, or to its domain,
    /// is theirs.
    pub async fn create(&self, admin: &Admin, given: CreateUserRequest) -> Result<UserResource, UserError> {
        let mut call = self.changes.begin(admin, CREATE, &user_name(&given.email))?;
        let outcome = async {
            self.enter(&mut call, Permission::CreateUser).await?;
            let email: Email = given.email.parse()?;
            call.about(&user_name(email.as_str()));
            if email.domain() == ACCOUNTS_DOMAIN || email.domain().ends_with(&format!(".{ACCOUNTS_DOMAIN}")) {
                return Err(UserError::OfAccounts);
            }
            if self.publisher.cell().current().account_by_email(&email).is_some()
                || self.store.group(&email).await?.is_some()
            {
                return Err(UserError::Taken(email));
            }
            // The first digit is not 0: a number of 21 digits.
            let unique_id = UniqueId(format!("1{}", random_digits(&*self.entropy, UNIQUE_ID_DIGITS - 1)?));
            let user = User { unique_id, email, disabled: false };
            call.creates(&show(&user));
            let store = self.store.clone();
            let write = async move {
                match store.add_user(&user).await? {
                    true => Ok(show(&user)),
                    false => Err(UserError::Taken(user.email)),
                }
            };
            self.publisher.change(write).await
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// One person.
    pub async fn get(&self, admin: &Admin, email: &str) -> Result<UserResource, UserError> {
        let mut call = self.changes.begin(admin, GET, &user_name(email))?;
        let outcome = async {
            self.enter(&mut call, Permission::GetUser).await?;
            Ok(show(&self.find(email).await?.0))
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// One page of people, in the order of their addresses: 100 if no size is asked for, and never more than 1,000.
    pub async fn list(
        &self,
        admin: &Admin,
        page_size: Option<u32>,
        page_token: Option<&str>,
    ) -> Result<ListUsersResponse, UserError> {
        let mut call = self.changes.begin(admin, LIST, "users")?;
        let outcome = async {
            self.enter(&mut call, Permission::ListUsers).await?;
            let after = page_token.filter(|token| !token.is_empty()).map(decode_page_token).transpose()?;
            let size = page_size.filter(|size| *size > 0).unwrap_or(DEFAULT_PAGE).min(LARGEST_PAGE);
            let size = usize::try_from(size).unwrap_or(usize::MAX);
            let mut users = self.store.users().await?;
            users.retain(|user| after.as_ref().is_none_or(|after| user.email > *after));
            let more = users.len() > size;
            users.truncate(size);
            let last = users.last().filter(|_| more);
            let next_page_token = last.map(|last| encode_base64url(last.email.as_str().as_bytes()));
            Ok(ListUsersResponse { users: users.iter().map(show).collect(), next_page_token })
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Gives a person a new password, drawn at random, in place of the one that they have. It is told this once. Where they are signed
    /// in they stay so.
    pub async fn set_password(&self, admin: &Admin, email: &str) -> Result<SetPasswordResponse, UserError> {
        let mut call = self.changes.begin(admin, SET_PASSWORD, &user_name(email))?;
        let outcome = async {
            self.enter(&mut call, Permission::SetUserPassword).await?;
            let (user, has_password) = self.find(email).await?;
            self.check_rank(&mut call, &user).await?;
            let state = |has: bool| json!({ "email": user.email.as_str(), "hasPassword": has });
            call.changes(Some(&state(has_password)), Some(&state(true)));
            let password = random_base64url(&*self.entropy, PASSWORD_BYTES)?;
            let turn = self.passwords.turn(true).await?;
            let hash = turn.hash(password.clone(), self.entropy.clone()).await??;
            let store = self.store.clone();
            let write = async move {
                match store.set_password(&user.unique_id, &hash).await? {
                    true => Ok(SetPasswordResponse { password }),
                    false => Err(UserError::NotFound),
                }
            };
            self.publisher.change(write).await
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Disables or enables a person. One who is disabled cannot sign in, and nothing that they have is accepted: no session, and no
    /// token of any client.
    pub async fn disable(&self, admin: &Admin, email: &str, disabled: bool) -> Result<(), UserError> {
        let method = if disabled { DISABLE } else { ENABLE };
        let mut call = self.changes.begin(admin, method, &user_name(email))?;
        let outcome = async {
            self.enter(&mut call, Permission::UpdateUser).await?;
            let (user, _) = self.find(email).await?;
            self.check_rank(&mut call, &user).await?;
            check_other(&call, &user)?;
            call.changes(Some(&show(&user)), Some(&show(&User { disabled, ..user.clone() })));
            let store = self.store.clone();
            let write = async move {
                match store.disable_user(&user.unique_id, disabled).await? {
                    true => Ok(()),
                    false => Err(UserError::NotFound),
                }
            };
            self.publisher.change(write).await
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Removes a person with their password, all that they allowed to clients, their places in groups, and every mention of them in
    /// policies: whoever comes to have the same address is somebody else.
    pub async fn delete(&self, admin: &Admin, email: &str) -> Result<(), UserError> {
        let mut call = self.changes.begin(admin, DELETE, &user_name(email))?;
        let outcome = async {
            self.enter(&mut call, Permission::DeleteUser).await?;
            let (user, _) = self.find(email).await?;
            self.check_rank(&mut call, &user).await?;
            check_other(&call, &user)?;
            call.removes(&show(&user));
            let store = self.store.clone();
            let write = async move {
                match store.remove_user(&user.unique_id).await? {
                    true => Ok(()),
                    false => Err(UserError::NotFound),
                }
            };
            self.publisher.change(write).await
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    async fn enter(&self, call: &mut Call<'_>, permission: Permission) -> Result<(), UserError> {
        self.publisher.catch_up().await?;
        call.demand(permission, &Resource::Project)?;
        Ok(())
    }

    /// A person, and whether they have a password.
    async fn find(&self, email: &str) -> Result<(User, bool), UserError> {
        let email: Email = email.parse().map_err(|_| UserError::NotFound)?;
        let (user, password) = self.store.user_by_email(&email).await?.ok_or(UserError::NotFound)?;
        Ok((user, password.is_some()))
    }

    /// Sees that nobody does to an administrator what only administrators may: the rule of [`Users`].
    async fn check_rank(&self, call: &mut Call<'_>, user: &User) -> Result<(), UserError> {
        if !self.administers(user).await? {
            return Ok(());
        }
        let role = PredefinedRole::find("roles/doorward.admin");
        let all: PermissionSet = role.map_or(PermissionSet::EMPTY, |role| role.permissions);
        // Owners hold all of it but this one, which has been asked for where it counts.
        let asked: Vec<Permission> = all.iter().filter(|it| *it != Permission::SetUserPassword).collect();
        let held = self.changes.gate().held(call.admin(), &asked, &Resource::Project);
        match !asked.is_empty() && held == asked {
            true => Ok(()),
            false => Err(UserError::Administrator(user.email.clone())),
        }
    }

    /// Whether they hold anything but the right to enter applications. What a condition or a deny rule takes away counts: it may give
    /// it back tomorrow.
    async fn administers(&self, user: &User) -> Result<bool, UserError> {
        use Permission as P;
        let doors = PermissionSet::of(&[
            P::AccessViaIap,
            P::EgressViaIap,
            P::RemediateWeb,
            P::AccessInstanceViaIap,
            P::RemediateInstance,
            P::AccessDestGroupViaIap,
            P::RemediateDestGroup,
        ]);
        let snapshot = self.publisher.cell().current();
        let names = Subject::of(Member::User(user.email.clone())).names(&snapshot);
        let policies = self.store.policies().await?;
        Ok(policies.iter().flat_map(|(_, policy)| &policy.bindings).any(|binding| {
            // A custom role that gives nothing now was made for something.
            let gives = match snapshot.roles.find(&binding.role) {
                Some(Role::Predefined(role)) => role.permissions,
                Some(Role::Custom(role)) => role.permissions,
                None => PermissionSet::EMPTY,
            };
            !gives.without(doors).is_empty() && binding.members.iter().any(|member| names.contains(member))
        }))
    }
}

fn check_other(call: &Call<'_>, user: &User) -> Result<(), UserError> {
    match call.admin().member() == Member::User(user.email.clone()).to_string() {
        true => Err(UserError::Oneself(user.email.clone())),
        false => Ok(()),
    }
}

fn decode_page_token(token: &str) -> Result<Email, UserError> {
    let bytes = decode_base64url(token).ok_or(UserError::PageToken)?;
    let text = String::from_utf8(bytes).map_err(|_| UserError::PageToken)?;
    text.parse().map_err(|_| UserError::PageToken)
}

fn show(user: &User) -> UserResource {
    UserResource { email: user.email.to_string(), unique_id: user.unique_id.0.clone(), disabled: user.disabled }
}

/// As the record names it.
fn user_name(email: &str) -> String {
    format!("users/{}", escaped(email.as_bytes(), 255))
}
