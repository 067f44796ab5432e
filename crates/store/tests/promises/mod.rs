//! What every store promises, by what it keeps.

pub(crate) mod accounts;
pub(crate) mod applications;
pub(crate) mod clients;
pub(crate) mod devices;
pub(crate) mod federation;
pub(crate) mod groups;
pub(crate) mod keys;
pub(crate) mod people;
pub(crate) mod record;
pub(crate) mod resources;
pub(crate) mod revisions;
pub(crate) mod rules;
pub(crate) mod tokens;

use std::future::Future;
use std::sync::Arc;

use doorward_core::store::Store;
use tokio::task::JoinSet;

pub(crate) type AnyStore = Arc<dyn Store>;

/// What `count` calls answer that run at the same time.
async fn at_once<F, T>(count: usize, call: impl Fn(usize) -> F) -> Vec<T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    (0..count).map(call).collect::<JoinSet<T>>().join_all().await
}
