use async_trait::async_trait;
use doorward_core::clock::Timestamp;
use doorward_core::keys::{KeyPurpose, StoredKey};
use doorward_core::store::{Changed, KeyStore, StoreError};

use super::SqlStore;
use crate::db::query;
use crate::seal::{Place, Sealer};

#[async_trait]
impl KeyStore for SqlStore {
    async fn add_keys(&self, keys: &[StoredKey]) -> Result<(), StoreError> {
        let mut change = self.db.begin().await?;
        let touched: &[Changed] = if keys.is_empty() { &[] } else { &[Changed::Keys] };
        for key in keys {
            query("INSERT INTO signing_key (id, purpose, secret, created, signs_from) VALUES ($1, $2, $3, $4, $5)")
                .bind(&key.id)
                .bind(key.purpose.name())
                .bind(self.sealer.seal(secret_of(&key.id), &key.secret)?)
                .bind(key.created.micros())
                .bind(key.signs_from.micros())
                .execute(&mut change)
                .await?;
        }
        self.commit(change, touched).await
    }

    async fn keys(&self) -> Result<Vec<StoredKey>, StoreError> {
        let rows = query("SELECT id, purpose, secret, created, signs_from FROM signing_key ORDER BY created, id")
            .fetch_all(self.db.readers())
            .await?;
        rows.into_iter().map(|row| read_key(&self.sealer, row)).collect()
    }

    async fn remove_keys(&self, ids: &[String]) -> Result<(), StoreError> {
        let mut change = self.db.begin().await?;
        let mut removed = 0;
        for id in ids {
            removed += query("DELETE FROM signing_key WHERE id = $1").bind(id).execute(&mut change).await?;
        }
        let touched: &[Changed] = if removed == 0 { &[] } else { &[Changed::Keys] };
        self.commit(change, touched).await
    }
}

fn secret_of(id: &str) -> Place<'_> {
    Place { table: "signing_key", column: "secret", row: id }
}

fn read_key(sealer: &Sealer, row: (String, String, Vec<u8>, i64, i64)) -> Result<StoredKey, StoreError> {
    let (id, purpose, sealed, created, signs_from) = row;
    let secret = sealer.open(secret_of(&id), &sealed)?;
    let purpose = KeyPurpose::from_name(&purpose).ok_or(StoreError::Damaged { what: "purpose of a key" })?;
    let (created, signs_from) = (Timestamp::from_micros(created), Timestamp::from_micros(signs_from));
    Ok(StoredKey { id, purpose, secret, created, signs_from })
}
