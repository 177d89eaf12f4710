//! The operator: turns ApiKey, Team and ModelRoute resources into the config that sidecars serve by.
//!
//! The way of a change is [`reconcile::reconcile`], a pure function: gather (a [`world::World`] of objects) → validate
//! (each spec once, into types) → resolve (references, consent, conflicts) → build (the contract and its credentials),
//! with conditions for every resource. [`standalone`] drives it from a folder of manifests, without a cluster.

mod build;
pub mod cli;
mod condition;
mod consent;
pub mod mint;
mod price;
pub mod reconcile;
mod resolve;
pub mod standalone;
mod validate;
pub mod world;
