//! Time as an argument.

use std::time::{Duration, Instant};

use jiff::Timestamp;

/// A moment, on both clocks that matter: the one that only moves forward, for windows, and the calendar's, for budgets.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Since the clock was started.
    pub elapsed: Duration,
    /// The calendar's time.
    pub wall: Timestamp,
}

/// Where moments come from. Only the outermost code holds one.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
}

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Self {
        Self { started: Instant::now() }
    }

    /// This moment.
    pub fn now(&self) -> Now {
        Now { elapsed: self.started.elapsed(), wall: Timestamp::now() }
    }
}
