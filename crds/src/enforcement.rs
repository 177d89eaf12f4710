//! Whether a limit or budget bites.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What becomes of calls beyond a limit or budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Enforcement {
    /// They are refused.
    #[default]
    Enforce,
    /// They are served, counted and told.
    Audit,
}

impl Enforcement {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(crate) fn is_enforce(&self) -> bool {
        *self == Self::Enforce
    }
}
