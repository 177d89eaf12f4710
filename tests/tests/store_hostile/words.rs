//! What a sidecar may say: words that none says are refused, and nothing of them is written.

use anyhow::ensure;
use jiff::Timestamp;
use redis::{Value, cmd};
use vectoll_config::{
    Uid,
    store::{Function, Library, caller, live_key, team_prefix},
};
use vectoll_tests::store::Store;

use crate::stage::{NOTHING, SCOPE, apps, exchange, is_good, keep, with};

#[tokio::test]
async fn what_no_sidecar_says_is_refused_and_nothing_of_it_is_written() -> anyhow::Result<()> {
    let store = Store::start().await?;
    let mut kept = keep(&store.url());
    kept.until(is_good).await?;
    let (mut apps, mut admin) = (apps(&store).await?, store.admin().await?);
    let (long, endless) = ("a".repeat(1_300), "9".repeat(40));
    let far = (Timestamp::now().as_millisecond() + 370 * 86_400_000).to_string();
    for (what, words) in [
        ("a sidecar's name that is too long", with(0, &[&"a".repeat(65)])),
        ("a sidecar's name with a blank", with(0, &["a b"])),
        ("a number beyond what is exact", with(2, &["9007199254740993"])),
        ("a lease of an hour", with(5, &["3600000"])),
        ("a pause of a day", with(6, &["86400000"])),
        ("a list of more than it holds", with(8, &["3", "t", "r"])),
        ("a list that is too long", with(8, &["200001"])),
        ("more groups than there can be", with(15, &["1025"])),
        ("more lease requests than there can be", with(15, &["1", "16385"])),
        ("an account that is too long", with(8, &["1", &long, "r", "1", "1"])),
        ("a rate that is none", with(8, &["1", "t", "x", "1", "1"])),
        ("an amount that is none", with(8, &["1", "t", "r", "1", "1e99"])),
        ("more calls than there can be", with(9, &["1", "t", &endless])),
        ("money that is none", with(12, &["1", "t", "1", "Total/UTC/0", "", "-5"])),
        ("money that never ends", with(12, &["1", "t", "1", "Total/UTC/0", "", &endless])),
        ("a period that is none", with(12, &["1", "t", "1", "junk", "", "5"])),
        ("a day without an end", with(12, &["1", "t", "1", "Daily/UTC/1", "", "5"])),
        ("an end in more than a year", with(12, &["1", "t", "1", "Daily/UTC/1", &far, "5"])),
        ("more budgets than there can be", with(12, &["1", "t", "17"])),
        ("a rate of a week", with(8, &["1", "t", "rw", "1", "1"])),
        ("a field of no family", with(13, &["1", "2026-11", "junk", "1", "1", "1"])),
        ("a field that is too long", with(13, &["1", "2026-11", &format!("u:{}", "a".repeat(2_050)), "1", "1", "1"])),
        ("a month that is none", with(13, &["1", "2026-13", "t", "1", "1", "1"])),
        ("a lease request of no kind", with(15, &["1", "1", "x", "t", "1", "1", "1", "", ""])),
        (
            "a lease request with a period that has none",
            with(15, &["1", "1", "t", "t", "1", "1", "1", "Total/UTC/0", ""]),
        ),
        ("too few words", vec!["one".to_owned()]),
        ("nothing", Vec::new()),
    ] {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let said = exchange(&mut apps, &words).await.err().map(|error| error.to_string()).unwrap_or_default();
        ensure!(said.contains("vectoll: "), "{what}: {said:?}");
        let keys: u64 = cmd("DBSIZE").query_async(&mut admin).await?;
        ensure!(keys == 0, "{what}: {keys} keys");
    }
    let acknowledge = Library::current().function(Function::Acknowledge);
    for words in [["a b", "1", "pod"], ["a", "many", "pod"], ["a", "1", "a pod"], ["a", &endless, "pod"]] {
        let mut call = cmd("FCALL");
        call.arg(&acknowledge).arg(1).arg(live_key(Some(SCOPE), "apps")).arg(&words);
        let said = call.query_async::<Value>(&mut apps).await.err().map(|error| error.to_string()).unwrap_or_default();
        ensure!(said.contains("vectoll: "), "{words:?}: {said:?}");
    }
    exchange(&mut apps, &NOTHING).await?;
    Ok(())
}

/// A function that reads much cannot be ended once it has written: what it reads whole is weighed first.
#[tokio::test]
async fn what_is_larger_than_sidecars_write_is_not_read() -> anyhow::Result<()> {
    let store = Store::start().await?;
    let mut kept = keep(&store.url());
    kept.until(is_good).await?;
    let (mut apps, mut admin) = (apps(&store).await?, store.admin().await?);
    let prefix = team_prefix(&Uid::new("t1"));
    let mut fill = cmd("HSET");
    fill.arg(format!("{prefix}w:t"));
    for n in 0..1_001 {
        fill.arg(format!("r{n}")).arg(1);
    }
    fill.query_async::<()>(&mut apps).await?;
    let request = with(15, &["1", "1", "r", "t", "1", "1", "9", "", ""]);
    let request: Vec<&str> = request.iter().map(String::as_str).collect();
    let said = exchange(&mut apps, &request).await.err().map(|error| error.to_string()).unwrap_or_default();
    ensure!(said.contains("vectoll: there is more in w:t than sidecars write"), "{said:?}");
    let keys: u64 = cmd("DBSIZE").query_async(&mut admin).await?;
    ensure!(keys == 1, "{keys} keys: it wrote before it looked");
    cmd("HDEL").arg(format!("{prefix}w:t")).arg("r1").query_async::<()>(&mut apps).await?;
    exchange(&mut apps, &request).await?;
    Ok(())
}

/// What a sidecar's namespace may is counted by its login, not by what it says.
#[tokio::test]
async fn a_sidecar_speaks_for_its_own_namespace_only() -> anyhow::Result<()> {
    let store = Store::start().await?;
    let mut kept = keep(&store.url());
    kept.until(is_good).await?;
    let mut apps = apps(&store).await?;
    let mut call = async |namespace: &str| -> String {
        let mut call = cmd("FCALL");
        call.arg(Library::current().function(Function::Exchange)).arg(1).arg(team_prefix(&Uid::new("t1")));
        call.arg(&NOTHING).arg(namespace);
        call.query_async::<Value>(&mut apps).await.err().map(|error| error.to_string()).unwrap_or_default()
    };
    for other in [caller(Some(SCOPE), "shop"), caller(None, "apps"), caller(Some("another"), "apps")] {
        let said = call(&other).await;
        ensure!(said.contains("this login is not one of"), "{other}: {said:?}");
    }
    ensure!(call("junk").await.contains("no sidecar says such a thing: namespace"));
    ensure!(call(&caller(Some(SCOPE), "apps")).await.is_empty());
    Ok(())
}
