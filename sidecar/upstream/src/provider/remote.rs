//! A provider that is elsewhere: where it is, who calls it, how it is spoken to, and what it takes at once.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Response};
use vectoll_config::v1::Batch;

use super::{
    content::Content,
    dialect::{Capabilities, Dialect, Wire},
    endpoint::{Endpoint, SendError},
    sent_flag::SentFlag,
};
use crate::credential::Credential;
use vectoll_api::request::Request;

mod pass;

/// Headers that go from the caller to the provider: W3C Trace Context and the caller's own request ID.
const FORWARDED: [HeaderName; 3] = [
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("x-request-id"),
];

/// Room for the headers of a call.
const ROOM: usize = 12;

/// A call that the journal knows of. Only such a one is sent: whoever implements it proves that.
pub trait Journalled {}

impl<T: Journalled> Journalled for &T {}

/// A provider, ready to be called.
#[derive(Debug)]
pub struct HttpProvider {
    /// The API's root.
    root: Endpoint,
    /// What every request has, beside the credential.
    headers: HeaderMap,
    credential: Arc<Credential>,
    dialect: Box<dyn Dialect>,
    /// Where callers' bodies are understood as they come.
    pass: Passthrough<Endpoint>,
    batch: Batch,
}

/// Where callers' bodies are understood as they come.
#[derive(Clone, Copy, Debug)]
pub enum Passthrough<T> {
    /// Nowhere.
    Nowhere,
    /// There.
    At(T),
    /// Where the dialect says, by the model's name.
    ByModel,
}

/// What a [`HttpProvider`] is made of.
#[derive(Debug)]
pub struct Parts {
    /// The API's root.
    pub root: Endpoint,
    /// Headers of every request, beside those that every provider gets, and the credential.
    pub more: HeaderMap,
    /// Who calls.
    pub credential: Arc<Credential>,
    /// How it is spoken to.
    pub dialect: Box<dyn Dialect>,
    /// The path behind the root where callers' bodies are understood as they come.
    pub pass: Passthrough<String>,
    /// How calls are split.
    pub batch: Batch,
}

impl HttpProvider {
    /// Prepares the calls; none: the path leads nowhere.
    pub fn new(parts: Parts) -> Option<Self> {
        let Parts { root, more, credential, dialect, pass, batch } = parts;
        let mut headers = root.headers(ROOM);
        headers.extend(more);
        let pass = match pass {
            Passthrough::At(path) => Passthrough::At(root.at(&path)?),
            Passthrough::ByModel => Passthrough::ByModel,
            Passthrough::Nowhere => Passthrough::Nowhere,
        };
        Some(Self { root, headers, credential, dialect, pass, batch })
    }

    /// How it is spoken to.
    pub fn dialect(&self) -> &dyn Dialect {
        &*self.dialect
    }

    /// Whether callers' bodies are understood as they come.
    pub fn passes(&self) -> bool {
        !matches!(self.pass, Passthrough::Nowhere)
    }

    /// What one request may hold, of a model by its name there.
    pub fn capabilities(&self, model: &str) -> Capabilities {
        let Capabilities { items, tokens } = self.dialect.capabilities(model);
        let most = self.batch.max_items.and_then(|most| usize::try_from(most).ok());
        Capabilities { items: most.unwrap_or(items).max(1), tokens: self.batch.max_tokens.or(tokens) }
    }

    /// How many requests of one call are sent side by side.
    pub fn parallel(&self) -> usize {
        usize::try_from(self.batch.parallel).unwrap_or(1).max(1)
    }

    /// Sends the caller's body as it came, but for the model's name, which is the provider's, and, unless it `asks_base64`, the wish
    /// for that.
    pub async fn pass(
        &self,
        _journalled: &impl Journalled,
        (request, model): (&Request, &str),
        (from_caller, asks_base64): (&HeaderMap, bool),
        departure: &SentFlag,
    ) -> Result<Response<Content>, SendError> {
        let by_model;
        let to = match &self.pass {
            Passthrough::At(to) => to,
            Passthrough::ByModel => {
                by_model = self.dialect.pass_path(model).and_then(|path| self.root.at(&path)).ok_or(SendError::Path)?;
                &by_model
            }
            Passthrough::Nowhere => return Err(SendError::Path),
        };
        let body = pass::body(request, model, asks_base64);
        let answer = to.post(self.headers(from_caller), body, &self.credential, departure).await?;
        Ok(Content::of(answer))
    }

    /// Sends a request in the provider's own shape.
    pub async fn ask(
        &self,
        _journalled: &impl Journalled,
        wire: Wire,
        from_caller: &HeaderMap,
        departure: &SentFlag,
    ) -> Result<Response<Content>, SendError> {
        let Wire { path, headers, body } = wire;
        let Some(to) = self.root.at(&path) else { return Err(SendError::Path) };
        let mut all = self.headers(from_caller);
        all.extend(headers);
        Ok(Content::of(to.post(all, Bytes::from(body), &self.credential, departure).await?))
    }

    fn headers(&self, from_caller: &HeaderMap) -> HeaderMap {
        let mut headers = self.headers.clone();
        for name in &FORWARDED {
            if let Some(value) = from_caller.get(name) {
                headers.insert(name.clone(), value.clone());
            }
        }
        headers
    }

    /// The provider does not take the credential: what was fetched is fetched anew.
    pub fn credential_refused(&self) {
        self.credential.refused();
    }

    /// A provider's message without the credential it was called with: some repeat it, whole or in part.
    pub fn redact(&self, message: &str) -> String {
        self.credential.redact(message)
    }
}
