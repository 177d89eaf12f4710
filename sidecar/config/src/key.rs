//! API keys: what a generated one looks like, and the hash that stands for any key everywhere but in its Secret.
//!
//! A generated key is `sk-vt-` and 43 characters of base62: 37 random ones (220 bits) and a checksum of six, the CRC-32
//! of the 37 in base62, most significant digit first. The checksum lets a scanner for leaked secrets know a key from
//! noise, and lets an error message tell a mistyped key from an unknown one.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What every generated key begins with.
pub const KEY_PREFIX: &str = "sk-vt-";
const RANDOM: usize = 37;
const CHECKSUM: usize = 6;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// What the containers of an injected pod send in place of a key. Only the pod's own sidecar understands it, and takes it
/// for the ApiKey that the pod is annotated with: a process keeps the environment it began with, so a real key there
/// would end at the first rotation. Shorter than any key may be, so that none can have this value.
pub const POD_KEY: &str = "vectoll-pod-key";

/// The SHA-256 of a key: the only form of it in config, logs, metrics and the store.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    /// The hash of a key's value.
    pub fn of(key: &[u8]) -> Self {
        Self(Sha256::digest(key).into())
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyHash({self})")
    }
}

/// Not a SHA-256 in lower-case hexadecimal.
#[derive(Debug, thiserror::Error)]
#[error("not a SHA-256: 64 lower-case hexadecimal digits are expected")]
pub struct KeyHashError;

impl TryFrom<String> for KeyHash {
    type Error = KeyHashError;
    fn try_from(text: String) -> Result<Self, KeyHashError> {
        let mut hash = [0; 32];
        hex::decode_to_slice(&text, &mut hash).map_err(|_| KeyHashError)?;
        let hash = Self(hash);
        if hash.to_string() == text { Ok(hash) } else { Err(KeyHashError) }
    }
}

impl FromStr for KeyHash {
    type Err = KeyHashError;
    fn from_str(text: &str) -> Result<Self, KeyHashError> {
        Self::try_from(text.to_owned())
    }
}

impl From<KeyHash> for String {
    fn from(hash: KeyHash) -> Self {
        hash.to_string()
    }
}

/// The six characters that follow the random ones in a generated key.
pub fn checksum(random: &str) -> String {
    let mut rest = crc32fast::hash(random.as_bytes());
    let mut digits = [b'0'; CHECKSUM];
    for digit in digits.iter_mut().rev() {
        *digit = BASE62.get((rest % 62) as usize).copied().unwrap_or(b'0');
        rest /= 62;
    }
    digits.iter().map(|&byte| char::from(byte)).collect()
}

/// Whether a key has the form of a generated one, whatever its checksum says.
pub fn is_generated(key: &str) -> bool {
    key.strip_prefix(KEY_PREFIX)
        .is_some_and(|body| body.len() == RANDOM + CHECKSUM && body.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// Whether a key that has the form of a generated one also has the right checksum: false means that it was mistyped.
pub fn has_valid_checksum(key: &str) -> bool {
    key.strip_prefix(KEY_PREFIX)
        .and_then(|body| body.split_at_checked(RANDOM))
        .is_some_and(|(random, sum)| checksum(random) == sum)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_checksum_is_the_crc32_in_base62() {
        // CRC-32 of "123456789" is 0xCBF43926 = 3421780262, the check value of every CRC catalogue.
        assert_eq!(checksum("123456789"), "3jZRME");
        let value = "3jZRME"
            .bytes()
            .fold(0u64, |sum, byte| sum * 62 + BASE62.iter().position(|&digit| digit == byte).unwrap() as u64);
        assert_eq!(value, 0xCBF4_3926);
    }

    #[test]
    fn one_changed_character_is_noticed() {
        let random = "a".repeat(37);
        let key = format!("{KEY_PREFIX}{random}{}", checksum(&random));
        assert!(is_generated(&key) && has_valid_checksum(&key));
        let mistyped = key.replacen('a', "b", 1);
        assert!(is_generated(&mistyped) && !has_valid_checksum(&mistyped));
        assert!(!is_generated("sk-vt-short"));
        assert!(!has_valid_checksum("sk-vt-ä"));
    }

    #[test]
    fn a_hash_is_64_lower_case_digits() {
        let hash = KeyHash::of(b"abc");
        // The example of FIPS 180-4.
        assert_eq!(hash.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(KeyHash::try_from(hash.to_string()).unwrap(), hash);
        assert!(KeyHash::try_from(hash.to_string().to_uppercase()).is_err());
        assert!(KeyHash::try_from("ab".to_owned()).is_err());
    }
}
