//! The sidecar against nginx as a plain reverse proxy, in one run on one machine.
//!
//! What is compared first is the CPU time that a call costs, because that is what a sidecar takes from its pod, and it can be
//! measured well on a small or busy machine. Latency and memory are reported beside it.
//!
//! Core 0 belongs to the load generator and to a [`responder`] that answers from memory; core 1 to the proxy that is measured.
//! Only one proxy has load at any time, and they take turns in rounds, so that what else happens on the machine meets all of them.
//! nginx does nothing but pass on, and so does the [`relay`]; the sidecar has limits, budgets, log and metrics on, unless a
//! [`scenario`] says otherwise. What is found is a [`report`], and a page for each figure that is published ([`evidence`]).
//!
//! Instructions ([`instructions`]) are counted instead of timed: those of a call are the same on a busy machine, and a
//! [`baseline`] of them is held by a test.

pub mod baseline;
pub mod callgrind;
pub mod connection;
pub mod endpoint;
pub mod evidence;
pub mod gateway;
pub mod idle;
pub mod instructions;
pub mod issuer;
pub mod large;
mod listening;
pub mod load;
pub mod machine;
pub mod manifests;
pub mod many;
pub mod measure;
pub mod nginx;
pub mod payload;
pub mod procfs;
pub mod relay;
pub mod remark;
pub mod reply;
pub mod report;
pub mod request;
pub mod responder;
pub mod scenario;
pub mod scrape;
pub mod sink;
pub mod stage;
pub mod stages;
pub mod statistics;
pub mod subprocess;
pub mod tls;
pub mod volume;

/// The core of the load generator and the responder.
pub const LOAD_CORE: usize = 0;
/// The core of the proxies.
pub const PROXY_CORE: usize = 1;
/// The core of what is beside both, where there is one.
pub const THIRD_CORE: usize = 2;
