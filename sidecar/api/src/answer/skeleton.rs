//! An answer without its vectors: where one stands that is right there is an empty list, and how many numbers it has is known beside.
//!
//! Vectors are nearly all of an answer, and a reader of JSON that knows nothing of them goes through them byte by byte, more than once.
//! Here a list of numbers is gone through once, eight digits at a time, and base64 is decoded with the processor's vector instructions.
//! What is not plainly right stays as it is, for a reader who tells why: one valid value takes the place of another, so the rest is JSON
//! exactly if the whole is. (A `0` would not do: with what stands behind it, as in `[1].5`, it might be another number.)

use super::vector::EMBEDDING;
use crate::request::EncodingFormat;

/// An integer of so many digits is smaller than the largest 32-bit float.
const MAX_DIGITS: usize = 38;

/// What is left of an answer.
#[derive(Debug)]
pub(super) struct Skeleton {
    text: Vec<u8>,
    /// Where in the text a vector stood, and how many numbers it had; in order.
    lengths: Vec<(usize, usize)>,
}

impl Skeleton {
    /// Takes the vectors of this form out.
    pub(super) fn of(whole: &[u8], format: EncodingFormat) -> Self {
        let (mut text, mut lengths, mut decoded) = (Vec::new(), Vec::new(), Vec::new());
        let (mut copied, mut from) = (0, 0);
        while let Some(name) = whole.get(from..).and_then(|rest| EMBEDDING.find(rest)) {
            from += name + EMBEDDING.needle().len();
            let Some(at) = value(whole, from) else { continue };
            let rest = whole.get(at..).unwrap_or_default();
            let found = match format {
                EncodingFormat::Float => floats(rest),
                EncodingFormat::Base64 => base64(rest, &mut decoded),
            };
            let Some(Found { numbers, end }) = found else { continue };
            text.extend_from_slice(whole.get(copied..at).unwrap_or_default());
            lengths.push((text.len(), numbers));
            text.extend_from_slice(b"[]");
            copied = at + end;
            from = copied;
        }
        text.extend_from_slice(whole.get(copied..).unwrap_or_default());
        Self { text, lengths }
    }

    /// The text.
    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    /// How many numbers the vector had that stood where this part of the text stands. None: it is still there.
    pub(super) fn length(&self, part: &str) -> Option<usize> {
        let at = part.as_ptr().addr().checked_sub(self.text.as_ptr().addr())?;
        let found = self.lengths.binary_search_by_key(&at, |(at, _)| *at).ok()?;
        self.lengths.get(found).map(|(_, length)| *length)
    }
}

/// A vector that is right.
struct Found {
    numbers: usize,
    /// Where what comes behind it begins.
    end: usize,
}

/// Where the value of a field begins, by where its name ends.
fn value(whole: &[u8], name_end: usize) -> Option<usize> {
    let behind_colon = skip_space(whole.get(name_end..)?).strip_prefix(b":")?;
    Some(whole.len() - skip_space(behind_colon).len())
}

/// What follows white space: none, or a new line and its indentation, as a rule.
fn skip_space(mut rest: &[u8]) -> &[u8] {
    loop {
        rest = match rest {
            [b' ', b' ', b' ', b' ', b' ', b' ', b' ', b' ', behind @ ..]
            | [b' ' | b'\n' | b'\r' | b'\t', behind @ ..] => behind,
            _ => return rest,
        };
    }
}

/// A list of at least one number, all of them surely finite as 32-bit floats (RFC 8259).
fn floats(bytes: &[u8]) -> Option<Found> {
    let (mut rest, mut numbers) = (bytes.strip_prefix(b"[")?, 0);
    loop {
        rest = skip_space(number(skip_space(rest))?);
        numbers += 1;
        match rest.split_first()? {
            (b',', behind) => rest = behind,
            (b']', behind) => return Some(Found { numbers, end: bytes.len() - behind.len() }),
            _ => return None,
        }
    }
}

