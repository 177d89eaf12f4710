//! The rounds.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde::Serialize;

use super::load::{Bounds, Target};
use super::manifests::KEY;
use super::payload::Payload;
use super::procfs;
use super::statistics::{microseconds, percentile};

/// How long and how often.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Plan {
    /// Time under load for each proxy, payload and round; a quarter of it goes to latency in addition.
    #[serde(rename = "seconds", serialize_with = "seconds")]
    pub time: Duration,
    /// Rounds.
    pub rounds: usize,
    /// Connections under load.
    pub connections: usize,
}

fn seconds<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

/// A proxy under test.
#[derive(Debug, Clone, Copy)]
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its process; children count too.
    pub pid: u32,
}

/// What one proxy did with one payload in one round; times in microseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Figures {
    /// CPU time of a request, under load.
    pub cpu: f64,
    /// Requests in a second, under load.
    pub rate: f64,
    /// Median latency of one connection beyond that of asking the responder directly.
    pub added_p50: f64,
    /// 99th percentile of the same, beyond the direct median.
    pub added_p99: f64,
}

/// One payload in one round.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Round {
    /// Median latency without a proxy, in microseconds.
    pub direct_p50: f64,
    /// nginx.
    pub nginx: Option<Figures>,
    /// The bare relay.
    pub relay: Option<Figures>,
    /// The sidecar.
    pub sidecar: Option<Figures>,
}

/// Those that take turns.
#[derive(Debug, Clone, Copy)]
pub struct Proxies {
    /// nginx, or who stands in its place.
    pub nginx: Option<Proxy>,
    /// The bare relay.
    pub relay: Option<Proxy>,
    /// The sidecar.
    pub sidecar: Option<Proxy>,
}

impl Plan {
    /// A bound beside time, for what might turn out absurdly fast.
    const MOST_REQUESTS: u64 = 2_000_000;
    /// Connections are made, buffers grow, caches fill.
    const WARM_UP: Duration = Duration::from_millis(300);

    /// Measures one payload once: directly, then through each proxy.
    pub fn round(&self, payload: Payload, responder: SocketAddr, proxies: Proxies) -> anyhow::Result<Round> {
        let direct = Target::new(responder, KEY, payload)?.load(1, Self::bounds(self.time / 4))?;
        let direct_p50 = percentile(&direct.latencies, 50).context("the responder answered nothing")?;
        let measure = |proxy: Proxy| self.figures(proxy, payload, direct_p50);
        let Proxies { nginx, relay, sidecar } = proxies;
        Ok(Round {
            direct_p50,
            nginx: nginx.map(measure).transpose()?,
            relay: relay.map(measure).transpose()?,
            sidecar: sidecar.map(measure).transpose()?,
        })
    }

    fn figures(&self, proxy: Proxy, payload: Payload, direct_p50: f64) -> anyhow::Result<Figures> {
        let target = Target::new(proxy.address, KEY, payload)?;
        target.load(self.connections, Self::bounds(Self::WARM_UP))?;
        let before = procfs::cpu_time(proxy.pid)?;
        let run = target.load(self.connections, Self::bounds(self.time))?;
        let cpu = procfs::cpu_time(proxy.pid)?.saturating_sub(before);
        // Each reading is off by up to a tick of 10 ms for each process.
        ensure!(cpu >= Duration::from_millis(200), "{cpu:?} of CPU time are too few to measure: give it more seconds");
        let requests = f64::from(u32::try_from(run.latencies.len()).context("too many requests")?);
        let alone = target.load(1, Self::bounds(self.time / 4))?;
        let added = |percent| percentile(&alone.latencies, percent).map(|latency| latency - direct_p50);
        Ok(Figures {
            cpu: microseconds(cpu) / requests,
            rate: requests / run.elapsed.as_secs_f64(),
            added_p50: added(50).context("no request in time")?,
            added_p99: added(99).context("no request in time")?,
        })
    }

    fn bounds(time: Duration) -> Bounds {
        Bounds { time, requests: Self::MOST_REQUESTS }
    }
}
