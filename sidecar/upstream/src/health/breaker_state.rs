//! How an attempt failed, and whether a backend is to be called.

use std::time::Duration;

/// Why a backend did not serve a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// It said that it is asked too much: 429, with the wait that it asks for.
    Limited(Option<Duration>),
    /// Anything else that is about the backend and not about the call.
    Down,
}

/// Whether a backend is to be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// It is.
    Well,
    /// It is left alone until then; the time is the clock's.
    Cooling(Duration),
}
