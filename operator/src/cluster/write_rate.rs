//! How fast the operator writes: a token bucket, so that a change of many objects does not take the API server from everybody else. Pure.

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
}
