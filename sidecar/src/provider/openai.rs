//! OpenAI's embeddings API, and everything that speaks it: `POST {base}/embeddings`.
//!
//! Source: the OpenAI API reference, "Create embeddings". The caller's body goes through as it came, but for the
//! model's name; the caller's headers do not, but for tracing's.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use reqwest::Url;
use vectoll_config::v1;

use crate::call::Call;

/// Headers that go from the caller to the provider: W3C Trace Context and the caller's own request ID.
const FORWARDED: [HeaderName; 3] = [
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("x-request-id"),
];

/// A provider that speaks OpenAI's API, ready to be called.
pub struct OpenAi {
    url: Url,
    headers: HeaderMap,
    secret: Option<String>,
    http: reqwest::Client,
}

impl std::fmt::Debug for OpenAi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The headers hold the credential.
        f.debug_struct("OpenAi").field("url", &self.url.as_str()).finish_non_exhaustive()
    }
}

/// The client for all providers: one pool of connections, which reloads do not touch.
pub fn client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .user_agent(concat!("vectoll/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(10))
        .pool_idle_timeout(Duration::from_mins(1))
        .tcp_nodelay(true)
        // A redirect would carry the inputs to a host that nobody configured.
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        // A proxy from the environment would see every input: not unless someone configures one for this purpose.
        .no_proxy()
        .http2_adaptive_window(true)
        .build()
}

impl OpenAi {
    /// Prepares the calls. The error names the setting.
    pub fn new(
        settings: &v1::OpenAi,
        credential: Option<&[u8]>,
        http: reqwest::Client,
    ) -> Result<Self, (&'static str, String)> {
        let v1::OpenAi { base_url, credential_file: _, organization, project } = settings;
        let url = format!("{}/embeddings", base_url.trim_end_matches('/'));
        let url = Url::parse(&url).map_err(|error| ("baseURL", format!("{base_url} is not a URL: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(("baseURL", format!("{base_url} is not an http or https URL")));
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        let mut secret = None;
        if let Some(credential) = credential {
            let text = std::str::from_utf8(credential).unwrap_or_default().trim();
            let mut value = HeaderValue::try_from(format!("Bearer {text}"))
                .ok()
                .filter(|_| !text.is_empty())
                .ok_or(("credentialFile", "the credential is empty or not text that a header can hold".to_owned()))?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
            secret = Some(text.to_owned());
        }
        for (field, name, text) in
            [("organization", "openai-organization", organization), ("project", "openai-project", project)]
        {
            if let Some(text) = text {
                let value = HeaderValue::try_from(text)
                    .map_err(|_| (field, "cannot be sent in a header: use printable ASCII".to_owned()))?;
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        Ok(Self { url, headers, secret, http })
    }

    /// Sends a call, with the model's name as the provider knows it. `from_caller` are the caller's headers.
    pub async fn send(
        &self,
        call: &Call,
        model: &str,
        from_caller: &HeaderMap,
    ) -> Result<http::Response<reqwest::Body>, reqwest::Error> {
        let mut request = reqwest::Request::new(Method::POST, self.url.clone());
        let headers = request.headers_mut();
        headers.clone_from(&self.headers);
        for name in &FORWARDED {
            if let Some(value) = from_caller.get(name) {
                headers.insert(name.clone(), value.clone());
            }
        }
        *request.body_mut() = Some(body(call, model).into());
        self.http.execute(request).await.map(Into::into)
    }

    /// A provider's message without the credential it was called with: some repeat it, whole or in part.
    pub fn redact(&self, message: &str) -> String {
        let mut redacted = message.to_owned();
        if let Some(secret) = &self.secret {
            redacted = redacted.replace(secret.as_str(), "[redacted]");
        }
        // What looks like a key, or a masked one ("sk-ab***yz"), is not repeated either.
        redacted
            .split_inclusive(char::is_whitespace)
            .map(|word| match word.find("sk-") {
                Some(at) => format!("{}[redacted]{}", &word[..at], if word.ends_with(' ') { " " } else { "" }),
                None => word.to_owned(),
            })
            .collect()
    }
}

/// The caller's body with the model's name set.
fn body(call: &Call, model: &str) -> Bytes {
    let quoted = || serde_json::Value::from(model).to_string();
    let mut edits: Vec<(std::ops::Range<usize>, String)> = Vec::new();
    match &call.model_span {
        Some(_) if call.model_in_body.as_deref() == Some(model) => {}
        Some(span) => edits.push((span.clone(), quoted())),
        // The model stands in the path only: put it in behind the opening brace.
        None => edits.push((call.open_brace + 1..call.open_brace + 1, format!("\"model\":{},", quoted()))),
    }
    if let Some(span) = &call.null_encoding_format {
        // null means the default; several servers refuse to read it.
        edits.push((span.clone(), "\"float\"".to_owned()));
    }
    if edits.is_empty() {
        return call.body.clone();
    }
    edits.sort_by_key(|(span, _)| span.start);
    let mut spliced = BytesMut::with_capacity(call.body.len() + 64);
    let mut from = 0;
    for (span, text) in edits {
        spliced.extend_from_slice(call.body.get(from..span.start).unwrap_or_default());
        spliced.extend_from_slice(text.as_bytes());
        from = span.end;
    }
    spliced.extend_from_slice(call.body.get(from..).unwrap_or_default());
    spliced.freeze()
}

/// Whether an answer says for certain that nothing was charged. A 4xx does. A 5xx does only if the provider itself speaks
/// (`explained`: with an error object) and not a gateway, whose 502, 503 or 504 may stand for a call that the provider
/// behind it has carried out.
pub fn is_definite_refusal(status: StatusCode, explained: bool) -> bool {
    let by_gateway = matches!(status.as_u16(), 502 | 504 | 520..=524);
    !status.is_server_error() || (explained && !by_gateway)
}
