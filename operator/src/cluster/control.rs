//! The loop: what changed is judged, what differs is done, and again.
//!
//! Level-triggered: each pass begins with all that is known and ends with all that is to be done. Nothing is remembered from
//! one pass to the next but what is under way and what has failed lately, so a restart loses nothing.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use tokio::{
    sync::watch,
    task::{Id, JoinError, JoinSet},
};
use vectoll_config::ObjectName;

use super::{
    act::Hands,
    metrics::Metrics,
    mirror::Seen,
    observed::version_of,
    plan::{Action, Prepared, Target, Troubles, plan},
    store::{Delivery, Store},
    watch::Shared,
};
use crate::{
    judge::judge,
    provider_hosts::AllowedHosts,
    world::{Counting, SecretContent},
};

/// Actions under way at the same time.
const HANDS: usize = 32;
/// Changes come in flocks: a pass waits so long for the rest of them.
const SETTLE: Duration = Duration::from_millis(20);
/// Secrets that are read at the same time.
const READERS: usize = 16;
/// Pauses after failures of the same action: they double from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LAST_PAUSE: Duration = Duration::from_mins(1);
/// The shortest time between two writes of one config, or two touches of one pod: what comes meanwhile goes together.
const REST: Duration = Duration::from_millis(250);
/// The longest that one request may take. It may have been carried out then: the watch will tell.
const PATIENCE: Duration = Duration::from_secs(15);
/// When to try again what could not be gathered or planned.
const SOON: Duration = Duration::from_secs(2);
/// Failures of the same action, one after the other, before the status tells of it.
const TOLD_AFTER: u32 = 3;
/// A pass is made at least so often.
const AT_LEAST: Duration = Duration::from_mins(1);

/// The operator's loop.
pub(super) struct Control {
    client: Client,
    shared: Shared,
    hands: Hands,
    metrics: Metrics,
    store: Option<Store>,
    allowed_hosts: Arc<AllowedHosts>,
    prepared: Prepared,
    queue: VecDeque<Action>,
    running: JoinSet<anyhow::Result<()>>,
    /// What each of them is, so that one that ends in a panic is known by its task.
    tasks: HashMap<Id, (Target, &'static str)>,
    busy: HashSet<Target>,
    resting: HashMap<Target, Rest>,
}

/// Not before a time, after so many failures.
struct Rest {
    until: Instant,
    failures: u32,
    /// What the last one was.
    error: String,
}

impl Control {
    pub(super) fn new(
        client: Client,
        shared: Shared,
        hands: Hands,
        metrics: Metrics,
        store: Option<Store>,
        allowed_hosts: Arc<AllowedHosts>,
    ) -> Self {
        Self {
            client,
            shared,
            hands,
            metrics,
            store,
            allowed_hosts,
            prepared: Prepared::new(),
            queue: VecDeque::new(),
            running: JoinSet::new(),
            tasks: HashMap::new(),
            busy: HashSet::new(),
            resting: HashMap::new(),
        }
    }

    /// Acts while it leads, until it is told to stop. What is under way when it stops is finished.
    pub(super) async fn run(mut self, mut leads: watch::Receiver<bool>, mut stop: watch::Receiver<bool>) {
        let mut next = Instant::now();
        loop {
            // Leadership may have been lost while a pass was made.
            if *leads.borrow() {
                self.start();
            }
            tokio::select! {
                () = self.shared.changed() => next = next.min(Instant::now() + SETTLE),
                () = tokio::time::sleep_until(next.into()) => {
                    let acts = *leads.borrow();
                    if acts {
                        let gathered = tokio::select! {
                            gathered = self.gather() => gathered,
                            () = told(&mut stop) => break,
                        };
                        let began = Instant::now();
                        next = if gathered { self.pass() } else { Instant::now() + SOON };
                        // Under a flood of changes at most a quarter of the time goes into judging.
                        next = next.max(Instant::now() + 3 * began.elapsed());
                        self.metrics.pass(began.elapsed());
                    } else {
                        next = Instant::now() + AT_LEAST;
                    }
                }
                Some(done) = self.running.join_next_with_id() => self.done(done),
                changed = leads.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    let acts = *leads.borrow();
                    if acts {
                        next = Instant::now();
                    } else {
                        // Another replica acts now: not a word more from this one.
                        self.drop_everything().await;
                    }
                }
                () = told(&mut stop) => break,
            }
        }
        self.queue.clear();
        let _ =
            tokio::time::timeout(Duration::from_secs(5), async { while self.running.join_next().await.is_some() {} })
                .await;
    }

