//! The operator's controllers against a real API server, each scenario in a namespace of its own.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, clippy::indexing_slicing, reason = "tests")]

mod acknowledged;
mod config;
mod documents;
mod gateway;
mod keys;
mod leader;
mod plugin;
mod scale;
mod setting;
mod spending;
mod spent;
mod status;
mod store;
mod sums;
mod unreadable;
mod world;

fn block_on(work: impl Future<Output = anyhow::Result<()>>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    if let Err(error) = runtime.block_on(work) {
        panic!("{error:?}");
    }
}

/// One API server and one operator serve all scenarios: starting them takes longer than most of these.
#[test]
fn controllers() {
    block_on(async {
        let world = world::World::start().await?;
        let mut failed = Vec::new();
        for (name, result) in [
            ("keys: made, told and delivered", keys::made(&world).await),
            ("keys: renewed by annotation and interval", keys::rotated(&world).await),
            ("keys: a lost or emptied Secret is recreated", keys::remade(&world).await),
            ("keys: Secrets follow their templates", keys::labelled(&world).await),
            ("keys: a Secret of someone else is left alone", keys::foreign(&world).await),
            ("keys: a recreated key does not inherit", keys::recreated(&world).await),
            ("keys: suspended, expired, deleted", keys::ended(&world).await),
            ("keys: brought along", keys::brought(&world).await),
            ("keys: of which only the hash is known", keys::by_hash(&world).await),
            ("config: consent given and withdrawn", config::consent(&world).await),
            ("config: Teams above Teams, over namespaces", config::tree(&world).await),
            ("config: a bad route beside a good one", config::bad_route(&world).await),
            ("config: pods are touched, credentials follow them, what is unused goes", config::pods(&world).await),
            ("config: a Secret of someone else in its place is left alone", config::blocked(&world).await),
            ("config: a damaged config is put right", config::damaged(&world).await),
            ("config: what others write keeps no key alive", config::lies(&world).await),
            ("keys: a planted Secret is nobody's until its owner takes it over", config::planted(&world).await),
            ("status: a condition of somebody else stays", status::foreign(&world).await),
            ("status: lists merge by name", status::merged(&world)),
            ("status: suspended and expired are as they should be", status::refused(&world).await),
            ("status: an event tells as much as it can", status::told(&world).await),
            ("status: restored resources go on with their accounts", status::restored(&world).await),
            ("status: lists that match nothing, and routes that nobody reaches", status::matched(&world).await),
            ("status: nothing is written twice", config::quiet(&world).await),
        ] {
            match result {
                Ok(()) => eprintln!("ok    {name}"),
                Err(error) => {
                    eprintln!("FAILED {name}: {error:?}");
                    failed.push(name);
                }
            }
        }
        if !failed.is_empty() {
            eprintln!("{}", world.operator.log());
        }
        anyhow::ensure!(failed.is_empty(), "{failed:?}");
        Ok(())
    });
}

#[test]
fn unreadable_resources() {
    block_on(unreadable::one_fault());
}

#[test]
fn gateways() {
    block_on(gateway::served());
}

#[test]
fn leaders() {
    block_on(leader::takeover());
}

#[test]
fn stores() {
    block_on(store::shared());
}

#[test]
fn books() {
    block_on(store::books());
}

#[test]
fn pages() {
    block_on(store::pages());
}

#[test]
fn plugin() {
    block_on(plugin::looked_at_and_billed());
}

#[test]
fn scale() {
    block_on(scale::many());
}
