//! What spend is allocated to beside its Team and key: a cost centre, and the labels that the operator was told to go by. Pure.
//!
//! Sidecars book by the UID of the key and know nothing of this. The operator compares, for each month, what a key has spent with what is
//! allocated of it already, and books the difference to what the key says now ([`book`]). So spend stays where it was allocated when a label
//! changes, and old months stay as they are; the journal of sidecars and what they tell the store need no new fields; and there is no more
//! than one entry for a key and each thing that it said in a month, at most [`MAX_ALLOCATIONS`]. Everything is written as it is to be,
//! nothing as a change: two replicas that both believe to lead write the same.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use vectoll_config::{PicoUsd, Uid, store::team_prefix};

use crate::ledger::Totals;

/// Things that one key may say in a month and that are told apart. All others share one entry.
pub(crate) const MAX_ALLOCATIONS: usize = 32;
/// What stands for those, and what no spec may say.
const OTHER: &str = "_other";

/// What spend is allocated to.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Allocation {
    /// The cost centre.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_center: Option<String>,
    /// Those of the chosen labels that are set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// What keys say, by the accounts of their Teams and their own.
pub type Allocations = BTreeMap<Uid, BTreeMap<Uid, Allocation>>;

/// As it stands in the store: one text for one thing.
impl fmt::Display for Allocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

impl Allocation {
    /// What a key says, else its Team, else those above it: cost centres and labels, of which the first are the key's.
    pub(crate) fn of(lineage: &[(Option<&str>, &BTreeMap<String, String>)], chosen: &[String]) -> Self {
        let cost_center = lineage.iter().find_map(|(cost_center, _)| *cost_center).map(str::to_owned);
        let label = |name: &String| {
            let value = lineage.iter().find_map(|(_, labels)| labels.get(name))?;
            Some((name.clone(), value.clone()))
        };
        Self { cost_center, labels: chosen.iter().filter_map(label).collect() }
    }

    /// What stands for all that is not told apart.
    fn other() -> Self {
        Self { cost_center: Some(OTHER.to_owned()), labels: BTreeMap::new() }
    }
}

/// What is allocated so far, and when that last grew, in seconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allocated {
    /// What.
    pub totals: Totals,
    /// When.
    pub at: u64,
}

/// As it stands in the store.
impl fmt::Display for Allocated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { totals: Totals { requests, tokens, spent }, at } = self;
        write!(f, "{requests} {tokens} {} {at}", spent.pico())
    }
}

impl Allocated {
    fn read(text: &str) -> Option<Self> {
        let mut numbers = text.split(' ').map(|word| word.parse::<u64>().ok());
        let mut next = || numbers.next().flatten();
        let (requests, tokens, pico, at) = (next()?, next()?, next()?, next()?);
        numbers.next().is_none().then_some(Self { totals: Totals { requests, tokens, spent: PicoUsd::new(pico) }, at })
    }
}

/// The hash of what a Team's spend in a month, `2026-11`, is allocated to.
pub(crate) fn allocations_key(team: &Uid, month: &str) -> String {
    format!("{}allocations:{month}", team_prefix(team))
}

/// A field of that hash.
pub(crate) fn field(key: &Uid, to: &Allocation) -> String {
    format!("{key} {to}")
}

/// A field of it, and its value. None: this program does not write such a thing.
pub(crate) fn read(field: &str, value: &str) -> Option<(Uid, Allocation, Allocated)> {
    let (key, to) = field.split_once(' ')?;
    Some((Uid::new(key), serde_json::from_str(to).ok()?, Allocated::read(value)?))
}

/// What is to be written of a key so that all of its spend in a month is allocated; none: nothing. `so_far` is what is allocated of it.
pub(crate) fn book(
    spent: Totals,
    so_far: &BTreeMap<Allocation, Allocated>,
    now: &Allocation,
    at: u64,
) -> Option<(Allocation, Allocated)> {
    let is_known = so_far.contains_key(now) || so_far.len() < MAX_ALLOCATIONS;
    let to = if is_known { now.clone() } else { Allocation::other() };
    let elsewhere = so_far.iter().filter(|(other, _)| **other != to).map(|(_, allocated)| allocated.totals);
    let totals = minus(spent, elsewhere.fold(Totals::default(), Totals::plus));
    let before = so_far.get(&to).map(|allocated| allocated.totals).unwrap_or_default();
    (totals != before).then_some((to, Allocated { totals, at }))
}

/// What is left; never less than nothing.
pub(crate) fn minus(all: Totals, part: Totals) -> Totals {
    Totals {
        requests: all.requests.saturating_sub(part.requests),
        tokens: all.tokens.saturating_sub(part.tokens),
        spent: PicoUsd::new(all.spent.pico().saturating_sub(part.spent.pico())),
    }
}

