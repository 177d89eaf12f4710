//! Which route has a model.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ahash::HashMap;
use vectoll_config::{
    ModelPattern, PicoUsd,
    v1::{Balance, Cooldown, InputType, Retry, Truncate},
};

use super::{Backend, passed_on::PassedOn, retry::RetryBudget};
use crate::cache::Cache;

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

    /// All routes, once for each of their names.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.exact.values().chain(self.prefixes.iter().map(|(_, route)| route))
    }

    /// The names that can be listed: those without a wildcard that something serves.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        let is_served = |route: &Route| route.manner.passed_on.is_some() || route.reachable().next().is_some();
        self.exact.iter().filter(move |(_, route)| is_served(route)).map(|(name, _)| name)
    }
}

/// A route: its backends. Without any it holds its names and serves nothing.
#[derive(Debug)]
pub struct Route {
    /// By priority.
    pub(super) backends: Vec<Arc<Backend>>,
    /// How it carries out calls.
    pub manner: RouteSettings,
    /// How many retries there may be.
    pub retry_budget: RetryBudget,
    turn: AtomicU64,
}

/// How a route carries out calls, whichever backend takes them.
#[derive(Clone, Debug, Default)]
pub struct RouteSettings {
    /// `namespace/name`.
    pub name: Arc<str>,
    /// Tags whose spend is counted, beside those of the caller's team.
    pub tags: BTreeSet<Arc<str>>,
    /// When a call is tried again.
    pub retry: Retry,
    /// How long a call goes without an answer before another backend gets it as well; none: for ever.
    pub hedge: Option<Duration>,
    /// When calls of one text each travel together; none: each goes by itself.
    pub coalesce: Option<Coalesce>,
    /// When a backend is left alone.
    pub cooldown: Cooldown,
    /// How long a call may take over all its attempts; none: as long as they take.
    pub timeout: Option<Duration>,
    /// How backends of one priority share the calls.
    pub balance: Balance,
    /// What inputs are whose call does not say.
    pub input_type: InputType,
    /// What is cut off an input that is too long; none: nothing.
    pub truncate: Option<Truncate>,
    /// Where vectors are kept, and what calls that are served from there are booked to; none: nowhere.
    pub cache: Option<(Arc<Cache>, Arc<Backend>)>,
    /// Where its calls are passed on to; none: they are carried out here.
    pub passed_on: Option<PassedOn>,
}

/// When calls of one text each travel together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coalesce {
    /// How long the first of them waits for others.
    pub window: Duration,
    /// So many go at once, without waiting any longer.
    pub max_items: usize,
}

impl Route {
    /// A route over backends, with the retries that there may be.
    pub fn new(mut backends: Vec<Arc<Backend>>, manner: RouteSettings, retry_budget: RetryBudget) -> Self {
        backends.sort_by_key(|backend| backend.priority);
        // Routes begin at different turns, or every reload of every sidecar would favour the first backend.
        Self { backends, manner, retry_budget, turn: AtomicU64::new(fastrand::u64(..1 << 32)) }
    }

    /// The backends that a call may reach, by priority.
    pub fn reachable(&self) -> impl Iterator<Item = &Arc<Backend>> {
        self.backends.iter().filter(|backend| backend.weight > 0)
    }

    /// A point on the circle that is cut into the weights of those who are to choose from.
    ///
    /// Steps of the golden ratio of the circle visit every part of it evenly, without bursts on a heavy backend (Weyl's
    /// equidistribution theorem).
    pub(super) fn turn(&self) -> u64 {
        self.turn.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37_79B9_7F4A_7C15)
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
    use super::*;
    use crate::policy::choose::tests::{backend, plain};

    #[test]
    fn the_most_specific_name_wins() {
        let route = |name: &str| Arc::new(plain(vec![backend(name, 0, 1)]));
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
