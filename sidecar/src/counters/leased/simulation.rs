//! The promises, over thousands of schedules: sidecars that crash, stall, vanish and come back, answers that are lost, a store
//! that fails, loses its tail and comes back, and a clock that steps back. The real session code against the model of the
//! store, in virtual time; a seed replays.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout, reason = "tests")]

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, VecDeque},
    sync::Arc,
    time::Duration,
};

use fastrand::Rng;
use jiff::Timestamp;
use tokio::sync::oneshot;
use vectoll_config::{
    PicoUsd, Uid, ZoneName,
    v1::{Budget, Limits, OnStoreFailure, Period},
};

use super::{
    Held, TERMS, period_of,
    pool::Source,
    session::{Outcome, Reserved, Session},
};
use crate::{
    clock::Now,
    counters::{Account, Ask, Charge, Scope, Used},
    store::{
        Model, Server,
        protocol::{Entry, Exchange, Identity, Money, PeriodName, Reply, Spend},
    },
};

/// Where the store's clock begins: 20 seconds before a day's end in UTC.
const BEGIN: u64 = 1_790_035_180_000;
/// How long a schedule goes on, in milliseconds; then everything heals and comes to rest.
const RUN: u64 = 170_000;
const REST: u64 = 90_000;
/// From when on things go wrong.
const SETTLED: u64 = 14_000;
/// How long an exchange may take before it is given up.
const PATIENCE: u64 = 1_000;
/// Every token costs this much.
const PRICE: u64 = 1_000_000;

/// What a schedule may have in it.
#[derive(Clone, Copy, Debug)]
struct Kind {
    on_failure: OnStoreFailure,
    /// Sidecars crash, and come back with their journal or never.
    crashes: bool,
    /// The store is started anew; `true`: without the last exchanges that it had taken.
    store: Option<bool>,
    stalls: bool,
    clock: bool,
}

/// Which exchange: the sidecar's epoch, and the number.
type Message = (u64, u64);

#[derive(Clone, Copy, Debug)]
enum Event {
    Call(usize),
    End(usize, u64),
    Wake(usize),
    Arrive(usize, Message),
    Answer(usize, Message),
    GiveUp(usize, Message),
    Crash(usize, bool),
    Start(usize),
    Stall(usize, u64),
    StoreStop(bool),
    StoreStart,
    ClockBack(u64),
}

/// One call under way.
struct Running {
    held: Held,
    admission: usize,
    used: u64,
    reserved: u64,
    money: u64,
    charge: Option<Arc<Charge>>,
}

struct Waiting {
    outcome: oneshot::Receiver<Outcome>,
    tokens: u64,
    used: u64,
}

/// A settlement in the journal.
#[derive(Clone)]
struct Settled {
    number: u64,
    tokens: u64,
    money: u64,
    charge: Option<Arc<Charge>>,
}

#[derive(Default)]
struct Sidecar {
    session: Option<Session>,
    epoch: u64,
    stalled_until: u64,
    calls: BTreeMap<u64, Running>,
    waiting: Vec<Waiting>,
    journal: Vec<Settled>,
    /// Exchanges on their way: number, content, and the answer once there is one.
    flying: VecDeque<(Message, Exchange, Option<Reply>)>,
    vanished: bool,
    /// When the last connection failed.
    back_off: u64,
}

/// A call as it was admitted: when by the store's time, and how much of it stayed.
struct Admission {
    at: u64,
    tokens: u64,
    /// In which sidecar, to see who is stalled.
    share: bool,
}

struct World {
    kind: Kind,
    rng: Rng,
    now: u64,
    back: u64,
    events: BinaryHeap<Reverse<(u64, u64, usize)>>,
    bodies: Vec<Event>,
    sidecars: Vec<Sidecar>,
    store: Model,
    /// Earlier states of the store, the latest last.
    tail: VecDeque<Model>,
    up: bool,
    started: u64,
    run: u64,
    limits: Limits,
    budget: Option<Budget>,
    admissions: Vec<Admission>,
    ids: u64,
    refused: u64,
    /// Settled and open, by period.
    money: BTreeMap<PeriodName, u64>,
    to_check: bool,
}

