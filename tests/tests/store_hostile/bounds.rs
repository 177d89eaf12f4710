//! How much a Team can name.

use anyhow::ensure;
use jiff::Timestamp;
use redis::{Value, aio::MultiplexedConnection, cmd};
use vectoll_config::{
    Uid,
    store::{Function, Library, caller, money_key, month_key, team_prefix, total_key},
};
use vectoll_tests::{pair::poll, store::Store};

use crate::stage::{DEADLINE, SCOPE, with};

#[tokio::test]
async fn what_a_team_can_name_has_a_bound() -> anyhow::Result<()> {
    let store = Store::start().await?;
    let mut admin = store.admin().await?;
    // The same functions with bounds that a test reaches.
    let source = [
        ("MAX_SIDECARS = 5000 ", "MAX_SIDECARS = 3 "),
        ("MAX_NEW_SIDECARS = 20000 ", "MAX_NEW_SIDECARS = 4 "),
        ("MAX_NEW_PURSES = 200000 ", "MAX_NEW_PURSES = 2 "),
        ("MAX_TAG_SETS = 1000000, 20000, 10000, 2000 ", "MAX_TAG_SETS = 4, 2, 2, 3 "),
    ]
    .into_iter()
    .fold(Library::source().to_owned(), |source, (bound, other)| {
        assert!(source.contains(bound), "{bound}");
        source.replace(bound, other)
    });
    let library = Library::of(&source);
    let _: String = cmd("FUNCTION").arg("LOAD").arg(library.code()).query_async(&mut admin).await?;
    let team = Uid::new("t1");
    let call_of =
        async |admin: &mut MultiplexedConnection, namespace: &str, words: Vec<String>| -> Result<Value, String> {
            let function = library.function(Function::Exchange);
            let mut call = cmd("FCALL");
            call.arg(function).arg(1).arg(team_prefix(&team)).arg(words).arg(caller(Some(SCOPE), namespace));
            call.query_async::<Value>(admin).await.map_err(|error| error.to_string())
        };
    let call = async |admin: &mut MultiplexedConnection, words: Vec<String>| -> Result<Value, String> {
        call_of(admin, "apps", words).await
    };
    // Sidecars.
    for name in ["one", "two", "three"] {
        call(&mut admin, with(0, &[name])).await.map_err(anyhow::Error::msg)?;
    }
    let said = call(&mut admin, with(0, &["four"])).await.unwrap_err();
    ensure!(said.contains("as many sidecars as there can be: 3"), "{said}");
    // Another namespace's are not kept out by them, today's new ones neither.
    call_of(&mut admin, "shop", with(0, &["four"])).await.map_err(anyhow::Error::msg)?;
    let mut forget = cmd("HDEL");
    forget.arg(format!("{}live", team_prefix(&team))).arg(&["two", "three"]);
    forget.query_async::<()>(&mut admin).await?;
    call(&mut admin, with(0, &["five"])).await.map_err(anyhow::Error::msg)?;
    let said = call(&mut admin, with(0, &["six"])).await.unwrap_err();
    ensure!(said.contains("as many new sidecars today as there can be: 4"), "{said}");
    call(&mut admin, with(0, &["two"])).await.map_err(anyhow::Error::msg)?;
    call_of(&mut admin, "shop", with(0, &["seven"])).await.map_err(anyhow::Error::msg)?;
    // Users, keys, models and sets of tags: what is beyond shares one entry, and all of it adds up.
    let mut words: Vec<String> =
        ["one", "1", "2", "1", "0", "2000", "4000", "1000000000", "0", "0", "0", "9", "0"].map(str::to_owned).to_vec();
    let month = Timestamp::now().strftime("%Y-%m").to_string();
    let of_each =
        |n| [format!("u:user-{n}"), format!("k:key-{n}"), format!("m:a|b|model-{n}"), format!("g:[\"a\",\"tag {n}\"]")];
    let entries: Vec<String> = (0..9).flat_map(of_each).collect();
    words.push(entries.len().to_string());
    for field in &entries {
        words.extend([month.as_str(), field, "1", "2", "3"].map(str::to_owned));
    }
    words.extend(["0", "0"].map(str::to_owned));
    call(&mut admin, words).await.map_err(anyhow::Error::msg)?;
    let fields: Vec<(String, u64)> = cmd("HGETALL").arg(total_key(&team)).query_async(&mut admin).await?;
    for (family, most) in [("u:", 4), ("k:", 2), ("m:", 2), ("g:[", 3)] {
        let requests = fields.iter().filter(|(name, _)| name.starts_with(family) && name.ends_with(":r"));
        let (names, sum) = requests.fold((0, 0), |(names, sum), (_, value)| (names + 1, sum + value));
        ensure!((names, sum) == (most + 1, 9), "{family}: {names} names, {sum} calls");
    }
    // Any month but those around this one is only in the sum.
    let mut words: Vec<String> =
        ["one", "1", "3", "2", "0", "2000", "4000", "5", "0", "0", "9", "10", "0", "2"].map(str::to_owned).to_vec();
    words.extend(["1999-01", "t", "1", "2", "3", "2999-12", "t", "1", "2", "3", "0", "0"].map(str::to_owned));
    call(&mut admin, words).await.map_err(anyhow::Error::msg)?;
    let there: u64 =
        cmd("EXISTS").arg(month_key(&team, "1999-01")).arg(month_key(&team, "2999-12")).query_async(&mut admin).await?;
    let sum: u64 = cmd("HGET").arg(total_key(&team)).arg("t:r").query_async(&mut admin).await?;
    ensure!((there, sum) == (0, 2));
    Ok(())
}

