//! Inputs that are longer than the model takes, and calls that are larger than one call may be.

#![allow(clippy::indexing_slicing, clippy::float_cmp, reason = "a test")]

use serde_json::{Value, json};
use vectoll_tests::{
    caller::{Answer, Caller},
    manifest::{PROVIDER_KEY, api_key, file, key_value, on_top, resource, route, secret, team},
    pair::{Pair, Setup},
    provider::{Options, Provider},
};

/// What OpenAI's models take of one input.
const MAX_INPUT_TOKENS: usize = 8192;
const MODEL: &str = "text-embedding-3-small";

/// A text of so many tokens of `cl100k_base`, each of them a word of its own.
fn words(tokens: usize) -> String {
    let mut text = "word".to_owned();
    text.push_str(&" word".repeat(tokens - 1));
    text
}

fn backend(name: &str, provider: &Provider, more: Value) -> Value {
    let whole = json!({
        "name": name,
        "model": "bge-m3",
        "openAI": {"baseURL": provider.url(), "apiKeySecretRef": {"name": "provider", "key": "api-key"}},
        "price": {"inputPerMillionTokens": "0.02"},
    });
    on_top(whole, more)
}

async fn start(provider: &Provider) -> anyhow::Result<(Pair, Caller)> {
    let counted = json!({"tokens": {"encoding": "cl100k_base"}, "maxInputTokens": 16});
    let mut all = vec![
        team("search", json!({})),
        team("short", json!({"maxTokensPerCall": 12})),
        secret("default", "provider", json!({"api-key": PROVIDER_KEY})),
        resource(
            "ModelRoute",
            "cut",
            json!({"models": ["cut"], "truncate": "Start", "backends": [backend("one", provider, counted.clone())]}),
        ),
        resource(
            "ModelRoute",
            "kept",
            json!({"models": ["kept"], "truncate": "End", "cache": {"ttlSeconds": 60}, "backends": [backend("one", provider, counted.clone())]}),
        ),
        // One of them takes more, so the call is not refused here.
        resource(
            "ModelRoute",
            "two",
            json!({"models": ["two"], "backends": [backend("one", provider, counted), backend("two", provider, json!({"tokens": {"encoding": "cl100k_base"}, "maxInputTokens": 32}))]}),
        ),
        resource(
            "ModelRoute",
            "unknown",
            json!({"models": ["unknown"], "backends": [backend("one", provider, json!({}))]}),
        ),
    ];
    all.extend(route("openai", &[MODEL], &provider.url()));
    all.extend(api_key("alice", "search", json!({})));
    all.extend(api_key("few", "search", json!({"maxTokensPerCall": 10})));
    all.extend(api_key("of-short", "short", json!({"maxTokensPerCall": 50})));
    let pair = Pair::start_with(Setup::built()?, &[("all.yaml", file(all))]).await?;
    let caller = Caller::new(&pair.base_url(), &key_value("alice"))?;
    Ok((pair, caller))
}

/// What the provider was sent last.
fn sent(provider: &Provider) -> anyhow::Result<Value> {
    let requests = provider.requests();
    let body = &requests.last().ok_or_else(|| anyhow::anyhow!("nothing was sent"))?.body;
    Ok(serde_json::from_slice::<Value>(body)?["input"].clone())
}

fn refused(answer: &Answer, message: &str) {
    assert_eq!((answer.status, answer.code()), (400, "context_length_exceeded"), "{:?}", answer.json);
    assert_eq!(answer.json["error"]["param"], json!("input"));
    assert!(answer.message().starts_with(message), "{}", answer.message());
}

