//! Which backend takes a call's next attempt.
//!
//! Of those that are not ruled out: the first priority in which one is well, and in it by weight. If there is none, one that is left
//! alone, the one whose time is over first: an attempt is better than a refusal.

use std::{sync::Arc, time::Duration};

use vectoll_config::v1::Balance;

use super::{Backend, Route};
use vectoll_upstream::health::{Attempt, BreakerState};

/// The backends that are ruled out for a call, because it has tried them or they are full, by their place in the route.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExcludedBackends(u32);

impl ExcludedBackends {
    /// Notes another one.
    pub fn add(&mut self, place: usize) {
        // A route has sixteen backends at most; one beyond could only be tried twice.
        self.0 |= bit(place);
    }

    /// Those of either.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether it is one of them.
    pub fn has(self, place: usize) -> bool {
        self.0 & bit(place) != 0
    }
}

fn bit(place: usize) -> u32 {
    u32::try_from(place).ok().and_then(|place| 1u32.checked_shl(place)).unwrap_or_default()
}

/// A backend for an attempt.
#[derive(Debug)]
pub struct Choice {
    /// Its place in the route.
    pub place: usize,
    /// Itself.
    pub backend: Arc<Backend>,
    /// What its end is to be told to.
    pub attempt: Attempt,
}

/// No backend takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoChoice {
    /// The route has none.
    NoBackend,
    /// All are ruled out.
    AllOut,
}

impl Route {
    /// Whether there is a backend that is not ruled out.
    pub fn is_open(&self, out: ExcludedBackends) -> bool {
        self.backends.iter().enumerate().any(|(place, backend)| backend.weight > 0 && !out.has(place))
    }

    /// Chooses, and begins the attempt. `now` is the clock's time.
    pub fn choose(&self, out: ExcludedBackends, now: Duration) -> Result<Choice, NoChoice> {
        let open = self.open(out);
        // What most routes are.
        if let [(place, only)] = &*open {
            return begin(*place, only, now, true).ok_or(NoChoice::AllOut);
        }
        match self.well(&open, now) {
            Ok(choice) => Ok(choice),
            Err(Some(Cooling { place, backend, .. })) => begin(place, backend, now, true).ok_or(NoChoice::AllOut),
            Err(None) if self.reachable().next().is_none() => Err(NoChoice::NoBackend),
            Err(None) => Err(NoChoice::AllOut),
        }
    }

    /// A backend for an attempt beside another one, which is then begun: never one that is left alone.
    pub fn spare(&self, out: ExcludedBackends, now: Duration) -> Option<Choice> {
        self.well(&self.open(out), now).ok()
    }

    /// The backends that are not ruled out, with their places.
    fn open(&self, out: ExcludedBackends) -> Vec<(usize, &Arc<Backend>)> {
        let all = self.backends.iter().enumerate();
        all.filter(|(place, backend)| backend.weight > 0 && !out.has(*place)).collect()
    }

    /// One that is well; or else the one that is left alone and whose time is over first, if there is one.
    fn well<'a>(&self, open: &[(usize, &'a Arc<Backend>)], now: Duration) -> Result<Choice, Option<Cooling<'a>>> {
        let mut cooling: Option<Cooling<'a>> = None;
        for group in open.chunk_by(|(_, a), (_, b)| a.priority == b.priority) {
            let mut well = Vec::with_capacity(group.len());
            for &(place, backend) in group {
                match backend.health.breaker_state(now) {
                    BreakerState::Well => well.push((place, backend)),
                    BreakerState::Cooling(until) => {
                        if cooling.as_ref().is_none_or(|first| until < first.until) {
                            cooling = Some(Cooling { until, place, backend });
                        }
                    }
                }
            }
            // One whose health is being tried by another call at this moment is passed over.
            while let Some(at) = self.pick(&well, now) {
                let (place, backend) = well.swap_remove(at);
                if let Some(choice) = begin(place, backend, now, false) {
                    return Ok(choice);
                }
                cooling = cooling.or(Some(Cooling { until: now, place, backend }));
            }
        }
        Err(cooling)
    }

    /// Whose turn it is, of backends of one priority.
    fn pick(&self, well: &[(usize, &Arc<Backend>)], now: Duration) -> Option<usize> {
        match self.manner.balance {
            Balance::Weighted => by_weight(well, self.turn()),
            Balance::LeastLatency => self.fastest(well, now),
        }
    }

    /// Where a call is expected to be done first: each call that is under way there takes its time before it.
    ///
    /// One of which nothing was heard yet is taken to be as fast as the fastest, so that it is found out, by as many calls as its
    /// weight is worth. Where several are equal, it goes by weight.
    fn fastest(&self, well: &[(usize, &Arc<Backend>)], now: Duration) -> Option<usize> {
        let paces: Vec<_> = well.iter().map(|(_, backend)| (backend.health.pace(now), backend.weight)).collect();
        let heaviest = paces.iter().map(|(_, weight)| *weight).max()?;
        let least = paces.iter().filter_map(|((average, _), _)| *average).reduce(f64::min).unwrap_or(1.0);
        let expected: Vec<f64> = paces
            .iter()
            .map(|((average, under_way), weight)| {
                let each = average.unwrap_or_else(|| least * f64::from(heaviest) / f64::from(*weight));
                each * f64::from(under_way + 1)
            })
            .collect();
        let first = expected.iter().copied().reduce(f64::min)?;
        let equals = expected.iter().enumerate().filter(|(_, expected)| **expected <= first).map(|(at, _)| at);
        let equals: Vec<usize> = equals.collect();
        let of_those: Vec<_> = equals.iter().filter_map(|at| well.get(*at).copied()).collect();
        by_weight(&of_those, self.turn()).and_then(|at| equals.get(at).copied())
    }
}

