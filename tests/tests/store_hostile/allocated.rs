//! What spend is allocated to: it stays where it was when a key says something else, and is kept as long as the month itself.

use anyhow::ensure;
use jiff::{SignedDuration, Timestamp};
use redis::{aio::MultiplexedConnection, cmd};
use vectoll_config::{
    Uid,
    store::{Library, Quantity, Series, month_key, team_prefix},
};
use vectoll_operator::{
    allocation::{Allocation, Allocations},
    store::{Access, allocate, read_allocations, sweep::DAY_MS},
};
use vectoll_tests::store::Store;

use crate::{
    census::{census, sweep},
    stage::access,
};

const MONTH: &str = "2026-11";
const LATER: &str = "2026-12";

/// What a key has spent in a month: so many calls, tokens and pico-USD.
async fn spent(admin: &mut MultiplexedConnection, key: &str, calls: u64, pico: u64) -> redis::RedisResult<()> {
    let series = Series::Key(Uid::new(key));
    let mut write = cmd("HSET");
    write.arg(month_key(&Uid::new("t1"), MONTH));
    for (of, value) in [(Quantity::Requests, calls), (Quantity::Tokens, 2 * calls), (Quantity::Money, pico)] {
        write.arg(series.field(of)).arg(value);
    }
    write.query_async(admin).await
}

/// One look at a key that says this.
async fn looked_at(access: &Access, cost_center: &str) -> redis::RedisResult<()> {
    let says = Allocation { cost_center: Some(cost_center.to_owned()), ..Allocation::default() };
    let keys = ["real", "idle"].map(|key| (Uid::new(key), says.clone()));
    let allocations: Allocations = [(Uid::new("t1"), keys.into())].into();
    allocate(access, &allocations, &[MONTH.to_owned(), LATER.to_owned()], Timestamp::now()).await
}

/// Calls, tokens and pico-USD by cost centre, as they stand in the store.
async fn allocated(access: &Access) -> redis::RedisResult<Vec<(String, String)>> {
    let found = read_allocations(access, MONTH).await?;
    let figures = |value: &str| value.rsplit_once(' ').map_or_else(String::new, |(figures, _)| figures.to_owned());
    let fields = found.get(&Uid::new("t1")).cloned().unwrap_or_default();
    // What is no text is swept, and told escaped until then.
    let fields = fields.iter().filter(|(name, _)| name.starts_with("real "));
    Ok(fields.map(|(name, value)| (name.clone(), figures(value))).collect())
}

#[tokio::test]
async fn spend_stays_where_it_was_allocated_and_goes_with_its_month() -> anyhow::Result<()> {
    let store = Store::start().await?;
    store.load_functions(Library::current().code()).await?;
    let (mut admin, access) = (store.admin().await?, access(&store.url()));
    // More than a number of Lua's holds exactly.
    let (first, more) = (9_007_199_254_740_995, 9_007_199_254_741_000);
    spent(&mut admin, "real", 3, first).await?;
    for _ in 0..2 {
        looked_at(&access, "a").await?;
    }
    // A namespace's login can write there: what is no text, and values that are none, keep nothing from being allocated.
    let hash = format!("{}allocations:{MONTH}", team_prefix(&Uid::new("t1")));
    cmd("HSET").arg(&hash).arg(b"\xff\xfe").arg(b"\xff").query_async::<()>(&mut admin).await?;
    let month = month_key(&Uid::new("t1"), MONTH);
    let idle = ["k:idle:r", "k:idle:t", "k:idle:p"].map(|field| (field.as_bytes(), &b"\xff"[..]));
    cmd("HSET").arg(&month).arg(&idle).query_async::<()>(&mut admin).await?;
    spent(&mut admin, "real", 5, more).await?;
    looked_at(&access, "b").await?;
    // Whoever goes back to what it said before goes on there.
    spent(&mut admin, "real", 6, more + 7).await?;
    looked_at(&access, "a").await?;
    let expected = [
        (r#"real {"costCenter":"a"}"#.to_owned(), format!("4 8 {}", first + 7)),
        (r#"real {"costCenter":"b"}"#.to_owned(), "2 4 5".to_owned()),
    ];
    ensure!(allocated(&access).await? == expected, "{:?}", allocated(&access).await?);
    ensure!(!read_allocations(&access, LATER).await?.contains_key(&Uid::new("t1")), "nothing was spent there");

    let lives: i64 = cmd("PTTL").arg(&hash).query_async(&mut admin).await?;
    ensure!(lives > i64::try_from(399 * DAY_MS)?, "{lives}");
    // What is none of it goes, all else stays.
    cmd("HSET").arg(&hash).arg(&["junk", "1", "real {\"x\":1}", "1 2 3 4"]).query_async::<()>(&mut admin).await?;
    cmd("PEXPIRE").arg(&month).arg(DAY_MS).query_async::<()>(&mut admin).await?;
    let now = "2026-12-24T00:00:00Z".parse()?;
    sweep(&access, &census(&["t1"], &["real"]), now).await?;
    ensure!(allocated(&access).await? == expected, "{:?}", allocated(&access).await?);
    sweep(&access, &census(&["t1"], &["real"]), now + SignedDuration::from_hours(24 * 450)).await?;
    ensure!(allocated(&access).await?.is_empty(), "{:?}", allocated(&access).await?);
    Ok(())
}
