//! Calls from their beginning to their end, and sidecars from theirs to theirs.

use tokio::sync::oneshot;
use vectoll_config::PicoUsd;

use super::{
    super::{
        TERMS, admit::Reserved, holding::Taken, pool::Source, reservation::Outcome, session::Session, settled::Settled,
    },
    config::{KEYS, MODELS, PRICE, USERS, account_named, accounts_of, team},
    simulated_cluster::{Admission, Event, Running, SimulatedCall, SimulatedCluster, WaitingCall},
};
use crate::counters::{Account, ReserveRequest, Scope, account_name, period_of};
use vectoll_ledger::{charge::BudgetPeriod, used::Used};

/// How long a sidecar that stops goes on telling the store.
const LAST_WORDS: u64 = 2_000;

impl SimulatedCluster {
    pub(super) fn start(&mut self, at: usize) {
        let mut session = Session::new(TERMS);
        for settled in &self.sidecars[at].journal {
            for charge in &settled.charges {
                session.owe(charge, settled.number, PicoUsd::new(settled.money));
            }
        }
        let newest = self.configs.len() - 1;
        let sidecar = &mut self.sidecars[at];
        sidecar.epoch += 1;
        sidecar.config = newest;
        sidecar.leaving = false;
        sidecar.alone_until = 0;
        sidecar.session = Some(session);
        self.wake(at);
    }

    pub(super) fn call(&mut self, at: usize) {
        let tokens = if self.rng.u8(0..10) == 0 { self.rng.u64(1..600) } else { self.rng.u64(1..80) };
        let used = if self.rng.bool() { tokens } else { self.rng.u64(0..=tokens) };
        // One key has most of the calls.
        let key = if self.rng.bool() { 0 } else { self.rng.usize(0..KEYS) };
        let accounts = accounts_of(key, self.rng.usize(0..USERS), self.rng.usize(0..MODELS));
        let call = SimulatedCall { accounts, tokens, used };
        let (now, team, on_store_failure) = (self.moment(), team(), self.kind.on_failure);
        let alone = self.now < self.sidecars[at].alone_until;
        let sidecar = &mut self.sidecars[at];
        let version = sidecar.config;
        let Some(session) = sidecar.session.as_mut().filter(|_| !sidecar.leaving && !alone) else { return };
        let config = &self.configs[version];
        let scopes = accounts.map(|at| Scope::new(self.accounts[at].clone(), config.limits[at], &config.budgets[at]));
        let money = PicoUsd::new(tokens * PRICE);
        let ask = ReserveRequest { team: &team, scopes: &scopes, requests: 1, tokens, money, on_store_failure };
        match session.reserve(&ask, now) {
            Reserved::Now(outcome) => self.admitted(at, outcome, call),
            Reserved::Later(outcome) => sidecar.waiting.push(WaitingCall { outcome, call, config: version }),
        }
        self.wake(at);
    }

    /// Calls that waited and were told.
    pub(super) fn collect(&mut self, at: usize) {
        let mut answered = Vec::new();
        self.sidecars[at].waiting.retain_mut(|waiting| match waiting.outcome.try_recv() {
            Ok(outcome) => {
                answered.push((outcome, waiting.call));
                false
            }
            Err(oneshot::error::TryRecvError::Empty) => true,
            Err(oneshot::error::TryRecvError::Closed) => false,
        });
        for (outcome, call) in answered {
            self.admitted(at, outcome, call);
        }
    }

    fn admitted(&mut self, at: usize, outcome: Outcome, call: SimulatedCall) {
        let Ok(reservation) = outcome else {
            self.refused += 1;
            return;
        };
        let SimulatedCall { accounts, tokens, used } = call;
        let parts = reservation.taken.iter().flat_map(Taken::parts).flat_map(|(_, parts)| parts);
        let share = parts.into_iter().any(|part| part.source == Source::Share);
        self.shares |= share;
        let charges = reservation.charges.clone();
        for charge in &charges {
            *self.money.entry((payer(charge), period_of(charge))).or_default() += tokens * PRICE;
        }
        let admission = self.admissions.len();
        for account in accounts {
            self.lately[account].admissions.push_back(admission);
            self.lately[account].tokens += tokens;
            self.lately[account].all = (self.lately[account].all.0 + 1, self.lately[account].all.1 + tokens);
        }
        self.admissions.push(Admission { at: self.store_ms(), tokens, accounts, charges: charges.clone(), share });
        self.to_check = true;
        self.ids += 1;
        self.sidecars[at].calls.insert(self.ids, Running { reservation, admission, used, void: false, charges });
        let long = if self.rng.u8(0..30) == 0 { self.rng.u64(1_000..20_000) } else { self.rng.u64(1..400) };
        self.add(self.now + long, Event::End(at, self.ids));
    }

