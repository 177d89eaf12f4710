//! From what should be and what is to what must be done. Pure; done again from the start after each change, so that
//! nothing has to be remembered between one time and the next.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use vectoll_config::{ObjectName, Uid};

use super::{
    config::Files,
    observed::Observed,
    status::{self, NewStatus},
};
use crate::{
    judge::{Condition, ConditionType, Credentials, Judgement, Status},
    key_secret::{Cause, Mint},
    world::{Kind, ResourceRef, World},
};

/// A pod that was made so much later than its Secret was written reads it as it is.
const SURELY_LATER: SignedDuration = SignedDuration::from_secs(2);

/// One change to one object.
#[derive(Clone, Debug)]
pub(super) enum Action {
    /// A key gets a value. The version is its Secret's, where there is one.
    MakeKey { mint: Mint, present: Option<u64> },
    /// A Secret of an ApiKey that is gone.
    RemoveKey { secret: ObjectName, version: u64 },
    /// A config is written. The version is its Secret's, where there is one.
    WriteConfig { namespace: String, files: Box<Files>, present: Option<u64> },
    /// Nobody needs a config any more.
    RemoveConfig { namespace: String, uid: Uid, version: u64 },
    /// A pod is to look at its config.
    Touch { pod: ObjectName, uid: Uid, generation: u64 },
    /// A resource's status.
    Report { of: ResourceRef, uid: Uid, status: NewStatus, turned: Option<Turn> },
}

/// A resource that had been ready and is so no more, or the other way round.
#[derive(Clone, Debug)]
pub(super) struct Turn {
    pub(super) ready: bool,
    pub(super) reason: String,
    pub(super) message: String,
}

/// What an action changes: never two at a time for the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Target {
    Secret(ObjectName),
    Config(String),
    Pod(ObjectName),
    Status(ResourceRef),
}

impl Action {
    pub(super) fn target(&self) -> Target {
        match self {
            Self::MakeKey { mint, .. } => Target::Secret(mint.secret.clone()),
            Self::RemoveKey { secret, .. } => Target::Secret(secret.clone()),
            Self::WriteConfig { namespace, .. } | Self::RemoveConfig { namespace, .. } => {
                Target::Config(namespace.clone())
            }
            Self::Touch { pod, .. } => Target::Pod(pod.clone()),
            Self::Report { of, .. } => Target::Status(of.clone()),
        }
    }

    /// The word for it in metrics and logs.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::MakeKey { .. } => "make_key",
            Self::RemoveKey { .. } => "remove_key",
            Self::WriteConfig { .. } => "write_config",
            Self::RemoveConfig { .. } => "remove_config",
            Self::Touch { .. } => "touch_pod",
            Self::Report { .. } => "report_status",
        }
    }
}

/// Configs that were made ready, by namespace.
pub(super) type Prepared = BTreeMap<String, Files>;

/// All that is to be done, what others wait for first.
pub(super) fn plan(
    observed: &Observed,
    world: &World,
    judgement: &Judgement,
    prepared: &mut Prepared,
    now: Timestamp,
) -> anyhow::Result<Vec<Action>> {
    let mut actions = Vec::new();
    for mint in &judgement.to_mint {
        let present = observed.key_secrets.get(&mint.secret).map(|seen| seen.version);
        actions.push(Action::MakeKey { mint: mint.clone(), present });
    }
    for secret in &judgement.stale {
        if let Some(seen) = observed.key_secrets.get(secret) {
            actions.push(Action::RemoveKey { secret: secret.clone(), version: seen.version });
        }
    }
    actions.retain(|action| match action.target() {
        Target::Secret(name) => !observed.ends(name.namespace()),
        Target::Config(_) | Target::Pod(_) | Target::Status(_) => true,
    });
    // A value that is replaced goes first: until it is in the config nothing of it works.
    actions.sort_by_key(|action| matches!(action, Action::MakeKey { mint, .. } if mint.cause == Cause::New));
    let left_out = configs(observed, world, judgement, prepared, &mut actions)?;
    reports(observed, judgement, &left_out, now, &mut actions);
    Ok(actions)
}