/// How a key's spend in a month is allocated: all of it. What came after the operator last looked goes where it last grew.
pub(crate) fn shares(spent: Totals, so_far: &BTreeMap<Allocation, Allocated>) -> BTreeMap<Allocation, Totals> {
    let mut shares: BTreeMap<Allocation, Totals> =
        so_far.iter().map(|(to, allocated)| (to.clone(), allocated.totals)).collect();
    let rest = minus(spent, shares.values().fold(Totals::default(), |sum, of| sum.plus(*of)));
    let last = so_far.iter().max_by_key(|(to, allocated)| (allocated.at, *to)).map(|(to, _)| to.clone());
    let share = shares.entry(last.unwrap_or_default()).or_default();
    *share = share.plus(rest);
    shares
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;

    fn to(cost_center: &str) -> Allocation {
        Allocation { cost_center: Some(cost_center.to_owned()), ..Allocation::default() }
    }

    fn spent(pico: u64) -> Totals {
        Totals { requests: pico, tokens: 2 * pico, spent: PicoUsd::new(pico) }
    }

    /// Looks at a key again and again, with what it says then, and gives what stands in the store at the end.
    fn looked_at(steps: &[(u64, &str)]) -> BTreeMap<Allocation, Allocated> {
        let mut so_far = BTreeMap::new();
        for (at, (all, says)) in (1..).zip(steps) {
            so_far.extend(book(spent(*all), &so_far, &to(says), at));
        }
        so_far
    }

    #[test]
    fn what_was_allocated_stays_where_it_is_when_a_label_changes() {
        let found = looked_at(&[(5, "a"), (7, "a"), (7, "b"), (10, "b"), (12, "a")]);
        assert_eq!((found[&to("a")].totals, found[&to("b")].totals), (spent(9), spent(3)));
        assert_eq!(shares(spent(12), &found).values().fold(Totals::default(), |sum, of| sum.plus(*of)), spent(12));
    }

    #[test]
    fn the_same_twice_changes_nothing_and_nothing_spent_is_nothing_to_write() {
        let found = looked_at(&[(5, "a")]);
        assert_eq!(book(spent(5), &found, &to("a"), 9), None);
        assert_eq!(book(spent(5), &found, &to("b"), 9), None);
        assert_eq!(book(Totals::default(), &BTreeMap::new(), &to("a"), 9), None);
    }

    #[test]
    fn what_came_after_the_last_look_goes_where_spend_last_grew() {
        let found = looked_at(&[(5, "z"), (8, "a")]);
        let shares = shares(spent(10), &found);
        assert_eq!((shares[&to("z")], shares[&to("a")]), (spent(5), spent(5)));
        // Of a key that the operator has never seen nothing is known.
        assert_eq!(super::shares(spent(4), &BTreeMap::new()), BTreeMap::from([(Allocation::default(), spent(4))]));
    }

    #[test]
    fn who_says_something_else_all_the_time_does_not_fill_the_store() {
        let words: Vec<String> = (0..100).map(|n| n.to_string()).collect();
        let steps: Vec<(u64, &str)> = (1..).zip(&words).map(|(all, says)| (all, &**says)).collect();
        let found = looked_at(&steps);
        assert_eq!(found.len(), MAX_ALLOCATIONS + 1);
        assert_eq!(found[&Allocation::other()].totals, spent(100 - MAX_ALLOCATIONS as u64));
    }

    #[test]
    fn a_key_goes_before_its_team_and_that_before_those_above() {
        let labels = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let (key, team) = (labels(&[("app", "a")]), labels(&[("app", "b"), ("tier", "gold"), ("secret", "x")]));
        let chosen = ["app".to_owned(), "tier".to_owned(), "none".to_owned()];
        let found = Allocation::of(&[(None, &key), (Some("4711"), &team), (Some("1"), &labels(&[]))], &chosen);
        assert_eq!(found.to_string(), r#"{"costCenter":"4711","labels":{"app":"a","tier":"gold"}}"#);
        assert_eq!(Allocation::default().to_string(), "{}");
    }

    #[test]
    fn fields_read_as_what_they_were_written_from() {
        let allocated = Allocated { totals: spent(7), at: 1_800_000_000 };
        for to in [Allocation::default(), to("a b"), Allocation::other()] {
            let field = field(&Uid::new("K1"), &to);
            assert_eq!(read(&field, &allocated.to_string()), Some((Uid::new("K1"), to, allocated)));
        }
        for (field, value) in [
            ("K1", "1 2 3 4"),
            ("K1 {", "1 2 3 4"),
            ("K1 {\"x\":1}", "1 2 3 4"),
            ("K1 {}", "1 2 3"),
            ("K1 {}", "1 2 3 4 5"),
            ("K1 {}", "1 -2 3 4"),
        ] {
            assert_eq!(read(field, value), None, "{field} {value}");
        }
    }
}
