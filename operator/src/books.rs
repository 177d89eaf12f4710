//! What sidecars have written into the store, as far as the operator tells of it: which config each serves by, and what was
//! spent.
//!
//! The [`Question`] says what is to be read, [`answers`] and [`breakdown`] are the pure middle (which fields stand for what), and
//! the [`Reader`] asks while its replica leads, with a [`scanner`] beside it for fields whose names nobody knows beforehand.
//! What they hear goes into [`Books`].

mod answers;
mod breakdown;
mod question;
mod reader;
mod scanner;

pub use self::{
    answers::{Account, Live, Money, Spent, TeamBooks, Totals},
    breakdown::Breakdown,
    question::{Question, TeamQuestion},
    reader::{Heard, Reader, Report},
};

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use vectoll_config::Uid;

/// What was heard last.
#[derive(Clone, Debug, Default)]
pub struct Books {
    /// What sidecars serve by.
    pub acknowledgements: Acknowledgements,
    /// What was spent, by Team. Stays as it is while the store is silent.
    pub teams: BTreeMap<Uid, TeamBooks>,
    /// How it is made up of users and models, by Team. Read less often.
    pub breakdowns: BTreeMap<Uid, Arc<Breakdown>>,
}

/// What sidecars say that they serve by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Acknowledgements {
    /// There is no store to say it in.
    #[default]
    Nowhere,
    /// The store was not asked yet.
    NotYet,
    /// The store has not answered for a while.
    Silent,
    /// As of a moment, the sidecars that live, by namespace.
    Heard {
        /// By the operator's clock.
        at: Timestamp,
        /// Namespaces in which none lives may be left out.
        live: BTreeMap<String, Vec<Live>>,
    },
}

impl Books {
    /// What was spent by an account in its present period, if that was heard of.
    pub fn money(&self, team: &Uid, account: &Account) -> Option<&Money> {
        self.teams.get(team)?.money.get(account)
    }

    /// Takes in what was heard. Whether anything is different that anybody would be told of.
    pub fn hear(&mut self, heard: Heard) -> bool {
        match heard {
            Heard::Live { at, live: new } => {
                let same = matches!(&self.acknowledgements, Acknowledgements::Heard { at: _, live } if *live == new);
                self.acknowledgements = Acknowledgements::Heard { at, live: new };
                !same
            }
            Heard::Spend(teams) => {
                let same = self.teams == teams;
                self.teams = teams;
                !same
            }
            Heard::Nothing(acknowledgements) => {
                let same = self.acknowledgements == acknowledgements;
                self.acknowledgements = acknowledgements;
                !same
            }
            Heard::Breakdowns(breakdowns) => {
                self.breakdowns = breakdowns;
                // Only metrics tell of it, and they look for themselves.
                false
            }
            Heard::Rests => {
                *self = Self { acknowledgements: Acknowledgements::NotYet, ..Self::default() };
                true
            }
        }
    }
}
