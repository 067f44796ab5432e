use async_trait::async_trait;
use doorward_core::account::{ManagedKey, ServiceAccount, ServiceAccountKey, UniqueId};
use doorward_core::clock::Timestamp;
use doorward_core::member::Email;
use doorward_core::store::{Changed, ServiceAccountStore, StoreError};

use super::{SqlStore, json, names, read_email};
use crate::db::{Change, query};
use crate::seal::Place;

/// Spec: <https://cloud.google.com/iam/quotas>
const MAX_KEYS: i64 = 10;

/// The one that signs, and the one before, whose signatures may still be under way.
const MAX_MANAGED_KEYS: i64 = 2;

#[async_trait]
impl ServiceAccountStore for SqlStore {
    async fn add_service_account(&self, account: &ServiceAccount) -> Result<bool, StoreError> {
        let mut change = self.db.begin().await?;
        names::lock(&mut change).await?;
        let added = query(
            "INSERT INTO service_account (unique_id, email, display_name, description, disabled)
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
        )
        .bind(&account.unique_id.0)
        .bind(account.email.as_str())
        .bind(&account.display_name)
        .bind(&account.description)
        .bind(account.disabled)
        .changes_one(&mut change)
        .await?;
        if !added {
            return Ok(false);
        }
        let mut touched = names::forget_account(&mut change, &account.email).await?;
        touched.push(Changed::ServiceAccount(account.unique_id.clone()));
        self.commit(change, &touched).await?;
        Ok(true)
    }

    async fn remove_service_account(&self, id: &UniqueId) -> Result<bool, StoreError> {
        let _forgetting = self.recent_tokens.forgetting();
        let mut change = self.db.begin().await?;
        names::lock(&mut change).await?;
        let keys: Vec<(String,)> = query("SELECT id FROM service_account_key WHERE account = $1 ORDER BY id")
            .bind(&id.0)
            .fetch_all(&mut change)
            .await?;
        // Its keys go with it, by the reference.
        let removed: Option<(String,)> = query("DELETE FROM service_account WHERE unique_id = $1 RETURNING email")
            .bind(&id.0)
            .fetch_optional(&mut change)
            .await?;
        let Some((email,)) = removed else { return Ok(false) };
        let mut touched = names::forget_account(&mut change, &read_email(&email)?).await?;
        query("DELETE FROM access_token WHERE subject = $1").bind(&id.0).execute(&mut change).await?;
        // The name begins with the project's number, which the store does not know.
        let policies: Vec<(String,)> =
            query("DELETE FROM policy WHERE resource LIKE '%/serviceAccounts/' || $1 RETURNING resource")
                .bind(&id.0)
                .fetch_all(&mut change)
                .await?;
        touched.extend(policies.into_iter().map(|(resource,)| Changed::Policy(resource)));
        touched.extend(keys.into_iter().map(|(key,)| Changed::ServiceAccountKey(key)));
        touched.push(Changed::ServiceAccount(id.clone()));
        self.commit(change, &touched).await?;
        Ok(true)
    }

    async fn describe_service_account(
        &self,
        id: &UniqueId,
        display_name: &str,
        description: &str,
    ) -> Result<bool, StoreError> {
        let update = query("UPDATE service_account SET display_name = $2, description = $3 WHERE unique_id = $1")
            .bind(&id.0)
            .bind(display_name)
            .bind(description);
        self.change_one(update, Changed::ServiceAccount(id.clone())).await
    }

    async fn disable_service_account(&self, id: &UniqueId, disabled: bool) -> Result<bool, StoreError> {
        let update = query("UPDATE service_account SET disabled = $2 WHERE unique_id = $1").bind(&id.0).bind(disabled);
        self.change_one(update, Changed::ServiceAccount(id.clone())).await
    }

    async fn service_account_by_email(&self, email: &Email) -> Result<Option<ServiceAccount>, StoreError> {
        let row =
            query("SELECT unique_id, email, display_name, description, disabled FROM service_account WHERE email = $1")
                .bind(email.as_str())
                .fetch_optional(self.db.readers())
                .await?;
        row.map(read_account).transpose()
    }

