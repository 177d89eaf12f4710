//! End-to-end tests of Vectoll, and what they stand on.
//!
//! - [`provider`]: an OpenAI-shaped embeddings provider that checks what it is sent, fails on request and keeps its own books;
//! - [`native`]: providers with APIs of their own, each played as strictly;
//! - [`pair`]: operator and sidecar as two processes, configured by the manifests that a user would apply (a crate of its own, as are
//!   [`caller`] and [`demo`]: whoever builds the demo builds nothing else);
//! - [`fleet`]: several sidecars that count in one store;
//! - [`wire`]: a pair for tests of what goes over the wire;
//! - [`manifest`] and [`caller`]: what users write, and what applications send;
//! - [`clouds`]: those who issue credentials, at their own names, in a network of the test's own;
//! - [`cluster`]: the operator against a real API server;
//! - [`browser`] and [`page`]: a real browser that looks at the page of a pair;
//! - [`collector`]: who is told of traces;
//! - [`cgroup`]: a bound on a program's memory;
//! - [`store`]: a real Valkey or Redis that can be killed and started again;
//! - [`clients`]: the official clients for Python and Node against a pair;
//! - [`demo`]: what `make demo` shows;
//! - [`documents`]: the pages, whose blocks and links tests check;
//! - [`bench`]: the sidecar against nginx as a plain reverse proxy.
//!
//! Nothing here knows the insides of operator or sidecar: it talks to their command lines, files and sockets, as users do.

pub use vectoll_pair::{caller, demo, pair};

pub mod bench;
pub mod browser;
pub mod cgroup;
pub mod clients;
pub mod clouds;
pub mod cluster;
pub mod collector;
pub mod documents;
pub mod fleet;
pub mod manifest;
pub mod native;
pub mod page;
pub mod provider;
pub mod store;
pub mod wire;
