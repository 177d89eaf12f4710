//! Sidecars, a store, and what happens to them.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, VecDeque},
    sync::Arc,
    time::Duration,
};

use fastrand::Rng;
use jiff::Timestamp;
use tokio::sync::oneshot;

use super::{
    super::{SharedReservation, reservation::Outcome, session::Session, settled::Settled},
    config::{ACCOUNTS, Config},
    kind::Kind,
};
use crate::{
    counters::Account,
    store::{
        Model, Server,
        protocol::{Exchange, Identity, PeriodName, Reply},
    },
};
use vectoll_clock::Now;
use vectoll_ledger::charge::BudgetPeriod;

/// Where the store's clock begins: 20 seconds before a day's end in UTC.
const BEGIN: u64 = 1_790_035_180_000;
/// How long a schedule goes on, in milliseconds; then everything heals and comes to rest.
pub(super) const RUN: u64 = 170_000;
const SCHEDULE_MILLIS: u64 = 90_000;
/// From when on things go wrong.
pub(super) const SETTLED: u64 = 14_000;
/// How long an exchange may take before it is given up.
pub(super) const EXCHANGE_TIMEOUT_MILLIS: u64 = 1_000;
/// How long a claim of parallel requests is good without being renewed.
const CLAIM_LIFE: u64 = 10_000;

/// Which exchange: the sidecar's epoch, and the number.
pub(super) type Message = (u64, u64);

#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    Call(usize),
    End(usize, u64),
    Wake(usize),
    Arrive(usize, Message),
    Answer(usize, Message),
    GiveUp(usize, Message),
    Crash(usize, bool),
    Start(usize),
    Stall(usize, u64),
    /// Stops in good order: first its calls end, then it tells the store, then it is gone.
    Leave(usize),
    Gone(usize, u64),
    /// Counts alone for a while: the config names no store.
    Part(usize, u64),
    Edit,
    Apply(usize, usize),
    StoreStop(bool),
    StoreStart,
    ClockBack(u64),
}

/// One call under way.
pub(super) struct Running {
    pub(super) reservation: SharedReservation,
    pub(super) admission: usize,
    pub(super) used: u64,
    /// The claims that it was admitted by were not renewed in time: the store has given them to others.
    pub(super) void: bool,
    pub(super) charges: Vec<Arc<BudgetPeriod>>,
}

/// One call that waits for the store.
pub(super) struct WaitingCall {
    pub(super) outcome: oneshot::Receiver<Outcome>,
    pub(super) call: SimulatedCall,
    /// The version of the config that it came under.
    pub(super) config: usize,
}

#[derive(Clone, Copy)]
pub(super) struct SimulatedCall {
    pub(super) accounts: [usize; 6],
    pub(super) tokens: u64,
    pub(super) used: u64,
}

#[derive(Default)]
pub(super) struct Sidecar {
    pub(super) session: Option<Session>,
    pub(super) epoch: u64,
    pub(super) config: usize,
    pub(super) stalled_until: u64,
    /// It counts alone until then.
    pub(super) alone_until: u64,
    /// It takes no more calls.
    pub(super) leaving: bool,
    pub(super) calls: BTreeMap<u64, Running>,
    pub(super) waiting: Vec<WaitingCall>,
    pub(super) journal: Vec<Settled>,
    /// Exchanges on their way: number, content, and the answer once there is one.
    pub(super) flying: VecDeque<(Message, Exchange, Option<Reply>)>,
    pub(super) vanished: bool,
    /// When the last connection failed.
    pub(super) back_off: u64,
}

/// A call as it was admitted: when by the store's time, and how much of it stayed.
pub(super) struct Admission {
    pub(super) at: u64,
    pub(super) tokens: u64,
    pub(super) accounts: [usize; 6],
    pub(super) charges: Vec<Arc<BudgetPeriod>>,
    pub(super) share: bool,
}

/// What was admitted of one account lately.
#[derive(Default)]
pub(super) struct RecentAdmissions {
    pub(super) admissions: VecDeque<usize>,
    pub(super) tokens: u64,
    /// Requests and tokens since the schedule began, which is shorter than an hour.
    pub(super) all: (u64, u64),
}

