//! Parallel requests of one account that this sidecar has claimed.

use std::time::Duration;

/// Claims. They last as long as they are renewed.
#[derive(Debug)]
pub(super) struct Slots {
    /// Claimed in the store.
    pub(super) held: u64,
    /// In use by calls.
    pub(super) used: u64,
    /// How many the store knows of; none: that is in doubt.
    pub(super) told: Option<u64>,
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
            told: Some(0),
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
            self.held = self.held.min(self.used);
        }
    }

    /// Lets go of what is not used: all but a little while calls come, everything a while after the last one.
    pub(super) fn let_go(&mut self, now: Duration, after: Duration) {
        let spare = if now.saturating_sub(self.touched) < after { self.used / 2 + 1 } else { 0 };
        self.held = self.held.min(self.used + spare);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.held == 0 && self.used == 0 && self.told == Some(0) && self.waiting == 0
    }
}
