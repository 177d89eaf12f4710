//! What one sidecar knows of one Team's counts: what it may admit, who waits, and what the store is yet to be told.
//!
//! No clock, no connection: time comes in with each call, exchanges go out ([`Session::exchange`]) and replies come in
//! ([`Session::reply`]), so that a simulation can run the very same code.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use super::{LeaseTerms, holdings::Holdings, link::StoreState, recalled::Admissions, waiter::Waiter};
use crate::{
    counters::{Account, Open, sweep_pace::SweepPace},
    store::protocol::{AccountName, Rate, SPAN},
};
use vectoll_clock::Now;

/// How often what is over is looked for among corrections that wait and what was recalled.
const FORGET_PERIOD: Duration = Duration::from_mins(1);

/// The counts of one Team, seen from one sidecar.
#[derive(Debug)]
pub(crate) struct Session {
    pub(super) terms: LeaseTerms,
    pub(super) holdings: Holdings,
    pub(super) waiters: VecDeque<Waiter>,
    /// Changes to windows that the store is yet to be told.
    pub(super) pending: BTreeMap<(AccountName, Rate, u64), i64>,
    pub(super) link: StoreState,
    pub(super) chunks: u64,
    pub(super) open: Open,
    /// The sidecar is about to stop: it keeps nothing.
    pub(super) leaving: bool,
    /// What a former process admitted lately.
    pub(super) recalled: Option<Admissions>,
    /// When corrections and admissions that are over were forgotten last.
    forgotten: Duration,
    pace: SweepPace,
}

impl Session {
    pub(crate) fn new(terms: LeaseTerms) -> Self {
        Self {
            terms,
            holdings: Holdings::default(),
            waiters: VecDeque::new(),
            pending: BTreeMap::new(),
            link: StoreState::default(),
            chunks: 0,
            open: Open::default(),
            leaving: false,
            recalled: None,
            forgotten: Duration::ZERO,
            pace: SweepPace::default(),
        }
    }

    /// Whether a call is under way or waits, or an exchange is.
    pub(super) fn is_busy(&self) -> bool {
        self.open.calls > 0 || !self.waiters.is_empty() || self.link.flight.is_some()
    }

    pub(super) fn holding_of(&mut self, account: &Account, now: Now) -> usize {
        if let Some(at) = self.holdings.place_of(account) {
            return at;
        }
        let at = self.holdings.insert(account);
        self.count_recalled_of(account, at, now);
        at
    }

    /// Notes a change to a window that the store is to be told.
    pub(super) fn correct(&mut self, name: &AccountName, rate: Rate, slot: u64, amount: i64) {
        let sum = self.pending.entry((name.clone(), rate, slot)).or_default();
        *sum = sum.saturating_add(amount);
    }

    /// Forgets accounts of which nothing matters any more, a slice of them at a time.
    pub(super) fn sweep(&mut self, now: Now) {
        // Not while an exchange is out: it names accounts and balances by their places. So do calls that wait, but those are counted
        // where they wait, and what is waited for is neither idle nor moved.
        if self.link.flight.is_some() {
            return;
        }
        let slice = self.pace.slice(self.holdings.places(), now.elapsed);
        if slice == 0 {
            return;
        }
        let (store_ms, second) = self.link.time(now);
        if now.elapsed.saturating_sub(self.forgotten) >= FORGET_PERIOD {
            self.forgotten = now.elapsed;
            self.forget_recalled(now);
            // What has left the window meanwhile need not be told.
            self.pending.retain(|(_, rate, of), _| of + SPAN > rate.slot(second * 1000));
            // While the store is away there are no exchanges, which do this otherwise.
            self.holdings.rest(now.elapsed);
        }
        self.holdings.sweep(slice, |holding| {
            if holding.balances.iter().all(|balance| balance.waiting == 0) {
                holding.balances.retain(|balance| !(balance.is_idle() && balance.is_over(store_ms)));
            }
            holding.is_idle(second)
        });
    }
}
