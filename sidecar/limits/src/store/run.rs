//! Speaks to the store, wherever that is at present.

use std::{sync::Arc, time::Instant};

use jiff::SignedDuration;
use tokio::sync::watch;

use super::{connect::StoreAccess, driver::Driver, protocol::SPAN, store_session::StoreSession};
use crate::counters::FormerAdmissions;

/// Calls that were admitted longer ago are in no window any more.
const REMEMBERED: SignedDuration = SignedDuration::from_secs(SPAN.cast_signed() + 2);

impl Driver {
    /// Speaks to the store, wherever that is at present, until it is told to stop, by a moment. Then everything that is not used goes
    /// back, and spend that the store does not know is told, until that moment if it takes so long.
    pub async fn run(
        self,
        mut place: watch::Receiver<Option<Arc<StoreAccess>>>,
        mut stop: watch::Receiver<Option<Instant>>,
    ) {
        self.recall().await;
        loop {
            let present = place.borrow_and_update().clone();
            let Some(present) = present else {
                tokio::select! {
                    changed = place.changed() => if changed.is_err() { return },
                    _ = stopped(&mut stop) => return,
                }
                continue;
            };
            tracing::info!(url = %present.url, user = present.username, "limits, budgets and spend are kept in a store");
            let mut line = StoreSession::new(&self, present);
            tokio::select! {
                () = line.speak(None) => {}
                changed = place.changed() => if changed.is_err() { return },
                last = stopped(&mut stop) => {
                    self.leased.let_go(self.clock.now());
                    line.speak(Some(last)).await;
                    return;
                }
            }
            line.hang_up().await;
        }
    }

    /// Spend of earlier processes that the store may not know is held back in the budgets until it does, and what they admitted in the
    /// last minute counts against this sidecar's share while the store is away. Reads all of the journal that is left, on a thread
    /// that may wait. The store is asked for nothing before, so nothing is granted meanwhile.
    async fn recall(&self) {
        let (journal, leased, now) = (self.journal.clone(), self.leased.clone(), self.clock.now());
        let recalled = tokio::task::spawn_blocking(move || {
            journal.each_settled(&journal.teams(), |settled| {
                for charge in &settled.intent.charges {
                    let owner = charge.account.owner().unwrap_or(&settled.intent.team.uid);
                    leased.owe(owner, charge, settled.number, settled.settlement.money);
                }
            });
            let mut admissions = FormerAdmissions::default();
            journal.each_admitted_before(now.wall - REMEMBERED, |settled| admissions.add(settled));
            admissions
        });
        let admissions = recalled.await.unwrap_or_else(|error| {
            tracing::error!(
                %error,
                "spend of earlier starts is not held back in the budgets until the store has it, nor what they admitted in the last minute"
            );
            FormerAdmissions::default()
        });
        self.leased.recalled(admissions);
    }
}

/// Waits until it is said by when to stop.
async fn stopped(stop: &mut watch::Receiver<Option<Instant>>) -> Instant {
    // An error means that whoever could stop us is gone: stop as well.
    let last = stop.wait_for(Option::is_some).await.ok().and_then(|last| *last);
    last.unwrap_or_else(Instant::now)
}
