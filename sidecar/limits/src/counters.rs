//! What has been used of every limit and budget.
//!
//! A call is counted in several scopes at once (its key, its team, its user, its model within key and team). All of
//! them are reserved together or none is; afterwards the reservation is settled to what was really used, or given
//! back. [`Counters`] is that interface, over [`Memory`] for one sidecar on its own, and over [`SharedCounters`] for one of several
//! that share a store. Counters live outside the compiled policy, so that a reload never resets them.

mod account;
mod local;
mod longest_denial;
pub mod shared;
mod switch;
mod users;
mod window;

use std::{sync::Arc, time::Duration};

use vectoll_config::{
    PicoUsd, Uid,
    v1::{Budget, Limits, OnStoreFailure},
};

use crate::store::protocol::Rate;
use vectoll_ledger::{charge::BudgetPeriod, used::Used};

pub(crate) use self::shared::{Batch, FormerAdmissions, account_name, period_of};
pub use self::{
    account::Account,
    local::{Memory, Spending},
    shared::SharedCounters,
    switch::Counters,
};

/// A count and what it is held to.
#[derive(Clone, Debug)]
pub struct Scope<'a> {
    /// Whose count.
    pub account: Account,
    /// Its limits.
    pub limits: Limits,
    /// Its budget.
    pub budget: Option<&'a Budget>,
}

/// One call's wish: so many requests, so many tokens at most, so much money at most, in all of the scopes.
#[derive(Clone, Copy, Debug)]
pub struct ReserveRequest<'a> {
    /// The Team that all of the scopes belong to; or a backend's own account.
    pub team: &'a Uid,
    /// Where to count it.
    pub scopes: &'a [Scope<'a>],
    /// Requests: more than one only of a provider's, where a call is split.
    pub requests: u64,
    /// An upper bound of its tokens.
    pub tokens: u64,
    /// An upper bound of its cost.
    pub money: PicoUsd,
    /// What holds for it while the store cannot be reached; of no matter where there is none.
    pub on_store_failure: OnStoreFailure,
}

impl ReserveRequest<'_> {
    /// How much it takes of a rate.
    pub(crate) fn of(&self, rate: Rate) -> u64 {
        match rate {
            Rate::Requests => self.requests,
            Rate::Tokens => self.tokens,
        }
    }
}

/// What ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exhausted {
    /// Requests a minute.
    Requests,
    /// Tokens a minute.
    Tokens,
    /// Requests at once.
    Parallel,
    /// Money in a period. Amounts are in pico-USD.
    Budget,
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
    /// Its place in [`ReserveRequest::scopes`].
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

/// How much of a rate is left, for the `x-ratelimit` headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// The limit.
    pub limit: u64,
    /// What is left of it.
    pub remaining: u64,
    /// Until all of it is there again, if nobody asks.
    pub reset: Duration,
}

/// The tightest quotas among a call's scopes; absent: not limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Of requests a minute.
    pub requests: Option<Quota>,
    /// Of tokens a minute.
    pub tokens: Option<Quota>,
}

/// The sums of all open reservations of calls: nothing, when nothing is under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Open {
    /// Calls with a reservation.
    pub calls: u64,
    /// Their tokens, once a call however many scopes it has.
    pub tokens: u64,
    /// Their money, likewise.
    pub money: PicoUsd,
}

/// A reservation. It must be settled or given back: the permit that holds it sees to that.
#[derive(Debug)]
pub struct Held(Holder);

/// Who keeps it.
#[derive(Debug)]
enum Holder {
    /// This sidecar alone.
    Memory(local::Held),
    /// The sidecars together.
    Leased(shared::Held),
}

impl Held {
    /// What was reserved.
    pub fn reserved(&self) -> Used {
        match &self.0 {
            Holder::Memory(held) => Used { tokens: held.tokens, money: held.money },
            Holder::Leased(held) => Used { tokens: held.tokens, money: held.money },
        }
    }

    /// The budgets that the money was reserved in.
    pub fn charges(&self) -> &[Arc<BudgetPeriod>] {
        match &self.0 {
            Holder::Memory(held) => &held.charges,
            Holder::Leased(held) => &held.charges,
        }
    }
}

/// What becomes of a wish.
#[derive(Debug)]
pub enum Reserved {
    /// It is decided.
    Now(Result<Held, Denial>),
    /// The store is asked.
    Later(shared::Pending),
}
