//! An issuer for tests: on loopback, with answers given beforehand, one for each connection.

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
};
use url::Url;

use crate::provider::http::Clients;

/// A question that came in.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub line: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Clients for tests, where nobody else has said whose cryptography TLS uses.
pub(crate) fn clients() -> Clients {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Clients::new(crate::provider::egress::Egress::default()).unwrap()
}

pub(crate) struct Fake {
    root: Url,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Fake {
    /// Gives these answers, in this order, and none after them.
    pub async fn new<T: Into<String>>(answers: impl IntoIterator<Item = (u16, T)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let root = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&seen);
        let answers: Vec<(u16, String)> = answers.into_iter().map(|(status, body)| (status, body.into())).collect();
        tokio::spawn(async move {
            for (status, body) in answers {
                let (stream, _) = listener.accept().await.unwrap();
                let mut stream = BufReader::new(stream);
                let mut head = Vec::new();
                loop {
                    let mut line = String::new();
                    stream.read_line(&mut line).await.unwrap();
                    match line.trim_end() {
                        "" => break,
                        line => head.push(line.to_owned()),
                    }
                }
                let headers: Vec<(String, String)> = head[1..]
                    .iter()
                    .map(|line| line.split_once(": ").unwrap())
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .collect();
                let mut seen = Seen { line: head[0].clone(), headers, body: String::new() };
                let length = seen.header("content-length").map_or(0, |length| length.parse().unwrap());
                let mut question = vec![0; length];
                stream.read_exact(&mut question).await.unwrap();
                seen.body = String::from_utf8(question).unwrap();
                noted.lock().unwrap().push(seen);
                let answer = format!(
                    "HTTP/1.1 {status} X\r\nlocation: /elsewhere\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                );
                // Whoever has read enough may be gone.
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Self { root, seen }
    }

    pub fn url(&self, path: &str) -> Url {
        self.root.join(path).unwrap()
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}
