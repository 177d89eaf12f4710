//! Why a call was not let through, and when it may be.

use std::time::Duration;

use crate::store::protocol::Rate;

/// What ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exhausted {
    /// Requests or tokens in a minute, hour or day.
    Rate(Rate),
    /// Requests at once.
    Parallel,
    /// Money in a period: of the budget at this place in [`Scope::budgets`](super::Scope::budgets). Amounts are in pico-USD.
    Budget(usize),
    /// The store's word: it cannot be reached, and this sidecar has no share of its own to give.
    Store,
}

/// When asking again may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Retry {
    /// As soon as another call ends; nobody knows when.
    WhenFree,
    /// After this long, if nobody else asks in between.
    After(Duration),
    /// Never: the call alone is over the limit, or the budget has no next period.
    Never,
}

/// Why nothing was reserved: the scope that takes longest to have room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Its place in [`ReserveRequest::scopes`](super::ReserveRequest::scopes).
    pub scope: usize,
    /// What ran out there.
    pub exhausted: Exhausted,
    /// The limit.
    pub limit: u64,
    /// What is used or reserved of it.
    pub used: u64,
    /// When to come back.
    pub retry: Retry,
}
