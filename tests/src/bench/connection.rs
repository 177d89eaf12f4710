//! One connection that sends calls, one after the other, and reads their answers whole.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::reply::{Replies, Reply};

/// A proxy that hangs has to end the benchmark, not to become its result.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection.
#[derive(Debug)]
pub struct Connection {
    address: SocketAddr,
    replies: Replies<Stream>,
}

/// With or without TLS.
#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Read for Stream {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(to),
            Self::Tls(stream) => stream.read(to),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(from),
            Self::Tls(stream) => stream.write(from),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

impl Connection {
    /// Connects; with TLS, if whom to trust is given: then the handshake is over.
    pub fn open(address: SocketAddr, tls: Option<&Arc<ClientConfig>>) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("failed to connect to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(READ_TIMEOUT))?;
        stream.set_write_timeout(Some(READ_TIMEOUT))?;
        let stream = match tls {
            None => Stream::Plain(stream),
            Some(config) => {
                let mut connection = ClientConnection::new(config.clone(), address.ip().into())?;
                let mut stream = stream;
                while connection.is_handshaking() {
                    connection.complete_io(&mut stream).with_context(|| format!("no TLS with {address}"))?;
                }
                Stream::Tls(Box::new(StreamOwned::new(connection, stream)))
            }
        };
        Ok(Self { address, replies: Replies::new(stream) })
    }

    /// Sends a call and reads its answer: how long it took. Any but a whole 200, of the length if one is given, is an error.
    pub fn call(&mut self, request: &[u8], length: Option<u64>) -> anyhow::Result<Duration> {
        let asked = Instant::now();
        let reply = self.exchange(request)?;
        let took = asked.elapsed();
        let is_right = reply.status == 200 && length.is_none_or(|length| length == reply.length);
        ensure!(is_right, "{} answered {reply:?}; expected were 200 and {length:?} bytes", self.address);
        Ok(took)
    }

    /// Sends a request and reads its answer, whatever that is.
    pub fn exchange(&mut self, request: &[u8]) -> anyhow::Result<Reply> {
        let stream = self.replies.stream();
        stream.write_all(request).context("failed to send")?;
        stream.flush().context("failed to send")?;
        self.replies.read().with_context(|| format!("bad answer of {}", self.address))
    }
}
