//! The only crate that knows HTTP servers, and the only one that wires.

pub mod audit_log;
pub mod audit_sinks;
pub mod config;
pub mod config_file;
mod console;
pub mod dev;
mod echo;
mod errors;
mod hosts;
mod listen;
pub mod metadata;
pub mod outbound;
mod pages;
mod retention;
pub mod serve;
pub mod tool_clients;
pub mod wiring;
