//! What is counted for one account: its windows, its calls under way, and its money.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use vectoll_config::{PicoUsd, Stretch, is_calendars, stretch, v1::Budget};

use super::LocalReservation;
use crate::{
    counters::{Account, Denial, Exhausted, Quota, ReserveRequest, Retry, Scope, window::Window},
    store::protocol::{Counted, Per, Rate},
};
use vectoll_clock::Now;
use vectoll_ledger::charge::BudgetPeriod;

/// Ways of setting a budget that are remembered at once.
const MAX_BUDGETS: usize = 32;

#[derive(Debug)]
pub(super) struct Count {
    pub(super) account: Account,
    pub(super) requests: Window,
    pub(super) tokens: Window,
    /// Those of hours and days that are limited, or were.
    pub(super) long: Vec<LongWindow>,
    pub(super) parallel: u64,
    /// One for each way that the budget was set lately (it may change while calls run): all of them are kept up.
    pub(super) balances: Vec<BudgetBalance>,
}

/// What was admitted in an hour or a day. It is counted only where a limit asks for it.
#[derive(Debug)]
pub(super) struct LongWindow {
    pub(super) rate: Rate,
    pub(super) window: Window,
    /// It holds the reservations that came after this one in the table's sequence.
    pub(super) since: u64,
}

/// Money spent in one period of one budget.
#[derive(Debug)]
pub(super) struct BudgetBalance {
    /// Which period of which budget.
    pub(super) charge: Arc<BudgetPeriod>,
    pub(super) end: Option<Timestamp>,
    /// Booked and reserved together: what the limit is held against.
    pub(super) taken: PicoUsd,
    /// The part of it that is settled: what outlives the process.
    pub(super) booked: PicoUsd,
    /// It holds the reservations that came after this one in the table's sequence.
    pub(super) since: u64,
    /// Whether its period begins by the calendar, and not by a reset.
    is_calendars: bool,
    /// The last reservation that it was looked at for.
    used: u64,
}

impl BudgetBalance {
    pub(super) fn new(
        charge: Arc<BudgetPeriod>,
        end: Option<Timestamp>,
        CarriedOver { taken, since, booked }: CarriedOver,
    ) -> Self {
        let is_calendars = is_calendars(charge.period, &charge.zone, charge.start);
        Self { charge, end, taken, booked, since, is_calendars, used: since }
    }

    fn is_of(&self, budget: &Budget) -> bool {
        self.charge.period == budget.period && self.charge.zone == budget.time_zone
    }

    /// Whether it is what counts of a budget at a moment: its period is not over, nor was it reset meanwhile.
    pub(super) fn is_for(&self, budget: &Budget, wall: Timestamp) -> bool {
        self.is_of(budget) && !self.is_over(wall) && budget.counts_since(self.charge.start, self.is_calendars, wall)
    }

    /// Whether a moment lies in the period.
    pub(super) fn covers(&self, wall: Timestamp) -> bool {
        self.charge.start <= wall && !self.is_over(wall)
    }

    pub(super) fn is_over(&self, wall: Timestamp) -> bool {
        self.end.is_some_and(|end| end <= wall)
    }
}

/// What a balance hands on to another one of its account. Compared in this order: the most that was taken decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CarriedOver {
    pub(super) taken: PicoUsd,
    pub(super) since: u64,
    pub(super) booked: PicoUsd,
}

impl Count {
    pub(super) fn new(account: Account) -> Self {
        Self {
            account,
            requests: Window::default(),
            tokens: Window::default(),
            long: Vec::new(),
            parallel: 0,
            balances: Vec::new(),
        }
    }

    /// Whether it says nothing.
    pub(super) fn is_idle(&mut self, second: u64, wall: Timestamp) -> bool {
        self.advance_windows(second);
        self.parallel == 0
            && self.has_empty_windows()
            && self.balances.iter().all(|balance| balance.taken == PicoUsd::ZERO || balance.is_over(wall))
    }

