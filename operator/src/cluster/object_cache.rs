//! What the API server holds of one kind, as far as we have heard.
//!
//! Two sources feed it: the watch, and the answers to our own writes. The second keeps the operator from doing again what it
//! has just done and not yet heard of. Of two states of an object the one with the higher resource version counts.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use vectoll_config::ObjectName;

/// Deleted objects that are remembered: far more than there can be requests under way that might still tell of them.
const REMEMBERED: usize = 4096;

/// An object and the resource version it was seen in.
#[derive(Clone, Debug)]
pub(super) struct CacheEntry<T> {
    pub(super) version: u64,
    pub(super) value: T,
}

/// Objects by name.
#[derive(Debug)]
pub(super) struct ObjectCache<T> {
    objects: BTreeMap<ObjectName, CacheEntry<T>>,
    /// Objects that were deleted lately, and at which version: an answer to a write of ours that comes in after the word
    /// of the deletion must not bring them back.
    gone: BTreeMap<ObjectName, u64>,
    /// Their names, those deleted first in front. One that is back may still stand here.
    order: VecDeque<ObjectName>,
    /// Objects whose value is another one than when they were last asked for, or that came or went. Most events change nothing that is
    /// kept here.
    changed: BTreeSet<ObjectName>,
    /// Whether another version alone is a change: of what is kept by name only.
    by_version: bool,
}

impl<T> Default for ObjectCache<T> {
    fn default() -> Self {
        Self {
            objects: BTreeMap::new(),
            gone: BTreeMap::new(),
            order: VecDeque::new(),
            changed: BTreeSet::new(),
            by_version: false,
        }
    }
}

impl<T> ObjectCache<T> {
    /// A mirror of versions: each new one is a change.
    pub(super) fn of_versions() -> Self {
        Self { by_version: true, ..Self::default() }
    }

    /// The objects that have changed since this was last asked.
    pub(super) fn take_changed(&mut self) -> BTreeSet<ObjectName> {
        std::mem::take(&mut self.changed)
    }

    /// Those of a namespace, as they are now.
    pub(super) fn part(&self, namespace: &str) -> Self
    where
        T: Clone,
    {
        let objects = self.in_namespace(namespace).map(|(name, seen)| (name.clone(), seen.clone())).collect();
        Self { objects, by_version: self.by_version, ..Self::default() }
    }

    /// One of them, as it is now.
    pub(super) fn part_of_one(&self, name: &ObjectName) -> Self
    where
        T: Clone,
    {
        let object = self.objects.get(name).map(|seen| (name.clone(), seen.clone()));
        Self { objects: object.into_iter().collect(), by_version: self.by_version, ..Self::default() }
    }
}

impl<T: PartialEq> ObjectCache<T> {
    /// An object as it was at a version.
    pub(super) fn put(&mut self, name: ObjectName, version: u64, value: T) {
        let known = self.objects.get(&name).map(|seen| seen.version).max(self.gone.get(&name).copied());
        if known.is_none_or(|known| known < version) {
            self.set(name, version, value);
        }
    }

    /// An object as it became by a write of ours, which changes nothing but what was planned: nobody has to look at it again.
    pub(super) fn put_as_planned(&mut self, name: &ObjectName, version: u64, value: T) {
        let was_changed = self.changed.contains(name);
        self.put(name.clone(), version, value);
        if !was_changed {
            self.changed.remove(name);
        }
    }

    /// An object as a list has it. Lists are believed: after a restore of the API server's store versions begin lower.
    pub(super) fn set(&mut self, name: ObjectName, version: u64, value: T) {
        self.gone.remove(&name);
        let is_same = |seen: &CacheEntry<T>| seen.value == value && !(self.by_version && seen.version != version);
        if !self.objects.get(&name).is_some_and(is_same) {
            self.changed.insert(name.clone());
        }
        self.objects.insert(name, CacheEntry { version, value });
    }
}

impl<T> ObjectCache<T> {
    /// An object that the API server does not know, although it stands here: another one may.
    pub(super) fn forget(&mut self, name: &ObjectName, is_it: impl Fn(&T) -> bool) {
        if let Some(version) = self.objects.get(name).filter(|seen| is_it(&seen.value)).map(|seen| seen.version) {
            self.take(name, version);
        }
    }

    /// An object that is there no more. `version` is the one it was deleted at or had last.
    pub(super) fn take(&mut self, name: &ObjectName, version: u64) {
        if self.objects.get(name).is_some_and(|seen| seen.version > version) {
            return;
        }
        if self.objects.remove(name).is_some() {
            self.changed.insert(name.clone());
        }
        if self.gone.insert(name.clone(), version).is_none() {
            self.order.push_back(name.clone());
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.gone.remove(&oldest);
        }
    }

