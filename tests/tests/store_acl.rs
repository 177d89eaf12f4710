//! Who may do what in the store: the operator's keeper against a real server.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, reason = "a test")]

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use jiff::{SignedDuration, Timestamp};
use redis::{FromRedisValue, Value, aio::MultiplexedConnection, cmd};
use vectoll_config::{
    StoreUrl, Uid,
    store::{
        Function, Library, SIDECAR_COMMANDS, caller, live_key, month_key, namespace_prefix, team_prefix, total_key,
        user_name,
    },
    v1::OnStoreFailure,
};
use vectoll_operator::{
    allocation::Allocation,
    ledger::{LedgerEvent, LedgerQuery, Reader, TeamQuery},
    store::{
        Access, AclReconciler, DeferredRevocations, Master, Password, Persistence, REVOCATION_DELAY, Rotation,
        StoreState, Suspects, User, UsersByName, Valid, allocate, connect, plan, read_allocations, sweep,
        sweep::{Census, CountedTeam},
    },
};
use vectoll_tests::{
    pair::poll,
    store::{PASSWORD, Store, Transport, redis_cluster::RedisCluster, sentinels::Sentinels},
};

const SCOPE: &str = "vectoll-system.vectoll-operator";
const DEADLINE: Duration = Duration::from_secs(20);

fn access(store: &Store) -> Access {
    Access {
        url: store.url().parse().unwrap(),
        username: None,
        password: Some(Password::new(PASSWORD)),
        ca: store.ca().map(|pem| pem.as_bytes().to_vec()),
        on_failure: OnStoreFailure::Local,
    }
}

fn user(namespace: &str, teams: &[&str], password: &str) -> (String, User) {
    let teams: Vec<Uid> = teams.iter().map(|team| Uid::new(team)).collect();
    (namespace.to_owned(), User::of(SCOPE, namespace, &teams, [Password::new(password).hash()]))
}

/// Makes the users what they are to be, once.
async fn put_in_order(store: &Store, wanted: &UsersByName) -> anyhow::Result<usize> {
    let mut servers = connect(&access(store)).await?;
    ensure!(servers.len() == 1, "one server");
    let list = servers[0].list().await?;
    let steps = plan(SCOPE, wanted, &list);
    servers[0].apply(&steps).await?;
    Ok(steps.len())
}

/// A command; `~` stands for a space within a word, but for where a word begins with it.
async fn ask<T: FromRedisValue>(connection: &mut MultiplexedConnection, line: &str) -> anyhow::Result<T> {
    let mut words = line.split(' ');
    let mut ask = cmd(words.next().unwrap());
    words.for_each(|word| {
        ask.arg(if word.starts_with('~') { word.to_owned() } else { word.replace('~', " ") });
    });
    ask.query_async(connection).await.with_context(|| line.to_owned())
}

/// Refused because the user may not, and for no other reason.
async fn refuses(connection: &mut MultiplexedConnection, line: &str) -> anyhow::Result<()> {
    match ask::<Value>(connection, line).await {
        Ok(answer) => anyhow::bail!("{line} was answered: {answer:?}"),
        Err(error) => {
            let said = format!("{error:#}");
            ensure!(said.contains("NoPerm"), "{line}: {said}");
            Ok(())
        }
    }
}

