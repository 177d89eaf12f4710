//! Calls that are more than a provider takes at once, sent in parts to one that understands callers' bodies: each part says what
//! the call says.

#![allow(clippy::indexing_slicing, reason = "a test")]

use serde_json::{Value, json};
use vectoll_ledger::journal::{Covered, Journal, JournalMetrics, Options as JournalOptions, Retention};
use vectoll_tests::{
    caller::{Answer, Caller},
    manifest::{PROVIDER_KEY, api_key, file, key_value, route, team},
    pair::Pair,
    provider::{Options, Provider, Recorded},
};

const MODEL: &str = "text-embedding-3-small";

/// A model of any name, of whose tokens nothing is known, and which takes two inputs at a time.
async fn start() -> anyhow::Result<(Pair, Provider, Caller)> {
    let provider = Provider::start(Options::new(PROVIDER_KEY)).await?;
    let mut all = vec![team("search", json!({}))];
    let mut routes = route("openai", &["any"], &provider.url());
    let backend = &mut routes[0]["spec"]["backends"][0];
    backend["model"] = json!(MODEL);
    backend["batch"] = json!({"maxItems": 2});
    backend["tokens"] = json!({"maxPerByte": 1, "maxPerInput": 3});
    all.extend(routes);
    all.extend(api_key("alice", "search", json!({})));
    let pair = Pair::start(&[("all.yaml", file(all))]).await?;
    let caller = Caller::new(&pair.base_url(), &key_value("alice"))?;
    Ok((pair, provider, caller))
}

/// What the provider was sent since a request, in the order of the inputs.
fn sent(provider: &Provider, from: usize) -> anyhow::Result<Vec<Value>> {
    let mut bodies: Vec<Value> =
        provider.requests()[from..].iter().map(Recorded::json).collect::<anyhow::Result<_>>()?;
    bodies.sort_by_key(|body| body["input"].to_string());
    Ok(bodies)
}

fn vector(answer: &Answer, at: usize) -> &Value {
    &answer.json["data"][at]["embedding"]
}

#[tokio::test]
async fn parts_say_what_the_call_says_of_its_inputs_and_its_user() -> anyhow::Result<()> {
    let (pair, provider, caller) = start().await?;
    // One of the words that everyone knows, and one that this provider alone may know.
    for word in ["query", "classification"] {
        let from = provider.requests().len();
        let body = json!({"model": "any", "input": ["a", "b", "c", "d", "e"], "input_type": word, "user": "u-1"});
        let answer = caller.post("/v1/embeddings", &body, &[]).await?;
        assert_eq!(
            (answer.status, answer.json["data"].as_array().map(Vec::len)),
            (200, Some(5)),
            "{}",
            answer.message()
        );
        let bodies = sent(&provider, from)?;
        assert_eq!(
            bodies.iter().map(|body| &body["input"]).collect::<Vec<_>>(),
            [&json!(["a", "b"]), &json!(["c", "d"]), &json!(["e"])]
        );
        for body in bodies {
            assert_eq!((&body["input_type"], &body["user"]), (&json!(word), &json!("u-1")));
        }
    }
    assert_eq!(provider.account().violations, Vec::<String>::new());
    // The journal has in how many requests a call went: after a restart it counts as so many at its backend.
    assert_eq!(caller.embed("any", json!("a")).await?.status, 200);
    let copy = tempfile::tempdir()?;
    std::fs::create_dir(copy.path().join("journal"))?;
    for segment in std::fs::read_dir(pair.state_dir().join("journal"))? {
        let segment = segment?;
        std::fs::copy(segment.path(), copy.path().join("journal").join(segment.file_name()))?;
    }
    let mut requests = Vec::new();
    let options = JournalOptions::new(1 << 30, Retention::Checkpoint);
    Journal::open(copy.path(), options, Covered::default(), JournalMetrics::new()?, |settled| {
        requests.push(settled.intent.requests);
    })?;
    assert_eq!(requests, [3, 3, 1]);
    Ok(())
}

#[tokio::test]
async fn token_arrays_stay_what_they_are() -> anyhow::Result<()> {
    let (pair, provider, caller) = start().await?;
    // 4,008 and 9,468 are halves of a character by themselves.
    let arrays = json!([[4008, 9468], [15339], [1, 2, 3], [4008]]);
    let whole = caller.embed("any", arrays.clone()).await?;
    assert_eq!(whole.status, 200, "{}", whole.message());
    let inputs: Vec<Value> = sent(&provider, 0)?.iter().map(|body| body["input"].clone()).collect();
    assert_eq!(inputs, [json!([[1, 2, 3], [4008]]), json!([[4008, 9468], [15339]])]);
    for (at, array) in arrays.as_array().into_iter().flatten().enumerate() {
        let alone = caller.embed("any", json!([array])).await?;
        assert_eq!(vector(&alone, 0), vector(&whole, at), "{array}");
    }
    let account = provider.account();
    assert_eq!((account.violations, whole.tokens()), (Vec::<String>::new(), 7));
    let booked = pair.metrics().await?.sum("vectoll_key_tokens_total", &[]);
    assert_eq!(booked.to_string(), account.charged_tokens.to_string());
    Ok(())
}

#[tokio::test]
async fn parts_have_the_fields_that_say_the_same_of_each_input_and_no_others_are_cut() -> anyhow::Result<()> {
    let (_pair, provider, caller) = start().await?;
    let ask = async |fields: Value| {
        let from = provider.requests().len();
        let mut body = json!({"model": "any", "input": ["a", "b", "c"]});
        for (name, value) in fields.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        let answer = caller.post("/v1/embeddings", &body, &[]).await?;
        assert_eq!(answer.status, 200, "{fields}: {}", answer.message());
        sent(&provider, from)
    };
    let bodies = ask(json!({"truncate": "END", "task": "text-matching", "late_chunking": false})).await?;
    assert_eq!(bodies.len(), 2);
    for body in bodies {
        let said = (&body["truncate"], &body["task"], &body["late_chunking"]);
        assert_eq!(said, (&json!("END"), &json!("text-matching"), &json!(false)));
    }
    // What makes the inputs one text, and what nobody knows, stays whole.
    for fields in [json!({"late_chunking": true}), json!({"truncate": "END", "of_my_own": 1})] {
        let bodies = ask(fields.clone()).await?;
        assert_eq!(bodies.iter().map(|body| &body["input"]).collect::<Vec<_>>(), [&json!(["a", "b", "c"])], "{fields}");
    }
    Ok(())
}
