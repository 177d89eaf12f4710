//! The loop: what changed is reconciled, what differs is done, and again.
//!
//! Level-triggered, namespace by namespace: reconciling one begins with all that is known of it and ends with all that is to be done in it.
//! What is remembered from one time to the next ([`Memory`]) can be found again, so a restart loses nothing. Reconciling goes on beside the
//! loop, on a snapshot: neither the watches nor the Lease nor a probe waits for it.

mod acting;
mod backoff;
mod reconciling;
mod task;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context;
use kube::Client;
use tokio::{
    sync::{Semaphore, watch},
    task::{Id, JoinSet},
};

use self::{backoff::Backoff, task::Task};
use super::{
    apply::Applier,
    gateway::Shares,
    gather::REQUEST_TIMEOUT,
    lease::Tenure,
    memory::Memory,
    metrics::Metrics,
    plan::Target,
    queue::Queue,
    reconcile_namespace::Reconciled,
    schedule::{RESYNC_PERIOD, Schedule, Urgency},
    snapshot::Setting,
    stop::cancelled,
    store::{Needs, Store},
    watch::StateHandle,
    write_rate::{WriteRate, WriteSlots},
};
use crate::{delivery::DeliverySetting, observed_state::Counting, price::Pricing, provider_hosts::AllowedHosts};

/// When to try again what could not be gathered.
const RETRY_DELAY: Duration = Duration::from_secs(2);
/// How often the store's settings are read again.
const STORE_REFRESH_PERIOD: Duration = Duration::from_mins(1);

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
    shared: StateHandle,
    hands: Applier,
    metrics: Metrics,
    store: Option<Store>,
    /// What namespaces are to have in the gateway, where there is one.
    gateway_shares: Option<Shares>,
    setting: Setting,
    prices: watch::Receiver<Arc<Pricing>>,
    delivery: watch::Receiver<Arc<DeliverySetting>>,
    /// Who looks at whom is known of all namespaces.
    is_indexed: bool,
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
    reconciles: JoinSet<anyhow::Result<(Reconciled, u64)>>,
    /// The namespace that each of them is of.
    namespace_of_task: HashMap<Id, String>,
    /// One is reconciled at a time: the other processors are for those who wait for an answer.
    reconciling: Arc<Semaphore>,
    queue: Queue,
    /// What one plan could not take on, by namespace.
    later: HashMap<String, usize>,
    running: JoinSet<anyhow::Result<()>>,
    /// What each of them is, so that one that ends in a panic is known by its task.
    tasks: HashMap<Id, Task>,
    busy: HashSet<Target>,
    /// Of those, what a plan would have done again: to be reconciled when it is done.
    deferred: HashSet<Target>,
    /// What was done lately, and when: what was planned before must not do it again.
    finished: HashMap<Target, Instant>,
    resting: HashMap<Target, Backoff>,
}

