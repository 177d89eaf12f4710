//! A provider that costs next to nothing: it answers from memory, a blocking thread a connection.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::Context;

use super::payload::{MARK, Payload};
use super::request::Requests;
use super::tls::Certificate;

/// A running responder; it runs until the process ends.
#[derive(Debug)]
pub struct Responder {
    address: SocketAddr,
    ready: Ready,
    certificate: Option<Certificate>,
}

/// Whole answers, headers included, by the payload's name.
#[derive(Debug, Clone, Default)]
struct Ready(Arc<Mutex<BTreeMap<String, Arc<[u8]>>>>);

impl Responder {
    /// Writes the answers to these payloads and starts to listen, at a free address if none is given. Its threads stay on the cores of the
    /// calling thread.
    pub fn start(
        listen: Option<SocketAddr>,
        certificate: Option<Certificate>,
        payloads: &[Payload],
    ) -> anyhow::Result<Self> {
        let ready = Ready::default();
        ready.put(payloads)?;
        let listen = listen.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let listener = TcpListener::bind(listen).with_context(|| format!("failed to listen at {listen}"))?;
        let address = listener.local_addr().context("failed to read the responder's address")?;
        let answers = ready.clone();
        let tls = certificate.as_ref().map(Certificate::server).transpose()?;
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answers, tls) = (answers.clone(), tls.clone());
                // A proxy that leaves ends its thread; nothing is lost by it.
                thread::spawn(move || {
                    stream.set_nodelay(true)?;
                    match tls {
                        None => serve(stream, &answers),
                        Some(server) => {
                            let connection = rustls::ServerConnection::new(server).map_err(io::Error::other)?;
                            serve(rustls::StreamOwned::<_, TcpStream>::new(connection, stream), &answers)
                        }
                    }
                });
            }
        });
        Ok(Self { address, ready, certificate })
    }

    /// Answers these payloads from now on, and no others: they may be large.
    pub fn prepare(&self, payloads: &[Payload]) -> anyhow::Result<()> {
        self.ready.put(payloads)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The certificate that it shows, if it speaks TLS.
    pub fn certificate(&self) -> Option<&Certificate> {
        self.certificate.as_ref()
    }

    /// Its base URL for an `OpenAI` client.
    pub fn base_url(&self) -> String {
        let scheme = if self.certificate.is_some() { "https" } else { "http" };
        format!("{scheme}://{}/v1", self.address)
    }
}

fn whole(payload: Payload) -> anyhow::Result<Arc<[u8]>> {
    let body = payload.answer()?;
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
    Ok([head.into_bytes(), body].concat().into())
}

impl Ready {
    fn put(&self, payloads: &[Payload]) -> anyhow::Result<()> {
        let mut answers = BTreeMap::new();
        for payload in payloads {
            answers.insert(payload.name(), whole(*payload)?);
        }
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = answers;
        Ok(())
    }

    fn get(&self, name: &str) -> Option<Arc<[u8]>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }
}

fn serve<S: Read + Write>(stream: S, ready: &Ready) -> io::Result<()> {
    let mut requests = Requests::new(stream);
    while let Some((_, body)) = requests.read()? {
        let answer = asked_for(body).and_then(|name| ready.get(name));
        let unknown = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
        let writer = requests.stream();
        writer.write_all(answer.as_deref().unwrap_or(unknown))?;
        writer.flush()?;
    }
    Ok(())
}

/// The payload's name, from the first text of a body.
fn asked_for(body: &[u8]) -> Option<&str> {
    let at = body.windows(MARK.len()).position(|window| window == MARK.as_bytes())?;
    let name = body.get(at + MARK.len()..)?.split(|byte| *byte == b' ').next()?;
    std::str::from_utf8(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_told_apart_by_their_texts() {
        for payload in Payload::shapes() {
            assert_eq!(asked_for(&payload.request()), Some(&*payload.name()));
        }
        assert_eq!(asked_for(b"{\"input\": \"another text\"}"), None);
    }
}
