//! Counters in this process's memory: exact for one sidecar on its own.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use slab::Slab;
use vectoll_config::{
    PicoUsd, Uid, ZoneName,
    v1::{Budget, Limits, Period},
};

use super::{
    Account, Ask, Counters, Denial, Exhausted, Open, Quota, Retry, Scope, Standing, Used,
    budget::stretch,
    window::{Window, slot_of},
};
use crate::clock::Now;

/// The name that users beyond a team's `maxUsers` share.
pub(crate) const OTHER: &str = "_other";
/// How often counts that hold nothing any more are dropped.
const SWEEP: Duration = Duration::from_mins(1);
/// Ways of setting a budget that are remembered at once.
const MOST_PURSES: usize = 4;

/// Counters of one process. One lock guards all: a decision over several scopes is one step.
#[derive(Debug, Default)]
pub struct Memory {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    index: HashMap<Account, usize>,
    counts: Slab<Count>,
    users: HashMap<Uid, HashSet<Arc<str>>>,
    open: Open,
    swept: Duration,
    /// The newest slot that anything was counted in. Moments are taken before the lock: under it they only move forward.
    slot: u64,
    /// How many reservations there have been.
    sequence: u64,
    /// Grows with every change of money.
    changes: u64,
}

#[derive(Debug, Default)]
struct Count {
    requests: Window,
    tokens: Window,
    parallel: u64,
    /// One for each way that the budget was set lately (it may change while calls run): all of them are kept up.
    purses: Vec<Purse>,
}

/// Money spent in one period of one budget.
#[derive(Debug)]
struct Purse {
    period: Period,
    zone: ZoneName,
    start: Timestamp,
    end: Option<Timestamp>,
    /// Booked and reserved together: what the limit is held against.
    taken: PicoUsd,
    /// It holds the reservations that came after this one in the table's sequence.
    since: u64,
}

impl Purse {
    fn is_for(&self, budget: &Budget) -> bool {
        self.period == budget.period && self.zone == budget.time_zone
    }

    fn is_over(&self, wall: Timestamp) -> bool {
        self.end.is_some_and(|end| end <= wall)
    }
}

/// A reservation. It must be settled or given back: the permit that holds it sees to that.
#[derive(Debug)]
pub struct Held {
    counts: Vec<usize>,
    slot: u64,
    sequence: u64,
    tokens: u64,
    money: PicoUsd,
}

impl Held {
    /// What was reserved.
    pub fn reserved(&self) -> Used {
        Used { tokens: self.tokens, money: self.money }
    }
}

/// What is taken of a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spending {
    /// Booked and reserved in the present period.
    pub taken: PicoUsd,
    /// When the period ends; none: never.
    pub ends: Option<Timestamp>,
}

/// A budget's money as it is kept over a restart.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Remembered {
    account: RememberedAccount,
    period: Period,
    zone: ZoneName,
    start: Timestamp,
    taken: u64,
}

/// The accounts that have budgets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
enum RememberedAccount {
    Key(Uid),
    Team(Uid),
    TeamUser(Uid, Arc<str>),
}

impl Memory {
    fn table(&self) -> MutexGuard<'_, Table> {
        // A panic while counting leaves numbers, not broken memory: to go on is better than to refuse every call.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The budgets' money, for keeping. What is reserved counts as spent: after a restart nobody can settle it.
    pub fn remember(&self) -> Vec<Remembered> {
        let mut all = Vec::new();
        {
            let table = self.table();
            for (account, &id) in &table.index {
                let account = match account {
                    Account::Key(uid) => RememberedAccount::Key(uid.clone()),
                    Account::Team(uid) => RememberedAccount::Team(uid.clone()),
                    Account::TeamUser(uid, user) => RememberedAccount::TeamUser(uid.clone(), user.clone()),
                    Account::KeyUser(..) | Account::KeyModel(..) | Account::TeamModel(..) => continue,
                };
                for purse in table.counts.get(id).iter().flat_map(|count| &count.purses) {
                    all.push(Remembered {
                        account: account.clone(),
                        period: purse.period,
                        zone: purse.zone.clone(),
                        start: purse.start,
                        taken: purse.taken.pico(),
                    });
                }
            }
        }
        // Not under the lock: no call waits for it.
        all.sort_by(|a, b| a.account.cmp(&b.account).then(a.start.cmp(&b.start)));
        all
    }

