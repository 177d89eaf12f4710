//! Where a pod is made.

use std::collections::BTreeMap;

/// Where a pod is made.
#[derive(Clone, Copy, Debug)]
pub struct Namespace<'a> {
    /// Its name, which a pod need not say itself.
    pub name: &'a str,
    /// Those of its annotations that begin with [`SIDECAR_PREFIX`](super::SIDECAR_PREFIX), as far as they are known.
    pub annotations: &'a BTreeMap<String, String>,
    /// Whether its label asks for a sidecar in each of its pods, as the API server has found when it chose the webhook.
    pub asks: bool,
}
