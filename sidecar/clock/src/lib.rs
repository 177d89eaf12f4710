//! Time as an argument.

use std::time::Duration;

use jiff::Timestamp;
use nix::time::{ClockId, clock_gettime};

/// A moment, on both clocks that matter: the one that only moves forward, for windows, and the calendar's, for budgets.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Since the clock was started; time in which the machine was suspended counts.
    pub elapsed: Duration,
    /// The calendar's time.
    pub wall: Timestamp,
}

/// Where moments come from. Only the outermost code holds one.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Duration,
}

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Self {
        Self { started: since_boot() }
    }

    /// This moment.
    pub fn now(&self) -> Now {
        Now { elapsed: since_boot().saturating_sub(self.started), wall: Timestamp::now() }
    }
}

/// `CLOCK_BOOTTIME`: it never steps, and it runs while the machine is suspended, so that a lease does not outlive the night.
/// (`clock_gettime(2)`; it fails only for clocks that there are not, and this one is there since Linux 2.6.39.)
fn since_boot() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default()
}
