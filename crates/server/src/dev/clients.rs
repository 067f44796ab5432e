//! The OAuth clients of `dev`: three of its own project, and those of Google's command line tools, which are public knowledge.

use std::collections::BTreeMap;

use doorward_control::oauth_clients::new_client_id;
use doorward_core::client::{CLIENT_SECRET_PREFIX, ClientKind, OAuthClient};
use doorward_core::clock::Timestamp;
use doorward_core::entropy::Entropy;
use doorward_core::grant::TokenHash;
use doorward_core::keys::KeyRing;
use doorward_core::resource::Project;
use doorward_core::store::Store;

use super::description::OAuthClientDescription;
use super::seed::SeedError;
use crate::tool_clients;

/// Registers all clients, unless they are there, and describes those of the project.
pub(super) async fn seed(
    store: &dyn Store,
    entropy: &dyn Entropy,
    keys: &KeyRing,
    project: &Project,
    now: Timestamp,
) -> Result<BTreeMap<String, OAuthClientDescription>, SeedError> {
    for client in tool_clients::of_google(now) {
        store.add_oauth_client(&client).await?;
    }
    let registered = store.oauth_clients().await?;
    let mut described = BTreeMap::new();
    for (name, kind) in own() {
        let display_name = format!("Doorward dev: {name}");
        let secret = match kind.has_secret() {
            true => Some(format!("{CLIENT_SECRET_PREFIX}{}", keys.derive(&format!("client secret of {name}"))?)),
            false => None,
        };
        let hash = secret.as_deref().map(TokenHash::of);
        let found = registered.iter().find(|client| {
            client.project == project.number && client.display_name == display_name && client.kind.name() == kind.name()
        });
        let id = match found {
            Some(client) => {
                // A secret that was reset is put back: the description tells the one of the fixture.
                if let Some(hash) = hash.as_ref().filter(|hash| client.secret.as_ref() != Some(hash)) {
                    store.replace_client_secret(&client.id, hash).await?;
                }
                client.id.clone()
            }
            None => {
                let id = new_client_id(entropy, project)?;
                let project = project.number.clone();
                let client = OAuthClient { id: id.clone(), project, display_name, kind, secret: hash, created: now };
                store.add_oauth_client(&client).await?;
                id
            }
        };
        described.insert(name.to_owned(), OAuthClientDescription { client_id: id.0, client_secret: secret });
    }
    Ok(described)
}

fn own() -> [(&'static str, ClientKind); 3] {
    let redirect_uris = ["localhost", "127.0.0.1"].map(|host| format!("http://{host}:3000/callback")).into();
    let sha1 = ["00"; 20].join(":");
    [
        ("desktop", ClientKind::Desktop { redirect_uris: Vec::new() }),
        ("web", ClientKind::Web { redirect_uris }),
        ("android", ClientKind::Android { package: "com.example.app".to_owned(), sha1 }),
    ]
}