    /// Grows whenever there is something new to remember.
    pub fn changes(&self) -> u64 {
        self.table().changes
    }

    /// Takes up what a former process of this sidecar remembered. Periods that are over are dropped when next used.
    pub fn recall(&self, remembered: Vec<Remembered>) {
        let mut table = self.table();
        for entry in remembered {
            let budget = Budget { limit: PicoUsd::ZERO, period: entry.period, time_zone: entry.zone };
            let period = stretch(&budget, entry.start);
            let account = match entry.account {
                RememberedAccount::Key(uid) => Account::Key(uid),
                RememberedAccount::Team(uid) => Account::Team(uid),
                RememberedAccount::TeamUser(uid, user) => {
                    table.users.entry(uid.clone()).or_default().insert(user.clone());
                    Account::TeamUser(uid, user)
                }
            };
            let id = table.id(&account);
            if let Some(count) = table.counts.get_mut(id) {
                count.purses.push(Purse {
                    period: entry.period,
                    zone: budget.time_zone,
                    start: period.start,
                    end: period.end,
                    taken: PicoUsd::new(entry.taken),
                    since: 0,
                });
            }
        }
    }
}

impl Counters for Memory {
    fn user(&self, team: &Uid, user: &Arc<str>, most: u32) -> Arc<str> {
        let mut table = self.table();
        if !table.users.contains_key(team) {
            table.users.insert(team.clone(), HashSet::new());
        }
        let Some(users) = table.users.get_mut(team) else { return OTHER.into() };
        if let Some(known) = users.get(user) {
            return known.clone();
        }
        if users.len() >= most as usize {
            return OTHER.into();
        }
        users.insert(user.clone());
        user.clone()
    }

    fn reserve(&self, ask: &Ask<'_>, now: Now) -> Result<Held, Denial> {
        let mut table = self.table();
        let slot = table.present(now);
        if now.elapsed.saturating_sub(table.swept) >= SWEEP {
            table.sweep(now);
        }
        let since = table.sequence;
        let mut counts = Vec::with_capacity(ask.scopes.len());
        let mut denied: Option<Denial> = None;
        for (place, scope) in ask.scopes.iter().enumerate() {
            let id = table.id(&scope.account);
            let Some(count) = table.counts.get_mut(id) else { continue };
            count.advance(slot, scope.budget, now.wall, since);
            counts.push(id);
            let longest = count.refusals(scope, ask, now).max_by_key(|denial| denial.retry);
            if let Some(denial) = longest.map(|denial| Denial { scope: place, ..denial })
                && denied.is_none_or(|worst| denial.retry > worst.retry)
            {
                denied = Some(denial);
            }
        }
        if let Some(denial) = denied {
            return Err(denial);
        }
        for &id in &counts {
            if let Some(count) = table.counts.get_mut(id) {
                count.requests.add(slot, 1);
                count.tokens.add(slot, ask.tokens);
                count.parallel += 1;
                for purse in &mut count.purses {
                    purse.taken = purse.taken.plus(ask.money);
                }
            }
        }
        table.open.calls += 1;
        table.open.tokens = table.open.tokens.saturating_add(ask.tokens);
        table.open.money = table.open.money.plus(ask.money);
        table.sequence += 1;
        table.changes += 1;
        Ok(Held { counts, slot, sequence: table.sequence, tokens: ask.tokens, money: ask.money })
    }

    fn settle(&self, held: Held, used: Used, now: Now) {
        let mut table = self.table();
        let slot = table.present(now);
        table.close(&held, |count| {
            count.tokens.advance(slot);
            count.tokens.take_back(held.slot, held.tokens.saturating_sub(used.tokens));
            // More than was reserved: a debt, which counts from now on.
            count.tokens.add(slot, used.tokens.saturating_sub(held.tokens));
            used.money
        });
    }

