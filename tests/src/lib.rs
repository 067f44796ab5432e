//! The whole product on loopback: the real binary, real sockets, real clients.
//!
//! Nothing here sleeps: a test waits for a line, for bytes or for the end of a process, at most [`PATIENCE`] long. Failures
//! panic, as in any test; a scenario's text is in `tests/tests/`, one file per theme.

mod browser;
mod commands;
mod dev;
mod http;
mod issuer;
mod names;
mod people;
mod process;
mod serve;
mod tokens;
mod upstream;

pub use browser::{Browser, Page};
pub use dev::{Dev, LISTENERS, PLAIN_LISTENERS, Side, client_script, doorward, go_program, java, node, python, ruby};
pub use http::{Connection, Request, Response, authority};
pub use issuer::{Issuer, KeysAnswer, key};
pub use names::Names;
pub use people::{Client, Person, authorize_url, query_of};
pub use process::{Finished, Process, run};
pub use serve::{Place, Serve, TEN_LINES};
pub use tokens::{Account, now_seconds, tampered};
pub use upstream::{Seen, Upstream};

use std::time::Duration;

/// How long a test waits for something that is due at once. Generous, because machines of continuous integration stall.
pub const PATIENCE: Duration = Duration::from_secs(60);
