//! ModelRoute.

use vectoll_config::{ModelPattern, ObjectName, v1};
use vectoll_crds::{Balance, Cache, Coalesce, Cooldown, Delivery, Hedge, InputType, ModelRouteSpec, Retry, Truncate};

use super::{
    FieldError, FieldErrors,
    backend::{ValidBackend, backend},
    limits,
    tags::valid_tags,
    vector_space::one_space,
};
use crate::observed_state::Object;

/// The most attempts after a call's first: a route has at most sixteen backends.
const MAX_RETRIES: u32 = 15;

/// The longest that a call waits for others to travel with.
const MAX_WINDOW_MILLISECONDS: u32 = 1000;
/// The most calls that travel together.
const MAX_COALESCED: u32 = 256;

/// A ModelRoute whose spec makes sense.
#[derive(Clone, Debug)]
pub(crate) struct ValidRoute {
    pub(crate) name: ObjectName,
    pub(crate) models: Vec<ModelPattern>,
    pub(crate) tags: Vec<String>,
    /// Who carries out its calls; none: who the release says.
    pub(crate) delivery: Option<Delivery>,
    pub(crate) serving: Serving,
    pub(crate) backends: Vec<ValidBackend>,
}

/// How calls are carried out, whichever backend takes them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Serving {
    pub(crate) retry: v1::Retry,
    pub(crate) hedge: Option<v1::Hedge>,
    pub(crate) coalesce: Option<v1::Coalesce>,
    pub(crate) cooldown: v1::Cooldown,
    pub(crate) timeout_seconds: Option<u32>,
    pub(crate) input_type: v1::InputType,
    pub(crate) truncate: Option<v1::Truncate>,
    pub(crate) cache: Option<v1::Cache>,
    pub(crate) balance: v1::Balance,
}

/// Validates a ModelRoute.
pub(crate) fn model_route(object: &Object<ModelRouteSpec>) -> Result<ValidRoute, Vec<FieldError>> {
    let ModelRouteSpec {
        models,
        allowed_namespaces: _,
        tags,
        retry,
        hedge,
        coalesce,
        cooldown,
        balance,
        cache,
        timeout_seconds,
        input_type,
        truncate,
        backends,
        mixed_spaces,
        delivery,
    } = &object.spec;
    let mut errors = FieldErrors::default();
    let mut serving = serving(*retry, *cooldown, *timeout_seconds, *input_type, &mut errors);
    serving.balance = match balance {
        Balance::Weighted => v1::Balance::Weighted,
        Balance::LeastLatency => v1::Balance::LeastLatency,
    };
    serving.truncate = truncate.map(|part| match part {
        Truncate::Start => v1::Truncate::Start,
        Truncate::End => v1::Truncate::End,
    });
    let callable = backends.iter().filter(|backend| backend.weight > 0).count();
    serving.hedge = valid_hedge(*hedge, callable, &mut errors);
    serving.coalesce = valid_coalesce(*coalesce, &mut errors);
    serving.cache = valid_cache(*cache, *mixed_spaces, &mut errors);
    let tags = valid_tags(tags, &mut errors);
    if models.is_empty() {
        errors.add("spec.models", "a route serves at least one model: name it");
    }
    let models = limits::patterns("spec.models", models, &mut errors);
    for (i, model) in models.iter().enumerate() {
        if models.iter().take(i).any(|earlier| earlier == model) {
            errors.add(format!("spec.models[{i}]"), format!("{model} is listed twice"));
        }
    }
    if backends.is_empty() {
        errors.add("spec.backends", "a route needs at least one backend");
    } else if backends.iter().all(|backend| backend.weight == 0) {
        errors.add("spec.backends[0].weight", "at least one backend needs a weight above 0");
    }
    for (i, each) in backends.iter().enumerate() {
        if backends.iter().take(i).any(|earlier| earlier.name == each.name) {
            errors.add(format!("spec.backends[{i}].name"), format!("{} is listed twice", each.name));
        }
    }
    let valid: Vec<Option<ValidBackend>> = backends
        .iter()
        .enumerate()
        .map(|(i, each)| backend(&format!("spec.backends[{i}]"), each, &mut errors))
        .collect();
    if !mixed_spaces {
        one_space(&valid, &mut errors);
    }
    let backends: Vec<ValidBackend> = valid.into_iter().flatten().collect();
    if serving.coalesce.is_some() && backends.iter().any(|backend| !backend.budgets.is_empty()) {
        let reason = "what is owed to a provider with budgets is booked call by call: leave coalesce or the backend's budgets out";
        errors.add("spec.coalesce", reason);
    }
    errors.or(Some(ValidRoute { name: object.name.clone(), models, tags, delivery: *delivery, serving, backends }))
}

