//! Who calls: what is put on a request so that its provider knows.
//!
//! A [`Credential`] is made once, from settings and the content of its file, and signs every request. What expires it
//! keeps [`fresh`]. Each kind of issuer has a file: [`aws`], [`google`], [`entra`], [`ibm`], [`open_ai`]. They build requests and read
//! answers as pure functions; `issuer` is the way there. A [`keyring::Keyring`] keeps them over reloads.

pub mod aws;
pub mod entra;
mod error;
pub mod google;
pub mod ibm;
pub(crate) mod issuer;
pub mod keyring;
mod oauth;
pub mod open_ai;
mod payload;
pub mod redact;
pub mod refreshing;
pub mod secret;
pub mod sigv4;
mod unsigned;

use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, header};

pub(crate) use self::error::chain;
use self::sigv4::Scope;
pub use self::{
    error::{CredentialError, FetchError},
    payload::Payload,
    refreshing::Refreshing,
    secret::Secret,
    unsigned::Unsigned,
};

/// What is put on requests to a provider.
#[derive(Debug)]
pub enum Credential {
    /// Nothing.
    None,
    /// A key that does not change, in a header.
    Header(Header),
    /// A signature by AWS's scheme.
    SigV4 {
        /// Whom it is for.
        scope: Scope,
        /// What it is made with.
        keys: aws::Source,
    },
    /// An OAuth token.
    Token(Token),
}

/// A key in a header.
pub struct Header {
    name: HeaderName,
    value: HeaderValue,
    secret: Secret,
}

/// A token that expires, in a header.
#[derive(Debug)]
pub struct Token {
    /// Where it comes from.
    pub source: Refreshing<Secret>,
    /// How it is said.
    pub form: Form,
}

/// How a secret stands in a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// `Authorization: Bearer …`.
    Bearer,
    /// The secret alone in a header of this name: `api-key`, `x-goog-api-key`.
    Alone(HeaderName),
}

impl Form {
    /// The header that says a secret; none if no header can hold it.
    fn header(&self, secret: &Secret) -> Option<(HeaderName, HeaderValue)> {
        let (name, value) = match self {
            Self::Bearer => (header::AUTHORIZATION, HeaderValue::try_from(format!("Bearer {}", secret.reveal()))),
            Self::Alone(name) => (name.clone(), HeaderValue::try_from(secret.reveal())),
        };
        let mut value = value.ok()?;
        value.set_sensitive(true);
        Some((name, value))
    }
}

impl Credential {
    /// A key in a header, from the content of a file. The error says what is wrong with it.
    pub fn header(form: &Form, content: &[u8]) -> Result<Self, &'static str> {
        let secret = Secret::in_file(content)?;
        let (name, value) = form.header(&secret).ok_or("the credential is not text that a header can hold")?;
        Ok(Self::Header(Header { name, value, secret }))
    }

    /// A body as it is signed. Goes through all of it where its content is in the signature: for a thread that has the time, if it is large.
    pub fn payload(&self, body: impl Into<Bytes>) -> Payload {
        match self {
            Self::SigV4 { .. } => Payload::hashed(body),
            Self::None | Self::Header(_) | Self::Token(_) => Payload::plain(body),
        }
    }

    /// Puts on a request what says who calls. Waits only where something that expires is not there yet.
    pub async fn sign(&self, mut request: Unsigned<'_>) -> Result<(), CredentialError> {
        match self {
            Self::None => {}
            Self::Header(Header { name, value, secret: _ }) => {
                request.headers.insert(name.clone(), value.clone());
            }
            Self::SigV4 { scope, keys } => {
                let keys = keys.get().await?;
                sigv4::put(&mut request, scope, &keys, SystemTime::now())?;
            }
            Self::Token(Token { source, form }) => {
                let token = source.get().await?;
                let unfit = || CredentialError::Sign("the token is not text that a header can hold".to_owned());
                let (name, value) = form.header(&token).ok_or_else(unfit)?;
                request.headers.insert(name, value);
            }
        }
        Ok(())
    }

    /// Has what expires fetched, if it is not there yet (in a Tokio runtime), so that the first call need not wait for it. Where that fails the log
    /// says so, and the first call tries again.
    pub fn prepare(&self) {
        match self {
            Self::None | Self::Header(_) => {}
            Self::SigV4 { keys, scope: _ } => keys.prepare(),
            Self::Token(Token { source, form: _ }) => source.prepare(),
        }
    }

    /// The provider answered 401 or 403: what was fetched is fetched anew at the next call, though it has not expired.
    pub fn refused(&self) {
        match self {
            Self::None | Self::Header(_) => {}
            Self::SigV4 { keys, scope: _ } => keys.doubt(),
            Self::Token(Token { source, form: _ }) => source.doubt(),
        }
    }

    /// A provider's message without anything that it was called with, and without what looks like a key.
    pub fn redact(&self, message: &str) -> String {
        match self {
            Self::None => redact::redact(message, []),
            Self::Header(Header { secret, .. }) => redact::redact(message, [secret.reveal()]),
            Self::SigV4 { keys, scope: _ } => {
                let known = keys.known();
                redact::redact(message, known.iter().flat_map(|keys| keys.secrets()))
            }
            Self::Token(Token { source, form: _ }) => {
                let known = source.known();
                redact::redact(message, known.iter().map(|token| token.reveal()))
            }
        }
    }
}

impl std::fmt::Debug for Header {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Header").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
