//! Implements the traits of `doorward_core::store` on SQL. The only crate that knows an SQL library.

mod sqlite;

pub use sqlite::{Damage, OpenError, SqliteStore};
