//! The only crate that knows HTTP servers, and the only one that wires.

pub mod audit_log;
mod console;
pub mod dev;
mod echo;
mod errors;
mod hosts;
mod listen;
pub mod metadata;
pub mod outbound;
mod pages;
mod trusted_issuers;
pub mod wiring;
