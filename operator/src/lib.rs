//! The operator: turns ApiKey, Team and ModelRoute resources into the config that sidecars serve by.
//!
//! The way of a change is [`desired_state::desired_state`], a pure function: gather (a [`observed_state::ObservedState`] of objects) → validate
//! (each spec once, into types) → resolve (references, consent, conflicts) → build (the contract and its credentials),
//! with conditions for every resource. [`standalone`] drives it from a folder of manifests, without a cluster. [`store`] is who may log in where sidecars count together, [`ledger`] what they have written there,
//! [`allocation`] what keys spend for, [`report`] the month's bill made of it, and `page` what people see of it in a browser. [`plugin`] is `kubectl vectoll`: what people look
//! at and change by hand.

pub mod allocation;
mod build;
pub mod cli;
pub mod cluster;
mod condition;
mod consent;
mod delivery;
pub mod desired_state;
mod dispatch;
mod import;
pub mod inject;
pub mod key_secret;
pub mod ledger;
mod listening;
mod log;
mod model_set;
pub mod observed_state;
mod page;
pub mod plugin;
mod price;
mod print_prices;
pub mod provider_hosts;
pub mod random;
mod reachable_models;
pub mod report;
mod resolve;
mod reviews;
mod spread;
pub mod standalone;
pub mod store;
mod try_call;
mod validate;
pub mod webhook;