#[tokio::test]
async fn a_namespaces_user_can_do_what_a_sidecar_needs_and_nothing_else() -> anyhow::Result<()> {
    let store = Store::start().await?;
    let wanted: UsersByName = [user("apps", &["t1"], "one"), user("shop", &["t2"], "two")].into();
    assert_eq!(put_in_order(&store, &wanted).await?, 2);
    // The server says of them what was meant: nothing is left to do.
    assert_eq!(put_in_order(&store, &wanted).await?, 0);

    let mut apps = store.log_in(&user_name(SCOPE, "apps"), "one").await?;
    let (mine, theirs) = (team_prefix(&Uid::new("t1")), team_prefix(&Uid::new("t2")));
    let of = |scope| namespace_prefix(scope, "apps");
    let (own, other) = (of(Some(SCOPE)), namespace_prefix(Some(SCOPE), "shop"));
    let mut admin = store.admin().await?;
    let () = ask(&mut admin, &format!("SET {theirs}spend 7")).await?;
    let () = ask(&mut admin, "SET elsewhere 7").await?;

    // The functions over its own keys, and what it says of itself.
    store.load_functions(Library::current().code()).await?;
    let spend = format!("{mine}spend");
    let [exchange, acknowledge] = [Function::Exchange, Function::Acknowledge].map(|of| Library::current().function(of));
    let said: u64 =
        ask(&mut apps, &format!("FCALL {acknowledge} 1 {} sidecar 1 pod", live_key(Some(SCOPE), "apps"))).await?;
    assert!(said > 1_600_000_000_000);
    let nothing = format!("one 1 1 0 0 2000 4000 5 0 0 0 0 0 0 0 0 {}", caller(Some(SCOPE), "apps"));
    let () = ask(&mut apps, &format!("FCALL {exchange} 1 {mine} {nothing}")).await?;
    let () = ask(&mut apps, &format!("HSET {own}alive sidecar 1")).await?;
    let () = ask(&mut apps, &format!("PEXPIRE {own}alive 60000")).await?;
    let info: String = ask(&mut apps, "INFO server").await?;
    assert!(info.contains("run_id:"));
    // Every command that is granted is one that the server knows, and may be called.
    for command in SIDECAR_COMMANDS {
        let command = command.trim_start_matches('+').replace('|', " ");
        let said = ask::<Value>(&mut apps, &command).await.err().map(|error| format!("{error:#}")).unwrap_or_default();
        assert!(!said.contains("NoPerm"), "{command}: {said}");
    }

    // Other Teams, other namespaces, the namespace of its name in another cluster, other programs.
    let elsewhere = [of(Some("another")), of(None), other].map(|prefix| format!("{prefix}alive"));
    let others = [format!("{theirs}spend"), "elsewhere".to_owned(), "vectoll:".to_owned()];
    for key in others.into_iter().chain(elsewhere) {
        refuses(&mut apps, &format!("GET {key}")).await?;
        refuses(&mut apps, &format!("SET {key} 0")).await?;
        refuses(&mut apps, &format!("HSET {key} a 1")).await?;
        refuses(&mut apps, &format!("PEXPIRE {key} 1")).await?;
        refuses(&mut apps, &format!("FCALL {acknowledge} 1 {key} sidecar 1 pod")).await?;
        refuses(&mut apps, &format!("FCALL {exchange} 1 {key} {nothing}")).await?;
    }
    // What destroys, spies or configures, on its own keys too.
    for line in [
        &format!("DEL {spend}"),
        &format!("UNLINK {spend}"),
        &format!("RENAME {spend} {mine}b"),
        &format!("DUMP {spend}"),
        &format!("RESTORE {mine}c 0 a"),
        &format!("SCAN 0 MATCH {mine}*"),
        &format!("KEYS {mine}*"),
        &format!("COPY {spend} {theirs}spend"),
        &format!("PUBLISH {mine}a b"),
        &format!("SUBSCRIBE {mine}a"),
        "FLUSHALL",
        "FLUSHDB",
        "SWAPDB 0 1",
        "RANDOMKEY",
        "DBSIZE",
        "CONFIG GET *",
        "CONFIG SET appendonly no",
        "ACL LIST",
        "ACL SETUSER default nopass",
        "ACL WHOAMI",
        "CLIENT LIST",
        "CLIENT KILL TYPE normal",
        "MONITOR",
        "SHUTDOWN NOSAVE",
        "SAVE",
        "BGREWRITEAOF",
        "REPLICAOF 127.0.0.1 1",
        // Code of its own, in whatever way: it would stop the store for everybody.
        "EVAL while~true~do~end 0",
        "EVAL_RO while~true~do~end 0",
        "EVALSHA 0123456789012345678901234567890123456789 0",
        "SCRIPT LOAD while~true~do~end",
        "SCRIPT FLUSH",
        "SCRIPT KILL",
        "FUNCTION LOAD #!lua~name=mine\nwhile~true~do~end",
        "FUNCTION DELETE vectoll",
        "FUNCTION FLUSH",
        "FUNCTION KILL",
        "FUNCTION DUMP",
        "FUNCTION RESTORE a",
        "FUNCTION LIST",
        "MODULE LIST",
        "LATENCY RESET",
        "SLOWLOG GET",
        "CLUSTER RESET",
        "WAIT 1 1",
        "MULTI",
    ] {
        refuses(&mut apps, line).await?;
    }
    let kept: (u64, u64) = redis::pipe()
        .cmd("GET")
        .arg(format!("{theirs}spend"))
        .cmd("GET")
        .arg("elsewhere")
        .query_async(&mut admin)
        .await?;
    assert_eq!(kept, (7, 7));
    // And a namespace's password is nobody else's.
    assert!(store.log_in(&user_name(SCOPE, "shop"), "one").await.is_err());
    assert!(store.log_in("default", "one").await.is_err());
    Ok(())
}

