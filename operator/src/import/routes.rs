//! From `model_list` and the settings beside it to `ModelRoute`s.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use vectoll_config::is_ours;

use super::{
    amounts,
    backend::{self, provider},
    fields::Fields,
    manifests::Manifests,
    models::Models,
    names::{Names, label},
    notes::Notes,
    secrets::{Secrets, plain},
    settings::{self, Defaults},
};

/// The most backends of a route.
const MAX_BACKENDS: usize = 16;

/// A route on its way.
#[derive(Debug, Default)]
struct Route {
    names: BTreeSet<String>,
    backends: Vec<Value>,
    backend_names: Names,
    input_type: Option<&'static str>,
}

/// Makes a route of each model that has embeddings. Returns which there are.
pub(super) fn import(
    mut config: Fields,
    manifests: &mut Manifests,
    secrets: &mut Secrets,
    notes: &mut Notes,
) -> Models {
    let mut routes: BTreeMap<String, Route> = BTreeMap::new();
    for (number, entry) in config.list("model_list", notes).into_iter().enumerate() {
        let place = format!("model_list[{number}]");
        match Fields::of(&place, &entry) {
            Some(entry) => deployment(entry, &mut routes, secrets, notes),
            None => notes.add(&place, "is no mapping: left out"),
        }
    }
    let defaults = settings::read(config, notes);
    for (alias, group) in &defaults.aliases {
        match routes.get_mut(group) {
            Some(route) => drop(route.names.insert(alias.clone())),
            None => notes.add("model_group_alias", format!("{alias} is for {group}, which is no route here: left out")),
        }
    }
    let all = routes.values().flat_map(|route| route.names.iter().cloned()).collect();
    let mut names = Names::default();
    for (model, route) in routes {
        manifests.add("ModelRoute", &names.like(&model), &spec(&model, route, &defaults, notes));
    }
    Models::these(all)
}

fn deployment(mut entry: Fields, routes: &mut BTreeMap<String, Route>, secrets: &mut Secrets, notes: &mut Notes) {
    let place = entry.path().to_owned();
    let Some(public) = entry.text("model_name", notes) else {
        return notes.add(&place, "has no model_name: left out");
    };
    let (mut params, mut info) = (entry.mapping("litellm_params", notes), entry.mapping("model_info", notes));
    let Some(model) = plain(&mut params, "model", notes) else {
        return notes.add(&place, "has no litellm_params.model: left out");
    };
    let mode = info.text("mode", notes);
    match mode.as_deref() {
        Some("embedding") => {}
        Some(other) => {
            return notes
                .add(&place, format!("{public} is of mode {other}, and only embeddings are served here: left out"));
        }
        None if looks_like_embeddings(&public) || looks_like_embeddings(&model) => {}
        None => {
            let what = "does not look like a model of embeddings, so it is left out: set model_info.mode to embedding if it is one, and \
                        import again";
            return notes.add(&place, format!("{public} {what}"));
        }
    }
    if public.find('*').is_some_and(|at| at + 1 < public.len()) {
        return notes.add(&place, format!("{public}: a wildcard stands at the end here: left out"));
    }
    let custom = params.text("custom_llm_provider", notes);
    let (vendor, bare) = custom.as_deref().map_or_else(|| backend::split(&model), |vendor| (vendor, model.as_str()));
    let owner = label(&public);
    let Some(mut provider) = provider((vendor, bare), &mut params, &owner, secrets, notes) else { return };
    if let Some(wildcard) = provider.model.take_if(|model| model.contains('*')) {
        // The caller's name goes through, as it is.
        if wildcard != public {
            let what = "the provider is asked for the caller's name as it is, where LiteLLM cuts the provider's off: name the models one by one";
            notes.add(&place, format!("{public} stands for {wildcard}: {what}"));
        }
    }
    let (kind, mut backend) = (provider.name, Map::new());
    provider.write(&mut backend);
    if let Some(base) = info.text("base_model", notes) {
        backend.insert("space".to_owned(), backend::split(&base).1.into());
    }
    let input_type = input_type(&mut params, notes);
    rest_of(&mut params, &mut entry, &mut info, &mut backend, notes);
    // Its provider was to be asked for nothing, or for what nobody can tell.
    let is_closed = params.is_closed() || entry.is_closed();
    params.finish(notes, settings::of_a_deployment);
    info.finish(notes, settings::of_a_model);
    entry.finish(notes, settings::of_a_deployment);
    if is_closed {
        return notes.add(&place, "what it may be asked for cannot be written: left out");
    }
    let route = routes.entry(public.clone()).or_default();
    route.names.insert(public);
    route.input_type = route.input_type.or(input_type);
    if route.backends.len() < MAX_BACKENDS {
        backend.insert("name".to_owned(), route.backend_names.like(kind).into());
        route.backends.push(Value::Object(backend));
    } else {
        notes.add(&place, format!("a route has up to {MAX_BACKENDS} backends: this one is left out"));
    }
}

