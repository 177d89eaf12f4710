//! `Programmed`: whether the sidecars serve by a resource as it is.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition as ApiCondition;
use vectoll_config::ObjectName;

use crate::{
    cluster::{
        cluster_state::ClusterState,
        generations::{Delivered, Deliveries, GenerationChange, Serves},
    },
    condition::{Condition, ConditionType, Status},
    ledger::{Acknowledgements, LiveSidecar},
    observed_state::{Kind, ResourceRef},
};

/// How long a change may take before it is said that sidecars lag behind: until then it is on its way.
const PROGRAMMED_GRACE: SignedDuration = SignedDuration::from_secs(5);
/// The most pods that a message names.
const NAMED: usize = 3;

/// What is known of the sidecars, and of what they should serve by.
pub(super) struct Programmed<'a> {
    namespace: &'a str,
    acknowledgements: &'a Acknowledgements,
    /// Of the namespace, and of those that use its Teams and routes.
    deliveries: &'a Deliveries,
}

impl<'a> Programmed<'a> {
    pub(super) fn new(namespace: &'a str, acknowledgements: &'a Acknowledgements, deliveries: &'a Deliveries) -> Self {
        Self { namespace, acknowledgements, deliveries }
    }

    /// The namespaces that a resource concerns.
    fn concerned(&self, of: &ResourceRef) -> Vec<(&'a Delivered, GenerationChange)> {
        let in_config = |delivered: &'a Arc<Delivered>| Some((&**delivered, delivered.parts.get(of).copied()?));
        match of.kind {
            // A key stands in the config of its own namespace only.
            Kind::ApiKey => self.deliveries.get(self.namespace).and_then(in_config).into_iter().collect(),
            Kind::Team | Kind::ModelRoute => self.deliveries.values().filter_map(in_config).collect(),
        }
    }

    /// Changes what is said of a resource. True: a change is on its way, and is to be looked at again soon.
    pub(super) fn add_conditions(
        &self,
        of: &ResourceRef,
        present: Option<&[ApiCondition]>,
        generation: Option<i64>,
        found: &mut Cow<'_, [Condition]>,
    ) -> bool {
        let crowded_out = self.crowded_out(of);
        // That the config of another namespace is full is no fault of this one's.
        let stops = crowded_out.is_none();
        let Some(programmed) = crowded_out.or_else(|| self.of(of, present, generation, found)) else { return false };
        let pends = programmed.status == Status::Unknown && programmed.reason == PENDING;
        for condition in found.to_mut() {
            let is_ready = stops && condition.kind == ConditionType::Ready && condition.status == Status::True;
            if condition.kind == ConditionType::Programmed || is_ready && programmed.status == Status::False {
                *condition = Condition { kind: condition.kind, ..programmed.clone() };
            }
        }
        pends
    }

    /// A route that other namespaces use does not fit into the configs of some of them.
    fn crowded_out(&self, of: &ResourceRef) -> Option<Condition> {
        let is_out = |delivered: &Delivered| of.kind == Kind::ModelRoute && delivered.left_out.contains(&of.name);
        let others = self.deliveries.iter().filter(|(namespace, _)| *namespace != self.namespace);
        let out: Vec<&str> =
            others.filter(|(_, delivered)| is_out(delivered)).map(|(namespace, _)| namespace.as_str()).collect();
        let named = out.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
        let more = if out.len() > NAMED { ", …" } else { "" };
        let message = format!(
            "the config Secrets of these namespaces are full, and the route does not fit in: {named}{more}. Calls of its models are \
             refused there"
        );
        (!out.is_empty()).then(|| Condition::fails(ConditionType::Programmed, "ConfigFull", message))
    }

