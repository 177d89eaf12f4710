//! Calls that wait for a lease, and what they are short of.

use std::time::Duration;

use tokio::sync::oneshot;
use vectoll_config::{
    PicoUsd, Uid,
    v1::{Budget, Limits, OnStoreFailure},
};

use super::{
    session::{Outcome, Session},
    weigh::Weighed,
};
use crate::{
    counters::{Account, ReserveRequest, Scope},
    store::protocol::Rate,
};
use vectoll_clock::Now;

/// A call that waits for a lease.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) team: Uid,
    pub(super) scopes: Vec<(Account, Limits, Option<Budget>)>,
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
    /// What the call needs in all.
    pub(super) need: u64,
    pub(super) limit: u64,
}

/// Of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Short {
    Rate(Rate),
    Parallel,
    /// The place of the purse when it was looked for.
    Money(usize),
}

impl Waiter {
    pub(super) fn new(
        ask: &ReserveRequest<'_>,
        shortages: Vec<Shortage>,
        since: Duration,
        tell: oneshot::Sender<Outcome>,
    ) -> Self {
        let copy = |scope: &Scope<'_>| (scope.account.clone(), scope.limits, scope.budget.cloned());
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

    /// Its wish again, as when it came.
    pub(super) fn ask<'a>(&'a self, scopes: &'a [Scope<'a>]) -> ReserveRequest<'a> {
        let Self { team, requests, tokens, money, on_failure, .. } = self;
        let (requests, tokens, money, on_store_failure) = (*requests, *tokens, *money, *on_failure);
        ReserveRequest { team, scopes, requests, tokens, money, on_store_failure }
    }

    /// Its scopes again, as when it came.
    pub(super) fn scopes(&self) -> Vec<Scope<'_>> {
        self.scopes
            .iter()
            .map(|(account, limits, budget)| Scope {
                account: account.clone(),
                limits: *limits,
                budget: budget.as_ref(),
            })
            .collect()
    }
}

impl Session {
    /// A call that waited, tried again. It is told, or waits on.
    pub(super) fn try_again(&mut self, mut waiter: Waiter, now: Now) -> Option<Waiter> {
        self.count_waiting(&waiter.shortages, false);
        let outcome = {
            let scopes = waiter.scopes();
            let ask = waiter.ask(&scopes);
            match self.weigh(&ask, now, false) {
                Weighed::Fits => Ok(Ok(self.take(&ask, now, false))),
                Weighed::Denied(denial) => Ok(Err(denial)),
                Weighed::Short(shortages) => Err(shortages),
            }
        };
        match outcome {
            Ok(outcome) => {
                self.tell(waiter, outcome, now);
                None
            }
            Err(shortages) => {
                self.count_waiting(&shortages, true);
                waiter.shortages = shortages;
                Some(waiter)
            }
        }
    }

    /// Tells a call its outcome. One that has left gives everything back.
    pub(super) fn tell(&mut self, waiter: Waiter, outcome: Outcome, now: Now) {
        if let Err(Ok(held)) = waiter.tell.send(outcome) {
            self.give_back(held, now);
        }
    }

    pub(super) fn count_waiting(&mut self, shortages: &[Shortage], more: bool) {
        for shortage in shortages {
            let Some(holding) = self.holdings.get_mut(shortage.holding) else { continue };
            let waiting = match shortage.of {
                Short::Rate(rate) => &mut holding.pool(rate).waiting,
                Short::Parallel => &mut holding.slots.waiting,
                Short::Money(at) => match holding.purses.get_mut(at) {
                    Some(purse) => &mut purse.waiting,
                    None => continue,
                },
            };
            *waiting = if more { *waiting + 1 } else { waiting.saturating_sub(1) };
        }
    }
}