impl World {
    fn new(seed: u64, kind: Kind) -> Self {
        let mut rng = Rng::with_seed(seed);
        let limits = Limits {
            requests_per_minute: rng.bool().then(|| rng.u64(20..400)),
            tokens_per_minute: Some(rng.u64(500..20_000)),
            parallel_requests: rng.bool().then(|| rng.u64(2..12)),
        };
        let budget = rng.bool().then(|| Budget {
            limit: PicoUsd::new(rng.u64(2_000..60_000) * PRICE),
            period: if rng.bool() { Period::Daily } else { Period::Total },
            time_zone: ZoneName::try_from("UTC".to_owned()).unwrap(),
        });
        let count = rng.usize(2..6);
        let mut world = Self {
            kind,
            rng,
            now: 0,
            back: 0,
            events: BinaryHeap::new(),
            bodies: Vec::new(),
            sidecars: (0..count).map(|_| Sidecar::default()).collect(),
            store: Model::default(),
            tail: VecDeque::new(),
            up: true,
            started: 0,
            run: 0,
            limits,
            budget,
            admissions: Vec::new(),
            ids: 0,
            refused: 0,
            money: BTreeMap::new(),
            to_check: false,
        };
        world.now = 10_000;
        world.plan();
        world
    }

    fn plan(&mut self) {
        for at in 0..self.sidecars.len() {
            self.add(self.now, Event::Start(at));
            self.add(self.now + 1, Event::Call(at));
        }
        // Faults of one kind keep away from those of another whose joint effect is outside the promise: a store that has lost
        // its tail is told again by sidecars that are there.
        let mut at = self.now + 5_000;
        while at < RUN {
            let store_turn = self.rng.bool();
            let victim = self.rng.usize(0..self.sidecars.len());
            match self.kind.store {
                Some(loses) if store_turn => {
                    let down = if self.rng.bool() { 0 } else { self.rng.u64(100..20_000) };
                    self.add(at, Event::StoreStop(loses));
                    self.add(at + down, Event::StoreStart);
                    at += down + 66_000;
                }
                Some(_) | None => {
                    if self.kind.crashes {
                        let returns = self.rng.u8(0..4) > 0;
                        self.add(at, Event::Crash(victim, returns));
                    }
                    if self.kind.stalls {
                        let long = self.rng.u64(500..15_000);
                        self.add(at + 200, Event::Stall(victim, long));
                    }
                    at += if self.kind.store.is_some() { 70_000 } else { self.rng.u64(1_000..20_000) };
                }
            }
            if self.kind.clock {
                let step = self.rng.u64(10..30_000);
                self.add(at, Event::ClockBack(step));
            }
            at += self.rng.u64(500..5_000);
        }
    }

    fn add(&mut self, at: u64, event: Event) {
        self.bodies.push(event);
        self.events.push(Reverse((at, self.bodies.len() as u64, self.bodies.len() - 1)));
    }

    fn clock(&self) -> u64 {
        BEGIN + self.now - self.back
    }

    fn moment(&self) -> Now {
        let wall = Timestamp::from_millisecond(i64::try_from(BEGIN + self.now).unwrap()).unwrap();
        Now { elapsed: Duration::from_millis(self.now), wall }
    }

    fn server(&self) -> Server {
        Server {
            run: format!("run-{}", self.run).into(),
            uptime: (self.now - self.started) / 1000,
            clock: self.clock(),
        }
    }

    fn identity(&self, at: usize) -> Identity {
        Identity { sidecar: format!("sidecar-{at}").into(), epoch: self.sidecars[at].epoch }
    }

    fn account() -> Account {
        Account::Team(Uid::new("team"))
    }

