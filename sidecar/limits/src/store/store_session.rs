//! The conversation with the store at one place: an exchange for each Team when it is due, one at a time for each.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use redis::RedisResult;
use tokio::task::JoinSet;
use vectoll_config::{
    Uid,
    store::{HEARTBEAT_PERIOD, caller},
};

use super::{
    ask::{ExchangeError, ask, is_the_connections},
    backoff::Backoff,
    connect::{CONNECT_TIMEOUT, CallError, Connection, StoreAccess},
    driver::Driver,
    given_up::{self, Verdict},
    heartbeat::{Due, Heartbeat, HeartbeatTask},
    protocol::Reply,
    spend::spend_of,
};
use crate::counters::Batch;

/// The first and the longest pause before another attempt to connect.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(1);
/// Settlements in one exchange.
const MAX_SETTLEMENTS: usize = 1_000;
/// How long a Team whose exchanges are refused is left alone.
const REFUSED_PAUSE: Duration = Duration::from_secs(5);
/// How long reading may take what is given up: it is not asked for again before.
const GIVING_UP: Duration = Duration::from_mins(10);
/// How long a Team is left alone whose part of a cluster is away.
const PART_AWAY_PAUSE: Duration = Duration::from_millis(500);
/// How long a cluster may answer nobody before it is connected to anew.
const LONGEST_SILENCE: Duration = Duration::from_secs(3);
/// When to look again though nothing is due.
const IDLE: Duration = Duration::from_secs(5);

/// What an exchange came to.
type Done = (Uid, Result<Reply, ExchangeError>);

/// The conversation with the store at one place.
pub(super) struct StoreSession<'a> {
    driver: &'a Driver,
    place: Arc<StoreAccess>,
    connection: Option<Connection>,
    connecting: JoinSet<RedisResult<Connection>>,
    exchanges: JoinSet<Done>,
    acknowledging: HeartbeatTask,
    under_way: BTreeSet<Uid>,
    left_alone: Backoff,
    /// When to connect again, after a failure.
    not_before: Instant,
    /// When to ask again by the connection that there is: nobody has loaded the functions yet.
    silent_until: Instant,
    pause: Duration,
    /// When the store answered last, or was connected to.
    heard: Instant,
    /// The generation of the config whose backends are kept.
    backends_of: u64,
    /// The last failure, so that a lasting one is logged once.
    failing: Option<String>,
}

impl<'a> StoreSession<'a> {
    pub(super) fn new(driver: &'a Driver, place: Arc<StoreAccess>) -> Self {
        Self {
            driver,
            place,
            connection: None,
            connecting: JoinSet::new(),
            exchanges: JoinSet::new(),
            acknowledging: HeartbeatTask::default(),
            under_way: BTreeSet::new(),
            left_alone: Backoff::default(),
            not_before: Instant::now(),
            silent_until: Instant::now(),
            pause: FIRST_PAUSE,
            heard: Instant::now(),
            backends_of: 0,
            failing: None,
        }
    }

    /// Speaks for ever; with a last moment, until nothing is left to be said or that has come.
    pub(super) async fn speak(&mut self, last: Option<Instant>) {
        loop {
            let untold: BTreeSet<Uid> = self.driver.journal.teams().into_iter().collect();
            let next = self.start_what_is_due(&untold);
            if let Some(last) = last {
                let is_done = self.under_way.is_empty() && untold.is_empty() && !self.driver.leased.has_more_to_say();
                if is_done || Instant::now() >= last {
                    return;
                }
            }
            let most = last.map_or(IDLE, |last| last.saturating_duration_since(Instant::now()));
            tokio::select! {
                () = self.driver.leased.woken() => {}
                () = tokio::time::sleep(next.min(most)) => {}
                Some(done) = self.exchanges.join_next() => match done {
                    Ok((team, result)) => self.done(&team, result),
                    Err(error) => self.failed(&ExchangeError::from(error)),
                },
                Some(sent) = self.acknowledging.next() => match sent {
                    Ok(Ok(word)) => self.acknowledging.sent(word),
                    // A connection that broke is found out by exchanges, too; calls do not hang on this.
                    Ok(Err(error)) => self.unsaid(&error),
                    Err(error) => self.failed(&ExchangeError::from(error)),
                },
                Some(connected) = self.connecting.join_next() => match connected {
                    Ok(Ok(connection)) => self.connected(connection),
                    Ok(Err(error)) => self.failed(&ExchangeError::from(error)),
                    Err(error) => self.failed(&ExchangeError::from(error)),
                },
            }
        }
    }

