//! What is swept: accounts that are gone for long, and what fills the store.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use jiff::{SignedDuration, Timestamp};
use redis::cmd;
use vectoll_config::{
    Uid,
    store::{Function, Library, live_key, money_key, month_key, team_prefix, total_key},
};
use vectoll_operator::store::{
    StoreState, Swept,
    sweep::{Census, DAY_MS, Reason},
};
use vectoll_tests::store::{Store, Transport};

use crate::{
    census::{census, in_namespaces, sweep},
    stage::{NOTHING, SCOPE, access, apps, exchange, is_good, keep, with},
};

#[tokio::test]
async fn a_store_that_a_login_fills_is_told_of_and_cleaned() -> anyhow::Result<()> {
    let store = Store::start_with(Transport::Plain, &["--maxmemory", "12mb"]).await?;
    let mut kept = keep(&store.url());
    kept.until(is_good).await?;
    let (mut apps, access) = (apps(&store).await?, access(&store.url()));
    exchange(&mut apps, &NOTHING).await?;
    let (prefix, live) = (team_prefix(&Uid::new("t1")), live_key(Some(SCOPE), "apps"));
    let mut n = 0;
    // To the last byte: what is too large may leave room for less.
    for size in [100_000, 5_000, 500, 70] {
        let large = "x".repeat(size);
        let refusal = loop {
            // Fields of its Team's ledger, keys of no kind, and what its sidecars would say of themselves.
            let key = match n % 3 {
                0 => total_key(&Uid::new("t1")),
                1 => format!("{prefix}junk-{n}"),
                _ => live.clone(),
            };
            let field = format!("u:{n}:r");
            if let Err(error) = cmd("HSET").arg(key).arg(field).arg(&large).query_async::<()>(&mut apps).await {
                break error;
            }
            n += 1;
        };
        ensure!(refusal.code() == Some("OOM") && n > 20, "{refusal} after {n}");
    }
    kept.until(|state| matches!(state, StoreState::Good { full: Some(_), .. })).await?;
    let memory = *kept.memory.borrow();
    ensure!(memory.max == 12 * 1024 * 1024 && memory.used > 11 * 1024 * 1024, "{memory:?}");
    // What tidies up is not refused for want of room.
    let drop = Library::current().function(Function::Drop);
    let call =
        cmd("FCALL").arg(drop).arg(1).arg(total_key(&Uid::new("t1"))).arg("u:0:r").arg("x".repeat(100_000)).to_owned();
    let dropped: usize = call.query_async(&mut store.admin().await?).await.context("a field cannot be dropped")?;
    assert_eq!(dropped, 1);
    let swept =
        sweep(&access, &census(&["t1"], &[]), Timestamp::now()).await.context("a full store cannot be cleaned")?;
    println!("figure: {swept:?} of {n}");
    ensure!(swept.of(Reason::Foreign) > 0);
    kept.until(is_good).await?;
    exchange(&mut apps, &with(2, &["3"]).iter().map(String::as_str).collect::<Vec<_>>()).await?;
    let left: u64 = cmd("MEMORY")
        .arg("USAGE")
        .arg(total_key(&Uid::new("t1")))
        .query_async::<Option<u64>>(&mut store.admin().await?)
        .await?
        .unwrap_or_default();
    ensure!(left < 10_000, "{left} bytes");
    Ok(())
}

