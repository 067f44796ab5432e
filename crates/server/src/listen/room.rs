//! How many connections there is room for.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many connections may be open at a time. When they are, further ones wait to be accepted, and files are left for the
/// store and everything else.
#[derive(Clone)]
pub(crate) struct Room(Arc<Semaphore>);

impl Room {
    /// For all listeners of applications together. A proxied connection may need two files: the caller's, and one to the
    /// application.
    pub(crate) fn for_applications() -> Self {
        Room::of(open_files_limit() * 3 / 8)
    }

    /// For the API: its own, so that callers of an application cannot shut the operator out.
    pub(crate) fn for_api() -> Self {
        Room::of(open_files_limit() / 8)
    }

    /// For the built-in applications, which only our own data plane talks to.
    pub(crate) fn unlimited() -> Self {
        Room::of(Semaphore::MAX_PERMITS)
    }

    fn of(connections: usize) -> Self {
        Room(Arc::new(Semaphore::new(connections.clamp(8, Semaphore::MAX_PERMITS))))
    }

    /// Waits for a place. The semaphore is never closed, so there is always an answer in the end.
    pub(super) async fn place(&self) -> Option<OwnedSemaphorePermit> {
        self.0.clone().acquire_owned().await.ok()
    }
}

/// The soft limit on open files, less a reserve; where the system does not say, the smallest that is usual.
fn open_files_limit() -> usize {
    const USUAL: usize = 1024;
    const RESERVE: usize = 64;
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    soft.unwrap_or(USUAL).saturating_sub(RESERVE)
}
