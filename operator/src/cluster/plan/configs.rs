//! Config Secrets: which to write and to remove, and the pods that are to look at theirs.

use std::{
    cell::LazyCell,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};
use vectoll_config::ObjectName;

use super::{Action, PersistentFailures, Replaced, Target};
use crate::{
    cluster::{
        cluster_state::{ClusterState, Config, Sidecar},
        config::{ConfigFiles, believable, keys_in, next_generation},
        fit::TooLarge,
        generations::{Contents, ResourceGenerations},
        names,
        revoked::{Extent, without_ended},
        store::Delivery,
    },
    desired_state::{Credentials, DesiredState, NamespaceConfig},
    inject::CONTRACT,
    observed_state::{Kind, ObservedState, ResourceRef},
};

/// A pod that was made so much later than its Secret was written reads it as it is.
const SURELY_LATER: SignedDuration = SignedDuration::from_secs(2);

/// Why a key that is as it should be does not reach the sidecars: a reason for programs, a message for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Undelivered {
    pub(super) reason: &'static str,
    pub(super) message: String,
    /// Nothing serves by it. False: sidecars do.
    pub(super) stops: bool,
}

impl Undelivered {
    fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), stops: true }
    }

    fn full(kind: Kind) -> Self {
        let message = match kind {
            Kind::ApiKey | Kind::Team => {
                "the config Secret of this namespace is full: move keys to other namespaces, or shorten their lists of models"
            }
            Kind::ModelRoute => {
                "the config Secret of this namespace is full, and this route does not fit in: calls of its models are refused. Older \
                 routes go first: remove what is not needed, or name fewer backends and models"
            }
        };
        Self::new("ConfigFull", message)
    }

    fn out_of_the_gateway() -> Self {
        let message = "the gateway's Secret for this namespace is full: the gateway has what it had of the namespace, without what has ended since, \
                       and sidecars have all of it. Set more gateway.shards, or move keys to other namespaces";
        Self { stops: false, ..Self::new("GatewayFull", message) }
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

/// What is to be done about a namespace's config.
#[derive(Debug, Default)]
pub(super) struct ConfigPlan {
    /// The config to write or to remove.
    pub(super) write: Option<Action>,
    /// Pods to touch, those first that have waited longest.
    pub(super) touches: Vec<Action>,
    /// Keys and routes that do not reach the sidecars.
    pub(super) undelivered: BTreeMap<ResourceRef, Undelivered>,
    /// Since when each resource stands in the config as it is.
    pub(super) parts: Arc<ResourceGenerations>,
    /// The files that are in force, or on their way.
    pub(super) prepared: Option<Arc<ConfigFiles>>,
    /// Those are as they were, whatever has changed since.
    pub(super) is_behind: bool,
}

/// The name of a namespace's config Secret.
pub(in crate::cluster) fn config_name(namespace: &str) -> ObjectName {
    ObjectName::new(namespace, names::CONFIG_SECRET)
}

/// The files that were made last, and those in the Secret where nobody remembers.
type RememberedFiles = (Option<Arc<ConfigFiles>>, Option<Arc<BTreeMap<String, Vec<u8>>>>);

/// Plans the config of a namespace. `last` are the files that were made last, `there` those in the Secret where nobody remembers.
pub(super) fn config(
    namespace: &str,
    (cluster, observed): (&ClusterState, &ObservedState),
    desired: &DesiredState,
    store: Option<&Delivery>,
    (last, there): RememberedFiles,
    troubles: &PersistentFailures,
    now: Timestamp,
) -> ConfigPlan {
    let contracts: BTreeSet<&str> =
        cluster.pods.iter().filter(|(_, seen)| seen.value.lives).map(|(_, seen)| &*seen.value.contract).collect();
    let name = config_name(namespace);
    let present = cluster.configs.get(&name);
    if cluster.ends(namespace) {
        return ConfigPlan::default();
    }
    if contracts.is_empty() && observed.api_keys.is_empty() {
        let write = present.map(|seen| {
            let (uid, version) = (seen.value.uid.clone(), seen.version);
            Action::RemoveConfig { namespace: namespace.to_owned(), uid, version }
        });
        return ConfigPlan { write, ..ConfigPlan::default() };
    }
    let mut found = ConfigPlan::default();
    let mut tell_all = |why: &Undelivered| {
        let of = |name: &ObjectName| ResourceRef { kind: Kind::ApiKey, name: name.clone() };
        found.undelivered.extend(observed.api_keys.keys().map(|name| (of(name), why.clone())));
    };
    if cluster.left_out_of_gateway.contains(namespace) {
        tell_all(&Undelivered::out_of_the_gateway());
    }
    let delivery = match (contracts.is_empty(), cluster.gateway_only) {
        (true, _) => Credentials::Withhold,
        (false, true) => Credentials::GatewayOnly,
        (false, false) => Credentials::Deliver,
    };
    let wanted = desired.config(observed, namespace, delivery, store.map(|store| store.of(namespace)));
    let behind = |last: Option<Arc<ConfigFiles>>, found: ConfigPlan| ConfigPlan {
        parts: ConfigFiles::parts_behind(last.as_deref(), &wanted, now),
        prepared: last,
        is_behind: true,
        ..found
    };
    if cluster.other_secrets.get(&name).is_some() || cluster.key_secrets.get(&name).is_some() {
        // Never written over. What a sidecar has read before stays in force there.
        tell_all(&Undelivered::blocked());
        return behind(last, found);
    }
    if let Some(error) = troubles.get(&Target::Config(namespace.to_owned())) {
        tell_all(&Undelivered::new("WriteFailed", format!("the config Secret cannot be written: {error}")));
    }
    // One file for each version that is read there; so far there is one.
    if let Some(unknown) = contracts.iter().find(|version| **version != CONTRACT) {
        let message = format!(
            "a sidecar in this namespace reads the contract {unknown:?}, which this operator does not write: bring \
             the operator up to date, or make the pods anew"
        );
        tell_all(&Undelivered::new("ContractUnknown", message));
    }
    let context = ConfigContext {
        observed,
        desired,
        present: present.map(|seen| &seen.value),
        last: last.as_ref(),
        there: there.as_deref(),
        now,
    };
    // A sidecar is never handed a password that does not work yet.
    let is_held = !contracts.is_empty() && store.is_some_and(|store| store.holds_back(namespace));
    let made = if is_held { None } else { Some(context.files(&wanted, false)) };
    let files = match made {
        Some(Ok(files)) => {
            let left_out = files.left_out.iter().filter(|of| of.name.namespace() == namespace);
            found.undelivered.extend(left_out.map(|of| (of.clone(), Undelivered::full(of.kind))));
            found.parts = files.parts.clone();
            files
        }
        behind_for => {
            if let Some(Err(error)) = behind_for {
                // The sidecars would refuse it whole, or the API server: what is in force stays, and it is said.
                tracing::error!(namespace, error = format!("{error:#}"), "a config that cannot be delivered");
                tell_all(&if error.is::<TooLarge>() {
                    Undelivered::new("ConfigFull", error.to_string())
                } else {
                    Undelivered::new("ConfigInvalid", format!("an error of the operator's: {error:#}"))
                });
            }
            match context.remaining(&wanted) {
                Ok(Some(files)) => {
                    found.parts = ConfigFiles::parts_behind(Some(&files), &wanted, now);
                    files
                }
                Ok(None) => return behind(last, found),
                Err(error) => {
                    tracing::error!(
                        namespace,
                        error = format!("{error:#}"),
                        "what has ended cannot be taken out of the config"
                    );
                    return behind(last, found);
                }
            }
        }
    };
    if let Some(seen) = present.filter(|seen| is_in_force(&files, &seen.value)) {
        found.touches = stale_pods(cluster, namespace, &seen.value);
    } else {
        let replaces = present.map(|seen| Replaced { version: seen.version, frozen: seen.value.frozen });
        let (namespace, files) = (namespace.to_owned(), files.clone());
        found.write = Some(Action::WriteConfig { namespace, files, replaces });
    }
    found.prepared = Some(files);
    found
}

/// What the files of a namespace's config are made from.
struct ConfigContext<'a> {
    observed: &'a ObservedState,
    desired: &'a DesiredState,
    present: Option<&'a Config>,
    /// The files that were made last.
    last: Option<&'a Arc<ConfigFiles>>,
    /// What is in the Secret, where nobody remembers what was made last.
    there: Option<&'a BTreeMap<String, Vec<u8>>>,
    now: Timestamp,
}

