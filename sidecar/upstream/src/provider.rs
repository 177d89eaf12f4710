//! The providers that a backend can be, and how to reach those that are elsewhere.

pub mod ask;
pub mod content;
pub mod dialect;
mod dns;
pub mod egress;
pub mod egress_policy;
pub mod endpoint;
pub mod gateway;
pub mod http;
pub mod outgoing;
pub mod pool;
pub mod remote;
pub mod retry_after;
mod sent_flag;
pub mod trust;
mod user_agent;

pub use remote::{HttpProvider, Journalled};
pub use sent_flag::SentFlag;

/// How to speak to a backend.
#[derive(Debug)]
pub enum Provider {
    /// One that is elsewhere.
    Remote(Box<HttpProvider>),
    /// The model inside this program.
    Builtin,
    /// No provider: what is kept of their answers.
    Cache,
    /// Settings that nobody can call by, with the reason. Calls are refused, and everything else is served: one owner's
    /// mistake must not take the config of all others along.
    Unusable(String),
}

impl Provider {
    /// Its host and port; none: it is not elsewhere.
    pub fn address(&self) -> Option<(&str, u16)> {
        match self {
            Self::Remote(remote) => remote.address(),
            Self::Builtin | Self::Cache | Self::Unusable(_) => None,
        }
    }

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
