//! `vectoll-sidecar health`: asks the sidecar in the same container whether it is ready, on loopback.
//!
//! For the kubelet where a service mesh refuses its HTTP probes. It runs every few seconds in every such pod, so it is std alone:
//! no runtime, no threads, no log.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    process::ExitCode,
    time::Duration,
};

/// The first argument by which it is asked for.
pub const COMMAND: &str = "health";

/// The variable that tells the sidecar where to listen.
const ADMIN_LISTEN: &str = "VECTOLL_ADMIN_LISTEN";
/// Where it listens if nothing is set.
const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4001);
/// Each step's; the kubelet waits five seconds for the whole.
const TIMEOUT: Duration = Duration::from_millis(1500);

/// Succeeds if the sidecar is ready; else says on stderr, which the kubelet shows in an event, why not.
pub fn run() -> ExitCode {
    let listening = std::env::var(ADMIN_LISTEN).ok();
    match ask(listening.as_deref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            let _ = writeln!(io::stderr(), "{reason}");
            ExitCode::FAILURE
        }
    }
}

fn ask(listening: Option<&str>) -> Result<(), String> {
    let address = match listening {
        Some(text) => {
            loopback(text.parse().map_err(|_| format!("{ADMIN_LISTEN}: {text:?} is not an address with a port"))?)
        }
        None => DEFAULT_ADDRESS,
    };
    let answer = get(address).map_err(|error| format!("failed to ask {address}: {error}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).unwrap_or_default();
    if status == "200" { Ok(()) } else { Err(format!("not ready ({status}): {}", body.trim())) }
}

/// Where a listener on all addresses is found from inside.
fn loopback(listening: SocketAddr) -> SocketAddr {
    // A listener on all IPv6 addresses takes IPv4 as well, also where the pod has no IPv6.
    let ip = listening.ip();
    let address = if ip.is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { ip };
    SocketAddr::new(address, listening.port())
}

fn get(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    // Far more than the sidecar says.
    stream.take(4096).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::{net::TcpListener, thread};

    use super::*;

    /// A listener on all addresses that gives this answer once; its address as a setting.
    fn answering(answer: &'static str) -> String {
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = [0; 1024];
            let read = stream.read(&mut asked).unwrap();
            assert!(asked.get(..read).unwrap().starts_with(b"GET /readyz HTTP/1.1\r\n"));
            stream.write_all(answer.as_bytes()).unwrap();
        });
        format!("[::]:{port}")
    }

    #[test]
    fn only_200_is_ready() {
        assert_eq!(ask(Some(&answering("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n"))), Ok(()));
        let not = ask(Some(&answering("HTTP/1.1 503 Service Unavailable\r\n\r\nno config is loaded\n")));
        assert_eq!(not, Err("not ready (503): no config is loaded".to_owned()));
        assert!(ask(Some(&answering(""))).is_err());
    }

    #[test]
    fn what_cannot_be_asked_is_not_ready() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(ask(Some(&closed.to_string())).unwrap_err().starts_with("failed to ask 127.0.0.1:"));
        assert!(ask(Some("4001")).unwrap_err().contains("VECTOLL_ADMIN_LISTEN: \"4001\" is not an address"));
    }

    #[test]
    fn a_listener_is_asked_where_it_is() {
        for (listening, asked) in [
            ("[::]:4001", "127.0.0.1:4001"),
            ("0.0.0.0:4001", "127.0.0.1:4001"),
            ("[::1]:4001", "[::1]:4001"),
            ("10.1.2.3:9", "10.1.2.3:9"),
        ] {
            assert_eq!(loopback(listening.parse().unwrap()), asked.parse().unwrap());
        }
    }
}
