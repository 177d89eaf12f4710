//! Routes, the names they serve, their credentials and their prices.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use jiff::Timestamp;
use vectoll_config::{ModelPattern, ObjectName};
use vectoll_crds::{AllowedNamespaces, ModelRouteSpec};

use super::{
    credential::content_of,
    model_lists::route_reached,
    prices::{priced, prices_current},
    teams::{invalid, not_accepted},
};
use crate::{
    condition::{Condition, ConditionType, complete},
    delivery::{Carrier, NoGateway},
    observed_state::{Kind, Object, ObservedState, ResourceRef},
    provider_hosts::AllowedHosts,
    validate::{Called, Serving, ValidBackend, ValidRoute, model_route},
};

/// A route and the names that are its own.
#[derive(Clone, Debug)]
pub(crate) struct ResolvedRoute {
    pub(crate) name: ObjectName,
    /// Who may use it.
    pub(crate) allowed_namespaces: AllowedNamespaces,
    /// The names it serves.
    pub(crate) models: Vec<ModelPattern>,
    /// Tags of calls whose spend is counted on its own.
    pub(crate) tags: Vec<String>,
    /// How calls are carried out.
    pub(crate) serving: Serving,
    /// Who carries out its calls, and is told of its backends, where the callers' namespace leaves it to the route.
    pub(crate) carrier: Carrier,
    /// Its backends. None: it cannot serve at present. It keeps its names all the same, or its callers' inputs would go
    /// to whatever route comes next.
    pub(crate) backends: Vec<ValidBackend>,
}

/// Resolves the observed routes; names are claimed within a namespace, so namespaces can be resolved one by one. Older ones first, so that of two with the same name the older one keeps it.
pub(crate) fn resolve_routes(
    observed: &ObservedState,
    now: Timestamp,
    conditions: &mut BTreeMap<ResourceRef, Vec<Condition>>,
) -> Vec<Arc<ResolvedRoute>> {
    let mut claimed: HashMap<(String, ModelPattern), ObjectName> = HashMap::new();
    let mut resolved = Vec::new();
    let mut objects: Vec<&Arc<Object<ModelRouteSpec>>> = observed.routes.values().collect();
    objects.sort_by_key(|object| object.seniority());
    for object in objects {
        let of = ResourceRef { kind: Kind::ModelRoute, name: object.name.clone() };
        let unread = observed.unreadable_resources.get(&of);
        let mut found = Vec::new();
        let (wanted, valid) = match model_route(object) {
            Ok(route) => (route.models.clone(), Some(route)),
            Err(errors) => {
                found.push(invalid(&errors));
                (object.spec.models.iter().filter_map(|model| model.parse().ok()).collect(), None)
            }
        };
        let (models, conflict) = claim(&object.name, wanted, &mut claimed);
        let carrier = valid.as_ref().map_or(Ok(Carrier::Nobody), |route| observed.delivery.carrier(route.delivery));
        if let Some(valid) = &valid {
            found.push(match hosts(valid, &observed.allowed_hosts) {
                Some(refused) => refused,
                None if models.is_empty() => {
                    Condition::fails(ConditionType::Accepted, "Conflicted", "other routes have all of its models")
                }
                None if carrier.is_err() => {
                    Condition::fails(ConditionType::Accepted, NoGateway::REASON, NoGateway::MESSAGE)
                }
                None => Condition::holds(ConditionType::Accepted, "Accepted", ""),
            });
            found.push(priced(valid, &observed.pricing));
            found.extend(prices_current(valid, &observed.pricing, now));
        }
        found.push(conflict);
        let mut broken = found.iter().any(Condition::stops);
        // Whatever its Secrets are like: the gateway knows, and what it has of them goes on.
        let carrier = carrier.ok().filter(|_| !broken).unwrap_or(Carrier::Nobody);
        if let Some(valid) = &valid {
            let (can_serve, refs) = credentials(valid, observed);
            found.push(refs);
            broken |= !can_serve;
        }
        if !models.is_empty() {
            found.extend(route_reached(&object.name, &object.spec.allowed_namespaces, &models, observed));
        }
        not_accepted(&mut found, unread);
        conditions.insert(of, complete(found));
        if !models.is_empty() {
            resolved.push(Arc::new(ResolvedRoute {
                name: object.name.clone(),
                allowed_namespaces: object.spec.allowed_namespaces.clone(),
                models,
                tags: valid.as_ref().map(|route| route.tags.clone()).unwrap_or_default(),
                serving: valid.as_ref().map(|route| route.serving).unwrap_or_default(),
                carrier,
                backends: valid.filter(|_| !broken).map(|route| route.backends).unwrap_or_default(),
            }));
        }
    }
    resolved.sort_by(|a, b| a.name.cmp(&b.name));
    resolved
}

/// The names that are still free, and what to say of the others.
fn claim(
    route: &ObjectName,
    wanted: Vec<ModelPattern>,
    claimed: &mut HashMap<(String, ModelPattern), ObjectName>,
) -> (Vec<ModelPattern>, Condition) {
    let (mut models, mut taken) = (Vec::new(), Vec::new());
    for model in wanted {
        let name = (route.namespace().to_owned(), model.clone());
        match claimed.get(&name) {
            Some(owner) if owner != route => taken.push(format!("{model} (by {owner})")),
            Some(_) => {}
            None => {
                claimed.insert(name, route.clone());
                models.push(model);
            }
        }
    }
    let condition = if taken.is_empty() {
        Condition::fails(ConditionType::Conflicted, "NoConflicts", "")
    } else {
        let message = format!("an older route serves {}: rename the model in one of the two", taken.join(", "));
        Condition::holds(ConditionType::Conflicted, "ModelTaken", message)
    };
    (models, condition)
}

/// What is wrong with the hosts that its backends name.
fn hosts(route: &ValidRoute, allowed: &AllowedHosts) -> Option<Condition> {
    let called = route.backends.iter().flat_map(|backend| &backend.called);
    let refused: Vec<String> =
        called.filter_map(|Called { path, url }| Some(format!("{path}: {}", allowed.check(url).err()?))).collect();
    (!refused.is_empty()).then(|| Condition::fails(ConditionType::Accepted, "HostNotAllowed", refused.join("; ")))
}

/// Whether every credential is there, and can be used, and what to say of it. What sidecars have of one that cannot be read serves on.
fn credentials(route: &ValidRoute, observed: &ObservedState) -> (bool, Condition) {
    let namespace = route.name.namespace();
    let (mut can_serve, mut missing) = (true, Vec::new());
    for credential in route.backends.iter().flat_map(ValidBackend::credentials) {
        if let Err(why) = content_of(credential, namespace, observed) {
            can_serve = false;
            missing.push(why);
        } else if let Err(why) = observed.readable(&ObjectName::new(namespace, &credential.secret), &credential.path) {
            missing.push(why);
        }
    }
    let condition = match missing.first() {
        None => Condition::holds(ConditionType::ResolvedRefs, "ResolvedRefs", ""),
        Some((reason, _)) => {
            let message = missing.iter().map(|(_, message)| message.as_str()).collect::<Vec<_>>().join("; ");
            Condition::fails(ConditionType::ResolvedRefs, reason, message)
        }
    };
    (can_serve, condition)
}
