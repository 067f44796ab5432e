//! A map that a snapshot shares with the one before it: a change copies one part of many.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::{Arc, LazyLock};

/// How many parts. A map of ten thousand is copied in steps of some forty.
const SHARDS: usize = 256;

/// A map in parts. A clone shares them all.
#[derive(Debug)]
pub(crate) struct Sharded<K, V>(Arc<Vec<Arc<HashMap<K, V>>>>);

impl<K, V> Clone for Sharded<K, V> {
    fn clone(&self) -> Self {
        Sharded(self.0.clone())
    }
}

impl<K, V> Default for Sharded<K, V> {
    fn default() -> Self {
        Sharded(Arc::new(vec![Arc::default(); SHARDS]))
    }
}

fn place<Q: Hash + ?Sized>(key: &Q) -> usize {
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    KEY.hash_one(key) as usize % SHARDS
}

impl<K: Hash + Eq + Clone, V: Clone> Sharded<K, V> {
    pub(crate) fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.0[place(key)].get(key)
    }

    pub(crate) fn get_key_value<Q>(&self, key: &Q) -> Option<(&K, &V)>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.0[place(key)].get_key_value(key)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.shard(&key).insert(key, value)
    }

    pub(crate) fn remove<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        // What is not there copies nothing.
        self.get(key)?;
        self.shard(key).remove(key)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter().flat_map(|shard| shard.iter())
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    fn shard<Q: Hash + ?Sized>(&mut self, key: &Q) -> &mut HashMap<K, V> {
        Arc::make_mut(&mut Arc::make_mut(&mut self.0)[place(key)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_seen_in_the_copy_and_not_before_it() {
        let mut first: Sharded<String, u32> = Sharded::default();
        first.insert("a".into(), 1);
        let mut second = first.clone();
        second.insert("a".into(), 2);
        second.insert("b".into(), 3);
        assert_eq!((first.get("a"), first.get("b")), (Some(&1), None));
        assert_eq!((second.get("a"), second.get("b")), (Some(&2), Some(&3)));
        assert_eq!(second.remove("a"), Some(2));
        assert_eq!(second.remove("a"), None);
        assert_eq!(second.iter().count(), 1);
    }
}
