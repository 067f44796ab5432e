//! Access tokens and used assertions. The rest of the trait is in files of its own.

use async_trait::async_trait;
use doorward_core::account::UniqueId;
use doorward_core::clock::Timestamp;
use doorward_core::grant::{
    AccessGrant, CodeGrant, DeviceGrant, DevicePoll, GrantId, PersonGrant, RefreshGrant, Subject, TakenCode, TokenHash,
};
use doorward_core::resource::ClientId;
use doorward_core::store::{GrantStore, StoreError};

use super::{SqlStore, codes, devices, federation, forget, json, person_grants, read_scopes, refresh_tokens};
use crate::db::query;

pub(super) const FORGET_ACCESS_TOKENS: &str = "DELETE FROM access_token WHERE hash IN
    (SELECT hash FROM access_token WHERE expires <= $1 LIMIT 10 /*pg FOR UPDATE SKIP LOCKED*/)";
pub(super) const FORGET_ASSERTIONS: &str = "DELETE FROM used_assertion WHERE (issuer, jti) IN
    (SELECT issuer, jti FROM used_assertion WHERE expires <= $1 LIMIT 10 /*pg FOR UPDATE SKIP LOCKED*/)";

#[async_trait]
impl GrantStore for SqlStore {
    async fn add_access_token(
        &self,
        token: &TokenHash,
        grant: &AccessGrant,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut change = self.db.begin().await?;
        if let Some((id, _)) = &grant.person_grant
            && !person_grants::keep_until(&mut change, id, grant.expires).await?
        {
            return Ok(false);
        }
        let (subject, provider, federated) = match &grant.subject {
            Subject::Account(id) => (id.0.as_str(), None, None),
            Subject::Federated(identity) => {
                ("", Some(federation::key(&identity.pool, &identity.provider)), Some(json(&**identity)?))
            }
        };
        let generation = match &grant.subject {
            Subject::Account(_) => None,
            Subject::Federated(identity) => Some(&identity.generation.0),
        };
        if let Some(provider) = &provider {
            // A lock that a change of the generation waits for, too.
            let lock = "SELECT name FROM workload_identity_provider WHERE name = $1 FOR SHARE";
            change.lock(query(lock).bind(provider)).await?;
        }
        // Of a provider that was removed meanwhile there is no row, and one that was changed, or made again, has another
        // generation: then nothing is kept. Readers compare the generation too, with the provider that is in force.
        let kept = query(
            "INSERT INTO access_token (hash, subject, scopes, expires, grant_id, client, provider, federated)
             SELECT $1, $2, $3, $4, $5, $6, $7, $8
             WHERE $7 IS NULL
                OR EXISTS (SELECT 1 FROM workload_identity_provider WHERE name = $7 AND generation = $9)",
        )
        .bind(&token.0)
        .bind(subject)
        .bind(grant.scopes.as_str())
        .bind(grant.expires.micros())
        .bind(grant.person_grant.as_ref().map(|(id, _)| &id.0))
        .bind(grant.person_grant.as_ref().map(|(_, client)| &client.0))
        .bind(provider)
        .bind(federated)
        .bind(generation)
        .changes_one(&mut change)
        .await?;
        if !kept {
            return Ok(false);
        }
        forget(&mut change, FORGET_ACCESS_TOKENS, now).await?;
        change.commit().await?;
        Ok(true)
    }

    async fn access_token(&self, token: &TokenHash, now: Timestamp) -> Result<Option<AccessGrant>, StoreError> {
        if let Some(grant) = self.recent_tokens.find(token, now) {
            return Ok(Some(grant));
        }
        let changes = self.recent_tokens.changes();
        let row = query(
            "SELECT subject, scopes, expires, grant_id, client, federated FROM access_token
             WHERE hash = $1 AND expires > $2",
        )
        .bind(&token.0)
        .bind(now.micros())
        .fetch_optional(self.db.readers())
        .await?;
        let grant = row.map(read_grant).transpose()?;
        if let Some(grant) = &grant {
            self.recent_tokens.keep(token, grant, changes, now);
        }
        Ok(grant)
    }

