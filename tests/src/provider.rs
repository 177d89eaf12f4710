//! An embeddings provider of the shape of `OpenAI`'s, on a loopback port.
//!
//! It differs from the real one in three ways: it **checks** every request strictly and remembers what was wrong with it
//! ([`Account::violations`]), it **fails on request** (the model's name chooses a [`Behaviour`]), and it **keeps books** of
//! what it charged, which the sidecar's ledger has to match.
//!
//! Besides `POST /v1/embeddings` it answers its checker, without a key and without entering it in the books:
//!
//! | request | answer |
//! |---|---|
//! | `GET /account` | [`Account`] as JSON |
//! | `GET /requests` | the last requests, oldest first: method, path, headers, body (as text) |
//! | `POST /vectors` | `{"vectors": [[…]]}` for a body as of `/v1/embeddings`, as floats |

mod account;
mod answer;
mod behaviour;
mod body;
mod books;
mod call;
mod exchange;
mod item;
pub(crate) mod line;
mod listener;
mod options;
mod refusal;
pub(crate) mod strict_json;
mod tls;
pub mod vector;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use account::{Account, Charged};
pub use behaviour::{Behaviour, Plan, UnknownFault};
pub use books::Recorded;
pub use call::{Call, Encoding, Violation};
pub use item::Item;
pub use options::Options;

use books::Books;

/// A running provider. Dropping it closes its port and all its connections.
#[derive(Debug)]
pub struct Provider {
    address: SocketAddr,
    books: Arc<Books>,
    accepting: JoinHandle<()>,
}

impl Provider {
    /// Starts to listen; the tasks run on the runtime of the caller.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(options.listen)
            .await
            .with_context(|| format!("failed to listen on {}", options.listen))?;
        let address = listener.local_addr().context("failed to read the listener's address")?;
        let acceptor = options.tls.as_ref().map(|(cert, key)| tls::acceptor(cert, key)).transpose()?;
        let scheme = if acceptor.is_some() { "https" } else { "http" };
        let books = Arc::new(Books::new(options, format!("{scheme}://{address}")));
        let accepting = tokio::spawn(listener::run(listener, acceptor, books.clone()));
        Ok(Self { address, books, accepting })
    }

    /// The base URL as clients want it: `http://127.0.0.1:PORT/v1`.
    pub fn url(&self) -> String {
        format!("{}/v1", self.books.origin())
    }

    /// The same without a path, for `/account`, `/requests` and `/vectors`.
    pub fn origin(&self) -> &str {
        self.books.origin()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its books, as of now.
    pub fn account(&self) -> Account {
        self.books.account()
    }

    /// The last requests (at most [`Recorded::KEPT`]), oldest first; the checker's own are not among them.
    pub fn requests(&self) -> Vec<Recorded> {
        self.books.requests()
    }

    /// TCP connections accepted since the start, the checker's included.
    pub fn connections(&self) -> u64 {
        self.books.connections()
    }

    /// Closes the port and all connections, and returns once they are closed.
    pub async fn stop(mut self) {
        self.accepting.abort();
        // The task was cancelled just now: an error is what it ends with.
        let _ = (&mut self.accepting).await;
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
