//! What has changed is reconciled, namespace by namespace, and what comes of it is queued.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::task::{Id, JoinError};

use super::{RETRY_DELAY, Reconciler};
use crate::cluster::{
    changes::Changes,
    gather::{Gather, NotSynced},
    plan::{Action, MAX_PER_RECONCILE, PersistentFailures, Target},
    queue::MAX_MASS,
    reconcile_namespace::Reconciled,
    schedule::{Due, Next, RESYNC_PERIOD, Urgency},
    store::Store,
};

/// Namespaces that are gathered at the same time; they are reconciled one after the other.
const MAX_CONCURRENT_GATHERS: usize = 4;
/// What every namespace may do, however much the others have to do.
const MIN_BULK: usize = 32;
/// Failures of the same action, one after the other, before the status tells of it.
const REPORTED_AFTER: u32 = 3;
/// The shortest time between two words to the store about who needs what of it.
const STORE_DEBOUNCE: Duration = Duration::from_millis(100);

impl Reconciler {
    /// Nothing is reconciled before everything was listed and the store's settings are known: half of the state would make keys anew and
    /// take configs away.
    pub(super) fn is_prepared(&self) -> bool {
        self.shared.cluster().watches.are_synced() && self.store.as_ref().is_none_or(Store::is_prepared)
    }

    /// Takes in what has changed.
    pub(super) fn take_changes(&mut self) {
        let (changes, readers) = {
            // Both at once, and in the order of those who take snapshots: nobody may use what is known of offers that have changed, and
            // be no reader yet.
            let mut memory = self.memory();
            let mut cluster = self.shared.cluster();
            let changes = cluster.take_changes();
            let readers: HashSet<String> =
                changes.offers.iter().flat_map(|of| cluster.index.readers(of)).map(str::to_owned).collect();
            for namespace in &changes.offers {
                memory.forget_offers(namespace);
            }
            (changes, readers)
        };
        let Changes { own, offers, dependent } = changes;
        self.request(own.iter().chain(&offers).chain(&readers), Urgency::High);
        self.request(dependent.iter(), Urgency::Normal);
        let Some(store) = &self.store else { return };
        let counting = store.counting();
        if store.has_changed() {
            let waiting: Vec<String> = self.needs.held().map(str::to_owned).collect();
            self.request(waiting.iter(), Urgency::High);
        }
        if self.setting.counting != counting {
            self.setting.counting = counting;
            let all = self.shared.cluster().all_namespaces();
            self.request(all.iter(), Urgency::Normal);
        }
    }

    /// Begins to reconcile what is to be reconciled now. Returns when to look again.
    pub(super) fn start_due(&mut self) -> Instant {
        while self.reconciles.len() < MAX_CONCURRENT_GATHERS {
            let room = MAX_MASS.saturating_sub(self.queue.mass());
            match self.schedule.next(room >= MAX_PER_RECONCILE, Instant::now()) {
                Next::Wait(until) => return until,
                Next::Reconcile(namespace) => {
                    let troubles = self.troubles(&namespace);
                    let gather = Gather {
                        client: self.client.clone(),
                        shared: self.shared.clone(),
                        memory: self.memory.clone(),
                        setting: self.setting.clone(),
                        store: self.store.as_ref().and_then(Store::view),
                        reconciling: self.reconciling.clone(),
                        troubles,
                        bulk: room.clamp(MIN_BULK, MAX_PER_RECONCILE),
                    };
                    let of = namespace.clone();
                    let task = self.reconciles.spawn(async move { gather.reconcile(&namespace).await });
                    self.namespace_of_task.insert(task.id(), of);
                }
            }
        }
        Instant::now() + RESYNC_PERIOD
    }

    /// What has failed again and again in a namespace.
    fn troubles(&self, namespace: &str) -> PersistentFailures {
        let failing = self
            .resting
            .iter()
            .filter(|(target, rest)| rest.failures >= REPORTED_AFTER && target.namespace() == namespace);
        failing.map(|(target, rest)| (target.clone(), rest.error.clone())).collect()
    }

    /// Takes in what came of reconciling a namespace.
    pub(super) fn reconciled(&mut self, reconciled: Result<(Id, anyhow::Result<(Reconciled, u64)>), JoinError>) {
        let now = Instant::now();
        let (task, reconciled) = match reconciled {
            Ok((task, reconciled)) => (task, reconciled),
            Err(error) => (error.id(), Err(anyhow::Error::from(error).context("reconciling ended in a panic"))),
        };
        let Some(namespace) = self.namespace_of_task.remove(&task) else { return };
        let (reconciled, changes) = match reconciled {
            Ok(reconciled) => reconciled,
            Err(error) => {
                // One namespace's trouble: what is in force there stays, and the others go on. Its watch has told of it already where it
                // refuses to be seen.
                if !error.is::<NotSynced>() {
                    tracing::warn!(namespace, error = format!("{error:#}"), "what is in force stays as it is");
                    self.metrics.pass_failed();
                }
                self.schedule.failed(&namespace, RETRY_DELAY, now);
                return;
            }
        };
        if let (Some(gateway_shares), Some(share)) = (&self.gateway_shares, &reconciled.share) {
            gateway_shares.put(&namespace, share.clone());
        }
        let took = reconciled.ended.duration_since(reconciled.began);
        self.metrics.pass(took);
        let is_news = self.memory().learn(&reconciled, changes);
        let Reconciled { namespace, plan, need, due, reads, facts_changed, is_empty, began, .. } = reconciled;
        let moment = |due: Timestamp| {
            let wait = Duration::try_from(due.duration_since(Timestamp::now())).unwrap_or_default();
            now + wait + Duration::from_millis(10)
        };
        let due = Due { change: due.map(moment), report: plan.due.map(moment) };
        self.schedule.reconciled(&namespace, took, due, now);
        if is_news || facts_changed {
            // Conditions of Teams and routes tell of those who use them.
            self.request(reads.iter(), Urgency::Normal);
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
            self.schedule.request(&namespace, urgency, now);
        } else if plan.later > 0 {
            self.schedule.request(&namespace, Urgency::Rest, now);
        }
        self.later.insert(namespace, plan.later);
    }
}

/// How urgent it is to plan anew what is done to a target.
pub(super) fn urgency_of(target: &Target) -> Urgency {
    match target {
        Target::Status(_) => Urgency::Normal,
        Target::Secret(_) | Target::Config(_) | Target::Pod(_) => Urgency::High,
    }
}
