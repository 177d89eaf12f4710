//! What the page is made of: what the operator knows at a moment. Whoever serves the page gathers it.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition as ApiCondition;
use vectoll_config::ObjectName;
use vectoll_crds::{ApiKeySpec, ModelRouteSpec, Spend, TeamSpec};

use crate::{
    condition::Condition,
    ledger::{Acknowledgements, LedgerSnapshot},
    observed_state::Object,
};

/// All that is known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// When it was gathered.
    pub(crate) at: Timestamp,
    /// Teams.
    pub(crate) teams: Vec<ResourceFacts<TeamSpec>>,
    /// Keys.
    pub(crate) keys: Vec<ResourceFacts<ApiKeySpec>>,
    /// What is known of the keys' values. Never a value.
    pub(crate) values: BTreeMap<ObjectName, KeyValue>,
    /// Routes.
    pub(crate) routes: Vec<ResourceFacts<ModelRouteSpec>>,
    /// What is owed for a route's backends, as it stands in its status.
    pub(crate) owed: BTreeMap<ObjectName, Vec<(String, Spend)>>,
    /// What the store said.
    pub(crate) ledger: LedgerSnapshot,
    /// Where amounts come from.
    pub(crate) source: Source,
    /// How many sidecars run, by namespace.
    pub(crate) sidecars: BTreeMap<String, usize>,
}

/// A resource, with what its status reports.
#[derive(Clone, Debug)]
pub(crate) struct ResourceFacts<S> {
    /// Its name and spec.
    pub(crate) object: Arc<Object<S>>,
    /// Its conditions.
    pub(crate) conditions: Vec<Stated>,
    /// What was spent, as it stands in its status.
    pub(crate) spend: Option<Spend>,
}

/// Of a key's value: where it is, and how to tell it from others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeyValue {
    /// The Secret that holds it.
    pub(crate) secret: Option<String>,
    /// Its last four characters.
    pub(crate) hint: Option<String>,
    /// When it is renewed next.
    pub(crate) next_rotation: Option<Timestamp>,
}

/// A condition, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stated {
    /// Its type.
    pub(crate) kind: String,
    /// True, False or Unknown.
    pub(crate) status: String,
    /// Why, in CamelCase.
    pub(crate) reason: String,
    /// What it means and what to do.
    pub(crate) message: String,
    /// Since when; none: nobody noted it.
    pub(crate) since: Option<Timestamp>,
}

impl From<&ApiCondition> for Stated {
    fn from(condition: &ApiCondition) -> Self {
        Self {
            kind: condition.type_.clone(),
            status: condition.status.clone(),
            reason: condition.reason.clone(),
            message: condition.message.clone(),
            since: Some(condition.last_transition_time.0),
        }
    }
}

impl From<&Condition> for Stated {
    fn from(condition: &Condition) -> Self {
        Self {
            kind: condition.kind.name().to_owned(),
            status: condition.status.name().to_owned(),
            reason: condition.reason.to_owned(),
            message: condition.message.clone().into_owned(),
            since: None,
        }
    }
}

/// Where amounts come from, and why there may be none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Source {
    /// There is no store: each sidecar counts for itself, and the operator knows no amounts.
    #[default]
    NoStore,
    /// Another replica acts: amounts are those in statuses, and this one begins to read the rest.
    StandsBy,
    /// Another replica acts: budgets are those in statuses, and this one has read the rest.
    ReadBeside {
        /// When the store answered last.
        at: Timestamp,
    },
    /// The store was not read yet: amounts are those in statuses.
    NotYet,
    /// The store has not answered for a while: amounts are the last ones that were read.
    Silent,
    /// The store was read.
    Read {
        /// When it answered last.
        at: Timestamp,
    },
}

impl Source {
    /// By what was heard last, at a replica that acts or does not.
    pub(crate) fn of(ledger: &LedgerSnapshot, acts: bool) -> Self {
        match ledger.acknowledgements {
            Acknowledgements::Nowhere => Self::NoStore,
            Acknowledgements::NotYet if !acts => Self::StandsBy,
            Acknowledgements::NotYet => Self::NotYet,
            Acknowledgements::Silent => Self::Silent,
            Acknowledgements::Heard { at, live: _ } if !acts => Self::ReadBeside { at },
            Acknowledgements::Heard { at, live: _ } => Self::Read { at },
        }
    }

    /// Whether what the store said has budgets. Where it does not, statuses have.
    pub(super) fn has_budgets(self) -> bool {
        match self {
            Self::NoStore | Self::StandsBy | Self::ReadBeside { at: _ } => false,
            Self::NotYet | Self::Silent | Self::Read { at: _ } => true,
        }
    }

    /// When the store answered last, while it answers.
    pub(super) fn read_at(self) -> Option<Timestamp> {
        match self {
            Self::Read { at } | Self::ReadBeside { at } => Some(at),
            Self::NoStore | Self::StandsBy | Self::NotYet | Self::Silent => None,
        }
    }

    /// As programs read it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::NoStore => "NoStore",
            Self::StandsBy => "StandsBy",
            Self::ReadBeside { at: _ } => "ReadBeside",
            Self::NotYet => "NotYet",
            Self::Silent => "Silent",
            Self::Read { at: _ } => "Read",
        }
    }

    /// As people read it; none: there is nothing to be said.
    pub(super) fn message(self) -> Option<&'static str> {
        match self {
            Self::NoStore => Some(
                "There is no store: each sidecar counts for itself, and the operator knows neither amounts nor users. The sidecars' own \
                 /metrics have them.",
            ),
            Self::StandsBy => Some(
                "This replica stands by, and begins to read the store for you: totals, users, models and months follow in moments. \
                 Budgets are those in statuses, about a minute old.",
            ),
            Self::ReadBeside { at: _ } => Some(
                "This replica stands by: budgets are those in statuses, about a minute old. All else was read of the store just now.",
            ),
            Self::NotYet => Some(
                "The store has not been read yet. Amounts are those in statuses; users and models follow within a minute.",
            ),
            Self::Silent => Some("The store does not answer. Amounts are those that were read last."),
            Self::Read { at: _ } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_that_stands_by_says_so_and_does_not_pass_for_one_without_a_store() {
        let ledger = |acknowledgements| LedgerSnapshot { acknowledgements, ..LedgerSnapshot::default() };
        let at = Timestamp::UNIX_EPOCH;
        for (heard, acts, source) in [
            (Acknowledgements::Nowhere, true, Source::NoStore),
            (Acknowledgements::NotYet, false, Source::StandsBy),
            (Acknowledgements::NotYet, true, Source::NotYet),
            (Acknowledgements::Silent, true, Source::Silent),
            (Acknowledgements::Heard { at, live: BTreeMap::new() }, true, Source::Read { at }),
            (Acknowledgements::Heard { at, live: BTreeMap::new() }, false, Source::ReadBeside { at }),
        ] {
            assert_eq!(Source::of(&ledger(heard), acts), source);
        }
    }
}
