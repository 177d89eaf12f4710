use serde_json::json;

use super::{queries, sent};
use crate::provider::dialect::{
    Caps, Dialect,
    compatible::{DEEP_INFRA, FIREWORKS, NEBIUS, OPEN_ROUTER, TOGETHER},
};

#[test]
fn a_service_is_asked_in_openais_shape_at_its_own_address() {
    for (service, url, items) in [
        (TOGETHER, "https://api.together.xyz/v1/embeddings", 2048),
        (FIREWORKS, "https://api.fireworks.ai/inference/v1/embeddings", 2048),
        (DEEP_INFRA, "https://api.deepinfra.com/v1/openai/embeddings", 1024),
        (NEBIUS, "https://api.tokenfactory.nebius.com/v1/embeddings", 2048),
        (OPEN_ROUTER, "https://openrouter.ai/api/v1/embeddings", 2048),
    ] {
        let dialect = service.dialect();
        assert_eq!(dialect.name(), service.name);
        assert_eq!(dialect.caps("any"), Caps { items, tokens: None });
        let (path, body) = sent(&dialect, &queries("BAAI/bge-m3", 1, 256));
        assert_eq!(format!("{}{path}", service.root), url);
        assert_eq!(body, json!({"model": "BAAI/bge-m3", "input": ["The food was delicious."], "dimensions": 256}));
    }
}
