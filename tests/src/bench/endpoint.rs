//! Who is called: by which address, path, key and name of a model.

use std::net::{SocketAddr, ToSocketAddrs};

use anyhow::{Context, ensure};

use super::payload::Payload;
use super::tls::Certificate;

/// Where calls go, and what they say of themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    address: SocketAddr,
    host: String,
    path: String,
    key: String,
    model: Option<String>,
    /// By which it is known, if it speaks TLS.
    certificate: Option<Certificate>,
    /// Whether the answer is the provider's to the byte; else only its status counts.
    is_exact: bool,
}

impl Endpoint {
    /// One that passes the provider's answers on as they are.
    pub fn new(address: SocketAddr, key: &str) -> Self {
        Self {
            address,
            host: address.to_string(),
            path: "/v1/embeddings".to_owned(),
            key: key.to_owned(),
            model: None,
            certificate: None,
            is_exact: true,
        }
    }

    /// One that speaks `OpenAI`'s API at a base URL such as `http://127.0.0.1:4000/v1`, and writes its answers as it likes.
    pub fn of_url(url: &str, key: &str, model: Option<&str>) -> anyhow::Result<Self> {
        let rest = url.strip_prefix("http://").with_context(|| format!("{url} does not begin with http://"))?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        ensure!(!host.is_empty(), "{url} names no host");
        let with_port = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
        let address = with_port.to_socket_addrs().ok().and_then(|mut found| found.next());
        let address = address.with_context(|| format!("{url}: {with_port} is no address"))?;
        let base = path.trim_end_matches('/');
        let path = if base.is_empty() { "/v1/embeddings".to_owned() } else { format!("/{base}/embeddings") };
        let model = model.map(str::to_owned);
        Ok(Self {
            address,
            host: host.to_owned(),
            path,
            key: key.to_owned(),
            model,
            certificate: None,
            is_exact: false,
        })
    }

    /// The same for calls that name another model than the payload's.
    #[must_use]
    pub fn with_model(self, model: &str) -> Self {
        Self { model: Some(model.to_owned()), ..self }
    }

    /// The same with another key.
    #[must_use]
    pub fn with_key(self, key: &str) -> Self {
        Self { key: key.to_owned(), ..self }
    }

    /// The same behind TLS, known by this certificate.
    #[must_use]
    pub fn with_tls(self, certificate: &Certificate) -> Self {
        Self { certificate: Some(certificate.clone()), ..self }
    }

    /// By which it is known, if it speaks TLS.
    pub fn certificate(&self) -> Option<&Certificate> {
        self.certificate.as_ref()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A call's bytes, as one of `user`'s if there is one.
    pub fn request(&self, payload: Payload, user: Option<&str>) -> Vec<u8> {
        let body = payload.request_for(self.model.as_deref().unwrap_or(payload.model()));
        let user = user.map(|user| format!("x-litellm-user-id: {user}\r\n")).unwrap_or_default();
        let Self { host, path, key, .. } = self;
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {key}\r\n{user}\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len(),
        );
        [head.into_bytes(), body].concat()
    }

    /// The key that is sent.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The path of the list of models, which no limit counts.
    pub fn models_path(&self) -> String {
        format!("{}/models", self.path.trim_end_matches("/embeddings"))
    }

    /// The bytes of a request for that list.
    pub fn models_request(&self) -> Vec<u8> {
        let Self { host, key, .. } = self;
        let path = self.models_path();
        format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {key}\r\n\r\n").into_bytes()
    }

    /// Bytes of the answer's body, where they are known before.
    pub fn answer_length(&self, payload: Payload) -> anyhow::Result<Option<u64>> {
        // Who translates writes in a way of its own.
        if !self.is_exact || payload.format != payload.answered {
            return Ok(None);
        }
        payload.answer_length().map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::super::payload::Format;
    use super::*;

    #[test]
    fn base_urls_are_taken_apart() {
        let of = |url: &str| Endpoint::of_url(url, "k", None);
        for (url, port, path) in [
            ("http://127.0.0.1:4000/v1", 4000, "/v1/embeddings"),
            ("http://127.0.0.1:4000", 4000, "/v1/embeddings"),
            ("http://127.0.0.1/openai/v1/", 80, "/openai/v1/embeddings"),
        ] {
            let found = of(url).unwrap();
            assert_eq!((found.address.port(), &*found.path), (port, path), "{url}");
        }
        for wrong in ["https://127.0.0.1/v1", "127.0.0.1:4000", "http:///v1"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_neighbour_may_write_answers_in_its_own_way() {
        let exact = Endpoint::new("127.0.0.1:1".parse().unwrap(), "k");
        assert!(exact.answer_length(Payload::ONE_BASE64).unwrap().is_some());
        assert_eq!(exact.answer_length(Payload::ONE_BASE64.answered_in(Format::Float)).unwrap(), None);
        let neighbour = Endpoint::of_url("http://127.0.0.1:1/v1", "k", Some("m")).unwrap();
        assert_eq!(neighbour.answer_length(Payload::ONE_BASE64).unwrap(), None);
        let request = String::from_utf8(neighbour.request(Payload::ONE_BASE64, Some("alice"))).unwrap();
        assert!(request.contains("\"model\":\"m\"") && request.contains("x-litellm-user-id: alice\r\n"), "{request}");
    }
}
