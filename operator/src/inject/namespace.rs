//! Where a pod is made.

use std::collections::BTreeMap;

/// Where a pod is made.
#[derive(Clone, Copy, Debug)]
pub struct Namespace<'a> {
    /// Its name, which a pod need not say itself.
    pub name: &'a str,
    /// Those of its annotations that begin with [`RESOURCES_PREFIX`](super::RESOURCES_PREFIX), as far as they are known.
    pub annotations: &'a BTreeMap<String, String>,
}
