//! Forgetting events of the record that are too old.

use std::sync::Arc;
use std::time::Duration;

use doorward_core::clock::{Clock, Timestamp};
use doorward_core::store::{AuditStore, StoreError};

use crate::errors::Chain;

/// How often events that are too old are forgotten.
const EVERY: Duration = Duration::from_secs(3600);
/// Where the machine's clock is ahead of the record by more than this, somebody should look at it.
const AHEAD: Duration = Duration::from_secs(24 * 3600);

/// The time of the newest event, if there is one. To be asked before this process records anything.
pub(crate) async fn newest(store: &dyn AuditStore) -> Result<Option<Timestamp>, StoreError> {
    Ok(store.latest_events(1).await?.last().map(|stored| stored.event.time()))
}

/// Forgets what is older than `keep_for`, now and then, for ever. `newest` is the time of the newest event that was recorded before
/// this process began.
///
/// How old something is, the record says: its newest event, and how long this process runs. A machine whose clock was set ahead
/// would forget everything at once. What was recorded is forgotten later by as long as nothing was, which is to the good.
pub(crate) async fn forget(
    store: Arc<dyn AuditStore>,
    clock: Arc<dyn Clock>,
    newest_before: Option<Timestamp>,
    keep_for: Duration,
) {
    let mut hours = tokio::time::interval(EVERY);
    let mut known = None;
    loop {
        let tick = hours.tick().await;
        let (recorded, began) = match (known, newest_before) {
            (Some(known), _) => known,
            (None, Some(time)) => (time, tick),
            (None, None) => match newest(&*store).await {
                Ok(Some(time)) => (time, tick),
                Ok(None) => continue,
                Err(error) => {
                    tracing::error!(error = %Chain(&error), "events that are too old cannot be found");
                    continue;
                }
            },
        };
        if known.is_none() && clock.now().since(recorded) > AHEAD {
            tracing::warn!(
                newest = recorded.seconds(),
                now = clock.now().seconds(),
                "the newest event of the record is much older than the machine's clock says it is now: see that the clock is right"
            );
        }
        known = Some((recorded, began));
        let by_record = recorded + tick.duration_since(began);
        match store.forget_events(oldest_kept(clock.now(), by_record, keep_for)).await {
            Ok(0) => {}
            Ok(forgotten) => tracing::info!(forgotten, "events of the record that are too old were forgotten"),
            Err(error) => tracing::error!(error = %Chain(&error), "events that are too old cannot be forgotten"),
        }
    }
}

/// The time of the oldest event that is kept, by the clock or by the record, whichever keeps more.
fn oldest_kept(now: Timestamp, by_record: Timestamp, keep_for: Duration) -> Timestamp {
    let age = i64::try_from(keep_for.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(now.min(by_record).micros().saturating_sub(age))
}

#[cfg(test)]
mod tests {
    use doorward_core::audit::{AuditEvent, TokenEvent, TokenMethod};
    use doorward_store::SqlStore;

    use super::*;

    const DAY: u64 = 24 * 3600;

    #[test]
    fn a_clock_that_is_wrong_forgets_nothing_that_the_record_would_keep() {
        // (the clock, the record's own time) => the oldest day that is kept, of ten
        #[rustfmt::skip]
        let cases = [
            (100,    100, 90),
            (101,    100, 90), // nobody asked for anything since yesterday
            (10_000, 100, 90), // set ahead
            (50,     100, 40), // set back
            (100,    5,   -5),
        ];
        let at = |day: i64| Timestamp::from_seconds(day * 24 * 3600);
        for (now, recorded, kept) in cases {
            assert_eq!(oldest_kept(at(now), at(recorded), Duration::from_secs(10 * DAY)), at(kept), "{now} {recorded}");
        }
    }

    #[tokio::test]
    async fn a_clock_that_was_set_ahead_before_the_start_forgets_what_the_right_one_would() {
        let at = |day: u64| Timestamp::from_seconds(i64::try_from(day * DAY).unwrap());
        for now in [100, 10_000] {
            let store = SqlStore::in_memory().await.unwrap();
            assert_eq!(newest(&store).await.unwrap(), None);
            let events: Vec<AuditEvent> = [80, 85, 95, 100]
                .map(|day| AuditEvent::Token(TokenEvent::new(day.to_string(), at(day), TokenMethod::JwtBearer, None)))
                .into();
            store.append(&events, 100).await.unwrap();
            let recorded = newest(&store).await.unwrap().unwrap();
            assert_eq!(recorded, at(100));
            let before = oldest_kept(at(now), recorded, Duration::from_secs(10 * DAY));
            assert_eq!(store.forget_events(before).await.unwrap(), 2, "{now}");
        }
    }
}
