//! The provider's own books.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a provider was asked and what it charged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Calls of `POST /v1/embeddings` that arrived whole, refused ones included.
    pub requests: u64,
    /// Those of them that were charged.
    pub charged_requests: u64,
    /// The tokens charged in all.
    pub charged_tokens: u64,
    /// What was charged, by model.
    pub by_model: BTreeMap<String, Charged>,
    /// How many calls met which behaviour, by its name (`ok`, `fault-reset`, …); `fault-mix` counts as what it chose.
    pub behaviours: BTreeMap<String, u64>,
    /// Calls with a missing or wrong credential.
    pub unauthorized: u64,
    /// What was wrong with the requests, in order; at most [`Account::VIOLATIONS_KEPT`].
    pub violations: Vec<String>,
}

/// Requests and tokens that were charged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charged {
    /// Number of requests.
    pub requests: u64,
    /// Number of tokens.
    pub tokens: u64,
}

impl Account {
    /// A broken client under load must not fill the memory.
    pub const VIOLATIONS_KEPT: usize = 1000;

    pub(super) fn charge(&mut self, model: &str, tokens: u64) {
        self.charged_requests += 1;
        self.charged_tokens += tokens;
        let entry = self.by_model.entry(model.to_owned()).or_default();
        entry.requests += 1;
        entry.tokens += tokens;
    }

    pub(super) fn met(&mut self, behaviour: &str) {
        *self.behaviours.entry(behaviour.to_owned()).or_default() += 1;
    }

    pub(super) fn violated(&mut self, what: String) {
        if self.violations.len() < Self::VIOLATIONS_KEPT {
            self.violations.push(what);
        }
    }
}
