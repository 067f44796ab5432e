//! The record of decisions: taken one by one, written in batches.

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

/// How often a write is tried when the process ends.
const LAST_ATTEMPTS: u32 = 3;

enum Message {
    Event(Box<AuditEvent>),
    /// Asks to be told when everything that came before is written.
    Flush(oneshot::Sender<()>),
}

/// Takes events, and reads them back.
pub struct AuditLog {
    queue: mpsc::Sender<Message>,
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
        let (queue, messages) = mpsc::channel(QUEUE);
        let (announce, written) = watch::channel(());
        let failing = Arc::new(AtomicBool::new(false));
        let task = write_batches(store.clone(), keep, messages, announce, failing.clone());
        (Arc::new(AuditLog { queue, failing, written, store }), Writer(tokio::spawn(task)))
    }

    /// The newest `limit` events, oldest first, with everything that was taken before this call.
    pub async fn latest(&self, limit: u32) -> Result<Vec<StoredEvent>, StoreError> {
        self.flush().await;
        self.store.latest_events(limit).await
    }

    /// Up to `limit` events after a sequence number. While there are none, waits up to `patience` for one.
    pub async fn after(&self, sequence: i64, limit: u32, patience: Duration) -> Result<Vec<StoredEvent>, StoreError> {
        let mut written = self.written.clone();
        let found = async {
            loop {
                written.borrow_and_update();
                let events = self.store.events_after(sequence, limit).await?;
                if !events.is_empty() || written.changed().await.is_err() {
                    return Ok(events);
                }
            }
        };
        self.flush().await;
        tokio::time::timeout(patience, found).await.unwrap_or_else(|_| Ok(Vec::new()))
    }

    async fn flush(&self) {
        let (done, wait) = oneshot::channel();
        if self.queue.send(Message::Flush(done)).await.is_ok() {
            // An error means that the writer ended, and that nothing more will be written.
            let _ = wait.await;
        }
    }
}

#[async_trait]
impl AuditSink for AuditLog {
    async fn record(&self, event: AuditEvent) -> Result<(), AuditClosed> {
        // While the store fails, nothing new is let through: it could not be recorded. What was taken is kept and tried again.
        if !self.is_open() {
            return Err(AuditClosed);
        }
        self.queue.send(Message::Event(Box::new(event))).await.map_err(|_| AuditClosed)
    }

    fn is_open(&self) -> bool {
        !self.failing.load(Ordering::Relaxed)
    }
}

async fn write_batches(
    store: Arc<dyn AuditStore>,
    keep: u64,
    mut messages: mpsc::Receiver<Message>,
    announce: watch::Sender<()>,
    failing: Arc<AtomicBool>,
) {
    while let Some(first) = messages.recv().await {
        let (mut events, mut waiting) = (Vec::new(), Vec::new());
        let mut open = take(first, &mut events, &mut waiting);
        let deadline = tokio::time::sleep(GATHER);
        tokio::pin!(deadline);
        while open && events.len() < QUEUE {
            tokio::select! {
                biased;
                () = &mut deadline => break,
                message = messages.recv() => match message {
                    Some(message) => open = take(message, &mut events, &mut waiting),
                    None => break,
                },
            }
        }
        let mut attempts = 1;
        while let Err(error) = store.append(&events, keep).await {
            if !failing.swap(true, Ordering::Relaxed) {
                tracing::error!(error = %Chain(&error), "decisions cannot be recorded; requests are refused until they can");
            }
            if messages.is_closed() && attempts >= LAST_ATTEMPTS {
                tracing::error!(lost = events.len(), "the process ends, and its last decisions are not recorded");
                return;
            }
            drop(error);
            attempts += 1;
            tokio::time::sleep(RETRY).await;
        }
        failing.store(false, Ordering::Relaxed);
        announce.send_replace(());
        for done in waiting {
            // Whoever asked may have gone away.
            let _ = done.send(());
        }
    }
}

/// Takes a message apart; `false` if what was gathered should be written now.
fn take(message: Message, events: &mut Vec<AuditEvent>, waiting: &mut Vec<oneshot::Sender<()>>) -> bool {
    match message {
        Message::Event(event) => {
            events.push(*event);
            true
        }
        Message::Flush(done) => {
            waiting.push(done);
            false
        }
    }
}
