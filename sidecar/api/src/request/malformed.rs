//! What is wrong with a request.

/// A request that is not as it must be: 400.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Malformed {
    /// `error.param`: the field.
    pub param: Option<&'static str>,
    /// `error.message`: what is wrong, and what to do.
    pub message: String,
}

impl Malformed {
    /// Something in the request is not as it must be.
    pub fn new(param: Option<&'static str>, message: impl Into<String>) -> Self {
        Self { param, message: message.into() }
    }

    /// The input is not one of the forms that embeddings are made of.
    pub fn input(detail: impl std::fmt::Display) -> Self {
        Self::new(Some("input"), format!("Invalid input format: {detail}"))
    }
}
