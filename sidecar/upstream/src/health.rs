//! How each backend fares: who has failed lately and is left alone, and how long calls take.
//!
//! It outlives reloads: an edit of a key does not send calls back to a backend that is down. A backend whose own settings
//! change begins anew, because the change may be the cure.

mod breaker;
mod breaker_state;
mod latency;
mod metrics;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use vectoll_config::v1::Cooldown;

use self::{
    breaker::{AttemptKind, Breaker},
    latency::LatencyEwma,
    metrics::OneBackend,
};

pub use self::{
    breaker_state::{BreakerState, FailureKind},
    metrics::BackendMetrics,
};

/// The health of all backends. A handle: clones share it.
#[derive(Clone, Debug)]
pub struct Registry {
    backends: Arc<Mutex<Backends>>,
    metrics: BackendMetrics,
}

#[derive(Debug, Default)]
struct Backends {
    /// All that somebody holds, by their labels and settings. One that is read in a config which is refused does not take the
    /// place of the one that is called.
    known: HashMap<(Arc<str>, u64), Weak<Health>>,
    /// Those of the config in force, by their labels: what Prometheus is told of.
    in_force: HashMap<Arc<str>, Weak<Health>>,
}

impl Registry {
    /// Of no backend yet.
    pub fn new(metrics: BackendMetrics) -> Self {
        Self { backends: Arc::default(), metrics }
    }

    /// The health of a backend. It is what it was as long as somebody holds it and `settings`, a hash of what a change of may
    /// cure it, stay the same.
    pub fn of(&self, label: &Arc<str>, settings: u64) -> Arc<Health> {
        let mut backends = lock(&self.backends);
        backends.known.retain(|_, health| health.strong_count() > 0);
        let key = (label.clone(), settings);
        if let Some(health) = backends.known.get(&key).and_then(Weak::upgrade) {
            return health;
        }
        let health = self.of_none(label);
        backends.known.insert(key, Arc::downgrade(&health));
        health
    }

    /// That of a backend which nothing is sent to.
    pub fn of_none(&self, label: &Arc<str>) -> Arc<Health> {
        let (label, metrics) = (label.clone(), self.metrics.of(label));
        let (state, no_base64, registry) = (Mutex::default(), AtomicBool::new(false), self.clone());
        Arc::new(Health { label, state, metrics, no_base64, registry })
    }

    /// A config is in force with these backends. What is told of others is wrong from now on, although calls may still be under
    /// way there.
    pub fn put_in_force<'a>(&self, all: impl Iterator<Item = &'a Arc<Health>>) {
        let mut backends = lock(&self.backends);
        let before = std::mem::take(&mut backends.in_force);
        backends.in_force = all.map(|health| (health.label.clone(), Arc::downgrade(health))).collect();
        for health in backends.in_force.values().filter_map(Weak::upgrade) {
            health.metrics.cooling(health.state().breaker.is_open());
        }
        for label in before.keys().filter(|label| !backends.in_force.contains_key(*label)) {
            self.metrics.of(label).forget();
        }
    }

    /// It was opened or closed.
    fn publish(&self, health: &Health) {
        let backends = lock(&self.backends);
        let in_force = backends.in_force.get(&health.label);
        if in_force.is_some_and(|in_force| std::ptr::eq(in_force.as_ptr(), health)) {
            health.metrics.cooling(health.state().breaker.is_open());
        }
    }
}

/// How one backend fares.
#[derive(Debug)]
pub struct Health {
    label: Arc<str>,
    state: Mutex<State>,
    metrics: OneBackend,
    /// It has refused base64.
    no_base64: AtomicBool,
    registry: Registry,
}

#[derive(Debug, Default)]
struct State {
    breaker: Breaker,
    pace: LatencyEwma,
}

impl Health {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// It refuses base64. Whether that is new.
    pub fn learn_no_base64(&self) -> bool {
        !self.no_base64.swap(true, Ordering::Relaxed)
    }

