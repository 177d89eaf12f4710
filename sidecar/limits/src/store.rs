//! The store: where the sidecars of a cluster count together.
//!
//! One exchange at a time tells the store what one sidecar has done for one Team and brings back what it may do
//! ([`protocol`]). The store decides by a function ([`vectoll_config::store::Library`], spoken to as [`script`] says); [`Model`] is the same in memory, which the simulation of
//! [`crate::counters::shared`] and the function's own tests hold it against. Names of keys are the contract's ([`vectoll_config::store`]).

mod ask;
mod backoff;
mod connect;
mod driver;
mod given_up;
mod heartbeat;
mod metrics;
mod model;
pub mod protocol;
mod run;
mod script;
mod served;
mod spend;
mod store_session;
mod threads;

pub use connect::StoreAccess;
pub use driver::Driver;
pub use metrics::StoreMetrics;
pub use model::{Model, Refusal, Server};
pub use script::{Value, decode, encode};
pub use served::Served;
#[cfg(test)]
pub(crate) use spend::periods_by_account;
pub use threads::ExchangeThreads;
