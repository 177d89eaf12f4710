//! How many vectors pass by, without reading them.
//!
//! Each stands in a field `"embedding"`. Inside a JSON string a quote is escaped, so the name with bare quotes and a colon
//! behind it is that field and nothing else; `"object": "embedding"` has no colon behind it.

use std::sync::LazyLock;

use bytes::Bytes;
use memchr::memmem::Finder;

static FIELD: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"embedding\""));

/// How far behind the name its colon is looked for, and so what is kept of each piece for the next.
const REACH: usize = 32;

/// A count of what passes in pieces.
#[derive(Debug, Default)]
pub(super) struct Count {
    vectors: u64,
    /// The end of what has passed: fields that begin in it were not counted yet.
    rest: Vec<u8>,
}

impl Count {
    /// Looks at the next piece.
    pub(super) fn pass(&mut self, piece: &Bytes) {
        // The fields that begin in the piece before.
        let (begin, _) = piece.split_at(piece.len().min(REACH));
        let before = self.rest.len();
        self.rest.extend_from_slice(begin);
        if begin.len() == piece.len() {
            let done = self.rest.len().saturating_sub(REACH);
            self.vectors += fields(&self.rest, done);
            self.rest.drain(..done);
            return;
        }
        self.vectors += fields(&self.rest, before);
        let done = piece.len() - REACH;
        self.vectors += fields(piece, done);
        self.rest.clear();
        self.rest.extend_from_slice(piece.get(done..).unwrap_or_default());
    }

    /// How many there were in all.
    pub(super) fn all(&self) -> u64 {
        self.vectors + fields(&self.rest, self.rest.len())
    }
}

/// Fields that begin before `end`.
fn fields(text: &[u8], end: usize) -> u64 {
    let is_field = |at: usize| {
        let rest = text.get(at + FIELD.needle().len()..).unwrap_or_default();
        rest.trim_ascii_start().first() == Some(&b':')
    };
    let found = FIELD.find_iter(text).take_while(|at| *at < end).filter(|at| is_field(*at)).count();
    found as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_are_counted_and_values_are_not() {
        for (text, vectors) in [
            (r#"{"data":[{"object":"embedding","index":0,"embedding":[0.1]},{"embedding" : "AAAA"}]}"#, 2),
            (r#"{"model":"\"embedding\":1","data":[]}"#, 0),
            (r#"{"embedding"}"#, 0),
            ("", 0),
        ] {
            assert_eq!(fields(text.as_bytes(), text.len()), vectors, "{text}");
        }
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(
            parts in prop::collection::vec(prop::sample::select(vec![
                "\"embedding\":", "\"embedding\" \n:", "\"embedding\",", "x", "\"object\":\"embedding\"", "[0.1,0.2,0.3,0.4,0.5,0.6,0.7]",
            ]), 0..40),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let text: String = parts.concat();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| if text.is_empty() { 0 } else { cut.index(text.len()) }).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let mut count = Count::default();
            for pair in cuts.windows(2) {
                if let [from, to] = pair {
                    count.pass(&Bytes::copy_from_slice(&text.as_bytes()[*from..*to]));
                }
            }
            prop_assert_eq!(count.all(), fields(text.as_bytes(), text.len()));
        }
    }
}
