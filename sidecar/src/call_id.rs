//! An ID for each call, for logs and for the answer's headers.

use std::fmt;

use http::HeaderName;

/// Where an answer has it, and a call that is passed on to a gateway.
pub const CALL_ID: HeaderName = HeaderName::from_static("x-litellm-call-id");

/// 128 random bits, written as a UUID of version 4 (RFC 9562). For finding a call again, not for keeping a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallId(u128);

impl CallId {
    /// A new one.
    pub fn random() -> Self {
        let bits = fastrand::u128(..);
        Self(bits & !(0xF << 76) & !(0b11 << 62) | 0x4 << 76 | 0b10 << 62)
    }

    /// One that was sent, if it has the form.
    pub fn sent(text: &[u8]) -> Option<Self> {
        let mut bits = 0_u128;
        for (at, byte) in text.iter().enumerate() {
            if matches!(at, 8 | 13 | 18 | 23) {
                if *byte != b'-' {
                    return None;
                }
                continue;
            }
            bits = bits << 4 | u128::from(char::from(*byte).to_digit(16)?);
        }
        let is_version_4 = bits >> 76 & 0xF == 0x4 && bits >> 62 & 0b11 == 0b10;
        (text.len() == 36 && is_version_4).then_some(Self(bits))
    }

    /// A number drawn with it.
    pub fn lot(&self) -> u32 {
        (self.0 >> 96) as u32
    }

    /// The 36 characters. Every answer has them in a header.
    pub fn text(&self) -> [u8; 36] {
        let mut text = [b'-'; 36];
        let mut rest = self.0;
        for (at, place) in text.iter_mut().enumerate().rev() {
            if !matches!(at, 8 | 13 | 18 | 23) {
                let digit = (rest & 0xF) as usize;
                *place = b"0123456789abcdef".get(digit).copied().unwrap_or(b'0');
                rest >>= 4;
            }
        }
        text
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.text()).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_uuid_of_version_4() {
        assert_eq!(
            CallId(0x0011_2233_4455_4677_8899_aabb_ccdd_eeff).to_string(),
            "00112233-4455-4677-8899-aabbccddeeff"
        );
        let text = CallId::random().to_string();
        assert_eq!(CallId::sent(text.as_bytes()).map(|id| id.to_string()).as_ref(), Some(&text));
        for wrong in
            ["", "00112233-4455-1677-8899-aabbccddeeff", "00112233x4455-4677-8899-aabbccddeeff", "00112233-4455"]
        {
            assert_eq!(CallId::sent(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(CallId::sent(format!("{text}0").as_bytes()), None);
        assert_eq!(text.len(), 36);
        assert_eq!(text.as_bytes().get(14), Some(&b'4'));
        assert!(matches!(text.as_bytes().get(19), Some(b'8' | b'9' | b'a' | b'b')));
    }
}
