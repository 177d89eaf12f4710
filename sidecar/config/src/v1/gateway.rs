//! What a sidecar passes on: routes whose calls a gateway carries out.
//!
//! It stands in a file of its own beside the config, so that a sidecar which is older than it reads the config all the same: such a route
//! has no backends there, and its calls are refused.

use serde::{Deserialize, Serialize};

use super::frame::{Complete, Version};
use crate::ObjectName;

/// The file's name in the config folder.
pub const GATEWAY_FILE: &str = "gateway.v1.yaml";

/// Where calls are passed on to, and which.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Gateway {
    /// Always `v1`.
    pub version: Version,
    /// Where the gateway is: `https://HOST` or `https://HOST:PORT`, without a path.
    pub url: String,
    /// The file in the config folder with the only CAs that its certificate may be signed by, in PEM; absent: well-known ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// The routes whose calls go there. One that the config does not have, or that has backends there, is served by the config.
    pub routes: Vec<PassedOn>,
    /// Always the last line, so that a file cut short is refused.
    pub complete: Complete,
}

/// A route whose calls are passed on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PassedOn {
    /// The ModelRoute's name, `namespace/name`.
    pub name: ObjectName,
    /// How long the gateway may take for a call, in seconds: as long as the route's attempts may, one after the other.
    pub timeout_seconds: u32,
}
