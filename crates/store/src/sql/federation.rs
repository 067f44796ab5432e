use async_trait::async_trait;
use doorward_core::federation::{FederationId, Generation, MappingText, POOLS_LIMIT, PROVIDERS_LIMIT, Pool, Provider};
use doorward_core::store::{Added, Changed, FederationStore, StoreError};

use super::{SqlStore, json, names};
use crate::db::{Row, query};

#[async_trait]
impl FederationStore for SqlStore {
    async fn add_pool(&self, pool: &Pool) -> Result<Added, StoreError> {
        let mut change = self.db.begin().await?;
        names::lock(&mut change).await?;
        let added = query(
            "INSERT INTO workload_identity_pool (id, display_name, description, disabled)
             VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        )
        .bind(pool.id.as_str())
        .bind(&pool.display_name)
        .bind(&pool.description)
        .bind(pool.disabled)
        .changes_one(&mut change)
        .await?;
        if !added {
            return Ok(Added::Taken);
        }
        let pools = query("SELECT COUNT(*) FROM workload_identity_pool");
        if names::count(&mut change, pools).await? > i64::from(POOLS_LIMIT) {
            return Ok(Added::Full);
        }
        let mut touched = names::forget_pool(&mut change, &pool.id).await?;
        touched.push(Changed::Federation);
        self.commit(change, &touched).await?;
        Ok(Added::Yes)
    }

    async fn replace_pool(&self, pool: &Pool, seen: &Pool) -> Result<bool, StoreError> {
        let update = query(
            "UPDATE workload_identity_pool SET display_name = $2, description = $3, disabled = $4
             WHERE id = $1 AND display_name = $5 AND description = $6 AND disabled = $7",
        )
        .bind(pool.id.as_str())
        .bind(&pool.display_name)
        .bind(&pool.description)
        .bind(pool.disabled)
        .bind(&seen.display_name)
        .bind(&seen.description)
        .bind(seen.disabled);
        self.change_one(update, Changed::Federation).await
    }

    async fn remove_pool(&self, pool: &FederationId) -> Result<bool, StoreError> {
        let _forgetting = self.recent_tokens.forgetting();
        let mut change = self.db.begin().await?;
        names::lock(&mut change).await?;
        // Its providers go with it, and their tokens with them, by the references.
        let removed = query("DELETE FROM workload_identity_pool WHERE id = $1").bind(pool.as_str());
        if !removed.changes_one(&mut change).await? {
            return Ok(false);
        }
        let mut touched = names::forget_pool(&mut change, pool).await?;
        touched.push(Changed::Federation);
        self.commit(change, &touched).await?;
        Ok(true)
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

    async fn add_provider(&self, provider: &Provider) -> Result<Added, StoreError> {
        let mut change = self.db.begin().await?;
        names::lock(&mut change).await?;
        let pools = query("SELECT COUNT(*) FROM workload_identity_pool WHERE id = $1").bind(provider.pool.as_str());
        if names::count(&mut change, pools).await? == 0 {
            return Ok(Added::NoPool);
        }
        let added = query(
            "INSERT INTO workload_identity_provider (name, pool, id, display_name, description, disabled, mapping, condition,
                                                     issuer, allowed_audiences, jwks, insecure_loopback, generation)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT DO NOTHING",
        )
        .bind(key(&provider.pool, &provider.id))
        .bind(provider.pool.as_str())
        .bind(provider.id.as_str())
        .bind(&provider.display_name)
        .bind(&provider.description)
        .bind(provider.disabled)
        .bind(json(&provider.mapping.attributes)?)
        .bind(provider.mapping.condition.as_deref())
        .bind(&provider.issuer)
        .bind(json(&provider.allowed_audiences)?)
        .bind(provider.jwks.as_deref())
        .bind(provider.insecure_loopback)
        .bind(&provider.generation.0)
        .changes_one(&mut change).await?;
        if !added {
            return Ok(Added::Taken);
        }
        let providers = query("SELECT COUNT(*) FROM workload_identity_provider");
        if names::count(&mut change, providers).await? > i64::from(PROVIDERS_LIMIT) {
            return Ok(Added::Full);
        }
        self.commit(change, &[Changed::Federation]).await?;
        Ok(Added::Yes)
    }

    async fn replace_provider(&self, provider: &Provider, seen: &Generation) -> Result<bool, StoreError> {
        let _forgetting = self.recent_tokens.forgetting();
        let mut change = self.db.begin().await?;
        let replaced = query(
            "UPDATE workload_identity_provider
             SET display_name = $2, description = $3, disabled = $4, mapping = $5, condition = $6, issuer = $7,
                 allowed_audiences = $8, jwks = $9, insecure_loopback = $10, generation = $11
             WHERE name = $1 AND generation = $12",
        )
        .bind(key(&provider.pool, &provider.id))
        .bind(&provider.display_name)
        .bind(&provider.description)
        .bind(provider.disabled)
        .bind(json(&provider.mapping.attributes)?)
        .bind(provider.mapping.condition.as_deref())
        .bind(&provider.issuer)
        .bind(json(&provider.allowed_audiences)?)
        .bind(provider.jwks.as_deref())
        .bind(provider.insecure_loopback)
        .bind(&provider.generation.0)
        .bind(&seen.0)
        .changes_one(&mut change)
        .await?;
        if !replaced {
            return Ok(false);
        }
        query("DELETE FROM access_token WHERE provider = $1")
            .bind(key(&provider.pool, &provider.id))
            .execute(&mut change)
            .await?;
        self.commit(change, &[Changed::Federation]).await?;
        Ok(true)
    }

    async fn remove_provider(&self, pool: &FederationId, provider: &FederationId) -> Result<bool, StoreError> {
        let _forgetting = self.recent_tokens.forgetting();
        // Its tokens go with it, by the reference.
        let delete = query("DELETE FROM workload_identity_provider WHERE name = $1").bind(key(pool, provider));
        self.change_one(delete, Changed::Federation).await
    }

    async fn providers(&self) -> Result<Vec<Provider>, StoreError> {
        let rows: Vec<Row> = query(
            "SELECT pool, id, display_name, description, disabled, mapping, condition, issuer, allowed_audiences, jwks,
                    insecure_loopback, generation
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

fn read_provider(row: &Row) -> Result<Provider, StoreError> {
    let text = |column: &'static str| row.get::<String>(column);
    let optional_text = |column: &'static str| row.get::<Option<String>>(column);
    let damaged = |what| StoreError::Damaged { what };
    let attributes = serde_json::from_str(&text("mapping")?).map_err(|_| damaged("mapping of a provider"))?;
    Ok(Provider {
        pool: read_id(&text("pool")?)?,
        id: read_id(&text("id")?)?,
        generation: Generation(text("generation")?),
        display_name: text("display_name")?,
        description: text("description")?,
        disabled: row.get("disabled")?,
        mapping: MappingText { attributes, condition: optional_text("condition")? },
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
