//! Whether a call fits into what is leased, claimed and held.

use std::time::Duration;

use vectoll_config::PicoUsd;

use super::{
    budget_balance::BudgetBalance,
    holding::Holding,
    names::at_ms,
    pool::Pool,
    rates::{rates_with, retry_at, signed},
    session::Session,
    waiter::{Short, Shortage},
};
use crate::{
    counters::{Denial, Exhausted, ReserveRequest, Retry, longest_denial::LongestDenial},
    store::protocol::Rate,
};
use vectoll_clock::Now;

/// How a call stands with what is there.
pub(super) enum Weighed {
    Fits,
    Short(Vec<Shortage>),
    Denied(Denial),
}

/// What was found in the scopes so far.
struct Scales {
    now: Duration,
    /// The second of this moment, by the store's time.
    second: u64,
    /// Whether claims of parallel requests hold.
    claims_hold: bool,
    /// Nobody who waits is overtaken.
    in_turn: bool,
    /// The scope that is looked at: its place in the call, and its holding.
    place: usize,
    at: usize,
    shortages: Vec<Shortage>,
    worst: LongestDenial,
}

impl Session {
    /// Holds a call against what is there. `in_turn`: nobody who waits is overtaken.
    pub(super) fn weigh(&mut self, ask: &ReserveRequest<'_>, now: Now, in_turn: bool) -> Weighed {
        let (store_ms, second) = self.link.time(now);
        let claims_hold = self.link.claims_hold(now.elapsed);
        let (shortages, worst) = (Vec::new(), LongestDenial::default());
        let mut scales = Scales { now: now.elapsed, second, claims_hold, in_turn, place: 0, at: 0, shortages, worst };
        for (place, scope) in ask.scopes.iter().enumerate() {
            let at = self.holding_of(&scope.account, now);
            (scales.place, scales.at) = (place, at);
            let had_long = self.holdings.get(at).is_some_and(|holding| !holding.long.is_empty());
            for rate in rates_with(had_long || scope.limits.has_long()) {
                let limit = rate.limit(&scope.limits);
                self.follow(at, rate, limit);
                let Some(limit) = limit.filter(|_| !scope.waived.has_rate(rate)) else { continue };
                let Some(holding) = self.holdings.get_mut(at) else { continue };
                scales.weigh_rate(holding.pool(rate), rate, ask.of(rate), limit);
            }
            let Some(holding) = self.holdings.get_mut(at) else { continue };
            holding.slots.follow(scope.limits.parallel_requests);
            if let Some(limit) = scope.limits.parallel_requests.filter(|_| !scope.waived.has_parallel()) {
                scales.weigh_parallel(holding, limit);
            }
            let budgets = scope.budgets.iter().enumerate().filter(|_| ask.money > PicoUsd::ZERO);
            for (budget_at, budget) in budgets.filter(|(place, _)| !scope.waived.has_budget(*place)) {
                let balance_at = holding.balance(&scope.account, budget, store_ms, now.elapsed);
                if let Some(balance) = holding.balances.get_mut(balance_at) {
                    balance.reset = budget.reset_at.and_then(|at| u64::try_from(at.as_millisecond()).ok());
                    balance.reset = balance.reset.filter(|reset| *reset > store_ms);
                    scales.weigh_money(balance, (budget_at, balance_at), ask.money, budget.limit_at(at_ms(store_ms)));
                }
            }
        }
        let Scales { shortages, worst, .. } = scales;
        match worst.into_denial() {
            Some(denial) => Weighed::Denied(denial),
            None if shortages.is_empty() => Weighed::Fits,
            None => Weighed::Short(shortages),
        }
    }

