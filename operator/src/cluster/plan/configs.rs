//! Config Secrets: which to write and to remove, and the pods that are to look at theirs.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use vectoll_config::ObjectName;

use super::{Action, Prepared, Target, Troubles};
use crate::{
    cluster::{
        config::Files,
        delivered::Parts,
        names,
        observed::{Config, Observed, Sidecar},
        store::Delivery,
    },
    inject::CONTRACT,
    judge::{Credentials, Judgement},
    world::World,
};

/// A pod that was made so much later than its Secret was written reads it as it is.
const SURELY_LATER: SignedDuration = SignedDuration::from_secs(2);

/// Why a key that is as it should be does not reach the sidecars: a reason for programs, a message for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Undelivered {
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl Undelivered {
    fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    fn full() -> Self {
        let message = "the config Secret of this namespace is full: move keys to other namespaces, or shorten their \
                       lists of models";
        Self::new("ConfigFull", message)
    }

    fn blocked() -> Self {
        let message = format!(
            "the Secret {} of this namespace is not the operator's (its type is not {}): delete it, or give it another name",
            names::CONFIG_SECRET,
            names::CONFIG_TYPE
        );
        Self::new("ConfigBlocked", message)
    }
}

/// What is to be done about configs.
#[derive(Debug, Default)]
pub(super) struct Configs {
    /// Configs to write and to remove.
    pub(super) writes: Vec<Action>,
    /// Pods to touch, those first that have waited longest.
    pub(super) touches: Vec<Action>,
    /// Keys that do not reach the sidecars.
    pub(super) undelivered: BTreeMap<ObjectName, Undelivered>,
    /// Since when each resource stands in a namespace's config as it is.
    pub(super) parts: BTreeMap<String, Arc<Parts>>,
}

/// The name of a namespace's config Secret.
pub(in crate::cluster) fn config_name(namespace: &str) -> ObjectName {
    ObjectName::new(namespace, names::CONFIG_SECRET)
}