/// A backend that is left alone, until then.
struct Cooling<'a> {
    until: Duration,
    place: usize,
    backend: &'a Arc<Backend>,
}

/// Begins an attempt; `even_so`: though it is left alone.
fn begin(place: usize, backend: &Arc<Backend>, now: Duration, even_so: bool) -> Option<Choice> {
    let attempt = backend.health.begin(now, even_so)?;
    Some(Choice { place, backend: backend.clone(), attempt })
}

/// Whose part of the circle a point falls in.
fn by_weight(backends: &[(usize, &Arc<Backend>)], point: u64) -> Option<usize> {
    let total: u128 = backends.iter().map(|(_, backend)| u128::from(backend.weight)).sum();
    let mut rest = (u128::from(point) * total) >> 64;
    backends.iter().position(|(_, backend)| {
        let weight = u128::from(backend.weight);
        let taken = rest < weight;
        rest = rest.saturating_sub(weight);
        taken
    })
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::collections::BTreeMap;

    use vectoll_config::{
        Uid,
        v1::{BuiltinTokenizer, Cooldown, Limits, TokenBound},
    };

    use super::*;
    use crate::policy::{RetryBudget, RouteSettings};
    use vectoll_upstream::{
        health::{BackendMetrics, FailureKind, Registry},
        provider::Provider,
    };

    pub(in crate::policy) fn backend(name: &str, priority: u32, weight: u32) -> Arc<Backend> {
        let label: Arc<str> = name.into();
        let metrics = BackendMetrics::unseen().unwrap();
        Arc::new(Backend {
            health: Registry::new(metrics).of(&label, 0),
            label,
            model: None,
            is_named_by_callers: false,
            priority,
            weight,
            provider: Provider::Builtin,
            price: Some("0.02".parse().unwrap()),
            tokens: TokenBound::Builtin(BuiltinTokenizer {}),
            token_arrays: None,
            max_input_tokens: None,
            timeout: Duration::from_secs(1),
            limits: Limits::default(),
            budgets: Vec::new(),
            account: Uid::new(name),
        })
    }

    pub(in crate::policy) fn route(backends: Vec<Arc<Backend>>, manner: RouteSettings) -> Route {
        Route::new(backends, manner, RetryBudget::new(20))
    }

    pub(in crate::policy) fn plain(backends: Vec<Arc<Backend>>) -> Route {
        route(backends, RouteSettings::default())
    }

    fn choose(route: &Route, tried: &[usize], now: u64) -> Result<Choice, NoChoice> {
        let mut set = ExcludedBackends::default();
        for place in tried {
            set.add(*place);
        }
        route.choose(set, Duration::from_secs(now))
    }

    fn name(choice: Result<Choice, NoChoice>) -> Result<String, NoChoice> {
        choice.map(|choice| choice.backend.label.to_string())
    }

    fn fail(choice: Choice, now: u64) {
        let cooldown = Cooldown { failures: 1, seconds: 30 };
        choice.attempt.failed(FailureKind::Down, "failed", cooldown, Duration::from_secs(now));
    }

    #[test]
    fn calls_spread_by_weight() {
        let route = plain(vec![backend("a", 0, 1), backend("b", 0, 3), backend("off", 0, 0)]);
        let mut calls: BTreeMap<String, i64> = BTreeMap::new();
        for _ in 0..4_000 {
            *calls.entry(name(choose(&route, &[], 0)).unwrap()).or_default() += 1;
        }
        assert!((calls["a"] - 1_000).abs() < 20, "{calls:?}");
        assert!((calls["b"] - 3_000).abs() < 20, "{calls:?}");
        assert!(!calls.contains_key("off"));
    }

    #[test]
    fn the_next_priority_takes_what_the_first_cannot() {
        let route = plain(vec![backend("spare", 1, 1), backend("a", 0, 1), backend("b", 0, 1)]);
        let (a, b, spare) = (0, 1, 2);
        for _ in 0..10 {
            assert_ne!(name(choose(&route, &[], 0)).unwrap(), "spare");
        }
        assert_eq!(name(choose(&route, &[a], 0)).unwrap(), "b");
        assert_eq!(name(choose(&route, &[a, b], 0)).unwrap(), "spare");
        assert_eq!(name(choose(&route, &[a, b, spare], 0)), Err(NoChoice::AllOut));
        fail(choose(&route, &[b], 0).unwrap(), 0);
        for _ in 0..10 {
            assert_eq!(name(choose(&route, &[], 1)).unwrap(), "b", "a is left alone");
        }
        fail(choose(&route, &[], 5).unwrap(), 5);
        assert_eq!(name(choose(&route, &[], 6)).unwrap(), "spare");
        assert_eq!(name(choose(&route, &[spare], 6)).unwrap(), "a", "better than nothing: its time is over first");
    }

    #[test]
    fn a_backend_that_was_left_alone_is_tried_by_one_call() {
        let route = plain(vec![backend("a", 0, 1), backend("spare", 1, 1)]);
        fail(choose(&route, &[], 0).unwrap(), 0);
        assert_eq!(name(choose(&route, &[], 29)).unwrap(), "spare");
        let probe = choose(&route, &[], 30).unwrap();
        assert_eq!(&*probe.backend.label, "a");
        assert_eq!(name(choose(&route, &[], 30)).unwrap(), "spare", "while it is being tried");
        probe.attempt.served("served", Duration::from_secs(30));
        assert_eq!(name(choose(&route, &[], 31)).unwrap(), "a");
    }

    fn least_latency() -> RouteSettings {
        RouteSettings { balance: Balance::LeastLatency, ..RouteSettings::default() }
    }

    /// So many calls at once, none of which has an answer yet, by backend.
    fn burst(route: &Route, calls: usize, now: u64) -> BTreeMap<String, usize> {
        let all: Vec<Choice> = (0..calls).map(|_| choose(route, &[], now).unwrap()).collect();
        all.iter().fold(BTreeMap::new(), |mut counts, choice| {
            *counts.entry(choice.backend.label.to_string()).or_default() += 1;
            counts
        })
    }

    #[test]
    fn of_whom_nothing_is_known_share_a_burst_by_weight() {
        let route = route(vec![backend("a", 0, 1), backend("b", 0, 3)], least_latency());
        let counts = burst(&route, 40, 0);
        assert_eq!((counts["a"], counts["b"]), (10, 30));
    }

    #[test]
    fn a_burst_goes_to_each_as_fast_as_it_is() {
        let route = route(vec![backend("slow", 0, 1), backend("fast", 0, 1)], least_latency());
        for (place, took) in [(1, 300), (0, 100)] {
            // The other one was tried.
            choose(&route, &[place], 0).unwrap().attempt.served("served", Duration::from_millis(took));
        }
        let counts = burst(&route, 40, 0);
        assert_eq!((counts["slow"], counts["fast"]), (10, 30));
    }

    #[test]
    fn a_new_backend_does_not_get_a_whole_burst() {
        let route = route(vec![backend("new", 0, 1), backend("known", 0, 1)], least_latency());
        choose(&route, &[0], 0).unwrap().attempt.served("served", Duration::from_millis(100));
        let counts = burst(&route, 40, 0);
        assert_eq!((counts["new"], counts["known"]), (20, 20));
    }

    #[test]
    fn the_fastest_takes_the_calls_and_the_others_are_looked_at_again() {
        let backends = vec![backend("slow", 0, 1), backend("fast", 0, 1)];
        let route = route(backends, least_latency());
        let mut now = Duration::ZERO;
        let mut calls: BTreeMap<String, u32> = BTreeMap::new();
        for _ in 0..1_000 {
            let choice = route.choose(ExcludedBackends::default(), now).unwrap();
            let name = choice.backend.label.to_string();
            now += Duration::from_millis(if name == "slow" { 400 } else { 40 });
            choice.attempt.served("served", now);
            *calls.entry(name).or_default() += 1;
        }
        assert!(calls["fast"] > 950, "{calls:?}");
        assert!(calls["slow"] > 1, "{calls:?}");
    }

    #[test]
    fn a_route_without_backends_has_no_choice() {
        let route = plain(vec![backend("off", 0, 0)]);
        assert_eq!(name(choose(&route, &[], 0)), Err(NoChoice::NoBackend));
    }
}
