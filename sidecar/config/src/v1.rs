//! Version 1 of the contract, in the file `config.v1.yaml`.
//!
//! Everything in it has been decided: references are resolved, consent across namespaces is settled, prices are
//! looked up. What stays for the sidecar is to serve by it.

use serde::{Deserialize, Serialize};

mod caller;
mod frame;
mod gateway;
mod left_out;
mod limits;
pub mod native;
mod period;
mod provider;
mod resilience;
mod route;
mod store;

pub(crate) use self::period::day_number;
pub use self::{
    caller::{Credential, Key, MAX_TREE_DEPTH, Team, UserPolicy},
    frame::{Complete, Version},
    gateway::{GATEWAY_FILE, Gateway, PassedOn},
    limits::{Budget, Extra, Limits, ModelLimits, TagLimits},
    native::Native,
    period::{MAX_DAYS, Period, PeriodError, StartError},
    provider::{Builtin, BuiltinTokenizer, Encoding, Factor, OpenAi, OpenAiIdentity, Provider, TokenBound},
    resilience::{Balance, Cache, Coalesce, Cooldown, Hedge, Retry},
    route::{Backend, Batch, Header, InputType, MIN_INPUT_TOKENS, Route, Truncate},
    store::{OnStoreFailure, Store},
};

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
    /// The Teams of the keys below, and those above them.
    pub teams: Vec<Team>,
    /// The namespace's keys.
    pub keys: Vec<Key>,
    /// The routes that keys of this namespace may see.
    pub routes: Vec<Route>,
    /// Always the last line, so that a file cut short is refused and not served in part.
    pub complete: Complete,
}
