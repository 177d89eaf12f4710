//! The sidecar against nginx as a plain reverse proxy, in one run on one machine.
//!
//! What is compared is the CPU time that a request costs, because that is what a sidecar takes from its pod, and it can be
//! measured well on a small or busy machine. Latency and memory are told beside it.
//!
//! Core 0 belongs to the load generator and to a [`responder`] that answers from memory; core 1 to the proxy that is measured.
//! Only one proxy has load at any time, and they take turns in rounds, so that what else happens on the machine meets both.
//! nginx does nothing but pass on, and so does the [`relay`]; the sidecar has limits, budgets and metrics on.

pub mod instructions;
mod listening;
pub mod load;
pub mod manifests;
pub mod measure;
pub mod nginx;
pub mod payload;
pub mod procfs;
pub mod relay;
pub mod reply;
pub mod report;
pub mod responder;
pub mod statistics;

/// The core of the load generator and the responder.
pub const LOAD_CORE: usize = 0;
/// The core of the proxies.
pub const PROXY_CORE: usize = 1;