    /// None: what stands there already is right.
    fn of(
        &self,
        of: &ResourceRef,
        present: Option<&[ApiCondition]>,
        generation: Option<i64>,
        found: &[Condition],
    ) -> Option<Condition> {
        let at = match self.acknowledgements {
            Acknowledgements::Nowhere => return None,
            Acknowledgements::Silent => {
                let message =
                    "the operator cannot read the store, in which sidecars acknowledge configs: its log says why";
                return Some(unknown("DeliveryUnconfirmed", message));
            }
            Acknowledgements::NotYet => return Some(as_before(present, generation)),
            Acknowledgements::Heard { at, live: _ } => *at,
        };
        let concerns = self.concerned(of);
        if concerns.is_empty()
            && let Some(why) = found.iter().find(|condition| condition.stops())
        {
            return Some(Condition::fails(ConditionType::Programmed, why.reason, "it is in no config"));
        }
        let (mut all, mut behind, mut recent) = (0, Vec::new(), true);
        for (delivered, since) in concerns {
            for Serves { pod, generation } in &delivered.serving {
                all += 1;
                if *generation < since.generation {
                    behind.push(if pod.is_empty() { "one outside a pod" } else { &**pod });
                    recent &= at.duration_since(since.at) < PROGRAMMED_GRACE;
                }
            }
        }
        Some(if all == 0 {
            Condition::holds(ConditionType::Programmed, "NoSidecars", "no sidecar runs that it would concern")
        } else if behind.is_empty() {
            Condition::holds(ConditionType::Programmed, "Programmed", "")
        } else if recent {
            unknown(PENDING, "the sidecars are about to take it")
        } else {
            let (count, named) = (behind.len(), behind.iter().take(NAMED).copied().collect::<Vec<_>>().join(", "));
            let more = if count > NAMED { ", …" } else { "" };
            let message = format!("{count} of {all} sidecars do not serve by it yet: {named}{more}");
            Condition::fails(ConditionType::Programmed, PENDING, message)
        })
    }
}

const PENDING: &str = "Pending";

fn unknown(reason: &'static str, message: &'static str) -> Condition {
    Condition { kind: ConditionType::Programmed, status: Status::Unknown, reason, message: message.into() }
}

/// Before the first word from the store what was said of this very state still holds: another replica has said it.
fn as_before(present: Option<&[ApiCondition]>, generation: Option<i64>) -> Condition {
    let before = present.into_iter().flatten().find(|condition| {
        condition.type_ == ConditionType::Programmed.name() && condition.observed_generation == generation
    });
    let known = before.and_then(|before| {
        let status = [Status::True, Status::False].into_iter().find(|status| status.name() == before.status)?;
        let reason = ["Programmed", "NoSidecars", PENDING].into_iter().find(|reason| *reason == before.reason)?;
        let message = before.message.clone().into();
        Some(Condition { kind: ConditionType::Programmed, status, reason, message })
    });
    known.unwrap_or_else(|| unknown(PENDING, "the sidecars are about to take it"))
}

/// The sidecars of a namespace that live: heard of lately, and, where they say which pod they are, its container runs. A generation
/// beyond the one that was written last is nobody's to have: whoever says so has nothing.
pub(super) fn serving(cluster: &ClusterState, namespace: &str, latest: u64) -> Vec<Serves> {
    let live = match &cluster.books.acknowledgements {
        Acknowledgements::Heard { at: _, live } => live.get(namespace),
        Acknowledgements::Nowhere | Acknowledgements::NotYet | Acknowledgements::Silent => None,
    };
    let mut pods: BTreeMap<&str, u64> = BTreeMap::new();
    let mut serving = Vec::new();
    for LiveSidecar { generation, pod } in live.into_iter().flatten() {
        let generation = if *generation > latest { 0 } else { *generation };
        if pod.is_empty() {
            serving.push(Serves { pod: String::new(), generation });
        } else if cluster.pods.get(&ObjectName::new(namespace, pod)).is_some_and(|seen| seen.value.up) {
            // A container that was started anew has said something before as well: its latest word counts.
            let latest = pods.entry(pod).or_default();
            *latest = (*latest).max(generation);
        }
    }
    serving.extend(pods.into_iter().map(|(pod, generation)| Serves { pod: pod.to_owned(), generation }));
    serving
}
