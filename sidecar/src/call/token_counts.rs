//! Exact counts of a call's tokens, each made once: admission, splitting, a refinement and an answer without a usage may all ask.

use std::sync::{Mutex, PoisonError};

use vectoll_config::v1::{Encoding, TokenBound};

/// What a count depends on, beside the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CountKey {
    /// Of the backend's tokenizer; none: it is the built-in model's.
    pub tokenizer: Option<Encoding>,
    /// What token arrays are turned into text with; none: they are not.
    pub arrays_are_of: Option<Encoding>,
    /// Whether texts count that go along with each input.
    pub with_texts_beside: bool,
}

impl CountKey {
    /// The tokenizer of a backend; none: it is not known.
    pub fn tokenizer_of(bound: &TokenBound) -> Option<Option<Encoding>> {
        match bound {
            TokenBound::Encoding(encoding) => Some(Some(*encoding)),
            TokenBound::Builtin(_) => Some(None),
            TokenBound::Factor(_) => None,
        }
    }
}

/// The counts that were made.
#[derive(Debug, Default)]
pub struct TokenCounts(Mutex<Vec<(CountKey, u64)>>);

impl TokenCounts {
    /// The count, made if it was not yet. Two that ask at once both count: neither waits.
    pub fn get_or_count(&self, key: CountKey, count: impl FnOnce() -> Option<u64>) -> Option<u64> {
        let known = self.lock().iter().find(|(of, _)| *of == key).map(|(_, tokens)| *tokens);
        if known.is_some() {
            return known;
        }
        let tokens = count()?;
        self.lock().push((key, tokens));
        Some(tokens)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(CountKey, u64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_not_counted_again() {
        let counts = TokenCounts::default();
        let key = CountKey { tokenizer: None, arrays_are_of: None, with_texts_beside: false };
        assert_eq!(counts.get_or_count(key, || None), None, "it can be tried again");
        assert_eq!(counts.get_or_count(key, || Some(7)), Some(7));
        assert_eq!(counts.get_or_count(key, || unreachable!("it is known")), Some(7));
        let other = CountKey { with_texts_beside: true, ..key };
        assert_eq!(counts.get_or_count(other, || Some(9)), Some(9));
    }
}
