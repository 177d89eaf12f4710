//! What a sidecar may admit of one rate without asking: the leases that the store has leased to it.

use std::{collections::VecDeque, time::Duration};

use super::meter::Meter;
use crate::{counters::window::Window, store::protocol::Per};

/// A lease.
#[derive(Clone, Debug)]
pub(super) struct Lease {
    pub(super) id: u64,
    /// Where the store counts it: the slot in which it ends, by the store's clock.
    pub(super) slot: u64,
    /// When it ends, by the sidecar's own clock.
    pub(super) dead_at: Duration,
    /// What is left of it.
    pub(super) left: u64,
}

/// Where an amount was taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A lease.
    Lease(u64),
    /// This sidecar's share, while the store was away: the store is told.
    Share,
    /// Nobody's: there was no limit. The store is told if there is to be one.
    Unlimited,
}

/// What a call took, and in which slot it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) source: Source,
    pub(super) slot: u64,
    pub(super) amount: u64,
}

/// What the store said of the limit when it was last asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct StoreSnapshot {
    /// What is taken, all leases included.
    pub(super) taken: u64,
    /// When all of it has left the window.
    pub(super) reset_at: Duration,
}

/// A request that the store has refused: for a moment it need not be asked again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused {
    /// So much was too much.
    pub(super) amount: u64,
    pub(super) limit: u64,
    pub(super) taken: u64,
    /// Until when this is believed.
    pub(super) until: Duration,
    /// When there is room; none: it depends on others.
    pub(super) room_at: Option<Duration>,
}

/// Leases of one rate of one account.
#[derive(Debug)]
pub(super) struct Pool {
    leases: VecDeque<Lease>,
    /// What this sidecar has admitted, by the slots of the store's time.
    pub(super) own: Window,
    /// The part of it that the store was never told, because there was no limit.
    pub(super) untold: Window,
    pub(super) snapshot: Option<StoreSnapshot>,
    pub(super) refused: Option<Refused>,
    pub(super) meter: Meter,
    /// Calls that wait for a lease: others do not overtake them.
    pub(super) waiting: u32,
    /// The limit that the leases were had under.
    pub(super) limit: Option<u64>,
}

/// That of a minute: most limits are.
impl Default for Pool {
    fn default() -> Self {
        Self::of(Per::Minute)
    }
}

impl Pool {
    /// One of such a time.
    pub(super) fn of(per: Per) -> Self {
        Self {
            leases: VecDeque::new(),
            own: Window::of(per),
            untold: Window::of(per),
            snapshot: None,
            refused: None,
            meter: Meter::default(),
            waiting: 0,
            limit: None,
        }
    }

    /// What can be taken now.
    pub(super) fn available(&self, now: Duration) -> u64 {
        self.leases.iter().filter(|lease| lease.dead_at > now).map(|lease| lease.left).sum()
    }

    /// Notes what is admitted.
    fn admit(&mut self, amount: u64, now: Duration, slot: u64) {
        self.own.advance(slot);
        self.own.add(slot, amount);
        self.meter.add(now, amount);
    }

    /// Takes an amount that no lease is needed for.
    pub(super) fn take_from(&mut self, source: Source, amount: u64, now: Duration, slot: u64) -> Vec<Part> {
        self.admit(amount, now, slot);
        if source == Source::Unlimited {
            self.untold.advance(slot);
            self.untold.add(slot, amount);
        }
        if amount > 0 { vec![Part { source, slot, amount }] } else { Vec::new() }
    }

    /// Takes an amount that is available, of what ends first.
    pub(super) fn take(&mut self, amount: u64, now: Duration, slot: u64) -> Vec<Part> {
        self.admit(amount, now, slot);
        let mut parts = Vec::with_capacity(1);
        let mut rest = amount;
        for lease in self.leases.iter_mut().filter(|lease| lease.dead_at > now && lease.left > 0) {
            let taken = rest.min(lease.left);
            if taken > 0 {
                lease.left -= taken;
                rest -= taken;
                parts.push(Part { source: Source::Lease(lease.id), slot: lease.slot, amount: taken });
            }
        }
        parts
    }

    /// Whether there is less than half a second's use left of it, and no reason to believe that there is no more.
    pub(super) fn runs_low(&self, now: Duration) -> bool {
        let rate = self.meter.rate(now);
        rate > 0 && self.available(now) < rate / 2 && self.refused.is_none_or(|refused| refused.until <= now)
    }

    /// Takes up a lease.
    pub(super) fn put(&mut self, lease: Lease) {
        self.leases.push_back(lease);
    }

    /// Whether others are likely to want what is left over here: more than half of the limit is taken.
    fn is_tight(&self) -> bool {
        let taken = self.snapshot.map_or(0, |snapshot| snapshot.taken);
        self.limit.is_some_and(|limit| taken.saturating_mul(2) >= limit)
    }

    /// Gives back to the lease it came from. False: that one is over, or others are likely to want it.
    pub(super) fn give(&mut self, lease: u64, amount: u64) -> bool {
        if self.is_tight() && self.waiting == 0 {
            return false;
        }
        match self.leases.iter_mut().find(|open| open.id == lease) {
            Some(open) => {
                open.left += amount;
                true
            }
            None => false,
        }
    }

    /// Ends leases that are over, or all of them: where the store counts them, and what was left.
    pub(super) fn end(&mut self, now: Duration, all: bool) -> Vec<(u64, u64)> {
        let mut ended = Vec::new();
        self.leases.retain(|lease| {
            let ends = all || lease.dead_at <= now;
            if ends && lease.left > 0 {
                ended.push((lease.slot, lease.left));
            }
            !ends
        });
        ended
    }

    /// When the first of the leases ends.
    pub(super) fn next_end(&self) -> Option<Duration> {
        self.leases.iter().map(|lease| lease.dead_at).min()
    }

    /// Whether nothing is leased.
    pub(super) fn is_empty(&self) -> bool {
        self.leases.is_empty()
    }

    /// Whether it neither has leases nor is likely to want some before there is another call.
    pub(super) fn rests(&self, now: Duration) -> bool {
        self.leases.is_empty() && (self.limit.is_none() || self.meter.rate(now) == 0)
    }

    /// Whether nothing of it matters any more.
    pub(super) fn is_idle(&self) -> bool {
        self.leases.is_empty() && self.own.is_empty() && self.waiting == 0
    }
}
