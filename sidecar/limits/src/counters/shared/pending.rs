//! A call that waits for the store's word.

use std::{sync::Arc, time::Duration};

use tokio::sync::oneshot;
use vectoll_config::Uid;

use super::{
    SharedCounters, away,
    link::SILENCE,
    reservation::{Outcome, SharedReservation, placed_denial},
};
use crate::counters::{Denial, QuotaReservation, longest_denial::LongestDenial, reservation::CounterReservation};

/// The longest that a call waits for the store's word.
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// A reservation that the store is asked for, of one owner or of several. Dropped, it gives back what was had and what comes.
#[derive(Debug)]
pub struct Pending {
    pub(super) waits: Vec<Wait>,
    /// What was had of others.
    pub(super) held: Vec<SharedReservation>,
    pub(super) counters: Arc<SharedCounters>,
}

/// What is asked for of one owner.
#[derive(Debug)]
pub(super) struct Wait {
    pub(super) team: Uid,
    /// The places of its scopes in the call; none: they are all of them.
    pub(super) places: Vec<usize>,
    pub(super) outcome: oneshot::Receiver<Outcome>,
}

impl Pending {
    /// Waits for the store's word.
    pub async fn outcome(mut self) -> Result<QuotaReservation, Denial> {
        let mut worst = LongestDenial::default();
        // While it is waited for it stays where a drop finds it.
        while let Some(wait) = self.waits.last_mut() {
            let outcome = wait.outcome(&self.counters).await;
            let Some(Wait { places, .. }) = self.waits.pop() else { break };
            match outcome {
                Ok(reservation) => self.held.push(SharedReservation { places, ..reservation }),
                Err(denial) => worst.add(placed_denial(&places, denial)),
            }
        }
        if let Some(denial) = worst.into_denial() {
            return Err(denial);
        }
        let held = std::mem::take(&mut self.held);
        let whole = self.counters.table().join(held).ok_or(away::away(0))?;
        Ok(QuotaReservation(CounterReservation::Shared(whole)))
    }
}

impl Wait {
    async fn outcome(&mut self, counters: &SharedCounters) -> Outcome {
        // Whoever speaks to the store ends every wait long before this. If that one is stuck, there is a share for those who may have
        // one; if it is gone, nobody waits for ever.
        let begun = tokio::time::Instant::now();
        loop {
            match tokio::time::timeout(SILENCE, &mut self.outcome).await {
                Ok(outcome) => return outcome.unwrap_or(Err(away::away(0))),
                Err(_) if begun.elapsed() >= LONGEST_WAIT => {
                    // Nothing comes any more that nobody gives back.
                    self.outcome.close();
                    return self.outcome.try_recv().unwrap_or(Err(away::away(0)));
                }
                Err(_) => counters.end_waits_in_vain(&self.team),
            }
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        for mut wait in self.waits.drain(..) {
            wait.outcome.close();
            if let Ok(Ok(reservation)) = wait.outcome.try_recv() {
                self.counters.give_back(reservation);
            }
        }
        for held in self.held.drain(..) {
            self.counters.give_back(held);
        }
    }
}
