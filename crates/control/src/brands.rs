//! The brand of the project, and the OAuth clients of its applications under it: `gcloud iap oauth-brands` and `oauth-clients`.
//!
//! A client here is a web client of the project with the address of IAP, however it was made; `doorward oauth-client` shows it too.

use std::sync::Arc;

use doorward_core::client::{CLIENT_SECRET_PREFIX, OAuthClient};
use doorward_core::entropy::{Entropy, EntropyError, random_base64url};
use doorward_core::grant::TokenHash;
use doorward_core::policy::Permission;
use doorward_core::resource::{ApplicationName, ClientId, Project, Resource};
use doorward_core::store::{Brand, ClientRemoval, Store, StoreError};
use doorward_wire::google_api::iap_admin::{
    Brand as BrandResource, IdentityAwareProxyClient, ListBrandsResponse, ListIdentityAwareProxyClientsResponse,
    PageQuery,
};
use doorward_wire::google_api::{InputSecret, Status};

use crate::admin::{Admin, AdminError, Call, Changes, Failure, Method};
use crate::applications::{is_for_applications, make_client};
use crate::oauth_clients::{CLIENTS_LIMIT, DISPLAY_NAME_LIMIT, has_room};
use crate::snapshots::{RefreshError, SnapshotPublisher};

/// The longest title, in bytes of UTF-8.
pub const TITLE_LIMIT: usize = 100;

const IAP: &str = "iap.googleapis.com";

macro_rules! method {
    ($kind:ident $name:literal) => {
        Method::$kind(IAP, concat!("google.cloud.iap.v1.IdentityAwareProxyOAuthService.", $name))
    };
}

const LIST_BRANDS: Method = method!(look "ListBrands");
const CREATE_BRAND: Method = method!(write "CreateBrand");
const GET_BRAND: Method = method!(look "GetBrand");
const LIST: Method = method!(look "ListIdentityAwareProxyClients");
const CREATE: Method = method!(write "CreateIdentityAwareProxyClient");
const GET: Method = method!(look "GetIdentityAwareProxyClient");
const RESET: Method = method!(write "ResetIdentityAwareProxyClientSecret");
const DELETE: Method = method!(write "DeleteIdentityAwareProxyClient");

