//! What a reader may see: of each kind, everything or what is in some namespaces. Pure.

use std::collections::BTreeSet;

use crate::observed_state::Kind;

/// Namespaces in which a reader may list a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// All of them.
    All,
    /// These.
    Only(BTreeSet<String>),
}

impl Scope {
    fn has(&self, namespace: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(namespaces) => namespaces.contains(namespace),
        }
    }

    fn is_empty(&self) -> bool {
        matches!(self, Self::Only(namespaces) if namespaces.is_empty())
    }
}

/// What a reader may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Grants {
    pub(super) teams: Scope,
    pub(super) keys: Scope,
    pub(super) routes: Scope,
    /// Namespaces that hold something and of which the API server was not asked: there were too many of them.
    pub(super) not_asked: usize,
}

impl Grants {
    /// Of a folder of manifests, whose reader could read the folder.
    pub(super) fn everything() -> Self {
        Self { teams: Scope::All, keys: Scope::All, routes: Scope::All, not_asked: 0 }
    }

    /// Nothing yet.
    pub(super) fn nothing() -> Self {
        let none = || Scope::Only(BTreeSet::new());
        Self { teams: none(), keys: none(), routes: none(), not_asked: 0 }
    }

    /// The namespaces of a kind.
    pub(super) fn of_mut(&mut self, kind: Kind) -> &mut Scope {
        match kind {
            Kind::ApiKey => &mut self.keys,
            Kind::ModelRoute => &mut self.routes,
            Kind::Team => &mut self.teams,
        }
    }

    /// Whether the reader may list a kind in a namespace.
    pub(super) fn may_list(&self, kind: Kind, namespace: &str) -> bool {
        match kind {
            Kind::ApiKey => &self.keys,
            Kind::ModelRoute => &self.routes,
            Kind::Team => &self.teams,
        }
        .has(namespace)
    }

    /// Whether there is nothing that the reader may see.
    pub(super) fn is_empty(&self) -> bool {
        self.teams.is_empty() && self.keys.is_empty() && self.routes.is_empty()
    }

    /// Every kind in these namespaces.
    #[cfg(test)]
    pub(super) fn only(namespaces: &[&str]) -> Self {
        let these = || Scope::Only(namespaces.iter().map(|name| (*name).to_owned()).collect());
        Self { teams: these(), keys: these(), routes: these(), not_asked: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_to_one_kind_is_none_to_another() {
        let mut grants = Grants::nothing();
        assert!(grants.is_empty());
        *grants.of_mut(Kind::ApiKey) = Scope::Only(BTreeSet::from(["apps".to_owned()]));
        assert!(grants.may_list(Kind::ApiKey, "apps") && !grants.may_list(Kind::ApiKey, "app"));
        assert!(!grants.may_list(Kind::Team, "apps") && !grants.may_list(Kind::ModelRoute, "apps"));
        assert!(!grants.is_empty());
    }
}
