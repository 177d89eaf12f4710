//! Speaks to the store: an exchange for each Team when it is due, one at a time for each.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use redis::{RedisError, RedisResult};
use tokio::{
    sync::watch,
    task::{JoinError, JoinSet},
};
use vectoll_config::{
    Uid,
    store::{ACKNOWLEDGED_EVERY, team_prefix},
};

use super::{
    acknowledge::{Word, acknowledge},
    connect::{Connection, PATIENCE, Place, Script},
    metrics::StoreMetrics,
    protocol::{Exchange, Identity, Reply},
    script::{SCRIPT, Unreadable, decode, encode},
    spend::spend_of,
};
use crate::{clock::Clock, counters::Leased, journal::Journal, policy::Policy};

/// The first and the longest pause before another attempt to connect.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(1);
/// Settlements in one exchange.
const MOST_SETTLEMENTS: usize = 1_000;
/// How long a Team whose exchanges are refused is left alone.
const REFUSED_PAUSE: Duration = Duration::from_secs(5);
/// How long a Team is left alone whose part of a cluster is away.
const PART_AWAY_PAUSE: Duration = Duration::from_millis(500);
/// How long a cluster may answer nobody before it is connected to anew.
const LONGEST_SILENCE: Duration = Duration::from_secs(3);
/// When to look again though nothing is due.
const IDLE: Duration = Duration::from_secs(5);

