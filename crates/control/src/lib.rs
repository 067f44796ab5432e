//! The control plane's use cases: tokens, service accounts, policies, and who may administer them.
//!
//! No HTTP and no SQL: a use case takes what a caller asked for, and gives what happened or an error that names the cause.

pub mod administrators;
pub mod keys;
pub mod policies;
pub mod service_accounts;
pub mod snapshots;
mod tasks;
pub mod tokens;

pub use tasks::Stopping;
