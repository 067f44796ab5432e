//! The keys of foreign issuers: fetched when they are first needed, kept for as long as the issuer allows, and fetched again
//! before that ends.
//!
//! Spec: <https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderConfig>

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use async_trait::async_trait;
use doorward_core::clock::{CLOCK_SKEW, Clock, Timestamp};
use doorward_core::outbound::{Fetch, IssuerKeys, IssuerKeysError, KeySource};
use doorward_wire::jose::{VerifyingKeys, parse_object};
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// How long keys are good for if the issuer does not say.
const DEFAULT_LIFE: Duration = Duration::from_secs(3600);
/// Whatever the issuer says, they are kept for this long: it must not make us ask for them with every token.
const SHORTEST_LIFE: Duration = Duration::from_secs(5 * 60);
/// And no longer: a key that was withdrawn is good for at most this long.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 3600);
/// One fetch in this time for key ids that nobody knows: strangers make them up.
const UNKNOWN_KEY_INTERVAL: Duration = Duration::from_secs(60);
/// How long nothing is fetched after a failure. Doubles with each one that follows, up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_secs(10);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Sources that are remembered, at most.
const SOURCES_LIMIT: usize = 1000;

/// What the issuer says of itself, in errors.
const DISCOVERY: &str = "the discovery document";
/// Its keys, in errors.
const KEYS: &str = "the key document";

/// The keys of foreign issuers, cached.
pub struct CachedIssuerKeys {
    fetcher: Fetcher,
    /// By the name of the entry: one whose source changed is another, and takes the place of the old one.
    sources: ArcSwap<HashMap<String, Arc<Source>>>,
}

/// What a fetch needs.
#[derive(Clone)]
struct Fetcher {
    fetch: Arc<dyn Fetch>,
    clock: Arc<dyn Clock>,
    runtime: Handle,
}

/// A configured place for keys.
struct Source {
    named: KeySource,
    held: ArcSwapOption<Held>,
    fetching: Mutex<Fetching>,
}

/// Keys, and how long they are good for.
struct Held {
    keys: Arc<VerifyingKeys>,
    fetched: Timestamp,
    /// How long they are good for; `None` for ever, because nothing is fetched.
    life: Option<Duration>,
}

type Outcome = Result<Arc<VerifyingKeys>, IssuerKeysError>;

#[derive(Default)]
struct Fetching {
    under_way: Option<watch::Receiver<Option<Outcome>>>,
    /// Failures since the last success, and when the last one was.
    failures: u32,
    failed: Option<Timestamp>,
    /// When keys were last fetched because of a key id that nobody knows.
    for_unknown: Option<Timestamp>,
}

/// What somebody who asks for keys gets.
enum Next {
    Now(Outcome),
    Later(watch::Receiver<Option<Outcome>>),
}

impl CachedIssuerKeys {
    /// Fetches by `fetch`, in tasks on `runtime`: who asks may be on a runtime beside which nothing slow may run, and may go
    /// away before the answer is there.
    pub fn new(fetch: Arc<dyn Fetch>, clock: Arc<dyn Clock>, runtime: Handle) -> Self {
        let fetcher = Fetcher { fetch, clock, runtime };
        CachedIssuerKeys { fetcher, sources: ArcSwap::from_pointee(HashMap::new()) }
    }

    /// The state of a source, made if this is the first that is heard of it.
    fn source(&self, named: &KeySource) -> Arc<Source> {
        let known = |sources: &HashMap<String, Arc<Source>>| {
            sources.get(&named.entry).filter(|source| source.named == *named).cloned()
        };
        if let Some(source) = known(&self.sources.load()) {
            return source;
        }
        let new = Arc::new(Source::new(named.clone()));
        // Another may add it at the same moment: whoever is first wins, so that one issuer has one state.
        let before = self.sources.rcu(|sources| {
            if known(sources).is_some() {
                return sources.clone();
            }
            let mut sources = HashMap::clone(sources);
            // One that came while none could go makes this more than one.
            while sources.len() >= SOURCES_LIMIT
                && !sources.contains_key(&named.entry)
                && let Some(oldest) = oldest(&sources)
            {
                sources.remove(&oldest);
            }
            sources.insert(named.entry.clone(), new.clone());
            Arc::new(sources)
        });
        known(&before).unwrap_or(new)
    }
}

