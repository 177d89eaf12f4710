//! Routes, the names they serve, their credentials and their prices.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use vectoll_config::{ModelPattern, ObjectName, v1::native::Api};
use vectoll_crds::{AllowedNamespaces, ModelRouteSpec};

use super::{
    credential::content_of,
    teams::{invalid, not_accepted},
};
use crate::{
    condition::{Condition, ConditionType, complete},
    observed_state::{Kind, Object, ObservedState, ResourceRef},
    price,
    provider_hosts::AllowedHosts,
    validate::{Called, Native, Serving, ValidBackend, ValidProvider, ValidRoute, model_route},
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
    /// Its backends. None: it cannot serve at present. It keeps its names all the same, or its callers' inputs would go
    /// to whatever route comes next.
    pub(crate) backends: Vec<ValidBackend>,
}

/// Resolves the observed routes; names are claimed within a namespace, so namespaces can be resolved one by one. Older ones first, so that of two with the same name the older one keeps it.
pub(crate) fn resolve_routes(
    observed: &ObservedState,
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
        if let Some(valid) = &valid {
            found.push(match hosts(valid, &observed.allowed_hosts) {
                Some(refused) => refused,
                None if models.is_empty() => {
                    Condition::fails(ConditionType::Accepted, "Conflicted", "other routes have all of its models")
                }
                None => Condition::holds(ConditionType::Accepted, "Accepted", ""),
            });
            found.push(priced(valid));
        }
        found.push(conflict);
        let mut broken = found.iter().any(Condition::stops);
        if let Some(valid) = &valid {
            let (can_serve, refs) = credentials(valid, observed);
            found.push(refs);
            broken |= !can_serve;
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

/// Every price is known: a model without one cannot be used under a budget.
fn priced(route: &ValidRoute) -> Condition {
    let mut unknown = Vec::new();
    for (i, backend) in route.backends.iter().enumerate() {
        for model in &route.models {
            if price_of(backend, model).is_none() {
                unknown.push(format!("spec.backends[{i}].price is not set, and no price of {model} is known"));
            }
        }
    }
    if unknown.is_empty() {
        return Condition::holds(ConditionType::Priced, "Priced", "");
    }
    let message = format!("{}: calls under a budget are refused", unknown.join("; "));
    Condition::fails(ConditionType::Priced, "PriceUnknown", message)
}

/// What a backend charges for a model: what the route says, else the list price of a well-known model.
pub(crate) fn price_of(backend: &ValidBackend, public: &ModelPattern) -> Option<vectoll_config::Price> {
    let listed = || model_of(backend, public).and_then(price::known).map(|known| known.input_per_million_tokens);
    backend.price.or_else(|| match &backend.provider {
        ValidProvider::Builtin => Some(vectoll_config::Price::default()),
        ValidProvider::OpenAi(_) => listed(),
        ValidProvider::Native(Native { api, .. }) => match api {
            // Whoever runs the server pays for the server, whatever the model costs elsewhere.
            Api::HuggingFace(_) | Api::Nvidia(_) | Api::Ollama(_) | Api::SageMaker(_) => None,
            Api::AzureOpenAi(_)
            | Api::Bedrock(_)
            | Api::Cohere(_)
            | Api::Databricks(_)
            | Api::Gemini(_)
            | Api::Jina(_)
            | Api::Mistral(_)
            | Api::VertexAi(_)
            | Api::Voyage(_)
            | Api::Watsonx(_) => listed(),
        },
    })
}

/// The model at the backend, where it does not depend on the call: its name, or what is behind an ARN.
pub(crate) fn model_of<'a>(backend: &'a ValidBackend, public: &'a ModelPattern) -> Option<&'a str> {
    if let ValidProvider::Native(Native { api: Api::Bedrock(settings), .. }) = &backend.provider
        && let Some(behind_arn) = &settings.foundation_model
    {
        return Some(behind_arn);
    }
    match (&backend.model, public) {
        (Some(model), _) => Some(model),
        (None, ModelPattern::Exact(name)) => (!is_deployment(&backend.provider)).then_some(name),
        (None, ModelPattern::Prefix(_)) => None,
    }
}

/// Whether a deployment with a name of its own answers, whatever model the caller names.
fn is_deployment(provider: &ValidProvider) -> bool {
    match provider {
        ValidProvider::Native(Native { api: Api::AzureOpenAi(settings), .. }) => settings.deployment.is_some(),
        ValidProvider::Native(_) | ValidProvider::OpenAi(_) | ValidProvider::Builtin => false,
    }
}
