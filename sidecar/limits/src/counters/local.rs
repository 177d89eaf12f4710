//! Counters in this process's memory: exact for one sidecar on its own.

mod count;
mod remembered;
mod reservation;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ahash::HashMap;
use slab::Slab;
use vectoll_config::{
    PicoUsd, Uid,
    store::is_backend_account,
    stretch,
    v1::{Budget, Limits},
};

use self::count::{Count, tighten};
pub(super) use self::reservation::LocalReservation;
use super::{
    Account, Denial, Open, RateLimitStatus, ReserveRequest, Spending,
    longest_denial::LongestDenial,
    sweep_pace::SweepPace,
    users::{AccountsByUser, Users},
    window::second_of,
};
use crate::store::protocol::{Counted, Rate};
use vectoll_clock::Now;
use vectoll_ledger::used::Used;

/// Counters of one process. One lock guards all: a decision over several scopes is one step.
#[derive(Debug, Default)]
pub struct LocalCounters {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    index: HashMap<Account, usize>,
    counts: Slab<Count>,
    users: Users,
    open: Open,
    /// How many counts there are of each user.
    by_user: AccountsByUser,
    pace: SweepPace,
    /// Where the next slice of a sweep begins.
    cursor: usize,
    /// The newest second that anything was counted in. Moments are taken before the lock: under it they only move forward.
    slot: u64,
    /// How many reservations there have been.
    sequence: u64,
}

impl LocalCounters {
    fn table(&self) -> MutexGuard<'_, Table> {
        // A panic while counting leaves numbers, not broken memory: to go on is better than to refuse every call.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LocalCounters {
    /// The name that a user's counts are kept under.
    pub(super) fn user(&self, team: &Uid, user: &Arc<str>, most: u32) -> Arc<str> {
        self.table().users.name(team, user, most)
    }

    /// Takes the call's room in all scopes, or in none.
    pub(super) fn reserve(&self, ask: &ReserveRequest<'_>, now: Now) -> Result<LocalReservation, Denial> {
        let mut table = self.table();
        let slot = table.present(now);
        table.sweep(now);
        let since = table.sequence;
        let mut counts = Vec::with_capacity(ask.scopes.len());
        let mut worst = LongestDenial::default();
        for (place, scope) in ask.scopes.iter().enumerate() {
            let id = table.id(&scope.account);
            let Some(count) = table.counts.get_mut(id) else { continue };
            count.advance(slot, scope, now.wall, since);
            counts.push(id);
            let longest = count.refusals(scope, ask, now).max_by_key(|denial| denial.retry);
            if let Some(denial) = longest {
                worst.add(Denial { scope: place, ..denial });
            }
        }
        if let Some(denial) = worst.into_denial() {
            return Err(denial);
        }
        let mut charges = Vec::new();
        for &id in &counts {
            if let Some(count) = table.counts.get_mut(id) {
                count.admit(slot, ask);
                count.parallel += 1;
                for balance in &mut count.balances {
                    balance.taken = balance.taken.plus(ask.money);
                    charges.push(balance.charge.clone());
                }
            }
        }
        let is_call = !is_backend_account(ask.team);
        if is_call {
            table.open.calls += 1;
            table.open.tokens = table.open.tokens.saturating_add(ask.tokens);
            table.open.money = table.open.money.plus(ask.money);
        }
        table.sequence += 1;
        let (sequence, ReserveRequest { requests, tokens, money, .. }) = (table.sequence, *ask);
        Ok(LocalReservation { counts, is_call, slot, sequence, requests, tokens, money, charges })
    }

    /// Replaces a reservation by what was used.
    #[allow(clippy::needless_pass_by_value, reason = "a reservation ends once")]
    pub(super) fn settle(&self, reservation: LocalReservation, used: Used, now: Now) {
        let mut table = self.table();
        let slot = table.present(now);
        table.close(&reservation, |count| {
            count.advance_windows(slot);
            count.take_back(Counted::Tokens, &reservation, reservation.tokens.saturating_sub(used.tokens));
            count.add_tokens(slot, reservation.sequence, used.tokens.saturating_sub(reservation.tokens));
            used.money
        });
    }