impl ConfigContext<'_> {
    /// The files of a config: those that are in force or on their way, if they are of the same (`is_last`: they are); else new ones.
    fn files(&self, wanted: &NamespaceConfig, is_last: bool) -> anyhow::Result<Arc<ConfigFiles>> {
        let Self { observed, desired: _, present, last, there, now } = *self;
        // What stands on the Secret is anybody's word, and is only taken where it can be true.
        let generation = present.and_then(|present| believable(present.generation, now)).unwrap_or_default();
        let stands = |files: &ConfigFiles| {
            present.is_some_and(|present| is_in_force(files, present)) || files.generation > generation
        };
        // Hardly ever asked for, and not cheap.
        let there = LazyCell::new(|| there.filter(|_| last.is_none()).map(keys_in));
        let is_in = |name: &ObjectName| {
            last.is_some_and(|last| last.has(name)) || there.as_ref().is_some_and(|there| there.contains(name))
        };
        let age = |kind, name: &ObjectName| observed.age(kind, name);
        let contents = Contents::of(wanted).context("failed to hash the config")?;
        let unchanged = match last {
            Some(last) => Some(last.clone()).filter(|last| is_last || last.are_of(&contents)),
            // As after a start: it may be what is in force.
            None => present.and_then(|present| {
                let written = present.written_at.unwrap_or(now);
                let files = ConfigFiles::make(wanted.clone(), contents.clone(), generation, None, written, is_in, age);
                files.ok().map(Arc::new).filter(|files| is_in_force(files, present))
            }),
        };
        if let Some(files) = unchanged.filter(|files| stands(files)) {
            return Ok(files);
        }
        // What has no place in between: otherwise sidecars may have served by something that nobody here knows of.
        let after = last.filter(|last| stands(last));
        let next = next_generation(generation.max(last.map_or(0, |last| last.generation)), now);
        ConfigFiles::make(wanted.clone(), contents, next, after.map(|last| &**last), now, is_in, age).map(Arc::new)
    }

    /// The files that sidecars have, without what has ended since; none, if what they have is as good as it can be, or nothing.
    fn remaining(&self, wanted: &NamespaceConfig) -> anyhow::Result<Option<Arc<ConfigFiles>>> {
        let Some(before) = self.last.map(|last| &last.by_name).or(self.there) else { return Ok(None) };
        // What is set may be what cannot be written.
        self.remaining_to(before, wanted, Extent::Settings).or_else(|error| {
            tracing::error!(error = format!("{error:#}"), "what is set of Teams and keys cannot be written");
            self.remaining_to(before, wanted, Extent::Ended)
        })
    }

    fn remaining_to(
        &self,
        before: &BTreeMap<String, Vec<u8>>,
        wanted: &NamespaceConfig,
        extent: Extent,
    ) -> anyhow::Result<Option<Arc<ConfigFiles>>> {
        let not_sidecars = self.desired.not_sidecars(self.observed, &wanted.config.namespace);
        let (remains, has_ended) = without_ended(before, &wanted.config, &not_sidecars, extent)?;
        if !has_ended && self.last.is_none() {
            // As after every start, for a moment: what is in the Secret is as good as it can be.
            return Ok(None);
        }
        self.files(&remains, !has_ended).map(Some)
    }
}

