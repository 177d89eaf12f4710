//! Team.

use vectoll_config::{ModelPattern, ObjectName, Uid, v1};
use vectoll_crds::{AllowedNamespaces, OnStoreFailure, ParentRef, TeamSpec};

use super::{
    FieldError, FieldErrors, NOT_A_NAME, ValidBudget,
    account::account,
    budgets::{budgets, silent_budgets},
    cost_center::check_cost_center,
    is_label, is_subdomain,
    key_policy::{self, ValidBounds, ValidDefaults},
    limits, reset,
    tags::valid_tags,
};
use crate::observed_state::Object;

/// A Team whose spec makes sense.
#[derive(Clone, Debug)]
pub(crate) struct ValidTeam {
    pub(crate) name: ObjectName,
    /// What its spend is kept under: its UID, or the one that it had before it was restored.
    pub(crate) account: Uid,
    /// The Team above it.
    pub(crate) parent: Option<ObjectName>,
    pub(crate) allowed_namespaces: AllowedNamespaces,
    pub(crate) route_namespaces: Vec<String>,
    pub(crate) models: Option<Vec<ModelPattern>>,
    pub(crate) limits: v1::Limits,
    pub(crate) max_tokens_per_call: Option<u64>,
    pub(crate) model_limits: Vec<v1::ModelLimits>,
    pub(crate) tag_limits: Vec<v1::TagLimits>,
    pub(crate) user_limits: v1::Limits,
    pub(crate) budgets: Vec<ValidBudget>,
    pub(crate) user_budgets: Vec<v1::Budget>,
    pub(crate) namespace_limits: v1::Limits,
    pub(crate) namespace_budgets: Vec<v1::Budget>,
    pub(crate) key_defaults: ValidDefaults,
    pub(crate) key_bounds: ValidBounds,
    pub(crate) max_users: u32,
    pub(crate) on_store_failure: Option<v1::OnStoreFailure>,
    pub(crate) tags: Vec<String>,
    pub(crate) suspended: bool,
}

/// Validates a Team.
pub(crate) fn team(object: &Object<TeamSpec>) -> Result<ValidTeam, Vec<FieldError>> {
    let TeamSpec {
        display_name: _,
        parent_ref,
        allowed_namespaces,
        route_namespaces,
        models,
        limits: whole,
        max_tokens_per_call,
        model_limits,
        tag_limits,
        user_limits,
        budget,
        budgets: several,
        user_budget,
        user_budgets,
        namespace_limits,
        namespace_budget,
        namespace_budgets,
        key_defaults,
        key_bounds,
        max_users,
        on_store_failure,
        tags,
        suspended,
        cost_center,
    } = &object.spec;
    let mut errors = FieldErrors::default();
    check_cost_center(cost_center.as_deref(), &mut errors);
    for (i, namespace) in route_namespaces.iter().enumerate() {
        if !is_label(namespace) {
            errors.add(format!("spec.routeNamespaces[{i}]"), format!("\"{namespace}\" is not a namespace's name"));
        }
    }
    if *max_users == 0 {
        errors.add("spec.maxUsers", "must be at least 1");
    }
    let tags = valid_tags(tags, &mut errors);
    let reset_at = reset::reset(object, &mut errors);
    let mut valid = ValidTeam {
        name: object.name.clone(),
        account: account(object, &mut errors),
        parent: parent_ref.as_ref().map(|parent| parent_of(&object.name, parent, &mut errors)),
        allowed_namespaces: allowed_namespaces.clone(),
        route_namespaces: route_namespaces.clone(),
        models: limits::models("spec.models", models.as_deref(), &mut errors),
        limits: limits::limits("spec.limits", *whole, &mut errors),
        max_tokens_per_call: limits::max_tokens_per_call(*max_tokens_per_call, &mut errors),
        model_limits: limits::model_limits(model_limits, &mut errors),
        tag_limits: limits::tag_limits(tag_limits, &mut errors),
        user_limits: limits::limits("spec.userLimits", *user_limits, &mut errors),
        budgets: budgets(budget.as_ref(), several, &mut errors),
        user_budgets: silent_budgets("spec.userBudgets", user_budget.as_ref(), user_budgets, &mut errors),
        namespace_limits: limits::limits("spec.namespaceLimits", *namespace_limits, &mut errors),
        namespace_budgets: silent_budgets(
            "spec.namespaceBudgets",
            namespace_budget.as_ref(),
            namespace_budgets,
            &mut errors,
        ),
        key_defaults: key_policy::defaults(key_defaults.as_ref(), &mut errors),
        key_bounds: key_policy::bounds(key_bounds.as_ref(), &mut errors),
        max_users: *max_users,
        on_store_failure: on_store_failure.map(|choice| match choice {
            OnStoreFailure::Local => v1::OnStoreFailure::Local,
            OnStoreFailure::Closed => v1::OnStoreFailure::Closed,
        }),
        tags,
        suspended: *suspended,
    };
    let ValidTeam {
        budgets, user_budgets, namespace_budgets, model_limits, tag_limits, key_defaults, key_bounds, ..
    } = &mut valid;
    key_policy::defaults_within(key_defaults, key_bounds, &mut errors);
    key_bounds.count_from(reset_at);
    reset::count_from(reset_at, budgets.iter_mut().map(|valid| &mut valid.budget));
    reset::count_from(reset_at, user_budgets.iter_mut().chain(namespace_budgets));
    reset::count_from(reset_at, model_limits.iter_mut().flat_map(|of| &mut of.budgets));
    reset::count_from(reset_at, tag_limits.iter_mut().flat_map(|of| &mut of.budgets));
    errors.or(Some(valid))
}

fn parent_of(team: &ObjectName, parent: &ParentRef, errors: &mut FieldErrors) -> ObjectName {
    let ParentRef { name, namespace } = parent;
    if !is_subdomain(name) {
        errors.add("spec.parentRef.name", NOT_A_NAME);
    }
    if namespace.as_ref().is_some_and(|namespace| !is_label(namespace)) {
        errors.add("spec.parentRef.namespace", NOT_A_NAME);
    }
    ObjectName::new(namespace.as_deref().unwrap_or(team.namespace()), name)
}
