use async_trait::async_trait;
use doorward_core::clock::Timestamp;
use doorward_core::keys::{KeyPurpose, StoredKey};
use doorward_core::store::{KeyStore, StoreError};

use super::{SqliteStore, failed};

#[async_trait]
impl KeyStore for SqliteStore {
    async fn add_keys(&self, keys: &[StoredKey]) -> Result<(), StoreError> {
        let mut change = self.begin().await?;
        for key in keys {
            sqlx::query(
                "INSERT INTO signing_key (id, purpose, secret, created, signs_from) VALUES ($1, $2, $3, $4, $5)",
            )
            .bind(&key.id)
            .bind(key.purpose.name())
            .bind(key.secret.as_slice())
            .bind(key.created.micros())
            .bind(key.signs_from.micros())
            .execute(&mut *change)
            .await
            .map_err(failed)?;
        }
        change.commit().await.map_err(failed)
    }

    async fn keys(&self) -> Result<Vec<StoredKey>, StoreError> {
        let rows =
            sqlx::query_as("SELECT id, purpose, secret, created, signs_from FROM signing_key ORDER BY created, id")
                .fetch_all(&self.readers)
                .await;
        rows.map_err(failed)?.into_iter().map(read_key).collect()
    }

    async fn remove_keys(&self, ids: &[String]) -> Result<(), StoreError> {
        let mut change = self.begin().await?;
        for id in ids {
            sqlx::query("DELETE FROM signing_key WHERE id = $1")
                .bind(id)
                .execute(&mut *change)
                .await
                .map_err(failed)?;
        }
        change.commit().await.map_err(failed)
    }
}

fn read_key(row: (String, String, Vec<u8>, i64, i64)) -> Result<StoredKey, StoreError> {
    let (id, purpose, secret, created, signs_from) = row;
    let purpose = KeyPurpose::from_name(&purpose).ok_or(StoreError::Damaged { what: "purpose of a key" })?;
    let (created, signs_from) = (Timestamp::from_micros(created), Timestamp::from_micros(signs_from));
    Ok(StoredKey { id, purpose, secret, created, signs_from })
}
