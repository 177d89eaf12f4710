//! A call that waits for the store's word.

use std::{sync::Arc, time::Duration};

use tokio::sync::oneshot;
use vectoll_config::Uid;

use super::{SharedCounters, away, link::SILENCE, reservation::Outcome};
use crate::counters::{Denial, QuotaReservation, reservation::CounterReservation};

/// The longest that a call waits for the store's word.
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// A reservation that the store is asked for. Dropped, it gives back what comes.
#[derive(Debug)]
pub struct Pending {
    pub(super) team: Uid,
    pub(super) outcome: Option<oneshot::Receiver<Outcome>>,
    pub(super) counters: Arc<SharedCounters>,
}

impl Pending {
    /// Waits for the store's word.
    pub async fn outcome(mut self) -> Result<QuotaReservation, Denial> {
        let gone = away::away(0);
        let Some(outcome) = self.outcome.as_mut() else { return Err(gone) };
        // Whoever speaks to the store ends every wait long before this. If that one is stuck, there is a share for those who may have
        // one; if it is gone, nobody waits for ever.
        let begun = tokio::time::Instant::now();
        let outcome = loop {
            match tokio::time::timeout(SILENCE, &mut *outcome).await {
                Ok(outcome) => break outcome,
                Err(_) if begun.elapsed() >= LONGEST_WAIT => return Err(gone),
                Err(_) => self.counters.end_waits_in_vain(&self.team),
            }
        };
        // Taken: there is nothing to be given back any more.
        self.outcome = None;
        outcome.unwrap_or(Err(gone)).map(|reservation| QuotaReservation(CounterReservation::Shared(reservation)))
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(mut outcome) = self.outcome.take() {
            outcome.close();
            if let Ok(Ok(reservation)) = outcome.try_recv() {
                self.counters.give_back(reservation);
            }
        }
    }
}
