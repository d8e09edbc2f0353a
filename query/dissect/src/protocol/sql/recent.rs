//! What is remembered of a connection under names: as much as limits allow, the last used.

use std::borrow::Borrow;
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;

/// Something whose memory depends on what was sent.
pub(crate) trait Held {
    /// Bytes of its texts and lists.
    fn held(&self) -> usize;
}

/// Things with names; the one that wasn't used for longest makes room.
#[derive(Debug)]
pub(crate) struct Recent<K, V> {
    known: HashMap<K, Entry<K, V>>,
    /// Names with the number of a use, in that order. Only the last use of a name counts.
    uses: VecDeque<(u64, K)>,
    last_use: u64,
    bytes: usize,
    count_max: usize,
    bytes_max: usize,
}

#[derive(Debug)]
struct Entry<K, V> {
    key: K,
    last_use: u64,
    bytes: usize,
    value: V,
}

/// The number of no use.
const NEVER: u64 = 0;

impl<K: Held, V: Held> Entry<K, V> {
    fn measure(&mut self) -> usize {
        self.bytes = self.key.held() + self.value.held();
        self.bytes
    }
}

impl Held for Arc<[u8]> {
    fn held(&self) -> usize {
        self.len()
    }
}

impl Held for u32 {
    fn held(&self) -> usize {
        0
    }
}

impl<K: Clone + Eq + Hash + Held, V: Held> Recent<K, V> {
    /// Room for so many things of so many bytes together; a single one always finds room.
    pub(crate) fn new(count_max: usize, bytes_max: usize) -> Self {
        let (known, uses) = (HashMap::new(), VecDeque::new());
        Self { known, uses, last_use: NEVER + 1, bytes: 0, count_max, bytes_max }
    }

    /// Remembers something, which is used now; what had this name is replaced.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        self.last_use += 1;
        let bytes = key.held() + value.held();
        self.bytes += bytes;
        self.uses.push_back((self.last_use, key.clone()));
        let entry = Entry { key: key.clone(), last_use: self.last_use, bytes, value };
        if let Some(replaced) = self.known.insert(key, entry) {
            self.bytes -= replaced.bytes;
        }
        self.make_room();
    }

    /// What has this name, which is used now.
    pub(crate) fn used<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.drop_old_uses();
        let entry = self.known.get_mut(key)?;
        if entry.last_use != self.last_use {
            self.last_use += 1;
            entry.last_use = self.last_use;
            self.uses.push_back((self.last_use, entry.key.clone()));
        }
        Some(&mut entry.value)
    }

    /// Changes what has this name, which is used now, or what is new under it. It may have more bytes then, and others make
    /// room.
    pub(crate) fn change_or_insert<R>(
        &mut self,
        key: K,
        new: impl FnOnce() -> V,
        change: impl FnOnce(&mut V) -> R,
    ) -> R {
        let entry = self.known.entry(key).or_insert_with_key(|key| Entry {
            key: key.clone(),
            last_use: NEVER,
            bytes: 0,
            value: new(),
        });
        if entry.last_use != self.last_use {
            self.last_use += 1;
            entry.last_use = self.last_use;
            self.uses.push_back((self.last_use, entry.key.clone()));
        }
        let result = change(&mut entry.value);
        self.bytes -= entry.bytes;
        self.bytes += entry.measure();
        self.make_room();
        result
    }

    /// Changes what has this name, if there is something, as [`Self::change_or_insert`] does.
    pub(crate) fn change<Q: Eq + Hash + ?Sized>(&mut self, key: &Q, change: impl FnOnce(&mut V))
    where
        K: Borrow<Q>,
    {
        if self.used(key).is_none() {
            return;
        }
        if let Some(entry) = self.known.get_mut(key) {
            change(&mut entry.value);
            self.bytes -= entry.bytes;
            self.bytes += entry.measure();
        }
        self.make_room();
    }

    /// Forgets what has this name.
    pub(crate) fn remove<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let entry = self.known.remove(key)?;
        self.bytes -= entry.bytes;
        Some(entry.value)
    }

    /// What wasn't used for longest.
    pub(crate) fn oldest(&mut self) -> Option<(&K, &V)> {
        while let Some((number, key)) = self.uses.front() {
            if self.known.get(key).is_some_and(|entry| entry.last_use == *number) {
                break;
            }
            self.uses.pop_front();
        }
        let (_, key) = self.uses.front()?;
        self.known.get(key).map(|entry| (&entry.key, &entry.value))
    }

    /// Forgets what wasn't used for longest.
    pub(crate) fn remove_oldest(&mut self) {
        if let Some(key) = self.oldest().map(|(key, _)| key.clone()) {
            self.remove(&key);
        }
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.known.clear();
        self.uses.clear();
        self.bytes = 0;
    }

    fn make_room(&mut self) {
        while self.known.len() > 1 && (self.known.len() > self.count_max || self.bytes > self.bytes_max) {
            self.remove_oldest();
        }
        self.drop_old_uses();
    }

    /// Keeps the list of uses in proportion to what is known, at little cost for each use.
    fn drop_old_uses(&mut self) {
        const SPARE: usize = 16;
        if self.uses.len() > 2 * self.known.len() + SPARE {
            let known = &self.known;
            self.uses.retain(|(number, key)| known.get(key).is_some_and(|entry| entry.last_use == *number));
        }
    }
}

