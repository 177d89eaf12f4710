//! Reads requests of HTTP/1.1: their first line, and their bodies whole.

use std::io::{self, BufRead, BufReader, Read};

/// The requests of one connection.
#[derive(Debug)]
pub struct Requests<S> {
    source: BufReader<S>,
    line: String,
    first: String,
    body: Vec<u8>,
}

impl<S: Read> Requests<S> {
    /// Requests that arrive from `source`.
    pub fn new(source: S) -> Self {
        let source = BufReader::with_capacity(64 << 10, source);
        Self { source, line: String::new(), first: String::new(), body: Vec::new() }
    }

    /// The next one's first line and body; none: the client has left.
    pub fn read(&mut self) -> io::Result<Option<(&str, &[u8])>> {
        let mut length = 0;
        self.first.clear();
        loop {
            self.line.clear();
            if self.source.read_line(&mut self.line)? == 0 {
                return Ok(None);
            }
            let header = self.line.trim_end();
            if header.is_empty() {
                break;
            }
            if self.first.is_empty() {
                self.first.push_str(header);
            } else if let Some((name, value)) = header.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().map_err(|_| io::ErrorKind::InvalidData)?;
            }
        }
        self.body.resize(length, 0);
        self.source.read_exact(&mut self.body)?;
        Ok(Some((&self.first, &self.body)))
    }

    /// Where they arrive from, to answer.
    pub fn stream(&mut self) -> &mut S {
        self.source.get_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_follow_each_other() {
        let text = "POST /a HTTP/1.1\r\nhost: a:1\r\nContent-Length: 5\r\n\r\nhelloGET /b HTTP/1.1\r\n\r\n";
        let mut requests = Requests::new(text.as_bytes());
        assert_eq!(requests.read().unwrap(), Some(("POST /a HTTP/1.1", &b"hello"[..])));
        assert_eq!(requests.read().unwrap(), Some(("GET /b HTTP/1.1", &b""[..])));
        assert_eq!(requests.read().unwrap(), None);
        assert!(Requests::new(&b"POST / HTTP/1.1\r\ncontent-length: 9\r\n\r\nhello"[..]).read().is_err());
    }
}