    async fn service_account_by_id(&self, id: &UniqueId) -> Result<Option<ServiceAccount>, StoreError> {
        let row = query(
            "SELECT unique_id, email, display_name, description, disabled FROM service_account WHERE unique_id = $1",
        )
        .bind(&id.0)
        .fetch_optional(self.db.readers())
        .await?;
        row.map(read_account).transpose()
    }

    async fn service_accounts(&self, after: Option<&Email>, limit: u32) -> Result<Vec<ServiceAccount>, StoreError> {
        let rows = query(
            "SELECT unique_id, email, display_name, description, disabled FROM service_account
             WHERE email > $1 ORDER BY email LIMIT $2",
        )
        // No address is empty: all come after it.
        .bind(after.map_or("", Email::as_str))
        .bind(i64::from(limit))
        .fetch_all(self.db.readers())
        .await?;
        rows.into_iter().map(read_account).collect()
    }

    async fn add_service_account_key(&self, key: &ServiceAccountKey) -> Result<bool, StoreError> {
        let mut change = self.db.begin().await?;
        if !lock_account(&mut change, &key.account).await? {
            return Ok(false);
        }
        let (keys,): (i64,) = query("SELECT COUNT(*) FROM service_account_key WHERE account = $1 AND secret IS NULL")
            .bind(&key.account.0)
            .fetch_one(&mut change)
            .await?;
        if keys >= MAX_KEYS {
            return Ok(false);
        }
        insert_key(&mut change, key, None).await?;
        self.commit(change, &[Changed::ServiceAccountKey(key.id.clone())]).await?;
        Ok(true)
    }

    async fn remove_service_account_key(&self, account: &UniqueId, key_id: &str) -> Result<bool, StoreError> {
        let delete =
            query("DELETE FROM service_account_key WHERE id = $1 AND account = $2").bind(key_id).bind(&account.0);
        self.change_one(delete, Changed::ServiceAccountKey(key_id.to_owned())).await
    }

    async fn disable_service_account_key(
        &self,
        account: &UniqueId,
        key_id: &str,
        disabled: bool,
    ) -> Result<bool, StoreError> {
        let update =
            query("UPDATE service_account_key SET disabled = $3 WHERE id = $1 AND account = $2 AND secret IS NULL")
                .bind(key_id)
                .bind(&account.0)
                .bind(disabled);
        self.change_one(update, Changed::ServiceAccountKey(key_id.to_owned())).await
    }

    async fn service_account_key(&self, key_id: &str) -> Result<Option<ServiceAccountKey>, StoreError> {
        let row = query(
            "SELECT id, account, public_jwk, created, secret IS NOT NULL, disabled FROM service_account_key WHERE id = $1",
        )
        .bind(key_id)
        .fetch_optional(self.db.readers())
        .await?;
        row.map(read_key).transpose()
    }

    async fn service_account_keys(&self, account: &UniqueId) -> Result<Vec<ServiceAccountKey>, StoreError> {
        let rows = query(
            "SELECT id, account, public_jwk, created, secret IS NOT NULL, disabled FROM service_account_key
             WHERE account = $1 ORDER BY created, id",
        )
        .bind(&account.0)
        .fetch_all(self.db.readers())
        .await?;
        rows.into_iter().map(read_key).collect()
    }

