//! Budgets whose period or time zone is edited while they are in use.

use std::time::Duration;

use serde_json::json;
use vectoll_tests::{
    caller::Caller,
    manifest::{api_key, key_value, team},
};

use crate::scene::{MODEL, NINE_TOKENS, TURN, scene_at};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_whose_period_or_zone_is_edited_does_not_begin_at_nothing() -> anyhow::Result<()> {
    let _turn = TURN.lock().await;
    // Not over the end of a day.
    let second = jiff::Timestamp::now().as_second().rem_euclid(86_400);
    if second > 86_400 - 120 {
        tokio::time::sleep(Duration::from_secs(125)).await;
    }
    // A call of nine tokens costs 0.09 USD: ten of them fit into 1 USD, and no eleventh does.
    let price = "10000";
    let documents = |budget: serde_json::Value| {
        let mut all = vec![team("search", json!({}))];
        all.extend(api_key("crowd", "search", json!({"budget": budget})));
        all
    };
    let daily = json!({"limit": "1", "period": "Daily", "timeZone": "UTC"});
    let scene = scene_at(price, 2, &[], documents(daily.clone())).await?;
    let [one, other] = [0, 1].map(|at| Caller::new(&scene.fleet.sidecars[at].base_url(), &key_value("crowd")));
    let (one, other) = (one?, other?);
    let status = async |caller: &Caller| {
        let answer = caller.embed(MODEL, json!(NINE_TOKENS)).await?;
        // What is free goes back, and what was spent is told.
        tokio::time::sleep(Duration::from_millis(400)).await;
        anyhow::Ok(answer.status)
    };
    let edit = async |budget: serde_json::Value| {
        scene.edit(price, documents(budget)).await?;
        // What was leased for the budget as it was goes back.
        tokio::time::sleep(Duration::from_secs(3)).await;
        anyhow::Ok(())
    };
    for _ in 0..5 {
        assert_eq!((status(&one).await?, status(&other).await?), (200, 200));
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    // 0.90 USD are spent: one more fits.
    edit(json!({"limit": "1", "period": "Monthly", "timeZone": "UTC"})).await?;
    assert_eq!(status(&one).await?, 200, "0.99 of 1 USD in this month");
    assert_eq!((status(&other).await?, status(&one).await?), (429, 429), "by the month");
    // The month of another zone, which is always on UTC.
    edit(json!({"limit": "1.1", "period": "Monthly", "timeZone": "Africa/Abidjan"})).await?;
    assert_eq!(status(&other).await?, 200, "1.08 of 1.10 USD");
    assert_eq!((status(&one).await?, status(&other).await?), (429, 429), "by another zone");
    edit(json!({"limit": "1.2", "period": "Total", "timeZone": "UTC"})).await?;
    assert_eq!(status(&one).await?, 200, "1.17 of 1.20 USD");
    assert_eq!((status(&other).await?, status(&one).await?), (429, 429), "in total");
    // And back: what was spent meanwhile counts.
    edit(daily).await?;
    assert_eq!((status(&one).await?, status(&other).await?), (429, 429), "by the day again");
    assert_eq!(scene.provider.account().requests, 13);
    Ok(())
}
