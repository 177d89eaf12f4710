//! Values of headers that change with every answer, written without a detour over the heap: an answer has a dozen.

use std::fmt;

use http::HeaderValue;

/// The longest of these values is a UUID.
const ROOM: usize = 40;

/// A short text on the stack. What does not fit is an error, which [`HeaderText::value`] remembers.
#[derive(Debug)]
pub struct HeaderText {
    text: [u8; ROOM],
    length: usize,
    fits: bool,
}

impl HeaderText {
    /// What is shown.
    pub fn of(what: impl fmt::Display) -> Self {
        let mut line = Self { text: [0; ROOM], length: 0, fits: true };
        // An error leaves its mark in `fits`.
        let _ = fmt::Write::write_fmt(&mut line, format_args!("{what}"));
        line
    }

    /// A whole number.
    pub fn number(number: u64) -> Self {
        let mut line = Self { text: [0; ROOM], length: 0, fits: true };
        line.push(itoa::Buffer::new().format(number));
        line
    }

    /// And behind it this.
    #[must_use]
    pub fn then(mut self, text: &str) -> Self {
        self.push(text);
        self
    }

    /// As a header's value; none if it did not fit or is not what a header can hold.
    pub fn value(&self) -> Option<HeaderValue> {
        let text = self.text.get(..self.length).filter(|_| self.fits)?;
        HeaderValue::from_bytes(text).ok()
    }

    fn push(&mut self, text: &str) {
        let end = self.length + text.len();
        match self.text.get_mut(self.length..end) {
            Some(place) => {
                place.copy_from_slice(text.as_bytes());
                self.length = end;
            }
            None => self.fits = false,
        }
    }
}

impl fmt::Write for HeaderText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text);
        if self.fits { Ok(()) } else { Err(fmt::Error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_its_text_or_nothing() {
        assert_eq!(HeaderText::number(0).value().unwrap(), "0");
        assert_eq!(HeaderText::number(u64::MAX).then("s").value().unwrap(), "18446744073709551615s");
        assert_eq!(HeaderText::of(format_args!("{}.{:03}", 1, 2)).value().unwrap(), "1.002");
        assert_eq!(HeaderText::of("x".repeat(ROOM)).value().unwrap().len(), ROOM);
        assert_eq!(HeaderText::of("x".repeat(ROOM + 1)).value(), None);
        assert_eq!(HeaderText::of("\n").value(), None);
    }
}
