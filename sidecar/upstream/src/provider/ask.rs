//! Small requests with small answers: to those who issue what a provider is called with.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body_util::BodyExt;
use url::Url;

use super::{
    egress_policy::{EgressPolicy, Unreachable},
    http::Clients,
};

/// How long such a request may take, its answer included.
pub const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest answer, in bytes.
pub const LIMIT: usize = 64 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Not a URL that can be called.
    #[error("not a URL that can be called")]
    Url,
    /// A host that is not called.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    /// No response, or one that broke off.
    #[error(transparent)]
    Http(reqwest::Error),
    /// It is longer than any that is expected.
    #[error("the answer is longer than {LIMIT} bytes")]
    TooLong,
    /// It took too long.
    #[error("no answer in {} seconds", TIMEOUT.as_secs())]
    TooSlow,
}

impl From<reqwest::Error> for AskError {
    fn from(error: reqwest::Error) -> Self {
        // Whoever asked says whom.
        Self::Http(error.without_url())
    }
}

impl Clients {
    /// Sends a request, whose URI is a full URL, to whom this reach allows, and reads the answer whole. A redirect is an answer.
    /// A proxy is asked where the settings name one for the URL.
    pub async fn ask(&self, reach: EgressPolicy, request: Request<Bytes>) -> Result<Response<Bytes>, AskError> {
        let asked = async {
            let response: Response<reqwest::Body> = self.send(reach, request).await?.into();
            let (parts, body) = response.into_parts();
            Ok(Response::from_parts(parts, whole(body).await?))
        };
        tokio::time::timeout(TIMEOUT, asked).await.unwrap_or(Err(AskError::TooSlow))
    }

    async fn send(&self, reach: EgressPolicy, request: Request<Bytes>) -> Result<reqwest::Response, AskError> {
        let url = Url::parse(&request.uri().to_string()).map_err(|_| AskError::Url)?;
        // Whom providers may be is these clients' to know.
        let reach = if reach == EgressPolicy::Machine { reach } else { self.names.reach() };
        reach.url(&url)?;
        if reach != EgressPolicy::Machine && self.egress.proxy_of(&url).is_some() {
            self.names.check(url.host_str().unwrap_or_default()).await?;
        }
        let client = match (url.scheme(), reach) {
            ("http" | "https", EgressPolicy::Providers | EgressPolicy::Tenants) => &self.issuers,
            // The machine's own servers have no certificates.
            ("http", EgressPolicy::Machine) => &self.machine,
            _ => return Err(AskError::Url),
        };
        let request = reqwest::Request::try_from(request).map_err(|_| AskError::Url)?;
        Ok(client.execute(request).await?)
    }
}

async fn whole(mut body: reqwest::Body) -> Result<Bytes, AskError> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        // Trailers say nothing to us.
        let Ok(data) = frame?.into_data() else { continue };
        if whole.len() + data.len() > LIMIT {
            return Err(AskError::TooLong);
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt};

    use super::*;
    use crate::credential::issuer::fake::{Fake, clients};

    fn get(url: &str) -> Request<Bytes> {
        Request::get(url).body(Bytes::new()).unwrap()
    }

    #[tokio::test]
    async fn an_answer_is_read_whole_up_to_its_bound() {
        let clients = clients();
        let fits = "x".repeat(LIMIT);
        let fake = Fake::new([(200, fits.clone()), (302, String::new()), (200, fits.clone() + "x")]).await;
        let url = fake.url("/path?query=1");
        assert_eq!(clients.ask(EgressPolicy::Providers, get(url.as_str())).await.unwrap().into_body(), fits);
        assert_eq!(clients.ask(EgressPolicy::Providers, get(url.as_str())).await.unwrap().status(), 302);
        assert!(matches!(clients.ask(EgressPolicy::Providers, get(url.as_str())).await, Err(AskError::TooLong)));
        let seen = fake.seen();
        assert_eq!(seen.len(), 3, "no redirect is followed");
        assert_eq!(seen[0].line, "GET /path?query=1 HTTP/1.1");
        assert_eq!(seen[0].header("host"), url.as_str().split('/').nth(2));
        assert_eq!(seen[0].header("user-agent"), Some(crate::provider::http::USER_AGENT));
    }

    #[tokio::test]
    async fn what_cannot_be_called_is_refused() {
        let clients = clients();
        for url in ["ftp://127.0.0.1/", "/path"] {
            assert!(matches!(clients.ask(EgressPolicy::Providers, get(url)).await, Err(AskError::Url)));
        }
        for url in ["http://169.254.169.254/", "https://[fd00:ec2::254]/", "http://metadata.google.internal/"] {
            let asked = clients.ask(EgressPolicy::Providers, get(url)).await;
            assert!(matches!(asked, Err(AskError::Unreachable(_))), "{url}: {asked:?}");
        }
        let asked = clients.ask(EgressPolicy::Machine, get("https://169.254.169.254/")).await;
        assert!(matches!(asked, Err(AskError::Url)), "{asked:?}");
    }

    /// A connection that was made to a server of the machine's own is none that an issuer of the same name would get.
    #[tokio::test]
    async fn connections_of_one_reach_are_not_those_of_the_other() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let connections = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let accepted = connections.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                accepted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                tokio::spawn(async move {
                    let (read, mut write) = stream.into_split();
                    let mut lines = tokio::io::BufReader::new(read).lines();
                    while let Ok(Some(line)) = lines.next_line().await {
                        if line.is_empty() {
                            write.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
                        }
                    }
                });
            }
        });
        let clients = clients();
        for (reach, expected) in [
            (EgressPolicy::Providers, 1),
            (EgressPolicy::Providers, 1),
            (EgressPolicy::Machine, 2),
            (EgressPolicy::Machine, 2),
            (EgressPolicy::Providers, 2),
        ] {
            clients.ask(reach, get(&url)).await.unwrap();
            assert_eq!(connections.load(std::sync::atomic::Ordering::Relaxed), expected, "{reach:?}");
        }
    }

    /// Nobody here has a certificate that the client would trust: that it asks for one says which client it is.
    #[tokio::test]
    async fn https_is_spoken_over_tls() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}/", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::io::AsyncReadExt::read_u8(&mut stream).await.unwrap()
        });
        assert!(matches!(clients().ask(EgressPolicy::Providers, get(&url)).await, Err(AskError::Http(_))));
        assert_eq!(serving.await.unwrap(), 22, "a TLS handshake record");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_an_answer_for_ever() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let asked = clients().ask(EgressPolicy::Providers, get(&url)).await;
        assert!(matches!(asked, Err(AskError::TooSlow)), "{asked:?}");
    }
}
