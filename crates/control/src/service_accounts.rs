//! Service accounts and their keys.

use std::sync::Arc;

use doorward_core::account::{AccountId, AccountIdError, ServiceAccount, ServiceAccountKey, UniqueId};
use doorward_core::audit::escaped;
use doorward_core::entropy::{Entropy, EntropyError, generate_private_key, random_digits, random_hex};
use doorward_core::member::Email;
use doorward_core::policy::Permission;
use doorward_core::resource::Resource;
use doorward_core::store::{Store, StoreError};
use doorward_wire::google_api::{
    CreateKeyRequest, CreateServiceAccountRequest, FieldMask, FieldMaskError, KeyFile, NewServiceAccount,
    PatchServiceAccountRequest, Status,
};
use doorward_wire::jose::{Algorithm, JwkSet, KeyMaterialError, SigningKey, decode_base64url, encode_base64url};
use serde_json::{Value, json};

use crate::admin::{Admin, AdminError, Call, Changes, Failure, Method};
use crate::snapshots::{RefreshError, SnapshotPublisher};
use crate::tasks::{Stopping, join};

/// The longest display name, in bytes of UTF-8.
///
/// Spec: <https://cloud.google.com/iam/docs/reference/rest/v1/projects.serviceAccounts>
pub const DISPLAY_NAME_LIMIT: usize = 100;
/// The longest description, in bytes of UTF-8.
pub const DESCRIPTION_LIMIT: usize = 256;

const DEFAULT_PAGE: u32 = 100;
const LARGEST_PAGE: u32 = 1000;
/// Google's accounts have numbers of 21 digits.
const UNIQUE_ID_DIGITS: usize = 21;
/// Google's keys have ids of 40 hexadecimal digits.
const KEY_ID_BYTES: usize = 20;

const SERVICE: &str = "iam.googleapis.com";
const CREATE: Method = Method::write(SERVICE, "google.iam.admin.v1.CreateServiceAccount");
const DELETE: Method = Method::write(SERVICE, "google.iam.admin.v1.DeleteServiceAccount");
const DISABLE: Method = Method::write(SERVICE, "google.iam.admin.v1.DisableServiceAccount");
const ENABLE: Method = Method::write(SERVICE, "google.iam.admin.v1.EnableServiceAccount");
const GET: Method = Method::look(SERVICE, "google.iam.admin.v1.GetServiceAccount");
const LIST: Method = Method::look(SERVICE, "google.iam.admin.v1.ListServiceAccounts");
const CREATE_KEY: Method = Method::write(SERVICE, "google.iam.admin.v1.CreateServiceAccountKey");
const DELETE_KEY: Method = Method::write(SERVICE, "google.iam.admin.v1.DeleteServiceAccountKey");
const DISABLE_KEY: Method = Method::write(SERVICE, "google.iam.admin.v1.DisableServiceAccountKey");
const ENABLE_KEY: Method = Method::write(SERVICE, "google.iam.admin.v1.EnableServiceAccountKey");
const PATCH: Method = Method::write(SERVICE, "google.iam.admin.v1.PatchServiceAccount");
const UPDATE: Method = Method::write(SERVICE, "google.iam.admin.v1.UpdateServiceAccount");
const GET_KEY: Method = Method::look(SERVICE, "google.iam.admin.v1.GetServiceAccountKey");
const LIST_KEYS: Method = Method::look(SERVICE, "google.iam.admin.v1.ListServiceAccountKeys");

