//! The first vector of an answer, by its bytes: which form it has, and how many numbers. It is not read as numbers.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::request::EncodingFormat;

/// The name of the field that has a vector.
pub(super) static EMBEDDING: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"embedding\""));

/// What is wrong with the vectors of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VectorError {
    /// Not JSON.
    #[error("its answer is not JSON")]
    NotJson,
    /// No list of them.
    #[error("its answer has no `data`")]
    NoData,
    /// Something else.
    #[error("the `data` of its answer is not a list of objects")]
    NotAList,
    /// Too few, too many.
    #[error("it answered with another number of vectors than there were inputs")]
    Number,
    /// An object without one.
    #[error("a vector is missing in its answer")]
    Missing,
    /// Neither numbers nor base64.
    #[error("a vector in its answer is not one")]
    NotAVector,
    /// Longer and shorter ones.
    #[error("its vectors have different lengths")]
    Lengths,
    /// Other ones than were asked for.
    #[error("its vectors have {found} numbers, and `dimensions` asked for {asked}: it cannot do that with this model")]
    Dimensions {
        /// `dimensions`.
        asked: u64,
        /// What came.
        found: usize,
    },
    /// An `index` twice, or not at all, or none that can be read.
    #[error("its vectors have no clear order")]
    Order,
    /// More than can be translated.
    #[error(
        "it answers in another encoding than was asked for, and with too much to translate: send fewer inputs at a time"
    )]
    TooLarge,
}

/// A vector that was checked as it stands in an answer: whole, and of numbers only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CheckedVector {
    /// How many numbers it has.
    pub(super) numbers: usize,
    /// Where what comes behind it begins.
    pub(super) end: usize,
}

/// Where the value of a field begins, by where its name ends.
pub(super) fn value(whole: &[u8], name_end: usize) -> Option<usize> {
    let behind_colon = skip_space(whole.get(name_end..)?).strip_prefix(b":")?;
    Some(whole.len() - skip_space(behind_colon).len())
}

/// What follows white space: none, or a new line and its indentation, as a rule.
#[inline]
pub(super) fn skip_space(mut rest: &[u8]) -> &[u8] {
    while let [b' ' | b'\n' | b'\r' | b'\t', behind @ ..] = rest {
        rest = behind;
        while let Some((b"        ", behind)) = rest.split_first_chunk() {
            rest = behind;
        }
    }
    rest
}

/// Form of the first vector, and where it begins, behind its bracket or quote.
fn first(answer: &[u8]) -> Option<(EncodingFormat, &[u8])> {
    // `"object": "embedding"` is no field of that name: no colon follows it.
    EMBEDDING.find_iter(answer).find_map(|at| {
        let rest = answer.get(at + EMBEDDING.needle().len()..)?.trim_ascii_start().strip_prefix(b":")?;
        match rest.trim_ascii_start().split_first()? {
            (b'[', rest) => Some((EncodingFormat::Float, rest)),
            (b'"', rest) => Some((EncodingFormat::Base64, rest)),
            _ => None,
        }
    })
}

/// The numbers of the first vector. None: it is not there, or not whole yet.
fn first_length(head: &[u8]) -> Option<usize> {
    let (format, rest) = first(head)?;
    match format {
        EncodingFormat::Float => {
            let vector = rest.get(..memchr::memchr(b']', rest)?)?;
            let commas = memchr::memchr_iter(b',', vector).count();
            Some(if vector.trim_ascii().is_empty() { 0 } else { commas + 1 })
        }
        EncodingFormat::Base64 => {
            let vector = rest.get(..memchr::memchr(b'"', rest)?)?;
            // Some servers write / as \/, and some leave the padding away.
            let digits = vector.iter().filter(|byte| !matches!(byte, b'=' | b'\\')).count();
            Some(digits * 3 / 4 / 4)
        }
    }
}

/// Whether the first vector has as many numbers as were asked for. None: it is not there, or not whole yet.
pub fn has_dimensions(head: &[u8], asked: u64) -> Option<Result<(), VectorError>> {
    let found = first_length(head)?;
    Some(if found as u64 == asked { Ok(()) } else { Err(VectorError::Dimensions { asked, found }) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_form_is_seen_at_the_beginning() {
        for (head, format) in [
            (
                r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.1"#,
                Some(EncodingFormat::Float),
            ),
            (r#"{"data":[{"embedding" : "AAAA"#, Some(EncodingFormat::Base64)),
            (r#"{"object":"list","data":[{"object":"embedding","#, None),
            (r#"{"data":[{"embedding":"#, None),
            (r#"{"data":[{"embedding":null"#, None),
        ] {
            assert_eq!(first(head.as_bytes()).map(|(format, _)| format), format, "{head}");
        }
    }

    #[test]
    fn the_numbers_of_the_first_vector_are_counted_without_reading_them() {
        for (head, numbers) in [
            (r#"{"embedding": [ 0.1, 2 ,-3e4 ]"#, Some(3)),
            (r#"{"embedding":[1]},{"embedding":[1,2]}"#, Some(1)),
            (r#"{"embedding":[ ]"#, Some(0)),
            (r#"{"embedding":[1,2"#, None),
            (r#"{"embedding":"AACAPwAAAEA=""#, Some(2)),
            (r#"{"embedding":"AACAPwAAAEA""#, Some(2)),
            (r#"{"embedding":"AACAPw==""#, Some(1)),
            (r#"{"embedding":"AACA\/wAAgD8=""#, Some(2)),
            (r#"{"embedding":"AACAPw"#, None),
            (r#"{"data":[]}"#, None),
        ] {
            assert_eq!(first_length(head.as_bytes()), numbers, "{head}");
        }
        let wrong = has_dimensions(br#"{"embedding":[1,2]"#, 3).unwrap().unwrap_err();
        assert_eq!(wrong, VectorError::Dimensions { asked: 3, found: 2 });
    }
}
