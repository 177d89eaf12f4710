//! A sidecar that starts with a full journal, after a long outage of the store.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use nix::sys::signal::Signal;
use serde_json::json;
use vectoll_config::{PicoUsd, Uid, v1::Period};
use vectoll_ledger::{
    books::Certainty,
    charge::{BudgetAccount, BudgetPeriod},
    journal::{AppendError, Covered, Intent, Journal, JournalMetrics, Named, Options, Retention},
    used::Used,
};
use vectoll_tests::{
    caller::Caller,
    cgroup::MemoryGroup,
    manifest::{api_key, key_value, team},
    pair::poll,
};

use crate::scene::{MODEL, NINE_TOKENS, TURN, ledger, scene};

/// What a journal may hold if nobody says otherwise.
const JOURNAL: u64 = 64 * 1024 * 1024;
/// What an injected sidecar may take.
const MEMORY: u64 = 256 * 1024 * 1024;
const TEAMS: u64 = 8;
const TOKENS: u64 = 9;

/// Fills the journal of a state folder with calls of teams that the store has nothing of. Returns how many there are.
fn fill(state: &Path) -> anyhow::Result<u64> {
    let retention = Retention::Acknowledged { keep: Duration::from_mins(15) };
    let options = Options::new(JOURNAL, retention);
    let journal = Journal::open(state, options, Covered::default(), JournalMetrics::new()?, |_| {})?;
    let intents: Vec<Intent> = (0..TEAMS).map(intent).collect::<Result<_, _>>()?;
    for calls in 0.. {
        let which = usize::try_from(calls % TEAMS)?;
        // Each call has a user of its own: nothing is alike that may be told apart.
        match journal.intend(Intent { user: format!("user-{calls}").into(), ..intents[which].clone() }) {
            Ok(opened) => {
                let used = Used { tokens: TOKENS, money: PicoUsd::new(TOKENS) };
                journal.settle(opened, used, Certainty::Known, 0, |_| {});
            }
            Err(AppendError::Full { .. } | AppendError::TeamFull { .. }) => return Ok(calls),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(0)
}

fn intent(of: u64) -> anyhow::Result<Intent> {
    let (team, key) = (
        Uid::new(&format!("5f1e9a52-2f7e-4a39-a7a4-{of:012}")),
        Uid::new(&format!("0b6f2f0e-5d8e-4f0c-9d5f-{of:012}")),
    );
    let charge = |account| -> anyhow::Result<Arc<BudgetPeriod>> {
        let zone = "Europe/Berlin".to_owned().try_into().context("no zone")?;
        Ok(Arc::new(BudgetPeriod { account, period: Period::Total, zone, start: jiff::Timestamp::MIN }))
    };
    Ok(Intent {
        charges: vec![charge(BudgetAccount::Key(key.clone()))?, charge(BudgetAccount::Team(team.clone()))?],
        team: Named { uid: team, name: format!("default/team-{of}").into() },
        key: Named { uid: key, name: format!("default/key-{of}").into() },
        user: "alice".into(),
        model: MODEL.into(),
        provider: "openai".into(),
        backend: "default/openai/openai".into(),
        requests: 1,
        tags: Vec::new(),
        foreign_route: false,
        admitted_at: jiff::Timestamp::now(),
        tokens: 2 * TOKENS,
        money: PicoUsd::new(2 * TOKENS),
        priced: true,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sidecar_starts_with_a_full_journal_and_refuses_at_once_until_it_is_read() -> anyhow::Result<()> {
    let _turn = TURN.lock().await;
    let mut all = vec![team("search", json!({}))];
    all.extend(api_key("crowd", "search", json!({"limits": {"tokensPerMinute": 1_000_000}})));
    let mut scene = scene(1, &[], all).await?;
    let sidecar = &mut scene.fleet.sidecars[0];
    sidecar.end(Signal::SIGTERM).await?;
    let state = sidecar.state_dir().to_owned();
    let calls = tokio::task::spawn_blocking(move || fill(&state)).await??;
    assert!(calls > 500_000, "{calls} calls do not make a journal full");
    let group = MemoryGroup::new(MEMORY)?;
    sidecar.start_after(&group.enter())?;
    let begun = Instant::now();
    sidecar.start().await?;
    println!("{calls} calls in the journal: ready after {:.1} s", begun.elapsed().as_secs_f64());
    let caller = Caller::new(&sidecar.base_url(), &key_value("crowd"))?;
    let (mut refused, mut slowest) = (0, Duration::ZERO);
    loop {
        let asked = Instant::now();
        let answer = caller.embed(MODEL, json!(NINE_TOKENS)).await?;
        slowest = slowest.max(asked.elapsed());
        match (answer.status, answer.header("retry-after")) {
            (200, _) => break,
            (503, Some("1")) => refused += 1,
            (status, after) => anyhow::bail!("{status}, Retry-After {after:?}: {}", answer.message()),
        }
        anyhow::ensure!(begun.elapsed() < Duration::from_mins(3), "it is never done");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    println!("{refused} calls were refused until it was read; the slowest answer took {slowest:?}");
    assert!(refused > 0, "the journal was read before the first call: this says nothing of those before");
    assert!(slowest < Duration::from_secs(6), "{slowest:?}: calls hang while the journal is read");
    let expected = (calls + 1) * TOKENS;
    let whole = async || Ok((ledger(&scene.store).await?.get("t:t") == Some(&expected)).then_some(()));
    poll::until("the store to have all of it", Duration::from_mins(5), whole).await?;
    let most = scene.fleet.sidecars[0].most_memory_kib()?;
    println!("{most} KiB of memory at most");
    assert_eq!(group.killed()?, 0, "it was ended for want of memory");
    assert!(most < MEMORY / 1024 * 7 / 8, "{most} KiB");
    // The group goes when nobody is in it.
    scene.fleet.sidecars[0].end(Signal::SIGKILL).await?;
    Ok(())
}
