//! The first and the last bytes of an answer, for [`super::usage`] to look at.

use bytes::{Bytes, BytesMut};

use super::usage::EDGE;

/// What passed, at its two ends. Most answers come in one piece: of that nothing is copied.
#[derive(Debug, Default)]
pub(super) struct Ends {
    /// The first piece, while there is no other.
    only: Bytes,
    head: BytesMut,
    tail: BytesMut,
}

impl Ends {
    /// Looks at the next piece.
    pub(super) fn pass(&mut self, piece: &Bytes) {
        if self.head.is_empty() {
            if self.only.is_empty() {
                self.only = piece.clone();
                return;
            }
            let first = std::mem::take(&mut self.only);
            self.copy(&first);
        }
        self.copy(piece);
    }

    /// The first bytes.
    pub(super) fn head(&self) -> &[u8] {
        if self.head.is_empty() { self.only.get(..EDGE).unwrap_or(&self.only) } else { &self.head }
    }

    /// The last bytes. They may reach back into the first ones.
    pub(super) fn tail(&self) -> &[u8] {
        if self.head.is_empty() {
            let begin = self.only.len().saturating_sub(EDGE);
            self.only.get(begin..).unwrap_or_default()
        } else {
            &self.tail
        }
    }

    fn copy(&mut self, piece: &[u8]) {
        let (begin, _) = piece.split_at(piece.len().min(EDGE - self.head.len()));
        self.head.extend_from_slice(begin);
        let last = piece.get(piece.len().saturating_sub(EDGE)..).unwrap_or_default();
        if last.len() == EDGE {
            self.tail.clear();
        }
        let surplus = (self.tail.len() + last.len()).saturating_sub(EDGE);
        let _ = self.tail.split_to(surplus);
        self.tail.extend_from_slice(last);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_ends_are_those_of_the_whole(pieces in prop::collection::vec(0..3 * EDGE, 0..6)) {
            let mut number = 0_u8;
            let mut ends = Ends::default();
            let mut whole = Vec::new();
            for length in pieces {
                let piece: Vec<u8> = (0..length).map(|_| { number = number.wrapping_mul(5).wrapping_add(3); number }).collect();
                whole.extend_from_slice(&piece);
                ends.pass(&piece.into());
            }
            prop_assert_eq!(ends.head(), &whole[..whole.len().min(EDGE)]);
            prop_assert_eq!(ends.tail(), &whole[whole.len().saturating_sub(EDGE)..]);
        }
    }
}
