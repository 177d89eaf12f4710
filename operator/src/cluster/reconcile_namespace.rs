//! Reconciling one namespace: from a snapshot to a plan. Nothing here waits, and nothing is locked meanwhile.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use jiff::{SignedDuration, Timestamp};

use super::{
    config::ConfigFiles,
    gateway::{Share, SidecarFiles, share},
    generations::Deliveries,
    plan::{Basis, PersistentFailures, Plan, plan},
    snapshot::Snapshot,
    store::{Need, StoreView},
};
use crate::desired_state::{Offers, desired_keys, offers};

/// When to look again at what others offer that could not be seen whole.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(2);
/// When to try again to read a Secret that could not be read.
const READ_AGAIN: SignedDuration = SignedDuration::from_secs(10);

/// What one namespace is reconciled by.
pub(super) struct NamespaceInputs {
    pub(super) namespace: String,
    pub(super) snapshot: Snapshot,
    /// What the namespaces that it looks at offer, where that is known.
    pub(super) offers: BTreeMap<String, Arc<Offers>>,
    /// The files that were made last.
    pub(super) prepared: Option<Arc<ConfigFiles>>,
    /// What is in the config Secret, where nobody remembers those.
    pub(super) there: Option<Arc<BTreeMap<String, Vec<u8>>>>,
    /// How far the configs of those are that look at it.
    pub(super) readers: Deliveries,
    pub(super) store: Option<StoreView>,
    /// Whether there is a gateway.
    pub(super) gateway: bool,
    pub(super) troubles: PersistentFailures,
    /// How much of what comes in masses may be planned.
    pub(super) bulk: usize,
    /// Before the snapshot was taken.
    pub(super) began: Instant,
    pub(super) now: Timestamp,
}

/// What came of it.
pub(super) struct Reconciled {
    pub(super) namespace: String,
    pub(super) plan: Plan,
    /// What it is to have in the gateway, where there is one.
    pub(super) share: Option<Share>,
    /// What it offers itself, and what others do whose offers were not known.
    pub(super) offers: BTreeMap<String, Arc<Offers>>,
    /// What it needs of the store.
    pub(super) need: Need,
    /// When to reconcile it anew though nothing changes, because something begins or ends. When something is to be reported the plan says.
    pub(super) due: Option<Timestamp>,
    /// The namespaces that it looks at.
    pub(super) reads: BTreeSet<String>,
    /// Whether those have to be told of it.
    pub(super) facts_changed: bool,
    /// Nothing is in it.
    pub(super) is_empty: bool,
    /// When reconciling began and ended.
    pub(super) began: Instant,
    pub(super) ended: Instant,
}

impl NamespaceInputs {
    /// Reconciles it.
    pub(super) fn reconcile(self) -> Reconciled {
        let Self {
            namespace,
            snapshot,
            offers: known,
            prepared,
            there,
            readers,
            store,
            gateway,
            troubles,
            bulk,
            began,
            now,
        } = self;
        let before = prepared.as_ref().map(|last| &last.by_name).or(there.as_deref());
        let mut snapshot = snapshot;
        let is_short = snapshot.has_unreadable();
        let is_unsure = is_short || snapshot.observed.delivery.is_unsure();
        if let Some(before) = before.filter(|_| is_unsure) {
            snapshot.keep(before);
        }
        let (own, conditions) = offers(&snapshot.observed, now);
        let own = Arc::new(own);
        let mut learned: BTreeMap<String, Arc<Offers>> =
            snapshot.offering.iter().map(|(of, observed)| (of.clone(), Arc::new(offers(observed, now).0))).collect();
        let others = snapshot.reads.iter().filter_map(|of| known.get(of).or_else(|| learned.get(of)));
        let all = others.fold((*own).clone(), |all, other| all.with(other));
        let unsure = (!snapshot.unsure.is_empty()).then_some(LOOK_AGAIN);
        let again = unsure.or(is_short.then_some(READ_AGAIN)).map(|pause| now.saturating_add(pause).unwrap_or(now));
        // What may be incomplete is good for this once only.
        learned.retain(|of, _| !snapshot.unsure.contains(of));
        learned.insert(namespace.clone(), own);
        let desired = desired_keys(&snapshot.observed, all, conditions, now);
        let (delivery, need) = store.as_ref().map(|store| store.of(&snapshot, &namespace, &desired, now)).unzip();
        let of_gateway = store.as_ref().filter(|_| gateway).map(|store| store.of_gateway(now));
        let (of_gateway, rotation) = of_gateway.unzip();
        let passwords = store.zip(need.as_ref()).and_then(|(store, need)| store.next(need, &namespace, now));
        let basis = Basis {
            namespace: &namespace,
            cluster: &snapshot.cluster,
            observed: &snapshot.observed,
            desired: &desired,
            store: delivery.as_ref(),
            prepared,
            there,
            readers,
            troubles: &troubles,
            bulk,
            now,
        };
        let plan = plan(basis);
        let due = desired.next.into_iter().chain(passwords).chain(rotation.flatten()).chain(again).min();
        let share = gateway.then(|| {
            if snapshot.cluster.ends(&namespace) {
                return Share::Nothing;
            }
            // What sidecars are told is not all of it where only the gateway has the credentials.
            let is_less = snapshot.cluster.gateway_only || desired.passes_on(&snapshot.observed, &namespace);
            let SidecarFiles { files, are_whole } = plan.sidecar_files();
            let sidecars = SidecarFiles { files, are_whole: are_whole && !is_less };
            share(&namespace, (&snapshot.observed, &desired), sidecars, of_gateway, is_short)
        });
        let is_empty = snapshot.cluster.is_empty() && plan.first.is_empty();
        Reconciled {
            plan,
            share,
            offers: learned,
            need: need.unwrap_or_default(),
            due,
            reads: snapshot.reads,
            facts_changed: snapshot.facts_changed,
            is_empty,
            namespace,
            began,
            ended: Instant::now(),
        }
    }
}
