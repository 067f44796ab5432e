//! Refresh tokens. One that was rotated stays, marked, as long as its grant: whoever brings it again has a copy.

use doorward_core::grant::{GrantId, RefreshGrant, TokenHash};
use doorward_core::store::StoreError;
use sqlx::Row as _;

use super::{SqliteStore, failed, person_grants};

pub(super) async fn add(store: &SqliteStore, token: &TokenHash, grant: &GrantId) -> Result<bool, StoreError> {
    let _forgetting = store.recent_tokens.forgetting();
    let mut change = store.begin().await?;
    if !person_grants::keep(&mut change, grant).await? {
        return Ok(false);
    }
    person_grants::end_oldest(&mut change, grant).await?;
    sqlx::query("INSERT INTO refresh_token (hash, grant_id, rotated) VALUES ($1, $2, FALSE)")
        .bind(&token.0)
        .bind(&grant.0)
        .execute(&mut *change)
        .await
        .map_err(failed)?;
    change.commit().await.map_err(failed)?;
    Ok(true)
}

pub(super) async fn find(store: &SqliteStore, token: &TokenHash) -> Result<Option<RefreshGrant>, StoreError> {
    let row = sqlx::query(
        "SELECT person_grant.*, rotated FROM refresh_token
         JOIN person_grant ON person_grant.id = refresh_token.grant_id WHERE hash = $1",
    )
    .bind(&token.0)
    .fetch_optional(&store.readers)
    .await
    .map_err(failed)?;
    row.map(|row| {
        Ok(RefreshGrant { grant: person_grants::read(&row)?, rotated: row.try_get("rotated").map_err(failed)? })
    })
    .transpose()
}

pub(super) async fn rotate(store: &SqliteStore, old: &TokenHash, new: &TokenHash) -> Result<bool, StoreError> {
    let mut change = store.begin().await?;
    // Of several who rotate it this statement decides.
    let rotated = sqlx::query("UPDATE refresh_token SET rotated = TRUE WHERE hash = $1 AND NOT rotated")
        .bind(&old.0)
        .execute(&mut *change)
        .await
        .map_err(failed)?;
    if rotated.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query(
        "INSERT INTO refresh_token (hash, grant_id, rotated)
         SELECT $2, grant_id, FALSE FROM refresh_token WHERE hash = $1",
    )
    .bind(&old.0)
    .bind(&new.0)
    .execute(&mut *change)
    .await
    .map_err(failed)?;
    change.commit().await.map_err(failed)?;
    Ok(true)
}