#[tokio::test]
async fn what_is_too_long_is_refused_by_its_number_before_anything_is_sent() -> anyhow::Result<()> {
    let provider = Provider::start(Options::new(PROVIDER_KEY)).await?;
    let (pair, caller) = start(&provider).await?;
    let longest = caller.embed(MODEL, json!(["a", words(MAX_INPUT_TOKENS)])).await?;
    assert_eq!((longest.status, longest.tokens()), (200, MAX_INPUT_TOKENS as u64 + 1), "{:?}", longest.json);
    assert_eq!(longest.header("x-vectoll-truncated"), None);
    // Of many bytes, and of few tokens: that is none of it.
    assert_eq!(caller.embed(MODEL, json!(" ".repeat(20_000))).await?.status, 200);
    let requests = provider.account().requests;
    let maximum = format!("This model's maximum context length is {MAX_INPUT_TOKENS} tokens, and ");
    for (input, rest) in [
        (json!(words(MAX_INPUT_TOKENS + 1)), format!("input[0] has {}:", MAX_INPUT_TOKENS + 1)),
        (
            json!(["a", "b", words(MAX_INPUT_TOKENS + 5), words(MAX_INPUT_TOKENS + 9)]),
            format!("input[2] has {}:", MAX_INPUT_TOKENS + 5),
        ),
        (json!(vec![5; MAX_INPUT_TOKENS + 3]), format!("input[0] has {}:", MAX_INPUT_TOKENS + 3)),
        (json!([[1], vec![5; MAX_INPUT_TOKENS + 4]]), format!("input[1] has {}:", MAX_INPUT_TOKENS + 4)),
        // So long that it need not be counted.
        (json!("word ".repeat(300_000)), "input[0] has at least 11719:".to_owned()),
    ] {
        refused(&caller.embed(MODEL, input).await?, &format!("{maximum}{rest}"));
    }
    assert_eq!(provider.account().requests, requests, "something was sent");
    let metrics = pair.metrics().await?;
    assert_eq!(metrics.value("vectoll_reservations", &[]), Some(0.0));
    assert_eq!(metrics.sum("vectoll_rejections_total", &[("scope", "model"), ("reason", "input_too_long")]), 5.0);
    Ok(())
}

