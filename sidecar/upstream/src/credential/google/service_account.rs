//! A token for a service account's key: a statement that the key signs, exchanged at Google's token server.
//!
//! Source: Google Identity, "Using OAuth 2.0 for Server to Server Applications" (HTTP/REST), and RFC 7523, sections 2.1
//! and 3; checked against `google.oauth2.service_account` in Google's auth library for Python.

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jiff::Timestamp;
use ring::{
    rand::SystemRandom,
    signature::{RSA_PKCS1_SHA256, RsaKeyPair},
};
use rustls::pki_types::{PrivateKeyDer, pem::PemObject};
use serde::Deserialize;
use serde_json::json;
use url::Url;

use super::{DOMAIN, SCOPE};
use crate::{
    credential::{
        FetchError, Form, Refreshing, Secret, Token,
        issuer::{TokenRequest, known},
        oauth,
    },
    provider::http::Clients,
};

/// Whom the statement is for: the same for every account, wherever it is sent.
const AUDIENCE: &str = "https://oauth2.googleapis.com/token";
/// How long the statement is good, in seconds: the longest that is allowed, and how long the token will be good.
const LIFE: i64 = 3600;

/// An account that can sign.
#[derive(Clone)]
pub struct ServiceAccount {
    email: String,
    key_id: Option<String>,
    key: Arc<RsaKeyPair>,
    token_url: Url,
}

/// What the file holds, as far as needed.
#[derive(Deserialize)]
struct File {
    client_email: String,
    private_key: String,
    private_key_id: Option<String>,
    token_uri: Option<String>,
}

impl ServiceAccount {
    /// Reads a key file (JSON, as Google makes them). `token_url` is for settings that name another token server; without it
    /// the file's own is asked, if it is Google's.
    pub fn read(content: &[u8], token_url: Option<Url>) -> Result<Self, &'static str> {
        // What serde_json says of a wrong field can quote the field.
        let File { client_email, private_key, private_key_id, token_uri } = serde_json::from_slice(content)
            .map_err(|_| "the credential is not a service account's key with client_email and private_key")?;
        let not_one = "the credential's private_key is not an RSA key in PEM";
        let key = match PrivateKeyDer::from_pem_slice(private_key.as_bytes()).map_err(|_| not_one)? {
            PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
            // Of an elliptic curve, or of a kind that is not known yet.
            PrivateKeyDer::Sec1(_) | _ => return Err(not_one),
        };
        let key = Arc::new(key.map_err(|_| not_one)?);
        let own = || known(token_uri.as_deref().unwrap_or(AUDIENCE), DOMAIN);
        let token_url =
            token_url.or_else(own).ok_or("the credential's token_uri is not an https URL of googleapis.com")?;
        Ok(Self { email: client_email, key_id: private_key_id, key, token_url })
    }

    /// A token that is kept fresh.
    pub fn token(self, clients: Clients) -> Token {
        let source = Refreshing::new(format!("a token for the service account {}", self.email), move || {
            let (this, clients) = (self.clone(), clients.clone());
            async move { oauth::token(&this.question(Timestamp::now())?.ask(&clients).await?) }
        });
        Token { source, form: Form::Bearer }
    }

    fn question(&self, now: Timestamp) -> Result<TokenRequest, FetchError> {
        let statement = Secret::new(&self.statement(now)?);
        let fields = [("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), ("assertion", statement.reveal())];
        Ok(TokenRequest::form(&self.token_url, &fields).hiding(&statement))
    }

    /// A JSON Web Token, signed (RS256).
    fn statement(&self, now: Timestamp) -> Result<String, FetchError> {
        let mut header = json!({"alg": "RS256", "typ": "JWT"});
        if let (Some(header), Some(key_id)) = (header.as_object_mut(), &self.key_id) {
            header.insert("kid".to_owned(), key_id.as_str().into());
        }
        let issued = now.as_second();
        let claims = json!({"iss": self.email, "scope": SCOPE, "aud": AUDIENCE, "iat": issued, "exp": issued + LIFE});
        let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let signed = format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()));
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .map_err(|_| FetchError::Request("the key does not sign"))?;
        Ok(format!("{signed}.{}", encode(&signature)))
    }
}

impl std::fmt::Debug for ServiceAccount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServiceAccount").field("email", &self.email).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
