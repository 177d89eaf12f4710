//! How fast a backend answers: what a route that takes the fastest one goes by.
//!
//! A moving average of the time from sending a call to its answer's end, that fades while nothing is heard: so a backend that was
//! slow once is tried again. Who chooses weighs it by the calls that are under way there, as in the "peak EWMA" of Finagle's load
//! balancer: a rise counts at once, a fall gradually.

use std::time::Duration;

/// After this time an average counts for a third.
const FADE: Duration = Duration::from_secs(10);

/// The pace of one backend.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LatencyEwma {
    /// In seconds; none: nothing was heard yet.
    average: Option<f64>,
    /// When that was.
    at: Duration,
    under_way: u32,
}

impl LatencyEwma {
    /// A call is sent.
    pub(super) fn begin(&mut self) {
        self.under_way = self.under_way.saturating_add(1);
    }

    /// A call has ended, after so long.
    pub(super) fn end(&mut self, took: Option<Duration>, now: Duration) {
        self.under_way = self.under_way.saturating_sub(1);
        if let Some(took) = took {
            let took = took.as_secs_f64();
            let faded = self.average(now).unwrap_or(0.0);
            let part = 1.0 - self.fade(now);
            // Each call counts for a tenth at least: at a high rate almost no time passes between two.
            let average = faded + (took - faded) * part.max(0.1);
            self.average = Some(average.max(if took > faded { took } else { 0.0 }));
            self.at = now;
        }
    }

    /// How long a call takes, about, in seconds; none: nothing was heard yet.
    pub(super) fn average(&self, now: Duration) -> Option<f64> {
        self.average.map(|average| average * self.fade(now))
    }

    /// Calls that were sent and have not ended.
    pub(super) fn under_way(&self) -> u32 {
        self.under_way
    }

    fn fade(&self, now: Duration) -> f64 {
        (-now.saturating_sub(self.at).as_secs_f64() / FADE.as_secs_f64()).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(pace: &mut LatencyEwma, took: u64, now: u64) -> f64 {
        pace.begin();
        pace.end(Some(Duration::from_millis(took)), Duration::from_millis(now));
        average(pace, now)
    }

    fn average(pace: &LatencyEwma, now: u64) -> f64 {
        pace.average(Duration::from_millis(now)).unwrap_or_default()
    }

    #[test]
    fn a_rise_counts_at_once_and_a_fall_by_and_by() {
        let mut pace = LatencyEwma::default();
        assert!(pace.average(Duration::ZERO).is_none(), "not known yet");
        assert!((after(&mut pace, 100, 0) - 0.1).abs() < 1e-9);
        assert!((after(&mut pace, 900, 1) - 0.9).abs() < 1e-3);
        let fallen = after(&mut pace, 100, 2);
        assert!((0.8..0.85).contains(&fallen), "{fallen}");
        for now in 3..60 {
            after(&mut pace, 100, now);
        }
        assert!(average(&pace, 60) < 0.11);
    }

    #[test]
    fn what_was_not_heard_of_is_tried_again_and_calls_under_way_count() {
        let mut pace = LatencyEwma::default();
        after(&mut pace, 1_000, 0);
        let now = Duration::ZERO;
        pace.begin();
        pace.begin();
        assert_eq!(pace.under_way(), 2);
        pace.end(None, now);
        assert_eq!(pace.under_way(), 1);
        assert!((average(&pace, 0) - 1.0).abs() < 1e-9, "one of which nothing is known leaves the average");
        assert!(average(&pace, 60_000) < 0.01);
    }
}
