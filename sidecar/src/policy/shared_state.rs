//! What outlives reloads, and what comes with each.

use std::{collections::BTreeMap, path::PathBuf};

use super::retry::RetryBudgets;
use crate::cache::Caches;
use vectoll_upstream::{
    credential::keyring::Keyring,
    health::{BackendMetrics, Registry},
    provider::{
        egress::Egress,
        egress_policy::EgressPolicy,
        http::{Clients, SetupError},
    },
};

/// The credential files beside the config: content by name.
pub type CredentialFiles = BTreeMap<String, Vec<u8>>;

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
    /// What the pod's own identity is proven by; none: it is nobody's here, because many namespaces share the process.
    pub identity: Option<Identity>,
}

impl SharedState {
    /// No connection, no failure and no token yet: a sidecar's, whose pod belongs to those who write its routes.
    pub fn new(identity: Identity, egress: Egress, metrics: BackendMetrics) -> Result<Self, SetupError> {
        Ok(Self::made_of(Some(identity), Clients::new(egress)?, Caches::default(), metrics))
    }

    /// A gateway's: it lends its own identity to no namespace, and all vectors that are kept take at most so many bytes.
    pub fn of_many(
        reach: EgressPolicy,
        egress: Egress,
        max_cache_bytes: u64,
        metrics: BackendMetrics,
    ) -> Result<Self, SetupError> {
        let caches = Caches::within(max_cache_bytes);
        Ok(Self::made_of(None, Clients::reaching(reach, egress)?, caches, metrics))
    }

    fn made_of(identity: Option<Identity>, http: Clients, caches: Caches, metrics: BackendMetrics) -> Self {
        let (health, keyring, retries) = (Registry::new(metrics), Keyring::default(), RetryBudgets::default());
        Self { http, health, keyring, caches, retries, identity }
    }

    /// One namespace's part of it. Connections, the health of backends and their tokens are the process's; which vectors are kept
    /// and what is left of retries each namespace has for itself.
    #[must_use]
    pub fn of_namespace(&self, namespace: &str) -> Self {
        Self { caches: self.caches.of_namespace(namespace), retries: RetryBudgets::default(), ..self.clone() }
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
