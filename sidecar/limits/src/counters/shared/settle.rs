//! The ends of reservations: what was not used goes back to where it came from, and what was spent is owed to the store.

use std::{sync::Arc, time::Duration};

use vectoll_config::PicoUsd;

use super::{
    SharedReservation,
    budget_balance::BudgetBalance,
    holding::{Holding, Taken},
    pool::{Part, Source},
    rates::signed,
    session::Session,
};
use crate::{
    counters::Account,
    store::protocol::{Counted, Rate},
};
use vectoll_clock::Now;
use vectoll_ledger::{charge::BudgetPeriod, used::Used};

impl Session {
    /// Replaces a reservation by what was used. `number`: the settlement's, by which the store is told of the spend.
    pub(crate) fn settle(&mut self, reservation: SharedReservation, used: Used, number: u64, now: Now) {
        let unused = reservation.tokens.saturating_sub(used.tokens);
        let beyond = used.tokens.saturating_sub(reservation.tokens);
        let (_, second) = self.link.time(now);
        self.close(&reservation);
        let upto = self.link.spent_to;
        for taken in reservation.taken {
            self.return_taken(&taken, |rate| if rate.of == Counted::Tokens { unused } else { 0 });
            if beyond > 0 {
                self.owe_tokens(&taken, beyond, second, now);
            }
            let Some(holding) = self.holdings.get_mut(taken.holding) else { continue };
            for charge in &taken.charges {
                let balance = holding.balances.iter_mut().find(|balance| Arc::ptr_eq(&balance.charge, charge));
                let Some(balance) = balance else { continue };
                balance.settle(reservation.money, used.money);
                if number > upto {
                    balance.owe(number, used.money);
                }
            }
        }
    }

    /// Spend of an earlier process of this sidecar that the store may not know yet: it is held back until it does.
    pub(crate) fn owe(&mut self, charge: &Arc<BudgetPeriod>, number: u64, spent: PicoUsd) {
        let account = Account::from(&charge.account);
        let at = self.holdings.place_of(&account).unwrap_or_else(|| self.holdings.insert(&account));
        let Some(holding) = self.holdings.get_mut(at) else { return };
        let place = holding.balances.iter().position(|balance| balance.charge == *charge).unwrap_or_else(|| {
            holding.balances.push(BudgetBalance::new(charge.clone(), Duration::ZERO));
            holding.balances.len() - 1
        });
        if let Some(balance) = holding.balances.get_mut(place) {
            balance.in_store = None;
            balance.owe(number, spent);
        }
    }

    /// Whether something is held, or not told yet.
    pub(crate) fn has_more_to_say(&self) -> bool {
        let is_open = |holding: &Holding| {
            holding.slots.in_store != Some(0)
                || holding.balances.iter().any(|balance| !balance.is_idle())
                || holding.pools().any(|(_, pool)| !pool.is_empty())
        };
        self.link.flight.is_some()
            || self.link.doubt.is_some()
            || self.link.spend_waits
            || !self.pending.is_empty()
            || self.holdings.dirty().any(|(_, holding)| is_open(holding))
    }

    /// Lets go of everything that no call has.
    pub(crate) fn let_go(&mut self, now: Now) {
        self.end_chunks(now.elapsed, true);
        self.holdings.for_dirty(|_, holding| {
            holding.slots.held = holding.slots.held.min(holding.slots.used);
            for balance in &mut holding.balances {
                balance.free = PicoUsd::ZERO;
            }
        });
        self.link.soon = true;
    }

    /// Ends leases of windows that are over, or all of them: what is left of them is taken out of the windows.
    pub(super) fn end_chunks(&mut self, now: Duration, all: bool) {
        let mut ended = Vec::new();
        self.holdings.for_dirty(|_, holding| {
            let name = holding.name.clone();
            for (rate, pool) in holding.pools_mut() {
                let over = pool.end(now, all);
                ended.extend(over.into_iter().map(|(slot, left)| (name.clone(), rate, slot, left)));
            }
        });
        for (name, rate, slot, left) in ended {
            self.correct(&name, rate, slot, -signed(left));
        }
    }

    /// Undoes a reservation: the call was never made.
    pub(crate) fn give_back(&mut self, reservation: SharedReservation) {
        self.close(&reservation);
        for taken in reservation.taken {
            self.return_taken(&taken, |rate| match rate.of {
                Counted::Requests => reservation.requests,
                Counted::Tokens => reservation.tokens,
            });
            let Some(holding) = self.holdings.get_mut(taken.holding) else { continue };
            for charge in &taken.charges {
                let balance = holding.balances.iter_mut().find(|balance| Arc::ptr_eq(&balance.charge, charge));
                if let Some(balance) = balance {
                    balance.settle(reservation.money, PicoUsd::ZERO);
                }
            }
        }
    }

    fn close(&mut self, reservation: &SharedReservation) {
        for taken in &reservation.taken {
            if let Some(holding) = self.holdings.get_mut(taken.holding) {
                holding.slots.end();
                holding.open = holding.open.saturating_sub(1);
            }
        }
        self.open.calls = self.open.calls.saturating_sub(1);
        self.open.tokens = self.open.tokens.saturating_sub(reservation.tokens);
        self.open.money = self.open.money.minus(reservation.money);
    }

    /// Returns a part of what was taken of each rate.
    fn return_taken(&mut self, taken: &Taken, amount: impl Fn(Rate) -> u64) {
        for (rate, parts) in taken.parts() {
            self.return_parts((taken.holding, taken.second), rate, parts, amount(rate));
        }
    }

    /// Returns a part of what was taken: to its lease, or, if that is over, to the store's window.
    fn return_parts(&mut self, (at, second): (usize, u64), rate: Rate, parts: &[Part], amount: u64) {
        let mut rest = amount;
        // What was taken last comes from the leases that last longest.
        for part in parts.iter().rev() {
            let back = rest.min(part.amount);
            rest -= back;
            if back == 0 {
                continue;
            }
            let Some(holding) = self.holdings.get_mut(at) else { return };
            let name = holding.name.clone();
            let pool = holding.pool(rate);
            pool.own.take_back(pool.own.slot(second), back);
            let is_in_store = match part.source {
                Source::Lease(chunk) => !pool.give(chunk, back),
                Source::Share => true,
                // What the store was never told it need not be told to take out.
                Source::Unlimited => pool.untold.take_back(part.slot, back) == 0 && pool.limit.is_some(),
            };
            if is_in_store {
                self.correct(&name, rate, part.slot, -signed(back));
                self.link.soon = true;
            }
        }
    }

    /// More was used than had been reserved: it comes out of the leases, and what is not there is a debt.
    fn owe_tokens(&mut self, taken: &Taken, amount: u64, second: u64, now: Now) {
        for (rate, _) in taken.parts().filter(|(rate, _)| rate.of == Counted::Tokens) {
            let Some(holding) = self.holdings.get_mut(taken.holding) else { return };
            let name = holding.name.clone();
            let pool = holding.pool(rate);
            let slot = pool.own.slot(second);
            if pool.limit.is_none() {
                pool.take_from(Source::Unlimited, amount, now.elapsed, slot);
                continue;
            }
            let leased = pool.available(now.elapsed).min(amount);
            pool.take(leased, now.elapsed, slot);
            let debt = amount - leased;
            if debt > 0 {
                pool.take_from(Source::Share, debt, now.elapsed, slot);
                self.correct(&name, rate, slot, signed(debt));
            }
        }
    }
}
