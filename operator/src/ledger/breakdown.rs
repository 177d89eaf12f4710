//! How a Team's totals are made up of its users and models. Pure.

use std::collections::{BTreeMap, HashMap};

use vectoll_config::{
    PicoUsd,
    store::{ModelAt, Quantity, Series},
};

use super::answers::Totals;

/// Users of a Team that are told apart, and models: callers name them, and labels must stay bounded. As many as a sidecar tells
/// apart.
const MAX_ROWS: usize = 1_000;
/// The name of all others.
const OTHER: &str = "_other";

/// The parts of a Team's totals. Users sum to the same as models, and both to what the Team has in all, as far as it was read
/// in one piece.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Breakdown {
    /// By user. At most 1,000, and `_other` for the rest of them.
    pub users: BTreeMap<String, Totals>,
    /// By model. At most 1,000, and `_other` for the rest of them.
    pub models: BTreeMap<ModelAt, Totals>,
}

/// Fields of the hash, as they come: in any order, and some of them twice.
#[derive(Debug, Default)]
pub(super) struct Fields {
    /// None: one of the numbers is none, so nothing is known.
    totals: HashMap<Series, Option<Totals>>,
}

impl Fields {
    /// Takes in a field.
    pub(super) fn take(&mut self, name: &str, value: &str) {
        let Some((series, of)) = Series::read_field(name) else { return };
        if !matches!(series, Series::User(_) | Series::Model(_)) {
            return;
        }
        let known = self.totals.entry(series).or_insert_with(|| Some(Totals::default()));
        match (known.as_mut(), value.parse()) {
            (Some(totals), Ok(value)) => match of {
                Quantity::Requests => totals.requests = value,
                Quantity::Tokens => totals.tokens = value,
                Quantity::Money => totals.spent = PicoUsd::new(value),
            },
            (Some(_) | None, _) => *known = None,
        }
    }

    /// What they come to. Who was told apart before is so again.
    pub(super) fn end(self, before: Option<&Breakdown>) -> Breakdown {
        let (mut users, mut models) = (BTreeMap::new(), BTreeMap::new());
        for (series, totals) in self.totals {
            let Some(totals) = totals else { continue };
            match series {
                Series::User(user) => drop(users.insert(user, totals)),
                Series::Model(model) => drop(models.insert(model, totals)),
                Series::Team
                | Series::Key(_)
                | Series::Tags(_)
                | Series::Unsettled
                | Series::Estimated
                | Series::ForeignRoutes => {}
            }
        }
        let other = || OTHER.to_owned();
        let other_models = ModelAt { provider: other(), backend: other(), model: other() };
        Breakdown {
            users: bounded(users, before.map(|before| &before.users), other()),
            models: bounded(models, before.map(|before| &before.models), other_models),
        }
    }
}

