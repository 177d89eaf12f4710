//! ModelRoute: which provider serves a model, and what it costs.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    AllowedNamespaces, AzureOpenAi, Balance, Batch, Bedrock, Budget, Builtin, CaSecretRef, Cache, Coalesce, Cooldown,
    Databricks, Hedge, Hosted, Limits, ModelRouteStatus, Ollama, OpenAi, Retry, SageMaker, SelfHosted, VertexAi,
    Watsonx,
};

/// A ModelRoute: the public names of models, and the backends that serve them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "vectoll.dev",
    version = "v1alpha1",
    kind = "ModelRoute",
    plural = "modelroutes",
    namespaced,
    derive = "PartialEq",
    status = "ModelRouteStatus",
    cel,
    category = "vectoll",
    shortname = "mroute",
    doc = "A ModelRoute serves models under public names from one or several backends.",
    printcolumn(name = "Models", type_ = "string", json_path = ".spec.models"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("!(has(self.coalesce) && has(self.cache))")
    .message("a route that keeps vectors already asks for several texts at once: leave coalesce or cache out"))]
#[x_kube(validation = Rule::new("!(has(self.coalesce) && has(self.hedge))")
    .message("hedging would send each of the calls once more by itself: leave coalesce or hedge out"))]
#[x_kube(validation = Rule::new("!has(self.coalesce) || !self.backends.exists(b, has(b.builtin))")
    .message("the built-in model is sent no requests that could be saved: leave coalesce out, or the backend"))]
#[x_kube(validation = Rule::new("!has(self.coalesce) || !self.backends.exists(b, has(b.budgets) && size(b.budgets) > 0)")
    .message("what is owed to a provider with budgets is booked call by call: leave coalesce or the backend's budgets out"))]
pub struct ModelRouteSpec {
    /// The names that callers use: exact, or prefixes followed by `*`. Within a namespace the exact name wins, then
    /// the longer prefix; of two routes with the same name the older one wins.
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 253), regex(pattern = r"^[^*]*\*?$")))]
    pub models: Vec<String>,
    /// Namespaces whose keys may use this route, beside its own. Their pods receive its provider credentials, unless `delivery` is
    /// Gateway.
    #[serde(default)]
    pub allowed_namespaces: AllowedNamespaces,
    /// Tags of calls (the header `x-litellm-tags`, or `tags` in the body) whose spend is told apart in metrics and in the bill, beside those that the
    /// caller's Team lists. Other tags only stand in the access log.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128), inner(length(min = 1, max = 128)))]
    pub tags: Vec<String>,
    /// When a call is tried again that a backend did not serve.
    #[serde(default)]
    pub retry: Retry,
    /// When a call that has no answer yet is sent to a second backend as well. Absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hedge: Option<Hedge>,
    /// When calls of one text each travel together, as one request to the provider. Absent: each goes by itself. Not for the
    /// built-in model, and not together with `cache` or `hedge`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coalesce: Option<Coalesce>,
    /// When a backend that fails is left alone for a while.
    #[serde(default)]
    pub cooldown: Cooldown,
    /// How backends of one priority share the calls.
    #[serde(default)]
    pub balance: Balance,
    /// Keeps vectors for the next call with the same text. Absent: none are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<Cache>,
    /// The longest a call may take over all its attempts, in seconds. Absent: as long as its attempts take one after the
    /// other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i64>", range(min = 1, max = 3600))]
    pub timeout_seconds: Option<u32>,
    /// What inputs are whose call does not say (`input_type`), for models that tell queries and documents apart. Query: what is
    /// searched for. Document: what is found.
    #[serde(default)]
    pub input_type: InputType,
    /// What becomes of inputs that have more tokens than the model takes: End or Start is cut off, at a token, and a header of the answer
    /// says so. Absent: the call is refused with the input's number. Both where the model's tokenizer and its `maxInputTokens` are known;
    /// elsewhere calls go as they are. A call may say otherwise (header `x-vectoll-truncate`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncate: Option<Truncate>,
    /// Where calls go. Several of one priority share the calls by weight, and all must serve the same model.
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, b.name == a.name))")
        .message("backends have the same name: give each a name of its own"),
        merge_strategy = ListMerge::Map(vec!["name".to_owned()]))]
    pub backends: Vec<Backend>,
    /// Allows backends that serve different models. Their vectors cannot be compared with each other: leave it off
    /// unless no answer is ever compared with another one.
    #[serde(default)]
    pub mixed_spaces: bool,
    /// Who carries out its calls, and so who has the credentials and addresses of its backends. Sidecar: the sidecars of all pods whose
    /// keys may use it. Gateway: the gateway alone, which also decides on limits and budgets of these calls; sidecars pass them on to it.
    /// Absent: what the release says (`gateway.delivery` of the chart), by default Sidecar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
}