    fn give_back(&self, held: Held, _now: Now) {
        let mut table = self.table();
        table.close(&held, |count| {
            count.tokens.take_back(held.slot, held.tokens);
            count.requests.take_back(held.slot, 1);
            PicoUsd::ZERO
        });
    }

    fn standing(&self, held: &Held, scopes: &[Limits], now: Now) -> Standing {
        let mut table = self.table();
        let slot = table.present(now);
        let mut standing = Standing::default();
        for (&id, limits) in held.counts.iter().zip(scopes) {
            let Some(count) = table.counts.get_mut(id) else { continue };
            count.requests.advance(slot);
            count.tokens.advance(slot);
            tighten(&mut standing.requests, limits.requests_per_minute, &count.requests, now);
            tighten(&mut standing.tokens, limits.tokens_per_minute, &count.tokens, now);
        }
        standing
    }

    fn spending(&self, account: &Account, budget: &Budget, now: Now) -> Spending {
        let table = self.table();
        let count = table.index.get(account).and_then(|&id| table.counts.get(id));
        let purse =
            count.and_then(|count| count.purses.iter().find(|purse| purse.is_for(budget) && !purse.is_over(now.wall)));
        if let Some(purse) = purse {
            return Spending { taken: purse.taken, ends: purse.end };
        }
        let period = stretch(budget, now.wall);
        let taken = count.map_or(PicoUsd::ZERO, |count| count.carried(period.start, now.wall).0);
        Spending { taken, ends: period.end }
    }

    fn open(&self) -> Open {
        self.table().open
    }
}

fn tighten(quota: &mut Option<Quota>, limit: Option<u64>, window: &Window, now: Now) {
    let Some(limit) = limit else { return };
    let remaining = limit.saturating_sub(window.sum());
    if quota.is_none_or(|tightest| remaining < tightest.remaining) {
        *quota = Some(Quota { limit, remaining, reset: window.reset(now.elapsed) });
    }
}

impl Table {
    fn id(&mut self, account: &Account) -> usize {
        if let Some(&id) = self.index.get(account) {
            return id;
        }
        let id = self.counts.insert(Count::default());
        self.index.insert(account.clone(), id);
        id
    }

    /// The slot of a moment, or the newest one there was.
    fn present(&mut self, now: Now) -> u64 {
        self.slot = self.slot.max(slot_of(now.elapsed));
        self.slot
    }

    /// Ends a reservation in every scope; `undo` corrects the windows and returns the money that stays booked.
    fn close(&mut self, held: &Held, mut undo: impl FnMut(&mut Count) -> PicoUsd) {
        for &id in &held.counts {
            let Some(count) = self.counts.get_mut(id) else { continue };
            count.parallel = count.parallel.saturating_sub(1);
            let booked = undo(count);
            // A call belongs to the period in which it was admitted. In a later one nothing was reserved for it.
            for purse in count.purses.iter_mut().filter(|purse| purse.since < held.sequence) {
                purse.taken = purse.taken.minus(held.money).plus(booked);
            }
        }
        self.open.calls = self.open.calls.saturating_sub(1);
        self.open.tokens = self.open.tokens.saturating_sub(held.tokens);
        self.open.money = self.open.money.minus(held.money);
        self.changes += 1;
    }

    /// Drops the counts that say nothing: no call under way, empty windows, no money spent in the present period.
    fn sweep(&mut self, now: Now) {
        self.swept = now.elapsed;
        let slot = self.present(now);
        let Self { index, counts, users, .. } = self;
        index.retain(|account, &mut id| {
            let Some(count) = counts.get_mut(id) else { return false };
            count.requests.advance(slot);
            count.tokens.advance(slot);
            let over = count.purses.iter().all(|purse| purse.taken == PicoUsd::ZERO || purse.is_over(now.wall));
            let idle = count.parallel == 0 && count.requests.is_empty() && count.tokens.is_empty() && over;
            if idle {
                counts.remove(id);
                if let Account::TeamUser(team, user) = account
                    && let Some(users) = users.get_mut(team)
                {
                    users.remove(user);
                }
            }
            !idle
        });
        // A user that only keys count has no account in the team: its name is free when no key counts it any more.
        let counted: HashSet<&Arc<str>> = index
            .keys()
            .filter_map(|account| match account {
                Account::KeyUser(_, user) | Account::TeamUser(_, user) => Some(user),
                Account::Key(_) | Account::Team(_) | Account::KeyModel(..) | Account::TeamModel(..) => None,
            })
            .collect();
        for names in users.values_mut() {
            names.retain(|name| counted.contains(name));
        }
        users.retain(|_, names| !names.is_empty());
    }
}

