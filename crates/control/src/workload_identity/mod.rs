//! Pools of identities from elsewhere, and the providers that vouch for them.
//!
//! Spec: <https://cloud.google.com/iam/docs/reference/rest/v1/projects.locations.workloadIdentityPools>

mod fields;

use std::sync::Arc;

use doorward_core::entropy::{Entropy, EntropyError, random_base64url};
use doorward_core::federation::{
    AUDIENCE_LIMIT, AUDIENCES_LIMIT, FederationId, FederationIdError, Generation, MappingError, MappingText,
    POOLS_LIMIT, PROVIDERS_LIMIT, Pool, Provider,
};
use doorward_core::issuer::{is_issuer, is_same_issuer};
use doorward_core::outbound::Reach;
use doorward_core::policy::Permission;
use doorward_core::store::{Added, Store, StoreError};
use doorward_wire::google_api::{Oidc, Status, WorkloadIdentityPool, WorkloadIdentityPoolProvider};
use doorward_wire::jose::{VerifyingKeys, parse_object};
use serde_json::Value;

use fields::{PoolFields, ProviderFields};

use crate::admin::{Admin, AdminError, Call, Changes, Failure, Method};
use crate::snapshots::{RefreshError, SnapshotPublisher};
use crate::tasks::{Stopping, join};

/// The longest display name, in characters.
pub const DISPLAY_NAME_LIMIT: usize = 32;
/// The longest description, in characters.
pub const DESCRIPTION_LIMIT: usize = 256;
/// The longest key document that an operator gives, in bytes.
pub const KEY_DOCUMENT_LIMIT: usize = 64 * 1024;

const GENERATION_BYTES: usize = 16;
const ACTIVE: &str = "ACTIVE";
/// Google keeps what was deleted for thirty days; here it is gone at once.
const DELETED: &str = "DELETED";

