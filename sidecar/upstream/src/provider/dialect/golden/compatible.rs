use serde_json::json;

use super::{queries, sent};
use crate::provider::dialect::{Capabilities, Dialect, compatible::by_root};

#[test]
fn a_service_is_known_by_its_address_and_asked_in_openais_shape() {
    for (root, name, items, tokens) in [
        ("https://api.openai.com/v1/", "openai", 2048, Some(300_000)),
        ("https://api.together.ai/v1", "together_ai", 2048, None),
        ("https://api.fireworks.ai/inference/v1", "fireworks_ai", 2048, None),
        ("https://api.deepinfra.com/v1/openai", "deep_infra", 1024, None),
        ("https://api.tokenfactory.nebius.com/v1", "nebius", 2048, None),
        ("https://openrouter.ai/api/v1/", "open_router", 2048, None),
        ("http://vllm.models.svc:8000/v1", "openai", 2048, None),
    ] {
        let dialect = by_root(root);
        assert_eq!((dialect.name(), dialect.capabilities("any")), (name, Capabilities { items, tokens }), "{root}");
        let (path, body) = sent(&dialect, &queries("BAAI/bge-m3", 1, 256));
        assert_eq!(
            (&*path, &body["input"], &body["dimensions"]),
            ("/embeddings", &json!(["The food was delicious."]), &json!(256))
        );
    }
}