    /// Brings windows and periods up to the present.
    pub(super) fn advance(&mut self, second: u64, scope: &Scope<'_>, wall: Timestamp, since: u64) {
        self.advance_windows(second);
        if scope.limits.has_long() {
            for rate in Rate::LONG.into_iter().filter(|rate| rate.limit(&scope.limits).is_some()) {
                if self.long.iter().all(|long| long.rate != rate) {
                    self.long.push(LongWindow { rate, window: Window::of(rate.per), since });
                }
            }
        }
        // A budget that was taken away keeps its count: put back within the period, it goes on where it was.
        for budget in scope.budgets {
            self.open(&scope.account, budget, wall, since);
        }
    }

    pub(super) fn advance_windows(&mut self, second: u64) {
        self.requests.advance(second);
        self.tokens.advance(second);
        for LongWindow { window, .. } in &mut self.long {
            window.advance(window.slot(second));
        }
    }

    /// Counts what is admitted.
    pub(super) fn admit(&mut self, second: u64, ask: &ReserveRequest<'_>) {
        self.requests.add(second, ask.requests);
        self.tokens.add(second, ask.tokens);
        for LongWindow { rate, window, .. } in &mut self.long {
            window.add(window.slot(second), ask.of(*rate));
        }
    }

    /// Takes back a part of a reservation that was not used, from where it was counted.
    pub(super) fn take_back(&mut self, of: Counted, reservation: &LocalReservation, amount: u64) {
        let LocalReservation { slot: second, sequence, .. } = reservation;
        match of {
            Counted::Requests => self.requests.take_back(*second, amount),
            Counted::Tokens => self.tokens.take_back(*second, amount),
        };
        for long in self.long.iter_mut().filter(|long| long.rate.of == of && long.since < *sequence) {
            long.window.take_back(long.window.slot(*second), amount);
        }
    }

    /// Counts tokens beyond those that were reserved: a debt, which counts from now on.
    pub(super) fn add_tokens(&mut self, second: u64, sequence: u64, amount: u64) {
        self.tokens.add(second, amount);
        for long in self.long.iter_mut().filter(|long| long.rate.of == Counted::Tokens && long.since < sequence) {
            long.window.add(long.window.slot(second), amount);
        }
    }

    /// Whether no window holds anything. Those of hours and days that hold nothing go.
    pub(super) fn has_empty_windows(&mut self) -> bool {
        self.long.retain(|long| !long.window.is_empty());
        self.requests.is_empty() && self.tokens.is_empty() && self.long.is_empty()
    }

    /// The window of a rate, if it is counted.
    pub(super) fn window(&self, rate: Rate) -> Option<&Window> {
        match (rate.of, rate.per) {
            (Counted::Requests, Per::Minute) => Some(&self.requests),
            (Counted::Tokens, Per::Minute) => Some(&self.tokens),
            (_, Per::Hour | Per::Day) => self.long.iter().find(|long| long.rate == rate).map(|long| &long.window),
        }
    }

    /// Sees to a balance for the budget's period that a moment lies in.
    pub(super) fn open(&mut self, account: &Account, budget: &Budget, wall: Timestamp, since: u64) {
        if let Some(balance) = self.balances.iter_mut().find(|balance| balance.is_for(budget, wall)) {
            balance.used = since;
            return;
        }
        let Some(account) = account.payer() else { return };
        let Stretch { start, end } = stretch(budget, wall);
        let carried = self.carried(start, wall);
        let (taken, booked, since) = match carried.taken {
            PicoUsd::ZERO => (PicoUsd::ZERO, PicoUsd::ZERO, since),
            taken => (taken, carried.booked, carried.since),
        };
        // What an earlier reset began counts no more. What the calendar began is kept up: the reset may be taken back.
        let is_past =
            |balance: &BudgetBalance| balance.is_of(budget) && !balance.is_calendars && balance.charge.start < start;
        self.balances.retain(|balance| !balance.is_over(wall) && !is_past(balance));
        if self.balances.len() >= MAX_BUDGETS
            && let Some((at, _)) = self.balances.iter().enumerate().min_by_key(|(_, balance)| balance.used)
        {
            self.balances.remove(at);
        }
        let charge = BudgetPeriod { account, period: budget.period, zone: budget.time_zone.clone(), start };
        self.balances.push(BudgetBalance::new(Arc::new(charge), end, CarriedOver { taken, since, booked }));
    }

