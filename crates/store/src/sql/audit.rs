use async_trait::async_trait;
use doorward_core::audit::{AuditEvent, StoredEvent};
use doorward_core::store::{AuditStore, StoreError};

use super::{SqlStore, json};
use crate::db::query;

/// Fewer than a connection keeps prepared statements, of which each number of rows is one.
const ROWS_PER_STATEMENT: usize = 64;

#[async_trait]
impl AuditStore for SqlStore {
    async fn append(&self, events: &[AuditEvent], keep: u64) -> Result<(), StoreError> {
        let mut change = self.db.begin_record().await?;
        let count = i64::try_from(events.len()).unwrap_or(i64::MAX);
        // Whoever comes next waits here until this change is there, or undone with its numbers.
        let (last,): (i64,) = query("UPDATE audit_head SET last = last + $1 WHERE id = 1 RETURNING last")
            .bind(count)
            .fetch_one(&mut change)
            .await?;
        let mut sequences = last - count + 1..;
        // A statement costs a message to the connection's thread or to the server, and back: several times what a row costs.
        for events in events.chunks(ROWS_PER_STATEMENT) {
            let rows: Vec<String> = (1..=events.len()).map(|row| format!("(${}, ${})", 2 * row - 1, 2 * row)).collect();
            let mut insert = query(format!("INSERT INTO audit_event (sequence, event) VALUES {}", rows.join(", ")));
            for (event, sequence) in events.iter().zip(&mut sequences) {
                insert = insert.bind(sequence).bind(json(event)?);
            }
            insert.execute(&mut change).await?;
        }
        // Sequence numbers have no gaps, so the oldest that stays is known without counting.
        query("DELETE FROM audit_event WHERE sequence <= $1")
            .bind(last.saturating_sub(i64::try_from(keep).unwrap_or(i64::MAX)))
            .execute(&mut change)
            .await?;
        change.commit().await
    }

    async fn events_after(&self, after: i64, limit: u32) -> Result<Vec<StoredEvent>, StoreError> {
        let rows = query("SELECT sequence, event FROM audit_event WHERE sequence > $1 ORDER BY sequence LIMIT $2")
            .bind(after)
            .bind(i64::from(limit))
            .fetch_all(self.db.readers())
            .await?;
        rows.into_iter().map(read_event).collect()
    }

    async fn latest_events(&self, limit: u32) -> Result<Vec<StoredEvent>, StoreError> {
        let rows = query("SELECT sequence, event FROM audit_event ORDER BY sequence DESC LIMIT $1")
            .bind(i64::from(limit))
            .fetch_all(self.db.readers())
            .await?;
        rows.into_iter().rev().map(read_event).collect()
    }
}

fn read_event((sequence, event): (i64, String)) -> Result<StoredEvent, StoreError> {
    let event = serde_json::from_str(&event).map_err(|_| StoreError::Damaged { what: "event of the record" })?;
    Ok(StoredEvent { sequence, event })
}
