//! Version 1 of the contract, in the file `config.v1.yaml`.
//!
//! Everything in it has been decided: references are resolved, consent across namespaces is settled, prices are
//! looked up. What stays for the sidecar is to serve by it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{KeyHash, ModelPattern, ObjectName, PicoUsd, Price, StoreUrl, Uid, ZoneName};

pub mod native;

pub use native::Native;

/// The file's name in the config folder.
pub const FILE: &str = "config.v1.yaml";

/// All that a sidecar in one namespace is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// Always `v1`.
    pub version: Version,
    /// Grows by one with each change of content, for as long as the folder is kept.
    pub generation: u64,
    /// The namespace whose pods are served.
    pub namespace: String,
    /// Where all sidecars count together; absent: each counts for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<Store>,
    /// The Teams of the keys below.
    pub teams: Vec<Team>,
    /// The namespace's keys.
    pub keys: Vec<Key>,
    /// The routes that keys of this namespace may see.
    pub routes: Vec<Route>,
    /// Always the last line, so that a file cut short is refused and not served in part.
    pub complete: Complete,
}

/// `true`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "bool", into = "bool")]
pub struct Complete;

impl TryFrom<bool> for Complete {
    type Error = &'static str;
    fn try_from(value: bool) -> Result<Self, Self::Error> {
        if value { Ok(Self) } else { Err("must be true: the file was not finished") }
    }
}

impl From<Complete> for bool {
    fn from(_: Complete) -> Self {
        true
    }
}

/// The version tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Version {
    /// This version.
    #[serde(rename = "v1")]
    V1,
}

/// A Valkey or Redis that holds the limits, budgets and spend of all sidecars.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Store {
    /// Where it is, without credentials: see [`crate::StoreUrl`].
    pub url: StoreUrl,
    /// What tells the namespaces of one operator from those of others that share the store: see
    /// [`crate::store::namespace_prefix`]. Absent: nothing does, as outside a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// The user to log in as; absent: the default user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The file in the config folder that holds the user's password; absent: none is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<String>,
    /// The file in the config folder that holds the CA of the store's certificate, in PEM; absent: well-known CAs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// What holds while the store cannot be reached.
    #[serde(default, skip_serializing_if = "OnStoreFailure::is_local")]
    pub on_failure: OnStoreFailure,
}

/// What becomes of limited calls while the store cannot be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnStoreFailure {
    /// Each sidecar goes on with its share of what was left.
    #[default]
    Local,
    /// They are refused.
    Closed,
}

impl OnStoreFailure {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    fn is_local(&self) -> bool {
        *self == Self::Local
    }
}

/// What the keys of a Team share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Team {
    /// The Team's name, `namespace/name`.
    pub name: ObjectName,
    /// What its account is kept under.
    pub uid: Uid,
    /// Refuse all calls.
    #[serde(default, skip_serializing_if = "is_false")]
    pub suspended: bool,
    /// Where to look for a model's route, in this order.
    pub route_namespaces: Vec<String>,
    /// Models that may be used; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<ModelPattern>>,
    /// Limits on all calls.
    #[serde(default, skip_serializing_if = "Limits::is_none")]
    pub limits: Limits,
    /// Limits on one model or pattern.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub model_limits: Vec<ModelLimits>,
    /// Limits on each end user.
    #[serde(default, skip_serializing_if = "Limits::is_none")]
    pub user_limits: Limits,
    /// The Team's budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// Each end user's budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_budget: Option<Budget>,
    /// How many end users are told apart.
    pub max_users: u32,
    /// What holds for this Team while the store cannot be reached; absent: what the store's own setting says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_store_failure: Option<OnStoreFailure>,
    /// Tags of calls whose spend is counted on its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

/// A credential and what it may do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Key {
    /// The ApiKey's name, `namespace/name`.
    pub name: ObjectName,
    /// What its account is kept under.
    pub uid: Uid,
    /// The Team it belongs to: one of `teams`.
    pub team: ObjectName,
    /// The values that are valid for it.
    pub credentials: Vec<Credential>,
    /// The owner: the user of calls that name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Whether calls may name their user.
    #[serde(default, skip_serializing_if = "UserPolicy::is_request")]
    pub user_policy: UserPolicy,
    /// Models that may be used; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<ModelPattern>>,
    /// Limits on all calls.
    #[serde(default, skip_serializing_if = "Limits::is_none")]
    pub limits: Limits,
    /// Limits on one model or pattern.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub model_limits: Vec<ModelLimits>,
    /// Limits on each end user.
    #[serde(default, skip_serializing_if = "Limits::is_none")]
    pub user_limits: Limits,
    /// The key's budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// When it stops working.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Refuse all calls.
    #[serde(default, skip_serializing_if = "is_false")]
    pub suspended: bool,
}

/// One valid value of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Credential {
    /// Its SHA-256.
    pub sha256: KeyHash,
    /// When this value ends, though the key goes on: it was replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// Whose word decides the user of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum UserPolicy {
    /// The call's.
    #[default]
    Request,
    /// The key's: always its owner.
    Owner,
}

impl UserPolicy {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    fn is_request(&self) -> bool {
        *self == Self::Request
    }
}

