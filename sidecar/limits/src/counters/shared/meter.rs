//! How much is used in a second: what the next lease is sized by.

use std::time::Duration;

/// Amounts of the present second and the one before it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Meter {
    second: u64,
    present: u64,
    last: u64,
}

impl Meter {
    fn advance(&mut self, now: Duration) {
        let second = now.as_secs();
        if second != self.second {
            self.last = if second == self.second + 1 { self.present } else { 0 };
            self.present = 0;
            self.second = second;
        }
    }

    pub(super) fn add(&mut self, now: Duration, amount: u64) {
        self.advance(now);
        self.present = self.present.saturating_add(amount);
    }

    /// The use in a second of late.
    pub(super) fn rate(mut self, now: Duration) -> u64 {
        self.advance(now);
        self.present.max(self.last)
    }
}
