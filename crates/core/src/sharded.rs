//! A map that a snapshot shares with the one before it: a change copies one part of many.

use std::borrow::Borrow;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::{Arc, LazyLock};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

/// How many parts. A map of ten thousand is copied in steps of some forty.
const SHARDS: usize = 256;

/// A map in parts. A clone shares them all. A key is hashed once for the part and for the place in it.
#[derive(Debug)]
pub(crate) struct Sharded<K, V>(Arc<[Shard<K, V>]>);

type Shard<K, V> = Arc<HashTable<(K, V)>>;

impl<K, V> Clone for Sharded<K, V> {
    fn clone(&self) -> Self {
        Sharded(self.0.clone())
    }
}

impl<K, V> Default for Sharded<K, V> {
    fn default() -> Self {
        Sharded(vec![Arc::default(); SHARDS].into())
    }
}

fn hash<Q: Hash + ?Sized>(key: &Q) -> u64 {
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    KEY.hash_one(key)
}

/// The table uses the lowest and the highest bits itself.
fn place(hash: u64) -> usize {
    (hash >> 32) as usize % SHARDS
}

impl<K: Hash + Eq + Clone, V: Clone> Sharded<K, V> {
    pub(crate) fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.get_key_value(key).map(|(_, value)| value)
    }

    pub(crate) fn get_key_value<Q>(&self, key: &Q) -> Option<(&K, &V)>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = hash(key);
        self.0[place(hash)].find(hash, |(known, _)| known.borrow() == key).map(|(key, value)| (key, value))
    }

    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let hash_of = |(key, _): &(K, V)| hash(key);
        let hash = hash(&key);
        match self.shard(hash).entry(hash, |(known, _)| *known == key, hash_of) {
            Entry::Occupied(mut entry) => Some(std::mem::replace(&mut entry.get_mut().1, value)),
            Entry::Vacant(entry) => {
                entry.insert((key, value));
                None
            }
        }
    }

    pub(crate) fn remove<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        // What is not there copies nothing.
        self.get(key)?;
        let hash = hash(key);
        let entry = self.shard(hash).find_entry(hash, |(known, _)| known.borrow() == key);
        entry.ok().map(|entry| entry.remove().0.1)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter().flat_map(|shard| shard.iter()).map(|(key, value)| (key, value))
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    fn shard(&mut self, hash: u64) -> &mut HashTable<(K, V)> {
        Arc::make_mut(&mut Arc::make_mut(&mut self.0)[place(hash)])
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
