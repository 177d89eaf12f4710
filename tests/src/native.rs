//! Providers that speak an API of their own, each on a loopback port, played as strictly as they are documented.
//!
//! One provider a file. Each is written from its own reference and knows nothing of the sidecar: it takes a request apart, field
//! by field ([`Api::read`]), and answers in its own shape ([`Api::write`]). What is missing, unknown or wrong is a **violation**, which
//! the account remembers. Vectors are a function of the text and the length, and tokens are counted by `cl100k_base`.
//!
//! In its error messages a provider repeats all that it was sent, credentials included: nothing of them may be seen again.

mod account;
mod api;
mod asked;
mod auth;
pub mod azure_open_ai;
pub mod bedrock;
pub mod cohere;
mod conduct;
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
pub mod open_ai;
mod request;
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
};

use anyhow::Context;
use tokio::{net::TcpListener, task::JoinHandle};

pub use account::Account;
pub use api::{Api, Refusal, Reply};
pub use asked::{Asked, InputType, vector};
pub use conduct::{Conduct, Fault};
pub use issuer::Issuer;
pub use request::Request;
pub use sigv4::AccessKey;
pub use temporary_keys::TemporaryKeys;

use state::State;

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
