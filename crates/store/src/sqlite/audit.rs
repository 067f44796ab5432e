use async_trait::async_trait;
use doorward_core::audit::{AuditEvent, StoredEvent};
use doorward_core::store::{AuditStore, StoreError};
use sqlx::QueryBuilder;

use super::{SqliteStore, failed, json};

/// Fewer than a connection keeps prepared statements, of which each number of rows is one.
const ROWS_PER_STATEMENT: usize = 64;

#[async_trait]
impl AuditStore for SqliteStore {
    async fn append(&self, events: &[AuditEvent], keep: u64) -> Result<(), StoreError> {
        let mut change = self.auditor.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        // A statement costs a message to the connection's thread and back: several times what a row costs.
        for rows in events.chunks(ROWS_PER_STATEMENT) {
            let rows = rows.iter().map(json).collect::<Result<Vec<String>, _>>()?;
            QueryBuilder::new("INSERT INTO audit_event (event) ")
                .push_values(rows, |mut row, event| {
                    row.push_bind(event);
                })
                .build()
                .execute(&mut *change)
                .await
                .map_err(failed)?;
        }
        // Sequence numbers have no gaps, so the oldest that stays is known without counting.
        sqlx::query("DELETE FROM audit_event WHERE sequence <= (SELECT MAX(sequence) FROM audit_event) - $1")
            .bind(i64::try_from(keep).unwrap_or(i64::MAX))
            .execute(&mut *change)
            .await
            .map_err(failed)?;
        change.commit().await.map_err(failed)
    }

    async fn events_after(&self, after: i64, limit: u32) -> Result<Vec<StoredEvent>, StoreError> {
        let rows =
            sqlx::query_as("SELECT sequence, event FROM audit_event WHERE sequence > $1 ORDER BY sequence LIMIT $2")
                .bind(after)
                .bind(i64::from(limit))
                .fetch_all(&self.readers)
                .await;
        rows.map_err(failed)?.into_iter().map(read_event).collect()
    }

    async fn latest_events(&self, limit: u32) -> Result<Vec<StoredEvent>, StoreError> {
        let rows = sqlx::query_as("SELECT sequence, event FROM audit_event ORDER BY sequence DESC LIMIT $1")
            .bind(i64::from(limit))
            .fetch_all(&self.readers)
            .await;
        rows.map_err(failed)?.into_iter().rev().map(read_event).collect()
    }
}

fn read_event((sequence, event): (i64, String)) -> Result<StoredEvent, StoreError> {
    let event = serde_json::from_str(&event).map_err(|_| StoreError::Damaged { what: "event of the record" })?;
    Ok(StoredEvent { sequence, event })
}
