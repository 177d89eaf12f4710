//! Whose a key of the store is.

use vectoll_config::store::backend_of;

/// Whose a key is, by its tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner<'a> {
    /// What the sidecars of a namespace say of themselves.
    Namespace(&'a str),
    /// What counts for the limits of a backend, `namespace/route/backend`.
    Backend(&'a str),
    /// A Team's, or another operator's.
    Team(&'a str),
}

impl<'a> Owner<'a> {
    /// Whose a tag is, seen from an operator of this scope.
    pub fn of(scope: &str, tag: &'a str) -> Self {
        let namespace = tag.strip_prefix("ns:").and_then(|tag| tag.strip_prefix(scope)?.strip_prefix(':'));
        match (namespace, backend_of(scope, tag)) {
            (Some(namespace), _) => Self::Namespace(namespace),
            (None, Some(backend)) => Self::Backend(backend),
            (None, None) => Self::Team(tag),
        }
    }
}
