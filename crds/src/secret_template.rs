//! What a generated Secret has besides the key.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::{Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

/// Labels and annotations for a Secret that the operator makes. They follow changes, and go when they are no longer here; what others have
/// put on the Secret stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretTemplate {
    /// Labels, at most 16. Names that begin with `vectoll.dev/` are the operator's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "labels")]
    #[x_kube(validation = Rule::new("self.all(name, size(name) <= 317 && !name.startsWith('vectoll.dev/'))")
        .message("names in labels have at most 317 characters, and those that begin with vectoll.dev/ are the operator's"))]
    pub labels: BTreeMap<String, String>,
    /// Annotations, at most 16, of up to 1024 characters each. Names that begin with `vectoll.dev/` are the operator's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "annotations")]
    #[x_kube(validation = Rule::new("self.all(name, size(name) <= 317 && !name.startsWith('vectoll.dev/'))")
        .message("names in annotations have at most 317 characters, and those that begin with vectoll.dev/ are the operator's"))]
    pub annotations: BTreeMap<String, String>,
}

impl SecretTemplate {
    /// The most entries of each kind.
    pub const MAX_ENTRIES: usize = 16;
    /// The longest annotation, in characters.
    pub const MAX_ANNOTATION: usize = 1024;

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.annotations.is_empty()
    }
}

fn labels(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": SecretTemplate::MAX_ENTRIES,
        "additionalProperties": {
            "type": "string",
            "maxLength": 63,
            "pattern": "^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$",
        },
    })
}

fn annotations(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": SecretTemplate::MAX_ENTRIES,
        "additionalProperties": {"type": "string", "maxLength": SecretTemplate::MAX_ANNOTATION},
    })
}
