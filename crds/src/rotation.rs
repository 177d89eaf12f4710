//! When a key gets a new value.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// How a generated key is renewed. The value before stays valid for the grace period, so that programs can follow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("!has(self.interval) || duration(self.interval) >= duration('1m')")
    .message("interval is too short: at least 1m")
    .reason(Reason::FieldValueInvalid))]
pub struct Rotation {
    /// How old a value may become, for example "720h". Absent: the key is renewed only when its annotation
    /// `vectoll.dev/rotate` changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^([0-9]{1,5}(h|m|s)){1,3}$"))]
    pub interval: Option<String>,
    /// How long the value before stays valid, for example "1h30m". By default 24h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^([0-9]{1,5}(h|m|s)){1,3}$"))]
    pub grace_period: Option<String>,
}
