//! What can be done, and to what.

use std::{collections::BTreeMap, sync::Arc};

use vectoll_config::{ObjectName, Uid};

use super::transitions::Transition;
use crate::{
    cluster::{config::ConfigFiles, status::NewStatus},
    key_secret::{Adoption, TemplateChange, ValueCreation},
    observed_state::ResourceRef,
};

/// One change to one object.
#[derive(Clone, Debug)]
pub(in crate::cluster) enum Action {
    /// A key gets a value. The version is its Secret's, where there is one.
    MakeKey { creation: ValueCreation, present: Option<u64> },
    /// A Secret that was not made for a key is taken over by it.
    AdoptKey { adoption: Adoption, version: u64 },
    /// A key's Secret gets the labels and annotations of its template.
    LabelKey { change: TemplateChange, version: u64 },
    /// A Secret of an ApiKey that is gone.
    RemoveKey { secret: ObjectName, version: u64 },
    /// A config is written, in place of another one where there is one.
    WriteConfig { namespace: String, files: Arc<ConfigFiles>, replaces: Option<Replaced> },
    /// Nobody needs a config any more.
    RemoveConfig { namespace: String, uid: Uid, version: u64 },
    /// A pod is to look at its config.
    Touch { pod: ObjectName, uid: Uid, generation: u64 },
    /// A resource's status, and what is told of it as events. The version is the resource's that was reconciled.
    Report { of: ResourceRef, uid: Uid, version: u64, status: NewStatus, turns: Vec<Transition> },
}

/// A config Secret that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cluster) struct Replaced {
    pub(in crate::cluster) version: u64,
    /// It cannot be changed, only deleted.
    pub(in crate::cluster) frozen: bool,
}

/// What an action changes: never two at a time for the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::cluster) enum Target {
    Secret(ObjectName),
    Config(String),
    Pod(ObjectName),
    Status(ResourceRef),
}

impl Target {
    /// The namespace in which it is.
    pub(in crate::cluster) fn namespace(&self) -> &str {
        match self {
            Self::Secret(name) | Self::Pod(name) => name.namespace(),
            Self::Config(namespace) => namespace,
            Self::Status(of) => of.name.namespace(),
        }
    }
}

impl Action {
    pub(in crate::cluster) fn target(&self) -> Target {
        match self {
            Self::MakeKey { creation, .. } => Target::Secret(creation.secret.clone()),
            Self::AdoptKey { adoption, .. } => Target::Secret(adoption.secret.clone()),
            Self::LabelKey { change, .. } => Target::Secret(change.secret.clone()),
            Self::RemoveKey { secret, .. } => Target::Secret(secret.clone()),
            Self::WriteConfig { namespace, .. } | Self::RemoveConfig { namespace, .. } => {
                Target::Config(namespace.clone())
            }
            Self::Touch { pod, .. } => Target::Pod(pod.clone()),
            Self::Report { of, .. } => Target::Status(of.clone()),
        }
    }

    /// The word for it in metrics and logs.
    pub(in crate::cluster) fn word(&self) -> &'static str {
        match self {
            Self::MakeKey { .. } => "make_key",
            Self::AdoptKey { .. } => "adopt_key",
            Self::LabelKey { .. } => "label_key",
            Self::RemoveKey { .. } => "remove_key",
            Self::WriteConfig { .. } => "write_config",
            Self::RemoveConfig { .. } => "remove_config",
            Self::Touch { .. } => "touch_pod",
            Self::Report { .. } => "report_status",
        }
    }
}

/// The most that one plan takes on of what comes in masses. A plan that is not carried out before the next one is made was
/// made for nothing.
pub(in crate::cluster) const MAX_PER_RECONCILE: usize = 512;

/// What has failed again and again, and how.
pub(in crate::cluster) type PersistentFailures = BTreeMap<Target, String>;
