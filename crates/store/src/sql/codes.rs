//! Authorization codes. One that was taken stays, marked, until it ends: whoever brings it again has a copy.

use doorward_core::clock::Timestamp;
use doorward_core::grant::{CodeGrant, GrantId, TakenCode, TokenHash};
use doorward_core::resource::ClientId;
use doorward_core::store::StoreError;

use super::{SqlStore, forget, json, person_grants};
use crate::db::{Row, query};

pub(super) const FORGET: &str = "DELETE FROM authorization_code WHERE hash IN
    (SELECT hash FROM authorization_code WHERE expires <= $1 LIMIT 10 /*pg FOR UPDATE SKIP LOCKED*/)";

pub(super) async fn add(
    store: &SqlStore,
    code: &TokenHash,
    grant: &CodeGrant,
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut change = store.db.begin().await?;
    person_grants::insert(&mut change, &grant.grant, grant.expires).await?;
    query(
        "INSERT INTO authorization_code (hash, grant_id, redirect_uri, challenge, expires, taken)
         VALUES ($1, $2, $3, $4, $5, FALSE)",
    )
    .bind(&code.0)
    .bind(&grant.grant.id.0)
    .bind(&grant.redirect_uri)
    .bind(grant.challenge.as_ref().map(json).transpose()?)
    .bind(grant.expires.micros())
    .execute(&mut change)
    .await?;
    person_grants::forget_unused(&mut change, now).await?;
    forget(&mut change, FORGET, now).await?;
    change.commit().await
}

pub(super) async fn take(
    store: &SqlStore,
    code: &TokenHash,
    client: &ClientId,
    now: Timestamp,
) -> Result<TakenCode, StoreError> {
    let mut change = store.db.begin().await?;
    // Of several takers this statement decides. It is undone where the code turns out to be another client's, or ended.
    let taken = query("UPDATE authorization_code SET taken = TRUE WHERE hash = $1 AND NOT taken")
        .bind(&code.0)
        .changes_one(&mut change)
        .await?;
    let row: Option<Row> = query(
        "SELECT person_grant.*, redirect_uri, challenge, expires FROM authorization_code
         JOIN person_grant ON person_grant.id = authorization_code.grant_id
         WHERE hash = $1 AND client = $2 AND expires > $3",
    )
    .bind(&code.0)
    .bind(&client.0)
    .bind(now.micros())
    .fetch_optional(&mut change)
    .await?;
    let Some(row) = row else { return Ok(TakenCode::Unknown) };
    if !taken {
        return Ok(TakenCode::Reused(GrantId(row.get("id")?)));
    }
    let grant = read_code(&row)?;
    change.commit().await?;
    Ok(TakenCode::Taken(Box::new(grant)))
}

fn read_code(row: &Row) -> Result<CodeGrant, StoreError> {
    let challenge: Option<String> = row.get("challenge")?;
    let challenge = challenge.map(|challenge| serde_json::from_str(&challenge)).transpose();
    Ok(CodeGrant {
        grant: person_grants::read(row)?,
        redirect_uri: row.get("redirect_uri")?,
        challenge: challenge.map_err(|_| StoreError::Damaged { what: "challenge of a code" })?,
        expires: Timestamp::from_micros(row.get("expires")?),
    })
}
