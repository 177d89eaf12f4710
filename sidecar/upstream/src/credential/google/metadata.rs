//! The token of the machine's, or with workload identity the pod's, own service account.
//!
//! Source: Google Cloud, "Authenticate workloads to Google Cloud APIs using service accounts" (Compute Engine: "Access
//! tokens"); checked against `google.auth.compute_engine._metadata` in Google's auth library for Python.

use http::HeaderName;
use url::Url;

use crate::{
    credential::{FetchError, Form, Refreshing, Token, issuer::TokenRequest, oauth},
    provider::http::Clients,
};

/// Where each machine of Google's has its metadata.
pub const SERVER: &str = "http://metadata.google.internal";
const PATH: &str = "/computeMetadata/v1/instance/service-accounts/default/token";

/// A token that is kept fresh. `server` is the root of the server's URL: see [`SERVER`]. To ask it is to act as the machine or
/// the pod: for those whose settings say so.
pub fn token(server: &str, clients: Clients) -> Result<Token, (&'static str, &'static str)> {
    let url = Url::parse(&format!("{}{PATH}", server.trim_end_matches('/')));
    let url = url.ok().filter(Url::has_host).ok_or(("metadataServer", "is not a URL"))?;
    let source = Refreshing::new("a token of Google's metadata server", move || {
        let (url, clients) = (url.clone(), clients.clone());
        async move { oauth::token(&question(&url)?.ask(&clients).await?) }
    });
    Ok(Token { source, form: Form::Bearer })
}

fn question(url: &Url) -> Result<TokenRequest, FetchError> {
    TokenRequest::get(url).of_the_machine().with(HeaderName::from_static("metadata-flavor"), "Google")
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
    async fn the_metadata_server_is_asked_as_it_wants() {
        let answer = r#"{"access_token":"ya29.t0ken...","expires_in":3187,"token_type":"Bearer"}"#;
        let fake = Fake::new([(200, answer)]).await;
        let credential = Credential::Token(token(fake.url("/").as_str(), clients()).unwrap());
        assert_eq!(signed_header(&credential, header::AUTHORIZATION).await, "Bearer ya29.t0ken...");
        let seen = fake.seen();
        assert_eq!(seen[0].line, "GET /computeMetadata/v1/instance/service-accounts/default/token HTTP/1.1");
        assert_eq!(seen[0].header("metadata-flavor"), Some("Google"));
        assert!(token("metadata", clients()).is_err());
    }
}
