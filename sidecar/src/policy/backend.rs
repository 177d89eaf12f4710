//! One place that serves a model.

use std::{sync::Arc, time::Duration};

use vectoll_config::{
    Price, Uid,
    v1::{Budget, Encoding, Limits, TokenBound},
};
use vectoll_upstream::{health::Health, provider::Provider};

/// One place that serves a model.
#[derive(Debug)]
pub struct Backend {
    /// `namespace/route/backend`, for people.
    pub label: Arc<str>,
    /// The model's name there; none: as called.
    pub model: Option<Arc<str>>,
    /// Whether callers make up the name that its provider is asked for: it has none of its own, and the route takes a pattern.
    pub is_named_by_callers: bool,
    /// Those of the lowest number take all calls while one of them can.
    pub priority: u32,
    /// Share of the calls of its priority.
    pub weight: u32,
    /// How to speak to it.
    pub provider: Provider,
    /// What a token costs; none: unknown.
    pub price: Option<Price>,
    /// How many tokens an input can become.
    pub tokens: TokenBound,
    /// What token arrays are of; none: what the model's public name says.
    pub token_arrays: Option<Encoding>,
    /// The most tokens of one input; none: what is known of the model by its name.
    pub max_input_tokens: Option<u32>,
    /// From sending a call to the last byte of its answer.
    pub timeout: Duration,
    /// What its provider lets itself be asked for, and what that is counted under.
    pub limits: Limits,
    /// What may be owed to its provider.
    pub budgets: Vec<Budget>,
    /// See [`vectoll_config::store::backend_account`].
    pub account: Uid,
    /// How it fares.
    pub health: Arc<Health>,
}

impl Backend {
    /// Whether calls may have to go elsewhere because of what its provider was asked for, or is owed.
    pub fn is_limited(&self) -> bool {
        !self.limits.is_none() || !self.budgets.is_empty()
    }

    /// Whether the tokens of a call matter to its limits or budgets.
    pub fn weighs_tokens(&self) -> bool {
        self.limits.tokens_per_minute.is_some() || !self.budgets.is_empty()
    }

    /// The model's name at the provider, for a call to its public name.
    pub fn model_of<'a>(&'a self, public: &'a str) -> &'a str {
        self.model.as_deref().unwrap_or(public)
    }
}
