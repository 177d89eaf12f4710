//! A vector in binary, its numbers as little-endian 32-bit floats, and as the base64 of that.
//!
//! Source: OpenAI's API reference, "The embedding object".

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use base64_simd::{STANDARD, STANDARD_NO_PAD};

use super::vector::CheckedVector;

/// Some servers leave the padding away. Without it the length says the same.
const INDIFFERENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Numbers in binary.
pub(super) fn of(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// Decodes a JSON string of base64, with or without padding, of at least one number, all of them finite. None: it is not plainly that.
/// `binary` is room for it, and empty before.
pub(super) fn read(bytes: &[u8], binary: &mut Vec<u8>) -> Option<CheckedVector> {
    let inner = bytes.strip_prefix(b"\"")?;
    let length = memchr::memchr(b'"', inner)?;
    let text = inner.get(..length)?;
    let digits = match text {
        [digits @ .., b'=', b'='] | [digits @ .., b'='] if text.len() % 4 == 0 => digits,
        _ => text,
    };
    STANDARD_NO_PAD.decode_append(digits, binary).ok()?;
    Some(CheckedVector { numbers: count(binary)?, end: length + 2 })
}

/// The same of a string that is read as JSON first: with escapes in it, it may be base64 all the same.
pub(super) fn read_escaped(text: &str, binary: &mut Vec<u8>) -> Option<usize> {
    let text: String = serde_json::from_str(text).ok()?;
    INDIFFERENT.decode_vec(text, binary).ok()?;
    count(binary)
}

/// Appends a vector as a JSON string of base64.
pub(super) fn write(binary: &[u8], to: &mut Vec<u8>) {
    to.push(b'"');
    STANDARD.encode_append(binary, to);
    to.push(b'"');
}

/// How many numbers there are, if there is one, and nothing but finite ones.
fn count(binary: &[u8]) -> Option<usize> {
    let (numbers, rest) = binary.as_chunks::<4>();
    // To the end in any case: so it goes several at a time.
    let is_infinite = |number: &[u8; 4]| u32::from_le_bytes(*number) & 0x7F80_0000 == 0x7F80_0000;
    let all_finite = !numbers.iter().fold(false, |any, number| any | is_infinite(number));
    (rest.is_empty() && !numbers.is_empty() && all_finite).then_some(numbers.len())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use base64::prelude::BASE64_STANDARD;
    use proptest::prelude::*;

    use super::*;

    fn found(quoted: &str) -> Option<CheckedVector> {
        read(quoted.as_bytes(), &mut Vec::new())
    }

    proptest! {
        #[test]
        fn ordinary_vectors_are_found_right(
            all in prop::collection::vec(any::<f32>().prop_filter("finite", |n| n.is_finite()), 1..40),
        ) {
            let mut written = Vec::new();
            write(&of(&all), &mut written);
            let written = String::from_utf8(written).unwrap();
            prop_assert_eq!(&written, &format!("\"{}\"", BASE64_STANDARD.encode(of(&all))));
            for quoted in [written.clone(), written.replace('=', "")] {
                prop_assert_eq!(found(&quoted), Some(CheckedVector { numbers: all.len(), end: quoted.len() }), "{}", quoted);
            }
        }

        /// What is found right is what the careful reader takes for the same number of numbers.
        #[test]
        fn what_is_found_right_is_right(text in "[A-Za-z0-9+/]{0,24}[A-Za-z0-9+/=\\\\!]{0,4}") {
            let quoted = format!("\"{text}\"");
            let (mut binary, mut carefully) = (Vec::new(), Vec::new());
            if let Some(CheckedVector { numbers, end }) = read(quoted.as_bytes(), &mut binary) {
                prop_assert_eq!(end, quoted.len());
                prop_assert_eq!(Some(numbers), read_escaped(&quoted, &mut carefully), "{}", quoted);
                prop_assert_eq!(binary, carefully, "{}", quoted);
            }
        }
    }
}