impl Count {
    /// Brings windows and periods up to the present.
    fn advance(&mut self, slot: u64, budget: Option<&Budget>, wall: Timestamp, since: u64) {
        self.requests.advance(slot);
        self.tokens.advance(slot);
        // A budget that was taken away keeps its count: put back within the period, it goes on where it was.
        let Some(budget) = budget else { return };
        if self.purses.iter().any(|purse| purse.is_for(budget) && !purse.is_over(wall)) {
            return;
        }
        let period = stretch(budget, wall);
        let (taken, since) = match self.carried(period.start, wall) {
            (PicoUsd::ZERO, _) => (PicoUsd::ZERO, since),
            carried => carried,
        };
        self.purses.retain(|purse| !purse.is_over(wall) && !purse.is_for(budget));
        if self.purses.len() >= MOST_PURSES {
            self.purses.remove(0);
        }
        self.purses.push(Purse {
            period: budget.period,
            zone: budget.time_zone.clone(),
            start: period.start,
            end: period.end,
            taken,
            since,
        });
    }

    /// What a period that begins at `start` inherits: the most that was taken in a period within it. A budget whose
    /// period or time zone is edited does not begin at nothing.
    fn carried(&self, start: Timestamp, wall: Timestamp) -> (PicoUsd, u64) {
        self.purses
            .iter()
            .filter(|purse| purse.start >= start && !purse.is_over(wall))
            .map(|purse| (purse.taken, purse.since))
            .max()
            .unwrap_or((PicoUsd::ZERO, 0))
    }

    /// Everything that stands against a call in this scope.
    fn refusals(&self, scope: &Scope<'_>, ask: &Ask<'_>, now: Now) -> impl Iterator<Item = Denial> {
        let denial = |exhausted, limit, used, retry| Denial { scope: 0, exhausted, limit, used, retry };
        let rate = |limit: Option<u64>, window: &Window, amount, exhausted| {
            let limit = limit?;
            let retry = match window.wait(now.elapsed, limit, amount) {
                Some(Duration::ZERO) => return None,
                Some(wait) => Retry::After(wait),
                None => Retry::Never,
            };
            Some(denial(exhausted, limit, window.sum(), retry))
        };
        let requests = rate(scope.limits.requests_per_minute, &self.requests, 1, Exhausted::Requests);
        let tokens = rate(scope.limits.tokens_per_minute, &self.tokens, ask.tokens, Exhausted::Tokens);
        let parallel = scope
            .limits
            .parallel_requests
            .filter(|&limit| self.parallel >= limit)
            .map(|limit| denial(Exhausted::Parallel, limit, self.parallel, Retry::WhenFree));
        let budget = scope.budget.and_then(|budget| {
            let purse = self.purses.iter().find(|purse| purse.is_for(budget) && !purse.is_over(now.wall))?;
            if purse.taken.plus(ask.money) <= budget.limit {
                return None;
            }
            let retry = match purse.end {
                Some(end) if ask.money <= budget.limit => {
                    Retry::After(Duration::try_from(end.duration_since(now.wall)).unwrap_or_default())
                }
                Some(_) | None => Retry::Never,
            };
            Some(denial(Exhausted::Budget, budget.limit.pico(), purse.taken.pico(), retry))
        });
        [requests, tokens, parallel, budget].into_iter().flatten()
    }
}

#[cfg(test)]
mod tests;
