//! What the operator says of Teams, keys and routes. Pure.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use vectoll_config::ObjectName;
use vectoll_crds::{ApiKey, ModelRoute, Team};

use super::finding::Finding;
use crate::plugin::{
    condition_summary::{ConditionSummary, Level, condition, summarize},
    objects::TrackedResource,
};

/// Resources that are named one by one.
const NAMED: usize = 20;

/// A resource and what was said of it.
#[derive(Clone, Debug)]
pub(super) struct Stated {
    kind: &'static str,
    name: ObjectName,
    conditions: Vec<Condition>,
    observed: Option<i64>,
    generation: Option<i64>,
}

macro_rules! stated {
    ($name:ident, $kind:ty, $word:literal) => {
        pub(super) fn $name(all: &[TrackedResource<$kind>]) -> Vec<Stated> {
            let of = |resource: &TrackedResource<$kind>| Stated {
                kind: $word,
                name: resource.object.name.clone(),
                conditions: resource.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default(),
                observed: resource.status.as_ref().and_then(|status| status.observed_generation),
                generation: resource.generation,
            };
            all.iter().map(of).collect()
        }
    };
}
stated!(of_keys, ApiKey, "ApiKey");
stated!(of_teams, Team, "Team");
stated!(of_routes, ModelRoute, "ModelRoute");

/// Which of them are not as they should be.
pub(super) fn ready(what: &str, all: &[Stated]) -> Vec<Finding> {
    let judged = all.iter().map(|of| (of, summarize(&of.conditions, of.observed, of.generation)));
    let mut odd: Vec<(&Stated, ConditionSummary)> =
        judged.filter(|(_, summary)| summary.level != Level::Good).collect();
    odd.sort_by_key(|(_, summary)| std::cmp::Reverse(summary.level));
    let good = all.len() - odd.len();
    let mut found = vec![if all.is_empty() {
        Finding::good(format!("there are no {what}"))
    } else {
        Finding::good(format!("{good} of {} {what} are ready, with nothing to say of them", all.len()))
    }];
    let hint = |of: &Stated| {
        format!("more: kubectl describe {} {} -n {}", of.kind.to_lowercase(), of.name.name(), of.name.namespace())
    };
    let named = odd.iter().take(NAMED).map(|(of, ConditionSummary { level, word, message })| {
        let line = format!("{} {}: {word}: {message}", of.kind, of.name);
        match level {
            Level::Bad => Finding::bad(line, hint(of)),
            Level::Good | Level::Notable => Finding::notable(line, hint(of)),
        }
    });
    found.extend(named);
    if let Some(more) = odd.len().checked_sub(NAMED).filter(|more| *more > 0) {
        found.push(Finding::notable(format!("{more} more {what}"), "more: kubectl vectoll status -A"));
    }
    found
}

/// Whether limits hold for all sidecars together: the operator says it wherever something is limited.
pub(super) fn store(all: &[&Stated]) -> Vec<Finding> {
    let mut reasons: BTreeMap<&str, (bool, &str, usize)> = BTreeMap::new();
    for found in all.iter().filter_map(|of| condition(&of.conditions, "LimitsExact")) {
        let entry = reasons.entry(&found.reason).or_insert((found.status == "True", &found.message, 0));
        entry.2 += 1;
    }
    let finding = |(reason, (holds, message, count)): (&str, (bool, &str, usize))| {
        let line = format!("{reason}, said of {count} with limits or budgets");
        match (holds, reason) {
            (true, _) => Finding::good(line),
            (false, "PerSidecar" | "StoreNotPersistent") => Finding::notable(line, message),
            (false, _) => Finding::bad(line, message),
        }
    };
    if all.is_empty() {
        return Vec::new();
    }
    if reasons.is_empty() {
        return vec![Finding::good("nothing is limited, so nothing is said of the store")];
    }
    reasons.into_iter().map(finding).collect()
}

