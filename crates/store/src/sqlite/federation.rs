use async_trait::async_trait;
use doorward_core::federation::{FederationId, Generation, MappingText, POOLS_LIMIT, PROVIDERS_LIMIT, Pool, Provider};
use doorward_core::store::{Added, FederationStore, StoreError};
use sqlx::SqliteConnection;

use super::{SqliteStore, failed, json, lock_names, policies};

#[async_trait]
impl FederationStore for SqliteStore {
    async fn add_pool(&self, pool: &Pool) -> Result<Added, StoreError> {
        let mut change = self.begin().await?;
        lock_names(&mut change).await?;
        let added = sqlx::query(
            "INSERT INTO workload_identity_pool (id, display_name, description, disabled)
             VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        )
        .bind(pool.id.as_str())
        .bind(&pool.display_name)
        .bind(&pool.description)
        .bind(pool.disabled)
        .execute(&mut *change)
        .await
        .map_err(failed)?;
        if added.rows_affected() == 0 {
            return Ok(Added::Taken);
        }
        if count(&mut change, "SELECT COUNT(*) FROM workload_identity_pool").await? > i64::from(POOLS_LIMIT) {
            return Ok(Added::Full);
        }
        unbind(&mut change, &pool.id).await?;
        change.commit().await.map_err(failed)?;
        Ok(Added::Yes)
    }

    async fn replace_pool(&self, pool: &Pool) -> Result<bool, StoreError> {
        let replaced = sqlx::query(
            "UPDATE workload_identity_pool SET display_name = $2, description = $3, disabled = $4 WHERE id = $1",
        )
        .bind(pool.id.as_str())
        .bind(&pool.display_name)
        .bind(&pool.description)
        .bind(pool.disabled)
        .execute(&self.writer)
        .await;
        Ok(replaced.map_err(failed)?.rows_affected() == 1)
    }

    async fn remove_pool(&self, pool: &FederationId) -> Result<bool, StoreError> {
        let _forgetting = self.recent_tokens.forgetting();
        let mut change = self.begin().await?;
        lock_names(&mut change).await?;
        // Its providers go with it, and their tokens with them, by the references.
        let removed = sqlx::query("DELETE FROM workload_identity_pool WHERE id = $1")
            .bind(pool.as_str())
            .execute(&mut *change)
            .await
            .map_err(failed)?;
        if removed.rows_affected() == 0 {
            return Ok(false);
        }
        unbind(&mut change, pool).await?;
        change.commit().await.map_err(failed)?;
        Ok(true)
    }

    async fn pools(&self) -> Result<Vec<Pool>, StoreError> {
        let rows: Vec<(String, String, String, bool)> =
            sqlx::query_as("SELECT id, display_name, description, disabled FROM workload_identity_pool ORDER BY id")
                .fetch_all(&self.readers)
                .await
                .map_err(failed)?;
        let pool = |(id, display_name, description, disabled): (String, _, _, _)| {
            Ok(Pool { id: read_id(&id)?, display_name, description, disabled })
        };
        rows.into_iter().map(pool).collect()
    }

    async fn add_provider(&self, provider: &Provider) -> Result<Added, StoreError> {
        let mut change = self.begin().await?;
        lock_names(&mut change).await?;
        let pools: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM workload_identity_pool WHERE id = $1")
            .bind(provider.pool.as_str())
            .fetch_one(&mut *change)
            .await
            .map_err(failed)?;
        if pools == 0 {
            return Ok(Added::NoPool);
        }
        let added = sqlx::query(
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
        .execute(&mut *change)
        .await
        .map_err(failed)?;
        if added.rows_affected() == 0 {
            return Ok(Added::Taken);
        }
        if count(&mut change, "SELECT COUNT(*) FROM workload_identity_provider").await? > i64::from(PROVIDERS_LIMIT) {
            return Ok(Added::Full);
        }
        change.commit().await.map_err(failed)?;
        Ok(Added::Yes)
    }

    async fn replace_provider(&self, provider: &Provider, seen: &Generation) -> Result<bool, StoreError> {
        let _forgetting = self.recent_tokens.forgetting();
        let mut change = self.begin().await?;
        let replaced = sqlx::query(
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
        .execute(&mut *change)
        .await
        .map_err(failed)?;
        if replaced.rows_affected() == 0 {
            return Ok(false);
        }
        sqlx::query("DELETE FROM access_token WHERE provider = $1")
            .bind(key(&provider.pool, &provider.id))
            .execute(&mut *change)
            .await
            .map_err(failed)?;
        change.commit().await.map_err(failed)?;
        Ok(true)
    }

    async fn remove_provider(&self, pool: &FederationId, provider: &FederationId) -> Result<bool, StoreError> {
        let _forgetting = self.recent_tokens.forgetting();
        // Its tokens go with it, by the reference.
        let removed = sqlx::query("DELETE FROM workload_identity_provider WHERE name = $1")
            .bind(key(pool, provider))
            .execute(&self.writer)
            .await;
        Ok(removed.map_err(failed)?.rows_affected() == 1)
    }

    async fn providers(&self) -> Result<Vec<Provider>, StoreError> {
        let rows: Vec<ProviderRow> = sqlx::query_as(
            "SELECT pool, id, display_name, description, disabled, mapping, condition, issuer, allowed_audiences, jwks,
                    insecure_loopback, generation
             FROM workload_identity_provider ORDER BY pool, id",
        )
        .fetch_all(&self.readers)
        .await
        .map_err(failed)?;
        rows.into_iter().map(read_provider).collect()
    }
}

/// The key of a provider.
pub(super) fn key(pool: &FederationId, provider: &FederationId) -> String {
    format!("{}/{}", pool.as_str(), provider.as_str())
}

/// What is counted while [`lock_names`] is held stays true until the commit.
async fn count(change: &mut SqliteConnection, statement: &'static str) -> Result<i64, StoreError> {
    sqlx::query_scalar(statement).fetch_one(change).await.map_err(failed)
}

/// Takes the identities of a pool out of every policy.
async fn unbind(change: &mut SqliteConnection, pool: &FederationId) -> Result<(), StoreError> {
    let inside = format!("/workloadIdentityPools/{}/", pool.as_str());
    policies::unbind(change, &inside, |member| Pool::of(member).is_some_and(|(_, id)| id == *pool)).await
}

type ProviderRow =
    (String, String, String, String, bool, String, Option<String>, String, String, Option<String>, bool, String);

fn read_provider(row: ProviderRow) -> Result<Provider, StoreError> {
    let (pool, id, display_name, description, disabled, mapping, condition, issuer, audiences, jwks, ..) = row;
    let (.., insecure_loopback, generation) = row;
    let damaged = |what| StoreError::Damaged { what };
    let attributes = serde_json::from_str(&mapping).map_err(|_| damaged("mapping of a provider"))?;
    Ok(Provider {
        pool: read_id(&pool)?,
        id: read_id(&id)?,
        generation: Generation(generation),
        display_name,
        description,
        disabled,
        mapping: MappingText { attributes, condition },
        issuer,
        allowed_audiences: serde_json::from_str(&audiences).map_err(|_| damaged("audiences of a provider"))?,
        jwks: jwks.map(Into::into),
        insecure_loopback,
    })
}

fn read_id(text: &str) -> Result<FederationId, StoreError> {
    text.parse().map_err(|_| StoreError::Damaged { what: "id of a pool or provider" })
}
