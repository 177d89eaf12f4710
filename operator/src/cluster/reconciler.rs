//! The loop: what changed is judged, what differs is done, and again.
//!
//! Level-triggered, namespace by namespace: judging one begins with all that is known of it and ends with all that is to be done in it.
//! What is remembered from one time to the next ([`Memory`]) can be found again, so a restart loses nothing. Judging goes on beside the
//! loop, on a snapshot: neither the watches nor the Lease nor a probe waits for it.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context;
use jiff::Timestamp;
use kube::Client;
use tokio::{
    sync::{Semaphore, watch},
    task::{Id, JoinError, JoinSet},
};

use super::{
    apply::Applier,
    changes::Changes,
    gather::{Gather, REQUEST_TIMEOUT, Unheard},
    lease::Tenure,
    memory::Memory,
    metrics::Metrics,
    piece::Judged,
    plan::{Action, MAX_PER_RECONCILE, PersistentFailures, Target},
    queue::Queue,
    schedule::{Due, Next, RESYNC_PERIOD, Schedule, Urgency},
    snapshot::Setting,
    store::{Needs, Store},
    watch::Shared,
    write_rate::{WriteRate, WriteSlots},
};
use crate::{provider_hosts::AllowedHosts, world::Counting};

/// Namespaces that are gathered at the same time; they are judged one after the other.
const MAX_PIECES: usize = 4;
/// Actions of the mass that may wait to be carried out. What is planned and not carried out was planned for nothing, and takes memory.
const MAX_MASS: usize = 4 * MAX_PER_RECONCILE;
/// What every namespace may do, however much the others have to do.
const MIN_BULK: usize = 32;
/// The longest pause of what may end something: it must not wait long once the cause of its failures is gone.
const LAST_URGENT_PAUSE: Duration = Duration::from_secs(2);
/// Pauses after failures of the same action: they double from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LAST_PAUSE: Duration = Duration::from_mins(1);
/// The shortest time between two writes of one config, or two touches of one pod: what comes meanwhile goes together.
const MIN_WRITE_INTERVAL: Duration = Duration::from_millis(250);
/// When to try again what could not be gathered.
const RETRY_DELAY: Duration = Duration::from_secs(2);
/// Failures of the same action, one after the other, before the status tells of it.
const TOLD_AFTER: u32 = 3;
/// When to look again whether the Lease has been renewed, of which the time has run out.
const LEASE_CHECK_PERIOD: Duration = Duration::from_secs(1);
/// How often the store's settings are read again.
const STORE_REFRESH_PERIOD: Duration = Duration::from_mins(1);
/// The shortest time between two words to the store about who needs what of it.
const STORE_DEBOUNCE: Duration = Duration::from_millis(100);

/// How much the operator may write.
#[derive(Clone, Copy, Debug)]
pub(super) struct WriteLimits {
    pub(super) per_second: u32,
    pub(super) burst: u32,
    /// Requests under way at the same time.
    pub(super) parallel: usize,
}

/// The operator's loop.
pub(super) struct Reconciler {
    client: Client,
    shared: Shared,
    hands: Applier,
    metrics: Metrics,
    store: Option<Store>,
    setting: Setting,
    tenure: Tenure,
    rate: WriteRate,
    slots: WriteSlots,
    schedule: Schedule,
    memory: Arc<Mutex<Memory>>,
    needs: Needs,
    /// When the store is to be told of them.
    needs_due: Option<Instant>,
    /// When the store's settings are read again.
    store_due: Instant,
    pieces: JoinSet<anyhow::Result<(Judged, u64)>>,
    /// The namespace that each of them is of.
    judged_by: HashMap<Id, String>,
    /// One is judged at a time: the other processors are for those who wait for an answer.
    judging: Arc<Semaphore>,
    queue: Queue,
    /// What one plan could not take on, by namespace.
    later: HashMap<String, usize>,
    running: JoinSet<anyhow::Result<()>>,
    /// What each of them is, so that one that ends in a panic is known by its task.
    tasks: HashMap<Id, Task>,
    busy: HashSet<Target>,
    /// Of those, what a plan would have done again: to be judged when it is done.
    deferred: HashSet<Target>,
    /// What was done lately, and when: what was planned before must not do it again.
    finished: HashMap<Target, Instant>,
    resting: HashMap<Target, Rest>,
}