    /// What a period that begins at `start` inherits: the most that was taken in a period within it. A budget whose
    /// period or time zone is edited does not begin at nothing.
    pub(super) fn carried(&self, start: Timestamp, wall: Timestamp) -> CarriedOver {
        self.balances
            .iter()
            .filter(|balance| balance.charge.start >= start && !balance.is_over(wall))
            .map(|balance| CarriedOver { taken: balance.taken, since: balance.since, booked: balance.booked })
            .max()
            .unwrap_or_default()
    }

    /// Everything that stands against a call in this scope.
    pub(super) fn refusals<'a>(
        &'a self,
        scope: &'a Scope<'a>,
        ask: &'a ReserveRequest<'a>,
        now: Now,
    ) -> impl Iterator<Item = Denial> + 'a {
        let denial = |exhausted, limit, used, retry| Denial { scope: 0, exhausted, limit, used, retry };
        let of_rate = move |rate: Rate| {
            let limit = rate.limit(&scope.limits).filter(|_| !scope.waived.has_rate(rate))?;
            let window = self.window(rate)?;
            let retry = match window.wait(now.elapsed, limit, ask.of(rate)) {
                Some(Duration::ZERO) => return None,
                Some(wait) => Retry::After(wait),
                None => Retry::Never,
            };
            Some(denial(Exhausted::Rate(rate), limit, window.sum(), retry))
        };
        let long = if scope.limits.has_long() { &Rate::LONG[..] } else { &[] };
        let rates = Rate::PER_MINUTE.into_iter().chain(long.iter().copied()).filter_map(of_rate);
        let parallel = scope
            .limits
            .parallel_requests
            .filter(|&limit| self.parallel >= limit && !scope.waived.has_parallel())
            .map(|limit| denial(Exhausted::Parallel, limit, self.parallel, Retry::WhenFree));
        // A call that cannot cost anything needs no money, also where more was spent than the budget.
        let budgets = scope.budgets.iter().enumerate().filter(|_| ask.money > PicoUsd::ZERO);
        let budgets = budgets.filter(|(place, _)| !scope.waived.has_budget(*place));
        let budgets = budgets.filter_map(move |(place, budget)| {
            let balance = self.balances.iter().find(|balance| balance.is_for(budget, now.wall))?;
            let limit = budget.limit_at(now.wall);
            if balance.taken.plus(ask.money) <= limit {
                return None;
            }
            let retry = match budget.ends(balance.end, now.wall) {
                Some(end) if ask.money <= limit => {
                    Retry::After(Duration::try_from(end.duration_since(now.wall)).unwrap_or_default())
                }
                Some(_) | None => Retry::Never,
            };
            Some(denial(Exhausted::Budget(place), limit.pico(), balance.taken.pico(), retry))
        });
        rates.chain(parallel).chain(budgets)
    }
}

/// Takes the tighter one of two quotas.
pub(super) fn tighten(quota: &mut Option<Quota>, limit: Option<u64>, window: &Window, now: Now) {
    let Some(limit) = limit else { return };
    let remaining = limit.saturating_sub(window.sum());
    if quota.is_none_or(|tightest| remaining < tightest.remaining) {
        *quota = Some(Quota { limit, remaining, reset: window.reset(now.elapsed), per: window.per() });
    }
}
