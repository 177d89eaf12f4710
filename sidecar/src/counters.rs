//! What has been used of every limit and budget.
//!
//! A call is counted in several scopes at once (its key, its team, its user, its model within key and team). All of
//! them are reserved together or none is; afterwards the reservation is settled to what was really used, or given
//! back. [`Counters`] is that interface. [`Memory`] implements it for one sidecar on its own; counters live outside
//! the compiled policy, so that a reload never resets them.

mod budget;
mod charge;
mod memory;
mod window;

use std::{sync::Arc, time::Duration};

use vectoll_config::{
    ModelPattern, PicoUsd, Uid,
    v1::{Budget, Limits},
};

use crate::clock::Now;

pub use charge::{Charge, Payer};
pub use memory::{Held, Memory, Remembered, Spending};

/// The name that those beyond a bound share: users beyond a team's `maxUsers`, and users and models beyond what is told
/// apart in the books.
pub(crate) const OTHER: &str = "_other";

/// Who or what a count is kept for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Account {
    /// A key.
    Key(Uid),
    /// A team.
    Team(Uid),
    /// A user of a key.
    KeyUser(Uid, Arc<str>),
    /// A user of a team.
    TeamUser(Uid, Arc<str>),
    /// Models within a key.
    KeyModel(Uid, ModelPattern),
    /// Models within a team.
    TeamModel(Uid, ModelPattern),
}

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

/// One call's wish: one request, so many tokens at most, so much money at most, in all of the scopes.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Where to count it.
    pub scopes: &'a [Scope<'a>],
    /// An upper bound of its tokens.
    pub tokens: u64,
    /// An upper bound of its cost.
    pub money: PicoUsd,
}

/// What a call turned out to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    /// Tokens.
    pub tokens: u64,
    /// Money.
    pub money: PicoUsd,
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
    /// Its place in [`Ask::scopes`].
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

/// The sums of all open reservations: nothing, when nothing is under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Open {
    /// Calls with a reservation.
    pub calls: u64,
    /// Their tokens, once a call however many scopes it has.
    pub tokens: u64,
    /// Their money, likewise.
    pub money: PicoUsd,
}

/// Counting. Implementations decide under one lock, or one script, so that no two calls can take the same last token.
pub trait Counters: Send + Sync + std::fmt::Debug {
    /// The name that a user's counts are kept under: its own, or `_other` where the team has `most` users already.
    fn user(&self, team: &Uid, user: &Arc<str>, most: u32) -> Arc<str>;

    /// Takes the call's room in all scopes, or in none.
    fn reserve(&self, ask: &Ask<'_>, now: Now) -> Result<Held, Denial>;

    /// Replaces the reservation by what was used. Tokens and money beyond it are counted whole, as debt. The request
    /// itself stays counted.
    fn settle(&self, held: Held, used: Used, now: Now);

    /// Undoes the reservation: the call was never made.
    fn give_back(&self, held: Held, now: Now);

    /// How much is left to the scopes of a reservation.
    fn standing(&self, held: &Held, scopes: &[Limits], now: Now) -> Standing;

    /// What is spent and reserved of an account's budget in the present period.
    fn spending(&self, account: &Account, budget: &Budget, now: Now) -> Spending;

    /// The sums of open reservations.
    fn open(&self) -> Open;
}
