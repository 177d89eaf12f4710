//! `GET` over plain HTTP to a loopback listener, without a client library whose settings would have to be known to be neutral.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
}

/// Asks in HTTP/1.0, so that the body ends with the connection and is never in chunks.
pub(super) async fn get(address: SocketAddr, path: &str) -> anyhow::Result<Answer> {
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let answer = tokio::time::timeout(Duration::from_secs(5), asked)
        .await
        .with_context(|| format!("{address}{path} did not answer"))?
        .with_context(|| format!("failed to ask {address}{path}"))?;
    parse(&String::from_utf8_lossy(&answer)).with_context(|| format!("{address}{path} does not speak HTTP"))
}

fn parse(answer: &str) -> Option<Answer> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_body_are_read() {
        let answer = parse("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 3\r\n\r\nno\n").unwrap();
        assert_eq!(answer, Answer { status: 503, body: "no\n".to_owned() });
        assert_eq!(parse("SSH-2.0-x\r\n\r\n"), None);
    }
}