/// Why something was not done with a service account.
#[derive(Debug, thiserror::Error)]
pub enum ServiceAccountError {
    /// The caller may not, or the name leads nowhere.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The id cannot be that of an account.
    #[error(transparent)]
    AccountIdMalformed(#[from] AccountIdError),
    /// A text is too long.
    #[error("{field} is longer than {limit} bytes")]
    TextTooLong {
        /// Which text, as Google names it.
        field: &'static str,
        /// The limit, in bytes of UTF-8.
        limit: usize,
    },
    /// The mask names nothing that can be changed.
    #[error(transparent)]
    Mask(#[from] FieldMaskError),
    /// An account of this address exists.
    #[error("service account {0} exists")]
    AlreadyExists(Email),
    /// No such project or account.
    #[error("no such service account")]
    NotFound,
    /// The account has no such key.
    #[error("no such key")]
    KeyNotFound,
    /// The account has as many keys as it may have.
    #[error("the account has as many keys as it may have")]
    KeyLimit,
    /// A key of a type or algorithm that is not made.
    #[error("keys of this type or algorithm are not made")]
    UnsupportedKeyType,
    /// The page token is none of ours.
    #[error("not a page token")]
    BadPageToken,
    /// The store failed.
    #[error("could not read or write service accounts")]
    Store(#[from] StoreError),
    /// The change is stored, and it is not known whether it is in force.
    #[error("could not put the change in force")]
    Refresh(#[from] RefreshError),
    /// No number, id or key could be made.
    #[error("could not make a number or a key")]
    Entropy(#[from] EntropyError),
    /// A key that was just made could not be used.
    #[error("could not use a new key")]
    Key(#[from] KeyMaterialError),
    /// The process is stopping.
    #[error(transparent)]
    Stopping(#[from] Stopping),
}

impl Failure for ServiceAccountError {
    fn status(&self) -> Status {
        use ServiceAccountError as E;
        match self {
            E::Admin(error) => error.status(),
            E::AccountIdMalformed(_) | E::TextTooLong { .. } | E::Mask(_) | E::UnsupportedKeyType | E::BadPageToken => {
                Status::InvalidArgument
            }
            E::AlreadyExists(_) => Status::AlreadyExists,
            E::NotFound | E::KeyNotFound => Status::NotFound,
            E::KeyLimit => Status::FailedPrecondition,
            E::Store(_) | E::Refresh(_) | E::Entropy(_) | E::Key(_) | E::Stopping(_) => Status::Internal,
        }
    }
}

/// The URLs that a key file names.
#[derive(Debug, Clone)]
pub struct KeyFileUrls {
    /// `auth_uri`.
    pub auth_uri: String,
    /// `token_uri`: where clients post their assertions.
    pub token_uri: String,
    /// `auth_provider_x509_cert_url`.
    pub provider_certs: String,
    /// `client_x509_cert_url` without the last segment, which is the account, and without the slash before it.
    pub client_certs_base: String,
}

/// One page of accounts.
#[derive(Debug)]
pub struct Page {
    /// In the order of their addresses.
    pub accounts: Vec<ServiceAccount>,
    /// Gives the next page; `None` on the last one.
    pub next_page_token: Option<String>,
}

/// The keys of an account.
#[derive(Debug)]
pub struct AccountKeys {
    /// The account.
    pub account: ServiceAccount,
    /// Oldest first.
    pub keys: Vec<ServiceAccountKey>,
}

/// A new key, with the only copy of its private half.
pub struct CreatedKey {
    /// The account.
    pub account: ServiceAccount,
    /// What is kept.
    pub key: ServiceAccountKey,
    /// What its owner gets, once.
    pub file: KeyFile,
}

/// The service accounts of the one project.
///
/// Methods take the project's segment of a resource name, which is its id, its number or `-`, and the account's, which is
/// its address or its number.
pub struct ServiceAccounts {
    store: Arc<dyn Store>,
    publisher: Arc<SnapshotPublisher>,
    changes: Changes,
    entropy: Arc<dyn Entropy>,
    urls: KeyFileUrls,
}

impl ServiceAccounts {
    /// Accounts in `store`, put in force by `publisher`, as `changes` lets and records.
    pub fn new(
        store: Arc<dyn Store>,
        publisher: Arc<SnapshotPublisher>,
        changes: Changes,
        entropy: Arc<dyn Entropy>,
        urls: KeyFileUrls,
    ) -> Self {
        ServiceAccounts { store, publisher, changes, entropy, urls }
    }

    /// Makes an account. It holds no role and has no key.
    pub async fn create(
        &self,
        admin: &Admin,
        project: &str,
        request: CreateServiceAccountRequest,
    ) -> Result<ServiceAccount, ServiceAccountError> {
        let mut call = self.changes.begin(admin, CREATE, &format!("projects/{project}"))?;
        let outcome = async {
            self.enter_project(&mut call, project, Permission::CreateServiceAccount).await?;
            let account_id: AccountId = request.account_id.parse()?;
            let NewServiceAccount { display_name, description } = request.service_account;
            check_length("displayName", &display_name, DISPLAY_NAME_LIMIT)?;
            check_length("description", &description, DESCRIPTION_LIMIT)?;
            let account = ServiceAccount {
                unique_id: UniqueId(random_digits(&*self.entropy, UNIQUE_ID_DIGITS)?),
                email: account_id.email(&self.publisher.project().id).map_err(|_| AccountIdError)?,
                display_name,
                description,
                disabled: false,
            };
            let resource = Resource::ServiceAccount { unique_id: account.unique_id.clone() };
            call.about(&resource.name(self.publisher.project()));
            call.creates(&shown(&account));
            let store = self.store.clone();
            let write = async move {
                match store.add_service_account(&account).await? {
                    true => Ok(account),
                    false => Err(ServiceAccountError::AlreadyExists(account.email)),
                }
            };
            self.publisher.change(write).await
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// One account.
    pub async fn get(
        &self,
        admin: &Admin,
        project: &str,
        account: &str,
    ) -> Result<ServiceAccount, ServiceAccountError> {
        let mut call = self.changes.begin(admin, GET, &name(project, account))?;
        let outcome = self.enter(&mut call, project, account, Permission::GetServiceAccount).await;
        call.finish(outcome).await
    }

    /// One page of accounts: 100 if no size is asked for, and never more than 1,000.
    pub async fn list(
        &self,
        admin: &Admin,
        project: &str,
        page_size: Option<u32>,
        page_token: Option<&str>,
    ) -> Result<Page, ServiceAccountError> {
        let mut call = self.changes.begin(admin, LIST, &format!("projects/{project}"))?;
        let outcome = async {
            self.enter_project(&mut call, project, Permission::ListServiceAccounts).await?;
            let size = page_size.filter(|size| *size > 0).unwrap_or(DEFAULT_PAGE).min(LARGEST_PAGE);
            let after = page_token.filter(|token| !token.is_empty()).map(decode_page_token).transpose()?;
            // One more than is shown says whether there is another page.
            let mut accounts = self.store.service_accounts(after.as_ref(), size + 1).await?;
            let shown = usize::try_from(size).unwrap_or(usize::MAX);
            let more = accounts.len() > shown;
            accounts.truncate(shown);
            let last = accounts.last().filter(|_| more);
            Ok(Page { next_page_token: last.map(|last| encode_base64url(last.email.as_str().as_bytes())), accounts })
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Changes what the mask names of the display name and the description of an account; without one, both.
    ///
    /// Spec: <https://cloud.google.com/iam/docs/reference/rest/v1/projects.serviceAccounts/patch>
    pub async fn patch(
        &self,
        admin: &Admin,
        project: &str,
        account: &str,
        request: PatchServiceAccountRequest,
    ) -> Result<ServiceAccount, ServiceAccountError> {
        let mut call = self.changes.begin(admin, PATCH, &name(project, account))?;
        let outcome = async {
            let old = self.enter(&mut call, project, account, Permission::UpdateServiceAccount).await?;
            let PatchServiceAccountRequest { service_account: given, update_mask } = request;
            let mask = FieldMask::parse(&update_mask, NewServiceAccount::MESSAGE, &NewServiceAccount::PATHS)?;
            let mut new = old.clone();
            if mask.touches("displayName") {
                new.display_name = given.display_name;
            }
            if mask.touches("description") {
                new.description = given.description;
            }
            self.describe(&mut call, &old, new).await
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Changes the display name of an account, as the older method does, which takes no mask.
    ///
    /// Spec: <https://cloud.google.com/iam/docs/reference/rest/v1/projects.serviceAccounts/update>
    pub async fn update(
        &self,
        admin: &Admin,
        project: &str,
        account: &str,
        given: NewServiceAccount,
    ) -> Result<ServiceAccount, ServiceAccountError> {
        let mut call = self.changes.begin(admin, UPDATE, &name(project, account))?;
        let outcome = async {
            let old = self.enter(&mut call, project, account, Permission::UpdateServiceAccount).await?;
            let new = ServiceAccount { display_name: given.display_name, ..old.clone() };
            self.describe(&mut call, &old, new).await
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    async fn describe(
        &self,
        call: &mut Call<'_>,
        old: &ServiceAccount,
        new: ServiceAccount,
    ) -> Result<ServiceAccount, ServiceAccountError> {
        check_length("displayName", &new.display_name, DISPLAY_NAME_LIMIT)?;
        check_length("description", &new.description, DESCRIPTION_LIMIT)?;
        call.changes(Some(&shown(old)), Some(&shown(&new)));
        let store = self.store.clone();
        let write = async move {
            match store.describe_service_account(&new.unique_id, &new.display_name, &new.description).await? {
                true => Ok(new),
                false => Err(ServiceAccountError::NotFound),
            }
        };
        self.publisher.change(write).await
    }

    /// Disables or enables an account. One that is disabled gets no tokens, uses none that it has, and acts as nobody.
    ///
    /// Spec: <https://cloud.google.com/iam/docs/service-accounts-disable-enable>
    pub async fn disable(
        &self,
        admin: &Admin,
        project: &str,
        account: &str,
        disabled: bool,
    ) -> Result<(), ServiceAccountError> {
        let (method, permission) = match disabled {
            true => (DISABLE, Permission::DisableServiceAccount),
            false => (ENABLE, Permission::EnableServiceAccount),
        };
        let mut call = self.changes.begin(admin, method, &name(project, account))?;
        let outcome = async {
            let account = self.enter(&mut call, project, account, permission).await?;
            call.changes(Some(&shown(&account)), Some(&shown(&ServiceAccount { disabled, ..account.clone() })));
            let store = self.store.clone();
            let write = async move {
                match store.disable_service_account(&account.unique_id, disabled).await? {
                    true => Ok(()),
                    false => Err(ServiceAccountError::NotFound),
                }
            };
            self.publisher.change(write).await
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Removes an account, its keys, its access tokens, the policy on it, and every binding that names it: a new account of the
    /// same address is another account. (Google keeps the bindings, in a form that names the old account by its number.)
    pub async fn delete(&self, admin: &Admin, project: &str, account: &str) -> Result<(), ServiceAccountError> {
        let mut call = self.changes.begin(admin, DELETE, &name(project, account))?;
        let outcome = async {
            let account = self.enter(&mut call, project, account, Permission::DeleteServiceAccount).await?;
            call.removes(&shown(&account));
            let store = self.store.clone();
            let write = async move {
                match store.remove_service_account(&account.unique_id).await? {
                    true => Ok(()),
                    false => Err(ServiceAccountError::NotFound),
                }
            };
            self.publisher.change(write).await
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Makes a key, and the file with which its owner signs assertions. The private half is not kept.
    pub async fn create_key(
        &self,
        admin: &Admin,
        project: &str,
        account: &str,
        request: &CreateKeyRequest,
    ) -> Result<CreatedKey, ServiceAccountError> {
        let mut call = self.changes.begin(admin, CREATE_KEY, &name(project, account))?;
        let outcome = async {
            let account = self.enter(&mut call, project, account, Permission::CreateServiceAccountKey).await?;
            let file_type = request.private_key_type.as_deref().unwrap_or("TYPE_UNSPECIFIED");
            let algorithm = request.key_algorithm.as_deref().unwrap_or("KEY_ALG_UNSPECIFIED");
            if !matches!(file_type, "TYPE_UNSPECIFIED" | "TYPE_GOOGLE_CREDENTIALS_FILE")
                || !matches!(algorithm, "KEY_ALG_UNSPECIFIED" | "KEY_ALG_RSA_2048")
            {
                return Err(ServiceAccountError::UnsupportedKeyType);
            }
            let id = random_hex(&*self.entropy, KEY_ID_BYTES)?;
            let der = join(tokio::task::spawn_blocking(|| generate_private_key(Algorithm::Rs256))).await??;
            let public = SigningKey::from_pkcs8(&id, Algorithm::Rs256, &der)?.public_jwk();
            let key = ServiceAccountKey {
                id,
                account: account.unique_id.clone(),
                public,
                created: call.time(),
                managed: false,
                disabled: false,
            };
            call.creates(&shown_key(&account, &key.id, false));
            let (store, new) = (self.store.clone(), key.clone());
            let write = async move {
                if store.add_service_account_key(&new).await? {
                    return Ok(());
                }
                let account_is_gone = store.service_account_by_id(&new.account).await?.is_none();
                Err(match account_is_gone {
                    true => ServiceAccountError::NotFound,
                    false => ServiceAccountError::KeyLimit,
                })
            };
            self.publisher.change(write).await?;
            Ok(CreatedKey { file: self.key_file(&account, &key.id, &der), account, key })
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Every key of an account.
    pub async fn list_keys(
        &self,
        admin: &Admin,
        project: &str,
        account: &str,
    ) -> Result<AccountKeys, ServiceAccountError> {
        let mut call = self.changes.begin(admin, LIST_KEYS, &name(project, account))?;
        let outcome = async {
            let account = self.enter(&mut call, project, account, Permission::ListServiceAccountKeys).await?;
            let keys = self.store.service_account_keys(&account.unique_id).await?;
            Ok(AccountKeys { account, keys })
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// One key of an account.
    pub async fn get_key(
        &self,
        admin: &Admin,
        project: &str,
        account: &str,
        key_id: &str,
    ) -> Result<(ServiceAccount, ServiceAccountKey), ServiceAccountError> {
        let mut call = self.changes.begin(admin, GET_KEY, &name(project, account))?;
        let outcome = async {
            let account = self.enter(&mut call, project, account, Permission::GetServiceAccountKey).await?;
            let key = self.store.service_account_key(key_id).await?;
            let key = key.filter(|key| key.account == account.unique_id).ok_or(ServiceAccountError::KeyNotFound)?;
            Ok((account, key))
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// The public keys of an account, for everybody who verifies what it signed: they are no secret, and neither is
    /// whose they are.
    pub async fn published_keys(&self, account: &str) -> Result<JwkSet, ServiceAccountError> {
        let account = self.find(account).await?;
        let keys = self.store.service_account_keys(&account.unique_id).await?;
        Ok(JwkSet { keys: keys.into_iter().filter(|key| !key.disabled).map(|key| key.public).collect() })
    }

    /// Removes a key: nothing that it signed is accepted from now on.
    pub async fn delete_key(
        &self,
        admin: &Admin,
        project: &str,
        account: &str,
        key_id: &str,
    ) -> Result<(), ServiceAccountError> {
        let mut call = self.changes.begin(admin, DELETE_KEY, &name(project, account))?;
        let outcome = async {
            let account = self.enter(&mut call, project, account, Permission::DeleteServiceAccountKey).await?;
            call.removes(&shown_key(&account, key_id, false));
            let (store, key_id) = (self.store.clone(), key_id.to_owned());
            let write = async move {
                match store.remove_service_account_key(&account.unique_id, &key_id).await? {
                    true => Ok(()),
                    false => Err(ServiceAccountError::KeyNotFound),
                }
            };
            self.publisher.change(write).await
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Disables or enables a user's key. Nothing that a disabled one signed is accepted, and it is not published.
    ///
    /// Spec: <https://cloud.google.com/iam/docs/keys-disable-enable>
    pub async fn disable_key(
        &self,
        admin: &Admin,
        project: &str,
        (account, key_id): (&str, &str),
        disabled: bool,
    ) -> Result<(), ServiceAccountError> {
        let (method, permission) = match disabled {
            true => (DISABLE_KEY, Permission::DisableServiceAccountKey),
            false => (ENABLE_KEY, Permission::EnableServiceAccountKey),
        };
        let mut call = self.changes.begin(admin, method, &name(project, account))?;
        let outcome = async {
            let account = self.enter(&mut call, project, account, permission).await?;
            call.creates(&shown_key(&account, key_id, disabled));
            let (store, key_id) = (self.store.clone(), key_id.to_owned());
            let write = async move {
                match store.disable_service_account_key(&account.unique_id, &key_id, disabled).await? {
                    true => Ok(()),
                    false => Err(ServiceAccountError::KeyNotFound),
                }
            };
            self.publisher.change(write).await
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Demands a permission on the project, and sees to it that what is read from here on is in force.
    async fn enter_project(
        &self,
        call: &mut Call<'_>,
        project: &str,
        permission: Permission,
    ) -> Result<(), ServiceAccountError> {
        self.publisher.catch_up().await?;
        let own = &self.publisher.project().number;
        let project = if project == "-" { own } else { project };
        call.reach(&format!("projects/{project}"), |_| permission)?;
        Ok(())
    }

    /// Demands a permission on an account, and finds it.
    async fn enter(
        &self,
        call: &mut Call<'_>,
        project: &str,
        account: &str,
        permission: Permission,
    ) -> Result<ServiceAccount, ServiceAccountError> {
        self.publisher.catch_up().await?;
        let on = call.reach(&name(project, account), |_| permission)?;
        match on.resource() {
            Resource::ServiceAccount { unique_id } => {
                self.store.service_account_by_id(unique_id).await?.ok_or(ServiceAccountError::NotFound)
            }
            _ => Err(ServiceAccountError::NotFound),
        }
    }

    async fn find(&self, account: &str) -> Result<ServiceAccount, ServiceAccountError> {
        let found = match account.parse::<Email>() {
            Ok(email) => self.store.service_account_by_email(&email).await?,
            Err(_) => self.store.service_account_by_id(&UniqueId(account.to_owned())).await?,
        };
        found.ok_or(ServiceAccountError::NotFound)
    }

    /// Writes into a key file where our surfaces are now; `false` if that is what it says. A server that was started again on
    /// another port is then found by a file of before.
    pub fn correct_urls(&self, file: &mut KeyFile) -> bool {
        let now = self.urls_for(&file.client_email);
        let said = [
            &mut file.auth_uri,
            &mut file.token_uri,
            &mut file.auth_provider_x509_cert_url,
            &mut file.client_x509_cert_url,
        ];
        let mut corrected = false;
        for (said, now) in said.into_iter().zip(now) {
            corrected |= *said != now;
            *said = now;
        }
        corrected
    }

    /// The URLs of a key file, in its order.
    fn urls_for(&self, email: &str) -> [String; 4] {
        // Of the characters of an account's address only this one is written otherwise in a path's segment.
        let segment = email.replace('@', "%40");
        let urls = self.urls.clone();
        [urls.auth_uri, urls.token_uri, urls.provider_certs, format!("{}/{segment}", urls.client_certs_base)]
    }

    fn key_file(&self, account: &ServiceAccount, key_id: &str, der: &[u8]) -> KeyFile {
        let lines = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
        let [auth_uri, token_uri, auth_provider_x509_cert_url, client_x509_cert_url] =
            self.urls_for(account.email.as_str());
        KeyFile {
            kind: "service_account".to_owned(),
            project_id: self.publisher.project().id.clone(),
            private_key_id: key_id.to_owned(),
            private_key: pem::encode_config(&pem::Pem::new("PRIVATE KEY", der), lines),
            client_email: account.email.to_string(),
            client_id: account.unique_id.0.clone(),
            auth_uri,
            token_uri,
            auth_provider_x509_cert_url,
            client_x509_cert_url,
            universe_domain: "googleapis.com".to_owned(),
        }
    }
}

fn name(project: &str, account: &str) -> String {
    format!("projects/{project}/serviceAccounts/{account}")
}

/// An account as the record shows it.
fn shown(account: &ServiceAccount) -> Value {
    json!({
        "email": account.email.as_str(), "uniqueId": account.unique_id.0, "displayName": account.display_name,
        "description": account.description, "disabled": account.disabled,
    })
}

/// A key as the record shows it.
fn shown_key(account: &ServiceAccount, key_id: &str, disabled: bool) -> Value {
    json!({ "email": account.email.as_str(), "keyId": escaped(key_id.as_bytes(), 64), "disabled": disabled })
}

fn check_length(field: &'static str, text: &str, limit: usize) -> Result<(), ServiceAccountError> {
    if text.len() > limit {
        return Err(ServiceAccountError::TextTooLong { field, limit });
    }
    Ok(())
}

fn decode_page_token(token: &str) -> Result<Email, ServiceAccountError> {
    let bytes = decode_base64url(token).ok_or(ServiceAccountError::BadPageToken)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| ServiceAccountError::BadPageToken)?;
    text.parse().map_err(|_| ServiceAccountError::BadPageToken)
}
