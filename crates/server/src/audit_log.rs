//! The record of decisions and changes: taken one by one, written in batches.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use doorward_core::audit::{AuditClosed, AuditEvent, AuditSink, StoredEvent};
use doorward_core::store::{AuditStore, StoreError};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::errors::Chain;

/// Events that may wait to be written. When as many wait, whoever brings another one waits too.
const QUEUE: usize = 8192;
/// How long events are gathered before they are written together: what a killed process loses at most, besides the write
/// that is under way.
const GATHER: Duration = Duration::from_millis(100);
/// How long after a failed write the same events are tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How long a reader waits for what was taken before.
const WRITTEN_WITHIN: Duration = Duration::from_secs(5);
/// How often a write is tried when the process ends.
const LAST_ATTEMPTS: u32 = 3;

/// Asks to be told when everything that was taken before is written. It is dropped if that fails.
type Flush = oneshot::Sender<()>;

/// Takes events, and reads them back.
pub struct AuditLog {
    queue: mpsc::Sender<AuditEvent>,
    flushes: mpsc::Sender<Flush>,
    failing: Arc<AtomicBool>,
    /// Changes with every batch that was written.
    written: watch::Receiver<()>,
    store: Arc<dyn AuditStore>,
}

/// The task that writes. It ends, with everything written, when every [`AuditLog`] handle is gone.
pub struct Writer(JoinHandle<()>);

impl Writer {
    /// Waits until everything is written.
    pub async fn finished(self) {
        // The task is never cancelled; a panic in it has been reported by the panic hook.
        let _ = self.0.await;
    }
}

impl AuditLog {
    /// Starts the record; the newest `keep` events remain.
    pub fn start(store: Arc<dyn AuditStore>, keep: u64) -> (Arc<AuditLog>, Writer) {
        let (queue, events) = mpsc::channel(QUEUE);
        let (flushes, flush_requests) = mpsc::channel(16);
        let (announce, written) = watch::channel(());
        let failing = Arc::new(AtomicBool::new(false));
        let batches =
            Batches { store: store.clone(), keep, events, flush_requests, announce, failing: failing.clone() };
        (Arc::new(AuditLog { queue, flushes, failing, written, store }), Writer(tokio::spawn(batches.write())))
    }

    /// The newest `limit` events, oldest first, with everything that was taken before this call.
    pub async fn latest(&self, limit: u32) -> Result<Vec<StoredEvent>, StoreError> {
        // What cannot be written is not there; the store says for itself whether it can be read.
        let _ = self.flush().await;
        self.store.latest_events(limit).await
    }

    /// Up to `limit` events after a sequence number. While there are none, waits up to `patience` for one.
    pub async fn after(&self, sequence: i64, limit: u32, patience: Duration) -> Result<Vec<StoredEvent>, StoreError> {
        let mut written = self.written.clone();
        // As above.
        let _ = self.flush().await;
        let deadline = tokio::time::sleep(patience);
        tokio::pin!(deadline);
        loop {
            written.borrow_and_update();
            let events = self.store.events_after(sequence, limit).await?;
            if !events.is_empty() {
                return Ok(events);
            }
            tokio::select! {
                () = &mut deadline => return Ok(events),
                // An error means that nothing more will be written.
                changed = written.changed() => if changed.is_err() {
                    return Ok(events);
                },
            }
        }
    }

    /// Waits until everything that was taken before is written.
    ///
    /// # Errors
    /// [`AuditClosed`] if it could not be written at the first attempt, or the writer ended.
    async fn flush(&self) -> Result<(), AuditClosed> {
        let (done, wait) = oneshot::channel();
        self.flushes.send(done).await.map_err(|_| AuditClosed)?;
        wait.await.map_err(|_| AuditClosed)
    }
}

#[async_trait]
impl AuditSink for AuditLog {
    async fn record(&self, event: AuditEvent) -> Result<(), AuditClosed> {
        // While the store fails, nothing new is let through: it could not be recorded. What was taken is kept and tried again.
        if !self.is_open() {
            return Err(AuditClosed);
        }
        self.queue.send(event).await.map_err(|_| AuditClosed)
    }

    async fn record_durably(&self, event: AuditEvent) -> Result<(), AuditClosed> {
        // Also while the store fails: that was not so when the change was begun, and the change stands.
        self.queue.send(event).await.map_err(|_| AuditClosed)?;
        self.flush().await
    }

    async fn written(&self) -> Result<(), AuditClosed> {
        tokio::time::timeout(WRITTEN_WITHIN, self.flush()).await.unwrap_or(Err(AuditClosed))
    }

    fn is_open(&self) -> bool {
        !self.failing.load(Ordering::Relaxed)
    }
}

/// The writing end.
struct Batches {
    store: Arc<dyn AuditStore>,
    keep: u64,
    events: mpsc::Receiver<AuditEvent>,
    flush_requests: mpsc::Receiver<Flush>,
    announce: watch::Sender<()>,
    failing: Arc<AtomicBool>,
}