#[tokio::test]
async fn accounts_that_are_gone_for_long_go_and_no_others() -> anyhow::Result<()> {
    let store = Store::start().await?;
    let (mut admin, access) = (store.admin().await?, access(&store.url()));
    let (now, day) = (Timestamp::now(), SignedDuration::from_hours(24));
    store.load_functions(Library::current().code()).await?;
    let set = async |key: String, life_ms: Option<u64>| -> anyhow::Result<()> {
        let mut admin = store.admin().await?;
        let field = if key.contains(":m:") { "s" } else { "t:r" };
        cmd("HSET").arg(&key).arg(field).arg(1).query_async::<()>(&mut admin).await?;
        if let Some(life) = life_ms {
            cmd("PEXPIRE").arg(&key).arg(life).query_async::<()>(&mut admin).await?;
        }
        Ok(())
    };
    let there = async |key: String| -> anyhow::Result<bool> {
        Ok(cmd("EXISTS").arg(key).query_async::<bool>(&mut store.admin().await?).await?)
    };
    // Teams of this operator, one that another operator has, one that still counts though it is gone here, a stranger's.
    for team in ["here", "gone", "shared", "counts", "stranger"] {
        set(total_key(&Uid::new(team)), None).await?;
    }
    set("elsewhere".to_owned(), None).await?;
    set("vectoll:{stranger}:junk".to_owned(), None).await?;
    let (kept_money, gone_money) =
        (money_key(&Uid::new("here"), "k:stays", "Total/UTC/0"), money_key(&Uid::new("here"), "k:left", "Total/UTC/0"));
    set(kept_money.clone(), None).await?;
    set(gone_money.clone(), None).await?;
    // One whose key is gone here, and that somebody goes on spending by.
    let spent_money = money_key(&Uid::new("here"), "k:spends", "Total/UTC/0");
    set(spent_money.clone(), None).await?;
    let old = now
        .to_zoned(jiff::tz::TimeZone::UTC)
        .date()
        .saturating_sub(jiff::Span::new().months(5))
        .strftime("%Y-%m")
        .to_string();
    set(month_key(&Uid::new("here"), &old), Some(300 * DAY_MS)).await?;
    let all = census(&["here", "gone", "shared", "counts"], &["stays", "left", "spends"]);
    let other = Census { scope: "another".to_owned(), ..census(&["shared"], &[]) };
    ensure!(sweep(&access, &all, now).await? == Swept::default(), "nothing is gone");
    sweep(&access, &other, now).await?;
    let fewer = census(&["here"], &["stays"]);
    for days in [1, 30, 35] {
        ensure!(sweep(&access, &fewer, now + day * days).await? == Swept::default(), "after {days} days");
    }
    // Somebody counts by it meanwhile.
    let seen = (now + day * 20).as_millisecond();
    cmd("HSET").arg("vectoll:{counts}:meta").arg("seen").arg(seen).query_async::<()>(&mut admin).await?;
    cmd("PEXPIRE").arg("vectoll:{counts}:meta").arg(DAY_MS).query_async::<()>(&mut admin).await?;
    let today = |days: i64| (now + day * i32::try_from(days).unwrap()).as_millisecond() / 86_400_000;
    cmd("HSET").arg(&spent_money).arg("d").arg(today(20)).query_async::<()>(&mut admin).await?;
    let swept = sweep(&access, &fewer, now + day * 37).await?;
    ensure!(swept.of(Reason::Gone) == 2 && swept.by_reason().count() == 1, "{swept:?}");
    for (key, stays) in [
        (total_key(&Uid::new("here")), true),
        (total_key(&Uid::new("gone")), false),
        (total_key(&Uid::new("shared")), true),
        (total_key(&Uid::new("counts")), true),
        (total_key(&Uid::new("stranger")), true),
        ("vectoll:{stranger}:junk".to_owned(), true),
        ("elsewhere".to_owned(), true),
        (kept_money, true),
        (gone_money, false),
        (spent_money.clone(), true),
        (month_key(&Uid::new("here"), &old), true),
    ] {
        ensure!(there(key.clone()).await? == stays, "{key}");
    }
    // Nobody does any more; and what nobody can have written yet says nothing.
    sweep(&access, &fewer, now + day * 54).await?;
    ensure!(there(spent_money.clone()).await?);
    cmd("HSET").arg(&spent_money).arg("d").arg(today(90)).query_async::<()>(&mut admin).await?;
    cmd("HSET").arg("vectoll:{counts}:meta").arg("seen").arg("99999999999999").query_async::<()>(&mut admin).await?;
    sweep(&access, &fewer, now + day * 56).await?;
    ensure!(!there(spent_money).await? && !there(total_key(&Uid::new("counts"))).await?);
    // Months, as long as is asked for.
    let shorter = Census { retention_ms: 40 * DAY_MS, ..fewer };
    ensure!(sweep(&access, &shorter, now + day * 57).await?.of(Reason::Old) == 1);
    // Who has listed nothing yet says nothing; who has lost all of its Teams waits as long.
    ensure!(sweep(&access, &census(&[], &[]), now + day * 58).await? == Swept::default());
    ensure!(there(total_key(&Uid::new("here"))).await?);
    Ok(())
}