#[allow(clippy::struct_excessive_bools, reason = "independent switches of a simulation")]
pub(super) struct SimulatedCluster {
    pub(super) kind: Kind,
    /// A sidecar's share was given while the store was away.
    pub(super) shares: bool,
    pub(super) rng: Rng,
    pub(super) now: u64,
    pub(super) back: u64,
    events: BinaryHeap<Reverse<(u64, usize)>>,
    bodies: Vec<Event>,
    pub(super) sidecars: Vec<Sidecar>,
    pub(super) store: Model,
    /// Earlier states of the store, the latest last.
    pub(super) tail: VecDeque<Model>,
    pub(super) up: bool,
    pub(super) started: u64,
    pub(super) run: u64,
    pub(super) accounts: Vec<Account>,
    /// All versions, the present one last.
    pub(super) configs: Vec<Config>,
    pub(super) admissions: Vec<Admission>,
    pub(super) lately: Vec<RecentAdmissions>,
    pub(super) ids: u64,
    pub(super) refused: u64,
    /// Settled and open, by account and period.
    pub(super) money: BTreeMap<(usize, PeriodName), u64>,
    pub(super) to_check: bool,
    /// Some sidecars that crash never come back.
    pub(super) vanish: bool,
}

impl SimulatedCluster {
    pub(super) fn new(seed: u64, kind: Kind) -> Self {
        let mut rng = Rng::with_seed(seed);
        let configs = vec![Config::any(&mut rng)];
        let (count, vanish) = (rng.usize(2..6), rng.bool());
        let mut cluster = Self {
            kind,
            shares: false,
            rng,
            now: 10_000,
            back: 0,
            events: BinaryHeap::new(),
            bodies: Vec::new(),
            sidecars: (0..count).map(|_| Sidecar::default()).collect(),
            store: Model::default(),
            tail: VecDeque::new(),
            up: true,
            started: 0,
            run: 0,
            accounts: super::config::accounts(),
            configs,
            admissions: Vec::new(),
            lately: (0..ACCOUNTS).map(|_| RecentAdmissions::default()).collect(),
            ids: 0,
            refused: 0,
            money: BTreeMap::new(),
            to_check: false,
            vanish,
        };
        cluster.plan();
        cluster
    }

    pub(super) fn add(&mut self, at: u64, event: Event) {
        self.events.push(Reverse((at, self.bodies.len())));
        self.bodies.push(event);
    }

    pub(super) fn clock(&self) -> u64 {
        BEGIN + self.now - self.back
    }

    /// The store's time, for the Team.
    pub(super) fn store_ms(&self) -> u64 {
        self.store.seen().max(self.clock())
    }

    pub(super) fn moment(&self) -> Now {
        let wall = Timestamp::from_millisecond(i64::try_from(BEGIN + self.now).unwrap()).unwrap();
        Now { elapsed: Duration::from_millis(self.now), wall }
    }

    pub(super) fn server(&self) -> Server {
        Server {
            run: format!("run-{}", self.run).into(),
            uptime: (self.now - self.started) / 1000,
            clock: self.clock(),
        }
    }

    pub(super) fn identity(&self, at: usize) -> Identity {
        Identity { sidecar: format!("sidecar-{at}").into(), epoch: self.sidecars[at].epoch }
    }

    pub(super) fn run(mut self) -> Self {
        while let Some(Reverse((at, body))) = self.events.pop() {
            if at > RUN + SCHEDULE_MILLIS {
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
                let pause = match self.rng.u16(0..600) {
                    // For so long it idles.
                    0 => self.rng.u64(5_000..90_000),
                    1..30 => self.rng.u64(0..3_000),
                    _ => self.rng.u64(1..120),
                };
                if self.now + pause < RUN {
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
            Event::Stall(at, long) => {
                self.sidecars[at].stalled_until = self.now + long;
                self.stand_still(at, long);
            }
            Event::Leave(at) => self.leave(at),
            Event::Gone(at, last) => self.gone(at, last),
            Event::Part(at, long) => self.part(at, long),
            Event::Edit => self.edit(),
            Event::Apply(at, version) => self.apply(at, version),
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
        self.note_left();
    }

    /// For so long a sidecar renews no claims: a while before that it may not have done so either.
    pub(super) fn stand_still(&mut self, at: usize, long: u64) {
        if long + 3_000 >= CLAIM_LIFE {
            for running in self.sidecars[at].calls.values_mut() {
                running.void = true;
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
        | Event::Start(at)
        | Event::Leave(at)
        | Event::Gone(at, _)
        | Event::Part(at, _)
        | Event::Apply(at, _) => Some(*at),
        Event::Arrive(..)
        | Event::Stall(..)
        | Event::Edit
        | Event::StoreStop(_)
        | Event::StoreStart
        | Event::ClockBack(_) => None,
    }
}