    /// Whether it may be asked for base64.
    pub fn knows_base64(&self) -> bool {
        !self.no_base64.load(Ordering::Relaxed)
    }

    /// Whether it is to be called. Moments are the clock's.
    pub fn breaker_state(&self, now: Duration) -> BreakerState {
        self.state().breaker.breaker_state(now)
    }

    /// How long a call takes there, about, in seconds, if that is known; and how many are under way.
    pub fn pace(&self, now: Duration) -> (Option<f64>, u32) {
        let pace = self.state().pace;
        (pace.average(now), pace.under_way())
    }

    /// Begins an attempt, if it is still to be called: of those who come at once, one tries whether a backend is well again.
    /// `even_so`: whether or not it is to be called.
    pub fn begin(self: &Arc<Self>, now: Duration, even_so: bool) -> Option<Attempt> {
        let mut state = self.state();
        let turn = match state.breaker.begin(now) {
            Some(turn) => turn,
            None if even_so => AttemptKind::Ordinary,
            None => return None,
        };
        state.pace.begin();
        drop(state);
        Some(Attempt { health: Some(self.clone()), turn, since: now })
    }
}

/// A call that a backend has. What became of it is to be said; who says nothing leaves everything as it was.
#[derive(Debug)]
#[must_use = "report how the attempt ended"]
pub struct Attempt {
    health: Option<Arc<Health>>,
    turn: AttemptKind,
    since: Duration,
}

impl Attempt {
    /// It is sent at this moment, and not when it was begun.
    pub fn starts(&mut self, now: Duration) {
        self.since = now;
    }

    /// It was served: the backend is well, and that fast.
    pub fn served(self, result: &'static str, now: Duration) {
        let took = now.saturating_sub(self.since);
        self.well(result, Some(took), now);
    }

    /// It was refused for the call's own fault: the backend is well. A refusal is soon made and says nothing of how fast it is.
    pub fn refused(self, result: &'static str, now: Duration) {
        self.well(result, None, now);
    }

    /// It was refused for what the caller named: that says nothing of the backend, neither good nor bad.
    pub fn passed_by(self, result: &'static str) {
        if let Some(health) = &self.health {
            health.metrics.attempted(result);
        }
    }

    fn well(mut self, result: &'static str, took: Option<Duration>, now: Duration) {
        if let Some(health) = self.health.take() {
            health.metrics.attempted(result);
            let well = {
                let mut state = health.state();
                state.pace.end(took, now);
                state.breaker.succeeded()
            };
            if well {
                health.registry.publish(&health);
                tracing::info!(backend = &*health.label, "a backend serves again");
            }
        }
    }

    /// So much of its time so far was not the backend's.
    pub fn waited(&mut self, waited: Duration) {
        self.since += waited;
    }

    /// It was not, and that is the backend's fault.
    pub fn failed(mut self, fault: FailureKind, result: &'static str, cooldown: Cooldown, now: Duration) {
        if let Some(health) = self.health.take() {
            health.metrics.attempted(result);
            let (cooled, changed) = {
                let mut state = health.state();
                state.pace.end(None, now);
                let before = state.breaker.is_open();
                let cooled = state.breaker.failed(self.turn, fault, cooldown, now);
                (cooled, state.breaker.is_open() != before)
            };
            if changed {
                health.registry.publish(&health);
            }
            if let Some(rest) = cooled {
                let reason = match fault {
                    FailureKind::Limited(_) => "limited",
                    FailureKind::Down => "failures",
                };
                health.metrics.cooled(reason);
                tracing::warn!(
                    backend = &*health.label,
                    seconds = rest.as_secs_f64(),
                    reason,
                    "a backend is left alone for a while"
                );
            }
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        // Nobody knows: the next one may try.
        if let Some(health) = self.health.take() {
            let mut state = health.state();
            state.pace.end(None, self.since);
            state.breaker.unknown(self.turn);
        }
    }
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that could panic is done under these locks.
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
