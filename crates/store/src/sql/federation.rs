use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use doorward_core::federation::{AttributeMapping, FederationId, Pool, Provider};
use doorward_core::store::{FederationStore, StoreError};

use super::{SqlStore, json};
use crate::db::{Row, query};

#[async_trait]
impl FederationStore for SqlStore {
    async fn add_pool(&self, pool: &Pool) -> Result<bool, StoreError> {
        query(
            "INSERT INTO workload_identity_pool (id, display_name, description, disabled)
             VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        )
        .bind(pool.id.as_str())
        .bind(&pool.display_name)
        .bind(&pool.description)
        .bind(pool.disabled)
        .changes_one(self.db.writer())
        .await
    }

    async fn replace_pool(&self, pool: &Pool) -> Result<bool, StoreError> {
        query("UPDATE workload_identity_pool SET display_name = $2, description = $3, disabled = $4 WHERE id = $1")
            .bind(pool.id.as_str())
            .bind(&pool.display_name)
            .bind(&pool.description)
            .bind(pool.disabled)
            .changes_one(self.db.writer())
            .await
    }

    async fn remove_pool(&self, pool: &FederationId) -> Result<bool, StoreError> {
        let _forgetting = self.recent_tokens.forgetting();
        // Its providers go with it, and their tokens with them, by the references.
        query("DELETE FROM workload_identity_pool WHERE id = $1")
            .bind(pool.as_str())
            .changes_one(self.db.writer())
            .await
    }

    async fn pools(&self) -> Result<Vec<Pool>, StoreError> {
        let rows: Vec<(String, String, String, bool)> =
            query("SELECT id, display_name, description, disabled FROM workload_identity_pool ORDER BY id")
                .fetch_all(self.db.readers())
                .await?;
        let pool = |(id, display_name, description, disabled): (String, _, _, _)| {
            Ok(Pool { id: read_id(&id)?, display_name, description, disabled })
        };
        rows.into_iter().map(pool).collect()
    }

    async fn add_provider(&self, provider: &Provider) -> Result<bool, StoreError> {
        query(
            "INSERT INTO workload_identity_provider (name, pool, id, display_name, description, disabled, mapping, condition,
                                                     issuer, allowed_audiences, jwks, insecure_loopback)
             SELECT $1, pool.id, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12
             FROM workload_identity_pool pool WHERE pool.id = $2 /*pg FOR KEY SHARE*/
             ON CONFLICT DO NOTHING",
        )
        .bind(key(&provider.pool, &provider.id))
        .bind(provider.pool.as_str())
        .bind(provider.id.as_str())
        .bind(&provider.display_name)
        .bind(&provider.description)
        .bind(provider.disabled)
        .bind(json(provider.mapping.text())?)
        .bind(provider.mapping.condition_text())
        .bind(&provider.issuer)
        .bind(json(&provider.allowed_audiences)?)
        .bind(provider.jwks.as_deref())
        .bind(provider.insecure_loopback)
        .changes_one(self.db.writer()).await
    }

    async fn replace_provider(&self, provider: &Provider) -> Result<bool, StoreError> {
        let _forgetting = self.recent_tokens.forgetting();
        let mut change = self.db.begin().await?;
        let replaced = query(
            "UPDATE workload_identity_provider
             SET display_name = $2, description = $3, disabled = $4, mapping = $5, condition = $6, issuer = $7,
                 allowed_audiences = $8, jwks = $9, insecure_loopback = $10
             WHERE name = $1",
        )
        .bind(key(&provider.pool, &provider.id))
        .bind(&provider.display_name)
        .bind(&provider.description)
        .bind(provider.disabled)
        .bind(json(provider.mapping.text())?)
        .bind(provider.mapping.condition_text())
        .bind(&provider.issuer)
        .bind(json(&provider.allowed_audiences)?)
        .bind(provider.jwks.as_deref())
        .bind(provider.insecure_loopback)
        .execute(&mut change)
        .await?;
        if replaced == 0 {
            return Ok(false);
        }
        query("DELETE FROM access_token WHERE provider = $1")
            .bind(key(&provider.pool, &provider.id))
            .execute(&mut change)
            .await?;
        change.commit().await?;
        Ok(true)
    }

    async fn remove_provider(&self, pool: &FederationId, provider: &FederationId) -> Result<bool, StoreError> {
        let _forgetting = self.recent_tokens.forgetting();
        // Its tokens go with it, by the reference.
        query("DELETE FROM workload_identity_provider WHERE name = $1")
            .bind(key(pool, provider))
            .changes_one(self.db.writer())
            .await
    }

    async fn providers(&self) -> Result<Vec<Provider>, StoreError> {
        let rows: Vec<Row> = query(
            "SELECT pool, id, display_name, description, disabled, mapping, condition, issuer, allowed_audiences, jwks,
                    insecure_loopback
             FROM workload_identity_provider ORDER BY pool, id",
        )
        .fetch_all(self.db.readers())
        .await?;
        rows.iter().map(read_provider).collect()
    }
}

/// The key of a provider.
pub(super) fn key(pool: &FederationId, provider: &FederationId) -> String {
    format!("{}/{}", pool.as_str(), provider.as_str())
}

/// A mapping that does not compile any more spoils all: without it nobody could say whom the provider lets in.
fn read_provider(row: &Row) -> Result<Provider, StoreError> {
    let text = |column: &'static str| row.get::<String>(column);
    let optional_text = |column: &'static str| row.get::<Option<String>>(column);
    let damaged = |what| StoreError::Damaged { what };
    let mapping: BTreeMap<String, String> =
        serde_json::from_str(&text("mapping")?).map_err(|_| damaged("mapping of a provider"))?;
    let mapping = AttributeMapping::compile(mapping, optional_text("condition")?)
        .map_err(|_| damaged("mapping or condition of a provider"))?;
    Ok(Provider {
        pool: read_id(&text("pool")?)?,
        id: read_id(&text("id")?)?,
        display_name: text("display_name")?,
        description: text("description")?,
        disabled: row.get("disabled")?,
        mapping: Arc::new(mapping),
        issuer: text("issuer")?,
        allowed_audiences: serde_json::from_str(&text("allowed_audiences")?)
            .map_err(|_| damaged("audiences of a provider"))?,
        jwks: optional_text("jwks")?.map(Into::into),
        insecure_loopback: row.get("insecure_loopback")?,
    })
}

fn read_id(text: &str) -> Result<FederationId, StoreError> {
    text.parse().map_err(|_| StoreError::Damaged { what: "id of a pool or provider" })
}
