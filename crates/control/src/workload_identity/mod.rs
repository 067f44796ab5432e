//! Pools of identities from elsewhere, and the providers that vouch for them.
//!
//! Spec: <https://cloud.google.com/iam/docs/reference/rest/v1/projects.locations.workloadIdentityPools>

mod fields;

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use doorward_core::federation::{
    AUDIENCE_LIMIT, AUDIENCES_LIMIT, AttributeMapping, FederationId, FederationIdError, MappingError, Pool, Provider,
};
use doorward_core::member::Member;
use doorward_core::outbound::Reach;
use doorward_core::resource::Host;
use doorward_core::store::{Store, StoreError};
use doorward_wire::google_api::{Oidc, WorkloadIdentityPool, WorkloadIdentityPoolProvider};
use doorward_wire::jose::{VerifyingKeys, parse_object};
use serde_json::Value;
use tokio::sync::Mutex;

use fields::{PoolFields, ProviderFields};

use crate::callers::Administrator;
use crate::policies::unbind;
use crate::snapshots::{RefreshError, SnapshotPublisher};

/// The longest display name, in characters.
pub const DISPLAY_NAME_LIMIT: usize = 32;
/// The longest description, in characters.
pub const DESCRIPTION_LIMIT: usize = 256;
/// The longest issuer, in bytes.
pub const ISSUER_LIMIT: usize = 2000;
/// The longest key document that an operator gives, in bytes.
pub const KEY_DOCUMENT_LIMIT: usize = 64 * 1024;

const ACTIVE: &str = "ACTIVE";
/// Google keeps what was deleted for thirty days; here it is gone at once.
const DELETED: &str = "DELETED";

