//! A resource of ours as it is known.

use std::sync::Arc;

use crate::world::{Fault, Object};

/// A resource of ours: what is wanted, and what was last said of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tracked<S, T> {
    pub(super) object: Arc<Object<S>>,
    pub(super) generation: Option<i64>,
    pub(super) status: Option<Arc<T>>,
    /// Whether it takes over a Secret that was not made for it.
    pub(super) adopts: bool,
    /// Why it cannot be read as it is now.
    pub(super) fault: Option<Fault>,
}

impl<S: PartialEq, T> Tracked<S, T> {
    /// Whether it is what was judged, whatever stands in its status.
    pub(super) fn differs_in_status_only(&self, other: &Self) -> bool {
        let Self { object, generation, status: _, adopts, fault } = self;
        *object == other.object && *generation == other.generation && *adopts == other.adopts && *fault == other.fault
    }
}

impl<S, T> Tracked<S, T> {
    /// Whether its spec was ever read.
    pub(super) fn was_read(&self) -> bool {
        self.fault.as_ref().is_none_or(|fault| fault.has_last)
    }
}
