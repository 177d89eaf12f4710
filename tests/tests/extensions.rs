//! Fields that OpenAI's API does not have: what providers with an API of their own are sent of them, in one request or in several, and what
//! is refused by its name before anything is sent. How providers with OpenAI's API get them is in `parts.rs`.

#![allow(clippy::indexing_slicing, clippy::float_cmp, reason = "a test")]

use serde_json::{Value, json};
use vectoll_tests::{
    caller::{Answer, Caller},
    manifest::{api_key, file, key_value, on_top, resource, secret, team},
    native::{Api, Server, cohere::Cohere, gemini::Gemini, hugging_face::HuggingFace, jina::Jina, voyage::Voyage},
    pair::Pair,
};

const KEY: &str = "a-key-kept-by-nobody";

/// A route to a provider, beside which its settings say more.
struct Route {
    model: &'static str,
    field: &'static str,
    provider: Server,
    spec: Value,
    backend: Value,
}

impl Route {
    async fn new(model: &'static str, field: &'static str, api: Box<dyn Api>) -> anyhow::Result<Self> {
        let provider = Server::start(api).await?;
        Ok(Self { model, field, provider, spec: json!({}), backend: json!({}) })
    }

    fn resource(&self) -> Value {
        let mut backend = json!({"name": "only", "model": self.model, "price": {"inputPerMillionTokens": "0.02"}});
        backend[self.field] =
            json!({"baseURL": self.provider.origin(), "apiKeySecretRef": {"name": "key", "key": "api-key"}});
        let spec = json!({"models": [self.model], "backends": [on_top(backend, self.backend.clone())]});
        resource("ModelRoute", self.field.to_ascii_lowercase().as_str(), on_top(spec, self.spec.clone()))
    }
}

async fn start(routes: &[Route]) -> anyhow::Result<(Pair, Caller)> {
    let mut all = vec![team("search", json!({})), secret("default", "key", json!({"api-key": KEY}))];
    all.extend(routes.iter().map(Route::resource));
    all.extend(api_key("alice", "search", json!({})));
    let pair = Pair::start(&[("all.yaml", file(all))]).await?;
    let caller = Caller::new(&pair.base_url(), &key_value("alice"))?;
    Ok((pair, caller))
}

/// A call with some fields more.
async fn call(caller: &Caller, model: &str, inputs: &[&str], fields: &Value) -> anyhow::Result<Answer> {
    let body = on_top(json!({"model": model, "input": inputs}), fields.clone());
    caller.post("/v1/embeddings", &body, &[]).await
}

#[tokio::test]
async fn each_provider_is_sent_the_fields_that_it_has() -> anyhow::Result<()> {
    let mut jina = Route::new("jina-embeddings-v3", "jina", Box::new(Jina { key: KEY })).await?;
    jina.backend = json!({"batch": {"maxItems": 2}});
    let mut gemini = Route::new("gemini-embedding-001", "gemini", Box::new(Gemini { key: KEY })).await?;
    gemini.backend = json!({"batch": {"maxItems": 2}});
    let routes = [
        jina,
        gemini,
        Route::new("embed-v4.0", "cohere", Box::new(Cohere { key: KEY })).await?,
        Route::new("voyage-3.5", "voyage", Box::new(Voyage { key: KEY })).await?,
        Route::new("bge", "huggingFace", Box::new(HuggingFace { key: KEY })).await?,
    ];
    let (pair, caller) = start(&routes).await?;
    for (model, fields, expected) in [
        ("jina-embeddings-v3", json!({"task": "text-matching"}), json!([["task", "text-matching"]])),
        // The caller's own word for it counts, whatever the route takes inputs for.
        (
            "jina-embeddings-v3",
            json!({"task": "separation", "input_type": "query", "truncate": true, "normalized": false}),
            json!([["task", "separation"], ["truncate", true], ["normalized", false]]),
        ),
        ("gemini-embedding-001", json!({"task_type": "CLUSTERING"}), json!([["taskType", "CLUSTERING"]])),
        ("gemini-embedding-001", json!({"title": "Menu"}), json!([["title", "Menu"]])),
        (
            "embed-v4.0",
            json!({"input_type": "classification", "truncate": "END", "max_tokens": 100}),
            json!([["input_type", "classification"], ["truncate", "END"], ["max_tokens", 100]]),
        ),
        ("embed-v4.0", json!({"embedding_types": ["float"], "truncate": "NONE"}), json!([])),
        ("voyage-3.5", json!({"truncation": true}), json!([["truncation", true]])),
        (
            "voyage-3.5",
            json!({"truncation": false, "output_dtype": "float", "task": null, "metadata": {"a": 1}}),
            json!([]),
        ),
        (
            "bge",
            json!({"truncate": true, "truncation_direction": "Left", "prompt_name": "query", "normalize": false}),
            json!([
                ["truncate", true],
                ["truncation_direction", "Left"],
                ["prompt_name", "query"],
                ["normalize", false]
            ]),
        ),
    ] {
        let answer = call(&caller, model, &["a", "b", "c"], &fields).await?;
        let number = answer.json["data"].as_array().map(Vec::len);
        assert_eq!((answer.status, number), (200, Some(3)), "{model} {fields}: {}", answer.message());
        let provider = routes.iter().find(|route| route.model == model).map(|route| &route.provider);
        let account = provider.map(Server::take).unwrap_or_default();
        assert_eq!(account.violations, Vec::<String>::new(), "{model} {fields}");
        // All requests have said the same, where there were several.
        assert_eq!(json!(account.extensions), json!([expected]), "{model} {fields}");
        let requests = if ["jina-embeddings-v3", "gemini-embedding-001"].contains(&model) { 2 } else { 1 };
        assert_eq!(account.requests, requests, "{model} {fields}");
    }
    assert_eq!(pair.metrics().await?.sum("vectoll_reservation_overrun_tokens_total", &[]), 0.0);
    Ok(())
}

