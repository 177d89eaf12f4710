//! How much of a table is swept at a time: all of it in about a minute, in slices, so that no call pays for all.

use std::time::Duration;

/// How often everything is looked at.
const SWEEP_PERIOD: Duration = Duration::from_mins(1);
/// The shortest time between two slices.
const SLICE_PERIOD: Duration = Duration::from_millis(100);
/// The largest slice: some ten microseconds to a few hundred.
pub(super) const MAX_SLICE: usize = 4_096;

/// When the last slice was swept.
#[derive(Debug, Default)]
pub(super) struct SweepPace(Duration);

impl SweepPace {
    /// How many of so many are due to be looked at now.
    pub(super) fn slice(&mut self, of: usize, now: Duration) -> usize {
        let since = now.saturating_sub(self.0);
        if since < SLICE_PERIOD {
            return 0;
        }
        let share = of as u128 * since.min(SWEEP_PERIOD).as_millis() / SWEEP_PERIOD.as_millis();
        let slice = usize::try_from(share).unwrap_or(MAX_SLICE).min(MAX_SLICE);
        if slice > 0 {
            self.0 = now;
        }
        slice
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_looked_at_about_once_a_minute_and_never_much_of_it_at_once() {
        for of in [1, 7, 600, 100_000] {
            let mut pace = SweepPace::default();
            let slices: Vec<usize> = (0..6_000).map(|tick| pace.slice(of, Duration::from_millis(10 * tick))).collect();
            let (sum, most) = (slices.iter().sum::<usize>(), slices.iter().max().copied().unwrap_or_default());
            assert!(sum <= of && sum + sum / 50 + 1 >= of && most <= of.div_ceil(600), "{sum} of {of}, {most} at once");
        }
        // After a long silence.
        assert_eq!(SweepPace::default().slice(10, Duration::from_hours(1)), 10);
        assert_eq!(SweepPace::default().slice(1_000_000, Duration::from_hours(1)), MAX_SLICE);
    }
}
