//! What a namespace's login can do to a store that others share, and what the operator does about it: Redis is real.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use jiff::{SignedDuration, Timestamp};
use redis::{Value, aio::MultiplexedConnection, cmd};
use tokio::sync::watch;
use vectoll_config::{
    Uid,
    store::{
        Function, Library, ModelAt, Quantity, Series, backend_account, caller, live_key, money_key, month_key,
        team_prefix, total_key, user_name,
    },
    v1::OnStoreFailure,
};
use vectoll_operator::store::{
    Access, Keeper, Memory, Password, Standing, Suspects, Swept, User, Wanted,
    sweep::{Census, CountedTeam, DAY_MS, Reason},
};
use vectoll_tests::{
    pair::poll,
    store::{PASSWORD, Store, Transport, redis_cluster::RedisCluster},
};

const SCOPE: &str = "vectoll-system.vectoll-operator";
const DEADLINE: Duration = Duration::from_secs(30);
/// Nothing but who speaks, as an exchange says it.
const NOTHING: [&str; 16] = ["one", "1", "1", "0", "0", "2000", "4000", "5", "0", "0", "0", "0", "0", "0", "0", "0"];

fn access(url: &str) -> Access {
    Access {
        url: url.parse().unwrap(),
        username: None,
        password: Some(Password::new(PASSWORD)),
        ca: None,
        on_failure: OnStoreFailure::Local,
    }
}

fn wanted() -> Arc<Wanted> {
    let user = User::of(SCOPE, "apps", &[Uid::new("t1")], [Password::new("one").hash()]);
    Arc::new([("apps".to_owned(), user)].into())
}

/// A keeper, and what it says.
struct Kept {
    keeper: Keeper,
    standing: watch::Receiver<Standing>,
    memory: watch::Receiver<Memory>,
}

fn keep(url: &str) -> Kept {
    let (told, standing) = watch::channel(Standing::Unknown);
    let (weighed, memory) = watch::channel(Memory::default());
    let report = move |standing: &Standing| drop(told.send_replace(standing.clone()));
    let keeper = Keeper::start(Box::new(report), Box::new(move |memory| _ = weighed.send_replace(memory)));
    keeper.keep(access(url), SCOPE, wanted());
    Kept { keeper, standing, memory }
}

impl Kept {
    async fn until(&mut self, what: impl Fn(&Standing) -> bool) -> anyhow::Result<()> {
        let heard = tokio::time::timeout(DEADLINE, self.standing.wait_for(|standing| what(standing))).await;
        heard.map(|heard| heard.map(|_| ())).with_context(|| format!("it stands {:?}", self.keeper.standing()))??;
        Ok(())
    }
}

fn is_good(standing: &Standing) -> bool {
    matches!(standing, Standing::Good { full: None, .. })
}

async fn apps(store: &Store) -> anyhow::Result<MultiplexedConnection> {
    store.log_in(&user_name(SCOPE, "apps"), "one").await
}

/// An exchange of some words, by a sidecar of the namespace `apps`.
async fn exchange(connection: &mut MultiplexedConnection, words: &[&str]) -> redis::RedisResult<Value> {
    let function = Library::current().function(Function::Exchange);
    let mut call = cmd("FCALL");
    call.arg(function).arg(1).arg(team_prefix(&Uid::new("t1"))).arg(words).arg(caller(Some(SCOPE), "apps"));
    call.query_async(connection).await
}

/// `NOTHING` with other words from a place on.
fn with(place: usize, words: &[&str]) -> Vec<String> {
    let mut all: Vec<String> = NOTHING.map(str::to_owned).to_vec();
    let end = all.len().min(place + 1);
    all.splice(place..end, words.iter().map(|word| (*word).to_owned()));
    all
}

