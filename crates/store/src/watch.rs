//! Whoever waits for a change of the store: told by this process, by the server, or by looking now and then.

use std::time::Duration;

use sqlx::postgres::{PgListener, PgPool};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// What a server calls when the revision is raised. The revision comes with it.
pub(crate) const CHANNEL: &str = "doorward_revision";

/// After a lost connection, the next one is tried after this long.
const AGAIN: Duration = Duration::from_millis(250);
/// A connection on which nothing came for this long is asked whether it lives.
const QUIET: Duration = Duration::from_secs(10);

/// The newest revision that this process knows of.
pub(crate) struct Watch {
    seen: watch::Sender<i64>,
    poll: Duration,
    listening: Option<(AbortHandle, PgPool)>,
}

impl Watch {
    /// For a database that tells nothing.
    pub(crate) fn new(poll: Duration) -> Watch {
        Watch { seen: watch::Sender::new(0), poll, listening: None }
    }

    /// Listens to a server, on one connection of a pool that is for this alone. `limit` is how long an answer may take.
    pub(crate) fn listening(poll: Duration, pool: PgPool, limit: Duration) -> Watch {
        let mut watch = Watch::new(poll);
        let task = tokio::spawn(listen(pool.clone(), watch.seen.clone(), limit));
        watch.listening = Some((task.abort_handle(), pool));
        watch
    }

    /// Tells everybody who waits.
    pub(crate) fn saw(&self, revision: i64) {
        saw(&self.seen, revision);
    }

    /// Waits until a revision above this one is known, or for as long as it takes until somebody should look.
    pub(crate) async fn wait(&self, after: i64) -> bool {
        let mut seen = self.seen.subscribe();
        // The sender lives as long as we do.
        tokio::time::timeout(self.poll, seen.wait_for(|seen| *seen > after)).await.is_ok()
    }

    pub(crate) async fn close(&self) {
        if let Some((task, pool)) = &self.listening {
            task.abort();
            pool.close().await;
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some((task, _)) = &self.listening {
            task.abort();
        }
    }
}

fn saw(seen: &watch::Sender<i64>, revision: i64) {
    seen.send_if_modified(|newest| {
        let newer = revision > *newest;
        *newest = revision.max(*newest);
        newer
    });
}

async fn listen(pool: PgPool, seen: watch::Sender<i64>, limit: Duration) {
    loop {
        // Why it ended is of no use to anybody: what was missed meanwhile is read when it begins again, and by whoever waits.
        let _ = follow(&pool, &seen, limit).await;
        tokio::time::sleep(AGAIN).await;
    }
}

/// Listens until the connection is lost.
async fn follow(pool: &PgPool, seen: &watch::Sender<i64>, limit: Duration) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.eager_reconnect(false);
    listener.listen(CHANNEL).await?;
    loop {
        // What was written before we listened; later, the question whether the connection lives.
        let current = sqlx::query_scalar("SELECT value FROM revision WHERE id = 1").fetch_one(&mut listener);
        let late = |_| sqlx::Error::Io(std::io::ErrorKind::TimedOut.into());
        saw(seen, tokio::time::timeout(limit, current).await.map_err(late)??);
        while let Ok(notification) = tokio::time::timeout(QUIET, listener.try_recv()).await {
            match notification?.map(|notification| notification.payload().parse()) {
                Some(Ok(revision)) => saw(seen, revision),
                // Not ours: anybody may call on a channel. There is nothing to fear, we look.
                Some(Err(_)) => break,
                None => return Ok(()),
            }
        }
    }
}
