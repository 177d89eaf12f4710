//! What was removed.

use std::collections::BTreeMap;

use crate::store::sweep::Reason;

/// What was removed, by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept(pub(super) BTreeMap<&'static str, u64>);

impl Swept {
    /// How many keys and fields went, by reason.
    pub fn by_reason(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().map(|(reason, number)| (*reason, *number))
    }

    /// How many went for a reason.
    pub fn of(&self, reason: Reason) -> u64 {
        self.0.get(reason.name()).copied().unwrap_or_default()
    }

    pub(super) fn add(&mut self, reason: Reason, number: usize) {
        if number > 0 {
            *self.0.entry(reason.name()).or_default() += number as u64;
        }
    }
}
