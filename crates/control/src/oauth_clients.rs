//! OAuth clients: registering, looking, resetting a secret, removing.

use std::sync::Arc;

use doorward_core::client::{CLIENT_SECRET_PREFIX, ClientKind, OAuthClient, RestrictionError};
use doorward_core::clock::Clock;
use doorward_core::entropy::{Entropy, EntropyError, random_base64url};
use doorward_core::grant::TokenHash;
use doorward_core::resource::{ClientId, Project};
use doorward_core::store::{Store, StoreError};

use crate::callers::Administrator;

/// The longest name, in bytes of UTF-8.
pub const DISPLAY_NAME_LIMIT: usize = 100;
/// Redirect URIs of one client, at most.
const REDIRECT_URIS_LIMIT: usize = 100;

/// Why something was not done with a client.
#[derive(Debug, thiserror::Error)]
pub enum OAuthClientError {
    /// No name, one that is too long, or one with control characters, which would be shown to people.
    #[error("a client needs a name of at most {DISPLAY_NAME_LIMIT} bytes without control characters")]
    DisplayName,
    /// What restricts it cannot be.
    #[error(transparent)]
    Restriction(#[from] RestrictionError),
    /// Too many redirect URIs.
    #[error("a client has at most {REDIRECT_URIS_LIMIT} redirect URIs")]
    TooManyRedirectUris,
    /// No such client.
    #[error("no such client")]
    NotFound,
    /// A client of Android or iOS has no secret.
    #[error("the client has no secret: it is public")]
    Public,
    /// The store failed.
    #[error("could not read or write clients")]
    Store(#[from] StoreError),
    /// No id or secret could be made.
    #[error("could not make an id or a secret")]
    Entropy(#[from] EntropyError),
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
    entropy: Arc<dyn Entropy>,
    clock: Arc<dyn Clock>,
    project: Project,
}

impl OAuthClients {
    /// Clients in `store`; new ones belong to `project`.
    pub fn new(store: Arc<dyn Store>, entropy: Arc<dyn Entropy>, clock: Arc<dyn Clock>, project: Project) -> Self {
        OAuthClients { store, entropy, clock, project }
    }

    /// Registers a client.
    pub async fn create(
        &self,
        _: &Administrator,
        display_name: &str,
        kind: ClientKind,
    ) -> Result<CreatedClient, OAuthClientError> {
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
        let secret = kind.has_secret().then(|| self.new_secret()).transpose()?;
        let client = OAuthClient {
            id: new_client_id(&*self.entropy, &self.project)?,
            project: self.project.number.clone(),
            display_name: display_name.to_owned(),
            kind,
            secret: secret.as_deref().map(TokenHash::of),
            created: self.clock.now(),
        };
        // `false` would be a second client of one random id of 160 bits.
        if !self.store.add_oauth_client(&client).await? {
            return Err(OAuthClientError::Entropy(EntropyError));
        }
        Ok(CreatedClient { client, secret })
    }

    /// Every client, in the order of their ids.
    pub async fn list(&self, _: &Administrator) -> Result<Vec<OAuthClient>, OAuthClientError> {
        Ok(self.store.oauth_clients().await?)
    }

    /// One client.
    pub async fn get(&self, _: &Administrator, id: &str) -> Result<OAuthClient, OAuthClientError> {
        self.store.oauth_client(&ClientId(id.to_owned())).await?.ok_or(OAuthClientError::NotFound)
    }

    /// Gives a client a new secret. The old one is worth nothing from then on; what was granted stays.
    pub async fn reset_secret(&self, _: &Administrator, id: &str) -> Result<CreatedClient, OAuthClientError> {
        let id = ClientId(id.to_owned());
        let client = self.store.oauth_client(&id).await?.ok_or(OAuthClientError::NotFound)?;
        if !client.kind.has_secret() {
            return Err(OAuthClientError::Public);
        }
        let secret = self.new_secret()?;
        if !self.store.replace_client_secret(&id, &TokenHash::of(&secret)).await? {
            return Err(OAuthClientError::NotFound);
        }
        Ok(CreatedClient { client, secret: Some(secret) })
    }

    /// Removes a client, with everything that people allowed it.
    pub async fn delete(&self, _: &Administrator, id: &str) -> Result<(), OAuthClientError> {
        match self.store.remove_oauth_client(&ClientId(id.to_owned())).await? {
            true => Ok(()),
            false => Err(OAuthClientError::NotFound),
        }
    }

    fn new_secret(&self) -> Result<String, EntropyError> {
        Ok(format!("{CLIENT_SECRET_PREFIX}{}", random_base64url(&*self.entropy, 32)?))
    }
}

/// `NUMBER-x.apps.googleusercontent.com`, x being 32 characters of `[a-z0-9]`, as Google's are.
pub fn new_client_id(entropy: &dyn Entropy, project: &Project) -> Result<ClientId, EntropyError> {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz012345";
    let mut bytes = [0; 32];
    entropy.fill(&mut bytes)?;
    let random: String = bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect();
    Ok(ClientId(format!("{}-{random}.apps.googleusercontent.com", project.number)))
}
