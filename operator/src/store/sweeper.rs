//! Removes from the store what nobody needs any more, and what no function has written ([`sweep`](super::sweep)): a few keys at a
//! time, so that no call waits for it.
//!
//! Only what this operator knows is touched: Teams that it has seen, under a name in its own [registry](Registry), and namespaces and
//! backends of its scope. What another operator's registry calls live stays, whatever this one thinks. One [round](round) looks at
//! every hash of a server.
//!
//! Whoever says what there is says what keys spend for as well: beside it runs what [allocates](super::allocations) their spend to that.

mod pieces;
mod round;
mod suspects;
mod swept;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use redis::{RedisResult, aio::MultiplexedConnection, cmd};
use tokio::{sync::watch, task::JoinHandle};
use vectoll_config::Topology;

use self::{
    pieces::{PAUSE_BETWEEN_PIECES, PIECE},
    round::{Accounts, Round},
};
pub use self::{suspects::Suspects, swept::Swept};
use super::{
    access::Access,
    allocations,
    servers::{addresses, open},
    sweep::{Census, Changes, Registry},
};

/// How often all of it is looked at.
const SWEEP_PERIOD: Duration = Duration::from_mins(10);
/// How long after a start.
const FIRST_SWEEP_DELAY: Duration = Duration::from_secs(20);
/// Called with what was removed.
pub type OnSwept = Arc<dyn Fn(&Swept) + Send + Sync>;

/// Sweeps for as long as its replica leads. It ends when it is dropped.
pub struct Sweeper {
    request: watch::Sender<Option<(Access, Census)>>,
    tasks: [JoinHandle<()>; 2],
}

impl Sweeper {
    /// Starts; nothing is done before [`Sweeper::sweep`] says what there is.
    pub fn start(report: OnSwept) -> Self {
        let (request, requests) = watch::channel(None);
        let allocating = tokio::spawn(allocations::run(requests.clone()));
        Self { request, tasks: [tokio::spawn(run(requests, report)), allocating] }
    }

    /// Says what there is, and where that is not known.
    pub fn sweep(&self, access: Access, census: Census) {
        self.request.send_replace(Some((access, census)));
    }

