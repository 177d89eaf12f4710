//! What is under way, and what is taken of a budget.

use jiff::Timestamp;
use vectoll_config::PicoUsd;

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

/// What is taken of a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spending {
    /// Booked and reserved in the present period.
    pub taken: PicoUsd,
    /// When the period ends; none: never.
    pub ends: Option<Timestamp>,
}