/// Configs to write and to remove, and the pods to touch. Returns the keys that found no room.
fn configs(
    observed: &Observed,
    world: &World,
    judgement: &Judgement,
    prepared: &mut Prepared,
    actions: &mut Vec<Action>,
) -> anyhow::Result<BTreeSet<ObjectName>> {
    let with_pods: BTreeSet<&str> =
        observed.pods.iter().filter(|(_, seen)| seen.value.lives).map(|(name, _)| name.namespace()).collect();
    let mut needed: BTreeSet<&str> = with_pods.clone();
    needed.extend(world.api_keys.keys().map(ObjectName::namespace));
    needed.retain(|namespace| !observed.ends(namespace));
    prepared.retain(|namespace, _| needed.contains(namespace.as_str()));
    let mut left_out = BTreeSet::new();
    let mut touches = Vec::new();
    for namespace in &needed {
        let delivery = if with_pods.contains(namespace) { Credentials::Deliver } else { Credentials::Withhold };
        let config = judgement.config(world, namespace, delivery);
        let present = observed.configs.get(&config_name(namespace));
        let generation = present.map_or(0, |seen| seen.value.generation);
        let age = |name: &ObjectName| world.api_keys.get(name).map(|object| (object.created, name.clone()));
        let ready = match prepared.remove(*namespace) {
            Some(ready) if ready.are_of(&config) && ready.generation == generation => ready,
            Some(_) | None => Files::make(config, generation, age)?,
        };
        left_out.extend(ready.left_out.iter().cloned());
        if let Some(seen) = present.filter(|seen| seen.value.hash == ready.hash) {
            touches.extend(stale_pods(observed, namespace, &seen.value));
        } else {
            // A Secret that was lost does not begin at one again: sidecars and pods know how far it was.
            let known = observed.pods.in_namespace(namespace).filter_map(|(_, seen)| seen.value.touched).max();
            let next = generation.max(known.unwrap_or_default()) + 1;
            let files = Box::new(Files::make(judgement.config(world, namespace, delivery), next, age)?);
            let present = present.map(|seen| seen.version);
            actions.push(Action::WriteConfig { namespace: (*namespace).to_owned(), files, present });
        }
        prepared.insert((*namespace).to_owned(), ready);
    }
    for (name, seen) in observed.configs.iter().filter(|(name, _)| !needed.contains(name.namespace())) {
        if !observed.ends(name.namespace()) {
            let (uid, version) = (seen.value.uid.clone(), seen.version);
            actions.push(Action::RemoveConfig { namespace: name.namespace().to_owned(), uid, version });
        }
    }
    actions.extend(touches);
    Ok(left_out)
}

/// Pods that may not have seen the config as it is.
fn stale_pods<'a>(
    observed: &'a Observed,
    namespace: &'a str,
    config: &'a super::observed::Config,
) -> impl Iterator<Item = Action> + 'a {
    let generation = config.generation;
    let is_stale = move |pod: &super::observed::Sidecar| match (pod.touched, pod.created, config.written_at) {
        (Some(touched), _, _) => touched != generation,
        (None, Some(created), Some(written)) => created.duration_since(written) < SURELY_LATER,
        (None, _, _) => true,
    };
    observed
        .pods
        .in_namespace(namespace)
        .filter(move |(_, seen)| seen.value.lives && is_stale(&seen.value))
        .map(move |(name, seen)| Action::Touch { pod: name.clone(), uid: seen.value.uid.clone(), generation })
}

/// The name of a namespace's config Secret.
pub(super) fn config_name(namespace: &str) -> ObjectName {
    ObjectName::new(namespace, super::names::CONFIG_SECRET)
}

fn reports(
    observed: &Observed,
    judgement: &Judgement,
    left_out: &BTreeSet<ObjectName>,
    now: Timestamp,
    actions: &mut Vec<Action>,
) {
    for (of, found) in &judgement.conditions {
        let name = &of.name;
        let (uid, before, status) = match of.kind {
            Kind::ApiKey => {
                let Some(seen) = observed.api_keys.get(name) else { continue };
                let found = if left_out.contains(name) { without_room(found) } else { found.clone() };
                let (of, present) = (&seen.value.object, seen.value.status.as_ref());
                let status = status::api_key(present, seen.value.generation, &found, judgement.key(name), now);
                (of.uid.clone(), present.map(|status| &status.conditions), status)
            }
            Kind::Team => {
                let Some(seen) = observed.teams.get(name) else { continue };
                let (of, present) = (&seen.value.object, seen.value.status.as_ref());
                let status = status::team(present, seen.value.generation, found, now);
                (of.uid.clone(), present.map(|status| &status.conditions), status)
            }
            Kind::ModelRoute => {
                let Some(seen) = observed.routes.get(name) else { continue };
                let (of, present) = (&seen.value.object, seen.value.status.as_ref());
                let status = status::route(present, seen.value.generation, found, now);
                (of.uid.clone(), present.map(|status| &status.conditions), status)
            }
        };
        if let Some(status) = status {
            let turned = turned(before.map(Vec::as_slice), &status);
            actions.push(Action::Report { of: of.clone(), uid, status, turned });
        }
    }
}

/// Whether a resource turned ready or lost it. What is not ready from the start is told as well.
fn turned(
    before: Option<&[k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition]>,
    status: &NewStatus,
) -> Option<Turn> {
    let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready")?;
    let before = before.into_iter().flatten().find(|condition| condition.type_ == "Ready");
    let is_ready = ready.status == "True";
    let told = match before {
        Some(before) => before.status != ready.status || (!is_ready && before.reason != ready.reason),
        None => !is_ready,
    };
    // About to be made: nothing that anybody needs to hear of.
    let worth_it = told && ready.reason != "SecretPending";
    worth_it.then(|| Turn { ready: is_ready, reason: ready.reason.clone(), message: ready.message.clone() })
}

/// The conditions of a key that found no room in its namespace's config.
fn without_room(found: &[Condition]) -> Vec<Condition> {
    let message = "the config Secret of this namespace is full: move keys to other namespaces, or shorten their lists \
                   of models";
    let mut conditions = found.to_vec();
    for condition in &mut conditions {
        if matches!(condition.kind, ConditionType::Programmed | ConditionType::Ready) {
            condition.status = Status::False;
            condition.reason = "ConfigFull";
            message.clone_into(&mut condition.message);
        }
    }
    conditions
}
