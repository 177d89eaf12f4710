//! What was read of a Team's month. Pure.

use std::collections::{BTreeMap, BTreeSet};

use vectoll_config::{
    PicoUsd, Uid,
    store::{ModelAt, Quantity, Series},
};

use crate::{
    allocation::{self, Allocated, Allocation},
    ledger::Totals,
};

/// A Team's calls in a month.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MonthLedger {
    pub(super) whole: Totals,
    /// Parts of it, of which other things are known.
    pub(super) unsettled: Totals,
    pub(super) estimated: Totals,
    pub(super) foreign: Totals,
    pub(super) keys: BTreeMap<Uid, Totals>,
    pub(super) users: BTreeMap<String, Totals>,
    pub(super) models: BTreeMap<ModelAt, Totals>,
    /// By the tags that calls had. One without any is nowhere here.
    pub(super) tags: BTreeMap<BTreeSet<String>, Totals>,
    /// What keys have spent for, as far as the operator has booked that.
    pub(super) allocations: BTreeMap<Uid, BTreeMap<Allocation, Allocated>>,
    /// Fields that no sidecar writes: nothing is known of them.
    unread: Vec<String>,
}

impl MonthLedger {
    /// From the fields of the hash. One that comes twice, as while a hash is scanned, counts once.
    pub(crate) fn of<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut ledger = Self::default();
        for (name, value) in fields {
            match (Series::read_field(name), value.parse::<u64>()) {
                (Some((series, of)), Ok(value)) => ledger.take(series, of, value),
                (Some(_) | None, _) => ledger.unread.push(name.to_owned()),
            }
        }
        ledger
    }

    /// Takes in what it is allocated to, from the fields of that hash.
    pub(crate) fn allocate<'a>(&mut self, fields: impl IntoIterator<Item = (&'a str, &'a str)>) {
        for (name, value) in fields {
            match allocation::read(name, value) {
                Some((key, to, allocated)) => drop(self.allocations.entry(key).or_default().insert(to, allocated)),
                None => self.unread.push(name.to_owned()),
            }
        }
    }

    /// How a key's spend is allocated: all of it.
    pub(super) fn shares(&self, key: &Uid, spent: Totals) -> BTreeMap<Allocation, Totals> {
        allocation::shares(spent, self.allocations.get(key).unwrap_or(&BTreeMap::new()))
    }

    fn take(&mut self, series: Series, of: Quantity, value: u64) {
        let totals = match series {
            Series::Team => &mut self.whole,
            Series::Unsettled => &mut self.unsettled,
            Series::Estimated => &mut self.estimated,
            Series::ForeignRoutes => &mut self.foreign,
            Series::Key(key) => self.keys.entry(key).or_default(),
            Series::User(user) => self.users.entry(user).or_default(),
            Series::Model(model) => self.models.entry(model).or_default(),
            Series::Tags(tags) => self.tags.entry(tags).or_default(),
        };
        match of {
            Quantity::Requests => totals.requests = value,
            Quantity::Tokens => totals.tokens = value,
            Quantity::Money => totals.spent = PicoUsd::new(value),
        }
    }

    /// Fields whose values are no numbers, by name.
    pub(super) fn unread(&self) -> &[String] {
        &self.unread
    }
}
