//! What there is, as far as this operator sees.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::kind::Family;
use crate::allocation::Allocations;

/// Users that a ledger may tell apart whatever its Team says: who lowers `maxUsers` by mistake must not lose whom it told apart.
const LEAST_USERS: u64 = 100_000;
/// Keys, models and sets of tags that the functions let a ledger tell apart.
const MAX_KEYS: u64 = 20_000;
const MAX_MODELS: u64 = 10_000;
const MAX_TAG_SETS: u64 = 2_000;
/// Users, whatever a Team says.
const MAX_USERS: u64 = 1_000_000;

/// A Team, as far as it matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CountedTeam {
    /// The namespace that it is in.
    pub namespace: String,
    /// Users that its ledger tells apart.
    pub most_users: u64,
}

/// Accounts that exist, as far as this operator sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// What tells this operator from others.
    pub scope: String,
    /// When it was taken, in milliseconds since 1970.
    pub counted_ms: u64,
    /// Teams, by UID.
    pub teams: BTreeMap<String, CountedTeam>,
    /// Keys: the namespaces that they are in, by UID.
    pub keys: BTreeMap<String, String>,
    /// Routes, `namespace/route`, and the names of their backends. None: they cannot be read.
    pub routes: BTreeMap<String, Option<BTreeSet<String>>>,
    /// Namespaces that have keys or pods.
    pub namespaces: BTreeSet<String>,
    /// Namespaces that could not be listed: what is there is not known, so nothing counts as gone that may be there.
    pub unheard: BTreeSet<String>,
    /// What the keys of each Team spend for.
    pub allocations: Arc<Allocations>,
    /// How long months are kept, in milliseconds.
    pub retention_ms: u64,
    /// The store is full: what can go is to go soon.
    pub is_urgent: bool,
}

impl Census {
    /// Whether what is not named here is not there either: in a namespace, or, where it is not known in which, anywhere.
    pub fn covers(&self, namespace: Option<&str>) -> bool {
        namespace.map_or(self.unheard.is_empty(), |namespace| !self.unheard.contains(namespace))
    }

    /// Whether a backend, `namespace/route/backend`, is there or may be.
    pub fn may_have_backend(&self, backend: &str) -> bool {
        let Some((route, name)) = backend.rsplit_once('/') else { return false };
        match self.routes.get(route) {
            Some(Some(backends)) => backends.contains(name),
            Some(None) => true,
            None => !self.covers(route.split_once('/').map(|(namespace, _)| namespace)),
        }
    }

    /// How many of a family, `u`, `k`, `m` or `g`, the ledger of a Team may tell apart.
    pub fn most_of(&self, team: &str, family: Family) -> u64 {
        match family {
            Family::Users => {
                let team = self.teams.get(team);
                team.map_or(MAX_USERS, |team| team.most_users.clamp(LEAST_USERS, MAX_USERS))
            }
            Family::Keys => MAX_KEYS,
            Family::Models => MAX_MODELS,
            Family::Tags => MAX_TAG_SETS,
        }
    }
}