#[cfg(test)]
impl<K, V> Recent<K, V> {
    /// How many things, and their bytes.
    pub(crate) fn totals(&self) -> (usize, usize) {
        (self.known.len(), self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Thing(usize);

    impl Held for Thing {
        fn held(&self) -> usize {
            self.0
        }
    }

    fn of(count: u32, bytes: usize) -> Recent<u32, Thing> {
        let mut recent = Recent::new(100, 1000);
        for index in 0..count {
            recent.insert(index, Thing(bytes));
        }
        recent
    }

    #[test]
    fn what_was_not_used_for_longest_makes_room() {
        let mut recent = of(100, 1);
        assert_eq!(recent.used(&0), Some(&mut Thing(1)));
        recent.insert(100, Thing(1));
        assert_eq!(recent.used(&1), None);
        assert_eq!(recent.used(&0), Some(&mut Thing(1)));
        assert_eq!(recent.totals(), (100, 100));
        recent.insert(0, Thing(1000));
        assert_eq!(recent.totals(), (1, 1000));
        assert_eq!(recent.remove(&0), Some(Thing(1000)));
        assert_eq!((recent.totals(), recent.used(&0)), ((0, 0), None));
    }

    #[test]
    fn what_grows_makes_others_leave() {
        let mut recent = of(10, 100);
        recent.change(&3, |thing| thing.0 += 250);
        for index in 0..3 {
            assert_eq!(recent.used(&index), None);
        }
        assert_eq!(recent.totals(), (7, 950));
        recent.change(&2, |thing| thing.0 += 250);
        assert_eq!(recent.totals(), (7, 950));
        let old = recent.change_or_insert(11, || Thing(50), |thing| std::mem::replace(&mut thing.0, 60));
        assert_eq!((old, recent.totals()), (50, (7, 910)));
        assert_eq!(recent.oldest(), Some((&5, &Thing(100))));
        recent.clear();
        assert_eq!((recent.totals(), recent.oldest()), ((0, 0), None));
    }

    #[test]
    fn names_count_too() {
        let mut recent = Recent::new(100, 1000);
        for index in 0..20_u8 {
            recent.insert(Arc::from([index; 100]), Thing(1));
        }
        assert_eq!(recent.totals(), (9, 909));
        assert_eq!(recent.used(&[19; 100][..]), Some(&mut Thing(1)));
    }

    #[test]
    fn uses_are_not_remembered_for_ever() {
        let mut recent = of(2, 1);
        for _ in 0..1000 {
            recent.used(&0);
            recent.used(&1);
            recent.insert(1, Thing(1));
        }
        assert!(recent.uses.len() < 30, "{}", recent.uses.len());
        assert_eq!(recent.oldest(), Some((&0, &Thing(1))));
    }
}