    fn run(mut self) -> Self {
        while let Some(Reverse((at, _, body))) = self.events.pop() {
            if at > RUN + REST {
                break;
            }
            self.now = self.now.max(at);
            let event = self.bodies[body];
            if let Some(sidecar) = sidecar_of(&event)
                && self.now < self.sidecars[sidecar].stalled_until
            {
                // A process that stands still does nothing, and everything at once when it goes on.
                let until = self.sidecars[sidecar].stalled_until;
                self.add(until, event);
                continue;
            }
            self.happen(event);
            if std::mem::take(&mut self.to_check) {
                self.hold_promises();
            }
        }
        self
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Call(at) => {
                self.call(at);
                let pause = if self.rng.u8(0..20) == 0 { self.rng.u64(0..3_000) } else { self.rng.u64(1..120) };
                if self.now < RUN {
                    self.add(self.now + pause, Event::Call(at));
                }
            }
            Event::End(at, id) => self.end(at, id),
            Event::Wake(at) => self.exchange(at),
            Event::Arrive(at, number) => self.arrive(at, number),
            Event::Answer(at, number) => self.answer(at, number),
            Event::GiveUp(at, number) => self.give_up(at, number),
            Event::Crash(at, returns) => self.crash(at, returns),
            Event::Start(at) => self.start(at),
            Event::Stall(at, long) => self.sidecars[at].stalled_until = self.now + long,
            Event::StoreStop(loses) => self.stop_store(loses),
            Event::StoreStart => {
                self.up = true;
                self.started = self.now;
                self.run += 1;
            }
            Event::ClockBack(step) => self.back = (self.back + step).min(40_000),
        }
        for at in 0..self.sidecars.len() {
            if self.now >= self.sidecars[at].stalled_until {
                self.collect(at);
            }
        }
    }

    fn start(&mut self, at: usize) {
        let mut session = Session::new(TERMS);
        for settled in &self.sidecars[at].journal {
            if let Some(charge) = &settled.charge {
                session.owe(charge, settled.number, PicoUsd::new(settled.money));
            }
        }
        let sidecar = &mut self.sidecars[at];
        sidecar.epoch += 1;
        sidecar.session = Some(session);
        self.wake(at);
    }

    fn call(&mut self, at: usize) {
        let tokens = if self.rng.u8(0..10) == 0 { self.rng.u64(1..600) } else { self.rng.u64(1..80) };
        let used = if self.rng.bool() { tokens } else { self.rng.u64(0..=tokens) };
        let team = Uid::new("team");
        let (limits, budget, now) = (self.limits, self.budget.clone(), self.moment());
        let on_store_failure = self.kind.on_failure;
        let Some(session) = self.sidecars[at].session.as_mut() else { return };
        let scopes = [Scope { account: Self::account(), limits, budget: budget.as_ref() }];
        let money = PicoUsd::new(tokens * PRICE);
        let ask = Ask { team: &team, scopes: &scopes, tokens, money, on_store_failure };
        match session.reserve(&ask, now) {
            Reserved::Now(outcome) => self.admitted(at, outcome, tokens, used),
            Reserved::Later(outcome) => self.sidecars[at].waiting.push(Waiting { outcome, tokens, used }),
        }
        self.wake(at);
    }

    /// Calls that waited and were told.
    fn collect(&mut self, at: usize) {
        let mut told = Vec::new();
        self.sidecars[at].waiting.retain_mut(|waiting| match waiting.outcome.try_recv() {
            Ok(outcome) => {
                told.push((outcome, waiting.tokens, waiting.used));
                false
            }
            Err(oneshot::error::TryRecvError::Empty) => true,
            Err(oneshot::error::TryRecvError::Closed) => false,
        });
        for (outcome, tokens, used) in told {
            self.admitted(at, outcome, tokens, used);
        }
    }

    fn admitted(&mut self, at: usize, outcome: Outcome, tokens: u64, used: u64) {
        let Ok(held) = outcome else {
            self.refused += 1;
            return;
        };
        let parts = held.taken[0].requests.iter().chain(&held.taken[0].tokens);
        let share = parts.into_iter().any(|part| part.source == Source::Share);
        let store_ms = self.store.seen().max(self.clock());
        let charge = held.charges.first().cloned();
        assert_eq!(charge.is_some(), self.budget.is_some());
        if let Some(charge) = &charge {
            *self.money.entry(period_of(charge)).or_default() += tokens * PRICE;
        }
        self.to_check = true;
        self.admissions.push(Admission { at: store_ms, tokens, share });
        self.ids += 1;
        let running = Running {
            held,
            admission: self.admissions.len() - 1,
            used,
            reserved: tokens,
            money: tokens * PRICE,
            charge,
        };
        self.sidecars[at].calls.insert(self.ids, running);
        let long = if self.rng.u8(0..30) == 0 { self.rng.u64(1_000..20_000) } else { self.rng.u64(1..400) };
        self.add(self.now + long, Event::End(at, self.ids));
    }

    fn end(&mut self, at: usize, id: u64) {
        let Some(running) = self.sidecars[at].calls.remove(&id) else { return };
        let now = self.moment();
        self.admissions[running.admission].tokens = running.used;
        let money = running.used * PRICE;
        if let Some(sum) = running.charge.as_ref().and_then(|charge| self.money.get_mut(&period_of(charge))) {
            *sum -= running.money - money;
        }
        let number = self.settle(at, running.used, money, running.charge);
        let session = self.sidecars[at].session.as_mut().unwrap();
        session.settle(running.held, Used { tokens: running.used, money: PicoUsd::new(money) }, number, now);
        self.wake(at);
    }

    fn settle(&mut self, at: usize, tokens: u64, money: u64, charge: Option<Arc<Charge>>) -> u64 {
        let journal = &mut self.sidecars[at].journal;
        let number = journal.last().map_or(0, |settled| settled.number) + 1;
        journal.push(Settled { number, tokens, money, charge });
        number
    }

    /// What the journal has beyond what the store knows.
    fn spend(&self, at: usize) -> Spend {
        let sidecar = &self.sidecars[at];
        let from = sidecar.session.as_ref().map_or(0, |session| session.link.spent_to);
        let mut spend = Spend { from, to: from, ..Spend::default() };
        // Numbers are places, from 1.
        for settled in sidecar.journal.iter().skip(usize::try_from(from).unwrap()).take(40) {
            spend.to = settled.number;
            let amount = PicoUsd::new(settled.money);
            if let Some(charge) = &settled.charge {
                spend.charges.push(Money { account: "t".into(), period: period_of(charge), amount });
            }
            let entry = Entry {
                month: "2026-09".into(),
                field: "t".into(),
                requests: 1,
                tokens: settled.tokens,
                money: amount,
            };
            spend.entries.push(entry);
        }
        spend
    }

    fn wake(&mut self, at: usize) {
        let spend = self.spend(at);
        let sidecar = &self.sidecars[at];
        let Some(session) = &sidecar.session else { return };
        if let Some(due) = session.due(Duration::from_millis(self.now), spend.to > spend.from) {
            let due = u64::try_from(due.as_millis()).unwrap().max(self.now).max(sidecar.back_off);
            self.add(due, Event::Wake(at));
        }
    }

    fn exchange(&mut self, at: usize) {
        let spend = self.spend(at);
        let (now, moment) = (self.now, self.moment());
        let sidecar = &mut self.sidecars[at];
        let Some(session) = sidecar.session.as_mut() else { return };
        let due = session.due(Duration::from_millis(now), spend.to > spend.from);
        if due.is_none_or(|due| due > Duration::from_millis(now)) || now < sidecar.back_off {
            return;
        }
        let exchange = session.exchange(spend, 1_000, moment);
        let number = (sidecar.epoch, exchange.number);
        sidecar.flying.push_back((number, exchange, None));
        let way = self.rng.u64(0..4);
        let arrives = if now > SETTLED && self.rng.u8(0..40) == 0 { self.rng.u64(900..1_500) } else { way };
        self.add(now + arrives, Event::Arrive(at, number));
        self.add(now + PATIENCE, Event::GiveUp(at, number));
    }

    fn arrive(&mut self, at: usize, number: Message) {
        if !self.up {
            return;
        }
        let identity = Identity { epoch: number.0, ..self.identity(at) };
        let server = self.server();
        let Some(place) = self.sidecars[at].flying.iter().position(|(it, _, reply)| *it == number && reply.is_none())
        else {
            return;
        };
        let exchange = self.sidecars[at].flying[place].1.clone();
        self.tail.push_back(self.store.clone());
        if self.tail.len() > 12 {
            self.tail.pop_front();
        }
        let reply = self.store.exchange(&server, &identity, &exchange);
        self.sidecars[at].flying[place].2 = Some(reply);
        // Some answers are lost on their way back.
        if self.now < SETTLED || self.rng.u8(0..60) > 0 {
            let way = self.rng.u64(0..4);
            self.add(self.now + way, Event::Answer(at, number));
        }
    }

    fn answer(&mut self, at: usize, number: Message) {
        let identity = self.identity(at);
        let now = self.moment();
        let sidecar = &mut self.sidecars[at];
        let Some(session) = sidecar.session.as_mut() else { return };
        if number.0 != identity.epoch || session.link.flight.as_ref().is_none_or(|flight| flight.number != number.1) {
            return;
        }
        let Some((_, _, Some(reply))) = sidecar.flying.iter().find(|(it, ..)| *it == number).cloned() else { return };
        sidecar.flying.retain(|(it, ..)| *it != number);
        session.reply(&identity, &reply, now);
        self.wake(at);
    }

    fn give_up(&mut self, at: usize, number: Message) {
        let now = self.moment();
        let sidecar = &mut self.sidecars[at];
        let Some(session) = sidecar.session.as_mut() else { return };
        if number.0 == sidecar.epoch && session.link.flight.as_ref().is_some_and(|flight| flight.number == number.1) {
            session.lost(now);
            sidecar.back_off = self.now + 100;
            self.wake(at);
        }
    }

    fn crash(&mut self, at: usize, returns: bool) {
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
                self.settle(at, running.reserved, running.money, running.charge);
            }
            let pause = self.rng.u64(200..5_000);
            self.add(self.now + pause, Event::Start(at));
        } else {
            // What was under way may have been charged: the money stays counted, as it does in the store.
            sidecar.vanished = true;
        }
    }

    fn stop_store(&mut self, loses: bool) {
        self.up = false;
        for sidecar in &mut self.sidecars {
            sidecar.flying.retain(|(.., reply)| reply.is_none());
        }
        if loses {
            let lost = self.rng.usize(0..=self.tail.len());
            if lost > 0 {
                let at = self.tail.len() - lost;
                self.store = self.tail[at].clone();
            }
        }
        self.tail.clear();
    }

    /// At every moment: no 60 seconds over a limit, no money over the budget, no more calls at once than allowed.
    fn hold_promises(&self) {
        let factor = if self.kind.on_failure == OnStoreFailure::Closed { 1 } else { 2 };
        let latest = self.admissions.last().map_or(0, |admission| admission.at);
        let recent = || self.admissions.iter().rev().take_while(|admission| admission.at + 60_000 > latest);
        let tokens: u64 = recent().map(|admission| admission.tokens).sum();
        let limit = self.limits.tokens_per_minute.unwrap();
        assert!(tokens <= factor * limit, "{tokens} tokens of {limit} in 60 s at {}", self.now);
        let requests = recent().count() as u64;
        if let Some(limit) = self.limits.requests_per_minute {
            assert!(requests <= factor * limit, "{requests} requests of {limit} in 60 s at {}", self.now);
        }
        assert!(
            factor == 2 || self.admissions.last().is_none_or(|admission| !admission.share),
            "a share was given though Closed"
        );
        if let Some(budget) = &self.budget {
            let most = self.money.values().max().copied().unwrap_or_default();
            assert!(most <= factor * budget.limit.pico(), "{most} of {} spent at {}", budget.limit.pico(), self.now);
        }
        if let Some(limit) = self.limits.parallel_requests {
            let there = self.sidecars.iter().filter(|sidecar| self.now >= sidecar.stalled_until);
            let calls: u64 = there.map(|sidecar| sidecar.calls.len() as u64).sum();
            assert!(calls <= factor * limit, "{calls} calls of {limit} at once at {}", self.now);
        }
    }

    /// At the end: the ledger is the journals' sum, and nothing is held any more.
    fn rest(&self) {
        let there: Vec<&Sidecar> = self.sidecars.iter().filter(|sidecar| !sidecar.vanished).collect();
        let all = there.iter().flat_map(|sidecar| &sidecar.journal);
        let sum = all.fold((0, 0, 0), |sum, settled| (sum.0 + 1, sum.1 + settled.tokens, sum.2 + settled.money));
        let total = self.store.total("t");
        let vanished: u64 = self.sidecars.iter().filter(|it| it.vanished).map(|it| it.journal.len() as u64).sum();
        if vanished == 0 {
            assert_eq!(total, sum, "the ledger and the journals");
        } else {
            assert!(total.0 >= sum.0 && total.0 <= sum.0 + vanished && total.2 >= sum.2, "{total:?} {sum:?}");
        }
        for sidecar in there {
            assert!(sidecar.calls.is_empty() && sidecar.waiting.is_empty(), "calls are left");
            let session = sidecar.session.as_ref().unwrap();
            assert_eq!(session.open, crate::counters::Open::default());
            assert!(session.pending.is_empty(), "{:?}", session.pending);
        }
        assert_eq!(self.store.parallel("t", self.store.seen().max(self.clock())), 0, "claims are left");
        if vanished == 0 {
            for period in self.money.keys() {
                let (_, held) = self.store.money("t", &period.name);
                assert_eq!(held, PicoUsd::ZERO, "money is still held at rest");
            }
        }
    }
}

