//! What is to be read of the store.

use std::collections::{BTreeMap, BTreeSet};

use vectoll_config::{Uid, v1::Budget};

use crate::store::Access;

/// What is to be read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LedgerQuery {
    /// What tells this operator's namespaces from those of others that share the store.
    pub scope: String,
    /// Namespaces whose sidecars are to be heard of.
    pub namespaces: BTreeSet<String>,
    /// Teams that have keys, those above them, and backends with budgets.
    pub teams: BTreeMap<Uid, TeamQuery>,
}

/// What is to be read of a Team.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TeamQuery {
    /// Its budgets.
    pub budgets: Vec<Budget>,
    /// Its keys, with theirs.
    pub keys: BTreeMap<Uid, Vec<Budget>>,
    /// Whether there are Teams above it, whose spend in a month is theirs and that of all below.
    pub in_tree: bool,
}

/// What is to be read, and as whom; none: nothing, while another replica leads.
pub(super) type QuerySpec = Option<(Access, LedgerQuery)>;
