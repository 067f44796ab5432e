use async_trait::async_trait;
use doorward_core::account::UniqueId;
use doorward_core::clock::Timestamp;
use doorward_core::grant::{AccessGrant, TokenHash};
use doorward_core::store::{GrantStore, StoreError};
use doorward_wire::oauth::Scopes;

use super::{SqliteStore, failed};

#[async_trait]
impl GrantStore for SqliteStore {
    async fn add_access_token(&self, token: &TokenHash, grant: &AccessGrant, now: Timestamp) -> Result<(), StoreError> {
        let mut change = self.begin().await?;
        sqlx::query("DELETE FROM access_token WHERE expires <= $1")
            .bind(now.micros())
            .execute(&mut *change)
            .await
            .map_err(failed)?;
        sqlx::query("INSERT INTO access_token (hash, subject, scopes, expires) VALUES ($1, $2, $3, $4)")
            .bind(&token.0)
            .bind(&grant.subject.0)
            .bind(grant.scopes.as_str())
            .bind(grant.expires.micros())
            .execute(&mut *change)
            .await
            .map_err(failed)?;
        change.commit().await.map_err(failed)
    }

    async fn access_token(&self, token: &TokenHash, now: Timestamp) -> Result<Option<AccessGrant>, StoreError> {
        let row = sqlx::query_as("SELECT subject, scopes, expires FROM access_token WHERE hash = $1 AND expires > $2")
            .bind(&token.0)
            .bind(now.micros())
            .fetch_optional(&self.readers)
            .await;
        row.map_err(failed)?.map(read_grant).transpose()
    }

    async fn take_assertion_id(
        &self,
        issuer: &UniqueId,
        jti: &str,
        expires: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut change = self.begin().await?;
        sqlx::query("DELETE FROM used_assertion WHERE expires <= $1")
            .bind(now.micros())
            .execute(&mut *change)
            .await
            .map_err(failed)?;
        let taken =
            sqlx::query("INSERT INTO used_assertion (issuer, jti, expires) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
                .bind(&issuer.0)
                .bind(jti)
                .bind(expires.micros())
                .execute(&mut *change)
                .await
                .map_err(failed)?;
        change.commit().await.map_err(failed)?;
        Ok(taken.rows_affected() == 1)
    }
}

fn read_grant((subject, scopes, expires): (String, String, i64)) -> Result<AccessGrant, StoreError> {
    let scopes = Scopes::parse(&scopes).map_err(|_| StoreError::Damaged { what: "scopes of an access token" })?;
    Ok(AccessGrant { subject: UniqueId(subject), scopes, expires: Timestamp::from_micros(expires) })
}
