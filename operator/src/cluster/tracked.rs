//! A resource of ours as it is known.

use std::{collections::BTreeMap, sync::Arc};

use crate::observed_state::{Object, UnreadableResource};

/// A resource of ours: what is wanted, and what was last said of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tracked<S, T> {
    pub(crate) object: Arc<Object<S>>,
    pub(crate) generation: Option<i64>,
    pub(crate) status: Option<Arc<T>>,
    /// Its labels: spend can be allocated by them.
    pub(crate) labels: Arc<BTreeMap<String, String>>,
    /// Whether it takes over a Secret that was not made for it.
    pub(crate) adopts: bool,
    /// Why it cannot be read as it is now.
    pub(crate) unreadable: Option<UnreadableResource>,
}

impl<S: PartialEq, T> Tracked<S, T> {
    /// Whether it is what was reconciled, whatever stands in its status.
    pub(super) fn differs_in_status_only(&self, other: &Self) -> bool {
        // What spend is allocated to is looked up once a minute.
        let Self { object, generation, status: _, labels: _, adopts, unreadable } = self;
        *object == other.object
            && *generation == other.generation
            && *adopts == other.adopts
            && *unreadable == other.unreadable
    }
}

impl<S, T> Tracked<S, T> {
    /// Whether its spec was ever read.
    pub(super) fn was_read(&self) -> bool {
        self.unreadable.as_ref().is_none_or(|unreadable| unreadable.has_last)
    }
}
