//! Access tokens that were read a moment ago. Programs present one token with every call of an API, and reading it costs more
//! than all else that is checked. Only a store that every change goes through may remember: this one belongs to one process.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use doorward_core::clock::Timestamp;
use doorward_core::grant::{AccessGrant, TokenHash};
use quick_cache::sync::Cache;

/// How long a token is remembered. A change forgets all at once; this is for a change whose caller went away in its middle.
const REMEMBERED_FOR: Duration = Duration::from_secs(10);
const TOKENS: usize = 10_000;

pub(super) struct RecentTokens {
    /// `None` where others change the store too.
    read: Option<Cache<TokenHash, (AccessGrant, Timestamp)>>,
    /// Grows with every change that ends tokens.
    changes: Mutex<u64>,
}

impl Default for RecentTokens {
    fn default() -> Self {
        RecentTokens { read: Some(Cache::new(TOKENS)), changes: Mutex::new(0) }
    }
}

/// Forgets everything when it is dropped: to be made before a change that ends tokens, and kept to its end, however it ends.
pub(super) struct Forgetting<'a>(&'a RecentTokens);

impl RecentTokens {
    /// Remembers nothing.
    pub(super) fn none() -> Self {
        RecentTokens { read: None, changes: Mutex::new(0) }
    }

    pub(super) fn find(&self, token: &TokenHash, now: Timestamp) -> Option<AccessGrant> {
        let (grant, read) = self.read.as_ref()?.get(token)?;
        // A clock that went back makes nothing younger.
        (read <= now && now.since(read) < REMEMBERED_FOR && now < grant.expires).then_some(grant)
    }

    /// To be asked before a token is read, and given back with what was read.
    pub(super) fn changes(&self) -> u64 {
        *self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers what was read, unless something changed since `changes`.
    pub(super) fn keep(&self, token: &TokenHash, grant: &AccessGrant, changes: u64, now: Timestamp) {
        let Some(read) = &self.read else { return };
        let current = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        if *current == changes {
            read.insert(token.clone(), (grant.clone(), now));
        }
    }

    pub(super) fn forgetting(&self) -> Forgetting<'_> {
        Forgetting(self)
    }
}

impl Drop for Forgetting<'_> {
    fn drop(&mut self) {
        let mut changes = self.0.changes.lock().unwrap_or_else(PoisonError::into_inner);
        *changes += 1;
        if let Some(read) = &self.0.read {
            read.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use doorward_core::account::UniqueId;
    use doorward_core::grant::Subject;
    use doorward_wire::oauth::Scopes;

    #[test]
    fn what_was_read_before_a_change_is_not_remembered_after_it() {
        let now = Timestamp::from_seconds(1_000);
        let grant = AccessGrant {
            subject: Subject::Account(UniqueId("1".into())),
            scopes: Scopes::parse("openid").unwrap(),
            expires: Timestamp::from_seconds(1_005),
            person_grant: None,
        };
        let (recent, token) = (RecentTokens::default(), TokenHash::of("t"));
        let found = |at: i64| recent.find(&token, Timestamp::from_seconds(at)).is_some();
        recent.keep(&token, &grant, recent.changes(), now);
        assert_eq!([999, 1_000, 1_004, 1_005].map(found), [false, true, true, false]);

        drop(recent.forgetting());
        assert!(!found(1_000));
        let before = recent.changes();
        drop(recent.forgetting());
        recent.keep(&token, &grant, before, now);
        assert!(!found(1_000), "it was read before the change and came after it");

        let long = AccessGrant { expires: Timestamp::from_seconds(9_000), ..grant };
        recent.keep(&token, &long, recent.changes(), now);
        assert_eq!([1_009, 1_010].map(found), [true, false]);

        let none = RecentTokens::none();
        none.keep(&token, &long, none.changes(), now);
        assert_eq!(none.find(&token, now), None);
    }
}