/// Limits on a rate or on concurrency; absent: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Limits {
    /// Requests in any 60 seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u64>,
    /// Tokens in any 60 seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_per_minute: Option<u64>,
    /// Requests at the same moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parallel_requests: Option<u64>,
}

impl Limits {
    /// Whether nothing is limited.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// Limits on the models that a pattern covers, counted together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ModelLimits {
    /// The pattern.
    pub model: ModelPattern,
    /// The limits.
    pub limits: Limits,
}

/// Money for a period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Budget {
    /// How much.
    pub limit: PicoUsd,
    /// For how long.
    pub period: Period,
    /// By whose calendar.
    pub time_zone: ZoneName,
}

/// A stretch of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Period {
    /// Midnight to midnight.
    Daily,
    /// Monday to Monday.
    Weekly,
    /// The first of the month to the next.
    Monthly,
    /// For ever.
    Total,
}

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
    /// Vectors that are kept; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<Cache>,
    /// Where calls go. None: the route cannot serve at present, and keeps its names, so that no other route draws its
    /// callers' inputs.
    pub backends: Vec<Backend>,
}

/// When a call that has no answer yet is sent to a second backend as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Hedge {
    /// After so many milliseconds.
    pub delay_milliseconds: u32,
}

/// When a call is tried again that a backend did not serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Retry {
    /// The most attempts after the first.
    pub attempts: u32,
    /// Whether a backend that failed is tried again once all others have failed as well.
    #[serde(default, skip_serializing_if = "is_false")]
    pub same_backend: bool,
    /// The most retries among a hundred calls, over some time.
    pub budget_percent: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 2, same_backend: false, budget_percent: 20 }
    }
}

impl Retry {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// How vectors are kept for the next call with the same text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cache {
    /// For so many seconds.
    pub ttl_seconds: u32,
    /// At most so many bytes of them, in each sidecar.
    pub max_bytes: u64,
}

/// When a backend that fails is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cooldown {
    /// After so many failures one after the other; 0: never.
    pub failures: u32,
    /// For so many seconds the first time.
    pub seconds: u32,
}

impl Default for Cooldown {
    fn default() -> Self {
        Self { failures: 3, seconds: 30 }
    }
}

impl Cooldown {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    fn is_default(&self) -> bool {
        *self == Self::default()
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
    /// Seconds from sending a call to the last byte of its answer.
    pub timeout_seconds: u32,
    /// What the provider lets one sidecar ask of it: calls beyond go to another backend.
    #[serde(default, skip_serializing_if = "Limits::is_none")]
    pub limits: Limits,
    /// How calls are split that are more than the provider takes.
    #[serde(default, skip_serializing_if = "Batch::is_default")]
    pub batch: Batch,
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
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// How backends of one priority share the calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Balance {
    /// By weight.
    #[default]
    Weighted,
    /// The one that answers fastest takes them.
    LeastLatency,
}

impl Balance {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    fn is_weighted(&self) -> bool {
        *self == Self::Weighted
    }
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
    fn is_document(&self) -> bool {
        *self == Self::Document
    }
}

/// A provider and its settings.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Provider {
    /// OpenAI's API.
    #[serde(rename = "openAI")]
    OpenAi(OpenAi),
    /// The model inside the sidecar.
    Builtin(Builtin),
    /// A provider that speaks an API of its own.
    Native(Native),
}

impl Provider {
    /// The file in the config folder that the credential is in.
    pub fn credential_file(&self) -> Option<&str> {
        match self {
            Self::OpenAi(settings) => settings.credential_file.as_deref(),
            Self::Native(settings) => settings.credential_file(),
            Self::Builtin(_) => None,
        }
    }
}

/// Settings of a provider that speaks OpenAI's API.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OpenAi {
    /// The API's root.
    #[serde(rename = "baseURL")]
    pub base_url: String,
    /// The file in the config folder that holds the credential; absent: none is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential_file: Option<String>,
    /// `OpenAI-Organization`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<String>,
    /// `OpenAI-Project`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
}

/// Settings of the built-in model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Builtin {
    /// What token arrays are of; absent: what the model's public name says, if it says anything. It is no count: what a text
    /// costs goes by the built-in model's own tokenizer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_arrays: Option<Encoding>,
}

/// The built-in model's own tokenizer has no settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuiltinTokenizer {}

/// How many tokens an input can become at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TokenBound {
    /// A byte-level byte-pair encoding: at most one token a byte, and countable.
    Encoding(Encoding),
    /// The built-in model's own tokenizer: countable. Always that for the built-in model, and only for it.
    Builtin(BuiltinTokenizer),
    /// An unknown tokenizer: so many tokens a byte, and so many an input on top.
    Factor(Factor),
}

/// OpenAI's byte-pair encodings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(non_camel_case_types, reason = "the encodings' own names")]
pub enum Encoding {
    /// text-embedding-3-small, -large, ada-002: all of OpenAI's models for embeddings.
    cl100k_base,
}

/// A bound for a tokenizer that the sidecar does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Factor {
    /// The most tokens that one byte can become.
    pub max_per_byte: u32,
    /// Tokens added to each input.
    pub max_per_input: u32,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_false(value: &bool) -> bool {
    !value
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(value: &u32) -> bool {
    *value == 0
}
