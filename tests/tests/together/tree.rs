//! A tree of Teams and the budget of a backend, over several sidecars and their store.

use std::time::Duration;

use serde_json::json;
use vectoll_tests::{
    caller::Caller,
    manifest::{api_key, key_value, resource, team},
};

use crate::scene::{MODEL, NINE_TOKENS, TURN, scene_at};

/// What stores have of a budget: the pico-USD that are spent in all purses of this pattern, and those that are held.
async fn purses(scene: &crate::scene::Scene, pattern: &str) -> anyhow::Result<(u64, u64)> {
    let mut admin = scene.store.admin().await?;
    let keys: Vec<String> = redis::cmd("KEYS").arg(pattern).query_async(&mut admin).await?;
    let (mut spent, mut held) = (0, 0);
    for key in keys {
        let of: (Option<u64>, Option<u64>) =
            redis::cmd("HMGET").arg(key).arg("s").arg("r").query_async(&mut admin).await?;
        spent += of.0.unwrap_or_default();
        held += of.1.unwrap_or_default();
    }
    Ok((spent, held))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_organisations_money_is_spent_once_by_whichever_teams_and_wherever_they_move() -> anyhow::Result<()> {
    let _turn = TURN.lock().await;
    // A call of nine tokens costs 0.09 USD: eleven of them fit into the organisation's dollar.
    let documents = |ads: &str| {
        let mut all = vec![
            team("org", json!({"budget": {"limit": "1", "period": "Total"}})),
            team("search", json!({"parentRef": {"name": "org"}, "budget": {"limit": "50", "period": "Total"}})),
            team("ads", json!({"parentRef": {"name": ads}, "budget": {"limit": "50", "period": "Total"}})),
            team("others", json!({})),
        ];
        all.extend(api_key("s", "search", json!({})));
        all.extend(api_key("a", "ads", json!({})));
        all
    };
    let price = "10000";
    let scene = scene_at(price, 3, &[], documents("org")).await?;
    let storm = async |each: usize| {
        let mut calls = tokio::task::JoinSet::new();
        for (at, sidecar) in scene.fleet.sidecars.iter().enumerate() {
            for key in ["s", "a"] {
                let caller = Caller::new(&sidecar.base_url(), &key_value(key))?;
                for call in 0..each {
                    let caller = caller.clone();
                    calls.spawn(async move {
                        tokio::time::sleep(Duration::from_millis((at + 3 * call) as u64 * 10)).await;
                        let answer = caller.embed(MODEL, json!(NINE_TOKENS)).await?;
                        anyhow::Ok((key, answer.status, answer.message().to_owned()))
                    });
                }
            }
        }
        let mut served = [0, 0];
        for done in calls.join_all().await {
            let (key, status, message) = done?;
            match status {
                200 => served[usize::from(key == "a")] += 1,
                429 => {
                    anyhow::ensure!(message.starts_with("Budget exceeded for team default/org: 1.00 USD"), "{message}");
                }
                other => anyhow::bail!("{other}: {message}"),
            }
        }
        Ok(served)
    };
    let served = storm(8).await?;
    assert!(served[0] + served[1] <= 11, "{served:?}");
    // What others held for a moment comes back: in the end all of it was to be had.
    let mut all = served[0] + served[1];
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        let more = storm(1).await?;
        all += more[0] + more[1];
    }
    assert_eq!(all, 11);
    assert_eq!(scene.provider.account().requests, 11);
    // Moved, it spends its own and no more of the organisation's; what it has spent stays there.
    scene.edit(price, documents("others")).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let ads = Caller::new(&scene.fleet.sidecars[0].base_url(), &key_value("a"))?;
    assert_eq!(ads.embed(MODEL, json!(NINE_TOKENS)).await?.status, 200);
    let search = Caller::new(&scene.fleet.sidecars[0].base_url(), &key_value("s"))?;
    assert_eq!(search.embed(MODEL, json!(NINE_TOKENS)).await?.status, 429);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (spent, held) = purses(&scene, "vectoll:*}:m:t:Total/UTC/0").await?;
    // The organisation's eleven, and each Team's own: twelve.
    assert_eq!((spent, held), (23 * 90_000_000_000, 0), "each call in its own Team's budget, and in the one above it");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_owed_to_one_provider_is_counted_by_all_sidecars() -> anyhow::Result<()> {
    let _turn = TURN.lock().await;
    let mut all = vec![team("search", json!({})), team("ads", json!({}))];
    all.extend(api_key("s", "search", json!({})));
    all.extend(api_key("a", "ads", json!({})));
    let mut scene = scene_at("10000", 3, &[], all.clone()).await?;
    let backend = json!({
        "name": "one",
        "model": MODEL,
        "openAI": {"baseURL": scene.provider.url(), "apiKeySecretRef": {"name": "provider", "key": "api-key"}},
        "price": {"inputPerMillionTokens": "10000"},
        "tokens": {"encoding": "cl100k_base"},
        "budgets": [{"limit": "1", "period": "Total"}],
    });
    all.push(resource("ModelRoute", "owed", json!({"models": ["owed"], "backends": [backend]})));
    scene.edit("10000", all).await?;
    let mut served = 0;
    for round in 0..14 {
        let mut calls = tokio::task::JoinSet::new();
        for sidecar in &scene.fleet.sidecars {
            for key in ["s", "a"] {
                let caller = Caller::new(&sidecar.base_url(), &key_value(key))?;
                calls.spawn(async move { caller.embed("owed", json!(NINE_TOKENS)).await });
            }
        }
        for answer in calls.join_all().await {
            let answer = answer?;
            served += usize::from(answer.status == 200);
            anyhow::ensure!([200, 429].contains(&answer.status), "{} {}", answer.status, answer.message());
        }
        if round == 3 {
            // What it has spent is in its journal, and in the store.
            scene.fleet.sidecars[0].end(nix::sys::signal::Signal::SIGKILL).await?;
            scene.fleet.sidecars[0].start().await?;
        }
        tokio::time::sleep(Duration::from_millis(2_200)).await;
    }
    assert_eq!(served, 11);
    assert_eq!(scene.provider.account().requests, 11);
    let (spent, held) = purses(&scene, "vectoll:*}:m:b:Total/UTC/0").await?;
    assert_eq!((spent, held), (11 * 90_000_000_000, 0));
    Ok(())
}
