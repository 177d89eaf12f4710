//! The providers that a backend can be, and how to reach those that are elsewhere.

pub mod ask;
pub mod content;
mod departure;
pub mod dialect;
mod dns;
pub mod egress;
pub mod http;
pub mod pool;
pub mod reach;
pub mod remote;
pub mod retry_after;
pub mod to;
pub mod trust;

pub use departure::SentFlag;
pub use remote::{Journalled, Remote};

/// How to speak to a backend.
#[derive(Debug)]
pub enum Provider {
    /// One that is elsewhere.
    Remote(Box<Remote>),
    /// The model inside this program.
    Builtin,
    /// No provider: what is kept of their answers.
    Cache,
    /// Settings that nobody can call by, with the reason. Calls are refused, and everything else is served: one owner's
    /// mistake must not take the config of all others along.
    Unusable(String),
}

impl Provider {
    /// The label `provider`: the value of `gen_ai.provider.name` in OpenTelemetry's GenAI conventions, where it has one.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Remote(remote) => remote.dialect().name(),
            Self::Builtin => "builtin",
            Self::Cache => "cache",
            Self::Unusable(_) => "unusable",
        }
    }
}
