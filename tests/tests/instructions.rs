//! How many instructions a call costs in the sidecar that ships, against the baseline that is committed. More than a twentieth above it
//! fails: take it back, or renew the baseline and say in the commit what it pays for. `make baseline`, which is
//! `VECTOLL_UPDATE=1 cargo test --locked --workspace --test instructions`, renews it.

#![allow(clippy::print_stdout, reason = "a test")]

use std::{env, path::Path};

use anyhow::{Context, ensure};
use vectoll_tests::{
    bench::{
        baseline::{Baseline, RENEW},
        instructions::{EIGHT_SCOPES, Extent, TWO_SCOPES, count},
        stages,
    },
    pair::binaries::Binaries,
};

/// What a call with eight scopes of three windows each is meant to cost at most, of one with two of one window, in a hundred.
const TARGET_FOR_SCOPES_PERCENT: u64 = 115;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_costs_no_more_instructions_than_it_did() -> anyhow::Result<()> {
    if env::var_os("VECTOLL_PROGRAMS").is_none() && env::var("VECTOLL_TEST_PROFILE").is_ok_and(|name| name != "release")
    {
        println!("not counted: the baseline is of release builds, and VECTOLL_TEST_PROFILE asks for another one");
        return Ok(());
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/instructions.json");
    let counted = count(&Binaries::built()?, Extent::FULL).await?;
    for one in &counted {
        let (least, most) =
            (one.each.iter().min().context("not counted")?, one.each.iter().max().context("not counted")?);
        println!("{:>12} to {most} each time: {}", least, one.call);
    }
    let of = |call: &str| {
        let found = counted.iter().find(|one| one.call == call).map(|one| one.per_call);
        found.with_context(|| format!("{call}: not counted"))
    };
    let (two, eight) = (of(TWO_SCOPES)?, of(EIGHT_SCOPES)?);
    println!(
        "{two} instructions with two scopes of one window, {eight} with eight of three: {} % of it; {TARGET_FOR_SCOPES_PERCENT} % are meant",
        eight * 100 / two.max(1)
    );
    let now = Baseline::of(&counted);
    let unseen = stages::unseen(counted.iter().map(|one| &one.stages));
    if env::var_os("VECTOLL_UPDATE").is_some() {
        now.write(&file)?;
    }
    ensure!(
        unseen.is_empty(),
        "no function of {unseen:?} was seen: it was renamed, or made part of its caller; name another one in tests/src/bench/stages.rs"
    );
    let baseline = Baseline::read(&file)?;
    let comparison = baseline.compare(&now);
    println!("{}", comparison.table);
    if baseline.processor != now.processor {
        println!("not compared: the baseline is of {}, and this is {}", baseline.processor, now.processor);
        return Ok(());
    }
    if !comparison.less.is_empty() {
        println!("less than it was; {RENEW} keeps it so:\n{}", comparison.less.join("\n"));
    }
    ensure!(
        comparison.more.is_empty(),
        "a call costs more than the baseline (tests/fixtures/instructions.json) and 5%; if that is meant, {RENEW} renews it:\n{}",
        comparison.more.join("\n")
    );
    Ok(())
}
