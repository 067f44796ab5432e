//! SQLite, embedded: the default, and in memory the double for tests.
//!
//! One file per aggregate. The queries keep to the dialect that SQLite and PostgreSQL share, and a promise about
//! concurrency rests on conditional statements and row locks, never on SQLite's having one writer.

mod applications;
mod audit;
mod grants;
mod keys;
mod open;
mod policies;
mod service_accounts;
mod users;

pub use open::{Damage, OpenError};

use doorward_core::member::Email;
use doorward_core::store::StoreError;
use sqlx::Transaction;
use sqlx::sqlite::{Sqlite, SqlitePool};

/// Everything that Doorward stores, in one SQLite database.
///
/// Dropping it is safe at any time: what was answered with `Ok` is in the database's `-wal` file, and the next
/// [`SqliteStore::open`] reads it from there.
pub struct SqliteStore {
    /// One connection, `synchronous=FULL`: a commit is on the disk.
    writer: SqlitePool,
    /// One connection, `synchronous=NORMAL`: a commit is with the operating system.
    auditor: SqlitePool,
    /// Several connections that cannot write.
    readers: SqlitePool,
}

impl SqliteStore {
    /// Waits for running calls, moves the `-wal` file into the database and closes it. Later calls fail.
    pub async fn close(&self) {
        // The last connection to close does the moving, and one that cannot write cannot do it.
        self.readers.close().await;
        self.auditor.close().await;
        self.writer.close().await;
    }

    /// Begins a durable change. The write lock is taken at once: a transaction that reads first and locks later could find
    /// that what it read has changed.
    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed)
    }
}

fn failed(error: sqlx::Error) -> StoreError {
    match error {
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => StoreError::Damaged { what: "column" },
        error => StoreError::Unavailable(Box::new(error)),
    }
}

fn read_email(text: &str) -> Result<Email, StoreError> {
    text.parse().map_err(|_| StoreError::Damaged { what: "e-mail address" })
}

/// JSON of one of our own types: writing it cannot fail but for a bug, and then nothing is written.
fn json(value: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Unavailable(Box::new(error)))
}
