//! Databricks Model Serving.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::URL;
use crate::SecretKeyRef;

/// Serving endpoints of a Databricks workspace. The backend's `model` is the endpoint's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Databricks {
    /// The workspace's address: `https://dbc-a1b2345c-d6e7.cloud.databricks.com`.
    #[serde(rename = "workspaceURL")]
    #[schemars(length(min = 8, max = 2048), regex(pattern = URL))]
    pub workspace_url: String,
    /// A personal access token, or a service principal's: one line, sent as `Authorization: Bearer`.
    pub api_key_secret_ref: SecretKeyRef,
    /// What goes along with queries as `instruction`, for models that want one. By default nothing. Documents have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub query_instruction: Option<String>,
}
