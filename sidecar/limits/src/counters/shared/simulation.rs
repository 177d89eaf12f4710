//! The promises, over thousands of schedules: sidecars that crash, stall, vanish, leave and come back, answers that are lost, a
//! store that fails, loses its tail and comes back, a clock that steps back, and limits that are edited. The real session code
//! against the model of the store, in virtual time; a seed replays.
//!
//! [`simulated_cluster`] lets things happen, [`call`] makes calls, [`wire`] carries exchanges, [`config`] edits limits, and [`promises`] says
//! what must hold.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout, reason = "tests")]

mod call;
mod config;
mod edits;
mod kind;
mod plan;
mod promises;
mod simulated_cluster;
mod wire;

use vectoll_config::v1::OnStoreFailure;

use self::{kind::Kind, simulated_cluster::SimulatedCluster};

/// Runs schedules; `VECTOLL_SIMULATION_SEED` replays one, `VECTOLL_SIMULATION_RUNS` sets how many.
fn schedules(name: &str, kind: Kind) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("VECTOLL_SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("VECTOLL_SIMULATION_RUNS").unwrap_or(150),
    };
    let (mut admitted, mut refused) = (0, 0);
    for seed in seeds.clone() {
        let run = std::panic::catch_unwind(|| {
            let cluster = SimulatedCluster::new(seed, kind).run();
            cluster.rest();
            (cluster.admissions.len(), cluster.refused)
        });
        let Ok((calls, no)) = run else { panic!("{name} broke: replay with VECTOLL_SIMULATION_SEED={seed}") };
        admitted += calls;
        refused += no;
    }
    let runs = usize::try_from(seeds.end - seeds.start).unwrap();
    assert!(runs < 10 || admitted > 50 * runs, "hardly anything was admitted: {admitted} calls in {runs} schedules");
    println!("{name}: {} schedules, {admitted} calls admitted, {refused} refused", seeds.end - seeds.start);
}

const QUIET: Kind = Kind {
    on_failure: OnStoreFailure::Closed,
    crashes: false,
    store: None,
    stalls: false,
    clock: false,
    edits: false,
    leaves: false,
};

#[test]
fn nothing_passes_a_limit_while_all_goes_well() {
    schedules("quiet", QUIET);
}

#[test]
fn nothing_passes_the_largest_limit_of_the_minute_while_limits_are_edited() {
    schedules("edits", Kind { edits: true, leaves: true, ..QUIET });
}

#[test]
fn nothing_passes_a_limit_while_sidecars_crash_vanish_leave_and_stall() {
    schedules("sidecars", Kind { crashes: true, stalls: true, clock: true, edits: true, leaves: true, ..QUIET });
}

#[test]
fn nothing_passes_a_limit_while_the_store_fails_and_comes_back_whole() {
    schedules("store", Kind { store: Some(false), clock: true, edits: true, leaves: true, ..QUIET });
}

#[test]
fn nothing_passes_a_limit_while_the_store_loses_its_tail() {
    schedules("tail", Kind { store: Some(true), clock: true, ..QUIET });
}

#[test]
fn at_most_twice_the_limit_passes_while_sidecars_give_their_shares() {
    schedules("shares", Kind { on_failure: OnStoreFailure::Local, store: Some(true), edits: true, ..QUIET });
}
