//! How long ago it was known that what is in force is what the store holds.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::clock::Timestamp;

/// A clock that is corrected while it runs goes back by so much at most. By more, it was set.
const MOMENT: Duration = Duration::from_secs(1);

/// The time of the last successful look at the store. The control plane notes it, the data plane asks: grants that may have been
/// revoked long ago are not served.
#[derive(Debug)]
pub struct Freshness {
    last: AtomicI64,
    limit: Duration,
}

impl Freshness {
    /// A store that was read at `now`. After `limit` without another reading, what is in force counts as stale.
    pub fn new(now: Timestamp, limit: Duration) -> Self {
        Freshness { last: AtomicI64::new(now.micros()), limit }
    }

    /// Notes a reading that began at `at`, after the one that was noted before. The machine's clock may have been set back since.
    pub fn note(&self, at: Timestamp) {
        self.last.store(at.micros(), Ordering::Relaxed);
    }

    /// The time at which the last reading began.
    pub fn last(&self) -> Timestamp {
        Timestamp::from_micros(self.last.load(Ordering::Relaxed))
    }

    /// Whether what is in force may be served at `now`. Not where the last reading lies in the future: the clock was set back, and how
    /// long ago it was is not known until the next one.
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        let last = self.last();
        now.since(last) <= self.limit && last.since(now) <= MOMENT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_read_for_longer_than_the_limit_is_stale() {
        let at = Timestamp::from_seconds;
        let freshness = Freshness::new(at(100), Duration::from_secs(10));
        // (noted before, asked at) => fresh
        #[rustfmt::skip]
        let cases = [
            (100, 110, true),
            (100, 111, false),
            (105, 115, true),
            (90,  101, false),
            (105, 104, true),  // corrected
            (105, 103, false), // set back
            (105, 0,   false),
        ];
        for (noted, now, fresh) in cases {
            freshness.note(at(noted));
            assert_eq!(freshness.is_fresh(at(now)), fresh, "{noted} {now}");
        }
    }
}
