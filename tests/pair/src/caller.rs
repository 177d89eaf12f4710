//! An application that calls the sidecar.

#![allow(clippy::indexing_slicing, reason = "a missing field of JSON reads as null")]

use std::time::Duration;

use anyhow::Context;
use http::HeaderMap;
use serde_json::{Value, json};

/// A client with a key.
#[derive(Debug, Clone)]
pub struct Caller {
    http: reqwest::Client,
    base_url: String,
    key: String,
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body; null where it is not JSON.
    pub json: Value,
}

impl Answer {
    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// `error.message`.
    pub fn message(&self) -> &str {
        self.json["error"]["message"].as_str().unwrap_or_default()
    }

    /// `error.code`.
    pub fn code(&self) -> &str {
        self.json["error"]["code"].as_str().unwrap_or_default()
    }

    /// `usage.prompt_tokens`.
    pub fn tokens(&self) -> u64 {
        self.json["usage"]["prompt_tokens"].as_u64().unwrap_or_default()
    }

    /// The first vector, as floats.
    pub fn vector(&self) -> Vec<f64> {
        let numbers = self.json["data"][0]["embedding"].as_array();
        numbers.map(|numbers| numbers.iter().filter_map(Value::as_f64).collect()).unwrap_or_default()
    }
}

impl Caller {
    /// A client of the sidecar at `base_url`. TLS needs no certificates here: it is plain HTTP on loopback.
    pub fn new(base_url: &str, key: &str) -> anyhow::Result<Self> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        // As the clients of OpenAI: this one's own default ends a connection whose server has not read for 30 s, as a sidecar does while a
        // call waits for memory.
        let http = reqwest::Client::builder().no_proxy().tcp_user_timeout(None);
        let http = http.build().context("failed to set up a client")?;
        Ok(Self { http, base_url: base_url.to_owned(), key: key.to_owned() })
    }

    /// A client of its own kind, as of a gateway whose certificate it trusts.
    pub fn with(http: reqwest::Client, base_url: &str, key: &str) -> Self {
        Self { http, base_url: base_url.to_owned(), key: key.to_owned() }
    }

    /// The same client with another key.
    #[must_use]
    pub fn with_key(&self, key: &str) -> Self {
        Self { key: key.to_owned(), ..self.clone() }
    }

    /// `POST /v1/embeddings`.
    pub async fn embed(&self, model: &str, input: Value) -> anyhow::Result<Answer> {
        self.post("/v1/embeddings", &json!({"model": model, "input": input}), &[]).await
    }

    /// `GET` of a path.
    pub async fn get(&self, path: &str) -> anyhow::Result<Answer> {
        self.send(self.http.get(format!("{}{path}", self.base_url)).bearer_auth(&self.key)).await
    }

    /// `POST` of a JSON body with further headers.
    pub async fn post(&self, path: &str, body: &Value, headers: &[(&str, &str)]) -> anyhow::Result<Answer> {
        let request = self.http.post(format!("{}{path}", self.base_url)).bearer_auth(&self.key).json(body);
        self.send(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
    }

    /// Any request: the builder gets the client and the base URL.
    pub async fn raw(
        &self,
        build: impl FnOnce(&reqwest::Client, &str) -> reqwest::RequestBuilder,
    ) -> anyhow::Result<Answer> {
        self.send(build(&self.http, &self.base_url)).await
    }

    /// Calls and hangs up after a while.
    pub async fn hang_up(&self, model: &str, input: Value, after: Duration) {
        let _ = tokio::time::timeout(after, self.embed(model, input)).await;
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> anyhow::Result<Answer> {
        let response = request.send().await.context("no answer")?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.context("the answer was cut off")?;
        Ok(Answer { status, headers, json: serde_json::from_slice(&body).unwrap_or_default() })
    }
}