/// Why an exchange has no answer.
#[derive(Debug, thiserror::Error)]
enum ExchangeError {
    #[error("failed to ask the store: {0}")]
    Redis(#[from] RedisError),
    #[error("failed to read the store's answer: {0}")]
    Unreadable(#[from] Unreadable),
    #[error("the store did not answer within {PATIENCE:?}")]
    TooSlow,
    #[error("an exchange was broken off: {0}")]
    Broken(#[from] JoinError),
}

impl ExchangeError {
    /// Whether another exchange would fail as well.
    fn is_the_connections(&self) -> bool {
        match self {
            Self::Redis(error) => is_the_connections(error),
            Self::TooSlow | Self::Broken(_) => true,
            Self::Unreadable(_) => false,
        }
    }
}

/// Whether it is not an answer of the server's to one command: then there is no telling what the next one would get. A server
/// that is no master any more, or still loading, is as good as away.
fn is_the_connections(error: &RedisError) -> bool {
    let one_teams = [Some("NOPERM"), Some("WRONGTYPE"), Some("ERR"), Some("OOM")];
    !one_teams.contains(&error.code())
}

/// What an exchange came to.
type Done = (Uid, Result<Reply, ExchangeError>);

/// What speaking to a store needs.
#[derive(Debug)]
pub struct Driver {
    /// The counters that it speaks for.
    pub leased: Arc<Leased>,
    /// Where spend is taken from.
    pub journal: Arc<Journal>,
    /// Who this sidecar is.
    pub identity: Identity,
    /// Its pod's name; empty outside a cluster.
    pub pod: Arc<str>,
    /// What it serves by.
    pub policy: Arc<ArcSwap<Policy>>,
    /// Time.
    pub clock: Clock,
    /// What Prometheus sees of it.
    pub metrics: StoreMetrics,
}

impl Driver {
    /// Speaks to the store, wherever that is at present, until it is told to stop. Then everything that is not used goes back,
    /// and spend that the store does not know is told, within `last` if that can be.
    pub async fn run(
        self,
        mut place: watch::Receiver<Option<Arc<Place>>>,
        mut stop: watch::Receiver<bool>,
        last: Duration,
    ) {
        self.recall();
        loop {
            let present = place.borrow_and_update().clone();
            let Some(present) = present else {
                tokio::select! {
                    changed = place.changed() => if changed.is_err() { return },
                    () = stopped(&mut stop) => return,
                }
                continue;
            };
            tracing::info!(url = %present.url, user = present.username, "limits, budgets and spend are kept in a store");
            let mut line = Line::new(&self, present);
            tokio::select! {
                () = line.speak(None) => {}
                changed = place.changed() => if changed.is_err() { return },
                () = stopped(&mut stop) => {
                    self.leased.let_go(self.clock.now());
                    line.speak(Some(Instant::now() + last)).await;
                    return;
                }
            }
            line.hang_up().await;
        }
    }

    /// Spend of earlier processes that the store may not know is held back in the budgets until it does.
    fn recall(&self) {
        for team in self.journal.teams() {
            for settled in self.journal.settled_after(&team, 0, usize::MAX) {
                for charge in &settled.intent.charges {
                    self.leased.owe(&team, charge, settled.number, settled.settlement.money);
                }
            }
        }
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that whoever could stop us is gone: stop as well.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// The conversation with the store at one place.
struct Line<'a> {
    driver: &'a Driver,
    place: Arc<Place>,
    script: Arc<Script>,
    connection: Option<Connection>,
    connecting: JoinSet<RedisResult<Connection>>,
    exchanges: JoinSet<Done>,
    acknowledging: JoinSet<RedisResult<Word>>,
    /// What was said of the config last, and when.
    acknowledged: Option<(Word, Instant)>,
    under_way: BTreeSet<Uid>,
    /// Teams whose exchanges are refused: why, and until when they are left alone.
    refusing: BTreeMap<Uid, (String, Instant)>,
    /// When to connect again, after a failure.
    not_before: Instant,
    pause: Duration,
    /// When the store answered last, or was connected to.
    heard: Instant,
    /// The last failure, so that a lasting one is logged once.
    failing: Option<String>,
}

impl<'a> Line<'a> {
    fn new(driver: &'a Driver, place: Arc<Place>) -> Self {
        Self {
            driver,
            place,
            script: Arc::new(Script::new(SCRIPT)),
            connection: None,
            connecting: JoinSet::new(),
            exchanges: JoinSet::new(),
            acknowledging: JoinSet::new(),
            acknowledged: None,
            under_way: BTreeSet::new(),
            refusing: BTreeMap::new(),
            not_before: Instant::now(),
            pause: FIRST_PAUSE,
            heard: Instant::now(),
            failing: None,
        }
    }

    /// Speaks for ever; with a last moment, until nothing is left to be said or that has come.
    async fn speak(&mut self, last: Option<Instant>) {
        loop {
            let next = self.start_what_is_due();
            if let Some(last) = last {
                let silent = self.under_way.is_empty()
                    && !self.driver.leased.has_more_to_say()
                    && self.driver.journal.teams().is_empty();
                if silent || Instant::now() >= last {
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
                Some(said) = self.acknowledging.join_next() => match said {
                    Ok(Ok(word)) => self.acknowledged = Some((word, Instant::now())),
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

    /// Starts the exchanges that are due, or connects for them. Returns how long until there are others.
    fn start_what_is_due(&mut self) -> Duration {
        let now = self.driver.clock.now();
        let unknown: BTreeSet<Uid> = self.driver.journal.teams().into_iter().collect();
        let mut next = IDLE;
        let mut waits = false;
        for (team, due) in self.driver.leased.due(now.elapsed, &unknown) {
            let wait = due.saturating_sub(now.elapsed);
            if wait > Duration::ZERO {
                next = next.min(wait);
            } else if let Some(pause) = self.refused_for(&team) {
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
                tokio::time::timeout(2 * PATIENCE, Connection::open(&place)).await.unwrap_or_else(|_| Err(too_slow()))
            });
        }
        next
    }

    /// How long a Team whose exchanges are refused is left alone.
    fn refused_for(&self, team: &Uid) -> Option<Duration> {
        let (_, until) = self.refusing.get(team)?;
        let pause = until.saturating_duration_since(Instant::now());
        (pause > Duration::ZERO).then_some(pause)
    }

    /// Says which config is served by, when that is due. Returns whether there is no connection to say it by, and how long
    /// until it is due again.
    fn acknowledge(&mut self) -> (bool, Duration) {
        let policy = self.driver.policy.load();
        let word = Word { namespace: policy.namespace.clone(), generation: policy.generation };
        let due = match &self.acknowledged {
            Some((said, at)) if *said == word => ACKNOWLEDGED_EVERY.saturating_sub(at.elapsed()),
            Some(_) | None => Duration::ZERO,
        };
        if word.generation == 0 || !self.acknowledging.is_empty() {
            // A config, or the end of what is under way, rings.
            return (false, ACKNOWLEDGED_EVERY);
        }
        if due > Duration::ZERO {
            return (false, due);
        }
        let Some(connection) = self.connection.clone() else { return (true, ACKNOWLEDGED_EVERY) };
        let Driver { identity, pod, .. } = self.driver;
        self.acknowledging.spawn(acknowledge(connection, identity.clone(), word, pod.clone()));
        (false, ACKNOWLEDGED_EVERY)
    }

    fn start(&mut self, team: Uid, mut connection: Connection) {
        self.under_way.insert(team.clone());
        let Driver { leased, journal, identity, clock, metrics, .. } = self.driver;
        let (leased, journal, identity, clock) = (leased.clone(), journal.clone(), identity.clone(), *clock);
        let (script, timer) = (self.script.clone(), metrics.duration.clone());
        // A Team that the config does not have any more gets no new users.
        let policy = self.driver.policy.load();
        let most_users = policy.teams.iter().find(|it| it.uid == team).map_or(0, |team| team.max_users);
        self.exchanges.spawn(async move {
            // What was settled long ago is read from files.
            let (of, from) = (team.clone(), leased.clone());
            let made = tokio::task::spawn_blocking(move || {
                let spend = |known| spend_of(known, &journal.settled_after(&of, known, MOST_SETTLEMENTS));
                from.exchange(&of, most_users, spend, clock.now())
            });
            let began = Instant::now();
            let exchanged = async {
                let exchange = made.await?;
                ask(&mut connection, &script, &identity, &team, &exchange).await
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
                self.refusing.remove(team);
                let known = leased.reply(team, identity, &reply, clock.now());
                journal.acknowledged(team, known);
            }
            Err(error) => {
                leased.lost(team, clock.now());
                if !error.is_the_connections() {
                    self.refused(team, &error, REFUSED_PAUSE);
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
        let before = self.refusing.insert(team.clone(), (words.clone(), Instant::now() + pause));
        if before.is_none_or(|(before, _)| before != words) {
            tracing::error!(%team, error = words, "the store takes nothing of this Team: its calls get shares, or are refused");
        }
    }

    /// Whether a failure says nothing of other Teams: each master of a cluster answers for its own. A cluster of which nobody has
    /// answered for a while is connected to anew: all of its servers may have moved.
    fn others_may_be_answered(&self) -> bool {
        self.connection.as_ref().is_some_and(Connection::has_parts) && self.heard.elapsed() < LONGEST_SILENCE
    }

    /// What is served by could not be said: it is tried again when it is due again.
    fn unsaid(&mut self, error: &RedisError) {
        let policy = self.driver.policy.load();
        let word = Word { namespace: policy.namespace.clone(), generation: policy.generation };
        self.acknowledged = Some((word, Instant::now()));
        if is_the_connections(error) && !self.others_may_be_answered() {
            self.connection = None;
        }
        tracing::warn!(%error, "the store was not told which config is served by");
    }

    fn connected(&mut self, connection: Connection) {
        self.connection = Some(connection);
        self.heard = Instant::now();
    }

    fn failed(&mut self, error: &ExchangeError) {
        let Driver { leased, clock, metrics, .. } = self.driver;
        metrics.exchanged(false);
        metrics.up.set(0);
        self.connection = None;
        self.not_before = Instant::now() + self.pause;
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
    async fn hang_up(&mut self) {
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

async fn ask(
    connection: &mut Connection,
    script: &Script,
    identity: &Identity,
    team: &Uid,
    exchange: &Exchange,
) -> Result<Reply, ExchangeError> {
    let (prefix, words) = (team_prefix(team), encode(identity, exchange));
    let answer = connection.run(script, &prefix, &words);
    let answer = tokio::time::timeout(PATIENCE, answer).await.map_err(|_| ExchangeError::TooSlow)??;
    Ok(decode(&answer)?)
}
