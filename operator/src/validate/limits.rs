//! Limits, budgets and lists of models, which keys and teams share.

use vectoll_config::{ModelPattern, ZoneName, v1};
use vectoll_crds::{Budget, Limits, ModelLimits, Period};

use super::Faults;

pub(super) fn limits(path: &str, limits: Limits, faults: &mut Faults) -> v1::Limits {
    let Limits { requests_per_minute, tokens_per_minute, parallel_requests } = limits;
    for (field, limit) in [
        ("requestsPerMinute", requests_per_minute),
        ("tokensPerMinute", tokens_per_minute),
        ("parallelRequests", parallel_requests),
    ] {
        if limit == Some(0) {
            faults.add(format!("{path}.{field}"), "must be at least 1; to refuse every call set suspended: true");
        }
    }
    v1::Limits { requests_per_minute, tokens_per_minute, parallel_requests }
}

pub(super) fn model_limits(entries: &[ModelLimits], faults: &mut Faults) -> Vec<v1::ModelLimits> {
    let mut valid: Vec<v1::ModelLimits> = Vec::new();
    for (i, ModelLimits { model, limits: these }) in entries.iter().enumerate() {
        let path = format!("spec.modelLimits[{i}]");
        let these = limits(&format!("{path}.limits"), *these, faults);
        if let Some(model) = faults.check(format!("{path}.model"), model.parse::<ModelPattern>()) {
            if valid.iter().any(|entry| entry.model == model) {
                faults.add(format!("{path}.model"), format!("{model} stands twice"));
            }
            valid.push(v1::ModelLimits { model, limits: these });
        }
    }
    valid
}

pub(super) fn models(list: Option<&[String]>, faults: &mut Faults) -> Option<Vec<ModelPattern>> {
    let list = list?;
    if list.is_empty() {
        faults.add("spec.models", "an empty list allows nothing: leave it away to allow all, or set suspended: true");
    }
    Some(patterns(list, faults))
}

pub(super) fn patterns(list: &[String], faults: &mut Faults) -> Vec<ModelPattern> {
    let parsed = list.iter().enumerate().map(|(i, model)| faults.check(format!("spec.models[{i}]"), model.parse()));
    parsed.collect::<Vec<_>>().into_iter().flatten().collect()
}

pub(super) fn budget(path: &str, budget: Option<&Budget>, faults: &mut Faults) -> Option<v1::Budget> {
    let Budget { limit, period, time_zone } = budget?;
    let limit = faults.check(format!("{path}.limit"), limit.parse());
    let time_zone = faults.check(format!("{path}.timeZone"), ZoneName::try_from(time_zone.clone()));
    let period = match period {
        Period::Daily => v1::Period::Daily,
        Period::Weekly => v1::Period::Weekly,
        Period::Monthly => v1::Period::Monthly,
        Period::Total => v1::Period::Total,
    };
    Some(v1::Budget { limit: limit?, period, time_zone: time_zone? })
}