/// The source that was tried longest ago, or never. Not one whose keys are being fetched: without it the next who asks would begin a
/// second fetch, and whoever can make sources would take the limits from those of others.
fn oldest(sources: &HashMap<String, Arc<Source>>) -> Option<String> {
    let idle = sources.iter().filter_map(|(entry, source)| Some((source.tried_unless_fetching()?, entry)));
    idle.min().map(|(_, entry)| entry.clone())
}

#[async_trait]
impl IssuerKeys for CachedIssuerKeys {
    /// Near the end of the keys' life this starts a refresh, for which nobody waits.
    fn at_hand(&self, source: &KeySource, kid: &str) -> Option<Arc<VerifyingKeys>> {
        let sources = self.sources.load();
        let known = sources.get(&source.entry).filter(|known| known.named == *source)?;
        let now = self.fetcher.clock.now();
        let held = known.held.load();
        let held = held.as_ref().filter(|held| held.is_good(now))?;
        if held.is_due(now) {
            known.refresh(&self.fetcher, now);
        }
        held.keys.find(kid).map(|_| held.keys.clone())
    }

    async fn keys(&self, source: &KeySource, kid: &str) -> Outcome {
        if let Some(keys) = self.at_hand(source, kid) {
            return Ok(keys);
        }
        match self.source(source).next(kid, &self.fetcher) {
            Next::Now(outcome) => outcome,
            Next::Later(mut told) => match told.wait_for(Option::is_some).await {
                Ok(outcome) => outcome.clone().unwrap_or(Err(IssuerKeysError::Waiting)),
                // The task was dropped: the process is stopping.
                Err(_closed) => Err(IssuerKeysError::Waiting),
            },
        }
    }
}

impl Held {
    fn is_good(&self, now: Timestamp) -> bool {
        // A clock that went back makes nothing younger.
        let back = now + CLOCK_SKEW < self.fetched;
        self.life.is_none_or(|life| !back && now.since(self.fetched) < life)
    }

    /// Whether it is time to fetch anew: three quarters of the life are over.
    fn is_due(&self, now: Timestamp) -> bool {
        self.life.is_some_and(|life| now.since(self.fetched) >= life * 3 / 4)
    }
}

impl Fetching {
    /// The fetch under way, unless its task was dropped.
    fn under_way(&self) -> Option<&watch::Receiver<Option<Outcome>>> {
        self.under_way.as_ref().filter(|told| told.has_changed().is_ok())
    }

    /// Whether it failed a moment ago.
    fn waits(&self, now: Timestamp) -> bool {
        let wait = FIRST_WAIT.saturating_mul(2_u32.saturating_pow(self.failures.saturating_sub(1))).min(LONGEST_WAIT);
        self.failed.is_some_and(|failed| is_within(failed, wait, now))
    }
}

impl Source {
    fn new(named: KeySource) -> Self {
        Source { named, held: ArcSwapOption::empty(), fetching: Mutex::default() }
    }

    fn fetching(&self) -> MutexGuard<'_, Fetching> {
        self.fetching.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When it was last tried, and `None` while that goes on.
    fn tried_unless_fetching(&self) -> Option<Option<Timestamp>> {
        let fetching = self.fetching();
        let fetched = self.held.load().as_ref().map(|held| held.fetched);
        fetching.under_way().is_none().then(|| fetched.max(fetching.failed))
    }

    /// Starts a refresh, if none is under way and none failed a moment ago.
    fn refresh(self: &Arc<Self>, fetcher: &Fetcher, now: Timestamp) {
        // Whoever holds the lock sees to it: those with keys at hand never wait.
        let Ok(mut fetching) = self.fetching.try_lock() else { return };
        let is_due = self.held.load().as_ref().is_some_and(|held| held.is_due(now));
        if is_due && fetching.under_way().is_none() && !fetching.waits(now) {
            self.start(&mut fetching, fetcher, now);
        }
    }

    /// What somebody gets who found no keys with this id at hand.
    fn next(self: &Arc<Self>, kid: &str, fetcher: &Fetcher) -> Next {
        let now = fetcher.clock.now();
        if let Some(document) = &self.named.inline {
            return Next::Now(self.inline(document, now));
        }
        let mut fetching = self.fetching();
        // Read under the lock: a fetch may have ended since the keys at hand were looked at.
        let held = self.held.load_full().filter(|held| held.is_good(now));
        if let Some(held) = held.as_ref().filter(|held| held.keys.find(kid).is_some()) {
            return Next::Now(Ok(held.keys.clone()));
        }
        if let Some(told) = fetching.under_way() {
            return Next::Later(told.clone());
        }
        if fetching.waits(now) {
            return Next::Now(Err(IssuerKeysError::Waiting));
        }
        if let Some(held) = held {
            if fetching.for_unknown.is_some_and(|last| is_within(last, UNKNOWN_KEY_INTERVAL, now)) {
                return Next::Now(Ok(held.keys.clone()));
            }
            fetching.for_unknown = Some(now);
        }
        Next::Later(self.start(&mut fetching, fetcher, now))
    }