#[tokio::test]
async fn what_is_too_long_is_cut_at_a_token_where_that_is_wanted() -> anyhow::Result<()> {
    let provider = Provider::start(Options::new(PROVIDER_KEY)).await?;
    let (_pair, caller) = start(&provider).await?;
    let post = async |model: &str, input: Value, headers: &[(&str, &str)]| {
        let answer =
            caller.post("/v1/embeddings", &json!({"model": model, "input": input, "tags": ["a"]}), headers).await?;
        anyhow::ensure!(answer.status == 200, "{:?}", answer.json);
        anyhow::Ok(answer)
    };
    let told = |answer: &Answer| {
        let header = |name| answer.header(name).map(str::to_owned);
        (header("x-vectoll-truncated"), header("x-vectoll-truncated-inputs"))
    };
    // By the call's own word, in each form of input.
    let (first, last) =
        (format!("first{}", " word".repeat(MAX_INPUT_TOKENS)), format!("{} last", words(MAX_INPUT_TOKENS)));
    let end = post(MODEL, json!(["a", first]), &[("x-vectoll-truncate", "end")]).await?;
    assert_eq!(told(&end), (Some("1".to_owned()), Some("1".to_owned())));
    assert_eq!(end.tokens(), MAX_INPUT_TOKENS as u64 + 1, "what is left is as much as may be");
    assert_eq!(sent(&provider)?, json!(["a", format!("first{}", " word".repeat(MAX_INPUT_TOKENS - 1))]));
    let start = post(MODEL, json!(last), &[("x-vectoll-truncate", "Start")]).await?;
    assert_eq!((told(&start).0.as_deref(), start.tokens()), (Some("1"), MAX_INPUT_TOKENS as u64));
    assert_eq!(sent(&provider)?, json!([format!("{} last", " word".repeat(MAX_INPUT_TOKENS - 1))]));
    let tokens: Vec<usize> = (0..MAX_INPUT_TOKENS + 2).map(|token| token % 1000).collect();
    post(MODEL, json!([[1, 2], tokens]), &[("x-vectoll-truncate", "start")]).await?;
    assert_eq!(sent(&provider)?, json!([[1, 2], tokens[2..]]));
    post(MODEL, json!(tokens), &[("x-vectoll-truncate", "end")]).await?;
    assert_eq!(sent(&provider)?, json!([tokens[..MAX_INPUT_TOKENS]]));

    // By the route's, whose backend says what it takes.
    let routed = post("cut", json!([words(17), "short", words(40), "last"]), &[]).await?;
    assert_eq!(told(&routed), (Some("2".to_owned()), Some("0,2".to_owned())));
    let left = " word".repeat(16);
    assert_eq!(sent(&provider)?, json!([left, "short", left, "last"]));
    // Not in the middle of a character: a crab is three tokens.
    let crabs = post("cut", json!("🦀".repeat(20)), &[("x-vectoll-truncate", "end")]).await?;
    assert_eq!((sent(&provider)?, crabs.tokens()), (json!(["🦀".repeat(5)]), 15));
    let refusing = json!({"model": "cut", "input": words(17)});
    let refusing = caller.post("/v1/embeddings", &refusing, &[("x-vectoll-truncate", "none")]).await?;
    refused(&refusing, "This model's maximum context length is 16 tokens, and input[0] has 17:");
    // What is kept is what is left.
    post("kept", json!(words(16)), &[]).await?;
    let kept = post("kept", json!(words(20)), &[]).await?;
    assert_eq!((kept.header("x-vectoll-cache-hits"), kept.header("x-vectoll-truncated")), (Some("1"), Some("1")));

    // A call goes on where one of the backends may take it.
    assert_eq!(caller.embed("two", json!(words(20))).await?.status, 200);
    refused(
        &caller.embed("two", json!(words(33))).await?,
        "This model's maximum context length is 32 tokens, and input[0] has 33:",
    );
    let both = post("two", json!(words(20)), &[("x-vectoll-truncate", "end")]).await?;
    assert_eq!(both.tokens(), 16, "whichever backend it goes to");

    // Where nobody knows the tokenizer nothing is done in silence.
    assert_eq!(caller.embed("unknown", json!(words(9000))).await?.status, 200);
    for (value, message) in
        [("end", "its tokenizer, or what it takes of one input, is not known here"), ("middle", "start, end or none")]
    {
        let body = json!({"model": "unknown", "input": "a"});
        let answer = caller.post("/v1/embeddings", &body, &[("x-vectoll-truncate", value)]).await?;
        assert_eq!(answer.status, 400);
        assert!(
            answer.message().contains("x-vectoll-truncate") && answer.message().contains(message),
            "{:?}",
            answer.json
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_call_that_is_larger_than_its_key_or_team_allows_is_refused_by_whose_bound_it_is() -> anyhow::Result<()> {
    let provider = Provider::start(Options::new(PROVIDER_KEY)).await?;
    let (pair, caller) = start(&provider).await?;
    let call = async |key: &str, model: &str, input: Value| caller.with_key(&key_value(key)).embed(model, input).await;
    assert_eq!(
        call("few", MODEL, json!([words(4), words(6)])).await?.status,
        200,
        "more bytes than tokens are allowed"
    );
    assert_eq!(call("of-short", MODEL, json!(words(12))).await?.status, 200);
    for (key, model, input, message) in [
        (
            "few",
            MODEL,
            json!([words(5), words(6)]),
            "The key default/few allows 10 tokens in one call (`maxTokensPerCall`), and this one has 11.",
        ),
        (
            "few",
            MODEL,
            json!([[1, 2, 3], vec![4; 8]]),
            "The key default/few allows 10 tokens in one call (`maxTokensPerCall`), and this one has at least 11.",
        ),
        (
            "of-short",
            MODEL,
            json!(words(13)),
            "The team default/short allows 12 tokens in one call (`maxTokensPerCall`), and this one has 13.",
        ),
        ("few", "unknown", json!("a"), ""),
        (
            "few",
            "unknown",
            json!("abc"),
            "The key default/few allows 10 tokens in one call (`maxTokensPerCall`), and this one may have up to 11: a bound by its bytes",
        ),
        // After it was cut; and whatever of it is kept.
        (
            "few",
            "kept",
            json!(words(40)),
            "The key default/few allows 10 tokens in one call (`maxTokensPerCall`), and this one has 16.",
        ),
    ] {
        let answer = call(key, model, input).await?;
        if message.is_empty() {
            assert_eq!(answer.status, 200, "{:?}", answer.json);
            continue;
        }
        assert_eq!((answer.status, answer.code()), (400, "max_tokens_per_call"), "{:?}", answer.json);
        assert!(answer.message().starts_with(message), "{}", answer.message());
    }
    assert_eq!(provider.account().requests, 3);
    let metrics = pair.metrics().await?;
    let reason = |scope| metrics.sum("vectoll_rejections_total", &[("scope", scope), ("reason", "tokens_per_call")]);
    assert_eq!((reason("key"), reason("team")), (4.0, 1.0));
    Ok(())
}
