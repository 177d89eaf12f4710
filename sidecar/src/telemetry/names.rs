//! The conventions' names.

use clap::ValueEnum;

/// Which names the GenAI metrics have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Conventions {
    /// Those of embeddings, in development: `gen_ai.client.embeddings.duration`, `gen_ai.client.embeddings.operation.input_tokens`.
    #[default]
    Development,
    /// Those of the releases until now: `gen_ai.client.operation.duration`, `gen_ai.client.token.usage`.
    Released,
}

impl Conventions {
    /// The histogram of durations.
    pub(super) fn duration(self) -> &'static str {
        match self {
            Self::Development => "gen_ai.client.embeddings.duration",
            Self::Released => "gen_ai.client.operation.duration",
        }
    }

    /// What it is, in the conventions' words.
    pub(super) fn duration_description(self) -> &'static str {
        match self {
            Self::Development => "GenAI client embeddings operation duration.",
            Self::Released => "GenAI operation duration.",
        }
    }

    /// What the histogram of tokens is, in the conventions' words.
    pub(super) fn tokens_description(self) -> &'static str {
        match self {
            Self::Development => "The number of input tokens used per embeddings operation.",
            Self::Released => "Number of input and output tokens used.",
        }
    }

    /// The histogram of tokens.
    pub(super) fn tokens(self) -> &'static str {
        match self {
            Self::Development => "gen_ai.client.embeddings.operation.input_tokens",
            Self::Released => "gen_ai.client.token.usage",
        }
    }
}

/// GenAI attributes.
pub(super) mod gen_ai {
    pub(in super::super) const OPERATION: &str = "gen_ai.operation.name";
    pub(in super::super) const PROVIDER: &str = "gen_ai.provider.name";
    pub(in super::super) const MODEL: &str = "gen_ai.request.model";
    pub(in super::super) const DIMENSIONS: &str = "gen_ai.embeddings.dimension.count";
    pub(in super::super) const ENCODING_FORMATS: &str = "gen_ai.request.encoding_formats";
    pub(in super::super) const INPUT_TOKENS: &str = "gen_ai.usage.input_tokens";
    pub(in super::super) const TOKEN_TYPE: &str = "gen_ai.token.type";
    /// The one operation.
    pub(in super::super) const EMBEDDINGS: &str = "embeddings";
}

/// Attributes of HTTP servers, and those that all kinds of spans share.
pub(super) mod common {
    pub(in super::super) const METHOD: &str = "http.request.method";
    pub(in super::super) const STATUS: &str = "http.response.status_code";
    pub(in super::super) const ROUTE: &str = "http.route";
    pub(in super::super) const PATH: &str = "url.path";
    pub(in super::super) const SCHEME: &str = "url.scheme";
    pub(in super::super) const CLIENT: &str = "client.address";
    pub(in super::super) const SERVER: &str = "server.address";
    pub(in super::super) const PORT: &str = "server.port";
    pub(in super::super) const ERROR: &str = "error.type";
}

/// What is said of a call here, as in the access log.
pub(super) mod vectoll {
    pub(in super::super) const CALL_ID: &str = "vectoll.call_id";
    pub(in super::super) const NAMESPACE: &str = "vectoll.namespace";
    pub(in super::super) const KEY: &str = "vectoll.key";
    pub(in super::super) const TEAM: &str = "vectoll.team";
    pub(in super::super) const USER: &str = "vectoll.user";
    pub(in super::super) const MODEL: &str = "vectoll.model";
    pub(in super::super) const ROUTE: &str = "vectoll.route";
    pub(in super::super) const BACKEND: &str = "vectoll.backend";
    pub(in super::super) const COST: &str = "vectoll.cost_usd";
    pub(in super::super) const USAGE: &str = "vectoll.usage";
    pub(in super::super) const OVERHEAD: &str = "vectoll.overhead_ms";
    pub(in super::super) const RETRIES: &str = "vectoll.retries";
    pub(in super::super) const HEDGES: &str = "vectoll.hedges";
    pub(in super::super) const SCOPE: &str = "vectoll.scope";
    pub(in super::super) const REASON: &str = "vectoll.reason";
    pub(in super::super) const WOULD_REJECT: &str = "vectoll.would_reject";
}
