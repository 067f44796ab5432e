//! Authorization codes. One that was taken stays, marked, until it ends: whoever brings it again has a copy.

use doorward_core::clock::Timestamp;
use doorward_core::grant::{CodeGrant, GrantId, TakenCode, TokenHash};
use doorward_core::resource::ClientId;
use doorward_core::store::StoreError;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::{SqliteStore, failed, forget, json, person_grants};

pub(super) const FORGET: &str = "DELETE FROM authorization_code WHERE hash IN
    (SELECT hash FROM authorization_code WHERE expires <= $1 LIMIT 10)";

pub(super) async fn add(
    store: &SqliteStore,
    code: &TokenHash,
    grant: &CodeGrant,
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut change = store.begin().await?;
    forget(&mut change, FORGET, now).await?;
    person_grants::forget_unused(&mut change, now).await?;
    person_grants::insert(&mut change, &grant.grant, grant.expires).await?;
    sqlx::query(
        "INSERT INTO authorization_code (hash, grant_id, redirect_uri, challenge, expires, taken)
         VALUES ($1, $2, $3, $4, $5, FALSE)",
    )
    .bind(&code.0)
    .bind(&grant.grant.id.0)
    .bind(&grant.redirect_uri)
    .bind(grant.challenge.as_ref().map(json).transpose()?)
    .bind(grant.expires.micros())
    .execute(&mut *change)
    .await
    .map_err(failed)?;
    change.commit().await.map_err(failed)
}

pub(super) async fn take(
    store: &SqliteStore,
    code: &TokenHash,
    client: &ClientId,
    now: Timestamp,
) -> Result<TakenCode, StoreError> {
    let mut change = store.begin().await?;
    // Of several takers this statement decides. It is undone where the code turns out to be another client's, or ended.
    let taken = sqlx::query("UPDATE authorization_code SET taken = TRUE WHERE hash = $1 AND NOT taken")
        .bind(&code.0)
        .execute(&mut *change)
        .await
        .map_err(failed)?;
    let row = sqlx::query(
        "SELECT person_grant.*, redirect_uri, challenge, expires FROM authorization_code
         JOIN person_grant ON person_grant.id = authorization_code.grant_id
         WHERE hash = $1 AND client = $2 AND expires > $3",
    )
    .bind(&code.0)
    .bind(&client.0)
    .bind(now.micros())
    .fetch_optional(&mut *change)
    .await
    .map_err(failed)?;
    let Some(row) = row else { return Ok(TakenCode::Unknown) };
    if taken.rows_affected() == 0 {
        return Ok(TakenCode::Reused(GrantId(row.try_get("id").map_err(failed)?)));
    }
    let grant = read_code(&row)?;
    change.commit().await.map_err(failed)?;
    Ok(TakenCode::Taken(Box::new(grant)))
}

fn read_code(row: &SqliteRow) -> Result<CodeGrant, StoreError> {
    let challenge: Option<String> = row.try_get("challenge").map_err(failed)?;
    let challenge = challenge.map(|challenge| serde_json::from_str(&challenge)).transpose();
    Ok(CodeGrant {
        grant: person_grants::read(row)?,
        redirect_uri: row.try_get("redirect_uri").map_err(failed)?,
        challenge: challenge.map_err(|_| StoreError::Damaged { what: "challenge of a code" })?,
        expires: row.try_get("expires").map(Timestamp::from_micros).map_err(failed)?,
    })
}