    /// Starts the exchanges that are due, or connects for them. Returns how long until there are others. `untold`: Teams with spend
    /// that the store is not known to have.
    fn start_what_is_due(&mut self, untold: &BTreeSet<Uid>) -> Duration {
        self.forget_backends();
        // A store without functions has nothing to say to anybody.
        let silent = self.silent_until.saturating_duration_since(Instant::now());
        if silent > Duration::ZERO {
            return silent;
        }
        let now = self.driver.clock.now();
        let mut next = IDLE;
        let mut waits = false;
        for (team, due) in self.driver.leased.due(now.elapsed, untold) {
            let wait = due.saturating_sub(now.elapsed);
            if wait > Duration::ZERO {
                next = next.min(wait);
            } else if let Some(pause) = self.left_alone.still(&team) {
                next = next.min(pause);
            } else if self.under_way.contains(&team) {
                // Its answer is under way, or its end: either rings.
            } else if let Some(connection) = self.connection.clone() {
                self.start(team, connection);
            } else {
                waits = true;
            }
        }
        let (unsaid, pause) = self.acknowledge();
        next = next.min(pause);
        waits |= unsaid;
        if waits && self.connecting.is_empty() {
            let pause = self.not_before.saturating_duration_since(Instant::now());
            if pause > Duration::ZERO {
                return next.min(pause);
            }
            let place = self.place.clone();
            self.connecting.spawn(async move {
                let too_slow = || std::io::Error::from(std::io::ErrorKind::TimedOut).into();
                tokio::time::timeout(2 * CONNECT_TIMEOUT, Connection::open(&place))
                    .await
                    .unwrap_or_else(|_| Err(too_slow()))
            });
        }
        next
    }

    /// Once for each config.
    fn forget_backends(&mut self) {
        let served = &self.driver.served;
        let generation = served.generation();
        if self.backends_of != generation {
            self.backends_of = generation;
            self.driver.leased.keep_backends(|account| served.is_limited(account));
        }
    }

    /// Says which config is served by, when that is due. Returns whether there is no connection to say it by, and how long
    /// until it is due again.
    fn acknowledge(&mut self) -> (bool, Duration) {
        match self.acknowledging.due(self.word()) {
            Due::Later(pause) => (false, pause),
            Due::Now(word) => {
                let Some(connection) = self.connection.clone() else { return (true, HEARTBEAT_PERIOD) };
                let Driver { identity, pod, .. } = self.driver;
                self.acknowledging.send((connection, self.place.clone()), identity.clone(), word, pod.clone());
                (false, HEARTBEAT_PERIOD)
            }
        }
    }

    fn word(&self) -> Heartbeat {
        let served = &self.driver.served;
        Heartbeat { namespace: served.namespace(), generation: served.generation() }
    }

    fn start(&mut self, team: Uid, mut connection: Connection) {
        self.under_way.insert(team.clone());
        let Driver { leased, journal, identity, clock, metrics, threads, .. } = self.driver;
        let (leased, journal, identity, clock) = (leased.clone(), journal.clone(), identity.clone(), *clock);
        let threads = threads.clone();
        let timer = metrics.duration.clone();
        let caller = caller(self.place.scope.as_deref(), &self.driver.served.namespace());
        // A Team that the config does not have any more gets no new users.
        let most_users = self.driver.served.max_users(&team);
        self.exchanges.spawn(async move {
            // What was settled long ago is read from files.
            let (of, from) = (team.clone(), leased.clone());
            let made = threads.run(move || {
                let batch = |known| {
                    let settled = journal.settled_after(&of, known, MAX_SETTLEMENTS);
                    Batch { spend: spend_of(&of, known, &settled), more: settled.len() == MAX_SETTLEMENTS }
                };
                from.exchange(&of, most_users, batch, clock.now())
            });
            let began = Instant::now();
            let exchanged = async {
                let exchange = made.await?;
                ask(&mut connection, (&identity, &caller), &team, &exchange).await
            };
            let result = exchanged.await;
            timer.observe(began.elapsed().as_secs_f64());
            (team, result)
        });
    }

