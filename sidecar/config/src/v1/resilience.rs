//! What becomes of calls that a backend did not serve, and how often one is asked.

use serde::{Deserialize, Serialize};

use super::left_out::is_false;

/// When a call that has no answer yet is sent to a second backend as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Hedge {
    /// After so many milliseconds.
    pub delay_milliseconds: u32,
}

/// When calls of one text each travel together, as one request to the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Coalesce {
    /// The first of them waits so many milliseconds for others.
    pub window_milliseconds: u32,
    /// So many go at once, without waiting any longer.
    pub max_items: u32,
}

/// When a call is tried again that a backend did not serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Retry {
    /// The most attempts after the first.
    pub attempts: u32,
    /// Whether a backend that failed is tried again once all others have failed as well.
    #[serde(default, skip_serializing_if = "is_false")]
    pub same_backend: bool,
    /// The most retries among a hundred calls, over some time.
    pub budget_percent: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 2, same_backend: false, budget_percent: 20 }
    }
}

impl Retry {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// How vectors are kept for the next call with the same text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cache {
    /// For so many seconds.
    pub ttl_seconds: u32,
    /// At most so many bytes of them, in each sidecar.
    pub max_bytes: u64,
}

/// When a backend that fails is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cooldown {
    /// After so many failures one after the other; 0: never.
    pub failures: u32,
    /// For so many seconds the first time.
    pub seconds: u32,
}

impl Default for Cooldown {
    fn default() -> Self {
        Self { failures: 3, seconds: 30 }
    }
}

impl Cooldown {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// How backends of one priority share the calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Balance {
    /// By weight.
    #[default]
    Weighted,
    /// The one that answers fastest takes them.
    LeastLatency,
}

impl Balance {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(super) fn is_weighted(&self) -> bool {
        *self == Self::Weighted
    }
}
