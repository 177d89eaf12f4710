//! A figure that is no row of a table.

use serde::Serialize;

/// A figure by itself.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Remark {
    /// Of what.
    pub what: String,
    /// How much.
    pub value: f64,
    /// Of which unit.
    pub unit: &'static str,
}

impl Remark {
    /// A figure.
    pub fn new(what: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { what: what.into(), value, unit }
    }
}
