//! OpenAI's embeddings API, and everything that speaks it: `POST {base}/embeddings`.
//!
//! Source: the OpenAI API reference, "Create embeddings". The caller's body goes through as it came, but for the
//! model's name; the caller's headers do not, but for tracing's.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::Full;
use reqwest::Url;
use vectoll_config::v1;

use super::{
    http::{Body, Clients, Error, USER_AGENT},
    plain::Server,
};
use crate::{accounting::InFlight, call::Call, credential::redact::redact};

/// Headers that go from the caller to the provider: W3C Trace Context and the caller's own request ID.
const FORWARDED: [HeaderName; 3] = [
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("x-request-id"),
];

/// Room for the headers of a call.
const ROOM: usize = 12;

/// A provider that speaks OpenAI's API, ready to be called.
pub struct OpenAi {
    to: To,
    headers: HeaderMap,
    secret: Option<String>,
}

/// Where calls go, and over which client.
enum To {
    Tls(Url, reqwest::Client),
    Plain(Uri, Arc<Server>),
}

impl std::fmt::Debug for OpenAi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let url: &dyn std::fmt::Display = match &self.to {
            To::Tls(url, _) => url,
            To::Plain(path, _) => path,
        };
        // The headers hold the credential.
        f.debug_struct("OpenAi").field("to", &format_args!("{url}")).finish_non_exhaustive()
    }
}

impl OpenAi {
    /// Prepares the calls. The error names the setting.
    pub fn new(
        settings: &v1::OpenAi,
        credential: Option<&[u8]>,
        http: &Clients,
    ) -> Result<Self, (&'static str, String)> {
        let v1::OpenAi { base_url, credential_file: _, organization, project } = settings;
        let url = format!("{}/embeddings", base_url.trim_end_matches('/'));
        let url = Url::parse(&url).map_err(|error| ("baseURL", format!("{base_url} is not a URL: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(("baseURL", format!("{base_url} is not an http or https URL")));
        }
        let mut headers = HeaderMap::with_capacity(ROOM);
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
        let to = if url.scheme() == "https" {
            To::Tls(url, http.tls.clone())
        } else {
            let not_one = || ("baseURL", format!("{base_url} is not a URL that can be called"));
            headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
            headers.insert(header::HOST, host(&url).ok_or_else(not_one)?);
            let uri: Uri = url.as_str().parse().map_err(|_| not_one())?;
            let server = http.plain.server(&uri);
            // A server is asked for a path. The host stands in its header.
            let path = uri.into_parts().path_and_query.ok_or_else(not_one)?;
            To::Plain(path.into(), server)
        };
        Ok(Self { to, headers, secret })
    }

    /// Sends a call that the journal knows of, with the model's name as the provider knows it. `from_caller` are the caller's
    /// headers.
    pub async fn send(
        &self,
        in_flight: &InFlight,
        model: &str,
        from_caller: &HeaderMap,
    ) -> Result<Response<Body>, Error> {
        let mut headers = self.headers.clone();
        for name in &FORWARDED {
            if let Some(value) = from_caller.get(name) {
                headers.insert(name.clone(), value.clone());
            }
        }
        let body = body(in_flight.call(), model);
        match &self.to {
            To::Tls(url, client) => {
                let mut request = reqwest::Request::new(Method::POST, url.clone());
                *request.headers_mut() = headers;
                *request.body_mut() = Some(body.into());
                let response: Response<reqwest::Body> = client.execute(request).await?.into();
                Ok(response.map(Body::Tls))
            }
            To::Plain(path, server) => {
                let mut request = Request::new(Full::new(body));
                *request.method_mut() = Method::POST;
                *request.uri_mut() = path.clone();
                *request.headers_mut() = headers;
                Ok(server.send(request).await?.map(Body::Plain))
            }
        }
    }

    /// A provider's message without the credential it was called with: some repeat it, whole or in part.
    pub fn redact(&self, message: &str) -> String {
        redact(message, self.secret.as_deref())
    }
}

/// The header `Host` of a URL: a port that goes without saying is not in it.
fn host(url: &Url) -> Option<HeaderValue> {
    let host = url.host_str()?;
    let text = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    HeaderValue::try_from(text).ok()
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
