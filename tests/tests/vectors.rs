//! Inputs and vectors: token arrays, both encodings, dimensions.

#![allow(
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::float_cmp,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a test"
)]

use serde_json::{Value, json};
use vectoll_tests::{
    caller::Caller,
    manifest::{api_key, file, key_value, resource, team},
    native::{Server, ollama::Ollama},
    pair::Pair,
    wire::stage,
};

#[tokio::test]
async fn token_arrays_become_text_where_their_encoding_is_known() -> anyhow::Result<()> {
    let (pair, provider, caller) = stage(&[]).await?;
    // "tiktoken is great!" in cl100k_base, by OpenAI's cookbook.
    let tokens = json!([83, 1609, 5963, 374, 2294, 0]);
    let text = caller.embed("text-embedding-3-large", json!("tiktoken is great!")).await?;
    for input in [tokens.clone(), json!([tokens])] {
        let answer = caller.embed("text-embedding-3-large", input).await?;
        assert_eq!((answer.status, answer.vector()), (200, text.vector()), "{:?}", answer.json);
        assert_eq!(answer.tokens(), 6, "who counts in tokens is charged for those");
    }
    // The first three bytes of a crab of four, as where a client cuts a long text: tiktoken reads U+FFFD there, too.
    let cut = caller.embed("text-embedding-3-large", json!([[9468, 99]])).await?;
    assert_eq!((cut.status, cut.tokens()), (200, 2), "{:?}", cut.json);
    let two = caller.embed("text-embedding-3-large", json!([[83, 1609], [374]])).await?;
    assert_eq!(two.json["data"].as_array().map(Vec::len), Some(2));
    let spent = |name: &'static str| {
        let pair = &pair;
        async move { anyhow::Ok(pair.metrics().await?.sum(name, &[])) }
    };
    let before = spent("vectoll_key_tokens_total").await?;
    for (model, input, words) in [
        ("builtin", json!([1, 2]), "nobody knows which encoding"),
        // The two ways out.
        ("builtin", json!([1, 2]), "check_embedding_ctx_length=False"),
        ("builtin", json!([1, 2]), "`tokens.arrayEncoding` on the ModelRoute's backend"),
        ("text-embedding-3-large", json!([100_257]), "tokens that are none"),
        ("text-embedding-3-large", json!([4_000_000_000_u32]), "tokens that are none"),
    ] {
        let answer = caller.embed(model, input).await?;
        assert_eq!(answer.status, 400, "{:?}", answer.json);
        assert!(
            answer.message().starts_with("Invalid input format") && answer.message().contains(words),
            "{:?}",
            answer.json
        );
    }
    assert_eq!(spent("vectoll_key_tokens_total").await?, before, "what was refused costs nothing");
    assert_eq!(spent("vectoll_reserved_tokens").await?, 0.0);
    // A provider that takes tokens gets them as they came.
    assert_eq!(caller.embed("text-embedding-3-small", tokens).await?.status, 200);
    assert_eq!(provider.account().requests, 1);
    Ok(())
}

#[tokio::test]
async fn vectors_come_in_the_encoding_that_was_asked_for_whatever_the_provider_does() -> anyhow::Result<()> {
    let (pair, provider, caller) = stage(&[]).await?;
    let texts = |number: usize| (0..number).map(|at| format!("text {at}")).collect::<Vec<_>>();
    for number in [1, 3, 300] {
        for format in ["float", "base64"] {
            let body = |model: &str| json!({"model": model, "input": texts(number), "encoding_format": format});
            let right = caller.post("/v1/embeddings", &body("text-embedding-3-small"), &[]).await?;
            let translated = caller.post("/v1/embeddings", &body("fault-other-encoding"), &[]).await?;
            assert_eq!((right.status, translated.status), (200, 200), "{:?}", translated.json);
            let vectors = |answer: &Value| -> Vec<Value> {
                answer["data"].as_array().into_iter().flatten().map(|item| item["embedding"].clone()).collect()
            };
            let bits = |vector: &Value| -> Vec<u32> {
                vector
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_f64)
                    .map(|one| (one as f32).to_bits())
                    .collect()
            };
            let (right, found) = (vectors(&right.json), vectors(&translated.json));
            assert_eq!(found.len(), number);
            if format == "base64" {
                assert!(right == found, "{number} {format}");
            } else {
                assert!(right.iter().map(bits).eq(found.iter().map(bits)), "{number} {format}");
                assert_eq!(found.first().map(|vector| bits(vector).len()), Some(1536));
            }
            assert_eq!(translated.json["usage"]["prompt_tokens"], translated.tokens());
            assert!(translated.header("x-litellm-response-cost").is_some(), "it is known before the headers go out");
        }
    }
    assert_eq!(pair.metrics().await?.sum("vectoll_key_tokens_total", &[]), provider.account().charged_tokens as f64);
    Ok(())
}

#[tokio::test]
async fn the_encoding_of_token_arrays_is_no_way_around_a_limit() -> anyhow::Result<()> {
    let (_pair, _provider, caller) = stage(&[]).await?;
    let few = caller.with_key(&key_value("few"));
    // One token in cl100k_base, 64 in the built-in model's own tokenizer.
    let dashes = few.embed("cut", json!("-".repeat(64))).await?;
    assert_eq!((dashes.status, dashes.code()), (429, "rate_limit_exceeded"), "{:?}", dashes.json);
    assert!(dashes.message().contains("it can never fit"), "{:?}", dashes.json);
    let tokens = few.embed("cut", json!([83, 1609, 5963, 374, 2294, 0])).await?;
    assert_eq!((tokens.status, tokens.tokens()), (200, 6), "{:?}", tokens.json);
    assert_eq!(few.embed("cut", json!([83, 1609, 5963, 374, 2294])).await?.status, 429, "four are left");
    Ok(())
}

