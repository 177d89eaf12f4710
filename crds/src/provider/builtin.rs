//! The model inside the sidecar.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The built-in model has no settings: 256 dimensions, any smaller number by `dimensions`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Builtin {}