#[tokio::test]
async fn what_no_sidecar_says_is_refused_and_nothing_of_it_is_written() -> anyhow::Result<()> {
    let store = Store::start().await?;
    let mut kept = keep(&store.url());
    kept.until(is_good).await?;
    let (mut apps, mut admin) = (apps(&store).await?, store.admin().await?);
    let (long, endless) = ("a".repeat(1_300), "9".repeat(40));
    let far = (Timestamp::now().as_millisecond() + 60 * 86_400_000).to_string();
    for (what, words) in [
        ("a sidecar's name that is too long", with(0, &[&"a".repeat(65)])),
        ("a sidecar's name with a blank", with(0, &["a b"])),
        ("a number beyond what is exact", with(2, &["9007199254740993"])),
        ("a lease of an hour", with(5, &["3600000"])),
        ("a pause of a day", with(6, &["86400000"])),
        ("a list of more than it holds", with(8, &["3", "t", "r"])),
        ("a list that is too long", with(8, &["200001"])),
        ("more groups than there can be", with(15, &["1025"])),
        ("more wishes than there can be", with(15, &["1", "16385"])),
        ("an account that is too long", with(8, &["1", &long, "r", "1", "1"])),
        ("a rate that is none", with(8, &["1", "t", "x", "1", "1"])),
        ("an amount that is none", with(8, &["1", "t", "r", "1", "1e99"])),
        ("more calls than there can be", with(9, &["1", "t", &endless])),
        ("money that is none", with(12, &["1", "t", "Total/UTC/0", "", "-5"])),
        ("money that never ends", with(12, &["1", "t", "Total/UTC/0", "", &endless])),
        ("a period that is none", with(12, &["1", "t", "junk", "", "5"])),
        ("a day without an end", with(12, &["1", "t", "Daily/UTC/1", "", "5"])),
        ("an end in two months", with(12, &["1", "t", "Daily/UTC/1", &far, "5"])),
        ("a field of no family", with(13, &["1", "2026-11", "junk", "1", "1", "1"])),
        ("a field that is too long", with(13, &["1", "2026-11", &format!("u:{}", "a".repeat(2_050)), "1", "1", "1"])),
        ("a month that is none", with(13, &["1", "2026-13", "t", "1", "1", "1"])),
        ("a wish of no kind", with(15, &["1", "1", "x", "t", "1", "1", "1", "", ""])),
        ("a wish with a period that has none", with(15, &["1", "1", "t", "t", "1", "1", "1", "Total/UTC/0", ""])),
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
    let wish = with(15, &["1", "1", "r", "t", "1", "1", "9", "", ""]);
    let wish: Vec<&str> = wish.iter().map(String::as_str).collect();
    let said = exchange(&mut apps, &wish).await.err().map(|error| error.to_string()).unwrap_or_default();
    ensure!(said.contains("vectoll: there is more in w:t than sidecars write"), "{said:?}");
    let keys: u64 = cmd("DBSIZE").query_async(&mut admin).await?;
    ensure!(keys == 1, "{keys} keys: it wrote before it looked");
    cmd("HDEL").arg(format!("{prefix}w:t")).arg("r1").query_async::<()>(&mut apps).await?;
    exchange(&mut apps, &wish).await?;
    Ok(())
}

#[tokio::test]
async fn what_a_team_can_name_has_a_bound() -> anyhow::Result<()> {
    let store = Store::start().await?;
    let mut admin = store.admin().await?;
    // The same functions with bounds that a test reaches.
    let source = [
        ("MAX_SIDECARS = 5000 ", "MAX_SIDECARS = 3 "),
        ("MAX_NEW_SIDECARS = 20000 ", "MAX_NEW_SIDECARS = 4 "),
        ("MAX_NEW_PURSES = 200000 ", "MAX_NEW_PURSES = 2 "),
        ("MAX_KEYS, MAX_MODELS = 1000000, 20000, 10000", "MAX_KEYS, MAX_MODELS = 4, 2, 2"),
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
    // Users, keys and models: what is beyond shares one entry, and all of it adds up.
    let mut words: Vec<String> =
        ["one", "1", "2", "1", "0", "2000", "4000", "1000000000", "0", "0", "0", "9", "0"].map(str::to_owned).to_vec();
    let month = Timestamp::now().strftime("%Y-%m").to_string();
    let entries: Vec<String> =
        (0..9).flat_map(|n| [format!("u:user-{n}"), format!("k:key-{n}"), format!("m:a|b|model-{n}")]).collect();
    words.push(entries.len().to_string());
    for field in &entries {
        words.extend([month.as_str(), field, "1", "2", "3"].map(str::to_owned));
    }
    words.extend(["0", "0"].map(str::to_owned));
    call(&mut admin, words).await.map_err(anyhow::Error::msg)?;
    let fields: Vec<(String, u64)> = cmd("HGETALL").arg(total_key(&team)).query_async(&mut admin).await?;
    for (family, most) in [("u:", 4), ("k:", 2), ("m:", 2)] {
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

/// One period of a budget too many is one wish that waits. Spend, what is held and given back, and what was there before go on.
#[tokio::test]
async fn a_period_too_many_refuses_a_wish_and_loses_no_spend() -> anyhow::Result<()> {
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
                         wished: &[&str]| {
        number += 1;
        let (last, this) = ((number - 1).to_string(), number.to_string());
        let sidecar = format!("of-{namespace}");
        let mut words: Vec<String> =
            [&sidecar, &this, "1", "0", "0", "2000", "0", "5", "0", "0"].map(str::to_owned).to_vec();
        // What the store has is the last that this sidecar told.
        let known: Option<u64> =
            cmd("HGET").arg(format!("{}mark:{sidecar}", team_prefix(&team))).arg("spent").query_async(admin).await?;
        words.extend([known.unwrap_or_default().to_string(), format!("1{last}")]);
        let purse = |account: &str| [account, "Total/UTC/0", ""].map(str::to_owned);
        words.push(spent.len().to_string());
        for account in spent {
            words.extend(purse(account).into_iter().chain(["7".to_owned()]));
        }
        words.extend(["1", "2026-11", "t", "1", "2", "7"].map(str::to_owned));
        words.push(held.len().to_string());
        for (account, amount) in held {
            words.extend(purse(account).into_iter().chain([(*amount).to_owned()]));
        }
        words.push(wished.len().to_string());
        for account in wished {
            words.extend(["1", "m", account, "5", "5", "100"].map(str::to_owned));
            words.extend(["Total/UTC/0", ""].map(str::to_owned));
        }
        let mut call = cmd("FCALL");
        call.arg(library.function(Function::Exchange)).arg(1).arg(team_prefix(&team)).arg(words);
        call.arg(caller(Some(SCOPE), namespace));
        let answer: Vec<Value> = call.query_async(admin).await?;
        // What each wish came to: 1 granted, 0 refused; and how long to wait.
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
    let wishes = ["tu:bob", "tu:eve", "tu:ada", "tu:eve"];
    let outcomes = say(&mut admin, "apps", &["tu:ada"], &[("tu:ada", "3"), ("tu:none", "0")], &wishes).await?;
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
        let purse = money_key(&team, account, "Total/UTC/0");
        let day: Option<i64> = cmd("HGET").arg(purse).arg("d").query_async(&mut admin).await?;
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

#[tokio::test]
async fn what_somebody_wrote_in_place_of_a_function_stops_nobody() -> anyhow::Result<()> {
    let store = Store::start().await?;
    let mut kept = keep(&store.url());
    kept.until(is_good).await?;
    let mut apps = apps(&store).await?;
    let prefix = team_prefix(&Uid::new("t1"));
    for (key, fields) in [
        ("meta", vec!["seen", "99999999999999", "hold", "99999999999999", "n", "junk", "nat", "junk", "users", "-1"]),
        ("live", vec!["ghost", "99999999999999", "other", "junk"]),
        ("w:t", vec!["r99999999999", "5", "t", "junk", "r1", "junk"]),
        ("p:t", vec!["ghost", "junk", "other", "9:99999999999999"]),
        ("m:t:Total/UTC/0", vec!["s", "junk", "r", "junk"]),
        ("mark:one", vec!["spent", "junk"]),
        ("total", vec!["t:r", "junk"]),
    ] {
        cmd("HSET").arg(format!("{prefix}{key}")).arg(fields).query_async::<()>(&mut apps).await?;
    }
    let group = [
        "1",
        "3",
        "r",
        "t",
        "1",
        "1",
        "5",
        "",
        "",
        "p",
        "t",
        "1",
        "1",
        "5",
        "",
        "",
        "m",
        "t",
        "1",
        "1",
        "5",
        "Total/UTC/0",
        "",
    ];
    // The server was started just now: nothing is granted before all who were there could tell again.
    let answer = poll::until("a grant", DEADLINE, async || {
        let number = Timestamp::now().as_millisecond().to_string();
        let head = ["one", "1", &number, "0", "0", "2000", "4000", "5", "0", "0", "0", "0", "0", "0", "0"];
        let answer = format!("{:?}", exchange(&mut apps.clone(), &[&head[..], &group[..]].concat()).await?);
        Ok(answer.contains("array([int(1)").then_some(answer))
    })
    .await?;
    ensure!(answer.contains("int(1)"), "{answer}");
    Ok(())
}

#[tokio::test]
async fn functions_that_are_gone_are_back_within_seconds() -> anyhow::Result<()> {
    let mut store = Store::start().await?;
    let mut kept = keep(&store.url());
    kept.until(is_good).await?;
    for (what, command) in [
        ("flushed", &["FUNCTION", "FLUSH"][..]),
        ("replaced", &[][..]),
        ("lost with the store", &["FUNCTION", "FLUSH"]),
    ] {
        let mut admin = store.admin().await?;
        if let [name, of] = command {
            cmd(name).arg(of).query_async::<()>(&mut admin).await?;
        } else {
            // Under the same name, other code: found when all of it is looked at.
            let (name, function) = (Library::current().name(), Library::current().function(Function::Exchange));
            let code = format!("#!lua name={name}\nredis.register_function('{function}', function() return 0 end)");
            cmd("FUNCTION").arg("LOAD").arg("REPLACE").arg(code).query_async::<()>(&mut admin).await?;
            kept.keeper.keep(access(&store.url()), SCOPE, Arc::new(Wanted::new()));
            kept.keeper.keep(access(&store.url()), SCOPE, wanted());
        }
        if what.contains("store") {
            store.restart().await?;
        }
        let begun = Instant::now();
        poll::until(what, DEADLINE, async || {
            let mut apps = apps(&store).await?;
            let number = Timestamp::now().as_millisecond().to_string();
            let words = with(2, &[&number]);
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let answer = exchange(&mut apps, &words).await?;
            ensure!(matches!(answer, Value::Array(_)), "{answer:?}");
            Ok(Some(()))
        })
        .await?;
        println!("figure: functions that were {what} were back after {:.1} s", begun.elapsed().as_secs_f64());
        ensure!(begun.elapsed() < Duration::from_secs(10));
    }
    Ok(())
}

#[tokio::test]
async fn every_master_of_a_cluster_has_the_functions() -> anyhow::Result<()> {
    let cluster = RedisCluster::start(3, 1).await?;
    let url = format!("redis+cluster://{}", cluster.masters.first().context("no master")?.address());
    let mut kept = keep(&url);
    kept.until(is_good).await?;
    let has = async |store: &Store| -> anyhow::Result<bool> {
        let list: Vec<Value> = cmd("FUNCTION").arg("LIST").query_async(&mut store.admin().await?).await?;
        Ok(format!("{list:?}").contains(Library::current().name()))
    };
    poll::until("the functions on all servers", DEADLINE, async || {
        for server in cluster.masters.iter().chain(&cluster.replicas) {
            if !has(server).await? {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
    .await
}

#[tokio::test]
async fn a_script_that_blocks_the_store_is_ended_or_told_of() -> anyhow::Result<()> {
    // As somebody who may: the administrator of a store that others use as well.
    let mut store = Store::start_with(Transport::Plain, &["--busy-reply-threshold", "300"]).await?;
    let mut kept = keep(&store.url());
    kept.until(is_good).await?;
    let block = |connection: MultiplexedConnection, script: &'static str| {
        let mut connection = connection;
        tokio::spawn(async move { cmd("EVAL").arg(script).arg(0).query_async::<Value>(&mut connection).await })
    };
    let begun = Instant::now();
    let blocked = block(store.admin().await?, "while true do end");
    let ended = tokio::time::timeout(DEADLINE, blocked).await.context("nobody ended it")??;
    ensure!(ended.is_err(), "{ended:?}");
    println!("figure: a script that blocked the store was ended after {:.1} s", begun.elapsed().as_secs_f64());
    kept.until(is_good).await?;
    // One that has written cannot be ended.
    let _blocked = block(store.admin().await?, "redis.call('SET','a','1') while true do end");
    kept.until(|standing| matches!(standing, Standing::Trouble { busy: true, .. })).await?;
    store.restart().await?;
    kept.until(is_good).await
}

/// Teams and keys in the namespace `apps`, counted a moment ago.
fn census(teams: &[&str], keys: &[&str]) -> Census {
    Census {
        scope: SCOPE.to_owned(),
        counted_ms: u64::try_from(Timestamp::now().as_millisecond()).unwrap(),
        teams: in_namespaces(&teams.iter().map(|team| (*team, "apps")).collect::<Vec<_>>()),
        keys: keys.iter().map(|key| ((*key).to_owned(), "apps".to_owned())).collect(),
        routes: BTreeMap::new(),
        namespaces: ["apps".to_owned()].into(),
        unheard: BTreeSet::new(),
        retention_ms: 400 * DAY_MS,
        is_urgent: false,
    }
}

fn in_namespaces(teams: &[(&str, &str)]) -> BTreeMap<String, CountedTeam> {
    let team = |namespace: &str| CountedTeam { namespace: namespace.to_owned(), most_users: 100_000 };
    teams.iter().map(|(uid, namespace)| ((*uid).to_owned(), team(namespace))).collect()
}

/// One sweep, of whoever has swept nothing before.
async fn sweep(access: &Access, census: &Census, now: Timestamp) -> redis::RedisResult<Swept> {
    vectoll_operator::store::sweep(access, census, &mut Suspects::default(), now).await
}

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
    kept.until(|standing| matches!(standing, Standing::Good { full: Some(_), .. })).await?;
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

/// What sidecars say: spend and holds of a key and two users, one of whom has not spent yet.
async fn spend_of_a_key_and_two_users(admin: &mut MultiplexedConnection, now: Timestamp) -> anyhow::Result<()> {
    let month = now.strftime("%Y-%m").to_string();
    let mut words: Vec<String> =
        ["one", "1", "1", "0", "0", "2000", "4000", "5", "0", "0", "0", "1", "2"].map(str::to_owned).to_vec();
    for account in ["k:real", "tu:ada"] {
        words.extend([account, "Total/UTC/0", "", "7"].map(str::to_owned));
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

/// What the store takes for what it holds: with the places of its keys, without buffers.
async fn used(admin: &mut MultiplexedConnection) -> anyhow::Result<u64> {
    let info: String = cmd("INFO").arg("memory").query_async(admin).await?;
    let number = |name: &str| -> anyhow::Result<u64> {
        let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        Ok(value.with_context(|| format!("no {name}"))?.trim().parse()?)
    };
    Ok(number("used_memory")? - number("mem_clients_normal")? - number("mem_aof_buffer")?)
}

/// Tells of spend and holds of so many accounts, a thousand at a time. Returns by how many bytes the store grew.
async fn book(
    admin: &mut MultiplexedConnection,
    number: &mut u64,
    (month, period): (&str, &str),
    accounts: &[(String, String)],
) -> anyhow::Result<u64> {
    let before = used(admin).await?;
    let end = (Timestamp::now().as_millisecond() + 20 * 86_400_000).to_string();
    for part in accounts.chunks(1_000) {
        *number += 1;
        let (last, this) = ((*number - 1).to_string(), number.to_string());
        let head = ["one", "1", &this, &last, "0", "2000", "4000", "1000000", "0", "0", &last, &this];
        let mut words: Vec<String> = head.map(str::to_owned).to_vec();
        words.push(part.len().to_string());
        for (account, _) in part {
            words.extend([account, period, &end, "123456789012"].map(str::to_owned));
        }
        words.push(part.len().to_string());
        for (_, field) in part {
            words.extend([month, field, "12", "123456", "123456789012"].map(str::to_owned));
        }
        words.extend(["0", "0"].map(str::to_owned));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        exchange(admin, &words).await?;
    }
    Ok(used(admin).await?.saturating_sub(before))
}

/// The figures of the table in the chart's page on sizing. `-- --nocapture` prints them.
#[tokio::test]
async fn what_the_store_holds_of_each_is_as_large_as_the_readme_says() -> anyhow::Result<()> {
    let store = Store::start().await?;
    store.load_functions(Library::current().code()).await?;
    let (mut admin, mut number) = (store.admin().await?, 0);
    let now = Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
    let month = |back: i64| now.date().saturating_sub(jiff::Span::new().months(back)).strftime("%Y-%m").to_string();
    let (this, last) = (month(0), month(1));
    let uuid = |n: usize| format!("00000000-0000-4000-8000-{n:012}");
    let team = [("t".to_owned(), "t".to_owned())];
    let keys: Vec<_> = (0..2_000).map(uuid).map(|key| (format!("k:{key}"), format!("k:{key}"))).collect();
    let users: Vec<_> = (0..20_000)
        .map(|n| format!("user-{n}@example.com"))
        .map(|user| (format!("tu:{user}"), format!("u:{user}")))
        .collect();
    let period = "Monthly/Europe/Berlin/1793487600";
    book(&mut admin, &mut number, (&this, period), &team).await?;
    let mut base = 0_u64;
    let names: Vec<String> = cmd("KEYS").arg("*").query_async(&mut admin).await?;
    for name in names {
        base += cmd("MEMORY").arg("USAGE").arg(name).query_async::<u64>(&mut admin).await?;
    }
    let mut each = async |of: &[(String, String)], month: &str, period: &str| -> anyhow::Result<u64> {
        Ok(book(&mut admin, &mut number, (month, period), of).await? / of.len() as u64)
    };
    let (key, key_month) = (each(&keys, &this, period).await?, each(&keys, &last, period).await?);
    let (user, user_month) = (each(&users, &this, period).await?, each(&users, &last, period).await?);
    // Sidecars that book and go, each under a name as the journal makes it.
    let (sidecars, before) = (1_000, used(&mut admin).await?);
    for n in 0..sidecars {
        let name = format!("{n:032x}");
        let held = ["1", "t", "Total/UTC/0", "", "5"];
        for (number, last, amount) in [("1", "0", "5"), ("2", "1", "0")] {
            let mut words =
                vec![name.as_str(), "1", number, last, "0", "2000", "4000", "5", "0", "0", last, number, "0", "0"];
            words.extend(&held[..4]);
            words.extend([amount, "0"]);
            exchange(&mut admin, &words).await?;
        }
    }
    let there = (used(&mut admin).await?.saturating_sub(before)) / sidecars;
    cmd("UNLINK").arg(format!("{}live", team_prefix(&Uid::new("t1")))).query_async::<()>(&mut admin).await?;
    let sidecar = (used(&mut admin).await?.saturating_sub(before)) / sidecars;
    println!(
        "figure: bytes in the store: a Team {base}, a key with a budget {key}, each further month of it {key_month}, a user with a \
         budget {user}, each further month of it {user_month}, a sidecar {there}, one that is gone {sidecar}"
    );
    let year = |first: u64, month: u64| first + 11 * month;
    let rest = 256 * 1024 * 1024 / 100 * 95 - 50 * base - 5_000 * year(key, key_month);
    println!("figure: 256 MB hold 50 Teams, 5000 keys and {} users of a year", rest / year(user, user_month));
    for (what, bytes, most) in [
        ("Team", base, 4_000),
        ("key", key, 1_250),
        ("month of a key", key_month, 500),
        ("user", user, 1_250),
        ("month of a user", user_month, 450),
        ("sidecar", there, 700),
        ("sidecar that is gone", sidecar, 500),
    ] {
        ensure!(bytes > 50 && bytes <= most, "{what}: {bytes} bytes, the table says {most}");
    }
    Ok(())
}