/// What a backend is told beside its provider.
fn rest_of(
    params: &mut Fields,
    entry: &mut Fields,
    info: &mut Fields,
    backend: &mut Map<String, Value>,
    notes: &mut Notes,
) {
    const LIMITS: [(&str, &str); 4] =
        [("rpm", "requestsPerMinute"), ("tpm", "tokensPerMinute"), ("rpd", "requestsPerDay"), ("tpd", "tokensPerDay")];
    let mut limits = amounts::limits(entry, &LIMITS, notes);
    limits.extend(amounts::limits(params, &LIMITS, notes));
    if !limits.is_empty() {
        backend.insert("limits".to_owned(), Value::Object(limits));
    }
    for (theirs, ours) in [("weight", "weight"), ("order", "priority")] {
        if let Some(number) = params.count(theirs, notes) {
            backend.insert(ours.to_owned(), number.into());
        }
    }
    if let Some(seconds) = params.number("timeout", notes).and_then(|number| settings::seconds(&number)) {
        backend.insert("timeoutSeconds".to_owned(), seconds.into());
    }
    let budgets = amounts::budgets(params, notes);
    if !budgets.is_empty() {
        backend.insert("budgets".to_owned(), budgets.into());
    }
    let place = params.place("input_cost_per_token");
    let cost = params.number("input_cost_per_token", notes);
    if let Some(cost) = cost.or_else(|| info.number("input_cost_per_token", notes)) {
        match amounts::price(&cost) {
            Some(price) => drop(backend.insert("price".to_owned(), price)),
            None => notes.add(&place, format!("{cost} US dollars a token is finer than a price can be: set price")),
        }
    }
    if let Some(tokens) = info.whole("max_input_tokens", notes).or_else(|| info.whole("max_tokens", notes)) {
        backend.insert("maxInputTokens".to_owned(), tokens.into());
    }
    headers(params, backend, notes);
    params.ignore(&[
        "output_cost_per_token",
        "stream_timeout",
        "drop_params",
        "additional_drop_params",
        "dimensions",
        "encoding_format",
        "max_retries",
        "use_in_pass_through",
        "use_litellm_proxy",
        "merge_reasoning_content_in_choices",
        "model_info",
    ]);
    info.ignore(&[
        "id",
        "db_model",
        "updated_at",
        "updated_by",
        "created_at",
        "created_by",
        "output_cost_per_token",
        "max_output_tokens",
        "litellm_provider",
        "output_vector_size",
        "supported_endpoints",
    ]);
}

fn headers(params: &mut Fields, backend: &mut Map<String, Value>, notes: &mut Notes) {
    let mut extra = params.mapping("extra_headers", notes);
    let place = extra.path().to_owned();
    let mut headers = Vec::new();
    for (name, value) in extra.drain() {
        match value.as_str() {
            Some(value) if !value.starts_with("os.environ/") && !may_be_secret(&name) => {
                headers.push(json!({"name": name, "value": value}));
            }
            Some(_) | None => notes
                .add(&place, format!("{name}: headers stand in the route as they are, and hold no secrets: left out")),
        }
    }
    if !headers.is_empty() {
        backend.insert("headers".to_owned(), headers.into());
    }
}

/// Whether a header may hold a credential, or is one that the sidecar sets itself.
fn may_be_secret(name: &str) -> bool {
    const WORDS: [&str; 8] = ["key", "token", "secret", "auth", "cookie", "password", "credential", "session"];
    let lower = name.to_lowercase();
    is_ours(&lower) || WORDS.iter().any(|word| lower.contains(word))
}

/// What inputs are, in the words of Cohere, Voyage and NVIDIA.
fn input_type(params: &mut Fields, notes: &mut Notes) -> Option<&'static str> {
    let place = params.place("input_type");
    match params.text("input_type", notes)?.as_str() {
        "search_query" | "query" => Some("Query"),
        "search_document" | "document" | "passage" => Some("Document"),
        other => {
            notes.add(&place, format!("there is no input type {other} here: left out"));
            None
        }
    }
}

fn spec(model: &str, route: Route, defaults: &Defaults, notes: &mut Notes) -> Value {
    let Route { names, mut backends, input_type, .. } = route;
    put_in_order(&mut backends);
    let spaces: BTreeSet<String> = backends.iter().filter_map(space).collect();
    let is_mixed = spaces.len() > 1;
    if is_mixed {
        let spaces: Vec<&str> = spaces.iter().map(String::as_str).collect();
        notes.add(
            &format!("ModelRoute {}", label(model)),
            format!("its backends serve {}: vectors of different models cannot be compared. If they are one model under several names, give \
                     each backend the same space; else make a route of each", spaces.join(", ")),
        );
    }
    let mut spec = Map::from_iter([("models".to_owned(), Value::from_iter(names))]);
    if let Some(input_type) = input_type {
        spec.insert("inputType".to_owned(), input_type.into());
    }
    defaults.write(&mut spec);
    spec.insert("backends".to_owned(), backends.into());
    Value::Object(spec)
}

/// LiteLLM asks those of the lowest `order` first, and those without one last.
fn put_in_order(backends: &mut [Value]) {
    let priority = |backend: &Value| backend.get("priority").and_then(Value::as_u64);
    let Some(last) = backends.iter().filter_map(priority).max() else { return };
    for backend in backends.iter_mut().filter_map(Value::as_object_mut) {
        backend.entry("priority").or_insert_with(|| (last + 1).into());
    }
}

/// Which vectors a backend makes, as the operator takes it.
fn space(backend: &Value) -> Option<String> {
    ["space", "model"].iter().find_map(|name| backend.get(name)?.as_str().map(str::to_owned))
}

/// By the names that models of embeddings have.
fn looks_like_embeddings(model: &str) -> bool {
    const WORDS: [&str; 13] = [
        "embed", "bge-", "gte-", "e5-", "minilm", "voyage", "jina-", "ada-002", "nv-embed", "arctic", "mpnet",
        "stella", "nomic",
    ];
    let model = model.to_lowercase();
    WORDS.iter().any(|word| model.contains(word))
}
