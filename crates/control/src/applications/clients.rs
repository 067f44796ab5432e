//! The OAuth client of an application: one of ours that is made, or one that somebody brings.

use doorward_core::client::{CLIENT_SECRET_PREFIX, ClientKind, OAuthClient};
use doorward_core::clock::Timestamp;
use doorward_core::entropy::{Entropy, EntropyError, random_base64url};
use doorward_core::grant::TokenHash;
use doorward_core::policy::Permission;
use doorward_core::resource::{ClientId, Project, Resource};
use doorward_core::store::{Store, StoreError};
use doorward_wire::jose::decode_base64url;
use serde_json::json;
use subtle::ConstantTimeEq as _;

use super::{ApplicationError, Applications};
use crate::admin::{Admin, Call, Method};
use crate::oauth_clients::new_client_id;

const REGISTER_CLIENT: Method = Method::write("doorward", "doorward.v1.Applications.RegisterClient");
/// The longest id that is brought along, in bytes.
const CLIENT_ID_LIMIT: usize = 255;
/// How every client id of Google's ends, and of ours.
const CLIENT_ID_END: &str = ".apps.googleusercontent.com";
/// The shortest secret that is brought along, in bytes: Google's have 24 and more.
pub(super) const SECRET_LEAST: usize = 24;
/// The longest secret that is brought along, in bytes.
pub(super) const SECRET_LIMIT: usize = 1024;

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

/// A client for applications, of this id and secret.
pub fn web_client(
    id: ClientId,
    project: &Project,
    display_name: &str,
    secret: TokenHash,
    now: Timestamp,
) -> OAuthClient {
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
/// for one are good at the other. Its secret is replaced only for those who may do that. One that is not there is registered for those who
/// may make clients; without a secret, with one that nobody knows.
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
    let id = ClientId(id.to_owned());
    let hash = secret.map(TokenHash::of);
    let Some(known) = store.oauth_client(&id).await? else {
        if secret.is_none() && present == Some(&id) {
            return Ok((id, ClientChange::Nothing));
        }
        call.demand(Permission::CreateClient, &Resource::Project)?;
        // An application may have one that is not registered. Whoever gave it a secret would have chosen that application's.
        if store.applications().await?.iter().any(|other| other.client_id == id) {
            let permission = match secret {
                Some(_) => Permission::CreateClientSecret,
                None => Permission::GetClientWithSecret,
            };
            call.demand(permission, &Resource::Project)?;
        }
        // It becomes the audience of tokens: somebody else's URL would make tokens that are good there.
        if !is_client_id(&id) {
            return Err(ApplicationError::ClientId(id.0));
        }
        check_secret(secret)?;
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
            check_secret(secret)?;
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

/// Whether an id is like Google's and ours: `123-abc.apps.googleusercontent.com`.
fn is_client_id(id: &ClientId) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
    id.0.strip_suffix(CLIENT_ID_END).is_some_and(|own| !own.is_empty() && own.bytes().all(plain))
}

fn check_secret(secret: Option<&str>) -> Result<(), ApplicationError> {
    match secret.is_none_or(|secret| (SECRET_LEAST..=SECRET_LIMIT).contains(&secret.len())) {
        true => Ok(()),
        false => Err(ApplicationError::ClientSecret),
    }
}

impl Applications {
    /// Registers the clients that applications have and that are not registered, as those are that `doorward serve` once gave them.
    /// Nobody knows their secrets. To be called at the start: an id that is not registered looks free to whoever brings one.
    pub async fn register_clients(&self, admin: &Admin) -> Result<(), ApplicationError> {
        let project = self.publisher.project();
        for application in self.store.applications().await? {
            if self.store.oauth_client(&application.client_id).await?.is_some() {
                continue;
            }
            let mut call = self.changes.begin(admin, REGISTER_CLIENT, &application.service().name(project))?;
            let outcome = async {
                call.demand(Permission::CreateClient, &Resource::Project)?;
                let secret = TokenHash::of(&random_base64url(&*self.entropy, 32)?);
                let (id, name) = (application.client_id.clone(), application.name.as_str());
                let client = web_client(id, project, name, secret, call.time());
                call.creates(&json!({"clientId": client.id.0, "displayName": client.display_name}));
                // `false`: another instance did it at the same time, or another application has the same.
                self.store.add_oauth_client(&client).await?;
                Ok(())
            };
            let outcome: Result<(), ApplicationError> = outcome.await;
            call.finish(outcome).await?;
        }
        Ok(())
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
            // Somebody may have given it to another application meanwhile: then it stays.
            ClientChange::Register(client) => store.remove_oauth_client(&client.id).await.map(drop),
        }
    }
}

/// SHA-256 of a client's secret in hexadecimal, as Google shows one.
pub(super) fn secret_sha256(client: &OAuthClient) -> Option<String> {
    let digest = decode_base64url(&client.secret.as_ref()?.0)?;
    Some(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}