/// Whether a Secret holds these files, says so rightly, and can be written again.
fn is_in_force(files: &ConfigFiles, present: &Config) -> bool {
    present.hash == files.hash && present.generation == files.generation && !present.frozen
}

/// Pods that may not have seen the config as it is, with the generation that they were touched for.
fn stale_pods(cluster: &ClusterState, namespace: &str, config: &Config) -> Vec<Action> {
    let generation = config.generation;
    // A generation is the time at which it was made; when it was written is anybody's word.
    let made = i64::try_from(generation).ok().and_then(|millis| Timestamp::from_millisecond(millis).ok());
    let written = config.written_at.max(made);
    let is_stale = |pod: &Sidecar| match (pod.touched, pod.created, written) {
        (Some(touched), _, _) => touched != generation,
        (None, Some(created), Some(written)) => is_younger(created, written),
        (None, _, _) => true,
    };
    let pods = cluster.pods.in_namespace(namespace).filter(|(_, seen)| seen.value.lives && is_stale(&seen.value));
    let mut stale: Vec<(Option<u64>, Action)> = pods
        .map(|(name, seen)| {
            (seen.value.touched, Action::Touch { pod: name.clone(), uid: seen.value.uid.clone(), generation })
        })
        .collect();
    stale.sort_by_key(|(touched, _)| *touched);
    stale.into_iter().map(|(_, action)| action).collect()
}

/// Whether a pod was made so soon after a write, or before it, that it may have read what was there before.
fn is_younger(created: Timestamp, written: Timestamp) -> bool {
    created.duration_since(written) < SURELY_LATER
}
