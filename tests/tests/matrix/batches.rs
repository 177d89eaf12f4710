//! Large calls: in time, and never more requests at once than was set.

use std::time::{Duration, Instant};

use serde_json::json;
use vectoll_tests::{native::Conduct, provider::Item};

use super::{
    rows,
    stage::{Stage, has_vectors, play, route},
};

/// How long the provider takes for a request.
const LATENCY: Duration = Duration::from_millis(50);
/// What a busy machine may add: the deadline is for one that is not.
const MAX_SLOWDOWN: u32 = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_parts_of_a_large_call_go_side_by_side_but_not_more_than_were_set() -> anyhow::Result<()> {
    let played = play(vec![rows::cohere()]).await?;
    let [cohere] = played.as_slice() else { return Ok(()) };
    let few = json!({"batch": {"parallel": 3, "maxItems": 10}});
    let routes = vec![
        route("eight", &[cohere.backend("only", json!({}))], json!({})),
        route("three", &[cohere.backend("only", few)], json!({})),
    ];
    let stage = Stage::start(&played, routes).await?;
    cohere.server.conduct(Conduct { latency: LATENCY, fault: None });
    for (model, inputs, items, parallel) in [("eight", 2048_usize, 96_usize, 8_usize), ("three", 100, 10, 3)] {
        let texts: Vec<String> = (0..inputs).map(|at| format!("text {at}")).collect();
        // Short vectors: what is measured is the waiting, not how fast a debug build reads digits.
        let body = json!({"model": model, "input": texts, "dimensions": 256, "encoding_format": "base64"});
        let begun = Instant::now();
        let answer = stage.caller.post("/v1/embeddings", &body, &[]).await?;
        let took = begun.elapsed();
        assert_eq!(answer.status, 200, "{}", answer.message());
        let texts: Vec<Item> = texts.into_iter().map(Item::Text).collect();
        has_vectors(&answer, &texts, (cohere.row.vector, 256), model);
        let account = cohere.account();
        let requests = inputs.div_ceil(items);
        assert_eq!((account.requests as usize, account.largest), (requests, items));
        assert_eq!(account.at_once, parallel, "as many as may be, and never more");
        let rounds = u32::try_from(requests.div_ceil(parallel))?;
        let deadline: Duration = (rounds + 4) * LATENCY;
        println!(
            "figure: {inputs} inputs in {requests} requests of 50 ms, {parallel} side by side: {:.0} ms (ideal {} ms, deadline {} ms)",
            took.as_secs_f64() * 1000.0,
            (rounds * LATENCY).as_millis(),
            deadline.as_millis(),
        );
        assert!(took < deadline * MAX_SLOWDOWN, "{took:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_of_too_many_tokens_for_one_request_is_split_by_tokens() -> anyhow::Result<()> {
    let played = play(vec![rows::azure(), rows::mistral(), rows::vertex_ai()]).await?;
    let routes = played.iter().map(|one| route(one.row.id, &[one.backend("only", json!({}))], json!({})));
    let stage = Stage::start(&played, routes.collect()).await?;
    // Inputs of so many words, a token each; and the fewest requests that the provider's bound allows. It refuses more.
    for (one, inputs, words, requests) in
        [(&played[0], 700, 500, 2), (&played[1], 40, 1000, 3), (&played[2], 30, 1500, 3)]
    {
        let texts: Vec<String> = (0..inputs).map(|at| format!("{at}{}", " word".repeat(words))).collect();
        let body = json!({"model": one.row.id, "input": texts, "dimensions": 256, "encoding_format": "base64"});
        let answer = stage.caller.post("/v1/embeddings", &body, &[]).await?;
        assert_eq!(answer.status, 200, "{}: {}", one.row.name, answer.message());
        let texts: Vec<Item> = texts.into_iter().map(Item::Text).collect();
        has_vectors(&answer, &texts, (one.row.vector, 256), one.row.name);
        let account = one.account();
        assert_eq!(account.requests, requests, "{}", one.row.name);
        assert_eq!(answer.tokens(), account.charged_tokens, "{}", one.row.name);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_to_all_providers_at_once_are_told_apart() -> anyhow::Result<()> {
    const CALLS: usize = 6;
    let played = play(rows::all()).await?;
    let routes = played.iter().map(|one| route(one.row.id, &[one.backend("only", json!({}))], json!({})));
    let stage = Stage::start(&played, routes.collect()).await?;
    let mut calls = Vec::new();
    for call in 0..CALLS {
        for one in &played {
            let (caller, id, vector) = (stage.caller.clone(), one.row.id, one.row.vector);
            let length = one.row.has.unwrap_or(one.row.length);
            let texts: Vec<String> = (0..40).map(|at| format!("{id}, call {call}, text {at}")).collect();
            let mut body = json!({"model": id, "input": texts, "encoding_format": "base64"});
            if let Some(dimensions) = one.row.has {
                body["dimensions"] = json!(dimensions);
            }
            calls.push(tokio::spawn(async move {
                let answer = caller.post("/v1/embeddings", &body, &[]).await?;
                assert_eq!(answer.status, 200, "{id}: {}", answer.message());
                let texts: Vec<Item> = texts.into_iter().map(Item::Text).collect();
                has_vectors(&answer, &texts, (vector, length), id);
                anyhow::Ok(())
            }));
        }
    }
    for call in calls {
        call.await??;
    }
    let booked = stage.booked().await?;
    let accounts: Vec<_> = played.iter().map(|one| (one.price, one.account().charged_tokens)).collect();
    assert_eq!(booked.tokens, accounts.iter().map(|(_, tokens)| tokens).sum::<u64>());
    assert_eq!(booked.pico, accounts.iter().map(|(price, tokens)| price * tokens).sum::<u64>());
    assert_eq!((booked.unsettled, booked.estimated), (0, 0));
    Ok(())
}

#[tokio::test]
async fn what_nobody_counts_is_an_estimate_and_is_marked_as_one() -> anyhow::Result<()> {
    let played = play(vec![rows::sage_maker()]).await?;
    let [sage_maker] = played.as_slice() else { return Ok(()) };
    let unknown = json!({"tokens": {"maxPerByte": 2, "maxPerInput": 8}});
    let routes = vec![route("unknown", &[sage_maker.backend("only", unknown)], json!({}))];
    let stage = Stage::start(&played, routes).await?;
    let texts: Vec<String> = (10..80).map(|at| format!("text {at}")).collect();
    let answer = stage.caller.embed("unknown", json!(texts)).await?;
    assert_eq!(answer.status, 200, "{}", answer.message());
    let account = sage_maker.account();
    let booked = stage.booked().await?;
    // Seven bytes each.
    let bound = 70 * (7 * 2 + 8);
    assert_eq!((account.requests, answer.tokens(), booked.tokens), (3, bound, bound));
    assert_eq!((booked.estimated, booked.unsettled), (bound, 0));
    assert_eq!(booked.pico, bound * sage_maker.price);
    assert!(bound >= account.charged_tokens);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_azure_deployment_with_the_models_own_name_takes_bodies_as_they_come() -> anyhow::Result<()> {
    let played = play(vec![rows::azure()]).await?;
    let [azure] = played.as_slice() else { return Ok(()) };
    let mut backend = azure.backend("only", json!({}));
    for (of, field) in [("", "model"), ("", "tokens"), ("/azureOpenAI", "deployment")] {
        if let Some(fields) = backend.pointer_mut(of).and_then(|fields| fields.as_object_mut()) {
            fields.remove(field);
        }
    }
    let stage = Stage::start(&played, vec![route("small-1", &[backend], json!({}))]).await?;
    // Nobody here knows what these tokens are of; the provider does.
    let answer = stage.caller.embed("small-1", json!([[1, 2, 3], [4]])).await?;
    assert_eq!(answer.status, 200, "{}", answer.message());
    has_vectors(&answer, &[Item::Tokens(vec![1, 2, 3]), Item::Tokens(vec![4])], (azure.row.vector, 1536), "small-1");
    assert_eq!(azure.account().requests, 1);
    Ok(())
}
