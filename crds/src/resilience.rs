//! What becomes of calls that a backend did not serve.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// When a call is tried again that a backend did not serve: no connection, a timeout, an answer that cannot be used, 5xx, 429,
/// or a status that is about the backend and not the call (401, 402, 403, 404, 408).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Retry {
    /// The most attempts after the first; 0: none. Each goes to a backend that was not tried yet.
    #[serde(default = "attempts")]
    #[schemars(with = "i64", range(min = 0, max = 15))]
    pub attempts: u32,
    /// Whether a backend that failed is tried again, after a pause, once all others have failed as well. Clients of OpenAI's do
    /// that on their own.
    #[serde(default)]
    pub same_backend: bool,
    /// The most retries among a hundred calls, over some time: when everything fails, retries must not double the load.
    #[serde(default = "budget_percent")]
    #[schemars(with = "i64", range(min = 0, max = 100))]
    pub budget_percent: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: attempts(), same_backend: false, budget_percent: budget_percent() }
    }
}

/// When a backend that fails is left alone. One that answers 429 is left alone for as long as it says. A backend whose time is
/// over takes one call; if that fails, twice the time follows. Where all backends are left alone, the one whose time is over
/// first takes the calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cooldown {
    /// After so many failures one after the other; 0: never.
    #[serde(default = "failures")]
    #[schemars(with = "i64", range(min = 0, max = 1000))]
    pub failures: u32,
    /// For so many seconds the first time.
    #[serde(default = "seconds")]
    #[schemars(with = "i64", range(min = 1, max = 3600))]
    pub seconds: u32,
}

impl Default for Cooldown {
    fn default() -> Self {
        Self { failures: failures(), seconds: seconds() }
    }
}

/// When a call that has no answer yet is sent to a second backend as well. The first answer that can be used is the caller's; the
/// other one is waited for in the background, because what it costs is to be known. The second attempt takes a reservation of its
/// own, within the limits and budgets of the call, and is one of the retries that `retry.budgetPercent` allows: where either has no
/// room, it is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Hedge {
    /// After so many milliseconds without an answer. About the time in which 95 of a hundred calls are answered: less of it makes
    /// many calls twice, and each is paid twice.
    #[schemars(with = "i64", range(min = 1, max = 3_600_000))]
    pub delay_milliseconds: u32,
}

/// When calls of one text each travel together, as one request to the provider: calls of one Team for one model that come at about
/// the same time. Each gets its own vector and its own share of the tokens; its limits, budgets and ledger are as if it went by
/// itself. For providers that count requests, where applications embed one text at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Coalesce {
    /// The first call waits so many milliseconds for others. Every call to the route may take that much longer.
    #[serde(default = "window_milliseconds")]
    #[schemars(with = "i64", range(min = 1, max = 1000))]
    pub window_milliseconds: u32,
    /// So many go at once, without waiting any longer; fewer where the provider takes fewer in one request.
    #[serde(default = "max_items")]
    #[schemars(with = "i64", range(min = 2, max = 256))]
    pub max_items: u32,
}

fn window_milliseconds() -> u32 {
    10
}

fn max_items() -> u32 {
    64
}

/// How backends of one priority share the calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Balance {
    /// By weight.
    #[default]
    Weighted,
    /// The one that answers fastest takes them; the others are looked at now and then. Weights do not count, but for 0.
    LeastLatency,
}

/// How vectors are kept for the next call with the same text. Each sidecar keeps its own, in memory. Keys of one Team share them;
/// no other Team sees them. What comes from there costs nothing and takes nothing of limits on tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cache {
    /// For so many seconds.
    #[serde(default = "ttl_seconds")]
    #[schemars(with = "i64", range(min = 1, max = 604_800))]
    pub ttl_seconds: u32,
    /// At most so many bytes of them in each sidecar. Its container needs as much memory more. A vector of 1,536 numbers takes
    /// 6 KiB.
    #[serde(default = "max_bytes")]
    #[schemars(with = "i64", range(min = 1_048_576, max = 17_179_869_184_u64))]
    pub max_bytes: u64,
}

fn ttl_seconds() -> u32 {
    3600
}

fn max_bytes() -> u64 {
    32 * 1024 * 1024
}

fn attempts() -> u32 {
    2
}

fn budget_percent() -> u32 {
    20
}

fn failures() -> u32 {
    3
}

fn seconds() -> u32 {
    30
}
