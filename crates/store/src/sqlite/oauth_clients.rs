use async_trait::async_trait;
use doorward_core::client::OAuthClient;
use doorward_core::clock::Timestamp;
use doorward_core::grant::TokenHash;
use doorward_core::resource::ClientId;
use doorward_core::store::{OAuthClientStore, StoreError};

use super::{SqliteStore, failed, json};

#[async_trait]
impl OAuthClientStore for SqliteStore {
    async fn add_oauth_client(&self, client: &OAuthClient) -> Result<bool, StoreError> {
        let added = sqlx::query(
            "INSERT INTO oauth_client (id, project, display_name, kind, secret, created)
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
        )
        .bind(&client.id.0)
        .bind(&client.project)
        .bind(&client.display_name)
        .bind(json(&client.kind)?)
        .bind(client.secret.as_ref().map(|secret| &secret.0))
        .bind(client.created.micros())
        .execute(&self.writer)
        .await;
        Ok(added.map_err(failed)?.rows_affected() == 1)
    }

    async fn oauth_client(&self, id: &ClientId) -> Result<Option<OAuthClient>, StoreError> {
        let row =
            sqlx::query_as("SELECT id, project, display_name, kind, secret, created FROM oauth_client WHERE id = $1")
                .bind(&id.0)
                .fetch_optional(&self.readers)
                .await;
        row.map_err(failed)?.map(read_client).transpose()
    }

    async fn oauth_clients(&self) -> Result<Vec<OAuthClient>, StoreError> {
        let rows =
            sqlx::query_as("SELECT id, project, display_name, kind, secret, created FROM oauth_client ORDER BY id")
                .fetch_all(&self.readers)
                .await;
        rows.map_err(failed)?.into_iter().map(read_client).collect()
    }

    async fn replace_client_secret(&self, id: &ClientId, secret: &TokenHash) -> Result<bool, StoreError> {
        let replaced = sqlx::query("UPDATE oauth_client SET secret = $2 WHERE id = $1")
            .bind(&id.0)
            .bind(&secret.0)
            .execute(&self.writer)
            .await;
        Ok(replaced.map_err(failed)?.rows_affected() == 1)
    }

    async fn remove_oauth_client(&self, id: &ClientId) -> Result<bool, StoreError> {
        let _forgetting = self.recent_tokens.forgetting();
        // Grants and devices' questions go with it, and all that was issued from the grants, by the references.
        let removed = sqlx::query("DELETE FROM oauth_client WHERE id = $1").bind(&id.0).execute(&self.writer).await;
        Ok(removed.map_err(failed)?.rows_affected() == 1)
    }
}

type ClientRow = (String, String, String, String, Option<String>, i64);

fn read_client(row: ClientRow) -> Result<OAuthClient, StoreError> {
    let (id, project, display_name, kind, secret, created) = row;
    let kind = serde_json::from_str(&kind).map_err(|_| StoreError::Damaged { what: "kind of an OAuth client" })?;
    Ok(OAuthClient {
        id: ClientId(id),
        project,
        display_name,
        kind,
        secret: secret.map(TokenHash),
        created: Timestamp::from_micros(created),
    })
}
