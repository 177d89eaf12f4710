//! Load over several connections. In a closed loop each sends its next call when it has read the whole answer to the last; in an open
//! loop calls arrive at a fixed rate, whatever becomes of those before.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use rustls::ClientConfig;
use serde::Serialize;

use super::connection::Connection;
use super::endpoint::Endpoint;
use super::payload::Payload;
use super::tls::HTTP1;

/// The stack of a connection's thread: a thousand of them are to be cheap.
const STACK_BYTES: usize = 256 << 10;

/// What is sent to whom.
#[derive(Debug, Clone)]
pub struct Target {
    endpoint: Endpoint,
    /// Calls that take turns.
    requests: Vec<Vec<u8>>,
    answer_length: Option<u64>,
    tls: Option<Arc<ClientConfig>>,
}

/// How calls follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pace {
    /// As fast as they are answered.
    Closed,
    /// So many in a second, over all connections.
    Open(f64),
}

/// How calls are sent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Load {
    /// Over so many connections.
    pub connections: usize,
    /// How they follow each other.
    pub pace: Pace,
}

/// When a run ends: by whichever comes first.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Time.
    pub time: Duration,
    /// Requests of all connections together.
    pub requests: u64,
}

impl Bounds {
    /// A bound beside time, for what might turn out absurdly fast.
    const MOST_REQUESTS: u64 = 2_000_000;

    /// Bound by time.
    pub fn of(time: Duration) -> Self {
        Self { time, requests: Self::MOST_REQUESTS }
    }
}

/// What a run saw.
#[derive(Debug)]
pub struct Run {
    /// From the first request to the last answer.
    pub elapsed: Duration,
    /// The time of each request, sorted.
    pub latencies: Vec<Duration>,
}

impl Load {
    /// One after the other over each of so many connections.
    pub const fn closed(connections: usize) -> Self {
        Self { connections, pace: Pace::Closed }
    }

    /// So many in a second, over so many connections.
    pub const fn open(connections: usize, rate: f64) -> Self {
        Self { connections, pace: Pace::Open(rate) }
    }
}

impl Target {
    /// `payload` to `endpoint`.
    pub fn new(endpoint: &Endpoint, payload: Payload) -> anyhow::Result<Self> {
        Self::of_users(endpoint, payload, &[])
    }

    /// The same, in turn by each of these users, if there are any.
    pub fn of_users(endpoint: &Endpoint, payload: Payload, users: &[String]) -> anyhow::Result<Self> {
        let mut requests: Vec<_> = users.iter().map(|user| endpoint.request(payload, Some(user))).collect();
        if requests.is_empty() {
            requests.push(endpoint.request(payload, None));
        }
        Self::of_requests(endpoint, payload, requests)
    }

    /// The same, in turn with each of these keys.
    pub fn of_keys(endpoint: &Endpoint, payload: Payload, keys: &[String]) -> anyhow::Result<Self> {
        let requests = keys.iter().map(|key| endpoint.clone().with_key(key).request(payload, None)).collect();
        Self::of_requests(endpoint, payload, requests)
    }

    fn of_requests(endpoint: &Endpoint, payload: Payload, requests: Vec<Vec<u8>>) -> anyhow::Result<Self> {
        let tls = endpoint.certificate().map(|certificate| certificate.client(HTTP1)).transpose()?;
        Ok(Self { endpoint: endpoint.clone(), requests, answer_length: endpoint.answer_length(payload)?, tls })
    }

    /// Sends until a bound is reached. Any answer but a whole 200 of the right length is an error.
    pub fn load(&self, load: Load, bounds: Bounds) -> anyhow::Result<Run> {
        let Load { connections, pace } = load;
        let sent = AtomicU64::new(0);
        // All are there before the first call: connecting is not measured, and not part of the time.
        let open: Vec<_> = (0..connections)
            .map(|_| Connection::open(self.endpoint.address(), self.tls.as_ref()))
            .collect::<Result<_, _>>()?;
        let begun = Instant::now();
        let results: Vec<anyhow::Result<Vec<Duration>>> = thread::scope(|scope| {
            let sent = &sent;
            let threads: Vec<_> = open
                .into_iter()
                .map(|connection| {
                    let work = move || match pace {
                        Pace::Closed => self.closed(connection, begun, bounds, sent),
                        Pace::Open(rate) => self.open(connection, begun, bounds, sent, rate),
                    };
                    thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work)
                })
                .collect();
            let ended = threads
                .into_iter()
                .map(|thread| thread?.join().map_err(|_| anyhow!("a connection's thread panicked"))?);
            ended.collect()
        });
        let elapsed = begun.elapsed();
        let mut latencies = Vec::new();
        for result in results {
            latencies.extend(result?);
        }
        latencies.sort_unstable();
        Ok(Run { elapsed, latencies })
    }

    /// The call of this number, in turn.
    fn request(&self, number: u64) -> &[u8] {
        let turn = usize::try_from(number).unwrap_or_default() % self.requests.len().max(1);
        self.requests.get(turn).map(Vec::as_slice).unwrap_or_default()
    }

    fn closed(
        &self,
        mut connection: Connection,
        begun: Instant,
        bounds: Bounds,
        sent: &AtomicU64,
    ) -> anyhow::Result<Vec<Duration>> {
        let mut latencies = Vec::new();
        while begun.elapsed() < bounds.time {
            let number = sent.fetch_add(1, Ordering::Relaxed);
            if number >= bounds.requests {
                break;
            }
            latencies.push(connection.call(self.request(number), self.answer_length)?);
        }
        Ok(latencies)
    }

    /// A call that finds no free connection waits for one, and that counts: from when it was due. How late a free connection's thread
    /// wakes is the load generator's own doing, and does not.
    fn open(
        &self,
        mut connection: Connection,
        begun: Instant,
        bounds: Bounds,
        sent: &AtomicU64,
        rate: f64,
    ) -> anyhow::Result<Vec<Duration>> {
        let mut latencies = Vec::new();
        loop {
            let number = sent.fetch_add(1, Ordering::Relaxed);
            let due = due(number, rate);
            if due >= bounds.time || number >= bounds.requests {
                return Ok(latencies);
            }
            let late = begun.elapsed().checked_sub(due);
            if late.is_none() {
                thread::sleep(due.saturating_sub(begun.elapsed()));
            }
            latencies.push(late.unwrap_or_default() + connection.call(self.request(number), self.answer_length)?);
        }
    }
}

