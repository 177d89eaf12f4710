//! How much of a request is read, and for how long.

use std::time::Duration;

use crate::memory::MemoryLimiter;

/// How much of a request is read, and for how long.
#[derive(Clone, Debug)]
pub struct RequestLimits {
    /// The largest body, in bytes.
    pub body: usize,
    /// How long the body may take to arrive.
    pub body_timeout: Duration,
    /// What large ones take their place in.
    pub memory: MemoryLimiter,
}