    /// Goes with a limit that was set, changed or taken away.
    fn follow(&mut self, at: usize, rate: Rate, limit: Option<u64>) {
        let Some(holding) = self.holdings.get_mut(at) else { return };
        if holding.present_pool(rate).and_then(|pool| pool.limit) == limit {
            return;
        }
        let pool = holding.pool(rate);
        let was = std::mem::replace(&mut pool.limit, limit);
        let mut changes: Vec<(u64, i64)> = Vec::new();
        if was.is_some() {
            // What was had under another limit is no longer good.
            changes.extend(pool.end(Duration::MAX, true).into_iter().map(|(slot, left)| (slot, -signed(left))));
            pool.refused = None;
        } else {
            changes.extend(pool.untold.drain().map(|(slot, amount)| (slot, signed(amount))));
        }
        let name = holding.name.clone();
        for (slot, amount) in changes {
            self.correct(&name, rate, slot, amount);
        }
    }
}

impl Scales {
    fn weigh_rate(&mut self, pool: &mut Pool, rate: Rate, need: u64, limit: u64) {
        let denial = |used, retry| Denial { scope: self.place, exhausted: Exhausted::Rate(rate), limit, used, retry };
        if need > limit {
            pool.own.advance(pool.own.slot(self.second));
            self.worst.add(denial(pool.own.sum(), Retry::Never));
            return;
        }
        let available = pool.available(self.now);
        if need <= available && !(self.in_turn && pool.waiting > 0) {
            return;
        }
        match pool.refused.filter(|refused| refused.limit == limit && self.now < refused.until) {
            Some(refused) if need.saturating_sub(available) >= refused.amount => {
                self.worst.add(denial(refused.taken, retry_at(refused.room_at, self.now)));
            }
            Some(_) | None => self.short(Short::Rate(rate), 0, need, limit),
        }
    }

    fn weigh_parallel(&mut self, holding: &Holding, limit: u64) {
        let slots = &holding.slots;
        let waits = self.in_turn && slots.waiting > 0;
        if slots.available(self.claims_hold) > 0 && !waits {
            return;
        }
        if self.now < slots.refused_until && slots.used > 0 {
            let (exhausted, retry) = (Exhausted::Parallel, Retry::WhenFree);
            self.worst.add(Denial { scope: self.place, exhausted, limit, used: limit, retry });
        } else {
            self.short(Short::Parallel, 0, 1, limit);
        }
    }

    /// `budget`: its place in the scope. `balance_at`: that of its balance.
    fn weigh_money(
        &mut self,
        balance: &mut BudgetBalance,
        (budget, balance_at): (usize, usize),
        money: PicoUsd,
        limit: PicoUsd,
    ) {
        if balance.limit.is_some_and(|had| limit < had) {
            // Less is to be spent than when this money was had: ask again.
            balance.free = PicoUsd::ZERO;
        }
        balance.limit = Some(limit);
        let used = balance.taken.unwrap_or_default().pico();
        let denial = |retry| {
            let (scope, exhausted) = (self.place, Exhausted::Budget(budget));
            Denial { scope, exhausted, limit: limit.pico(), used, retry }
        };
        if money > limit {
            self.worst.add(denial(Retry::Never));
        } else if let Some((amount, of, until, ends)) = balance.refused
            && (of, balance.free < amount) == (limit, true)
            && money.minus(balance.free) >= amount
            && self.now < until
        {
            self.worst.add(denial(ends.map_or(Retry::Never, |ends| Retry::After(ends.saturating_sub(self.now)))));
        } else if balance.free < money || (self.in_turn && balance.waiting > 0) {
            self.short(Short::Money(balance_at), budget, money.pico(), limit.pico());
        }
    }

