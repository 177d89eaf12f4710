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
use vectoll_config::{
    PicoUsd, Uid,
    v1::{Budget, Limits, OnStoreFailure},
};

use super::{
    Held, Terms,
    holding::{Holding, Taken},
    link::Link,
    pool::{Pool, Source},
};
use crate::{
    clock::Now,
    counters::{Account, Ask, Denial, Exhausted, Open, Retry, Scope, Standing},
    store::protocol::{AccountName, MOST, Rate, SPAN},
};

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

/// A call that waits for a lease.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) team: Uid,
    pub(super) scopes: Vec<(Account, Limits, Option<Budget>)>,
    pub(super) tokens: u64,
    pub(super) money: PicoUsd,
    pub(super) on_failure: OnStoreFailure,
    pub(super) since: Duration,
    pub(super) shortages: Vec<Shortage>,
    pub(super) tell: oneshot::Sender<Outcome>,
}

/// What a call needs more than is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shortage {
    /// The scope's place in the call.
    pub(super) scope: usize,
    pub(super) holding: usize,
    pub(super) of: Short,
    /// What the call needs in all.
    pub(super) need: u64,
    pub(super) limit: u64,
}

/// Of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Short {
    Rate(Rate),
    Parallel,
    /// The place of the purse when it was looked for.
    Money(usize),
}

