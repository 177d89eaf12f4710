//! Vectors in the form that was asked for, from a provider that answers in the other one: many OpenAI-shaped servers ignore
//! `encoding_format`.
//!
//! The answer is translated while it arrives, vector by vector: only the translated ones are held, not what they came from. All
//! of them are, though, because their number and order are to be right before the caller sees the first.
//!
//! Source: OpenAI's API reference, "The embedding object": `float` is an array of JSON numbers, `base64` the base64 of
//! little-endian 32-bit floats. The translation is exact to the bit: numbers are read to the nearest 32-bit float, and
//! written with as many digits as it takes to read the same one again.

mod item;
mod scan;

pub use self::item::{index, numbers};

use bytes::Bytes;
use serde::de::IgnoredAny;

use self::{
    item::{Item, Workspace},
    scan::{Place, Scanner},
};
use super::{MAX_BEFORE_FIRST_VECTOR, vector::VectorError};
use crate::request::EncodingFormat;

/// The largest translation: 2,048 vectors of 3,072 numbers fit. Larger ones are refused.
const MAX_ANSWER_BYTES: usize = 80 * 1024 * 1024;
/// The most of an answer that is no vector: what may come before the first one where an answer is passed on, and `usage` and the like
/// behind the last.
const MAX_BESIDES: usize = MAX_BEFORE_FIRST_VECTOR + 256 * 1024;
/// The largest vector with what goes with it, before it is translated.
const MAX_VECTOR_BYTES: usize = 4 * 1024 * 1024;

/// What the vectors of an answer are to be.
#[derive(Clone, Copy, Debug)]
pub struct ExpectedVectors {
    /// Their form.
    pub format: EncodingFormat,
    /// How many there must be.
    pub items: u64,
    /// How many numbers each must have; none: all as many as the first.
    pub dimensions: Option<u64>,
}

/// An answer on its way from one form to the other.
#[derive(Debug)]
pub struct Transcoder {
    expected: ExpectedVectors,
    scanner: Scanner,
    /// The answer without its vectors, as it came.
    besides: Vec<u8>,
    /// Where in it they belong.
    place: Option<usize>,
    /// What has come of the present one.
    item: Vec<u8>,
    workspace: Workspace,
    done: Vec<Item>,
    numbers: Option<usize>,
    length: usize,
    wrong: Option<VectorError>,
}

impl Transcoder {
    /// One that has seen nothing yet.
    pub fn new(expected: ExpectedVectors) -> Self {
        let (besides, item, done) = (Vec::new(), Vec::new(), Vec::new());
        let (scanner, workspace) = (Scanner::default(), Workspace::default());
        Self { expected, scanner, besides, place: None, item, workspace, done, numbers: None, length: 0, wrong: None }
    }

    /// Takes the next piece. After the first fault nothing is looked at any more; [`Self::finish`] tells it.
    pub fn feed(&mut self, piece: &[u8]) {
        if self.wrong.is_none()
            && let Err(wrong) = self.take(piece)
        {
            self.wrong = Some(wrong);
            // It may be long until the answer's end.
            (self.done, self.item, self.length) = (Vec::new(), Vec::new(), 0);
            self.workspace = Workspace::default();
        }
    }

    fn take(&mut self, piece: &[u8]) -> Result<(), VectorError> {
        let mut rest = piece;
        while !rest.is_empty() {
            let (place, length) = self.scanner.step(rest)?;
            let (part, behind) = rest.split_at(length.clamp(1, rest.len()));
            rest = behind;
            match place {
                Place::Besides => self.besides.extend_from_slice(part),
                Place::DataBegins => {
                    self.besides.extend_from_slice(part);
                    self.place = Some(self.besides.len());
                }
                Place::Between => {}
                Place::Item => self.item.extend_from_slice(part),
                Place::ItemEnds => {
                    self.item.extend_from_slice(part);
                    self.translate()?;
                }
            }
        }
        let fits =
            self.besides.len() <= MAX_BESIDES && self.item.len() <= MAX_VECTOR_BYTES && self.length <= MAX_ANSWER_BYTES;
        if fits { Ok(()) } else { Err(VectorError::TooLarge) }
    }

    fn translate(&mut self) -> Result<(), VectorError> {
        let (item, numbers) = Item::read(&self.item, self.expected.format, &mut self.workspace)?;
        self.item.clear();
        if self.done.len() as u64 >= self.expected.items {
            return Err(VectorError::Number);
        }
        if *self.numbers.get_or_insert(numbers) != numbers {
            return Err(VectorError::Lengths);
        }
        if let Some(asked) = self.expected.dimensions.filter(|asked| *asked != numbers as u64) {
            return Err(VectorError::Dimensions { asked, found: numbers });
        }
        self.length += item.length();
        self.done.push(item);
        Ok(())
    }

    /// The bytes that it takes so far.
    pub fn held(&self) -> usize {
        self.besides.len() + self.item.len() + self.workspace.held() + self.length
    }

    /// The whole translation, in pieces. There must be as many vectors as inputs, in order or with an `index` each.
    pub fn finish(self) -> Result<Vec<Bytes>, VectorError> {
        let Self { expected, besides, place, item, mut done, wrong, .. } = self;
        if let Some(wrong) = wrong {
            return Err(wrong);
        }
        let place = place.ok_or(VectorError::NoData)?;
        if !item.is_empty() || serde_json::from_slice::<IgnoredAny>(&besides).is_err() {
            return Err(VectorError::NotJson);
        }
        if done.len() as u64 != expected.items {
            return Err(VectorError::Number);
        }
        item::in_order(&mut done)?;
        let (before, after) = besides.split_at(place);
        let vectors = done.into_iter().enumerate().map(|(at, item)| item.text(at == 0));
        let around = |text| std::iter::once(Bytes::copy_from_slice(text));
        Ok(around(before).chain(vectors).chain(around(after)).collect())
    }
}

#[cfg(test)]
mod tests;
