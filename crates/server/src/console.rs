//! Sign-on to our own pages.

use std::sync::{Arc, Mutex, PoisonError};

use doorward_core::clock::{Clock, Timestamp};
use doorward_core::entropy::{Entropy, EntropyError, random_base64url};
use doorward_core::grant::TokenHash;
use doorward_core::keys::{CONSOLE_SESSION_TTL, KeyPurpose};
use doorward_core::snapshot::SnapshotCell;
use doorward_wire::headers::CONSOLE_COOKIE;
use http::{HeaderMap, HeaderValue};

use crate::hosts::browser::single_cookie;

/// Sign-on to our own pages: a key that works once, and the cookie that it becomes.
///
/// The cookie shows pages and changes nothing: no method of an API takes it, so no other site can use it to act.
pub(crate) struct Console {
    snapshots: Arc<SnapshotCell>,
    clock: Arc<dyn Clock>,
    one_time_key: Mutex<Option<TokenHash>>,
    /// Sealed into each cookie: those of an earlier start do not open, so starting again signs everybody off.
    this_start: String,
}

impl Console {
    pub(crate) fn new(
        snapshots: Arc<SnapshotCell>,
        clock: Arc<dyn Clock>,
        entropy: &dyn Entropy,
    ) -> Result<Self, EntropyError> {
        let this_start = random_base64url(entropy, 16)?;
        Ok(Console { snapshots, clock, one_time_key: Mutex::new(None), this_start })
    }

    /// Sets the key that will be exchanged for a cookie, once.
    pub(crate) fn offer(&self, one_time_key: &str) {
        *self.one_time_key.lock().unwrap_or_else(PoisonError::into_inner) = Some(TokenHash::of(one_time_key));
    }

    /// Exchanges the key; `None` if it is not the one, or was used.
    pub(crate) fn redeem(&self, key: &str) -> Option<HeaderValue> {
        let presented = TokenHash::of(key);
        let mut offered = self.one_time_key.lock().unwrap_or_else(PoisonError::into_inner);
        // Hashes are compared, so the time that this takes tells nothing of the key.
        if offered.as_ref() != Some(&presented) {
            return None;
        }
        let now = self.clock.now();
        let issued = now.seconds().to_string();
        let keys = &self.snapshots.current().keys;
        let sealed = keys.seal(KeyPurpose::ConsoleSession, &self.this_start, issued.as_bytes(), now).ok()?;
        let life = CONSOLE_SESSION_TTL.as_secs();
        let cookie = format!("{CONSOLE_COOKIE}={sealed}; Path=/decisions; Max-Age={life}; HttpOnly; SameSite=Strict");
        let cookie = HeaderValue::from_str(&cookie).ok()?;
        *offered = None;
        Some(cookie)
    }

    /// Whether these headers carry a cookie of ours that is still good. A second cookie of that name is none: another
    /// application on the same host name may have set it.
    pub(crate) fn admits(&self, headers: &HeaderMap) -> bool {
        let Some(sealed) = single_cookie(headers, CONSOLE_COOKIE) else { return false };
        let now = self.clock.now();
        let snapshot = self.snapshots.current();
        let opened = snapshot.keys.open(KeyPurpose::ConsoleSession, &self.this_start, sealed, now);
        let issued = opened.and_then(|text| String::from_utf8(text).ok()?.parse().ok()).map(Timestamp::from_seconds);
        issued.is_some_and(|issued| issued <= now && now.since(issued) < CONSOLE_SESSION_TTL)
    }
}
