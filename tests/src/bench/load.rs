//! A closed loop: each connection sends its next request when it has read the whole answer to the last.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};

use super::payload::Payload;
use super::reply::{Replies, Reply};

/// What is sent to whom.
#[derive(Debug, Clone)]
pub struct Target {
    address: SocketAddr,
    request: Vec<u8>,
    answer_length: u64,
}

/// When a run ends: by whichever comes first.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Time.
    pub time: Duration,
    /// Requests of all connections together.
    pub requests: u64,
}

/// What a run saw.
#[derive(Debug)]
pub struct Run {
    /// From the first request to the last answer.
    pub elapsed: Duration,
    /// The time of each request, sorted.
    pub latencies: Vec<Duration>,
}

impl Target {
    /// `payload` to `address`, with `key` as the Bearer token.
    pub fn new(address: SocketAddr, key: &str, payload: Payload) -> anyhow::Result<Self> {
        let body = payload.request();
        let head = format!(
            "POST /v1/embeddings HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {key}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len(),
        );
        let answer_length = payload.answer()?.len() as u64;
        Ok(Self { address, request: [head.into_bytes(), body].concat(), answer_length })
    }

    /// Sends over so many connections until a bound is reached. Any answer but a whole 200 of the right length is an error.
    pub fn load(&self, connections: usize, bounds: Bounds) -> anyhow::Result<Run> {
        let sent = AtomicU64::new(0);
        let begun = Instant::now();
        let results: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> =
                (0..connections).map(|_| scope.spawn(|| self.one_connection(begun, bounds, &sent))).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().map_err(|_| anyhow!("a connection's thread panicked"))?)
                .collect()
        });
        let elapsed = begun.elapsed();
        let mut latencies = Vec::new();
        for result in results {
            latencies.extend(result?);
        }
        latencies.sort_unstable();
        Ok(Run { elapsed, latencies })
    }

    fn one_connection(&self, begun: Instant, bounds: Bounds, sent: &AtomicU64) -> anyhow::Result<Vec<Duration>> {
        let stream =
            TcpStream::connect(self.address).with_context(|| format!("failed to connect to {}", self.address))?;
        stream.set_nodelay(true)?;
        // A proxy that hangs has to end the benchmark, not to become its result.
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut replies = Replies::new(stream.try_clone()?);
        let (mut writer, mut latencies) = (stream, Vec::new());
        while begun.elapsed() < bounds.time && sent.fetch_add(1, Ordering::Relaxed) < bounds.requests {
            let asked = Instant::now();
            writer.write_all(&self.request).context("failed to send")?;
            let reply = replies.read().with_context(|| format!("bad answer of {}", self.address))?;
            latencies.push(asked.elapsed());
            let right = Reply { status: 200, length: self.answer_length };
            ensure!(reply == right, "{} answered {reply:?} in place of {right:?}", self.address);
        }
        Ok(latencies)
    }
}

#[cfg(test)]
mod tests {
    use super::super::responder::Responder;
    use super::*;

    #[test]
    fn all_payloads_are_answered_within_the_bounds() {
        let responder = Responder::start().unwrap();
        for payload in Payload::ALL {
            let target = Target::new(responder.address(), "any", payload).unwrap();
            let run = target.load(3, Bounds { time: Duration::from_secs(20), requests: 50 }).unwrap();
            assert_eq!(run.latencies.len(), 50);
            assert!(run.latencies.is_sorted());
        }
        let target = Target::new(responder.address(), "any", Payload::OneBase64).unwrap();
        let run = target.load(2, Bounds { time: Duration::from_millis(200), requests: u64::MAX }).unwrap();
        assert!(run.elapsed >= Duration::from_millis(200) && run.elapsed < Duration::from_secs(5));
    }
}
