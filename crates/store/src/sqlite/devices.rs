//! Devices' questions. One stays until it ends, or until the device was told that the person said yes.

use doorward_core::clock::Timestamp;
use doorward_core::grant::{DEVICE_INTERVAL, DeviceGrant, DevicePoll, PersonGrant, TokenHash};
use doorward_core::resource::ClientId;
use doorward_core::store::StoreError;
use sqlx::SqliteConnection;

use super::{SqliteStore, failed, forget, person_grants, read_scopes};

pub(super) const FORGET: &str = "DELETE FROM device_code WHERE hash IN
    (SELECT hash FROM device_code WHERE expires <= $1 LIMIT 10)";

pub(super) async fn add(
    store: &SqliteStore,
    device: &TokenHash,
    user_code: &TokenHash,
    grant: &DeviceGrant,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let mut change = store.begin().await?;
    forget(&mut change, FORGET, person_grants::grace_before(now)).await?;
    // One that ended may still be there, for its device; its user code is free.
    sqlx::query("DELETE FROM device_code WHERE user_code = $1 AND expires <= $2")
        .bind(&user_code.0)
        .bind(now.micros())
        .execute(&mut *change)
        .await
        .map_err(failed)?;
    let added = sqlx::query(
        "INSERT INTO device_code (hash, user_code, client, scopes, expires, decided)
         VALUES ($1, $2, $3, $4, $5, FALSE) ON CONFLICT (user_code) DO NOTHING",
    )
    .bind(&device.0)
    .bind(&user_code.0)
    .bind(&grant.client.0)
    .bind(grant.scopes.as_str())
    .bind(grant.expires.micros())
    .execute(&mut *change)
    .await
    .map_err(failed)?;
    change.commit().await.map_err(failed)?;
    Ok(added.rows_affected() == 1)
}

pub(super) async fn find(
    store: &SqliteStore,
    user_code: &TokenHash,
    now: Timestamp,
) -> Result<Option<DeviceGrant>, StoreError> {
    let row: Option<(String, String, i64)> = sqlx::query_as(
        "SELECT client, scopes, expires FROM device_code WHERE user_code = $1 AND NOT decided AND expires > $2",
    )
    .bind(&user_code.0)
    .bind(now.micros())
    .fetch_optional(&store.readers)
    .await
    .map_err(failed)?;
    row.map(|(client, scopes, expires)| {
        let (scopes, expires) = (read_scopes(&scopes)?, Timestamp::from_micros(expires));
        Ok(DeviceGrant { client: ClientId(client), scopes, expires })
    })
    .transpose()
}

pub(super) async fn decide(
    store: &SqliteStore,
    user_code: &TokenHash,
    grant: Option<&PersonGrant>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let mut change = store.begin().await?;
    person_grants::forget_unused(&mut change, now).await?;
    // Of several decisions this statement takes one.
    let decided: Option<(String, i64)> = sqlx::query_as(
        "UPDATE device_code SET decided = TRUE WHERE user_code = $1 AND NOT decided AND expires > $2
         RETURNING hash, expires",
    )
    .bind(&user_code.0)
    .bind(now.micros())
    .fetch_optional(&mut *change)
    .await
    .map_err(failed)?;
    let Some((device, expires)) = decided else { return Ok(false) };
    if let Some(grant) = grant {
        person_grants::insert(&mut change, grant, Timestamp::from_micros(expires)).await?;
        sqlx::query("UPDATE device_code SET grant_id = $2 WHERE hash = $1")
            .bind(device)
            .bind(&grant.id.0)
            .execute(&mut *change)
            .await
            .map_err(failed)?;
    }
    change.commit().await.map_err(failed)?;
    Ok(true)
}

pub(super) async fn poll(
    store: &SqliteStore,
    device: &TokenHash,
    client: &ClientId,
    now: Timestamp,
) -> Result<DevicePoll, StoreError> {
    let mut change = store.begin().await?;
    let row: Option<(i64, Option<i64>)> = sqlx::query_as(
        // Sets nothing but locks the row, where rows are locked: polls of one device wait for each other.
        "UPDATE device_code SET decided = decided WHERE hash = $1 AND client = $2 RETURNING expires, polled",
    )
    .bind(&device.0)
    .bind(&client.0)
    .fetch_optional(&mut *change)
    .await
    .map_err(failed)?;
    let Some((expires, polled)) = row else { return Ok(DevicePoll::Unknown) };
    if expires <= now.micros() {
        return Ok(DevicePoll::Expired);
    }
    sqlx::query("UPDATE device_code SET polled = $2 WHERE hash = $1")
        .bind(&device.0)
        .bind(now.micros())
        .execute(&mut *change)
        .await
        .map_err(failed)?;
    let too_soon = polled.is_some_and(|polled| now.since(Timestamp::from_micros(polled)) < DEVICE_INTERVAL);
    let answer = if too_soon { DevicePoll::TooSoon } else { decision(&mut change, device).await? };
    change.commit().await.map_err(failed)?;
    Ok(answer)
}

/// What was decided. A yes is told once: the question goes with it, and its grant stays.
async fn decision(change: &mut SqliteConnection, device: &TokenHash) -> Result<DevicePoll, StoreError> {
    let (decided, grant): (bool, Option<String>) =
        sqlx::query_as("SELECT decided, grant_id FROM device_code WHERE hash = $1")
            .bind(&device.0)
            .fetch_one(&mut *change)
            .await
            .map_err(failed)?;
    let Some(grant) = grant else {
        return Ok(if decided { DevicePoll::Denied } else { DevicePoll::Pending });
    };
    let grant = sqlx::query("SELECT * FROM person_grant WHERE id = $1")
        .bind(grant)
        .fetch_one(&mut *change)
        .await
        .map_err(failed)?;
    sqlx::query("DELETE FROM device_code WHERE hash = $1").bind(&device.0).execute(change).await.map_err(failed)?;
    Ok(DevicePoll::Allowed(Box::new(person_grants::read(&grant)?)))
}
