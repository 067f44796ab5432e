//! `doorward serve`: what a file says, in production. None of the fixtures of `dev`.

pub mod apps;
pub mod init;
pub mod state;
pub mod tls;

use std::path::Path;

use crate::config::{self, Config, Mistakes};

/// Reads a file with the environment of this process: what `doorward check` does, and `serve` and `init` first. Changes nothing and
/// asks nobody.
///
/// # Errors
/// [`Mistakes`]: every one, one line each.
pub fn read(path: &Path) -> Result<Config, Mistakes> {
    config::read(path, &|name| std::env::var(name).ok())
}