/// Why something was not done with a pool or a provider.
#[derive(Debug, thiserror::Error)]
pub enum WorkloadIdentityError {
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
    /// No such project, pool or provider.
    #[error("{0} does not exist")]
    NotFound(String),
    /// The store failed.
    #[error("could not read or write pools and providers")]
    Store(#[from] StoreError),
    /// The change is stored, and it is not known whether it is in force.
    #[error("could not put the change in force")]
    Refresh(#[from] RefreshError),
}

type Result<T> = std::result::Result<T, WorkloadIdentityError>;

/// The pools of the one project.
///
/// Methods take the project's segment of a resource name, which is its id or its number, and the ids of the pool and the provider.
pub struct WorkloadIdentity {
    store: Arc<dyn Store>,
    publisher: Arc<SnapshotPublisher>,
    /// Every `iss` that our own tokens carry, or could.
    own_issuers: Vec<String>,
    /// The widest reach that a provider may ask for.
    widest: Reach,
    /// Held from reading what is to be changed to writing it.
    changing: Arc<Mutex<()>>,
}

impl WorkloadIdentity {
    /// Pools in `store`, put in force by `publisher`. `widest` says whether issuers may be on this machine.
    pub fn new(
        store: Arc<dyn Store>,
        publisher: Arc<SnapshotPublisher>,
        own_issuers: Vec<String>,
        widest: Reach,
    ) -> Self {
        WorkloadIdentity { store, publisher, own_issuers, widest, changing: Arc::default() }
    }

    /// Makes a pool. Nobody belongs to it before it has a provider.
    pub async fn create_pool(
        &self,
        _: &Administrator,
        project: &str,
        pool: &str,
        given: WorkloadIdentityPool,
    ) -> Result<WorkloadIdentityPool> {
        self.enter(project).await?;
        let pool = read_pool(pool.parse()?, given)?;
        let (store, name) = (self.store.clone(), self.pool_name(&pool.id));
        let write = async move {
            match store.add_pool(&pool).await? {
                true => Ok(pool),
                false => Err(WorkloadIdentityError::AlreadyExists(name)),
            }
        };
        let pool = self.publisher.change(write).await?;
        Ok(self.show_pool(&pool))
    }

    /// One pool.
    pub async fn pool(&self, _: &Administrator, project: &str, pool: &str) -> Result<WorkloadIdentityPool> {
        self.enter(project).await?;
        Ok(self.show_pool(&self.find_pool(pool).await?))
    }

    /// Every pool, in the order of their ids.
    pub async fn pools(&self, _: &Administrator, project: &str) -> Result<Vec<WorkloadIdentityPool>> {
        self.enter(project).await?;
        Ok(self.store.pools().await?.iter().map(|pool| self.show_pool(pool)).collect())
    }

    /// Changes what `mask` names of a pool; without one, what is set in `given`.
    ///
    /// Spec: <https://google.aip.dev/134>
    pub async fn update_pool(
        &self,
        _: &Administrator,
        project: &str,
        pool: &str,
        given: WorkloadIdentityPool,
        mask: Option<&str>,
    ) -> Result<WorkloadIdentityPool> {
        self.enter(project).await?;
        let changing = self.changing.clone().lock_owned().await;
        let old = self.find_pool(pool).await?;
        let fields = PoolFields::of(mask, &given)?;
        let mut shown = self.show_pool(&old);
        fields.apply(&mut shown, given);
        let pool = read_pool(old.id, shown)?;
        let (store, name) = (self.store.clone(), self.pool_name(&pool.id));
        let write = async move {
            let _changing = changing;
            match store.replace_pool(&pool).await? {
                true => Ok(pool),
                false => Err(WorkloadIdentityError::NotFound(name)),
            }
        };
        let pool = self.publisher.change(write).await?;
        Ok(self.show_pool(&pool))
    }

    /// Removes a pool with its providers, the tokens of its identities, and every binding that names them: a new pool of the same
    /// id is another pool. Gives what it was.
    pub async fn delete_pool(&self, _: &Administrator, project: &str, pool: &str) -> Result<WorkloadIdentityPool> {
        self.enter(project).await?;
        let pool = self.find_pool(pool).await?;
        let (store, name, id) = (self.store.clone(), self.pool_name(&pool.id), pool.id.clone());
        let write = async move {
            // First what its identities may do: whatever stops this in its middle, nobody inherits.
            let inside = format!("//iam.googleapis.com/{name}/");
            unbind(&*store, |member| match member {
                Member::Principal(named) | Member::PrincipalSet(named) => named.starts_with(&inside),
                Member::User(_)
                | Member::ServiceAccount(_)
                | Member::Domain(_)
                | Member::AllAuthenticatedUsers
                | Member::AllUsers => false,
            })
            .await?;
            match store.remove_pool(&id).await? {
                true => Ok(()),
                false => Err(WorkloadIdentityError::NotFound(name)),
            }
        };
        self.publisher.change(write).await?;
        Ok(WorkloadIdentityPool { state: DELETED.to_owned(), ..self.show_pool(&pool) })
    }

    /// Makes a provider: from now on tokens of its issuer are exchanged.
    pub async fn create_provider(
        &self,
        _: &Administrator,
        project: &str,
        (pool, provider): (&str, &str),
        given: WorkloadIdentityPoolProvider,
    ) -> Result<WorkloadIdentityPoolProvider> {
        self.enter(project).await?;
        let pool = self.find_pool(pool).await?;
        let provider = self.read_provider(pool.id, provider.parse()?, given)?;
        let (store, name) = (self.store.clone(), provider.name(self.publisher.project()));
        let pool_name = self.pool_name(&provider.pool);
        let write = async move {
            if store.add_provider(&provider).await? {
                return Ok(provider);
            }
            let pool_is_gone = !store.pools().await?.iter().any(|pool| pool.id == provider.pool);
            Err(match pool_is_gone {
                true => WorkloadIdentityError::NotFound(pool_name),
                false => WorkloadIdentityError::AlreadyExists(name),
            })
        };
        let provider = self.publisher.change(write).await?;
        Ok(self.show_provider(&provider))
    }

    /// One provider.
    pub async fn provider(
        &self,
        _: &Administrator,
        project: &str,
        (pool, provider): (&str, &str),
    ) -> Result<WorkloadIdentityPoolProvider> {
        self.enter(project).await?;
        Ok(self.show_provider(&self.find_provider(pool, provider).await?))
    }

    /// Every provider of a pool, in the order of their ids.
    pub async fn providers(
        &self,
        _: &Administrator,
        project: &str,
        pool: &str,
    ) -> Result<Vec<WorkloadIdentityPoolProvider>> {
        self.enter(project).await?;
        let pool = self.find_pool(pool).await?;
        let providers = self.store.providers().await?;
        let of_pool = providers.iter().filter(|provider| provider.pool == pool.id);
        Ok(of_pool.map(|provider| self.show_provider(provider)).collect())
    }

    /// Changes what `mask` names of a provider; without one, what is set in `given`. What was issued by its old rules ends.
    pub async fn update_provider(
        &self,
        _: &Administrator,
        project: &str,
        (pool, provider): (&str, &str),
        given: WorkloadIdentityPoolProvider,
        mask: Option<&str>,
    ) -> Result<WorkloadIdentityPoolProvider> {
        self.enter(project).await?;
        if let Some(kind) = kind_not_served(&given) {
            return Err(WorkloadIdentityError::NotServed(kind));
        }
        let changing = self.changing.clone().lock_owned().await;
        let old = self.find_provider(pool, provider).await?;
        let fields = ProviderFields::of(mask, &given)?;
        let mut shown = self.show_provider(&old);
        fields.apply(&mut shown, given);
        let provider = self.read_provider(old.pool, old.id, shown)?;
        let (store, publisher) = (self.store.clone(), self.publisher.clone());
        let name = provider.name(self.publisher.project());
        let write = async move {
            let _changing = changing;
            if !store.replace_provider(&provider).await? {
                return Err(WorkloadIdentityError::NotFound(name));
            }
            // An exchange that began by the old rules may have added a token since: once the new ones are in force none is added,
            // and this ends those that were.
            publisher.refresh().await?;
            match store.replace_provider(&provider).await? {
                true => Ok(provider),
                false => Err(WorkloadIdentityError::NotFound(name)),
            }
        };
        let provider = self.publisher.change(write).await?;
        Ok(self.show_provider(&provider))
    }

    /// Removes a provider with the tokens that were given for its issuer's. Bindings stay: they name the pool's identities, for
    /// which other providers may vouch. Gives what it was.
    pub async fn delete_provider(
        &self,
        _: &Administrator,
        project: &str,
        (pool, provider): (&str, &str),
    ) -> Result<WorkloadIdentityPoolProvider> {
        self.enter(project).await?;
        let provider = self.find_provider(pool, provider).await?;
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
    }

    /// Checks the project's segment, and that what is read from here on is in force.
    async fn enter(&self, project: &str) -> Result<()> {
        let ours = self.publisher.project();
        if project != ours.id && project != ours.number {
            return Err(WorkloadIdentityError::NotFound(format!("projects/{project}")));
        }
        Ok(self.publisher.catch_up().await?)
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
            attribute_mapping: provider.mapping.text().clone(),
            attribute_condition: provider.mapping.condition_text().map(str::to_owned),
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

    fn read_provider(
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
        let mapping = AttributeMapping::compile(given.attribute_mapping, condition)?;
        Ok(Provider {
            pool,
            id,
            display_name: given.display_name,
            description: given.description,
            disabled: given.disabled,
            mapping: Arc::new(mapping),
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
        if self.own_issuers.iter().any(|own| bare(own) == bare(issuer)) {
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

/// An issuer without what readers of `iss` have always left out or added.
fn bare(issuer: &str) -> String {
    let issuer = issuer.to_ascii_lowercase();
    let rest = issuer.strip_prefix("https://").or_else(|| issuer.strip_prefix("http://")).unwrap_or(&issuer);
    rest.trim_end_matches('/').to_owned()
}

/// Whether a text is a URL that an issuer may have: `https`, or `http` on this machine where that is allowed (OpenID Connect
/// Core 1.0 section 2).
fn is_issuer(text: &str, insecure_loopback: bool) -> bool {
    let visible = text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'?' | b'#' | b'@' | b'\\'));
    if !visible || text.len() > ISSUER_LIMIT {
        return false;
    }
    let (rest, plain) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(rest), _) => (rest, false),
        (None, Some(rest)) => (rest, true),
        (None, None) => return false,
    };
    let authority = rest.split_once('/').map_or(rest, |(authority, _)| authority);
    Host::parse(authority).is_ok_and(|host| !plain || (insecure_loopback && is_loopback(host.name())))
}

/// Whether a host's name is one of this machine: nothing has to be looked up to know.
fn is_loopback(name: &str) -> bool {
    let bracketed = name.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
    match bracketed {
        Some(address) => address.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback()),
        None => name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()),
    }
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