#[tokio::test]
async fn a_password_that_was_replaced_works_through_its_grace_and_not_after() -> anyhow::Result<()> {
    let store = Store::start().await?;
    let (master, rotation) = (Master::random(getrandom)?, Rotation::every(SignedDuration::from_hours(48)));
    let second = SignedDuration::from_secs(1);
    let current = |at: Timestamp| rotation.valid(&master, "apps", at).current;
    let mut begin = Timestamp::from_second(10_000 * 48 * 3600)?;
    while current(begin) == current(begin - second) {
        begin = rotation.next(&master, ["apps"], begin).context("it never changes")?;
    }
    let at = async |after: SignedDuration| -> anyhow::Result<Valid> {
        let valid = rotation.valid(&master, "apps", begin + after);
        let all = [Some(valid.current.clone()), valid.previous.clone(), Some(valid.upcoming.clone())];
        let hashes = all.into_iter().flatten().map(|one| one.hash());
        put_in_order(&store, &[("apps".to_owned(), User::of(SCOPE, "apps", [], hashes))].into()).await?;
        Ok(valid)
    };
    let name = user_name(SCOPE, "apps");
    let works = async |password: &Password| store.log_in(&name, password.reveal()).await.is_ok();
    let Valid { current: old, upcoming, .. } = at(-second).await?;
    assert!(works(&old).await && works(&upcoming).await, "before it is handed out");
    let new = at(SignedDuration::ZERO).await?.current;
    assert!(new == upcoming);
    assert!(works(&new).await && works(&old).await, "both, so that no sidecar is cut off");
    at(SignedDuration::from_hours(24) - second).await?;
    assert!(works(&old).await);
    at(SignedDuration::from_hours(24)).await?;
    assert!(works(&new).await && !works(&old).await);
    Ok(())
}

fn getrandom(bytes: &mut [u8]) -> anyhow::Result<()> {
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, bytes).context("failed to read /dev/urandom")
}

/// The names of all users.
async fn users(store: &Store) -> anyhow::Result<BTreeSet<String>> {
    let names: Vec<String> = ask(&mut store.admin().await?, "ACL USERS").await?;
    Ok(names.into_iter().collect())
}

