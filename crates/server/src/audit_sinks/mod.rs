//! Where entries of the record are sent besides: files, standard output, collectors.
//!
//! Each sink follows the record in the store, by sequence numbers, and keeps in a file up to where it has it. So a sink that fails
//! falls behind, which is said, and nothing is left out; only if the retention forgets events that a sink does not have yet, they are
//! lost to it, and then an entry says which.

mod cursor;
mod entry;
mod exporter;
mod lines;
mod otlp;

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use doorward_core::clock::{Clock, Timestamp};
use doorward_core::resource::Project;
use doorward_core::store::{AuditStore, StoreError};
use doorward_wire::google_api::audit_log::LogEntry;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use cursor::CursorError;
pub use entry::entry;
pub use otlp::{Endpoint, EndpointError};

use crate::config::{SinkConfig, SinkTarget};
use cursor::Cursor;
use exporter::{Exporter, Sink};

/// The folder of the places, in the state directory.
const FOLDER: &str = "audit";

/// An entry on its way.
#[derive(Debug, Clone)]
struct Outgoing {
    /// When it happened.
    time: Timestamp,
    /// What happened.
    entry: LogEntry,
}

/// How a sink is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SinkStatus {
    /// Its name.
    pub name: String,
    /// `file`, `stdout` or `otlp`.
    pub kind: &'static str,
    /// The last event that it has, with all before it that have an entry.
    pub sequence: i64,
    /// How many events it does not have yet.
    pub behind: i64,
    /// Since when nothing arrives: whole seconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<i64>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How many events the retention forgot before it had them, since the process began.
    pub lost: i64,
    /// How many entries it did not take, since the process began.
    pub rejected: u64,
}

/// What an exporter says of itself.
type Shown = Arc<Mutex<SinkStatus>>;

/// Why the sinks were not started.
#[derive(Debug, thiserror::Error)]
pub enum SinksError {
    /// Where a sink is in the record cannot be read.
    #[error("audit sink {name}: {cause}")]
    Cursor {
        /// The sink.
        name: String,
        /// Why.
        cause: CursorError,
    },
    /// The folder of the places cannot be made.
    #[error("cannot make the folder {FOLDER} in the state directory: {0}")]
    Folder(io::Error),
    /// Signals cannot be listened for.
    #[error("cannot listen for SIGHUP: {0}")]
    Signal(io::Error),
}

/// What all sinks need to know.
#[derive(Clone)]
pub struct Record {
    /// The record.
    pub store: Arc<dyn AuditStore>,
    /// The one project.
    pub project: Project,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// How this instance is called by collectors.
    pub instance: String,
}

/// The sinks that run.
pub struct Sinks {
    tasks: JoinSet<()>,
    stop: watch::Sender<bool>,
    shown: Vec<Shown>,
    store: Arc<dyn AuditStore>,
}

impl Sinks {
    /// Starts them. `state` is the directory that this instance holds. A sink that is new gets everything that is kept.
    ///
    /// # Errors
    /// [`SinksError`]: none is started.
    pub fn start(sinks: Vec<SinkConfig>, state: &Path, record: &Record) -> Result<Self, SinksError> {
        let folder = state.join(FOLDER);
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(SinksError::Folder)?;
        let (stop, stopped) = watch::channel(false);
        let (reopen, reopened) = watch::channel(());
        let mut exporters = Vec::new();
        for SinkConfig { name, target } in sinks {
            let cursor = Cursor::open(&folder, &name);
            let cursor = cursor.map_err(|cause| SinksError::Cursor { name: name.clone(), cause })?;
            let sink = match target {
                SinkTarget::File(path) => Sink::file(path),
                SinkTarget::Stdout => Sink::Stdout,
                SinkTarget::Otlp { endpoint, headers, authorities } => {
                    Sink::collector(endpoint, headers, authorities, record.instance.clone())
                }
            };
            exporters.push(Exporter::new(name, sink, cursor, record.clone()));
        }
        let shown = exporters.iter().map(Exporter::shown).collect();
        let mut hangups = signal(SignalKind::hangup()).map_err(SinksError::Signal)?;
        let mut tasks = JoinSet::new();
        let mut stopped_too = stopped.clone();
        tasks.spawn(async move {
            loop {
                tokio::select! {
                    Some(()) = hangups.recv() => { reopen.send_replace(()); }
                    // An error means that the other hand is gone, which is a sign too.
                    _ = stopped_too.wait_for(|stopped| *stopped) => return,
                }
            }
        });
        for exporter in exporters {
            tasks.spawn(exporter.run(reopened.clone(), stopped.clone()));
        }
        Ok(Sinks { tasks, stop, shown, store: record.store.clone() })
    }

    /// How they are.
    ///
    /// # Errors
    /// [`StoreError`]: how far the record is, is not known.
    pub async fn status(&self) -> Result<Vec<SinkStatus>, StoreError> {
        let newest = self.store.latest_events(1).await?.last().map_or(0, |event| event.sequence);
        let show = |shown: &Shown| {
            let mut status = shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
            status.behind = newest.saturating_sub(status.sequence).max(0);
            status
        };
        Ok(self.shown.iter().map(show).collect())
    }

    /// Sends what is left, for up to `patience`, and ends. To be called when the record's writer has ended, before the store is closed.
    /// What is not sent by then is sent at the next start.
    pub async fn finish(mut self, patience: Duration) {
        self.stop.send_replace(true);
        let rest = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(patience, rest).await.is_err() {
            tracing::warn!("a sink of the record does not have everything; it gets the rest after the next start");
        }
    }
}
