//! Making keys.

use vectoll_config::{KEY_PREFIX, checksum};

/// Random characters of a key, before the checksum.
const RANDOM: usize = 37;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A new key: `sk-vt-`, 37 random characters of base62, and their checksum. `fill` gives random bytes.
pub fn key<E>(mut fill: impl FnMut(&mut [u8]) -> Result<(), E>) -> Result<String, E> {
    let mut random = String::with_capacity(RANDOM);
    let mut bytes = [0u8; 64];
    while random.len() < RANDOM {
        fill(&mut bytes)?;
        for &byte in &bytes {
            // 248 is the largest multiple of 62 below 256: what is above would favour the first characters.
            if byte < 248
                && random.len() < RANDOM
                && let Some(&digit) = BASE62.get(usize::from(byte % 62))
            {
                random.push(char::from(digit));
            }
        }
    }
    Ok(format!("{KEY_PREFIX}{random}{}", checksum(&random)))
}

/// A new UID, a UUID of version 4.
pub fn uid<E>(mut fill: impl FnMut(&mut [u8]) -> Result<(), E>) -> Result<String, E> {
    let mut bytes = [0u8; 16];
    fill(&mut bytes)?;
    let bits = u128::from_be_bytes(bytes) & !(0xF << 76) & !(0b11 << 62) | 0x4 << 76 | 0b10 << 62;
    let hex = format!("{bits:032x}");
    let part = |from, to| hex.get(from..to).unwrap_or_default();
    Ok(format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::collections::BTreeSet;

    use vectoll_config::{has_valid_checksum, is_generated};

    use super::*;

    #[test]
    fn keys_have_their_form_and_are_all_different() {
        let keys: BTreeSet<String> = (0..1_000).map(|_| key(getrandom::fill).unwrap()).collect();
        assert_eq!(keys.len(), 1_000);
        for key in &keys {
            assert_eq!(key.len(), 49);
            assert!(is_generated(key) && has_valid_checksum(key), "{key}");
        }
        let used: BTreeSet<char> = keys.iter().flat_map(|key| key.chars().skip(KEY_PREFIX.len())).collect();
        assert_eq!(used.len(), 62, "every character of base62 occurs");
    }

    #[test]
    fn no_randomness_is_no_key() {
        assert_eq!(key(|_| Err("no entropy")), Err("no entropy"));
    }
}