/// One place that serves the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("[has(self.openAI), has(self.builtin), has(self.azureOpenAI), has(self.bedrock), has(self.cohere), has(self.databricks), has(self.gemini), has(self.huggingFace), has(self.jina), has(self.mistral), has(self.nvidia), has(self.ollama), has(self.sageMaker), has(self.vertexAI), has(self.voyage), has(self.watsonx)].filter(x, x).size() == 1")
    .message("a backend has exactly one provider: set one of openAI, builtin, azureOpenAI, bedrock, cohere, databricks, gemini, huggingFace, jina, mistral, nvidia, ollama, sageMaker, vertexAI, voyage, watsonx"))]
#[x_kube(validation = Rule::new("!has(self.bedrock) || has(self.model)")
    .message("Bedrock's models each speak in a way of their own: set model"))]
#[x_kube(validation = Rule::new("!has(self.builtin) || !has(self.headers) || self.headers.size() == 0")
    .message("the built-in model is inside the sidecar, and no request is sent: leave headers out"))]
#[x_kube(validation = Rule::new("!has(self.builtin) || !has(self.caSecretRef)")
    .message("the built-in model is inside the sidecar, and no request is sent: leave caSecretRef out"))]
#[x_kube(validation = Rule::new("!has(self.budgets) || self.budgets.all(budget, !has(budget.warnAtPercent))")
    .message("warnAtPercent is for budgets of ApiKeys and Teams, whose status can warn: leave it out of a backend's budgets"))]
#[x_kube(validation = Rule::new("!has(self.builtin) || !has(self.maxInputTokens)")
    .message("the built-in model takes any number of tokens: leave maxInputTokens out"))]
#[x_kube(validation = Rule::new("!has(self.builtin) || !has(self.tokens) || (!has(self.tokens.maxPerByte) && !has(self.tokens.maxPerInput))")
    .message("the built-in model counts its own tokens: leave maxPerByte and maxPerInput out"))]
pub struct Backend {
    /// A name within the route, for metrics and logs.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// The model's name at the provider; by default the name that the caller used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub model: Option<String>,
    /// Which vectors it makes, where the model's name does not say it: backends of a route must agree. By default the model's
    /// name. Name it where one model has several names, as with deployments of one's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub space: Option<String>,
    /// Backends of the lowest number take all calls while one of them can; those of the next number the rest.
    #[serde(default)]
    #[schemars(with = "i64", range(min = 0, max = 1000))]
    pub priority: u32,
    /// The share of the calls among the route's backends of one priority. 0: none.
    #[serde(default = "one")]
    #[schemars(with = "i64", range(min = 0, max = 1_000_000))]
    pub weight: u32,
    /// OpenAI, or anything that speaks its embeddings API (vLLM, Text Embeddings Inference, Ollama's /v1, …).
    #[serde(default, rename = "openAI", skip_serializing_if = "Option::is_none")]
    pub open_ai: Option<OpenAi>,
    /// The model inside the sidecar: no account, no network. For quickstarts, development and tests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub builtin: Option<Builtin>,
    /// Azure OpenAI.
    #[serde(default, rename = "azureOpenAI", skip_serializing_if = "Option::is_none")]
    pub azure_open_ai: Option<AzureOpenAi>,
    /// Amazon Bedrock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bedrock: Option<Bedrock>,
    /// Cohere, by version 2 of its API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cohere: Option<Hosted>,
    /// Databricks Model Serving.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub databricks: Option<Databricks>,
    /// The Gemini API (Google AI Studio).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gemini: Option<Hosted>,
    /// A server of Hugging Face's Text Embeddings Inference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hugging_face: Option<SelfHosted>,
    /// Jina AI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jina: Option<Hosted>,
    /// Mistral AI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mistral: Option<Hosted>,
    /// NVIDIA NIM, a server of one's own or NVIDIA's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nvidia: Option<SelfHosted>,
    /// An Ollama server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ollama: Option<Ollama>,
    /// An endpoint of Amazon `SageMaker`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sage_maker: Option<SageMaker>,
    /// Vertex AI (Google Cloud).
    #[serde(default, rename = "vertexAI", skip_serializing_if = "Option::is_none")]
    pub vertex_ai: Option<VertexAi>,
    /// Voyage AI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voyage: Option<Hosted>,
    /// IBM watsonx.ai.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watsonx: Option<Watsonx>,
    /// What the provider charges; by default the list price of a well-known model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
    /// What the provider takes off that, in percent with at most two digits after the point, for example "12.5". By default what the
    /// release says of the provider (`providers.discounts` of the chart), and of a `price` nothing. Rounded up to a whole pico-USD a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 6), regex(pattern = r"^(100(\.0{1,2})?|[0-9]{1,2}(\.[0-9]{1,2})?)$"))]
    pub discount_percent: Option<String>,
    /// How a call's tokens are counted before it is made; by default known for well-known models, else one token a
    /// byte and eight an input; and what callers' token arrays are of. The built-in model counts by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<TokenBound>,
    /// The most tokens that the model takes of one input; by default known for `OpenAI`'s models. It holds where the tokenizer is known, too
    /// (`tokens.encoding`): a longer input is refused before the call is sent, or cut (`truncate`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i64>", range(min = 8, max = 1_000_000_000))]
    pub max_input_tokens: Option<u32>,
    /// The longest a call may take, from sending it to the last byte of the answer, in seconds.
    #[serde(default = "timeout_seconds")]
    #[schemars(with = "i64", range(min = 1, max = 3600))]
    pub timeout_seconds: u32,
    /// What the provider allows. Calls beyond go to another backend before the provider refuses them. With a store all sidecars
    /// count together, in all namespaces that use the route. Without one each sidecar counts its own calls only: then set the
    /// provider's limit divided by the number of pods.
    #[serde(default)]
    pub limits: Limits,
    /// What may be owed to the provider for calls to this backend. One whose budget is spent gives way to the next backend; where all are,
    /// calls are refused until the soonest of them begins anew. Counted as `limits` are. `warnAtPercent` is for `ApiKeys` and `Teams`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub budgets: Vec<Budget>,
    /// How calls are split that are more than the provider takes in one request.
    #[serde(default)]
    pub batch: Batch,
    /// The CAs that sign the provider's certificate, where they are not well-known ones, as inside a company or a cluster: a Secret
    /// with their certificates. Only they are trusted then, and only for this backend; those who issue its credentials (`stsURL`,
    /// `authority`, `iamURL`) are not meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<CaSecretRef>,
    /// Headers of every request to the provider, beside those that it gets anyway. No secrets: they stand here, and in configs, as
    /// they are; credentials have fields of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_owned()]))]
    pub headers: Vec<Header>,
}

