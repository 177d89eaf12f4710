//! What an exchange costs with very many users: how many holdings are looked at, which no machine makes more or fewer.

use std::time::{Duration, Instant};

use vectoll_config::{PicoUsd, Uid};

use super::{
    super::{Batch, TERMS, admit::Reserved, session::Session},
    twins::{Sidecar, TwinCall, WALL, budget, identity, moment, user_budget_period},
};
use crate::{
    counters::{Account, ReserveRequest, Scope, sweep_pace::MAX_SLICE},
    store::{Model, Server, protocol::Spend},
};
use vectoll_config::v1::{Limits, OnStoreFailure, Period};
use vectoll_ledger::used::Used;

const USERS: usize = 100_000;

/// A sidecar and its store.
struct Pair {
    session: Session,
    store: Model,
    ms: u64,
    settled: u64,
}

impl Pair {
    /// So many users are known to it, and none of them does anything.
    fn with_idle_users(users: usize, walks_all: bool) -> Self {
        let mut session = Session::new(TERMS);
        for user in 0..users {
            session.owe(&user_budget_period(&format!("idle-{user}")), 1, PicoUsd::new(5));
        }
        if walks_all {
            session.holdings.walk_all();
        }
        let mut pair = Self { session, store: Model::default(), ms: 1_000, settled: 1 };
        // It learns what the store has, tells it what it has not, and gives back what it held for that.
        for _ in 0..3 {
            pair.exchange();
        }
        assert!(!pair.session.has_more_to_say(), "something is left of the idle ones");
        pair.session.holdings.take_visits();
        pair
    }

    fn exchange(&mut self) {
        self.ms += 250;
        let from = self.session.link.spent_to;
        let spend = Spend { from, to: self.settled, ..Spend::default() };
        self.session.due(Duration::from_millis(self.ms), true);
        let exchange = self.session.exchange(Batch { spend, more: false }, 1_000_000, moment(self.ms));
        let server = Server { run: "one".into(), uptime: 100, clock: WALL + self.ms };
        let reply = self.store.exchange(&server, &identity(), &exchange);
        self.session.reply(&identity(), &reply, moment(self.ms + 1));
    }

    /// A call of a user that has limits and a budget, from its beginning to its end.
    fn call(&mut self, user: &str) {
        let team = Uid::new("team");
        let limits = Limits {
            tokens_per_minute: Some(100_000),
            parallel_requests: Some(4),
            requests_per_minute: Some(10_000),
            tokens_per_day: Some(10_000_000),
            ..Limits::NONE
        };
        let budgets = [budget(1_000_000, Period::Total), budget(1_000_000, Period::Monthly)];
        let scopes = [
            Scope::new(Account::Team(team.clone()), limits, &budgets),
            Scope::new(Account::TeamUser(team.clone(), user.into()), limits, &budgets),
        ];
        let (tokens, money) = (10, PicoUsd::new(10));
        let on_store_failure = OnStoreFailure::Closed;
        let ask = ReserveRequest { team: &team, scopes: &scopes, requests: 1, tokens, money, on_store_failure };
        let reservation = match self.session.reserve(&ask, moment(self.ms)) {
            Reserved::Now(outcome) => outcome.unwrap(),
            Reserved::Later(mut outcome) => {
                self.exchange();
                outcome.try_recv().unwrap().unwrap()
            }
        };
        self.settled += 1;
        self.session.settle(reservation, Used { tokens, money }, self.settled, moment(self.ms));
    }

    /// Exchanges while so many are active: holdings that were looked at in each, and how long each took.
    fn cost(&mut self, active: usize, exchanges: u32) -> (usize, Duration) {
        let mut took = Duration::ZERO;
        let mut visits = 0;
        for _ in 0..exchanges {
            for user in 0..active {
                self.call(&format!("idle-{}", user * 9_000));
            }
            self.session.holdings.take_visits();
            let began = Instant::now();
            self.exchange();
            took += began.elapsed();
            visits += self.session.holdings.take_visits();
        }
        (visits / exchanges as usize, took / exchanges)
    }
}

