//! Microsoft Entra ID: a token for an application, which proves itself by a token of the cluster's or by a secret.
//!
//! Source: Microsoft identity platform, "OAuth 2.0 client credentials flow" (shared secret, and federated credential);
//! checked against `azure_identity` in the Azure SDK for Rust.

use std::path::PathBuf;

use url::Url;

use super::{
    FetchError, Form, Refreshing, Secret, Token,
    issuer::{TokenRequest, token_in},
    oauth,
};
use crate::provider::http::Clients;

/// The public cloud's authority, unless settings name another one.
pub const AUTHORITY: &str = "https://login.microsoftonline.com";
/// What a token for Azure OpenAI is for.
pub const SCOPE: &str = "https://cognitiveservices.azure.com/.default";

/// How an application proves who it is.
#[derive(Clone, Debug)]
pub enum Proof {
    /// By a token that the cluster issued, in a file that is read anew each time (workload identity).
    Federated(PathBuf),
    /// By a secret.
    Secret(Secret),
}

/// An application and where it asks.
#[derive(Clone, Debug)]
pub struct Entra {
    token_url: Url,
    client_id: String,
    scope: String,
    proof: Proof,
}

impl Entra {
    /// Checks the settings. `authority` is the root of the service's URL: see [`AUTHORITY`]; `scope`: see [`SCOPE`].
    pub fn new(
        authority: &str,
        tenant: &str,
        client_id: String,
        scope: String,
        proof: Proof,
    ) -> Result<Self, (&'static str, &'static str)> {
        // It becomes part of a path.
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
        if !tenant.bytes().any(|byte| byte.is_ascii_alphanumeric()) || !tenant.bytes().all(fits) {
            return Err(("tenantID", "is not a tenant's ID or domain"));
        }
        if client_id.is_empty() {
            return Err(("clientID", "is empty"));
        }
        if scope.is_empty() {
            return Err(("scope", "is empty"));
        }
        let token_url = format!("{}/{tenant}/oauth2/v2.0/token", authority.trim_end_matches('/'));
        let token_url = Url::parse(&token_url).ok().filter(Url::has_host).ok_or(("authorityHost", "is not a URL"))?;
        Ok(Self { token_url, client_id, scope, proof })
    }

    /// A token that is kept fresh.
    pub fn token(self, clients: Clients) -> Token {
        let source = Refreshing::new(format!("an Entra ID token for the application {}", self.client_id), move || {
            let (this, clients) = (self.clone(), clients.clone());
            async move { oauth::token(&this.question().await?.ask(&clients).await?) }
        });
        Token { source, form: Form::Bearer }
    }

    async fn question(&self) -> Result<TokenRequest, FetchError> {
        let mut fields =
            vec![("grant_type", "client_credentials"), ("client_id", &self.client_id), ("scope", &self.scope)];
        let secret = match &self.proof {
            Proof::Federated(path) => token_in(path).await?,
            Proof::Secret(secret) => secret.clone(),
        };
        match &self.proof {
            Proof::Federated(_) => fields.extend([
                ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
                ("client_assertion", secret.reveal()),
            ]),
            Proof::Secret(_) => fields.push(("client_secret", secret.reveal())),
        }
        Ok(TokenRequest::form(&self.token_url, &fields).hiding(&secret))
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

    const ANSWER: &str = r#"{"token_type":"Bearer","expires_in":3599,"ext_expires_in":3599,"access_token":"t0ken"}"#;
    const TENANT: &str = "7b795fb9-09d3-42f4-a494-38864f99ba3c";

    fn entra(authority: &Url, proof: Proof) -> Entra {
        Entra::new(authority.as_str(), TENANT, "app".into(), SCOPE.into(), proof).unwrap()
    }

    async fn asked(proof: Proof) -> String {
        let fake = Fake::new([(200, ANSWER)]).await;
        let entra = entra(&fake.url("/"), proof);
        let credential = Credential::Token(entra.clone().token(clients()));
        assert_eq!(signed_header(&credential, header::AUTHORIZATION).await, "Bearer t0ken");
        assert!(!format!("{entra:?} {credential:?}").contains("s3cret"));
        let seen = fake.seen();
        assert_eq!(seen[0].line, format!("POST /{TENANT}/oauth2/v2.0/token HTTP/1.1"));
        assert_eq!(seen[0].header("content-type"), Some("application/x-www-form-urlencoded"));
        seen[0].body.clone()
    }

    const COMMON: &str = "grant_type=client_credentials&client_id=app\
        &scope=https%3A%2F%2Fcognitiveservices.azure.com%2F.default";

    #[tokio::test]
    async fn a_secret_proves_the_application() {
        assert_eq!(asked(Proof::Secret(Secret::new("s3cret~&"))).await, format!("{COMMON}&client_secret=s3cret~%26"));
    }

    #[tokio::test]
    async fn a_token_of_the_cluster_proves_the_application() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, "eyJh.b.c\n").unwrap();
        assert_eq!(
            asked(Proof::Federated(file)).await,
            format!(
                "{COMMON}&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer\
                 &client_assertion=eyJh.b.c"
            )
        );
    }

    #[test]
    fn settings_are_checked() {
        let new = |authority: &str, tenant: &str, client: &str| {
            let proof = Proof::Secret(Secret::new("s"));
            Entra::new(authority, tenant, client.into(), SCOPE.into(), proof).map_err(|(field, _)| field)
        };
        let url = new("https://login.microsoftonline.us/", "contoso.example.com", "app").unwrap().token_url;
        assert_eq!(url.as_str(), "https://login.microsoftonline.us/contoso.example.com/oauth2/v2.0/token");
        for tenant in ["", "a/b", "..", "a?b", "a@b"] {
            assert_eq!(new(AUTHORITY, tenant, "app").unwrap_err(), "tenantID");
        }
        assert_eq!(new("login", TENANT, "app").unwrap_err(), "authorityHost");
        assert_eq!(new(AUTHORITY, TENANT, "").unwrap_err(), "clientID");
    }
}
