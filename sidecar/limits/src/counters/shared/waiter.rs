//! Calls that wait for a lease, and what they are short of.

use std::time::Duration;

use tokio::sync::oneshot;
use vectoll_config::{
    PicoUsd, Uid,
    v1::{Budget, Limits, OnStoreFailure},
};

use super::reservation::Outcome;
use crate::{
    counters::{Account, ReserveRequest, Scope, Waived},
    store::protocol::Rate,
};

/// A call that waits for a lease.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) team: Uid,
    pub(super) scopes: Vec<(Account, Limits, Vec<Budget>, Waived)>,
    pub(super) requests: u64,
    pub(super) tokens: u64,
    pub(super) money: PicoUsd,
    pub(super) on_failure: OnStoreFailure,
    pub(super) since: Duration,
    pub(super) shortages: Vec<Shortage>,
    pub(super) tell: oneshot::Sender<Outcome>,
}

/// What a call needs more than is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shortage {
    /// The scope's place in the call.
    pub(super) scope: usize,
    pub(super) holding: usize,
    pub(super) of: Short,
    /// The budget's place in the scope, where money is short.
    pub(super) budget: usize,
    /// What the call needs in all.
    pub(super) need: u64,
    pub(super) limit: u64,
}

/// Of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Short {
    Rate(Rate),
    Parallel,
    /// The place of the balance when it was looked for.
    Money(usize),
}

impl Waiter {
    pub(super) fn new(
        ask: &ReserveRequest<'_>,
        shortages: Vec<Shortage>,
        since: Duration,
        tell: oneshot::Sender<Outcome>,
    ) -> Self {
        let copy = |scope: &Scope<'_>| (scope.account.clone(), scope.limits, scope.budgets.to_vec(), scope.waived);
        Self {
            team: ask.team.clone(),
            scopes: ask.scopes.iter().map(copy).collect(),
            requests: ask.requests,
            tokens: ask.tokens,
            money: ask.money,
            on_failure: ask.on_store_failure,
            since,
            shortages,
            tell,
        }
    }

    /// Its request again, as when it came.
    pub(super) fn ask<'a>(&'a self, scopes: &'a [Scope<'a>]) -> ReserveRequest<'a> {
        let Self { team, requests, tokens, money, on_failure, .. } = self;
        let (requests, tokens, money, on_store_failure) = (*requests, *tokens, *money, *on_failure);
        ReserveRequest { team, scopes, requests, tokens, money, on_store_failure }
    }

    /// Its scopes again, as when it came.
    pub(super) fn scopes(&self) -> Vec<Scope<'_>> {
        self.scopes
            .iter()
            .map(|(account, limits, budgets, waived)| Scope {
                account: account.clone(),
                limits: *limits,
                budgets,
                waived: *waived,
            })
            .collect()
    }
}
