//! Keys from the agent on the node (EKS Pod Identity).
//!
//! Source: AWS SDKs and Tools Reference Guide, "Container credential provider"; checked against the SDK for Rust's provider
//! of the same name and its recorded exchange, and against the answer's type in the agent's own source.

use std::{net::Ipv6Addr, path::PathBuf};

use jiff::Timestamp;
use serde::Deserialize;
use url::Url;

use super::{Keys, Source};
use crate::{
    credential::{
        FetchError, Refreshing, Secret,
        issuer::{TokenRequest, token_in},
        refreshing::Issued,
    },
    provider::http::Clients,
};

/// Where the agent listens: on each node at the same link-local address.
const AGENT: [&str; 2] = ["169.254.170.23", "[fd00:ec2::23]"];

/// The agent, and the token by which it knows the pod.
#[derive(Clone, Debug)]
pub struct PodIdentity {
    url: Url,
    token_file: PathBuf,
}

impl PodIdentity {
    /// Checks the settings: the values of `AWS_CONTAINER_CREDENTIALS_FULL_URI` and `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE`
    /// as EKS sets them in the pod. The token goes to nobody but the agent's addresses and this machine's own.
    pub fn new(full_uri: &str, token_file: PathBuf) -> Result<Self, (&'static str, &'static str)> {
        let wrong = ("fullURI", "is not an http URL at the agent's address or a loopback address");
        let url = Url::parse(full_uri).map_err(|_| wrong)?;
        let host = url.host_str().unwrap_or_default();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let loopback = bare.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback())
            || bare.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback());
        let fits = url.scheme() == "http" && url.username().is_empty() && (loopback || AGENT.contains(&host));
        fits.then_some(Self { url, token_file }).ok_or(wrong)
    }

    /// Keys that are kept fresh.
    pub fn keys(self, clients: Clients) -> Source {
        let what = "keys for the pod's identity";
        Source::Fresh(Refreshing::new(what, move || {
            let (this, clients) = (self.clone(), clients.clone());
            async move {
                let token = token_in(&this.token_file).await?;
                let now = Timestamp::now();
                let answer = this.question(&token)?.ask(&clients).await?;
                keys(&answer, now)
            }
        }))
    }

    /// The header is the token alone, without a scheme.
    fn question(&self, token: &Secret) -> Result<TokenRequest, FetchError> {
        TokenRequest::get(&self.url).of_the_machine().hiding(token).with(http::header::AUTHORIZATION, token.reveal())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PodIdentityAnswer {
    access_key_id: String,
    secret_access_key: String,
    token: String,
    expiration: String,
}

/// Reads the keys in an answer to a question that was asked at this time.
fn keys(answer: &[u8], asked: Timestamp) -> Result<Issued<Keys>, FetchError> {
    // What serde_json says of a wrong field can quote the field.
    let PodIdentityAnswer { access_key_id, secret_access_key, token, expiration } =
        serde_json::from_slice(answer).map_err(|_| FetchError::Answer("has no keys"))?;
    let value = Keys {
        access_key_id: Secret::new(&access_key_id),
        secret_access_key: Secret::new(&secret_access_key),
        session_token: Some(Secret::new(&token)),
    };
    Issued::until(value, &expiration, asked)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::credential::issuer::fake::{Fake, clients};

    /// As the agent writes it.
    const ANSWER: &str = r#"{"AccessKeyId":"ASIATEST","SecretAccessKey":"s3cret","Token":"session==","AccountId":"123456789012","Expiration":"2999-01-01T00:00:00Z"}"#;

    #[tokio::test]
    async fn the_agent_is_asked_with_the_pods_token() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("eks-pod-identity-token");
        std::fs::write(&file, "t0ken\n").unwrap();
        let fake = Fake::new([(200, ANSWER.to_owned()), (403, "t0ken is unknown".to_owned())]).await;
        let identity = PodIdentity::new(fake.url("/v1/credentials").as_str(), file).unwrap();
        let source = identity.clone().keys(clients());
        let keys = source.get().await.unwrap();
        assert_eq!(keys.secrets().collect::<Vec<_>>(), ["ASIATEST", "s3cret", "session=="]);
        let seen = fake.seen();
        assert_eq!(seen[0].line, "GET /v1/credentials HTTP/1.1");
        assert_eq!(seen[0].header("authorization"), Some("t0ken"));
        assert!(!format!("{source:?} {keys:?}").contains("s3cret"));
        let error = identity.keys(clients()).get().await.unwrap_err();
        let why = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(why, "127.0.0.1 answered 403: [redacted] is unknown");
    }

    #[test]
    fn an_answer_without_keys_is_refused() {
        let asked: Timestamp = "2998-12-31T18:00:00Z".parse().unwrap();
        assert_eq!(keys(ANSWER.as_bytes(), asked).unwrap().life, Duration::from_hours(6));
        for wrong in ["", "{}", r#"{"AccessKeyId":"a","SecretAccessKey":"b","Token":"c"}"#] {
            assert_eq!(keys(wrong.as_bytes(), asked).unwrap_err(), FetchError::Answer("has no keys"));
        }
    }

    #[test]
    fn the_token_goes_to_the_agent_alone() {
        let new = |url: &str| PodIdentity::new(url, "/token".into());
        for url in [
            "http://169.254.170.23/v1/credentials",
            "http://[fd00:ec2::23]/v1/credentials",
            "http://127.0.0.1:8080/",
            "http://[::1]/",
        ] {
            assert!(new(url).is_ok(), "{url}");
        }
        for url in [
            "http://169.254.169.254/v1/credentials",
            "http://169.254.170.23.example.org/",
            "http://169.254.170.23@example.org/",
            "http://x@169.254.170.23/",
            "http://localhost/",
            "http://10.0.0.1/",
            "https://169.254.170.23/",
            "169.254.170.23",
        ] {
            assert!(new(url).is_err(), "{url}");
        }
    }
}
