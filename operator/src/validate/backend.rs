//! A backend of a ModelRoute.

use vectoll_config::{Price, is_ours, v1};
use vectoll_crds::{Backend, Batch, CaSecretRef, Header, TokenBound, TokenEncoding};

use super::{
    Credential, FieldErrors, NOT_A_NAME, NOT_AN_ENTRY,
    budgets::silent_budgets,
    is_entry, is_label, is_subdomain, limits,
    provider::{Called, Native, OpenAi, ValidProvider, provider},
};
use crate::price::Discount;

/// The most headers that a backend sets.
const MAX_HEADERS: usize = 16;
/// The most requests of one call that are sent side by side.
const MAX_PARALLEL: u32 = 64;

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
    /// The URLs that its sidecars will call.
    pub(crate) called: Vec<Called>,
    pub(crate) price: Option<Price>,
    /// What is taken off it, or off the list price.
    pub(crate) discount: Option<Discount>,
    /// As the spec has it. Never there for the built-in model, which counts by itself.
    pub(crate) tokens: Option<v1::TokenBound>,
    /// What token arrays are of, as the spec has it.
    pub(crate) token_arrays: Option<v1::Encoding>,
    /// The most tokens of one input, as the spec has it.
    pub(crate) max_input_tokens: Option<u32>,
    pub(crate) timeout_seconds: u32,
    pub(crate) limits: v1::Limits,
    pub(crate) budgets: Vec<v1::Budget>,
    pub(crate) batch: v1::Batch,
    /// The CAs that sign the provider's certificate.
    pub(crate) ca: Option<Credential>,
    pub(crate) headers: Vec<v1::Header>,
}

impl ValidBackend {
    /// Whether calls may have to go elsewhere because of what its provider was asked for, or is owed.
    pub(crate) fn is_limited(&self) -> bool {
        !self.limits.is_none() || !self.budgets.is_empty()
    }

    /// All that its sidecars need of Secrets.
    pub(crate) fn credentials(&self) -> impl Iterator<Item = &Credential> {
        self.provider.credential().into_iter().chain(&self.ca)
    }
}

/// Validates the backend at `path`. None only where a fault was added.
pub(super) fn backend(path: &str, backend: &Backend, errors: &mut FieldErrors) -> Option<ValidBackend> {
    // The providers are read by `provider`.
    let Backend {
        name,
        model,
        space,
        priority,
        weight,
        open_ai: _,
        builtin,
        azure_open_ai: _,
        bedrock: _,
        cohere: _,
        databricks: _,
        gemini: _,
        hugging_face: _,
        jina: _,
        mistral: _,
        nvidia: _,
        ollama: _,
        sage_maker: _,
        vertex_ai: _,
        voyage: _,
        watsonx: _,
        price,
        discount_percent,
        tokens,
        max_input_tokens,
        timeout_seconds,
        limits: limits_of_provider,
        budgets: owed,
        batch: splitting,
        ca_secret_ref,
        headers: set,
    } = backend;
    if !is_label(name) {
        errors.add(format!("{path}.name"), format!("\"{name}\" is not a name: lower-case letters, digits and - only"));
    }
    if *timeout_seconds == 0 {
        errors.add(format!("{path}.timeoutSeconds"), "must be at least 1");
    }
    let max_input = format!("{path}.maxInputTokens");
    if max_input_tokens.is_some_and(|most| most < v1::MIN_INPUT_TOKENS) {
        errors.add(&max_input, format_args!("must be at least {}", v1::MIN_INPUT_TOKENS));
    }
    if builtin.is_some() && max_input_tokens.is_some() {
        errors.add(&max_input, "the built-in model takes any number of tokens: leave maxInputTokens out");
    }
    for (field, value) in [("model", model), ("space", space)] {
        if value.as_ref().is_some_and(String::is_empty) {
            errors.add(format!("{path}.{field}"), format_args!("is empty: name the {field}, or leave it out"));
        }
    }
    let limits = limits::limits(&format!("{path}.limits"), *limits_of_provider, errors);
    let of_callers = "is for the limits of ApiKeys and Teams: leave it out";
    if limits.audit {
        errors.add(format!("{path}.limits.enforcement"), of_callers);
    }
    if limits.reserved_for_queries_percent.is_some() {
        errors.add(format!("{path}.limits.reservedForQueriesPercent"), of_callers);
    }
    let budgets = silent_budgets(&format!("{path}.budgets"), None, owed, errors);
    let batch = batch(&format!("{path}.batch"), *splitting, errors);
    let headers = headers(&format!("{path}.headers"), set, builtin.is_some(), errors);
    let price = match price {
        None => None,
        Some(price) => {
            errors.check(format!("{path}.price.inputPerMillionTokens"), price.input_per_million_tokens.parse::<Price>())
        }
    };
    let discount = discount_percent
        .as_ref()
        .and_then(|text| errors.check(format!("{path}.discountPercent"), text.parse::<Discount>()));
    let (token_arrays, tokens) = match (builtin, tokens) {
        (Some(_), Some(bound)) => (encoding_of_arrays(path, bound, errors), None),
        (None, Some(bound)) => (bound.array_encoding.map(contracts), token_bound(path, bound, errors)),
        (_, None) => (None, None),
    };
    let (provider, called) = provider(path, backend, errors)?;
    let ca = ca_secret_ref.as_ref().map(|reference| cas(format!("{path}.caSecretRef"), reference, &provider, errors));
    Some(ValidBackend {
        name: name.clone(),
        model: model.clone(),
        space: space.clone(),
        priority: *priority,
        weight: *weight,
        provider,
        called,
        price,
        discount,
        tokens,
        token_arrays,
        max_input_tokens: *max_input_tokens,
        timeout_seconds: *timeout_seconds,
        limits,
        budgets,
        batch,
        ca,
        headers,
    })
}

