//! Parallel requests of one account that this sidecar has claimed.

use std::time::Duration;

/// Claims. They last as long as they are renewed.
#[derive(Debug)]
pub(super) struct Slots {
    /// Claimed in the store.
    pub(super) held: u64,
    /// In use by calls.
    pub(super) used: u64,
    /// Of those in use: what the store has not granted under the present limit. It was claimed under another one, without
    /// asking, or had lapsed. Each goes when a call ends: no other has it next.
    surplus: u64,
    /// How many the store knows of; none: that is in doubt.
    pub(super) in_store: Option<u64>,
    pub(super) touched: Duration,
    pub(super) waiting: u32,
    pub(super) refused_until: Duration,
    /// The limit; none: nothing is claimed.
    pub(super) limit: Option<u64>,
}

impl Default for Slots {
    fn default() -> Self {
        Self {
            held: 0,
            used: 0,
            surplus: 0,
            in_store: Some(0),
            touched: Duration::ZERO,
            waiting: 0,
            refused_until: Duration::ZERO,
            limit: None,
        }
    }
}

impl Slots {
    /// What can be taken; `valid`: the claims were renewed lately.
    pub(super) fn available(&self, valid: bool) -> u64 {
        if valid { self.held.saturating_sub(self.used) } else { 0 }
    }

    /// Goes with a limit that was changed: what was claimed under a higher one is not to be had any more.
    pub(super) fn follow(&mut self, limit: Option<u64>) {
        if self.limit != limit {
            self.limit = limit;
            self.lapse();
        }
    }

    /// What is claimed is good for the calls that have it, and for no others.
    fn lapse(&mut self) {
        self.held = self.held.min(self.used);
        self.surplus = self.held;
    }

    /// A call begins.
    pub(super) fn begin(&mut self, now: Duration) {
        self.used += 1;
        self.touched = now;
    }

    /// A call ends.
    pub(super) fn end(&mut self) {
        self.used = self.used.saturating_sub(1);
        if self.surplus > 0 {
            self.surplus -= 1;
            self.held = self.held.saturating_sub(1);
        }
    }

    /// The store has granted more, under a limit.
    pub(super) fn granted(&mut self, amount: u64, limit: u64) {
        self.held += amount;
        self.in_store = self.in_store.map(|count| count + amount);
        if self.limit != Some(limit) {
            // It was changed meanwhile.
            self.lapse();
        }
    }

    /// What is to be claimed from now on; `valid`: the claims were renewed lately. Calls that were admitted while the store was away
    /// are claimed, too.
    pub(super) fn claim(&mut self, valid: bool) -> u64 {
        if self.limit.is_none() {
            (self.held, self.surplus) = (0, 0);
            return 0;
        }
        if !valid {
            // Others may have them by now.
            self.lapse();
        }
        if self.used > self.held {
            self.surplus += self.used - self.held;
            self.held = self.used;
        }
        self.held
    }

    /// Lets go of what is not used: all but a little while calls come, everything a while after the last one.
    pub(super) fn let_go(&mut self, now: Duration, after: Duration) {
        let spare = if now.saturating_sub(self.touched) < after { self.used / 2 + 1 } else { 0 };
        self.held = self.held.min(self.used + spare);
    }

    /// Whether nothing is claimed, or would be before there is another call.
    pub(super) fn rests(&self) -> bool {
        self.held == 0 && self.in_store == Some(0) && (self.used == 0 || self.limit.is_none())
    }

    pub(super) fn is_idle(&self) -> bool {
        self.held == 0 && self.used == 0 && self.in_store == Some(0) && self.waiting == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(limit: u64, held: u64, used: u64) -> Slots {
        Slots { held, used, in_store: Some(held), limit: Some(limit), ..Slots::default() }
    }

    #[test]
    fn what_was_claimed_under_a_higher_limit_goes_with_the_calls_that_have_it() {
        let mut slots = slots(4, 4, 3);
        slots.follow(Some(1));
        assert_eq!((slots.held, slots.available(true)), (3, 0), "no more than is in use");
        slots.end();
        assert_eq!((slots.held, slots.available(true)), (2, 0), "the next call must ask");
        slots.granted(1, 1);
        assert_eq!(slots.available(true), 1);
        slots.granted(1, 4);
        assert_eq!(slots.available(true), 0, "granted under a limit that is none any more");
    }

    #[test]
    fn what_nobody_granted_goes_with_the_calls_that_have_it() {
        // Three calls by this sidecar's share, while the store was away.
        let mut slots = slots(4, 1, 1);
        for _ in 0..3 {
            slots.begin(Duration::ZERO);
        }
        assert_eq!(slots.claim(true), 4);
        for left in [3, 2, 1] {
            slots.end();
            assert_eq!((slots.held, slots.available(true)), (left, 0));
        }
        slots.end();
        assert_eq!(slots.available(true), 1, "this one was granted");
        // Not renewed for too long: others may have it.
        slots.begin(Duration::ZERO);
        assert_eq!(slots.claim(false), 1);
        slots.end();
        assert_eq!((slots.held, slots.available(true)), (0, 0));
    }
}
