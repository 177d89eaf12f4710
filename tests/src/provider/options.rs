//! How a provider is set up.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// How a provider is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// The only credential it accepts, as `Authorization: Bearer`.
    pub api_key: String,
    /// Certificate chain and private key as PEM; with them it speaks https (h2 and http/1.1 by ALPN).
    pub tls: Option<(String, String)>,
    /// Time from the end of a request to the beginning of its answer, before what the model's name adds.
    pub latency: Duration,
    /// How many requests it takes within a second; those beyond are refused with 429 and `Retry-After: 1`. None: all.
    pub requests_per_second: Option<usize>,
    /// The most tokens of one input; a request with a longer one is refused with 400. None: any number.
    pub tokens_per_input: Option<u64>,
    /// Where to listen. A fixed port lets a test take a provider away and bring it back.
    pub listen: SocketAddr,
}

impl Options {
    /// Plain HTTP on a free loopback port, without latency.
    pub fn new(api_key: impl Into<String>) -> Self {
        Self {
            api_key: api_key.into(),
            tls: None,
            latency: Duration::ZERO,
            requests_per_second: None,
            tokens_per_input: None,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        }
    }
}