fn sidecar_of(event: &Event) -> Option<usize> {
    match event {
        Event::Call(at)
        | Event::End(at, _)
        | Event::Wake(at)
        | Event::Answer(at, _)
        | Event::GiveUp(at, _)
        | Event::Crash(at, _)
        | Event::Start(at) => Some(*at),
        Event::Arrive(..) | Event::Stall(..) | Event::StoreStop(_) | Event::StoreStart | Event::ClockBack(_) => None,
    }
}

/// Runs schedules; `VECTOLL_SIMULATION_SEED` replays one, `VECTOLL_SIMULATION_RUNS` sets how many.
fn schedules(name: &str, kind: Kind) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("VECTOLL_SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("VECTOLL_SIMULATION_RUNS").unwrap_or(150),
    };
    let (mut admitted, mut refused) = (0, 0);
    for seed in seeds.clone() {
        let run = std::panic::catch_unwind(|| {
            let world = World::new(seed, kind).run();
            world.rest();
            (world.admissions.len(), world.refused)
        });
        let Ok((calls, no)) = run else { panic!("{name} broke: replay with VECTOLL_SIMULATION_SEED={seed}") };
        admitted += calls;
        refused += no;
    }
    let runs = usize::try_from(seeds.end - seeds.start).unwrap();
    assert!(runs < 10 || admitted > 50 * runs, "hardly anything was admitted: {admitted} calls in {runs} schedules");
    println!("{name}: {} schedules, {admitted} calls admitted, {refused} refused", seeds.end - seeds.start);
}

const QUIET: Kind =
    Kind { on_failure: OnStoreFailure::Closed, crashes: false, store: None, stalls: false, clock: false };

#[test]
fn nothing_passes_a_limit_while_all_goes_well() {
    schedules("quiet", QUIET);
}

#[test]
fn nothing_passes_a_limit_while_sidecars_crash_vanish_and_stall() {
    schedules("sidecars", Kind { crashes: true, stalls: true, clock: true, ..QUIET });
}

#[test]
fn nothing_passes_a_limit_while_the_store_fails_and_comes_back_whole() {
    schedules("store", Kind { store: Some(false), clock: true, ..QUIET });
}

#[test]
fn nothing_passes_a_limit_while_the_store_loses_its_tail() {
    schedules("tail", Kind { store: Some(true), clock: true, ..QUIET });
}

#[test]
fn at_most_twice_the_limit_passes_while_sidecars_give_their_shares() {
    schedules("shares", Kind { on_failure: OnStoreFailure::Local, store: Some(true), ..QUIET });
}
