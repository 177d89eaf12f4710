//! What sidecars have written into the store, as far as the operator tells of it: which config each serves by, and what was
//! spent.
//!
//! The [`LedgerQuery`] says what is to be read, [`answers`] and [`breakdown`] are the pure middle (which fields stand for what), and
//! the [`Reader`] asks while its replica leads, with a [`scanner`] beside it for fields whose names nobody knows beforehand.
//! What they hear goes into [`LedgerSnapshot`]. Months that are over are read when somebody looks at them: [`History`].

mod acknowledgements;
mod answers;
mod breakdown;
mod event;
mod history;
mod query;
mod reader;
mod scanner;

pub use self::{
    acknowledgements::Acknowledgements,
    answers::{Account, LiveSidecar, Money, Spent, TeamLedger, Totals},
    breakdown::Breakdown,
    event::{LedgerEvent, OnLedgerEvent},
    history::{History, HistoryError, Month},
    query::{LedgerQuery, TeamQuery},
    reader::{Reader, SPEND_READ_PERIOD},
};

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use vectoll_config::{Uid, store::is_backend_account};

/// What was heard last.
#[derive(Clone, Debug, Default)]
pub struct LedgerSnapshot {
    /// What sidecars serve by.
    pub acknowledgements: Acknowledgements,
    /// What was spent, by Team. Stays as it is while the store is silent.
    pub teams: BTreeMap<Uid, Arc<TeamLedger>>,
    /// How it is made up of users and models, by Team. Read less often.
    pub breakdowns: BTreeMap<Uid, Arc<Breakdown>>,
}

impl LedgerSnapshot {
    /// What was spent by an account in the present periods of its budgets, as far as that was heard of.
    pub fn money(&self, team: &Uid, account: &Account) -> &[Money] {
        self.teams.get(team).and_then(|ledger| ledger.money.get(account)).map_or(&[], Vec::as_slice)
    }

    /// What is owed for the calls to a backend, `namespace/route/backend`, in the present periods of its budgets.
    pub fn owed(&self, backend: &str) -> &[Money] {
        // Those of one operator only are asked for: whatever its scope, one account ends so.
        let is_it = |account: &Uid| is_backend_account(account) && account.as_str().rsplit(':').next() == Some(backend);
        let found = self.teams.iter().find(|(account, _)| is_it(account));
        found.and_then(|(_, ledger)| ledger.money.get(&Account::Team)).map_or(&[], Vec::as_slice)
    }

    /// Takes in what was heard, and says what of it is new.
    pub fn on_event(&mut self, event: LedgerEvent) -> LedgerChanges {
        match event {
            LedgerEvent::Live { at, live: new } => {
                let before = std::mem::replace(&mut self.acknowledgements, Acknowledgements::Heard { at, live: new });
                let (Acknowledgements::Heard { at: _, live: before }, Acknowledgements::Heard { at: _, live: new }) =
                    (&before, &self.acknowledgements)
                else {
                    return LedgerChanges::All;
                };
                LedgerChanges::of(changed(before, new), LedgerChanges::Namespaces)
            }
            LedgerEvent::Spend(teams) => {
                let teams: BTreeMap<Uid, Arc<TeamLedger>> =
                    teams.into_iter().map(|(team, books)| (team, Arc::new(books))).collect();
                let news = LedgerChanges::of(changed(&self.teams, &teams), LedgerChanges::Teams);
                self.teams = teams;
                news
            }
            LedgerEvent::Nothing(acknowledgements) => {
                let same = self.acknowledgements == acknowledgements;
                self.acknowledgements = acknowledgements;
                if same { LedgerChanges::None } else { LedgerChanges::All }
            }
            LedgerEvent::Breakdowns(breakdowns) => {
                self.breakdowns = breakdowns;
                // Only metrics tell of it, and they look for themselves.
                LedgerChanges::None
            }
            LedgerEvent::Rests => {
                *self = Self { acknowledgements: Acknowledgements::NotYet, ..Self::default() };
                LedgerChanges::All
            }
        }
    }
}

/// Whom something that was heard concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LedgerChanges {
    /// Nobody: it was known.
    None,
    /// Sidecars of these namespaces say something else than before.
    Namespaces(BTreeSet<String>),
    /// More was spent by these Teams.
    Teams(BTreeSet<Uid>),
    /// Everybody.
    All,
}

impl LedgerChanges {
    fn of<T>(changed: BTreeSet<T>, news: impl Fn(BTreeSet<T>) -> Self) -> Self {
        if changed.is_empty() { Self::None } else { news(changed) }
    }
}

/// The keys whose values differ.
fn changed<K: Ord + Clone, V: PartialEq>(before: &BTreeMap<K, V>, after: &BTreeMap<K, V>) -> BTreeSet<K> {
    let new = after.iter().filter(|(key, value)| before.get(key) != Some(value)).map(|(key, _)| key);
    let gone = before.keys().filter(|key| !after.contains_key(key));
    new.chain(gone).cloned().collect()
}