#[tokio::test]
async fn a_store_that_forgets_everything_at_a_restart_is_told_of() -> anyhow::Result<()> {
    for (setting, right, expected) in
        [("yes", true, Persistence::Kept), ("no", true, Persistence::Volatile), ("no", false, Persistence::Unknown)]
    {
        let store = Store::start_with(Transport::Plain, &["--appendonly", setting]).await?;
        let mut access = access(&store);
        if !right {
            // As where a provider allows nobody to ask.
            let () = ask(&mut store.admin().await?, "ACL SETUSER operator on >secret ~* +@all -info").await?;
            (access.username, access.password) = (Some("operator".to_owned()), Some(Password::new("secret")));
        }
        let (told, mut hear) = tokio::sync::watch::channel(StoreState::Unknown);
        let keeper =
            AclReconciler::start(Box::new(move |state| drop(told.send_replace(state.clone()))), Box::new(|_| {}));
        keeper.keep(access, SCOPE, Arc::new(UsersByName::new()));
        let is_known = |state: &StoreState| matches!(state, StoreState::Good { .. });
        let state = tokio::time::timeout(DEADLINE, hear.wait_for(is_known)).await??.clone();
        let StoreState::Good { persistence, .. } = state else { anyhow::bail!("{state:?}") };
        assert_eq!(persistence, expected, "appendonly {setting}");
    }
    Ok(())
}

#[tokio::test]
async fn users_outlive_a_restart_of_the_store_and_go_with_their_namespace() -> anyhow::Result<()> {
    let mut store = Store::start().await?;
    let mut admin = store.admin().await?;
    for stranger in ["app", "vectoll-ns-another:apps"] {
        let () = ask(&mut admin, &format!("ACL SETUSER {stranger} on nopass ~* +@all")).await?;
    }
    let (told, mut hear) = tokio::sync::watch::channel(StoreState::Unknown);
    let keeper = AclReconciler::start(Box::new(move |state| drop(told.send_replace(state.clone()))), Box::new(|_| {}));
    let both: Arc<UsersByName> = Arc::new([user("apps", &["t1"], "one"), user("shop", &["t2"], "two")].into());
    keeper.keep(access(&store), SCOPE, both.clone());
    let good = |state: &StoreState| matches!(state, StoreState::Good { count: 2, .. });
    tokio::time::timeout(DEADLINE, hear.wait_for(good)).await??;
    assert!(!keeper.state().is_about_to_have("apps", both.get("apps")));
    store.log_in(&user_name(SCOPE, "apps"), "one").await?;

    // It is killed: users are only in its memory. While it is away nobody waits for it.
    let killed = Instant::now();
    store.kill().await?;
    tokio::time::timeout(DEADLINE, hear.wait_for(|state| matches!(state, StoreState::Trouble { .. }))).await??;
    assert!(!keeper.state().is_about_to_have("new", None));
    store.restart().await?;
    poll::until("the users to be recreated", DEADLINE, async || {
        Ok(Some(store.log_in(&user_name(SCOPE, "shop"), "two").await?))
    })
    .await?;
    tokio::time::timeout(DEADLINE, hear.wait_for(good)).await??;
    println!("figure: users were back {:.1} s after the store was killed", killed.elapsed().as_secs_f64());
    // Restarted so quickly that nobody saw it away.
    store.restart().await?;
    poll::until("the users to be recreated", DEADLINE, async || {
        Ok(Some(store.log_in(&user_name(SCOPE, "apps"), "one").await?))
    })
    .await?;

    // What somebody does to a user is undone, at once when there is a reason to look.
    let () = ask(&mut store.admin().await?, &format!("ACL SETUSER {} +@all ~*", user_name(SCOPE, "apps"))).await?;
    let three: UsersByName =
        both.iter().map(|(name, user)| (name.clone(), user.clone())).chain([user("new", &[], "x")]).collect();
    keeper.keep(access(&store), SCOPE, Arc::new(three));
    tokio::time::timeout(DEADLINE, hear.wait_for(|state| matches!(state, StoreState::Good { count: 3, .. }))).await??;
    let mut apps = store.log_in(&user_name(SCOPE, "apps"), "one").await?;
    refuses(&mut apps, "FLUSHALL").await?;
    drop(keeper);

    // Of gone namespaces users go when they have lingered, and strangers never.
    let only: UsersByName = [user("apps", &["t1"], "one")].into();
    let mut servers = connect(&access(&store)).await?;
    let (mut lingering, begin) = (DeferredRevocations::default(), Instant::now());
    for (later, expected) in [(Duration::ZERO, 3), (REVOCATION_DELAY / 2, 3), (REVOCATION_DELAY, 1)] {
        let list = servers[0].list().await?;
        let all = lingering.with(SCOPE, &only, &[&list], begin + later);
        servers[0].apply(&plan(SCOPE, &all, &list)).await?;
        let ours = users(&store).await?.iter().filter(|name| name.starts_with(&user_name(SCOPE, ""))).count();
        assert_eq!(ours, expected, "after {later:?}");
    }
    let left = users(&store).await?;
    assert!(left.contains(&user_name(SCOPE, "apps")) && left.contains("default"), "{left:?}");
    let () = ask(&mut store.admin().await?, "ACL SETUSER vectoll-ns-another:apps on nopass ~* +@all").await?;
    put_in_order(&store, &UsersByName::new()).await?;
    assert_eq!(users(&store).await?, ["default", "vectoll-ns-another:apps"].map(str::to_owned).into());
    Ok(())
}

