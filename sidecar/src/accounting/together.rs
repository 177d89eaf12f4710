//! Calls that travel in one request, each with an intent of its own in the journal.

use super::InFlight;
use vectoll_upstream::provider::Journalled;

/// Calls that travel in one request: at least one. Each is booked by itself.
#[derive(Debug)]
pub struct Together(Vec<InFlight>);

/// The journal has an intent of each.
impl Journalled for Together {}

impl Together {
    /// None: there is no call.
    pub fn new(calls: Vec<InFlight>) -> Option<Self> {
        if calls.is_empty() { None } else { Some(Self(calls)) }
    }

    /// The calls.
    pub fn calls(&self) -> &[InFlight] {
        &self.0
    }

    /// The calls, each to its own end.
    pub fn part(self) -> Vec<InFlight> {
        self.0
    }

    /// Tells the journal what each can cost at most.
    pub async fn refine(&self) {
        for call in &self.0 {
            call.refine().await;
            // Each may count its tokens.
            tokio::task::yield_now().await;
        }
    }
}