/// Why something was not done with a brand or a client under it.
#[derive(Debug, thiserror::Error)]
pub enum BrandError {
    /// The caller may not, or the project is another one.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// Not a title.
    #[error("a title has 1 to {TITLE_LIMIT} bytes without control characters")]
    Title,
    /// Not an address.
    #[error("the support address is not an e-mail address")]
    SupportEmail,
    /// Not a name for people.
    #[error("a display name has 1 to {DISPLAY_NAME_LIMIT} bytes without control characters")]
    DisplayName,
    /// There is one already.
    #[error("the project has a brand")]
    Exists,
    /// There is none of that name.
    #[error("there is no such brand")]
    NoBrand,
    /// There is none of that id under the brand.
    #[error("there is no such client")]
    NoClient,
    /// An application would be left without a client.
    #[error("client {} is that of application {application}", .client.0)]
    InUse {
        /// Its id.
        client: ClientId,
        /// The first application that has it.
        application: ApplicationName,
    },
    /// As many clients as there may be.
    #[error("there are {CLIENTS_LIMIT} clients that no application has: delete one that is not used")]
    TooManyClients,
    /// A page of a negative size.
    #[error("a page has no negative size")]
    PageSize,
    /// The store failed.
    #[error("could not read or write brands or clients")]
    Store(#[from] StoreError),
    /// The change is stored, and it is not known whether it is in force.
    #[error("could not put the change in force")]
    Refresh(#[from] RefreshError),
    /// No id or secret could be made.
    #[error("could not make an id or a secret")]
    Entropy(#[from] EntropyError),
}

impl Failure for BrandError {
    fn status(&self) -> Status {
        use BrandError as E;
        match self {
            E::Admin(error) => error.status(),
            E::Title | E::SupportEmail | E::DisplayName | E::PageSize => Status::InvalidArgument,
            E::Exists => Status::AlreadyExists,
            E::NoBrand | E::NoClient => Status::NotFound,
            E::InUse { .. } => Status::FailedPrecondition,
            E::TooManyClients => Status::ResourceExhausted,
            E::Store(_) | E::Refresh(_) | E::Entropy(_) => Status::Internal,
        }
    }
}

/// The brand of the one project, and the clients under it.
///
/// `project` is a project's segment of a name, its id or number; `brand` is a brand's, which is the project's number; `client` an id.
pub struct Brands {
    store: Arc<dyn Store>,
    publisher: Arc<SnapshotPublisher>,
    entropy: Arc<dyn Entropy>,
    changes: Changes,
}

/// A client, as a URL names it.
#[derive(Debug, Clone, Copy)]
pub struct ClientPath<'a> {
    /// The project's segment.
    pub project: &'a str,
    /// The brand's.
    pub brand: &'a str,
    /// The client's.
    pub client: &'a str,
}

impl Brands {
    /// The brand in `store`.
    pub fn new(
        store: Arc<dyn Store>,
        publisher: Arc<SnapshotPublisher>,
        entropy: Arc<dyn Entropy>,
        changes: Changes,
    ) -> Self {
        Brands { store, publisher, entropy, changes }
    }

    /// The brand, if there is one.
    pub async fn list(&self, admin: &Admin, project: &str) -> Result<ListBrandsResponse, BrandError> {
        let mut call = self.changes.begin(admin, LIST_BRANDS, project)?;
        let outcome = async {
            self.enter(&mut call, project, Permission::ListBrands).await?;
            let brand = self.store.brand().await?;
            Ok(ListBrandsResponse { brands: brand.iter().map(|brand| show(brand, self.publisher.project())).collect() })
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Makes the brand. As one that is made by this API at Google, it is for the organization's own people.
    ///
    /// Spec: <https://cloud.google.com/iap/docs/programmatic-oauth-clients#branding>
    pub async fn create(&self, admin: &Admin, project: &str, new: BrandResource) -> Result<BrandResource, BrandError> {
        let mut call = self.changes.begin(admin, CREATE_BRAND, project)?;
        let outcome = async {
            self.enter(&mut call, project, Permission::CreateBrand).await?;
            if !is_text(&new.application_title, TITLE_LIMIT) {
                return Err(BrandError::Title);
            }
            let support_email = new.support_email.parse().map_err(|_| BrandError::SupportEmail)?;
            let brand = Brand { application_title: new.application_title, support_email, org_internal_only: true };
            let shown = show(&brand, self.publisher.project());
            call.about(&shown.name);
            call.creates(&shown);
            let store = self.store.clone();
            // Its address is told to those who are refused.
            let write = async move {
                match store.add_brand(&brand).await? {
                    true => Ok(shown),
                    false => Err(BrandError::Exists),
                }
            };
            self.publisher.change(write).await
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// The brand of this id.
    pub async fn get(&self, admin: &Admin, project: &str, brand: &str) -> Result<BrandResource, BrandError> {
        let mut call = self.changes.begin(admin, GET_BRAND, project)?;
        let outcome = async {
            self.enter(&mut call, project, Permission::GetBrand).await?;
            Ok(show(&self.brand(brand).await?, self.publisher.project()))
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// The clients under the brand, in the order of their ids; without their secrets.
    pub async fn clients(
        &self,
        admin: &Admin,
        project: &str,
        brand: &str,
        query: &PageQuery,
    ) -> Result<ListIdentityAwareProxyClientsResponse, BrandError> {
        let mut call = self.changes.begin(admin, LIST, project)?;
        let outcome = async {
            self.enter(&mut call, project, Permission::ListClients).await?;
            self.brand(brand).await?;
            let size = query.size().ok_or(BrandError::PageSize)?;
            let project = self.publisher.project();
            let mut all = self.store.oauth_clients().await?;
            all.retain(|client| {
                is_for_applications(client, project) && query.token().is_none_or(|after| client.id.0.as_str() > after)
            });
            let more = all.len() > size;
            all.truncate(size);
            Ok(ListIdentityAwareProxyClientsResponse {
                next_page_token: all.last().filter(|_| more).map(|last| last.id.0.clone()),
                identity_aware_proxy_clients: all.iter().map(|client| show_client(client, project, None)).collect(),
            })
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Makes a client. Its secret is in the answer, and never shown again.
    pub async fn create_client(
        &self,
        admin: &Admin,
        project: &str,
        brand: &str,
        display_name: &str,
    ) -> Result<IdentityAwareProxyClient, BrandError> {
        let mut call = self.changes.begin(admin, CREATE, project)?;
        let outcome = async {
            self.enter(&mut call, project, Permission::CreateClient).await?;
            self.brand(brand).await?;
            if !is_text(display_name, DISPLAY_NAME_LIMIT) {
                return Err(BrandError::DisplayName);
            }
            if !has_room(&*self.store, &self.publisher).await? {
                return Err(BrandError::TooManyClients);
            }
            let project = self.publisher.project();
            let (client, secret) = make_client(&*self.entropy, project, display_name, call.time())?;
            call.about(&client_name(&client.id, project));
            call.creates(&show_client(&client, project, None));
            // `false` would be a second client of one random id of 160 bits.
            match self.store.add_oauth_client(&client).await? {
                true => Ok(show_client(&client, project, Some(secret))),
                false => Err(BrandError::Entropy(EntropyError)),
            }
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// One client, without its secret.
    pub async fn client(&self, admin: &Admin, at: ClientPath<'_>) -> Result<IdentityAwareProxyClient, BrandError> {
        let mut call = self.changes.begin(admin, GET, at.client)?;
        let outcome = async {
            let client = self.find(&mut call, at, Permission::GetClient).await?;
            Ok(show_client(&client, self.publisher.project(), None))
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Gives a client a new secret, which is in the answer. The old one is worth nothing from then on; what was granted stays.
    pub async fn reset_secret(
        &self,
        admin: &Admin,
        at: ClientPath<'_>,
    ) -> Result<IdentityAwareProxyClient, BrandError> {
        let mut call = self.changes.begin(admin, RESET, at.client)?;
        let outcome = async {
            let client = self.find(&mut call, at, Permission::CreateClientSecret).await?;
            let project = self.publisher.project();
            let shown = show_client(&client, project, None);
            call.changes(Some(&shown), Some(&shown));
            let secret = format!("{CLIENT_SECRET_PREFIX}{}", random_base64url(&*self.entropy, 32)?);
            match self.store.replace_client_secret(&client.id, &TokenHash::of(&secret)).await? {
                true => Ok(show_client(&client, project, Some(secret))),
                false => Err(BrandError::NoClient),
            }
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Removes a client, with everything that people allowed it. One that an application has stays.
    pub async fn delete_client(&self, admin: &Admin, at: ClientPath<'_>) -> Result<(), BrandError> {
        let mut call = self.changes.begin(admin, DELETE, at.client)?;
        let outcome = async {
            let client = self.find(&mut call, at, Permission::DeleteClient).await?;
            call.removes(&show_client(&client, self.publisher.project(), None));
            match self.store.remove_oauth_client(&client.id).await? {
                ClientRemoval::Removed => Ok(()),
                ClientRemoval::Missing => Err(BrandError::NoClient),
                ClientRemoval::InUse(application) => Err(BrandError::InUse { client: client.id, application }),
            }
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Proves that a project's segment is ours, and that the caller may do this in it.
    async fn enter(&self, call: &mut Call<'_>, project: &str, permission: Permission) -> Result<(), BrandError> {
        self.publisher.catch_up().await?;
        call.reach(&format!("projects/{project}"), |_| permission)?;
        Ok(())
    }

    /// The one brand, if it is of this id.
    async fn brand(&self, id: &str) -> Result<Brand, BrandError> {
        let brand = self.store.brand().await?.filter(|_| id == self.publisher.project().number);
        brand.ok_or(BrandError::NoBrand)
    }

    async fn find(
        &self,
        call: &mut Call<'_>,
        at: ClientPath<'_>,
        permission: Permission,
    ) -> Result<OAuthClient, BrandError> {
        self.enter(call, at.project, permission).await?;
        self.brand(at.brand).await?;
        let project = self.publisher.project();
        let client = self.store.oauth_client(&ClientId(at.client.to_owned())).await?;
        let client = client.filter(|client| is_for_applications(client, project)).ok_or(BrandError::NoClient)?;
        call.about(&client_name(&client.id, project));
        Ok(client)
    }
}

fn is_text(text: &str, limit: usize) -> bool {
    !text.trim().is_empty() && text.len() <= limit && !text.chars().any(char::is_control)
}

fn brand_name(project: &Project) -> String {
    format!("{}/brands/{}", Resource::Project.name(project), project.number)
}

fn client_name(id: &ClientId, project: &Project) -> String {
    format!("{}/identityAwareProxyClients/{}", brand_name(project), id.0)
}

fn show(brand: &Brand, project: &Project) -> BrandResource {
    BrandResource {
        name: brand_name(project),
        support_email: brand.support_email.to_string(),
        application_title: brand.application_title.clone(),
        org_internal_only: Some(brand.org_internal_only),
    }
}

fn show_client(client: &OAuthClient, project: &Project, secret: Option<String>) -> IdentityAwareProxyClient {
    IdentityAwareProxyClient {
        name: client_name(&client.id, project),
        secret: secret.map(InputSecret),
        display_name: client.display_name.clone(),
    }
}
