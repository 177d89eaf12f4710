//! How much of a request is read, and for how long.

use std::time::Duration;

use crate::{
    memory::{MemoryLimiter, Owner},
    policy::Key,
};
use vectoll_config::namespace_of;

/// Among whom memory is shared out: no one of them takes all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryShares {
    /// Keys: a sidecar's.
    Keys,
    /// Namespaces, however many keys each of them has: a gateway's.
    Namespaces,
}

impl MemoryShares {
    /// Whose memory a call with this key takes.
    pub(super) fn owner(self, key: &Key) -> Owner {
        match self {
            Self::Keys => (key.team.name.clone(), key.name.clone()),
            Self::Namespaces => (namespace_of(&key.name).into(), "".into()),
        }
    }
}

/// How much of a request is read, and for how long.
#[derive(Clone, Debug)]
pub struct RequestLimits {
    /// The largest body, in bytes.
    pub body: usize,
    /// How long the body may take to arrive.
    pub body_timeout: Duration,
    /// What large ones take their place in.
    pub memory: MemoryLimiter,
    /// Among whom.
    pub shares: MemoryShares,
}
