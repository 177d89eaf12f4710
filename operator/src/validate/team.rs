//! Team.

use vectoll_config::{ModelPattern, ObjectName, Uid, v1};
use vectoll_crds::{AllowedNamespaces, OnStoreFailure, TeamSpec};

use super::{Fault, Faults, is_label, limits};
use crate::world::Object;

/// A Team whose spec makes sense.
#[derive(Clone, Debug)]
pub(crate) struct ValidTeam {
    pub(crate) name: ObjectName,
    pub(crate) uid: Uid,
    pub(crate) allowed_namespaces: AllowedNamespaces,
    pub(crate) route_namespaces: Vec<String>,
    pub(crate) models: Option<Vec<ModelPattern>>,
    pub(crate) limits: v1::Limits,
    pub(crate) model_limits: Vec<v1::ModelLimits>,
    pub(crate) user_limits: v1::Limits,
    pub(crate) budget: Option<v1::Budget>,
    pub(crate) user_budget: Option<v1::Budget>,
    pub(crate) max_users: u32,
    pub(crate) on_store_failure: Option<v1::OnStoreFailure>,
    pub(crate) tags: Vec<String>,
    pub(crate) suspended: bool,
}

/// The most tags of a Team that have a metric, and the longest of them.
const MOST_TAGS: usize = 128;
const LONGEST_TAG: usize = 128;

/// Validates a Team.
pub(crate) fn team(object: &Object<TeamSpec>) -> Result<ValidTeam, Vec<Fault>> {
    let TeamSpec {
        display_name: _,
        allowed_namespaces,
        route_namespaces,
        models,
        limits: whole,
        model_limits,
        user_limits,
        budget,
        user_budget,
        max_users,
        on_store_failure,
        tags,
        suspended,
    } = &object.spec;
    let mut faults = Faults::default();
    for (i, namespace) in route_namespaces.iter().enumerate() {
        if !is_label(namespace) {
            faults.add(format!("spec.routeNamespaces[{i}]"), format!("\"{namespace}\" is not a namespace's name"));
        }
    }
    if *max_users == 0 {
        faults.add("spec.maxUsers", "must be at least 1");
    }
    for (i, tag) in tags.iter().enumerate() {
        if !(1..=LONGEST_TAG).contains(&tag.chars().count()) {
            faults.add(format!("spec.tags[{i}]"), format!("must have 1 to {LONGEST_TAG} characters"));
        }
    }
    if tags.len() > MOST_TAGS {
        faults.add("spec.tags", format!("has more than {MOST_TAGS} entries"));
    }
    let valid = ValidTeam {
        name: object.name.clone(),
        uid: object.uid.clone(),
        allowed_namespaces: allowed_namespaces.clone(),
        route_namespaces: route_namespaces.clone(),
        models: limits::models(models.as_deref(), &mut faults),
        limits: limits::limits("spec.limits", *whole, &mut faults),
        model_limits: limits::model_limits(model_limits, &mut faults),
        user_limits: limits::limits("spec.userLimits", *user_limits, &mut faults),
        budget: limits::budget("spec.budget", budget.as_ref(), &mut faults),
        user_budget: limits::budget("spec.userBudget", user_budget.as_ref(), &mut faults),
        max_users: *max_users,
        on_store_failure: on_store_failure.map(|choice| match choice {
            OnStoreFailure::Local => v1::OnStoreFailure::Local,
            OnStoreFailure::Closed => v1::OnStoreFailure::Closed,
        }),
        tags: tags.clone(),
        suspended: *suspended,
    };
    faults.or(Some(valid))
}
