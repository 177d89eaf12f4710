//! A real master with a replica, and the Sentinels that watch it: when the master is gone, the replica takes over.

use std::{fmt::Write, fs, process::Command, time::Duration};

use anyhow::{Context, ensure};
use redis::{Client, Value, cmd};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinSet,
};

use super::{PASSWORD, Store, Transport, free_port};
use crate::pair::{poll, process::Process};

/// What the Sentinels call the master.
pub const MASTER: &str = "main";

/// A Sentinel learns of replicas from the master every ten seconds, and of other Sentinels every two.
const ACQUAINTANCE: Duration = Duration::from_secs(40);

/// Two servers and their Sentinels. They end when this is dropped.
#[derive(Debug)]
pub struct Sentinels {
    /// The first master, and its replica.
    pub servers: [Store; 2],
    /// The first one watches nothing.
    ports: Vec<u16>,
    processes: Vec<Process>,
    /// The port of one that has not heard of a failover.
    mistaken: u16,
    _mistaken: JoinSet<()>,
    // Last: the folders go when the processes are gone.
    folders: Vec<TempDir>,
}

impl Sentinels {
    /// Starts a master, a replica and so many Sentinels, and waits until all of them know each other. A master that does not
    /// answer for a second is replaced when more than half of the Sentinels say so. Beside them there is one that watches nothing.
    pub async fn start(sentinels: usize) -> anyhow::Result<Self> {
        let master = Store::start_with(Transport::Plain, &["--masterauth", PASSWORD]).await?;
        let port = master.address().port().to_string();
        let replica = ["--replicaof", "127.0.0.1", &port, "--masterauth", PASSWORD];
        let servers = [master, Store::start_with(Transport::Plain, &replica).await?];
        let (mistaken, speaking) = name_always(servers[1].address().port()).await?;
        let (ports, processes, folders) = (Vec::new(), Vec::new(), Vec::new());
        let mut all = Self { servers, ports, processes, mistaken, _mistaken: speaking, folders };
        let watch = format!("{MASTER} 127.0.0.1 {port} {}", sentinels / 2 + 1);
        let settings = [
            format!("monitor {watch}"),
            format!("auth-pass {MASTER} {PASSWORD}"),
            format!("down-after-milliseconds {MASTER} 1000"),
            format!("failover-timeout {MASTER} 5000"),
        ];
        all.start_sentinel(&[])?;
        for _ in 0..sentinels {
            all.start_sentinel(&settings)?;
        }
        for port in all.ports.iter().skip(1) {
            poll::until("the Sentinels to know the replica and each other", ACQUAINTANCE, async || {
                let (replicas, others) = (ask(*port, "REPLICAS").await?, ask(*port, "SENTINELS").await?);
                let (replicas, others) = (count(&replicas), count(&others));
                ensure!((replicas, others) == (1, sentinels - 1), "{replicas} replicas, {others} other Sentinels");
                Ok(Some(()))
            })
            .await?;
        }
        Ok(all)
    }

    fn start_sentinel(&mut self, settings: &[String]) -> anyhow::Result<()> {
        let folder = tempfile::Builder::new().prefix("vectoll-sentinel-").tempdir()?;
        let (file, port) = (folder.path().join("sentinel.conf"), free_port()?);
        let mut text = format!("port {port}\nbind 127.0.0.1\ndir {}\n", folder.path().display());
        for setting in settings {
            writeln!(text, "sentinel {setting}")?;
        }
        // It rewrites the file.
        fs::write(&file, text).context("failed to write a Sentinel's settings")?;
        let mut command = Command::new("redis-server");
        command.arg(&file).arg("--sentinel");
        let process = Process::spawn("redis-server", command, None);
        self.processes.push(process.context("missing: redis-server (Debian: apt-get install redis-server)")?);
        self.ports.push(port);
        self.folders.push(folder);
        Ok(())
    }

    /// The URL by all Sentinels. The first of them is not there, the second one takes the replica for the master, and the third one
    /// does not know it.
    pub fn url(&self) -> anyhow::Result<String> {
        let nobody = free_port()?;
        let hosts: Vec<String> =
            [nobody, self.mistaken].iter().chain(&self.ports).map(|port| format!("127.0.0.1:{port}")).collect();
        Ok(format!("redis+sentinel://{}/{MASTER}", hosts.join(",")))
    }

    /// The port of the master, by one of the Sentinels.
    pub async fn master(&self) -> anyhow::Result<u16> {
        let port = self.ports.last().context("no Sentinel")?;
        let (_, port): (String, u16) = redis::from_redis_value(ask(*port, "GET-MASTER-ADDR-BY-NAME").await?)?;
        Ok(port)
    }

    /// What one of the Sentinels wrote.
    pub fn log(&self) -> String {
        self.processes.last().map(|process| process.log().end()).unwrap_or_default()
    }
}

/// Something that says of a server on this port that it is the master, and nothing else, as a Sentinel would say it. Returns its own port.
async fn name_always(port: u16) -> anyhow::Result<(u16, JoinSet<()>)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let own = listener.local_addr()?.port();
    let answer = format!("*2\r\n$9\r\n127.0.0.1\r\n${}\r\n{port}\r\n", port.to_string().len());
    let mut speaking = JoinSet::new();
    speaking.spawn(async move {
        let mut conversations = JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = answer.clone();
            conversations.spawn(async move {
                let mut buffer = [0; 1024];
                // A command is short: it comes in one piece.
                while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                    let heard = buffer.get(..length).unwrap_or_default();
                    let is_it = String::from_utf8_lossy(heard).contains("GET-MASTER-ADDR-BY-NAME");
                    let said = if is_it { answer.as_str() } else { "-ERR unknown\r\n" };
                    if stream.write_all(said.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    Ok((own, speaking))
}

async fn ask(sentinel: u16, what: &str) -> anyhow::Result<Value> {
    let client = Client::open(format!("redis://127.0.0.1:{sentinel}"))?;
    let mut connection = client.get_multiplexed_async_connection_with_config(&super::connection_config()).await?;
    Ok(cmd("SENTINEL").arg(what).arg(MASTER).query_async(&mut connection).await?)
}

fn count(answer: &Value) -> usize {
    if let Value::Array(all) = answer { all.len() } else { 0 }
}
