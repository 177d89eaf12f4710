//! How things stand between a session and the store.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use super::waiter::{Shortage, Waiter};
use crate::store::protocol::{AccountName, Correction, Rate};
use vectoll_clock::Now;

/// How long the store keeps a claim of parallel requests; here a little less, for clocks that do not run alike.
const CLAIM_LIFE: Duration = Duration::from_millis(9_900);

/// A store that has answered nothing for so long while calls wait is as good as away: longer than it has for an answer.
pub(super) const SILENCE: Duration = Duration::from_secs(2);

/// The store's time at a moment of ours: not earlier than this.
#[derive(Clone, Copy, Debug)]
struct StoreClock {
    /// When the exchange was sent: before the store looked at its clock.
    sent: Duration,
    ms: u64,
}

/// An exchange under way.
#[derive(Debug)]
pub(super) struct InFlightExchange {
    pub(super) number: u64,
    pub(super) asks_only: bool,
    pub(super) sent: Duration,
    pub(super) corrections: Vec<Correction>,
    /// The last number of spend in it.
    pub(super) spend_to: u64,
    /// There was more than fitted into it.
    pub(super) more: bool,
    pub(super) groups: Vec<Group>,
    /// Holdings and what was claimed in them.
    pub(super) claims: Vec<(usize, u64)>,
    /// Holdings, periods, and what was held in them.
    pub(super) holds: Vec<(usize, Arc<str>, vectoll_config::PicoUsd)>,
}

/// Lease requests and who has them.
#[derive(Debug)]
pub(super) struct Group {
    /// None: nobody waits; it is for those who will come.
    pub(super) waiter: Option<Waiter>,
    pub(super) requests: Vec<PendingRequest>,
}

/// A lease request, on our side.
#[derive(Clone, Copy, Debug)]
pub(super) struct PendingRequest {
    pub(super) shortage: Shortage,
    pub(super) least: u64,
    /// What there was besides.
    pub(super) available: u64,
}

/// An exchange that the store has taken: what it changed in the windows, in case the store loses it.
#[derive(Debug)]
pub(super) struct Logged {
    pub(super) number: u64,
    /// When it was sent.
    pub(super) sent: Duration,
    pub(super) corrections: Vec<Correction>,
}

/// Changes to windows of hours and days by exchanges that are over for a minute: summed up, which one had which is forgotten.
/// If the store has lost a part of them it is told all of them again, and counts too much rather than too little.
#[derive(Debug, Default)]
pub(super) struct OldLog {
    /// The last of these exchanges.
    pub(super) number: u64,
    pub(super) changes: BTreeMap<(AccountName, Rate, u64), i64>,
}

impl OldLog {
    /// Takes in an exchange. What has left its window by a moment of the store's time goes.
    pub(super) fn add(&mut self, logged: Logged, store_ms: u64) {
        self.number = logged.number;
        for Correction { account, rate, slot, amount } in logged.corrections {
            if rate.leaves(slot) > store_ms {
                *self.changes.entry((account, rate, slot)).or_default() += amount;
            }
        }
    }

    /// Forgets what has left its window.
    pub(super) fn advance(&mut self, store_ms: u64) {
        self.changes.retain(|(_, rate, slot), _| rate.leaves(*slot) > store_ms);
    }
}

/// How things stand.
#[allow(clippy::struct_excessive_bools, reason = "facts of their own, not states of one thing")]
#[derive(Debug, Default)]
pub(super) struct StoreState {
    /// The number of the last exchange that was sent.
    pub(super) number: u64,
    /// The last one that the store is known to have taken, in this process's life.
    pub(super) applied: u64,
    pub(super) flight: Option<InFlightExchange>,
    /// An exchange whose answer was lost: nobody knows whether it was taken.
    pub(super) doubt: Option<Logged>,
    pub(super) log: VecDeque<Logged>,
    /// What stood there and is of hours and days: as one, for there is much of it.
    pub(super) old: OldLog,
    pub(super) run: Option<Arc<str>>,
    /// How many sidecars there were when the store last granted.
    pub(super) sidecars: Option<u64>,
    /// The last number of spend that the store is known to have.
    pub(super) spent_to: u64,
    /// Whether that is known: not before the first answer.
    pub(super) knows_spend: bool,
    /// The store does not answer.
    pub(super) away: bool,
    /// It answers and grants nothing before this.
    pub(super) paused_until: Option<Duration>,
    /// When the last exchange was sent.
    pub(super) sent_at: Option<Duration>,
    /// The last one that was answered.
    answered: Option<Duration>,
    /// Spend was settled since the last exchange.
    pub(super) spend_waits: bool,
    /// The store has taken spend just now, and there is more of it.
    pub(super) more_spend: bool,
    /// Something was told since what the store knows of claims and holds was last in doubt.
    pub(super) is_known: bool,
    /// Something is asked for before the next regular exchange.
    pub(super) soon: bool,
    clock: Option<StoreClock>,
    second: u64,
}

impl StoreState {
    /// The store's time, in milliseconds since 1970: the latest that it can be, if its clock runs like ours.
    pub(super) fn store_ms(&self, now: Now) -> u64 {
        match self.clock {
            Some(StoreClock { sent, ms }) => {
                let since = now.elapsed.saturating_sub(sent).as_millis();
                ms.saturating_add(u64::try_from(since).unwrap_or(u64::MAX))
            }
            None => u64::try_from(now.wall.as_millisecond()).unwrap_or_default(),
        }
    }

    /// The same, and the second that this moment is counted in. Seconds never go back, though answers that were longer on their
    /// way make the clock seem to.
    pub(super) fn time(&mut self, now: Now) -> (u64, u64) {
        let ms = self.store_ms(now);
        self.second = self.second.max(ms / 1000);
        (ms, self.second)
    }

    /// That second alone.
    pub(super) fn second(&mut self, now: Now) -> u64 {
        self.time(now).1
    }

    /// Whether the store has told its time.
    pub(super) fn knows_time(&self) -> bool {
        self.clock.is_some()
    }

    /// An answer has come.
    pub(super) fn answered(&mut self, sent: Duration, store_ms: u64) {
        if self.clock.is_none() {
            // Until now it was this machine's clock that counted.
            self.second = 0;
        }
        self.clock = Some(StoreClock { sent, ms: store_ms });
        self.answered = Some(sent);
    }

    /// Whether claims of parallel requests are good: they were renewed lately.
    pub(super) fn claims_hold(&self, now: Duration) -> bool {
        self.answered.is_some_and(|at| now.saturating_sub(at) < CLAIM_LIFE)
    }

    /// Whether nothing that was sent lately was answered.
    pub(super) fn is_silent(&self, now: Duration) -> bool {
        self.answered.is_none_or(|at| now.saturating_sub(at) >= SILENCE)
    }

    /// Whether the store does not answer.
    pub(super) fn is_away(&self) -> bool {
        self.away
    }

    /// Whether calls get this sidecar's share: the store was there once, and grants nothing now.
    pub(super) fn serves_shares(&self, now: Duration) -> bool {
        self.sidecars.is_some() && (self.away || self.paused_until.is_some_and(|until| now < until))
    }
}
