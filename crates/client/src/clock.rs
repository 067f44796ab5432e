//! The only place of this crate that reads the time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Tells the time. [`SystemClock`] for programs, [`ManualClock`] for tests.
pub trait Clock: Send + Sync {
    /// The current time. It may go back between two calls when the machine's clock is set.
    fn now(&self) -> SystemTime;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the time")]
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// A clock for tests, which moves only when told to.
#[derive(Debug)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// A clock that stands at `now`, which is after the Unix epoch.
    pub fn at(now: SystemTime) -> Self {
        ManualClock(AtomicU64::new(micros(now)))
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.set(self.now() + by);
    }

    /// Sets the clock, forward or back.
    pub fn set(&self, now: SystemTime) {
        self.0.store(micros(now), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> SystemTime {
        from_micros(self.0.load(Ordering::SeqCst))
    }
}

/// Whole microseconds since the Unix epoch; zero before it.
pub(crate) fn micros(time: SystemTime) -> u64 {
    u64::try_from(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros()).unwrap_or(u64::MAX)
}

/// Whether `since` is less than `pause` before `now`, both in microseconds. A clock that went back ends every pause.
pub(crate) fn within(since: u64, now: u64, pause: Duration) -> bool {
    now.checked_sub(since).is_some_and(|passed| Duration::from_micros(passed) < pause)
}

/// The time of that many microseconds.
pub(crate) fn from_micros(micros: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(micros)
}

/// Whole seconds since the Unix epoch, rounded down: a token's `iat` must never lie in the reader's future.
pub(crate) fn seconds(time: SystemTime) -> i64 {
    i64::try_from(micros(time) / 1_000_000).unwrap_or(i64::MAX)
}

/// The time of a claim. One before the epoch is the epoch, and one after the year 9999 is as good as that: what servers say must
/// not overflow.
pub(crate) fn from_seconds(seconds: i64) -> SystemTime {
    const END_OF_9999: u64 = 253_402_300_799;
    UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0).min(END_OF_9999))
}
