//! Decisions as pictures, and what must hold for every world.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod matrix;
mod property;
mod snapshots;
mod world;