    /// Reads what is referred to. False: what is in force stays as it is.
    async fn gather(&mut self) -> bool {
        match self.read_all().await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "what is in force stays as it is");
                self.metrics.pass_failed();
                false
            }
        }
    }

    async fn read_all(&mut self) -> anyhow::Result<()> {
        if let Some(store) = &mut self.store {
            let prepared = tokio::time::timeout(PATIENCE, store.prepare()).await;
            prepared
                .unwrap_or_else(|_| Err(anyhow::anyhow!("no answer in {PATIENCE:?}")))
                .context("failed to use the store")?;
        }
        self.read_references().await
    }

    /// One pass: judge → plan. Returns when the next one is due though nothing changes.
    fn pass(&mut self) -> Instant {
        let now = Timestamp::now();
        let troubles: Troubles = self
            .resting
            .iter()
            .filter(|(_, rest)| rest.failures >= TOLD_AFTER)
            .map(|(target, rest)| (target.clone(), rest.error.clone()))
            .collect();
        let (plan, due) = {
            let observed = self.shared.observed();
            if !observed.is_whole() {
                // A judgement on half of the world would make keys anew and take configs away.
                return Instant::now() + AT_LEAST;
            }
            let mut world = observed.world();
            world.allowed_hosts = Arc::clone(&self.allowed_hosts);
            world.counting = self.store.as_ref().map_or(Counting::Apart, Store::counting);
            let judgement = judge(&world, now);
            let delivery = self.store.as_ref().and_then(|store| store.look(&observed, &world, &judgement, now));
            let plan = plan(&observed, &world, &judgement, delivery.as_ref(), &mut self.prepared, &troubles, now);
            let passwords = delivery.as_ref().and_then(Delivery::renewal);
            let due = judgement.next.into_iter().chain(passwords).chain(plan.due).min();
            (plan, due)
        };
        self.metrics.resources(&plan.ready);
        // What is under way now was not known to the plan: it is planned anew when it is done.
        self.queue = plan.actions.into_iter().filter(|action| !self.busy.contains(&action.target())).collect();
        self.metrics.waiting(self.queue.len() + plan.later);
        let due = due.and_then(|due| Duration::try_from(due.duration_since(now)).ok());
        let mut next = Instant::now() + due.map_or(AT_LEAST, |due| due.min(AT_LEAST) + Duration::from_millis(10));
        let now = Instant::now();
        // Who failed keeps its count for as long as there is something to be done.
        let wanted: HashSet<Target> = self.queue.iter().map(Action::target).collect();
        self.resting.retain(|target, rest| rest.until > now || wanted.contains(target));
        // What rests is to be looked at when its rest is over.
        for action in &self.queue {
            if let Some(rest) = self.resting.get(&action.target()) {
                next = next.min(rest.until.max(now));
            }
        }
        next
    }

    /// Reads the Secrets that are referred to and have changed.
    async fn read_references(&self) -> anyhow::Result<()> {
        let unread = {
            let mut observed = self.shared.observed();
            observed.forget_unreferenced();
            observed.unread()
        };
        let mut read = stream::iter(unread).map(|name| self.read(name)).buffer_unordered(READERS);
        let mut failed = None;
        while let Some(one) = read.next().await {
            match one {
                Ok((name, Some(seen))) => drop(self.shared.observed().referenced.insert(name, seen)),
                // Deleted meanwhile: the watch will say so.
                Ok((name, None)) => drop(self.shared.observed().referenced.remove(&name)),
                // What could be read is kept for the next time.
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    async fn read(&self, name: ObjectName) -> anyhow::Result<(ObjectName, Option<Seen<Arc<SecretContent>>>)> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), name.namespace());
        let answer = tokio::time::timeout(PATIENCE, api.get_opt(name.name())).await;
        let answer = answer.map_err(|_| anyhow::anyhow!("no answer in {PATIENCE:?}"));
        let secret = answer
            .and_then(|answer| answer.map_err(anyhow::Error::from))
            .with_context(|| format!("failed to read the Secret {name}"))?;
        Ok((
            name,
            secret.map(|secret| Seen { version: version_of(&secret), value: Arc::new(SecretContent::of(secret)) }),
        ))
    }

    /// Starts what there are hands for.
    fn start(&mut self) {
        if self.running.len() >= HANDS {
            return;
        }
        let now = Instant::now();
        let mut later = VecDeque::new();
        while self.running.len() < HANDS
            && let Some(action) = self.queue.pop_front()
        {
            let target = action.target();
            if self.resting.get(&target).is_some_and(|rest| rest.until > now) {
                later.push_back(action);
                continue;
            }
            self.busy.insert(target.clone());
            let hands = self.hands.clone();
            let word = action.word();
            let task = self.running.spawn(async move {
                let done = tokio::time::timeout(PATIENCE, hands.act(action)).await;
                done.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer in {PATIENCE:?}")))
            });
            self.tasks.insert(task.id(), (target, word));
        }
        // What has to wait keeps its place before the rest; the next pass makes the queue anew.
        while let Some(action) = later.pop_back() {
            self.queue.push_front(action);
        }
    }

    fn done(&mut self, done: Result<(Id, anyhow::Result<()>), JoinError>) {
        let (task, result) = outcome(done);
        let Some((target, word)) = self.tasks.remove(&task) else { return };
        self.busy.remove(&target);
        self.metrics.acted(word, result.is_ok());
        match result {
            Ok(()) => {
                let rests = matches!(target, Target::Config(_) | Target::Pod(_));
                let rest = rests.then(|| Rest { until: Instant::now() + REST, failures: 0, error: String::new() });
                match rest {
                    Some(rest) => drop(self.resting.insert(target, rest)),
                    None => drop(self.resting.remove(&target)),
                }
                // What depends on it is planned in the next pass.
                if self.queue.is_empty() || !matches!(word, "report_status" | "touch_pod") {
                    self.shared.ring();
                }
            }
            Err(error) => {
                let failures = self.resting.get(&target).map_or(0, |rest| rest.failures) + 1;
                let pause = (FIRST_PAUSE * 2u32.saturating_pow(failures.min(16) - 1)).min(LAST_PAUSE);
                let error = format!("{error:#}");
                tracing::warn!(action = word, target = ?target, error, again_in = ?pause, "an action failed");
                self.resting.insert(target, Rest { until: Instant::now() + pause, failures, error });
                self.shared.ring();
            }
        }
    }

    async fn drop_everything(&mut self) {
        self.queue.clear();
        self.running.shutdown().await;
        self.tasks.clear();
        self.busy.clear();
        self.resting.clear();
        self.prepared = BTreeMap::new();
        if let Some(store) = &mut self.store {
            store.rest();
        }
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
