//! For whom an ID token may be that a client asks for.

use doorward_core::client::OAuthClient;
use doorward_core::resource::ClientId;
use doorward_core::snapshot::SnapshotCell;
use doorward_core::store::{Store, StoreError};

/// A client that an ID token may be for: the asking client itself, or an application's or a registered client of the same
/// project. Made by [`Audience::check`] only.
#[derive(Debug)]
pub(crate) struct Audience(ClientId);

/// Why an audience is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AudienceError {
    /// It names no client.
    #[error("the audience is no client")]
    Unknown,
    /// It and the asking client are in two projects.
    #[error("the audience is in another project than the client")]
    AnotherProject,
    /// The store failed.
    #[error("could not read clients")]
    Store(#[from] StoreError),
}

impl Audience {
    /// Judges the audience that `client` asks for. Without one, it is the client itself.
    pub(crate) async fn check(
        store: &dyn Store,
        snapshots: &SnapshotCell,
        client: &OAuthClient,
        asked: Option<&str>,
    ) -> Result<Self, AudienceError> {
        let Some(asked) = asked.filter(|asked| *asked != client.id.0) else {
            return Ok(Audience(client.id.clone()));
        };
        let asked = ClientId(asked.to_owned());
        let project = match store.oauth_client(&asked).await? {
            Some(known) => known.project,
            // Every application is of the one project.
            None if store.applications().await?.iter().any(|application| application.client_id == asked) => {
                snapshots.current().project.number.clone()
            }
            None => return Err(AudienceError::Unknown),
        };
        if project != client.project {
            return Err(AudienceError::AnotherProject);
        }
        Ok(Audience(asked))
    }

    /// The client.
    pub(crate) fn client(&self) -> &ClientId {
        &self.0
    }
}
