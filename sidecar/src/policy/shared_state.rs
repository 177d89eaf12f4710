//! What outlives reloads, and what comes with each.

use std::{collections::BTreeMap, path::PathBuf};

use super::retry::RetryBudgets;
use crate::cache::Caches;
use vectoll_upstream::{
    credential::keyring::Keyring,
    health::{BackendMetrics, Registry},
    provider::{
        egress::Egress,
        http::{Clients, SetupError},
    },
};

/// The credential files beside the config: content by name.
pub type Files = BTreeMap<String, Vec<u8>>;

/// What outlives reloads. A handle: clones share it.
#[derive(Clone, Debug)]
pub struct SharedState {
    /// Connections to providers.
    pub http: Clients,
    /// How the backends fare.
    pub health: Registry,
    /// Who calls.
    pub keyring: Keyring,
    /// Vectors that are kept.
    pub caches: Caches,
    /// What is left of the routes' retries.
    pub retries: RetryBudgets,
    /// What the pod's own identity is proven by.
    pub identity: Identity,
}

impl SharedState {
    /// No connection, no failure and no token yet.
    pub fn new(identity: Identity, egress: Egress, metrics: BackendMetrics) -> Result<Self, SetupError> {
        let (http, health) = (Clients::new(egress)?, Registry::new(metrics));
        let (keyring, caches, retries) = (Keyring::default(), Caches::default(), RetryBudgets::default());
        Ok(Self { http, health, keyring, caches, retries, identity })
    }
}

/// What the pod's own identity is proven by.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// The folder with the tokens that the cluster issues for this sidecar: `aws`, `azure`, `google`, `openai`.
    pub tokens: PathBuf,
    /// EKS Pod Identity's agent and the file with the token for it.
    pub agent: Option<(String, PathBuf)>,
    /// The pod's name.
    pub pod: String,
}
