//! What is signed of a request's body.

use bytes::Bytes;
use ring::digest::{SHA256, digest};

/// A request's body, and its SHA-256 where a signature has that: to go through a large body takes a while, and whoever makes one says where
/// that is done. Its debug output has no content: it holds the caller's inputs.
#[derive(Clone)]
pub struct Payload {
    bytes: Bytes,
    /// In hexadecimal digits.
    sha256: Option<String>,
}

impl Payload {
    /// A body whose content is in no signature.
    pub fn plain(bytes: impl Into<Bytes>) -> Self {
        Self { bytes: bytes.into(), sha256: None }
    }

    /// A body with its SHA-256.
    pub fn hashed(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let sha256 = Some(hex(digest(&SHA256, &bytes).as_ref()));
        Self { bytes, sha256 }
    }

    /// The body.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Its SHA-256, in lower-case hexadecimal digits; none: nobody has asked for it.
    pub fn sha256(&self) -> Option<&str> {
        self.sha256.as_deref()
    }

    /// The body alone.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |four: u8| DIGITS.get(usize::from(four)).copied().map_or('0', char::from);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Payload").field("length", &self.bytes.len()).finish_non_exhaustive()
    }
}