#[tokio::test]
async fn a_store_behind_tls_is_trusted_by_its_ca_only() -> anyhow::Result<()> {
    let store = Store::start_with(Transport::Tls, &[]).await?;
    assert!(store.url().starts_with("rediss://"));
    let wanted: UsersByName = [user("apps", &["t1"], "one")].into();
    assert_eq!(put_in_order(&store, &wanted).await?, 1);
    store.log_in(&user_name(SCOPE, "apps"), "one").await?;
    let stranger = Access { ca: None, ..access(&store) };
    let said = connect(&stranger).await.err().map(|error| format!("{:#}", anyhow::Error::from(error)));
    assert!(said.is_some_and(|said| said.contains("failed to log in at") && !said.contains(PASSWORD)));
    Ok(())
}

/// Whether each server lets the user in, with its Team's keys or with an answer that another one has them.
async fn all_know(stores: &[&Store]) -> bool {
    for store in stores {
        if store.log_in(&user_name(SCOPE, "apps"), "one").await.is_err() {
            return false;
        }
    }
    true
}

/// Makes users on all servers of a store, found from one address.
async fn put_all_in_order(access: &Access, servers: usize) -> anyhow::Result<()> {
    let wanted: UsersByName = [user("apps", &["t1"], "one")].into();
    let mut found = connect(access).await?;
    ensure!(found.len() == servers, "{} servers", found.len());
    for server in &mut found {
        let list = server.list().await?;
        server.apply(&plan(SCOPE, &wanted, &list)).await?;
    }
    Ok(())
}

#[tokio::test]
async fn in_a_cluster_masters_and_replicas_get_the_users() -> anyhow::Result<()> {
    let cluster = RedisCluster::start(2, 1).await?;
    let ([one, two], [replica]) = (&cluster.masters[..], &cluster.replicas[..]) else { anyhow::bail!("three servers") };
    let url = format!("redis+cluster://{}", two.address()).parse()?;
    poll::until("users on all servers", DEADLINE, async || {
        Ok(Some(put_all_in_order(&Access { url: StoreUrl::clone(&url), ..access(one) }, 3).await?))
    })
    .await?;
    assert!(all_know(&[one, two, replica]).await);
    Ok(())
}

#[tokio::test]
async fn behind_sentinels_master_and_replicas_get_the_users() -> anyhow::Result<()> {
    let sentinels = Sentinels::start(1).await?;
    let [master, replica] = &sentinels.servers;
    let access = Access { url: sentinels.url()?.parse()?, ..access(master) };
    poll::until("users on both servers", DEADLINE, async || Ok(Some(put_all_in_order(&access, 2).await?)))
        .await
        .with_context(|| sentinels.log())?;
    assert!(all_know(&[master, replica]).await);
    Ok(())
}

