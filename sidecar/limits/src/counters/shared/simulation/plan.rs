//! What goes wrong in a schedule, and when.

use super::simulated_cluster::{Event, RUN, SimulatedCluster};

impl SimulatedCluster {
    pub(super) fn plan(&mut self) {
        for at in 0..self.sidecars.len() {
            // Some are there from the beginning, some come later.
            let late = if at > 0 && self.rng.u8(0..4) == 0 { self.rng.u64(0..60_000) } else { 0 };
            self.add(self.now + late, Event::Start(at));
            self.add(self.now + late + 1, Event::Call(at));
        }
        self.plan_faults();
        let mut at = self.now + 12_000;
        while at < RUN {
            if self.kind.edits {
                self.add(at, Event::Edit);
            }
            at += self.rng.u64(3_000..30_000);
            if self.kind.leaves {
                let who = self.rng.usize(0..self.sidecars.len());
                let long = self.rng.u64(1_000..30_000);
                let event = if self.rng.bool() { Event::Leave(who) } else { Event::Part(who, long) };
                self.add(at, event);
            }
        }
    }

    /// Faults of one kind keep away from those of another whose joint effect is outside the promise: a store that has lost its
    /// tail is told again by sidecars that are there.
    fn plan_faults(&mut self) {
        let mut at = self.now + 5_000;
        while at < RUN {
            let store_turn = self.rng.bool();
            let victim = self.rng.usize(0..self.sidecars.len());
            match self.kind.store {
                Some(loses) if store_turn => {
                    let down = if self.rng.bool() { 0 } else { self.rng.u64(100..20_000) };
                    self.add(at, Event::StoreStop(loses));
                    self.add(at + down, Event::StoreStart);
                    at += down + 66_000;
                }
                Some(_) | None => {
                    if self.kind.crashes {
                        let returns = !self.vanish || self.rng.u8(0..3) > 0;
                        self.add(at, Event::Crash(victim, returns));
                    }
                    if self.kind.stalls {
                        let long = self.rng.u64(500..15_000);
                        self.add(at + 200, Event::Stall(victim, long));
                    }
                    at += if self.kind.store.is_some() { 70_000 } else { self.rng.u64(1_000..20_000) };
                }
            }
            if self.kind.clock {
                let step = self.rng.u64(10..30_000);
                self.add(at, Event::ClockBack(step));
            }
            at += self.rng.u64(500..5_000);
        }
    }
}
