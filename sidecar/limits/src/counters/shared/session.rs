//! What one sidecar knows of one Team's counts: what it may admit, who waits, and what the store is yet to be told.
//!
//! No clock, no connection: time comes in with each call, exchanges go out ([`Session::exchange`]) and replies come in
//! ([`Session::reply`]), so that a simulation can run the very same code.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::Duration,
};

use slab::Slab;

use super::{LeaseTerms, holding::Holding, link::StoreState, recalled::Admissions, waiter::Waiter};
use crate::{
    counters::{Account, Open},
    store::protocol::{AccountName, Rate, SPAN},
};
use vectoll_clock::Now;

/// The counts of one Team, seen from one sidecar.
#[derive(Debug)]
pub(crate) struct Session {
    pub(super) terms: LeaseTerms,
    pub(super) index: HashMap<Account, usize>,
    pub(super) holdings: Slab<Holding>,
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
    swept: Duration,
}

impl Session {
    pub(crate) fn new(terms: LeaseTerms) -> Self {
        Self {
            terms,
            index: HashMap::new(),
            holdings: Slab::new(),
            waiters: VecDeque::new(),
            pending: BTreeMap::new(),
            link: StoreState::default(),
            chunks: 0,
            open: Open::default(),
            leaving: false,
            recalled: None,
            swept: Duration::ZERO,
        }
    }

    /// Whether a call is under way or waits, or an exchange is.
    pub(super) fn is_busy(&self) -> bool {
        self.open.calls > 0 || !self.waiters.is_empty() || self.link.flight.is_some()
    }

    pub(super) fn holding_of(&mut self, account: &Account, now: Now) -> usize {
        if let Some(at) = self.index.get(account) {
            return *at;
        }
        let at = self.insert_holding(account);
        self.count_recalled_of(account, at, now);
        at
    }

    /// Begins a holding.
    pub(super) fn insert_holding(&mut self, account: &Account) -> usize {
        let at = self.holdings.insert(Holding::new(account));
        self.index.insert(account.clone(), at);
        at
    }

    /// Notes a change to a window that the store is to be told.
    pub(super) fn correct(&mut self, name: &AccountName, rate: Rate, slot: u64, amount: i64) {
        let sum = self.pending.entry((name.clone(), rate, slot)).or_default();
        *sum = sum.saturating_add(amount);
    }

    /// Forgets accounts of which nothing matters any more.
    pub(super) fn sweep(&mut self, now: Now) {
        // Not while there are lease requests out: they name accounts and balances by their places.
        let busy = self.link.flight.is_some() || !self.waiters.is_empty();
        if busy || now.elapsed.saturating_sub(self.swept) < Duration::from_mins(1) {
            return;
        }
        self.swept = now.elapsed;
        self.forget_recalled(now);
        let (store_ms, second) = self.link.time(now);
        // What has left the window meanwhile need not be told.
        self.pending.retain(|(_, rate, of), _| of + SPAN > rate.slot(second * 1000));
        let Self { index, holdings, .. } = self;
        index.retain(|_, at| {
            let Some(holding) = holdings.get_mut(*at) else { return false };
            if holding.balances.iter().all(|balance| balance.waiting == 0) {
                holding.balances.retain(|balance| !(balance.is_idle() && balance.is_over(store_ms)));
            }
            let idle = holding.is_idle(second);
            if idle {
                holdings.remove(*at);
            }
            !idle
        });
    }
}
