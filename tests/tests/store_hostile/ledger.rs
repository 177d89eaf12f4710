//! The ledger: every series of it is taken, and what is folded adds up.

use anyhow::{Context, ensure};
use jiff::Timestamp;
use redis::cmd;
use vectoll_config::{
    Uid,
    store::{Library, ModelAt, Quantity, Series, total_key},
};
use vectoll_operator::store::sweep::DAY_MS;
use vectoll_tests::store::Store;

use crate::{
    census::{census, sweep},
    stage::{access, exchange},
};

/// What a sidecar tells of a call is taken, whatever the call was: a series that the functions do not know would stop all that follows it.
#[tokio::test]
async fn every_series_of_the_ledger_is_taken() -> anyhow::Result<()> {
    let store = Store::start().await?;
    store.load_functions(Library::current().code()).await?;
    let mut admin = store.admin().await?;
    let model = ModelAt { provider: "openai".into(), backend: "apps/route/one".into(), model: "any|thing".into() };
    let all = [
        Series::Team,
        Series::Key(Uid::new("real")),
        Series::User("ada: a|b".into()),
        Series::Model(model),
        Series::of_tags(["nightly", "quote\": ] it"]).context("no tags")?,
        Series::Unsettled,
        Series::Estimated,
        Series::ForeignRoutes,
    ];
    let month = Timestamp::now().strftime("%Y-%m").to_string();
    let mut words: Vec<String> =
        ["one", "1", "1", "0", "0", "2000", "4000", "5", "0", "0", "0", "1", "0"].map(str::to_owned).to_vec();
    words.push(all.len().to_string());
    for series in &all {
        words.extend([month.clone(), series.to_string(), "1".to_owned(), "2".to_owned(), "7".to_owned()]);
    }
    words.extend(["0", "0"].map(str::to_owned));
    exchange(&mut admin, &words.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    let found: Vec<Option<u64>> = cmd("HMGET")
        .arg(total_key(&Uid::new("t1")))
        .arg(all.iter().map(|series| series.field(Quantity::Money)).collect::<Vec<_>>())
        .query_async(&mut admin)
        .await?;
    ensure!(found == vec![Some(7); all.len()], "{found:?}");
    Ok(())
}

/// A ledger that tells apart more than it may, and nothing of it is lost.
#[tokio::test]
async fn made_up_names_of_a_ledger_share_one_entry_and_all_of_it_adds_up() -> anyhow::Result<()> {
    let store = Store::start().await?;
    store.load_functions(Library::current().code()).await?;
    let (mut admin, access) = (store.admin().await?, access(&store.url()));
    let total = total_key(&Uid::new("t1"));
    cmd("HSET")
        .arg(&total)
        .arg(&["k:real:r", "1", "k:real:t", "1", "k:real:p", "1"])
        .query_async::<()>(&mut admin)
        .await?;
    for part in 0..21 {
        let mut fill = cmd("HSET");
        fill.arg(&total);
        for n in 0..1_000 {
            let name = format!("k:made-up-{part}-{n}");
            fill.arg(format!("{name}:r")).arg(2).arg(format!("{name}:t")).arg(3);
            // Beyond what a number holds exactly.
            fill.arg(format!("{name}:p")).arg("9100000000000001");
        }
        fill.query_async::<()>(&mut admin).await?;
    }
    cmd("HSET").arg("vectoll:{t1}:meta").arg("keys").arg("5").query_async::<()>(&mut admin).await?;
    cmd("PEXPIRE").arg("vectoll:{t1}:meta").arg(DAY_MS).query_async::<()>(&mut admin).await?;
    sweep(&access, &census(&["t1"], &["real"]), Timestamp::now()).await?;
    let fields: Vec<(String, String)> = cmd("HGETALL").arg(&total).query_async(&mut admin).await?;
    let sum = |letter: &str| -> u128 {
        fields.iter().filter(|(name, _)| name.ends_with(letter)).map(|(_, value)| value.parse::<u128>().unwrap()).sum()
    };
    let names = fields.iter().filter(|(name, _)| name.ends_with(":r")).count();
    ensure!(names == 20_001, "{names} names");
    ensure!((sum(":r"), sum(":t")) == (42_001, 63_001), "{} {}", sum(":r"), sum(":t"));
    ensure!(sum(":p") == 21_000 * 9_100_000_000_000_001 + 1, "{}", sum(":p"));
    ensure!(fields.iter().any(|(name, _)| name == "k:real:r"), "a key that exists is told apart");
    let keys: u64 = cmd("HGET").arg("vectoll:{t1}:meta").arg("keys").query_async(&mut admin).await?;
    ensure!(keys == 20_000, "{keys}");
    Ok(())
}