impl Batches {
    /// Writes until every handle is gone.
    async fn write(mut self) {
        loop {
            let (mut events, mut waiting) = (Vec::new(), Vec::new());
            tokio::select! {
                event = self.events.recv() => match event {
                    Some(event) => events.push(event),
                    None => return,
                },
                Some(done) = self.flush_requests.recv() => waiting.push(done),
            }
            if waiting.is_empty() {
                // Nobody is listened to meanwhile, so that an event costs its sender no system call to wake us.
                tokio::select! {
                    () = tokio::time::sleep(GATHER) => {}
                    Some(done) = self.flush_requests.recv() => waiting.push(done),
                }
            }
            // Whoever waits has brought an event before: it is one of as many as the queue holds.
            for _ in 0..QUEUE {
                let Ok(event) = self.events.try_recv() else { break };
                events.push(event);
            }
            if !self.write_one(&events, &mut waiting).await {
                return;
            }
            for done in waiting {
                // Whoever asked may have gone away.
                let _ = done.send(());
            }
        }
    }

    /// Writes a batch, however long it takes; `false` if the process ends and it could not. Whoever waits is told at the first
    /// failure: an answer does not wait for a store that is away.
    async fn write_one(&mut self, events: &[AuditEvent], waiting: &mut Vec<Flush>) -> bool {
        let mut attempts = 1;
        while let Err(error) = self.store.append(events, self.keep).await {
            if !self.failing.swap(true, Ordering::Relaxed) {
                tracing::error!(error = %Chain(&error), "decisions cannot be recorded; requests are refused until they can");
            }
            if self.events.is_closed() && attempts >= LAST_ATTEMPTS {
                tracing::error!(lost = events.len(), "the process ends, and its last decisions are not recorded");
                return false;
            }
            drop(error);
            waiting.clear();
            while self.flush_requests.try_recv().is_ok() {}
            attempts += 1;
            tokio::time::sleep(RETRY).await;
        }
        self.failing.store(false, Ordering::Relaxed);
        self.announce.send_replace(());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use doorward_core::audit::{TokenEvent, TokenMethod};
    use doorward_core::clock::Timestamp;
    use doorward_store::SqliteStore;

    fn event(id: &str) -> AuditEvent {
        AuditEvent::Token(TokenEvent::new(id.to_owned(), Timestamp::from_seconds(7), TokenMethod::Api, None))
    }

    #[tokio::test]
    async fn what_is_recorded_durably_is_in_the_store_before_the_answer_with_all_before_it() {
        let store = Arc::new(SqliteStore::in_memory().await.unwrap());
        let (log, writer) = AuditLog::start(store.clone(), 100);
        log.record(event("a")).await.unwrap();
        log.record_durably(event("b")).await.unwrap();
        let stored = store.latest_events(9).await.unwrap();
        assert_eq!(stored.iter().map(|it| it.event.id()).collect::<Vec<_>>(), ["a", "b"]);
        drop(log);
        writer.finished().await;
    }

    #[tokio::test]
    async fn a_change_that_stands_is_recorded_even_if_the_store_fails_meanwhile() {
        let store = Arc::new(SqliteStore::in_memory().await.unwrap());
        let (log, _writer) = AuditLog::start(store.clone(), 100);
        // As a write that failed before leaves it.
        log.failing.store(true, Ordering::Relaxed);
        assert_eq!(log.record(event("new")).await, Err(AuditClosed));
        log.record_durably(event("stands")).await.unwrap();
        let stored = store.latest_events(9).await.unwrap();
        assert_eq!(stored.iter().map(|it| it.event.id()).collect::<Vec<_>>(), ["stands"]);
        assert!(log.is_open(), "the store is back");
    }

    #[tokio::test]
    async fn what_was_taken_is_written_when_a_reader_asks_for_it() {
        let store = Arc::new(SqliteStore::in_memory().await.unwrap());
        let (log, _writer) = AuditLog::start(store.clone(), 100);
        log.record(event("a")).await.unwrap();
        log.written().await.unwrap();
        assert!(store.event("a").await.unwrap().is_some());
        store.close().await;
        log.queue.send(event("b")).await.unwrap();
        assert_eq!(log.written().await, Err(AuditClosed));
    }

    #[tokio::test]
    async fn nothing_is_durable_while_the_store_is_away_and_nothing_new_is_taken() {
        let store = Arc::new(SqliteStore::in_memory().await.unwrap());
        let (log, _writer) = AuditLog::start(store.clone(), 100);
        store.close().await;
        assert_eq!(log.record_durably(event("a")).await, Err(AuditClosed));
        assert!(!log.is_open());
        assert_eq!(log.record(event("b")).await, Err(AuditClosed));
    }
}
