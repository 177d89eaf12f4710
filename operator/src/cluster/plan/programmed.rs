//! `Programmed`: whether the sidecars serve by a resource as it is.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition as ApiCondition;
use vectoll_config::ObjectName;

use crate::{
    books::{Acknowledgements, Live},
    cluster::{
        delivered::{Parts, Since},
        observed::Observed,
    },
    condition::{Condition, ConditionType, Status},
    world::ResourceRef,
};

/// How long a change may take before it is said that sidecars lag behind: until then it is on its way.
const MOMENT: SignedDuration = SignedDuration::from_secs(5);
/// The most pods that a message names.
const NAMED: usize = 3;

/// What is known of the sidecars, and of what they should serve by.
pub(super) struct Programmed<'a> {
    acknowledgements: &'a Acknowledgements,
    /// By namespace.
    live: BTreeMap<&'a str, Vec<Serves<'a>>>,
    /// The namespaces that a resource concerns.
    concerns: HashMap<&'a ResourceRef, Vec<(&'a str, Since)>>,
}

/// A sidecar.
struct Serves<'a> {
    pod: &'a str,
    generation: u64,
}

impl<'a> Programmed<'a> {
    pub(super) fn new(observed: &'a Observed, parts: &'a BTreeMap<String, Arc<Parts>>) -> Self {
        let mut concerns: HashMap<&ResourceRef, Vec<(&str, Since)>> = HashMap::new();
        for (namespace, parts) in parts {
            for (of, since) in parts.iter() {
                concerns.entry(of).or_default().push((namespace, *since));
            }
        }
        let acknowledgements = &observed.books.acknowledgements;
        let live = match acknowledgements {
            Acknowledgements::Heard { at: _, live } => {
                live.iter().map(|(namespace, live)| (&**namespace, serving(observed, namespace, live))).collect()
            }
            Acknowledgements::Nowhere | Acknowledgements::NotYet | Acknowledgements::Silent => BTreeMap::new(),
        };
        Self { acknowledgements, live, concerns }
    }

    /// Changes what is said of a resource. True: a change is on its way, and is to be looked at again soon.
    pub(super) fn tell(
        &self,
        of: &ResourceRef,
        present: Option<&[ApiCondition]>,
        generation: Option<i64>,
        found: &mut Cow<'_, [Condition]>,
    ) -> bool {
        let Some(told) = self.of(of, present, generation, found) else { return false };
        let pends = told.status == Status::Unknown && told.reason == PENDING;
        for condition in found.to_mut() {
            let is_ready = condition.kind == ConditionType::Ready && condition.status == Status::True;
            if condition.kind == ConditionType::Programmed || is_ready && told.status == Status::False {
                *condition = Condition { kind: condition.kind, ..told.clone() };
            }
        }
        pends
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
        let concerns = self.concerns.get(of).map(Vec::as_slice).unwrap_or_default();
        if concerns.is_empty()
            && let Some(why) = found.iter().find(|condition| condition.stops())
        {
            return Some(Condition::fails(ConditionType::Programmed, why.reason, "it stands in no config"));
        }
        let (mut all, mut behind, mut recent) = (0, Vec::new(), true);
        for (namespace, since) in concerns {
            for Serves { pod, generation } in self.live.get(namespace).into_iter().flatten() {
                all += 1;
                if *generation < since.generation {
                    behind.push(if pod.is_empty() { "one outside a pod" } else { pod });
                    recent &= at.duration_since(since.at) < MOMENT;
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
    let said = present.into_iter().flatten().find(|condition| {
        condition.type_ == ConditionType::Programmed.name() && condition.observed_generation == generation
    });
    let known = said.and_then(|said| {
        let status = [Status::True, Status::False].into_iter().find(|status| status.name() == said.status)?;
        let reason = ["Programmed", "NoSidecars", PENDING].into_iter().find(|reason| *reason == said.reason)?;
        let message = said.message.clone().into();
        Some(Condition { kind: ConditionType::Programmed, status, reason, message })
    });
    known.unwrap_or_else(|| unknown(PENDING, "the sidecars are about to take it"))
}

/// The sidecars of a namespace that live: heard of lately, and, where they say which pod they are, its container runs.
fn serving<'a>(observed: &Observed, namespace: &str, live: &'a [Live]) -> Vec<Serves<'a>> {
    let mut pods: BTreeMap<&str, u64> = BTreeMap::new();
    let mut serving = Vec::new();
    for Live { generation, pod } in live {
        if pod.is_empty() {
            serving.push(Serves { pod, generation: *generation });
        } else if observed.pods.get(&ObjectName::new(namespace, pod)).is_some_and(|seen| seen.value.up) {
            // A container that was started anew has said something before as well: its latest word counts.
            let latest = pods.entry(pod).or_default();
            *latest = (*latest).max(*generation);
        }
    }
    serving.extend(pods.into_iter().map(|(pod, generation)| Serves { pod, generation }));
    serving
}
