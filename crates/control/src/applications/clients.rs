//! The OAuth client of an application: one of ours that is made, or one that somebody brings.

use doorward_core::client::{CLIENT_SECRET_PREFIX, ClientKind, OAuthClient};
use doorward_core::clock::Timestamp;
use doorward_core::entropy::{Entropy, EntropyError, random_base64url};
use doorward_core::grant::TokenHash;
use doorward_core::policy::Permission;
use doorward_core::resource::{ClientId, Project, Resource};
use doorward_core::store::{Store, StoreError};
use doorward_wire::jose::decode_base64url;
use subtle::ConstantTimeEq as _;

use super::ApplicationError;
use crate::admin::Call;
use crate::oauth_clients::new_client_id;

/// The longest id that is brought along, in bytes.
const CLIENT_ID_LIMIT: usize = 255;
/// The longest secret that is brought along, in bytes.
const SECRET_LIMIT: usize = 1024;

/// What is to be done so that an application has its client.
#[derive(Debug)]
pub(super) enum ClientChange {
    /// Nothing.
    Nothing,
    /// Register it.
    Register(Box<OAuthClient>),
    /// Give it another secret.
    Secret(ClientId, TokenHash),
}

/// Where IAP takes the answer to a sign-in of its own, as everybody registers it with Google.
///
/// Spec: <https://cloud.google.com/iap/docs/custom-oauth-configuration#create-oauth-client>
pub(crate) fn redirect_uri(id: &ClientId) -> String {
    format!("https://iap.googleapis.com/v1/oauth/clientIds/{}:handleRedirect", id.0)
}

/// Whether a client is one for applications: a web client of this project with the address of IAP.
pub(crate) fn is_for_applications(client: &OAuthClient, project: &Project) -> bool {
    let takes_iap = match &client.kind {
        ClientKind::Web { redirect_uris } => redirect_uris.contains(&redirect_uri(&client.id)),
        ClientKind::Desktop { .. } | ClientKind::Android { .. } | ClientKind::Ios { .. } => false,
    };
    takes_iap && client.project == project.number
}

/// A new client for applications, with its secret.
pub(crate) fn make(
    entropy: &dyn Entropy,
    project: &Project,
    display_name: &str,
    now: Timestamp,
) -> Result<(OAuthClient, String), EntropyError> {
    let secret = format!("{CLIENT_SECRET_PREFIX}{}", random_base64url(entropy, 32)?);
    let id = new_client_id(entropy, project)?;
    Ok((web_client(id, project, display_name, TokenHash::of(&secret), now), secret))
}

fn web_client(id: ClientId, project: &Project, display_name: &str, secret: TokenHash, now: Timestamp) -> OAuthClient {
    OAuthClient {
        kind: ClientKind::Web { redirect_uris: vec![redirect_uri(&id)] },
        id,
        project: project.number.clone(),
        display_name: display_name.to_owned(),
        secret: Some(secret),
        created: now,
    }
}

/// A client as somebody names it.
pub(super) struct Brought<'a> {
    /// Its id.
    pub(super) id: &'a str,
    /// Its secret, if they give it.
    pub(super) secret: Option<&'a str>,
    /// The application's present client.
    pub(super) present: Option<&'a ClientId>,
}

/// Finds out what is to be done so that an application has the client that is brought.
///
/// Of a client that is there, they give the secret, or hold the permission to see it: by a client that two applications share, tokens
/// for one are good at the other. Its secret is replaced only for those who may do that. One that is not there is registered; without a
/// secret, with one that nobody knows.
pub(super) async fn bring(
    store: &dyn Store,
    entropy: &dyn Entropy,
    project: &Project,
    call: &mut Call<'_>,
    brought: Brought<'_>,
) -> Result<(ClientId, ClientChange), ApplicationError> {
    let Brought { id, secret, present } = brought;
    if id.is_empty() || id.len() > CLIENT_ID_LIMIT || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(ApplicationError::ClientId(id.to_owned()));
    }
    if secret.is_some_and(|secret| secret.len() > SECRET_LIMIT) {
        return Err(ApplicationError::ClientSecret);
    }
    let id = ClientId(id.to_owned());
    let hash = secret.map(TokenHash::of);
    let Some(known) = store.oauth_client(&id).await? else {
        let hash = match hash {
            Some(hash) => hash,
            None => TokenHash::of(&random_base64url(entropy, 32)?),
        };
        let client = web_client(id.clone(), project, &id.0, hash, call.time());
        return Ok((id, ClientChange::Register(Box::new(client))));
    };
    let is_web = matches!(known.kind, ClientKind::Web { .. });
    if !is_web || known.project != project.number {
        return Err(ApplicationError::ClientKind(id));
    }
    let is_its_secret = match (&hash, &known.secret) {
        (Some(given), Some(kept)) => bool::from(given.0.as_bytes().ct_eq(kept.0.as_bytes())),
        (Some(_), None) | (None, _) => false,
    };
    match hash {
        Some(hash) if !is_its_secret => {
            call.demand(Permission::CreateClientSecret, &Resource::Project)?;
            Ok((id.clone(), ClientChange::Secret(id, hash)))
        }
        Some(_) => Ok((id, ClientChange::Nothing)),
        None => {
            if present != Some(&id) {
                call.demand(Permission::GetClientWithSecret, &Resource::Project)?;
            }
            Ok((id, ClientChange::Nothing))
        }
    }
}

impl ClientChange {
    /// Does it. `false` if the client came or went in the meantime.
    pub(super) async fn write(&self, store: &dyn Store) -> Result<bool, StoreError> {
        match self {
            ClientChange::Nothing => Ok(true),
            ClientChange::Register(client) => store.add_oauth_client(client).await,
            ClientChange::Secret(id, hash) => store.replace_client_secret(id, hash).await,
        }
    }

    /// Takes back what was registered for an application that was not written.
    pub(super) async fn take_back(&self, store: &dyn Store) -> Result<(), StoreError> {
        match self {
            ClientChange::Nothing | ClientChange::Secret(..) => Ok(()),
            ClientChange::Register(client) => store.remove_oauth_client(&client.id).await.map(|_| ()),
        }
    }
}

/// SHA-256 of a client's secret in hexadecimal, as Google shows one.
pub(super) fn secret_sha256(client: &OAuthClient) -> Option<String> {
    let digest = decode_base64url(&client.secret.as_ref()?.0)?;
    Some(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}
