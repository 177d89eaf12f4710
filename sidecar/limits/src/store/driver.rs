//! What speaking to a store needs.

use std::sync::Arc;

use super::{metrics::StoreMetrics, protocol::Identity, served::Served, threads::ExchangeThreads};
use crate::counters::SharedCounters;
use vectoll_clock::Clock;
use vectoll_ledger::journal::Journal;

/// What speaking to a store needs.
#[derive(Debug)]
pub struct Driver {
    /// The counters that it speaks for.
    pub leased: Arc<SharedCounters>,
    /// Where spend is taken from.
    pub journal: Arc<Journal>,
    /// Who this sidecar is.
    pub identity: Identity,
    /// Its pod's name; empty outside a cluster.
    pub pod: Arc<str>,
    /// What it serves by.
    pub served: Arc<dyn Served>,
    /// Where exchanges are built.
    pub threads: ExchangeThreads,
    /// Time.
    pub clock: Clock,
    /// What Prometheus sees of it.
    pub metrics: StoreMetrics,
}
