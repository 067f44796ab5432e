//! The keys of the signed header: fetched, kept as long as their document says, and replaced before they end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use doorward_wire::jose::{VerifyingKey, VerifyingKeys};
use http::StatusCode;
use http::header::{AGE, CACHE_CONTROL, HeaderMap};

use crate::clock::{Clock, micros, within};
use crate::flight::{Flight, Landing, Question};
use crate::origin::Origin;
use crate::transport::{Answer, Call, HttpClient, TransportError};

/// A document that does not say how long it is good is kept for an hour.
const DEFAULT_LIFE: Duration = Duration::from_secs(3600);
/// One that says less is kept for a minute all the same: it would be fetched for every request.
const SHORTEST_LIFE: Duration = Duration::from_secs(60);
/// A key that was taken back must not be trusted for longer, whatever the document says.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 3600);
/// Strangers choose key ids, and must not choose how often we fetch.
const UNKNOWN_KEY_PAUSE: Duration = Duration::from_secs(60);
/// After a failed fetch there is no other for as long.
const FAILURE_PAUSE: Duration = Duration::from_secs(5);

/// Why there are no keys to verify with.
#[derive(Debug, Clone, thiserror::Error)]
pub enum KeysError {
    /// They cannot be fetched.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The server does not give them.
    #[error("{address} answered HTTP {status} in the place of keys: check the address of the keys")]
    Status {
        /// Who answered.
        address: Origin,
        /// The status.
        status: StatusCode,
    },
    /// The document is none, a damaged one, or without a key that we can use.
    #[error(
        "{address} answered something that is no key document with a key for us: check the address, which ends in -jwk"
    )]
    Document {
        /// Who answered.
        address: Origin,
    },
    /// The task that fetched them ended before they came.
    #[error("the runtime in which the keys were fetched was shut down: try again")]
    Interrupted,
}

/// A key document while it is good.
pub(super) struct Kept {
    keys: VerifyingKeys,
    since_micros: u64,
    refresh_micros: u64,
    ends_micros: u64,
}

impl Kept {
    /// Whether another should be fetched: ahead of its end, or because the clock was set back, so that its end is further away than
    /// its publisher said.
    fn is_due(&self, now: u64) -> bool {
        now >= self.refresh_micros || now < self.since_micros
    }

    pub(super) fn find(&self, kid: &str) -> Option<&VerifyingKey> {
        self.keys.find(kid)
    }
}

type Fetched = Result<Arc<Kept>, KeysError>;

/// The document at one address.
pub(super) struct KeyCache(Arc<Inner>);

struct Inner {
    url: String,
    http: HttpClient,
    clock: Arc<dyn Clock>,
    kept: ArcSwapOption<Kept>,
    flight: Arc<Flight<Fetched>>,
    last_failure: ArcSwapOption<(u64, KeysError)>,
    /// When a key was looked for that the document did not have.
    asked_for_unknown: AtomicU64,
}

impl KeyCache {
    pub(super) fn new(url: String, http: HttpClient, clock: Arc<dyn Clock>) -> Self {
        KeyCache(Arc::new(Inner {
            url,
            http,
            clock,
            kept: ArcSwapOption::empty(),
            flight: Arc::default(),
            last_failure: ArcSwapOption::empty(),
            asked_for_unknown: AtomicU64::new(0),
        }))
    }

    /// A document with this key in it; `None` if the key is unknown.
    pub(super) async fn with_key(&self, kid: &str) -> Result<Option<Arc<Kept>>, KeysError> {
        let inner = &self.0;
        let now = micros(inner.clock.now());
        let Some(kept) = inner.good(now) else {
            let kept = inner.fetched(now).await?;
            return Ok(kept.find(kid).is_some().then_some(kept));
        };
        if kept.is_due(now) && inner.paused(now).is_none() {
            // Nobody waits for it while the document that we have is good.
            let refreshed = || inner.good(now).filter(|kept| !kept.is_due(now));
            drop(inner.flight.join(refreshed, || inner.question(true)));
        }
        if kept.find(kid).is_some() {
            return Ok(Some(kept));
        }
        let Some(landing) = inner.for_unknown(now, kid) else { return Ok(None) };
        let fetched = match landing {
            Ok(landing) => landing.wait().await.ok_or(KeysError::Interrupted)??,
            Err(kept) => kept,
        };
        Ok(fetched.find(kid).is_some().then_some(fetched))
    }
}

impl Inner {
    fn good(&self, now: u64) -> Option<Arc<Kept>> {
        self.kept.load_full().filter(|kept| now < kept.ends_micros)
    }

    /// The failure after which no fetch is due yet.
    fn paused(&self, now: u64) -> Option<KeysError> {
        let failure = self.last_failure.load();
        failure.as_ref().filter(|failure| within(failure.0, now, FAILURE_PAUSE)).map(|failure| failure.1.clone())
    }

