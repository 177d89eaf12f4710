//! A real cluster: several servers that share the hash slots.

use std::{ops::Range, time::Duration};

use anyhow::{Context, ensure};
use redis::cmd;

use super::{PASSWORD, Store, Transport, free_port};
use crate::pair::poll;

/// The hash slots of a cluster (Redis Cluster specification, "Key distribution model").
const SLOTS: usize = 16_384;
/// Nodes tell each other of changes once a second or so.
const AGREEMENT: Duration = Duration::from_secs(30);

/// A running cluster. It ends when this is dropped.
#[derive(Debug)]
pub struct RedisCluster {
    /// Masters, each with its part of the slots, in their order.
    pub masters: Vec<Store>,
    /// Replicas: the first of the first master, and so on.
    pub replicas: Vec<Store>,
}

impl RedisCluster {
    /// Starts so many masters and replicas, and waits until all of them agree on who has which slots. A master that is away takes
    /// along its own slots only.
    pub async fn start(masters: usize, replicas: usize) -> anyhow::Result<Self> {
        let (mut servers, mut buses) = (Vec::new(), Vec::new());
        for _ in 0..masters + replicas {
            // By default it would be the port and ten thousand, which may be beyond the last one.
            let bus = free_port()?.to_string();
            let arguments = ["--cluster-enabled", "yes", "--cluster-port", &bus, "--masterauth", PASSWORD];
            let arguments =
                [&arguments[..], &["--cluster-require-full-coverage", "no", "--cluster-node-timeout", "3000"]].concat();
            servers.push(Store::start_with(Transport::Plain, &arguments).await?);
            buses.push(bus);
        }
        let mut first = servers.first().context("no master")?.admin().await?;
        for (n, server) in servers.iter().take(masters).enumerate() {
            let Range { start, end } = slots(n, masters);
            let mut admin = server.admin().await?;
            cmd("CLUSTER").arg("ADDSLOTSRANGE").arg(start).arg(end - 1).query_async::<()>(&mut admin).await?;
        }
        for (server, bus) in servers.iter().zip(&buses).skip(1) {
            let (host, port) = ("127.0.0.1", server.address().port());
            cmd("CLUSTER").arg("MEET").arg(host).arg(port).arg(bus).query_async::<()>(&mut first).await?;
        }
        let replicas = servers.split_off(masters);
        for (n, replica) in replicas.iter().enumerate() {
            let master = servers.get(n % masters).context("no master")?;
            let id: String = cmd("CLUSTER").arg("MYID").query_async(&mut master.admin().await?).await?;
            poll::until("a node to know its master", AGREEMENT, async || {
                let mut admin = replica.admin().await?;
                cmd("CLUSTER").arg("REPLICATE").arg(&id).query_async::<()>(&mut admin).await?;
                Ok(Some(()))
            })
            .await?;
        }
        let cluster = Self { masters: servers, replicas };
        for server in cluster.masters.iter().chain(&cluster.replicas) {
            poll::until("a node to know all slots", AGREEMENT, async || {
                let info: String = cmd("CLUSTER").arg("INFO").query_async(&mut server.admin().await?).await?;
                ensure!(info.contains("cluster_state:ok") && info.contains("cluster_slots_ok:16384"), "{info}");
                Ok(Some(()))
            })
            .await?;
        }
        Ok(cluster)
    }

    /// Its URL, by the address of one node only.
    pub fn url(&self) -> String {
        let first = self.masters.first().map(|master| master.address().to_string());
        format!("redis+cluster://{}", first.unwrap_or_default())
    }

    /// The place of the master that has the slot of a key, before any failover.
    pub async fn master_of(&self, key: &str) -> anyhow::Result<usize> {
        let mut admin = self.masters.first().context("no master")?.admin().await?;
        let slot: usize = cmd("CLUSTER").arg("KEYSLOT").arg(key).query_async(&mut admin).await?;
        let masters = self.masters.len();
        (0..masters).find(|n| slots(*n, masters).contains(&slot)).context("nobody has the slot")
    }
}

/// The part of the slots that one of several masters has.
fn slots(n: usize, masters: usize) -> Range<usize> {
    SLOTS * n / masters..SLOTS * (n + 1) / masters
}
