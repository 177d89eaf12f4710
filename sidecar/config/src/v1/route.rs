//! Where calls go: routes and their backends.

use serde::{Deserialize, Serialize};

use super::{
    Balance, Budget, Cache, Coalesce, Cooldown, Encoding, Hedge, Limits, Provider, Retry, TokenBound, left_out::is_zero,
};
use crate::{ModelPattern, ObjectName, Price};

/// The least that a model can take of one input: as many tokens as one character may be, and some more. So something is left of every
/// input that is cut.
pub const MIN_INPUT_TOKENS: u32 = 8;

/// Public model names and the backends behind them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Route {
    /// The ModelRoute's name, `namespace/name`.
    pub name: ObjectName,
    /// The names it serves. Within one namespace no two routes have the same.
    pub models: Vec<ModelPattern>,
    /// Tags of calls whose spend is counted on its own, beside those of the caller's Team.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// When a call is tried again.
    #[serde(default, skip_serializing_if = "Retry::is_default")]
    pub retry: Retry,
    /// When a call that has no answer yet is sent to a second backend as well; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hedge: Option<Hedge>,
    /// When calls of one text each travel together; absent: each by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coalesce: Option<Coalesce>,
    /// When a backend that fails is left alone.
    #[serde(default, skip_serializing_if = "Cooldown::is_default")]
    pub cooldown: Cooldown,
    /// Seconds that a call may take over all its attempts; absent: as long as they take one after the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u32>,
    /// How backends of one priority share the calls.
    #[serde(default, skip_serializing_if = "Balance::is_weighted")]
    pub balance: Balance,
    /// What inputs are whose call does not say.
    #[serde(default, skip_serializing_if = "InputType::is_document")]
    pub input_type: InputType,
    /// What is cut off an input that is too long; absent: nothing, the call is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncate: Option<Truncate>,
    /// Vectors that are kept; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<Cache>,
    /// Where calls go. None: the route cannot serve at present, and keeps its names, so that no other route draws its
    /// callers' inputs.
    pub backends: Vec<Backend>,
}

impl Route {
    /// The files in the config folder that its backends name; one may be named more than once.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.backends.iter().flat_map(Backend::files)
    }
}

/// One place that serves the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Backend {
    /// A name within the route.
    pub name: String,
    /// Those of the lowest number take all calls while one of them can.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub priority: u32,
    /// The model's name at the provider; absent: as called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Its share of the calls.
    pub weight: u32,
    /// Who it is and how to speak to it.
    #[serde(with = "serde_yaml::with::singleton_map")]
    pub provider: Provider,
    /// What a million tokens cost; absent: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_per_million_tokens: Option<Price>,
    /// The most tokens that an input can become.
    #[serde(with = "serde_yaml::with::singleton_map")]
    pub tokens: TokenBound,
    /// What the token arrays of callers are of, for a provider that takes text only; absent: what it counts with, if that is an
    /// encoding, or what the model's public name says. The built-in model has a field of its own for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_arrays: Option<Encoding>,
    /// The most tokens that the model takes of one input; absent: what is known of it by its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_input_tokens: Option<u32>,
    /// Seconds from sending a call to the last byte of its answer.
    pub timeout_seconds: u32,
    /// What the provider lets one sidecar ask of it: calls beyond go to another backend.
    #[serde(default, skip_serializing_if = "Limits::is_none")]
    pub limits: Limits,
    /// What may be owed to the provider: calls beyond go to another backend.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub budgets: Vec<Budget>,
    /// How calls are split that are more than the provider takes.
    #[serde(default, skip_serializing_if = "Batch::is_default")]
    pub batch: Batch,
    /// The file in the config folder with the only CAs that its certificate may be signed by, in PEM; absent: well-known ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// Headers of every request to it, beside those that it gets anyway. No secrets: they stand here as they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<Header>,
}

impl Backend {
    /// The files in the config folder that it names.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.provider.credential_file().into_iter().chain(self.ca_file.as_deref())
    }
}

/// A header of requests to a provider.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Header {
    /// Its name.
    pub name: String,
    /// Its value: printable ASCII.
    pub value: String,
}

/// How calls are split that are more than a provider takes in one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Batch {
    /// The most inputs in a request; absent: what the provider documents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_items: Option<u32>,
    /// The most tokens in a request; absent: what the provider documents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u64>,
    /// How many requests of one call are sent side by side.
    pub parallel: u32,
}

impl Default for Batch {
    fn default() -> Self {
        Self { max_items: None, max_tokens: None, parallel: 8 }
    }
}

impl Batch {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Which part of an input is cut off that is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Truncate {
    /// Its beginning.
    Start,
    /// Its end.
    End,
}

/// What inputs are, for models that tell queries and documents apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum InputType {
    /// What is searched for.
    Query,
    /// What is found.
    #[default]
    Document,
}

impl InputType {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(super) fn is_document(&self) -> bool {
        *self == Self::Document
    }
}