/// The CAs of a provider that is called over TLS.
fn cas(path: String, reference: &CaSecretRef, provider: &ValidProvider, errors: &mut FieldErrors) -> Credential {
    if !is_subdomain(&reference.name) {
        errors.add(format!("{path}.name"), NOT_A_NAME);
    }
    if !is_entry(&reference.key) {
        errors.add(format!("{path}.key"), NOT_AN_ENTRY);
    }
    match provider {
        ValidProvider::Builtin => {
            errors
                .add(&path, "the built-in model is inside the sidecar, and no request is sent: leave caSecretRef out");
        }
        ValidProvider::OpenAi(OpenAi { base_url, .. }) | ValidProvider::Native(Native { base_url, .. }) => {
            if !base_url.starts_with("https:") {
                errors.add(
                    &path,
                    "only https has certificates: write https in the provider's URL, or leave caSecretRef out",
                );
            }
        }
    }
    Credential::of_cas(path, reference)
}

fn headers(path: &str, headers: &[Header], is_builtin: bool, errors: &mut FieldErrors) -> Vec<v1::Header> {
    if is_builtin && !headers.is_empty() {
        errors.add(path, "the built-in model is inside the sidecar, and no request is sent: leave headers out");
    }
    if headers.len() > MAX_HEADERS {
        errors.add(path, format_args!("must be at most {MAX_HEADERS}"));
    }
    for (i, Header { name, value }) in headers.iter().enumerate() {
        if !is_header_name(name) {
            errors.add(format!("{path}[{i}].name"), "is not a header's name: up to 63 letters, digits, - and _");
        } else if is_ours(name) {
            let why = "the sidecar sets this header, or it says who calls, how the body reads or where the request goes: leave it out";
            errors.add(format!("{path}[{i}].name"), why);
        } else if headers.iter().take(i).any(|other| other.name.eq_ignore_ascii_case(name)) {
            errors.add(format!("{path}[{i}].name"), format_args!("{name} is set twice: header names have no case"));
        }
        if !is_header_value(value) {
            let wrong = "must be 1 to 256 printable ASCII characters without white space around them";
            errors.add(format!("{path}[{i}].value"), wrong);
        }
    }
    headers.iter().map(|Header { name, value }| v1::Header { name: name.clone(), value: value.clone() }).collect()
}

fn is_header_name(name: &str) -> bool {
    (1..=63).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

fn is_header_value(value: &str) -> bool {
    (1..=256).contains(&value.len())
        && value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
        && value.trim().len() == value.len()
}

fn batch(path: &str, batch: Batch, errors: &mut FieldErrors) -> v1::Batch {
    let Batch { max_items, max_tokens, parallel } = batch;
    if max_items == Some(0) {
        errors.add(format!("{path}.maxItems"), "must be at least 1");
    }
    if max_tokens == Some(0) {
        errors.add(format!("{path}.maxTokens"), "must be at least 1");
    }
    if !(1..=MAX_PARALLEL).contains(&parallel) {
        errors.add(format!("{path}.parallel"), format_args!("must be from 1 to {MAX_PARALLEL}"));
    }
    v1::Batch { max_items, max_tokens, parallel }
}

/// None: it says nothing of how the provider counts.
fn token_bound(path: &str, bound: &TokenBound, errors: &mut FieldErrors) -> Option<v1::TokenBound> {
    let TokenBound { encoding, array_encoding, max_per_byte, max_per_input } = bound;
    if array_encoding.is_some() && encoding.is_none() && max_per_byte.is_none() && max_per_input.is_none() {
        return None;
    }
    Some(if let Some(encoding) = encoding {
        if max_per_byte.is_some() || max_per_input.is_some() {
            errors.add(format!("{path}.tokens"), "an encoding counts exactly: leave maxPerByte and maxPerInput out");
        }
        v1::TokenBound::Encoding(contracts(*encoding))
    } else {
        if *max_per_byte == Some(0) {
            errors.add(format!("{path}.tokens.maxPerByte"), "must be at least 1");
        }
        let unknown = UNKNOWN_TOKENIZER;
        v1::TokenBound::Factor(v1::Factor {
            max_per_byte: max_per_byte.unwrap_or(unknown.max_per_byte),
            max_per_input: max_per_input.unwrap_or(unknown.max_per_input),
        })
    })
}

/// What token arrays for the built-in model are of: there `encoding` can say nothing else. Their texts are counted by its own tokenizer:
/// a bound would not hold there.
fn encoding_of_arrays(path: &str, bound: &TokenBound, errors: &mut FieldErrors) -> Option<v1::Encoding> {
    let TokenBound { encoding, array_encoding, max_per_byte, max_per_input } = bound;
    if max_per_byte.is_some() || max_per_input.is_some() {
        errors.add(
            format!("{path}.tokens"),
            "the built-in model counts its own tokens: leave maxPerByte and maxPerInput out",
        );
    }
    array_encoding.or(*encoding).map(contracts)
}

fn contracts(encoding: TokenEncoding) -> v1::Encoding {
    match encoding {
        TokenEncoding::cl100k_base => v1::Encoding::cl100k_base,
    }
}

/// What is assumed of a tokenizer that nobody described: no more than one token a byte, and up to eight that the server
/// adds to each input (classification and separator tokens, a leading space, a short instruction).
pub(crate) const UNKNOWN_TOKENIZER: v1::Factor = v1::Factor { max_per_byte: 1, max_per_input: 8 };
