//! Who calls: what is put on a request so that its provider knows.
//!
//! A [`Credential`] is made once, from settings and the content of its file, and signs every request. What expires it
//! keeps [`fresh`]. Each kind of issuer has a file: [`aws`], [`google`], [`entra`], [`ibm`]. They build requests and read
//! answers as pure functions; `issuer` is the way there. A [`keyring::Keyring`] keeps them over reloads.

pub mod aws;
pub mod entra;
pub mod google;
pub mod ibm;
pub(crate) mod issuer;
pub mod keyring;
mod oauth;
pub mod redact;
pub mod refreshing;
pub mod secret;
pub mod sigv4;

use std::{sync::Arc, time::SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use url::Url;

use self::sigv4::Scope;
pub use self::{refreshing::Refreshing, secret::Secret};

/// A request before it is signed. Its debug output has neither headers nor body: they hold the caller's inputs.
pub struct Unsigned<'a> {
    /// The method.
    pub method: &'a Method,
    /// The full URL, as it will be sent: names in its path are percent-encoded.
    pub url: &'a Url,
    /// The headers. Those that a signature covers (`Content-Type`, `Content-Length` and Amazon's) are as they will be sent.
    pub headers: &'a mut HeaderMap,
    /// The whole body.
    pub body: &'a [u8],
}

impl std::fmt::Debug for Unsigned<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unsigned")
            .field("method", self.method)
            .field("url", &format_args!("{}", self.url))
            .finish_non_exhaustive()
    }
}

/// Why a request could not be signed. It was not sent: nothing was charged. No text in it has a secret.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CredentialError {
    /// What is to be put on it is not to be had.
    #[error("failed to obtain {what}")]
    Fetch {
        /// What, and whose.
        what: Arc<str>,
        /// What went wrong.
        #[source]
        source: FetchError,
    },
    /// The request or the key is not such that it can be signed.
    #[error("failed to sign the request: {0}")]
    Sign(String),
}

/// Why something that expires could not be fetched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// A file that proves who calls could not be read.
    #[error("failed to read {path}: {why}")]
    File {
        /// Its path.
        path: String,
        /// The system's word.
        why: String,
    },
    /// No answer.
    #[error("failed to reach {host}: {why}")]
    Unreachable {
        /// Who was asked.
        host: String,
        /// What went wrong on the way.
        why: String,
    },
    /// The issuer said no.
    #[error("{host} answered {status}: {message}")]
    Refused {
        /// Who was asked.
        host: String,
        /// The HTTP status.
        status: u16,
        /// What it said, without secrets.
        message: String,
    },
    /// An answer that cannot be used. Said as "the issuer's answer …".
    #[error("the issuer's answer {0}")]
    Answer(&'static str),
    /// What is needed to ask cannot be made from the credential.
    #[error("the request could not be made: {0}")]
    Request(&'static str),
    /// It took too long.
    #[error("it took too long")]
    TooSlow,
    /// The task that fetched it ended without a word.
    #[error("the attempt broke off")]
    BrokeOff,
}

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

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}

#[cfg(test)]
mod tests;
