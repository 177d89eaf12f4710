//! Two sessions that live through the same, each with a store of its own. One walks over all holdings.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::sync::oneshot;
use vectoll_config::{
    PicoUsd, Uid, ZoneName,
    v1::{Budget, Limits, OnStoreFailure, Period},
};

use super::super::{
    Batch, TERMS,
    admit::Reserved,
    pool::Part,
    reservation::{Outcome, SharedReservation},
    session::Session,
    settled::{Settled, spend_after},
};
use crate::{
    counters::{Account, ReserveRequest, Scope},
    store::{
        Model, Server,
        protocol::{Exchange, Identity, Rate},
    },
};
use vectoll_clock::Now;
use vectoll_ledger::{
    charge::{BudgetAccount, BudgetPeriod},
    used::Used,
};

/// Twelve seconds before a day's end in UTC.
pub(super) const WALL: u64 = 1_790_035_188_000;
pub(super) const PRICE: u64 = 1_000_000;

/// A call of a user, under one version of the limits.
#[derive(Clone, Copy, Debug)]
pub(super) struct TwinCall {
    pub(super) user: u8,
    pub(super) tokens: u64,
    /// Which accounts are limited, and to what: a bit each.
    pub(super) version: u8,
}

pub(super) struct Sidecar {
    pub(super) session: Session,
    store: Model,
    tail: VecDeque<Model>,
    open: Vec<SharedReservation>,
    waiting: Vec<oneshot::Receiver<Outcome>>,
    journal: Vec<Settled>,
    flying: Option<Exchange>,
}

pub(super) fn moment(ms: u64) -> Now {
    let wall = Timestamp::from_millisecond(i64::try_from(WALL + ms).unwrap()).unwrap();
    Now { elapsed: Duration::from_millis(ms), wall }
}

pub(super) fn budget(limit: u64, period: Period) -> Budget {
    Budget::new(PicoUsd::new(limit * PRICE), period, ZoneName::try_from("UTC".to_owned()).unwrap())
}

pub(super) fn identity() -> Identity {
    Identity { sidecar: "a".into(), epoch: 1 }
}

/// A charge of a user's budget, as the journal of an earlier process has it.
pub(super) fn user_budget_period(user: &str) -> Arc<BudgetPeriod> {
    let Budget { period, time_zone, .. } = budget(1, Period::Total);
    let start = vectoll_config::stretch(&budget(1, Period::Total), moment(0).wall).start;
    Arc::new(BudgetPeriod {
        account: BudgetAccount::TeamUser(Uid::new("team"), user.into()),
        period,
        zone: time_zone,
        start,
    })
}

impl Sidecar {
    pub(super) fn new(walks_all: bool) -> Self {
        let mut session = Session::new(TERMS);
        if walks_all {
            session.holdings.walk_all();
        }
        Self {
            session,
            store: Model::default(),
            tail: VecDeque::new(),
            open: Vec::new(),
            waiting: Vec::new(),
            journal: Vec::new(),
            flying: None,
        }
    }

    /// What became of it, in words.
    pub(super) fn call(&mut self, call: TwinCall, ms: u64) -> String {
        let TwinCall { user, tokens, version } = call;
        let (team, key, name) = (Uid::new("team"), Uid::new("key"), format!("user-{user}"));
        let is = |bit: u8| version & (1 << bit) > 0;
        let limits = |rate: bool, parallel: bool, tokens: u64| Limits {
            requests_per_minute: (rate && parallel).then_some(12),
            tokens_per_minute: rate.then_some(tokens),
            tokens_per_hour: (rate && is(6)).then_some(4 * tokens),
            requests_per_day: parallel.then_some(20),
            parallel_requests: parallel.then_some(3),
            ..Limits::NONE
        };
        let of = |limit, is_set: bool| match (is_set, is(6)) {
            (false, _) => Vec::new(),
            (true, false) => vec![budget(limit, Period::Total)],
            (true, true) => vec![budget(limit, Period::Daily), budget(2 * limit, Period::Total)],
        };
        let (of_team, of_user) = (of(400, is(2)), of(90, is(5)));
        let none = Limits::default();
        let scopes = [
            Scope::new(Account::Key(key.clone()), limits(is(0), is(1), 300), &[]),
            Scope::new(Account::Team(team.clone()), none, &of_team),
            Scope::new(Account::TeamUser(team.clone(), name.as_str().into()), limits(is(3), is(4), 80), &of_user),
            Scope::new(Account::KeyUser(key, name.as_str().into()), limits(is(4), false, 100), &[]),
        ];
        let on_store_failure = if is(7) { OnStoreFailure::Closed } else { OnStoreFailure::Local };
        let money = PicoUsd::new(tokens * PRICE);
        let ask = ReserveRequest { team: &team, scopes: &scopes, requests: 1, tokens, money, on_store_failure };
        match self.session.reserve(&ask, moment(ms)) {
            Reserved::Now(outcome) => self.record(outcome),
            Reserved::Later(outcome) => {
                self.waiting.push(outcome);
                "waits".into()
            }
        }
    }

