//! What a request asks for, whatever its shape was.

use serde_json::Value;

use crate::provider::{
    Item,
    vector::{self, FULL_DIMENSIONS},
};

/// What the inputs are said to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputType {
    /// What is searched for.
    Query,
    /// What is found.
    Document,
}

/// A valid request.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// What to embed.
    pub items: Vec<Item>,
    /// Numbers in a vector.
    pub length: usize,
    /// What the inputs are, where the provider is told.
    pub input_type: Option<InputType>,
    /// Whether vectors are to be base64.
    pub base64: bool,
    /// What a caller may ask for beyond that, by the provider's own names.
    pub extensions: Vec<(&'static str, Value)>,
}

impl Asked {
    pub(super) fn texts(texts: Vec<String>, length: usize, input_type: Option<InputType>) -> Self {
        let items = texts.into_iter().map(Item::Text).collect();
        Self { items, length, input_type, base64: false, extensions: Vec::new() }
    }

    pub(super) fn tokens(&self) -> u64 {
        self.items.iter().map(Item::tokens).sum()
    }

    pub(super) fn vectors(&self) -> Vec<Vec<f32>> {
        self.items.iter().map(|item| vector(item, self.length)).collect()
    }
}

/// The vector that all providers here have for an item. Beyond the longest of the OpenAI-shaped provider's it begins again.
pub fn vector(item: &Item, length: usize) -> Vec<f32> {
    let one = vector::of(item, length.min(FULL_DIMENSIONS));
    one.iter().copied().cycle().take(length).collect()
}