/// What follows a number that is surely finite.
fn number(text: &[u8]) -> Option<&[u8]> {
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let mut rest = match text {
        [b'0', behind @ ..] => behind,
        [b'1'..=b'9', ..] => {
            let (digits, behind) = digits(text);
            if digits > MAX_DIGITS {
                return None;
            }
            behind
        }
        _ => return None,
    };
    if let [b'.', behind @ ..] = rest {
        rest = some_digits(behind)?;
    }
    if let [b'e' | b'E', behind @ ..] = rest {
        // Any other exponent might be too large.
        rest = some_digits(behind.strip_prefix(b"-")?)?;
    }
    Some(rest)
}

/// What follows at least one digit.
fn some_digits(text: &[u8]) -> Option<&[u8]> {
    let (digits, behind) = digits(text);
    (digits > 0).then_some(behind)
}

/// How many digits a text begins with, and what follows them.
fn digits(text: &[u8]) -> (usize, &[u8]) {
    const HIGH: u64 = 0xF0F0_F0F0_F0F0_F0F0;
    const THREES: u64 = 0x3030_3030_3030_3030;
    let mut rest = text;
    while let Some((eight, behind)) = rest.split_first_chunk::<8>() {
        // Digits are 30 to 39: their high half is 3, and still is when 6 are added. What a byte beyond F9 carries over reaches only bytes
        // behind it, and it is not a digit itself.
        let word = u64::from_le_bytes(*eight);
        let others = ((word & HIGH) ^ THREES) | ((word.wrapping_add(0x0606_0606_0606_0606) & HIGH) ^ THREES);
        if others != 0 {
            let count = others.trailing_zeros() as usize / 8;
            let behind = rest.get(count..).unwrap_or_default();
            return (text.len() - behind.len(), behind);
        }
        rest = behind;
    }
    while let [b'0'..=b'9', behind @ ..] = rest {
        rest = behind;
    }
    (text.len() - rest.len(), rest)
}

