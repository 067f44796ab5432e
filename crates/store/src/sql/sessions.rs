use async_trait::async_trait;
use doorward_core::clock::Timestamp;
use doorward_core::grant::TokenHash;
use doorward_core::session::SignInSession;
use doorward_core::store::{SessionStore, StoreError};

use super::{SqlStore, forget, json};
use crate::db::query;

pub(super) const FORGET: &str = "DELETE FROM sign_in_session WHERE hash IN
    (SELECT hash FROM sign_in_session WHERE expires <= $1 LIMIT 10 /*pg FOR UPDATE SKIP LOCKED*/)";

#[async_trait]
impl SessionStore for SqlStore {
    async fn put_session(
        &self,
        old: Option<&TokenHash>,
        new: &TokenHash,
        session: &SignInSession,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut change = self.db.begin().await?;
        if let Some(old) = old {
            query("DELETE FROM sign_in_session WHERE hash = $1").bind(&old.0).execute(&mut change).await?;
        }
        query(
            "INSERT INTO sign_in_session (hash, accounts, expires, loopback_only) VALUES ($1, $2, $3, $4)
             ON CONFLICT (hash) DO UPDATE SET accounts = excluded.accounts, expires = excluded.expires,
             loopback_only = excluded.loopback_only",
        )
        .bind(&new.0)
        .bind(json(&session.accounts)?)
        .bind(session.expires.micros())
        .bind(session.loopback_only)
        .execute(&mut change)
        .await?;
        forget(&mut change, FORGET, now).await?;
        change.commit().await
    }

    async fn session(&self, hash: &TokenHash, now: Timestamp) -> Result<Option<SignInSession>, StoreError> {
        let row =
            query("SELECT accounts, expires, loopback_only FROM sign_in_session WHERE hash = $1 AND expires > $2")
                .bind(&hash.0)
                .bind(now.micros())
                .fetch_optional(self.db.readers())
                .await?;
        row.map(read_session).transpose()
    }

    async fn remove_session(&self, hash: &TokenHash) -> Result<bool, StoreError> {
        query("DELETE FROM sign_in_session WHERE hash = $1").bind(&hash.0).changes_one(self.db.writer()).await
    }
}

fn read_session((accounts, expires, loopback_only): (String, i64, bool)) -> Result<SignInSession, StoreError> {
    let accounts =
        serde_json::from_str(&accounts).map_err(|_| StoreError::Damaged { what: "accounts of a session" })?;
    Ok(SignInSession { accounts, expires: Timestamp::from_micros(expires), loopback_only })
}
