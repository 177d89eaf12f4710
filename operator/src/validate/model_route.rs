//! ModelRoute.

use vectoll_config::{ModelPattern, ObjectName, Price, v1};
use vectoll_crds::{
    Backend, Builtin, Cooldown, ModelRouteSpec, OpenAi, Retry, SecretKeyRef, TokenBound, TokenEncoding,
};

use super::{Fault, Faults, NOT_A_NAME, NOT_AN_ENTRY, is_entry, is_label, is_subdomain, limits, tags::valid_tags};
use crate::world::Object;
use url::Url;

/// The most attempts after a call's first: a route has at most sixteen backends.
const MOST_RETRIES: u32 = 15;

/// A ModelRoute whose spec makes sense.
#[derive(Clone, Debug)]
pub(crate) struct ValidRoute {
    pub(crate) name: ObjectName,
    pub(crate) models: Vec<ModelPattern>,
    pub(crate) tags: Vec<String>,
    pub(crate) serving: Serving,
    pub(crate) backends: Vec<ValidBackend>,
}

/// How calls are carried out, whichever backend takes them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Serving {
    pub(crate) retry: v1::Retry,
    pub(crate) cooldown: v1::Cooldown,
    pub(crate) timeout_seconds: Option<u32>,
}

/// A backend whose settings make sense.
#[derive(Clone, Debug)]
pub(crate) struct ValidBackend {
    pub(crate) name: String,
    pub(crate) model: Option<String>,
    /// Which vectors it makes, where the spec says it.
    pub(crate) space: Option<String>,
    pub(crate) priority: u32,
    pub(crate) weight: u32,
    pub(crate) provider: ValidProvider,
    pub(crate) price: Option<Price>,
    /// As the spec has it. Never there for the built-in model, which counts by itself.
    pub(crate) tokens: Option<v1::TokenBound>,
    pub(crate) timeout_seconds: u32,
    pub(crate) limits: v1::Limits,
}

/// The provider of a backend.
#[derive(Clone, Debug)]
pub(crate) enum ValidProvider {
    /// OpenAI's API.
    OpenAi(OpenAi),
    /// The model inside the sidecar.
    Builtin {
        /// What token arrays are of.
        token_arrays: Option<v1::Encoding>,
    },
}

/// Validates a ModelRoute.
pub(crate) fn model_route(object: &Object<ModelRouteSpec>) -> Result<ValidRoute, Vec<Fault>> {
    let ModelRouteSpec {
        models,
        allowed_namespaces: _,
        tags,
        retry,
        cooldown,
        timeout_seconds,
        backends,
        mixed_spaces,
    } = &object.spec;
    let mut faults = Faults::default();
    let serving = serving(*retry, *cooldown, *timeout_seconds, &mut faults);
    let tags = valid_tags(tags, &mut faults);
    if models.is_empty() {
        faults.add("spec.models", "a route serves at least one model: name it");
    }
    let models = limits::patterns(models, &mut faults);
    for (i, model) in models.iter().enumerate() {
        if models.iter().take(i).any(|earlier| earlier == model) {
            faults.add(format!("spec.models[{i}]"), format!("{model} stands twice"));
        }
    }
    if backends.is_empty() {
        faults.add("spec.backends", "a route needs at least one backend");
    } else if backends.iter().all(|backend| backend.weight == 0) {
        faults.add("spec.backends[0].weight", "at least one backend needs a weight above 0");
    }
    for (i, each) in backends.iter().enumerate() {
        if backends.iter().take(i).any(|earlier| earlier.name == each.name) {
            faults.add(format!("spec.backends[{i}].name"), format!("{} stands twice", each.name));
        }
    }
    let valid: Vec<Option<ValidBackend>> = backends
        .iter()
        .enumerate()
        .map(|(i, each)| backend(&format!("spec.backends[{i}]"), each, &mut faults))
        .collect();
    if !mixed_spaces {
        one_space(&valid, &mut faults);
    }
    let backends = valid.into_iter().flatten().collect();
    faults.or(Some(ValidRoute { name: object.name.clone(), models, tags, serving, backends }))
}

