//! Whoever waits for a change of the store: told by this process, by the server, or by looking now and then.

use std::time::Duration;

use sqlx::postgres::{PgListener, PgPool};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// What a server calls when the revision is raised. Anybody who may use the database may call on it too, with whatever text: a call
/// makes us look, and nothing in it is believed.
pub(crate) const CHANNEL: &str = "doorward_revision";

/// After a lost connection, the next one is tried after this long.
const AGAIN: Duration = Duration::from_millis(250);
/// A connection on which nothing came for this long is asked whether it lives.
const QUIET: Duration = Duration::from_secs(10);

/// Wakes whoever waits for a change.
pub(crate) struct Watch {
    calls: watch::Sender<()>,
    poll: Duration,
    listening: Option<(AbortHandle, PgPool)>,
}

/// One who waits.
pub(crate) struct Waiting {
    calls: watch::Receiver<()>,
    poll: Duration,
}

impl Watch {
    /// For a database that tells nothing.
    pub(crate) fn new(poll: Duration) -> Watch {
        Watch { calls: watch::Sender::new(()), poll, listening: None }
    }

    /// Listens to a server, on one connection of a pool that is for this alone. `limit` is how long an answer may take.
    pub(crate) fn listening(poll: Duration, pool: PgPool, limit: Duration) -> Watch {
        let mut watch = Watch::new(poll);
        let task = tokio::spawn(listen(pool.clone(), watch.calls.clone(), limit));
        watch.listening = Some((task.abort_handle(), pool));
        watch
    }

    /// Wakes everybody who waits.
    pub(crate) fn tell(&self) {
        self.calls.send_replace(());
    }

    /// Begins to wait: from here on no call is missed.
    pub(crate) fn subscribe(&self) -> Waiting {
        Waiting { calls: self.calls.subscribe(), poll: self.poll }
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

impl Waiting {
    /// Waits for a call since the last time, or for as long as it takes until one should look without. However many calls came, they
    /// are one.
    pub(crate) async fn wait(&mut self) {
        // The time is over, or the store is closed: the next look tells.
        let _ = tokio::time::timeout(self.poll, self.calls.changed()).await;
    }
}

async fn listen(pool: PgPool, calls: watch::Sender<()>, limit: Duration) {
    loop {
        // Why it ended is of no use to anybody: what was missed meanwhile is read when it begins again, and by whoever waits.
        let _ = follow(&pool, &calls, limit).await;
        tokio::time::sleep(AGAIN).await;
    }
}

/// Listens until the connection is lost.
async fn follow(pool: &PgPool, calls: &watch::Sender<()>, limit: Duration) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.eager_reconnect(false);
    listener.listen(CHANNEL).await?;
    loop {
        // For what was written before we listened; later, the question whether the connection lives.
        let alive = sqlx::query("SELECT value FROM revision WHERE id = 1").execute(&mut listener);
        let late = |_| sqlx::Error::Io(std::io::ErrorKind::TimedOut.into());
        tokio::time::timeout(limit, alive).await.map_err(late)??;
        calls.send_replace(());
        while let Ok(notification) = tokio::time::timeout(QUIET, listener.try_recv()).await {
            if notification?.is_none() {
                return Ok(());
            }
            calls.send_replace(());
        }
    }
}
