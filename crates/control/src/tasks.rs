//! Work that runs beside its caller.

use std::panic::resume_unwind;

use tokio::task::JoinHandle;

/// The process is stopping, and the work was not finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the process is stopping")]
pub struct Stopping;

/// The result of a task. A panic in it goes on in the caller.
pub(crate) async fn join<T>(task: JoinHandle<T>) -> Result<T, Stopping> {
    task.await.map_err(|error| match error.try_into_panic() {
        Ok(panic) => resume_unwind(panic),
        Err(_cancelled) => Stopping,
    })
}
