//! The page of `vectoll-operator standalone`, over HTTP: what stands in the folder, what was spent in the store, and for whom it is.

#![allow(clippy::indexing_slicing, reason = "a test")]

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use vectoll_tests::{
    caller::Caller,
    manifest::{api_key, file, key_value, resource, team},
    page::{ON_A_FREE_PORT, address, client},
    pair::{Pair, Setup, poll},
    store::Store,
};

const DEADLINE: Duration = Duration::from_secs(20);

async fn get(url: &str, path: &str) -> anyhow::Result<(u16, Value)> {
    let answer = client()?.get(format!("{url}{path}")).send().await?;
    let status = answer.status().as_u16();
    Ok((status, serde_json::from_str(&answer.text().await?).unwrap_or_default()))
}

/// The rows of a table, by the words of its columns.
async fn rows(url: &str, path: &str) -> anyhow::Result<Vec<Value>> {
    let (status, body) = get(url, path).await?;
    ensure!(status == 200, "{status}: {body}");
    let words: Vec<&str> =
        body["columns"].as_array().context("no columns")?.iter().filter_map(|column| column["word"].as_str()).collect();
    let row = |row: &Value| -> Value {
        let cells = row["cells"].as_array().cloned().unwrap_or_default();
        words.iter().zip(cells).map(|(word, cell)| ((*word).to_owned(), cell)).collect::<serde_json::Map<_, _>>().into()
    };
    Ok(body["rows"].as_array().context("no rows")?.iter().map(row).collect())
}

/// A token of the built-in model costs a cent.
fn cents() -> Value {
    let backend = json!({"name": "builtin", "builtin": {}, "price": {"inputPerMillionTokens": "10000"}});
    resource("ModelRoute", "cents", json!({"models": ["m"], "backends": [backend]}))
}

fn folder(budget: &str, teams: &[&str]) -> String {
    let mut all = vec![cents()];
    all.extend(teams.iter().map(|name| team(name, json!({}))));
    all.extend(api_key("alice", "search", json!({"user": "ada", "budget": {"limit": budget, "period": "Monthly"}})));
    all.extend(api_key("lost", "nowhere", json!({})));
    file(all)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_folder_is_shown_as_it_is_now_with_what_is_wrong_in_it() -> anyhow::Result<()> {
    let setup = Setup { operator_arguments: vec![ON_A_FREE_PORT.to_owned()], ..Setup::built()? };
    let pair = Pair::operator_only(setup, &[("all.yaml", folder("1.00", &["search"]))]).await?;
    let url = address(&pair).await?;
    let keys = rows(&url, "api/keys").await?;
    let names: Vec<&Value> = keys.iter().map(|key| &key["name"]).collect();
    ensure!(names == ["alice", "lost"], "{keys:?}");
    ensure!(keys[0]["state"]["level"] == "Ready" && keys[0]["user"] == "ada", "{keys:?}");
    ensure!(keys[1]["state"]["reason"] == "TeamNotFound", "{keys:?}");
    // Without a store nothing is known of spend: that is told, and is not nothing. What may be spent is known.
    ensure!(keys[0]["spent"].is_null() && keys[0]["used"].is_null(), "{keys:?}");
    ensure!(keys[0]["limit"] == "1.00" && keys[0]["period"] == "Monthly", "{keys:?}");
    let failed = rows(&url, "api/keys?state=Failed").await?;
    ensure!(failed.len() == 1 && failed[0]["name"] == "lost", "{failed:?}");
    let (_, about) = get(&url, "api/about").await?;
    ensure!(about["source"]["state"] == "NoStore" && about["reader"].is_null(), "{about}");
    pair.write_manifest("all.yaml", &folder("1.00", &["search", "nowhere"]))?;
    poll::until("the Team that was made", DEADLINE, async || {
        let keys = rows(&url, "api/keys?q=lost").await?;
        Ok((keys[0]["state"]["level"] == "Ready").then_some(()))
    })
    .await?;
    let (status, detail) = get(&url, "api/keys/detail?id=default/alice").await?;
    ensure!(status == 200 && detail["declared"].to_string().contains("budget.limit"), "{detail}");
    // No value of a key is on it.
    ensure!(!detail.to_string().contains(&key_value("alice")), "{detail}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_store_knows_is_on_the_page_to_the_last_digit() -> anyhow::Result<()> {
    let store = Store::start().await?;
    let mut operator_arguments = store.operator_arguments()?;
    operator_arguments.push(ON_A_FREE_PORT.to_owned());
    let setup = Setup { operator_arguments, ..Setup::built()? };
    let pair = Pair::start_with(setup, &[("all.yaml", folder("10.00", &["search", "nowhere"]))]).await?;
    let url = address(&pair).await?;
    let caller = Caller::new(&pair.base_url(), &key_value("alice"))?;
    let mut tokens = 0;
    for _ in 0..3 {
        let answer = caller.embed("m", json!("one two three")).await?;
        ensure!(answer.status == 200, "{:?}", answer.json);
        tokens += answer.tokens();
    }
    let cents = format!("{}.{:02}", tokens / 100, tokens % 100);
    let key = poll::until("the spend of the key", DEADLINE, async || {
        let keys = rows(&url, "api/keys?q=alice").await?;
        Ok((keys[0]["spent"] == json!(cents)).then(|| keys[0].clone()))
    })
    .await?;
    ensure!(key["requests"] == "3" && key["tokens"] == json!(tokens.to_string()), "{key}");
    ensure!(key["limit"] == "10.00" && key["period"] == "Monthly" && key["used"] == json!(tokens / 10), "{key}");
    // Users and models are read every half minute.
    let users = poll::until("the users", Duration::from_mins(1), async || {
        let users = rows(&url, "api/users").await?;
        Ok((!users.is_empty()).then_some(users))
    })
    .await?;
    ensure!(users[0]["user"] == "ada" && users[0]["total"] == json!(cents), "{users:?}");
    let (_, months) = get(&url, "api/keys/months?id=default/alice").await?;
    let last = months["months"].as_array().and_then(|months| months.last()).context("no months")?;
    ensure!(last["spent"] == json!(cents) && last["requests"] == "3", "{months}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_for_this_machine_only() -> anyhow::Result<()> {
    let setup = Setup { operator_arguments: vec![ON_A_FREE_PORT.to_owned()], ..Setup::built()? };
    let program = setup.binaries.operator.clone();
    let pair = Pair::operator_only(setup, &[("all.yaml", folder("1.00", &["search"]))]).await?;
    let url = address(&pair).await?;
    let answer = client()?.get(format!("{url}api/keys")).header("host", "evil.example").send().await?;
    ensure!(answer.status().as_u16() == 421, "{answer:?}");
    let beyond = std::process::Command::new(program)
        .args(["standalone", "--manifests", ".", "--config-dir", "config", "--page-listen=0.0.0.0:0"])
        .output()?;
    let said = String::from_utf8_lossy(&beyond.stderr).into_owned();
    ensure!(!beyond.status.success() && said.contains("asks nobody who they are"), "{said}");
    Ok(())
}
