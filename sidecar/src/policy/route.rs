//! Which route has a model, and which of its backends takes a call.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use vectoll_config::{ModelPattern, PicoUsd};

use super::Backend;

/// The routes of one namespace by the names they serve. The most specific name wins.
#[derive(Debug, Default)]
pub struct RouteIndex {
    exact: HashMap<Arc<str>, Arc<Route>>,
    /// Longest first.
    prefixes: Vec<(Arc<str>, Arc<Route>)>,
}

impl RouteIndex {
    /// An index of routes that have no name in common.
    pub fn new(routes: impl Iterator<Item = (ModelPattern, Arc<Route>)>) -> Self {
        let mut index = Self::default();
        for (pattern, route) in routes {
            match pattern {
                ModelPattern::Exact(name) => {
                    index.exact.insert(name, route);
                }
                ModelPattern::Prefix(prefix) => index.prefixes.push((prefix, route)),
            }
        }
        index.prefixes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        index
    }

    /// The route of a model.
    pub fn route(&self, model: &str) -> Option<&Arc<Route>> {
        self.exact
            .get(model)
            .or_else(|| self.prefixes.iter().find(|(prefix, _)| model.starts_with(&**prefix)).map(|(_, route)| route))
    }

    /// The names that can be listed: those without a wildcard that something serves.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.exact.iter().filter(|(_, route)| route.reachable().next().is_some()).map(|(name, _)| name)
    }
}

/// A route: its backends. Without any it holds its names and serves nothing.
#[derive(Debug)]
pub struct Route {
    backends: Vec<Arc<Backend>>,
    /// Tags whose spend is counted, beside those of the caller's team.
    pub tags: BTreeSet<Arc<str>>,
    total_weight: u64,
    turn: AtomicU64,
}

impl Route {
    /// A route over backends, with the tags that it counts.
    pub fn new(backends: Vec<Arc<Backend>>, tags: Vec<String>) -> Self {
        let tags = tags.into_iter().map(Into::into).collect();
        let total_weight = backends.iter().map(|backend| u64::from(backend.weight)).sum();
        // Routes begin at different turns, or every reload of every sidecar would favour the first backend.
        Self { backends, tags, total_weight, turn: AtomicU64::new(fastrand::u64(..1 << 32)) }
    }

    /// The backends that a call may reach.
    pub fn reachable(&self) -> impl Iterator<Item = &Arc<Backend>> {
        self.backends.iter().filter(|backend| backend.weight > 0)
    }

    /// The backend that takes the next call: in proportion to the weights, spread evenly.
    pub fn next(&self) -> Option<&Arc<Backend>> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        // Steps of the golden ratio of the circle visit every part of it evenly, without bursts on a heavy backend
        // (Weyl's equidistribution theorem).
        let point = turn.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut rest = u64::try_from((u128::from(point) * u128::from(self.total_weight)) >> 64).unwrap_or(0);
        self.backends.iter().find(|backend| {
            let weight = u64::from(backend.weight);
            let taken = rest < weight;
            rest = rest.saturating_sub(weight);
            taken
        })
    }

    /// The most that a call may cost at any backend that it may reach; none where a price is unknown. Tokens are
    /// counted by each backend's own bound.
    pub fn dearest(&self, tokens: impl Fn(&Backend) -> u64) -> Option<PicoUsd> {
        let mut dearest = PicoUsd::ZERO;
        for backend in self.reachable() {
            dearest = dearest.max(backend.price?.of(tokens(backend)));
        }
        Some(dearest)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::{collections::BTreeMap, time::Duration};

    use vectoll_config::v1::{BuiltinTokenizer, TokenBound};

    use super::*;
    use crate::provider::Provider;

    fn backend(name: &str, weight: u32) -> Arc<Backend> {
        Arc::new(Backend {
            label: name.into(),
            model: None,
            weight,
            provider: Provider::Builtin { token_arrays: None },
            price: Some("0.02".parse().unwrap()),
            tokens: TokenBound::Builtin(BuiltinTokenizer {}),
            timeout: Duration::from_secs(1),
        })
    }

    #[test]
    fn calls_spread_by_weight() {
        let route = Route::new(vec![backend("a", 1), backend("b", 3), backend("off", 0)], Vec::new());
        let mut calls: BTreeMap<Arc<str>, i64> = BTreeMap::new();
        for _ in 0..4_000 {
            *calls.entry(route.next().unwrap().label.clone()).or_default() += 1;
        }
        assert!((calls["a"] - 1_000).abs() < 20, "{calls:?}");
        assert!((calls["b"] - 3_000).abs() < 20, "{calls:?}");
        assert!(!calls.contains_key("off"));
    }

    #[test]
    fn the_most_specific_name_wins() {
        let route = |name: &str| Arc::new(Route::new(vec![backend(name, 1)], Vec::new()));
        let index = RouteIndex::new(
            ["*", "text-*", "text-embedding-*", "text-embedding-3"]
                .iter()
                .map(|pattern| (pattern.parse().unwrap(), route(pattern))),
        );
        let found = |model: &str| index.route(model).unwrap().backends[0].label.clone();
        assert_eq!(&*found("text-embedding-3"), "text-embedding-3");
        assert_eq!(&*found("text-embedding-3-small"), "text-embedding-*");
        assert_eq!(&*found("text-x"), "text-*");
        assert_eq!(&*found("other"), "*");
    }
}
