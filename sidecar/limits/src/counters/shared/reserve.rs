//! Where a call is decided: from what is leased, or by the store.

use std::sync::Arc;

use super::{Pending, SharedCounters, admit, parts::is_one_owners, pending::Wait};
use crate::counters::{QuotaReservation, ReserveRequest, Reserved, reservation::CounterReservation};
use vectoll_clock::Now;

impl SharedCounters {
    /// Takes the call's room in all scopes, or in none; or has the store asked for it.
    pub(in crate::counters) fn reserve(self: &Arc<Self>, ask: &ReserveRequest<'_>, now: Now) -> Reserved {
        if !is_one_owners(ask) {
            return self.reserve_of_all(ask, now);
        }
        let reserved = {
            let mut table = self.table();
            table.sweep(now.elapsed);
            let session = table.session(ask.team);
            let soon = session.link.soon;
            let reserved = session.reserve(ask, now);
            if matches!(reserved, admit::Reserved::Later(_)) || (session.link.soon && !soon) {
                self.wake.notify_one();
            }
            reserved
        };
        match reserved {
            admit::Reserved::Now(outcome) => {
                Reserved::Now(outcome.map(|reservation| QuotaReservation(CounterReservation::Shared(reservation))))
            }
            admit::Reserved::Later(outcome) => {
                let wait = Wait { team: ask.team.clone(), places: Vec::new(), outcome };
                Reserved::Later(Pending { waits: vec![wait], held: Vec::new(), counters: self.clone() })
            }
        }
    }
}
