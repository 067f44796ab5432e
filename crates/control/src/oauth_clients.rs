//! OAuth clients: registering, looking, resetting a secret, removing.

use std::collections::HashSet;
use std::sync::Arc;

use doorward_core::client::{CLIENT_SECRET_PREFIX, ClientKind, OAuthClient, RestrictionError};
use doorward_core::entropy::{Entropy, EntropyError, random_base64url};
use doorward_core::grant::TokenHash;
use doorward_core::policy::Permission;
use doorward_core::resource::{ApplicationName, ClientId, Project, Resource};
use doorward_core::store::{ClientRemoval, Store, StoreError};
use doorward_wire::google_api::Status;
use serde_json::{Value, json};

use crate::admin::{Admin, AdminError, Call, Changes, Failure, Method};
use crate::snapshots::{RefreshError, SnapshotPublisher};

/// The longest name, in bytes of UTF-8.
pub const DISPLAY_NAME_LIMIT: usize = 100;
/// Redirect URIs of one client, at most.
const REDIRECT_URIS_LIMIT: usize = 100;
/// Clients that no application has, at most: as many as Google's API makes in a project.
///
/// Spec: <https://cloud.google.com/iap/docs/programmatic-oauth-clients>
pub const CLIENTS_LIMIT: usize = 500;

const SERVICE: &str = "clientauthconfig.googleapis.com";
const CREATE: Method = Method::write(SERVICE, "CreateClient");
const DELETE: Method = Method::write(SERVICE, "DeleteClient");
const RESET_SECRET: Method = Method::write(SERVICE, "ResetClientSecret");
const GET: Method = Method::look(SERVICE, "GetClient");
const LIST: Method = Method::look(SERVICE, "ListClients");

/// Why what was sent describes no client. What belongs to another kind, and what is ours to say, is refused: to pass over it would be
/// to say that it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KindError {
    /// What is ours to say.
    #[error("clientId, clientSecret, projectNumber and createTime are set by the server")]
    Ours,
    /// A web or desktop client with what belongs to another kind.
    #[error("a client of type web or desktop takes redirectUris and nothing else")]
    WebOrDesktop,
    /// An Android client without what it needs, or with what belongs to another kind.
    #[error("a client of type android takes packageName and sha1, both, and nothing else")]
    Android,
    /// An iOS client without what it needs, or with what belongs to another kind.
    #[error("a client of type ios takes bundleId and nothing else")]
    Ios,
    /// No type that there is.
    #[error("a client is of type web, desktop, android or ios")]
    Unknown,
}

