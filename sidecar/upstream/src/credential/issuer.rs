//! The way to those who issue credentials: a question, its answer, and what may be said of either.

#[cfg(test)]
pub(crate) mod fake;
mod refusal;

use std::path::Path;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

use super::{FetchError, Secret, chain};
use crate::provider::{ask::AskError, egress_policy::EgressPolicy, http::Clients};

/// All but what RFC 3986 calls unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A question to an issuer. Its debug output has neither headers nor body.
pub(super) struct TokenRequest {
    method: Method,
    url: Url,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: String,
    /// What it holds that an answer might repeat.
    secrets: Vec<Secret>,
    reach: EgressPolicy,
}

impl TokenRequest {
    /// One that is its URL.
    pub fn get(url: &Url) -> Self {
        let accept = (header::ACCEPT, HeaderValue::from_static("application/json"));
        Self {
            method: Method::GET,
            url: url.clone(),
            headers: vec![accept],
            body: String::new(),
            secrets: vec![],
            reach: EgressPolicy::Providers,
        }
    }

    /// One that is a form (`application/x-www-form-urlencoded`).
    pub fn form(url: &Url, fields: &[(&str, &str)]) -> Self {
        let encoded = |text: &str| utf8_percent_encode(text, RESERVED).to_string();
        let fields: Vec<_> =
            fields.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
        Self::post(url, "application/x-www-form-urlencoded", fields.join("&"))
    }

    /// One that is JSON.
    pub fn json(url: &Url, body: &serde_json::Value) -> Self {
        Self::post(url, "application/json", body.to_string())
    }

    fn post(url: &Url, kind: &'static str, body: String) -> Self {
        let kind = (header::CONTENT_TYPE, HeaderValue::from_static(kind));
        let mut question = Self { method: Method::POST, body, ..Self::get(url) };
        question.headers.push(kind);
        question
    }

    /// With a header that says a secret.
    pub fn with(mut self, name: HeaderName, value: &str) -> Result<Self, FetchError> {
        let unfit = FetchError::Request("a token is not text that a header can hold");
        let mut value = HeaderValue::try_from(value).map_err(|_| unfit)?;
        value.set_sensitive(true);
        self.headers.push((name, value));
        Ok(self)
    }

    /// To a server of the machine's own: only where the URL is none that a route or a credential could name.
    pub fn of_the_machine(self) -> Self {
        Self { reach: EgressPolicy::Machine, ..self }
    }

    /// With a secret in it.
    pub fn hiding(mut self, secret: &Secret) -> Self {
        self.secrets.push(secret.clone());
        self
    }

    /// Asks, and returns the body of an answer that says yes.
    pub async fn ask(self, clients: &Clients) -> Result<Bytes, FetchError> {
        let Self { method, url, headers, body, secrets, reach } = self;
        let host = url.host_str().unwrap_or_default().to_owned();
        let mut request = Request::new(Bytes::from(body));
        *request.method_mut() = method;
        *request.uri_mut() =
            url.as_str().parse().map_err(|_| FetchError::Request("the issuer's URL is not one that can be called"))?;
        request.headers_mut().extend(headers);
        let answer = match clients.ask(reach, request).await {
            Ok(answer) => answer,
            Err(AskError::TooLong) => return Err(FetchError::Answer("is too long")),
            Err(error) => return Err(FetchError::Unreachable { host, why: chain(&error) }),
        };
        if !answer.status().is_success() {
            let message = refusal::message_of(answer.body(), secrets.iter().map(Secret::reveal));
            return Err(FetchError::Refused { host, status: answer.status().as_u16(), message });
        }
        Ok(answer.into_body())
    }
}

impl std::fmt::Debug for TokenRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Question")
            .field("method", &self.method)
            .field("url", &format_args!("{}", self.url))
            .finish_non_exhaustive()
    }
}

/// The token in a file, as it is there now: those who put it there renew it.
pub(super) async fn token_in(path: &Path) -> Result<Secret, FetchError> {
    let failed = |why: String| FetchError::File { path: path.display().to_string(), why };
    let text = tokio::fs::read_to_string(path).await.map_err(|error| failed(error.to_string()))?;
    let text = text.trim();
    if text.is_empty() {
        return Err(failed("it is empty".to_owned()));
    }
    Ok(Secret::new(text))
}

/// A URL that a credential's file names, not its owner's settings: `https:`, at a domain that is known.
pub(super) fn known(url: &str, domain: &str) -> Option<Url> {
    let url = Url::parse(url).ok().filter(|url| url.scheme() == "https" && url.username().is_empty())?;
    let host = url.host_str()?;
    let of_domain = host == domain || host.strip_suffix(domain).is_some_and(|sub| sub.ends_with('.'));
    of_domain.then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_urls_of_the_domain_are_known() {
        for url in ["https://googleapis.com/x", "https://oauth2.googleapis.com/token"] {
            assert!(known(url, "googleapis.com").is_some(), "{url}");
        }
        for url in [
            "http://oauth2.googleapis.com/token",
            "https://googleapis.com.example.org/",
            "https://notgoogleapis.com/",
            "https://example.org/?googleapis.com",
            "https://googleapis.com@example.org/",
            "https://x@oauth2.googleapis.com/",
            "oauth2.googleapis.com",
        ] {
            assert!(known(url, "googleapis.com").is_none(), "{url}");
        }
    }

    #[tokio::test]
    async fn a_question_says_nothing_of_what_it_holds() {
        let url = Url::parse("https://a/b").unwrap();
        let secret = Secret::new("s3cret");
        let question = TokenRequest::form(&url, &[("key", "s3cret")]).hiding(&secret);
        let question = question.with(header::AUTHORIZATION, "Bearer s3cret").unwrap();
        assert_eq!(format!("{question:?}"), "Question { method: POST, url: https://a/b, .. }");
        assert_eq!(format!("{secret:?}"), "[secret]");
    }

    #[tokio::test]
    async fn a_refusal_is_told_without_secrets() {
        let fake =
            fake::Fake::new([(400, r#"{"error": "invalid_grant", "error_description": "no s3cret here"}"#), (302, "")])
                .await;
        let clients = fake::clients();
        for expected in
            ["127.0.0.1 answered 400: invalid_grant: no [redacted] here", "127.0.0.1 answered 302: no reason"]
        {
            let question = TokenRequest::form(&fake.url("/"), &[("k e", "a&b=ü~")]).hiding(&Secret::new("s3cret"));
            assert_eq!(question.ask(&clients).await.unwrap_err().to_string(), expected);
        }
        assert_eq!(fake.seen()[0].body, "k%20e=a%26b%3D%C3%BC~");
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let nobody = Url::parse(&format!("http://{closed}/")).unwrap();
        let error = TokenRequest::get(&nobody).ask(&clients).await.unwrap_err();
        assert!(error.to_string().starts_with("failed to reach 127.0.0.1: error sending request: "), "{error}");
    }

    #[tokio::test]
    async fn a_token_is_read_from_its_file_each_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        assert!(matches!(token_in(&path).await, Err(FetchError::File { .. })));
        std::fs::write(&path, "  \n").unwrap();
        assert!(token_in(&path).await.unwrap_err().to_string().ends_with("token: it is empty"));
        for token in ["one", "two"] {
            std::fs::write(&path, format!("{token}\n")).unwrap();
            assert_eq!(token_in(&path).await.unwrap().reveal(), token);
        }
    }
}
