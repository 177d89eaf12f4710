//! What all requests share.

use std::sync::{Arc, atomic::AtomicBool};

use arc_swap::ArcSwap;

use super::coalesce::Coalescer;
use crate::{
    access::CallObservers, accounting::Accounting, background::Background, call::RequestLimits, compute::Compute,
    gateway::Gateway, metrics::Metrics, policy::Policy, server::Guard,
};

/// All that requests share.
#[derive(Debug)]
pub struct Proxy {
    /// What is served, swapped by reloads.
    pub policy: Arc<ArcSwap<Policy>>,
    /// Limits and spend.
    pub accounting: Arc<Accounting>,
    /// What Prometheus sees.
    pub metrics: Metrics,
    /// Who is kept out.
    pub guard: Guard,
    /// Who is told of calls.
    pub observers: CallObservers,
    /// How much of a request is read.
    pub request_limits: RequestLimits,
    /// Connections, and work that outlives them.
    pub tasks: Background,
    /// Calls that wait to travel together.
    pub coalescer: Arc<Coalescer>,
    /// What a gateway knows besides; none: it is a pod's sidecar.
    pub gateway: Option<Gateway>,
    /// Set when the sidecar is about to stop.
    pub stopping: AtomicBool,
}

impl Proxy {
    /// Threads for what keeps a processor busy.
    pub fn compute(&self) -> &Compute {
        &self.accounting.compute
    }
}