    /// The keys that the operator gave, read once.
    fn inline(&self, document: &str, now: Timestamp) -> Outcome {
        if let Some(held) = self.held.load().as_ref() {
            return Ok(held.keys.clone());
        }
        let keys = VerifyingKeys::from_foreign_document(document.as_bytes());
        let keys = Arc::new(keys.map_err(|_| IssuerKeysError::Document(KEYS))?);
        self.held.store(Some(Arc::new(Held { keys: keys.clone(), fetched: now, life: None })));
        Ok(keys)
    }

    /// Starts a fetch, which goes on if everybody who waits for it goes away.
    fn start(
        self: &Arc<Self>,
        fetching: &mut Fetching,
        fetcher: &Fetcher,
        now: Timestamp,
    ) -> watch::Receiver<Option<Outcome>> {
        let (tell, told) = watch::channel(None);
        fetching.under_way = Some(told.clone());
        let (source, fetcher) = (self.clone(), fetcher.clone());
        let runtime = fetcher.runtime.clone();
        runtime.spawn(async move {
            let fetched = fetch_keys(&*fetcher.fetch, &source.named).await;
            // Counted from before the fetch: what was withdrawn meanwhile is not kept for longer.
            let outcome = source.land(fetched, now, fetcher.clock.now());
            tell.send_replace(Some(outcome));
        });
        told
    }

    /// Keeps what was fetched.
    fn land(
        &self,
        fetched: Result<(VerifyingKeys, Duration), IssuerKeysError>,
        began: Timestamp,
        now: Timestamp,
    ) -> Outcome {
        let mut fetching = self.fetching();
        fetching.under_way = None;
        match fetched {
            Ok((keys, life)) => {
                let keys = Arc::new(keys);
                (fetching.failures, fetching.failed) = (0, None);
                self.held.store(Some(Arc::new(Held { keys: keys.clone(), fetched: began, life: Some(life) })));
                Ok(keys)
            }
            // The keys at hand stay good until they end.
            Err(error) => {
                fetching.failures = fetching.failures.saturating_add(1);
                fetching.failed = Some(now);
                Err(error)
            }
        }
    }
}

/// Whether `time` is less than `span` before `now`. What lies ahead is not: the clock went back.
fn is_within(time: Timestamp, span: Duration, now: Timestamp) -> bool {
    time <= now && now.since(time) < span
}

/// The keys of an issuer, and how long they are good for.
async fn fetch_keys(fetch: &dyn Fetch, source: &KeySource) -> Result<(VerifyingKeys, Duration), IssuerKeysError> {
    let failed = |what| move |cause| IssuerKeysError::Fetch { what, cause };
    // OpenID Connect Discovery 1.0 section 4.1: a slash at the end goes.
    let base = source.issuer.strip_suffix('/').unwrap_or(&source.issuer);
    let discovery = format!("{base}/.well-known/openid-configuration");
    let discovery = fetch.fetch(&discovery, source.reach).await.map_err(failed(DISCOVERY))?;
    let url = keys_url(&discovery.body, &source.issuer).ok_or(IssuerKeysError::Document(DISCOVERY))?;
    let document = fetch.fetch(&url, source.reach_of_keys()).await.map_err(failed(KEYS))?;
    let keys = VerifyingKeys::from_foreign_document(&document.body).map_err(|_| IssuerKeysError::Document(KEYS))?;
    Ok((keys, document.max_age.unwrap_or(DEFAULT_LIFE).clamp(SHORTEST_LIFE, LONGEST_LIFE)))
}

/// Where a discovery document says that the keys are, if it is this issuer's (section 4.3: compared exactly).
fn keys_url(discovery: &[u8], issuer: &str) -> Option<String> {
    let discovery = parse_object(discovery).ok()?;
    let text = |name| discovery.get(name).and_then(Value::as_str);
    text("jwks_uri").filter(|_| text("issuer") == Some(issuer)).map(str::to_owned)
}
