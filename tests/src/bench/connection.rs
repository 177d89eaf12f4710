//! One connection that sends calls, one after the other, and reads their answers whole.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::reply::Replies;

/// A proxy that hangs has to end the benchmark, not to become its result.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection.
#[derive(Debug)]
pub struct Connection {
    address: SocketAddr,
    writer: TcpStream,
    replies: Replies<TcpStream>,
}

impl Connection {
    /// Connects.
    pub fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("failed to connect to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(READ_TIMEOUT))?;
        stream.set_write_timeout(Some(READ_TIMEOUT))?;
        Ok(Self { address, replies: Replies::new(stream.try_clone()?), writer: stream })
    }

    /// Sends a call and reads its answer: how long it took. Any but a whole 200, of the length if one is given, is an error.
    pub fn call(&mut self, request: &[u8], length: Option<u64>) -> anyhow::Result<Duration> {
        let asked = Instant::now();
        self.writer.write_all(request).context("failed to send")?;
        let reply = self.replies.read().with_context(|| format!("bad answer of {}", self.address))?;
        let took = asked.elapsed();
        let is_right = reply.status == 200 && length.is_none_or(|length| length == reply.length);
        ensure!(is_right, "{} answered {reply:?}; expected were 200 and {length:?} bytes", self.address);
        Ok(took)
    }
}