    async fn every_service_account_key(
        &self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<ServiceAccountKey>, StoreError> {
        let rows = query(
            "SELECT id, account, public_jwk, created, secret IS NOT NULL, disabled FROM service_account_key
             WHERE id > $1 ORDER BY id LIMIT $2",
        )
        // No id is empty: all come after it.
        .bind(after.unwrap_or(""))
        .bind(i64::from(limit))
        .fetch_all(self.db.readers())
        .await?;
        rows.into_iter().map(read_key).collect()
    }

    async fn add_managed_key(&self, key: &ManagedKey, newest: Option<Timestamp>) -> Result<bool, StoreError> {
        let mut change = self.db.begin().await?;
        if !lock_account(&mut change, &key.key.account).await? {
            return Ok(false);
        }
        let (newer,): (i64,) = query(
            "SELECT COUNT(*) FROM service_account_key WHERE account = $1 AND secret IS NOT NULL AND created > $2",
        )
        .bind(&key.key.account.0)
        .bind(newest.map_or(i64::MIN, Timestamp::micros))
        .fetch_one(&mut change)
        .await?;
        if newer > 0 {
            return Ok(false);
        }
        let sealed = self.sealer.seal(secret_of(&key.key.id), &key.secret)?;
        insert_key(&mut change, &key.key, Some(sealed)).await?;
        let old: Vec<(String,)> = query(
            "DELETE FROM service_account_key WHERE account = $1 AND secret IS NOT NULL AND id NOT IN
             (SELECT id FROM service_account_key WHERE account = $1 AND secret IS NOT NULL
              ORDER BY created DESC, id DESC LIMIT $2) RETURNING id",
        )
        .bind(&key.key.account.0)
        .bind(MAX_MANAGED_KEYS)
        .fetch_all(&mut change)
        .await?;
        let old = old.into_iter().map(|(id,)| id);
        let touched: Vec<_> = old.chain([key.key.id.clone()]).map(Changed::ServiceAccountKey).collect();
        self.commit(change, &touched).await?;
        Ok(true)
    }

    async fn managed_key(&self, account: &UniqueId) -> Result<Option<ManagedKey>, StoreError> {
        let row: Option<(String, String, String, i64, bool, Vec<u8>)> = query(
            "SELECT id, account, public_jwk, created, disabled, secret FROM service_account_key
             WHERE account = $1 AND secret IS NOT NULL ORDER BY created DESC, id DESC LIMIT 1",
        )
        .bind(&account.0)
        .fetch_optional(self.db.readers())
        .await?;
        row.map(|(id, account, public, created, disabled, sealed)| {
            let secret = self.sealer.open(secret_of(&id), &sealed)?;
            Ok(ManagedKey { key: read_key((id, account, public, created, true, disabled))?, secret })
        })
        .transpose()
    }
}

/// Changes nothing but locks the row of the account, where rows are locked: additions to one account wait for each other,
/// so that what each then counts is true. `false` if there is no such account.
async fn lock_account(change: &mut Change, account: &UniqueId) -> Result<bool, StoreError> {
    query("UPDATE service_account SET disabled = disabled WHERE unique_id = $1")
        .bind(&account.0)
        .changes_one(change)
        .await
}

fn secret_of(id: &str) -> Place<'_> {
    Place { table: "service_account_key", column: "secret", row: id }
}

async fn insert_key(change: &mut Change, key: &ServiceAccountKey, sealed: Option<Vec<u8>>) -> Result<(), StoreError> {
    query("INSERT INTO service_account_key (id, account, public_jwk, created, secret) VALUES ($1, $2, $3, $4, $5)")
        .bind(&key.id)
        .bind(&key.account.0)
        .bind(json(&key.public)?)
        .bind(key.created.micros())
        .bind(sealed)
        .execute(change)
        .await?;
    Ok(())
}

type AccountRow = (String, String, String, String, bool);

fn read_account(row: AccountRow) -> Result<ServiceAccount, StoreError> {
    let (unique_id, email, display_name, description, disabled) = row;
    let email = read_email(&email)?;
    Ok(ServiceAccount { unique_id: UniqueId(unique_id), email, display_name, description, disabled })
}

type KeyRow = (String, String, String, i64, bool, bool);

fn read_key(row: KeyRow) -> Result<ServiceAccountKey, StoreError> {
    let (id, account, public, created, managed, disabled) = row;
    let public = serde_json::from_str(&public).map_err(|_| StoreError::Damaged { what: "public key" })?;
    let (account, created) = (UniqueId(account), Timestamp::from_micros(created));
    Ok(ServiceAccountKey { id, account, public, created, managed, disabled })
}
