//! A call of which one part fails fails as one, or is served elsewhere; and the books hold what it cost.

use std::time::{Duration, Instant};

use serde_json::json;
use vectoll_tests::{
    native::{Conduct, Fault},
    provider::Item,
};

use super::{
    money::pico,
    rows,
    stage::{Played, Stage, has_vectors, play, route},
};

/// What is known of the cost of what goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cost {
    /// Nothing, for certain.
    Free,
    /// What the provider said, if it says what it charges.
    Said,
    Unknown,
}

impl Cost {
    /// Whether the books say what the provider charged, and no more.
    fn is_known(self, one: &Played) -> bool {
        match self {
            Self::Free => true,
            Self::Said => one.row.reports,
            Self::Unknown => false,
        }
    }
}

/// What goes wrong, what the caller is told, and what is known of the cost.
const FAULTS: [(Fault, u16, Cost); 5] = [
    (Fault::Status(429), 429, Cost::Free),
    (Fault::Status(500), 502, Cost::Unknown),
    (Fault::Garbage, 502, Cost::Unknown),
    (Fault::Few, 502, Cost::Said),
    (Fault::Reset, 502, Cost::Unknown),
];

/// Two inputs a part: three parts.
const TEXTS: [&str; 6] = ["one", "two and more", "three", "four of them", "five", "six in all"];

