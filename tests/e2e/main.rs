//! What people do with the product, on a real node: `helm install`, `kubectl apply`, pods that call localhost.
//!
//! One cluster and one release serve all scenarios, each in a namespace of its own. Needs root: see tests/cluster.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, clippy::indexing_slicing, reason = "tests")]

mod cluster;
mod gateway;
mod keys;
mod load;
mod network;
mod outage;
mod pods;
mod privileges;
mod readme;
mod release;
mod sharing;
mod store;
mod tenant;
mod tokens;
mod traces;
mod trouble;
mod upstream;

use cluster::Cluster;

type Scenario = fn(&Cluster) -> anyhow::Result<()>;

#[test]
fn the_pair_on_a_real_node() {
    let cluster = Cluster::start().unwrap();
    // The last ones take the release apart.
    let scenarios: [(&str, Scenario); 20] = [
        ("helm test passes", release::helm_test),
        ("the pages' commands do what they say", readme::quickstart),
        ("a pod calls localhost with its own key, with one in hand, and without", pods::calls),
        ("Deployments, StatefulSets, DaemonSets, Jobs and CronJobs are injected", pods::kinds),
        ("a quota and a range refuse pods until annotations fit the sidecar in", pods::bounded),
        ("what cannot be injected is refused with the reason", pods::refused),
        ("a new key works and a deleted one is refused, within seconds", keys::apply_and_delete),
        ("a pod outlives two rotations; suspension and expiry reach it", keys::rotation),
        ("the chart's store has a user for each namespace, also after its death", store::users),
        ("a route is shared while its owner allows it", sharing::consent),
        ("a bad route beside a good one", sharing::bad_route),
        ("the operator may touch neither images nor foreign Secrets", privileges::denied),
        (
            "a tenant's administrator finds no credential at the gateway's routes, and passes no limit",
            tenant::administrator,
        ),
        ("tokens that are not right are refused by the gateway, each with its message", tokens::refused),
        (
            "the ledger holds through kills, a rollout, a store that is away and a scale-in of the gateway",
            trouble::the_books_hold,
        ),
        ("without a gateway its routes say so", gateway::switched_off),
        ("both operators are killed and come back", outage::operator_killed),
        ("pods go on without operator, store and API server", outage::nothing_but_the_pods),
        ("older sidecars serve on through an upgrade, and start again", release::older_sidecars),
        ("helm upgrade, rollback, uninstall: what stays and what goes", release::upgrade_and_uninstall),
    ];
    let only = std::env::var("VECTOLL_SCENARIOS").unwrap_or_default();
    let mut failed = Vec::new();
    for (name, scenario) in scenarios.into_iter().filter(|(name, _)| name.contains(&only)) {
        let began = std::time::Instant::now();
        match scenario(&cluster) {
            Ok(()) => eprintln!("ok    {name} ({:.0} s)", began.elapsed().as_secs_f64()),
            Err(error) => {
                eprintln!("FAILED {name}: {error:?}\n{}", cluster.operator_log());
                failed.push(name);
            }
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
}