    /// Leaves it to others.
    pub fn pause(&self) {
        self.request.send_replace(None);
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn run(mut requests: watch::Receiver<Option<(Access, Census)>>, report: OnSwept) {
    let (mut failing, mut suspects) = (false, Suspects::default());
    loop {
        if requests.wait_for(Option::is_some).await.is_err() {
            return;
        }
        let mut pause = FIRST_SWEEP_DELAY;
        loop {
            let resigned = async { requests.clone().wait_for(Option::is_none).await.is_ok() };
            tokio::select! {
                () = wait(&requests, pause) => {}
                _ = resigned => break,
            }
            // What there is now, not what there was when it began to wait.
            let Some((access, census)) = requests.borrow_and_update().clone() else { break };
            let resigned = async { requests.clone().wait_for(Option::is_none).await.is_ok() };
            let swept = tokio::select! {
                swept = sweep(&access, &census, &mut suspects, Timestamp::now()) => swept,
                _ = resigned => break,
            };
            match swept {
                Ok(swept) => {
                    if swept != Swept::default() {
                        tracing::info!(store = %access.url, removed = ?swept.0, "the store was swept");
                    }
                    failing = false;
                    report(&swept);
                }
                Err(error) => {
                    if !failing {
                        tracing::warn!(store = %access.url, error = %error, "the store cannot be swept; it is tried again");
                    }
                    failing = true;
                }
            }
            pause = SWEEP_PERIOD;
        }
    }
}

/// Waits so long, or for as long as it takes at least where the store is full.
async fn wait(requests: &watch::Receiver<Option<(Access, Census)>>, pause: Duration) {
    let begun = tokio::time::Instant::now();
    while begun.elapsed() < pause {
        tokio::time::sleep(FIRST_SWEEP_DELAY).await;
        if requests.borrow().as_ref().is_some_and(|(_, census)| census.is_urgent) {
            return;
        }
    }
}

/// All of it, once, at a moment. `suspects` are those of the sweeps before.
pub async fn sweep(access: &Access, census: &Census, suspects: &mut Suspects, now: Timestamp) -> RedisResult<Swept> {
    let now_ms = u64::try_from(now.as_millisecond()).unwrap_or_default();
    let mut masters = masters(access).await?;
    let own = registry_key(&census.scope);
    let mut registries = BTreeMap::new();
    for (at, master) in masters.iter_mut().enumerate() {
        for key in keys(master, "vectoll:{operator:*}:accounts").await? {
            let fields: BTreeMap<String, String> = cmd("HGETALL").arg(&key).query_async(master).await?;
            registries.insert(key, (at, Registry(fields)));
        }
    }
    let known = registries.get(&own).map(|(_, registry)| registry.clone()).unwrap_or_default();
    let Changes { set, expired } = known.compare(census, now_ms);
    if !set.is_empty() {
        let fields: Vec<(&String, &String)> = set.iter().collect();
        match on_owner(&mut masters, cmd("HSET").arg(&own).arg(fields)).await {
            // A full store is cleaned first; what was to be noted is noted the next time.
            Err(error) if error.code() == Some("OOM") => {}
            noted => noted?,
        }
    }
    // What another operator sees is there.
    let is_live = |account: &String| {
        registries.iter().filter(|(key, _)| **key != own).any(|(_, (_, registry))| registry.is_live(account))
    };
    let expired: BTreeSet<String> = expired.into_iter().filter(|account| !is_live(account)).collect();
    let noted = registries.values().flat_map(|(_, registry)| registry.0.keys().cloned()).collect();
    let accounts = Accounts { census, known: &known, noted, expired: &expired, now_ms };
    let (mut swept, mut used) = (Swept::default(), BTreeSet::new());
    suspects.forget_before(now_ms);
    for master in &mut masters {
        Round::new(master, &accounts, suspects, &mut swept, &mut used).run().await?;
    }
    let forgotten: Vec<&String> = expired.iter().filter(|account| !used.contains(*account)).collect();
    if !forgotten.is_empty() {
        on_owner(&mut masters, cmd("HDEL").arg(&own).arg(forgotten)).await?;
    }
    Ok(swept)
}

/// Where an operator keeps which accounts it knows.
fn registry_key(scope: &str) -> String {
    format!("vectoll:{{operator:{scope}}}:accounts")
}

/// Asks the server that has the key: the others say that they have not.
async fn on_owner(masters: &mut [MultiplexedConnection], ask: &redis::Cmd) -> RedisResult<()> {
    let mut last = Ok(());
    for master in masters {
        last = ask.query_async::<()>(master).await;
        // The owner's own word is the last one, also where it is that it is full.
        if !matches!(&last, Err(error) if error.code() == Some("MOVED")) {
            break;
        }
    }
    last
}

/// Connections to all masters.
pub(super) async fn masters(access: &Access) -> RedisResult<Vec<MultiplexedConnection>> {
    let all = addresses(access).await.map_err(|error| {
        redis::RedisError::from((redis::ErrorKind::Client, "failed to find the servers", format!("{error}")))
    })?;
    let mut masters = Vec::new();
    for (host, port) in all {
        let mut connection = open(access, &host, port, true).await?;
        if let Topology::Single { database } = access.url.topology()
            && *database != 0
        {
            cmd("SELECT").arg(*database).query_async::<()>(&mut connection).await?;
        }
        let info: String = cmd("INFO").arg("replication").query_async(&mut connection).await?;
        if info.lines().any(|line| line.trim_end() == "role:master") {
            masters.push(connection);
        }
    }
    Ok(masters)
}

/// All keys that a pattern fits.
pub(super) async fn keys(master: &mut MultiplexedConnection, pattern: &str) -> RedisResult<Vec<String>> {
    let (mut found, mut cursor) = (Vec::new(), 0_u64);
    loop {
        let (next, piece): (u64, Vec<String>) =
            cmd("SCAN").arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(5 * PIECE).query_async(master).await?;
        found.extend(piece);
        if next == 0 {
            return Ok(found);
        }
        cursor = next;
        tokio::time::sleep(PAUSE_BETWEEN_PIECES).await;
    }
}