/// How a call stands with what is there.
enum Weighed {
    Fits,
    Short(Vec<Shortage>),
    Denied(Denial),
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
    pub(super) link: Link,
    pub(super) chunks: u64,
    pub(super) open: Open,
    /// The sidecar is about to stop: it keeps nothing.
    pub(super) leaving: bool,
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
            link: Link::default(),
            chunks: 0,
            open: Open::default(),
            leaving: false,
            swept: Duration::ZERO,
        }
    }

    /// Takes the call's room in all scopes from what is leased. Where that is not enough the call waits for the store, or, if
    /// that is away, has this sidecar's share.
    pub(crate) fn reserve(&mut self, ask: &Ask<'_>, now: Now) -> Reserved {
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
                self.waiters.push_back(Waiter {
                    team: ask.team.clone(),
                    scopes: ask
                        .scopes
                        .iter()
                        .map(|scope| (scope.account.clone(), scope.limits, scope.budget.cloned()))
                        .collect(),
                    tokens: ask.tokens,
                    money: ask.money,
                    on_failure: ask.on_store_failure,
                    since: now.elapsed,
                    shortages,
                    tell,
                });
                Reserved::Later(outcome)
            }
        }
    }

    /// A call that waited, tried again. It is told, or waits on.
    pub(super) fn try_again(&mut self, mut waiter: Waiter, now: Now) -> Option<Waiter> {
        self.count_waiting(&waiter.shortages, false);
        let outcome = {
            let scopes = waiter.scopes();
            let ask = waiter.ask(&scopes);
            match self.weigh(&ask, now, false) {
                Weighed::Fits => Ok(Ok(self.take(&ask, now, false))),
                Weighed::Denied(denial) => Ok(Err(denial)),
                Weighed::Short(shortages) => Err(shortages),
            }
        };
        match outcome {
            Ok(outcome) => {
                self.tell(waiter, outcome, now);
                None
            }
            Err(shortages) => {
                self.count_waiting(&shortages, true);
                waiter.shortages = shortages;
                Some(waiter)
            }
        }
    }

    /// Tells a call its outcome. One that has left gives everything back.
    pub(super) fn tell(&mut self, waiter: Waiter, outcome: Outcome, now: Now) {
        if let Err(Ok(held)) = waiter.tell.send(outcome) {
            self.give_back(held, now);
        }
    }

    pub(super) fn count_waiting(&mut self, shortages: &[Shortage], more: bool) {
        for shortage in shortages {
            let Some(holding) = self.holdings.get_mut(shortage.holding) else { continue };
            let waiting = match shortage.of {
                Short::Rate(rate) => &mut holding.pool(rate).waiting,
                Short::Parallel => &mut holding.slots.waiting,
                Short::Money(at) => match holding.purses.get_mut(at) {
                    Some(purse) => &mut purse.waiting,
                    None => continue,
                },
            };
            *waiting = if more { *waiting + 1 } else { waiting.saturating_sub(1) };
        }
    }

    pub(super) fn holding_of(&mut self, account: &Account) -> usize {
        if let Some(at) = self.index.get(account) {
            return *at;
        }
        let at = self.holdings.insert(Holding::new(account));
        self.index.insert(account.clone(), at);
        at
    }

    /// Holds a call against what is there. `in_turn`: nobody who waits is overtaken.
    fn weigh(&mut self, ask: &Ask<'_>, now: Now, in_turn: bool) -> Weighed {
        let (store_ms, slot) = self.link.time(now);
        let valid = self.link.claims_hold(now.elapsed);
        let mut shortages = Vec::new();
        let mut denied: Option<Denial> = None;
        let mut deny = |denial: Denial| {
            if denied.is_none_or(|worst| denial.retry > worst.retry) {
                denied = Some(denial);
            }
        };
        for (place, scope) in ask.scopes.iter().enumerate() {
            let at = self.holding_of(&scope.account);
            for rate in RATES {
                let need = ask.of(rate);
                let limit = rate_of(&scope.limits, rate);
                self.follow(at, rate, limit);
                let Some(limit) = limit else { continue };
                let Some(pool) = self.holdings.get_mut(at).map(|holding| holding.pool(rate)) else { continue };
                let denial = |used, retry| Denial { scope: place, exhausted: exhausted(rate), limit, used, retry };
                if need > limit {
                    pool.own.advance(slot);
                    deny(denial(pool.own.sum(), Retry::Never));
                    continue;
                }
                let available = pool.available(now.elapsed);
                if need <= available && !(in_turn && pool.waiting > 0) {
                    continue;
                }
                match pool.refused.filter(|refused| refused.limit == limit && now.elapsed < refused.until) {
                    Some(refused) if need.saturating_sub(available) >= refused.amount => {
                        deny(denial(refused.taken, retry_at(refused.room_at, now.elapsed)));
                    }
                    Some(_) | None => {
                        shortages.push(Shortage { scope: place, holding: at, of: Short::Rate(rate), need, limit });
                    }
                }
            }
            let Some(holding) = self.holdings.get_mut(at) else { continue };
            holding.slots.follow(scope.limits.parallel_requests);
            if let Some(limit) = scope.limits.parallel_requests {
                let slots = &holding.slots;
                let waits = in_turn && slots.waiting > 0;
                if slots.available(valid) == 0 || waits {
                    if now.elapsed < slots.refused_until && slots.used > 0 {
                        deny(Denial {
                            scope: place,
                            exhausted: Exhausted::Parallel,
                            limit,
                            used: limit,
                            retry: Retry::WhenFree,
                        });
                    } else {
                        shortages.push(Shortage { scope: place, holding: at, of: Short::Parallel, need: 1, limit });
                    }
                }
            }
            if let Some(budget) = scope.budget
                && ask.money > PicoUsd::ZERO
            {
                let purse_at = holding.purse(&scope.account, budget, store_ms, now.elapsed);
                let Some(purse) = holding.purses.get_mut(purse_at) else { continue };
                let limit = budget.limit.pico();
                if purse.limit.is_some_and(|had| budget.limit < had) {
                    // Less is to be spent than when this money was had: ask again.
                    purse.free = PicoUsd::ZERO;
                }
                purse.limit = Some(budget.limit);
                if ask.money > budget.limit {
                    let used = purse.taken.unwrap_or_default().pico();
                    deny(Denial { scope: place, exhausted: Exhausted::Budget, limit, used, retry: Retry::Never });
                } else if let Some((amount, of, until, ends)) = purse.refused
                    && (of, purse.free < amount) == (budget.limit, true)
                    && ask.money.minus(purse.free) >= amount
                    && now.elapsed < until
                {
                    let used = purse.taken.unwrap_or_default().pico();
                    let retry = ends.map_or(Retry::Never, |ends| Retry::After(ends.saturating_sub(now.elapsed)));
                    deny(Denial { scope: place, exhausted: Exhausted::Budget, limit, used, retry });
                } else if purse.free < ask.money || (in_turn && purse.waiting > 0) {
                    let (of, need) = (Short::Money(purse_at), ask.money.pico());
                    shortages.push(Shortage { scope: place, holding: at, of, need, limit });
                }
            }
        }
        match denied {
            Some(denial) => Weighed::Denied(denial),
            None if shortages.is_empty() => Weighed::Fits,
            None => Weighed::Short(shortages),
        }
    }

    /// Goes with a limit that was set, changed or taken away.
    fn follow(&mut self, at: usize, rate: Rate, limit: Option<u64>) {
        let Some(holding) = self.holdings.get_mut(at) else { return };
        let name = holding.name.clone();
        let pool = holding.pool(rate);
        if pool.limit == limit {
            return;
        }
        let was = std::mem::replace(&mut pool.limit, limit);
        let mut changes: Vec<(u64, i64)> = Vec::new();
        if was.is_some() {
            // What was had under another limit is no longer good.
            changes.extend(pool.end(Duration::MAX, true).into_iter().map(|(slot, left)| (slot, -signed(left))));
            pool.refused = None;
        } else {
            changes.extend(pool.untold.drain().map(|(slot, amount)| (slot, signed(amount))));
        }
        for (slot, amount) in changes {
            self.correct(&name, rate, slot, amount);
        }
    }

    /// Notes a change to a window that the store is to be told.
    pub(super) fn correct(&mut self, name: &AccountName, rate: Rate, slot: u64, amount: i64) {
        let sum = self.pending.entry((name.clone(), rate, slot)).or_default();
        *sum = sum.saturating_add(amount);
    }

    /// Takes what the call was found to fit into; or, as a share, what nobody has leased.
    pub(super) fn take(&mut self, ask: &Ask<'_>, now: Now, share: bool) -> Held {
        let (store_ms, slot) = self.link.time(now);
        let mut taken = Vec::with_capacity(ask.scopes.len());
        let mut soon = false;
        let mut charges = Vec::new();
        for scope in ask.scopes {
            let at = self.holding_of(&scope.account);
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
            holding.slots.used += 1;
            holding.slots.touched = now.elapsed;
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
        Held { team: ask.team.clone(), taken, tokens: ask.tokens, money: ask.money, charges }
    }

    /// What is left of the tightest limits, as far as this sidecar knows.
    pub(crate) fn standing(&mut self, held: &Held, scopes: &[Limits], now: Now) -> Standing {
        let mut standing = Standing::default();
        let store_ms = self.link.store_ms(now);
        for (taken, limits) in held.taken.iter().zip(scopes) {
            let Some(holding) = self.holdings.get_mut(taken.holding) else { continue };
            for (rate, quota) in RATES.iter().zip([&mut standing.requests, &mut standing.tokens]) {
                if let Some(limit) = rate_of(limits, *rate) {
                    let present = quota_of(holding.pool(*rate), limit, now, store_ms);
                    if quota.is_none_or(|tightest| present.remaining < tightest.remaining) {
                        *quota = Some(present);
                    }
                }
            }
        }
        standing
    }

    /// What is taken of a budget, by what the store said last; none: it was not asked in this period.
    pub(crate) fn taken(&self, account: &Account, budget: &Budget, now: Now) -> Option<PicoUsd> {
        let store_ms = self.link.store_ms(now);
        let holding = self.holdings.get(*self.index.get(account)?)?;
        let purse = holding.purses.iter().find(|it| it.is_for(budget) && !it.is_over(store_ms))?;
        // Its own money that no call has is still to be had here.
        Some(purse.taken?.minus(purse.free))
    }

    /// Forgets accounts of which nothing matters any more.
    fn sweep(&mut self, now: Now) {
        // Not while there are wishes out: they name accounts and purses by their places.
        let busy = self.link.flight.is_some() || !self.waiters.is_empty();
        if busy || now.elapsed.saturating_sub(self.swept) < Duration::from_mins(1) {
            return;
        }
        self.swept = now.elapsed;
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

impl Waiter {
    /// Its wish again, as when it came.
    pub(super) fn ask<'a>(&'a self, scopes: &'a [Scope<'a>]) -> Ask<'a> {
        Ask { team: &self.team, scopes, tokens: self.tokens, money: self.money, on_store_failure: self.on_failure }
    }

    /// Its scopes again, as when it came.
    pub(super) fn scopes(&self) -> Vec<Scope<'_>> {
        self.scopes
            .iter()
            .map(|(account, limits, budget)| Scope {
                account: account.clone(),
                limits: *limits,
                budget: budget.as_ref(),
            })
            .collect()
    }
}

fn quota_of(pool: &Pool, limit: u64, now: Now, store_ms: u64) -> crate::counters::Quota {
    let (taken, reset) = match pool.told {
        Some(told) => (told.taken, told.reset_at.saturating_sub(now.elapsed)),
        None => (pool.own.sum(), Duration::ZERO),
    };
    // Leased and not used yet: to be had here.
    let taken = taken.saturating_sub(pool.available(now.elapsed));
    let reset = if reset > Duration::ZERO { reset } else { pool.own.reset(Duration::from_millis(store_ms)) };
    crate::counters::Quota { limit, remaining: limit.saturating_sub(taken), reset }
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
