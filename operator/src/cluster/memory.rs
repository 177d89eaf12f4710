//! What the loop knows from one reconciliation to the next. All of it can be found again: after a start there is none.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{
    config::ConfigFiles,
    generations::{Delivered, Deliveries},
    reconcile_namespace::Reconciled,
    snapshot::Snapshot,
};
use crate::{desired_state::Offers, observed_state::Kind};

/// What is known of the namespaces.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// What they offer to others.
    offers: HashMap<String, Arc<Offers>>,
    /// Their configs that were made last: in force, or on their way.
    prepared: HashMap<String, Arc<ConfigFiles>>,
    /// How far those have come.
    deliveries: HashMap<String, Arc<Delivered>>,
    /// How many resources of a kind are ready in each, and how many are not.
    ready: HashMap<String, BTreeMap<Kind, [usize; 2]>>,
    /// What was said last to be another one, and when in the order of what was said.
    changed_at: HashMap<String, u64>,
    changes: u64,
}

/// What a reconciliation of one namespace is given of it.
pub(super) struct RememberedState {
    pub(super) offers: BTreeMap<String, Arc<Offers>>,
    pub(super) prepared: Option<Arc<ConfigFiles>>,
    pub(super) readers: Deliveries,
    /// How many changes had been learned by then.
    pub(super) changes: u64,
}

impl Memory {
    /// Whether it is known what a namespace offers.
    pub(super) fn knows_offers_of(&self, namespace: &str) -> bool {
        self.offers.contains_key(namespace)
    }

    /// Whether it is known what was made last for a namespace.
    pub(super) fn knows_config_of(&self, namespace: &str) -> bool {
        self.prepared.contains_key(namespace)
    }

    /// What a reconciliation needs to know.
    pub(super) fn remembered(&self, namespace: &str, snapshot: &Snapshot) -> RememberedState {
        let offers = snapshot.reads.iter().filter_map(|of| Some((of.clone(), self.offers.get(of)?.clone())));
        let readers = snapshot.readers.iter().filter_map(|of| Some((of.clone(), self.deliveries.get(of)?.clone())));
        RememberedState {
            offers: offers.collect(),
            prepared: self.prepared.get(namespace).cloned(),
            readers: readers.collect(),
            changes: self.changes,
        }
    }

    /// A namespace offers something else now.
    pub(super) fn forget_offers(&mut self, namespace: &str) {
        self.offers.remove(namespace);
        self.changes += 1;
        self.changed_at.insert(namespace.to_owned(), self.changes);
    }

    /// Takes in what came of a reconciliation that was given what was known after so many changes. True: how far its config has come is something
    /// else than before.
    pub(super) fn learn(&mut self, reconciled: &Reconciled, changes: u64) -> bool {
        let namespace = &reconciled.namespace;
        for (of, offers) in &reconciled.offers {
            // What has changed meanwhile is not known after all.
            if self.changed_at.get(of).is_none_or(|at| *at <= changes) {
                self.offers.insert(of.clone(), offers.clone());
            }
        }
        let plan = &reconciled.plan;
        if reconciled.is_empty {
            self.offers.remove(namespace);
            self.prepared.remove(namespace);
            self.ready.remove(namespace);
            return self.deliveries.remove(namespace).is_some();
        }
        match &plan.prepared {
            Some(files) => drop(self.prepared.insert(namespace.clone(), files.clone())),
            None => drop(self.prepared.remove(namespace)),
        }
        self.ready.insert(namespace.clone(), plan.ready.clone());
        self.deliveries.insert(namespace.clone(), plan.delivered.clone()).as_ref() != Some(&plan.delivered)
    }

    /// How many resources of a kind are ready, and how many are not.
    pub(super) fn ready(&self) -> BTreeMap<Kind, [usize; 2]> {
        let mut all: BTreeMap<Kind, [usize; 2]> =
            [Kind::ApiKey, Kind::Team, Kind::ModelRoute].into_iter().map(|kind| (kind, [0; 2])).collect();
        for (kind, [ready, not]) in self.ready.values().flatten() {
            let [all_ready, all_not] = all.entry(*kind).or_default();
            *all_ready += ready;
            *all_not += not;
        }
        all
    }
}
