//! What one sidecar knows of one Team's counts: what it may admit, who waits, and what the store is yet to be told.
//!
//! No clock, no connection: time comes in with each call, exchanges go out ([`Session::exchange`]) and replies come in
//! ([`Session::reply`]), so that a simulation can run the very same code.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::Duration,
};

use slab::Slab;
use tokio::sync::oneshot;
use vectoll_config::v1::Limits;

use super::{
    Held, Terms,
    holding::{Holding, Taken},
    link::StoreState,
    pool::Source,
    recalled::Admissions,
    waiter::Waiter,
    weigh::Weighed,
};
use crate::{
    counters::{Account, Denial, Exhausted, Open, ReserveRequest, Retry},
    store::protocol::{AccountName, MOST, Rate, SPAN},
};
use vectoll_clock::Now;

/// Both rates.
pub(super) const RATES: [Rate; 2] = [Rate::Requests, Rate::Tokens];

/// How a reservation ends.
pub(crate) type Outcome = Result<Held, Denial>;

/// A reservation that has its outcome, or the place where it will arrive.
#[derive(Debug)]
pub(crate) enum Reserved {
    Now(Outcome),
    Later(oneshot::Receiver<Outcome>),
}

/// The counts of one Team, seen from one sidecar.
#[derive(Debug)]
pub(crate) struct Session {
    pub(super) terms: Terms,
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
    pub(crate) fn new(terms: Terms) -> Self {
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

    /// Takes the call's room in all scopes from what is leased. Where that is not enough the call waits for the store, or, if
    /// that is away, has this sidecar's share.
    pub(crate) fn reserve(&mut self, ask: &ReserveRequest<'_>, now: Now) -> Reserved {
        self.sweep(now);
        match self.weigh(ask, now, true) {
            Weighed::Fits => Reserved::Now(Ok(self.take(ask, now, false))),
            Weighed::Denied(denial) => Reserved::Now(Err(denial)),
            Weighed::Short(_) if self.link.serves_shares(now.elapsed) || self.link.is_away() => {
                Reserved::Now(self.reserve_share(ask, now))
            }
            Weighed::Short(shortages) => {
                let (tell, outcome) = oneshot::channel();
                self.count_waiting(&shortages, true);
                self.waiters.push_back(Waiter::new(ask, shortages, now.elapsed, tell));
                Reserved::Later(outcome)
            }
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

    /// Takes what the call was found to fit into; or, as a share, what nobody has leased.
    pub(super) fn take(&mut self, ask: &ReserveRequest<'_>, now: Now, share: bool) -> Held {
        let (store_ms, slot) = self.link.time(now);
        let mut taken = Vec::with_capacity(ask.scopes.len());
        let mut soon = false;
        let mut charges = Vec::new();
        for scope in ask.scopes {
            let at = self.holding_of(&scope.account, now);
            let Some(holding) = self.holdings.get_mut(at) else { continue };
            let name = holding.name.clone();
            let mut parts = RATES.map(|rate| {
                let need = ask.of(rate);
                let limited = rate_of(&scope.limits, rate).is_some();
                let pool = holding.pool(rate);
                match limited {
                    true if !share || pool.available(now.elapsed) >= need => {
                        let parts = pool.take(need, now.elapsed, slot);
                        soon |= pool.runs_low(now.elapsed);
                        parts
                    }
                    true => pool.take_from(Source::Share, need, now.elapsed, slot),
                    false => pool.take_from(Source::Unlimited, need, now.elapsed, slot),
                }
            });
            holding.slots.begin(now.elapsed);
            holding.open += 1;
            let charge = scope.budget.and_then(|budget| {
                let purse = holding.purse(&scope.account, budget, store_ms, now.elapsed);
                let purse = holding.purses.get_mut(purse)?;
                purse.reserve(ask.money, now.elapsed);
                soon |= purse.runs_low(now.elapsed);
                Some(purse.charge.clone())
            });
            charges.extend(charge.clone());
            for (rate, parts) in RATES.iter().zip(&parts) {
                for part in parts.iter().filter(|part| part.source == Source::Share) {
                    self.correct(&name, *rate, part.slot, signed(part.amount));
                }
            }
            let [requests, tokens] = std::mem::take(&mut parts);
            taken.push(Taken { holding: at, slot, requests, tokens, charge });
        }
        self.link.soon |= soon;
        self.open.calls += 1;
        self.open.tokens = self.open.tokens.saturating_add(ask.tokens);
        self.open.money = self.open.money.plus(ask.money);
        let ReserveRequest { requests, tokens, money, .. } = *ask;
        Held { team: ask.team.clone(), taken, requests, tokens, money, charges }
    }

    /// Forgets accounts of which nothing matters any more.
    fn sweep(&mut self, now: Now) {
        // Not while there are wishes out: they name accounts and purses by their places.
        let busy = self.link.flight.is_some() || !self.waiters.is_empty();
        if busy || now.elapsed.saturating_sub(self.swept) < Duration::from_mins(1) {
            return;
        }
        self.swept = now.elapsed;
        self.forget_recalled(now);
        let (store_ms, slot) = self.link.time(now);
        // What has left the window meanwhile need not be told.
        self.pending.retain(|(_, _, of), _| of + SPAN > slot);
        let Self { index, holdings, .. } = self;
        index.retain(|_, at| {
            let Some(holding) = holdings.get_mut(*at) else { return false };
            if holding.purses.iter().all(|purse| purse.waiting == 0) {
                holding.purses.retain(|purse| !(purse.is_idle() && purse.is_over(store_ms)));
            }
            let idle = holding.is_idle(slot);
            if idle {
                holdings.remove(*at);
            }
            !idle
        });
    }
}

pub(super) fn rate_of(limits: &Limits, rate: Rate) -> Option<u64> {
    match rate {
        Rate::Requests => limits.requests_per_minute,
        Rate::Tokens => limits.tokens_per_minute,
    }
    .map(|limit| limit.min(MOST))
}

pub(super) fn exhausted(rate: Rate) -> Exhausted {
    match rate {
        Rate::Requests => Exhausted::Requests,
        Rate::Tokens => Exhausted::Tokens,
    }
}

pub(super) fn retry_at(at: Option<Duration>, now: Duration) -> Retry {
    at.map_or(Retry::After(Duration::from_secs(1)), |at| Retry::After(at.saturating_sub(now)))
}

pub(super) fn signed(amount: u64) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}
