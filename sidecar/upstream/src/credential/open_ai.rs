//! OpenAI: a token of a service account's, in exchange for one that the cluster issued (workload identity federation).
//!
//! Source: OpenAI API reference, "Workload identity token exchange", and guide "Configuring workload identity federation for Kubernetes";
//! RFC 8693, sections 2.1 and 2.2. Checked against `openai.auth` in OpenAI's library for Python: the request is JSON, and the answer has
//! `access_token` and `expires_in`.

use std::path::PathBuf;

use serde_json::json;
use url::Url;

use super::{
    FetchError, Form, Refreshing, Token,
    issuer::{TokenRequest, token_in},
    oauth,
};
use crate::provider::http::Clients;

/// Where tokens are exchanged, unless settings name another place.
pub const EXCHANGE: &str = "https://auth.openai.com/oauth/token";

/// A service account, and the token that stands for it.
#[derive(Clone, Debug)]
pub struct OpenAi {
    token_url: Url,
    identity_provider: String,
    service_account: String,
    token_file: PathBuf,
}

impl OpenAi {
    /// Checks the settings. `token_url` is the exchange's: see [`EXCHANGE`]. The file is read anew each time.
    pub fn new(
        token_url: &str,
        identity_provider: String,
        service_account: String,
        token_file: PathBuf,
    ) -> Result<Self, (&'static str, &'static str)> {
        let token_url = Url::parse(token_url).ok().filter(Url::has_host).ok_or(("tokenURL", "is not a URL"))?;
        for (field, text) in [("identityProviderID", &identity_provider), ("serviceAccountID", &service_account)] {
            if text.is_empty() {
                return Err((field, "is empty"));
            }
        }
        Ok(Self { token_url, identity_provider, service_account, token_file })
    }

    /// A token that is kept fresh.
    pub fn token(self, clients: Clients) -> Token {
        let what = format!("a token of OpenAI's for the service account {}", self.service_account);
        let source = Refreshing::new(what, move || {
            let (this, clients) = (self.clone(), clients.clone());
            async move { oauth::token(&this.question().await?.ask(&clients).await?) }
        });
        Token { source, form: Form::Bearer }
    }

    async fn question(&self) -> Result<TokenRequest, FetchError> {
        let subject = token_in(&self.token_file).await?;
        let body = json!({
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "subject_token": subject.reveal(),
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "identity_provider_id": self.identity_provider,
            "service_account_id": self.service_account,
        });
        Ok(TokenRequest::json(&self.token_url, &body).hiding(&subject))
    }
}

#[cfg(test)]
mod tests {
    use http::header;
    use serde_json::Value;

    use super::*;
    use crate::credential::{
        Credential, CredentialError,
        issuer::fake::{Fake, clients},
        tests::signed_header,
    };

    const ANSWER: &str = r#"{"access_token": "t0ken", "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "token_type": "Bearer", "expires_in": 3600}"#;

    fn identity(url: &Url, token_file: PathBuf) -> OpenAi {
        OpenAi::new(url.as_str(), "idp_1".into(), "user-1".into(), token_file).unwrap()
    }

    #[tokio::test]
    async fn a_token_of_the_cluster_is_exchanged() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("openai");
        std::fs::write(&file, "eyJh.b.c\n").unwrap();
        let fake = Fake::new([(200, ANSWER)]).await;
        let credential = Credential::Token(identity(&fake.url("/oauth/token"), file).token(clients()));
        assert_eq!(signed_header(&credential, header::AUTHORIZATION).await, "Bearer t0ken");
        let seen = fake.seen();
        assert_eq!(seen[0].line, "POST /oauth/token HTTP/1.1");
        assert_eq!(seen[0].header("content-type"), Some("application/json"));
        let body: Value = serde_json::from_str(&seen[0].body).unwrap();
        assert_eq!(
            body,
            json!({
                "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "subject_token": "eyJh.b.c",
                "subject_token_type": "urn:ietf:params:oauth:token-type:jwt", "identity_provider_id": "idp_1",
                "service_account_id": "user-1",
            })
        );
        assert!(!format!("{credential:?}").contains("t0ken"));
    }

    #[tokio::test]
    async fn a_refusal_says_why_without_the_token() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("openai");
        std::fs::write(&file, "s3cret.of.cluster").unwrap();
        let refusal = r#"{"error": "invalid_grant", "error_description": "no mapping for s3cret.of.cluster"}"#;
        let fake = Fake::new([(401, refusal)]).await;
        let error = identity(&fake.url("/"), file).token(clients()).source.get().await.unwrap_err();
        let CredentialError::Fetch { what, source } = error else { panic!("{error}") };
        assert_eq!(&*what, "a token of OpenAI's for the service account user-1");
        assert_eq!(source.to_string(), "127.0.0.1 answered 401: invalid_grant: no mapping for [redacted]");
    }

    #[test]
    fn settings_are_checked() {
        let new = |url: &str, provider: &str, account: &str| {
            OpenAi::new(url, provider.into(), account.into(), "/token".into()).map_err(|(field, _)| field).err()
        };
        assert_eq!(new(EXCHANGE, "idp_1", "user-1"), None);
        assert_eq!(new("auth", "idp_1", "user-1"), Some("tokenURL"));
        assert_eq!(new(EXCHANGE, "", "user-1"), Some("identityProviderID"));
        assert_eq!(new(EXCHANGE, "idp_1", ""), Some("serviceAccountID"));
    }
}