/// An action under way.
struct Task {
    target: Target,
    word: &'static str,
    is_mass: bool,
}

/// Not before a time, after so many failures.
struct Rest {
    until: Instant,
    failures: u32,
    /// What the last one was.
    error: String,
}

impl Reconciler {
    #[allow(clippy::too_many_arguments, reason = "the parts of a loop, each named once")]
    pub(super) fn new(
        client: Client,
        shared: Shared,
        hands: Applier,
        metrics: Metrics,
        store: Option<Store>,
        allowed_hosts: Arc<AllowedHosts>,
        tenure: Tenure,
        limits: WriteLimits,
    ) -> Self {
        let now = Instant::now();
        Self {
            client,
            shared,
            hands,
            metrics,
            store,
            setting: Setting { counting: Counting::Apart, allowed_hosts },
            tenure,
            rate: WriteRate::new(limits.per_second, limits.burst, now),
            slots: WriteSlots::new(limits.parallel),
            schedule: Schedule::default(),
            memory: Arc::default(),
            needs: Needs::default(),
            needs_due: None,
            store_due: now,
            pieces: JoinSet::new(),
            judged_by: HashMap::new(),
            judging: Arc::new(Semaphore::new(1)),
            queue: Queue::default(),
            later: HashMap::new(),
            running: JoinSet::new(),
            tasks: HashMap::new(),
            busy: HashSet::new(),
            deferred: HashSet::new(),
            finished: HashMap::new(),
            resting: HashMap::new(),
        }
    }

