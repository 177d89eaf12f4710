//! What every dialect reads and writes alike: vectors, token counts, places in a list, paths and bodies.
//!
//! All of it reads what a stranger sent: what is wrong with an answer is said, and nothing here can panic.

use http::HeaderMap;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{AnswerDefect, ParsedAnswer, Part, Unsupported, Unusable, Wire};
use vectoll_api::{answer::numbers, request::whole};

/// What is encoded in a name that stands between two `/` of a path, or as a value of a query: everything but RFC 3986's
/// unreserved characters, and the `@` of versions (`textembedding-gecko@003`), which Google's references leave as it is.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'@');

/// A value that is read in a second step, so that a vector that is none can be told from an answer that is none.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct Raw<'a>(#[serde(borrow)] &'a RawValue);

impl<'a> Raw<'a> {
    /// Reads the JSON that it is.
    pub(super) fn json<T: Deserialize<'a>>(self) -> Result<T, AnswerDefect> {
        serde_json::from_str(self.0.get()).map_err(|_| AnswerDefect::Shape)
    }
}

impl Raw<'_> {
    /// Whether it is an object: what is to be one may not be a list of its fields.
    pub(super) fn is_object(self) -> bool {
        self.0.get().starts_with('{')
    }

    /// Reads an array of numbers.
    pub(super) fn floats(self) -> Result<Vec<f32>, AnswerDefect> {
        if self.0.get().starts_with('"') { Err(AnswerDefect::Vector) } else { self.floats_or_base64() }
    }

    /// Reads an array of numbers, or the base64 of little-endian 32-bit floats.
    pub(super) fn floats_or_base64(self) -> Result<Vec<f32>, AnswerDefect> {
        numbers(self.0.get()).ok_or(AnswerDefect::Vector)
    }

    /// A whole number, however it is written: some write `4.0`. None for anything else.
    fn whole(self) -> Option<u64> {
        whole(self.0.get())
    }
}

/// A count of tokens. What cannot be one counts as not said: the caller then counts for itself.
pub(super) fn tokens(count: Option<Raw<'_>>) -> Option<u64> {
    credible(count?.whole()?)
}

/// An answer, right or not, whose tokens stand in a header where its body does not say them.
pub(super) fn or_in_header(
    mut answer: Result<ParsedAnswer, Unusable>,
    headers: &HeaderMap,
    name: &str,
) -> Result<ParsedAnswer, Unusable> {
    let count = || credible(headers.get(name)?.to_str().ok()?.parse().ok()?);
    let tokens = match &mut answer {
        Ok(answer) => &mut answer.tokens,
        Err(unusable) => &mut unusable.tokens,
    };
    *tokens = tokens.or_else(count);
    answer
}

/// The tokens of some inputs together; none, if they are not said of each.
pub(super) fn sum<'a>(count: impl Iterator<Item = Option<Raw<'a>>>) -> Option<u64> {
    let mut counts = count.map(|count| count?.whole());
    credible(counts.try_fold(0_u64, |sum, count| sum.checked_add(count?))?)
}

/// The count if it is none that no request can have.
fn credible(count: u64) -> Option<u64> {
    (1..=u64::from(u32::MAX)).contains(&count).then_some(count)
}

/// An answer's JSON.
pub(super) fn json<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, AnswerDefect> {
    serde_json::from_slice(body).map_err(|_| AnswerDefect::Shape)
}

/// What an answer says: its vectors, if they are right, and what it cost in any case.
pub(super) fn answer_of(
    part: &Part<'_>,
    vectors: Result<Vec<Vec<f32>>, AnswerDefect>,
    tokens: Option<u64>,
) -> Result<ParsedAnswer, Unusable> {
    match vectors.and_then(|vectors| fitting(part, vectors)) {
        Ok(vectors) => Ok(ParsedAnswer { vectors, tokens }),
        Err(defect) => Err(Unusable { defect, tokens }),
    }
}

