//! An answer without its vectors: where one stands that is right there is an empty list, and how many numbers it has is known beside.
//!
//! Vectors are nearly all of an answer, and a reader of JSON that knows nothing of them goes through them byte by byte, more than once.
//! Here a list of numbers is gone through once, sixty-four bytes at a time, and base64 is decoded with the processor's vector instructions.
//! What is not plainly right stays as it is, for a reader who tells why: one valid value takes the place of another, so the rest is JSON
//! exactly if the whole is. (A `0` would not do: with what stands behind it, as in `[1].5`, it might be another number.)

use super::{
    binary, list,
    vector::{CheckedVector, EMBEDDING, value},
};
use crate::request::EncodingFormat;

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
                EncodingFormat::Float => list::check(rest),
                EncodingFormat::Base64 => {
                    decoded.clear();
                    binary::read(rest, &mut decoded)
                }
            };
            let Some(CheckedVector { numbers, end }) = found else { continue };
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;

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

    /// Prints how fast it is; release builds are what counts.
    #[test]
    #[allow(clippy::print_stdout, clippy::cast_precision_loss, reason = "the figure is what it is for")]
    fn a_vector_is_looked_at_at_gigabytes_a_second() {
        const ROUNDS: usize = 50;
        let numbers: Vec<String> =
            (0..1_536_u64).map(|n| format!("{}0.0{}", if n % 2 == 0 { "" } else { "-" }, n * 7_654_321 + 1)).collect();
        let narrow = format!("[{}]", numbers.join(","));
        let wide = format!("[\n        {}\n      ]", numbers.join(",\n        "));
        let base64 = {
            let mut base64 = Vec::new();
            binary::write(&binary::of(&[0.25; 1_536]), &mut base64);
            String::from_utf8(base64).unwrap()
        };
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
}
