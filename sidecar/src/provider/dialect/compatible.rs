//! Services that speak OpenAI's API at an address of their own.
//!
//! Source: the addresses are those that public clients of each service call. How many inputs a service takes is known of
//! `DeepInfra` only, from its client in `LangChain`.

use super::open_ai::{ITEMS, OpenAi};

/// A service, and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Service {
    /// The label `provider`.
    pub name: &'static str,
    /// The root.
    pub root: &'static str,
    /// The way from the root to the API.
    pub path: &'static str,
    /// The most inputs in a request.
    pub items: usize,
}

/// Together AI.
pub const TOGETHER: Service =
    Service { name: "together_ai", root: "https://api.together.xyz", path: "/v1/embeddings", items: ITEMS };
/// Fireworks AI.
pub const FIREWORKS: Service =
    Service { name: "fireworks_ai", root: "https://api.fireworks.ai", path: "/inference/v1/embeddings", items: ITEMS };
/// Deep Infra.
pub const DEEP_INFRA: Service =
    Service { name: "deep_infra", root: "https://api.deepinfra.com", path: "/v1/openai/embeddings", items: 1024 };
/// Nebius Token Factory.
pub const NEBIUS: Service =
    Service { name: "nebius", root: "https://api.tokenfactory.nebius.com", path: "/v1/embeddings", items: ITEMS };
/// `OpenRouter`.
pub const OPEN_ROUTER: Service =
    Service { name: "open_router", root: "https://openrouter.ai", path: "/api/v1/embeddings", items: ITEMS };

impl Service {
    /// How it is spoken to.
    pub fn dialect(&self) -> OpenAi {
        OpenAi::compatible(self.name, self.path, self.items)
    }
}
