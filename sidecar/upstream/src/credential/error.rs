//! Why a request could not be signed.

use std::sync::Arc;

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

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}
