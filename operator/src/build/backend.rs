//! A backend of the contract, with the file of its credential.

use std::collections::BTreeMap;

use vectoll_config::{
    ModelPattern,
    v1::{self, Factor, native::Api},
};

use crate::{
    observed_state::ObservedState,
    resolve::{ResolvedRoute, content_of, credential_file, model_of, price_of},
    validate::{Auth, Credential, Native, OpenAi, UNKNOWN_TOKENIZER, ValidBackend, ValidProvider},
};

/// Whether what the backend needs of Secrets is there.
pub(super) fn is_complete(route: &ResolvedRoute, backend: &ValidBackend, observed: &ObservedState) -> bool {
    backend.credentials().all(|credential| content_of(credential, route.name.namespace(), observed).is_ok())
}

pub(super) fn backend_of(
    route: &ResolvedRoute,
    backend: &ValidBackend,
    public: &ModelPattern,
    observed: &ObservedState,
    credentials: &mut BTreeMap<String, Vec<u8>>,
) -> v1::Backend {
    let price_per_million_tokens = price_of(backend, public, &observed.pricing);
    let ValidBackend {
        name,
        model,
        space: _,
        priority,
        weight,
        provider,
        called: _,
        price: _,
        discount: _,
        tokens,
        token_arrays,
        max_input_tokens,
        timeout_seconds,
        limits,
        budgets,
        batch,
        ca,
        headers,
    } = backend;
    let mut deliver = |credential: &Credential| {
        let namespace = route.name.namespace();
        let file = credential_file(namespace, credential);
        // A route with a credential that is not there has no backends: this is only reached with one that is.
        if let Ok(content) = content_of(credential, namespace, observed) {
            credentials.insert(file.clone(), content);
        }
        file
    };
    let known = model_of(backend, public).and_then(|model| observed.pricing.encoding(model));
    let counted = |unknown: Factor| {
        tokens.unwrap_or_else(|| known.map_or(v1::TokenBound::Factor(unknown), v1::TokenBound::Encoding))
    };
    let mut of_arrays = *token_arrays;
    let (provider, tokens) = match provider {
        // Counted by its own tokenizer, whatever encoding its callers cut their texts with.
        ValidProvider::Builtin => (
            // Among its settings: sidecars have known it there for longer.
            v1::Provider::Builtin(v1::Builtin { token_arrays: of_arrays.take() }),
            v1::TokenBound::Builtin(v1::BuiltinTokenizer {}),
        ),
        ValidProvider::OpenAi(OpenAi { base_url, organization, project, credential, identity }) => {
            let provider = v1::OpenAi {
                base_url: base_url.clone(),
                credential_file: credential.as_ref().map(&mut deliver),
                workload_identity: identity.clone(),
                organization: organization.clone(),
                project: project.clone(),
            };
            (v1::Provider::OpenAi(provider), counted(UNKNOWN_TOKENIZER))
        }
        ValidProvider::Native(Native { base_url, api, auth }) => {
            let auth = match auth {
                Auth::Without(auth) => auth.clone(),
                Auth::With(credential, presented) => presented.with_file(deliver(credential)),
            };
            let tokens = counted(tokenizer_of(api));
            (v1::Provider::Native(v1::Native { base_url: base_url.clone(), api: api.clone(), auth }), tokens)
        }
    };
    let ca_file = ca.as_ref().map(deliver);
    v1::Backend {
        name: name.clone(),
        model: model.clone(),
        priority: *priority,
        weight: *weight,
        provider,
        price_per_million_tokens,
        tokens,
        token_arrays: of_arrays,
        max_input_tokens: *max_input_tokens,
        timeout_seconds: *timeout_seconds,
        limits: *limits,
        budgets: budgets.clone(),
        batch: *batch,
        ca_file,
        headers: headers.clone(),
    }
}

/// What is assumed of a provider's tokenizers, where it puts an instruction of its own before each input.
fn tokenizer_of(api: &Api) -> Factor {
    let instruction = match api {
        // "Represent the query for retrieving supporting documents: " is the longest of Voyage's; Jina's are of that length.
        Api::Voyage(_) | Api::Jina(_) => 64,
        // "passage: ", and what it is in other models.
        Api::Nvidia(_) => 16,
        Api::Databricks(settings) => settings.query_instruction.as_ref().map_or(0, String::len),
        Api::AzureOpenAi(_)
        | Api::Bedrock(_)
        | Api::Cohere(_)
        | Api::Gemini(_)
        | Api::HuggingFace(_)
        | Api::Mistral(_)
        | Api::Ollama(_)
        | Api::SageMaker(_)
        | Api::VertexAi(_)
        | Api::Watsonx(_) => 0,
    };
    let Factor { max_per_byte, max_per_input } = UNKNOWN_TOKENIZER;
    let instruction = u32::try_from(instruction).unwrap_or(u32::MAX);
    Factor { max_per_byte, max_per_input: max_per_input.saturating_add(instruction) }
}
