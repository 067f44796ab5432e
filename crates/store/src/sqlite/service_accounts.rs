use async_trait::async_trait;
use doorward_core::account::{ServiceAccount, ServiceAccountKey, UniqueId};
use doorward_core::clock::Timestamp;
use doorward_core::member::Email;
use doorward_core::store::{ServiceAccountStore, StoreError};

use super::{SqliteStore, failed, json, read_email};

/// Spec: <https://cloud.google.com/iam/quotas>
const MAX_KEYS: i64 = 10;

#[async_trait]
impl ServiceAccountStore for SqliteStore {
    async fn add_service_account(&self, account: &ServiceAccount) -> Result<bool, StoreError> {
        let added = sqlx::query(
            "INSERT INTO service_account (unique_id, email, display_name, description, disabled)
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
        )
        .bind(&account.unique_id.0)
        .bind(account.email.as_str())
        .bind(&account.display_name)
        .bind(&account.description)
        .bind(account.disabled)
        .execute(&self.writer)
        .await;
        Ok(added.map_err(failed)?.rows_affected() == 1)
    }

    async fn remove_service_account(&self, id: &UniqueId) -> Result<bool, StoreError> {
        let mut change = self.begin().await?;
        // Its keys go with it, by the reference.
        let removed = sqlx::query("DELETE FROM service_account WHERE unique_id = $1")
            .bind(&id.0)
            .execute(&mut *change)
            .await
            .map_err(failed)?;
        if removed.rows_affected() == 0 {
            return Ok(false);
        }
        sqlx::query("DELETE FROM access_token WHERE subject = $1")
            .bind(&id.0)
            .execute(&mut *change)
            .await
            .map_err(failed)?;
        change.commit().await.map_err(failed)?;
        Ok(true)
    }

    async fn service_account_by_email(&self, email: &Email) -> Result<Option<ServiceAccount>, StoreError> {
        let row = sqlx::query_as(
            "SELECT unique_id, email, display_name, description, disabled FROM service_account WHERE email = $1",
        )
        .bind(email.as_str())
        .fetch_optional(&self.readers)
        .await;
        row.map_err(failed)?.map(read_account).transpose()
    }

    async fn service_account_by_id(&self, id: &UniqueId) -> Result<Option<ServiceAccount>, StoreError> {
        let row = sqlx::query_as(
            "SELECT unique_id, email, display_name, description, disabled FROM service_account WHERE unique_id = $1",
        )
        .bind(&id.0)
        .fetch_optional(&self.readers)
        .await;
        row.map_err(failed)?.map(read_account).transpose()
    }

    async fn service_accounts(&self, after: Option<&Email>, limit: u32) -> Result<Vec<ServiceAccount>, StoreError> {
        let rows = sqlx::query_as(
            "SELECT unique_id, email, display_name, description, disabled FROM service_account
             WHERE email > $1 ORDER BY email LIMIT $2",
        )
        // No address is empty: all come after it.
        .bind(after.map_or("", Email::as_str))
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await;
        rows.map_err(failed)?.into_iter().map(read_account).collect()
    }

    async fn add_service_account_key(&self, key: &ServiceAccountKey) -> Result<bool, StoreError> {
        let mut change = self.begin().await?;
        // Changes nothing but locks the row of the account, where rows are locked: additions to one account wait for each
        // other, so that the count below is true.
        let account = sqlx::query("UPDATE service_account SET disabled = disabled WHERE unique_id = $1")
            .bind(&key.account.0)
            .execute(&mut *change)
            .await
            .map_err(failed)?;
        let keys: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM service_account_key WHERE account = $1")
            .bind(&key.account.0)
            .fetch_one(&mut *change)
            .await
            .map_err(failed)?;
        if account.rows_affected() == 0 || keys >= MAX_KEYS {
            return Ok(false);
        }
        sqlx::query("INSERT INTO service_account_key (id, account, public_jwk, created) VALUES ($1, $2, $3, $4)")
            .bind(&key.id)
            .bind(&key.account.0)
            .bind(json(&key.public)?)
            .bind(key.created.micros())
            .execute(&mut *change)
            .await
            .map_err(failed)?;
        change.commit().await.map_err(failed)?;
        Ok(true)
    }

    async fn remove_service_account_key(&self, account: &UniqueId, key_id: &str) -> Result<bool, StoreError> {
        let removed = sqlx::query("DELETE FROM service_account_key WHERE id = $1 AND account = $2")
            .bind(key_id)
            .bind(&account.0)
            .execute(&self.writer)
            .await;
        Ok(removed.map_err(failed)?.rows_affected() == 1)
    }

    async fn service_account_key(&self, key_id: &str) -> Result<Option<ServiceAccountKey>, StoreError> {
        let row = sqlx::query_as("SELECT id, account, public_jwk, created FROM service_account_key WHERE id = $1")
            .bind(key_id)
            .fetch_optional(&self.readers)
            .await;
        row.map_err(failed)?.map(read_key).transpose()
    }

    async fn service_account_keys(&self, account: &UniqueId) -> Result<Vec<ServiceAccountKey>, StoreError> {
        let rows = sqlx::query_as(
            "SELECT id, account, public_jwk, created FROM service_account_key WHERE account = $1 ORDER BY created, id",
        )
        .bind(&account.0)
        .fetch_all(&self.readers)
        .await;
        rows.map_err(failed)?.into_iter().map(read_key).collect()
    }
}

type AccountRow = (String, String, String, String, bool);

fn read_account(row: AccountRow) -> Result<ServiceAccount, StoreError> {
    let (unique_id, email, display_name, description, disabled) = row;
    let email = read_email(&email)?;
    Ok(ServiceAccount { unique_id: UniqueId(unique_id), email, display_name, description, disabled })
}

type KeyRow = (String, String, String, i64);

fn read_key(row: KeyRow) -> Result<ServiceAccountKey, StoreError> {
    let (id, account, public, created) = row;
    let public = serde_json::from_str(&public).map_err(|_| StoreError::Damaged { what: "public key" })?;
    Ok(ServiceAccountKey { id, account: UniqueId(account), public, created: Timestamp::from_micros(created) })
}
