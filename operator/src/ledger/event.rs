//! What is heard of the store.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use vectoll_config::Uid;

use super::{
    acknowledgements::Acknowledgements,
    answers::{LiveSidecar, TeamLedger},
    breakdown::Breakdown,
};

/// What was heard.
#[derive(Clone, Debug)]
pub enum LedgerEvent {
    /// The sidecars that live, by namespace, at a moment of the operator's clock.
    Live {
        /// When.
        at: Timestamp,
        /// Who.
        live: BTreeMap<String, Vec<LiveSidecar>>,
    },
    /// What was spent, by Team.
    Spend(BTreeMap<Uid, TeamLedger>),
    /// How that is made up of users and models, by Team: all that is known.
    Breakdowns(BTreeMap<Uid, Arc<Breakdown>>),
    /// Nothing, which is worth telling.
    Nothing(Acknowledgements),
    /// Another replica reads now.
    Rests,
}

/// Called with each event.
pub type OnLedgerEvent = Arc<dyn Fn(LedgerEvent) + Send + Sync>;
