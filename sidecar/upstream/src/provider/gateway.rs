//! The gateway that calls are passed on to, as a server: no provider, and no credential of ours.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, header, uri::PathAndQuery};
use http_body_util::Full;
use url::Url;

use super::{
    endpoint::host,
    http::{Body, Clients, Error},
    pool::Server,
    sent_flag::SentFlag,
    trust::Trust,
};

/// A gateway. A handle: clones share the connections, which outlive reloads.
#[derive(Clone, Debug)]
pub struct GatewayServer {
    host: HeaderValue,
    address: (Arc<str>, u16),
    server: Arc<Server>,
}

impl GatewayServer {
    /// For a URL, `https://HOST[:PORT]`, whose server is trusted by the well-known CAs or by these. The error says what is wrong with it.
    pub fn new(url: &str, http: &Clients, ca: Option<&[u8]>) -> Result<Self, String> {
        let trust = ca.map(Trust::only).transpose().map_err(|error| format!("the CA of the gateway: {error}"))?;
        let not_one = |why: &dyn std::fmt::Display| format!("{url} is not a gateway's URL: {why}");
        let parsed = Url::parse(url).map_err(|error| not_one(&error))?;
        if parsed.scheme() != "https" || parsed.path() != "/" || parsed.query().is_some() {
            return Err(not_one(&"it must be https://HOST or https://HOST:PORT"));
        }
        http.names.reach().url(&parsed).map_err(|error| error.to_string())?;
        let host = host(&parsed).ok_or_else(|| not_one(&"it has no host"))?;
        let address =
            parsed.host_str().zip(parsed.port_or_known_default()).ok_or_else(|| not_one(&"it has no host"))?;
        let address = (address.0.into(), address.1);
        let uri: Uri = parsed.as_str().parse::<Uri>().map_err(|error| not_one(&error))?;
        Ok(Self { host, address, server: http.gateways.server(&uri, trust.as_ref()) })
    }

    /// Its host and port.
    pub fn address(&self) -> (&Arc<str>, u16) {
        (&self.address.0, self.address.1)
    }

    /// Sends a call as it came, with these of its headers. It is sent once: where it may have been read it is not sent again.
    pub async fn post(
        &self,
        path: PathAndQuery,
        mut headers: HeaderMap,
        body: Bytes,
        departure: &SentFlag,
    ) -> Result<Response<Body>, Error> {
        headers.insert(header::HOST, self.host.clone());
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = path.into();
        *request.headers_mut() = headers;
        self.server.send_once(request, departure).await
    }
}
