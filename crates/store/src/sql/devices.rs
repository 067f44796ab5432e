//! Devices' questions. One stays until it ends, or until the device was told that the person said yes.

use super::{SqlStore, forget, person_grants, read_scopes};
use crate::db::{Change, Row, query};
use doorward_core::clock::Timestamp;
use doorward_core::grant::{DEVICE_INTERVAL, DeviceGrant, DevicePoll, PersonGrant, TokenHash};
use doorward_core::resource::ClientId;
use doorward_core::store::StoreError;

pub(super) const FORGET: &str = "DELETE FROM device_code WHERE hash IN
    (SELECT hash FROM device_code WHERE expires <= $1 LIMIT 10 /*pg FOR UPDATE SKIP LOCKED*/)";

pub(super) async fn add(
    store: &SqlStore,
    device: &TokenHash,
    user_code: &TokenHash,
    grant: &DeviceGrant,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let mut change = store.db.begin().await?;
    change.lock(query("SELECT id FROM oauth_client WHERE id = $1 FOR KEY SHARE").bind(&grant.client.0)).await?;
    // One that ended may still be there, for its device; its user code is free.
    query("DELETE FROM device_code WHERE user_code = $1 AND expires <= $2")
        .bind(&user_code.0)
        .bind(now.micros())
        .execute(&mut change)
        .await?;
    let added = query(
        "INSERT INTO device_code (hash, user_code, client, scopes, expires, decided)
         VALUES ($1, $2, $3, $4, $5, FALSE) ON CONFLICT (user_code) DO NOTHING",
    )
    .bind(&device.0)
    .bind(&user_code.0)
    .bind(&grant.client.0)
    .bind(grant.scopes.as_str())
    .bind(grant.expires.micros())
    .changes_one(&mut change)
    .await?;
    forget(&mut change, FORGET, person_grants::grace_before(now)).await?;
    change.commit().await?;
    Ok(added)
}

pub(super) async fn find(
    store: &SqlStore,
    user_code: &TokenHash,
    now: Timestamp,
) -> Result<Option<DeviceGrant>, StoreError> {
    let row: Option<(String, String, i64)> =
        query("SELECT client, scopes, expires FROM device_code WHERE user_code = $1 AND NOT decided AND expires > $2")
            .bind(&user_code.0)
            .bind(now.micros())
            .fetch_optional(store.db.readers())
            .await?;
    row.map(|(client, scopes, expires)| {
        let (scopes, expires) = (read_scopes(&scopes)?, Timestamp::from_micros(expires));
        Ok(DeviceGrant { client: ClientId(client), scopes, expires })
    })
    .transpose()
}

pub(super) async fn decide(
    store: &SqlStore,
    user_code: &TokenHash,
    grant: Option<&PersonGrant>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let mut change = store.db.begin().await?;
    let client = "SELECT id FROM oauth_client
         WHERE id = (SELECT client FROM device_code WHERE user_code = $1) FOR KEY SHARE";
    change.lock(query(client).bind(&user_code.0)).await?;
    // Of several decisions this statement takes one.
    let decided: Option<(String, i64)> = query(
        "UPDATE device_code SET decided = TRUE WHERE user_code = $1 AND NOT decided AND expires > $2
         RETURNING hash, expires",
    )
    .bind(&user_code.0)
    .bind(now.micros())
    .fetch_optional(&mut change)
    .await?;
    let Some((device, expires)) = decided else { return Ok(false) };
    if let Some(grant) = grant {
        person_grants::insert(&mut change, grant, Timestamp::from_micros(expires)).await?;
        query("UPDATE device_code SET grant_id = $2 WHERE hash = $1")
            .bind(device)
            .bind(&grant.id.0)
            .execute(&mut change)
            .await?;
    }
    person_grants::forget_unused(&mut change, now).await?;
    change.commit().await?;
    Ok(true)
}

pub(super) async fn poll(
    store: &SqlStore,
    device: &TokenHash,
    client: &ClientId,
    now: Timestamp,
) -> Result<DevicePoll, StoreError> {
    let mut change = store.db.begin().await?;
    let row: Option<(i64, Option<i64>)> = query(
        // Polls of one device wait for each other. Not by an update: of the second one in a change PostgreSQL asks whether the
        // client is still there, and a removal of the client, which holds it, may be waiting for this row.
        "SELECT expires, polled FROM device_code WHERE hash = $1 AND client = $2 /*pg FOR UPDATE*/",
    )
    .bind(&device.0)
    .bind(&client.0)
    .fetch_optional(&mut change)
    .await?;
    let Some((expires, polled)) = row else { return Ok(DevicePoll::Unknown) };
    if expires <= now.micros() {
        return Ok(DevicePoll::Expired);
    }
    query("UPDATE device_code SET polled = $2 WHERE hash = $1")
        .bind(&device.0)
        .bind(now.micros())
        .execute(&mut change)
        .await?;
    let too_soon = polled.is_some_and(|polled| now.since(Timestamp::from_micros(polled)) < DEVICE_INTERVAL);
    let answer = if too_soon { DevicePoll::TooSoon } else { decision(&mut change, device).await? };
    change.commit().await?;
    Ok(answer)
}

/// What was decided. A yes is told once: the question goes with it, and its grant stays.
async fn decision(change: &mut Change, device: &TokenHash) -> Result<DevicePoll, StoreError> {
    let (decided, grant): (bool, Option<String>) = query("SELECT decided, grant_id FROM device_code WHERE hash = $1")
        .bind(&device.0)
        .fetch_one(&mut *change)
        .await?;
    let Some(grant) = grant else {
        return Ok(if decided { DevicePoll::Denied } else { DevicePoll::Pending });
    };
    let grant: Row = query("SELECT * FROM person_grant WHERE id = $1").bind(grant).fetch_one(&mut *change).await?;
    query("DELETE FROM device_code WHERE hash = $1").bind(&device.0).execute(change).await?;
    Ok(DevicePoll::Allowed(Box::new(person_grants::read(&grant)?)))
}
