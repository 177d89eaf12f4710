//! A provider and one of its models.

use serde_json::{Value, json};
use vectoll_tests::{native::Api, provider::Item};

/// What becomes of a number of dimensions that the model does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cannot {
    /// 400 with the param `dimensions`; the provider is not asked.
    Refused,
    /// The provider says no with this status.
    ByProvider(u16),
    /// The provider passes over it in silence: 502.
    InSilence,
}

/// The vector that a caller is to get of an item, at a length.
pub type Vector = fn(&Item, usize) -> Vec<f32>;

/// A provider and one of its models.
pub struct Row {
    /// For people.
    pub name: &'static str,
    /// The route's name, the model's public name and that of the Secret.
    pub id: &'static str,
    pub api: Box<dyn Api>,
    /// The model's name at the provider.
    pub model: &'static str,
    /// The backend's settings, for the provider's address.
    pub settings: fn(&str) -> Value,
    /// The Secret's entries; null: none.
    pub secret: Value,
    /// Numbers in a vector, if nothing is asked.
    pub length: usize,
    /// What callers are to get.
    pub vector: Vector,
    /// A number of dimensions that the model has.
    pub has: Option<usize>,
    /// One that it has not.
    pub has_not: (usize, Cannot),
    /// Whether it learns what inputs are.
    pub tells: bool,
    /// Whether it says what it charged.
    pub reports: bool,
    /// Whether callers' bodies reach it as they come.
    pub passes: bool,
    /// For people.
    pub credential: &'static str,
    /// What nobody may see.
    pub secrets: Vec<&'static str>,
}

pub(super) fn reference(id: &str) -> Value {
    json!({"name": id, "key": "key"})
}

pub(super) fn key(value: &str) -> Value {
    json!({"key": value})
}
