//! What is embedded.

/// One thing to embed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A text.
    Text(String),
    /// Its tokens.
    Tokens(Vec<u32>),
}