    pub(super) fn end(&mut self, at: usize, id: u64) {
        let Some(Running { reservation, admission, used, void: _, charges }) = self.sidecars[at].calls.remove(&id)
        else {
            return;
        };
        let now = self.moment();
        let reserved = std::mem::replace(&mut self.admissions[admission].tokens, used);
        for account in self.admissions[admission].accounts {
            let lately = &mut self.lately[account];
            lately.all.1 -= reserved - used;
            if lately.admissions.front().is_some_and(|first| *first <= admission) {
                lately.tokens -= reserved - used;
            }
        }
        for charge in &charges {
            *self.money.get_mut(&(payer(charge), period_of(charge))).unwrap() -= (reserved - used) * PRICE;
        }
        let number = self.settle(at, used, charges);
        let session = self.sidecars[at].session.as_mut().unwrap();
        session.settle(reservation, Used { tokens: used, money: PicoUsd::new(used * PRICE) }, number, now);
        self.wake(at);
    }

    fn settle(&mut self, at: usize, tokens: u64, charges: Vec<std::sync::Arc<BudgetPeriod>>) -> u64 {
        let journal = &mut self.sidecars[at].journal;
        let number = journal.last().map_or(0, |settled| settled.number) + 1;
        journal.push(Settled { number, tokens, money: tokens * PRICE, charges });
        number
    }

    pub(super) fn crash(&mut self, at: usize, returns: bool) {
        if self.sidecars[at].session.is_none() {
            return;
        }
        // What is on its way to the store arrives all the same; nobody is there for the answer.
        let sidecar = &mut self.sidecars[at];
        sidecar.session = None;
        sidecar.waiting.clear();
        let calls = std::mem::take(&mut sidecar.calls);
        if returns {
            // The journal has the intents: after the restart they are booked at their reservation.
            for running in calls.into_values() {
                self.settle(at, self.admissions[running.admission].tokens, running.charges);
            }
            let pause = self.rng.u64(200..5_000);
            self.add(self.now + pause, Event::Start(at));
        } else {
            // What was under way may have been charged: the money stays counted, as it does in the store.
            sidecar.vanished = true;
        }
    }

    /// Stops in good order, when its calls have ended.
    pub(super) fn leave(&mut self, at: usize) {
        let now = self.moment();
        let sidecar = &mut self.sidecars[at];
        let Some(session) = sidecar.session.as_mut() else { return };
        sidecar.leaving = true;
        if sidecar.calls.is_empty() && sidecar.waiting.is_empty() {
            session.leaving = true;
            session.let_go(now);
            self.wake(at);
            self.add(self.now, Event::Gone(at, self.now + LAST_WORDS));
        } else {
            self.add(self.now + 200, Event::Leave(at));
        }
    }

    /// Is gone when the store was told everything, or does not listen. Its journal stays, and so may it.
    pub(super) fn gone(&mut self, at: usize, last: u64) {
        let spend = self.spend(at);
        let sidecar = &mut self.sidecars[at];
        let Some(session) = sidecar.session.as_ref().filter(|session| session.leaving) else { return };
        if self.now < last && (session.has_more_to_say() || spend.to > spend.from) {
            self.add(self.now + 20, Event::Gone(at, last));
            return;
        }
        sidecar.session = None;
        let pause = self.rng.u64(200..30_000);
        self.add(self.now + pause, Event::Start(at));
    }

    /// Counts alone: the store hears nothing of it. Calls that are admitted meanwhile are nobody's affair here.
    pub(super) fn part(&mut self, at: usize, long: u64) {
        let now = self.moment();
        let sidecar = &mut self.sidecars[at];
        let Some(session) = sidecar.session.as_mut() else { return };
        sidecar.alone_until = self.now + long;
        session.lost(now);
        self.stand_still(at, long);
        self.add(self.now + long, Event::Wake(at));
    }
}

/// The account that a charge is for.
pub(super) fn payer(charge: &BudgetPeriod) -> usize {
    account_named(&account_name(&Account::from(&charge.account)))
}
