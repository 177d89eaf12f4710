//! Counters, ledger and journal together: what a call takes, and what it turns out to have cost.
//!
//! A [`Permit`] is the proof of admission and cannot be forgotten: dropped before the call was sent it gives everything
//! back, and once sent ([`InFlight`]) everything that is not a settlement or a definite refusal is booked at the
//! reservation, as unsettled. Between the two the journal takes the call's intent: providers are called with an [`InFlight`],
//! and there is none without.

mod admit;
mod backend_quota;
mod in_flight;
mod outcome;
mod permit;
mod reservation;
mod scopes;
mod together;
mod trial;
mod wait_queue;

use std::sync::Arc;

use vectoll_clock::{Clock, Now};
use vectoll_ledger::{books::Ledger, journal::Journal};
use vectoll_limits::counters::Counters;

use crate::compute::Compute;

pub use admit::{admit, exact_at, readmit};
pub use backend_quota::{BackendQuota, DeniedBy, Load, QuotaExceeded, SpentBudget};
pub use in_flight::{InFlight, Settled};
pub use outcome::{Outcome, Outcomes};
pub use permit::Permit;
pub use together::Together;
pub use trial::{TrialMetrics, WouldReject};
pub use wait_queue::{WaitMetrics, WaitQueues};

/// The accounts of this sidecar.
#[derive(Debug)]
pub struct Accounting {
    /// Limits and budgets.
    pub counters: Arc<Counters>,
    /// Spend.
    pub ledger: Arc<Ledger>,
    /// What outlives the process.
    pub journal: Arc<Journal>,
    /// What limits on trial would have refused.
    pub trials: TrialMetrics,
    /// Calls that wait for room.
    pub wait_queues: WaitQueues,
    /// Time.
    pub clock: Clock,
    /// Threads for counting tokens, and whatever else keeps a processor busy.
    pub compute: Compute,
}

impl Accounting {
    /// This moment.
    pub fn now(&self) -> Now {
        self.clock.now()
    }
}