pub(super) fn configs(
    observed: &Observed,
    world: &World,
    judgement: &Judgement,
    store: Option<&Delivery>,
    prepared: &mut Prepared,
    troubles: &Troubles,
    now: Timestamp,
) -> Configs {
    let mut found = Configs::default();
    let mut contracts: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, seen) in observed.pods.iter().filter(|(_, seen)| seen.value.lives) {
        contracts.entry(name.namespace()).or_default().insert(&seen.value.contract);
    }
    let mut needed: BTreeSet<&str> = contracts.keys().copied().collect();
    needed.extend(world.api_keys.keys().map(ObjectName::namespace));
    needed.retain(|namespace| !observed.ends(namespace));
    prepared.retain(|namespace, _| needed.contains(namespace.as_str()));
    let mut stale: Vec<(Option<u64>, Action)> = Vec::new();
    for namespace in &needed {
        let mut tell_all = |why: &Undelivered| {
            let keys = world.api_keys.keys().filter(|name| name.namespace() == *namespace);
            found.undelivered.extend(keys.map(|name| (name.clone(), why.clone())));
        };
        let name = config_name(namespace);
        let contracts = contracts.get(namespace);
        let delivery = if contracts.is_some() { Credentials::Deliver } else { Credentials::Withhold };
        let config = judgement.config(world, namespace, delivery, store.map(|store| store.of(namespace)));
        let behind = |last: Option<&Arc<Files>>, config| Files::parts_behind(last.map(|last| &**last), config, now);
        if observed.other_secrets.get(&name).is_some() || observed.key_secrets.get(&name).is_some() {
            // Never written over. What a sidecar has read before stays in force there.
            tell_all(&Undelivered::blocked());
            found.parts.insert((*namespace).to_owned(), behind(prepared.get(*namespace), &config));
            continue;
        }
        if let Some(error) = troubles.get(&Target::Config((*namespace).to_owned())) {
            tell_all(&Undelivered::new("WriteFailed", format!("the config Secret cannot be written: {error}")));
        }
        // One file for each version that is read there; so far there is one.
        if let Some(unknown) = contracts.and_then(|read| read.iter().find(|version| **version != CONTRACT)) {
            let message = format!(
                "a sidecar in this namespace reads the contract {unknown:?}, which this operator does not write: bring \
                 the operator up to date, or make the pods anew"
            );
            tell_all(&Undelivered::new("ContractUnknown", message));
        }
        if contracts.is_some() && store.is_some_and(|store| store.holds_back(namespace)) {
            // A sidecar is never handed a password that does not work yet.
            found.parts.insert((*namespace).to_owned(), behind(prepared.get(*namespace), &config));
            continue;
        }
        let present = observed.configs.get(&name);
        let generation = present.map_or(0, |seen| seen.value.generation);
        let age = |name: &ObjectName| world.api_keys.get(name).map(|object| (object.created, name.clone()));
        // A Secret that was lost does not begin at one again: sidecars and pods know how far it was.
        let touched = observed.pods.in_namespace(namespace).filter_map(|(_, seen)| seen.value.touched).max();
        let next = generation.max(touched.unwrap_or_default()).max(observed.acknowledged_in(namespace)) + 1;
        let in_force = |files: &Arc<Files>| present.is_some_and(|seen| seen.value.hash == files.hash);
        let last = prepared.remove(*namespace);
        let unchanged = if let Some(last) = &last {
            Some(last.clone()).filter(|last| last.are_of(&config))
        } else {
            // As after a start: it may be what is in force.
            let written = present.and_then(|seen| seen.value.written_at).unwrap_or(now);
            Files::make(config.clone(), generation, None, written, age).ok().map(Arc::new).filter(in_force)
        };
        // What has no place in between: otherwise sidecars may have served by something that nobody here knows of.
        let last_in_force = last.as_ref().filter(|last| in_force(last) || last.generation == next).map(|last| &**last);
        let files = match unchanged.filter(|files| in_force(files) || files.generation == next) {
            Some(files) => files,
            None => match Files::make(config.clone(), next, last_in_force, now, age) {
                Ok(files) => Arc::new(files),
                Err(error) => {
                    found.parts.insert((*namespace).to_owned(), behind(last.as_ref(), &config));
                    // The sidecars would refuse it whole: what is in force stays, and it is said.
                    tracing::error!(namespace, error = format!("{error:#}"), "a config that no sidecar would take");
                    tell_all(&Undelivered::new("ConfigInvalid", format!("a fault of the operator's: {error:#}")));
                    continue;
                }
            },
        };
        found.undelivered.extend(files.left_out.iter().map(|name| (name.clone(), Undelivered::full())));
        if let Some(seen) = present.filter(|_| in_force(&files)) {
            stale.extend(stale_pods(observed, namespace, &seen.value));
        } else {
            let (namespace, present) = ((*namespace).to_owned(), present.map(|seen| seen.version));
            found.writes.push(Action::WriteConfig { namespace, files: files.clone(), present });
        }
        found.parts.insert((*namespace).to_owned(), files.parts.clone());
        prepared.insert((*namespace).to_owned(), files);
    }
    for (name, seen) in observed.configs.iter().filter(|(name, _)| !needed.contains(name.namespace())) {
        if !observed.ends(name.namespace()) {
            let (uid, version) = (seen.value.uid.clone(), seen.version);
            found.writes.push(Action::RemoveConfig { namespace: name.namespace().to_owned(), uid, version });
        }
    }
    stale.sort_by_key(|(touched, _)| *touched);
    found.touches = stale.into_iter().map(|(_, action)| action).collect();
    found
}

/// Pods that may not have seen the config as it is, with the generation that they were touched for.
fn stale_pods<'a>(
    observed: &'a Observed,
    namespace: &'a str,
    config: &'a Config,
) -> impl Iterator<Item = (Option<u64>, Action)> + 'a {
    let generation = config.generation;
    let is_stale = move |pod: &Sidecar| match (pod.touched, pod.created, config.written_at) {
        (Some(touched), _, _) => touched != generation,
        (None, Some(created), Some(written)) => is_younger(created, written),
        (None, _, _) => true,
    };
    observed.pods.in_namespace(namespace).filter(move |(_, seen)| seen.value.lives && is_stale(&seen.value)).map(
        move |(name, seen)| {
            (seen.value.touched, Action::Touch { pod: name.clone(), uid: seen.value.uid.clone(), generation })
        },
    )
}

/// Whether a pod was made so soon after a write, or before it, that it may have read what was there before.
fn is_younger(created: Timestamp, written: Timestamp) -> bool {
    created.duration_since(written) < SURELY_LATER
}
