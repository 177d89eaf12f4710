//! Turns: what of a status is an event as well.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition as ApiCondition;

use crate::{cluster::status::NewStatus, condition::ConditionType};

/// The reason of a key that has no value yet.
pub(super) const PENDING: &str = "SecretPending";

/// Something that had been so and is so no more, worth an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cluster) struct Transition {
    /// Whether it is one for the worse.
    pub(in crate::cluster) warns: bool,
    /// Why, in CamelCase.
    pub(in crate::cluster) reason: String,
    pub(in crate::cluster) message: String,
}

/// What turned between the conditions that stand there and those that are to.
pub(super) fn turns(before: Option<&[ApiCondition]>, status: &NewStatus) -> Vec<Transition> {
    let pair = |kind: ConditionType| {
        let of_kind = |condition: &&ApiCondition| condition.type_ == kind.name();
        let before = before.into_iter().flatten().find(of_kind);
        Some((before, status.conditions.iter().find(of_kind)?))
    };
    let ready = pair(ConditionType::Ready).and_then(|(before, after)| ready(before, after));
    let budgets = [ConditionType::BudgetExceeded, ConditionType::BudgetWarning].into_iter().filter_map(|kind| {
        let (before, after) = pair(kind)?;
        budget(before, after)
    });
    let ends = [(ConditionType::Suspended, "Resumed"), (ConditionType::Expired, "NotExpired")];
    let refusals = ends.into_iter().filter_map(|(kind, over)| {
        let of_kind = |condition: &&ApiCondition| condition.type_ == kind.name();
        let before = before.into_iter().flatten().find(of_kind);
        refused(over, before, status.conditions.iter().find(of_kind))
    });
    ready.into_iter().chain(budgets).chain(refusals).collect()
}

/// A resource turned ready or lost it. What is not ready from the start is told as well.
fn ready(before: Option<&ApiCondition>, after: &ApiCondition) -> Option<Transition> {
    let is_ready = is_true(after);
    let has_changed = match before {
        Some(before) => before.status != after.status || (!is_ready && before.reason != after.reason),
        None => !is_ready,
    };
    // About to be made: nothing that anybody needs to hear of.
    let worth_it = has_changed && after.reason != PENDING;
    worth_it.then(|| Transition {
        warns: !is_ready,
        reason: after.reason.clone(),
        message: if is_ready { "It works".to_owned() } else { after.message.clone() },
    })
}

/// Calls are refused from now on, or not any more: because the owner wants it so, or the time is over.
fn refused(over: &'static str, before: Option<&ApiCondition>, after: Option<&ApiCondition>) -> Option<Transition> {
    match (before.is_some_and(is_true), after.filter(|after| is_true(after))) {
        (false, Some(after)) => {
            Some(Transition { warns: true, reason: after.reason.clone(), message: after.message.clone() })
        }
        (true, None) => {
            Some(Transition { warns: false, reason: over.to_owned(), message: "calls are taken again".to_owned() })
        }
        (true, Some(_)) | (false, None) => None,
    }
}

/// A budget came to its end, or close to it; or it is not so any more. Told under the condition's name, which people look for.
fn budget(before: Option<&ApiCondition>, after: &ApiCondition) -> Option<Transition> {
    let (was, is) = (before.is_some_and(is_true), is_true(after));
    (was != is).then(|| Transition {
        warns: is,
        reason: if is { after.type_.clone() } else { after.reason.clone() },
        message: after.message.clone(),
    })
}

fn is_true(condition: &ApiCondition) -> bool {
    condition.status == "True"
}
