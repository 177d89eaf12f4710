//! Where sidecars count together.

use serde::{Deserialize, Serialize};

use crate::StoreUrl;

/// A Valkey or Redis that holds the limits, budgets and spend of all sidecars.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Store {
    /// Where it is, without credentials: see [`crate::StoreUrl`].
    pub url: StoreUrl,
    /// What tells the namespaces of one operator from those of others that share the store: see
    /// [`crate::store::namespace_prefix`]. Absent: nothing does, as outside a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// The user to log in as; absent: the default user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The file in the config folder that holds the user's password; absent: none is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<String>,
    /// The file in the config folder that holds the CA of the store's certificate, in PEM; absent: well-known CAs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// What holds while the store cannot be reached.
    #[serde(default, skip_serializing_if = "OnStoreFailure::is_local")]
    pub on_failure: OnStoreFailure,
}

/// What becomes of limited calls while the store cannot be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnStoreFailure {
    /// Each sidecar goes on with its share of what was left.
    #[default]
    Local,
    /// They are refused.
    Closed,
}

impl OnStoreFailure {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(super) fn is_local(&self) -> bool {
        *self == Self::Local
    }
}