    async fn fetched(self: &Arc<Self>, now: u64) -> Fetched {
        // A second time if the first flight was of a runtime that was shut down meanwhile.
        for _ in 0..2 {
            if let Some(failure) = self.paused(now) {
                return Err(failure);
            }
            match self.flight.join(|| self.good(now), || self.question(true)) {
                Err(kept) => return Ok(kept),
                Ok(landing) => {
                    if let Some(fetched) = landing.wait().await {
                        return fetched;
                    }
                }
            }
        }
        Err(KeysError::Interrupted)
    }

    /// The flight that may bring a key of this id: one that is under way, or a new one if there was none in the last minute.
    fn for_unknown(self: &Arc<Self>, now: u64, kid: &str) -> Option<Result<Landing<Fetched>, Arc<Kept>>> {
        let last = self.asked_for_unknown.load(Ordering::SeqCst);
        let due = !within(last, now, UNKNOWN_KEY_PAUSE)
            && self.asked_for_unknown.compare_exchange(last, now, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        let arrived = || self.good(now).filter(|kept| kept.find(kid).is_some());
        if due {
            return Some(self.flight.join(arrived, || self.question(false)));
        }
        self.flight.under_way().map(Ok).or_else(|| arrived().map(Err))
    }

    /// Fetches the document. What is fetched on the word of a stranger is asked for one time only.
    fn question(self: &Arc<Self>, insist: bool) -> Question<Fetched> {
        let inner = self.clone();
        Box::pin(async move {
            let fetched = inner.fetch(insist).await.map(Arc::new);
            match &fetched {
                Ok(kept) => {
                    inner.kept.store(Some(kept.clone()));
                    inner.last_failure.store(None);
                }
                Err(error) => {
                    tracing::warn!(%error, "the keys of the signed header could not be fetched");
                    inner.last_failure.store(Some(Arc::new((micros(inner.clock.now()), error.clone()))));
                }
            }
            fetched
        })
    }

    async fn fetch(&self, insist: bool) -> Result<Kept, KeysError> {
        let now = micros(self.clock.now());
        let call = Call::get(self.url.clone());
        let answer = if insist { self.http.send(&call).await? } else { self.http.send_once_in_time(&call).await? };
        let Answer { origin: address, status, headers, body } = answer;
        if status != StatusCode::OK {
            return Err(KeysError::Status { address, status });
        }
        let keys = VerifyingKeys::from_foreign_document(&body).ok();
        // A document without a key that we can use is no reason to forget those that we have.
        let keys = keys.filter(|keys| !keys.is_empty()).ok_or(KeysError::Document { address })?;
        let life = u64::try_from(life(&headers).as_micros()).unwrap_or(0);
        Ok(Kept {
            keys,
            since_micros: now,
            refresh_micros: now.saturating_add(life / 4 * 3),
            ends_micros: now.saturating_add(life),
        })
    }
}

/// How long a document is good (RFC 9111 section 4.2.1), within our limits.
fn life(headers: &HeaderMap) -> Duration {
    let directives: Vec<&str> = headers
        .get_all(CACHE_CONTROL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    let is = |name: &str| directives.iter().any(|directive| directive.eq_ignore_ascii_case(name));
    if is("no-store") || is("no-cache") {
        return SHORTEST_LIFE;
    }
    let max_age = directives.iter().find_map(|directive| {
        let (name, value) = directive.split_once('=')?;
        name.eq_ignore_ascii_case("max-age").then(|| value.trim_matches('"').parse::<u64>().ok())?
    });
    let age = headers.get(AGE).and_then(|age| age.to_str().ok()?.parse::<u64>().ok()).unwrap_or(0);
    let life = max_age.map_or(DEFAULT_LIFE, |seconds| Duration::from_secs(seconds.saturating_sub(age)));
    life.clamp(SHORTEST_LIFE, LONGEST_LIFE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_kept_as_long_as_it_says_within_our_limits() {
        #[rustfmt::skip]
        let cases = [
            (None,                                   None,         3600),
            (Some("public, max-age=21600"),          None,         21600),
            (Some("public, MAX-AGE=\"600\""),        None,         600),
            (Some("max-age=600"),                    Some("200"),  400),
            (Some("max-age=600"),                    Some("900"),  60),
            (Some("max-age=5"),                      None,         60),
            (Some("max-age=x"),                      None,         3600),
            (Some("max-age=600, No-Store"),          None,         60),
            (Some("no-cache"),                       None,         60),
            (Some("max-age=99999999999"),            None,         86400),
        ];
        for (cache_control, age, expected) in cases {
            let mut headers = HeaderMap::new();
            if let Some(value) = cache_control {
                headers.insert(CACHE_CONTROL, value.parse().unwrap());
            }
            if let Some(value) = age {
                headers.insert(AGE, value.parse().unwrap());
            }
            assert_eq!(life(&headers), Duration::from_secs(expected), "{cache_control:?} {age:?}");
        }
    }
}
