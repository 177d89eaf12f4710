//! An ID for each call, for logs and for the answer's headers.

use std::fmt;

/// 128 random bits, written as a UUID of version 4 (RFC 9562). For finding a call again, not for keeping a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallId(u128);

impl CallId {
    /// A new one.
    pub fn random() -> Self {
        let bits = fastrand::u128(..);
        Self(bits & !(0xF << 76) & !(0b11 << 62) | 0x4 << 76 | 0b10 << 62)
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(id) = *self;
        let part = |shift: u32, digits: u32| (id >> shift) & ((1 << (digits * 4)) - 1);
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            part(96, 8),
            part(80, 4),
            part(64, 4),
            part(48, 4),
            part(0, 12)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_uuid_of_version_4() {
        assert_eq!(CallId(0x0011_2233_4455_4677_8899_aabb_ccdd_eeff).to_string(), "00112233-4455-4677-8899-aabbccddeeff");
        let text = CallId::random().to_string();
        assert_eq!(text.len(), 36);
        assert_eq!(text.as_bytes().get(14), Some(&b'4'));
        assert!(matches!(text.as_bytes().get(19), Some(b'8' | b'9' | b'a' | b'b')));
    }
}
