//! The Helm chart: what it says of itself, what it renders, and how it lives in a cluster's API server.
//!
//! The API server is real, with a controller manager and without nodes: pods are made, and none runs. What runs is tested elsewhere.

#![allow(
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test"
)]

mod admitted;
mod cluster;
mod documents;
mod gitops;
mod health;
mod life;
mod metrics;
mod nulls;
mod page;
mod people;
mod privileges;
mod rendered;
mod routes;
mod said;
mod scoped;
mod store;
mod tool;