/// A header of every request to a provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("!self.name.matches('(?i)^(accept|accept-encoding|api-key|authorization|connection|cookie|expect|host|keep-alive|openai-organization|openai-project|te|traceparent|tracestate|trailer|transfer-encoding|upgrade|user-agent|via|x-api-key|x-auth-token|x-goog-api-key|x-request-id|date|content-.*|proxy-.*|x-amz-.*|x-litellm-.*|x-forwarded-.*)$')")
    .message("the sidecar sets this header, or it says who calls, how the body reads or where the request goes: leave it out"))]
pub struct Header {
    /// Its name: letters, digits, - and _.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[A-Za-z0-9_-]+$"))]
    pub name: String,
    /// Its value: printable ASCII without white space around it.
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^[!-~]([ -~]*[!-~])?$"))]
    pub value: String,
}

/// What a backend charges.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Price {
    /// US dollars for a million input tokens, as a decimal string, for example "0.02". Up to six digits after the point.
    #[schemars(length(max = 16), regex(pattern = r"^[0-9]{1,6}(\.[0-9]{1,6})?$"))]
    pub input_per_million_tokens: String,
}

/// The most tokens that a text can become. Limits and budgets are held against this before a call, and corrected to
/// what the provider reports after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("!has(self.encoding) || (!has(self.maxPerByte) && !has(self.maxPerInput))")
    .message("an encoding counts exactly: leave maxPerByte and maxPerInput out"))]
pub struct TokenBound {
    /// The byte-pair encoding that the provider counts with: counts are then exact near a limit. Without `arrayEncoding` callers are
    /// taken to cut their token arrays with it, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<TokenEncoding>,
    /// The byte-pair encoding that callers cut their token arrays with, for a provider that takes text only and is given their text;
    /// by default `encoding`, or what is known of the model's public name. It says nothing of how the provider counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub array_encoding: Option<TokenEncoding>,
    /// The most tokens that one byte of UTF-8 can become. 1 for almost every tokenizer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i64>", range(min = 1, max = 16))]
    pub max_per_byte: Option<u32>,
    /// Tokens that are added to each input: special tokens, an instruction that the provider prepends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i64>", range(min = 0, max = 65_536))]
    pub max_per_input: Option<u32>,
}

/// OpenAI's byte-pair encodings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(non_camel_case_types, reason = "the encodings' own names")]
pub enum TokenEncoding {
    /// text-embedding-3-small, text-embedding-3-large, text-embedding-ada-002.
    cl100k_base,
}

/// What inputs are, for models that tell queries and documents apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum InputType {
    /// What is searched for.
    Query,
    /// What is found.
    #[default]
    Document,
}

/// Which part of an input is cut off that is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Truncate {
    /// Its beginning.
    Start,
    /// Its end.
    End,
}

/// Who carries out a route's calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Delivery {
    /// Each pod's own sidecar, to whose namespace the credentials are delivered.
    #[default]
    Sidecar,
    /// The gateway, which alone has the credentials.
    Gateway,
}

fn one() -> u32 {
    1
}

fn timeout_seconds() -> u32 {
    60
}
