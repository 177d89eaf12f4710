//! What is left to do.

/// What is left to do, in the order in which it was found.
#[derive(Debug, Default)]
pub(super) struct Notes(Vec<String>);

impl Notes {
    /// Something of LiteLLM's that is not taken over, or not as it was: where it stands, and what to do.
    pub(super) fn add(&mut self, place: &str, what: impl AsRef<str>) {
        let note = format!("{place}: {}", what.as_ref());
        if !self.0.contains(&note) {
            self.0.push(note);
        }
    }

    /// Each of them, as one text.
    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}