/// Checks that each text of a part has its vector, and that all are of the length that was asked for.
fn fitting(part: &Part<'_>, vectors: Vec<Vec<f32>>) -> Result<Vec<Vec<f32>>, AnswerDefect> {
    if vectors.len() != part.texts.len() {
        return Err(AnswerDefect::Number);
    }
    let lengths = || vectors.iter().map(|vector| vector.len() as u64);
    let length = part.dimensions.or_else(|| lengths().next());
    if lengths().all(|found| Some(found) == length) { Ok(vectors) } else { Err(AnswerDefect::Length) }
}

/// The unit vector of this direction. One of zeros has none, and stays as it is.
pub(super) fn unit(vector: Vec<f32>) -> Vec<f32> {
    let norm = vector.iter().map(|number| f64::from(*number).powi(2)).sum::<f64>().sqrt();
    if norm == 0.0 {
        return vector;
    }
    #[expect(clippy::cast_possible_truncation, reason = "vectors are of 32-bit floats: rounding is the point")]
    vector.into_iter().map(|number| (f64::from(number) / norm) as f32).collect()
}

/// Reads vectors that stand in the order of the texts.
pub(super) fn in_order<'a>(
    part: &Part<'_>,
    vectors: impl IntoIterator<Item = Raw<'a>>,
    tokens: Option<u64>,
) -> Result<ParsedAnswer, Unusable> {
    answer_of(part, vectors.into_iter().map(Raw::floats).collect(), tokens)
}

/// Puts vectors in the order of their index, each of which must stand once. One without counts by its place.
pub(super) fn by_index(
    part: &Part<'_>,
    vectors: Vec<(Option<Raw<'_>>, Vec<f32>)>,
) -> Result<Vec<Vec<f32>>, AnswerDefect> {
    if vectors.len() != part.texts.len() {
        return Err(AnswerDefect::Number);
    }
    let place = |at: u64, index: Option<Raw<'_>>| index.map_or(Some(at), Raw::whole).ok_or(AnswerDefect::Order);
    let places = (0..).zip(vectors).map(|(at, (index, vector))| Ok((place(at, index)?, vector)));
    let mut vectors = places.collect::<Result<Vec<_>, AnswerDefect>>()?;
    vectors.sort_by_key(|(place, _)| *place);
    if !(0..).zip(&vectors).all(|(at, (place, _))| at == *place) {
        return Err(AnswerDefect::Order);
    }
    Ok(vectors.into_iter().map(|(_, vector)| vector).collect())
}

/// A request with a JSON body.
pub(super) fn wire(path: String, body: &impl Serialize) -> Wire {
    // Texts and numbers under names: there is nothing in it that JSON cannot say.
    Wire { path, headers: Vec::new(), body: serde_json::to_vec(body).unwrap_or_default() }
}

/// A name as one segment of a path, or as a value of a query.
pub(super) fn segment(name: &str) -> String {
    utf8_percent_encode(name, SEGMENT).to_string()
}

/// The refusal of `dimensions`: what is wrong, and what is possible.
pub(super) fn not_these_dimensions(message: String) -> Unsupported {
    Unsupported { param: "dimensions", message }
}

/// Refuses a number of dimensions that is not among those that a model has.
pub(super) fn one_of(model: &str, possible: &[u64], dimensions: Option<u64>) -> Result<Option<u64>, Unsupported> {
    match dimensions {
        Some(asked) if !possible.contains(&asked) => {
            let list: Vec<String> = possible.iter().map(u64::to_string).collect();
            let list = list.join(", ");
            Err(not_these_dimensions(format!("{model} has vectors of {list} numbers, not {asked}")))
        }
        _ => Ok(dimensions),
    }
}

/// Refuses all but the one length that a model has. It goes without saying, and need not be sent.
pub(super) fn fixed(model: &str, length: u64, dimensions: Option<u64>) -> Result<(), Unsupported> {
    match dimensions {
        Some(asked) if asked != length => {
            Err(not_these_dimensions(format!("{model} has vectors of {length} numbers, not {asked}")))
        }
        _ => Ok(()),
    }
}

/// Refuses any number of dimensions.
pub(super) fn none(model: &str, dimensions: Option<u64>) -> Result<(), Unsupported> {
    match dimensions {
        None => Ok(()),
        Some(_) => {
            Err(not_these_dimensions(format!("the vectors of {model} have one length only: leave `dimensions` out")))
        }
    }
}