fn items() -> Vec<Item> {
    TEXTS.map(|text| Item::Text(text.to_owned())).to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_part_fails_the_call_and_is_booked_as_far_as_it_is_known() -> anyhow::Result<()> {
    let played = play(vec![rows::cohere(), rows::sage_maker()]).await?;
    let mut routes = Vec::new();
    for one in &played {
        for parallel in [1, 8] {
            let backend = one.backend("only", json!({"batch": {"maxItems": 2, "parallel": parallel}}));
            routes.push(route(&format!("{}-{parallel}", one.row.id), &[backend], json!({})));
        }
    }
    let stage = Stage::start(&played, routes).await?;
    for one in &played {
        for (fault, status, cost) in FAULTS {
            for parallel in [1, 8] {
                for place in 0..3 {
                    fails(&stage, one, parallel, (place, fault), (status, cost)).await?;
                }
            }
        }
        // And then all is well again.
        one.server.conduct(Conduct::default());
        let answer = stage.caller.embed(&format!("{}-8", one.row.id), json!(TEXTS)).await?;
        assert_eq!(answer.status, 200, "{}", answer.message());
        assert_eq!(one.account().requests, 3);
    }
    Ok(())
}

/// How many requests a server has had that fails from this one on: one that resets a connection that was used before is asked once
/// more, on a new one.
fn asked(fault: Fault, place: u64) -> std::ops::RangeInclusive<u64> {
    place + 1..=place + if matches!(fault, Fault::Reset) { 2 } else { 1 }
}

async fn fails(
    stage: &Stage,
    one: &Played,
    parallel: u32,
    (place, fault): (u64, Fault),
    (status, cost): (u16, Cost),
) -> anyhow::Result<()> {
    let what = format!("{}, {parallel} side by side, from request {place} on: {fault:?}", one.row.name);
    let before = stage.booked().await?;
    one.server.conduct(Conduct { fault: Some((place, fault)), ..Conduct::default() });
    let answer = stage.caller.embed(&format!("{}-{parallel}", one.row.id), json!(TEXTS)).await?;
    let booked = stage.booked().await?.since(before);
    let account = one.account();
    assert_eq!(answer.status, status, "{what}: {}", answer.message());
    assert!(answer.json["data"].is_null() && answer.json["error"].is_object(), "{what}: {}", answer.json);
    if parallel == 1 {
        assert!(asked(fault, place).contains(&account.requests), "{what}: nothing is sent behind a failure");
    }
    if cost.is_known(one) {
        assert_eq!((booked.tokens, booked.unsettled), (account.charged_tokens, 0), "{what}");
    } else {
        assert!(booked.tokens >= account.charged_tokens && booked.tokens > 0, "{what}: {booked:?}, {account:?}");
        assert_eq!(booked.unsettled, booked.tokens, "{what}");
    }
    assert_eq!(booked.estimated, 0, "{what}");
    assert_eq!(booked.pico, booked.tokens * one.price, "{what}");
    let cost = answer.header("x-litellm-response-cost").map(pico);
    assert_eq!(cost, Some(booked.pico), "{what}: {:?}", answer.headers);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_second_backend_the_call_is_served_there() -> anyhow::Result<()> {
    let played = play(vec![rows::cohere(), rows::sage_maker()]).await?;
    let [cohere, sage_maker] = played.as_slice() else { return Ok(()) };
    let batch = json!({"maxItems": 2, "parallel": 1});
    let backends = |first: &Played, second: &Played| {
        [
            first.backend("first", json!({"batch": batch, "space": "one"})),
            second.backend("second", json!({"batch": batch, "space": "one", "priority": 1})),
        ]
    };
    let routes = vec![
        route("to-sagemaker", &backends(cohere, sage_maker), json!({})),
        route("to-cohere", &backends(sage_maker, cohere), json!({})),
    ];
    let stage = Stage::start(&played, routes).await?;
    for (model, first, second) in [("to-sagemaker", cohere, sage_maker), ("to-cohere", sage_maker, cohere)] {
        second.server.conduct(Conduct::default());
        for (fault, _, cost) in FAULTS {
            for place in 0..3 {
                let what = format!("{model}, {fault:?} from request {place} on");
                let before = stage.booked().await?;
                first.server.conduct(Conduct { fault: Some((place, fault)), ..Conduct::default() });
                let body = json!({"model": model, "input": TEXTS, "dimensions": 256});
                let answer = stage.caller.post("/v1/embeddings", &body, &[]).await?;
                let booked = stage.booked().await?.since(before);
                let (failed, served) = (first.account(), second.account());
                assert_eq!(answer.status, 200, "{what}: {}", answer.message());
                has_vectors(&answer, &items(), (second.row.vector, 256), &what);
                assert!(asked(fault, place).contains(&failed.requests), "{what}: {}", failed.requests);
                assert_eq!(served.requests, 3, "{what}");
                assert_eq!(answer.tokens(), served.charged_tokens, "{what}");
                // What the first cost stays booked: exactly where that is known, else at a bound and marked.
                let lost = booked.tokens - served.charged_tokens;
                if cost.is_known(first) {
                    assert_eq!((lost, booked.unsettled), (failed.charged_tokens, 0), "{what}");
                } else {
                    assert!(lost >= failed.charged_tokens && booked.unsettled == lost, "{what}: {booked:?}");
                }
                assert_eq!(booked.pico, lost * first.price + served.charged_tokens * second.price, "{what}");
                let cost = answer.header("x-litellm-response-cost").map(pico);
                assert_eq!(cost, Some(booked.pico), "{what}");
            }
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_with_too_few_vectors_costs_what_it_says() -> anyhow::Result<()> {
    let mut rows = rows::all();
    // Vertex AI says the tokens of each vector: of the one that is missing nobody knows.
    rows.retain(|row| row.reports && row.id != "vertex");
    let played = play(rows).await?;
    let routes = played.iter().map(|one| route(one.row.id, &[one.backend("only", json!({}))], json!({})));
    let stage = Stage::start(&played, routes.collect()).await?;
    for one in &played {
        let before = stage.booked().await?;
        one.server.conduct(Conduct { fault: Some((0, Fault::Few)), ..Conduct::default() });
        let answer = stage.caller.embed(one.row.id, json!(["one", "two and more"])).await?;
        let booked = stage.booked().await?.since(before);
        let account = one.account();
        assert_eq!(answer.status, 502, "{}: {}", one.row.name, answer.message());
        assert!(account.charged_tokens > 0, "{}", one.row.name);
        assert_eq!((booked.tokens, booked.unsettled), (account.charged_tokens, 0), "{}", one.row.name);
        assert_eq!((booked.pico, booked.estimated), (booked.tokens * one.price, 0), "{}", one.row.name);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_is_booked_at_what_its_provider_charges() -> anyhow::Result<()> {
    let played = play(rows::all()).await?;
    let routes = played.iter().map(|one| route(one.row.id, &[one.backend("only", json!({}))], json!({})));
    let stage = Stage::start(&played, routes.collect()).await?;
    let mut charged = 0;
    for one in &played {
        for status in [400, 401, 403, 404, 405, 408, 413, 415, 422, 424, 429, 500, 502, 503, 504, 529] {
            let what = format!("{}, {status}", one.row.name);
            let before = stage.booked().await?;
            one.server.conduct(Conduct { fault: Some((0, Fault::Status(status))), ..Conduct::default() });
            let answer = stage.caller.embed(one.row.id, json!("two and more")).await?;
            let booked = stage.booked().await?.since(before);
            let account = one.account();
            assert!((400..600).contains(&answer.status), "{what}: {}", answer.message());
            assert_ne!(answer.status, 401, "{what}: the caller's own credential is good");
            // Nothing that is charged is missing, and what may not be is marked.
            assert!(booked.tokens >= account.charged_tokens, "{what}: {booked:?}, {account:?}");
            assert_eq!(booked.unsettled, booked.tokens, "{what}");
            if matches!(status, 401 | 403 | 404 | 405 | 413 | 415 | 429) {
                assert_eq!((booked.tokens, account.charged_tokens), (0, 0), "{what}");
            }
            charged += account.charged_tokens;
        }
    }
    assert!(charged > 0, "Azure OpenAI charges for some");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_in_the_middle_of_a_batch_is_charged_what_the_provider_charges() -> anyhow::Result<()> {
    let played = play(vec![rows::cohere(), rows::sage_maker()]).await?;
    let batch = json!({"batch": {"maxItems": 2, "parallel": 1}});
    let routes = played.iter().map(|one| route(one.row.id, &[one.backend("only", batch.clone())], json!({})));
    let stage = Stage::start(&played, routes.collect()).await?;
    for one in &played {
        let before = stage.booked().await?;
        one.server.conduct(Conduct { latency: Duration::from_millis(200), fault: None });
        // The first of three requests is under way.
        stage.caller.hang_up(one.row.id, json!(TEXTS), Duration::from_millis(100)).await;
        // No moment is at rest before all three are through, but the one before the first.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let booked = stage.booked().await?.since(before);
        let account = one.account();
        assert_eq!(account.charged_requests, 3, "{}: the call goes on", one.row.name);
        assert_eq!((booked.tokens, booked.unsettled), (account.charged_tokens, 0), "{}", one.row.name);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_takes_too_long_ends_in_time_and_is_unsettled() -> anyhow::Result<()> {
    let played = play(vec![rows::cohere()]).await?;
    let [cohere] = played.as_slice() else { return Ok(()) };
    let slow = json!({"timeoutSeconds": 2, "batch": {"maxItems": 2, "parallel": 1}});
    let stage = Stage::start(&played, vec![route("slow", &[cohere.backend("only", slow)], json!({}))]).await?;
    // One request is answered in time, and the second is not.
    cohere.server.conduct(Conduct { latency: Duration::from_millis(1200), fault: None });
    let begun = Instant::now();
    let answer = stage.caller.embed("slow", json!(TEXTS)).await?;
    let took = begun.elapsed();
    assert_eq!(answer.status, 504, "{}", answer.message());
    assert!(took < Duration::from_secs(10), "{took:?}");
    let booked = stage.booked().await?;
    let account = cohere.account();
    assert_eq!(account.requests, 2, "nothing is sent behind the end of the call's time");
    assert!(booked.tokens > account.charged_tokens && booked.unsettled == booked.tokens, "{booked:?}, {account:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_the_sidecar_refuses_says_nothing_of_its_backend() -> anyhow::Result<()> {
    let played = play(vec![rows::cohere()]).await?;
    let [cohere] = played.as_slice() else { return Ok(()) };
    let cooldown = json!({"cooldown": {"failures": 1, "seconds": 60}});
    let stage = Stage::start(&played, vec![route("only", &[cohere.backend("only", json!({}))], cooldown)]).await?;
    cohere.server.conduct(Conduct { fault: Some((0, Fault::Status(500))), ..Conduct::default() });
    assert_eq!(stage.caller.embed("only", json!("text")).await?.status, 502);
    let cools = async || anyhow::Ok(stage.pair.metrics().await?.sum("vectoll_backend_cooldown", &[]) > 0.0);
    assert!(cools().await?);
    // Nobody was asked: the backend is no better for it.
    let body = json!({"model": "only", "input": "text", "dimensions": 300});
    let answer = stage.caller.post("/v1/embeddings", &body, &[]).await?;
    assert_eq!(answer.status, 400, "{}", answer.message());
    assert!(cools().await?);
    // What the provider answers ends the cooldown.
    cohere.server.conduct(Conduct::default());
    assert_eq!(stage.caller.embed("only", json!("text")).await?.status, 200);
    assert!(!cools().await?);
    Ok(())
}