/// The same with no more names than there may be. Those that stood there stay, so that no series ends and none of what is summed
/// under `other` is taken out of it again: a counter never goes back. Where there is room, it goes to those that have called most.
fn bounded<K: Ord + Clone>(
    all: BTreeMap<K, Totals>,
    before: Option<&BTreeMap<K, Totals>>,
    other: K,
) -> BTreeMap<K, Totals> {
    let stood = |name: &K| before.is_some_and(|before| before.contains_key(name));
    let (mut kept, mut new): (BTreeMap<K, Totals>, Vec<(K, Totals)>) = (BTreeMap::new(), Vec::new());
    let mut rest: Option<Totals> = None;
    for (name, totals) in all {
        if name == other {
            rest = Some(totals);
        } else if stood(&name) {
            kept.insert(name, totals);
        } else {
            new.push((name, totals));
        }
    }
    let room = MAX_ROWS.saturating_sub(kept.len());
    new.sort_by(|(a, of_a), (b, of_b)| of_b.requests.cmp(&of_a.requests).then_with(|| a.cmp(b)));
    for (at, (name, totals)) in new.into_iter().enumerate() {
        if at < room {
            kept.insert(name, totals);
        } else {
            rest = Some(rest.unwrap_or_default().plus(totals));
        }
    }
    kept.extend(rest.map(|rest| (other, rest)));
    kept
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;

    /// A hash in which each user has called so often.
    fn read<'a>(users: impl IntoIterator<Item = (&'a str, u64)>, before: Option<&Breakdown>) -> Breakdown {
        let mut fields = Fields::default();
        for (user, requests) in users {
            fields.take(&format!("u:{user}:p"), &(requests * 7).to_string());
            fields.take(&format!("u:{user}:r"), &requests.to_string());
        }
        fields.end(before)
    }

    fn sum<K>(of: &BTreeMap<K, Totals>) -> Totals {
        of.values().fold(Totals::default(), |sum, each| sum.plus(*each))
    }

    #[test]
    fn users_and_models_are_told_from_all_else_and_what_comes_twice_counts_once() {
        let mut fields = Fields::default();
        let all = "t:r 3 k:1:r 3 unsettled:r 1 u:ada:r 2 u:b|c:d:r 1 u:ada:t 20 u:ada:p 5 u:ada:r 2 other 1";
        for pair in all.split(' ').collect::<Vec<_>>().chunks(2) {
            fields.take(pair[0], pair[1]);
        }
        fields.take("m:openai|apps/r/one|a|b:r", "3");
        fields.take("u:broken:r", "x");
        fields.take("u:broken:r", "1");
        let Breakdown { users, models } = fields.end(None);
        let ada = Totals { requests: 2, tokens: 20, spent: PicoUsd::new(5) };
        assert_eq!(users["ada"], ada);
        assert_eq!(users.keys().map(String::as_str).collect::<Vec<_>>(), ["ada", "b|c:d"]);
        let (model, totals) = models.first_key_value().unwrap();
        assert_eq!((&*model.provider, &*model.backend, &*model.model), ("openai", "apps/r/one", "a|b"));
        assert_eq!((models.len(), totals.requests), (1, 3));
    }

    #[test]
    fn beyond_the_bound_those_that_call_most_are_told_apart_and_the_rest_is_summed() {
        let names: Vec<String> = (0..1_500).map(|n| format!("user-{n:04}")).collect();
        let all: Vec<(&str, u64)> = names.iter().zip(1..).map(|(name, calls)| (&**name, calls)).collect();
        let first = read(all.iter().copied(), None);
        assert_eq!(first.users.len(), MAX_ROWS + 1);
        assert!(first.users.contains_key("user-1499") && !first.users.contains_key("user-0499"));
        let whole = all.iter().fold(0, |sum, (_, calls)| sum + calls);
        assert_eq!((sum(&first.users).requests, sum(&first.users).spent), (whole, PicoUsd::new(whole * 7)));
        // Whoever was not told apart is not later, however often it calls; and those that were stay.
        let more = all.iter().map(|(name, calls)| (*name, if *name == "user-0000" { 1_000_000 } else { *calls }));
        let second = read(more.chain([("newcomer", 2_000_000)]), Some(&first));
        assert!(first.users.keys().eq(second.users.keys()));
        assert!(first.users.iter().all(|(name, before)| before.requests <= second.users[name].requests));
        assert_eq!(sum(&second.users).requests, whole - 1 + 3_000_000);
    }

    #[test]
    fn the_stores_own_rest_is_part_of_the_rest_and_keeps_nobody_out() {
        let first = read([("ada", 1), ("_other", 5)], None);
        let second = read([("ada", 1), ("_other", 6), ("bob", 1)], Some(&first));
        assert_eq!(second.users.keys().map(String::as_str).collect::<Vec<_>>(), ["_other", "ada", "bob"]);
        let names: Vec<String> = (0..MAX_ROWS).map(|n| n.to_string()).collect();
        let third = read(names.iter().map(|name| (&**name, 2)).chain([("_other", 6), ("ada", 1)]), Some(&second));
        assert_eq!(third.users.len(), MAX_ROWS + 1);
        assert_eq!((third.users["ada"].requests, third.users["_other"].requests), (1, 8));
    }
}
