//! The OAuth clients by which people sign in at a command line: there if the file says so, and gone if it does not.

use std::collections::BTreeSet;

use doorward_core::client::OAuthClient;
use doorward_core::clock::Timestamp;
use doorward_core::resource::Project;
use doorward_core::store::{ClientRemoval, Store, StoreError};

use crate::config_file::SignInClient;
use crate::tool_clients;

/// Registers those that are wanted, and takes away the others, with every sign-in for them.
///
/// # Errors
/// [`StoreError`]; the next start does the rest.
pub(super) async fn put_in_order(
    store: &dyn Store,
    wanted: &BTreeSet<SignInClient>,
    project: &Project,
    now: Timestamp,
) -> Result<(), StoreError> {
    let all: [(SignInClient, Vec<OAuthClient>); 2] = [
        (SignInClient::Doorward, vec![tool_clients::own(project, now)]),
        (SignInClient::Gcloud, tool_clients::of_google(now)),
    ];
    for (word, clients) in all {
        for client in clients {
            // Each is done already if the answer is that nothing was done.
            if wanted.contains(&word) {
                store.add_oauth_client(&client).await?;
            } else if let ClientRemoval::InUse(application) = store.remove_oauth_client(&client.id).await? {
                tracing::warn!(client = client.id.0, %application, "a client of a tool stays: an application has it");
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use doorward_core::store::OAuthClientStore as _;
    use doorward_store::SqliteStore;

    #[tokio::test]
    async fn the_clients_that_are_there_are_those_of_the_file() {
        let store = SqliteStore::in_memory().await.unwrap();
        let project = Project { id: "ops-prod".into(), number: "123".into(), ancestors: Vec::new() };
        let (doorward, gcloud) = (SignInClient::Doorward, SignInClient::Gcloud);
        let cases: [(&[SignInClient], usize); 5] =
            [(&[doorward], 1), (&[doorward, gcloud], 4), (&[doorward, gcloud], 4), (&[gcloud], 3), (&[], 0)];
        for (wanted, expected) in cases {
            let wanted: BTreeSet<_> = wanted.iter().copied().collect();
            put_in_order(&store, &wanted, &project, Timestamp::from_seconds(7)).await.unwrap();
            assert_eq!(store.oauth_clients().await.unwrap().len(), expected, "{wanted:?}");
        }
    }
}