/// Why something was not done with a client.
#[derive(Debug, thiserror::Error)]
pub enum OAuthClientError {
    /// The caller may not.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// No name, one that is too long, or one with control characters, which would be shown to people.
    #[error("a client needs a name of at most {DISPLAY_NAME_LIMIT} bytes without control characters")]
    DisplayName,
    /// What was sent describes no client.
    #[error(transparent)]
    Kind(#[from] KindError),
    /// What restricts it cannot be.
    #[error(transparent)]
    Restriction(#[from] RestrictionError),
    /// Too many redirect URIs.
    #[error("a client has at most {REDIRECT_URIS_LIMIT} redirect URIs")]
    TooManyRedirectUris,
    /// As many as there may be.
    #[error("there are {CLIENTS_LIMIT} clients that no application has: delete one that is not used")]
    TooMany,
    /// An application would be left without a client.
    #[error("client {} is that of application {application}", .client.0)]
    InUse {
        /// Its id.
        client: ClientId,
        /// The first application that has it.
        application: ApplicationName,
    },
    /// No such client.
    #[error("no such client")]
    NotFound,
    /// A client of Android or iOS has no secret.
    #[error("the client has no secret: it is public")]
    Public,
    /// The store failed.
    #[error("could not read or write clients")]
    Store(#[from] StoreError),
    /// What is in force could not be read.
    #[error(transparent)]
    Refresh(#[from] RefreshError),
    /// No id or secret could be made.
    #[error("could not make an id or a secret")]
    Entropy(#[from] EntropyError),
}

impl Failure for OAuthClientError {
    fn status(&self) -> Status {
        use OAuthClientError as E;
        match self {
            E::Admin(error) => error.status(),
            E::DisplayName | E::Kind(_) | E::Restriction(_) | E::TooManyRedirectUris => Status::InvalidArgument,
            E::Public | E::InUse { .. } => Status::FailedPrecondition,
            E::TooMany => Status::ResourceExhausted,
            E::NotFound => Status::NotFound,
            E::Store(_) | E::Refresh(_) | E::Entropy(_) => Status::Internal,
        }
    }
}

/// A client with its secret, which is shown this once.
pub struct CreatedClient {
    /// What is kept.
    pub client: OAuthClient,
    /// Absent of a public client.
    pub secret: Option<String>,
}

/// The clients of the one project, and those of Google's that people use.
pub struct OAuthClients {
    store: Arc<dyn Store>,
    publisher: Arc<SnapshotPublisher>,
    changes: Changes,
    entropy: Arc<dyn Entropy>,
}

impl OAuthClients {
    /// Clients in `store`, as `changes` lets and records; new ones belong to the project of `publisher`.
    pub fn new(
        store: Arc<dyn Store>,
        publisher: Arc<SnapshotPublisher>,
        changes: Changes,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        OAuthClients { store, publisher, changes, entropy }
    }

    /// Registers a client of a kind. Why what was sent is none is told to whoever may register one.
    pub async fn create(
        &self,
        admin: &Admin,
        display_name: &str,
        kind: Result<ClientKind, KindError>,
    ) -> Result<CreatedClient, OAuthClientError> {
        let mut call = self.changes.begin(admin, CREATE, "oauthClients")?;
        let outcome = async {
            self.enter(&mut call, Permission::CreateClient).await?;
            let kind = kind?;
            let name_is_good = !display_name.trim().is_empty() && !display_name.chars().any(char::is_control);
            if !name_is_good || display_name.len() > DISPLAY_NAME_LIMIT {
                return Err(OAuthClientError::DisplayName);
            }
            if let ClientKind::Web { redirect_uris } | ClientKind::Desktop { redirect_uris } = &kind
                && redirect_uris.len() > REDIRECT_URIS_LIMIT
            {
                return Err(OAuthClientError::TooManyRedirectUris);
            }
            let kind = kind.checked()?;
            if !has_room(&*self.store, &self.publisher).await? {
                return Err(OAuthClientError::TooMany);
            }
            let secret = kind.has_secret().then(|| self.new_secret()).transpose()?;
            let project = self.publisher.project();
            let client = OAuthClient {
                id: new_client_id(&*self.entropy, project)?,
                project: project.number.clone(),
                display_name: display_name.to_owned(),
                kind,
                secret: secret.as_deref().map(TokenHash::of),
                created: call.time(),
            };
            call.about(&resource_name(&client.id));
            call.creates(&shown(&client));
            // `false` would be a second client of one random id of 160 bits.
            if !self.store.add_oauth_client(&client).await? {
                return Err(OAuthClientError::Entropy(EntropyError));
            }
            Ok(CreatedClient { client, secret })
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Every client, in the order of their ids.
    pub async fn list(&self, admin: &Admin) -> Result<Vec<OAuthClient>, OAuthClientError> {
        let mut call = self.changes.begin(admin, LIST, "oauthClients")?;
        let outcome = async {
            self.enter(&mut call, Permission::ListClients).await?;
            Ok(self.store.oauth_clients().await?)
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// One client.
    pub async fn get(&self, admin: &Admin, id: &str) -> Result<OAuthClient, OAuthClientError> {
        let id = ClientId(id.to_owned());
        let mut call = self.changes.begin(admin, GET, &resource_name(&id))?;
        let outcome = async {
            self.enter(&mut call, Permission::GetClient).await?;
            self.store.oauth_client(&id).await?.ok_or(OAuthClientError::NotFound)
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Gives a client a new secret. The old one is worth nothing from then on; what was granted stays.
    pub async fn reset_secret(&self, admin: &Admin, id: &str) -> Result<CreatedClient, OAuthClientError> {
        let id = ClientId(id.to_owned());
        let mut call = self.changes.begin(admin, RESET_SECRET, &resource_name(&id))?;
        let outcome = async {
            self.enter(&mut call, Permission::CreateClientSecret).await?;
            let client = self.store.oauth_client(&id).await?.ok_or(OAuthClientError::NotFound)?;
            if !client.kind.has_secret() {
                return Err(OAuthClientError::Public);
            }
            let secret = self.new_secret()?;
            call.changes(Some(&shown(&client)), Some(&shown(&client)));
            if !self.store.replace_client_secret(&id, &TokenHash::of(&secret)).await? {
                return Err(OAuthClientError::NotFound);
            }
            Ok(CreatedClient { client, secret: Some(secret) })
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Removes a client, with everything that people allowed it. One that an application has stays.
    pub async fn delete(&self, admin: &Admin, id: &str) -> Result<(), OAuthClientError> {
        let id = ClientId(id.to_owned());
        let mut call = self.changes.begin(admin, DELETE, &resource_name(&id))?;
        let outcome = async {
            self.enter(&mut call, Permission::DeleteClient).await?;
            let client = self.store.oauth_client(&id).await?.ok_or(OAuthClientError::NotFound)?;
            call.removes(&shown(&client));
            match self.store.remove_oauth_client(&id).await? {
                ClientRemoval::Removed => Ok(()),
                ClientRemoval::Missing => Err(OAuthClientError::NotFound),
                ClientRemoval::InUse(application) => Err(OAuthClientError::InUse { client: id, application }),
            }
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    async fn enter(&self, call: &mut Call<'_>, permission: Permission) -> Result<(), OAuthClientError> {
        self.publisher.catch_up().await?;
        call.demand(permission, &Resource::Project)?;
        Ok(())
    }

    fn new_secret(&self) -> Result<String, EntropyError> {
        Ok(format!("{CLIENT_SECRET_PREFIX}{}", random_base64url(&*self.entropy, 32)?))
    }
}

/// Whether one client more may be made. Those of applications do not count: they are as many as the applications.
pub(crate) async fn has_room(store: &dyn Store, publisher: &SnapshotPublisher) -> Result<bool, StoreError> {
    let snapshot = publisher.cell().current();
    let of_applications: HashSet<&ClientId> =
        snapshot.applications().map(|protected| &protected.application.client_id).collect();
    let clients = store.oauth_clients().await?;
    Ok(clients.iter().filter(|client| !of_applications.contains(&client.id)).count() < CLIENTS_LIMIT)
}

fn resource_name(id: &ClientId) -> String {
    format!("oauthClients/{}", id.0)
}

/// A client as the record shows it.
fn shown(client: &OAuthClient) -> Value {
    json!({ "clientId": client.id.0, "displayName": client.display_name, "kind": client.kind })
}

/// `NUMBER-x.apps.googleusercontent.com`, x being 32 characters of `[a-z0-9]`, as Google's are.
pub fn new_client_id(entropy: &dyn Entropy, project: &Project) -> Result<ClientId, EntropyError> {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz012345";
    let mut bytes = [0; 32];
    entropy.fill(&mut bytes)?;
    let random: String = bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect();
    Ok(ClientId(format!("{}-{random}.apps.googleusercontent.com", project.number)))
}
