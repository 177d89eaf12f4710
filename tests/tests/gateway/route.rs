//! A sidecar and its gateway that go by different routes, as they may for a minute after a change.

use serde_json::json;
use vectoll_tests::{
    caller::Caller,
    manifest::{file, key_value, resource_in},
};

use crate::{
    passed_on::{MODEL, sidecar},
    stage::{DEADLINE, Stage, provider},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_route_that_a_sidecar_has_chosen_is_served_or_none_is() -> anyhow::Result<()> {
    let stage = Stage::start_with(1_000).await?;
    let body = json!({"model": MODEL, "input": "a"});
    let direct = stage.caller("alice")?;
    for (model, route, expected) in [
        (MODEL, "shop/openai", (200, "")),
        (MODEL, "shop/other", (503, "route_changed")),
        ("none", "shop/openai", (503, "route_changed")),
    ] {
        let body = json!({"model": model, "input": "a"});
        let answer = direct.post("/v1/embeddings", &body, &[("x-vectoll-route", route)]).await?;
        assert_eq!((answer.status, answer.code()), expected, "{model} by {route}: {}", answer.message());
        assert_eq!(answer.header("retry-after"), (expected.0 == 503).then_some("5"));
    }
    let sidecar = sidecar(&stage, &stage.certificate, &[]).await?;
    let caller = Caller::new(&sidecar.base_url(), &key_value("alice"))?;
    // Which route it is, is not the application's to say.
    assert_eq!(caller.post("/v1/embeddings", &body, &[("x-vectoll-route", "shop/other")]).await?.status, 200);
    // A route of one model by its name, which the gateway has not got yet: there the model is one of many of another route's.
    let elsewhere = provider("elsewhere").await?;
    let special = json!({
        "models": ["fault-slow-1"], "delivery": "Gateway",
        "backends": [{
            "name": "test",
            "openAI": {"baseURL": elsewhere.url(), "apiKeySecretRef": {"name": "provider", "key": "api-key"}},
            "price": {"inputPerMillionTokens": "0.02"},
            "tokens": {"encoding": "cl100k_base"},
        }],
    });
    let before = stage.shop.account().requests;
    let manifest = file([resource_in("shop", "ModelRoute", "special", special)]);
    sidecar.write_manifest("special.yaml", &manifest)?;
    let refused = async || {
        let answer = caller.embed("fault-slow-1", json!("a")).await?;
        Ok((answer.status != 200).then_some(answer))
    };
    let answer = sidecar.wait_for("the route", DEADLINE, refused).await?;
    assert_eq!((answer.status, answer.code(), answer.header("retry-after")), (503, "route_changed", Some("5")));
    assert!(
        answer.message().contains("shop/special") && answer.message().contains("Nothing was sent"),
        "{}",
        answer.message()
    );
    let served = stage.shop.account().requests;
    assert_eq!(caller.embed("fault-slow-1", json!("a")).await?.status, 503);
    assert_eq!((stage.shop.account().requests, elsewhere.account().requests), (served, 0), "before: {before}");
    Ok(())
}
