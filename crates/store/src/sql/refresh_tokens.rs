//! Refresh tokens. One that was rotated stays, marked, as long as its grant: whoever brings it again has a copy.

use doorward_core::grant::{GrantId, RefreshGrant, TokenHash};
use doorward_core::store::StoreError;

use super::{SqlStore, person_grants};
use crate::db::{Row, query};

pub(super) async fn add(store: &SqlStore, token: &TokenHash, grant: &GrantId) -> Result<bool, StoreError> {
    let _forgetting = store.recent_tokens.forgetting();
    let mut change = store.db.begin().await?;
    person_grants::lock_kept(&mut change, grant).await?;
    if !person_grants::keep(&mut change, grant).await? {
        return Ok(false);
    }
    person_grants::end_oldest(&mut change, grant).await?;
    query("INSERT INTO refresh_token (hash, grant_id, rotated) VALUES ($1, $2, FALSE)")
        .bind(&token.0)
        .bind(&grant.0)
        .execute(&mut change)
        .await?;
    change.commit().await?;
    Ok(true)
}

pub(super) async fn find(store: &SqlStore, token: &TokenHash) -> Result<Option<RefreshGrant>, StoreError> {
    let row: Option<Row> = query(
        "SELECT person_grant.*, rotated FROM refresh_token
         JOIN person_grant ON person_grant.id = refresh_token.grant_id WHERE hash = $1",
    )
    .bind(&token.0)
    .fetch_optional(store.db.readers())
    .await?;
    row.map(|row| Ok(RefreshGrant { grant: person_grants::read(&row)?, rotated: row.get("rotated")? })).transpose()
}

pub(super) async fn rotate(store: &SqlStore, old: &TokenHash, new: &TokenHash) -> Result<bool, StoreError> {
    let mut change = store.db.begin().await?;
    let grant =
        "SELECT id FROM person_grant WHERE id = (SELECT grant_id FROM refresh_token WHERE hash = $1) FOR KEY SHARE";
    change.lock(query(grant).bind(&old.0)).await?;
    // Of several who rotate it this statement decides.
    let rotated = query("UPDATE refresh_token SET rotated = TRUE WHERE hash = $1 AND NOT rotated")
        .bind(&old.0)
        .changes_one(&mut change)
        .await?;
    if !rotated {
        return Ok(false);
    }
    query(
        "INSERT INTO refresh_token (hash, grant_id, rotated)
         SELECT $2, grant_id, FALSE FROM refresh_token WHERE hash = $1",
    )
    .bind(&old.0)
    .bind(&new.0)
    .execute(&mut change)
    .await?;
    change.commit().await?;
    Ok(true)
}
