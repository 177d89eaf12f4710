//! One object of an answer's list: read, its vector translated, and written again.

use std::collections::BTreeMap;

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use super::VectorError;
use crate::{
    answer::made::base64,
    request::{EncodingFormat, whole},
};

/// Some servers leave the padding away. Without it the length says the same.
const INDIFFERENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A translated object.
#[derive(Debug)]
pub(super) struct Item {
    /// Where it says it belongs.
    index: Option<u64>,
    /// What it is now, behind a comma.
    json: Box<[u8]>,
}

/// A value as it came, or a new one.
#[derive(Serialize)]
#[serde(untagged)]
enum Part<'a> {
    As(&'a RawValue),
    Floats(Vec<f32>),
    Base64(String),
}

impl Item {
    /// Translates an object to this form, and says how many numbers its vector has.
    pub(super) fn read(json: &[u8], to: EncodingFormat) -> Result<(Self, usize), VectorError> {
        let fields: BTreeMap<String, &RawValue> = serde_json::from_slice(json).map_err(|_| VectorError::NotJson)?;
        let numbers =
            numbers(fields.get("embedding").ok_or(VectorError::Missing)?.get()).ok_or(VectorError::NotAVector)?;
        let index = fields.get("index").map_or(Ok(None), |raw| index(raw.get()))?;
        let length = numbers.len();
        let mut fields: BTreeMap<String, Part<'_>> =
            fields.into_iter().map(|(name, value)| (name, Part::As(value))).collect();
        let translated = match to {
            EncodingFormat::Float => Part::Floats(numbers),
            EncodingFormat::Base64 => Part::Base64(base64(&numbers)),
        };
        fields.insert("embedding".to_owned(), translated);
        let mut json = vec![b','];
        serde_json::to_writer(&mut json, &fields).map_err(|_| VectorError::NotJson)?;
        // It is held for a while, and there may be thousands of them: without the room that it did not need.
        Ok((Self { index, json: json.into_boxed_slice() }, length))
    }

    /// How much is held for it.
    pub(super) fn length(&self) -> usize {
        self.json.len()
    }

    /// Its text: with the comma, but at the beginning of the list.
    pub(super) fn text(self, is_first: bool) -> Bytes {
        Bytes::from(self.json).slice(usize::from(is_first)..)
    }
}

/// A vector in either form; none, if it is neither, or has numbers that are none.
pub fn numbers(vector: &str) -> Option<Vec<f32>> {
    let numbers: Vec<f32> = if vector.starts_with('"') {
        let text: String = serde_json::from_str(vector).ok()?;
        let bytes = INDIFFERENT.decode(text).ok()?;
        let (fours, rest) = bytes.as_chunks::<4>();
        rest.is_empty().then(|| fours.iter().copied().map(f32::from_le_bytes).collect())?
    } else {
        // Straight to 32 bits: by way of 64 the last bit might be rounded twice.
        let raw: Vec<&RawValue> = serde_json::from_str(vector).ok()?;
        raw.into_iter().map(|number| number.get().parse().ok()).collect::<Option<_>>()?
    };
    (!numbers.is_empty() && numbers.iter().all(|number| number.is_finite())).then_some(numbers)
}

/// A place in the list. `null` says nothing; anything else that is no whole number does say something, and nobody can tell what.
pub fn index(raw: &str) -> Result<Option<u64>, VectorError> {
    if raw == "null" {
        return Ok(None);
    }
    whole(raw).map(Some).ok_or(VectorError::Order)
}

/// Puts the vectors in the order of their `index`, each of which must stand once. One without counts by its place.
pub(super) fn in_order(items: &mut [Item]) -> Result<(), VectorError> {
    for (at, item) in items.iter_mut().enumerate() {
        item.index.get_or_insert(at as u64);
    }
    items.sort_by_key(|item| item.index);
    let each_once = items.iter().enumerate().all(|(at, item)| item.index == Some(at as u64));
    if each_once { Ok(()) } else { Err(VectorError::Order) }
}