/// Whether sidecars serve by what was written.
pub(super) fn delivery(all: &[&Stated]) -> Vec<Finding> {
    let of = |status: &str| {
        // What is wrong with the resource itself is said of the resource.
        let is_whole = |of: &Stated| {
            ["Accepted", "ResolvedRefs"]
                .iter()
                .all(|kind| condition(&of.conditions, kind).is_none_or(|found| found.status != "False"))
        };
        let is_so = |of: &&&Stated| {
            condition(&of.conditions, "Programmed").is_some_and(|found| found.status == status) && is_whole(of)
        };
        all.iter().filter(is_so).copied().collect::<Vec<&Stated>>()
    };
    let (held, late, unknown) = (of("True").len(), of("False"), of("Unknown"));
    let mut found = Vec::new();
    if held > 0 || late.is_empty() && unknown.is_empty() {
        found.push(Finding::good(format!("{held} resources are in force at every sidecar that lives")));
    }
    for late in late.iter().take(NAMED) {
        let Some(why) = condition(&late.conditions, "Programmed") else { continue };
        found.push(Finding::bad(
            format!("{} {}: {}: {}", late.kind, late.name, why.reason, why.message),
            "the log of the pods' container vectoll-sidecar says why",
        ));
    }
    if let Some(why) = unknown.first().and_then(|of| condition(&of.conditions, "Programmed")) {
        let line =
            format!("of {} resources it is not known whether sidecars serve by them: {}", unknown.len(), why.reason);
        found.push(Finding::notable(line, why.message.clone()));
    }
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use crate::plugin::{check::finding::Mark, condition_summary::made};

    fn stated(name: &str, conditions: &[(&str, &str, &str, &str)]) -> Stated {
        let name = ObjectName::new("web", name);
        Stated { kind: "ApiKey", name, conditions: made(conditions), observed: Some(1), generation: Some(1) }
    }

    #[test]
    fn the_worst_come_first_and_the_rest_is_counted() {
        let ready_condition = ("Ready", "True", "Ready", "");
        let mut all = vec![
            stated("alice", &[ready_condition]),
            stated("bob", &[ready_condition, ("Suspended", "True", "Suspended", "it is suspended")]),
            stated("carol", &[("Ready", "False", "TeamNotFound", "there is none")]),
        ];
        let found = ready("ApiKeys", &all);
        assert_eq!(found.iter().map(|of| of.mark).collect::<Vec<_>>(), [Mark::Good, Mark::Bad, Mark::Notable]);
        assert_eq!(found[0].message, "1 of 3 ApiKeys are ready, with nothing to say of them");
        assert_eq!(found[1].message, "ApiKey web/carol: TeamNotFound: there is none");
        all.extend((0..30).map(|n| stated(&format!("k{n}"), &[])));
        assert_eq!(ready("ApiKeys", &all).last().map(|of| &*of.message), Some("12 more ApiKeys"));
    }

    #[test]
    fn the_store_is_as_the_limits_say() {
        let exact = stated("a", &[("LimitsExact", "True", "SharedStore", "")]);
        let apart = stated("b", &[("LimitsExact", "False", "PerSidecar", "several")]);
        let away = stated("c", &[("LimitsExact", "False", "StoreUnreachable", "away")]);
        let marks = |all: &[&Stated]| store(all).iter().map(|of| of.mark).collect::<Vec<_>>();
        assert_eq!(marks(&[&exact, &exact]), [Mark::Good]);
        assert_eq!(marks(&[&exact, &apart, &away]), [Mark::Notable, Mark::Good, Mark::Bad]);
        assert_eq!(marks(&[&stated("d", &[])]), [Mark::Good]);
        assert!(marks(&[]).is_empty(), "nothing is known");
    }

    #[test]
    fn what_a_sidecar_has_not_taken_is_named() {
        let held = stated("a", &[("Programmed", "True", "Programmed", "")]);
        let late = stated("b", &[("Programmed", "False", "Pending", "app-1 serves by an earlier config")]);
        let unknown = stated("c", &[("Programmed", "Unknown", "DeliveryUnconfirmed", "no store")]);
        let wrong = [("ResolvedRefs", "False", "TeamNotFound", ""), ("Programmed", "False", "TeamNotFound", "")];
        let found = delivery(&[&held, &late, &unknown, &stated("d", &wrong)]);
        assert_eq!(found.iter().map(|of| of.mark).collect::<Vec<_>>(), [Mark::Good, Mark::Bad, Mark::Notable]);
        assert!(found[1].message.contains("web/b") && found[1].message.contains("app-1"));
    }
}
