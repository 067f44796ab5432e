//! The OAuth clients of `dev`: three of its own project, and those of Google's command line tools, which are public knowledge.

use std::collections::BTreeMap;

use doorward_control::oauth_clients::new_client_id;
use doorward_core::client::{CLIENT_SECRET_PREFIX, ClientKind, OAuthClient};
use doorward_core::clock::Timestamp;
use doorward_core::entropy::Entropy;
use doorward_core::grant::TokenHash;
use doorward_core::keys::KeyRing;
use doorward_core::resource::{ClientId, Project};
use doorward_core::store::Store;

use super::description::OAuthClientDescription;
use super::seed::SeedError;

/// A client of a tool of Google's: its id and secret are in its published source.
pub(super) struct ToolClient {
    name: &'static str,
    pub(super) id: &'static str,
    pub(super) secret: &'static str,
    /// The number of its project.
    project: &'static str,
    /// The page that shows a code to be copied.
    code_page: Option<&'static str>,
}

/// `gcloud auth login`.
pub(super) const GCLOUD: ToolClient = ToolClient {
    name: "Google Cloud CLI",
    id: "32555940559.apps.googleusercontent.com",
    secret: "ZmssLNjJy2998hD4CTg2ejr2",
    project: "32555940559",
    code_page: Some("https://sdk.cloud.google.com/authcode.html"),
};

/// `gcloud auth application-default login`.
pub(super) const DEFAULT_CREDENTIALS: ToolClient = ToolClient {
    name: "Application Default Credentials",
    id: "764086051850-6qr4p6gpi6hn506pt8ejuq83di341hur.apps.googleusercontent.com",
    secret: "d-FL95Q19q7MQmFpd7hHD0Ty",
    project: "764086051850",
    code_page: Some("https://sdk.cloud.google.com/applicationdefaultauthcode.html"),
};

/// `gsutil config`.
const GSUTIL: ToolClient = ToolClient {
    name: "gsutil",
    id: "909320924072.apps.googleusercontent.com",
    secret: "p3RlpR10xMFh9ZXBS/ZNLYUu",
    project: "909320924072",
    code_page: None,
};

/// Registers all clients, unless they are there, and describes those of the project.
pub(super) async fn seed(
    store: &dyn Store,
    entropy: &dyn Entropy,
    keys: &KeyRing,
    project: &Project,
    now: Timestamp,
) -> Result<BTreeMap<String, OAuthClientDescription>, SeedError> {
    for tool in [GCLOUD, DEFAULT_CREDENTIALS, GSUTIL] {
        let client = OAuthClient {
            id: ClientId(tool.id.to_owned()),
            project: tool.project.to_owned(),
            display_name: tool.name.to_owned(),
            kind: ClientKind::Desktop { redirect_uris: tool.code_page.map(str::to_owned).into_iter().collect() },
            secret: Some(TokenHash::of(tool.secret)),
            created: now,
        };
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
