//! What has been used of every limit and budget.
//!
//! A call is counted in several scopes at once (its key, its team, its user, its model within key and team). All of
//! them are reserved together or none is; afterwards the reservation is settled to what was really used, or given
//! back. [`Counters`] is that interface, over [`LocalCounters`] for one sidecar on its own, and over [`SharedCounters`] for one of several
//! that share a store. Counters live outside the compiled policy, so that a reload never resets them.

mod account;
mod denial;
mod local;
mod longest_denial;
mod quota;
mod reservation;
mod reserve_request;
mod reserved;
pub mod shared;
mod sums;
mod sweep_pace;
mod switch;
mod users;
mod waived;
mod window;

pub(crate) use self::shared::{Batch, FormerAdmissions, account_name, period_of};
pub use self::{
    account::Account,
    denial::{Denial, Exhausted, Retry},
    local::LocalCounters,
    quota::{Quota, RateLimitStatus},
    reservation::QuotaReservation,
    reserve_request::{ReserveRequest, Scope},
    reserved::Reserved,
    shared::SharedCounters,
    sums::{Open, Spending},
    switch::Counters,
    waived::Waived,
};