fn serving(retry: Retry, cooldown: Cooldown, timeout_seconds: Option<u32>, faults: &mut Faults) -> Serving {
    let Retry { attempts, same_backend, budget_percent } = retry;
    let Cooldown { failures, seconds } = cooldown;
    if attempts > MOST_RETRIES {
        faults.add("spec.retry.attempts", format!("must be at most {MOST_RETRIES}"));
    }
    if budget_percent > 100 {
        faults.add("spec.retry.budgetPercent", "must be at most 100");
    }
    if seconds == 0 {
        faults.add("spec.cooldown.seconds", "must be at least 1; to leave no backend alone set failures: 0");
    }
    if timeout_seconds == Some(0) {
        faults.add("spec.timeoutSeconds", "must be at least 1");
    }
    Serving {
        retry: v1::Retry { attempts, same_backend, budget_percent },
        cooldown: v1::Cooldown { failures, seconds },
        timeout_seconds,
    }
}

/// Vectors of different models cannot be compared: whoever mixed them would find the wrong neighbours and see no error.
fn one_space(backends: &[Option<ValidBackend>], faults: &mut Faults) {
    let space = |backend: &ValidBackend| match &backend.provider {
        ValidProvider::Builtin { .. } => None,
        ValidProvider::OpenAi(_) => Some(backend.space.clone().or_else(|| backend.model.clone())),
    };
    let mut spaces = backends.iter().enumerate().filter_map(|(i, backend)| Some((i, space(backend.as_ref()?))));
    let Some((_, first)) = spaces.next() else { return };
    if let Some((i, _)) = spaces.find(|(_, other)| *other != first) {
        faults.add(
            format!("spec.backends[{i}].model"),
            "is another model than the first backend's, and vectors of different models cannot be compared: give all \
             backends the same model (or the same space, if it is one model under several names), or set mixedSpaces: true \
             if no two answers are ever compared",
        );
    }
}

fn backend(path: &str, backend: &Backend, faults: &mut Faults) -> Option<ValidBackend> {
    let Backend {
        name,
        model,
        space,
        priority,
        weight,
        open_ai,
        builtin,
        price,
        tokens,
        timeout_seconds,
        limits: limits_of_provider,
    } = backend;
    if !is_label(name) {
        faults.add(format!("{path}.name"), format!("\"{name}\" is not a name: lower-case letters, digits and - only"));
    }
    if *timeout_seconds == 0 {
        faults.add(format!("{path}.timeoutSeconds"), "must be at least 1");
    }
    if space.as_ref().is_some_and(String::is_empty) {
        faults.add(format!("{path}.space"), "is empty: name the vectors' space, or leave it away");
    }
    let limits = limits::limits(&format!("{path}.limits"), *limits_of_provider, faults);
    let price = match price {
        None => None,
        Some(price) => {
            faults.check(format!("{path}.price.inputPerMillionTokens"), price.input_per_million_tokens.parse::<Price>())
        }
    };
    let (provider, tokens) = match (open_ai, builtin) {
        (Some(settings), None) => {
            open_ai_faults(path, settings, faults);
            let tokens = tokens.as_ref().map(|bound| token_bound(path, bound, faults));
            (ValidProvider::OpenAi(settings.clone()), tokens)
        }
        (None, Some(Builtin {})) => {
            let token_arrays = tokens.as_ref().and_then(|bound| encoding_of_arrays(path, bound, faults));
            (ValidProvider::Builtin { token_arrays }, None)
        }
        (None, None) | (Some(_), Some(_)) => {
            faults.add(path, "a backend has exactly one provider: set one of openAI, builtin");
            return None;
        }
    };
    Some(ValidBackend {
        name: name.clone(),
        model: model.clone(),
        space: space.clone(),
        priority: *priority,
        weight: *weight,
        provider,
        price,
        tokens,
        timeout_seconds: *timeout_seconds,
        limits,
    })
}

