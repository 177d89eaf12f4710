//! One object of an answer's list: read, its vector translated, and written again.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::VectorError;
use crate::{
    answer::{
        binary, list,
        vector::{CheckedVector, EMBEDDING, value},
    },
    request::{EncodingFormat, whole},
};

/// A translated object.
#[derive(Debug)]
pub(super) struct Item {
    /// Where it says it belongs.
    index: Option<u64>,
    /// What it is now, behind a comma.
    json: Box<[u8]>,
}

/// The fields of an object, their values as they came.
type Fields<'a> = BTreeMap<String, &'a RawValue>;

/// Room for an object on its way, kept from one to the next.
#[derive(Debug, Default)]
pub(super) struct Workspace {
    /// Its vector in binary.
    binary: Vec<u8>,
    /// What it is without its vector.
    others: String,
    /// What it is to be.
    json: Vec<u8>,
}

impl Workspace {
    /// The bytes that it takes.
    pub(super) fn held(&self) -> usize {
        self.binary.capacity() + self.others.capacity() + self.json.capacity()
    }
}

impl Item {
    /// Translates an object to this form, and says how many numbers its vector has.
    pub(super) fn read(
        json: &[u8],
        to: EncodingFormat,
        workspace: &mut Workspace,
    ) -> Result<(Self, usize), VectorError> {
        let Workspace { binary, others, json: translated } = workspace;
        let json = std::str::from_utf8(json).map_err(|_| VectorError::NotJson)?;
        let fields = match without_vector(json, binary, others) {
            Some(fields) => fields,
            None => with_vector(json, binary)?,
        };
        let index = fields.get("index").map_or(Ok(None), |raw| index(raw.get()))?;
        translated.clear();
        for (name, value) in &fields {
            translated.extend_from_slice(if translated.is_empty() { b",{" } else { b"," });
            serde_json::to_writer(&mut *translated, name).map_err(|_| VectorError::NotJson)?;
            translated.push(b':');
            match (name.as_str(), to) {
                ("embedding", EncodingFormat::Float) => list::write(binary, translated),
                ("embedding", EncodingFormat::Base64) => binary::write(binary, translated),
                _ => translated.extend_from_slice(value.get().as_bytes()),
            }
        }
        translated.push(b'}');
        // It is held for a while, and there may be thousands of them: without the room that it did not need.
        Ok((Self { index, json: Box::from(translated.as_slice()) }, binary.len() / 4))
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

/// The fields of an object whose vector is plainly right. It is read from the bytes first, which leaves little for a reader of JSON that
/// knows nothing of vectors: an empty list stands in its place.
fn without_vector<'a>(json: &str, binary: &mut Vec<u8>, others: &'a mut String) -> Option<Fields<'a>> {
    let (at, CheckedVector { end, .. }) = EMBEDDING.find_iter(json.as_bytes()).find_map(|name| {
        let at = value(json.as_bytes(), name + EMBEDDING.needle().len())?;
        Some((at, read(json.get(at..)?, binary)?))
    })?;
    others.clear();
    others.push_str(json.get(..at)?);
    others.push_str("[]");
    others.push_str(json.get(at + end..)?);
    let place = others.as_ptr().addr() + at;
    let fields: Fields<'_> = serde_json::from_str(others).ok()?;
    // And not another one, further within, or one of two.
    fields.get("embedding").is_some_and(|value| value.get().as_ptr().addr() == place).then_some(fields)
}

/// The fields of any object, and its vector.
fn with_vector<'a>(json: &'a str, binary: &mut Vec<u8>) -> Result<Fields<'a>, VectorError> {
    let fields: Fields<'_> = serde_json::from_str(json).map_err(|_| VectorError::NotJson)?;
    let vector = fields.get("embedding").ok_or(VectorError::Missing)?;
    read_carefully(vector.get(), binary).ok_or(VectorError::NotAVector)?;
    Ok(fields)
}

/// A vector that is plainly one, in either form, at the beginning of this text.
fn read(text: &str, binary: &mut Vec<u8>) -> Option<CheckedVector> {
    binary.clear();
    if text.starts_with('"') { binary::read(text.as_bytes(), binary) } else { list::read(text, binary) }
}

/// A vector in either form, in place of what is in `binary`; none, if it is neither, or has numbers that are none.
fn read_carefully(vector: &str, binary: &mut Vec<u8>) -> Option<()> {
    let vector = vector.trim_ascii();
    if let Some(CheckedVector { end, .. }) = read(vector, binary) {
        return (end == vector.len()).then_some(());
    }
    binary.clear();
    binary::read_escaped(vector, binary).map(|_| ())
}

/// The numbers of a vector in either form; none, if it is neither, or has numbers that are none.
pub fn numbers(vector: &str) -> Option<Vec<f32>> {
    let mut binary = Vec::new();
    read_carefully(vector, &mut binary)?;
    Some(binary.as_chunks().0.iter().copied().map(f32::from_le_bytes).collect())
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
