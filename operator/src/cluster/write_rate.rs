//! How fast the operator writes: a token bucket, so that a change of many objects does not take the API server from everybody else, and
//! how many writes are under way, so that what ends a key never waits for the mass of the others. Pure.

use std::time::{Duration, Instant};

/// A bucket.
#[derive(Debug)]
pub(super) struct WriteRate {
    /// Writes in a second.
    rate: f64,
    burst: f64,
    tokens: f64,
    at: Instant,
}

impl WriteRate {
    /// A full one. Neither is below one.
    pub(super) fn new(per_second: u32, burst: u32, now: Instant) -> Self {
        let burst = f64::from(burst.max(1));
        Self { rate: f64::from(per_second.max(1)), burst, tokens: burst, at: now }
    }

    fn refill(&mut self, now: Instant) {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * self.rate;
        self.tokens = (self.tokens + gained).min(self.burst);
        self.at = now;
    }

    /// Whether there is a token; else how long to wait for it.
    pub(super) fn ready(&mut self, now: Instant) -> Result<(), Duration> {
        self.refill(now);
        if self.tokens >= 1.0 { Ok(()) } else { Err(Duration::from_secs_f64((1.0 - self.tokens) / self.rate)) }
    }

    /// Takes one token, also where there is none: for what must not wait. The mass of the others waits the longer.
    pub(super) fn overdraw(&mut self, now: Instant) {
        self.refill(now);
        self.tokens = (self.tokens - 1.0).max(-self.burst);
    }
}

/// Of the writes that may be under way one in so many is kept for what nothing may wait behind.
const RESERVED: usize = 4;

/// The writes under way.
#[derive(Debug)]
pub(super) struct WriteSlots {
    all: usize,
    /// How many of them the mass may take.
    for_mass: usize,
    urgent: usize,
    mass: usize,
}

impl WriteSlots {
    /// So many at a time. With fewer than two there is nothing to keep.
    pub(super) fn new(all: usize) -> Self {
        let all = all.max(1);
        let reserve = all.div_ceil(RESERVED).min(all - 1);
        Self { all, for_mass: all - reserve, urgent: 0, mass: 0 }
    }

    /// Whether something urgent may begin.
    pub(super) fn has_room(&self) -> bool {
        self.urgent + self.mass < self.all
    }

    /// Whether something of the mass may begin.
    pub(super) fn has_room_for_mass(&self) -> bool {
        self.has_room() && self.mass < self.for_mass
    }

    fn count(&mut self, is_mass: bool) -> &mut usize {
        if is_mass { &mut self.mass } else { &mut self.urgent }
    }

    /// One begins.
    pub(super) fn take(&mut self, is_mass: bool) {
        *self.count(is_mass) += 1;
    }

    /// One has ended.
    pub(super) fn free(&mut self, is_mass: bool) {
        let count = self.count(is_mass);
        *count = count.saturating_sub(1);
    }

    /// None is under way any more.
    pub(super) fn clear(&mut self) {
        (self.urgent, self.mass) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(rate: &mut WriteRate, now: Instant) -> Result<(), Duration> {
        rate.ready(now).inspect(|()| rate.overdraw(now))
    }

    #[test]
    fn a_burst_and_then_the_rate_and_what_is_urgent_does_not_wait() {
        let begin = Instant::now();
        let mut rate = WriteRate::new(10, 3, begin);
        assert_eq!((0..9).filter(|_| take(&mut rate, begin).is_ok()).count(), 3);
        assert_eq!(take(&mut rate, begin), Err(Duration::from_millis(100)));
        let later = begin + Duration::from_millis(250);
        assert_eq!((0..9).filter(|_| take(&mut rate, later).is_ok()).count(), 2);
        for _ in 0..99 {
            rate.overdraw(later);
        }
        // The debt is bounded, so the mass goes on before long.
        assert_eq!(take(&mut rate, later), Err(Duration::from_millis(400)));
        assert_eq!((0..99).filter(|_| take(&mut rate, later + Duration::from_mins(1)).is_ok()).count(), 3);
    }

    #[test]
    fn the_mass_never_takes_all_places() {
        for (all, for_mass) in [(1, 1), (2, 1), (4, 3), (32, 24)] {
            let mut slots = WriteSlots::new(all);
            let mut taken = 0;
            while slots.has_room_for_mass() {
                slots.take(true);
                taken += 1;
            }
            assert_eq!(taken, for_mass, "of {all}");
            let mut urgent = 0;
            while slots.has_room() {
                slots.take(false);
                urgent += 1;
            }
            assert_eq!(taken + urgent, all);
            // What is urgent may take the places of the mass, too, and then the mass waits.
            slots.free(true);
            assert!(slots.has_room());
            slots.take(false);
            assert!(!slots.has_room_for_mass());
            slots.clear();
            assert!(slots.has_room_for_mass());
        }
    }
}
