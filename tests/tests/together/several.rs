//! Limits on hours and days, and several budgets, of all sidecars together.

use std::time::Duration;

use serde_json::{Value, json};
use vectoll_tests::{
    caller::Caller,
    manifest::{api_key, key_value, team},
};

use crate::scene::{MODEL, NINE_TOKENS, Scene, TURN, scene_at};

/// A call of nine tokens costs 0.09 USD.
const PRICE: &str = "10000";

/// Calls in turn at both sidecars until none was served for a while: a lease that one holds and does not use goes back meanwhile.
async fn served(scene: &Scene, key: &str) -> anyhow::Result<(usize, String)> {
    let callers = scene.fleet.sidecars.iter().map(|sidecar| Caller::new(&sidecar.base_url(), &key_value(key)));
    let callers: Vec<Caller> = callers.collect::<anyhow::Result<_>>()?;
    let (mut served, mut refused, mut message) = (0, 0, String::new());
    for turn in 0..200 {
        let answer = callers[turn % callers.len()].embed(MODEL, json!(NINE_TOKENS)).await?;
        match answer.status {
            200 => (served, refused) = (served + 1, 0),
            429 => {
                refused += 1;
                message = answer.message().to_owned();
            }
            other => anyhow::bail!("{other}: {}", answer.message()),
        }
        if refused >= 8 {
            return Ok((served, message));
        }
        tokio::time::sleep(Duration::from_millis(if refused > 0 { 900 } else { 50 })).await;
    }
    anyhow::bail!("{served} calls were served, and no end")
}

fn documents(budgets: &Value) -> Vec<Value> {
    let mut all = vec![team("search", json!({}))];
    all.extend(api_key("hourly", "search", json!({"limits": {"tokensPerMinute": 1_000_000, "tokensPerHour": 100}})));
    all.extend(api_key("daily", "search", json!({"limits": {"requestsPerHour": 1_000_000, "requestsPerDay": 7}})));
    all.extend(api_key("spends", "search", json!({"budgets": budgets})));
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_sidecars_share_an_hour_a_day_and_each_of_several_budgets() -> anyhow::Result<()> {
    let _turn = TURN.lock().await;
    // Not over the end of a day.
    let second = jiff::Timestamp::now().as_second().rem_euclid(86_400);
    if second > 86_400 - 240 {
        tokio::time::sleep(Duration::from_secs(245)).await;
    }
    let both = json!([{"limit": "0.5", "period": "Daily"}, {"limit": "0.3", "period": "Total"}]);
    let scene = scene_at(PRICE, 2, &[], documents(&both)).await?;
    let (hourly, daily, spends) =
        tokio::try_join!(served(&scene, "hourly"), served(&scene, "daily"), served(&scene, "spends"))?;
    assert_eq!(hourly.0, 11, "99 of 100 tokens: {}", hourly.1);
    assert!(hourly.1.contains("100 tokens per hour"), "{}", hourly.1);
    assert_eq!(daily.0, 7, "{}", daily.1);
    assert!(daily.1.contains("7 requests per day"), "{}", daily.1);
    assert_eq!(spends.0, 3, "0.27 of 0.30 USD: {}", spends.1);
    assert!(spends.1.contains("0.30 USD (Total)"), "{}", spends.1);

    let edit = async |budgets: Value| scene.edit(PRICE, documents(&budgets)).await;
    // The day has counted what was spent while both held, once.
    edit(json!([{"limit": "0.5", "period": "Daily"}, {"limit": "9", "period": "Total"}])).await?;
    let (more, message) = served(&scene, "spends").await?;
    assert_eq!(more, 2, "0.45 of 0.50 USD: {message}");
    assert!(message.contains("0.50 USD (Daily)"), "{message}");
    // A month that is set beside the day does not begin at nothing.
    edit(json!([{"limit": "9", "period": "Daily"}, {"limit": "0.65", "period": "Monthly"}])).await?;
    let (more, message) = served(&scene, "spends").await?;
    assert_eq!(more, 2, "0.63 of 0.65 USD: {message}");
    assert!(message.contains("0.65 USD (Monthly)"), "{message}");
    assert_eq!(scene.provider.account().charged_tokens, 9 * (11 + 7 + 3 + 2 + 2));
    Ok(())
}
