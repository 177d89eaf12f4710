//! Counters of a sidecar among others: it admits from what the store has leased to it, and asks when that is not enough.
//!
//! One [`session::Session`] for each Team holds leases of windows ([`pool`]), claims of parallel requests ([`slots`]) and money
//! ([`budget_balance`]), and speaks to the store in exchanges ([`exchange`]), one at a time, each about the accounts that changed
//! ([`holdings`]). While the store is away it gives this sidecar's share ([`away`]). `docs/store.md` has the algorithm and its bounds;
//! [`simulation`] holds it to them.

mod admit;
mod away;
mod budget_balance;
mod exchange;
#[cfg(test)]
mod full_walk;
mod holding;
mod holdings;
mod link;
mod meter;
mod names;
mod parts;
mod pending;
mod pool;
mod queue;
mod rate_limits;
mod rates;
mod recall;
mod recalled;
mod reply;
mod reservation;
mod reserve;
mod session;
mod settle;
#[cfg(test)]
mod settled;
#[cfg(test)]
mod simulation;
mod slots;
mod terms;
#[cfg(test)]
mod tree_simulation;
mod unacknowledged_spend;
mod waiter;
mod weigh;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;
use vectoll_config::{
    PicoUsd, Uid,
    store::is_backend_account,
    stretch,
    v1::{Budget, Limits},
};

use self::session::Session;
pub(crate) use self::{
    exchange::Batch,
    names::{account_name, period_of},
    recalled::FormerAdmissions,
    terms::{LeaseTerms, TERMS},
};
pub use self::{pending::Pending, reservation::SharedReservation};
use super::{Account, Open, RateLimitStatus, Spending, users::Users};
use crate::store::protocol::{Exchange, Identity, Reply};
use vectoll_clock::{Clock, Now};
use vectoll_ledger::{charge::BudgetPeriod, used::Used};

/// After this time of the process what former ones admitted has left every window.
const RECALLED_FOR: Duration = Duration::from_mins(2);
/// The counters of all Teams, seen from one sidecar.
#[derive(Debug)]
pub struct SharedCounters {
    clock: Clock,
    table: Mutex<Table>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Table {
    sessions: HashMap<Uid, Session>,
    users: Users,
    /// What is open in sessions of Teams above, of calls that are counted in their own Team's: each is one call.
    beside: Open,
    /// When what was recalled was looked at last.
    forgotten: Duration,
    /// The journal is being read: nobody is granted anything before it is known what earlier processes spent.
    is_recalling: bool,
    /// What they admitted lately, until there is a session that it counts in.
    recalled: FormerAdmissions,
}

impl SharedCounters {
    /// Counters that nothing is counted in. The clock is for calls that leave while they wait.
    pub fn new(clock: Clock) -> Self {
        Self { clock, table: Mutex::default(), wake: Notify::new() }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // A panic while counting leaves numbers, not broken memory: to go on is better than to refuse every call.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn user(&self, team: &Uid, user: &Arc<str>, most: u32) -> Arc<str> {
        self.table().users.name(team, user, most)
    }

    pub(super) fn settle(&self, mut reservation: SharedReservation, used: Used, number: u64, now: Now) {
        let mut table = self.table();
        let mut wakes = false;
        for other in table.part(&mut reservation) {
            // Those whose budgets the money counts in are told of it; to all others it is no spend.
            let number = if other.charges.is_empty() { 0 } else { number };
            wakes |= table.settle(other, used, number, now);
        }
        wakes |= table.settle(reservation, used, number, now);
        if wakes {
            self.wake.notify_one();
        }
    }

    fn end_waits_in_vain(&self, team: &Uid) {
        let now = self.clock.now();
        self.table().session(team).end_waits_in_vain(now);
    }

    pub(super) fn give_back(&self, mut reservation: SharedReservation) {
        let mut table = self.table();
        for one in table.part(&mut reservation).into_iter().chain([reservation]) {
            let team = one.team.clone();
            table.session(&team).give_back(one);
        }
        self.wake.notify_one();
    }

    pub(super) fn rate_limits(&self, reservation: &SharedReservation, scopes: &[Limits], now: Now) -> RateLimitStatus {
        self.table().rate_limits_of(reservation, scopes, now)
    }

    pub(super) fn spending(&self, team: &Uid, account: &Account, budget: &Budget, now: Now) -> Option<Spending> {
        let taken = self.table().sessions.get(team)?.taken(account, budget, now)?;
        Some(Spending { taken, ends: stretch(budget, now.wall).end })
    }

    pub(super) fn open(&self) -> Open {
        let table = self.table();
        let of_calls = table.sessions.iter().filter(|(account, _)| !is_backend_account(account));
        let all = of_calls.fold(Open::default(), |sum, (_, session)| Open {
            calls: sum.calls + session.open.calls,
            tokens: sum.tokens.saturating_add(session.open.tokens),
            money: sum.money.plus(session.open.money),
        });
        let beside = table.beside;
        Open {
            calls: all.calls.saturating_sub(beside.calls),
            tokens: all.tokens.saturating_sub(beside.tokens),
            money: all.money.minus(beside.money),
        }
    }
}

impl Table {
    /// Returns whether somebody is to be told of it soon.
    fn settle(&mut self, reservation: SharedReservation, used: Used, number: u64, now: Now) -> bool {
        let team = reservation.team.clone();
        let session = self.session(&team);
        let soon = session.link.soon;
        session.settle(reservation, used, number, now);
        let rises = session.link.soon && !soon;
        // What a backend without a budget was asked for is no spend: there is nothing to be told soon.
        let is_news = number > 0 && !std::mem::replace(&mut session.link.spend_waits, true);
        is_news || rises
    }

