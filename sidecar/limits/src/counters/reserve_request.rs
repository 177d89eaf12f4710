//! What a call asks for.

use vectoll_config::{
    PicoUsd, Uid,
    v1::{Budget, Limits, OnStoreFailure},
};

use super::{Account, Waived};
use crate::store::protocol::{Counted, Rate};

/// A count and what it is held to.
#[derive(Clone, Debug)]
pub struct Scope<'a> {
    /// Whose count.
    pub account: Account,
    /// Its limits.
    pub limits: Limits,
    /// Its budgets: a call's money must fit into each.
    pub budgets: &'a [Budget],
    /// Those of them that the call is counted in and not held to.
    pub waived: Waived,
}

impl<'a> Scope<'a> {
    /// A count whose limits and budgets all hold.
    pub fn new(account: Account, limits: Limits, budgets: &'a [Budget]) -> Self {
        Self { account, limits, budgets, waived: Waived::default() }
    }
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
    /// What holds for it while the store cannot be reached; irrelevant where there is none.
    pub on_store_failure: OnStoreFailure,
}

impl ReserveRequest<'_> {
    /// How much it takes of a rate.
    pub(crate) fn of(&self, rate: Rate) -> u64 {
        match rate.of {
            Counted::Requests => self.requests,
            Counted::Tokens => self.tokens,
        }
    }
}