#[tokio::test]
async fn tokens_that_become_text_are_weighed_as_the_text_that_is_sent() -> anyhow::Result<()> {
    let provider = Server::start(Box::new(Ollama)).await?;
    let text_only = |tokens: Value| {
        let backend = json!({
            "name": "only", "model": "nomic-embed-text", "ollama": {"baseURL": provider.origin()}, "tokens": tokens,
            "price": {"inputPerMillionTokens": "0.02"},
        });
        json!([backend])
    };
    let limit = |tokens: u64| json!({"limits": {"tokensPerMinute": tokens}});
    let mut all = vec![
        team("search", json!({})),
        // Nobody knows its tokenizer: at most one token a byte, and eight an input.
        resource(
            "ModelRoute",
            "bound",
            json!({"models": ["bound"], "backends": text_only(json!({"arrayEncoding": "cl100k_base"}))}),
        ),
        resource(
            "ModelRoute",
            "known",
            json!({"models": ["known"], "backends": text_only(json!({"encoding": "cl100k_base"}))}),
        ),
    ];
    for (name, tokens) in [("tight", 71), ("wide", 72), ("one", 1)] {
        all.extend(api_key(name, "search", limit(tokens)));
    }
    let pair = Pair::start(&[("all.yaml", file(all))]).await?;
    let caller = Caller::new(&pair.base_url(), "")?;
    let ask = async |key: &str, model: &str, input: &[u32]| {
        let caller = caller.with_key(&key_value(key));
        caller.embed(model, json!(input)).await
    };
    let dashes = bpe_openai::cl100k_base().encode(&"-".repeat(64));
    assert_eq!(dashes.len(), 1, "64 bytes in one token");
    let refused = ask("tight", "bound", &dashes).await?;
    assert_eq!((refused.status, refused.header("retry-after")), (429, None), "{}", refused.message());
    assert!(refused.message().contains("needs up to 72: that is a bound by its bytes"), "{}", refused.message());
    assert!(!refused.message().contains("never"), "a bound is no proof: {}", refused.message());
    assert_eq!(provider.take().requests, 0);
    let served = ask("wide", "bound", &dashes).await?;
    assert_eq!((served.status, served.tokens()), (200, 1), "{}", served.message());
    // Where the tokenizer is known the text is counted by it, and not the array: "to" and "ken" are a token each, "token" is one.
    let encode = |text: &str| bpe_openai::cl100k_base().encode(text);
    let two = [encode("to"), encode("ken")].concat();
    assert_eq!((two.len(), encode("token").len()), (2, 1));
    let served = ask("one", "known", &two).await?;
    assert_eq!((served.status, served.tokens()), (200, 1), "{}", served.message());
    assert_eq!(ask("one", "known", &two).await?.status, 429, "all of it is used");
    let metrics = pair.metrics().await?;
    assert_eq!(metrics.sum("vectoll_reservation_overrun_tokens_total", &[]), 0.0);
    Ok(())
}

#[tokio::test]
async fn vectors_have_as_many_numbers_as_were_asked_for_or_there_are_none() -> anyhow::Result<()> {
    let (pair, provider, caller) = stage(&[]).await?;
    for number in [1, 3, 300] {
        for format in [json!("float"), json!("base64")] {
            let body = |model: &str| json!({"model": model, "input": vec!["a"; number], "encoding_format": format, "dimensions": 256});
            let right = caller.post("/v1/embeddings", &body("text-embedding-3-small"), &[]).await?;
            assert_eq!(right.status, 200, "{number} {format}: {:?}", right.json);
            let wrong = caller.post("/v1/embeddings", &body("fault-full-dimensions"), &[]).await?;
            assert_eq!((wrong.status, wrong.code()), (502, "upstream_error"), "{number} {format}");
            assert!(
                wrong.message().starts_with("Backend default/openai/test: its vectors have 1536"),
                "{:?}",
                wrong.json
            );
            // The provider has done its work, and is paid.
            assert!(wrong.header("x-litellm-response-cost").is_some_and(|cost| cost != "0.00"), "{:?}", wrong.headers);
        }
    }
    let metrics = pair.metrics().await?;
    assert_eq!(metrics.sum("vectoll_key_tokens_total", &[]), provider.account().charged_tokens as f64);
    assert_eq!(metrics.sum("vectoll_unsettled_requests_total", &[]), 0.0);
    Ok(())
}

#[tokio::test]
async fn tokens_that_are_more_text_than_a_body_may_be_are_no_way_around_that_either() -> anyhow::Result<()> {
    let (_pair, _provider, caller) = stage(&["--max-body-bytes=65536"]).await?;
    // " great": six bytes, written in four digits and a comma.
    let answer = caller.embed("text-embedding-3-large", json!([vec![2294; 13_000]])).await?;
    assert_eq!((answer.status, answer.json["error"]["param"].as_str()), (413, Some("input")), "{}", answer.message());
    assert_eq!(caller.embed("text-embedding-3-large", json!([vec![2294; 10_000]])).await?.status, 200);
    Ok(())
}
