//! An OpenTelemetry collector that costs next to nothing: it takes what it is sent, and counts it.

use std::{
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use anyhow::Context;

use super::request::Requests;

/// A running collector; it runs until the process ends.
#[derive(Debug)]
pub struct Sink {
    address: SocketAddr,
    traces: Arc<AtomicU64>,
}

impl Sink {
    /// Starts to listen. Its threads stay on the cores of the calling thread.
    pub fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("failed to listen")?;
        let address = listener.local_addr().context("failed to read the collector's address")?;
        let traces = Arc::new(AtomicU64::new(0));
        let bytes = traces.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let bytes = bytes.clone();
                // A sidecar that leaves ends its thread; nothing is lost by it.
                thread::spawn(move || take(stream, &bytes));
            }
        });
        Ok(Self { address, traces })
    }

    /// Its root, as settings name it.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Bytes of traces until now.
    pub fn traces(&self) -> u64 {
        self.traces.load(Ordering::Relaxed)
    }
}

fn take(stream: TcpStream, traces: &AtomicU64) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut requests = Requests::new(stream);
    while let Some((first, body)) = requests.read()? {
        if first.starts_with("POST /v1/traces ") {
            traces.fetch_add(body.len() as u64, Ordering::Relaxed);
        }
        // An empty body is an answer without further words, in protobuf.
        let answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
        requests.stream().write_all(answer)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::connection::Connection;

    #[test]
    fn bytes_of_traces_are_counted() {
        let sink = Sink::start().unwrap();
        let mut connection = Connection::open(sink.address, None).unwrap();
        for path in ["/v1/traces", "/v1/metrics", "/v1/traces"] {
            let request = format!("POST {path} HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc");
            connection.call(request.as_bytes(), Some(0)).unwrap();
        }
        assert_eq!(sink.traces(), 6);
    }
}
