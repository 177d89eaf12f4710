//! How calls are split that are more than a provider takes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How calls are split that are more than a provider takes in one request. The parts are sent side by side, and their vectors
/// are put together in the order of the inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Batch {
    /// The most inputs in a request. By default what the provider documents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i64>", range(min = 1, max = 2048))]
    pub max_items: Option<u32>,
    /// The most tokens in a request, by the bound that `tokens` gives. By default what the provider documents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i64>", range(min = 1, max = 1_000_000_000))]
    pub max_tokens: Option<u64>,
    /// How many requests of one call are sent side by side.
    #[serde(default = "parallel")]
    #[schemars(with = "i64", range(min = 1, max = 64))]
    pub parallel: u32,
}

impl Default for Batch {
    fn default() -> Self {
        Self { max_items: None, max_tokens: None, parallel: parallel() }
    }
}

fn parallel() -> u32 {
    8
}