    fn short(&mut self, of: Short, budget: usize, need: u64, limit: u64) {
        self.shortages.push(Shortage { scope: self.place, holding: self.at, of, budget, need, limit });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use jiff::Timestamp;
    use vectoll_config::{
        Uid, ZoneName,
        v1::{Budget, Limits, OnStoreFailure, Period},
    };

    use super::*;
    use crate::{
        counters::{
            Account, Scope,
            shared::{Batch, TERMS, admit::Reserved},
        },
        store::{Model, Server, protocol::Identity},
    };

    #[test]
    fn claims_that_were_not_renewed_for_ten_seconds_let_nobody_through() {
        let (mut session, mut store) = (Session::new(TERMS), Model::default());
        let identity = Identity { sidecar: "a".into(), epoch: 1 };
        let team = Uid::new("team");
        let limits = Limits { parallel_requests: Some(4), ..Limits::default() };
        let scopes = [Scope::new(Account::Team(team.clone()), limits, &[])];
        let (tokens, money) = (1, PicoUsd::ZERO);
        let ask = ReserveRequest {
            team: &team,
            scopes: &scopes,
            requests: 1,
            tokens,
            money,
            on_store_failure: OnStoreFailure::Closed,
        };
        let at = |ms: u64| Now {
            elapsed: Duration::from_millis(ms),
            wall: Timestamp::from_millisecond(1_790_000_000_000 + i64::try_from(ms).unwrap()).unwrap(),
        };
        let Reserved::Later(mut outcome) = session.reserve(&ask, at(0)) else { panic!("nothing is claimed yet") };
        let exchange = session.exchange(Batch::default(), 0, at(0));
        let server = Server { run: "one".into(), uptime: 100, clock: 1_790_000_000_000 };
        session.reply(&identity, &store.exchange(&server, &identity, &exchange), at(1));
        // One for the call that waited, and one on top.
        outcome.try_recv().unwrap().unwrap();
        let Reserved::Now(Ok(reservation)) = session.reserve(&ask, at(9_000)) else { panic!("one more was claimed") };
        session.give_back(reservation);
        let late = session.reserve(&ask, at(11_000));
        assert!(matches!(late, Reserved::Later(_)), "the store may have given it to others");
    }

    #[test]
    fn a_reset_that_lies_ahead_is_when_to_come_back() {
        let (mut session, mut store) = (Session::new(TERMS), Model::default());
        let identity = Identity { sidecar: "a".into(), epoch: 1 };
        let team = Uid::new("team");
        let begin = 1_790_000_000_000;
        let at = |ms: u64| Now {
            elapsed: Duration::from_millis(ms),
            wall: Timestamp::from_millisecond(begin + i64::try_from(ms).unwrap()).unwrap(),
        };
        let zone = ZoneName::try_from("UTC".to_owned()).unwrap();
        let whole = Budget::new(PicoUsd::new(10), Period::Total, zone);
        let reset = Budget { reset_at: Some(at(60_000).wall), ..whole.clone() };
        let mut now = 0;
        let mut ask = |budget: &Budget, money| {
            let budgets = [budget.clone()];
            let scopes = [Scope::new(Account::Team(team.clone()), Limits::default(), &budgets)];
            let ask = ReserveRequest {
                team: &team,
                scopes: &scopes,
                requests: 1,
                tokens: 1,
                money: PicoUsd::new(money),
                on_store_failure: OnStoreFailure::Closed,
            };
            now += 1_000;
            let mut outcome = match session.reserve(&ask, at(now)) {
                Reserved::Now(outcome) => return outcome.map(|_| ()).map_err(|denial| denial.retry),
                Reserved::Later(outcome) => outcome,
            };
            let exchange = session.exchange(Batch::default(), 0, at(now));
            let clock = u64::try_from(begin).unwrap() + now;
            let server = Server { run: "one".into(), uptime: 100, clock };
            session.reply(&identity, &store.exchange(&server, &identity, &exchange), at(now));
            outcome.try_recv().unwrap().map(|_| ()).map_err(|denial| denial.retry)
        };
        assert_eq!(ask(&whole, 10), Ok(()));
        assert_eq!(ask(&whole, 5), Err(Retry::Never), "all is spent, for good");
        assert_eq!(ask(&reset, 5), Err(Retry::After(Duration::from_secs(57))), "until it is reset");
        assert_eq!(ask(&reset, 11), Err(Retry::Never), "it never fits");
    }
}