fn valid_hedge(hedge: Option<Hedge>, callable: usize, errors: &mut FieldErrors) -> Option<v1::Hedge> {
    let Hedge { delay_milliseconds } = hedge?;
    if delay_milliseconds == 0 {
        errors.add("spec.hedge.delayMilliseconds", "must be at least 1");
    }
    if callable < 2 {
        errors.add("spec.hedge", "needs a second backend with a weight above 0: add one, or leave hedge out");
    }
    Some(v1::Hedge { delay_milliseconds })
}

/// What it does not go together with the resource's own rules say.
fn valid_coalesce(coalesce: Option<Coalesce>, errors: &mut FieldErrors) -> Option<v1::Coalesce> {
    let Coalesce { window_milliseconds, max_items } = coalesce?;
    if !(1..=MAX_WINDOW_MILLISECONDS).contains(&window_milliseconds) {
        let message = format!("must be from 1 to {MAX_WINDOW_MILLISECONDS}");
        errors.add("spec.coalesce.windowMilliseconds", message);
    }
    if !(2..=MAX_COALESCED).contains(&max_items) {
        errors.add("spec.coalesce.maxItems", format!("must be from 2 to {MAX_COALESCED}"));
    }
    Some(v1::Coalesce { window_milliseconds, max_items })
}

fn valid_cache(cache: Option<Cache>, mixed_spaces: bool, errors: &mut FieldErrors) -> Option<v1::Cache> {
    let Cache { ttl_seconds, max_bytes } = cache?;
    if ttl_seconds == 0 {
        errors.add("spec.cache.ttlSeconds", "must be at least 1");
    }
    if max_bytes == 0 {
        errors.add("spec.cache.maxBytes", "must be at least 1");
    }
    if mixed_spaces {
        errors.add("spec.cache", "keeps vectors of one space: leave it out, or mixedSpaces");
    }
    Some(v1::Cache { ttl_seconds, max_bytes })
}

fn serving(
    retry: Retry,
    cooldown: Cooldown,
    timeout_seconds: Option<u32>,
    input_type: InputType,
    errors: &mut FieldErrors,
) -> Serving {
    let Retry { attempts, same_backend, budget_percent } = retry;
    let Cooldown { failures, seconds } = cooldown;
    if attempts > MAX_RETRIES {
        errors.add("spec.retry.attempts", format!("must be at most {MAX_RETRIES}"));
    }
    if budget_percent > 100 {
        errors.add("spec.retry.budgetPercent", "must be at most 100");
    }
    if seconds == 0 {
        errors.add("spec.cooldown.seconds", "must be at least 1; to leave no backend alone set failures: 0");
    }
    if timeout_seconds == Some(0) {
        errors.add("spec.timeoutSeconds", "must be at least 1");
    }
    Serving {
        retry: v1::Retry { attempts, same_backend, budget_percent },
        cooldown: v1::Cooldown { failures, seconds },
        timeout_seconds,
        input_type: match input_type {
            InputType::Query => v1::InputType::Query,
            InputType::Document => v1::InputType::Document,
        },
        truncate: None,
        hedge: None,
        coalesce: None,
        cache: None,
        balance: v1::Balance::Weighted,
    }
}