    /// After a complete list: what is in the scope and was not listed is gone.
    pub(super) fn keep(&mut self, scope: Option<&str>, listed: &BTreeSet<ObjectName>) {
        let in_scope = |name: &ObjectName| scope.is_none_or(|scope| name.namespace() == scope);
        let changed = &mut self.changed;
        self.objects.retain(|name, _| {
            let stays = !in_scope(name) || listed.contains(name);
            if !stays {
                changed.insert(name.clone());
            }
            stays
        });
    }

    pub(super) fn get(&self, name: &ObjectName) -> Option<&CacheEntry<T>> {
        self.objects.get(name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&ObjectName, &CacheEntry<T>)> {
        self.objects.iter()
    }

    /// The objects of a namespace.
    pub(super) fn in_namespace<'a>(
        &'a self,
        namespace: &'a str,
    ) -> impl Iterator<Item = (&'a ObjectName, &'a CacheEntry<T>)> {
        let from = ObjectName::new(namespace, "");
        self.objects.range(from..).take_while(move |(name, _)| name.namespace() == namespace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_news_is_not_believed() {
        let name = ObjectName::new("apps", "a");
        let mut mirror = ObjectCache::default();
        mirror.put(name.clone(), 5, "five");
        mirror.put(name.clone(), 4, "four");
        assert_eq!(mirror.get(&name).map(|seen| seen.value), Some("five"));
        mirror.take(&name, 4);
        assert!(mirror.get(&name).is_some(), "an earlier object of that name was deleted, not this one");
        mirror.take(&name, 5);
        mirror.put(name.clone(), 5, "an echo");
        assert!(mirror.get(&name).is_none());
        mirror.put(name.clone(), 9, "a new one");
        assert!(mirror.get(&name).is_some());
        mirror.forget(&name, |value| *value == "another");
        assert!(mirror.get(&name).is_some());
        mirror.forget(&name, |value| *value == "a new one");
        assert!(mirror.get(&name).is_none());
        mirror.set(name.clone(), 3, "restored");
        assert_eq!(mirror.get(&name).map(|seen| seen.version), Some(3));
    }

    #[test]
    fn what_changes_nothing_that_is_kept_is_no_change() {
        let name = ObjectName::new("apps", "a");
        let changed = |mirror: &mut ObjectCache<u8>| mirror.take_changed().into_iter().collect::<Vec<_>>();
        let mut mirror = ObjectCache::default();
        mirror.put(name.clone(), 1, 7);
        assert_eq!(changed(&mut mirror), std::slice::from_ref(&name));
        mirror.put(name.clone(), 2, 7);
        mirror.set(name.clone(), 3, 7);
        assert_eq!(changed(&mut mirror), []);
        mirror.put(name.clone(), 4, 8);
        assert_eq!(changed(&mut mirror), std::slice::from_ref(&name));
        mirror.take(&name, 5);
        mirror.take(&name, 6);
        assert_eq!(changed(&mut mirror), std::slice::from_ref(&name));
        mirror.set(name.clone(), 7, 8);
        mirror.keep(None, &BTreeSet::new());
        assert_eq!(changed(&mut mirror), std::slice::from_ref(&name));
        let mut versions = ObjectCache::of_versions();
        versions.put(name.clone(), 1, ());
        versions.take_changed();
        versions.put(name.clone(), 2, ());
        assert_eq!(versions.take_changed().len(), 1);
    }

    #[test]
    fn what_is_remembered_of_the_deleted_is_bounded() {
        let mut mirror = ObjectCache::<()>::default();
        for n in 0..2 * REMEMBERED {
            mirror.take(&ObjectName::new("apps", &n.to_string()), 1);
        }
        assert_eq!((mirror.gone.len(), mirror.order.len()), (REMEMBERED, REMEMBERED));
    }

    #[test]
    fn a_list_ends_what_it_does_not_name_within_its_scope() {
        let (a, b, c) = (ObjectName::new("one", "a"), ObjectName::new("one", "b"), ObjectName::new("two", "c"));
        let mut mirror = ObjectCache::default();
        for name in [&a, &b, &c] {
            mirror.put(name.clone(), 1, ());
        }
        mirror.keep(Some("one"), &BTreeSet::from([b.clone()]));
        assert!(mirror.get(&a).is_none() && mirror.get(&b).is_some() && mirror.get(&c).is_some());
        assert_eq!(mirror.in_namespace("one").count(), 1);
    }
}
