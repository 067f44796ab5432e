//! One sink that follows the record.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use doorward_core::audit::ChainLink;
use doorward_core::store::StoreError;
use doorward_wire::google_api::audit_log::LogEntry;
use http::{HeaderName, HeaderValue};
use rustls::pki_types::CertificateDer;
use tokio::sync::watch;

use super::cursor::{Cursor, CursorError};
use super::entry::{entry, gap, replaced};
use super::lines::{LinesFile, lines, print};
use super::otlp::{Collector, Endpoint, OtlpError};
use super::{Outgoing, Record, Shown, SinkStatus};

/// Events that are read, sent and noted together.
const BATCH: u32 = 512;
/// How long nothing is looked for after there was nothing.
const IDLE: Duration = Duration::from_secs(1);
/// How long a sink that fails is left alone at first; twice as long each time.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest that it is left alone.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The longest that a collector may ask to be left alone.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(300);

/// Where entries go.
pub(super) enum Sink {
    File { path: PathBuf, open: Option<LinesFile> },
    Stdout,
    Otlp(Box<Collector>),
}

/// Why entries did not get there.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    #[error("cannot write: {0}")]
    Io(#[from] io::Error),
    #[error("an entry cannot be written as JSON: {0}")]
    Encode(#[from] serde_json::Error),
    #[error(transparent)]
    Otlp(#[from] OtlpError),
}

impl Sink {
    pub(super) fn file(path: PathBuf) -> Self {
        Sink::File { path, open: None }
    }

    pub(super) fn collector(
        endpoint: Endpoint,
        headers: Vec<(HeaderName, HeaderValue)>,
        authorities: Vec<CertificateDer<'static>>,
        instance: String,
    ) -> Self {
        Sink::Otlp(Box::new(Collector::new(endpoint, headers, authorities, instance)))
    }

    fn kind(&self) -> &'static str {
        match self {
            Sink::File { .. } => "file",
            Sink::Stdout => "stdout",
            Sink::Otlp(_) => "otlp",
        }
    }

    /// Sends, and returns when the entries are where they are to be, with how many were not taken, and why.
    async fn send(&mut self, outgoing: &[Outgoing], record: &Record) -> Result<(u64, String), SendError> {
        let written = || {
            let entries: Vec<LogEntry> = outgoing.iter().map(|it| it.entry.clone()).collect();
            lines(&entries)
        };
        match self {
            Sink::Otlp(collector) => return Ok(collector.send(outgoing, record.clock.now()).await?),
            Sink::File { path, open } => {
                let lines = written()?;
                let mut file = open.take().unwrap_or_else(|| LinesFile::new(path.clone()));
                // Waiting for a disk would hold up everything else on this thread.
                let appended = blocking(move || {
                    let appended = file.append(&lines);
                    (file, appended)
                });
                let (file, appended) = appended.await?;
                *open = Some(file);
                appended?;
            }
            Sink::Stdout => {
                let lines = written()?;
                blocking(move || print(&lines)).await??;
            }
        }
        Ok((0, String::new()))
    }

    fn reopen(&mut self) {
        if let Sink::File { open: Some(file), .. } = self {
            file.reopen();
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}

/// Why a step failed. The next one does the same again.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExportError {
    #[error("the record cannot be read: {0}")]
    Store(#[from] StoreError),
    #[error(transparent)]
    Send(#[from] SendError),
    #[error(transparent)]
    Cursor(#[from] CursorError),
}

impl ExportError {
    /// The least that the sink is left alone.
    fn retry_after(&self) -> Duration {
        match self {
            ExportError::Send(SendError::Otlp(OtlpError::Busy { retry_after: Some(asked), .. })) => {
                (*asked).min(LONGEST_RETRY_AFTER)
            }
            // Somebody has to change something first.
            ExportError::Send(SendError::Otlp(OtlpError::Refused(_))) => LONGEST_PAUSE,
            ExportError::Store(_) | ExportError::Send(_) | ExportError::Cursor(_) => Duration::ZERO,
        }
    }
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// There may be more.
    Sent,
    /// The sink has everything.
    Idle,
}

/// A sink that follows the record.
pub(super) struct Exporter {
    name: String,
    sink: Sink,
    cursor: Cursor,
    record: Record,
    shown: Shown,
    /// The place was compared with the record.
    begun: bool,
}

impl Exporter {
    pub(super) fn new(name: String, sink: Sink, cursor: Cursor, record: Record) -> Self {
        let shown = SinkStatus {
            name: name.clone(),
            kind: sink.kind(),
            sequence: cursor.at().sequence,
            behind: 0,
            failing_since: None,
            error: None,
            lost: 0,
            rejected: 0,
        };
        Exporter { name, sink, cursor, record, shown: Arc::new(Mutex::new(shown)), begun: false }
    }

    pub(super) fn shown(&self) -> Shown {
        self.shown.clone()
    }

    /// Follows the record until the sign is given; then sends what is left, as long as that succeeds.
    pub(super) async fn run(mut self, mut reopen: watch::Receiver<()>, mut stop: watch::Receiver<bool>) {
        let mut failures = 0;
        loop {
            let stopping = *stop.borrow();
            let pause = match self.step().await {
                Ok(Step::Sent) => {
                    failures = self.works(failures);
                    continue;
                }
                Ok(Step::Idle) => {
                    failures = self.works(failures);
                    IDLE
                }
                Err(error) => {
                    failures += 1;
                    self.fails(&error, failures).await;
                    pause_after(failures).max(error.retry_after())
                }
            };
            if stopping {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                Ok(()) = reopen.changed() => self.sink.reopen(),
                // An error means that the other hand is gone, which is a sign too.
                _ = stop.wait_for(|stopped| *stopped) => {}
            }
        }
    }

    /// Sends the next events, if there are any.
    pub(super) async fn step(&mut self) -> Result<Step, ExportError> {
        if !self.begun {
            self.begin().await?;
            self.begun = true;
        }
        let at = self.cursor.at().sequence;
        let events = self.record.store.events_after(at, BATCH).await?;
        let (Some(first), Some(last)) = (events.first(), events.last()) else { return Ok(Step::Idle) };
        let end = ChainLink { sequence: last.sequence, hash: last.hash.clone() };
        let mut outgoing = Vec::new();
        let lost = first.sequence.saturating_sub(at).saturating_sub(1);
        if lost > 0 {
            let (from, to) = (at + 1, first.sequence - 1);
            tracing::error!(
                sink = %self.name, from, to, lost,
                "the retention forgot events before this sink had them; an entry says so in their place"
            );
            let time = self.record.clock.now();
            outgoing.push(Outgoing { time, entry: gap(from, to, time, &self.record.project) });
        }
        let project = &self.record.project;
        let entries = events.iter().filter_map(|event| Some((event.event.time(), entry(event, project)?)));
        outgoing.extend(entries.map(|(time, entry)| Outgoing { time, entry }));
        self.deliver(&outgoing).await?;
        self.move_to(end)?;
        self.note(|shown| shown.lost += lost);
        Ok(Step::Sent)
    }

    /// Compares the place with the record: a sink that is new begins at the oldest event that is kept, and one whose record is gone
    /// begins anew, for it would wait in silence until the new record is as long as the old one.
    async fn begin(&mut self) -> Result<(), ExportError> {
        let store = self.record.store.clone();
        let start = store.chain_start().await?;
        let at = self.cursor.at().clone();
        if at == ChainLink::start() {
            return self.move_to(start);
        }
        let same = match start.sequence.cmp(&at.sequence) {
            // It was forgotten, and cannot be compared: what is missing is a gap.
            std::cmp::Ordering::Greater => true,
            std::cmp::Ordering::Equal => start.hash == at.hash,
            std::cmp::Ordering::Less => {
                let there = store.raw_events_after(at.sequence - 1, 1).await?;
                there.first().is_some_and(|(sequence, _, hash)| (*sequence, hash) == (at.sequence, &at.hash))
            }
        };
        if same {
            return Ok(());
        }
        tracing::error!(
            sink = %self.name, sequence = at.sequence,
            "the record is not the one of which this sink has a part: it is sent from its beginning"
        );
        let time = self.record.clock.now();
        self.deliver(&[Outgoing { time, entry: replaced(at.sequence, time, &self.record.project) }]).await?;
        self.move_to(start)
    }

    /// Sends all of these, in as many parts as the sink takes. What it does not take even alone is said, and left out.
    async fn deliver(&mut self, outgoing: &[Outgoing]) -> Result<(), ExportError> {
        let mut parts = vec![outgoing];
        while let Some(part) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            match self.sink.send(part, &self.record).await {
                Ok((0, _)) => {}
                Ok((rejected, why)) => {
                    tracing::error!(sink = %self.name, rejected, why, "the collector did not take entries");
                    self.note(|shown| shown.rejected += rejected);
                }
                Err(SendError::Otlp(OtlpError::Unacceptable(status))) => match part {
                    [one] => {
                        let id = &one.entry.insert_id;
                        tracing::error!(sink = %self.name, id, %status, "the collector does not take an entry");
                        self.note(|shown| shown.rejected += 1);
                    }
                    many => {
                        let (first, second) = many.split_at(many.len() / 2);
                        parts.extend([second, first]);
                    }
                },
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn move_to(&mut self, at: ChainLink) -> Result<(), ExportError> {
        let sequence = at.sequence;
        self.cursor.move_to(at)?;
        self.note(|shown| shown.sequence = sequence);
        Ok(())
    }

    fn note(&self, change: impl FnOnce(&mut SinkStatus)) {
        change(&mut self.shown.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn works(&self, failures: u32) -> u32 {
        if failures > 0 {
            tracing::info!(sink = %self.name, sequence = self.cursor.at().sequence, "a sink of the record works again");
            self.note(|shown| (shown.failing_since, shown.error) = (None, None));
        }
        0
    }

    /// Says at once that it fails, and from then on how far it is behind, each time that it was left alone for the longest.
    async fn fails(&self, error: &ExportError, failures: u32) {
        let now = self.record.clock.now().seconds();
        self.note(|shown| {
            shown.failing_since.get_or_insert(now);
            shown.error = Some(error.to_string());
        });
        if failures > 1 && pause_after(failures) < LONGEST_PAUSE {
            return;
        }
        let newest = self.record.store.latest_events(1).await.ok().and_then(|events| Some(events.last()?.sequence));
        let behind = newest.map(|newest| newest.saturating_sub(self.cursor.at().sequence));
        tracing::error!(sink = %self.name, %error, behind, "a sink of the record fails; nothing is lost, and it is tried again");
    }
}

fn pause_after(failures: u32) -> Duration {
    PAUSE.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1))).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests;
