//! Every shape that crosses the network, and JOSE.
//!
//! No I/O, no clock, no async: a function that needs the time takes it as an argument.
//! Google's words live here; the crates above speak the project's own (see `ARCHITECTURE.md`).

pub mod credential_file;
pub mod doorward_api;
pub mod google_api;
pub mod headers;
pub mod iam_credentials;
pub mod jose;
pub mod metadata;
pub mod oauth;
pub mod time;
pub mod uri;
pub mod world_file;
pub mod x509;
