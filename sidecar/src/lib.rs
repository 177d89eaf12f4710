//! The sidecar: OpenAI-compatible embeddings on localhost, held to limits and budgets, with spend in integers.
//!
//! The request path is one function, [`proxy::Proxy::embeddings`], and reads
//! `authenticate → read the call → admit against limits and budgets → pick a backend → send → settle`.
//! What it serves by is a [`policy::Policy`], compiled from the config folder and swapped on change ([`reload`]).
//! Counters and books live beside it ([`accounting`]), so that a reload resets nothing.

pub mod access;
pub mod accounting;
pub mod answer;
mod atomic_file;
pub mod authenticate;
pub mod background;
pub mod balance;
pub mod builtin;
pub mod cache;
pub mod call;
pub mod call_id;
pub mod charge;
pub mod clock;
pub mod counters;
pub mod credential;
mod descriptors;
pub mod health;
pub mod health_check;
pub mod journal;
pub mod keep;
pub mod ledger;
pub mod line;
pub mod logging;
pub mod memory;
pub mod metrics;
pub mod policy;
pub mod provider;
pub mod proxy;
pub mod quota_headers;
pub mod refusal;
pub mod reload;
pub mod request;
pub mod server;
pub mod settings;
mod start;
pub mod store;
pub mod tokens;
pub mod used;
pub mod vectors;

pub use start::run;
