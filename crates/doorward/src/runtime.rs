//! Waiting for an answer, where a command asks for one.

use anyhow::Context as _;

/// Runs `work` to its end. A command is a client, for which one thread is enough.
pub(crate) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start the input and output of this process")?.block_on(work)
}
