//! The store's rules in memory: what the functions do, without a server, but for their bounds. Of those it has the one that refuses a
//! part of an exchange: how many periods of budgets begin in a day.
//!
//! The simulation of the leases runs against it, and a test with a real server holds the functions against it.

mod balance;
mod balances;
mod lease_requests;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use vectoll_config::PicoUsd;

use self::balance::BudgetBalance;
pub use self::balance::Refusal;
use super::protocol::{AccountName, Claim, Correction, Entry, Exchange, Identity, Money, Rate, Reply, SPAN, Spend};

/// How long a claim of parallel requests lasts without being renewed, in milliseconds.
const CLAIM_LIFE: u64 = 10_000;
/// How long a sidecar counts that is not heard of, in milliseconds.
const LIVE: u64 = 10_000;
/// A day, in milliseconds.
const DAY: u64 = 86_400_000;
/// A server, as far as it matters: its present start, and its clock.
#[derive(Clone, Debug)]
pub struct Server {
    /// Which start of which server.
    pub run: Arc<str>,
    /// How long ago that was, in whole seconds.
    pub uptime: u64,
    /// Its clock, in milliseconds since 1970. It may step.
    pub clock: u64,
}

/// What the store holds of one Team.
#[derive(Clone, Debug, Default)]
pub struct Model {
    seen: u64,
    run: Option<Arc<str>>,
    hold: u64,
    live: HashMap<Arc<str>, u64>,
    live_count: Option<(u64, u64)>,
    marks: HashMap<Arc<str>, Mark>,
    windows: HashMap<(AccountName, Rate), BTreeMap<u64, u64>>,
    claims: HashMap<AccountName, HashMap<Arc<str>, (u64, u64)>>,
    balances: HashMap<(AccountName, Arc<str>), BudgetBalance>,
    /// The periods of each account that began, and their ends.
    periods: HashMap<AccountName, BTreeMap<Arc<str>, Option<u64>>>,
    ledger: BTreeMap<Arc<str>, Totals>,
    users: u64,
    /// How many balances may begin in a day; none: as many as in the functions.
    most_new_balances: Option<u64>,
    /// A day, and the balances that began in it.
    begun: (u64, u64),
}

#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    epoch: u64,
    number: u64,
    applied: u64,
    spent_to: u64,
}

/// Calls, tokens and pico-USD of a field of the ledger.
pub type Totals = (u64, u64, u64);

impl Model {
    /// One with another bound on the periods of budgets that begin in a day.
    pub fn with_most_new_balances(most: u64) -> Self {
        Self { most_new_balances: Some(most), ..Self::default() }
    }

