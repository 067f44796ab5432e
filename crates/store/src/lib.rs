//! Implements the traits of `doorward_core::store` on SQL. The only crate that knows an SQL library.
//!
//! One implementation, [`SqlStore`], on two engines: SQLite, embedded, and PostgreSQL. What differs between them is in
//! `db` (how a statement is run) and `open` (how a database is found, made and brought up to date).

mod backup;
mod db;
mod migrations;
mod open;
mod seal;
mod sql;
mod watch;

pub use backup::{Backup, BackupError, RestoreError};
pub use open::{Age, Damage, Location, OpenError, PostgresOptions, UrlError};
pub use seal::{KeyFileError, Sealer};
pub use sql::SqlStore;

/// The store by the name of its first engine, for those who open a file or none.
pub type SqliteStore = SqlStore;
