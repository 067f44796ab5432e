//! Tokens by what they are for: given without a wait while they are good, and replaced before they end.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};

use crate::clock::{Clock, micros, within};
use crate::flight::{Flight, Landing, Question};
use crate::token::{Token, TokenInner};
use crate::token_error::TokenError;

/// After an attempt to replace a good token there is no other for as long: a metadata server that still gives the old token, and
/// a token endpoint that is down, are not asked at every call.
const PAUSE: Duration = Duration::from_secs(15);

/// More audiences than any program has. Beyond, the ones that end first are forgotten.
const CAPACITY: usize = 1024;

type Slots = HashMap<Box<str>, Arc<Slot>>;

/// Tokens of one kind. Reading takes no lock.
#[derive(Default)]
pub(crate) struct TokenCache {
    slots: ArcSwap<Slots>,
    growing: Mutex<()>,
}

/// What there is for one audience or set of scopes.
#[derive(Default)]
struct Slot {
    token: ArcSwapOption<TokenInner>,
    flight: Arc<Flight<Result<Token, TokenError>>>,
    /// When a replacement was last begun while the token was good.
    last_attempt: AtomicU64,
}

impl TokenCache {
    /// The token of `key`: the one that is there, or what `fetch` gives.
    ///
    /// All that wait at the same time wait for one fetch, and share its error.
    pub(crate) async fn get(
        &self,
        key: &str,
        clock: &dyn Clock,
        fetch: impl Fn() -> Question<Result<Token, TokenError>>,
    ) -> Result<Token, TokenError> {
        let now = micros(clock.now());
        if let Some(token) = self.fresh(key, now) {
            return Ok(token);
        }
        let slot = self.slot(key, now);
        // A second time if the first flight was of a runtime that was shut down meanwhile.
        for _ in 0..2 {
            match slot.token_or_flight(now, &fetch) {
                Err(token) => return Ok(token),
                Ok(landing) => match landing.wait().await {
                    Some(Ok(token)) => return Ok(token),
                    // The flight may have taken longer than the old token had.
                    Some(Err(error)) => return slot.token(|token| !token.has_ended(micros(clock.now()))).ok_or(error),
                    None => {}
                },
            }
        }
        Err(TokenError::Interrupted)
    }

    /// The token of `key` if nothing need be done about it.
    pub(crate) fn fresh(&self, key: &str, now: u64) -> Option<Token> {
        let slots = self.slots.load();
        slots.get(key)?.token(|token| token.is_fresh(now))
    }

    /// Keeps a token that was made without a flight.
    pub(crate) fn keep(&self, key: &str, token: &Token, now: u64) {
        self.slot(key, now).token.store(Some(token.0.clone()));
    }

    /// Forgets a token that was refused. A newer one in its place stays.
    pub(crate) fn forget(&self, token: &Token) {
        for slot in self.slots.load().values() {
            let held = slot.token.load();
            if held.as_ref().is_some_and(|held| Arc::ptr_eq(held, &token.0)) {
                slot.token.compare_and_swap(&held, None);
            }
        }
    }

    fn slot(&self, key: &str, now: u64) -> Arc<Slot> {
        if let Some(slot) = self.slots.load().get(key) {
            return slot.clone();
        }
        let _growing = self.growing.lock().unwrap_or_else(PoisonError::into_inner);
        let slots = self.slots.load();
        if let Some(slot) = slots.get(key) {
            return slot.clone();
        }
        let mut slots = Slots::clone(&slots);
        if slots.len() >= CAPACITY {
            make_room(&mut slots, now);
        }
        let slot = Arc::new(Slot::default());
        slots.insert(key.into(), slot.clone());
        self.slots.store(Arc::new(slots));
        slot
    }
}

/// Half of the entries, so that the copying is paid for by many additions: those that are being fetched stay, then those that last.
fn make_room(slots: &mut Slots, now: u64) {
    let ends = |slot: &Slot| {
        slot.token.load().as_ref().map_or(0, |token| if token.has_ended(now) { 0 } else { token.expires() })
    };
    let mut kept: Vec<_> =
        slots.drain().map(|(key, slot)| (slot.flight.under_way().is_some(), ends(&slot), key, slot)).collect();
    kept.sort_by_key(|(under_way, ends, ..)| std::cmp::Reverse((*under_way, *ends)));
    kept.truncate(CAPACITY / 2);
    slots.extend(kept.into_iter().map(|(_, _, key, slot)| (key, slot)));
}

impl Slot {
    fn token(&self, is_good: impl Fn(&TokenInner) -> bool) -> Option<Token> {
        let held = self.token.load();
        held.as_ref().filter(|token| is_good(token)).map(|token| Token(token.clone()))
    }

    /// A good token, having seen to its replacement, as `Err`; or the flight that brings one.
    fn token_or_flight(
        self: &Arc<Self>,
        now: u64,
        fetch: &impl Fn() -> Question<Result<Token, TokenError>>,
    ) -> Result<Landing<Result<Token, TokenError>>, Token> {
        let question = || {
            let (slot, question) = (self.clone(), fetch());
            let question: Question<Result<Token, TokenError>> = Box::pin(async move {
                let answer = question.await;
                match &answer {
                    Ok(token) => slot.token.store(Some(token.0.clone())),
                    Err(error) if slot.token.load().is_some() => {
                        tracing::warn!(%error, "a token could not be replaced before its end");
                    }
                    Err(_) => {}
                }
                answer
            });
            question
        };
        let Some(good) = self.token(|token| !token.ends_soon(now)) else {
            return self.flight.join(|| self.token(|token| !token.ends_soon(now)), question);
        };
        let fresh = || self.token(|token| token.is_fresh(now));
        let paused = within(self.last_attempt.load(Ordering::Relaxed), now, PAUSE);
        if !paused && self.flight.under_way().is_none() && fresh().is_none() {
            self.last_attempt.store(now, Ordering::Relaxed);
            // Nobody waits for it: who needs it later joins.
            drop(self.flight.join(fresh, question));
        }
        Err(good)
    }
}
