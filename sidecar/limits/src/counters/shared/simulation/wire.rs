//! Exchanges on their way to the store and back.

use std::time::Duration;

use super::{
    super::{Batch, settled::spend_after},
    simulated_cluster::{EXCHANGE_TIMEOUT_MILLIS, Event, Message, SETTLED, SimulatedCluster},
};
use crate::store::protocol::{Identity, Spend};

impl SimulatedCluster {
    /// What the journal has beyond what the store knows.
    pub(super) fn spend(&self, at: usize) -> Spend {
        let sidecar = &self.sidecars[at];
        let from = sidecar.session.as_ref().map_or(0, |session| session.link.spent_to);
        spend_after(&sidecar.journal, from, 40)
    }

    pub(super) fn wake(&mut self, at: usize) {
        let sidecar = &self.sidecars[at];
        let Some(session) = &sidecar.session else { return };
        let spend = sidecar.journal.last().is_some_and(|last| last.number > session.link.spent_to);
        if let Some(due) = session.due(Duration::from_millis(self.now), spend) {
            let due = u64::try_from(due.as_millis()).unwrap().max(self.now);
            let due = due.max(sidecar.back_off).max(sidecar.alone_until);
            self.add(due, Event::Wake(at));
        }
    }

    pub(super) fn exchange(&mut self, at: usize) {
        let spend = self.spend(at);
        let (now, moment) = (self.now, self.moment());
        let sidecar = &mut self.sidecars[at];
        let Some(session) = sidecar.session.as_mut() else { return };
        let due = session.due(Duration::from_millis(now), spend.to > spend.from);
        let silent = now < sidecar.back_off || now < sidecar.alone_until;
        if silent || due.is_none_or(|due| due > Duration::from_millis(now)) {
            return;
        }
        let more = sidecar.journal.last().is_some_and(|last| last.number > spend.to);
        let exchange = session.exchange(Batch { spend, more }, 1_000, moment);
        let number = (sidecar.epoch, exchange.number);
        sidecar.flying.push_back((number, exchange, None));
        let way = self.rng.u64(0..4);
        let arrives = if now > SETTLED && self.rng.u8(0..40) == 0 { self.rng.u64(900..1_500) } else { way };
        self.add(now + arrives, Event::Arrive(at, number));
        self.add(now + EXCHANGE_TIMEOUT_MILLIS, Event::GiveUp(at, number));
    }

    pub(super) fn arrive(&mut self, at: usize, number: Message) {
        if !self.up {
            return;
        }
        let identity = Identity { epoch: number.0, ..self.identity(at) };
        let server = self.server();
        let Some(place) = self.sidecars[at].flying.iter().position(|(it, _, reply)| *it == number && reply.is_none())
        else {
            return;
        };
        let exchange = self.sidecars[at].flying[place].1.clone();
        if self.kind.store == Some(true) {
            self.tail.push_back(self.store.clone());
            if self.tail.len() > 12 {
                self.tail.pop_front();
            }
        }
        let reply = self.store.exchange(&server, &identity, &exchange);
        self.sidecars[at].flying[place].2 = Some(reply);
        // Some answers are lost on their way back.
        if self.now < SETTLED || self.rng.u8(0..60) > 0 {
            let way = self.rng.u64(0..4);
            self.add(self.now + way, Event::Answer(at, number));
        }
    }

    pub(super) fn answer(&mut self, at: usize, number: Message) {
        let identity = self.identity(at);
        let now = self.moment();
        let sidecar = &mut self.sidecars[at];
        let Some(session) = sidecar.session.as_mut() else { return };
        if number.0 != identity.epoch || session.link.flight.as_ref().is_none_or(|flight| flight.number != number.1) {
            return;
        }
        let Some((_, _, Some(reply))) = sidecar.flying.iter().find(|(it, ..)| *it == number).cloned() else { return };
        sidecar.flying.retain(|(it, ..)| *it != number);
        session.reply(&identity, &reply, now);
        self.wake(at);
    }

    pub(super) fn give_up(&mut self, at: usize, number: Message) {
        let now = self.moment();
        let sidecar = &mut self.sidecars[at];
        let Some(session) = sidecar.session.as_mut() else { return };
        if number.0 == sidecar.epoch && session.link.flight.as_ref().is_some_and(|flight| flight.number == number.1) {
            session.lost(now);
            sidecar.back_off = self.now + 100;
            self.wake(at);
        }
    }

    pub(super) fn stop_store(&mut self, loses: bool) {
        self.up = false;
        for sidecar in &mut self.sidecars {
            sidecar.flying.retain(|(.., reply)| reply.is_none());
        }
        if loses {
            let lost = self.rng.usize(0..=self.tail.len());
            if lost > 0 {
                let at = self.tail.len() - lost;
                self.store = self.tail[at].clone();
            }
        }
        self.tail.clear();
    }
}
