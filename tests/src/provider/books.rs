//! What a provider holds while it runs: its settings, its account, and the last requests.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::{Map, Value, json};

use super::account::Account;
use super::behaviour::{Behaviour, Plan};
use super::{call::Violation, options::Options};

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Method.
    pub method: Method,
    /// Path with query.
    pub path: String,
    /// Headers; of h2's pseudo headers none.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Recorded {
    /// How many are kept.
    pub const KEPT: usize = 64;

    /// The body as JSON.
    pub fn json(&self) -> anyhow::Result<Value> {
        Ok(serde_json::from_slice(&self.body)?)
    }

    fn to_value(&self) -> Value {
        let mut headers: Map<String, Value> = Map::new();
        for name in self.headers.keys() {
            let values: Vec<_> =
                self.headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
            headers.insert(name.to_string(), values.join(", ").into());
        }
        json!({
            "method": self.method.as_str(),
            "path": self.path,
            "headers": headers,
            "body": String::from_utf8_lossy(&self.body),
        })
    }
}

#[derive(Debug)]
pub(super) struct Books {
    options: Options,
    origin: String,
    kept: Mutex<Kept>,
    connections: AtomicU64,
    answers: AtomicU64,
}

#[derive(Debug, Default)]
struct Kept {
    account: Account,
    requests: VecDeque<Recorded>,
    mixed: usize,
    /// When the requests of the last second were taken, where they are limited.
    taken: VecDeque<Instant>,
}

impl Books {
    pub(super) fn new(options: Options, origin: String) -> Self {
        Self { options, origin, kept: Mutex::default(), connections: AtomicU64::new(0), answers: AtomicU64::new(0) }
    }

    pub(super) fn origin(&self) -> &str {
        &self.origin
    }

    pub(super) fn latency(&self) -> Duration {
        self.options.latency
    }

    pub(super) fn tokens_per_input(&self) -> Option<u64> {
        self.options.tokens_per_input
    }

    /// Whether there is room for another request within this second. It is taken then.
    pub(super) fn takes_another(&self) -> bool {
        let Some(most) = self.options.requests_per_second else { return true };
        let (mut kept, now) = (self.kept(), Instant::now());
        while kept.taken.front().is_some_and(|taken| now.duration_since(*taken) >= Duration::from_secs(1)) {
            kept.taken.pop_front();
        }
        let has_room = kept.taken.len() < most;
        if has_room {
            kept.taken.push_back(now);
        } else {
            kept.account.met("too-many-requests");
        }
        has_room
    }

    pub(super) fn api_key(&self) -> &str {
        &self.options.api_key
    }

    pub(super) fn connected(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// A number of its own for each answer.
    pub(super) fn next_answer(&self) -> u64 {
        self.answers.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn record(&self, request: Recorded) {
        let mut kept = self.kept();
        if kept.requests.len() == Recorded::KEPT {
            kept.requests.pop_front();
        }
        kept.requests.push_back(request);
    }

    pub(super) fn requested(&self) {
        self.kept().account.requests += 1;
    }

    pub(super) fn unauthorized(&self) {
        self.kept().account.unauthorized += 1;
    }

    pub(super) fn violated(&self, violation: &Violation) {
        self.kept().account.violated(violation.to_string());
    }

    /// Settles what happens to this call, and enters it.
    pub(super) fn choose(&self, plan: Plan) -> Behaviour {
        let mut kept = self.kept();
        let behaviour = match plan {
            Plan::Always(behaviour) => behaviour,
            Plan::Mix => {
                kept.mixed += 1;
                Behaviour::mixed(kept.mixed - 1)
            }
        };
        kept.account.met(&behaviour.to_string());
        behaviour
    }

    pub(super) fn charge(&self, model: &str, tokens: u64) {
        self.kept().account.charge(model, tokens);
    }

    pub(super) fn account(&self) -> Account {
        self.kept().account.clone()
    }

    pub(super) fn requests(&self) -> Vec<Recorded> {
        self.kept().requests.iter().cloned().collect()
    }

    pub(super) fn requests_value(&self) -> Value {
        self.kept().requests.iter().map(Recorded::to_value).collect()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Entries are whole after every statement above: a panic elsewhere leaves nothing half-written.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
