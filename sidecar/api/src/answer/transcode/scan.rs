//! Telling an answer's vectors from what stands around them, as the bytes come.
//!
//! What nothing depends on, the inside of strings and of vectors, is skipped by `memchr`. Within an item only braces are followed: where
//! brackets do not match them it is no JSON, which is for others to see.

use memchr::{memchr2, memchr3};

use super::{super::text::Text, VectorError};

/// What a byte is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Something besides the vectors.
    Besides,
    /// The bracket that the list of vectors begins with.
    DataBegins,
    /// What stands between two of them.
    Between,
    /// An object with a vector.
    Item,
    /// The last byte of one.
    ItemEnds,
}

/// The key of the list of vectors.
const DATA: &[u8] = b"data";
/// Depth within the answer's object, within `data`, and within one of its items.
const TOP: u32 = 1;
const LIST: u32 = 2;

/// Where the list of vectors is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum List {
    #[default]
    Ahead,
    Here,
    Behind,
}

/// Follows strings and brackets. Whether all of it is JSON is for others to see.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    depth: u32,
    text: Text,
    /// The last string of the answer's own object, as far as it could be `data`.
    last: Vec<u8>,
    /// The value that comes is that of `data`.
    named: bool,
    list: List,
}

impl Scanner {
    /// Takes the next bytes that are part of the same, at least one; which, and how many. There must be one.
    pub(super) fn step(&mut self, rest: &[u8]) -> Result<(Place, usize), VectorError> {
        let skipped = self.skip(rest);
        if skipped > 0 {
            return Ok((self.here(), skipped));
        }
        rest.first().map_or(Ok((self.here(), 0)), |byte| Ok((self.take(*byte)?, 1)))
    }

    /// How many bytes come first that nothing depends on.
    fn skip(&mut self, rest: &[u8]) -> usize {
        let next = match self.text {
            Text::Inside => memchr2(b'"', b'\\', rest),
            Text::Outside if self.is_in_item() => memchr3(b'"', b'{', b'}', rest),
            Text::Outside | Text::Escaped => return 0,
        };
        let length = next.unwrap_or(rest.len());
        if self.text == Text::Inside {
            self.remember(rest.get(..length).unwrap_or_default());
        }
        length
    }

    fn is_in_item(&self) -> bool {
        self.list == List::Here && self.depth > LIST
    }

    fn take(&mut self, byte: u8) -> Result<Place, VectorError> {
        if self.text != Text::Outside {
            return Ok(self.in_text(byte));
        }
        let between = self.list == List::Here && self.depth == LIST;
        match byte {
            b'{' | b'[' => return self.open(byte),
            b'}' | b']' => return Ok(self.close()),
            b',' | b' ' | b'\t' | b'\n' | b'\r' if between => return Ok(Place::Between),
            _ if between => return Err(VectorError::NotAList),
            b'"' => {
                self.text = Text::Inside;
                if self.depth == TOP {
                    self.last.clear();
                }
            }
            b':' if self.depth == TOP => self.named = self.last == DATA,
            b',' if self.depth == TOP => self.named = false,
            _ => {}
        }
        Ok(self.here())
    }

    fn in_text(&mut self, byte: u8) -> Place {
        self.text = match (self.text, byte) {
            (Text::Inside, b'\\') => Text::Escaped,
            (Text::Inside, b'"') => Text::Outside,
            (Text::Inside | Text::Escaped | Text::Outside, _) => Text::Inside,
        };
        if self.text != Text::Outside {
            self.remember(&[byte]);
        }
        self.here()
    }

    /// Keeps what comes of a string of the answer's own object, as far as it tells whether it is `data`.
    fn remember(&mut self, part: &[u8]) {
        if self.depth == TOP {
            let room = (DATA.len() + 1).saturating_sub(self.last.len());
            self.last.extend_from_slice(part.get(..room).unwrap_or(part));
        }
    }

    fn open(&mut self, byte: u8) -> Result<Place, VectorError> {
        if self.depth == TOP && self.named {
            if byte != b'[' || self.list != List::Ahead {
                return Err(VectorError::NotAList);
            }
            (self.list, self.depth) = (List::Here, LIST);
            return Ok(Place::DataBegins);
        }
        if self.list == List::Here && self.depth == LIST && byte != b'{' {
            return Err(VectorError::NotAList);
        }
        self.depth = self.depth.saturating_add(1);
        Ok(self.here())
    }

    fn close(&mut self) -> Place {
        self.depth = self.depth.saturating_sub(1);
        match (self.list, self.depth) {
            (List::Here, LIST) => return Place::ItemEnds,
            (List::Here, TOP) => self.list = List::Behind,
            (List::Ahead | List::Here | List::Behind, _) => {}
        }
        self.here()
    }

    fn here(&self) -> Place {
        match self.list {
            List::Here => Place::Item,
            List::Ahead | List::Behind => Place::Besides,
        }
    }
}