    /// Acts while it leads, until it is told to stop. What is under way when it stops is finished.
    pub(super) async fn run(mut self, mut leads: watch::Receiver<bool>, mut stop: watch::Receiver<bool>) {
        let mut acts = false;
        loop {
            let mut next = Instant::now() + RESYNC_PERIOD;
            if acts && self.store_due <= Instant::now() {
                tokio::select! {
                    () = self.prepare() => {}
                    () = told(&mut stop) => break,
                }
            }
            if acts {
                self.look();
                if self.is_prepared() {
                    next = self.judge();
                    next = next.min(self.start());
                    next = next.min(self.tell_store());
                }
                next = next.min(self.store_due);
            }
            tokio::select! {
                () = self.shared.changed() => if !acts {
                    // Another replica takes care of it.
                    drop(self.shared.observed().take_changes());
                },
                () = tokio::time::sleep_until(next.into()) => {}
                Some(judged) = self.pieces.join_next_with_id() => self.judged(judged),
                Some(done) = self.running.join_next_with_id() => self.done(done),
                changed = leads.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    acts = *leads.borrow_and_update();
                    if acts {
                        self.begin();
                    } else {
                        // Another replica acts now: not a word more from this one.
                        self.drop_everything().await;
                    }
                }
                () = told(&mut stop) => break,
            }
        }
        self.queue.clear();
        self.pieces.shutdown().await;
        let _ =
            tokio::time::timeout(Duration::from_secs(5), async { while self.running.join_next().await.is_some() {} })
                .await;
    }

    /// This replica acts from now on: everything is looked at once.
    fn begin(&mut self) {
        self.store_due = Instant::now();
        let all = {
            let mut observed = self.shared.observed();
            drop(observed.take_changes());
            observed.all_namespaces()
        };
        self.want(all.iter(), Urgency::Normal);
    }

    /// Reads the store's settings, and notes when to do so again.
    async fn prepare(&mut self) {
        let Some(store) = &mut self.store else {
            self.store_due = Instant::now() + RESYNC_PERIOD;
            return;
        };
        let prepared = tokio::time::timeout(REQUEST_TIMEOUT, store.prepare()).await;
        let prepared = prepared.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer in {REQUEST_TIMEOUT:?}")));
        let now = Instant::now();
        let pause = match prepared.context("failed to use the store") {
            Ok(is_new) => {
                if is_new {
                    // The store is told of it although no namespace may need anything, and all of them are told of the store.
                    self.needs_due = Some(now);
                    let all = self.shared.observed().all_namespaces();
                    self.want(all.iter(), Urgency::Normal);
                }
                STORE_REFRESH_PERIOD
            }
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "what is in force stays as it is");
                RETRY_DELAY
            }
        };
        self.store_due = now + pause;
    }

    /// Nothing is judged before everything was listed and the store's settings are known: half of the world would make keys anew and
    /// take configs away.
    fn is_prepared(&self) -> bool {
        self.shared.observed().watches.are_synced() && self.store.as_ref().is_none_or(Store::is_prepared)
    }

    /// Takes in what has changed.
    fn look(&mut self) {
        let (changes, readers) = {
            // Both at once, and in the order of those who take snapshots: nobody may use what is known of offers that have changed, and
            // be no reader yet.
            let mut memory = self.memory();
            let mut observed = self.shared.observed();
            let changes = observed.take_changes();
            let readers: HashSet<String> =
                changes.offers.iter().flat_map(|of| observed.index.readers(of)).map(str::to_owned).collect();
            for namespace in &changes.offers {
                memory.forget_offers(namespace);
            }
            (changes, readers)
        };
        let Changes { own, offers, told } = changes;
        self.want(own.iter().chain(&offers).chain(&readers), Urgency::High);
        self.want(told.iter(), Urgency::Normal);
        let Some(store) = &self.store else { return };
        let counting = store.counting();
        if store.has_changed() {
            let held: Vec<String> = self.needs.held().map(str::to_owned).collect();
            self.want(held.iter(), Urgency::High);
        }
        if self.setting.counting != counting {
            self.setting.counting = counting;
            let all = self.shared.observed().all_namespaces();
            self.want(all.iter(), Urgency::Normal);
        }
    }

    fn want<'a>(&mut self, namespaces: impl Iterator<Item = &'a String>, urgency: Urgency) {
        let now = Instant::now();
        for namespace in namespaces {
            self.schedule.want(namespace, urgency, now);
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to judge what is to be judged now. Returns when to look again.
    fn judge(&mut self) -> Instant {
        while self.pieces.len() < MAX_PIECES {
            let room = MAX_MASS.saturating_sub(self.queue.mass());
            match self.schedule.next(room >= MAX_PER_RECONCILE, Instant::now()) {
                Next::Wait(until) => return until,
                Next::Judge(namespace) => {
                    let troubles = self.troubles(&namespace);
                    let gather = Gather {
                        client: self.client.clone(),
                        shared: self.shared.clone(),
                        memory: self.memory.clone(),
                        setting: self.setting.clone(),
                        store: self.store.as_ref().and_then(Store::view),
                        judging: self.judging.clone(),
                        troubles,
                        bulk: room.clamp(MIN_BULK, MAX_PER_RECONCILE),
                    };
                    let of = namespace.clone();
                    let task = self.pieces.spawn(async move { gather.judge(&namespace).await });
                    self.judged_by.insert(task.id(), of);
                }
            }
        }
        Instant::now() + RESYNC_PERIOD
    }

    /// What has failed again and again in a namespace.
    fn troubles(&self, namespace: &str) -> PersistentFailures {
        let failing =
            self.resting.iter().filter(|(target, rest)| rest.failures >= TOLD_AFTER && target.namespace() == namespace);
        failing.map(|(target, rest)| (target.clone(), rest.error.clone())).collect()
    }

    /// Takes in what came of judging a namespace.
    fn judged(&mut self, judged: Result<(Id, anyhow::Result<(Judged, u64)>), JoinError>) {
        let now = Instant::now();
        let (task, judged) = match judged {
            Ok((task, judged)) => (task, judged),
            Err(error) => (error.id(), Err(anyhow::Error::from(error).context("judging ended in a panic"))),
        };
        let Some(namespace) = self.judged_by.remove(&task) else { return };
        let (judged, changes) = match judged {
            Ok(judged) => judged,
            Err(error) => {
                // One namespace's trouble: what is in force there stays, and the others go on. Its watch has told of it already where it
                // refuses to be seen.
                if !error.is::<Unheard>() {
                    tracing::warn!(namespace, error = format!("{error:#}"), "what is in force stays as it is");
                    self.metrics.pass_failed();
                }
                self.schedule.failed(&namespace, RETRY_DELAY, now);
                return;
            }
        };
        let took = judged.ended.duration_since(judged.began);
        self.metrics.pass(took);
        let is_news = self.memory().learn(&judged, changes);
        let Judged { namespace, plan, need, due, reads, facts_changed, is_empty, began, .. } = judged;
        let moment = |due: Timestamp| {
            let wait = Duration::try_from(due.duration_since(Timestamp::now())).unwrap_or_default();
            now + wait + Duration::from_millis(10)
        };
        let due = Due { change: due.map(moment), report: plan.due.map(moment) };
        self.schedule.judged(&namespace, took, due, now);
        if is_news || facts_changed {
            // Conditions of Teams and routes tell of those who use them.
            self.want(reads.iter(), Urgency::Normal);
        }
        if self.needs.put(&namespace, need) && self.needs_due.is_none() {
            self.needs_due = Some(now + STORE_DEBOUNCE);
        }
        self.metrics.resources(&self.memory().ready());
        if is_empty {
            self.queue.put(&namespace, Vec::new(), Vec::new());
            self.later.remove(&namespace);
            self.schedule.forget(&namespace);
            return;
        }
        // What is under way, or was done since the snapshot was taken, was not known to the plan.
        let mut stale: Option<Urgency> = None;
        let mut known = |actions: Vec<Action>| -> Vec<Action> {
            let mut known = Vec::with_capacity(actions.len());
            for action in actions {
                let target = action.target();
                if self.busy.contains(&target) {
                    self.deferred.insert(target);
                } else if self.finished.get(&target).is_some_and(|at| *at >= began) {
                    stale = stale.max(Some(urgency_of(&target)));
                } else {
                    known.push(action);
                }
            }
            known
        };
        let (first, rest) = (known(plan.first), known(plan.rest));
        self.queue.put(&namespace, first, rest);
        if let Some(urgency) = stale {
            self.schedule.want(&namespace, urgency, now);
        } else if plan.later > 0 {
            self.schedule.want(&namespace, Urgency::Rest, now);
        }
        self.later.insert(namespace, plan.later);
    }

    /// Starts what may be done now. Returns when to look again.
    fn start(&mut self) -> Instant {
        let now = Instant::now();
        let mut next = now + RESYNC_PERIOD;
        // Leadership may have been lost while something else took its time.
        if !self.tenure.holds() {
            return now + LEASE_CHECK_PERIOD;
        }
        while self.slots.has_room() {
            let (busy, resting) = (&self.busy, &self.resting);
            let may =
                |target: &Target| !busy.contains(target) && resting.get(target).is_none_or(|rest| rest.until <= now);
            let (action, is_mass) = if let Some(action) = self.queue.take_first(may) {
                self.rate.overdraw(now);
                (action, false)
            } else {
                // The last places are not for the mass.
                if self.queue.mass() == 0 || !self.slots.has_room_for_mass() {
                    break;
                }
                if let Err(wait) = self.rate.ready(now) {
                    next = next.min(now + wait);
                    break;
                }
                let Some(action) = self.queue.take_rest(may) else { break };
                self.rate.overdraw(now);
                (action, true)
            };
            self.slots.take(is_mass);
            let (target, word) = (action.target(), action.word());
            self.busy.insert(target.clone());
            let (hands, tenure) = (self.hands.clone(), self.tenure.clone());
            let task = self.running.spawn(async move {
                if !tenure.holds() {
                    return Err(anyhow::anyhow!("the Lease has run out"));
                }
                let done = tokio::time::timeout(REQUEST_TIMEOUT, hands.act(action)).await;
                done.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer in {REQUEST_TIMEOUT:?}")))
            });
            self.tasks.insert(task.id(), Task { target, word, is_mass });
        }
        let later: usize = self.later.values().sum();
        self.metrics
            .waiting(self.queue.len() + self.running.len() + later + self.pieces.len() + self.schedule.waiting());
        let ends = self.resting.iter().filter(|(target, rest)| rest.until > now && self.queue.has(target));
        ends.map(|(_, rest)| rest.until).fold(next, Instant::min)
    }

    fn done(&mut self, done: Result<(Id, anyhow::Result<()>), JoinError>) {
        let (task, result) = outcome(done);
        let Some(Task { target, word, is_mass }) = self.tasks.remove(&task) else { return };
        self.slots.free(is_mass);
        let now = Instant::now();
        self.busy.remove(&target);
        if self.deferred.remove(&target) {
            self.schedule.want(target.namespace(), urgency_of(&target), now);
        }
        self.metrics.acted(word, result.is_ok());
        self.finished.insert(target.clone(), now);
        if self.finished.len() > MAX_MASS {
            self.finished.retain(|_, at| now.duration_since(*at) < REQUEST_TIMEOUT);
            self.resting.retain(|target, rest| rest.until > now || rest.failures > 0 && self.queue.has(target));
        }
        match result {
            Ok(()) => {
                if matches!(target, Target::Config(_) | Target::Pod(_)) {
                    let rest = Rest { until: now + MIN_WRITE_INTERVAL, failures: 0, error: String::new() };
                    self.resting.insert(target.clone(), rest);
                } else {
                    self.resting.remove(&target);
                }
                // What depends on it is planned next. A status and a touched pod are as they were planned.
                if !matches!(target, Target::Status(_) | Target::Pod(_)) {
                    self.schedule.want(target.namespace(), Urgency::High, now);
                }
            }
            Err(error) => {
                let failures = self.resting.get(&target).map_or(0, |rest| rest.failures) + 1;
                let is_urgent = matches!(target, Target::Config(_) | Target::Secret(_));
                let longest = if is_urgent { LAST_URGENT_PAUSE } else { LAST_PAUSE };
                let pause = (FIRST_PAUSE * 2u32.saturating_pow(failures.min(16) - 1)).min(longest);
                let error = format!("{error:#}");
                tracing::warn!(action = word, target = ?target, error, again_in = ?pause, "an action failed");
                self.schedule.want(target.namespace(), Urgency::High, now);
                self.resting.insert(target, Rest { until: now + pause, failures, error });
            }
        }
    }

    /// Tells the store who needs what of it. Returns when to look again.
    fn tell_store(&mut self) -> Instant {
        let now = Instant::now();
        if let Some(store) = &self.store {
            store.count(&self.shared.observed(), now);
        }
        if let Some(due) = self.needs_due.filter(|due| *due > now) {
            return due;
        }
        if let (Some(_), Some(store)) = (self.needs_due.take(), &self.store) {
            store.want(&self.needs);
        }
        now + RESYNC_PERIOD
    }

    async fn drop_everything(&mut self) {
        self.queue.clear();
        self.later.clear();
        self.schedule.clear();
        self.pieces.shutdown().await;
        self.running.shutdown().await;
        self.tasks.clear();
        self.slots.clear();
        self.judged_by.clear();
        self.busy.clear();
        self.deferred.clear();
        self.finished.clear();
        self.resting.clear();
        *self.memory() = Memory::default();
        self.needs = Needs::default();
        self.needs_due = None;
        if let Some(store) = &mut self.store {
            store.rest();
        }
    }
}

/// How urgent it is to plan anew what is done to a target.
fn urgency_of(target: &Target) -> Urgency {
    match target {
        Target::Status(_) => Urgency::Normal,
        Target::Secret(_) | Target::Config(_) | Target::Pod(_) => Urgency::High,
    }
}

/// What became of a task. A panic is a failure of that one action, with what it said, and of no other.
fn outcome(done: Result<(Id, anyhow::Result<()>), JoinError>) -> (Id, anyhow::Result<()>) {
    let error = match done {
        Ok(done) => return done,
        Err(error) => error,
    };
    let task = error.id();
    let why = match error.try_into_panic() {
        Ok(panic) => {
            let said = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(|s| &**s));
            anyhow::anyhow!("a panic in the operator, please report it: {}", said.unwrap_or("it said nothing"))
        }
        Err(_) => anyhow::anyhow!("it was stopped"),
    };
    (task, Err(why))
}

/// Waits until it is told to stop, or whoever could tell is gone.
pub(super) async fn told(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use std::collections::HashMap;

    use tokio::task::JoinSet;

    use super::outcome;

    #[tokio::test]
    async fn a_panic_is_the_failure_of_its_own_task_and_of_no_other() {
        let mut running: JoinSet<anyhow::Result<()>> = JoinSet::new();
        let mut tasks = HashMap::new();
        tasks.insert(running.spawn(async { Ok(()) }).id(), "fine");
        tasks.insert(running.spawn(async { panic!("at the disco") }).id(), "loud");
        tasks.insert(running.spawn(std::future::pending()).id(), "endless");
        for _ in 0..2 {
            let (task, result) = outcome(running.join_next_with_id().await.unwrap());
            match tasks.remove(&task).unwrap() {
                "fine" => assert!(result.is_ok()),
                "loud" => assert!(result.unwrap_err().to_string().ends_with("please report it: at the disco")),
                other => panic!("{other}"),
            }
        }
        assert_eq!(tasks.values().collect::<Vec<_>>(), [&"endless"], "it is still under way, and stays busy");
    }
}
