//! Validation: each spec once, into types. What comes after never reads a raw spec.
//!
//! What the API server checks by schema and CEL is checked here as well as far as it matters, because a folder of
//! manifests has no API server; and what only code can tell (a time zone, a price, a URL) is checked here for both.

mod account;
mod api_key;
mod backend;
mod budgets;
mod cost_center;
mod key_policy;
mod limits;
mod model_route;
mod provider;
mod reset;
mod secret_template;
mod tags;
mod team;
mod vector_space;

use std::fmt;

pub(crate) use account::path as account_path;
pub(crate) use api_key::{KeySource, ValidKey, api_key};
pub(crate) use backend::{UNKNOWN_TOKENIZER, ValidBackend};
pub(crate) use budgets::{Percent, ValidBudget, declared_budgets, of_contract};
pub(crate) use model_route::{Serving, ValidRoute, model_route};
pub(crate) use provider::{Auth, Called, Content, Credential, Native, OpenAi, ValidProvider};
pub(crate) use team::{ValidTeam, team};

/// Something in a spec that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// Where, for example `spec.budget.limit`.
    pub path: String,
    /// What is wrong, and what would be right.
    pub reason: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.reason)
    }
}

/// Collects faults: all of them are told at once, not one after the other.
#[derive(Debug, Default)]
struct FieldErrors(Vec<FieldError>);

impl FieldErrors {
    fn add(&mut self, path: impl Into<String>, reason: impl fmt::Display) {
        self.0.push(FieldError { path: path.into(), reason: reason.to_string() });
    }

    /// The value, or none and a fault.
    fn check<T, E: fmt::Display>(&mut self, path: impl Into<String>, result: Result<T, E>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.add(path, error);
                None
            }
        }
    }

    /// The value if there are no faults. `value` is none only where a fault was added.
    fn or<T>(self, value: Option<T>) -> Result<T, Vec<FieldError>> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            Some(_) | None => Err(self.0),
        }
    }
}

/// Whether a string is a DNS label (RFC 1123), as namespaces and names of containers are.
pub(crate) fn is_label(text: &str) -> bool {
    is_subdomain(text) && text.len() <= 63 && !text.contains('.')
}

/// Whether a string is a DNS subdomain (RFC 1123), as most names of objects are.
pub(crate) fn is_subdomain(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=253).contains(&text.len())
        && text.bytes().all(|byte| inner(byte) || byte == b'-' || byte == b'.')
        && text.bytes().next().is_some_and(inner)
        && text.bytes().last().is_some_and(inner)
}

/// Whether a string can name an entry of a Secret.
fn is_entry(text: &str) -> bool {
    (1..=253).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        && !text.starts_with("..")
        && text != "."
}

const NOT_AN_ENTRY: &str = "is not the name of an entry: letters, digits, -, _ and . only";
const NOT_A_NAME: &str = "is not a name: lower-case letters, digits, - and . only";