/// One namespace that cannot be listed keeps nothing of the others, and loses nothing of its own.
#[tokio::test]
async fn what_is_not_known_is_not_swept_and_all_else_is() -> anyhow::Result<()> {
    let store = Store::start().await?;
    let (mut admin, access) = (store.admin().await?, access(&store.url()));
    let (now, day) = (Timestamp::now(), SignedDuration::from_hours(24));
    let there = async |key: &str| -> anyhow::Result<bool> {
        Ok(cmd("EXISTS").arg(key).query_async::<bool>(&mut store.admin().await?).await?)
    };
    store.load_functions(Library::current().code()).await?;
    let whole = Census {
        teams: in_namespaces(&[("here", "apps"), ("gone", "apps"), ("hidden", "shut")]),
        keys: [("k-gone", "apps"), ("k-hidden", "shut")].map(|(uid, at)| (uid.to_owned(), at.to_owned())).into(),
        namespaces: ["apps".to_owned(), "shut".to_owned(), "none".to_owned()].into(),
        ..census(&[], &[])
    };
    let (live, shut, other) =
        (live_key(Some(SCOPE), "apps"), live_key(Some(SCOPE), "shut"), live_key(Some(SCOPE), "none"));
    let money = |key: &str| money_key(&Uid::new("here"), &format!("k:{key}"), "Total/UTC/0");
    let totals = ["here", "gone", "hidden"].map(|team| total_key(&Uid::new(team)));
    let keys =
        [live, shut.clone(), other.clone(), money("k-gone"), money("k-hidden"), "vectoll:{here}:junk".to_owned()];
    // Before there is anything but what it notes itself.
    sweep(&access, &whole, now).await?;
    for key in totals.iter().chain(&keys) {
        let field = if key.contains(":m:") { "s" } else { "t:r" };
        cmd("HSET").arg(key).arg(field).arg(1).query_async::<()>(&mut admin).await?;
    }
    let partial = Census {
        teams: in_namespaces(&[("here", "apps")]),
        keys: BTreeMap::new(),
        unheard: ["shut".to_owned()].into(),
        ..census(&[], &[])
    };
    sweep(&access, &partial, now + day).await?;
    ensure!(!there("vectoll:{here}:junk").await? && !there(&other).await?, "what is known is swept all the same");
    sweep(&access, &partial, now + day * 40).await?;
    for (key, stays) in
        [(&totals[1], false), (&money("k-gone"), false), (&totals[2], true), (&money("k-hidden"), true), (&shut, true)]
    {
        ensure!(there(key).await? == stays, "{key}");
    }
    // It can be listed again, and all of it is gone there.
    let empty = Census { teams: in_namespaces(&[("here", "apps")]), ..census(&[], &[]) };
    sweep(&access, &empty, now + day * 41).await?;
    ensure!(there(&totals[2]).await?, "its time begins when that is seen");
    sweep(&access, &empty, now + day * 77).await?;
    ensure!(!there(&totals[2]).await? && !there(&money("k-hidden")).await? && !there(&shut).await?);
    Ok(())
}