fn token_bound(path: &str, bound: &TokenBound, faults: &mut Faults) -> v1::TokenBound {
    let TokenBound { encoding, max_per_byte, max_per_input } = bound;
    if let Some(encoding) = encoding {
        if max_per_byte.is_some() || max_per_input.is_some() {
            faults.add(format!("{path}.tokens"), "an encoding counts exactly: leave maxPerByte and maxPerInput away");
        }
        v1::TokenBound::Encoding(contracts(*encoding))
    } else {
        if *max_per_byte == Some(0) {
            faults.add(format!("{path}.tokens.maxPerByte"), "must be at least 1");
        }
        let unknown = UNKNOWN_TOKENIZER;
        v1::TokenBound::Factor(v1::Factor {
            max_per_byte: max_per_byte.unwrap_or(unknown.max_per_byte),
            max_per_input: max_per_input.unwrap_or(unknown.max_per_input),
        })
    }
}

/// What token arrays for the built-in model are of. Their texts are counted by its own tokenizer: a bound would not hold there.
fn encoding_of_arrays(path: &str, bound: &TokenBound, faults: &mut Faults) -> Option<v1::Encoding> {
    let TokenBound { encoding, max_per_byte, max_per_input } = bound;
    if max_per_byte.is_some() || max_per_input.is_some() {
        faults.add(
            format!("{path}.tokens"),
            "the built-in model counts its own tokens: leave maxPerByte and maxPerInput away",
        );
    }
    encoding.map(contracts)
}

fn contracts(encoding: TokenEncoding) -> v1::Encoding {
    match encoding {
        TokenEncoding::cl100k_base => v1::Encoding::cl100k_base,
    }
}

/// What is assumed of a tokenizer that nobody described: no more than one token a byte, and up to eight that the server
/// adds to each input (classification and separator tokens, a leading space, a short instruction).
pub(crate) const UNKNOWN_TOKENIZER: v1::Factor = v1::Factor { max_per_byte: 1, max_per_input: 8 };

/// Whether the sidecar can call it: judged by the parsers that it uses.
fn is_api_root(text: &str) -> bool {
    // A credential in it would end up in logs: it is refused, and not repeated in the refusal.
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#@\\".contains(&byte));
    let url = Url::parse(&format!("{}/embeddings", text.trim_end_matches('/')));
    // Plain HTTP goes over another client, which reads what the first parser made of it.
    let is_uri = url.as_ref().is_ok_and(|url| url.as_str().parse::<http::Uri>().is_ok());
    plain
        && is_uri
        && url.is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host() && url.port() != Some(0))
}

fn open_ai_faults(path: &str, settings: &OpenAi, faults: &mut Faults) {
    let OpenAi { base_url, api_key_secret_ref, organization, project } = settings;
    if !is_api_root(base_url) {
        faults.add(
            format!("{path}.openAI.baseURL"),
            "is not the root of an API: write for example https://api.openai.com/v1, without credentials, query or fragment",
        );
    }
    if let Some(SecretKeyRef { name, key }) = api_key_secret_ref {
        if !is_subdomain(name) {
            // Not repeated: whoever mistakes the reference for the credential would find it in the log.
            faults.add(format!("{path}.openAI.apiKeySecretRef.name"), NOT_A_NAME);
        }
        if !is_entry(key) {
            faults.add(format!("{path}.openAI.apiKeySecretRef.key"), NOT_AN_ENTRY);
        }
    }
    for (field, value) in [("organization", organization), ("project", project)] {
        if value.as_ref().is_some_and(|value| value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_graphic())) {
            faults.add(format!("{path}.openAI.{field}"), "must be printable ASCII without spaces");
        }
    }
}
