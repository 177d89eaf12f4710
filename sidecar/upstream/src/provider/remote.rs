//! A provider that is elsewhere: where it is, who calls it, how it is spoken to, and what it takes at once.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, Response};
use vectoll_config::v1::Batch;

use super::{
    content::Content,
    dialect::{Capabilities, Dialect, Part, Unsupported, Wire},
    endpoint::{Endpoint, SendError},
    outgoing::OutgoingRequest,
    sent_flag::SentFlag,
};
use crate::credential::{Credential, Payload};
use vectoll_api::request::Request;

mod pass;

/// Headers that go from the caller to the provider: W3C Trace Context, the caller's own request ID, and the gateways that the call has come
/// by, of which no more is in it than they have written.
const FORWARDED: [HeaderName; 4] = [
    http::header::VIA,
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
pub struct HttpProviderSettings {
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
    pub fn new(settings: HttpProviderSettings) -> Option<Self> {
        let HttpProviderSettings { root, more, credential, dialect, pass, batch } = settings;
        let mut headers = root.headers(ROOM);
        headers.extend(more);
        let pass = match pass {
            Passthrough::At(path) => Passthrough::At(root.at(&path)?),
            Passthrough::ByModel => Passthrough::ByModel,
            Passthrough::Nowhere => Passthrough::Nowhere,
        };
        Some(Self { root, headers, credential, dialect, pass, batch })
    }

    /// Its host and port.
    pub fn address(&self) -> Option<(&str, u16)> {
        self.root.address()
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

    /// The caller's body as it came, but for the model's name, which is the provider's, and, unless it `asks_base64`, the wish for that.
    /// It may be copied and gone through: for a thread that has the time, where it is large.
    pub fn body(&self, request: &Request, model: &str, asks_base64: bool) -> Payload {
        self.credential.payload(pass::body(request, model, asks_base64))
    }

    /// The request for a part of a call, in the provider's own shape. It is written here, and gone through: for a thread that has the time,
    /// where it is large.
    pub fn request(&self, part: &Part<'_>) -> Result<OutgoingRequest, Unsupported> {
        let Wire { path, headers, body } = self.dialect.request(part)?;
        Ok(OutgoingRequest { path, headers, body: self.credential.payload(body) })
    }

    /// Sends a caller's body ([`Self::body`]). `model` is its name at the provider.
    pub async fn pass(
        &self,
        _journalled: &impl Journalled,
        (body, model): (Payload, &str),
        from_caller: &HeaderMap,
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
        let answer = to.post(self.headers(from_caller), body, &self.credential, departure).await?;
        Ok(Content::of(answer))
    }

    /// Sends a request in the provider's own shape ([`Self::request`]).
    pub async fn ask(
        &self,
        _journalled: &impl Journalled,
        request: OutgoingRequest,
        from_caller: &HeaderMap,
        departure: &SentFlag,
    ) -> Result<Response<Content>, SendError> {
        let OutgoingRequest { path, headers, body } = request;
        let Some(to) = self.root.at(&path) else { return Err(SendError::Path) };
        let mut all = self.headers(from_caller);
        all.extend(headers);
        Ok(Content::of(to.post(all, body, &self.credential, departure).await?))
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::borrow::Cow;

    use bytes::Bytes;
    use vectoll_api::request::{Fields, InputType};

    use super::*;
    use crate::{
        credential::{Form, aws, sigv4::Scope},
        provider::{
            dialect::{PassthroughFields, bedrock::Bedrock, extension::Extensions},
            egress::Egress,
            http::Clients,
        },
    };

    fn provider(credential: Credential) -> HttpProvider {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let clients = Clients::new(Egress::default()).unwrap();
        let settings = HttpProviderSettings {
            root: Endpoint::new("http://127.0.0.1:1", &clients, None).unwrap(),
            more: HeaderMap::new(),
            credential: Arc::new(credential),
            dialect: Box::new(Bedrock::new("amazon.titan-embed-text-v2:0", None).unwrap()),
            pass: Passthrough::At("/v1/embeddings".to_owned()),
            batch: Batch { max_items: None, max_tokens: None, parallel: 1 },
        };
        HttpProvider::new(settings).unwrap()
    }

    /// Where a request is made there is time to go through it; where it is sent there is none.
    #[test]
    fn what_a_signature_has_of_a_body_is_known_before_it_is_sent() {
        let keys = b"AWS_ACCESS_KEY_ID=a\nAWS_SECRET_ACCESS_KEY=b\n";
        let scope = Scope { region: "us-east-1".to_owned(), service: "bedrock".to_owned() };
        let signed = Credential::SigV4 { scope, keys: aws::Source::in_file(keys).unwrap() };
        let by_key = Credential::header(&Form::Bearer, b"key").unwrap();
        let body = r#"{"model":"m","input":"some text"}"#;
        let fields = Fields::read(body).unwrap();
        let request =
            Request::read(&fields, Some("m".into()), &HeaderMap::new(), Bytes::from_static(body.as_bytes())).unwrap();
        let (texts, extensions) = ([Cow::Borrowed("some text")], Extensions::default());
        let part = Part {
            model: "m",
            texts: &texts,
            dimensions: None,
            input_type: InputType::Document,
            passthrough: PassthroughFields::default(),
            extensions: &extensions,
        };
        for (provider, is_signed) in [(provider(signed), true), (provider(by_key), false)] {
            assert_eq!(provider.body(&request, "other", true).sha256().is_some(), is_signed);
            assert_eq!(provider.request(&part).unwrap().body.sha256().is_some(), is_signed);
        }
    }
}
