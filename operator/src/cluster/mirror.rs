//! What the API server holds of one kind, as far as we have heard.
//!
//! Two sources feed it: the watch, and the answers to our own writes. The second keeps the operator from doing again what it
//! has just done and not yet heard of. Of two states of an object the one with the higher resource version counts.

use std::collections::{BTreeMap, BTreeSet};

use vectoll_config::ObjectName;

/// An object and the resource version it was seen in.
#[derive(Clone, Debug)]
pub(super) struct Seen<T> {
    pub(super) version: u64,
    pub(super) value: T,
}

/// Objects by name.
#[derive(Debug)]
pub(super) struct Mirror<T> {
    objects: BTreeMap<ObjectName, Seen<T>>,
    /// Objects that we deleted, and the version they had: a late echo of them is not believed.
    gone: BTreeMap<ObjectName, u64>,
}

impl<T> Default for Mirror<T> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), gone: BTreeMap::new() }
    }
}

impl<T> Mirror<T> {
    /// An object as it was at a version.
    pub(super) fn put(&mut self, name: ObjectName, version: u64, value: T) {
        let known = self.objects.get(&name).map(|seen| seen.version).max(self.gone.get(&name).copied());
        if known.is_none_or(|known| known < version) {
            self.gone.remove(&name);
            self.objects.insert(name, Seen { version, value });
        }
    }

    /// An object that is there no more. `version` is the one it was deleted at or had last.
    pub(super) fn take(&mut self, name: &ObjectName, version: u64) {
        if self.objects.get(name).is_some_and(|seen| seen.version <= version) {
            self.objects.remove(name);
        }
    }

    /// The same, after a deletion of our own.
    pub(super) fn take_by_us(&mut self, name: &ObjectName, version: u64) {
        self.take(name, version);
        self.gone.insert(name.clone(), version);
    }

    /// After a complete list: what is in the scope and was not listed is gone.
    pub(super) fn keep(&mut self, scope: Option<&str>, listed: &BTreeSet<ObjectName>) {
        let in_scope = |name: &ObjectName| scope.is_none_or(|scope| name.namespace() == scope);
        self.objects.retain(|name, _| !in_scope(name) || listed.contains(name));
        self.gone.retain(|name, _| !in_scope(name));
    }

    pub(super) fn get(&self, name: &ObjectName) -> Option<&Seen<T>> {
        self.objects.get(name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&ObjectName, &Seen<T>)> {
        self.objects.iter()
    }

    /// The objects of a namespace.
    pub(super) fn in_namespace<'a>(
        &'a self,
        namespace: &'a str,
    ) -> impl Iterator<Item = (&'a ObjectName, &'a Seen<T>)> {
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
        let mut mirror = Mirror::default();
        mirror.put(name.clone(), 5, "five");
        mirror.put(name.clone(), 4, "four");
        assert_eq!(mirror.get(&name).map(|seen| seen.value), Some("five"));
        mirror.take(&name, 4);
        assert!(mirror.get(&name).is_some(), "an earlier object of that name was deleted, not this one");
        mirror.take_by_us(&name, 5);
        mirror.put(name.clone(), 5, "an echo");
        assert!(mirror.get(&name).is_none());
        mirror.put(name.clone(), 9, "a new one");
        assert!(mirror.get(&name).is_some());
    }

    #[test]
    fn a_list_ends_what_it_does_not_name_within_its_scope() {
        let (a, b, c) = (ObjectName::new("one", "a"), ObjectName::new("one", "b"), ObjectName::new("two", "c"));
        let mut mirror = Mirror::default();
        for name in [&a, &b, &c] {
            mirror.put(name.clone(), 1, ());
        }
        mirror.keep(Some("one"), &BTreeSet::from([b.clone()]));
        assert!(mirror.get(&a).is_none() && mirror.get(&b).is_some() && mirror.get(&c).is_some());
        assert_eq!(mirror.in_namespace("one").count(), 1);
    }
}
