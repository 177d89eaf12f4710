//! The sidecar: OpenAI-compatible embeddings on localhost, held to limits and budgets, with spend in integers.
//!
//! The request path is one function, [`proxy::Proxy::embeddings`], and reads
//! `authenticate → read the call → admit against limits and budgets → pick a backend → send → settle`.
//! What it serves by is a [`policy::Policy`], compiled from the config folder and swapped on change ([`reload`]).
//! Counters and books live beside it ([`accounting`]), so that a reload resets nothing.

pub mod access;
pub mod accounting;
pub mod answer;
pub mod authenticate;
pub mod background;
pub mod cache;
pub mod call;
pub mod call_id;
pub mod client_address;
pub mod compute;
pub mod gateway;
pub mod header_text;
pub mod health_check;
pub mod logging;
pub mod memory;
pub mod metrics;
pub mod pod_token;
pub mod policy;
pub mod proxy;
pub mod quota_headers;
pub mod refusal;
pub mod reload;
pub mod server;
pub mod settings;
mod start;
pub mod telemetry;
pub mod tenancy;
mod tokenizer;
pub mod unauthorized;
pub mod via;

pub use start::run;
