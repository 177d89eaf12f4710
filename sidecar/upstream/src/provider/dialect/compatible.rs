//! Services that speak OpenAI's API at an address of their own.
//!
//! Source: the addresses are those that public clients of each service call. How many inputs a service takes is known of
//! `DeepInfra` only, from its client in `LangChain`.

use super::open_ai::{ITEMS, OpenAi};

/// OpenAI's own API.
const OPEN_AI: &str = "https://api.openai.com/v1";

/// A service, and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Service {
    /// The label `provider`.
    pub name: &'static str,
    /// The root, to which `/embeddings` is appended.
    pub root: &'static str,
    /// The most inputs in a request.
    pub items: usize,
}

/// Those that are known: Together AI, Fireworks AI, `DeepInfra`, Nebius Token Factory, `OpenRouter`.
pub const SERVICES: [Service; 5] = [
    Service { name: "together_ai", root: "https://api.together.ai/v1", items: ITEMS },
    Service { name: "fireworks_ai", root: "https://api.fireworks.ai/inference/v1", items: ITEMS },
    Service { name: "deep_infra", root: "https://api.deepinfra.com/v1/openai", items: 1024 },
    Service { name: "nebius", root: "https://api.tokenfactory.nebius.com/v1", items: ITEMS },
    Service { name: "open_router", root: "https://openrouter.ai/api/v1", items: ITEMS },
];

/// How a server that speaks OpenAI's API is spoken to, by its root.
pub fn by_root(root: &str) -> OpenAi {
    const PATH: &str = "/embeddings";
    let root = root.trim_end_matches('/');
    if root == OPEN_AI {
        return OpenAi::new(PATH);
    }
    match SERVICES.iter().find(|service| service.root == root) {
        Some(service) => OpenAi::compatible(service.name, PATH, service.items),
        None => OpenAi::compatible("openai", PATH, ITEMS),
    }
}