/// One period of a budget too many is one request that waits. Spend, what is held and given back, and what was there before go on.
#[tokio::test]
async fn a_period_too_many_refuses_a_request_and_loses_no_spend() -> anyhow::Result<()> {
    let store = Store::start().await?;
    let mut admin = store.admin().await?;
    let source = Library::source().replace("MAX_NEW_PURSES = 200000 ", "MAX_NEW_PURSES = 2 ");
    assert_ne!(source, Library::source());
    let library = Library::of(&source);
    let _: String = cmd("FUNCTION").arg("LOAD").arg(library.code()).query_async(&mut admin).await?;
    let team = Uid::new("t1");
    let mut number = 0_u64;
    let mut say = async |admin: &mut MultiplexedConnection,
                         namespace: &str,
                         spent: &[&str],
                         held: &[(&str, &str)],
                         requested: &[&str]| {
        number += 1;
        let (last, this) = ((number - 1).to_string(), number.to_string());
        let sidecar = format!("of-{namespace}");
        let mut words: Vec<String> =
            [&sidecar, &this, "1", "0", "0", "2000", "0", "5", "0", "0"].map(str::to_owned).to_vec();
        // What the store has is the last that this sidecar told.
        let known: Option<u64> =
            cmd("HGET").arg(format!("{}mark:{sidecar}", team_prefix(&team))).arg("spent").query_async(admin).await?;
        words.extend([known.unwrap_or_default().to_string(), format!("1{last}")]);
        let balance = |account: &str| [account, "Total/UTC/0", ""].map(str::to_owned);
        words.push(spent.len().to_string());
        for account in spent {
            let [account, period, end] = balance(account);
            words.extend([account, "1".to_owned(), period, end, "7".to_owned()]);
        }
        words.extend(["1", "2026-11", "t", "1", "2", "7"].map(str::to_owned));
        words.push(held.len().to_string());
        for (account, amount) in held {
            words.extend(balance(account).into_iter().chain([(*amount).to_owned()]));
        }
        words.push(requested.len().to_string());
        for account in requested {
            words.extend(["1", "m", account, "5", "5", "100"].map(str::to_owned));
            words.extend(["Total/UTC/0", ""].map(str::to_owned));
        }
        let mut call = cmd("FCALL");
        call.arg(library.function(Function::Exchange)).arg(1).arg(team_prefix(&team)).arg(words);
        call.arg(caller(Some(SCOPE), namespace));
        let answer: Vec<Value> = call.query_async(admin).await?;
        // What each request came to: 1 granted, 0 refused; and how long to wait.
        let outcome = |answer: &Value| {
            let Value::Array(all) = answer else { return (None, None) };
            (all.first().cloned(), all.get(3).cloned())
        };
        anyhow::Ok(answer.iter().skip(7).map(outcome).collect::<Vec<_>>())
    };
    let is_granted = |outcome: &(Option<Value>, Option<Value>)| outcome.0 == Some(Value::Int(1));
    poll::until("a grant", DEADLINE, async || {
        Ok(say(&mut admin.clone(), "apps", &[], &[], &["tu:ada"]).await?.iter().all(is_granted).then_some(()))
    })
    .await?;
    let spent = async |account: &str| -> anyhow::Result<(Option<u64>, Option<u64>)> {
        let mut admin = store.admin().await?;
        Ok(cmd("HMGET").arg(money_key(&team, account, "Total/UTC/0")).arg(&["s", "r"]).query_async(&mut admin).await?)
    };
    let requests = ["tu:bob", "tu:eve", "tu:ada", "tu:eve"];
    let outcomes = say(&mut admin, "apps", &["tu:ada"], &[("tu:ada", "3"), ("tu:none", "0")], &requests).await?;
    let granted: Vec<bool> = outcomes.iter().map(is_granted).collect();
    ensure!(granted == [true, false, true, false], "{outcomes:?}");
    let Some((_, Some(Value::Int(wait)))) = outcomes.get(1) else { anyhow::bail!("{outcomes:?}") };
    ensure!((1..=86_400_000).contains(wait), "until tomorrow, not {wait} ms");
    ensure!(spent("tu:ada").await? == (Some(7), Some(8)), "the rest of it counts");
    ensure!(spent("tu:none").await? == (None, None), "who gives back nothing begins nothing");
    // What was spent or is held in others is there, whether it is one too many or not.
    let outcomes = say(&mut admin, "apps", &["tu:kim"], &[("tu:lee", "4")], &["tu:kim", "tu:max"]).await?;
    ensure!(outcomes.iter().map(is_granted).eq([true, false]), "{outcomes:?}");
    ensure!(spent("tu:kim").await? == (Some(7), Some(5)) && spent("tu:lee").await? == (None, Some(4)));
    // The day of its last use, by which the sweeper goes.
    for account in ["tu:kim", "tu:lee"] {
        let balance = money_key(&team, account, "Total/UTC/0");
        let day: Option<i64> = cmd("HGET").arg(balance).arg("d").query_async(&mut admin).await?;
        let today = Timestamp::now().as_millisecond() / 86_400_000;
        ensure!(day.is_some_and(|day| (today - 1..=today).contains(&day)), "{account}: {day:?}");
    }
    let sum: u64 = cmd("HGET").arg(total_key(&team)).arg("t:p").query_async(&mut admin).await?;
    ensure!(sum == number_of_calls(&mut admin, &team).await? * 7, "{sum}");
    // Another namespace of the same Team has its own.
    let outcomes = say(&mut admin, "shop", &[], &[], &["tu:max", "tu:new", "tu:newer"]).await?;
    ensure!(outcomes.iter().map(is_granted).eq([true, true, false]), "{outcomes:?}");
    Ok(())
}

async fn number_of_calls(admin: &mut MultiplexedConnection, team: &Uid) -> anyhow::Result<u64> {
    Ok(cmd("HGET").arg(total_key(team)).arg("t:r").query_async(admin).await?)
}