/// When the call of this number arrives.
#[expect(clippy::cast_precision_loss, reason = "no run has so many calls that it mattered")]
fn due(number: u64, rate: f64) -> Duration {
    Duration::try_from_secs_f64(number as f64 / rate).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::responder::Responder;
    use super::super::tls::Certificate;
    use super::*;

    fn responder(payloads: &[Payload]) -> (Responder, Endpoint) {
        let responder = Responder::start(None, None, payloads).unwrap();
        let endpoint = Endpoint::new(responder.address(), "any");
        (responder, endpoint)
    }

    #[test]
    fn all_payloads_are_answered_within_the_bounds() {
        let (_responder, endpoint) = responder(&Payload::COMMON);
        for payload in Payload::COMMON {
            let target = Target::new(&endpoint, payload).unwrap();
            let run = target.load(Load::closed(3), Bounds { time: Duration::from_secs(20), requests: 50 }).unwrap();
            assert_eq!(run.latencies.len(), 50);
            assert!(run.latencies.is_sorted());
        }
        let target = Target::new(&endpoint, Payload::ONE_BASE64).unwrap();
        let run = target.load(Load::closed(2), Bounds::of(Duration::from_millis(200))).unwrap();
        assert!(run.elapsed >= Duration::from_millis(200) && run.elapsed < Duration::from_secs(5));
    }

    #[test]
    fn an_open_loop_sends_at_its_rate_and_counts_the_wait_for_a_connection() {
        let (_responder, endpoint) = responder(&[Payload::ONE_BASE64]);
        let target = Target::of_users(&endpoint, Payload::ONE_BASE64, &["a".to_owned(), "b".to_owned()]).unwrap();
        let run = target.load(Load::open(4, 200.0), Bounds::of(Duration::from_millis(500))).unwrap();
        assert_eq!(run.latencies.len(), 100);
        assert!(run.elapsed >= Duration::from_millis(490), "{:?}", run.elapsed);
        // So many that one connection cannot carry them: the last ones are late by about the time that all take.
        let run =
            target.load(Load::open(1, 2_000_000.0), Bounds { time: Duration::from_secs(9), requests: 2_000 }).unwrap();
        let longest = run.latencies.last().copied().unwrap();
        assert!(longest * 2 > run.elapsed, "{longest:?} of {:?}", run.elapsed);
    }

    #[test]
    fn an_endpoint_behind_tls_is_called_if_it_shows_the_certificate_that_is_trusted() {
        let certificate = Certificate::generate().unwrap();
        let responder = Responder::start(None, Some(certificate.clone()), &[Payload::ONE_BASE64]).unwrap();
        let endpoint = Endpoint::new(responder.address(), "any");
        let bounds = Bounds { time: Duration::from_secs(20), requests: 20 };
        let run = |endpoint: &Endpoint| Target::new(endpoint, Payload::ONE_BASE64)?.load(Load::closed(2), bounds);
        assert_eq!(run(&endpoint.clone().with_tls(&certificate)).unwrap().latencies.len(), 20);
        assert!(run(&endpoint.clone().with_tls(&Certificate::generate().unwrap())).is_err());
        assert!(run(&endpoint).is_err());
    }

    #[test]
    fn an_answer_that_is_not_the_right_one_is_an_error() {
        let (_responder, endpoint) = responder(&[Payload::ONE_FLOAT]);
        let target = Target::new(&endpoint, Payload::ONE_BASE64).unwrap();
        assert!(target.load(Load::closed(1), Bounds::of(Duration::from_millis(100))).is_err());
    }
}
