//! A native provider's own books.

use serde_json::Value;

use super::InputType;

/// What a provider was asked and what it charged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// Requests for vectors that arrived whole.
    pub requests: u64,
    /// Those of them that were charged.
    pub charged_requests: u64,
    /// The tokens charged in all.
    pub charged_tokens: u64,
    /// Inputs of the largest request.
    pub largest: usize,
    /// The most requests that ran at the same time.
    pub at_once: usize,
    /// What the requests said their inputs are, each said once.
    pub input_types: Vec<Option<InputType>>,
    /// What the requests asked for beyond that, each said once.
    pub extensions: Vec<Vec<(&'static str, Value)>>,
    /// Questions for tokens.
    pub token_requests: u64,
    /// What was wrong with the requests, in order; at most [`Account::VIOLATIONS_KEPT`].
    pub violations: Vec<String>,
}

impl Account {
    /// A broken client under load must not fill the memory.
    pub const VIOLATIONS_KEPT: usize = 100;

    pub(super) fn violated(&mut self, what: String) {
        if self.violations.len() < Self::VIOLATIONS_KEPT {
            self.violations.push(what);
        }
    }

    pub(super) fn asked(&mut self, extensions: &[(&'static str, Value)]) {
        if !self.extensions.iter().any(|known| known == extensions) {
            self.extensions.push(extensions.to_vec());
        }
    }

    pub(super) fn said(&mut self, input_type: Option<InputType>) {
        if !self.input_types.contains(&input_type) {
            self.input_types.push(input_type);
        }
    }
}
