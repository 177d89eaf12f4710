//! Providers that speak an API of their own, each on a loopback port, played as strictly as they are documented.
//!
//! One provider a file. Each is written from its own reference and knows nothing of the sidecar: it takes a request apart, field
//! by field ([`Api::read`]), and answers in its own shape ([`Api::write`]). What is missing, unknown or wrong is a **violation**, which
//! the account remembers. Vectors are a function of the text and the length, and tokens are counted by `cl100k_base`.
//!
//! In its error messages a provider repeats all that it was sent, credentials included: nothing of them may be seen again.

mod account;
mod asked;
mod auth;
pub mod azure_open_ai;
pub mod bedrock;
pub mod cohere;
pub mod databricks;
pub(crate) mod exchange;
mod fields;
pub mod gemini;
pub mod hugging_face;
pub(crate) mod issuer;
pub mod jina;
pub mod mistral;
pub mod nvidia;
pub mod ollama;
pub mod sage_maker;
mod shape;
mod sigv4;
pub(crate) mod state;
pub(crate) mod temporary_keys;
pub mod vertex_ai;
pub mod voyage;
pub mod watsonx;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use http::{HeaderMap, Method};
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle};

pub use account::Account;
pub use asked::{Asked, InputType, vector};
pub use issuer::Issuer;
pub use sigv4::AccessKey;
pub use temporary_keys::TemporaryKeys;

use state::State;

/// A request as it came.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a Method,
    /// The path, percent-encoded as it was sent.
    pub path: &'a str,
    /// The query; empty: none.
    pub query: &'a str,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The body.
    pub body: &'a [u8],
}

impl<'a> Request<'a> {
    /// From its head and its body.
    pub(crate) fn of(head: &'a http::request::Parts, body: &'a [u8]) -> Self {
        Self {
            method: &head.method,
            path: head.uri.path(),
            query: head.uri.query().unwrap_or_default(),
            headers: &head.headers,
            body,
        }
    }
}

/// A right answer.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    /// Headers beside `content-type: application/json`.
    pub headers: Vec<(&'static str, String)>,
    /// JSON.
    pub body: String,
}

/// Why a request is not served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Nobody may ask for that: a violation.
    Wrong(String),
    /// The credential was good once.
    Outdated,
    /// What the provider cannot do, and callers may ask for: its status and its words.
    Unable(u16, String),
}

/// One provider.
pub trait Api: Send + Sync + 'static {
    /// The most inputs in a request.
    fn items(&self) -> usize;

    /// The headers that say who calls.
    fn credential_headers(&self) -> &'static [&'static str];

    /// Checks a request.
    fn read(&self, request: &Request<'_>) -> Result<Asked, Refusal>;

    /// The right answer. `vectors` are those of the inputs in their order, `tokens` what they cost.
    fn write(&self, asked: &Asked, vectors: &[Vec<f32>], tokens: u64) -> Reply;

    /// An error in the provider's shape.
    fn error(&self, status: u16, message: &str) -> Value;

    /// Whether an error of this status is charged, as the provider's own pages have it.
    fn charges(&self, _status: u16) -> bool {
        false
    }

    /// The status by which it says that a credential is good no more.
    fn outdated(&self) -> u16 {
        401
    }

    /// Answers a question for a token: status and body; none: it is another kind of request.
    fn issue(&self, _request: &Request<'_>) -> Option<(u16, Value)> {
        None
    }
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// An error in the provider's shape; charged where its pages say so.
    Status(u16),
    /// 200 with an HTML page; not charged.
    Garbage,
    /// A vector less than there are inputs; charged.
    Few,
    /// The request is read and the connection reset; not charged.
    Reset,
}

/// How a provider goes about its work.
#[derive(Debug, Clone, Copy, Default)]
pub struct Conduct {
    /// Time from the end of a request to its answer.
    pub latency: Duration,
    /// From which request on something goes wrong, counted from 0 and from when this was set, and what.
    pub fault: Option<(u64, Fault)>,
}

/// A running provider. Dropping it closes its port and all its connections.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

impl Server {
    /// Starts to listen; the tasks run on the runtime of the caller.
    pub async fn start(api: Box<dyn Api>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("failed to listen")?;
        let address = listener.local_addr().context("failed to read the listener's address")?;
        let state = Arc::new(State::new(api));
        let accepting = tokio::spawn(exchange::run(listener, state.clone()));
        Ok(Self { address, state, accepting })
    }

    /// `http://127.0.0.1:PORT`.
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The most inputs in a request.
    pub fn items(&self) -> usize {
        self.state.api.items()
    }

    /// Sets how it goes about its work from now on.
    pub fn conduct(&self, conduct: Conduct) {
        self.state.conduct(conduct);
    }

    /// Its account since the last time.
    pub fn take(&self) -> Account {
        self.state.take()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