/// A string of base64, with or without padding, of at least one number, all of them finite. `decoded` is room for it.
fn base64(bytes: &[u8], decoded: &mut Vec<u8>) -> Option<Found> {
    let inner = bytes.strip_prefix(b"\"")?;
    let length = memchr::memchr(b'"', inner)?;
    let text = inner.get(..length)?;
    let digits = match text {
        [digits @ .., b'=', b'='] | [digits @ .., b'='] if text.len() % 4 == 0 => digits,
        _ => text,
    };
    decoded.clear();
    base64_simd::STANDARD_NO_PAD.decode_append(digits, decoded).ok()?;
    let (numbers, rest) = decoded.as_chunks::<4>();
    // To the end in any case: so it goes several at a time.
    let is_infinite = |number: &[u8; 4]| u32::from_le_bytes(*number) & 0x7F80_0000 == 0x7F80_0000;
    let all_finite = !numbers.iter().fold(false, |any, number| any | is_infinite(number));
    (rest.is_empty() && !numbers.is_empty() && all_finite).then(|| Found { numbers: numbers.len(), end: length + 2 })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::answer::transcode::numbers as read;

    #[test]
    fn a_vector_is_taken_out_and_everything_else_stays() {
        let whole = br#"{"data": [ {"embedding" : [0.5, -1e-9,3] ,"x":"\"embedding\": [1]"}, {"embedding":[]}, {"embedding":[1e3]}]}"#;
        let skeleton = Skeleton::of(whole, EncodingFormat::Float);
        let left =
            br#"{"data": [ {"embedding" : [] ,"x":"\"embedding\": [1]"}, {"embedding":[]}, {"embedding":[1e3]}]}"#;
        assert_eq!(String::from_utf8_lossy(skeleton.text()), String::from_utf8_lossy(left));
        let text = std::str::from_utf8(skeleton.text()).unwrap();
        let lengths = text.match_indices("[]").map(|(at, _)| skeleton.length(&text[at..]));
        assert_eq!(lengths.collect::<Vec<_>>(), [Some(3), None]);
        assert_eq!(skeleton.length(&text[1..]), None);
        let base64 = Skeleton::of(br#"{"embedding":"AACAPwAAAEA="}"#, EncodingFormat::Base64);
        assert_eq!((base64.text(), &*base64.lengths), (&br#"{"embedding":[]}"#[..], &[(13, 2)][..]));
    }

    #[test]
    fn digits_are_counted_wherever_they_end() {
        for count in 0..40 {
            for behind in ["", "/", ":", ".", "e", "\u{fb}", "é", ",12345678"] {
                let text = format!("{}{behind}", "7".repeat(count));
                assert_eq!(digits(text.as_bytes()), (count, behind.as_bytes()), "{text}");
            }
        }
        let raw: Vec<u8> = (0..=255).collect();
        for byte in raw {
            let bytes = [b'1', byte, b'2', b'3', b'4', b'5', b'6', b'7', b'8'];
            assert_eq!(digits(&bytes).0, if byte.is_ascii_digit() { 9 } else { 1 }, "{byte}");
        }
    }

    /// Prints how fast it is; release builds are what counts.
    #[test]
    #[allow(clippy::print_stdout, clippy::cast_precision_loss, reason = "the figure is what it is for")]
    fn a_vector_is_looked_at_at_gigabytes_a_second() {
        const ROUNDS: usize = 50;
        let numbers: Vec<String> =
            (0..1_536_u64).map(|n| format!("{}0.0{}", if n % 2 == 0 { "" } else { "-" }, n * 7_654_321 + 1)).collect();
        let narrow = format!("[{}]", numbers.join(","));
        let wide = format!("[\n        {}\n      ]", numbers.join(",\n        "));
        let base64 = format!("\"{}\"", crate::answer::made::base64(&vec![0.25; 1_536]));
        for (name, vector) in [("numbers", narrow), ("numbers with white space", wide), ("base64", base64)] {
            let whole = format!(r#"{{"data":[{{"embedding":{vector}}}]}}"#);
            let format = if name == "base64" { EncodingFormat::Base64 } else { EncodingFormat::Float };
            let begun = std::time::Instant::now();
            for _ in 0..ROUNDS {
                assert_eq!(Skeleton::of(std::hint::black_box(whole.as_bytes()), format).lengths.len(), 1);
            }
            let nanoseconds = begun.elapsed().as_nanos().max(1) as f64;
            println!("{name}: {:.2} GB/s", (whole.len() * ROUNDS) as f64 / nanoseconds);
        }
    }

    proptest! {
        /// What is taken out is a vector of so many numbers, for whoever reads each of them.
        #[test]
        fn what_is_taken_out_is_right(
            inner in "[\\[\\]0-9.,eE+\\- nul\"]{0,30}|( ?-?[0-9]{1,45}(\\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})? ?,?){1,5}",
        ) {
            let vector = format!("[{inner}]");
            if let Some(Found { numbers, end }) = floats(vector.as_bytes()) {
                let taken = &vector[..end];
                prop_assert!(serde_json::from_str::<Value>(taken).is_ok(), "{}", taken);
                prop_assert_eq!(Some(numbers), read(taken).map(|all| all.len()), "{}", taken);
            }
        }

        /// And ordinary vectors are taken out, with any numbers.
        #[test]
        fn ordinary_vectors_are_taken_out(all in prop::collection::vec(any::<f32>().prop_filter("finite", |n| n.is_finite() && n.abs() < 1e12), 1..40)) {
            let vector = serde_json::to_string(&all).unwrap();
            prop_assert_eq!(floats(vector.as_bytes()).map(|found| (found.numbers, found.end)), Some((all.len(), vector.len())), "{}", vector);
            let text = crate::answer::made::base64(&all);
            for text in [text.clone(), text.trim_end_matches('=').to_owned()] {
                let quoted = format!("\"{text}\"");
                let found = base64(quoted.as_bytes(), &mut Vec::new());
                prop_assert_eq!(found.map(|found| (found.numbers, found.end)), Some((all.len(), quoted.len())), "{}", quoted);
            }
        }

        /// Base64 that is taken out is what the careful reader takes for the same number of numbers.
        #[test]
        fn base64_that_is_taken_out_is_right(text in "[A-Za-z0-9+/=\\\\!]{0,24}") {
            let quoted = format!("\"{text}\"");
            if let Some(Found { numbers, end }) = base64(quoted.as_bytes(), &mut Vec::new()) {
                prop_assert_eq!(end, quoted.len());
                prop_assert_eq!(Some(numbers), read(&quoted).map(|all| all.len()), "{}", quoted);
            }
        }
    }
}
