//! What was used and spent, in integers, by key, team, user and model.
//!
//! Every call is booked once, in all families at the same moment, so that at any scrape each family sums to the same
//! total.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};
use vectoll_config::PicoUsd;

use crate::used::{OTHER, Used};

/// Users told apart on /metrics; those beyond are booked under `_other`.
pub const MAX_USERS: usize = 1_000;
/// Model names told apart: a wildcard route takes names from callers, and labels must stay bounded.
const MAX_MODELS: usize = 1_000;
/// Tags told apart by key, over all keys. What Teams and routes list is bounded, and what keys there are is not.
const MAX_KEY_TAGS: usize = 2_000;

/// Totals of one series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Totals {
    /// Calls that were sent to a backend.
    pub requests: u64,
    /// Input tokens charged.
    pub tokens: u64,
    /// Money charged, in pico-USD.
    pub pico_usd: u64,
}

impl Totals {
    fn add(&mut self, used: Used) {
        self.requests += 1;
        self.tokens = self.tokens.saturating_add(used.tokens);
        self.pico_usd = self.pico_usd.saturating_add(used.money.pico());
    }

    /// The money.
    pub fn money(&self) -> PicoUsd {
        PicoUsd::new(self.pico_usd)
    }
}

/// Whom a call is booked to. Names are `namespace/name`, for people: accounts by UID are the counters' business.
#[derive(Clone, Copy, Debug)]
pub struct Booking<'a> {
    /// The key.
    pub key: &'a str,
    /// Its team.
    pub team: &'a str,
    /// The end user.
    pub user: &'a str,
    /// The model's public name.
    pub model: &'a str,
    /// The kind of provider.
    pub provider: &'a str,
    /// The backend, `namespace/route/backend`.
    pub backend: &'a str,
    /// Its tags that its team counts.
    pub tags: &'a [Arc<str>],
    /// Whether its route is none of the team's.
    pub foreign_route: bool,
}

/// How sure a charge is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Certainty {
    /// The provider reported it, or it was counted with the model's own tokenizer.
    Known,
    /// The provider answered without a usage and the tokenizer is unknown: booked at the bound.
    Estimated,
    /// The provider may have charged it, but nobody knows: booked at the reservation.
    Unsettled,
    /// The provider refused it and charged nothing.
    Refused,
}

/// The books of this sidecar.
#[derive(Debug, Default)]
pub struct Ledger {
    kept: Mutex<Kept>,
}

/// The books, and what would have to be counted in them at each call.
#[derive(Debug, Default)]
struct Kept {
    books: Books,
    /// Users of all teams that are told apart.
    users: usize,
}

/// Totals by a name.
pub type ByName = BTreeMap<Arc<str>, Totals>;

/// Money in pico-USD by tag.
pub type ByTag = BTreeMap<Arc<str>, u64>;

/// The content of the books. Nested maps: team → key, team → user, (model, provider) → backend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Books {
    /// By team, then key.
    pub keys: BTreeMap<Arc<str>, ByName>,
    /// By team.
    pub teams: ByName,
    /// By team, then user.
    pub users: BTreeMap<Arc<str>, ByName>,
    /// By model, then provider, then backend.
    pub models: BTreeMap<Arc<str>, BTreeMap<Arc<str>, ByName>>,
    /// Money in pico-USD by team, then tag. A call with two tags counts with both, and one without any nowhere.
    #[serde(default)]
    pub tags: BTreeMap<Arc<str>, ByTag>,
    /// The same by team, then key, then tag.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub key_tags: BTreeMap<Arc<str>, BTreeMap<Arc<str>, ByTag>>,
    /// The part of the above that is booked but not known to be charged.
    pub unsettled: Totals,
    /// The part of the above that is an upper bound.
    pub estimated: Totals,
    /// The part of each team that went by routes that are none of the team's.
    #[serde(default)]
    pub foreign_routes: ByName,
    /// Tokens of models without a price, by model. Their money is not known, and not counted as 0 in silence.
    pub unpriced_tokens: BTreeMap<Arc<str>, u64>,
    /// Tokens beyond what had been reserved.
    pub overrun_tokens: u64,
    /// Calls booked under `_other` because there were too many users.
    pub folded_calls: u64,
}

