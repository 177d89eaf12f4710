//! Reads `/metrics` to its end, however long that takes: of tens of thousands of keys it is many megabytes.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, ensure};

/// What that takes at most, in a build for tests, beside other tests.
const TIMEOUT: Duration = Duration::from_mins(1);

/// What an admin listener tells to Prometheus.
pub fn scrape(admin: SocketAddr) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(admin).context("failed to reach the admin listener")?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.write_all(format!("GET /metrics HTTP/1.0\r\nHost: {admin}\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).context("/metrics broke off")?;
    let (head, body) = answer.split_once("\r\n\r\n").context("/metrics has no head")?;
    ensure!(head.starts_with("HTTP/1.0 200") || head.starts_with("HTTP/1.1 200"), "/metrics is refused: {head}");
    Ok(body.to_owned())
}
