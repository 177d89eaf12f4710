//! Which budget a call's money counts in, for the journal and for whoever else keeps budgets.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use vectoll_config::{ModelPattern, Uid, ZoneName, v1::Period};

/// One period of one budget. Made when the period begins and shared by all calls in it, so that no call asks the calendar.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BudgetPeriod {
    /// Whose budget.
    pub account: BudgetAccount,
    /// How long it lasts.
    pub period: Period,
    /// By whose calendar.
    pub zone: ZoneName,
    /// The period's first moment.
    pub start: Timestamp,
}

/// The accounts that have budgets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BudgetAccount {
    /// A key.
    Key(Uid),
    /// A team.
    Team(Uid),
    /// A user of a team.
    TeamUser(Uid, Arc<str>),
    /// A namespace whose keys belong to another's team.
    TeamNamespace(Uid, Arc<str>),
    /// Models within a key.
    KeyModel(Uid, ModelPattern),
    /// Models within a team.
    TeamModel(Uid, ModelPattern),
    /// Calls of a team with a tag.
    TeamTag(Uid, Arc<str>),
    /// A backend: what is owed to its provider.
    Backend(Uid),
}

impl BudgetAccount {
    /// What its counts are kept under in a store: a team's UID, or a backend's account. None: a key's, which are kept under its team.
    pub fn owner(&self) -> Option<&Uid> {
        match self {
            Self::Key(_) | Self::KeyModel(..) => None,
            Self::Team(uid)
            | Self::TeamUser(uid, _)
            | Self::TeamNamespace(uid, _)
            | Self::TeamModel(uid, _)
            | Self::TeamTag(uid, _)
            | Self::Backend(uid) => Some(uid),
        }
    }
}
