//! The operator: turns ApiKey, Team and ModelRoute resources into the config that sidecars serve by.
//!
//! The way of a change is [`judge::judge`], a pure function: gather (a [`world::World`] of objects) → validate
//! (each spec once, into types) → resolve (references, consent, conflicts) → build (the contract and its credentials),
//! with conditions for every resource. [`standalone`] drives it from a folder of manifests, without a cluster. [`store`] is who may log in where sidecars count together, [`books`] what they have written there.

pub mod books;
mod build;
pub mod cli;
pub mod cluster;
mod condition;
mod consent;
mod dispatch;
pub mod inject;
pub mod judge;
pub mod key_secret;
mod log;
pub mod mint;
mod price;
pub mod provider_hosts;
mod resolve;
mod spread;
pub mod standalone;
pub mod store;
mod try_call;
mod validate;
pub mod webhook;
pub mod world;
