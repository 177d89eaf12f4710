//! A simulation of Teams above Teams, and of backends with budgets: several sidecars, a store for each owner's slot, and calls that count in
//! all of them. Answers are lost, sidecars crash, the store is away for a while, and Teams move under other ones while calls run.
//!
//! **The promises**, at every admission: no Team, of whichever level, and no backend admits more in any 60 seconds, at once or of its
//! money than it allows, whoever's calls they are. A call counts in all of its scopes or in none. At rest: every owner's store has just
//! what was settled of the calls that were counted there when they were admitted, once, and holds nothing.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use fastrand::Rng;
use jiff::Timestamp;
use vectoll_clock::{Clock, Now};
use vectoll_config::{
    PicoUsd, Uid, ZoneName,
    store::backend_account,
    v1::{Budget, Limits, OnStoreFailure, Period},
};
use vectoll_ledger::{charge::BudgetPeriod, used::Used};

use super::{Batch, SharedCounters, SharedReservation, account_name, period_of};
use crate::{
    counters::{Account, Denial, QuotaReservation, ReserveRequest, Reserved, Scope, reservation::CounterReservation},
    store::{
        Model, Server, periods_by_account,
        protocol::{Charge, Entry, Identity, Spend},
    },
};

const BEGIN: u64 = 1_790_000_000_000;
const PRICE: u64 = 1_000_000;
const TEAMS: [&str; 5] = ["org", "division", "other-division", "search", "ads"];
/// Those whose keys call.
const CALLERS: [&str; 3] = ["search", "ads", "division"];

/// A reservation that waits for the store.
type PendingReserve = Pin<Box<dyn Future<Output = Result<QuotaReservation, Denial>>>>;

/// One call, and how far it has come.
struct SimulatedCall {
    team: Uid,
    tokens: u64,
    scopes: Vec<Account>,
}

struct Running {
    call: SimulatedCall,
    quota: SharedReservation,
    of_backend: SharedReservation,
    charges: Vec<Arc<BudgetPeriod>>,
}

/// A settlement in a journal.
struct Settled {
    number: u64,
    team: Uid,
    tokens: u64,
    money: u64,
    charges: Vec<Arc<BudgetPeriod>>,
}

struct Sidecar {
    counters: Arc<SharedCounters>,
    epoch: u64,
    running: Vec<Running>,
    /// For its own Teams, and then for the backend.
    waiting: Vec<(SimulatedCall, Option<SharedReservation>, PendingReserve)>,
    journal: Vec<Settled>,
}

struct Tree {
    rng: Rng,
    now: u64,
    up: bool,
    run: u64,
    sidecars: Vec<Sidecar>,
    stores: BTreeMap<Uid, Model>,
    parents: BTreeMap<&'static str, &'static str>,
    limits: BTreeMap<&'static str, Limits>,
    budgets: BTreeMap<&'static str, Vec<Budget>>,
    /// Admissions: when, how many tokens, and in which accounts.
    admitted: Vec<(u64, u64, Vec<Account>)>,
    /// Settled and open.
    money: HashMap<Account, u64>,
    moves: usize,
}

fn uid(team: &str) -> Uid {
    if team == "backend" { backend_account(None, "models/route/one") } else { Uid::new(team) }
}

fn account_of(team: &str) -> Account {
    if team == "backend" { Account::Backend(uid(team)) } else { Account::Team(uid(team)) }
}

fn name_of(account: &Account) -> &'static str {
    TEAMS.into_iter().chain(["backend"]).find(|name| account_of(name) == *account).unwrap()
}