#[tokio::test]
async fn an_administrator_of_users_who_may_read_what_is_counted_is_enough() -> anyhow::Result<()> {
    let store = Store::start().await?;
    let mut admin = store.admin().await?;
    // As the chart's page on the store lists it.
    let () = ask(
        &mut admin,
        "ACL SETUSER vectoll on >pw -@all +acl|list +acl|setuser +acl|deluser +ping +function|list +function|load +function|kill \
         +script|kill +info +time +hgetall +hmget +hscan +scan +pttl +memory|usage +hget +hset +hdel +pexpire +fcall +unlink ~vectoll:*",
    )
    .await?;
    let access = Access { username: Some("vectoll".to_owned()), password: Some(Password::new("pw")), ..access(&store) };
    let mut servers = connect(&access).await?;
    for wanted in [[user("apps", &["t1"], "one")].into(), UsersByName::new()] {
        let list = servers[0].list().await?;
        let steps = plan(SCOPE, &wanted, &list);
        assert_eq!(steps.len(), 1);
        servers[0].apply(&steps).await?;
    }
    assert!(servers[0].load().await?, "the functions were there");
    assert!(!servers[0].load().await?, "they are loaded once");
    assert!(servers[0].memory().await?.is_some());
    let () = ask(&mut admin, &format!("HSET {} t:r 1 u:ada:r 1 junk 1", total_key(&Uid::new("t1")))).await?;
    let () = ask(&mut admin, &format!("HSET {}m:k:none:Total/UTC/0 s 1", team_prefix(&Uid::new("t1")))).await?;
    let teams = [("t1".to_owned(), CountedTeam { namespace: "apps".to_owned(), most_users: 5 })].into();
    let mut census = Census { scope: SCOPE.to_owned(), teams, ..Census::default() };
    let mut suspects = Suspects::default();
    for swept in [1, 1] {
        let found = sweep(&access, &census, &mut suspects, Timestamp::now()).await?;
        assert_eq!(found.by_reason().collect::<Vec<_>>(), [("foreign", swept)]);
        census.counted_ms = u64::MAX;
    }
    let () =
        ask(&mut admin, &format!("HSET {} k:real:r 1 k:real:t 2 k:real:p 3", month_key(&Uid::new("t1"), "2026-11")))
            .await?;
    let keys = [(Uid::new("real"), Allocation::default())].into();
    allocate(&access, &[(Uid::new("t1"), keys)].into(), &["2026-11".to_owned()], Timestamp::now()).await?;
    let allocated = read_allocations(&self::access(&store), "2026-11").await?;
    ensure!(allocated[&Uid::new("t1")].keys().eq(["real {}"]), "{allocated:?}");
    let (heard, mut all) = tokio::sync::mpsc::unbounded_channel();
    let reader = Reader::start(Arc::new(move |told| drop(heard.send(told))));
    let teams = [(Uid::new("t1"), TeamQuery::default())].into();
    reader.ask(access, LedgerQuery { scope: SCOPE.to_owned(), namespaces: ["apps".to_owned()].into(), teams });
    let spend = async {
        let (mut spent, mut parts) = (false, false);
        while !(spent && parts) {
            match all.recv().await.context("the reader has ended")? {
                LedgerEvent::Spend(teams) => spent |= teams.contains_key(&Uid::new("t1")),
                LedgerEvent::Breakdowns(teams) => {
                    parts |= teams.get(&Uid::new("t1")).is_some_and(|of| of.users.len() == 1);
                }
                LedgerEvent::Live { .. } | LedgerEvent::Nothing(_) | LedgerEvent::Rests => {}
            }
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(DEADLINE, spend).await.context("the reader may not read")??;
    Ok(())
}

#[tokio::test]
async fn a_wrong_password_is_told_without_it() -> anyhow::Result<()> {
    let store = Store::start().await?;
    let wrong = Access { password: Some(Password::new("hunter2")), ..access(&store) };
    let error = connect(&wrong).await.err().context("it was let in")?;
    let said = format!("{:#}", anyhow::Error::from(error));
    assert!(said.contains("failed to log in at 127.0.0.1") && !said.contains("hunter2"), "{said}");
    Ok(())
}