impl Ledger {
    /// Starts with what a former process of this sidecar booked.
    pub fn resume(books: Books) -> Self {
        let users = books.users.values().map(BTreeMap::len).sum();
        Self { kept: Mutex::new(Kept { books, users }) }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // A panic while booking leaves numbers, not broken memory.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Books a call in every family. `priced` is false where nobody knows what the model costs.
    pub fn book(&self, booking: Booking<'_>, used: Used, priced: bool, overrun: u64, certainty: Certainty) {
        let mut kept = self.kept();
        let Kept { books, users: told_apart } = &mut *kept;
        series(series(&mut books.keys, booking.team), booking.key).add(used);
        series(&mut books.teams, booking.team).add(used);
        if booking.foreign_route {
            series(&mut books.foreign_routes, booking.team).add(used);
        }
        let users = series(&mut books.users, booking.team);
        let before = users.len();
        if *told_apart < MAX_USERS || users.contains_key(booking.user) {
            series(users, booking.user).add(used);
        } else {
            books.folded_calls += 1;
            series(users, OTHER).add(used);
        }
        *told_apart += users.len() - before;
        // A refused call makes no series of its own: with a wildcard route its model may be any word.
        let room = books.models.len() < MAX_MODELS && certainty != Certainty::Refused;
        let known = room || books.models.contains_key(booking.model);
        let model = if known { booking.model } else { OTHER };
        series(series(series(&mut books.models, model), booking.provider), booking.backend).add(used);
        if certainty != Certainty::Refused && !booking.tags.is_empty() {
            let of_team = series(&mut books.tags, booking.team);
            for tag in booking.tags {
                add(series(of_team, tag), used);
                let of_key = books.key_tags.get(booking.team).and_then(|keys| keys.get(booking.key));
                let is_known = of_key.is_some_and(|tags| tags.contains_key(tag));
                let has_room = || {
                    books.key_tags.values().flat_map(BTreeMap::values).map(BTreeMap::len).sum::<usize>() < MAX_KEY_TAGS
                };
                let name: &str = if is_known || has_room() { tag } else { OTHER };
                add(series(series(series(&mut books.key_tags, booking.team), booking.key), name), used);
            }
        }
        if !priced {
            let tokens = series(&mut books.unpriced_tokens, model);
            *tokens = tokens.saturating_add(used.tokens);
        }
        books.overrun_tokens = books.overrun_tokens.saturating_add(overrun);
        match certainty {
            Certainty::Known | Certainty::Refused => {}
            Certainty::Estimated => books.estimated.add(used),
            Certainty::Unsettled => books.unsettled.add(used),
        }
    }

    /// What a key has spent in all.
    pub fn key_spend(&self, team: &str, key: &str) -> PicoUsd {
        let kept = self.kept();
        kept.books.keys.get(team).and_then(|keys| keys.get(key)).map_or(PicoUsd::ZERO, Totals::money)
    }

    /// What a team has spent in all.
    pub fn team_spend(&self, team: &str) -> PicoUsd {
        self.kept().books.teams.get(team).map_or(PicoUsd::ZERO, Totals::money)
    }

    /// A copy of the books at one moment.
    pub fn copy(&self) -> Books {
        self.kept().books.clone()
    }
}

/// Adds money, in pico-USD.
fn add(spent: &mut u64, used: Used) {
    *spent = spent.saturating_add(used.money.pico());
}

/// The entry of a map, made if need be; the name is copied only then.
fn series<'a, V: Default>(map: &'a mut BTreeMap<Arc<str>, V>, name: &str) -> &'a mut V {
    let name = match map.get_key_value(name) {
        Some((known, _)) => known.clone(),
        None => name.into(),
    };
    map.entry(name).or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn booking<'a>(key: &'a str, user: &'a str, model: &'a str) -> Booking<'a> {
        Booking {
            key,
            team: "default/t",
            user,
            model,
            provider: "openai",
            backend: "default/r/b",
            tags: &[],
            foreign_route: false,
        }
    }

    #[test]
    fn tags_are_told_apart_by_key_as_long_as_there_is_room() {
        let ledger = Ledger::default();
        let used = Used { tokens: 1, money: PicoUsd::new(3) };
        let book = |key: &str, tags: &[Arc<str>], certainty| {
            ledger.book(Booking { tags, ..booking(key, "u", "m") }, used, true, 0, certainty);
        };
        let (day, night): (Arc<str>, Arc<str>) = ("day".into(), "night".into());
        book("a", &[day.clone(), night.clone()], Certainty::Known);
        book("a", std::slice::from_ref(&day), Certainty::Unsettled);
        book("b", std::slice::from_ref(&day), Certainty::Known);
        book("b", std::slice::from_ref(&night), Certainty::Refused);
        let spent = |books: &Books, key: &str, tag: &str| books.key_tags["default/t"].get(key)?.get(tag).copied();
        let books = ledger.copy();
        assert_eq!((spent(&books, "a", "day"), spent(&books, "a", "night")), (Some(6), Some(3)));
        assert_eq!((spent(&books, "b", "day"), spent(&books, "b", "night")), (Some(3), None));
        assert_eq!(books.tags["default/t"].get(&day), Some(&9), "the team's is the sum of its keys'");

        for key in 0..MAX_KEY_TAGS {
            book(&format!("k{key}"), std::slice::from_ref(&night), Certainty::Known);
        }
        book("a", std::slice::from_ref(&day), Certainty::Known);
        let books = ledger.copy();
        let told_apart = books.key_tags["default/t"].values().flat_map(BTreeMap::keys).filter(|tag| &***tag != OTHER);
        assert_eq!(told_apart.count(), MAX_KEY_TAGS, "and `_other` of the keys that came later");
        assert_eq!(spent(&books, &format!("k{}", MAX_KEY_TAGS - 1), OTHER), Some(3));
        assert_eq!(spent(&books, "a", "day"), Some(9), "what is known stays known");
        let of_keys: u64 = books.key_tags["default/t"].values().flat_map(BTreeMap::values).sum();
        assert_eq!(of_keys, books.tags["default/t"].values().sum::<u64>());
    }

    #[test]
    fn every_family_sums_to_the_same_total_however_many_users_and_models() {
        let ledger = Ledger::default();
        let mut total = Totals::default();
        for i in 0..2_500u64 {
            let used = Used { tokens: i, money: PicoUsd::new(i * 7) };
            total.add(used);
            let (key, name, model) = (format!("default/k{}", i % 3), format!("u{i}"), format!("m{}", i % 1_700));
            ledger.book(booking(&key, &name, &model), used, true, 0, Certainty::Known);
        }
        let books = ledger.copy();
        let sum = |totals: Vec<Totals>| {
            totals.iter().fold(Totals::default(), |sum, each| Totals {
                requests: sum.requests + each.requests,
                tokens: sum.tokens + each.tokens,
                pico_usd: sum.pico_usd + each.pico_usd,
            })
        };
        assert_eq!(sum(books.keys.values().flat_map(|m| m.values().copied()).collect()), total);
        assert_eq!(sum(books.teams.values().copied().collect()), total);
        assert_eq!(sum(books.users.values().flat_map(|m| m.values().copied()).collect()), total);
        let models = books.models.values().flat_map(|m| m.values().flat_map(|m| m.values().copied()));
        assert_eq!(sum(models.collect()), total);
        let users: usize = books.users.values().map(BTreeMap::len).sum();
        assert_eq!(users, MAX_USERS + 1, "the bound and _other");
        assert_eq!(books.folded_calls, 1_500);
        assert_eq!(books.models.len(), MAX_MODELS + 1);
    }
}
