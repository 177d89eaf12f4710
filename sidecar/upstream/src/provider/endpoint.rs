//! Where requests to a provider go.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, header};
use http_body_util::Full;
use url::Url;

use super::{
    http::{Body, Clients, Error},
    pool::Server,
    sent_flag::SentFlag,
    trust::Trust,
    user_agent::USER_AGENT,
};
use crate::credential::{Credential, CredentialError, Payload, Unsigned};

/// A URL that requests go to: an API's root, or a path under it. A handle: clones share the connections.
#[derive(Clone, Debug)]
pub struct Endpoint {
    url: Url,
    /// What the server is asked for; the host stands in its header.
    path: Uri,
    host: HeaderValue,
    server: Arc<Server>,
}

/// Why a request got no response.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// Nobody could say who calls: nothing was sent.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// The path leads to another server, or nowhere: nothing was sent.
    #[error("the request's path is not valid")]
    Path,
    /// On the way.
    #[error(transparent)]
    Http(#[from] Error),
}

impl SendError {
    /// Whether nothing was sent.
    pub fn is_unsent(&self) -> bool {
        match self {
            Self::Credential(_) | Self::Path => true,
            Self::Http(error) => error.is_connect(),
        }
    }
}

impl Endpoint {
    /// For a URL, whose server is trusted by the well-known CAs or by these. The error says what is wrong with it.
    pub fn new(url: &str, http: &Clients, trust: Option<&Trust>) -> Result<Self, String> {
        let url = Url::parse(url).map_err(|error| format!("{url} is not a URL: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(format!("{url} is not an http or https URL"));
        }
        http.names.reach().url(&url).map_err(|error| error.to_string())?;
        let not_one = || format!("{url} is not a URL that can be called");
        let host = host(&url).ok_or_else(not_one)?;
        let uri: Uri = url.as_str().parse().map_err(|_| not_one())?;
        let server = http.providers.server(&uri, trust);
        let path = path(uri).ok_or_else(not_one)?;
        Ok(Self { url, path, host, server })
    }

    /// The same server at another path, which begins with `/` and may have a query: behind the path that there is.
    pub fn at(&self, behind: &str) -> Option<Self> {
        let url = Url::parse(&format!("{}{behind}", self.url.as_str().trim_end_matches('/'))).ok()?;
        // A path leads to no other server.
        if url.origin() != self.url.origin() {
            return None;
        }
        let path = path(url.as_str().parse().ok()?)?;
        Some(Self { url, path, host: self.host.clone(), server: self.server.clone() })
    }

    /// Its host and port.
    pub fn address(&self) -> Option<(&str, u16)> {
        Some((self.url.host_str()?, self.url.port_or_known_default()?))
    }

    /// The headers that every request has.
    pub fn headers(&self, room: usize) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(room);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        headers.insert(header::HOST, self.host.clone());
        headers
    }

    /// Signs a request and sends it.
    pub async fn post(
        &self,
        mut headers: HeaderMap,
        body: Payload,
        credential: &Credential,
        departure: &SentFlag,
    ) -> Result<Response<Body>, SendError> {
        let unsigned = Unsigned { method: &Method::POST, url: &self.url, headers: &mut headers, body: &body };
        credential.sign(unsigned).await?;
        let mut request = Request::new(Full::new(body.into_bytes()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.path.clone();
        *request.headers_mut() = headers;
        Ok(self.server.send(request, departure).await?)
    }
}

fn path(uri: Uri) -> Option<Uri> {
    uri.into_parts().path_and_query.map(Into::into)
}

/// The header `Host` of a URL: a port that goes without saying is not in it.
pub(super) fn host(url: &Url) -> Option<HeaderValue> {
    let host = url.host_str()?;
    let text = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    HeaderValue::try_from(text).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::provider::egress::Egress;

    #[tokio::test]
    async fn over_tls_a_request_has_not_left_before_the_handshake() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        // Nobody greets back.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}/embed", listener.local_addr().unwrap());
        let to = Endpoint::new(&url, &Clients::new(Egress::default()).unwrap(), None).unwrap();
        let departure = SentFlag::default();
        let post = to.post(to.headers(2), Payload::plain(""), &Credential::None, &departure);
        assert!(tokio::time::timeout(std::time::Duration::from_millis(200), post).await.is_err());
        assert!(!departure.has_left());
    }

    #[test]
    fn a_path_goes_behind_the_root_and_to_no_other_server() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let clients = Clients::new(Egress::default()).unwrap();
        for root in ["http://127.0.0.1:1/api/", "https://api.example.com/api"] {
            let to = Endpoint::new(root, &clients, None).unwrap();
            let at = to.at("/model/a%3A0/invoke?x=1").unwrap();
            assert_eq!(at.url.as_str(), format!("{}/model/a%3A0/invoke?x=1", root.trim_end_matches('/')));
            let host = root.split('/').nth(2);
            assert_eq!((at.path.to_string().as_str(), at.host.to_str().ok()), ("/api/model/a%3A0/invoke?x=1", host));
        }
        let to = Endpoint::new("https://api.example.com", &clients, None).unwrap();
        assert!(to.at("@evil.example/x").is_none());
        for wrong in ["ftp://a/b", "http://", "a", "http://${HOST}/v1", "unix:/x", "http://169.254.169.254/v1"] {
            assert!(Endpoint::new(wrong, &clients, None).is_err(), "{wrong}");
        }
    }
}
