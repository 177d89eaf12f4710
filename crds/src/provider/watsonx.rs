//! IBM watsonx.ai.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::URL;
use crate::SecretKeyRef;

/// IBM watsonx.ai in a region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.projectID) != has(self.spaceID)")
    .message("watsonx.ai charges a project or a deployment space: set one of projectID, spaceID"))]
pub struct Watsonx {
    /// The region's address: `https://us-south.ml.cloud.ibm.com`.
    #[serde(rename = "baseURL")]
    #[schemars(length(min = 8, max = 2048), regex(pattern = URL))]
    pub base_url: String,
    /// The project that is charged, by its ID.
    #[serde(default, rename = "projectID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[-A-Za-z0-9]+$"))]
    pub project_id: Option<String>,
    /// The deployment space that is charged, by its ID.
    #[serde(default, rename = "spaceID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[-A-Za-z0-9]+$"))]
    pub space_id: Option<String>,
    /// The API's version: a date.
    #[serde(default = "version")]
    #[schemars(length(max = 10), regex(pattern = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"))]
    pub version: String,
    /// An API key of IBM Cloud's: one line. It is exchanged for tokens, and never sent to watsonx.ai itself.
    pub api_key_secret_ref: SecretKeyRef,
    /// Who issues tokens. By default <https://iam.cloud.ibm.com>.
    #[serde(default, rename = "iamURL", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 2048), regex(pattern = URL))]
    pub iam_url: Option<String>,
}

fn version() -> String {
    "2024-05-31".to_owned()
}