    /// Undoes a reservation.
    #[allow(clippy::needless_pass_by_value, reason = "a reservation ends once")]
    pub(super) fn give_back(&self, reservation: LocalReservation) {
        let mut table = self.table();
        table.close(&reservation, |count| {
            count.take_back(Counted::Tokens, &reservation, reservation.tokens);
            count.take_back(Counted::Requests, &reservation, reservation.requests);
            PicoUsd::ZERO
        });
    }

    /// How much is left to the scopes of a reservation.
    pub(super) fn rate_limits(&self, reservation: &LocalReservation, scopes: &[Limits], now: Now) -> RateLimitStatus {
        let mut table = self.table();
        let slot = table.present(now);
        let mut rate_limits = RateLimitStatus::default();
        for (&id, limits) in reservation.counts.iter().zip(scopes) {
            let Some(count) = table.counts.get_mut(id) else { continue };
            count.advance_windows(slot);
            let long = if limits.has_long() { &Rate::LONG[..] } else { &[] };
            for rate in Rate::PER_MINUTE.iter().chain(long) {
                let Some(window) = count.window(*rate) else { continue };
                let quota = match rate.of {
                    Counted::Requests => &mut rate_limits.requests,
                    Counted::Tokens => &mut rate_limits.tokens,
                };
                tighten(quota, rate.limit(limits), window, now);
            }
        }
        rate_limits
    }

    /// What is spent and reserved of a budget in the present period.
    pub(crate) fn spending(&self, account: &Account, budget: &Budget, now: Now) -> Spending {
        let table = self.table();
        let count = table.index.get(account).and_then(|&id| table.counts.get(id));
        let balance = count.and_then(|count| count.balances.iter().find(|balance| balance.is_for(budget, now.wall)));
        if let Some(balance) = balance {
            return Spending { taken: balance.taken, ends: budget.ends(balance.end, now.wall) };
        }
        let period = stretch(budget, now.wall);
        let taken = count.map_or(PicoUsd::ZERO, |count| count.carried(period.start, now.wall).taken);
        Spending { taken, ends: period.end }
    }

    /// The sums of open reservations.
    pub(super) fn open(&self) -> Open {
        self.table().open
    }
}

impl Table {
    fn id(&mut self, account: &Account) -> usize {
        if let Some(&id) = self.index.get(account) {
            return id;
        }
        let id = self.counts.insert(Count::new(account.clone()));
        self.index.insert(account.clone(), id);
        self.by_user.began(account);
        id
    }

    /// The second of a moment, or the newest one there was.
    fn present(&mut self, now: Now) -> u64 {
        self.slot = self.slot.max(second_of(now.elapsed));
        self.slot
    }

    /// Ends a reservation in every scope; `undo` corrects the windows and returns the money that stays booked.
    fn close(&mut self, reservation: &LocalReservation, mut undo: impl FnMut(&mut Count) -> PicoUsd) {
        for &id in &reservation.counts {
            let Some(count) = self.counts.get_mut(id) else { continue };
            count.parallel = count.parallel.saturating_sub(1);
            let booked = undo(count);
            // A call belongs to the period in which it was admitted. In a later one nothing was reserved for it.
            for balance in count.balances.iter_mut().filter(|balance| balance.since < reservation.sequence) {
                balance.taken = balance.taken.minus(reservation.money).plus(booked);
                balance.booked = balance.booked.plus(booked);
            }
        }
        if reservation.is_call {
            self.open.calls = self.open.calls.saturating_sub(1);
            self.open.tokens = self.open.tokens.saturating_sub(reservation.tokens);
            self.open.money = self.open.money.minus(reservation.money);
        }
    }

    /// Drops the counts that say nothing, a slice of them at a time: no call under way, empty windows, no money spent in the present
    /// period.
    fn sweep(&mut self, now: Now) {
        let slot = self.present(now);
        for _ in 0..self.pace.slice(self.counts.capacity(), now.elapsed) {
            let at = self.cursor;
            self.cursor = if at + 1 < self.counts.capacity() { at + 1 } else { 0 };
            let Some(count) = self.counts.get_mut(at) else { continue };
            if count.is_idle(slot, now.wall) {
                let Count { account, .. } = self.counts.remove(at);
                self.index.remove(&account);
                self.by_user.ended(&account);
            }
        }
        let Self { users, by_user, .. } = self;
        users.sweep(now.elapsed, |_, user| by_user.has(user));
    }
}

#[cfg(test)]
mod tests;
