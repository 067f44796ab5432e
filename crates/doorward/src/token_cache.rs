//! ID tokens that were got before and are good for a while yet.

use std::time::Duration;

use doorward_core::clock::Timestamp;
use doorward_core::grant::TokenHash;
use doorward_server::dev::description::Description;
use serde::{Deserialize, Serialize};

use crate::config_folder::{ConfigFolder, FolderError};

const FILE_NAME: &str = "id-tokens.json";

/// A token that ends sooner is not given: whoever asks wants to use it for a while.
const LEFT_AT_LEAST: Duration = Duration::from_secs(300);

/// The newest are kept.
const KEEP: usize = 256;

/// The tokens of one world. It never stands in the way: what cannot be read is not there, and what cannot be written is lost.
pub(crate) struct TokenCache {
    folder: Option<ConfigFolder>,
    world: String,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    world: String,
    account: String,
    audience: String,
    expires: Timestamp,
    token: String,
}

impl TokenCache {
    /// The cache of `world` in the folder of this user.
    pub(crate) fn of(world: &Description) -> Self {
        Self::within(ConfigFolder::of_this_user().ok(), world)
    }

    /// Another world at the same address has another admin token: tokens of the one are of no use in the other.
    pub(crate) fn within(folder: Option<ConfigFolder>, world: &Description) -> Self {
        TokenCache { folder, world: format!("{} {}", world.api_url, TokenHash::of(&world.admin_token).0) }
    }

    /// A token of `account` for `audience` with more than five minutes left.
    pub(crate) fn find(&self, account: &str, audience: &str, now: Timestamp) -> Option<String> {
        let bytes = self.folder.as_ref()?.read(FILE_NAME).ok()??;
        let entries: Vec<Entry> = serde_json::from_slice(&bytes).ok()?;
        let found = entries
            .into_iter()
            .find(|entry| entry.world == self.world && entry.account == account && entry.audience == audience)?;
        (found.expires > now + LEFT_AT_LEAST).then_some(found.token)
    }

    /// Keeps a token in the place of the one before it.
    ///
    /// # Errors
    /// What forbids it; the token itself is as good as it was.
    pub(crate) fn keep(
        &self,
        (account, audience): (&str, &str),
        token: &str,
        expires: Timestamp,
        now: Timestamp,
    ) -> Result<(), FolderError> {
        let entry = Entry {
            world: self.world.clone(),
            account: account.to_owned(),
            audience: audience.to_owned(),
            expires,
            token: token.to_owned(),
        };
        self.change(|entries| {
            entries.retain(|old| {
                let same = (&old.world, &old.account, &old.audience) == (&entry.world, &entry.account, &entry.audience);
                !same && old.expires > now
            });
            entries.insert(0, entry);
            entries.truncate(KEEP);
        })
    }

    /// Forgets the tokens of `account`, or of everybody in this world. If that cannot be done, they end by themselves.
    pub(crate) fn forget(&self, account: Option<&str>) {
        let exists = self.folder.as_ref().is_some_and(|folder| matches!(folder.read(FILE_NAME), Ok(Some(_))));
        if !exists {
            return;
        }
        let forgotten = |entry: &Entry| entry.world == self.world && account.is_none_or(|it| entry.account == it);
        drop(self.change(|entries| entries.retain(|entry| !forgotten(entry))));
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Entry>)) -> Result<(), FolderError> {
        self.folder.as_ref().ok_or(FolderError::NoHome)?.update(FILE_NAME, |before| {
            // A damaged cache is an empty one: there is nothing in it that cannot be got again.
            let mut entries = before.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
            change(&mut entries);
            // Serialising texts and numbers to memory cannot fail.
            Ok(serde_json::to_vec(&entries).unwrap_or_default())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    use serde_json::json;

    use crate::world::tests::description;

    fn world(api_url: &str, admin_token: &str) -> Description {
        let mut world = description(api_url);
        world["admin_token"] = json!(admin_token);
        serde_json::from_value(world).unwrap()
    }

    #[test]
    fn a_token_is_given_for_its_world_account_and_audience_while_more_than_five_minutes_are_left() {
        let dir = tempfile::tempdir().unwrap();
        let folder = ConfigFolder::at(&dir.path().join("c"));
        let cache = |url, admin| TokenCache::within(Some(folder.clone()), &world(url, admin));
        let seconds = Timestamp::from_seconds;
        let (url, admin) = ("http://127.0.0.1:1", "doorward_admin_x");
        cache(url, admin).keep(("robot", "app"), "old", seconds(5000), seconds(1000)).unwrap();
        cache(url, admin).keep(("robot", "app"), "t", seconds(5000), seconds(1000)).unwrap();
        cache(url, admin).keep(("robot", "other"), "u", seconds(5000), seconds(1000)).unwrap();
        #[rustfmt::skip]
        let cases = [
            (url, admin,                    "robot",    "app",   1000, Some("t")),
            (url, admin,                    "robot",    "app",   4699, Some("t")),
            (url, admin,                    "robot",    "app",   4700, None),
            (url, admin,                    "robot",    "other", 1000, Some("u")),
            (url, admin,                    "robot",    "third", 1000, None),
            (url, admin,                    "stranger", "app",   1000, None),
            (url, "doorward_admin_y",       "robot",    "app",   1000, None),
            ("http://127.0.0.1:2", admin,   "robot",    "app",   1000, None),
        ];
        for (url, admin, account, audience, now, expected) in cases {
            let found = cache(url, admin).find(account, audience, seconds(now));
            assert_eq!(found.as_deref(), expected, "{url} {admin} {account} {audience} at {now}");
        }
        let text = fs::read_to_string(folder.path_of(FILE_NAME)).unwrap();
        assert!(!text.contains(admin), "the admin token is not in it");
        assert!(!text.contains("old"));
        cache(url, admin).keep(("late", "app"), "v", seconds(9000), seconds(6000)).unwrap();
        assert_eq!(cache(url, admin).find("robot", "app", seconds(1000)), None, "what has ended is dropped");
        cache(url, admin).forget(Some("nobody"));
        assert!(cache(url, admin).find("late", "app", seconds(6000)).is_some());
        cache(url, admin).forget(None);
        assert_eq!(cache(url, admin).find("late", "app", seconds(6000)), None);
    }

    #[test]
    fn a_damaged_or_missing_cache_is_an_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        let folder = ConfigFolder::at(&dir.path().join("c"));
        let cache = TokenCache::within(Some(folder.clone()), &world("http://127.0.0.1:1", "a"));
        let seconds = Timestamp::from_seconds;
        cache.forget(None);
        assert!(!dir.path().join("c").exists(), "nothing is made to forget nothing");
        cache.keep(("a", "b"), "t", seconds(5000), seconds(0)).unwrap();
        fs::write(folder.path_of(FILE_NAME), "[{").unwrap();
        assert_eq!(cache.find("a", "b", seconds(0)), None);
        cache.keep(("a", "b"), "t", seconds(5000), seconds(0)).unwrap();
        assert_eq!(cache.find("a", "b", seconds(0)).as_deref(), Some("t"));

        let nowhere = TokenCache::within(None, &world("http://127.0.0.1:1", "a"));
        assert_eq!(nowhere.find("a", "b", seconds(0)), None);
        assert!(nowhere.keep(("a", "b"), "t", seconds(5000), seconds(0)).is_err());
    }
}