impl Reconciler {
    #[allow(clippy::too_many_arguments, reason = "the parts of a loop, each named once")]
    pub(super) fn new(
        client: Client,
        shared: StateHandle,
        hands: Applier,
        metrics: Metrics,
        (store, gateway_shares): (Option<Store>, Option<Shares>),
        allowed_hosts: Arc<AllowedHosts>,
        (prices, delivery): (watch::Receiver<Arc<Pricing>>, watch::Receiver<Arc<DeliverySetting>>),
        tenure: Tenure,
        limits: WriteLimits,
    ) -> Self {
        let now = Instant::now();
        let pricing = prices.borrow().clone();
        let delivered = delivery.borrow().clone();
        Self {
            client,
            shared,
            hands,
            metrics,
            store,
            setting: Setting {
                counting: Counting::Apart,
                allowed_hosts,
                pricing,
                delivery: delivered,
                gateway: gateway_shares.is_some(),
            },
            gateway_shares,
            prices,
            delivery,
            is_indexed: false,
            tenure,
            rate: WriteRate::new(limits.per_second, limits.burst, now),
            slots: WriteSlots::new(limits.parallel),
            schedule: Schedule::default(),
            memory: Arc::default(),
            needs: Needs::default(),
            needs_due: None,
            store_due: now,
            reconciles: JoinSet::new(),
            namespace_of_task: HashMap::new(),
            reconciling: Arc::new(Semaphore::new(1)),
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
                    () = cancelled(&mut stop) => break,
                }
            }
            if acts {
                self.take_changes();
                if self.is_prepared() {
                    if !self.is_indexed {
                        self.shared.cluster().index_all();
                        self.is_indexed = true;
                    }
                    next = self.start_due();
                    next = next.min(self.start());
                    next = next.min(self.set_store_needs());
                }
                next = next.min(self.store_due);
            }
            tokio::select! {
                () = self.shared.changed() => if !acts {
                    // Another replica takes care of it.
                    drop(self.shared.cluster().take_changes());
                },
                () = tokio::time::sleep_until(next.into()) => {}
                // Whoever tells of prices never ends.
                Ok(()) = self.prices.changed() => self.take_prices(acts),
                Ok(()) = self.delivery.changed() => self.take_delivery(acts),
                Some(reconciled) = self.reconciles.join_next_with_id() => self.reconciled(reconciled),
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
                () = cancelled(&mut stop) => break,
            }
        }
        self.queue.clear();
        self.reconciles.shutdown().await;
        let _ =
            tokio::time::timeout(Duration::from_secs(5), async { while self.running.join_next().await.is_some() {} })
                .await;
    }

    /// This replica acts from now on: everything is looked at once.
    fn begin(&mut self) {
        self.store_due = Instant::now();
        self.is_indexed = false;
        let all = {
            let mut cluster = self.shared.cluster();
            drop(cluster.take_changes());
            cluster.all_namespaces()
        };
        self.request(all.iter(), Urgency::Normal);
    }

    /// Models cost something else from now on: everything is looked at once.
    fn take_prices(&mut self, acts: bool) {
        self.setting.pricing = self.prices.borrow_and_update().clone();
        if acts {
            let all = self.shared.cluster().all_namespaces();
            self.request(all.iter(), Urgency::Normal);
        }
    }

    /// The gateway has another CA from now on: all sidecars that pass calls on are told.
    fn take_delivery(&mut self, acts: bool) {
        self.setting.delivery = self.delivery.borrow_and_update().clone();
        if acts {
            let all = self.shared.cluster().all_namespaces();
            self.request(all.iter(), Urgency::High);
        }
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
                    let all = self.shared.cluster().all_namespaces();
                    self.request(all.iter(), Urgency::Normal);
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

    fn request<'a>(&mut self, namespaces: impl Iterator<Item = &'a String>, urgency: Urgency) {
        let now = Instant::now();
        for namespace in namespaces {
            self.schedule.request(namespace, urgency, now);
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the store who needs what of it. Returns when to look again.
    fn set_store_needs(&mut self) -> Instant {
        let now = Instant::now();
        if let Some(store) = &self.store {
            store.count(&self.shared.cluster(), now);
        }
        if let Some(due) = self.needs_due.filter(|due| *due > now) {
            return due;
        }
        if let (Some(_), Some(store)) = (self.needs_due.take(), &self.store) {
            store.set_needs(&self.needs);
        }
        now + RESYNC_PERIOD
    }

    async fn drop_everything(&mut self) {
        self.queue.clear();
        self.later.clear();
        self.schedule.clear();
        self.reconciles.shutdown().await;
        self.running.shutdown().await;
        self.tasks.clear();
        self.slots.clear();
        self.namespace_of_task.clear();
        self.busy.clear();
        self.deferred.clear();
        self.finished.clear();
        self.resting.clear();
        if let Some(gateway_shares) = &self.gateway_shares {
            gateway_shares.clear();
        }
        *self.memory() = Memory::default();
        self.needs = Needs::default();
        self.needs_due = None;
        if let Some(store) = &mut self.store {
            store.pause();
        }
    }
}
