//! What a login makes up goes, and what a sidecar may yet settle stays.

use anyhow::ensure;
use jiff::{SignedDuration, Timestamp};
use redis::{aio::MultiplexedConnection, cmd};
use vectoll_config::{
    Uid,
    store::{Library, backend_account, live_key, team_prefix},
};
use vectoll_operator::store::{Suspects, sweep::Census};
use vectoll_tests::store::Store;

use crate::{
    census::census,
    stage::{SCOPE, access, exchange},
};

/// What sidecars say: spend and holds of a key and two users, one of whom has not spent yet.
async fn spend_of_a_key_and_two_users(admin: &mut MultiplexedConnection, now: Timestamp) -> anyhow::Result<()> {
    let month = now.strftime("%Y-%m").to_string();
    let mut words: Vec<String> =
        ["one", "1", "1", "0", "0", "2000", "4000", "5", "0", "0", "0", "1", "2"].map(str::to_owned).to_vec();
    for account in ["k:real", "tu:ada"] {
        words.extend([account, "1", "Total/UTC/0", "", "7"].map(str::to_owned));
    }
    words.push("2".to_owned());
    for field in ["k:real", "u:ada"] {
        words.extend([&month, field, "1", "2", "7"].map(str::to_owned));
    }
    words.extend(["1", "tu:bob", "Total/UTC/0", "", "5", "0"].map(str::to_owned));
    exchange(admin, &words.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    Ok(())
}

/// Small hashes of made-up accounts, beside what looks like them and counts.
#[tokio::test]
async fn what_a_login_makes_up_goes_and_what_a_sidecar_may_settle_stays() -> anyhow::Result<()> {
    let store = Store::start().await?;
    store.load_functions(Library::current().code()).await?;
    let (mut admin, access) = (store.admin().await?, access(&store.url()));
    let now = Timestamp::now();
    let prefix = team_prefix(&Uid::new("t1"));
    let backend = |name: &str| team_prefix(&backend_account(Some(SCOPE), name));
    spend_of_a_key_and_two_users(&mut admin, now).await?;
    let day = 86_400_000_u64;
    let heard = format!("1 {} pod", now.as_millisecond());
    for (key, fields, life) in [
        // Keys and users that there are not, held by a sidecar that there is not, and by one that there is.
        (format!("{prefix}m:k:made-up:Total/UTC/0"), vec!["s", "1", "d", "20000"], None),
        (format!("{prefix}m:k:made-up:Monthly/UTC/1"), vec!["s", "1"], Some(50 * day)),
        (format!("{prefix}m:tu:made-up:Total/UTC/0"), vec!["r", "5", "h:ghost", "5"], None),
        (format!("{prefix}m:k:young:Total/UTC/0"), vec!["s", "1"], None),
        (format!("{prefix}m:k:settles:Total/UTC/0"), vec!["r", "5", "h:one", "5"], None),
        (format!("{prefix}m:xy:other:Total/UTC/0"), vec!["s", "1"], None),
        (format!("{prefix}m:tn:made-up:Total/UTC/0"), vec!["s", "1"], None),
        (format!("{prefix}m:tn:apps:Total/UTC/0"), vec!["s", "1"], None),
        (format!("{prefix}m:ku:real:ada:Total/UTC/0"), vec!["s", "1"], None),
        // Small ones with fields that no function writes.
        (format!("{prefix}mark:junk"), vec!["junk", "1", "epoch", "1"], Some(day)),
        (format!("{prefix}held:junk"), vec!["junk", "1"], Some(day)),
        // Backends: one that is there, one that is not, another operator's.
        (format!("{}mark:one", backend("apps/route/first")), vec!["epoch", "1", "junk", "1"], Some(day)),
        (format!("{}total", backend("apps/route/first")), vec!["t:r", "1"], None),
        (format!("{}w:tu:made-up", backend("apps/route/first")), vec!["r1", "1"], Some(60_000)),
        (format!("{}mark:one", backend("apps/route/gone")), vec!["epoch", "1"], Some(day)),
        (format!("{}mark:one", backend("apps/route/counts")), vec!["epoch", "1"], Some(day)),
        ("vectoll:{backend:another:apps/route/first}:total".to_owned(), vec!["t:r", "1"], None),
        // What the sidecars of a namespace say.
        (live_key(Some(SCOPE), "apps"), vec!["junk", "junk", "old", "1 1700000000000 pod", "one", &heard], Some(day)),
    ] {
        cmd("HSET").arg(&key).arg(fields).query_async::<()>(&mut admin).await?;
        if let Some(life) = life {
            cmd("PEXPIRE").arg(&key).arg(life).query_async::<()>(&mut admin).await?;
        }
    }
    let seen = now.as_millisecond().to_string();
    let meta = format!("{}meta", backend("apps/route/counts"));
    cmd("HSET").arg(&meta).arg("seen").arg(seen).query_async::<()>(&mut admin).await?;
    cmd("PEXPIRE").arg(&meta).arg(day).query_async::<()>(&mut admin).await?;
    cmd("SET").arg(format!("{prefix}live")).arg("no hash").query_async::<()>(&mut admin).await?;
    let routes = [("apps/route".to_owned(), Some(["first".to_owned()].into()))];
    let counted_ms = u64::try_from(now.as_millisecond())?;
    let first = Census { counted_ms, routes: routes.into(), ..census(&["t1"], &["real"]) };
    let mut suspects = Suspects::default();
    let sweep = async |suspects: &mut Suspects, census: &Census, seconds: i64| {
        let now = now + SignedDuration::from_secs(seconds);
        vectoll_operator::store::sweep(&access, census, suspects, now).await
    };
    // Twice by one census: whoever is not in it may be younger than it.
    for seconds in [1, 2] {
        sweep(&mut suspects, &first, seconds).await?;
    }
    let there = async |key: &str| -> anyhow::Result<bool> {
        Ok(cmd("EXISTS").arg(key).query_async::<bool>(&mut store.admin().await?).await?)
    };
    for key in ["k:made-up", "tu:made-up", "k:young", "xy:other"] {
        ensure!(there(&format!("{prefix}m:{key}:Total/UTC/0")).await?, "{key} went at once");
    }
    let later = Census { counted_ms: first.counted_ms + 60_000, ..census(&["t1"], &["real", "young"]) };
    let later = Census { routes: first.routes.clone(), ..later };
    // Nothing that is not known goes while a namespace cannot be listed.
    let unheard = Census { unheard: ["shut".to_owned()].into(), ..later.clone() };
    let mut other = suspects.clone();
    sweep(&mut other, &unheard, 90).await?;
    ensure!(there(&format!("{prefix}m:k:made-up:Total/UTC/0")).await?);
    let swept = sweep(&mut suspects, &later, 100).await?;
    println!("figure: {swept:?}");
    for (key, stays) in [
        (format!("{prefix}m:k:real:Total/UTC/0"), true),
        (format!("{prefix}m:tu:ada:Total/UTC/0"), true),
        (format!("{prefix}m:tu:bob:Total/UTC/0"), true),
        (format!("{prefix}m:k:young:Total/UTC/0"), true),
        (format!("{prefix}m:k:settles:Total/UTC/0"), true),
        (format!("{prefix}mark:one"), true),
        (format!("{prefix}mark:junk"), true),
        (format!("{}mark:one", backend("apps/route/first")), true),
        (format!("{}mark:one", backend("apps/route/counts")), true),
        ("vectoll:{backend:another:apps/route/first}:total".to_owned(), true),
        (live_key(Some(SCOPE), "apps"), true),
        (format!("{prefix}m:k:made-up:Total/UTC/0"), false),
        (format!("{prefix}m:k:made-up:Monthly/UTC/1"), false),
        (format!("{prefix}m:tu:made-up:Total/UTC/0"), false),
        (format!("{prefix}m:xy:other:Total/UTC/0"), false),
        (format!("{prefix}m:tn:made-up:Total/UTC/0"), false),
        (format!("{prefix}m:tn:apps:Total/UTC/0"), true),
        (format!("{prefix}m:ku:real:ada:Total/UTC/0"), false),
        (format!("{prefix}held:junk"), false),
        (format!("{prefix}live"), false),
        (format!("{}total", backend("apps/route/first")), false),
        (format!("{}w:tu:made-up", backend("apps/route/first")), false),
        (format!("{}mark:one", backend("apps/route/gone")), false),
    ] {
        ensure!(there(&key).await? == stays, "{key}");
    }
    let fields: Vec<String> = cmd("HKEYS").arg(live_key(Some(SCOPE), "apps")).query_async(&mut admin).await?;
    ensure!(fields == ["one"], "{fields:?}");
    let fields: Vec<String> = cmd("HKEYS").arg(format!("{prefix}mark:junk")).query_async(&mut admin).await?;
    ensure!(fields == ["epoch"], "{fields:?}");
    Ok(())
}