    async fn remove_access_token(&self, token: &TokenHash) -> Result<bool, StoreError> {
        let _forgetting = self.recent_tokens.forgetting();
        query("DELETE FROM access_token WHERE hash = $1").bind(&token.0).changes_one(self.db.writer()).await
    }

    async fn take_assertion_id(
        &self,
        issuer: &UniqueId,
        jti: &str,
        expires: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut change = self.db.begin().await?;
        // One that ended may still be there.
        let taken = query(
            "INSERT INTO used_assertion (issuer, jti, expires) VALUES ($1, $2, $3)
             ON CONFLICT (issuer, jti) DO UPDATE SET expires = excluded.expires WHERE used_assertion.expires <= $4",
        )
        .bind(&issuer.0)
        .bind(jti)
        .bind(expires.micros())
        .bind(now.micros())
        .changes_one(&mut change)
        .await?;
        forget(&mut change, FORGET_ASSERTIONS, now).await?;
        change.commit().await?;
        Ok(taken)
    }

    async fn add_code(&self, code: &TokenHash, grant: &CodeGrant, now: Timestamp) -> Result<(), StoreError> {
        codes::add(self, code, grant, now).await
    }

    async fn take_code(&self, code: &TokenHash, client: &ClientId, now: Timestamp) -> Result<TakenCode, StoreError> {
        codes::take(self, code, client, now).await
    }

    async fn add_refresh_token(&self, token: &TokenHash, grant: &GrantId) -> Result<bool, StoreError> {
        refresh_tokens::add(self, token, grant).await
    }

    async fn refresh_token(&self, token: &TokenHash) -> Result<Option<RefreshGrant>, StoreError> {
        refresh_tokens::find(self, token).await
    }

    async fn rotate_refresh_token(&self, old: &TokenHash, new: &TokenHash) -> Result<bool, StoreError> {
        refresh_tokens::rotate(self, old, new).await
    }

    async fn revoke_grant(&self, id: &GrantId) -> Result<bool, StoreError> {
        person_grants::revoke(self, id).await
    }

    async fn add_device_code(
        &self,
        device: &TokenHash,
        user_code: &TokenHash,
        grant: &DeviceGrant,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        devices::add(self, device, user_code, grant, now).await
    }

    async fn device_grant(&self, user_code: &TokenHash, now: Timestamp) -> Result<Option<DeviceGrant>, StoreError> {
        devices::find(self, user_code, now).await
    }

    async fn decide_device(
        &self,
        user_code: &TokenHash,
        grant: Option<&PersonGrant>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        devices::decide(self, user_code, grant, now).await
    }

    async fn poll_device(
        &self,
        device: &TokenHash,
        client: &ClientId,
        now: Timestamp,
    ) -> Result<DevicePoll, StoreError> {
        devices::poll(self, device, client, now).await
    }
}

type AccessRow = (String, String, i64, Option<String>, Option<String>, Option<String>);

fn read_grant((subject, scopes, expires, grant_id, client, federated): AccessRow) -> Result<AccessGrant, StoreError> {
    let person_grant = match (grant_id, client) {
        (None, None) => None,
        (Some(grant), Some(client)) => Some((GrantId(grant), ClientId(client))),
        (Some(_), None) | (None, Some(_)) => return Err(StoreError::Damaged { what: "client of an access token" }),
    };
    let subject = match federated {
        None => Subject::Account(UniqueId(subject)),
        Some(identity) => Subject::Federated(
            serde_json::from_str(&identity).map_err(|_| StoreError::Damaged { what: "identity of an access token" })?,
        ),
    };
    Ok(AccessGrant { subject, scopes: read_scopes(&scopes)?, expires: Timestamp::from_micros(expires), person_grant })
}