#[tokio::test]
async fn what_has_no_place_and_what_no_answer_can_carry_is_refused_by_its_name() -> anyhow::Result<()> {
    let routes = [
        Route::new("voyage-3.5", "voyage", Box::new(Voyage { key: KEY })).await?,
        Route::new("embed-v4.0", "cohere", Box::new(Cohere { key: KEY })).await?,
        Route::new("gemini-embedding-001", "gemini", Box::new(Gemini { key: KEY })).await?,
    ];
    let (_pair, caller) = start(&routes).await?;
    for (model, field, value, code, words) in [
        (
            "voyage-3.5",
            "output_dtype",
            json!("int8"),
            "unsupported_field",
            "`output_dtype` must be \"float\": OpenAI's answer",
        ),
        (
            "embed-v4.0",
            "embedding_types",
            json!(["ubinary"]),
            "unsupported_field",
            "`embedding_types` must be [\"float\"]: ",
        ),
        ("embed-v4.0", "embedding_types", json!(["float", "int8"]), "unsupported_field", "`embedding_types` must be"),
        (
            "voyage-3.5",
            "task",
            json!("text-matching"),
            "unsupported_field",
            "whose backend in the ModelRoute is `jina` take it",
        ),
        ("voyage-3.5", "task_type", json!("CLUSTERING"), "unsupported_field", "is `gemini` or `vertexAI` take it"),
        ("voyage-3.5", "late_chunking", json!(true), "unsupported_field", "`late_chunking` has no place in the API"),
        ("voyage-3.5", "title", json!("a title"), "unsupported_field", "`title` has no place in the API"),
        ("voyage-3.5", "of_my_own", json!(1), "unsupported_field", "`of_my_own` has no place"),
        ("voyage-3.5", "output_dimension", json!(256), "unsupported_field", "write `dimensions`"),
        ("voyage-3.5", "truncation", json!("yes"), "", "`truncation` must be true or false"),
        ("embed-v4.0", "truncate", json!("LEFT"), "", "`truncate` must be one of \"NONE\", \"START\", \"END\""),
        ("embed-v4.0", "input_type", json!("image"), "", "`input_type` must be one of "),
        ("voyage-3.5", "input_type", json!("classification"), "", "`input_type` must be \"query\" or \"document\""),
        (
            "gemini-embedding-001",
            "title",
            json!("x".repeat(1025)),
            "",
            "`title` must be a text of 1 to 1024 characters",
        ),
    ] {
        let answer = call(&caller, model, &["a", "b"], &json!({field: value})).await?;
        assert_eq!((answer.status, answer.code()), (400, code), "{field}: {}", answer.message());
        assert!(answer.message().contains(words), "{}", answer.message());
    }
    for route in &routes {
        assert_eq!(route.provider.take().requests, 0, "{}", route.model);
    }
    Ok(())
}

#[tokio::test]
async fn inputs_that_are_one_text_are_sent_in_one_request_and_kept_by_no_cache() -> anyhow::Result<()> {
    let mut jina = Route::new("jina-embeddings-v3", "jina", Box::new(Jina { key: KEY })).await?;
    jina.backend = json!({"batch": {"maxItems": 3}});
    jina.spec = json!({"cache": {"ttlSeconds": 60}});
    let routes = [jina];
    let [Route { model, provider, .. }] = &routes;
    let (_pair, caller) = start(&routes).await?;
    let hits = |answer: &Answer| answer.header("x-vectoll-cache-hits").unwrap_or("none").to_owned();
    // What each input depends on alone is kept under what the call says, in whatever order it says it.
    for (fields, expected) in [
        (json!({"task": "text-matching"}), "0"),
        (json!({"task": "text-matching"}), "2"),
        (json!({"task": "separation"}), "0"),
        (json!({"normalized": false, "task": "separation"}), "0"),
        (json!({"task": "separation", "normalized": false}), "2"),
        (json!({}), "0"),
    ] {
        let answer = call(&caller, model, &["a", "b"], &fields).await?;
        assert_eq!((answer.status, hits(&answer).as_str()), (200, expected), "{fields}: {}", answer.message());
    }
    provider.take();
    // The same text twice is there twice.
    for _ in 0..2 {
        let answer = call(&caller, model, &["a", "b", "a"], &json!({"late_chunking": true})).await?;
        assert_eq!((answer.status, hits(&answer).as_str()), (200, "none"), "{}", answer.message());
        let account = provider.take();
        assert_eq!((account.requests, account.largest, account.violations.len()), (1, 3, 0));
        assert_eq!(account.extensions, [[("late_chunking", json!(true))]]);
    }
    let answer = call(&caller, model, &["a", "b", "c", "d"], &json!({"late_chunking": true})).await?;
    assert_eq!(answer.status, 400, "{}", answer.message());
    assert!(answer.message().starts_with("`late_chunking` makes the inputs one text"), "{}", answer.message());
    assert_eq!(provider.take().requests, 0);
    let answer = call(&caller, model, &["a", "b", "c", "d"], &json!({"late_chunking": false})).await?;
    assert_eq!(answer.status, 200, "{}", answer.message());
    Ok(())
}