impl Tree {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let (mut limits, mut budgets) = (BTreeMap::new(), BTreeMap::new());
        for name in TEAMS.into_iter().chain(["backend"]) {
            let some = Limits {
                requests_per_minute: rng.bool().then(|| rng.u64(20..200)),
                tokens_per_minute: rng.bool().then(|| rng.u64(500..8_000)),
                tokens_per_hour: (rng.u8(0..4) == 0).then(|| rng.u64(2_000..40_000)),
                parallel_requests: (rng.u8(0..3) == 0).then(|| rng.u64(2..10)),
                ..Limits::NONE
            };
            limits.insert(name, some);
            let zone = ZoneName::try_from("UTC".to_owned()).unwrap();
            let budget = |period, limit| Budget::new(PicoUsd::new(limit * PRICE), period, zone.clone());
            let mut of_it = Vec::new();
            if rng.u8(0..3) > 0 {
                of_it.push(budget(Period::Total, rng.u64(2_000..40_000)));
            }
            if rng.u8(0..3) == 0 {
                of_it.push(budget(Period::Monthly, rng.u64(2_000..40_000)));
            }
            budgets.insert(name, of_it);
        }
        let sidecar = |_| Sidecar {
            counters: Arc::new(SharedCounters::new(Clock::start())),
            epoch: 1,
            running: Vec::new(),
            waiting: Vec::new(),
            journal: Vec::new(),
        };
        let sidecars = (0..rng.usize(2..5)).map(sidecar).collect();
        Self {
            rng,
            now: 10_000,
            up: true,
            run: 0,
            sidecars,
            stores: BTreeMap::new(),
            parents: BTreeMap::from([("search", "division"), ("ads", "division"), ("division", "org")]),
            limits,
            budgets,
            admitted: Vec::new(),
            money: HashMap::new(),
            moves: 0,
        }
    }

    fn moment(&self) -> Now {
        let wall = Timestamp::from_millisecond(i64::try_from(BEGIN + self.now).unwrap()).unwrap();
        Now { elapsed: Duration::from_millis(self.now), wall }
    }

    fn lineage(&self, team: &'static str) -> Vec<&'static str> {
        std::iter::successors(Some(team), |team| self.parents.get(team).copied()).collect()
    }

    fn scope(&self, name: &'static str) -> Scope<'_> {
        Scope::new(account_of(name), self.limits[name], &self.budgets[name])
    }

    fn reserve(
        &self,
        at: usize,
        team: &Uid,
        scopes: &[Scope<'_>],
        tokens: u64,
    ) -> Result<QuotaReservation, Option<PendingReserve>> {
        let ask = ReserveRequest {
            team,
            scopes,
            requests: 1,
            tokens,
            money: PicoUsd::new(tokens * PRICE),
            on_store_failure: OnStoreFailure::Closed,
        };
        match self.sidecars[at].counters.reserve(&ask, self.moment()) {
            Reserved::Now(outcome) => outcome.map_err(|_| None),
            Reserved::Later(pending) => Err(Some(Box::pin(pending.outcome()))),
        }
    }

    fn call(&mut self, at: usize) {
        let team = CALLERS[self.rng.usize(0..CALLERS.len())];
        let tokens = self.rng.u64(1..150);
        let lineage = self.lineage(team);
        let mut scopes = vec![Scope::new(Account::Key(Uid::new("key")), Limits::NONE, &[])];
        scopes.extend(lineage.iter().map(|name| self.scope(name)));
        let call =
            SimulatedCall { team: uid(team), tokens, scopes: lineage.iter().map(|name| account_of(name)).collect() };
        match self.reserve(at, &uid(team), &scopes, tokens) {
            Ok(quota) => self.at_backend(at, call, quota),
            Err(Some(waiting)) => self.sidecars[at].waiting.push((call, None, waiting)),
            Err(None) => {}
        }
    }

    /// The call has its own room; now the backend's.
    fn at_backend(&mut self, at: usize, call: SimulatedCall, quota: QuotaReservation) {
        let quota = shared(quota);
        let backend = uid("backend");
        match self.reserve(at, &backend, &[self.scope("backend")], call.tokens) {
            Ok(of_backend) => self.begin(at, call, quota, shared(of_backend)),
            Err(Some(waiting)) => self.sidecars[at].waiting.push((call, Some(quota), waiting)),
            Err(None) => self.sidecars[at].counters.give_back(quota),
        }
    }

    fn begin(&mut self, at: usize, mut call: SimulatedCall, quota: SharedReservation, of_backend: SharedReservation) {
        call.scopes.push(account_of("backend"));
        let charges: Vec<_> = quota.charges.iter().chain(&of_backend.charges).cloned().collect();
        let counted: BTreeSet<&'static str> =
            charges.iter().map(|charge| name_of(&Account::from(&charge.account))).collect();
        let expected: BTreeSet<&'static str> =
            call.scopes.iter().map(name_of).filter(|name| !self.budgets[name].is_empty()).collect();
        assert_eq!(counted, expected, "a call's money counts in all budgets above it");
        for account in &call.scopes {
            *self.money.entry(account.clone()).or_default() += call.tokens * PRICE;
        }
        self.admitted.push((self.now, call.tokens, call.scopes.clone()));
        let scopes = call.scopes.clone();
        self.sidecars[at].running.push(Running { call, quota, of_backend, charges });
        for account in &scopes {
            self.hold_promises(account);
        }
    }

    fn hold_promises(&self, account: &Account) {
        let name = name_of(account);
        let limits = self.limits[name];
        let since = |ms: u64| {
            let recent = self.admitted.iter().rev().take_while(move |(at, ..)| at + ms > self.now);
            recent
                .filter(|(.., scopes)| scopes.contains(account))
                .fold((0, 0), |(r, t), (_, tokens, _)| (r + 1, t + tokens))
        };
        let (requests, tokens) = since(60_000);
        assert!(limits.requests_per_minute.is_none_or(|limit| requests <= limit), "{name}: {requests} in {limits:?}");
        assert!(limits.tokens_per_minute.is_none_or(|limit| tokens <= limit), "{name}: {tokens} in {limits:?}");
        let (_, tokens) = since(3_600_000);
        assert!(limits.tokens_per_hour.is_none_or(|limit| tokens <= limit), "{name}: {tokens} in {limits:?}");
        let running = self.sidecars.iter().flat_map(|sidecar| &sidecar.running);
        let at_once = running.filter(|running| running.call.scopes.contains(account)).count() as u64;
        assert!(limits.parallel_requests.is_none_or(|limit| at_once <= limit), "{name}: {at_once} in {limits:?}");
        let taken = self.money.get(account).copied().unwrap_or_default();
        for budget in &self.budgets[name] {
            assert!(taken <= budget.limit.pico(), "{name}: {taken} of {budget:?}");
        }
    }

    fn end(&mut self, at: usize) {
        if self.sidecars[at].running.is_empty() {
            return;
        }
        let place = self.rng.usize(0..self.sidecars[at].running.len());
        let used = self.rng.u64(0..=self.sidecars[at].running[place].call.tokens);
        let now = self.moment();
        let Running { call, quota, of_backend, charges } = self.sidecars[at].running.swap_remove(place);
        let number = self.settle(at, &call, used, charges);
        let used = Used { tokens: used, money: PicoUsd::new(used * PRICE) };
        let sidecar = &self.sidecars[at];
        sidecar.counters.settle(quota, used, number, now);
        sidecar.counters.settle(of_backend, used, number, now);
    }

    fn settle(&mut self, at: usize, call: &SimulatedCall, tokens: u64, charges: Vec<Arc<BudgetPeriod>>) -> u64 {
        for account in &call.scopes {
            *self.money.get_mut(account).unwrap() -= (call.tokens - tokens) * PRICE;
        }
        // What was not used leaves the windows as well.
        let admitted = self.admitted.iter_mut().rev();
        let mut same = admitted.filter(|(_, had, scopes)| *had == call.tokens && *scopes == call.scopes);
        if let Some((_, had, _)) = same.next() {
            *had = tokens;
        }
        let journal = &mut self.sidecars[at].journal;
        let number = journal.last().map_or(0, |settled| settled.number) + 1;
        journal.push(Settled { number, team: call.team.clone(), tokens, money: tokens * PRICE, charges });
        number
    }

    /// Ends without a word. The journal has all: what was under way is booked at its reservation.
    fn crash(&mut self, at: usize) {
        self.sidecars[at].waiting.clear();
        for Running { call, charges, .. } in std::mem::take(&mut self.sidecars[at].running) {
            let tokens = call.tokens;
            self.settle(at, &call, tokens, charges);
        }
        let counters = Arc::new(SharedCounters::new(Clock::start()));
        for settled in &self.sidecars[at].journal {
            for charge in &settled.charges {
                let owner = charge.account.owner().unwrap_or(&settled.team);
                counters.owe(owner, charge, settled.number, PicoUsd::new(settled.money));
            }
        }
        self.sidecars[at].counters = counters;
        self.sidecars[at].epoch += 1;
    }

    /// The owners with settlements that their stores are not known to have.
    fn untold(&self, at: usize) -> BTreeSet<Uid> {
        let owners = |settled: &Settled| {
            let charged = settled.charges.iter().filter_map(|charge| charge.account.owner());
            charged.chain([&settled.team]).cloned().collect::<Vec<_>>()
        };
        self.sidecars[at].journal.iter().flat_map(owners).collect()
    }

    fn spend(&self, at: usize, owner: &Uid, from: u64) -> Spend {
        let mut spend = Spend { from, to: from, ..Spend::default() };
        for settled in self.sidecars[at].journal.iter().filter(|settled| settled.number > from) {
            let charges: Vec<_> = settled
                .charges
                .iter()
                .filter(|charge| charge.account.owner().unwrap_or(&settled.team) == owner)
                .collect();
            if charges.is_empty() && settled.team != *owner {
                continue;
            }
            spend.to = settled.number;
            let amount = PicoUsd::new(settled.money);
            let by_account = periods_by_account(charges).into_iter();
            spend.charges.extend(by_account.map(|(account, periods)| Charge { account, periods, amount }));
            if settled.team == *owner {
                let (month, field) = ("2026-09".into(), "t".into());
                spend.entries.push(Entry { month, field, requests: 1, tokens: settled.tokens, money: amount });
            }
            if spend.entries.len() + spend.charges.len() >= 40 {
                break;
            }
        }
        spend
    }

    /// All exchanges of a sidecar that are due. `faults`: some are lost on their way, or their answers are.
    fn exchange(&mut self, at: usize, faults: bool) {
        let now = self.moment();
        let mut untold = self.untold(at);
        if !faults {
            // At rest each looks at all of them once more, as it does with the next call: a store gives back what a former process held
            // when it hears of the next one.
            untold.extend(self.stores.keys().cloned());
        }
        let due = self.sidecars[at].counters.due(now.elapsed, &untold);
        for (owner, _) in due.into_iter().filter(|(_, due)| *due <= now.elapsed) {
            let batch = |known| Batch { spend: self.spend(at, &owner, known), more: false };
            let exchange = self.sidecars[at].counters.exchange(&owner, 1_000, batch, now);
            let fate = if faults { self.rng.u8(0..40) } else { u8::MAX };
            if !self.up || fate == 0 {
                self.sidecars[at].counters.lost(&owner, now);
                continue;
            }
            let identity = Identity { sidecar: format!("sidecar-{at}").into(), epoch: self.sidecars[at].epoch };
            let server = Server { run: format!("run-{}", self.run).into(), uptime: 1_000, clock: BEGIN + self.now };
            let reply = self.stores.entry(owner.clone()).or_default().exchange(&server, &identity, &exchange);
            if fate == 1 {
                self.sidecars[at].counters.lost(&owner, now);
            } else {
                self.sidecars[at].counters.reply(&owner, &identity, &reply, now);
            }
        }
        self.collect(at);
    }

    /// Calls that waited and were told.
    fn collect(&mut self, at: usize) {
        let mut context = Context::from_waker(Waker::noop());
        for (call, quota, mut waiting) in std::mem::take(&mut self.sidecars[at].waiting) {
            match (waiting.as_mut().poll(&mut context), quota) {
                (Poll::Pending, quota) => self.sidecars[at].waiting.push((call, quota, waiting)),
                (Poll::Ready(Ok(had)), None) => self.at_backend(at, call, had),
                (Poll::Ready(Ok(of_backend)), Some(quota)) => self.begin(at, call, quota, shared(of_backend)),
                (Poll::Ready(Err(_)), Some(quota)) => self.sidecars[at].counters.give_back(quota),
                (Poll::Ready(Err(_)), None) => {}
            }
        }
    }

    /// A Team is moved under another one, or stands by itself from now on.
    fn reparent(&mut self) {
        let team = TEAMS[self.rng.usize(1..TEAMS.len())];
        let parent = TEAMS[self.rng.usize(0..TEAMS.len())];
        self.parents.remove(team);
        let depth = self.lineage(parent).len()
            + TEAMS
                .into_iter()
                .map(|of| self.lineage(of).iter().position(|name| *name == team).map_or(0, |at| at + 1))
                .max()
                .unwrap();
        if !self.lineage(parent).contains(&team) && depth <= 4 && self.rng.u8(0..4) > 0 {
            self.parents.insert(team, parent);
        }
        self.moves += 1;
    }

    fn step(&mut self) {
        self.now += self.rng.u64(1..120);
        let at = self.rng.usize(0..self.sidecars.len());
        match self.rng.u16(0..1_000) {
            0..500 => self.call(at),
            500..900 => self.end(at),
            900..915 => self.reparent(),
            915..918 => self.crash(at),
            918..920 => self.up = false,
            920..940 => self.up = true,
            // Nobody waits for ever: some callers leave.
            940..950 => self.sidecars[at].waiting.truncate(1),
            _ => {}
        }
        for at in 0..self.sidecars.len() {
            self.exchange(at, true);
        }
    }

    /// Everything ends, and is told.
    fn come_to_rest(&mut self) {
        self.up = true;
        for at in 0..self.sidecars.len() {
            while !self.sidecars[at].running.is_empty() {
                self.end(at);
            }
        }
        for _ in 0..400 {
            self.now += 100;
            for at in 0..self.sidecars.len() {
                self.exchange(at, false);
                while !self.sidecars[at].running.is_empty() {
                    self.end(at);
                }
            }
        }
        for sidecar in &self.sidecars {
            assert!(sidecar.waiting.is_empty(), "calls are left");
            assert_eq!(sidecar.counters.open(), crate::counters::Open::default());
        }
        let mut spent_by_account: HashMap<(Uid, Account, Arc<str>), u64> = HashMap::new();
        let mut own: BTreeMap<Uid, (u64, u64, u64)> = BTreeMap::new();
        for settled in self.sidecars.iter().flat_map(|sidecar| &sidecar.journal) {
            for charge in &settled.charges {
                let owner = charge.account.owner().unwrap_or(&settled.team).clone();
                *spent_by_account
                    .entry((owner, Account::from(&charge.account), period_of(charge).name))
                    .or_default() += settled.money;
            }
            let (calls, tokens, money) = own.entry(settled.team.clone()).or_default();
            (*calls, *tokens, *money) = (*calls + 1, *tokens + settled.tokens, *money + settled.money);
        }
        for ((owner, account, period), sum) in spent_by_account {
            let (spent, held) = self.stores[&owner].money(&account_name(&account), &period);
            assert_eq!((spent, held), (PicoUsd::new(sum), PicoUsd::ZERO), "{account:?} {period}");
        }
        for (team, sum) in own {
            assert_eq!(
                self.stores[&team].total("t"),
                sum,
                "the ledger of {team} has its own keys' calls, and no others"
            );
        }
    }
}

fn shared(QuotaReservation(reservation): QuotaReservation) -> SharedReservation {
    match reservation {
        CounterReservation::Shared(reservation) => reservation,
        CounterReservation::Local(_) => panic!("the store's counters make shared ones"),
    }
}

#[test]
fn a_tree_of_teams_and_a_backend_hold_their_promises_whatever_moves_and_fails() {
    // For its timers only: time is the simulation's.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _guard = runtime.enter();
    let (mut admitted, mut moves) = (0, 0);
    for seed in 0..24 {
        let mut tree = Tree::new(seed);
        for _ in 0..1_000 {
            tree.step();
        }
        tree.come_to_rest();
        admitted += tree.admitted.len();
        moves += tree.moves;
    }
    assert!(admitted > 2_000 && moves > 200, "{admitted} calls, {moves} moves");
}
