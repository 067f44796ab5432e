//! The record. Each event is chained to the one before: the row `audit_head` holds the end of the chain, and an appender holds the row
//! to its commit.

use async_trait::async_trait;
use doorward_core::audit::{
    AuditEvent, CHAIN_START, ChainLink, StoredEvent, canonical_json, chain_hash, chain_hash_of_canonical,
};
use doorward_core::clock::Timestamp;
use doorward_core::store::{AuditStore, StoreError};
use serde_json::Value;

use super::SqlStore;
use crate::db::{Change, query};

/// Fewer than a connection keeps prepared statements, of which each number of rows is one.
const ROWS_PER_STATEMENT: usize = 64;
const COLUMNS: usize = 5;

/// So many are forgotten in one change: whoever appends waits for it.
const FORGOTTEN_AT_ONCE: i64 = 1000;

/// So many are hashed at once in a migration.
const HASHED_AT_ONCE: i64 = 1000;

#[async_trait]
impl AuditStore for SqlStore {
    async fn append(&self, events: &[AuditEvent], keep: u64) -> Result<(), StoreError> {
        // Before the head is held.
        let written = events.iter().map(write_event).collect::<Result<Vec<_>, _>>()?;
        let mut change = self.db.begin_record().await?;
        let count = i64::try_from(events.len()).unwrap_or(i64::MAX);
        // Whoever comes next waits here until this change is there, or undone with its numbers.
        let (last, mut hash, start): (i64, String, i64) =
            query("UPDATE audit_head SET last = last + $1 WHERE id = 1 RETURNING last, hash, start")
                .bind(count)
                .fetch_one(&mut change)
                .await?;
        let mut sequences = last - count + 1..;
        let rows: Vec<_> = events.iter().zip(&written).collect();
        // A statement costs a message to the connection's thread or to the server, and back: several times what a row costs.
        for rows in rows.chunks(ROWS_PER_STATEMENT) {
            let mut insert = query(insert_text(rows.len()));
            for ((event, Written { text, hashed }), sequence) in rows.iter().zip(&mut sequences) {
                hash = chain_hash_of_canonical(&hash, sequence, hashed.as_ref().unwrap_or(text));
                let (id, time) = (event.id(), event.time().micros());
                insert = insert.bind(sequence).bind(id).bind(time).bind(hash.clone()).bind(text);
            }
            insert.execute(&mut change).await?;
        }
        query("UPDATE audit_head SET hash = $1 WHERE id = 1").bind(&hash).execute(&mut change).await?;
        // Sequence numbers have no gaps, so the newest that goes is known without counting.
        let goes = last.saturating_sub(i64::try_from(keep).unwrap_or(i64::MAX));
        if goes > start {
            forget_to(&mut change, goes).await?;
        }
        change.commit().await
    }

    async fn events_after(&self, after: i64, limit: u32) -> Result<Vec<StoredEvent>, StoreError> {
        let rows =
            query("SELECT sequence, event, hash FROM audit_event WHERE sequence > $1 ORDER BY sequence LIMIT $2")
                .bind(after)
                .bind(i64::from(limit))
                .fetch_all(self.db.readers())
                .await?;
        rows.into_iter().map(read_event).collect()
    }

    async fn latest_events(&self, limit: u32) -> Result<Vec<StoredEvent>, StoreError> {
        let rows = query("SELECT sequence, event, hash FROM audit_event ORDER BY sequence DESC LIMIT $1")
            .bind(i64::from(limit))
            .fetch_all(self.db.readers())
            .await?;
        rows.into_iter().rev().map(read_event).collect()
    }

    async fn event(&self, id: &str) -> Result<Option<StoredEvent>, StoreError> {
        let row = query("SELECT sequence, event, hash FROM audit_event WHERE id = $1 ORDER BY sequence LIMIT 1")
            .bind(id)
            .fetch_optional(self.db.readers())
            .await?;
        row.map(read_event).transpose()
    }

    async fn sequence_before(&self, since: Timestamp) -> Result<i64, StoreError> {
        let first: Option<(i64,)> = query(FIRST_SINCE).bind(since.micros()).fetch_optional(self.db.readers()).await?;
        if let Some((first,)) = first {
            return Ok(first - 1);
        }
        let (last,): (i64,) = query("SELECT last FROM audit_head WHERE id = 1").fetch_one(self.db.readers()).await?;
        Ok(last)
    }

    async fn forget_events(&self, before: Timestamp) -> Result<u64, StoreError> {
        let mut forgotten = 0;
        loop {
            let mut change = self.db.begin_record().await?;
            let (last, start): (i64, i64) = query("SELECT last, start FROM audit_head WHERE id = 1 /*pg FOR UPDATE*/")
                .fetch_one(&mut change)
                .await?;
            // The record stays without gaps: an older event after one that stays, stays too.
            let first: Option<(i64,)> = query(FIRST_SINCE).bind(before.micros()).fetch_optional(&mut change).await?;
            let goes = first.map_or(last, |(first,)| first - 1).min(start + FORGOTTEN_AT_ONCE);
            if goes <= start {
                return Ok(forgotten);
            }
            forgotten += forget_to(&mut change, goes).await?;
            change.commit().await?;
        }
    }

