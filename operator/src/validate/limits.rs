//! Limits and lists of models, which keys and teams share.

use vectoll_config::{ModelPattern, v1};
use vectoll_crds::{Enforcement, Limits, ModelLimits, TagLimits};

use super::{FieldErrors, budgets::silent_budgets};

pub(super) fn limits(path: &str, limits: Limits, errors: &mut FieldErrors) -> v1::Limits {
    let Limits {
        requests_per_minute,
        tokens_per_minute,
        requests_per_hour,
        tokens_per_hour,
        requests_per_day,
        tokens_per_day,
        parallel_requests,
        reserved_for_queries_percent,
        enforcement,
    } = limits;
    let valid = v1::Limits {
        requests_per_minute,
        tokens_per_minute,
        requests_per_hour,
        tokens_per_hour,
        requests_per_day,
        tokens_per_day,
        parallel_requests,
        reserved_for_queries_percent,
        audit: enforcement == Enforcement::Audit,
    };
    for (field, _) in valid.each().into_iter().filter(|(_, limit)| *limit == Some(0)) {
        errors.add(format!("{path}.{field}"), "must be at least 1; to refuse every call set suspended: true");
    }
    if reserved_for_queries_percent.is_some_and(|percent| !(1..=99).contains(&percent)) {
        errors.add(format!("{path}.reservedForQueriesPercent"), "must be 1 to 99: a part of the limits in percent");
    }
    valid
}

/// The most tokens of one call.
pub(super) fn max_tokens_per_call(most: Option<u64>, errors: &mut FieldErrors) -> Option<u64> {
    if most == Some(0) {
        errors.add("spec.maxTokensPerCall", "must be at least 1; to refuse every call set suspended: true");
    }
    most
}

pub(super) fn model_limits(entries: &[ModelLimits], errors: &mut FieldErrors) -> Vec<v1::ModelLimits> {
    let mut valid: Vec<v1::ModelLimits> = Vec::new();
    for (i, ModelLimits { model, limits: these, budgets: money }) in entries.iter().enumerate() {
        let path = format!("spec.modelLimits[{i}]");
        let these = limits(&format!("{path}.limits"), *these, errors);
        let money = silent_budgets(&format!("{path}.budgets"), None, money, errors);
        if let Some(model) = errors.check(format!("{path}.model"), model.parse::<ModelPattern>()) {
            if valid.iter().any(|entry| entry.model == model) {
                errors.add(format!("{path}.model"), format!("{model} is listed twice"));
            }
            valid.push(v1::ModelLimits { model, limits: these, budgets: money });
        }
    }
    valid
}

pub(super) fn tag_limits(entries: &[TagLimits], errors: &mut FieldErrors) -> Vec<v1::TagLimits> {
    let mut valid: Vec<v1::TagLimits> = Vec::new();
    for (i, TagLimits { tag, limits: these, budgets: money }) in entries.iter().enumerate() {
        let path = format!("spec.tagLimits[{i}]");
        if tag.is_empty() || tag.chars().count() > 128 {
            errors.add(format!("{path}.tag"), "must have 1 to 128 characters");
        }
        if valid.iter().any(|entry| *entry.tag == **tag) {
            errors.add(format!("{path}.tag"), format!("{tag} is listed twice"));
        }
        let limits = limits(&format!("{path}.limits"), *these, errors);
        let budgets = silent_budgets(&format!("{path}.budgets"), None, money, errors);
        valid.push(v1::TagLimits { tag: tag.as_str().into(), limits, budgets });
    }
    valid
}

pub(super) fn models(path: &str, list: Option<&[String]>, errors: &mut FieldErrors) -> Option<Vec<ModelPattern>> {
    let list = list?;
    if list.is_empty() {
        errors.add(path, "an empty list allows nothing: leave it out to allow all, or set suspended: true");
    }
    Some(patterns(path, list, errors))
}

pub(super) fn patterns(path: &str, list: &[String], errors: &mut FieldErrors) -> Vec<ModelPattern> {
    let parsed = list.iter().enumerate().map(|(i, model)| errors.check(format!("{path}[{i}]"), model.parse()));
    parsed.collect::<Vec<_>>().into_iter().flatten().collect()
}
