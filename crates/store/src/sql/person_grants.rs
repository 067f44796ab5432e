//! What people allowed to clients. All that is issued from a grant goes with it, by the references.

use std::time::Duration;

use doorward_core::account::UniqueId;
use doorward_core::clock::Timestamp;
use doorward_core::grant::{GrantId, PersonGrant};
use doorward_core::resource::ClientId;
use doorward_core::store::StoreError;

use super::{SqlStore, forget, read_scopes};
use crate::db::{Change, Row, query};

/// Kept grants of one person for one client, at most: Google's limit of refresh tokens.
///
/// Spec: <https://developers.google.com/identity/protocols/oauth2#expiration>
const KEPT: i64 = 100;

pub(super) const FORGET: &str = "DELETE FROM person_grant WHERE id IN
    (SELECT id FROM person_grant WHERE ends <= $1 LIMIT 10 /*pg FOR UPDATE SKIP LOCKED*/)";

/// How long a grant stays after the last thing that was issued from it: a code may be taken in its last moment, and what it
/// gives is issued after that. For as long a device that comes too late is told so.
const GRACE: Duration = Duration::from_secs(600);

/// Whatever ended before this is past its grace.
pub(super) fn grace_before(now: Timestamp) -> Timestamp {
    let grace = i64::try_from(GRACE.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(now.micros().saturating_sub(grace))
}

/// Forgets grants of which nothing is left.
pub(super) async fn forget_unused(change: &mut Change, now: Timestamp) -> Result<(), StoreError> {
    forget(change, FORGET, grace_before(now)).await
}

/// Keeps a grant of which something was issued that is good until `ends`. Fails if its client is no more.
pub(super) async fn insert(change: &mut Change, grant: &PersonGrant, ends: Timestamp) -> Result<(), StoreError> {
    query(
        "INSERT INTO person_grant
         (id, client, subject, scopes, audience, nonce, offline, cred_ref, auth_time, created, ends)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(&grant.id.0)
    .bind(&grant.client.0)
    .bind(&grant.subject.0)
    .bind(grant.scopes.as_str())
    .bind(grant.audience.as_ref().map(|audience| &audience.0))
    .bind(grant.nonce.as_ref())
    .bind(grant.offline)
    .bind(grant.cred_ref)
    .bind(grant.auth_time.micros())
    .bind(grant.created.micros())
    .bind(ends.micros())
    .execute(change)
    .await?;
    Ok(())
}

/// Keeps a grant at least until `ends`; `false` if it is no more. Its row is locked from here on, where rows are locked.
pub(super) async fn keep_until(change: &mut Change, id: &GrantId, ends: Timestamp) -> Result<bool, StoreError> {
    query("UPDATE person_grant SET ends = CASE WHEN ends < $2 THEN $2 ELSE ends END WHERE id = $1")
        .bind(&id.0)
        .bind(ends.micros())
        .changes_one(change)
        .await
}

/// Keeps a grant until it is revoked; `false` if it is no more.
pub(super) async fn keep(change: &mut Change, id: &GrantId) -> Result<bool, StoreError> {
    query("UPDATE person_grant SET ends = NULL WHERE id = $1").bind(&id.0).changes_one(change).await
}

pub(super) async fn revoke(store: &SqlStore, id: &GrantId) -> Result<bool, StoreError> {
    let _forgetting = store.recent_tokens.forgetting();
    query("DELETE FROM person_grant WHERE id = $1").bind(&id.0).changes_one(store.db.writer()).await
}

/// Lets those wait for each other that keep grants of one person for one client, so that what each then counts is true; and
/// a removal of the client waits for them, or they for it.
pub(super) async fn lock_kept(change: &mut Change, id: &GrantId) -> Result<(), StoreError> {
    let client = "SELECT id FROM oauth_client WHERE id = (SELECT client FROM person_grant WHERE id = $1) FOR KEY SHARE";
    change.lock(query(client).bind(&id.0)).await?;
    let pair =
        "SELECT pg_advisory_xact_lock(hashtextextended(client || '|' || subject, 0)) FROM person_grant WHERE id = $1";
    change.lock(query(pair).bind(&id.0)).await
}

/// Ends the oldest kept grants of the person and the client of this one, beyond the newest [`KEPT`].
pub(super) async fn end_oldest(change: &mut Change, id: &GrantId) -> Result<(), StoreError> {
    query(
        "DELETE FROM person_grant WHERE id IN
         (SELECT older.id FROM person_grant older JOIN person_grant this
          ON older.client = this.client AND older.subject = this.subject
          WHERE this.id = $1 AND older.id <> $1 AND older.ends IS NULL ORDER BY older.created DESC, older.id DESC LIMIT 10 OFFSET $2)",
    )
    .bind(&id.0)
    .bind(KEPT - 1)
    .execute(change).await?;
    Ok(())
}

/// Reads a grant from a row that has all columns of `person_grant` under their names.
pub(super) fn read(row: &Row) -> Result<PersonGrant, StoreError> {
    let text = |column: &'static str| row.get::<String>(column);
    let optional_text = |column: &'static str| row.get::<Option<String>>(column);
    let flag = |column: &'static str| row.get::<bool>(column);
    let time = |column: &'static str| row.get(column).map(Timestamp::from_micros);
    Ok(PersonGrant {
        id: GrantId(text("id")?),
        client: ClientId(text("client")?),
        subject: UniqueId(text("subject")?),
        scopes: read_scopes(&text("scopes")?)?,
        audience: optional_text("audience")?.map(ClientId),
        nonce: optional_text("nonce")?,
        offline: flag("offline")?,
        cred_ref: flag("cred_ref")?,
        auth_time: time("auth_time")?,
        created: time("created")?,
    })
}
