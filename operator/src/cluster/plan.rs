//! From what should be and what is to what must be done. Pure; done again from the start after each change, so that
//! nothing has to be remembered between one time and the next.

mod budgets;
mod configs;
mod programmed;
mod reports;
mod turns;

use std::{collections::BTreeMap, sync::Arc, vec};

use jiff::Timestamp;
use vectoll_config::{ObjectName, Uid};

pub(super) use self::{configs::config_name, turns::Turn};
use super::{config::Files, observed::Observed, status::NewStatus, store::Delivery};
use crate::{
    judge::Judgement,
    key_secret::{Cause, Mint},
    world::{Kind, ResourceRef, World},
};

/// One change to one object.
#[derive(Clone, Debug)]
pub(super) enum Action {
    /// A key gets a value. The version is its Secret's, where there is one.
    MakeKey { mint: Mint, present: Option<u64> },
    /// A Secret of an ApiKey that is gone.
    RemoveKey { secret: ObjectName, version: u64 },
    /// A config is written. The version is its Secret's, where there is one.
    WriteConfig { namespace: String, files: Arc<Files>, present: Option<u64> },
    /// Nobody needs a config any more.
    RemoveConfig { namespace: String, uid: Uid, version: u64 },
    /// A pod is to look at its config.
    Touch { pod: ObjectName, uid: Uid, generation: u64 },
    /// A resource's status, and what is told of it as events. The version is the resource's that was judged.
    Report { of: ResourceRef, uid: Uid, version: u64, status: NewStatus, turns: Vec<Turn> },
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

/// The configs that were made last, by namespace: in force, or on their way.
pub(super) type Prepared = BTreeMap<String, Arc<Files>>;

/// The most that one plan takes on of what comes in masses. A plan that is not carried out before the next one is made was
/// made for nothing.
const BULK: usize = 512;

/// What has failed again and again, and how.
pub(super) type Troubles = BTreeMap<Target, String>;

/// A plan.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// All that is to be done, what others wait for first.
    pub(super) actions: Vec<Action>,
    /// How many changes it leaves to the next one.
    pub(super) later: usize,
    /// How many resources of a kind are ready, and how many are not.
    pub(super) ready: BTreeMap<Kind, [usize; 2]>,
    /// When to plan anew though nothing changes.
    pub(super) due: Option<Timestamp>,
}

/// What is to be done. `troubles` are told in the statuses.
pub(super) fn plan(
    observed: &Observed,
    world: &World,
    judgement: &Judgement,
    store: Option<&Delivery>,
    prepared: &mut Prepared,
    troubles: &Troubles,
    now: Timestamp,
) -> Plan {
    let configs = configs::configs(observed, world, judgement, store, prepared, troubles, now);
    let reports = reports::reports(observed, judgement, &configs, troubles, now);
    let (mut new, replaced) = mints(observed, judgement);
    let later = reports.later + new.len().saturating_sub(BULK);
    new.truncate(BULK);
    // Until it is in the config nothing of it works: values that are replaced, and whatever ends, go before the mass of
    // what is new. The rest takes turns, so that none of it waits for all of another kind.
    let mut actions = replaced;
    actions.extend(configs.writes);
    actions.extend(in_turn([new, configs.touches, reports.actions]));
    Plan { actions, later, ready: reports.ready, due: reports.due }
}

/// Values to make for the first time; and those to replace, with the Secrets that are to go.
fn mints(observed: &Observed, judgement: &Judgement) -> (Vec<Action>, Vec<Action>) {
    let version = |secret: &ObjectName| observed.key_secrets.get(secret).map(|seen| seen.version);
    let lasts = |secret: &ObjectName| !observed.ends(secret.namespace());
    let mints = judgement.to_mint.iter().filter(|mint| lasts(&mint.secret));
    let (new, mut replaced): (Vec<Action>, Vec<Action>) = mints
        .map(|mint| Action::MakeKey { mint: mint.clone(), present: version(&mint.secret) })
        .partition(|action| matches!(action, Action::MakeKey { mint, .. } if mint.cause == Cause::New));
    let stale = judgement.stale.iter().filter(|secret| lasts(secret));
    replaced.extend(
        stale.filter_map(|secret| Some(Action::RemoveKey { secret: secret.clone(), version: version(secret)? })),
    );
    (new, replaced)
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