#[test]
fn an_exchange_looks_at_those_that_do_something_and_not_at_a_hundred_thousand_that_do_not() {
    let mut pair = Pair::with_idle_users(USERS, false);
    assert_eq!(pair.session.holdings.len(), USERS);
    let (visits, _) = pair.cost(1, 8);
    assert!((1..=24).contains(&visits), "{visits} holdings, where two are used");
    // When to speak, and whether to.
    pair.session.due(Duration::from_millis(pair.ms), false);
    pair.session.has_more_to_say();
    assert!(pair.session.holdings.take_visits() <= 6);
    // A minute after the last call nothing at all is looked at.
    for _ in 0..260 {
        pair.exchange();
    }
    pair.session.holdings.take_visits();
    pair.exchange();
    assert_eq!(pair.session.holdings.take_visits(), 0);
}

#[test]
fn a_store_that_stays_away_is_no_reason_to_look_at_all_of_them_again_and_again() {
    let mut pair = Pair::with_idle_users(1_000, false);
    pair.session.lost(moment(pair.ms));
    let told = |pair: &mut Pair| {
        let exchange = pair.session.exchange(Batch::default(), 0, moment(pair.ms));
        exchange.holds.len()
    };
    assert_eq!(told(&mut pair), 1_000, "what the store knows is in doubt");
    pair.session.lost(moment(pair.ms));
    pair.session.holdings.take_visits();
    pair.session.lost(moment(pair.ms));
    assert_eq!(pair.session.holdings.take_visits(), 0, "nothing was told meanwhile");
    assert_eq!(told(&mut pair), 1_000, "it is in doubt still");
}

#[test]
fn idle_accounts_are_forgotten_in_slices() {
    let mut pair = Pair::with_idle_users(USERS, false);
    let mut most = 0;
    // Calls all the time, for two minutes.
    for _ in 0..1_200 {
        pair.ms += 100;
        pair.session.sweep(moment(pair.ms));
        most = most.max(pair.session.holdings.take_visits());
    }
    assert_eq!(pair.session.holdings.len(), 0);
    assert!(most <= MAX_SLICE, "{most} at once");
    // And no user is kept in mind for them.
    assert!(!pair.session.holdings.has_user("idle-7"));
}

#[test]
fn a_holding_that_waits_or_is_held_is_never_forgotten() {
    let mut sidecar = Sidecar::new(false);
    let call = TwinCall { user: 1, tokens: 5, version: 0b0111_1111 };
    assert_eq!(sidecar.call(call, 5_000), "waits");
    sidecar.send(5_000);
    sidecar.answer(0, 5_001);
    assert_eq!(sidecar.collect().len(), 1);
    // The call goes on for an hour, and nothing else happens but exchanges and sweeps.
    for second in 6..3_600 {
        sidecar.send(second * 1_000);
        sidecar.answer(0, second * 1_000 + 1);
        sidecar.session.sweep(moment(second * 1_000 + 2));
    }
    assert_eq!(sidecar.session.holdings.len(), 4);
    sidecar.end(0, 5, 3_600_000);
    assert_eq!(sidecar.session.open.calls, 0);
}

/// For the figure in the changelog: `cargo test -p vectoll-limits -- --ignored --nocapture what_an_exchange_costs`.
#[test]
#[ignore = "prints a figure"]
fn what_an_exchange_costs() {
    println!("| active of {USERS} | walk | holdings looked at | time |");
    for active in [1, 10] {
        for (walk, walks_all) in [("all", true), ("dirty", false)] {
            let mut pair = Pair::with_idle_users(USERS, walks_all);
            let (visits, took) = pair.cost(active, 3);
            println!("| {active} | {walk} | {visits} | {took:?} |");
        }
    }
}
