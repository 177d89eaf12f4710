//! From what should be and what is to what must be done. Pure; done again from the start after each change, so that
//! nothing has to be remembered between one time and the next.

mod action;
mod budgets;
mod configs;
mod programmed;
mod reports;
mod transitions;

use std::{collections::BTreeMap, sync::Arc, vec};

use jiff::Timestamp;
use vectoll_config::ObjectName;

pub(super) use self::{
    action::{Action, MAX_PER_RECONCILE, PersistentFailures, Replaced, Target},
    configs::config_name,
    transitions::Transition,
};
use self::{configs::ConfigPlan, programmed::Programmed};
use super::{
    cluster_state::ClusterState,
    config::ConfigFiles,
    gateway::SidecarFiles,
    generations::{Delivered, Deliveries},
    store::Delivery,
};
use crate::{
    desired_state::DesiredState,
    key_secret::Cause,
    observed_state::{Kind, ObservedState},
};

/// What a namespace is planned by.
pub(super) struct Basis<'a> {
    pub(super) namespace: &'a str,
    /// The namespace's own objects.
    pub(super) cluster: &'a ClusterState,
    pub(super) observed: &'a ObservedState,
    pub(super) desired: &'a DesiredState,
    pub(super) store: Option<&'a Delivery>,
    /// The files that were made last: in force, or on their way.
    pub(super) prepared: Option<Arc<ConfigFiles>>,
    /// What is in the config Secret, where that is not known.
    pub(super) there: Option<Arc<BTreeMap<String, Vec<u8>>>>,
    /// How far the configs have come of those who use its Teams and routes.
    pub(super) readers: Deliveries,
    /// What failed again and again: told in the statuses.
    pub(super) troubles: &'a PersistentFailures,
    /// How much of what comes in masses may be taken on.
    pub(super) bulk: usize,
    pub(super) now: Timestamp,
}

/// What is to be done in a namespace.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// What nothing may wait behind: values and configs that end something.
    pub(super) first: Vec<Action>,
    /// The rest, in the order in which it is to be done.
    pub(super) rest: Vec<Action>,
    /// How many changes it leaves to the next one.
    pub(super) later: usize,
    /// How many resources of a kind are ready, and how many are not.
    pub(super) ready: BTreeMap<Kind, [usize; 2]>,
    /// When to plan anew though nothing changes: something is to be reported then.
    pub(super) due: Option<Timestamp>,
    /// The files that are in force from now on, or on their way.
    pub(super) prepared: Option<Arc<ConfigFiles>>,
    /// Those are as they were, whatever has changed since: something stands in the way of sidecars' config.
    pub(super) is_behind: bool,
    /// How far they have come.
    pub(super) delivered: Arc<Delivered>,
}

impl Plan {
    /// The files that a gateway goes by as well. Where they are behind it is told of what should be: what stands in the way of sidecars does
    /// not stand in its way.
    pub(super) fn sidecar_files(&self) -> SidecarFiles<'_> {
        SidecarFiles { files: self.prepared.as_deref(), are_whole: !self.is_behind }
    }
}

/// Plans a namespace.
pub(super) fn plan(basis: Basis<'_>) -> Plan {
    let Basis { namespace, cluster, observed, desired, store, prepared, there, mut readers, troubles, bulk, now } =
        basis;
    let ConfigPlan { write, touches, undelivered, parts, prepared, is_behind } =
        configs::config(namespace, (cluster, observed), desired, store, (prepared, there), troubles, now);
    let latest = prepared.as_ref().map_or(0, |files| files.generation);
    let left_out = prepared.as_ref().map(|files| files.routes_left_out()).unwrap_or_default();
    let delivered = Arc::new(Delivered { parts, left_out, serving: programmed::serving(cluster, namespace, latest) });
    readers.insert(namespace.to_owned(), delivered.clone());
    let programmed = Programmed::new(namespace, &cluster.books.acknowledgements, &readers);
    let reports = reports::reports(cluster, desired, &programmed, &undelivered, troubles, bulk, now);
    let (mut new, mut first) = keys(cluster, desired);
    let labels = labels(cluster, desired);
    let later = reports.later + new.len().saturating_sub(bulk);
    new.truncate(bulk);
    let later = later + labels.len().saturating_sub(bulk);
    let labels: Vec<Action> = labels.into_iter().take(bulk).collect();
    // Until it is in the config nothing of it works: values that are replaced, and whatever ends, go before the mass of
    // what is new. The rest takes turns, so that none of it waits for all of another kind.
    first.extend(write);
    let rest = in_turn([new, touches, reports.actions, labels]);
    Plan { first, rest, later, ready: reports.ready, due: reports.due, prepared, is_behind, delivered }
}

/// Values to make for the first time; and those to replace, with the Secrets that are taken over or are to go.
fn keys(cluster: &ClusterState, desired: &DesiredState) -> (Vec<Action>, Vec<Action>) {
    let version = |secret: &ObjectName| cluster.key_secrets.get(secret).map(|seen| seen.version);
    let lasts = |secret: &ObjectName| !cluster.ends(secret.namespace());
    let mints = desired.to_create.iter().filter(|creation| lasts(&creation.secret));
    let (new, mut replaced): (Vec<Action>, Vec<Action>) = mints
        .map(|creation| Action::MakeKey { creation: creation.clone(), present: version(&creation.secret) })
        .partition(|action| matches!(action, Action::MakeKey { creation, .. } if creation.cause == Cause::New));
    let stale = desired.stale.iter().filter(|secret| lasts(secret));
    replaced.extend(
        stale.filter_map(|secret| Some(Action::RemoveKey { secret: secret.clone(), version: version(secret)? })),
    );
    let adopted = desired.to_adopt.iter().filter(|adoption| lasts(&adoption.secret));
    replaced.extend(adopted.filter_map(|adoption| {
        Some(Action::AdoptKey { adoption: adoption.clone(), version: version(&adoption.secret)? })
    }));
    (new, replaced)
}

/// Secrets of keys that are to have other labels and annotations.
fn labels(cluster: &ClusterState, desired: &DesiredState) -> Vec<Action> {
    let changes = desired.to_label.iter().filter(|change| !cluster.ends(change.secret.namespace()));
    changes
        .filter_map(|change| {
            let version = cluster.key_secrets.get(&change.secret)?.version;
            Some(Action::LabelKey { change: change.clone(), version })
        })
        .collect()
}

/// One of each, again and again, until all are through.
fn in_turn<const N: usize>(lists: [Vec<Action>; N]) -> Vec<Action> {
    let mut all = Vec::with_capacity(lists.iter().map(Vec::len).sum());
    let mut lists: Vec<vec::IntoIter<Action>> = lists.into_iter().map(Vec::into_iter).collect();
    while !lists.is_empty() {
        lists.retain_mut(|list| list.next().map(|action| all.push(action)).is_some());
    }
    all
}

#[cfg(test)]
mod tests;