    fn done(&mut self, team: &Uid, result: Result<Reply, ExchangeError>) {
        self.under_way.remove(team);
        let Driver { leased, journal, identity, clock, metrics, .. } = self.driver;
        match result {
            Ok(reply) => {
                metrics.exchanged(true);
                if self.failing.take().is_some() {
                    tracing::info!("the store answers again");
                }
                metrics.up.set(1);
                self.pause = FIRST_PAUSE;
                self.heard = Instant::now();
                self.left_alone.no_more(team);
                let known = leased.reply(team, identity, &reply, clock.now());
                journal.acknowledged(team, known);
            }
            Err(error) => {
                leased.lost(team, clock.now());
                if !error.is_the_connections() {
                    self.refused(team, &error, REFUSED_PAUSE);
                    if error.is_forbidden() {
                        match given_up::verdict(self.driver, team, self.left_alone.so_far(team)) {
                            Verdict::Kept => {}
                            Verdict::Forgotten => self.left_alone.no_more(team),
                            Verdict::GivenUp => drop(self.left_alone.leave(team, "given up", GIVING_UP)),
                        }
                    }
                } else if self.others_may_be_answered() {
                    self.refused(team, &error, PART_AWAY_PAUSE);
                } else {
                    self.failed(&error);
                }
            }
        }
    }

    /// The store does not take what was said of one Team, or the part of it that has this Team is away: that is no reason to be
    /// silent of the others.
    fn refused(&mut self, team: &Uid, error: &ExchangeError, pause: Duration) {
        self.driver.metrics.exchanged(false);
        let words = error.to_string();
        if self.left_alone.leave(team, &words, pause) {
            tracing::error!(account = %team, error = words, "the store takes nothing of this Team or backend: its calls get shares, or are refused; to a backend they go without, where no share is known");
        }
    }

    /// Whether a failure says nothing of other Teams: each master of a cluster answers for its own. A cluster of which nobody has
    /// answered for a while is connected to anew: all of its servers may have moved.
    fn others_may_be_answered(&self) -> bool {
        self.connection.as_ref().is_some_and(Connection::has_parts) && self.heard.elapsed() < LONGEST_SILENCE
    }

    /// What is served by could not be said: it is tried again when it is due again.
    fn unsaid(&mut self, error: &CallError) {
        self.acknowledging.sent(self.word());
        match error {
            // Exchanges find it out as well, and say so.
            CallError::LacksFunctions => return,
            CallError::Redis(error) if is_the_connections(error) && !self.others_may_be_answered() => {
                self.connection = None;
            }
            CallError::Redis(_) => {}
        }
        tracing::warn!(%error, "failed to acknowledge the served config in the store");
    }

    fn connected(&mut self, connection: Connection) {
        self.connection = Some(connection);
        self.heard = Instant::now();
    }

    fn failed(&mut self, error: &ExchangeError) {
        let Driver { leased, clock, metrics, .. } = self.driver;
        metrics.exchanged(false);
        metrics.up.set(0);
        if error.wants_another_connection() {
            self.connection = None;
            self.not_before = Instant::now() + self.pause;
        } else {
            self.silent_until = Instant::now() + self.pause;
        }
        self.pause = (self.pause * 2).min(LAST_PAUSE);
        let words = error.to_string();
        if self.failing.as_ref() != Some(&words) {
            tracing::warn!(error = words, "the store is away: calls get this sidecar's share, or are refused");
            self.failing = Some(words);
        }
        // Nobody waits for a store that is away.
        leased.lose_waiters(&self.under_way, clock.now());
    }

    /// The place has changed: what is under way is heard to its end, and nobody waits for the place that was.
    pub(super) async fn hang_up(&mut self) {
        while let Some(done) = self.exchanges.join_next().await {
            match done {
                Ok((team, result)) => self.done(&team, result),
                Err(error) => tracing::error!(%error, "an exchange was broken off"),
            }
        }
        for team in std::mem::take(&mut self.under_way) {
            self.driver.leased.lost(&team, self.driver.clock.now());
        }
        self.driver.leased.lose_waiters(&BTreeSet::new(), self.driver.clock.now());
    }
}
