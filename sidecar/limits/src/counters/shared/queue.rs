//! The calls that wait, in the order in which they came.

use super::{
    reservation::Outcome,
    session::Session,
    waiter::{Short, Shortage, Waiter},
    weigh::Weighed,
};
use vectoll_clock::Now;

impl Session {
    /// A call that waited, tried again. It is told, or waits on.
    pub(super) fn try_again(&mut self, mut waiter: Waiter, now: Now) -> Option<Waiter> {
        self.count_waiting(&waiter.shortages, false);
        let outcome = {
            let scopes = waiter.scopes();
            let ask = waiter.ask(&scopes);
            match self.weigh(&ask, now, false) {
                Weighed::Fits => Ok(Ok(self.take(&ask, now, false))),
                Weighed::Denied(denial) => Ok(Err(denial)),
                Weighed::Short(shortages) => Err(shortages),
            }
        };
        match outcome {
            Ok(outcome) => {
                self.notify(waiter, outcome);
                None
            }
            Err(shortages) => {
                self.count_waiting(&shortages, true);
                waiter.shortages = shortages;
                Some(waiter)
            }
        }
    }

    /// Tells a call its outcome. One that has left gives everything back.
    pub(super) fn notify(&mut self, waiter: Waiter, outcome: Outcome) {
        if let Err(Ok(reservation)) = waiter.tell.send(outcome) {
            self.give_back(reservation);
        }
    }

    pub(super) fn count_waiting(&mut self, shortages: &[Shortage], more: bool) {
        for shortage in shortages {
            let Some(holding) = self.holdings.get_mut(shortage.holding) else { continue };
            let waiting = match shortage.of {
                Short::Rate(rate) => &mut holding.pool(rate).waiting,
                Short::Parallel => &mut holding.slots.waiting,
                Short::Money(at) => match holding.balances.get_mut(at) {
                    Some(balance) => &mut balance.waiting,
                    None => continue,
                },
            };
            *waiting = if more { *waiting + 1 } else { waiting.saturating_sub(1) };
        }
    }
}
