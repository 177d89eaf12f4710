//! Tokens are fetched once, and credentials are seen by nobody.

use std::{fmt::Write, time::Duration};

use serde_json::json;
use vectoll_tests::{
    native::{Conduct, Fault, Issuer},
    pair::scrape,
    provider::Item,
};

use super::{
    money::Booked,
    rows::{self, WATSONX},
    stage::{Stage, has_vectors, play, route},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_first_calls_share_one_token_and_a_refused_one_is_fetched_anew() -> anyhow::Result<()> {
    let iam = Issuer::default();
    let played = play(vec![rows::watsonx(iam.clone())]).await?;
    let [watsonx] = played.as_slice() else { return Ok(()) };
    // It takes its time for a token, too: the calls come while it is on its way.
    watsonx.server.conduct(Conduct { latency: Duration::from_secs(1), fault: None });
    let routes = vec![route("watsonx", &[watsonx.backend("only", json!({}))], json!({}))];
    let stage = Stage::start(&played, routes).await?;
    let calls = (0..50).map(|_| {
        let caller = stage.caller.clone();
        tokio::spawn(async move { caller.embed("watsonx", json!("text")).await })
    });
    for call in calls.collect::<Vec<_>>() {
        let answer = call.await??;
        assert_eq!(answer.status, 200, "{}", answer.message());
    }
    watsonx.server.conduct(Conduct::default());
    assert_eq!(stage.caller.embed("watsonx", json!("text")).await?.status, 200);
    let account = watsonx.account();
    assert_eq!((account.requests, account.token_requests), (51, 1));

    // A token that is refused when it is new is not refused for its age: it is doubted only after half a minute.
    tokio::time::sleep(Duration::from_secs(31)).await;
    iam.revoke();
    let refused = stage.caller.embed("watsonx", json!("text")).await?;
    assert_eq!(refused.status, 502, "{}", refused.message());
    assert!(refused.message().contains("the owner of the route must renew it"), "{}", refused.message());
    let next = stage.caller.embed("watsonx", json!("text")).await?;
    assert_eq!(next.status, 200, "the next call has a new token: {}", next.message());
    let account = watsonx.account();
    assert_eq!((account.requests, account.token_requests), (2, 1));
    assert_eq!(iam.issued().len(), 2);
    let log = stage.pair.sidecar_log();
    for secret in iam.issued().iter().map(String::as_str).chain([WATSONX]) {
        assert!(!format!("{log} {} {}", refused.json, next.json).contains(secret), "{secret} was told");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_for_a_credential_that_does_not_come_costs_nothing() -> anyhow::Result<()> {
    // One whose calls are put together by the sidecar, and one where they go through as they come.
    let played = play(vec![rows::watsonx(Issuer::default()), rows::azure_by_entra(), rows::cohere()]).await?;
    let [watsonx, entra, cohere] = played.as_slice() else { return Ok(()) };
    let mut routes = Vec::new();
    for one in [watsonx, entra] {
        // Their issuers answer too late for the calls, and later than this test is done.
        one.server.conduct(Conduct { latency: Duration::from_mins(1), fault: None });
        let first = one.backend("first", json!({"timeoutSeconds": 1, "space": "one"}));
        let second = cohere.backend("second", json!({"priority": 1, "space": "one"}));
        routes.push(route(&format!("{}-alone", one.row.id), std::slice::from_ref(&first), json!({})));
        routes.push(route(one.row.id, &[first, second], json!({})));
    }
    let stage = Stage::start(&played, routes).await?;
    for one in [watsonx, entra] {
        let before = stage.booked().await?;
        let late = stage.caller.embed(&format!("{}-alone", one.row.id), json!("text")).await?;
        assert_eq!(late.status, 504, "{}: {}", one.row.name, late.message());
        assert!(late.message().contains("its credential or a connection did not come"), "{}", late.message());
        assert_eq!(late.header("x-litellm-response-cost"), None, "{}", one.row.name);
        let nothing = Booked { tokens: 0, pico: 0, unsettled: 0, estimated: 0 };
        assert_eq!(stage.booked().await?.since(before), nothing, "{}", one.row.name);
        let served = stage.caller.embed(one.row.id, json!("text")).await?;
        assert_eq!(served.status, 200, "{}: {}", one.row.name, served.message());
        has_vectors(&served, &[Item::Text("text".to_owned())], (cohere.row.vector, cohere.row.length), one.row.name);
        let charged = cohere.account().charged_tokens;
        let booked = stage.booked().await?.since(before);
        assert_eq!((booked.tokens, booked.unsettled), (charged, 0), "{}", one.row.name);
        let account = one.account();
        assert_eq!((account.requests, account.token_requests), (0, 1), "{}", one.row.name);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_credential_is_told_whatever_the_provider_repeats() -> anyhow::Result<()> {
    let iam = Issuer::default();
    let mut all = rows::all();
    all.retain(|row| row.id != "watsonx");
    all.push(rows::watsonx(iam.clone()));
    let played = play(all).await?;
    let routes = played.iter().map(|one| route(one.row.id, &[one.backend("only", json!({}))], json!({})));
    let stage = Stage::start(&played, routes.collect()).await?;
    let mut told = String::new();
    for one in &played {
        for status in [400, 401, 403, 404, 429, 500, 503] {
            one.server.conduct(Conduct { fault: Some((0, Fault::Status(status))), ..Conduct::default() });
            let answer = stage.caller.embed(one.row.id, json!("The quick brown fox")).await?;
            assert!(answer.status >= 400, "{}", one.row.name);
            // It did repeat all it was sent.
            assert!(answer.message().contains("you sent"), "{}: {}", one.row.name, answer.message());
            let has_secret = !one.row.secrets.is_empty();
            assert_eq!(answer.message().contains("[redacted]"), has_secret, "{}: {}", one.row.name, answer.message());
            writeln!(told, "{:?} {}", answer.headers, answer.json)?;
        }
        one.account();
    }
    // A token server that repeats the key.
    let closed = Issuer::default();
    closed.close(true);
    let played_closed = play(vec![rows::watsonx(closed)]).await?;
    let [watsonx] = played_closed.as_slice() else { return Ok(()) };
    let routes = vec![route("watsonx", &[watsonx.backend("only", json!({}))], json!({}))];
    let other = Stage::start(&played_closed, routes).await?;
    let answer = other.caller.embed("watsonx", json!("text")).await?;
    assert_eq!((answer.status, watsonx.account().requests), (503, 0), "{}", answer.message());
    assert!(answer.message().contains("could not be found"), "it is said why: {}", answer.message());
    writeln!(told, "{:?} {}", answer.headers, answer.json)?;

    for stage in [&stage, &other] {
        let admin = stage.pair.admin_url();
        let admin = admin.trim_start_matches("http://").parse()?;
        told += &scrape(admin, "/metrics").await?.1;
        told += &stage.pair.sidecar_log();
        told += &stage.pair.operator_log();
    }
    assert!(told.contains("a backend did not serve a call") && told.contains("vectoll_key_tokens_total"));
    let secrets = played.iter().flat_map(|one| one.row.secrets.iter().map(ToString::to_string));
    for secret in secrets.chain(iam.issued()) {
        assert!(!told.contains(&secret), "{secret} was told");
    }
    assert!(!told.contains("kept-by-nobody"), "a part of a credential was told");
    Ok(())
}
