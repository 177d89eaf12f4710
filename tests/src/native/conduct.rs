//! How a provider goes about its work, and what goes wrong.

use std::time::Duration;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// An error in the provider's shape; charged where its pages say so.
    Status(u16),
    /// 200 with an HTML page; not charged.
    Garbage,
    /// A vector less than there are inputs; charged.
    Few,
    /// The request is read and the connection reset; not charged.
    Reset,
}

/// How a provider goes about its work.
#[derive(Debug, Clone, Copy, Default)]
pub struct Conduct {
    /// Time from the end of a request to its answer.
    pub latency: Duration,
    /// From which request on something goes wrong, counted from 0 and from when this was set, and what.
    pub fault: Option<(u64, Fault)>,
}