    async fn chain_start(&self) -> Result<ChainLink, StoreError> {
        let (sequence, hash): (i64, String) =
            query("SELECT start, start_hash FROM audit_head WHERE id = 1").fetch_one(self.db.readers()).await?;
        Ok(ChainLink { sequence, hash })
    }

    async fn raw_events_after(&self, after: i64, limit: u32) -> Result<Vec<(i64, Value, String)>, StoreError> {
        let rows: Vec<(i64, String, String)> =
            query("SELECT sequence, event, hash FROM audit_event WHERE sequence > $1 ORDER BY sequence LIMIT $2")
                .bind(after)
                .bind(i64::from(limit))
                .fetch_all(self.db.readers())
                .await?;
        let raw = |(sequence, event, hash): (i64, String, String)| Ok((sequence, read_json(&event)?, hash));
        rows.into_iter().map(raw).collect()
    }
}

/// In the order of the numbers, and not of times: those that are older come first, and it stops at the first that is not.
const FIRST_SINCE: &str = "SELECT sequence FROM audit_event WHERE time >= $1 ORDER BY sequence LIMIT 1";

fn insert_text(rows: usize) -> String {
    let row = |row: usize| {
        let places: Vec<String> = (1..=COLUMNS).map(|column| format!("${}", row * COLUMNS + column)).collect();
        format!("({})", places.join(", "))
    };
    let rows: Vec<String> = (0..rows).map(row).collect();
    format!("INSERT INTO audit_event (sequence, id, time, hash, event) VALUES {}", rows.join(", "))
}

/// Forgets events up to this one, and keeps what the next is chained to.
async fn forget_to(change: &mut Change, sequence: i64) -> Result<u64, StoreError> {
    query(
        "UPDATE audit_head SET start = $1, start_hash = (SELECT hash FROM audit_event WHERE sequence = $1) WHERE id = 1",
    )
    .bind(sequence)
    .execute(&mut *change)
    .await?;
    query("DELETE FROM audit_event WHERE sequence <= $1").bind(sequence).execute(change).await
}

/// An event as it is stored.
struct Written {
    text: String,
    /// What is hashed, where that is not the text.
    hashed: Option<String>,
}

fn write_event(event: &AuditEvent) -> Result<Written, StoreError> {
    let value = serde_json::to_value(event).map_err(|error| StoreError::Unavailable(Box::new(error)))?;
    let text = canonical_json(&value);
    let hashed = match event {
        AuditEvent::Decision(_) | AuditEvent::Token(_) => None,
        // What is before and after may hold numbers that are read otherwise than they were written, in the last digit: readers hash
        // what they read.
        AuditEvent::Admin(_) => Some(canonical_json(&read_json(&text)?)),
    };
    Ok(Written { text, hashed })
}

fn read_json(text: &str) -> Result<Value, StoreError> {
    serde_json::from_str(text).map_err(|_| StoreError::Damaged { what: "event of the record" })
}

fn read_event((sequence, event, hash): (i64, String, String)) -> Result<StoredEvent, StoreError> {
    let event = serde_json::from_str(&event).map_err(|_| StoreError::Damaged { what: "event of the record" })?;
    Ok(StoredEvent { sequence, hash, event })
}

/// Chains the events of a record that had no chain: the oldest that remains is the first.
pub(crate) async fn hash_what_was_not(change: &mut Change) -> Result<(), StoreError> {
    let oldest: Option<(i64,)> =
        query("SELECT sequence FROM audit_event ORDER BY sequence LIMIT 1").fetch_optional(&mut *change).await?;
    let (last,): (i64,) = query("SELECT last FROM audit_head WHERE id = 1").fetch_one(&mut *change).await?;
    let start = oldest.map_or(last, |(oldest,)| oldest - 1);
    let mut end = ChainLink { sequence: start, hash: CHAIN_START.to_owned() };
    loop {
        let rows: Vec<(i64, String)> =
            query("SELECT sequence, event FROM audit_event WHERE sequence > $1 ORDER BY sequence LIMIT $2")
                .bind(end.sequence)
                .bind(HASHED_AT_ONCE)
                .fetch_all(&mut *change)
                .await?;
        if rows.is_empty() {
            break;
        }
        for (sequence, text) in rows {
            let value = read_json(&text)?;
            let hash = chain_hash(&end.hash, sequence, &value);
            query("UPDATE audit_event SET id = $2, time = $3, hash = $4 WHERE sequence = $1")
                .bind(sequence)
                .bind(value.get("id").and_then(Value::as_str).unwrap_or_default().to_owned())
                .bind(value.get("time").and_then(Value::as_i64).unwrap_or_default())
                .bind(&hash)
                .execute(&mut *change)
                .await?;
            end = ChainLink { sequence, hash };
        }
    }
    query("UPDATE audit_head SET hash = $1, start = $2, start_hash = $3 WHERE id = 1")
        .bind(&end.hash)
        .bind(start)
        .bind(CHAIN_START)
        .execute(change)
        .await?;
    Ok(())
}