    fn record(&mut self, outcome: Outcome) -> String {
        match outcome {
            Ok(reservation) => {
                let parts = |(rate, parts): (Rate, &[Part])| {
                    let amounts: Vec<(u64, u64)> = parts.iter().map(|part| (part.slot, part.amount)).collect();
                    (rate, amounts)
                };
                let taken: Vec<_> = reservation
                    .taken
                    .iter()
                    .map(|it| (it.holding, it.second, it.parts().map(parts).collect::<Vec<_>>(), it.charges.clone()))
                    .collect();
                let words = format!("{taken:?}");
                self.open.push(reservation);
                words
            }
            Err(denial) => format!("{denial:?}"),
        }
    }

    /// What became of calls that waited, in words.
    pub(super) fn collect(&mut self) -> Vec<String> {
        let mut outcomes = Vec::new();
        self.waiting.retain_mut(|waiting| match waiting.try_recv() {
            Ok(outcome) => {
                outcomes.push(outcome);
                false
            }
            Err(oneshot::error::TryRecvError::Empty) => true,
            Err(oneshot::error::TryRecvError::Closed) => false,
        });
        outcomes.into_iter().map(|outcome| self.record(outcome)).collect()
    }

    pub(super) fn end(&mut self, place: usize, used: u64, ms: u64) {
        if self.open.is_empty() {
            return;
        }
        let reservation = self.open.remove(place % self.open.len());
        let number = self.journal.last().map_or(0, |settled| settled.number) + 1;
        self.journal.push(Settled { number, tokens: 1, money: used * PRICE, charges: reservation.charges.clone() });
        let used = Used { tokens: used, money: PicoUsd::new(used * PRICE) };
        self.session.settle(reservation, used, number, moment(ms));
    }

    pub(super) fn give_back(&mut self, place: usize) {
        if !self.open.is_empty() {
            let reservation = self.open.remove(place % self.open.len());
            self.session.give_back(reservation);
        }
    }

    /// Spend that a former process settled.
    pub(super) fn owe(&mut self, user: u8, money: u64) {
        let number = self.journal.last().map_or(0, |settled| settled.number) + 1;
        let charge = user_budget_period(&format!("user-{user}"));
        self.session.owe(&charge, number, PicoUsd::new(money));
        self.journal.push(Settled { number, tokens: 1, money, charges: vec![charge] });
    }

    fn has_spend(&self) -> bool {
        self.journal.last().is_some_and(|last| last.number > self.session.link.spent_to)
    }

    /// When it has to speak, and whether it has to.
    pub(super) fn due(&self, ms: u64) -> (Option<Duration>, bool) {
        (self.session.due(Duration::from_millis(ms), self.has_spend()), self.session.has_more_to_say())
    }

    /// Sends an exchange, unless one is under way. What it says, in words.
    pub(super) fn send(&mut self, ms: u64) -> String {
        if self.flying.is_some() {
            return String::new();
        }
        let spend = spend_after(&self.journal, self.session.link.spent_to, 5);
        let more = self.journal.last().is_some_and(|last| last.number > spend.to);
        let exchange = self.session.exchange(Batch { spend, more }, 1_000, moment(ms));
        self.flying = Some(exchange.clone());
        // What is foreseen is asked for in another order: by those that are dirty first.
        let waiters = self.session.link.flight.as_ref().unwrap().groups.iter().filter(|it| it.waiter.is_some()).count();
        let mut words = exchange;
        words.groups[waiters..].sort_by_key(|group| format!("{group:?}"));
        format!("{words:?}")
    }

    /// The store's answer comes. `run`: which start of the store it is.
    pub(super) fn answer(&mut self, run: u64, ms: u64) {
        let Some(exchange) = self.flying.take() else { return };
        self.tail.push_back(self.store.clone());
        if self.tail.len() > 4 {
            self.tail.pop_front();
        }
        let server = Server { run: format!("run-{run}").into(), uptime: 100, clock: WALL + ms };
        let reply = self.store.exchange(&server, &identity(), &exchange);
        self.session.reply(&identity(), &reply, moment(ms));
    }

    /// No answer comes. `arrived`: the store has it all the same.
    pub(super) fn lose(&mut self, run: u64, arrived: bool, ms: u64) {
        if let Some(exchange) = self.flying.take()
            && arrived
        {
            let server = Server { run: format!("run-{run}").into(), uptime: 100, clock: WALL + ms };
            self.store.exchange(&server, &identity(), &exchange);
        }
        self.session.lost(moment(ms));
    }

    /// The store loses the last exchanges.
    pub(super) fn lose_tail(&mut self, so_many: usize) {
        let at = self.tail.len().saturating_sub(so_many);
        if let Some(former) = self.tail.get(at) {
            self.store = former.clone();
            self.tail.truncate(at);
        }
    }

    pub(super) fn let_go(&mut self, ms: u64) {
        self.session.let_go(moment(ms));
    }
}
