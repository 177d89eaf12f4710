//! How each backend fares: who has failed lately and is left alone, and how long calls take.
//!
//! It outlives reloads: an edit of a key does not send calls back to a backend that is down. A backend whose own settings
//! change begins anew, because the change may be the cure.

mod breaker;
mod pace;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use vectoll_config::v1::Cooldown;

use self::{
    breaker::{Breaker, Turn},
    pace::Pace,
};
use crate::metrics::{BackendMetrics, OneBackend};

/// Why a backend did not serve a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It said that it is asked too much: 429, with the wait that it asks for.
    Limited(Option<Duration>),
    /// Anything else that is about the backend and not about the call.
    Down,
}

/// Whether a backend is to be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is.
    Well,
    /// It is left alone until then; the time is the clock's.
    Cooling(Duration),
}

/// The health of all backends, by their labels. A handle: clones share it.
#[derive(Clone, Debug)]
pub struct Registry {
    known: Arc<Mutex<HashMap<Arc<str>, Known>>>,
    metrics: BackendMetrics,
}

#[derive(Debug)]
struct Known {
    settings: u64,
    health: Weak<Health>,
}

impl Registry {
    /// Of no backend yet.
    pub fn new(metrics: BackendMetrics) -> Self {
        Self { known: Arc::default(), metrics }
    }

    /// The health of a backend. It is what it was as long as somebody holds it and `settings`, a hash of what a change of may
    /// cure it, stay the same.
    pub fn of(&self, label: &Arc<str>, settings: u64) -> Arc<Health> {
        let mut known = lock(&self.known);
        known.retain(|_, known| known.health.strong_count() > 0);
        if let Some(same) = known.get(label).filter(|known| known.settings == settings)
            && let Some(health) = same.health.upgrade()
        {
            return health;
        }
        let (label, metrics) = (label.clone(), self.metrics.of(label));
        let health =
            Arc::new(Health { label: label.clone(), state: Mutex::default(), metrics, registry: self.clone() });
        known.insert(label, Known { settings, health: Arc::downgrade(&health) });
        health
    }

    /// Nobody holds it any more, unless another one has its name by now.
    fn forget(&self, health: &Health) {
        let mut known = lock(&self.known);
        if known.get(&health.label).is_none_or(|known| known.health.strong_count() == 0) {
            known.remove(&health.label);
            health.metrics.forget();
        }
    }
}

/// How one backend fares.
#[derive(Debug)]
pub struct Health {
    label: Arc<str>,
    state: Mutex<State>,
    metrics: OneBackend,
    registry: Registry,
}

#[derive(Debug, Default)]
struct State {
    breaker: Breaker,
    pace: Pace,
}

impl Health {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Whether it is to be called. Moments are the clock's.
    pub fn standing(&self, now: Duration) -> Standing {
        self.state().breaker.standing(now)
    }

    /// How long a call would take there, about, in seconds; 0: that is to be found out.
    pub fn expected(&self, now: Duration) -> f64 {
        self.state().pace.expected(now)
    }

    /// Begins an attempt, if it is still to be called: of those who come at once, one tries whether a backend is well again.
    /// `even_so`: whether or not it is to be called.
    pub fn begin(self: &Arc<Self>, now: Duration, even_so: bool) -> Option<Attempt> {
        let mut state = self.state();
        let turn = match state.breaker.begin(now) {
            Some(turn) => turn,
            None if even_so => Turn::Ordinary,
            None => return None,
        };
        state.pace.begin();
        drop(state);
        Some(Attempt { health: Some(self.clone()), turn, since: now })
    }
}

impl Drop for Health {
    fn drop(&mut self) {
        self.registry.clone().forget(self);
    }
}

/// A call that a backend has. What became of it is to be said; who says nothing leaves everything as it was.
#[derive(Debug)]
#[must_use = "how the attempt ended is to be said"]
pub struct Attempt {
    health: Option<Arc<Health>>,
    turn: Turn,
    since: Duration,
}

impl Attempt {
    /// It was served, or refused for the call's own fault: the backend is well.
    pub fn served(mut self, result: &'static str, now: Duration) {
        if let Some(health) = self.health.take() {
            health.metrics.attempted(result);
            let well = {
                let mut state = health.state();
                state.pace.end(Some(now.saturating_sub(self.since)), now);
                state.breaker.succeeded()
            };
            if well {
                health.metrics.well();
                tracing::info!(backend = &*health.label, "a backend serves again");
            }
        }
    }

    /// It was not, and that is the backend's fault.
    pub fn failed(mut self, fault: Fault, result: &'static str, cooldown: Cooldown, now: Duration) {
        if let Some(health) = self.health.take() {
            health.metrics.attempted(result);
            let cooled = {
                let mut state = health.state();
                state.pace.end(None, now);
                state.breaker.failed(self.turn, fault, cooldown, now)
            };
            if let Some(rest) = cooled {
                let reason = match fault {
                    Fault::Limited(_) => "limited",
                    Fault::Down => "failures",
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
