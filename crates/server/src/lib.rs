//! The only crate that knows HTTP servers, and the only one that wires.

pub mod dev;
