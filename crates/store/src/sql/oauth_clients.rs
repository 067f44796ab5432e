use async_trait::async_trait;
use doorward_core::client::OAuthClient;
use doorward_core::clock::Timestamp;
use doorward_core::grant::TokenHash;
use doorward_core::resource::ClientId;
use doorward_core::store::{Changed, ClientRemoval, OAuthClientStore, StoreError};

use super::{SqlStore, json, names};
use crate::db::query;

#[async_trait]
impl OAuthClientStore for SqlStore {
    async fn add_oauth_client(&self, client: &OAuthClient) -> Result<bool, StoreError> {
        let insert = query(
            "INSERT INTO oauth_client (id, project, display_name, kind, secret, created)
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
        )
        .bind(&client.id.0)
        .bind(&client.project)
        .bind(&client.display_name)
        .bind(json(&client.kind)?)
        .bind(client.secret.as_ref().map(|secret| &secret.0))
        .bind(client.created.micros());
        self.change_one(insert, Changed::OAuthClient(client.id.clone())).await
    }

    async fn oauth_client(&self, id: &ClientId) -> Result<Option<OAuthClient>, StoreError> {
        let row = query("SELECT id, project, display_name, kind, secret, created FROM oauth_client WHERE id = $1")
            .bind(&id.0)
            .fetch_optional(self.db.readers())
            .await?;
        row.map(read_client).transpose()
    }

    async fn oauth_clients(&self) -> Result<Vec<OAuthClient>, StoreError> {
        let rows = query("SELECT id, project, display_name, kind, secret, created FROM oauth_client ORDER BY id")
            .fetch_all(self.db.readers())
            .await?;
        rows.into_iter().map(read_client).collect()
    }

    async fn replace_client_secret(&self, id: &ClientId, secret: &TokenHash) -> Result<bool, StoreError> {
        let update = query("UPDATE oauth_client SET secret = $2 WHERE id = $1").bind(&id.0).bind(&secret.0);
        self.change_one(update, Changed::OAuthClient(id.clone())).await
    }

    async fn remove_oauth_client(&self, id: &ClientId) -> Result<ClientRemoval, StoreError> {
        let _forgetting = self.recent_tokens.forgetting();
        let mut change = self.db.begin().await?;
        // Whoever writes an application waits for the same.
        names::lock(&mut change).await?;
        let user: Option<(String,)> =
            query("SELECT name FROM registered_application WHERE client_id = $1 ORDER BY name LIMIT 1")
                .bind(&id.0)
                .fetch_optional(&mut change)
                .await?;
        if let Some((name,)) = user {
            let name = name.parse().map_err(|_| StoreError::Damaged { what: "application" })?;
            return Ok(ClientRemoval::InUse(name));
        }
        // Grants and devices' questions go with it, and all that was issued from the grants, by the references.
        let delete = query("DELETE FROM oauth_client WHERE id = $1").bind(&id.0);
        if !delete.changes_one(&mut change).await? {
            return Ok(ClientRemoval::Missing);
        }
        self.commit(change, &[Changed::OAuthClient(id.clone())]).await?;
        Ok(ClientRemoval::Removed)
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
