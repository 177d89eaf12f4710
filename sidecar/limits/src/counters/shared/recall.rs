//! What a former process admitted counts in the sessions of this one.

use jiff::Timestamp;

use super::{
    recalled::{Admission, Admissions},
    session::Session,
};
use crate::{
    counters::Account,
    store::protocol::{Rate, SPAN},
};
use vectoll_clock::Now;

impl Session {
    /// Takes up what a former process admitted. It counts from the store's first answer on: windows go by the store's clock, and
    /// nobody has a share before.
    pub(super) fn recall(&mut self, admissions: Admissions) {
        self.recalled = Some(admissions);
    }

    /// Counts what a former process admitted, in all accounts that there are.
    pub(super) fn count_recalled(&mut self, now: Now) {
        if self.recalled.is_some() {
            let all: Vec<(Account, usize)> =
                self.holdings.accounts().map(|(account, at)| (account.clone(), at)).collect();
            for (account, at) in all {
                self.count_recalled_of(&account, at, now);
            }
        }
    }

    /// The same in one account, which nothing was recalled in before.
    pub(super) fn count_recalled_of(&mut self, account: &Account, at: usize, now: Now) {
        let (store_ms, slot) = self.link.time(now);
        let Some(recalled) = self.recalled.as_ref().filter(|_| self.link.knows_time()) else { return };
        let Some(holding) = self.holdings.get_mut(at) else { return };
        // Those of hours and days began with this process: how much of a share is left of them is not known from before.
        for rate in Rate::PER_MINUTE {
            let own = &mut holding.pool(rate).own;
            for (second, amount) in recalled.of(account, rate) {
                // The end of the second in which it was admitted, by the store's clock.
                let ago = ago(now.wall, second);
                let of = (store_ms.saturating_sub(ago) / 1000).min(slot);
                if of + SPAN > slot {
                    own.insert(of, amount);
                }
            }
        }
    }

    /// Forgets what was recalled as soon as it has left every window.
    pub(super) fn forget_recalled(&mut self, now: Now) {
        let is_over = |admission: &Admission| ago(now.wall, admission.second) > (SPAN + 1) * 1000;
        if self.recalled.as_ref().is_some_and(|recalled| recalled.0.keys().all(is_over)) {
            self.recalled = None;
        }
    }
}

/// Milliseconds since the end of a second; none since one that is not over.
fn ago(now: Timestamp, second: i64) -> u64 {
    u64::try_from(now.as_millisecond().saturating_sub(second.saturating_add(1).saturating_mul(1000)))
        .unwrap_or_default()
}
