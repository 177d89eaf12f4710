//! Text that nobody may read in a log.

use std::{fmt, sync::Arc};

/// A key, a token or a password. Its debug output says no more than that there is one. A handle: clones share the text.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Hides a text.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The secret that is the content of a file, without the space around it. The error says what is wrong.
    pub fn in_file(content: &[u8]) -> Result<Self, &'static str> {
        let text = std::str::from_utf8(content).map_err(|_| "the credential is not UTF-8 text")?.trim();
        if text.is_empty() {
            return Err("the credential is empty");
        }
        Ok(Self::new(text))
    }

    /// The text itself, to be sent to whom it belongs.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}