/// Why something was not done with a pool or a provider.
#[derive(Debug, thiserror::Error)]
pub enum WorkloadIdentityError {
    /// The caller may not, or the project is another.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The id cannot be that of a pool or a provider.
    #[error(transparent)]
    Id(#[from] FederationIdError),
    /// A text is too long.
    #[error("{field} is longer than {limit} characters")]
    TextTooLong {
        /// Which text, as Google names it.
        field: &'static str,
        /// The limit, in characters.
        limit: usize,
    },
    /// A text has control characters, which would be shown to people.
    #[error("{0} has control characters")]
    Text(&'static str),
    /// The mapping or the condition cannot be used. Names the key, and where in its text.
    #[error(transparent)]
    Mapping(#[from] MappingError),
    /// A kind of provider that is not served: `aws`, `saml` or `x509`.
    #[error("providers of kind {0} are not served")]
    NotServed(&'static str),
    /// No issuer is named.
    #[error("the provider names no OIDC issuer")]
    NoIssuer,
    /// The issuer is no `https` URL without query and fragment, and no `http` URL of this machine that is allowed.
    #[error("{0:?} is not an issuer")]
    Issuer(String),
    /// Our own issuer.
    #[error("{0:?} is the issuer of our own tokens")]
    OwnIssuer(String),
    /// `insecureLoopback`, where that is not allowed.
    #[error("issuers on this machine are not accepted here")]
    LoopbackForbidden,
    /// Too many audiences, or one that is empty or too long.
    #[error("there are at most {AUDIENCES_LIMIT} audiences of 1 to {AUDIENCE_LIMIT} bytes")]
    Audiences,
    /// The key document is too long, is none, or holds no key that we use.
    #[error("the key document cannot be used: it holds an RSA or P-256 key with a kid, and has at most 64 KiB")]
    KeyDocument,
    /// The mask names something that cannot be changed.
    #[error("update mask {0:?} names no field that can be changed")]
    Mask(String),
    /// There is one of this name.
    #[error("{0} exists")]
    AlreadyExists(String),
    /// The project has as many pools, or providers in all its pools, as it may have.
    #[error("a project has at most {limit} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: u32,
    },
    /// No such project, pool or provider.
    #[error("{0} does not exist")]
    NotFound(String),
    /// The store failed.
    #[error("could not read or write pools and providers")]
    Store(#[from] StoreError),
    /// The change is stored, and it is not known whether it is in force.
    #[error("could not put the change in force")]
    Refresh(#[from] RefreshError),
    /// No generation could be made.
    #[error("could not name a provider's new state")]
    Entropy(#[from] EntropyError),
    /// The process is stopping.
    #[error(transparent)]
    Stopping(#[from] Stopping),
}

impl Failure for WorkloadIdentityError {
    fn status(&self) -> Status {
        use WorkloadIdentityError as E;
        match self {
            E::Admin(error) => error.status(),
            E::Id(_)
            | E::TextTooLong { .. }
            | E::Text(_)
            | E::Mapping(_)
            | E::NoIssuer
            | E::Issuer(_)
            | E::OwnIssuer(_)
            | E::LoopbackForbidden
            | E::Audiences
            | E::KeyDocument
            | E::Mask(_) => Status::InvalidArgument,
            E::NotServed(_) => Status::Unimplemented,
            E::AlreadyExists(_) => Status::AlreadyExists,
            E::TooMany { .. } => Status::ResourceExhausted,
            E::NotFound(_) => Status::NotFound,
            E::Store(_) | E::Refresh(_) | E::Entropy(_) | E::Stopping(_) => Status::Internal,
        }
    }
}

const SERVICE: &str = "iam.googleapis.com";
const CREATE_POOL: Method = Method::write(SERVICE, "google.iam.v1.WorkloadIdentityPools.CreateWorkloadIdentityPool");
const UPDATE_POOL: Method = Method::write(SERVICE, "google.iam.v1.WorkloadIdentityPools.UpdateWorkloadIdentityPool");
const DELETE_POOL: Method = Method::write(SERVICE, "google.iam.v1.WorkloadIdentityPools.DeleteWorkloadIdentityPool");
const GET_POOL: Method = Method::look(SERVICE, "google.iam.v1.WorkloadIdentityPools.GetWorkloadIdentityPool");
const LIST_POOLS: Method = Method::look(SERVICE, "google.iam.v1.WorkloadIdentityPools.ListWorkloadIdentityPools");
const CREATE_PROVIDER: Method =
    Method::write(SERVICE, "google.iam.v1.WorkloadIdentityPools.CreateWorkloadIdentityPoolProvider");
const UPDATE_PROVIDER: Method =
    Method::write(SERVICE, "google.iam.v1.WorkloadIdentityPools.UpdateWorkloadIdentityPoolProvider");
const DELETE_PROVIDER: Method =
    Method::write(SERVICE, "google.iam.v1.WorkloadIdentityPools.DeleteWorkloadIdentityPoolProvider");
const GET_PROVIDER: Method =
    Method::look(SERVICE, "google.iam.v1.WorkloadIdentityPools.GetWorkloadIdentityPoolProvider");
const LIST_PROVIDERS: Method =
    Method::look(SERVICE, "google.iam.v1.WorkloadIdentityPools.ListWorkloadIdentityPoolProviders");

fn name_of(project: &str, pool: &str, provider: Option<&str>) -> String {
    let pool = format!("projects/{project}/locations/global/workloadIdentityPools/{pool}");
    provider.map_or_else(|| pool.clone(), |provider| format!("{pool}/providers/{provider}"))
}

type Result<T> = std::result::Result<T, WorkloadIdentityError>;

/// The pools of the one project.
///
/// Methods take the project's segment of a resource name, which is its id or its number, and the ids of the pool and the provider.
pub struct WorkloadIdentity {
    store: Arc<dyn Store>,
    publisher: Arc<SnapshotPublisher>,
    changes: Changes,
    entropy: Arc<dyn Entropy>,
    /// Every `iss` that our own tokens carry, or could.
    own_issuers: Vec<String>,
    /// The widest reach that a provider may ask for.
    widest: Reach,
}

impl WorkloadIdentity {
    /// Pools in `store`, put in force by `publisher`. `widest` says whether issuers may be on this machine.
    pub fn new(
        store: Arc<dyn Store>,
        publisher: Arc<SnapshotPublisher>,
        changes: Changes,
        entropy: Arc<dyn Entropy>,
        own_issuers: Vec<String>,
        widest: Reach,
    ) -> Self {
        WorkloadIdentity { store, publisher, changes, entropy, own_issuers, widest }
    }

    /// Makes a pool. Nobody belongs to it before it has a provider.
    pub async fn create_pool(
        &self,
        admin: &Admin,
        project: &str,
        pool: &str,
        given: WorkloadIdentityPool,
    ) -> Result<WorkloadIdentityPool> {
        let mut call = self.changes.begin(admin, CREATE_POOL, &name_of(project, pool, None))?;
        let outcome = async {
            self.enter(&mut call, project, Permission::CreatePool).await?;
            let pool = read_pool(pool.parse()?, given)?;
            call.creates(&self.show_pool(&pool));
            let (store, name) = (self.store.clone(), self.pool_name(&pool.id));
            let write = async move {
                match store.add_pool(&pool).await? {
                    Added::Yes => Ok(pool),
                    Added::Taken => Err(WorkloadIdentityError::AlreadyExists(name)),
                    Added::NoPool => Err(WorkloadIdentityError::NotFound(name)),
                    Added::Full => Err(WorkloadIdentityError::TooMany { what: "pools", limit: POOLS_LIMIT }),
                }
            };
            let pool = self.publisher.change(write).await?;
            Ok(self.show_pool(&pool))
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// One pool.
    pub async fn pool(&self, admin: &Admin, project: &str, pool: &str) -> Result<WorkloadIdentityPool> {
        let mut call = self.changes.begin(admin, GET_POOL, &name_of(project, pool, None))?;
        let outcome = async {
            self.enter(&mut call, project, Permission::GetPool).await?;
            Ok(self.show_pool(&self.find_pool(pool).await?))
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Every pool, in the order of their ids.
    pub async fn pools(&self, admin: &Admin, project: &str) -> Result<Vec<WorkloadIdentityPool>> {
        let mut call = self.changes.begin(admin, LIST_POOLS, &format!("projects/{project}"))?;
        let outcome = async {
            self.enter(&mut call, project, Permission::ListPools).await?;
            Ok(self.store.pools().await?.iter().map(|pool| self.show_pool(pool)).collect())
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Changes what `mask` names of a pool; without one, what is set in `given`.
    ///
    /// Spec: <https://google.aip.dev/134>
    pub async fn update_pool(
        &self,
        admin: &Admin,
        project: &str,
        pool: &str,
        given: WorkloadIdentityPool,
        mask: Option<&str>,
    ) -> Result<WorkloadIdentityPool> {
        let mut call = self.changes.begin(admin, UPDATE_POOL, &name_of(project, pool, None))?;
        let outcome = async {
            self.enter(&mut call, project, Permission::UpdatePool).await?;
            let fields = PoolFields::of(mask, &given)?;
            loop {
                let old = self.find_pool(pool).await?;
                let before = self.show_pool(&old);
                let mut shown = before.clone();
                fields.apply(&mut shown, given.clone());
                let new = read_pool(old.id.clone(), shown)?;
                call.changes(Some(&before), Some(&self.show_pool(&new)));
                let store = self.store.clone();
                let write = async move { Ok(store.replace_pool(&new, &old).await?.then_some(new)) };
                // Somebody else, here or at another instance, may have changed or removed it since it was read: then it is read again.
                if let Some(replaced) = self.publisher.change::<_, WorkloadIdentityError>(write).await? {
                    return Ok(self.show_pool(&replaced));
                }
            }
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Removes a pool with its providers, the tokens of its identities, and every binding that names them: a new pool of the same
    /// id is another pool. Gives what it was.
    pub async fn delete_pool(&self, admin: &Admin, project: &str, pool: &str) -> Result<WorkloadIdentityPool> {
        let mut call = self.changes.begin(admin, DELETE_POOL, &name_of(project, pool, None))?;
        let outcome = async {
            self.enter(&mut call, project, Permission::DeletePool).await?;
            let pool = self.find_pool(pool).await?;
            call.removes(&self.show_pool(&pool));
            let (store, name, id) = (self.store.clone(), self.pool_name(&pool.id), pool.id.clone());
            let write = async move {
                match store.remove_pool(&id).await? {
                    true => Ok(()),
                    false => Err(WorkloadIdentityError::NotFound(name)),
                }
            };
            self.publisher.change(write).await?;
            Ok(WorkloadIdentityPool { state: DELETED.to_owned(), ..self.show_pool(&pool) })
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Makes a provider: from now on tokens of its issuer are exchanged.
    pub async fn create_provider(
        &self,
        admin: &Admin,
        project: &str,
        (pool, provider): (&str, &str),
        given: WorkloadIdentityPoolProvider,
    ) -> Result<WorkloadIdentityPoolProvider> {
        let mut call = self.changes.begin(admin, CREATE_PROVIDER, &name_of(project, pool, Some(provider)))?;
        let outcome = async {
            self.enter(&mut call, project, Permission::CreatePoolProvider).await?;
            let pool = self.find_pool(pool).await?;
            let provider = self.read_provider(pool.id, provider.parse()?, given).await?;
            call.creates(&self.show_provider(&provider));
            let (store, name) = (self.store.clone(), provider.name(self.publisher.project()));
            let pool_name = self.pool_name(&provider.pool);
            let write = async move {
                match store.add_provider(&provider).await? {
                    Added::Yes => Ok(provider),
                    Added::Taken => Err(WorkloadIdentityError::AlreadyExists(name)),
                    Added::NoPool => Err(WorkloadIdentityError::NotFound(pool_name)),
                    Added::Full => Err(WorkloadIdentityError::TooMany { what: "providers", limit: PROVIDERS_LIMIT }),
                }
            };
            let provider = self.publisher.change(write).await?;
            Ok(self.show_provider(&provider))
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// One provider.
    pub async fn provider(
        &self,
        admin: &Admin,
        project: &str,
        (pool, provider): (&str, &str),
    ) -> Result<WorkloadIdentityPoolProvider> {
        let mut call = self.changes.begin(admin, GET_PROVIDER, &name_of(project, pool, Some(provider)))?;
        let outcome = async {
            self.enter(&mut call, project, Permission::GetPoolProvider).await?;
            Ok(self.show_provider(&self.find_provider(pool, provider).await?))
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Every provider of a pool, in the order of their ids.
    pub async fn providers(
        &self,
        admin: &Admin,
        project: &str,
        pool: &str,
    ) -> Result<Vec<WorkloadIdentityPoolProvider>> {
        let mut call = self.changes.begin(admin, LIST_PROVIDERS, &name_of(project, pool, None))?;
        let outcome = async {
            self.enter(&mut call, project, Permission::ListPoolProviders).await?;
            let pool = self.find_pool(pool).await?;
            let providers = self.store.providers().await?;
            let of_pool = providers.iter().filter(|provider| provider.pool == pool.id);
            Ok(of_pool.map(|provider| self.show_provider(provider)).collect())
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Changes what `mask` names of a provider; without one, what is set in `given`. What was issued by its old rules ends.
    pub async fn update_provider(
        &self,
        admin: &Admin,
        project: &str,
        (pool, provider): (&str, &str),
        given: WorkloadIdentityPoolProvider,
        mask: Option<&str>,
    ) -> Result<WorkloadIdentityPoolProvider> {
        let mut call = self.changes.begin(admin, UPDATE_PROVIDER, &name_of(project, pool, Some(provider)))?;
        let outcome = async {
            self.enter(&mut call, project, Permission::UpdatePoolProvider).await?;
            if let Some(kind) = kind_not_served(&given) {
                return Err(WorkloadIdentityError::NotServed(kind));
            }
            let fields = ProviderFields::of(mask, &given)?;
            loop {
                let old = self.find_provider(pool, provider).await?;
                let mut shown = self.show_provider(&old);
                let before = shown.clone();
                fields.apply(&mut shown, given.clone());
                let (new, seen) = (self.read_provider(old.pool, old.id, shown).await?, old.generation);
                call.changes(Some(&before), Some(&self.show_provider(&new)));
                let store = self.store.clone();
                let write = async move { Ok(store.replace_provider(&new, &seen).await?.then_some(new)) };
                // Somebody else may have changed it, or made another of its name, since it was read: then it is read again.
                if let Some(replaced) = self.publisher.change::<_, WorkloadIdentityError>(write).await? {
                    return Ok(self.show_provider(&replaced));
                }
            }
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Removes a provider with the tokens that were given for its issuer's. Bindings stay: they name the pool's identities, for
    /// which other providers may vouch. Gives what it was.
    pub async fn delete_provider(
        &self,
        admin: &Admin,
        project: &str,
        (pool, provider): (&str, &str),
    ) -> Result<WorkloadIdentityPoolProvider> {
        let mut call = self.changes.begin(admin, DELETE_PROVIDER, &name_of(project, pool, Some(provider)))?;
        let outcome = async {
            self.enter(&mut call, project, Permission::DeletePoolProvider).await?;
            let provider = self.find_provider(pool, provider).await?;
            call.removes(&self.show_provider(&provider));
            let (store, name) = (self.store.clone(), provider.name(self.publisher.project()));
            let (pool, id) = (provider.pool.clone(), provider.id.clone());
            let write = async move {
                match store.remove_provider(&pool, &id).await? {
                    true => Ok(()),
                    false => Err(WorkloadIdentityError::NotFound(name)),
                }
            };
            self.publisher.change(write).await?;
            Ok(WorkloadIdentityPoolProvider { state: DELETED.to_owned(), ..self.show_provider(&provider) })
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Demands a permission on the project, and sees to it that what is read from here on is in force.
    async fn enter(&self, call: &mut Call<'_>, project: &str, permission: Permission) -> Result<()> {
        self.publisher.catch_up().await?;
        call.reach(&format!("projects/{project}"), |_| permission)?;
        Ok(())
    }

    async fn find_pool(&self, id: &str) -> Result<Pool> {
        let found = self.store.pools().await?.into_iter().find(|pool| pool.id.as_str() == id);
        found.ok_or_else(|| WorkloadIdentityError::NotFound(format!("pool {id}")))
    }

    async fn find_provider(&self, pool: &str, id: &str) -> Result<Provider> {
        let named = |provider: &Provider| provider.pool.as_str() == pool && provider.id.as_str() == id;
        let found = self.store.providers().await?.into_iter().find(named);
        found.ok_or_else(|| WorkloadIdentityError::NotFound(format!("provider {id} of pool {pool}")))
    }

    fn pool_name(&self, id: &FederationId) -> String {
        Pool::name(self.publisher.project(), id)
    }

    fn show_pool(&self, pool: &Pool) -> WorkloadIdentityPool {
        WorkloadIdentityPool {
            name: self.pool_name(&pool.id),
            display_name: pool.display_name.clone(),
            description: pool.description.clone(),
            state: ACTIVE.to_owned(),
            disabled: pool.disabled,
        }
    }

    fn show_provider(&self, provider: &Provider) -> WorkloadIdentityPoolProvider {
        WorkloadIdentityPoolProvider {
            name: provider.name(self.publisher.project()),
            display_name: provider.display_name.clone(),
            description: provider.description.clone(),
            state: ACTIVE.to_owned(),
            disabled: provider.disabled,
            attribute_mapping: provider.mapping.attributes.clone(),
            attribute_condition: provider.mapping.condition.clone(),
            oidc: Some(Oidc {
                issuer_uri: provider.issuer.clone(),
                allowed_audiences: provider.allowed_audiences.clone(),
                jwks_json: provider.jwks.as_deref().map(str::to_owned),
                insecure_loopback: provider.insecure_loopback,
            }),
            aws: None,
            saml: None,
            x509: None,
        }
    }

    /// A provider in a new generation.
    async fn read_provider(
        &self,
        pool: FederationId,
        id: FederationId,
        given: WorkloadIdentityPoolProvider,
    ) -> Result<Provider> {
        if let Some(kind) = kind_not_served(&given) {
            return Err(WorkloadIdentityError::NotServed(kind));
        }
        check_text("displayName", &given.display_name, DISPLAY_NAME_LIMIT)?;
        check_text("description", &given.description, DESCRIPTION_LIMIT)?;
        let oidc = given.oidc.filter(|oidc| !oidc.issuer_uri.is_empty()).ok_or(WorkloadIdentityError::NoIssuer)?;
        self.check_issuer(&oidc)?;
        let audience = |text: &String| !text.is_empty() && text.len() <= AUDIENCE_LIMIT;
        if oidc.allowed_audiences.len() > AUDIENCES_LIMIT || !oidc.allowed_audiences.iter().all(audience) {
            return Err(WorkloadIdentityError::Audiences);
        }
        // An empty text is the same as none (proto3).
        let jwks = oidc.jwks_json.filter(|document| !document.is_empty());
        if jwks.as_deref().is_some_and(|document| !holds_a_key(document)) {
            return Err(WorkloadIdentityError::KeyDocument);
        }
        let condition = given.attribute_condition.filter(|condition| !condition.is_empty());
        let mapping = MappingText { attributes: given.attribute_mapping, condition };
        let compiled = mapping.clone();
        join(tokio::task::spawn_blocking(move || compiled.compile().map(drop))).await??;
        Ok(Provider {
            pool,
            id,
            generation: Generation(random_base64url(&*self.entropy, GENERATION_BYTES)?),
            display_name: given.display_name,
            description: given.description,
            disabled: given.disabled,
            mapping,
            issuer: oidc.issuer_uri,
            allowed_audiences: oidc.allowed_audiences,
            jwks: jwks.map(Into::into),
            insecure_loopback: oidc.insecure_loopback,
        })
    }

    fn check_issuer(&self, oidc: &Oidc) -> Result<()> {
        let issuer = &oidc.issuer_uri;
        if oidc.insecure_loopback && self.widest == Reach::Public {
            return Err(WorkloadIdentityError::LoopbackForbidden);
        }
        if self.own_issuers.iter().any(|own| is_same_issuer(own, issuer)) {
            return Err(WorkloadIdentityError::OwnIssuer(issuer.clone()));
        }
        if !is_issuer(issuer, oidc.insecure_loopback) {
            return Err(WorkloadIdentityError::Issuer(issuer.clone()));
        }
        Ok(())
    }
}

/// The kind of a provider, if it is one that is not served.
fn kind_not_served(given: &WorkloadIdentityPoolProvider) -> Option<&'static str> {
    let kinds = [("aws", &given.aws), ("saml", &given.saml), ("x509", &given.x509)];
    kinds.into_iter().find(|(_, value)| value.is_some()).map(|(kind, _)| kind)
}

fn read_pool(id: FederationId, given: WorkloadIdentityPool) -> Result<Pool> {
    let WorkloadIdentityPool { display_name, description, disabled, .. } = given;
    check_text("displayName", &display_name, DISPLAY_NAME_LIMIT)?;
    check_text("description", &description, DESCRIPTION_LIMIT)?;
    Ok(Pool { id, display_name, description, disabled })
}

fn check_text(field: &'static str, text: &str, limit: usize) -> Result<()> {
    if text.chars().count() > limit {
        return Err(WorkloadIdentityError::TextTooLong { field, limit });
    }
    if text.chars().any(char::is_control) {
        return Err(WorkloadIdentityError::Text(field));
    }
    Ok(())
}

/// Whether a key document holds a key that we use.
fn holds_a_key(document: &str) -> bool {
    let (Ok(keys), Ok(object)) =
        (VerifyingKeys::from_foreign_document(document.as_bytes()), parse_object(document.as_bytes()))
    else {
        return false;
    };
    let published = object.get("keys").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let mut ids = published.iter().filter_map(|key| key.get("kid").and_then(Value::as_str));
    document.len() <= KEY_DOCUMENT_LIMIT && ids.any(|kid| keys.find(kid).is_some())
}
