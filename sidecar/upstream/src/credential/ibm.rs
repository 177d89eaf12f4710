//! IBM Cloud: a token for an API key.
//!
//! Source: IBM Cloud Docs, "Generating an IBM Cloud IAM token by using an API key"; checked against the IAM authenticator
//! of IBM's SDK core for Go.

use url::Url;

use super::{Form, Refreshing, Secret, Token, issuer::TokenRequest, oauth};
use crate::provider::http::Clients;

/// The public IAM, unless settings name another one.
pub const IAM: &str = "https://iam.cloud.ibm.com";

/// An API key and who takes it.
#[derive(Clone, Debug)]
pub struct Ibm {
    token_url: Url,
    api_key: Secret,
}

impl Ibm {
    /// Checks the settings. `iam` is the root of the service's URL: see [`IAM`]. `content` is that of the key's file.
    pub fn new(iam: &str, content: &[u8]) -> Result<Self, (&'static str, &'static str)> {
        let token_url = Url::parse(&format!("{}/identity/token", iam.trim_end_matches('/')));
        let token_url = token_url.ok().filter(Url::has_host).ok_or(("iamURL", "is not a URL"))?;
        let api_key = Secret::in_file(content).map_err(|wrong| ("credentialFile", wrong))?;
        Ok(Self { token_url, api_key })
    }

    /// A token that is kept fresh.
    pub fn token(self, clients: Clients) -> Token {
        let host = self.token_url.host_str().unwrap_or_default();
        let source = Refreshing::new(format!("a token of {host}"), move || {
            let (this, clients) = (self.clone(), clients.clone());
            async move { oauth::token(&this.question().ask(&clients).await?) }
        });
        Token { source, form: Form::Bearer }
    }

    fn question(&self) -> TokenRequest {
        let fields = [("grant_type", "urn:ibm:params:oauth:grant-type:apikey"), ("apikey", self.api_key.reveal())];
        TokenRequest::form(&self.token_url, &fields).hiding(&self.api_key)
    }
}

#[cfg(test)]
mod tests {
    use http::header;

    use super::*;
    use crate::credential::{
        Credential,
        issuer::fake::{Fake, clients},
        tests::signed_header,
    };

    #[tokio::test]
    async fn the_key_is_exchanged_for_a_token() {
        let answer = r#"{"access_token":"t0ken","refresh_token":"not_supported","token_type":"Bearer","expires_in":3600,"expiration":32503680000,"scope":"ibm openid"}"#;
        let fake = Fake::new([(200, answer)]).await;
        let ibm = Ibm::new(fake.url("/").as_str(), b"k3y/+\n").unwrap();
        let credential = Credential::Token(ibm.clone().token(clients()));
        assert_eq!(signed_header(&credential, header::AUTHORIZATION).await, "Bearer t0ken");
        let seen = fake.seen();
        assert_eq!(seen[0].line, "POST /identity/token HTTP/1.1");
        assert_eq!(seen[0].header("content-type"), Some("application/x-www-form-urlencoded"));
        assert_eq!(seen[0].header("accept"), Some("application/json"));
        assert_eq!(seen[0].body, "grant_type=urn%3Aibm%3Aparams%3Aoauth%3Agrant-type%3Aapikey&apikey=k3y%2F%2B");
        assert!(!format!("{ibm:?} {credential:?}").contains("k3y"));
        assert_eq!(credential.redact("t0ken is no good"), "[redacted] is no good");
    }

    #[test]
    fn settings_are_checked() {
        assert_eq!(Ibm::new("iam", b"k").unwrap_err().0, "iamURL");
        assert_eq!(Ibm::new(IAM, b" ").unwrap_err().0, "credentialFile");
        assert_eq!(Ibm::new(IAM, b"k").unwrap().token_url.as_str(), "https://iam.cloud.ibm.com/identity/token");
    }
}
