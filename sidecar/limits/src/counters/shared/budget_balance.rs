//! Money of one period of one budget that this sidecar holds.

use std::{sync::Arc, time::Duration};

use vectoll_config::{PicoUsd, is_calendars, v1::Budget};

use super::{
    meter::Meter,
    names::{at_ms, period_of},
    unacknowledged_spend::UnacknowledgedSpend,
};
use crate::store::protocol::PeriodName;
use vectoll_ledger::charge::BudgetPeriod;

/// Money of one period. The store reserves for this sidecar what is free, open and unacknowledged together ([`BudgetBalance::held`]): so what
/// all sidecars have spent and may yet spend is never more than was granted.
#[derive(Debug)]
pub(super) struct BudgetBalance {
    pub(super) charge: Arc<BudgetPeriod>,
    /// Whether its period begins by the calendar, and not by a reset.
    is_calendars: bool,
    pub(super) period: PeriodName,
    /// Granted, and in no call's hands.
    pub(super) free: PicoUsd,
    /// Reserved by calls under way.
    pub(super) open: PicoUsd,
    /// Spent, and not acknowledged by the store.
    unacknowledged: UnacknowledgedSpend,
    /// What the store said is taken in all, when it was last asked.
    pub(super) taken: Option<PicoUsd>,
    /// When that was.
    pub(super) taken_at: Duration,
    /// While the store is away: the share was taken.
    pub(super) shared: bool,
    pub(super) meter: Meter,
    pub(super) touched: Duration,
    /// The hold that the store knows; none: that is in doubt.
    pub(super) in_store: Option<PicoUsd>,
    pub(super) waiting: u32,
    /// So much was too much, of this limit, until when it is believed, and when the period ends.
    pub(super) refused: Option<(PicoUsd, PicoUsd, Duration, Option<Duration>)>,
    /// The limit that was asked for last.
    pub(super) limit: Option<PicoUsd>,
    /// When its budget is to be reset, if that lies ahead, in milliseconds since 1970: no store knows of it.
    pub(super) reset: Option<u64>,
}

impl BudgetBalance {
    pub(super) fn new(charge: Arc<BudgetPeriod>, now: Duration) -> Self {
        Self {
            period: period_of(&charge),
            is_calendars: is_calendars(charge.period, &charge.zone, charge.start),
            charge,
            free: PicoUsd::ZERO,
            open: PicoUsd::ZERO,
            unacknowledged: UnacknowledgedSpend::default(),
            taken: None,
            taken_at: Duration::ZERO,
            shared: false,
            meter: Meter::default(),
            touched: now,
            in_store: Some(PicoUsd::ZERO),
            waiting: 0,
            refused: None,
            limit: None,
            reset: None,
        }
    }

    /// When its budget has room again: when the store says so, which is its period's end, or when it is reset before.
    pub(super) fn wait(&self, wait: Option<u64>, store_ms: u64) -> Option<u64> {
        let reset = self.reset.map(|reset| reset.saturating_sub(store_ms).max(1));
        wait.into_iter().chain(reset).min()
    }

    /// Whether it is what counts of a budget by the store's time: its period is not over, nor was it reset meanwhile.
    pub(super) fn is_for(&self, budget: &Budget, store_ms: u64) -> bool {
        self.charge.period == budget.period
            && self.charge.zone == budget.time_zone
            && !self.is_over(store_ms)
            && match budget.reset_at {
                // Nearly always, and for every call.
                None => self.is_calendars,
                Some(_) => budget.counts_since(self.charge.start, self.is_calendars, at_ms(store_ms)),
            }
    }

    /// Whether its period has begun, by the store's time: the machine's clock may have been ahead of it.
    pub(super) fn has_begun(&self, store_ms: u64) -> bool {
        u64::try_from(self.charge.start.as_millisecond()).unwrap_or_default() <= store_ms
    }

    /// Whether its period is over, by the store's time.
    pub(super) fn is_over(&self, store_ms: u64) -> bool {
        self.period.end.is_some_and(|end| end <= store_ms)
    }

    /// Whether there is less than half a second's use left of it.
    pub(super) fn runs_low(&self, now: Duration) -> bool {
        let rate = self.meter.rate(now);
        rate > 0 && self.free.pico() < rate / 2
    }

    /// Whether it is of use to ask what is taken, though nothing is wished for: others spend, too, and if the store goes away
    /// the rest is shared by what was known last.
    pub(super) fn is_outdated(&self, now: Duration, after: Duration) -> bool {
        now.saturating_sub(self.taken_at) >= after && self.was_used_lately(now)
    }

    fn was_used_lately(&self, now: Duration) -> bool {
        now.saturating_sub(self.touched) < Duration::from_mins(1)
    }

    /// Whether it is, or will be, of use to ask that. Its period may seem over before it is: the store's time is not known so well.
    pub(super) fn is_asked_after(&self, now: Duration) -> bool {
        self.limit.is_some() && self.was_used_lately(now)
    }

    pub(super) fn reserve(&mut self, money: PicoUsd, now: Duration) {
        self.free = self.free.minus(money);
        self.open = self.open.plus(money);
        self.meter.add(now, money.pico());
        self.touched = now;
    }

    /// A call has its end. More than it had reserved comes out of what is free; what is not there is a debt.
    pub(super) fn settle(&mut self, reserved: PicoUsd, spent: PicoUsd) {
        self.open = self.open.minus(reserved);
        self.free = if spent <= reserved {
            self.free.plus(reserved.minus(spent))
        } else {
            self.free.minus(spent.minus(reserved))
        };
    }

    /// Spend that the store is yet to be told, by the number of its settlement.
    pub(super) fn owe(&mut self, number: u64, spent: PicoUsd) {
        self.unacknowledged.add(number, spent);
    }

    /// The store has all settlements up to this one.
    pub(super) fn acknowledge(&mut self, upto: u64) {
        self.unacknowledged.acknowledge(upto);
    }

    /// What the store is to reserve for this sidecar once it has all settlements up to this one.
    pub(super) fn held(&self, upto: u64) -> PicoUsd {
        self.free.plus(self.open).plus(self.unacknowledged.beyond(upto))
    }

    /// Whether there is nothing to be told of it, and no money of it is likely to be wanted before there is another call.
    pub(super) fn rests(&self, now: Duration) -> bool {
        self.is_idle() && !self.shared && (self.limit.is_none() || self.meter.rate(now) == 0)
    }

    /// Whether nothing is under way in it.
    pub(super) fn is_idle(&self) -> bool {
        self.open == PicoUsd::ZERO
            && self.unacknowledged.is_empty()
            && self.free == PicoUsd::ZERO
            && self.waiting == 0
            && self.in_store == Some(PicoUsd::ZERO)
    }
}