    /// One exchange.
    pub fn exchange(&mut self, server: &Server, identity: &Identity, exchange: &Exchange) -> Reply {
        let Exchange { number, after, asks_only, life, pause, most_users, corrections, claims, spend, holds, groups } =
            exchange;
        let now = self.seen.max(server.clock);
        self.seen = now;
        if self.begun.0 != now / DAY {
            self.begun = (now / DAY, 0);
        }
        if self.run.as_ref() != Some(&server.run) {
            if self.run.is_some() || server.uptime * 1000 < *pause || (!asks_only && *after > 0) {
                self.hold = now + pause;
            }
            self.run = Some(server.run.clone());
        }
        let sidecars = self.count(&identity.sidecar, now);
        let mark = self.marks.get(&identity.sidecar).copied();
        let mut spent_to = mark.unwrap_or_default().spent_to;
        let reply = |model: &Self, spent_to, answers| Reply {
            now,
            run: server.run.clone(),
            pause: model.hold.saturating_sub(now),
            before: mark.map(|mark| (mark.epoch, mark.applied)),
            spent_to,
            sidecars,
            answers,
        };
        if mark.is_some_and(|mark| (identity.epoch, *number) <= (mark.epoch, mark.number)) {
            return reply(self, spent_to, Vec::new());
        }
        let before = mark.filter(|mark| mark.epoch == identity.epoch).map_or(0, |mark| mark.applied);
        let note = |model: &mut Self, applied, spent_to| {
            let present = Mark { epoch: identity.epoch, number: *number, applied, spent_to };
            model.marks.insert(identity.sidecar.clone(), present);
        };
        if before < *after && !asks_only {
            note(self, before, spent_to);
            return reply(self, spent_to, Vec::new());
        }
        for correction in corrections {
            self.correct(correction, now);
        }
        for Claim { account, count } in claims {
            let held = self.claims.entry(account.clone()).or_default();
            match count {
                0 => drop(held.remove(&identity.sidecar)),
                count => drop(held.insert(identity.sidecar.clone(), (*count, now + CLAIM_LIFE))),
            }
        }
        let Spend { from, to, charges, entries } = spend;
        if to > from && *from == spent_to {
            for charge in charges {
                self.charge(charge, now);
            }
            for Entry { month: _, field, requests, tokens, money } in entries {
                let field = self.user_field(field, *most_users);
                let totals = self.ledger.entry(field).or_default();
                *totals = (totals.0 + requests, totals.1 + tokens, totals.2 + money.pico());
            }
            spent_to = *to;
        }
        if mark.is_some_and(|mark| mark.epoch != identity.epoch) {
            for balance in self.balances.values_mut() {
                balance.held.remove(&identity.sidecar);
            }
        }
        for Money { account, period, amount } in holds {
            // What gives back nothing begins nothing.
            let balance = if *amount > PicoUsd::ZERO {
                self.begin(account, period, &[], now)
            } else {
                self.balance(account, period)
            };
            balance.held.insert(identity.sidecar.clone(), *amount);
        }
        let answers = groups.iter().map(|group| self.answer(identity, group, now, *life, sidecars)).collect();
        note(self, if *asks_only { before } else { *number }, spent_to);
        reply(self, spent_to, answers)
    }

    /// The latest time that there was, in milliseconds since 1970.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// What was spent of a budget, and what sidecars hold of it.
    pub fn money(&self, account: &str, period: &str) -> (PicoUsd, PicoUsd) {
        let balance = self.balances.get(&(account.into(), period.into()));
        balance.map_or((PicoUsd::ZERO, PicoUsd::ZERO), |balance| (balance.spent, balance.taken().minus(balance.spent)))
    }

    /// The last call that a budget had no money for, unless there has been room for it since.
    pub fn refusal(&self, account: &str, period: &str) -> Option<Refusal> {
        self.balances.get(&(account.into(), period.into()))?.refused
    }

    /// The totals of a field of the ledger.
    pub fn total(&self, field: &str) -> Totals {
        self.ledger.get(field).copied().unwrap_or_default()
    }

    /// Parallel requests that are claimed of an account at a moment of the store's time.
    pub fn parallel(&self, account: &str, now: u64) -> u64 {
        let held = self.claims.get(account).into_iter().flatten();
        held.filter(|(_, (_, ends))| *ends > now).map(|(_, (count, _))| count).sum()
    }

    /// The field of a user that is new and one too many is that of all of those.
    fn user_field(&mut self, field: &Arc<str>, most: u64) -> Arc<str> {
        if !field.starts_with("u:") || self.ledger.contains_key(field) {
            return field.clone();
        }
        if self.users < most {
            self.users += 1;
            field.clone()
        } else {
            "u:_other".into()
        }
    }

    fn count(&mut self, sidecar: &Arc<str>, now: u64) -> u64 {
        let is_new = self.live.insert(sidecar.clone(), now).is_none();
        match self.live_count {
            Some((count, at)) if now - at < 1000 && !is_new => count,
            Some(_) | None => {
                self.live.retain(|_, heard| now - *heard <= LIVE);
                let count = self.live.len().max(1) as u64;
                self.live_count = Some((count, now));
                count
            }
        }
    }

    fn correct(&mut self, correction: &Correction, now: u64) {
        let Correction { account, rate, slot, amount } = correction;
        let present = rate.slot(now);
        if slot + SPAN > present && *slot <= present + SPAN {
            let window = self.windows.entry((account.clone(), *rate)).or_default();
            let counted = window.entry(*slot).or_default();
            *counted = counted.saturating_add_signed(*amount);
        }
    }
}

#[cfg(test)]
mod tests;