    fn session(&mut self, team: &Uid) -> &mut Session {
        if !self.sessions.contains_key(team) {
            let mut session = Session::new(TERMS);
            session.link.away = self.is_recalling;
            if let Some(admissions) = self.recalled.take(team) {
                session.recall(admissions);
            }
            self.sessions.insert(team.clone(), session);
        }
        self.sessions.entry(team.clone()).or_insert_with(|| Session::new(TERMS))
    }

    fn sweep(&mut self, now: Duration) {
        let Self { sessions, users, .. } = self;
        users.sweep(now, |team, user| sessions.get(team).is_some_and(|session| session.holdings.has_user(user)));
        if now >= RECALLED_FOR && now.saturating_sub(self.forgotten) >= RECALLED_FOR {
            self.forgotten = now;
            self.recalled = FormerAdmissions::default();
        }
    }
}

/// For whoever speaks to the store.
impl SharedCounters {
    /// Waits until something may be due sooner than it was.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// The Teams that there is something to be said of, and when. `unknown`: those with spend that the store is not known to
    /// have.
    pub(crate) fn due(&self, now: Duration, unknown: &BTreeSet<Uid>) -> Vec<(Uid, Duration)> {
        let mut table = self.table();
        for team in unknown {
            table.session(team);
        }
        let due = |(team, session): (&Uid, &Session)| {
            let spend = session.link.spend_waits || unknown.contains(team);
            Some((team.clone(), session.due(now, spend)?))
        };
        table.sessions.iter().filter_map(due).collect()
    }

    /// The next exchange of a Team, with the spend beyond what the store is known to have.
    pub(crate) fn exchange(&self, team: &Uid, most_users: u32, batch: impl FnOnce(u64) -> Batch, now: Now) -> Exchange {
        // Read before the lock is taken: what is settled in between is held back by the session, and sent the next time.
        let known = self.table().session(team).link.spent_to;
        let batch = batch(known);
        self.table().session(team).exchange(batch, most_users, now)
    }

    /// The store's answer. Returns the last spend that it is known to have.
    pub(crate) fn reply(&self, team: &Uid, identity: &Identity, reply: &Reply, now: Now) -> u64 {
        let mut table = self.table();
        let session = table.session(team);
        session.reply(identity, reply, now);
        session.link.spent_to
    }

    /// The exchange under way has failed.
    pub(crate) fn lost(&self, team: &Uid, now: Now) {
        self.table().session(team).lost(now);
    }

    /// The store is away: those who wait have their share, or are refused. `but`: those Teams whose answers are still to come.
    pub(crate) fn lose_waiters(&self, but: &BTreeSet<Uid>, now: Now) {
        for (team, session) in &mut self.table().sessions {
            if !but.contains(team) {
                session.lost(now);
            }
        }
    }

    /// Forgets a Team. False: a call of it is under way or waits.
    pub(crate) fn forget(&self, team: &Uid) -> bool {
        let mut table = self.table();
        let busy = table.sessions.get(team).is_some_and(Session::is_busy);
        if !busy {
            table.sessions.remove(team);
        }
        !busy
    }

    /// Forgets backends that have no limits any more, or are gone: nobody is told of them, and the store forgets them by itself.
    pub(crate) fn keep_backends(&self, is_limited: impl Fn(&Uid) -> bool) {
        let is_kept =
            |account: &Uid, session: &Session| !is_backend_account(account) || is_limited(account) || session.is_busy();
        self.table().sessions.retain(|account, session| is_kept(account, session));
    }

    /// Whether something is held, or not told yet.
    pub(crate) fn has_more_to_say(&self) -> bool {
        self.table().sessions.values().any(Session::has_more_to_say)
    }

    /// Something has changed that is not counted: a config.
    pub fn ring(&self) {
        self.wake.notify_one();
    }

    /// Gives back what no call has, from the next exchange on: this sidecar is about to stop.
    pub(crate) fn let_go(&self, now: Now) {
        for session in self.table().sessions.values_mut() {
            session.leaving = true;
            session.let_go(now);
        }
    }

    /// From now on until [`SharedCounters::recalled`], calls that need the store are refused at once: it is not asked before the journal
    /// is read.
    pub fn begin_recall(&self) {
        let mut table = self.table();
        table.is_recalling = true;
        table.sessions.values_mut().for_each(|session| session.link.away = true);
    }

    /// The journal is read: what earlier processes of this sidecar admitted lately.
    pub(crate) fn recalled(&self, former: FormerAdmissions) {
        let mut table = self.table();
        table.is_recalling = false;
        table.recalled = former;
        let Table { sessions, recalled, .. } = &mut *table;
        for (team, session) in sessions {
            session.link.away = false;
            if let Some(admissions) = recalled.take(team) {
                session.recall(admissions);
            }
        }
    }

    /// Spend of an earlier process that the store may not know.
    pub(crate) fn owe(&self, team: &Uid, charge: &Arc<BudgetPeriod>, number: u64, spent: PicoUsd) {
        self.table().session(team).owe(charge, number, spent);
    }
}
