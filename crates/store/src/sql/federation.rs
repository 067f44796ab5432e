use async_trait::async_trait;
use doorward_core::federation::{FederationId, Generation, MappingText, POOLS_LIMIT, PROVIDERS_LIMIT, Pool, Provider};
use doorward_core::store::{Added, FederationStore, StoreError};
use sqlx::SqliteConnection;

<<<<<<< HEAD:crates/store/src/sqlite/federation.rs
use super::{SqliteStore, failed, json, lock_names, policies};

#[async_trait]
impl FederationStore for SqliteStore {
    async fn add_pool(&self, pool: &Pool) -> Result<Added, StoreError> {
        let mut change = self.begin().await?;
        lock_names(&mut change).await?;
        let added = sqlx::query(
=======
use super::{SqlStore, json};
use crate::db::{Row, query};

#[async_trait]
impl FederationStore for SqlStore {
    async fn add_pool(&self, pool: &Pool) -> Result<bool, StoreError> {
        query(
>>>>>>> issue5-store:crates/store/src/sql/federation.rs
            "INSERT INTO workload_identity_pool (id, display_name, description, disabled)
             VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        )
        .bind(pool.id.as_str())
        .bind(&pool.display_name)
        .bind(&pool.description)
        .bind(pool.disabled)
<<<<<<< HEAD:crates/store/src/sqlite/federation.rs
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
=======
        .changes_one(self.db.writer())
        .await
>>>>>>> issue5-store:crates/store/src/sql/federation.rs
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
        let mut change = self.begin().await?;
        lock_names(&mut change).await?;
        // Its providers go with it, and their tokens with them, by the references.
        query("DELETE FROM workload_identity_pool WHERE id = $1")
            .bind(pool.as_str())
<<<<<<< HEAD:crates/store/src/sqlite/federation.rs
            .execute(&mut *change)
            .await
            .map_err(failed)?;
        if removed.rows_affected() == 0 {
            return Ok(false);
        }
        unbind(&mut change, pool).await?;
        change.commit().await.map_err(failed)?;
        Ok(true)
=======
            .changes_one(self.db.writer())
            .await
>>>>>>> issue5-store:crates/store/src/sql/federation.rs
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

<<<<<<< HEAD:crates/store/src/sqlite/federation.rs
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
=======
    async fn add_provider(&self, provider: &Provider) -> Result<bool, StoreError> {
        query(
            "INSERT INTO workload_identity_provider (name, pool, id, display_name, description, disabled, mapping, condition,
                                                     issuer, allowed_audiences, jwks, insecure_loopback)
             SELECT $1, pool.id, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12
             FROM workload_identity_pool pool WHERE pool.id = $2 /*pg FOR KEY SHARE*/
             ON CONFLICT DO NOTHING",
>>>>>>> issue5-store:crates/store/src/sql/federation.rs
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
<<<<<<< HEAD:crates/store/src/sqlite/federation.rs
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
=======
        .changes_one(self.db.writer()).await
>>>>>>> issue5-store:crates/store/src/sql/federation.rs
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
<<<<<<< HEAD:crates/store/src/sqlite/federation.rs
        .bind(&provider.generation.0)
        .bind(&seen.0)
        .execute(&mut *change)
        .await
        .map_err(failed)?;
        if replaced.rows_affected() == 0 {
=======
        .execute(&mut change)
        .await?;
        if replaced == 0 {
>>>>>>> issue5-store:crates/store/src/sql/federation.rs
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

<<<<<<< HEAD:crates/store/src/sqlite/federation.rs
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
=======
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
>>>>>>> issue5-store:crates/store/src/sql/federation.rs
    })
}

fn read_id(text: &str) -> Result<FederationId, StoreError> {
    text.parse().map_err(|_| StoreError::Damaged { what: "id of a pool or provider" })
}
